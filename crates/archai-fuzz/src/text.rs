//! Readers of texts. Files that are not UTF-8 end before these readers, so other bytes are passed over.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use archai::spec::config::{ConfigLoader, Schema, parse_overrides};
use archai::spec::desc::nasbench101::NasBench101Builder;
use archai::spec::desc::{
    Foreign, Genotype, ModelDesc, OpCatalog, Which, build, draw_dot, draw_svg, from_genotype,
    import_archai,
};
use archai::spec::settings::{ImportTarget, Settings, import_archai_config};

use crate::SEPARATOR;

thread_local! {
    static SCHEMA: OnceCell<Schema> = const { OnceCell::new() };
    static CATALOG: OnceCell<OpCatalog> = const { OnceCell::new() };
    static SETTINGS: OnceCell<Settings> = const { OnceCell::new() };
}

fn with_schema<T>(use_it: impl FnOnce(&Schema) -> T) -> T {
    SCHEMA.with(|schema| use_it(schema.get_or_init(Schema::settings)))
}

fn with_catalog<T>(use_it: impl FnOnce(&OpCatalog) -> T) -> T {
    CATALOG.with(|catalog| use_it(catalog.get_or_init(OpCatalog::builtin)))
}

fn with_settings(use_it: impl FnOnce(&Settings)) {
    SETTINGS.with(|settings| {
        use_it(settings.get_or_init(|| {
            Settings::shipped("cifar10")
                .unwrap_or_else(|errors| panic!("the shipped files: {errors}"))
        }));
    });
}

/// A configuration of several files: `main.yaml`, then `1.yaml`, `2.yaml`, … for it to include.
pub fn config(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let files = several(text);
    with_schema(|schema| {
        let Ok(tree) = ConfigLoader::new(&files).files("main.yaml").load(schema) else {
            return false;
        };
        let again = BTreeMap::from([("again.yaml".to_owned(), tree.to_yaml())]);
        let same = ConfigLoader::new(&again).files("again.yaml").load(schema);
        let same =
            same.unwrap_or_else(|errors| panic!("a written tree is not read back: {errors}"));
        assert_eq!(same.to_yaml(), tree.to_yaml());
        tree.to_yaml_with_origins();
        if let Ok(settings) = tree.settings() {
            settings.check();
            tree.digest().map(drop).unwrap_or_default();
        }
        true
    })
}

/// A configuration of Archai, of several files as in `config`, and its translation, which can be loaded.
pub fn archai_config(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let files = several(text);
    with_schema(|schema| {
        let mut is_read = false;
        for algo in ["darts", "petridish"] {
            let target = ImportTarget {
                algo,
                defaults: &defaults(&files),
                schema,
                networks: &["resnet20"],
            };
            let Ok(imported) = import_archai_config(&files, "main.yaml", target) else {
                continue;
            };
            is_read = true;
            let again = BTreeMap::from([("again.yaml".to_owned(), imported.yaml)]);
            if let Err(errors) = defaults(&again).files("again.yaml").load(schema) {
                panic!("a translation is not read: {errors}");
            }
        }
        is_read
    })
}

/// The layers below a configuration.
fn defaults(files: &BTreeMap<String, String>) -> ConfigLoader<'_> {
    ConfigLoader::new(files)
        .files("archai:algos/common.yaml")
        .dataset("archai:datasets/cifar10.yaml")
}

/// Files that stand behind each other: `main.yaml`, then `1.yaml`, `2.yaml`, …
fn several(text: &str) -> BTreeMap<String, String> {
    text.split(char::from(SEPARATOR))
        .enumerate()
        .map(|(i, text)| {
            let name = if i == 0 {
                "main.yaml".into()
            } else {
                format!("{i}.yaml")
            };
            (name, text.to_owned())
        })
        .collect()
}

/// A command line: one argument in each line.
pub fn overrides(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let args: Vec<String> = text.lines().map(str::to_owned).collect();
    let Ok(overrides) = parse_overrides(&args) else {
        return false;
    };
    let base = "common: {seed: 2}\ndataset: {_copy: /other, n_classes: 3}\nother: {name: x}\n";
    let files = BTreeMap::from([("base.yaml".to_owned(), base.to_owned())]);
    with_schema(|schema| {
        let loader = ConfigLoader::new(&files).files("base.yaml");
        let tree = loader.overrides(overrides).load(schema);
        if let Ok(tree) = &tree {
            tree.to_yaml_with_origins();
        }
        tree.is_ok()
    })
}

