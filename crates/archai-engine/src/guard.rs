//! Watches the architecture while a supernet trains. Differentiable searches may collapse: skip connections, which train
//! fastest, win everywhere. Three signs are logged after each epoch ([`Guard`]), two of them can end the training, and a
//! found network that is dominated by skips comes with a warning ([`skip_warning`]).
//!
//! The sharpness of the validation loss in the architecture parameters predicts the collapse: Zela, Elsken, Saikia, Marrakchi,
//! Brox, Hutter: "Understanding and Robustifying Differentiable Architecture Search", 2020, arXiv:1909.09656, section 4
//! (the dominant eigenvalue) and 4.3 (stopping early by it). Stopping by the number of skips: Liang et al.: "DARTS+", 2019,
//! arXiv:1909.06035.

use archai_data::{Batch, rng::Key};
use archai_spec::desc::{CellType, ModelDesc};
use archai_spec::event::json;
use archai_spec::settings;

use crate::{
    arch::ArchParams,
    checkpoint::Snapshot,
    error::EngineError,
    finalize::{DefaultFinalizers, Finalizers},
    model::{Model, Objective},
    optim::Vector,
    params::NamedTensor,
    trainer::{Fit, TrainerHooks},
};

/// The op that a search collapses into.
const SKIP: &str = "skip_connect";

/// Logs after each epoch, at `…/epochs/<epoch>/guard`:
/// - `skip_share`: the share of `skip_connect` among the ops that the present architecture parameters would choose
///   ([`DefaultFinalizers`]), 0 to 1;
/// - `entropy`: the mean entropy of the relaxed weights of an edge, 0 (one op has all) to 1 (all are equal);
/// - `eigenvalue`: the dominant eigenvalue of the Hessian of the validation loss in the architecture parameters, where the
///   settings want it and there are validation data.
///
/// Ends the training where the settings' criteria say so.
#[derive(Clone, Debug)]
pub struct Guard {
    settings: settings::Guard,
    /// Of each epoch: the eigenvalue and the architecture parameters it was measured at.
    history: Vec<(f64, ArchParams)>,
}

impl Guard {
    /// A guard at the beginning of a training.
    pub fn new(settings: settings::Guard) -> Self {
        Guard {
            settings,
            history: Vec::new(),
        }
    }

    /// The eigenvalue at the present architecture, on the first validation batch: the same one after every epoch.
    fn eigenvalue(&self, fit: &Fit<'_>) -> Result<Option<f64>, EngineError> {
        let loader = fit.loaders.valid_arch.as_ref();
        let Some(loader) = loader.filter(|loader| self.settings.hessian && loader.n_batches() > 0)
        else {
            return Ok(None);
        };
        let batch = loader.batch_at(0, 0)?;
        let objective = Objective::loss_of(fit.settings);
        let key = fit.run.key("guard");
        hessian_eigenvalue(fit.model, &batch, &objective, &self.settings, &key).map(Some)
    }

    /// Zela et al. 2020, section 4.3: stop once λ̄(i − k) / λ̄(i) falls below the ratio, and go back to the architecture
    /// of epoch i − k. λ̄ is the mean over the k epochs up to then, of absolute values: the power method finds the sharpest
    /// direction, whichever way it bends.
    fn stop_by_eigenvalue(&self) -> Option<(String, ArchParams)> {
        let (ratio, k) = (
            self.settings.stop.eigenvalue_ratio?,
            self.settings.stop.window,
        );
        let past = self.history.len().checked_sub(2 * k)?;
        let mean =
            |part: &[(f64, ArchParams)]| part.iter().map(|(v, _)| v.abs()).sum::<f64>() / k as f64;
        let (before, now) = (
            mean(&self.history[past..past + k]),
            mean(&self.history[past + k..]),
        );
        (now > 0.0 && before / now < ratio).then(|| {
            let reason = format!(
                "the dominant eigenvalue of the validation loss grew from {before:.3e} to {now:.3e} within {k} epochs \
                 (nas.search.guard.stop.eigenvalue_ratio is {ratio}); the architecture is taken back to what it was {k} \
                 epochs ago"
            );
            (reason, self.history[past + k - 1].1.clone())
        })
    }
}

