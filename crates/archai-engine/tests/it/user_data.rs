//! A format of data sets and a transform that no crate here knows, from a configuration to a trained search: with public
//! items only, as a user's program has them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use archai_data::{
    DataError, DataFormat, Dataset, InMemory, Scope, Split, Step, Transform, rng::Key,
};
use archai_engine::experiment::{Experiment, ExperimentRunner};
use archai_engine::phases::run_search;
use archai_engine::run::{NoClock, Run, StopFlag};
use archai_engine::{Components, Compute};
use archai_spec::config::{ConfigLoader, Schema, parse_overrides};
use archai_spec::desc::{DartsModelDescBuilder, ModelDescBuilder};
use archai_spec::registry::Named;
use archai_spec::settings;

use crate::train_support::Recorded;

/// Noise, brighter for the second class.
struct Noise;

impl Named for Noise {
    fn name(&self) -> &str {
        "noise"
    }
    fn about(&self) -> &str {
        "noise of two brightnesses"
    }
}

impl DataFormat for Noise {
    fn open(&self, set: &settings::Dataset, split: Split) -> Result<Arc<dyn Dataset>, DataError> {
        let n = 32;
        let mut rng = Key::new(1).with(split.as_str()).rng();
        let labels: Vec<u32> = (0..n).map(|i| i % 2).collect();
        let shape = [set.channels, set.size[0], set.size[1]];
        let side = shape.iter().product::<usize>();
        let pixels = labels.iter().flat_map(|label| vec![*label; side]);
        let pixels = pixels.map(|label| (100 * label + rng.uniform_u32_below(100)) as u8);
        let pixels = pixels.collect();
        Ok(Arc::new(InMemory::new(
            &set.name, 2, shape, pixels, labels,
        )?))
    }
    fn needs_path(&self) -> bool {
        false
    }
}

/// Counts the images that go through.
struct Counted(Arc<AtomicUsize>);

impl Named for Counted {
    fn name(&self) -> &str {
        "counted"
    }
    fn about(&self) -> &str {
        "images are counted"
    }
}

impl Transform for Counted {
    fn prepare(&self, scope: &Scope<'_>) -> Result<Option<Step>, DataError> {
        let count = Arc::clone(&self.0);
        let training = scope.training;
        Ok(training.then(|| -> Step {
            Arc::new(move |_, _| {
                count.fetch_add(1, Ordering::Relaxed);
            })
        }))
    }
}

struct Plain;

impl ExperimentRunner for Plain {
    fn model_desc_builder(&self) -> Box<dyn ModelDescBuilder> {
        Box::new(DartsModelDescBuilder)
    }
}

#[test]
fn a_search_trains_on_a_format_and_through_a_transform_of_ones_own() {
    let count = Arc::new(AtomicUsize::new(0));
    let mut components = Components::builtin();
    components.formats.register(Arc::new(Noise)).unwrap();
    components.transforms = (components.transforms).with(Arc::new(Counted(Arc::clone(&count))));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("noise.yaml");
    let text = "dataset: {format: noise, path: none, n_classes: 2, channels: 1, size: [8, 8], mean: [0.4], std: [0.2], \
                crop_padding: 0, flip: false, transforms: [normalise, counted]}";
    std::fs::write(&file, text).unwrap();
    let load = |schema: Schema| {
        let overrides = [
            "nas.search.model_desc.n_cells=3",
            "nas.search.model_desc.n_reductions=1",
            "nas.search.model_desc.cell.n_nodes=1",
            "nas.search.model_desc.model_stems.init_node_ch=4",
            "nas.search.loader.train_batch=8",
            "nas.search.trainer.epochs=1",
            "nas.search.guard.hessian=false",
        ];
        let overrides: Vec<String> = overrides.map(str::to_owned).into();
        ConfigLoader::new(&archai_spec::config::Files)
            .files("archai:algos/common.yaml")
            .dataset(file.to_str().unwrap())
            .overrides(parse_overrides(&overrides).unwrap())
            .load(&schema)
    };
    let error = load(Components::builtin().naming(Schema::settings()));
    let error = error.unwrap_err().to_string();
    for part in [
        "dataset.format: unknown value `noise` (valid: embedded, ",
        "dataset.transforms.1: unknown value `counted` (valid: ",
    ] {
        assert!(error.contains(part), "{part:?} is missing in {error}");
    }

    let tree = load(components.naming(Schema::settings())).unwrap();
    let vars = [("HOME", folder.path()), ("expdir", folder.path())];
    let vars = vars.map(|(name, dir)| (name.to_string(), dir.display().to_string()));
    let tree = tree.expanded(&vars.into_iter().collect()).unwrap();
    let settings = tree.settings().unwrap();
    let (events, stop) = (Recorded::default(), StopFlag::new());
    let search = |components: Components| {
        let experiment = Experiment {
            settings: &settings,
            components,
            compute: Compute::cpu(),
            run: Run::new(&events, &NoClock, &stop, 3),
            dir: folder.path(),
        };
        run_search(&experiment, &Plain)
    };
    search(components).unwrap();
    // 16 images to learn from, once, and as many in steps of the architecture, which this search does not take.
    assert_eq!(count.load(Ordering::Relaxed), 16);
    assert!(folder.path().join("final_model_desc.yaml").exists());

    let error = search(Components::builtin()).unwrap_err().to_string();
    assert!(
        error.contains("there is no transform `counted`; known are"),
        "{error}"
    );
}
