//! The kernels of `archai_kernels` as ops with gradients. Feature maps are channel-blocked, `[N, ⌈C/8⌉, H·W, 8]`, unless a
//! name says otherwise.

use std::sync::Arc;

use archai_kernels::{
    CellWant, ChannelStats, ConvNorm, ConvWant, Exec, FeatureMap, FusedCell, MixTerm, Packing,
    Pool, WeightedSum, concat_channels, from_nchw, global_avg_pool, global_avg_pool_backward, relu,
    relu_backward, scale_samples, split_channels, sum_samples, to_nchw,
};

use super::{Forward, Gradient, Kernel, Part, Point, Reads, Save};

/// Shape of a blocked tensor of `len` numbers.
pub(crate) fn blocked_shape(map: FeatureMap, len: usize) -> Vec<usize> {
    vec![map.samples(len), map.blocks(), map.pixels(), 8]
}

fn plain(map: FeatureMap, values: Vec<f32>) -> Forward {
    Forward {
        shape: blocked_shape(map, values.len()),
        values,
        save: Save::Nothing,
        stats: Vec::new(),
    }
}

const NOTHING: Reads = Reads {
    inputs: false,
    output: false,
};
const INPUTS: Reads = Reads {
    inputs: true,
    output: false,
};
const ALL: Reads = Reads {
    inputs: true,
    output: true,
};
const OUTPUT: Reads = Reads {
    inputs: false,
    output: true,
};

const NO_GRADIENT: &str =
    "with given statistics there is no gradient: tracked tensors take the path of plain ops";

/// \[ReLU,\] convolution, \[norm\] on (input, packed parameters).
#[derive(Debug)]
pub(crate) struct Conv {
    pub exec: Exec,
    pub op: Arc<ConvNorm>,
    /// Evaluation: with these statistics where there is a norm. Without: training.
    pub given: Option<Option<ChannelStats>>,
}

impl Kernel for Conv {
    fn forward(&self, inputs: &[&[f32]]) -> Forward {
        let (x, params) = (inputs[0], inputs[1]);
        if let Some(stats) = &self.given {
            let y = self.op.infer(&self.exec, x, params, stats.as_ref());
            return plain(self.op.output(), y);
        }
        let (y, save) = self.op.forward(&self.exec, x, params);
        Forward {
            stats: save.stats().into_iter().collect(),
            save: Save::Conv(save),
            ..plain(self.op.output(), y)
        }
    }

    fn backward(&self, at: Point<'_>, grad: Gradient) -> Vec<Option<Part>> {
        let Save::Conv(save) = at.save else {
            panic!("{NO_GRADIENT}")
        };
        let want = ConvWant {
            input: at.want[0],
            params: at.want[1],
        };
        let grads = self.op.backward(
            &self.exec,
            at.inputs[0],
            at.inputs[1],
            at.output,
            save,
            grad.as_slice(),
            want,
        );
        vec![grads.input.map(Part::New), grads.params.map(Part::New)]
    }

    fn reads(&self) -> Reads {
        Reads {
            inputs: true,
            output: self.op.reads_output(),
        }
    }
}

/// A pool, with an affine-free norm behind it or without.
#[derive(Debug)]
pub(crate) struct Pooling {
    pub exec: Exec,
    pub op: Arc<Pool>,
    /// As for [`Conv`].
    pub given: Option<Option<ChannelStats>>,
}

impl Kernel for Pooling {
    fn forward(&self, inputs: &[&[f32]]) -> Forward {
        if let Some(stats) = &self.given {
            let y = self.op.infer(&self.exec, inputs[0], stats.as_ref());
            return plain(self.op.output(), y);
        }
        let (y, save) = self.op.forward(&self.exec, inputs[0]);
        Forward {
            stats: save.stats().into_iter().collect(),
            save: Save::Pool(save),
            ..plain(self.op.output(), y)
        }
    }

    fn backward(&self, at: Point<'_>, grad: Gradient) -> Vec<Option<Part>> {
        let Save::Pool(save) = at.save else {
            panic!("{NO_GRADIENT}")
        };
        let dx = self
            .op
            .backward(&self.exec, at.output, save, grad.as_slice());
        vec![Some(Part::New(dx))]
    }

    fn reads(&self) -> Reads {
        OUTPUT
    }
}

/// Σ wₖ·xₖ over some of the weights, on (terms…, all weights).
#[derive(Debug)]
pub(crate) struct Mix {
    pub exec: Exec,
    pub map: FeatureMap,
    /// For each term, the place of its weight.
    pub places: Vec<usize>,
}

impl Mix {
    fn split<'a>(&self, inputs: &[&'a [f32]]) -> (Vec<MixTerm<'a>>, Vec<f32>, usize) {
        let (terms, weights) = inputs.split_at(self.places.len());
        let terms = terms
            .iter()
            .map(|values| MixTerm {
                values,
                stats: None,
            })
            .collect();
        let picked = self.places.iter().map(|&i| weights[0][i]).collect();
        (terms, picked, weights[0].len())
    }
}

