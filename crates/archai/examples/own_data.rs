//! A search on images of your own, from Rust and without a command line: the images are made in memory, a data format of
//! this program gives them a name, and the lab searches, trains what it found and returns the results.
//!
//! ```text
//! cargo run --release --example own_data -- some/folder
//! ```

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use archai::data::{DataError, DataFormat, Dataset, InMemory, Split, rng::Key};
use archai::lab::Outcome;
use archai::spec::event::{Event, Progress};
use archai::spec::registry::Named;
use archai::{Lab, LabEvent, Observer, Request, settings};

/// Images that a configuration calls `format: stripes`: noisy stripes, horizontal ones of class 0 and vertical ones of class 1.
struct Stripes;

impl Named for Stripes {
    fn name(&self) -> &str {
        "stripes"
    }

    fn about(&self) -> &str {
        "noisy stripes, whose direction is their class"
    }
}

impl DataFormat for Stripes {
    fn open(
        &self,
        section: &settings::Dataset,
        split: Split,
    ) -> Result<Arc<dyn Dataset>, DataError> {
        let (n, [height, width]) = (400, section.size);
        let mut noise = Key::new(1).with(split.as_str()).rng();
        let labels: Vec<u32> = (0..n).map(|i| i % 2).collect();
        let mut pixels = Vec::with_capacity(labels.len() * height * width);
        for label in &labels {
            let shift = noise.uniform_u32_below(4) as usize;
            for y in 0..height {
                for x in 0..width {
                    let along = if *label == 0 { y } else { x };
                    let bright = if (along + shift) % 4 < 2 { 160 } else { 40 };
                    pixels.push(bright + noise.uniform_u32_below(60) as u8);
                }
            }
        }
        let shape = [section.channels, height, width];
        let images = InMemory::new(&section.name, section.n_classes, shape, pixels, labels)?;
        Ok(Arc::new(images))
    }

    fn needs_path(&self) -> bool {
        false
    }
}

/// The data set, as any configuration describes one.
const DATASET: &str = "\
dataset:
  name: my_stripes
  format: stripes
  path: ''
  n_classes: 2
  channels: 1
  size: [16, 16]
  mean: [0.5]
  std: [0.25]
";

/// Shows which phase and which training begin.
struct Watch;

impl Observer for Watch {
    fn observe(&self, event: &LabEvent<'_>) {
        match event {
            LabEvent::PhaseBegins { phase, dir, .. } => println!("{phase} in {}", dir.display()),
            LabEvent::Emitted {
                event: Event::Progress(Progress::Begin { title, epochs, .. }),
                ..
            } => println!("  {title}: {epochs} epochs"),
            _ => {}
        }
    }
}

/// Searches with DARTS in toy mode, on a few batches, and trains what it found. All files go below `folder`.
pub fn search(folder: &Path) -> Result<Outcome, Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    let dataset = folder.join("my_stripes.yaml");
    std::fs::write(&dataset, DATASET)?;
    // With the clock, the folder and the variables of this process: the logs tell the time, and what is interrupted can be
    // resumed by the command line, too.
    let lab = Lab::builtin().with_format(Stripes).on(archai::cli::host());
    let request = Request {
        datasets: Some(vec![dataset.display().to_string()]),
        logdir: Some(folder.display().to_string()),
        // So little to learn needs no auxiliary classifier.
        overrides: [
            "nas.eval.trainer.epochs=3",
            "nas.eval.model_desc.aux_weight=0.0",
        ]
        .map(String::from)
        .to_vec(),
        ..Request::new("darts")
    };
    let mut outcomes = lab.run(&request, &Watch)?;
    Ok(outcomes.pop().ok_or("one algorithm gives one outcome")?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: own_data FOLDER")?;
    let outcome = search(Path::new(&folder))?;
    if let Some(found) = &outcome.search {
        println!("found {}", found.genotype.as_deref().unwrap_or("a network"));
    }
    for (figure, value) in outcome.figures() {
        println!("{figure}: {value}");
    }
    Ok(())
}
