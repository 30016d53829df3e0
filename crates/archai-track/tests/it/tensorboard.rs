//! What event files hold.

use std::fs;
use std::path::PathBuf;

use archai_lab::RunDir;
use archai_spec::settings::TrackTarget;
use archai_track::tensorboard::read_tags;
use archai_track::track;

use crate::fixtures::{Heard, asked, facts, finish, lab, run_dir, search_log};

fn give(dir: &RunDir) {
    let heard = Heard::default();
    let place = track(
        &facts(dir),
        &TrackTarget::TensorBoard,
        &asked(&[]),
        &lab(&[]),
        &heard.notices(),
    );
    assert_eq!(
        place.unwrap(),
        Some(dir.file("tensorboard").display().to_string())
    );
    assert_eq!(heard.all(), []);
}

fn files(dir: &RunDir) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.file("tensorboard")).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Tags with their steps, of the only file.
fn tags(dir: &RunDir) -> Vec<(String, i64)> {
    let files = files(dir);
    assert_eq!(files.len(), 1, "{files:?}");
    read_tags(&fs::read(&files[0]).unwrap()).unwrap()
}

fn steps(dir: &RunDir, tag: &str) -> Vec<i64> {
    let all = tags(dir).into_iter().filter(|(own, _)| own == tag);
    all.map(|(_, step)| step).collect()
}

#[test]
fn a_run_is_shown_whole() {
    let root = tempfile::tempdir().unwrap();
    let dir = run_dir(root.path(), &search_log(0..3, 0), &asked(&[]));
    finish(&dir);
    give(&dir);
    let first = fs::read(&files(&dir)[0]).unwrap();
    assert_eq!(steps(&dir, "search/train/loss"), [0, 1, 2]);
    assert_eq!(
        steps(&dir, "search/train_steps/loss"),
        (0..9).collect::<Vec<_>>()
    );
    assert_eq!(steps(&dir, "weights/search/cell0.node0.edge1"), [0, 1, 2]);
    assert_eq!(steps(&dir, "weights/search/cell0"), [0, 1, 2], "pictures");
    for once in [
        "_hparams_/session_start_info",
        "_hparams_/session_end_info",
        "result/supernet_val_top1",
        "summary",
        "run",
    ] {
        assert_eq!(steps(&dir, once), [0], "{once}");
    }
    // Again: the same file, under a later name.
    let name = files(&dir);
    give(&dir);
    assert_eq!(fs::read(&files(&dir)[0]).unwrap(), first);
    assert!(files(&dir) > name);
}

#[test]
fn a_run_that_was_resumed_has_each_step_once() {
    let root = tempfile::tempdir().unwrap();
    let dir = run_dir(root.path(), &search_log(0..2, 0), &asked(&[]));
    give(&dir);
    assert_eq!(
        steps(&dir, "_hparams_/session_end_info"),
        [0],
        "it was cut off"
    );
    // What a killed writer leaves.
    let folder = dir.file("tensorboard");
    fs::write(folder.join(".writing-tensorboard"), "half").unwrap();
    let whole = fs::read(&files(&dir)[1]).unwrap();
    fs::write(&files(&dir)[1], &whole[..whole.len() - 7]).unwrap();
    let log = search_log(0..1, 0) + &search_log(1..3, 1000);
    fs::write(dir.file("log.jsonl"), log).unwrap();
    give(&dir);
    assert_eq!(steps(&dir, "search/train/loss"), [0, 1, 2]);
    assert_eq!(
        steps(&dir, "search/train_steps/loss"),
        (0..9).collect::<Vec<_>>()
    );
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error_that_names_it() {
    let root = tempfile::tempdir().unwrap();
    let dir = run_dir(root.path(), &search_log(0..1, 0), &asked(&[]));
    fs::write(dir.file("tensorboard"), "in the way").unwrap();
    let heard = Heard::default();
    let error = track(
        &facts(&dir),
        &TrackTarget::TensorBoard,
        &asked(&[]),
        &lab(&[]),
        &heard.notices(),
    );
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("cannot create the folder") && error.contains("tensorboard"),
        "{error}"
    );
}
