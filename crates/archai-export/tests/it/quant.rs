//! Quantised networks: the graph that is quantised computes the same, and bytes lose little.

use archai_export::Weights;
use archai_export::quant::{Calibration, Method, Quantised, QuantisedParam, prepare};
use archai_export::reference::{Maps, Reference};
use archai_spec::desc::{OpCatalog, Shape};
use archai_spec::ops::{ConvShape, Layer, ParamKind, PoolShape};

use crate::cases::{self, Case};
use crate::reference::graph;

fn rms(numbers: impl Iterator<Item = f64>) -> f64 {
    let (n, sum) = numbers.fold((0.0, 0.0), |(n, sum), v| (n + 1.0, sum + v * v));
    (sum / f64::max(n, 1.0)).sqrt()
}

/// Root mean square of the difference, relative to that of the second.
fn difference(a: &Maps, b: &Maps) -> f64 {
    let off = a.values.iter().zip(&b.values).map(|(a, b)| a - b);
    rms(off) / rms(b.values.iter().copied()).max(1e-9)
}

fn quantised(case: &Case, catalog: &OpCatalog, method: Method, threads: usize) -> (Quantised, f64) {
    let graph = case.desc.lower(catalog).unwrap().inference();
    let state = cases::trained(&graph, 11);
    let shape = graph.values[0].shape;
    let calibration = Calibration {
        images: &cases::images(4, shape, 7),
        method,
        threads,
    };
    let what = format!("{} {}", case.group, case.name);
    let quantised = Quantised::new(&graph, &state, &calibration);
    let quantised = quantised.unwrap_or_else(|e| panic!("{what}: {e}"));

    // The prepared graph computes the same. The images are some of those that ranges were found on: of four images, others
    // are too often outside.
    let images = calibration.images;
    let logits = Reference::new(&graph, &state)
        .unwrap()
        .logits(images)
        .unwrap();
    let prepared = &quantised.prepared;
    let same = Reference::new(&prepared.graph, &prepared.state).unwrap();
    let same = difference(&same.logits(images).unwrap(), &logits);
    assert!(same < 1e-9, "{what}: {same}");
    for layer in &prepared.graph.layers {
        assert!(
            !matches!(layer.layer, Layer::Norm { .. }),
            "{what}: a norm is left"
        );
        assert!(
            layer.layer != Layer::Add || layer.inputs.len() == 2,
            "{what}: a long sum"
        );
        // Each parameter is whole numbers, of 8 bits or 32.
        for param in &layer.params {
            let eight = matches!(quantised.params[&param.name], QuantisedParam::Weight(_));
            assert_eq!(
                eight,
                param.kind == ParamKind::Weight,
                "{what}: {}",
                param.name
            );
        }
    }
    let off = difference(&quantised.logits(images).unwrap(), &logits);
    (quantised, off)
}

#[test]
fn every_op_and_network_is_quantised() {
    let catalog = OpCatalog::builtin();
    let mut ops = cases::ops(&catalog);
    // One of a kind is enough here.
    ops.dedup_by(|a, b| a.group == b.group);
    let mut worst = (0.0, String::new());
    ops.extend(cases::parametric(&catalog));
    let mut networks = cases::drawn(1, &catalog);
    networks.extend(cases::searched(1));
    for case in ops.iter().chain(&networks) {
        let (_, off) = quantised(case, &catalog, Method::MinMax, 2);
        if off > worst.0 {
            worst = (off, format!("{} {}", case.group, case.name));
        }
    }
    // Random weights amplify what is lost, layer by layer; a mistake would give 1.
    assert!(worst.0 < 0.25, "{worst:?}");
    assert!(worst.0 > 1e-4, "nothing was rounded");
}

#[test]
fn the_result_does_not_depend_on_threads() {
    let catalog = OpCatalog::builtin();
    let case = &cases::drawn(1, &catalog)[0];
    let (one, off) = quantised(case, &catalog, Method::MeanSquaredError, 1);
    let (three, _) = quantised(case, &catalog, Method::MeanSquaredError, 3);
    assert_eq!(one.values, three.values);
    assert_eq!(one.params, three.params);
    assert!(off < 0.1, "{off}");
}

