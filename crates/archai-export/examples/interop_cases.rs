//! Writes networks as files for other programs, with images and the logits that they must give, so that the scripts in
//! `interop/` can compare: `cargo run --release -p archai-export --example interop_cases -- DIR [--networks N]`.
//!
//! Each case is a folder with the files of every exporter, called `model`, and `case.safetensors`: `images` (normalised, unless
//! the case says otherwise) and `output`, by `archai_export::reference`; `model.int8.onnx`, quantised on these images, and
//! `int8_logits`, what it is simulated to give. Its texts say what the case stands for (`group`).

#[path = "../tests/it/cases.rs"]
mod cases;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use archai_export::onnx::Int8Exporter;
use archai_export::quant::{Calibration, Method, Quantised};
use archai_export::reference::{Maps, Reference};
use archai_export::{
    ExportInput, Exported, Exporter, Formats, ModelInfo, NamedTensor, Options, builtin,
    write_safetensors,
};
use archai_spec::desc::{OpCatalog, Shape};
use flate2::read::GzDecoder;

use cases::Case;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (dir, n) = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [dir] => (PathBuf::from(dir), 50),
        [dir, "--networks", n] => (PathBuf::from(dir), n.parse()?),
        _ => return Err("usage: interop_cases DIR [--networks N]".into()),
    };
    let catalog = cases::catalog();
    let mut ops = cases::ops(&catalog);
    ops.extend(cases::parametric(&catalog));
    let searched = cases::searched(n.min(MEMBERS));
    let drawn = cases::drawn(n, &catalog);
    // What is computed in 64-bit loops has to be small.
    let mut zoo = cases::of_zoo(&catalog);
    zoo.retain(|case| {
        let params = case
            .desc
            .lower(&catalog)
            .map(|graph| graph.cost(false).params);
        let is_small = params.is_ok_and(|n| n <= MAX_PARAMS);
        if !is_small {
            println!("left out, for its size: {}", case.name);
        }
        is_small
    });
    let mut written = 0;
    let all = ops.iter().chain(&drawn).chain(&searched).chain(&zoo);
    for (i, case) in all.enumerate() {
        // Every second network has its norms folded.
        let options = Options {
            fold_norms: i % 2 == 1,
            ..Options::default()
        };
        write(&dir, case, &catalog, &options)?;
        written += 1;
    }
    // What may be chosen, on one network of each space.
    for case in drawn.iter().filter(|case| case.name == "0") {
        for (input, softmax) in [
            (ExportInput::Unit, false),
            (ExportInput::Bytes, false),
            (ExportInput::Bytes, true),
        ] {
            let options = Options {
                input,
                softmax,
                fold_norms: true,
                ..Options::default()
            };
            let case = Case {
                group: format!(
                    "input {}{}",
                    input.name(),
                    if softmax { ", softmax" } else { "" }
                ),
                name: case.group.clone(),
                desc: case.desc.clone(),
            };
            write(&dir, &case, &catalog, &options)?;
            written += 1;
        }
    }
    // Real pictures, as a user's program would hand them in.
    for case in cases::for_pictures(&catalog) {
        let options = Options {
            input: ExportInput::Bytes,
            ..Options::default()
        };
        write_with(&dir, &case, &catalog, &options, pictures(case.desc.input)?)?;
        written += 1;
    }
    println!("{written} cases in {}", dir.display());
    Ok(())
}

/// Images of a case: as many as no axis of a network has.
const N_IMAGES: usize = 3;

/// Most members of each space of discrete search: they are larger than the other networks.
const MEMBERS: usize = 3;

/// Most parameters of a published network among the cases.
const MAX_PARAMS: u64 = 1_500_000;

/// The first test pictures of Fashion-MNIST, of which a part comes with the program, as bytes.
fn pictures(shape: Shape) -> Result<Maps, Box<dyn Error>> {
    let file = "../archai-data/assets/fashion_mnist_mini/t10k-images-idx3-ubyte.gz";
    let file = File::open(Path::new(env!("CARGO_MANIFEST_DIR")).join(file))?;
    // Four numbers of four bytes come before the pixels.
    let n: usize = [N_IMAGES, shape.channels, shape.height, shape.width]
        .iter()
        .product();
    let mut bytes = vec![0; 16 + n];
    GzDecoder::new(file).read_exact(&mut bytes)?;
    let values = bytes[16..].iter().map(|&b| f64::from(b)).collect();
    let shape = [N_IMAGES, shape.channels, shape.height, shape.width];
    Ok(Maps::new(shape, values)?)
}

