//! What a training minimises, how a step is regularised, and the loss itself.

use std::ops::Range;

use archai_data::{Batch, rng::Key};
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

/// What the logits of some images of a batch are compared with.
#[derive(Clone, Debug, PartialEq)]
pub struct Targets {
    /// A row of K numbers for each image.
    rows: Vec<f64>,
    /// What the images count together.
    weight: f64,
}

impl Targets {
    /// (1 − ε)·t + ε/K for each image, where t has the shares of its classes (one-hot, unless images are mixtures), times the
    /// weight of each class. Labels must be below `n_classes`.
    pub fn new(batch: &Batch, images: Range<usize>, n_classes: usize, loss: &Loss) -> Self {
        let LossKind::CrossEntropyLoss = loss.kind;
        let mut rows = vec![loss.smoothing / n_classes as f64; images.len() * n_classes];
        for (row, image) in rows.chunks_exact_mut(n_classes).zip(images.clone()) {
            for (class, share) in batch.classes(image) {
                row[class as usize] += share * (1.0 - loss.smoothing);
            }
            if batch.class_weights.is_some() {
                let weights = (0..n_classes).map(|class| batch.class_weight(class));
                row.iter_mut().zip(weights).for_each(|(t, w)| *t *= w);
            }
        }
        Targets {
            rows,
            weight: batch.weight(images),
        }
    }
}

/// Mean cross entropy of `logits` `[n, K]` against targets for as many images: one number. Where classes have weights, the mean
/// is over the images' weights, as in PyTorch's `CrossEntropyLoss`.
pub fn cross_entropy(logits: Tensor<2>, targets: &Targets, compute: &Compute) -> Tensor<1> {
    let rows = compute.tensor(targets.rows.clone(), logits.dims());
    (log_softmax(logits, 1) * rows).sum() * (-1.0 / targets.weight)
}
