//! The formats in which an evaluation leaves its model: those that the settings name, of a list that a program may add to.

use std::io::{self, Write};
use std::sync::Arc;

use archai_engine::EngineError;
use archai_engine::evaluater::{DefaultEvaluater, EvalResult, Evaluater};
use archai_engine::export::{Exported, Exporter, load_safetensors};
use archai_spec::registry::Named;

use crate::workbench::Workbench;

/// The names and shapes of all tensors.
struct Sizes {
    name: &'static str,
    extension: &'static str,
}

impl Named for Sizes {
    fn name(&self) -> &str {
        self.name
    }
    fn about(&self) -> &str {
        "a list of its tensors"
    }
}

impl Exporter for Sizes {
    fn extension(&self) -> &str {
        self.extension
    }
    fn export(&self, model: &Exported<'_>, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{} cells", model.desc.cells.len())?;
        let mut tensors = model.state.iter();
        tensors.try_for_each(|t| writeln!(out, "{} {:?}", t.name, t.shape))
    }
}

/// Evaluates with the built-in exporters, `sizes` and `again`, which writes safetensors' files.
fn evaluate(bench: &Workbench<'_>) -> Result<EvalResult, EngineError> {
    bench.with(|experiment| {
        let mut experiment = experiment.clone();
        for (name, extension) in [("sizes", "txt"), ("again", "safetensors")] {
            let exporters = &mut experiment.components.exporters;
            let added = exporters.register(Arc::new(Sizes { name, extension }));
            added.expect("a new name");
        }
        DefaultEvaluater.evaluate(&experiment, bench.runner.as_ref())
    })
}

#[test]
fn an_evaluation_writes_the_formats_that_it_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut bench = Workbench::new("darts", dir.path(), "nas.eval.loader.val_ratio=0");
    bench.search().expect("a search");
    let models = |result: EvalResult| -> Vec<(String, String)> {
        let files = result.files.into_iter();
        let models =
            files.filter(|f| f.what.starts_with("weights") || f.what.starts_with("source"));
        let names = models.map(|f| {
            let name = f.path.file_name().expect("a file").to_string_lossy();
            (name.into_owned(), f.what)
        });
        names.collect()
    };
    let entry = |name: &str, what: &str| (name.to_string(), what.to_string());
    let source = "source of the network in PyTorch, to read and to edit; as a program it classifies pictures";
    let last = "weights after the last epoch";
    let found = evaluate(&bench).expect("an evaluation");
    assert_eq!(
        models(found),
        [
            entry("model.safetensors", last),
            entry("model.pt", &format!("{last}, as a PyTorch state dict")),
            entry("model.py", source),
            entry(
                "model.onnx",
                &format!("{last}, as ONNX, for onnxruntime and many more")
            ),
        ]
    );
    let (tensors, _) = load_safetensors(&dir.path().join("model.safetensors")).expect("a file");

    bench.settings.nas.eval.export = vec!["pytorch".to_string(), "sizes".to_string()];
    let found = evaluate(&bench).expect("an evaluation");
    assert_eq!(
        models(found),
        [
            entry("model.pt", &format!("{last}, as a PyTorch state dict")),
            entry("model.py", source),
            entry("model.txt", &format!("{last}, as a list of its tensors")),
        ]
    );
    let text = std::fs::read_to_string(dir.path().join("model.txt")).expect("a file");
    let lines = tensors
        .iter()
        .map(|t| format!("{} {:?}\n", t.name, t.shape));
    assert_eq!(text, format!("3 cells\n{}", lines.collect::<String>()));
}

#[test]
fn formats_that_cannot_be_written_are_refused_before_anything_is_trained() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut bench = Workbench::new("darts", dir.path(), "");
    bench.search().expect("a search");
    for (names, expect) in [
        (
            ["pytorch", "size"],
            "nas.eval.export: there is no exporter `size`; did you mean `sizes`? known are safetensors, pytorch, onnx, rust, sizes, again",
        ),
        (
            ["safetensors", "again"],
            "nas.eval.export: `safetensors` and `again` both write files that end in `.safetensors`; choose one of them",
        ),
    ] {
        bench.settings.nas.eval.export = names.map(str::to_string).to_vec();
        let error = evaluate(&bench).expect_err("they do not fit").to_string();
        assert!(error.starts_with(expect), "{error}");
        assert!(!dir.path().join("full_model_desc.yaml").exists());
    }
}
