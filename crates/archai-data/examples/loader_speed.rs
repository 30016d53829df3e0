//! How fast a folder of pictures becomes batches, as JSON:
//!
//! ```text
//! cargo run --release -p archai-data --example loader_speed -- FOLDER [--workers N] [--size N] [--batch N]
//! ```
//!
//! `FOLDER/train` has a folder for each class. A pass over all pictures, after one that is not measured: a random part of each,
//! scaled to the size, mirrored at random, normalised, as training on ImageNet does. `bench/loader.py` compares it with torchvision.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Instant;

use archai_data::rng::Key;
use archai_data::{Loader, Pipeline, Split, formats, open, transforms};
use archai_spec::settings;
use serde_json::json;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let folder = args.first().ok_or("expected a folder")?;
    let number = |name: &str, default: usize| -> Result<usize, Box<dyn Error>> {
        match args.iter().position(|arg| arg == name) {
            None => Ok(default),
            Some(i) => Ok(args
                .get(i + 1)
                .ok_or(format!("{name} needs a number"))?
                .parse()?),
        }
    };
    let (workers, size) = (number("--workers", 2)?, number("--size", 224)?);
    let batch = number("--batch", 64)?;
    let n_classes = fs::read_dir(Path::new(folder).join("train"))?.count();
    let section: settings::Dataset = serde_json::from_value(json!({
        "name": "pictures", "format": "image_folder", "path": folder, "n_classes": n_classes, "channels": 3,
        "size": [size, size], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
        "resize": "crop", "random_resized_crop": {}, "crop_padding": 0, "flip": true,
    }))?;
    let data = open(&formats::builtin(), &section, Split::Train)?;
    let pipeline = Pipeline::train(&section, 0, &transforms::builtin())?;
    let loader = Loader::new(data, pipeline, batch)
        .shuffled(Key::new(1))
        .with_workers(workers);
    let mut seconds = 0.0;
    for epoch in 0..2 {
        let start = Instant::now();
        for batch in loader.epoch(epoch) {
            batch?;
        }
        seconds = start.elapsed().as_secs_f64();
    }
    let images = loader.n_images();
    let speed = images as f64 / seconds;
    println!(
        "{}",
        json!({"images": images, "workers": workers, "size": size, "seconds": seconds, "images_per_s": speed})
    );
    Ok(())
}
