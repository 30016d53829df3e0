//! Runs ONNX files with tract: `tract-check CASES_DIR [--json FILE]`.
//!
//! CASES_DIR is what `cargo run --release -p archai-export --example interop_cases -- CASES_DIR` writes: folders with
//! `model.onnx` and `case.safetensors` (images, and the output that the network must give for them). Each network must give
//! this output for all images at once and for the first one alone. FILE gets the largest difference of each group of cases, as
//! `onnx_check.py` writes it.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use safetensors::SafeTensors;
use serde_json::json;
use tract_onnx::prelude::*;

/// Outputs are of the size of 1; what 32-bit sums differ by is far below.
const TOLERANCE: f32 = 1e-4;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool, Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (cases, json_file) = match args.as_slice() {
        [cases] => (cases, None),
        [cases, flag, file] if flag == "--json" => (cases, Some(file)),
        _ => return Err("expected CASES_DIR [--json FILE]".into()),
    };
    let mut folders: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(cases)? {
        let folder = entry?.path();
        if folder.join("model.onnx").is_file() {
            folders.push(folder);
        }
    }
    folders.sort();
    if folders.is_empty() {
        return Err(format!("no cases in {cases}").into());
    }
    let mut groups: BTreeMap<String, (usize, f32)> = BTreeMap::new();
    let mut failed = 0;
    for folder in &folders {
        match check(folder) {
            Ok((group, difference)) => {
                let group = groups.entry(group).or_default();
                *group = (group.0 + 1, group.1.max(difference));
            }
            Err(error) => {
                failed += 1;
                println!("{}: {}", folder.display(), with_causes(&*error));
            }
        }
    }
    for (group, (cases, difference)) in &groups {
        println!("{group}: {cases} cases, largest difference {difference:e}");
    }
    println!(
        "{} of {} cases agree with tract",
        folders.len() - failed,
        folders.len()
    );
    if let Some(file) = json_file {
        let group = |(name, (cases, difference)): (&String, &(usize, f32))| {
            (
                name.clone(),
                json!({ "cases": cases, "difference": difference }),
            )
        };
        let all: serde_json::Map<String, serde_json::Value> = groups.iter().map(group).collect();
        fs::write(file, serde_json::Value::Object(all).to_string())?;
    }
    Ok(failed == 0)
}

/// An error and what caused it, one after the other.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// The group of a case, and the largest difference.
fn check(folder: &Path) -> Result<(String, f32), Box<dyn Error>> {
    let bytes = fs::read(folder.join("case.safetensors"))?;
    let (_, header) = SafeTensors::read_metadata(&bytes)?;
    let texts = header.metadata().clone().unwrap_or_default();
    let text = |name: &str| {
        texts
            .get(name)
            .cloned()
            .ok_or(format!("the case has no `{name}`"))
    };
    let case = SafeTensors::deserialize(&bytes)?;
    let (images, output) = (numbers(&case, "images")?, numbers(&case, "output")?);
    let is_bytes = text("input")? == "bytes";
    let group = text("group")?;
    // The batch stays a symbol, so one network takes any number of images.
    let network = tract_onnx::onnx()
        .model_for_path(folder.join("model.onnx"))?
        .into_typed()?;
    // A network that gives the same whatever it sees runs in tract, but its optimiser breaks off at such constants.
    let network = match group.as_str() {
        "op none" => network,
        _ => network.into_optimized()?,
    };
    let network = network.into_runnable()?;
    let mut worst = 0.0_f32;
    for n in [images.1[0], 1] {
        let input = input(&images, n, is_bytes)?;
        let outputs = network.run(tvec!(input.into_tvalue()))?;
        let plain = outputs[0].to_plain_array_view::<f32>()?;
        let given: Vec<f32> = plain.iter().copied().collect();
        let expected = &output.0[..n * output.1[1..].iter().product::<usize>()];
        if given.len() != expected.len() {
            return Err(format!("gives {} numbers, not {}", given.len(), expected.len()).into());
        }
        for (a, b) in given.iter().zip(expected) {
            let difference = (a - b).abs();
            // A number that is none is not small.
            if difference.is_nan() || difference > TOLERANCE {
                return Err(format!("differs by {difference} for {n} images").into());
            }
            worst = worst.max(difference);
        }
    }
    Ok((group, worst))
}

fn numbers(case: &SafeTensors<'_>, name: &str) -> Result<(Vec<f32>, Vec<usize>), Box<dyn Error>> {
    let tensor = case.tensor(name)?;
    let number = |b: &[u8; 4]| f32::from_le_bytes(*b);
    let values = tensor
        .data()
        .as_chunks::<4>()
        .0
        .iter()
        .map(number)
        .collect();
    Ok((values, tensor.shape().to_vec()))
}

/// The first `n` images.
fn input(
    (values, shape): &(Vec<f32>, Vec<usize>),
    n: usize,
    is_bytes: bool,
) -> TractResult<Tensor> {
    let mut shape = shape.clone();
    shape[0] = n;
    let values = &values[..shape.iter().product()];
    match is_bytes {
        false => Tensor::from_shape(&shape, values),
        true => {
            let bytes: Vec<u8> = values.iter().map(|&v| v as u8).collect();
            Tensor::from_shape(&shape, &bytes)
        }
    }
}
