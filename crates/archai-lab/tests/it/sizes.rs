//! Images of any size: with the settings that follow from it, search and evaluation build and train.

use std::fs;

use archai_lab::{Lab, NoObserver, Request, RunMode};
use archai_spec::settings::ForSize;

/// Height and width. The last ones are odd before a reduction, or before both.
const SIZES: [[usize; 2]; 13] = [
    [16, 16],
    [28, 28],
    [32, 32],
    [48, 48],
    [64, 64],
    [96, 96],
    [128, 128],
    [224, 224],
    [48, 64],
    [30, 42],
    [31, 17],
    [75, 110],
    [9, 7],
];

/// As many steps as there are phases, of networks as narrow as they can be, with both reductions and a tower.
const SMALL: [&str; 18] = [
    "nas.search.loader.dataset.max_batches=2",
    "nas.search.loader.train_batch=2",
    "nas.search.loader.test_batch=2",
    "nas.search.loader.train_workers=0",
    "nas.search.model_desc.n_cells=5",
    "nas.search.model_desc.cell.n_nodes=2",
    "nas.search.model_desc.model_stems.init_node_ch=2",
    "nas.search.trainer.epochs=1",
    "nas.search.guard.hessian=false",
    "nas.eval.loader.dataset.max_batches=1",
    "nas.eval.loader.train_batch=2",
    "nas.eval.loader.test_batch=2",
    "nas.eval.loader.train_workers=0",
    "nas.eval.loader.cutout=0",
    "nas.eval.model_desc.n_cells=5",
    "nas.eval.model_desc.model_stems.init_node_ch=2",
    "nas.eval.export=[safetensors]",
    "nas.eval.model_filename=$expdir/model.safetensors",
];

#[test]
fn every_size_trains() {
    let folder = tempfile::tempdir().unwrap();
    for size in SIZES {
        let [height, width] = size;
        let chosen = ForSize::of(size);
        let data = folder.path().join(format!("s{height}x{width}.yaml"));
        let section = format!(
            "dataset: {{format: embedded, path: fashion_mnist_mini, n_classes: 10, channels: 3, size: [{height}, {width}], \
             mean: [0.3, 0.3, 0.3], std: [0.3, 0.3, 0.3], crop_padding: 1}}\n"
        );
        fs::write(&data, section + &chosen.yaml().unwrap_or_default()).unwrap();
        for algorithm in ["darts", "random", "manual"] {
            let mut overrides = SMALL.map(String::from).to_vec();
            // Smoke mode has one reduction in the search.
            let reductions = chosen.n_reductions;
            overrides.push(format!("nas.search.model_desc.n_reductions={reductions}"));
            let request = Request {
                algorithms: vec![algorithm.to_string()],
                datasets: Some(vec![data.display().to_string()]),
                logdir: Some(folder.path().display().to_string()),
                threads: Some(2),
                mode: RunMode::Smoke,
                overrides,
                ..Request::new("")
            };
            let lab = Lab::builtin();
            if let Err(error) = lab.run(&request, &NoObserver) {
                panic!("{algorithm} on {height}×{width}: {error}");
            }
        }
    }
}