/// The file of a data set, for the search and for the evaluation.
pub fn dataset(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let files = BTreeMap::from([("set.yaml".to_owned(), text.to_owned())]);
    // Without defaults, every file would be refused for what it lacks.
    let defaults = || ConfigLoader::new(&files).files("archai:algos/common.yaml");
    with_schema(|schema| {
        let is_read = [
            defaults().dataset("set.yaml"),
            defaults().eval_dataset("set.yaml"),
        ]
        .map(|loader| {
            let tree = loader.load(schema);
            if let Ok(tree) = &tree {
                tree.settings().map(drop).unwrap_or_default();
            }
            tree.is_ok()
        });
        is_read.contains(&true)
    })
}

/// A model description, and all that is made of one.
pub fn description(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    with_catalog(|catalog| {
        let desc = ModelDesc::from_yaml(text, "model.yaml", catalog);
        if let Ok(desc) = &desc {
            use_description(desc, catalog);
        }
        desc.is_ok()
    })
}

fn use_description(desc: &ModelDesc, catalog: &OpCatalog) {
    // Numbers that YAML cannot hold (NaN, infinity) are refused.
    if let Ok(text) = desc.to_yaml() {
        let again = ModelDesc::from_yaml(&text, "again.yaml", catalog);
        assert_eq!(again.as_ref(), Ok(desc), "{text}");
    }
    desc.shapes(catalog).map(drop).unwrap_or_default();
    desc.cost(catalog).map(drop).unwrap_or_default();
    desc.table(catalog).map(drop).unwrap_or_default();
    // All ops of the catalogue are made of layers: a description that passes its check has a graph.
    if let (Ok(cost), Ok(graph)) = (desc.cost(catalog), desc.lower(catalog)) {
        assert_eq!(graph.cost(true), cost.total(true));
        assert!(graph.memory(4).peak <= graph.memory(4).forward);
    }
    desc.genotype().map(drop).unwrap_or_default();
    draw_svg(desc);
    draw_dot(desc);
}

/// A genotype, and the description that is built from it.
pub fn genotype(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let Ok(genotype) = text.parse::<Genotype>() else {
        return false;
    };
    assert_eq!(genotype.to_string().parse(), Ok(genotype.clone()));
    with_catalog(|catalog| {
        with_settings(|settings| {
            let macros = &settings.nas.eval.model_desc;
            from_genotype(&genotype, macros, true, catalog)
                .map(drop)
                .unwrap_or_default();
        });
    });
    true
}

/// An architecture in any notation, and the description that is built from it.
pub fn foreign(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let mut is_read = false;
    for which in [Which::Only, Which::Nth(-1), Which::Named("DARTS_V2".into())] {
        let Ok(found) = Foreign::read(text, &which) else {
            continue;
        };
        is_read = true;
        let settings = |use_it: &dyn Fn(&Settings, &OpCatalog)| {
            with_catalog(|catalog| with_settings(|settings| use_it(settings, catalog)));
        };
        match found {
            Foreign::Genotype(genotype) => {
                assert_eq!(genotype.to_string().parse(), Ok(genotype));
            }
            Foreign::Cell201(cell) => {
                assert_eq!(cell.to_string().parse(), Ok(cell));
                assert_eq!(cell.digits().parse(), Ok(cell));
            }
            Foreign::Cell101(cell) => settings(&|settings, catalog| {
                let builder = NasBench101Builder {
                    cell: Some(cell.clone()),
                };
                let mut macros = settings.nas.eval.model_desc.clone();
                macros.cell.cell_post_op = "identity".into();
                let built = build(&builder, &macros, None, true, catalog);
                built.map(drop).unwrap_or_default();
            }),
            // The target `import` is about these.
            Foreign::Archai => {}
        }
    }
    is_read
}

/// A description as Archai writes it.
pub fn import(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    with_catalog(|catalog| {
        let built = import_archai(text, "archai.yaml", None, true, catalog);
        if let Ok(built) = &built {
            use_description(&built.desc, catalog);
        }
        built.is_ok()
    })
}