/// What only moves numbers keeps the bytes, and a convolution whose ReLU follows has none of its own.
#[test]
fn bytes_are_rounded_once() {
    let graph = graph([2, 8, 8], |b, x| {
        let x = b.conv(x, ConvShape::new(2, 4, 3));
        let x = b.norm(x, 4);
        let x = b.relu(x);
        let pooled = b.layer(Layer::MaxPool(PoolShape::centred(3, 1)), &[x]);
        let first = b.layer(Layer::TakeChannels { channels: 2 }, &[pooled]);
        let zeros = b.layer(Layer::Zero { stride: 1 }, &[first]);
        let sum = b.add(&[first, zeros, first]);
        let again = b.relu(sum);
        let twice = b.relu(sum);
        let sum = b.add(&[again, twice]);
        let x = b.layer(Layer::GlobalMean, &[sum]);
        b.layer(
            Layer::Linear {
                n_in: 2,
                n_out: 3,
                bias: true,
            },
            &[x],
        )
    });
    let state = cases::trained(&graph, 3);
    let images = cases::images(8, graph.values[0].shape, 4);
    let calibration = Calibration {
        images: &images,
        method: Method::MinMax,
        threads: 1,
    };
    let quantised = Quantised::new(&graph, &state, &calibration).unwrap();
    let prepared = &quantised.prepared.graph;
    let names: Vec<&str> = prepared.values.iter().map(|v| v.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "image",
            "conv1",
            "relu1",
            "max_pool1",
            "take1",
            "add1",
            "relu2",
            "add2",
            "mean1",
            "linear1"
        ]
    );
    let affine = &quantised.values;
    assert_eq!((affine[1], affine[9]), (None, None));
    assert_eq!(
        (affine[3], affine[4], affine[6]),
        (affine[2], affine[2], affine[5])
    );
    assert_eq!(affine[2].unwrap().zero_point, 0);
    assert_ne!(affine[0], affine[2]);
    // 8 bits lose less than a hundredth here.
    let logits = Reference::new(&graph, &state)
        .unwrap()
        .logits(&images)
        .unwrap();
    let off = difference(&quantised.logits(&images).unwrap(), &logits);
    assert!(off > 0.0 && off < 0.02, "{off}");
}

#[test]
fn a_norm_without_a_convolution_becomes_one() {
    let graph = graph([2, 4, 4], |b, x| {
        let x = b.norm(x, 2);
        b.layer(Layer::GlobalMean, &[x])
    });
    let state = cases::trained(&graph, 5);
    let prepared = prepare(&graph, &state).unwrap();
    let conv = &prepared.graph.layers[0];
    let shape = ConvShape::depthwise(2, 1).with_bias(true);
    assert_eq!(conv.layer, Layer::Conv(shape));
    let weights = Weights::new(&prepared.graph, &prepared.state).unwrap();
    assert_eq!(weights.get(conv, ParamKind::Weight).unwrap().len(), 2);
}

#[test]
fn what_cannot_be_calibrated_says_so() {
    let graph = graph([2, 4, 4], |b, x| {
        let x = b.conv(x, ConvShape::new(2, 3, 1));
        b.layer(Layer::GlobalMean, &[x])
    });
    let state = cases::trained(&graph, 5);
    let with = |images: &Maps| {
        let calibration = Calibration {
            images,
            method: Method::MinMax,
            threads: 2,
        };
        Quantised::new(&graph, &state, &calibration)
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    let none = with(&cases::images(0, Shape::new(2, 4, 4), 1));
    assert!(none.contains("needs images"), "{none}");
    let other = with(&cases::images(1, Shape::new(2, 4, 5), 1));
    assert!(other.contains("the network takes [2, 4, 4]"), "{other}");
    let mut infinite = cases::images(6, Shape::new(2, 4, 4), 1);
    infinite.values[170] = f64::NAN;
    let infinite = with(&infinite);
    assert!(
        infinite.contains("`image` is infinite or no number"),
        "{infinite}"
    );
}
