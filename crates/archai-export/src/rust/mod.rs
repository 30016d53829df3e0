//! A crate that runs one network: Rust source with a line per layer or block, the weights, and the kernels that compute them as
//! a crate below it. It needs nothing else but the thread pool `rayon`, and builds in an empty folder.
//!
//! The kernels are those of `archai-kernels`, whose sources travel inside this crate. The other choice, tract with the ONNX
//! file, brings 120 packages where this brings 8, and its source says nothing of the network.

mod source;

use std::io::{self, Read, Write};

use archai_spec::desc::{ModelDesc, OpCatalog};
use archai_spec::graph::Graph;
use archai_spec::registry::Named;

use crate::safetensors::SafetensorsExporter;
use crate::{Exported, Exporter, ModelInfo, Options, invalid};

/// Writes a crate that runs the network.
#[derive(Clone, Copy, Debug)]
pub struct RustExporter;

impl Named for RustExporter {
    fn name(&self) -> &str {
        "rust"
    }
    fn about(&self) -> &str {
        "a Rust crate that runs it, with its kernels"
    }
}

/// The sources of the kernels: of each file the length of its name, the name, its length and its text, deflated.
const KERNELS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kernels.deflate"));

/// The files that are the same for every network.
const FIXED: [(&str, &str); 3] = [
    ("src/builder.rs", include_str!("../../template/builder.rs")),
    ("src/weights.rs", include_str!("../../template/weights.rs")),
    ("src/main.rs", include_str!("../../template/main.rs")),
];

/// The files that depend on the network. The manifest is the last one: without it the folder is no crate.
const OWN: [&str; 5] = [
    "src/network.rs",
    "src/lib.rs",
    "README.md",
    "model.safetensors",
    "Cargo.toml",
];

impl Exporter for RustExporter {
    fn extension(&self) -> &str {
        ""
    }

    fn options(&self) -> &[&str] {
        &["half"]
    }

    fn check(&self, desc: &ModelDesc, catalog: &OpCatalog, _: &Options) -> io::Result<()> {
        let graph = desc.lower(catalog).map_err(unsupported)?.inference();
        source::source(&graph).map(drop)
    }

    fn companions(&self, stem: &str) -> Vec<String> {
        let kernels = kernels();
        let files = kernels.iter().map(|(name, _)| format!("kernels/{name}"));
        let files = files.chain(FIXED.map(|(name, _)| name.to_string()));
        let files = files.chain(OWN.map(String::from));
        files.map(|file| format!("{stem}_rust/{file}")).collect()
    }

    fn export(&self, _: &Exported<'_>, _: &mut dyn Write) -> io::Result<()> {
        Err(invalid("a Rust crate has no main file".to_string()))
    }

    fn export_companion(
        &self,
        name: &str,
        model: &Exported<'_>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let file = name.split_once('/').map_or(name, |(_, file)| file);
        if let Some(kernel) = file.strip_prefix("kernels/") {
            let kernels = kernels();
            let found = kernels.iter().find(|(name, _)| name == kernel);
            let (_, text) =
                found.ok_or_else(|| invalid(format!("there are no kernels `{kernel}`")))?;
            return out.write_all(text.as_bytes());
        }
        if let Some((_, text)) = FIXED.iter().find(|(name, _)| *name == file) {
            return out.write_all(text.as_bytes());
        }
        let text = match file {
            "src/network.rs" => network(&graph(model)?)?,
            "src/lib.rs" => lib(model.info, &graph(model)?),
            "README.md" => readme(model.info),
            "Cargo.toml" => MANIFEST.to_string(),
            "model.safetensors" => return SafetensorsExporter.export(model, out),
            _ => return Err(invalid(format!("`rust` writes no file `{name}`"))),
        };
        out.write_all(text.as_bytes())
    }

    fn is_large(&self, companion: &str) -> bool {
        companion.ends_with(".safetensors")
    }

    fn describe_companion(&self, name: &str, what: &str) -> String {
        match name.split_once('/').map_or(name, |(_, file)| file) {
            "Cargo.toml" => format!("{what}, as {}", self.about()),
            "model.safetensors" => format!("{what}, of the Rust crate"),
            "src/network.rs" => "the network as Rust source".to_string(),
            "README.md" => "how the Rust crate is used".to_string(),
            file if file.starts_with("kernels/") => "kernels of the Rust crate".to_string(),
            _ => "source of the Rust crate".to_string(),
        }
    }

