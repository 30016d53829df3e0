//! `noise`: random numbers in place of the input.

use archai_data::rng::Key;
use archai_spec::desc::OpDesc;
use burn::tensor::Tensor;

use crate::compute::to_host;
use crate::features::Features;
use crate::op::{Op, OpBuilder, Pass};

/// Gaussian noise of mean 0 and variance 1 in the shape that the stride leaves of the input, as in the search space S4 of Zela et
/// al. ("Understanding and robustifying differentiable architecture search", 2020). Nothing of the input is left, so no gradient
/// passes.
///
/// In a training step the noise is drawn from the step's key, for each sample. Where a training pass has no key, as in the
/// finite differences of second-order DARTS, it belongs to the sample's place in the batch, so that two such passes see the
/// same. At evaluation it is a function of what the op reads: the same image gives the same output, whatever else is in the
/// batch.
#[derive(Debug)]
pub(super) struct Noise {
    desc: OpDesc,
    key: Key,
}

impl Noise {
    pub fn new(desc: &OpDesc, b: &OpBuilder<'_>) -> Self {
        Noise {
            desc: desc.clone(),
            key: Key::new(0).with("noise").with(b.name()),
        }
    }

    /// The key of each sample at evaluation.
    fn keys_of_contents(&self, x: &Tensor<4>, n: usize) -> Vec<Key> {
        let values = to_host(x);
        let key = |sample: &[f64]| {
            let mut hasher = blake3::Hasher::new();
            for value in sample {
                hasher.update(&value.to_le_bytes());
            }
            self.key.with(hasher.finalize().to_hex().as_str())
        };
        values
            .chunks_exact((values.len() / n.max(1)).max(1))
            .map(key)
            .collect()
    }
}

impl Op for Noise {
    fn forward(&self, pass: &mut Pass<'_>, inputs: &[Features], _: Option<&Tensor<1>>) -> Features {
        let [n, c, h, w] = inputs[0].shape();
        let size = [
            n,
            c,
            h.div_ceil(self.desc.stride),
            w.div_ceil(self.desc.stride),
        ];
        let keys = match pass.sample_keys(self.key, n) {
            Some(keys) => keys,
            None => self.keys_of_contents(&inputs[0].nchw(), n),
        };
        let each = size[1..].iter().product();
        let mut values = Vec::with_capacity(n * each);
        for key in keys {
            let mut rng = key.rng();
            values.extend((0..each).map(|_| rng.normal()));
        }
        Features::from_nchw(pass.compute().tensor(values, size))
    }

    fn desc(&self) -> &OpDesc {
        &self.desc
    }
}
