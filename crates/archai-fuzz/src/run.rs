//! Readers of what runs leave behind.

use std::fs;
use std::path::Path;

use archai::engine::checkpoint::{CheckpointStore, Checkpoints, Policy};
use archai::engine::export::load_safetensors;
use archai::engine::run::NoClock;
use archai::lab::Record;
use archai::lab::log::read_entries;
use archai::lab::report::{FinishedRun, collate};
use serde_json::{Value, json};

use crate::SEPARATOR;

fn in_file(name: &str, bytes: &[u8], read: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(name);
    fs::write(&path, bytes).expect("a temporary file");
    read(&path);
}

/// A file of weights.
pub fn safetensors(bytes: &[u8]) {
    in_file("weights.safetensors", bytes, |path| {
        if let Ok((tensors, _)) = load_safetensors(path) {
            for tensor in tensors {
                assert_eq!(tensor.values.len(), tensor.shape.iter().product::<usize>());
            }
        }
    });
}

/// A checkpoint as it is, and the checkpoint that has these bytes as its parts, with checksums that agree: otherwise no
/// input but a whole file would get behind them.
pub fn checkpoint(bytes: &[u8]) {
    open_checkpoint(bytes);
    let mut parts = bytes.splitn(3, |&byte| byte == SEPARATOR);
    if let (Some(head), Some(values), Some(tensors)) = (parts.next(), parts.next(), parts.next()) {
        let part = |name: &str, bytes: &[u8]| json!({"name": name, "length": bytes.len(), "blake3": blake3::hash(bytes).to_hex().as_str()});
        let mut header = json!({"sequence": 1, "scope": "s", "finished": false, "mark": null,
            "parts": [part("values", values), part("tensors", tensors)]});
        if let Ok(Value::Object(own)) = serde_json::from_slice(head)
            && let Some(header) = header.as_object_mut()
        {
            header.extend(own);
        }
        let header = header.to_string().into_bytes();
        let mut file = b"archai checkpoint 1\n".to_vec();
        file.extend((header.len() as u64).to_le_bytes());
        file.extend(blake3::hash(&header).as_bytes());
        for part in [&header, values, tensors] {
            file.extend(part);
        }
        open_checkpoint(&file);
    }
}

fn open_checkpoint(bytes: &[u8]) {
    in_file("000001.checkpoint", bytes, |path| {
        let folder = path.parent().expect("the folder above");
        let mark = Box::new(|| Ok(Value::Null));
        let opened = CheckpointStore::open(folder, Policy::shipped(), &NoClock, mark);
        let (store, found) = match opened {
            Ok(opened) => opened,
            // Damage is found and reported, and no error; only a newer file is.
            Err(error) => {
                assert!(error.to_string().contains("has version"), "{error}");
                return;
            }
        };
        assert_eq!(found.damaged.len() + usize::from(found.scope.is_some()), 1);
        if let Some(scope) = found.scope {
            let (snapshot, _) = store
                .latest(&scope)
                .expect("a whole file")
                .expect("a checkpoint");
            snapshot.part("a");
            snapshot.get::<usize>("n").map(drop).unwrap_or_default();
        }
    });
}

/// The record of a run, and the report of it; the log of a run, and what is compared of its other files.
pub fn record(bytes: &[u8]) {
    for name in [
        "log.jsonl",
        "metrics.yaml",
        "pool.tsv",
        "result.json",
        "config_used.yaml",
    ] {
        in_file(name, bytes, |path| {
            let folder = path.parent().expect("the folder above");
            archai::lab::digests::of_run(folder)
                .map(drop)
                .unwrap_or_default();
        });
    }
    for entry in read_entries(bytes) {
        assert!(entry.message().is_some() != entry.values().is_some());
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(record) = Record::from_json(text) {
        let run = FinishedRun {
            name: "run".into(),
            search: Some(record.clone()),
            eval: Some(record),
        };
        let report = collate(vec![run], Vec::new());
        report.to_markdown();
        report.to_csv();
    }
}
