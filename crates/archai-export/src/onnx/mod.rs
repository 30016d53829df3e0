//! ONNX files (opset 18): a network for onnxruntime, tract, OpenVINO, TensorRT, web browsers and many more.
//!
//! The file is written from the graph of layers, by the protobuf messages of `proto` and about twenty operators. The
//! framework's own exporter records what a program of the framework computes, so that it knows neither names nor the fused
//! ops, and it would bring the framework to where only descriptions are known; crates that hold ONNX messages alone are young
//! and hold more than what is needed here. What is written is checked with the `onnx` package and onnxruntime
//! (`interop/onnx_check.py`).
//!
//! The batch is as large as each call makes it. Values are called as in the graph, parameters as in the state dict; the
//! input is `image`, the output `logits` or `probabilities`. Texts beside the network say what it takes and gives:
//! `class_names`, `input_size` (channels, height, width), `mean`, `std`, `input` (what numbers an image is made of) and the
//! description, `model_desc`.

mod half;
mod int8;
mod lower;
pub mod proto;

use std::io::{self, Write};

use archai_spec::desc::{ModelDesc, OpCatalog};
use archai_spec::graph::Graph;
use archai_spec::registry::Named;
use prost::Message;

use crate::{
    Exported, Exporter, ModelInfo, NamedTensor, Options, Weights, fold_norms, unsupported, width,
};

pub use int8::Int8Exporter;
pub use lower::{LOGITS, PROBABILITIES};

/// Version of the operators.
const OPSET: i64 = 18;
/// The version of the format that came with them.
const IR_VERSION: i64 = 8;

/// Writes ONNX files.
#[derive(Clone, Copy, Debug)]
pub struct OnnxExporter;

impl Named for OnnxExporter {
    fn name(&self) -> &str {
        "onnx"
    }
    fn about(&self) -> &str {
        "ONNX, for onnxruntime and many more"
    }
}

impl Exporter for OnnxExporter {
    fn extension(&self) -> &str {
        "onnx"
    }

    fn export(&self, model: &Exported<'_>, out: &mut dyn Write) -> io::Result<()> {
        let graph = model.graph().map_err(|e| unsupported(e.to_string()))?;
        let desc = model.desc.to_yaml().map_err(io::Error::other)?;
        let mut file = network(&graph, model.state, model.info, model.options)?;
        file.metadata_props.push(text("model_desc", &desc));
        out.write_all(&file.encode_to_vec())
    }

    fn check(&self, desc: &ModelDesc, catalog: &OpCatalog, _options: &Options) -> io::Result<()> {
        let graph = desc
            .lower(catalog)
            .map_err(|e| unsupported(e.to_string()))?;
        lower::check(&graph.inference())
    }

    fn options(&self) -> &[&str] {
        &["input", "softmax", "fold_norms", "half"]
    }

    fn usage(&self, file: &str) -> Option<String> {
        Some(format!("onnxruntime.InferenceSession(\"{file}\")"))
    }
}

/// A network as a file of ONNX, all but its description: `graph` is what it is at inference.
///
/// # Errors
/// A parameter that is missing or has another shape; of kind `Unsupported` for a supernet.
pub fn network(
    graph: &Graph,
    state: &[NamedTensor],
    info: &ModelInfo,
    options: &Options,
) -> io::Result<proto::Model> {
    let folded = match options.fold_norms {
        true => Some(fold_norms(graph, state)?),
        false => None,
    };
    let (graph, state) = match &folded {
        Some((graph, state)) => (graph, state.as_slice()),
        None => (graph, state),
    };
    let weights = Weights::new(graph, state)?;
    let mut lowered = lower::lower(graph, &weights, info, options)?;
    lowered.name = "network".to_string();
    half::halve(&mut lowered, state, &width::widths(state, options)?);
    let mut metadata_props: Vec<proto::Text> = (info.metadata().iter())
        .map(|(name, value)| text(name, value))
        .collect();
    metadata_props.push(text("input", options.input.name()));
    Ok(proto::Model {
        ir_version: IR_VERSION,
        producer_name: "archai".to_string(),
        producer_version: env!("CARGO_PKG_VERSION").to_string(),
        graph: Some(lowered),
        opset_import: vec![proto::OperatorSet {
            domain: String::new(),
            version: OPSET,
        }],
        metadata_props,
        ..proto::Model::default()
    })
}

fn text(name: &str, value: &str) -> proto::Text {
    proto::Text {
        key: name.to_string(),
        value: value.to_string(),
    }
}
