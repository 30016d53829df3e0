//! The files of a run that can be taken along: a fixed list of names, read only.

use std::fs::{self, File};
use std::path::Path;

use archai_lab::RunDir;
use archai_lab::rundir::{FOUND_DESC, REPORT_FILE};

/// A file that can be taken along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Its name, in addresses and in the run directory.
    pub name: &'static str,
    /// What it is, for people.
    pub what: &'static str,
    /// Whether it is made at the moment, not read.
    pub is_made: bool,
}

/// All of them.
pub const OFFERS: [Offer; 6] = [
    offer(FOUND_DESC, "found network (YAML)"),
    offer("full_model_desc.yaml", "scaled network (YAML)"),
    offer("model.onnx", "trained network (ONNX)"),
    offer("model.safetensors", "trained network (safetensors)"),
    offer("summary.md", "summary (Markdown)"),
    Offer {
        name: REPORT_FILE,
        what: "this page as one file (HTML)",
        is_made: true,
    },
];

const fn offer(name: &'static str, what: &'static str) -> Offer {
    Offer {
        name,
        what,
        is_made: false,
    }
}

/// Those that are there now.
pub fn offered(dir: &RunDir) -> impl Iterator<Item = &'static Offer> {
    OFFERS
        .iter()
        .filter(|offer| offer.is_made || is_plain(&dir.file(offer.name)))
}

/// Whether it is a file, not a link to one.
fn is_plain(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_file())
}

/// Opens a file of a run directory below `root`, and says how long it is; none if it is not there, or is a link, or lies elsewhere
/// by way of one.
pub fn open(root: &Path, dir: &RunDir, offer: &Offer) -> Option<(File, u64)> {
    // Of a run directory that is watched itself, the other phase lies beside it.
    let root = match dir.path().starts_with(root) && dir.path() != root {
        true => root,
        false => root.parent()?,
    };
    if !fs::canonicalize(dir.path()).ok()?.starts_with(root) {
        return None;
    }
    let path = dir.file(offer.name);
    let before = path.symlink_metadata().ok().filter(fs::Metadata::is_file)?;
    let file = File::open(&path).ok()?;
    let opened = file.metadata().ok()?;
    (is_same(&before, &opened) && opened.is_file()).then_some((file, opened.len()))
}

/// Whether what was opened is what was looked at, so that no link took its place in between.
#[cfg(unix)]
fn is_same(a: &fs::Metadata, b: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

/// The same, as far as can be told here.
#[cfg(not(unix))]
fn is_same(a: &fs::Metadata, b: &fs::Metadata) -> bool {
    a.created().ok() == b.created().ok()
}
