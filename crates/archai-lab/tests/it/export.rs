//! Exports of a trained network: whole or not at all, and never over what somebody may have edited.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use archai_engine::export::{Exported, Exporter, Options};
use archai_lab::export::ExportRequest;
use archai_lab::verify::{Repetition, Verdict};
use archai_lab::{Lab, NoObserver};
use archai_spec::desc::{ModelDesc, OpCatalog};
use archai_spec::registry::Named;

use crate::support::tiny;

/// A format of two files, one in a folder, that may fail at the second.
struct Pair {
    fails: bool,
}

impl Named for Pair {
    fn name(&self) -> &str {
        "pair"
    }
    fn about(&self) -> &str {
        "two files"
    }
}

impl Exporter for Pair {
    fn extension(&self) -> &str {
        "one"
    }
    fn options(&self) -> &[&str] {
        &["softmax"]
    }
    fn export(&self, model: &Exported<'_>, out: &mut dyn Write) -> io::Result<()> {
        write!(out, "{} {}", model.state.len(), model.options.softmax)
    }
    fn companions(&self, stem: &str) -> Vec<String> {
        vec![format!("{stem}_more/deep/two.txt")]
    }
    fn export_companion(
        &self,
        _: &str,
        model: &Exported<'_>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        match self.fails {
            true => Err(io::Error::other("the ink ran out")),
            false => write!(out, "{}", model.info.n_classes),
        }
    }
}

/// A format that knows no convolution.
struct NoConv;

impl Named for NoConv {
    fn name(&self) -> &str {
        "no_conv"
    }
    fn about(&self) -> &str {
        "a format without convolutions"
    }
}

impl Exporter for NoConv {
    fn extension(&self) -> &str {
        "nc"
    }
    fn export(&self, _: &Exported<'_>, _: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }
    fn check(&self, desc: &ModelDesc, _: &OpCatalog, _: &Options) -> io::Result<()> {
        let op = &desc.stems[0].op.name;
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("it has no op `{op}`"),
        ))
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[test]
fn an_export_is_whole_or_not_there() {
    let logdir = tempfile::tempdir().unwrap();
    let lab = Lab::builtin().with_exporter(Pair { fails: false });
    let outcome = lab.run(&tiny(&["darts"], logdir.path()), &NoObserver);
    let dir = outcome.unwrap().remove(0).eval_dir.unwrap();

    // What fails leaves nothing, not even the folders that were made.
    let out = logdir.path().join("a/b");
    let failing = Lab::builtin().with_exporter(Pair { fails: true });
    let request = ExportRequest {
        out: Some(out.clone()),
        ..ExportRequest::new(&dir, &["safetensors", "pair"])
    };
    let error = failing.export(&request).unwrap_err().to_string();
    assert!(
        error.contains("model_more/deep/two.txt") && error.contains("ink"),
        "{error}"
    );
    assert!(!logdir.path().join("a").exists());

    let files = lab.export(&request).unwrap();
    assert_eq!(
        names(&out),
        ["model.one", "model.safetensors", "model_more"]
    );
    let text = fs::read_to_string(out.join("model_more/deep/two.txt")).unwrap();
    assert_eq!(text, "10");
    for file in &files {
        assert_eq!(
            file.bytes,
            Some(fs::metadata(&file.path).unwrap().len()),
            "{}",
            file.path.display()
        );
    }
    let whole = fs::read(dir.join("model.safetensors")).unwrap();
    assert_eq!(fs::read(out.join("model.safetensors")).unwrap(), whole);

    // The same once more is no change; what was edited stays, and so does all else of the export.
    lab.export(&request).unwrap();
    let other = ExportRequest {
        options: Options {
            softmax: true,
            ..Options::default()
        },
        ..request.clone()
    };
    let error = lab.export(&other).unwrap_err().to_string();
    assert!(
        error.contains("model.one` is there already") && error.contains("`replace`"),
        "{error}"
    );
    assert_eq!(names(&out).len(), 3);
    lab.export(&ExportRequest {
        replace: true,
        ..other
    })
    .unwrap();
    assert!(
        fs::read_to_string(out.join("model.one"))
            .unwrap()
            .ends_with("true")
    );

    // In the run directory it is no part of what the run computed.
    lab.export(&ExportRequest::new(&dir, &["pair"])).unwrap();
    assert!(dir.join("export/model.one").exists());
    let scratch = tempfile::tempdir().unwrap();
    let again = Repetition::new(&lab, &dir, scratch.path(), &[], Some(2)).unwrap();
    for file in again.run(&lab, &NoObserver).unwrap() {
        assert_eq!(file.verdict, Verdict::Same, "{}", file.name);
    }

    // The model itself is not written over, whatever its name.
    let model = ExportRequest::new(dir.join("model.safetensors"), &["safetensors"]);
    let error = lab.export(&model).unwrap_err().to_string();
    assert!(
        error.contains("would be written over while it is read"),
        "{error}"
    );
    assert_eq!(fs::read(dir.join("model.safetensors")).unwrap(), whole);
}

#[test]
fn what_cannot_be_exported_is_refused_before_anything_is_there() {
    let logdir = tempfile::tempdir().unwrap();
    let lab = Lab::builtin().with_exporter(NoConv);
    let mut request = tiny(&["darts"], logdir.path());
    request
        .overrides
        .push("nas.eval.export=[safetensors,no_conv]".into());
    let error = lab
        .run(&request, &NoObserver)
        .map(drop)
        .unwrap_err()
        .to_string();
    for part in [
        "nas.eval.export",
        "`no_conv`",
        "it has no op `stem_conv3x3`",
        "or leave `no_conv` out",
    ] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(fs::read_dir(logdir.path()).unwrap().count(), 0);

    // An option that no format heeds is no option.
    let mut request = tiny(&["darts"], logdir.path());
    request.overrides.extend(
        [
            "nas.eval.export=[safetensors]",
            "nas.eval.export_options.softmax=true",
        ]
        .map(String::from),
    );
    let error = lab
        .run(&request, &NoObserver)
        .map(drop)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("the option `softmax: true` has no effect on safetensors"),
        "{error}"
    );
    assert_eq!(fs::read_dir(logdir.path()).unwrap().count(), 0);
}