impl TrainerHooks for Guard {
    fn state(&mut self) -> Result<Snapshot, EngineError> {
        let mut state = Snapshot::default();
        if !self.history.is_empty() {
            let eigenvalues: Vec<f64> = self.history.iter().map(|(value, _)| *value).collect();
            let eigenvalues = NamedTensor {
                name: "all".to_string(),
                shape: vec![eigenvalues.len()],
                values: eigenvalues,
            };
            state.put_tensors("eigenvalues", vec![eigenvalues]);
        }
        for (i, (_, arch)) in self.history.iter().enumerate() {
            state.put_tensors(&format!("arch{i}"), arch.named());
        }
        Ok(state)
    }

    fn restore(&mut self, state: &Snapshot, model: &Model) -> Result<(), EngineError> {
        let eigenvalues = state
            .tensors("eigenvalues")
            .into_iter()
            .flat_map(|t| t.values);
        self.history = eigenvalues
            .enumerate()
            .map(|(i, value)| {
                let arch = state.tensors(&format!("arch{i}"));
                Ok((value, model.arch().with_named(&arch, model.compute())?))
            })
            .collect::<Result<_, EngineError>>()?;
        Ok(())
    }

    fn pre_fit(&mut self, fit: &mut Fit<'_>) -> Result<(), EngineError> {
        self.history.clear();
        let has_data = (fit.loaders.valid_arch.as_ref()).is_some_and(|l| l.n_batches() > 0);
        if self.settings.stop.eigenvalue_ratio.is_some() && !(self.settings.hessian && has_data) {
            return Err(EngineError::setting(
                "nas.search.guard.stop.eigenvalue_ratio",
                "it needs the eigenvalue of the validation loss: set nas.search.guard.hessian to true and \
                 nas.search.loader.val_ratio above 0, or the ratio to null",
            ));
        }
        if self.settings.hessian && !has_data && !fit.model.arch().is_empty() {
            fit.log.info(
                "there are no validation data (nas.search.loader.val_ratio is 0), so the eigenvalue of their loss is not \
                 watched",
            )?;
        }
        Ok(())
    }

    fn post_epoch(&mut self, fit: &mut Fit<'_>) -> Result<(), EngineError> {
        if fit.model.arch().is_empty() {
            return Ok(());
        }
        let skips = Skips::of(
            &DefaultFinalizers.finalize_model(fit.model)?,
            fit.model.desc(),
        );
        let mut values = vec![
            ("skip_share".to_string(), json(skips.share())),
            ("entropy".to_string(), json(mean_entropy(fit.model))),
        ];
        let eigenvalue = self.eigenvalue(fit)?;
        values.extend(eigenvalue.map(|v| ("eigenvalue".to_string(), json(v))));
        fit.log.at("guard").values(values)?;
        if self.settings.stop.eigenvalue_ratio.is_some()
            && let Some(eigenvalue) = eigenvalue
        {
            self.history.push((eigenvalue, fit.model.arch().clone()));
        }

        if let Some(most) = self.settings.stop.skips
            && skips.most_in_regular >= most
        {
            fit.finish_early(format!(
                "the architecture would have {} skip connections in a regular cell (nas.search.guard.stop.skips is {most})",
                skips.most_in_regular
            ));
        } else if let Some((reason, arch)) = self.stop_by_eigenvalue() {
            fit.model.set_arch(arch);
            fit.finish_early(reason);
        }
        Ok(())
    }
}

/// Skip connections among the chosen ops of a finalised network.
struct Skips {
    skips: usize,
    edges: usize,
    most_in_regular: usize,
}

