//! A lab knows what a program adds to its open lists, and runs with it.

use std::fs;
use std::io::{self, Write};

use archai_engine::device::{self, DeviceKind};
use archai_engine::export::{Exported, Exporter};
use archai_engine::{Compute, Engine, EngineError};
use archai_lab::verify::{Repetition, Verdict};
use archai_lab::{Lab, NoObserver, Request};
use archai_spec::registry::Named;

use crate::support::tiny;

/// The names of all tensors.
struct Names;

impl Named for Names {
    fn name(&self) -> &str {
        "names"
    }
    fn about(&self) -> &str {
        "the names of its tensors"
    }
}

impl Exporter for Names {
    fn extension(&self) -> &str {
        "txt"
    }
    fn export(&self, model: &Exported<'_>, out: &mut dyn Write) -> io::Result<()> {
        let mut tensors = model.state.iter();
        tensors.try_for_each(|tensor| writeln!(out, "{}", tensor.name))
    }
}

/// The processor without fused kernels.
struct Slow;

impl Named for Slow {
    fn name(&self) -> &str {
        "slow"
    }
    fn about(&self) -> &str {
        "the processor, on the framework's operations"
    }
}

impl DeviceKind for Slow {
    fn open(&self, index: Option<usize>, _: Engine) -> Result<Compute, EngineError> {
        device::only_one(self.name(), index)?;
        Ok(Compute::cpu().with_plain_ops())
    }
}

fn exporting(names: &str, request: Request) -> Request {
    let mut overrides = request.overrides;
    overrides.push(format!("nas.eval.export={names}"));
    Request {
        overrides,
        ..request
    }
}

#[test]
fn an_exporter_and_a_device_of_a_program_are_used() {
    let logdir = tempfile::tempdir().unwrap();
    let lab = Lab::builtin().with_exporter(Names).with_device(Slow);
    let request = Request {
        device: "slow".to_string(),
        ..exporting("[names]", tiny(&["darts"], logdir.path()))
    };
    let outcome = lab.run(&request, &NoObserver).unwrap().remove(0);
    let dir = outcome.eval_dir.unwrap();
    let names = fs::read_to_string(dir.join("model.txt")).unwrap();
    assert!(
        names
            .lines()
            .any(|name| name == "classifier.linear1.weight"),
        "{names}"
    );
    assert!(!dir.join("model.pt").exists() && !dir.join("model.safetensors").exists());
    let log = fs::read_to_string(dir.join("log.jsonl")).unwrap();
    assert!(log.contains(r#""device":"slow""#), "{log}");

    // It is repeated on the same device.
    let scratch = tempfile::tempdir().unwrap();
    let again = Repetition::new(&lab, &dir, scratch.path(), &[], Some(2)).unwrap();
    let files = again.run(&lab, &NoObserver).unwrap();
    assert!(files.iter().any(|file| file.name == "model.txt"));
    for file in files {
        assert_eq!(file.verdict, Verdict::Same, "{}", file.name);
    }
}

#[test]
fn what_a_lab_does_not_know_is_refused_before_anything_runs() {
    let logdir = tempfile::tempdir().unwrap();
    let lab = Lab::builtin().with_device(Slow);
    let tiny = || tiny(&["darts"], logdir.path());
    for (request, expect) in [
        (
            Request {
                device: "slo".to_string(),
                ..tiny()
            },
            "`device`: there is no device `slo`; did you mean `slow`? known are cpu, slow",
        ),
        (
            exporting("[pytorch,names]", tiny()),
            "`nas.eval.export=[pytorch,names]`: nas.eval.export.1: unknown value `names` (valid: safetensors, pytorch, onnx, rust)",
        ),
    ] {
        let error = lab.run(&request, &NoObserver).map(drop).unwrap_err();
        assert!(error.to_string().starts_with(expect), "{error}");
    }
    assert_eq!(fs::read_dir(logdir.path()).unwrap().count(), 0);
}