impl Kernel for Mix {
    fn forward(&self, inputs: &[&[f32]]) -> Forward {
        let (terms, weights, _) = self.split(inputs);
        let y = WeightedSum::new(self.map).forward(&self.exec, &terms, &weights);
        plain(self.map, y)
    }

    fn backward(&self, at: Point<'_>, grad: Gradient) -> Vec<Option<Part>> {
        let (terms, weights, n) = self.split(at.inputs);
        let (sum, g) = (WeightedSum::new(self.map), grad.as_slice());
        let k = self.places.len();
        let want_terms = at.want[..k].contains(&true);
        let mut parts: Vec<Option<Part>> = Vec::with_capacity(k + 1);
        if at.want[k] {
            let (dw, dy) = sum.backward(&self.exec, &terms, &weights, g, want_terms);
            parts.extend(dy.into_iter().map(|d| Some(Part::New(d))));
            parts.resize_with(k, || None);
            let mut all = vec![0.0; n];
            for (&place, d) in self.places.iter().zip(dw) {
                all[place] += d;
            }
            parts.push(Some(Part::New(all)));
        } else {
            let term = [MixTerm {
                values: g,
                stats: None,
            }];
            parts.extend(
                weights.iter().zip(at.want).map(|(&w, want)| {
                    want.then(|| Part::New(sum.forward(&self.exec, &term, &[w])))
                }),
            );
            parts.push(None);
        }
        parts
    }

    fn reads(&self) -> Reads {
        INPUTS
    }
}

/// The sum of tensors of one shape, some with a factor for each sample.
#[derive(Debug)]
pub(crate) struct Sum {
    pub exec: Exec,
    pub map: FeatureMap,
    /// For each tensor.
    pub factors: Vec<Option<Vec<f32>>>,
}

impl Kernel for Sum {
    fn forward(&self, inputs: &[&[f32]]) -> Forward {
        let factors = self.factors.iter().map(Option::as_deref);
        let terms: Vec<(&[f32], Option<&[f32]>)> = inputs.iter().copied().zip(factors).collect();
        plain(self.map, sum_samples(&self.exec, self.map, &terms))
    }

    fn backward(&self, at: Point<'_>, grad: Gradient) -> Vec<Option<Part>> {
        let part = |factors: &Option<Vec<f32>>| match factors {
            None => Part::Same,
            Some(f) => Part::New(scale_samples(&self.exec, self.map, grad.as_slice(), f)),
        };
        let wanted = self.factors.iter().zip(at.want);
        wanted.map(|(f, want)| want.then(|| part(f))).collect()
    }

    fn reads(&self) -> Reads {
        NOTHING
    }

    fn passes_gradient_on(&self) -> bool {
        true
    }
}

/// Joins channels.
#[derive(Debug)]
pub(crate) struct Concat {
    pub exec: Exec,
    pub maps: Vec<FeatureMap>,
}

impl Kernel for Concat {
    fn forward(&self, inputs: &[&[f32]]) -> Forward {
        let parts: Vec<(FeatureMap, &[f32])> = self
            .maps
            .iter()
            .copied()
            .zip(inputs.iter().copied())
            .collect();
        let (map, y) = concat_channels(&self.exec, &parts);
        plain(map, y)
    }

    fn backward(&self, at: Point<'_>, grad: Gradient) -> Vec<Option<Part>> {
        let parts = split_channels(&self.exec, &self.maps, grad.as_slice());
        parts
            .into_iter()
            .zip(at.want)
            .map(|(part, want)| want.then_some(Part::New(part)))
            .collect()
    }

    fn reads(&self) -> Reads {
        NOTHING
    }
}

/// max(x, 0)
#[derive(Debug)]
pub(crate) struct Relu {
    pub exec: Exec,
    pub map: FeatureMap,
}

impl Kernel for Relu {
    fn forward(&self, inputs: &[&[f32]]) -> Forward {
        plain(self.map, relu(&self.exec, inputs[0]))
    }

    fn backward(&self, at: Point<'_>, grad: Gradient) -> Vec<Option<Part>> {
        let dx = relu_backward(&self.exec, at.output, grad.as_slice());
        vec![Some(Part::New(dx))]
    }

    fn reads(&self) -> Reads {
        OUTPUT
    }
}

/// Into the blocked layout, from `[N, C, H, W]`.
#[derive(Debug)]
pub(crate) struct Block {
    pub exec: Exec,
    pub map: FeatureMap,
}

impl Kernel for Block {
    fn forward(&self, inputs: &[&[f32]]) -> Forward {
        plain(self.map, from_nchw(&self.exec, self.map, inputs[0]))
    }

    fn backward(&self, _at: Point<'_>, grad: Gradient) -> Vec<Option<Part>> {
        let dx = to_nchw(&self.exec, self.map, grad.as_slice());
        vec![Some(Part::New(dx))]
    }

