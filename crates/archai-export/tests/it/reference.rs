//! The definition of the layers against numbers worked out by hand.

use archai_export::NamedTensor;
use archai_export::reference::{Maps, Reference};
use archai_spec::desc::{OpCatalog, OpDesc, Shape};
use archai_spec::graph::{Graph, GraphLayer, GraphParam, GraphValue};
use archai_spec::ops::{Activation, ConvShape, Layer, LayerBuilder, PoolShape, Share, Value};

/// A graph of what `list` makes of an image.
pub fn graph(image: [usize; 3], list: impl FnOnce(&mut LayerBuilder<'_>, Value) -> Value) -> Graph {
    let catalog = OpCatalog::builtin();
    let (mut b, inputs) = LayerBuilder::new(&catalog, 1, true);
    let output = list(&mut b, inputs[0]);
    let list = b.finish(output);
    let [c, h, w] = image;
    let (shapes, costs) = list.trace(&[Shape::new(c, h, w)]).unwrap();
    let names = std::iter::once("image").chain(list.steps.iter().map(|s| s.name.as_str()));
    let values = names.zip(shapes).map(|(name, shape)| GraphValue {
        name: name.to_string(),
        shape,
    });
    let layers = list.steps.iter().zip(costs).enumerate();
    let layers = layers.map(|(i, (step, cost))| GraphLayer {
        layer: step.layer.clone(),
        inputs: step.inputs.clone(),
        output: i + 1,
        params: (step.layer.params().into_iter())
            .map(|p| GraphParam {
                name: format!("{}.{}", step.name, p.kind.name()),
                kind: p.kind,
                shape: p.shape,
            })
            .collect(),
        cost,
        arch: None,
        only_training: false,
    });
    Graph {
        values: values.collect(),
        layers: layers.collect(),
        logits: list.output,
        aux: Vec::new(),
    }
}

fn tensor(name: &str, shape: &[usize], values: &[f64]) -> NamedTensor {
    NamedTensor {
        name: name.to_string(),
        shape: shape.to_vec(),
        values: values.to_vec(),
    }
}

/// What one layer makes of one image.
fn check(layer: Layer, state: &[NamedTensor], image: [usize; 3], values: &[f64], expected: &[f64]) {
    let graph = graph(image, |b, x| b.layer(layer, &[x]));
    let [c, h, w] = image;
    let images = Maps::new([1, c, h, w], values.to_vec()).unwrap();
    let given = Reference::new(&graph, state)
        .unwrap()
        .logits(&images)
        .unwrap();
    assert_eq!(
        given.values.len(),
        expected.len(),
        "{:?}",
        graph.layers[0].layer
    );
    for (a, b) in given.values.iter().zip(expected) {
        let what = &graph.layers[0].layer;
        assert!(
            (a - b).abs() < 1e-12,
            "{what:?}: {:?} {expected:?}",
            given.values
        );
    }
}

#[test]
fn a_squeeze_and_excite_by_hand() {
    let catalog = OpCatalog::builtin();
    let op = OpDesc::new("squeeze_excite", 2, 2);
    let lowered = graph([2, 1, 2], |b, x| b.child(&op, &[x]).unwrap());
    assert_eq!(
        lowered.cost(false),
        catalog.cost(&op, &[Shape::new(2, 1, 2)], true).unwrap()
    );
    let names: Vec<&str> = lowered.values[1..]
        .iter()
        .map(|v| v.name.as_str())
        .collect();
    assert_eq!(
        names,
        ["mean1", "conv1", "relu1", "conv2", "hsigmoid1", "scale1"]
    );
    let state = [
        tensor("conv1.weight", &[1, 2, 1, 1], &[1.0, -0.5]),
        tensor("conv1.bias", &[1], &[0.5]),
        tensor("conv2.weight", &[2, 1, 1, 1], &[1.0, -4.0]),
        tensor("conv2.bias", &[2], &[-1.0, 4.0]),
    ];
    let images = Maps::new([1, 2, 1, 2], vec![1.0, 3.0, 4.0, -2.0]).unwrap();
    let given = Reference::new(&lowered, &state)
        .unwrap()
        .logits(&images)
        .unwrap();
    // Means 2 and 1; inside 2 − 1/2 + 1/2 = 2; numbers 1 and −4; factors 4/6 and 0.
    let factor = 4.0 / 6.0;
    for (a, b) in given.values.iter().zip([factor, 3.0 * factor, 0.0, 0.0]) {
        assert!((a - b).abs() < 1e-12, "{:?}", given.values);
    }
}

#[test]
fn layers_compute_what_they_say() {
    let numbers = [1.0, -2.0, 3.0, 4.0, 5.0, -6.0, 7.0, 8.0, 9.0];
    check(
        Layer::Relu,
        &[],
        [1, 1, 3],
        &[-1.0, 0.0, 7.0],
        &[0.0, 0.0, 7.0],
    );
    check(
        Layer::Relu6,
        &[],
        [1, 1, 3],
        &[-1.0, 2.0, 7.0],
        &[0.0, 2.0, 6.0],
    );
    // Worked out by hand, but for what needs an exponential.
    let e = std::f64::consts::E;
    for (function, expected) in [
        (Activation::HardSwish, [0.0, -1.0 / 3.0, 4.0]),
        (Activation::HardSigmoid, [0.0, 1.0 / 3.0, 1.0]),
        (
            Activation::Sigmoid,
            [
                1.0 / (1.0 + e.powi(5)),
                1.0 / (1.0 + e),
                1.0 / (1.0 + e.powi(-4)),
            ],
        ),
        (
            Activation::Silu,
            [
                -5.0 / (1.0 + e.powi(5)),
                -1.0 / (1.0 + e),
                4.0 / (1.0 + e.powi(-4)),
            ],
        ),
        // Φ(−5), Φ(−1) and Φ(4) from tables of the normal distribution.
        (
            Activation::Gelu,
            [
                -5.0 * 2.866_515_718_791_939e-7,
                -0.158_655_253_931_457_05,
                4.0 * 0.999_968_328_758_166_9,
            ],
        ),
    ] {
        check(
            Layer::Activation { function },
            &[],
            [1, 1, 3],
            &[-5.0, -1.0, 4.0],
            &expected,
        );
    }
    let share = Share::new(0.5).unwrap();
    check(
        Layer::Dropout { share },
        &[],
        [1, 1, 2],
        &[-1.0, 2.0],
        &[-1.0, 2.0],
    );
    check(
        Layer::Zero { stride: 2 },
        &[],
        [1, 3, 3],
        &[f64::NAN; 9],
        &[0.0; 4],
    );
    // By hand: rows of the padded map, taps from the upper left to the lower right.
    let conv = ConvShape {
        kernel: [1, 2],
        stride: [2, 1],
        padding: [0, 1],
        dilation: 2,
        ..ConvShape::new(1, 1, 1)
    };
    let state = [tensor("conv1.weight", &[1, 1, 1, 2], &[10.0, 1.0])];
    check(
        Layer::Conv(conv),
        &state,
        [1, 3, 3],
        &numbers,
        &[-2.0, 13.0, -20.0, 8.0, 79.0, 80.0],
    );
    let conv = ConvShape::depthwise(2, 1).with_bias(true);
    let state = [
        tensor("conv1.weight", &[2, 1, 1, 1], &[2.0, 3.0]),
        tensor("conv1.bias", &[2], &[0.5, 0.0]),
    ];
    check(
        Layer::Conv(conv),
        &state,
        [2, 1, 2],
        &[1.0, 2.0, 3.0, 4.0],
        &[2.5, 4.5, 9.0, 12.0],
    );
    let window = PoolShape::centred(3, 2);
    check(
        Layer::MaxPool(window),
        &[],
        [1, 3, 3],
        &numbers,
        &[5.0, 5.0, 8.0, 9.0],
    );
    check(Layer::MaxPool(window), &[], [1, 1, 1], &[-3.0], &[-3.0]);
    for (count_include_pad, by) in [(true, 9.0), (false, 4.0)] {
        let layer = Layer::AvgPool {
            window,
            count_include_pad,
        };
        let sums = [8.0, 0.0, 24.0, 16.0].map(|sum: f64| sum / by);
        check(layer, &[], [1, 3, 3], &numbers, &sums);
    }
    let norm = Layer::Norm {
        channels: 1,
        affine: true,
    };
    let state = [
        tensor("bn1.weight", &[1], &[3.0]),
        tensor("bn1.bias", &[1], &[0.25]),
        tensor("bn1.running_mean", &[1], &[1.0]),
        tensor("bn1.running_var", &[1], &[4.0 - 1e-5]),
    ];
    check(norm, &state, [1, 1, 2], &[1.0, 3.0], &[0.25, 3.25]);
    check(
        Layer::GlobalMean,
        &[],
        [2, 1, 2],
        &[1.0, 3.0, 5.0, 6.0],
        &[2.0, 5.5],
    );
    let linear = Layer::Linear {
        n_in: 2,
        n_out: 2,
        bias: true,
    };
    let state = [
        tensor("linear1.weight", &[2, 2], &[1.0, 2.0, 3.0, 4.0]),
        tensor("linear1.bias", &[2], &[0.0, 100.0]),
    ];
    check(linear, &state, [2, 1, 1], &[1.0, 10.0], &[21.0, 143.0]);
    check(
        Layer::Subsample { stride: 2 },
        &[],
        [1, 3, 3],
        &numbers,
        &[1.0, 3.0, 7.0, 9.0],
    );
    check(
        Layer::Crop { top: 1, left: 2 },
        &[],
        [1, 3, 3],
        &numbers,
        &[-6.0, 9.0],
    );
    check(
        Layer::TakeChannels { channels: 1 },
        &[],
        [2, 1, 1],
        &[1.0, 2.0],
        &[1.0],
    );
    let pad = Layer::PadChannels {
        before: 1,
        after: 2,
    };
    check(pad, &[], [1, 1, 1], &[7.0], &[0.0, 7.0, 0.0, 0.0]);
    check(
        Layer::Flatten,
        &[],
        [2, 1, 2],
        &[1.0, 2.0, 3.0, 4.0],
        &[1.0, 2.0, 3.0, 4.0],
    );
}

#[test]
fn joined_maps_of_several_images_stay_apart() {
    let graph = graph([1, 1, 2], |b, x| {
        let relu = b.relu(x);
        let both = b.concat(&[x, relu]);
        let sum = b.add(&[both, both]);
        b.concat(&[sum, x])
    });
    let images = Maps::new([2, 1, 1, 2], vec![-1.0, 2.0, 3.0, -4.0]).unwrap();
    let reference = Reference::new(&graph, &[]).unwrap();
    let out = reference.logits(&images).unwrap();
    assert_eq!(out.shape, [2, 3, 1, 2]);
    let first = [-2.0, 4.0, 0.0, 4.0, -1.0, 2.0];
    assert_eq!(
        out.values,
        [first, [6.0, -8.0, 6.0, 0.0, 3.0, -4.0]].concat()
    );
    // All values, and the statistics of a batch.
    assert_eq!(reference.values(&images).unwrap().len(), graph.values.len());
}

#[test]
fn norms_can_go_by_the_batch() {
    let graph = graph([1, 1, 2], |b, x| b.norm(x, 1));
    let state = [
        tensor("bn1.weight", &[1], &[1.0]),
        tensor("bn1.bias", &[1], &[0.0]),
        tensor("bn1.running_mean", &[1], &[50.0]),
        tensor("bn1.running_var", &[1], &[1.0]),
    ];
    let images = Maps::new([2, 1, 1, 2], vec![1.0, 3.0, 5.0, 7.0]).unwrap();
    let reference = Reference::new(&graph, &state).unwrap();
    let out = reference.with_batch_statistics().logits(&images).unwrap();
    // Mean 4, variance 5.
    let expected = [-3.0, -1.0, 1.0, 3.0].map(|v: f64| v / 5.000_01f64.sqrt());
    let close = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-12;
    assert!(
        out.values.iter().zip(&expected).all(close),
        "{:?}",
        out.values
    );
}

#[test]
fn weights_and_images_of_another_network_are_refused() {
    let graph = graph([3, 4, 4], |b, x| b.conv(x, ConvShape::new(3, 2, 1)));
    let problem = |state: &[NamedTensor]| Reference::new(&graph, state).unwrap_err().to_string();
    let text = problem(&[]);
    assert!(
        text.contains("`conv1.weight` of shape [2, 3, 1, 1]"),
        "{text}"
    );
    let text = problem(&[tensor("conv1.weight", &[2, 3], &[0.0; 6])]);
    assert!(
        text.contains("[2, 3]") && text.contains("[2, 3, 1, 1]"),
        "{text}"
    );
    let state = [tensor("conv1.weight", &[2, 3, 1, 1], &[0.0; 6])];
    let reference = Reference::new(&graph, &state).unwrap();
    let images = Maps::new([1, 1, 4, 4], vec![0.0; 16]).unwrap();
    let text = reference.logits(&images).unwrap_err().to_string();
    assert!(
        text.contains("[1, 4, 4]") && text.contains("[3, 4, 4]"),
        "{text}"
    );
    assert!(Maps::new([1, 1, 4, 4], vec![0.0; 15]).is_err());
    let mix = Layer::Mix {
        places: vec![0],
        of: 1,
    };
    let graph = self::graph([1, 1, 1], |b, x| b.layer(mix, &[x]));
    let image = Maps::new([1, 1, 1, 1], vec![0.0]).unwrap();
    let text = Reference::new(&graph, &[])
        .unwrap()
        .logits(&image)
        .unwrap_err()
        .to_string();
    assert!(text.contains("`mix1`"), "{text}");
}
