//! `unsafe` occurs in the modules named here and nowhere else in the repository.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules of this crate in which `unsafe` may occur. The kernels run under `scripts/valgrind.sh`.
const ALLOWED: [&str; 25] = [
    "alloc.rs",
    "buffer.rs",
    "cell/backward.rs",
    "cell/forward.rs",
    "cell/group/backward.rs",
    "cell/group/forward.rs",
    "conv/mod.rs",
    "infer/net.rs",
    "infer/step.rs",
    "layout.rs",
    "micro/conv.rs",
    "micro/depthwise.rs",
    "micro/norm.rs",
    "micro/pad.rs",
    "micro/place.rs",
    "micro/pointwise.rs",
    "micro/pool.rs",
    "micro/product.rs",
    "micro/tile.rs",
    "micro/window.rs",
    "mix.rs",
    "norm.rs",
    "plain.rs",
    "pool.rs",
    "simd.rs",
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            sources(&path, found);
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

/// In two parts, so that this file has it nowhere.
const WORD: &str = concat!("un", "safe");

/// Whether a line of code, its comment aside, has the word.
fn is_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    // A word with a hyphen belongs to a text, as in the security policy of a page.
    code.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'))
        .any(|word| word == WORD)
}

#[test]
fn p30_unsafe_stands_in_named_modules_alone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap();
    let mut files = Vec::new();
    for folder in ["crates", "fuzz"] {
        sources(&root.join(folder), &mut files);
    }
    assert!(files.len() > 100, "{}", files.len());
    let mut has_unsafe = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        if text.lines().any(is_unsafe) {
            has_unsafe.push(
                file.strip_prefix(&root)
                    .unwrap()
                    .to_string_lossy()
                    .replace('\\', "/"),
            );
        }
    }
    has_unsafe.sort();
    let allowed = ALLOWED.map(|module| format!("crates/archai-kernels/src/{module}"));
    assert_eq!(
        has_unsafe, allowed,
        "files with such code, and where it may occur"
    );

    for entry in fs::read_dir(root.join("crates")).unwrap() {
        let manifest = entry.unwrap().path().join("Cargo.toml");
        if manifest.exists() && !manifest.ends_with("archai-kernels/Cargo.toml") {
            let text = fs::read_to_string(&manifest).unwrap();
            assert!(
                text.contains("[lints]\nworkspace = true"),
                "{} does not use the lints of the workspace",
                manifest.display()
            );
        }
    }
    assert!(
        fs::read_to_string(root.join("Cargo.toml"))
            .unwrap()
            .contains("unsafe_code = \"forbid\"")
    );
}