    fn reads(&self) -> Reads {
        NOTHING
    }
}

/// Out of the blocked layout, to `[N, C, H, W]`.
#[derive(Debug)]
pub(crate) struct Unblock {
    pub exec: Exec,
    pub map: FeatureMap,
}

impl Kernel for Unblock {
    fn forward(&self, inputs: &[&[f32]]) -> Forward {
        let FeatureMap {
            channels,
            height,
            width,
        } = self.map;
        let n = self.map.samples(inputs[0].len());
        Forward {
            shape: vec![n, channels, height, width],
            ..plain_any(to_nchw(&self.exec, self.map, inputs[0]))
        }
    }

    fn backward(&self, _at: Point<'_>, grad: Gradient) -> Vec<Option<Part>> {
        let dx = from_nchw(&self.exec, self.map, grad.as_slice());
        vec![Some(Part::New(dx))]
    }

    fn reads(&self) -> Reads {
        NOTHING
    }
}

fn plain_any(values: Vec<f32>) -> Forward {
    Forward {
        shape: vec![values.len()],
        values,
        save: Save::Nothing,
        stats: Vec::new(),
    }
}

/// The mean over all pixels: `[N, C, 1, 1]`, not blocked.
#[derive(Debug)]
pub(crate) struct GlobalMean {
    pub exec: Exec,
    pub map: FeatureMap,
}

impl Kernel for GlobalMean {
    fn forward(&self, inputs: &[&[f32]]) -> Forward {
        let n = self.map.samples(inputs[0].len());
        Forward {
            shape: vec![n, self.map.channels, 1, 1],
            ..plain_any(global_avg_pool(&self.exec, self.map, inputs[0]))
        }
    }

    fn backward(&self, _at: Point<'_>, grad: Gradient) -> Vec<Option<Part>> {
        let dx = global_avg_pool_backward(&self.exec, self.map, grad.as_slice());
        vec![Some(Part::New(dx))]
    }

    fn reads(&self) -> Reads {
        NOTHING
    }
}

/// One piece of packed parameters, in the shape that other programs know.
#[derive(Debug)]
pub(crate) struct Unpack {
    pub layout: Arc<Packing>,
    pub piece: usize,
}

impl Kernel for Unpack {
    fn forward(&self, inputs: &[&[f32]]) -> Forward {
        let piece = &self.layout.tensors()[self.piece];
        Forward {
            shape: piece.shape.clone(),
            ..plain_any(piece.unpack(inputs[0]))
        }
    }

    fn backward(&self, _at: Point<'_>, grad: Gradient) -> Vec<Option<Part>> {
        let mut flat = vec![0.0; self.layout.len()];
        self.layout.tensors()[self.piece].pack(grad.as_slice(), &mut flat);
        vec![Some(Part::New(flat))]
    }

    fn reads(&self) -> Reads {
        NOTHING
    }
}

/// A whole cell on (input 0, input 1, mixing weights, packed parameters).
#[derive(Debug)]
pub(crate) struct Cell {
    pub exec: Exec,
    pub plan: Arc<FusedCell>,
    /// Evaluation: with these statistics. Without: training.
    pub given: Option<Vec<ChannelStats>>,
    /// Training: for each edge, factors for its samples (drop-path).
    pub factors: Vec<Option<Vec<f32>>>,
}

impl Kernel for Cell {
    fn forward(&self, inputs: &[&[f32]]) -> Forward {
        let (states, mixing, params) = ([inputs[0], inputs[1]], inputs[2], inputs[3]);
        if let Some(stats) = &self.given {
            let y = self.plan.infer(&self.exec, states, mixing, params, stats);
            return plain(self.plan.output(), y);
        }
        let factors = self.factors.clone();
        let (y, save) = self
            .plan
            .forward_dropping(&self.exec, states, mixing, params, factors);
        Forward {
            stats: save.stats(),
            save: Save::Cell(save),
            ..plain(self.plan.output(), y)
        }
    }

    fn backward(&self, at: Point<'_>, grad: Gradient) -> Vec<Option<Part>> {
        let Save::Cell(save) = at.save else {
            panic!("{NO_GRADIENT}")
        };
        let want = CellWant {
            inputs: at.want[0] || at.want[1],
            mixing: at.want[2],
            params: at.want[3],
        };
        let grads = self.plan.backward(
            &self.exec,
            [at.inputs[0], at.inputs[1]],
            at.inputs[2],
            at.inputs[3],
            at.output,
            save,
            grad.into_vec(),
            want,
        );
        let mut parts: Vec<Option<Part>> = match grads.inputs {
            Some(inputs) => inputs.map(|d| Some(Part::New(d))).into(),
            None => vec![None, None],
        };
        parts.push(grads.mixing.map(Part::New));
        parts.push(grads.params.map(Part::New));
        parts
    }

    fn reads(&self) -> Reads {
        ALL
    }
}