    fn usage(&self, file: &str) -> Option<String> {
        let folder = file.strip_suffix("/Cargo.toml")?;
        // The kernels below it are a crate, too, which nobody begins with.
        if folder.contains('/') {
            return None;
        }
        Some(format!(
            "cargo run --release --manifest-path {file} -- {folder}/model.safetensors IMAGE.ppm"
        ))
    }
}

fn graph(model: &Exported<'_>) -> io::Result<Graph> {
    model.graph().map_err(unsupported)
}

fn unsupported(error: archai_spec::desc::DescErrors) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, error.to_string())
}

/// The kernels' files, by their names in their crate.
fn kernels() -> Vec<(String, String)> {
    let mut all = Vec::new();
    // The bytes are this crate's own: a test reads them.
    let read = flate2::read::DeflateDecoder::new(KERNELS).read_to_end(&mut all);
    assert!(
        read.is_ok(),
        "the sources of the kernels, which are part of the program, are whole"
    );
    let mut rest = all.as_slice();
    let mut take = || -> Option<String> {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (text, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        rest = after;
        String::from_utf8(text.to_vec()).ok()
    };
    let mut files = Vec::new();
    while let (Some(name), Some(text)) = (take(), take()) {
        files.push((name, text));
    }
    files
}

fn network(graph: &Graph) -> io::Result<String> {
    let functions = source::source(graph)?;
    let conv = if functions.contains(" conv(") {
        ", conv"
    } else {
        ""
    };
    Ok(format!(
        "//! The network, part by part. A name is that of the part's numbers in the weights.\n\n\
         use archai_kernels::infer::Net;\n\n\
         use crate::Error;\n\
         use crate::builder::{{Builder, Value{conv}}};\n\
         use crate::weights::Weights;\n\n\
         {functions}"
    ))
}

fn lib(info: &ModelInfo, graph: &Graph) -> String {
    let numbers = |values: &[f32]| {
        let texts: Vec<String> = values.iter().map(|v| format!("{v:?}")).collect();
        format!("[{}]", texts.join(", "))
    };
    let classes: Vec<String> = info
        .class_names
        .iter()
        .map(|name| format!("    {name:?},\n"))
        .collect();
    let [height, width] = info.size;
    let channels = info.channels;
    let n_classes = graph.values[graph.logits].shape.channels;
    format!(
        "//! A trained network: images of {channels} channels and {width}x{height} pixels in, {n_classes} classes out. archai wrote this \
         crate; it may be\n//! edited like any other.\n\
         //!\n\
         //! ```no_run\n\
         //! let network = network::Network::load(\"model.safetensors\")?;\n\
         //! let pixels = [0; network::CHANNELS * network::HEIGHT * network::WIDTH];\n\
         //! let best = &network.classify(&pixels)?[0];\n\
         //! println!(\"{{}}: {{:.1}} %\", best.name, 100.0 * best.probability);\n\
         //! # Ok::<(), network::Error>(())\n\
         //! ```\n\n\
         mod builder;\n\
         mod network;\n\
         mod weights;\n\n\
         /// The classes' names, in the order of the outputs; empty if they have none.\n\
         pub const CLASSES: [&str; {}] = [\n{}];\n\
         /// How many outputs there are.\n\
         pub const N_CLASSES: usize = {n_classes};\n\
         /// Channels of an image.\n\
         pub const CHANNELS: usize = {channels};\n\
         /// Rows of an image.\n\
         pub const HEIGHT: usize = {height};\n\
         /// Columns of an image.\n\
         pub const WIDTH: usize = {width};\n\
         /// The mean of each channel, which is subtracted from pixels between 0 and 1.\n\
         pub const MEAN: [f32; CHANNELS] = {};\n\
         /// The standard deviation of each channel, by which they are divided then.\n\
         pub const STD: [f32; CHANNELS] = {};\n\n\
         {}",
        classes.len(),
        classes.concat(),
        numbers(&info.mean),
        numbers(&info.std),
        include_str!("../../template/lib_tail.rs"),
    )
}

fn readme(info: &ModelInfo) -> String {
    let [height, width] = info.size;
    let kind = if info.channels == 1 { "pgm" } else { "ppm" };
    include_str!("../../template/README.md")
        .replace("WIDTHxHEIGHT", &format!("{width}x{height}"))
        .replace("KIND", kind)
}

const MANIFEST: &str = "\
[package]
name = \"network\"
description = \"A trained network\"
version = \"0.1.0\"
edition = \"2024\"
publish = false

[dependencies]
archai-kernels = { path = \"kernels\" }

# Whatever it is built in, it stands by itself.
[workspace]
";
