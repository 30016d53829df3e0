//! Spaces and finalizers of a program's own, and wrong names.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use archai_engine::finalize::{DefaultFinalizers, NamedFinalizer};
use archai_lab::{Lab, NoObserver};
use archai_spec::desc::{DartsModelDescBuilder, ModelDesc, ModelDescBuilder, OpCatalog};
use archai_spec::finalize::NodeRule;
use archai_spec::registry::Named;
use archai_spec::spaces::Space;

use crate::support::tiny;

/// The cells of DARTS without parallel edges.
struct Simple;

impl Named for Simple {
    fn name(&self) -> &str {
        "simple"
    }
    fn about(&self) -> &str {
        "cells of DARTS without parallel edges"
    }
}

impl Space for Simple {
    fn builder(&self) -> &dyn ModelDescBuilder {
        &DartsModelDescBuilder
    }
    fn rule(&self) -> NodeRule {
        NodeRule::OneOpPerEdge
    }
    fn config(&self) -> Option<&str> {
        Some("nas: {search: {space: simple, model_desc: {max_final_edges: 2}}}")
    }
}

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.is_file())
        .map(|path| (path.display().to_string(), fs::read(&path).unwrap()))
        .collect()
}

#[test]
fn a_space_and_a_finalizer_of_ones_own() {
    let dir = tempfile::tempdir().unwrap();
    let mine = NamedFinalizer::new("mine", "as DARTS does", |_| Ok(Box::new(DefaultFinalizers)));
    let lab = Lab::builtin().with_space(Simple).unwrap();
    let lab = lab.with_finalizer(mine);
    for (algorithm, finalizer) in [("darts", "mine"), ("random", "default")] {
        let mut request = tiny(&[algorithm], dir.path());
        request.space = Some("simple".to_string());
        request
            .overrides
            .push(format!("nas.search.finalizer={finalizer}"));
        let outcomes = lab.run(&request, &NoObserver).unwrap();
        let found = outcomes[0].search.as_ref().unwrap();
        let path = found.final_desc.display().to_string();
        assert!(path.contains(&format!("{algorithm}-simple_")), "{path}");
        let text = fs::read_to_string(&found.final_desc).unwrap();
        let desc = ModelDesc::from_yaml(&text, "found", &OpCatalog::builtin()).unwrap();
        for node in desc.cells.iter().flat_map(|cell| &cell.nodes) {
            let [a, b] = node.edges.as_slice() else {
                panic!("{} edges", node.edges.len());
            };
            assert_ne!(a.inputs, b.inputs, "no parallel edges");
        }
    }
}

/// The same cells under another name.
struct Called(&'static str);

impl Named for Called {
    fn name(&self) -> &str {
        self.0
    }
    fn about(&self) -> &str {
        "cells of DARTS under another name"
    }
}

impl Space for Called {
    fn builder(&self) -> &dyn ModelDescBuilder {
        &DartsModelDescBuilder
    }
}

#[test]
fn a_space_needs_a_name_of_its_own() {
    let lab = Lab::builtin().with_space(Simple).unwrap();
    for (name, expect) in [
        ("own", "a space cannot be named `own`"),
        ("darts", "there is a space named `darts` already"),
        ("simple", "there is a space named `simple` already"),
    ] {
        let error = lab.clone().with_space(Called(name)).err().unwrap();
        assert!(error.to_string().contains(expect), "{error}");
    }
    assert!(lab.with_space(Called("other")).is_ok());
}

#[test]
fn a_wrong_name_is_an_error_before_an_older_run_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let lab = Lab::builtin();
    let mut request = tiny(&["random"], dir.path());
    request.eval = false;
    let outcomes = lab.run(&request, &NoObserver).unwrap();
    let run = outcomes[0].search_dir.clone().unwrap();
    let before = files(&run);
    // The run's directory, and the lock of the folder.
    let n_entries = || fs::read_dir(dir.path()).unwrap().count();
    let n_before = n_entries();
    let check = |change: &str, expect: &str| {
        let mut wrong = request.clone();
        wrong.overrides.push(change.to_string());
        let message = lab.run(&wrong, &NoObserver).unwrap_err().to_string();
        assert!(message.contains(expect), "{message}");
        assert_eq!(files(&run), before);
        assert_eq!(n_entries(), n_before, "nothing was set aside");
    };
    check(
        "nas.search.finalizer=defualt",
        "there is no finalizer `defualt`; did you mean `default`?",
    );
    check(
        "nas.search.model_desc.model_stems.ops=[stem_conv3x3,stem_conv3x4]",
        "nas.search.model_desc.model_stems.ops.1: ",
    );
    check(
        "nas.search.space=nasbench301",
        "there is no space `nasbench301`; did you mean `nasbench201`?",
    );
}