impl Skips {
    /// Counts in cells that own their architecture; edges of nodes that had nothing to choose between do not count.
    fn of(found: &ModelDesc, supernet: &ModelDesc) -> Skips {
        let mut all = Skips {
            skips: 0,
            edges: 0,
            most_in_regular: 0,
        };
        for (c, (cell, before)) in found.cells.iter().zip(&supernet.cells).enumerate() {
            if cell.alphas_from != c {
                continue;
            }
            let nodes = cell.nodes.iter().zip(&before.nodes);
            let chosen = nodes.filter(|(_, before)| before.edges.iter().any(|e| e.op.is_mixed()));
            let ops: Vec<&str> = chosen
                .flat_map(|(node, _)| node.edges.iter().map(|e| e.op.name.as_str()))
                .collect();
            let skips = ops.iter().filter(|op| **op == SKIP).count();
            all.skips += skips;
            all.edges += ops.len();
            if cell.cell_type == CellType::Regular {
                all.most_in_regular = all.most_in_regular.max(skips);
            }
        }
        all
    }

    fn share(&self) -> f64 {
        match self.edges {
            0 => 0.0,
            edges => self.skips as f64 / edges as f64,
        }
    }
}

/// Mean over the edges of −Σ pₖ·ln pₖ / ln n, with the relaxed weights of an edge's n primitives scaled to sum 1.
fn mean_entropy(model: &Model) -> f64 {
    let entropies: Vec<f64> = (model.edge_weights().iter())
        .map(|(_, weights)| entropy(weights))
        .collect();
    entropies.iter().sum::<f64>() / entropies.len().max(1) as f64
}

fn entropy(weights: &[f64]) -> f64 {
    let total: f64 = weights.iter().map(|w| w.abs()).sum();
    if weights.len() < 2 || total == 0.0 {
        return 0.0;
    }
    let parts = weights.iter().map(|w| w.abs() / total).filter(|p| *p > 0.0);
    -parts.map(|p| p * p.ln()).sum::<f64>() / (weights.len() as f64).ln()
}

/// A warning if more than half of the edges of a regular cell are `skip_connect`: such networks hardly learn features, and
/// are how a collapsed search looks.
pub fn skip_warning(found: &ModelDesc) -> Option<String> {
    let regular = (found.cells.iter().enumerate())
        .filter(|(c, cell)| cell.cell_type == CellType::Regular && cell.alphas_from == *c);
    let shares = regular.map(|(c, cell)| {
        let edges = cell.nodes.iter().flat_map(|node| &node.edges);
        let skips = edges.clone().filter(|e| e.op.name == SKIP).count();
        (skips, edges.count(), c)
    });
    let (skips, edges, cell) = shares
        .filter(|(skips, edges, _)| 2 * skips > *edges)
        .max_by(|a, b| (a.0 * b.1).cmp(&(b.0 * a.1)).then(b.2.cmp(&a.2)))?;
    Some(format!(
        "the found network is dominated by skip connections: {skips} of the {edges} edges of its regular cell (cell {cell}) \
         are {SKIP}, which is how a collapsed search looks; compare with `--nas.search.finalizer random`, choose by \
         perturbation (`--nas.search.finalizer darts_pt`), or stop earlier (nas.search.guard.stop)"
    ))
}

/// The dominant eigenvalue (that of the largest absolute value, with its sign) of the Hessian of a batch's loss in the
/// architecture parameters: the power method on central differences of the gradient,
/// H·v ≈ (∇α L(α + ε·v) − ∇α L(α − ε·v)) / 2ε for unit v. In training mode, without noise; the model stays as it is.
///
/// # Errors
/// As [`Model::arch_grads`].
pub fn hessian_eigenvalue(
    model: &Model,
    batch: &Batch,
    objective: &Objective,
    settings: &settings::Guard,
    key: &Key,
) -> Result<f64, EngineError> {
    let arch = model.arch();
    let lengths: Vec<usize> = arch.values().iter().map(|v| v.dims()[0]).collect();
    let product = |v: &[f64]| -> Result<Vec<f64>, EngineError> {
        let mut rest = v;
        let parts = lengths.iter().map(|&n| {
            let (part, after) = rest.split_at(n);
            rest = after;
            part.to_vec()
        });
        let direction = arch.with_values(parts.collect(), model.compute());
        let side = |by: f64| -> Result<ArchParams, EngineError> {
            let mut moved = model.clone();
            moved.set_arch(arch.add_scaled(&direction, by));
            Ok(moved.arch_grads(batch, objective)?.1)
        };
        let change = side(settings.epsilon)? - side(-settings.epsilon)?;
        let change = change.scale(1.0 / (2.0 * settings.epsilon));
        Ok(change.to_host().into_iter().flat_map(|(_, v)| v).collect())
    };
    dominant_eigenvalue(arch.n_numbers(), settings.iterations, key, product)
}

