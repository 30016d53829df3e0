//! Selection by perturbation, for any supernet: an op is worth what the supernet loses without it, whatever its weight says.
//! Wang, Cheng, Chen, Tang, Hsieh: "Rethinking Architecture Selection in Differentiable NAS", 2021, arXiv:2108.04392,
//! algorithm 1.

use std::collections::BTreeMap;
use std::sync::Arc;

use archai_data::rng::Key;
use archai_spec::desc::NodeDesc;
use archai_spec::event::{Progress, json};
use archai_spec::settings;
use burn::tensor::{Tensor, TensorCreationOptions, TensorData};

use crate::{
    arch::{ArchKey, Relaxation},
    error::EngineError,
    finalize::{Choice, FinalizeData, Finalizers},
    metrics::{Meter, accuracies},
    model::{Model, Objective, Regular, Want},
    optim::{Optimizer, clip_factor},
    params::ParamVec,
    trainer::evaluate,
};

/// DARTS-PT: operations first, edges second, each by what the validation accuracy loses without it.
///
/// 1. The edges come in a random order. Of each edge that op (other than `none`) remains whose removal lowers the accuracy
///    most; removal sets its weight to 0 and leaves the others as they are. Then the edge is that op alone.
/// 2. The nodes come in a random order. Of each node those `max_final_edges` edges remain whose removal lowers the accuracy
///    most, in this order.
///
/// After each decision the weights are trained for a while. Equal accuracies are told apart by the loss, and equal losses by
/// order. Cells that share their architecture are perturbed and decided together. Random orders are keyed by the run's seed.
#[derive(Clone, Debug)]
pub struct PerturbationFinalizers {
    settings: settings::DartsPt,
    /// Of each node of an owning cell what it keeps, once decided.
    kept: Option<BTreeMap<Node, Vec<Choice>>>,
}

/// A node: the cell that owns it, and its place there.
type Node = (usize, usize);

impl PerturbationFinalizers {
    /// From the section `nas.search.darts_pt`.
    pub fn new(settings: settings::DartsPt) -> Self {
        PerturbationFinalizers {
            settings,
            kept: None,
        }
    }
}

impl Finalizers for PerturbationFinalizers {
    fn needs_data(&self) -> bool {
        true
    }

    fn prepare(&mut self, model: &mut Model, data: &FinalizeData<'_>) -> Result<(), EngineError> {
        let key = data.run.key("darts_pt");
        let mut supernet = Perturbed {
            relaxation: model.relaxation().clone(),
            changes: BTreeMap::new(),
            optimizer: Optimizer::new(&data.settings.trainer.optimizer)?,
            tuned: 0,
            key: key.with("tune"),
            settings: &self.settings,
            model,
            data,
        };
        let mut edges: Vec<(ArchKey, Vec<usize>)> = Vec::new();
        for edge in supernet.model.arch().keys().to_vec() {
            let real = supernet.model.supernet().choices(edge.cell, edge.node)?;
            let real = real.into_iter().filter(|choice| choice.edge == edge.edge);
            edges.push((edge, real.map(|choice| choice.child).collect()));
        }
        let mut nodes: BTreeMap<Node, Vec<ArchKey>> = BTreeMap::new();
        for (edge, _) in &edges {
            nodes.entry((edge.cell, edge.node)).or_default().push(*edge);
        }

        key.with("edges").rng().shuffle(&mut edges);
        let total = edges.len() + nodes.len();
        let mut ops = BTreeMap::new();
        for (done, (edge, real)) in edges.into_iter().enumerate() {
            let changes = real.iter().map(|&op| (edge, Change::Without(op)));
            let order = supernet.by_harm(changes.collect(), done, total)?;
            let Some(&(first, harm)) = order.first() else {
                continue;
            };
            let op = real[first];
            let child = &supernet.model.desc().cells[edge.cell].nodes[edge.node].edges[edge.edge];
            let name = child.op.children[op].op.name.clone();
            data.log.at(done).values(vec![
                ("edge".to_string(), json(edge.to_string())),
                ("op".to_string(), json(name)),
                ("top1_without".to_string(), json(harm.top1)),
                ("loss_without".to_string(), json(harm.loss)),
            ])?;
            ops.insert(edge, op);
            supernet.changes.insert(edge, Change::Only(op));
            supernet.tune()?;
        }

        let mut order: Vec<(Node, Vec<ArchKey>)> = nodes.into_iter().collect();
        key.with("nodes").rng().shuffle(&mut order);
        let most = supernet.model.desc().max_final_edges;
        let (first, mut kept) = (ops.len(), BTreeMap::new());
        for (done, (node, mut edges)) in order.into_iter().enumerate() {
            edges.retain(|edge| ops.contains_key(edge));
            let mut keep: Vec<usize> = (0..edges.len()).collect();
            if edges.len() > most {
                let changes = edges.iter().map(|edge| (*edge, Change::Nothing));
                let order = supernet.by_harm(changes.collect(), first + done, total)?;
                keep = order.iter().take(most).map(|(edge, _)| *edge).collect();
                for (edge, _) in &order[keep.len()..] {
                    supernet.changes.insert(edges[*edge], Change::Nothing);
                }
                let names = keep.iter().map(|&edge| edges[edge].to_string());
                let values = vec![("edges".to_string(), json(names.collect::<Vec<_>>()))];
                data.log.at(first + done).values(values)?;
                supernet.tune()?;
            }
            let edges = keep.iter().map(|&e| Choice {
                edge: edges[e].edge,
                child: ops[&edges[e]],
            });
            kept.insert(node, edges.collect());
        }
        self.kept = Some(kept);
        Ok(())
    }

