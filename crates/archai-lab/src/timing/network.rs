//! Networks on our own inference, as what is timed.

use archai_engine::{Model, ModelOptions, NamedTensor, OpRegistry};
use archai_infer::Network;
use archai_search::space::{SearchSpace, Space};
use archai_spec::desc::{ModelDesc, OpCatalog};
use archai_spec::graph::Graph;
use archai_spec::rng::Key;

use super::measure::Timed;

/// The reference network, beside which all others are timed: three convolutions on images of 3×32×32, 2.8 M multiply-adds. It
/// never changes, so that ratios of all machines and times can be compared.
pub const REFERENCE: &str = "\
space: reference
version: 1
input: {channels: 3, size: [32, 32]}
classes: 10
network:
  - conv_bn: {out: 16, kernel: 3}
  - conv_bn: {out: 32, kernel: 3, stride: 2}
  - conv_bn: {out: 64, kernel: 3, stride: 2}
  - pool: {kind: mean}
  - linear: {out: $classes}
";

/// A network with a batch of noise: each run computes its logits, in the threads of the caller's pool.
pub struct NetworkTimer {
    network: Network,
    images: Vec<f32>,
}

impl NetworkTimer {
    /// Plans a network for batches of so many images.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn new(graph: &Graph, state: &[NamedTensor], batch: usize) -> Result<Self, String> {
        let network = Network::new(graph, state).map_err(|e| e.to_string())?;
        let input = network.input();
        let numbers = batch * input.channels * input.height * input.width;
        let mut noise = Key::new(1).with("images of noise").rng();
        let images = (0..numbers).map(|_| noise.normal() as f32).collect();
        Ok(NetworkTimer { network, images })
    }
}

impl Timed for NetworkTimer {
    fn run(&mut self) -> Result<(), String> {
        let logits = self
            .network
            .logits(&self.images)
            .map_err(|e| e.to_string())?;
        std::hint::black_box(&logits);
        Ok(())
    }
}

/// A description as layers with numbers: starting weights, made larger so that maps neither fade nor grow from layer to layer
/// (He et al. 2015), because numbers close to zero would take another time than those of a trained network.
///
/// # Errors
/// It cannot be built, or has choices.
pub fn runnable(
    desc: &ModelDesc,
    ops: &OpRegistry,
    seed: u64,
) -> Result<(Graph, Vec<NamedTensor>), String> {
    let graph = desc.lower(ops.catalog()).map_err(|e| e.to_string())?;
    let options = ModelOptions {
        seed,
        ..ModelOptions::default()
    };
    let model = Model::compile(desc, ops, &options).map_err(|e| e.to_string())?;
    let mut state = model.named_state();
    let gain = 6f64.sqrt();
    for tensor in state.iter_mut().filter(|tensor| tensor.shape.len() > 1) {
        tensor.values.iter_mut().for_each(|v| *v *= gain);
    }
    Ok((graph, state))
}

/// The description of the reference network.
///
/// # Errors
/// None that a user can see: it is a constant.
pub fn reference() -> Result<ModelDesc, String> {
    let space = Space::parse("reference", REFERENCE).map_err(|e| e.to_string())?;
    let only = space.sample(Key::new(0)).map_err(|e| e.to_string())?;
    space.describe(&only).map_err(|e| e.to_string())
}

/// The reference network for batches of so many images.
///
/// # Errors
/// As [`reference`].
pub(super) fn reference_timer(batch: usize) -> Result<NetworkTimer, String> {
    let (graph, state) = runnable(&reference()?, &OpRegistry::builtin(), 1)?;
    NetworkTimer::new(&graph, &state, batch)
}

/// The layers of a member of a space at inference.
pub(super) fn lowered(
    space: &dyn SearchSpace,
    member: &archai_search::space::Member,
    catalog: &OpCatalog,
) -> Result<Graph, String> {
    let desc = space.describe(member).map_err(|e| e.to_string())?;
    desc.lower(catalog).map_err(|e| e.to_string())
}
