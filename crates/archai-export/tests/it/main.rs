//! Trained networks as files.

mod cases;
mod files;
mod import;
mod model_file;
mod onnx;
mod pytorch;
mod quant;
mod reference;
mod rust;
