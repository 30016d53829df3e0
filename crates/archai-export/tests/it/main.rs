//! Trained networks as files.

mod cases;
mod files;
mod import;
mod model_file;
mod onnx;
mod quant;
mod reference;
