//! One file is a whole model: what is written is what is read, and what is no model is told what it is.

use std::collections::BTreeMap;
use std::path::Path;

use archai_export::testing::{brightness, bytes};
use archai_export::{
    ModelFile, ModelFileErrorKind as Kind, NamedTensor, Provenance, read_safetensors, write_pt,
    write_safetensors,
};
use archai_spec::desc::OpCatalog;

fn open(bytes: &[u8]) -> Result<ModelFile, archai_export::ModelFileError> {
    ModelFile::from_bytes(bytes, &OpCatalog::builtin())
}

fn model() -> ModelFile {
    let mut model = brightness(&["night", "dusk", "day"], [3, 8, 6]);
    model.info.provenance = Provenance {
        program: "archai 0.1.0".into(),
        algorithm: "darts".into(),
        source: String::new(),
        dataset: "hours".into(),
        data: [("train".to_string(), "ab12".to_string())].into(),
        settings: "cd34".into(),
        seed: Some(u64::MAX),
        epochs: Some(3),
        accuracy: [("test_top1".to_string(), 0.1 + 0.2)].into(),
    };
    model
}

#[test]
fn everything_comes_back() {
    let model = model();
    let written = bytes(&model).unwrap();
    let read = open(&written).unwrap();
    // The file holds 32 bits.
    let mut expected = model.clone();
    for tensor in &mut expected.state {
        tensor
            .values
            .iter_mut()
            .for_each(|v| *v = f64::from(*v as f32));
    }
    assert_eq!(read, expected);
    assert_eq!(
        bytes(&read).unwrap(),
        written,
        "the same model, the same bytes"
    );
    read.graph(&OpCatalog::builtin()).unwrap();
}

/// The bytes of a model whose header was changed.
fn with_texts(change: impl FnOnce(&mut BTreeMap<String, String>)) -> Vec<u8> {
    let (state, mut texts) = read_safetensors(&bytes(&model()).unwrap()).unwrap();
    change(&mut texts);
    let mut bytes = Vec::new();
    write_safetensors(&mut bytes, &state, &texts).unwrap();
    bytes
}