    fn finalize_node(
        &self,
        model: &Model,
        cell: usize,
        node: usize,
    ) -> Result<NodeDesc, EngineError> {
        let kept = self.kept.as_ref().ok_or_else(|| {
            EngineError::Internal(
                "the finalizer darts_pt decides by data: call Finalizers::prepare before finalising".to_string(),
            )
        })?;
        let owner = model.desc().cells[cell].alphas_from;
        let choices = kept.get(&(owner, node)).map_or(&[][..], Vec::as_slice);
        Ok(model.supernet().node_of_choices(cell, node, choices)?)
    }
}

/// The error of a search that keeps no validation data.
pub(crate) fn without_validation() -> EngineError {
    EngineError::setting(
        "nas.search.loader.val_ratio",
        "the finalizer darts_pt measures on validation data, but there are none; set it above 0 (0.5 in the paper)",
    )
}

/// What is done to the weights of an edge's primitives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// One is set to 0.
    Without(usize),
    /// One is 1, all others are 0.
    Only(usize),
    /// All are 0.
    Nothing,
}

/// A relaxation with changed edges.
#[derive(Debug)]
struct Changed {
    inner: Arc<dyn Relaxation>,
    changes: BTreeMap<ArchKey, Change>,
}

impl Relaxation for Changed {
    fn weights(
        &self,
        keys: &[ArchKey],
        alphas: &[Tensor<1>],
        draw: Option<&Key>,
    ) -> Vec<Tensor<1>> {
        let mut weights = self.inner.weights(keys, alphas, draw);
        for (key, w) in keys.iter().zip(&mut weights) {
            let Some(change) = self.changes.get(key) else {
                continue;
            };
            let n = w.dims()[0];
            let options = TensorCreationOptions::new(w.device()).with_dtype(w.dtype());
            let vector = |f: &dyn Fn(usize) -> bool| {
                let values: Vec<f64> = (0..n).map(|k| f64::from(u8::from(f(k)))).collect();
                Tensor::<1>::from_data(TensorData::new(values, [n]), options.clone())
            };
            *w = match *change {
                Change::Without(op) => w.clone() * vector(&|k| k != op),
                Change::Only(op) => vector(&|k| k == op),
                Change::Nothing => vector(&|_| false),
            };
        }
        weights
    }
}

