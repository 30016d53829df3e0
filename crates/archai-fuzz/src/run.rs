//! Readers of what runs leave behind.

use std::fs;
use std::path::Path;

use archai::engine::checkpoint::{CheckpointStore, Checkpoints, Policy};
use archai::engine::export::import::Weights;
use archai::engine::export::{ModelFile, load_safetensors, testing};
use archai::engine::run::NoClock;
use archai::lab::log::{Follower, read_entries};
use archai::lab::report::{FinishedRun, collate};
use archai::lab::rundir::CONFIG_FILE;
use archai::lab::{Record, RunDir, Started};
use archai::spec::desc::OpCatalog;
use serde_json::{Value, json};

use crate::SEPARATOR;

fn in_file<T>(name: &str, bytes: &[u8], read: impl FnOnce(&Path) -> T) -> T {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(name);
    fs::write(&path, bytes).expect("a temporary file");
    read(&path)
}

/// A file of weights.
pub fn safetensors(bytes: &[u8]) -> bool {
    in_file("weights.safetensors", bytes, |path| {
        let Ok((tensors, _)) = load_safetensors(path) else {
            return false;
        };
        for tensor in tensors {
            assert_eq!(tensor.values.len(), tensor.shape.iter().product::<usize>());
        }
        true
    })
}

/// A whole model in one file: what is read is written as it was, and comes to layers or is refused by name.
pub fn model_file(bytes: &[u8]) -> bool {
    let catalog = OpCatalog::builtin();
    let Ok(model) = ModelFile::from_bytes(bytes, &catalog) else {
        return false;
    };
    assert_eq!(model.info.dataset().check(), []);
    model.graph(&catalog).map(drop).unwrap_or_default();
    let written = testing::bytes(&model).expect("it was read from such bytes");
    let again = ModelFile::from_bytes(&written, &catalog).expect("what was written");
    assert_eq!(
        testing::bytes(&again).expect("it was read from such bytes"),
        written
    );
    true
}

/// A file of weights of PyTorch (what is none is read as safetensors).
pub fn pt(bytes: &[u8]) -> bool {
    let Ok(weights) = Weights::read(bytes) else {
        return false;
    };
    for tensor in weights.tensors {
        assert_eq!(tensor.values.len(), tensor.shape.iter().product::<usize>());
    }
    true
}

/// A checkpoint as it is, and the checkpoint that has these bytes as its parts, with checksums that agree: otherwise no
/// input but a whole file would get behind them.
pub fn checkpoint(bytes: &[u8]) -> bool {
    let is_whole = open_checkpoint(bytes);
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
    is_whole
}

fn open_checkpoint(bytes: &[u8]) -> bool {
    in_file("000001.checkpoint", bytes, |path| {
        let folder = path.parent().expect("the folder above");
        let mark = Box::new(|| Ok(Value::Null));
        let opened = CheckpointStore::open(folder, Policy::shipped(), &NoClock, mark);
        let (store, found) = match opened {
            Ok(opened) => opened,
            // Damage is found and reported, and no error; only a newer file is.
            Err(error) => {
                assert!(error.to_string().contains("has version"), "{error}");
                return false;
            }
        };
        assert_eq!(found.damaged.len() + usize::from(found.scope.is_some()), 1);
        let Some(scope) = found.scope else {
            return false;
        };
        let (snapshot, _) = store
            .latest(&scope)
            .expect("a whole file")
            .expect("a checkpoint");
        snapshot.part("a");
        snapshot.get::<usize>("n").map(drop).unwrap_or_default();
        true
    })
}

/// The record of a run, and the report of it; the log of a run, and what is compared of its other files.
pub fn record(bytes: &[u8]) -> bool {
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
    let mut entries = 0;
    for entry in read_entries(bytes) {
        assert!(entry.message().is_some() != entry.values().is_some());
        entries += 1;
    }
    let record = std::str::from_utf8(bytes).map(Record::from_json);
    let Ok(Ok(record)) = record else {
        return entries > 0;
    };
    let run = FinishedRun {
        name: "run".into(),
        search: Some(record.clone()),
        eval: Some(record),
        toy: false,
    };
    let report = collate(vec![run], Vec::new());
    report.to_markdown();
    report.to_csv();
    true
}

/// How a run says that it was started, which decides whether it can be resumed.
pub fn started(bytes: &[u8]) -> bool {
    let started = std::str::from_utf8(bytes).map(Started::from_json);
    let Ok(Ok(started)) = started else {
        return false;
    };
    let text = serde_json::to_string(&started).expect("it was read from such a text");
    assert_eq!(Started::from_json(&text), Ok(started), "{text}");
    true
}

/// The metrics of an evaluation, in a run directory whose configuration names the file.
pub fn metrics(bytes: &[u8]) -> bool {
    const FILE: &str = "metrics.yaml";
    in_file(FILE, bytes, |path| {
        let folder = path.parent().expect("the folder above");
        let config = format!("nas: {{eval: {{metric_filename: $expdir/{FILE}}}}}\n");
        fs::write(folder.join(CONFIG_FILE), config).expect("a temporary file");
        match RunDir::new(folder).metrics() {
            Ok(metrics) => {
                let metrics = metrics.expect("the file is there");
                let best = metrics.best();
                assert!(best.train.is_none() || metrics.last().is_some());
                true
            }
            Err(error) => {
                assert!(error.to_string().contains(FILE), "{error}");
                false
            }
        }
    })
}

/// A log while it is written: a piece after the other, cut anywhere, and then cut back as by a run that is resumed.
pub fn follower(bytes: &[u8]) -> bool {
    let complete = |bytes: &[u8]| bytes.iter().rposition(|&b| b == b'\n').map_or(0, |i| i + 1);
    in_file("log.jsonl", b"", |path| {
        let put = |bytes: &[u8]| fs::write(path, bytes).expect("a temporary file");
        let mut follower = Follower::new(path);
        let mut look = || follower.look().expect("a file that is there");
        let (mut whole, mut seen) = (Vec::new(), Vec::new());
        for piece in bytes.splitn(8, |&byte| byte == SEPARATOR) {
            whole.extend_from_slice(piece);
            put(&whole);
            let news = look();
            assert!(!news.from_start, "nothing was taken away");
            seen.extend(news.entries);
        }
        let end = complete(&whole);
        assert!(seen.iter().cloned().eq(read_entries(&whole[..end])));

        let half = &whole[..end / 2];
        put(half);
        let news = look();
        assert_eq!(news.from_start, end > 0, "what was read before is gone");
        let left = read_entries(&half[..complete(half)]);
        assert!(news.entries.into_iter().eq(left));
        !seen.is_empty()
    })
}
