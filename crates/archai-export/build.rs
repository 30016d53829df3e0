//! Packs the sources of the kernels, which the exporter `rust` writes beside a network.

use std::io::Write;
use std::path::{Path, PathBuf};

fn main() {
    let own = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let kernels = own.join("../archai-kernels");
    println!("cargo::rerun-if-changed=build.rs");
    for watched in ["src", "README.md", "Cargo.toml"] {
        println!(
            "cargo::rerun-if-changed={}",
            kernels.join(watched).display()
        );
    }
    println!(
        "cargo::rerun-if-changed={}",
        own.join("../../Cargo.toml").display()
    );
    let workspace = read(&own.join("../../Cargo.toml"));
    let field = |name: &str| {
        let line = workspace
            .lines()
            .find(|line| line.starts_with(&format!("{name} = ")));
        line.unwrap_or_else(|| panic!("Cargo.toml of the workspace has no `{name}`"))
            .to_string()
    };
    let manifest = format!(
        "[package]\nname = \"archai-kernels\"\ndescription = \"The CPU kernels of archai\"\n{}\n{}\n{}\n{}\npublish = false\n\n\
         [features]\nchecked = []\n\n[dependencies]\n{}\n",
        field("version"),
        field("edition"),
        field("rust-version"),
        field("license"),
        field("rayon"),
    );
    let mut files = vec![
        ("Cargo.toml".to_string(), manifest),
        ("README.md".to_string(), read(&kernels.join("README.md"))),
    ];
    sources(&kernels.join("src"), "src", &mut files);
    files.sort();
    let out =
        PathBuf::from(std::env::var("OUT_DIR").expect("cargo sets it")).join("kernels.deflate");
    let file = std::fs::File::create(out).expect("cargo's folder can be written");
    let mut packed = flate2::write::DeflateEncoder::new(file, flate2::Compression::best());
    for text in files.iter().flat_map(|(name, text)| [name, text]) {
        let length = u32::try_from(text.len()).expect("a source is small");
        packed
            .write_all(&length.to_le_bytes())
            .and_then(|()| packed.write_all(text.as_bytes()))
            .expect("it can be written");
    }
    packed.finish().expect("it can be written");
}

fn sources(folder: &Path, name: &str, files: &mut Vec<(String, String)>) {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    for entry in entries {
        let path = entry.expect("a readable folder").path();
        let own = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let name = format!("{name}/{own}");
        match path.is_dir() {
            true => sources(&path, &name, files),
            false if own.ends_with(".rs") => files.push((name, read(&path))),
            false => {}
        }
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}