fn write(
    dir: &Path,
    case: &Case,
    catalog: &OpCatalog,
    options: &Options,
) -> Result<(), Box<dyn Error>> {
    let mut images = cases::images(N_IMAGES, case.desc.input, 5);
    let bytes = |v: f64| (v * 60.0 + 127.0).clamp(0.0, 255.0).round();
    for v in &mut images.values {
        *v = match options.input {
            ExportInput::Normalised => *v,
            ExportInput::Unit => f64::from((bytes(*v) / 255.0) as f32),
            ExportInput::Bytes => bytes(*v),
        };
    }
    write_with(dir, case, catalog, options, images)
}

/// Writes a case with the images that its network is given.
fn write_with(
    dir: &Path,
    case: &Case,
    catalog: &OpCatalog,
    options: &Options,
    images: Maps,
) -> Result<(), Box<dyn Error>> {
    let graph = case.desc.lower(catalog)?.inference();
    let state = cases::trained(&graph, 11);
    let image = case.desc.input;
    let of_channels = |numbers: [f32; 3]| {
        let numbers = numbers.into_iter().cycle();
        numbers.take(image.channels).collect::<Vec<f32>>()
    };
    let info = ModelInfo {
        class_names: (0..case.desc.n_classes)
            .map(|i| format!("class {i}"))
            .collect(),
        n_classes: case.desc.n_classes,
        channels: image.channels,
        size: [image.height, image.width],
        mean: of_channels([0.5, 0.25, 0.375]),
        std: of_channels([0.25, 0.5, 0.125]),
        transforms: vec!["normalise".to_string()],
        pictures: Default::default(),
        provenance: Default::default(),
    };
    // The numbers that the images stand for.
    let normal = match options.input {
        ExportInput::Normalised => images.clone(),
        ExportInput::Unit | ExportInput::Bytes => {
            let bytes = options.input == ExportInput::Bytes;
            let max = if bytes { 255.0 } else { 1.0 };
            Maps::from_fn(images.shape, |n, c, y, x| {
                (images.at(n, c, y, x) / max - f64::from(info.mean[c])) / f64::from(info.std[c])
            })
        }
    };
    let mut output = Reference::new(&graph, &state)?.logits(&normal)?;
    if options.softmax {
        for row in output.values.chunks_exact_mut(info.n_classes) {
            let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            row.iter_mut().for_each(|v| *v = (*v - max).exp());
            let sum: f64 = row.iter().sum();
            row.iter_mut().for_each(|v| *v /= sum);
        }
    }
    let place = dir.join(format!("{} {}", case.group, case.name).replace([' ', ','], "_"));
    fs::create_dir_all(&place)?;
    let model = Exported {
        desc: &case.desc,
        catalog,
        state: &state,
        info: &info,
        options,
    };
    // Each format with the options that it heeds.
    for exporter in builtin().iter() {
        let formats = Formats::new(&builtin(), &[exporter.name()], &Options::default())?;
        for product in formats.products_beside(&place.join("model")) {
            let mut bytes = Vec::new();
            product.write(&model, &mut bytes)?;
            fs::create_dir_all(product.path().parent().unwrap_or(&place))?;
            fs::write(product.path(), bytes)?;
        }
    }
    let calibration = Calibration {
        images: &normal,
        method: Method::MinMax,
        threads: 1,
    };
    let quantised = Quantised::new(&graph, &state, &calibration)?;
    let int8_logits = quantised.logits(&normal)?;
    let mut bytes = Vec::new();
    Int8Exporter::new(quantised).export(&model, &mut bytes)?;
    fs::write(place.join("model.int8.onnx"), bytes)?;
    let tensor = |name: &str, shape: &[usize], values: &[f64]| NamedTensor {
        name: name.to_string(),
        shape: shape.to_vec(),
        values: values.to_vec(),
    };
    let tensors = [
        tensor("images", &images.shape, &images.values),
        tensor("output", &[N_IMAGES, info.n_classes], &output.values),
        tensor(
            "int8_logits",
            &[N_IMAGES, info.n_classes],
            &int8_logits.values,
        ),
    ];
    let texts = [
        ("group", case.group.as_str()),
        ("input", options.input.name()),
    ];
    let texts: BTreeMap<String, String> = texts.map(|(k, v)| (k.into(), v.into())).into();
    let mut bytes = Vec::new();
    write_safetensors(&mut bytes, &tensors, &texts)?;
    fs::write(place.join("case.safetensors"), bytes)?;
    Ok(())
}