/// How a perturbed supernet does on validation data.
#[derive(Clone, Copy, Debug)]
struct Score {
    top1: f64,
    loss: f64,
}

/// The supernet in the course of the selection.
struct Perturbed<'a> {
    model: &'a mut Model,
    relaxation: Arc<dyn Relaxation>,
    /// What is decided.
    changes: BTreeMap<ArchKey, Change>,
    optimizer: Optimizer<ParamVec>,
    tuned: u64,
    key: Key,
    settings: &'a settings::DartsPt,
    data: &'a FinalizeData<'a>,
}

impl Perturbed<'_> {
    /// The alternatives, most harmful first, each with how the supernet does under it.
    fn by_harm(
        &mut self,
        alternatives: Vec<(ArchKey, Change)>,
        done: usize,
        total: usize,
    ) -> Result<Vec<(usize, Score)>, EngineError> {
        let mut order = Vec::with_capacity(alternatives.len());
        for (i, (edge, change)) in alternatives.into_iter().enumerate() {
            let mut changes = self.changes.clone();
            changes.insert(edge, change);
            self.relax(changes);
            order.push((i, self.measure()?));
        }
        self.relax(self.changes.clone());
        self.data.log.progress(Progress::Validate {
            title: "darts_pt".to_string(),
            done: done as u64 + 1,
            total: total as u64,
        })?;
        order.sort_by(|(_, a), (_, b)| a.top1.total_cmp(&b.top1).then(b.loss.total_cmp(&a.loss)));
        Ok(order)
    }

    fn relax(&mut self, changes: BTreeMap<ArchKey, Change>) {
        self.model.set_relaxation(Arc::new(Changed {
            inner: self.relaxation.clone(),
            changes,
        }));
    }

    fn measure(&self) -> Result<Score, EngineError> {
        let loader = self
            .data
            .loaders
            .valid
            .as_ref()
            .filter(|l| l.n_batches() > 0);
        let loader = loader.ok_or_else(without_validation)?;
        let limit = usize::try_from(self.settings.measure_batches).unwrap_or(usize::MAX);
        let (mut top1, mut loss) = (Meter::default(), Meter::default());
        for batch in loader.epoch(0).take(limit) {
            let batch = batch?;
            let (mean, logits) =
                evaluate(self.model, &batch, &self.data.settings.trainer.validation)?;
            let n = batch.labels.len() as u64;
            top1.update(accuracies(&logits, &batch.labels, [1])[0], n);
            loss.update(mean, n);
            self.data.run.check_stop()?;
        }
        match (top1.avg, loss.avg) {
            (Some(top1), Some(loss)) => Ok(Score { top1, loss }),
            _ => Err(without_validation()),
        }
    }

    /// Trains the weights with what is decided, on the search's training batches.
    fn tune(&mut self) -> Result<(), EngineError> {
        self.relax(self.changes.clone());
        let trainer = &self.data.settings.trainer;
        let objective = Objective::loss_of(trainer);
        let want = Want {
            weights: true,
            arch: false,
        };
        let batches = self.data.loaders.train.cycle_from(self.tuned);
        for batch in batches.take(self.settings.tune_steps) {
            let regular = Regular {
                drop_path_prob: 0.0,
                draw: self.key.with(self.tuned),
            };
            let grads = self.model.train_pass(&batch?, &objective, &regular, want)?;
            let norm = grads.weights.norm();
            for (what, number) in [("loss", grads.loss), ("gradient", norm)] {
                if !number.is_finite() {
                    return Err(EngineError::NonFinite {
                        what: what.to_string(),
                        phase: "the tuning of darts_pt".to_string(),
                        epoch: 0,
                        step: self.tuned as usize,
                    });
                }
            }
            let factor = clip_factor(norm, trainer.grad_clip);
            let clipped = grads.weights.scale(factor.min(1.0));
            let weights =
                self.optimizer
                    .step(self.model.weights(), &clipped, self.settings.tune_lr);
            self.model.set_weights(weights);
            self.tuned += 1;
            self.data.run.check_stop()?;
        }
        Ok(())
    }
}