#[track_caller]
fn check(bytes: &[u8], kind: Kind, expected: &[&str]) {
    let error = open(bytes)
        .unwrap_err()
        .at(Path::new("a/model.safetensors"));
    let text = error.to_string();
    assert_eq!(error.kind, kind, "{text}");
    assert!(text.starts_with("`a/model.safetensors`: "), "{text}");
    for part in expected {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
}

#[test]
fn damaged_files_are_refused() {
    let whole = bytes(&model()).unwrap();
    for bytes in [
        &whole[..0],
        &whole[..7],
        &whole[..100],
        &whole[..whole.len() - 1],
    ] {
        check(
            bytes,
            Kind::Damaged,
            &["not a whole safetensors file", "copy or write it again"],
        );
    }
    let longer = [&whole[..], b"x"].concat();
    check(&longer, Kind::Damaged, &["not a whole safetensors file"]);
}

#[test]
fn files_of_others_are_called_what_they_are() {
    let mut pt = Vec::new();
    write_pt(&mut pt, &model().state).unwrap();
    check(
        &pt,
        Kind::Foreign,
        &["a PyTorch file", "model.safetensors", "archai import"],
    );
    check(
        b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j",
        Kind::Foreign,
        &["a PyTorch file"],
    );
    let yaml = model().desc.to_yaml().unwrap();
    check(
        yaml.as_bytes(),
        Kind::Foreign,
        &["a text", "model.safetensors"],
    );

    let plain = with_texts(|texts| texts.clear());
    check(
        &plain,
        Kind::Foreign,
        &["7 tensors", "plain state dict", "archai import"],
    );
    let early = with_texts(|texts| drop(texts.remove("archai_model")));
    check(&early, Kind::Foreign, &["an early archai", "archai import"]);
}

#[test]
fn headers_that_lack_something_are_refused() {
    for name in ["class_names", "input_size", "mean", "std", "transforms"] {
        let bytes = with_texts(|texts| drop(texts.remove(name)));
        check(
            &bytes,
            Kind::Incomplete,
            &[&format!("lacks `{name}`"), "expected", "JSON"],
        );
    }
    for (name, text, expected) in [
        (
            "archai_model",
            "2",
            "version 2, written by a newer program; this one reads version 1",
        ),
        (
            "archai_model",
            "new",
            "`archai_model` in its header is `new`",
        ),
        ("archai_model", "0", "`archai_model` in its header is `0`"),
        (
            "class_names",
            r#"["night", "day"]"#,
            "has 2 names, but the network has 3 classes",
        ),
        (
            "class_names",
            "night",
            "`class_names` in its header is `night`",
        ),
        ("input_size", "[3, 8]", "expected [channels, height, width]"),
        (
            "input_size",
            "[3, 8, 7]",
            "images of 3x8x7 (channels, height, width), but its description is of a network for 3x8x6",
        ),
        (
            "mean",
            "[0.5, 0.5]",
            "expected one value per channel (3), found 2",
        ),
        ("std", "[0, 1, 1]", "must be above 0"),
        ("provenance", "3", "`provenance` in its header"),
        ("model_desc", "version: 1", "the description in its header"),
    ] {
        let bytes = with_texts(|texts| drop(texts.insert(name.into(), text.into())));
        let error = open(&bytes).unwrap_err().to_string();
        assert!(
            error.contains(expected),
            "{expected:?} is missing in:\n{error}"
        );
    }
    // No names at all are what data without names leave; what a later program may add is passed over.
    let unnamed = with_texts(|texts| drop(texts.insert("class_names".into(), "[]".into())));
    assert_eq!(open(&unnamed).unwrap().info.class_name(2), "2");
    let more = with_texts(|texts| drop(texts.insert("provenance".into(), r#"{"mood": 1}"#.into())));
    assert!(open(&more).unwrap().info.provenance.is_empty());
}

#[test]
fn tensors_must_be_those_of_the_network() {
    let refused = |change: fn(&mut Vec<NamedTensor>), expected: &[&str]| {
        let mut model = model();
        change(&mut model.state);
        let read = open(&bytes(&model).unwrap()).unwrap();
        let error = read.graph(&OpCatalog::builtin()).unwrap_err();
        assert_eq!(error.kind, Kind::Mismatch);
        for part in expected {
            assert!(
                error.to_string().contains(part),
                "{part:?} is missing in:\n{error}"
            );
        }
    };
    refused(
        |state| drop(state.remove(0)),
        &["`stem.conv1.weight` is missing"],
    );
    refused(
        |state| {
            state[0].shape = vec![3, 1, 3, 3];
            state[1].name = "other".into();
        },
        &[
            "`stem.conv1.weight` has shape [3, 1, 3, 3], expected [1, 3, 3, 3]",
            "`stem.bn1.weight` is missing",
            "`other` belongs to no part of the network",
        ],
    );
    refused(|state| state.clear(), &["; and 2 more"]);
}

#[test]
fn a_folder_is_the_model_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let find = |best| ModelFile::find(dir.path(), best);
    let error = find(false).unwrap_err();
    assert_eq!(error.kind, Kind::Absent);
    assert!(
        error.to_string().contains("it has no `model.safetensors`"),
        "{error}"
    );
    let other = dir.path().join("net.safetensors");
    std::fs::write(&other, "").unwrap();
    let error = find(false).unwrap_err().to_string();
    assert!(
        error.contains("it holds net.safetensors: name the file"),
        "{error}"
    );
    let file = dir.path().join("model.safetensors");
    std::fs::write(&file, bytes(&model()).unwrap()).unwrap();
    assert_eq!(find(false).unwrap(), file);
    assert_eq!(ModelFile::find(&file, false).unwrap(), file);
    let error = find(true).unwrap_err().to_string();
    assert!(
        error.contains("no `model_best.safetensors`") && error.contains("val_ratio"),
        "{error}"
    );
    let error = ModelFile::find(&file, true).unwrap_err().to_string();
    assert!(error.contains("it is a file"), "{error}");
    let best = dir.path().join("model_best.safetensors");
    std::fs::write(&best, "").unwrap();
    assert_eq!(find(true).unwrap(), best);
    let error = ModelFile::find(Path::new("nowhere"), false)
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "`nowhere`: there is no such file or folder; check the path"
    );

    let catalog = OpCatalog::builtin();
    ModelFile::open(&file, &catalog).unwrap();
    let error = ModelFile::open(&best, &catalog).unwrap_err().to_string();
    assert!(
        error.contains("model_best.safetensors`: ") && error.contains("damaged"),
        "{error}"
    );
    let error = ModelFile::open(dir.path(), &catalog).unwrap_err();
    assert_eq!(error.kind, Kind::Absent, "{error}");
}
