//! Descriptions, numbers and images for the tests.

use archai_export::NamedTensor;
use archai_export::reference::{Maps, Reference};
use archai_infer::Network;
use archai_spec::graph::Graph;
use archai_spec::ops::ParamKind;
use archai_spec::settings::{ModelDescSettings, Settings};

/// The original code's CIFAR evaluation network at a small size.
pub fn cifar(
    n_cells: usize,
    n_reductions: usize,
    channels: usize,
    size: [usize; 2],
) -> ModelDescSettings {
    let shipped = Settings::shipped("cifar10").expect("a shipped data set");
    let mut settings = shipped.nas.search.model_desc;
    settings.n_cells = n_cells;
    settings.n_reductions = n_reductions;
    settings.model_stems.init_node_ch = channels;
    settings.dataset.size = size;
    settings
}

/// Splitmix64.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// In (−1, 1), a value that single precision holds exactly.
    pub fn unit(&mut self) -> f32 {
        ((self.next() >> 40) as f32 / (1 << 24) as f32) * 2.0 - 1.0
    }

    pub fn images(&mut self, graph: &Graph, n: usize) -> Vec<f32> {
        let shape = graph.values[0].shape;
        (0..n * shape.channels * shape.height * shape.width)
            .map(|_| self.unit())
            .collect()
    }
}

/// Numbers for every parameter of a graph, of a size that keeps activations near one.
pub fn state(graph: &Graph, rng: &mut Rng) -> Vec<NamedTensor> {
    let mut tensors: Vec<NamedTensor> = Vec::new();
    for param in graph.layers.iter().flat_map(|l| &l.params) {
        let n: usize = param.shape.iter().product();
        let fan_in: usize = param.shape.iter().skip(1).product();
        let value = |rng: &mut Rng| match param.kind {
            ParamKind::Weight => rng.unit() * (6.0 / fan_in as f32).sqrt(),
            ParamKind::Bias | ParamKind::Shift | ParamKind::RunningMean => rng.unit() * 0.3,
            ParamKind::Scale | ParamKind::RunningVar => 1.0 + 0.5 * rng.unit(),
        };
        let values = (0..n).map(|_| f64::from(value(rng))).collect();
        let (name, shape) = (param.name.clone(), param.shape.clone());
        tensors.push(NamedTensor {
            name,
            shape,
            values,
        });
    }
    tensors
}

/// Compares a network on `n` random images with the plain loops; returns the largest difference, relative to the largest
/// logit.
pub fn difference(graph: &Graph, n: usize, seed: u64) -> f64 {
    let mut rng = Rng(seed);
    let state = state(graph, &mut rng);
    let images = rng.images(graph, n);
    let network = Network::new(graph, &state).unwrap();
    let found = network.logits(&images).unwrap();
    let classes = network.n_classes();
    assert_eq!(found.len(), n * classes);
    let shape = graph.values[0].shape;
    let shape = [n, shape.channels, shape.height, shape.width];
    let maps = Maps::new(shape, images.iter().map(|&v| v.into()).collect()).unwrap();
    let graph = graph.inference();
    let expected = Reference::new(&graph, &state)
        .unwrap()
        .logits(&maps)
        .unwrap();
    assert_eq!(expected.values.len(), found.len());
    let mut largest = 0.0f64;
    for (expected, found) in expected.values.chunks(classes).zip(found.chunks(classes)) {
        let scale = expected.iter().fold(1e-3f64, |a, v| a.max(v.abs()));
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.is_finite(), "{found} instead of {expected}");
            largest = largest.max((f64::from(*found) - expected).abs() / scale);
        }
    }
    largest
}
