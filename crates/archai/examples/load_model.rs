//! A saved model in a program of your own: the description gives the structure, the safetensors file the numbers.
//!
//! ```text
//! cargo run --release --example load_model -- ~/logdir/darts_fashion_mnist_mini_throwaway_eval
//! ```
//!
//! It classifies a few images of noise and writes images and logits to `reference.safetensors` beside the model, so that
//! another program (`interop/torch_eval.py`) can be compared with this one.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use archai::data::rng::Key;
use archai::engine::export::{ModelInfo, load_safetensors, save_safetensors};
use archai::engine::model::ModelOptions;
use archai::engine::params::NamedTensor;
use archai::engine::{Model, OpRegistry};
use archai::spec::desc::ModelDesc;

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args()
        .nth(1)
        .ok_or("usage: load_model EVAL_DIR")?;
    let dir = Path::new(&dir);

    let registry = OpRegistry::builtin();
    let file = dir.join("full_model_desc.yaml");
    let text = std::fs::read_to_string(&file)?;
    let desc = ModelDesc::from_yaml(&text, &file.display().to_string(), registry.catalog())?;
    // Auxiliary towers are for training; what is saved is the network without them.
    let desc = desc.without_towers();
    let mut model = Model::compile(&desc, &registry, &ModelOptions::default())?;
    let (state, _) = load_safetensors(&dir.join("model.safetensors"))?;
    model.set_named_state(&state)?;
    let info: ModelInfo =
        serde_saphyr::from_str(&std::fs::read_to_string(dir.join("model.yaml"))?)?;

    let shape = [8, desc.input.channels, desc.input.height, desc.input.width];
    let mut noise = Key::new(1).with("images of noise").rng();
    let images: Vec<f32> = (0..shape.iter().product())
        .map(|_| noise.normal() as f32)
        .collect();
    let logits = model.predict(images.clone(), shape)?;
    for (i, row) in logits.values.chunks(logits.classes).enumerate() {
        let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        let class = best.map_or(0, |(class, _)| class);
        // Not all data sets name their classes.
        let name = info.class_names.get(class).map_or("", String::as_str);
        println!("image {i}: class {class} {name}");
    }

    let tensor = |name: &str, shape: Vec<usize>, values: Vec<f32>| NamedTensor {
        name: name.into(),
        shape,
        values: values.into_iter().map(f64::from).collect(),
    };
    let out = dir.join("reference.safetensors");
    let logits = tensor("logits", vec![logits.n, logits.classes], logits.values);
    let images = tensor("images", shape.to_vec(), images);
    save_safetensors(&out, &[images, logits], &BTreeMap::new())?;
    println!("images and logits are in {}", out.display());
    Ok(())
}
