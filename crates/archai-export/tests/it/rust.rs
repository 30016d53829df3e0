//! The Rust crate of a network: its source, and what lies beside it. That it builds and computes the same is checked by
//! `interop/rust_check.py`.

use archai_export::rust::RustExporter;
use archai_export::{Exporter, Formats, ModelFile, Options, builtin, testing};
use archai_spec::desc::{ModelDesc, OpCatalog};

use crate::cases;

/// A file of a network's crate.
fn file(model: &ModelFile, catalog: &OpCatalog, name: &str) -> String {
    let options = Options::default();
    let mut text = Vec::new();
    RustExporter
        .export_companion(name, &model.exported(catalog, &options), &mut text)
        .unwrap_or_else(|e| panic!("{name}: {e}"));
    String::from_utf8(text).unwrap()
}

/// A network of this description; its source does not depend on the numbers.
fn model(desc: &ModelDesc) -> ModelFile {
    let shape = [desc.input.channels, desc.input.height, desc.input.width];
    ModelFile {
        desc: desc.clone(),
        state: Vec::new(),
        ..testing::brightness(&["dark", "bright"], shape)
    }
}

#[test]
fn the_source_of_a_network_of_darts() {
    let catalog = OpCatalog::builtin();
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../confs/models/darts_v2.yaml"
    );
    let found = std::fs::read_to_string(path).unwrap();
    let found = ModelDesc::from_yaml(&found, "darts_v2", &catalog).unwrap();
    let mut settings = archai_spec::settings::Settings::shipped("cifar10")
        .unwrap()
        .nas
        .eval
        .model_desc;
    settings.n_cells = 8;
    settings.model_stems.init_node_ch = 4;
    settings.aux_weight = 0.0;
    let builder = archai_spec::desc::DefaultModelDescBuilder;
    let built = archai_spec::desc::build(&builder, &settings, Some(&found), true, &catalog);
    let model = model(&built.unwrap().desc);
    let source = file(&model, &catalog, "any_rust/src/network.rs");
    let golden = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/it/golden/network.rs.txt"
    );
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(golden, &source).unwrap();
    }
    assert_eq!(
        source,
        std::fs::read_to_string(golden).unwrap(),
        "run once with UPDATE_GOLDEN=1 if it is meant to change"
    );
    // One description for eight cells.
    assert!(source.lines().count() < 150, "{source}");
}

#[test]
fn every_network_has_a_source_in_which_all_its_layers_stand() {
    let catalog = cases::catalog();
    let mut all = cases::ops(&catalog);
    all.extend(cases::parametric(&catalog));
    all.extend(cases::drawn(2, &catalog));
    all.extend(cases::searched(2));
    all.extend(cases::of_zoo(&catalog));
    assert!(all.len() > 50);
    for case in all {
        let source = file(&model(&case.desc), &catalog, "m_rust/src/network.rs");
        let graph = case.desc.lower(&catalog).unwrap().inference();
        for layer in &graph.layers {
            // The last part of a name is what the line of its layer says.
            let Some(param) = layer.params.first() else {
                continue;
            };
            let name = param.name.rsplit('.').nth(1).unwrap();
            let stands = [format!(".{name}\""), format!("\"{name}\"")];
            assert!(
                stands.iter().any(|text| source.contains(text.as_str())),
                "{} {}: {} is missing in\n{source}",
                case.group,
                case.name,
                param.name
            );
        }
        assert!(!source.lines().any(|line| line.ends_with(' ')), "{source}");
    }
}

#[test]
fn the_crate_is_whole() {
    let catalog = OpCatalog::builtin();
    let model = testing::brightness(&["night", "broad \"day\""], [3, 8, 8]);
    let names = RustExporter.companions("best");
    for name in &names {
        assert!(name.starts_with("best_rust/"), "{name}");
        let options = Options::default();
        let mut bytes = Vec::new();
        let exported = model.exported(&catalog, &options);
        RustExporter
            .export_companion(name, &exported, &mut bytes)
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(!bytes.is_empty(), "{name}");
    }
    // Without its manifest it is no crate: the last of the files.
    assert_eq!(names.last().unwrap(), "best_rust/Cargo.toml");
    let lib = file(&model, &catalog, "best_rust/src/lib.rs");
    assert!(
        lib.contains("pub const CLASSES: [&str; 2]") && lib.contains("\"broad \\\"day\\\"\""),
        "{lib}"
    );
    // The kernels are those of the workspace, and need the thread pool alone.
    let kernels = file(&model, &catalog, "best_rust/kernels/src/lib.rs");
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/../archai-kernels/src/lib.rs");
    assert_eq!(kernels, std::fs::read_to_string(own).unwrap());
    assert!(kernels.contains("pub mod infer;"), "{kernels}");
    let manifest = file(&model, &catalog, "best_rust/kernels/Cargo.toml");
    let (_, dependencies) = manifest.split_once("[dependencies]\n").unwrap();
    assert!(
        dependencies.lines().count() == 1 && dependencies.starts_with("rayon = "),
        "{manifest}"
    );
    // It stands beside the other formats.
    let formats = Formats::new(&builtin(), &["safetensors", "rust"], &Options::default()).unwrap();
    let products = formats.products(std::path::Path::new("a/model.safetensors"));
    let manifest = products.last().unwrap();
    assert_eq!(
        manifest.path(),
        std::path::Path::new("a/model_rust/Cargo.toml")
    );
    let usage = manifest.usage().unwrap();
    assert!(
        usage.contains("--manifest-path model_rust/Cargo.toml"),
        "{usage}"
    );
}
