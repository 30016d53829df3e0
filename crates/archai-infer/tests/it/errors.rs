//! What is refused, and how.

use archai_infer::{InferError, Network};
use archai_spec::desc::{DartsModelDescBuilder, OpCatalog, build, zoo};
use archai_spec::graph::Graph;

use crate::support::{Rng, cifar, state};

fn resnet() -> Graph {
    let builder = zoo::builder("resnet20").unwrap();
    let settings = cifar(3, 2, 4, [8, 8]);
    let built = build(&*builder, &settings, None, true, &OpCatalog::builtin()).unwrap();
    built.desc.lower(&OpCatalog::builtin()).unwrap()
}

#[test]
fn weights_of_another_network() {
    let graph = resnet();
    let whole = state(&graph, &mut Rng(1));
    let name = whole[3].name.clone();
    let mut missing = whole.clone();
    missing.remove(3);
    let mut other = whole.clone();
    other[3].shape = vec![1, other[3].values.len()];
    let mut short = whole;
    short[3].values.pop();
    for wrong in [missing, other, short] {
        let error = Network::new(&graph, &wrong).unwrap_err();
        assert!(matches!(error, InferError::Weights(_)), "{error:?}");
        assert!(error.to_string().contains(&name), "{error}");
    }
}

#[test]
fn supernets_are_refused_by_name() {
    let catalog = OpCatalog::builtin();
    let settings = cifar(3, 1, 4, [8, 8]);
    let built = build(&DartsModelDescBuilder, &settings, None, false, &catalog).unwrap();
    let graph = built.desc.lower(&catalog).unwrap();
    let error = Network::new(&graph, &state(&graph, &mut Rng(1))).unwrap_err();
    let InferError::Layer { layer, .. } = &error else {
        panic!("{error}");
    };
    assert!(layer.starts_with("cell0.node0"), "{error}");
}

#[test]
fn images_of_another_size() {
    let graph = resnet();
    let network = Network::new(&graph, &state(&graph, &mut Rng(1))).unwrap();
    assert_eq!((network.input().channels, network.n_classes()), (3, 10));
    let error = network.logits(&[0.0; 3 * 8 * 8 + 1]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "193 numbers are no whole images: one of 3×8×8 (channels, rows, columns) has 192"
    );
    assert_eq!(network.logits(&[]).unwrap(), Vec::<f32>::new());
}
