//! One search cell alone, on its kernel.

use std::hint::black_box;

use archai_data::rng::Key;
use archai_engine::Engine;
use archai_kernels::{CellEdge, CellWant, Exec, FeatureMap, FusedCell, Packing, Primitive};

use super::{Measured, Size, timed};
use crate::cli::args::Workload;
use crate::cli::error::CliError;

/// The first search cell alone: 14 edges of 8 primitives on 16 channels of 32×32, forward and backward, with the gradients
/// of both inputs, of the mixing weights and of the parameters.
pub(super) fn cell(batch: usize, steps: usize) -> Result<Measured, CliError> {
    let primitives = vec![
        Primitive::MaxPool { norm: true },
        Primitive::AvgPool { norm: true },
        Primitive::Skip,
        Primitive::Sep { kernel: 3 },
        Primitive::Sep { kernel: 5 },
        Primitive::Dil { kernel: 3 },
        Primitive::Dil { kernel: 5 },
        Primitive::None,
    ];
    let edges = (0..4)
        .flat_map(|node| (0..node + 2).map(move |from| (from, node)))
        .map(|(from, node)| CellEdge {
            from,
            node,
            primitives: primitives.clone(),
        })
        .collect();
    let plan =
        FusedCell::new(FeatureMap::new(16, 32, 32), 4, false, edges).map_err(CliError::caused)?;
    let mut rng = Key::new(5).with("bench cell").rng();
    let mut draw = |n: usize| -> Vec<f32> { (0..n).map(|_| rng.normal() as f32).collect() };
    let len = batch * plan.input().sample_len();
    let (s0, s1) = (draw(len), draw(len));
    let mixing = vec![0.125; plan.mixing_len()];
    let params = plan
        .params()
        .pack(|piece| draw(piece.len()).iter().map(|v| 0.1 * v).collect());
    let exec = Exec::new();
    let macs = cell_macs(plan.params(), 32 * 32);
    let flop = macs * batch as f64 * Workload::Cell.flop_per_mac();
    let g = draw(batch * plan.output().sample_len());
    let size = Size {
        batch,
        images: batch,
        flop,
    };
    timed(Workload::Cell, Engine::Fused, steps, size, || {
        let (y, save) = plan.forward(&exec, [&s0, &s1], &mixing, &params);
        let grads = plan.backward(
            &exec,
            [&s0, &s1],
            &mixing,
            &params,
            &y,
            &save,
            g.clone(),
            CellWant::ALL,
        );
        black_box(grads);
        Ok(())
    })
}

/// Multiply-adds per image of a cell whose convolutions all keep `pixels` pixels: each weight once per pixel.
fn cell_macs(params: &Packing, pixels: usize) -> f64 {
    params
        .tensors()
        .iter()
        .map(|p| (p.len() * pixels) as f64)
        .sum()
}