/// The power method: the eigenvalue of the largest absolute value, with its sign, of the symmetric n×n matrix that `product`
/// multiplies by. The start is drawn by `key`; the result is the Rayleigh quotient v·Av of the last product, 0 for a matrix
/// that takes the start to 0.
///
/// ```
/// use archai_data::rng::Key;
/// let twice = |v: &[f64]| Ok::<_, ()>(vec![-2.0 * v[0], v[1]]);
/// let value = archai_engine::guard::dominant_eigenvalue(2, 50, &Key::new(1), twice);
/// assert!((value.unwrap() + 2.0).abs() < 1e-9);
/// ```
///
/// # Errors
/// Those of `product`.
pub fn dominant_eigenvalue<E>(
    n: usize,
    iterations: usize,
    key: &Key,
    mut product: impl FnMut(&[f64]) -> Result<Vec<f64>, E>,
) -> Result<f64, E> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut rng = key.rng();
    let mut next: Vec<f64> = (0..n).map(|_| rng.normal()).collect();
    let mut value = 0.0;
    for _ in 0..iterations {
        let norm = dot(&next, &next).sqrt();
        if norm == 0.0 {
            return Ok(0.0);
        }
        let v: Vec<f64> = next.iter().map(|x| x / norm).collect();
        next = product(&v)?;
        value = dot(&v, &next);
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_power_method_finds_the_largest_eigenvalue_of_a_quadratic() {
        // A = Q·diag(values)·Qᵀ with a Householder reflection Q = 1 − 2uuᵀ.
        let check = |values: &[f64], expect: f64| {
            let n = values.len();
            let u: Vec<f64> = (0..n).map(|i| (1.0 + i as f64).sqrt()).collect();
            let length = u.iter().map(|x| x * x).sum::<f64>();
            let reflect = |v: &[f64]| -> Vec<f64> {
                let along = 2.0 * u.iter().zip(v).map(|(a, b)| a * b).sum::<f64>() / length;
                v.iter().zip(&u).map(|(v, u)| v - along * u).collect()
            };
            let product = |v: &[f64]| {
                let scaled: Vec<f64> = reflect(v).iter().zip(values).map(|(v, d)| v * d).collect();
                Ok::<_, ()>(reflect(&scaled))
            };
            let found = dominant_eigenvalue(n, 200, &Key::new(3), product).expect("no error");
            assert!((found - expect).abs() < 1e-9, "{values:?}: {found}");
        };
        check(&[1.0, 2.0, 5.0, -3.0], 5.0);
        check(&[1.0, -7.0, 5.0], -7.0);
        check(&[4.0], 4.0);
        check(&[0.0, 0.0], 0.0);
        let failing = dominant_eigenvalue(2, 3, &Key::new(3), |_| Err::<Vec<f64>, _>("no"));
        assert_eq!(failing, Err("no"));
    }

    #[test]
    fn entropy_is_between_one_op_and_all() {
        for (weights, expect) in [
            (&[1.0, 0.0, 0.0, 0.0][..], 0.0),
            (&[0.25; 4][..], 1.0),
            (&[2.0, 2.0][..], 1.0),
            (&[1.0, 1.0, 0.0, 0.0][..], 0.5),
            (&[0.0, 0.0][..], 0.0),
            (&[3.0][..], 0.0),
        ] {
            assert!((entropy(weights) - expect).abs() < 1e-12, "{weights:?}");
        }
    }
}
