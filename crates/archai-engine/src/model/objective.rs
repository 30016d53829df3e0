//! What a training minimises, how a step is regularised, and the loss itself.

use archai_data::rng::Key;
use archai_spec::settings::{self, Loss, LossKind};
use burn::tensor::{Tensor, activation::log_softmax};

use crate::compute::Compute;

/// What a training pass minimises: CE(logits) + `aux_weight`·CE(auxiliary logits) + `l1_alphas`·Σ|α|.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    /// The loss of the logits.
    pub loss: Loss,
    /// Weight of the auxiliary tower's loss; 0 leaves the tower out.
    pub aux_weight: f64,
    /// Weight of the sum of the absolute values of the architecture parameters.
    pub l1_alphas: f64,
    /// How many chunks of (nearly) equal size the batch is cut into, each weighted by its share: less memory, the same
    /// gradient but for the norms' statistics, which are those of a chunk.
    pub chunks: usize,
}

impl Default for Objective {
    /// Plain cross entropy of the whole batch.
    fn default() -> Self {
        let loss = Loss {
            kind: LossKind::CrossEntropyLoss,
            smoothing: 0.0,
        };
        Objective {
            loss,
            aux_weight: 0.0,
            l1_alphas: 0.0,
            chunks: 1,
        }
    }
}

impl Objective {
    /// What the steps of the weights minimise under these settings.
    pub fn of(trainer: &settings::Trainer) -> Self {
        Objective {
            loss: trainer.lossfn.clone(),
            aux_weight: trainer.aux_weight,
            l1_alphas: trainer.l1_alphas,
            chunks: trainer.batch_chunks,
        }
    }

    /// The loss of the logits under these settings and nothing else.
    pub fn loss_of(trainer: &settings::Trainer) -> Self {
        Objective {
            aux_weight: 0.0,
            l1_alphas: 0.0,
            ..Objective::of(trainer)
        }
    }
}

/// What regularises a weight step.
#[derive(Clone, Debug)]
pub struct Regular {
    /// Probability of dropping an op's output.
    pub drop_path_prob: f64,
    /// Key of this step's draws: (seed, purpose, epoch, step).
    pub draw: Key,
}

/// Mean cross entropy of `logits` `[n, K]` against targets (1 − ε)·one-hot + ε/K: one number. Labels must be below K.
pub fn cross_entropy(
    logits: Tensor<2>,
    labels: &[i64],
    loss: &Loss,
    compute: &Compute,
) -> Tensor<1> {
    let LossKind::CrossEntropyLoss = loss.kind;
    let [n, k] = logits.dims();
    let mut targets = vec![loss.smoothing / k as f64; n * k];
    for (row, &label) in labels.iter().enumerate() {
        targets[row * k + label as usize] += 1.0 - loss.smoothing;
    }
    let targets = compute.tensor(targets, [n, k]);
    (log_softmax(logits, 1) * targets).sum() * (-1.0 / n as f64)
}
