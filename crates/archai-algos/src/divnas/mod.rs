//! DivNAS: of each node keep the ops that differ most from each other, so that together they tell most about what all ops give.
//!
//! The supernet is that of DARTS, trained as DARTS trains it or, with `archtrainer: noalpha`, as a plain sum of ops by its
//! weights alone. Then one pass over the training data gives, per node, a kernel between the outputs of all ops of all edges, and
//! the choice A among the candidates V that maximises the mutual information I(A; V∖A) remains ([`select`]). With the finalizer
//! `mi_ranked` V is the better half of the ops by their weights, with `mi` all of them.
//!
//! DivNAS was published as a part of Microsoft's Archai, without a paper of its own; the criterion and its greedy
//! approximation are those of Krause, Singh, Guestrin: "Near-Optimal Sensor Placements in Gaussian Processes", 2008.

pub mod select;

use std::collections::BTreeMap;
use std::sync::Arc;

use archai_engine::{
    AlphaInit, Candidate, EngineError, Model, Raw, Relaxation, Softmax,
    experiment::ExperimentRunner,
    finalize::{Choice, FinalizeData, Finalizers, NamedFinalizer, NodeRule},
    finalizers::DARTS_PT,
    trainer::TrainerHooks,
};
use archai_spec::desc::{DartsModelDescBuilder, ModelDescBuilder, NodeDesc};
use archai_spec::event::{Progress, json};
use archai_spec::settings;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Algorithm;
use crate::darts::{Bilevel, DartsSettings};
use select::{Kernel, brute_force_where, greedy_where};

/// The algorithm `divnas` for the list of all: name, paper and default settings.
pub fn algorithm() -> Algorithm {
    Algorithm::new(
        "divnas",
        "the supernet of DARTS, of which the ops remain that differ most",
        Divnas::new,
    )
    .paper(
        "an algorithm of Microsoft Archai without a paper of its own; the criterion is that of \
         Krause, Singh, Guestrin: Near-Optimal Sensor Placements in Gaussian Processes, 2008, \
         Journal of Machine Learning Research 9",
    )
    .yaml(include_str!("divnas.yaml"))
}

/// The section `nas.search.divnas`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DivnasSettings {
    /// Width of the kernel exp(−‖a − b‖² / 2σ²) between the outputs a and b of two ops on an image.
    #[schemars(range(min = 1e-6))]
    pub sigma: f64,
    /// How the supernet is trained.
    pub archtrainer: ArchTrainerKind,
    /// How the architecture moves with `archtrainer: bilevel`.
    pub bilevel: DartsSettings,
    /// Added to the kernel's diagonal, so that ops which give the same leave it positive definite.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub jitter: f64,
    /// Training batches that the kernel is averaged over; -1 takes all.
    #[schemars(range(min = -1))]
    pub max_batches: i64,
    /// How the best choice is sought.
    pub selection: Selection,
}

/// How the supernet of DivNAS is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ArchTrainerKind {
    /// Weights and architecture by turns, as in DARTS.
    Bilevel,
    /// The weights alone: every edge is the plain sum of its ops. Nothing then ranks the ops.
    Noalpha,
}

/// How the best choice of ops is sought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// By trying all choices.
    BruteForce,
    /// One by one, each the one that adds most.
    Greedy,
}

impl Default for DivnasSettings {
    /// Those of `divnas.yaml`.
    fn default() -> Self {
        algorithm().shipped_section()
    }
}

/// DivNAS: DARTS's search space, a choice of two trainers, and two finalizers of its own.
#[derive(Clone, Debug, Default)]
pub struct Divnas {
    settings: DivnasSettings,
}

impl Divnas {
    /// From its section of the configuration.
    pub fn new(settings: DivnasSettings) -> Self {
        Divnas { settings }
    }

    fn has_alphas(&self) -> bool {
        self.settings.archtrainer == ArchTrainerKind::Bilevel
    }

    fn mutual_information(
        &self,
        name: &str,
        about: &str,
        candidates: Candidates,
    ) -> NamedFinalizer {
        let settings = self.settings.clone();
        NamedFinalizer::new(name, about, move |at| {
            let made = MutualInformation::new(settings.clone(), candidates)?;
            Ok(Box::new(made.with_rule(at.rule)))
        })
    }
}

impl ExperimentRunner for Divnas {
    fn model_desc_builder(&self) -> Box<dyn ModelDescBuilder> {
        Box::new(DartsModelDescBuilder)
    }

    fn trainer_hooks(
        &self,
        search: &settings::Search,
    ) -> Result<Vec<Box<dyn TrainerHooks>>, EngineError> {
        Ok(match self.settings.archtrainer {
            ArchTrainerKind::Noalpha => Vec::new(),
            ArchTrainerKind::Bilevel => vec![Box::new(Bilevel::new(
                "DivNAS",
                self.settings.bilevel.clone(),
                &search.trainer,
            )?)],
        })
    }

    fn unread(&self, search: &settings::Search) -> Vec<&'static str> {
        let mut unread = Vec::new();
        if search.finalizer != DARTS_PT {
            unread.push(DARTS_PT);
        }
        if !["mi", "mi_ranked"].contains(&search.finalizer.as_str()) {
            let of_choice = [
                "divnas.sigma",
                "divnas.jitter",
                "divnas.max_batches",
                "divnas.selection",
            ];
            unread.extend(of_choice);
        }
        if !self.has_alphas() {
            let of_alphas = [
                "divnas.bilevel",
                "trainer.alpha_optimizer",
                "trainer.alpha_lr_schedule",
            ];
            unread.extend(of_alphas);
        }
        unread
    }

    fn finalizers(&self) -> Vec<NamedFinalizer> {
        let ranked = self.mutual_information(
            "mi_ranked",
            "divnas: of the better half by weight, the ops that tell most about the others",
            Candidates::BetterHalf,
        );
        let all = self.mutual_information(
            "mi",
            "divnas: of all ops, those that tell most about the others",
            Candidates::All,
        );
        if self.has_alphas() {
            return vec![ranked, all];
        }
        let unranked = |name: &'static str| {
            NamedFinalizer::new(name, "divnas: needs weights to rank ops by", move |_| {
                Err(EngineError::setting(
                    "nas.search.finalizer",
                    format!(
                        "`{name}` ranks ops by their weights, but with nas.search.divnas.archtrainer `noalpha` all weights stay equal; \
choose the finalizer `mi`, which needs no rank, or the archtrainer `bilevel`"
                    ),
                ))
            })
        };
        vec![unranked("mi_ranked"), all, unranked("default")]
    }

    fn relaxation(&self) -> Arc<dyn Relaxation> {
        match self.has_alphas() {
            true => Arc::new(Softmax),
            false => Arc::new(Raw),
        }
    }

    /// Without a trainer of the architecture, every op's weight is 1 and stays so.
    fn alpha_init(&self) -> AlphaInit {
        match self.has_alphas() {
            true => AlphaInit::default(),
            false => AlphaInit::Constant(1.0),
        }
    }
}

/// Among which ops of a node the choice is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Candidates {
    /// All but `none`.
    All,
    /// Of these the better half by weight, but at least as many as a node keeps.
    BetterHalf,
}

/// Keeps, per node, the `max_final_edges` ops whose outputs tell most about those of the other candidates. Two of them may
/// share an edge.
///
/// Cells that share their architecture parameters get the choice of the cell that owns them, made on that cell's outputs:
/// they must agree, and the owner is the one whose parameters rank the ops.
#[derive(Clone, Debug)]
pub struct MutualInformation {
    settings: DivnasSettings,
    candidates: Candidates,
    /// Which ops may be chosen together.
    rule: NodeRule,
    /// Of each node of an owning cell, once decided.
    kept: Option<BTreeMap<(usize, usize), Vec<Choice>>>,
}

impl MutualInformation {
    /// Not yet decided.
    ///
    /// # Errors
    /// The settings leave no data.
    pub fn new(settings: DivnasSettings, candidates: Candidates) -> Result<Self, EngineError> {
        if settings.max_batches == 0 {
            return Err(EngineError::setting(
                "nas.search.divnas.max_batches",
                "0 looks at no data; expected -1 (all) or at least 1",
            ));
        }
        Ok(MutualInformation {
            settings,
            candidates,
            rule: NodeRule::default(),
            kept: None,
        })
    }

    /// Which ops may be chosen together. Where an edge keeps one op, the better half is that of each edge.
    #[must_use]
    pub fn with_rule(mut self, rule: NodeRule) -> Self {
        self.rule = rule;
        self
    }

    /// The choice at one node, given the weights of the ops.
    fn choose(
        &self,
        kernel: &NodeKernel,
        weights: impl Fn(Choice) -> f64,
        most: usize,
    ) -> Result<Vec<Choice>, select::SelectError> {
        let edge = |row: usize| kernel.choices[row].edge;
        let mut rows: Vec<usize> = (0..kernel.choices.len()).collect();
        let mut edges: Vec<usize> = rows.iter().map(|&row| edge(row)).collect();
        edges.dedup();
        if self.candidates == Candidates::BetterHalf {
            let weight = |row: usize| weights(kernel.choices[row]);
            rows.sort_by(|&a, &b| weight(b).total_cmp(&weight(a)));
            if self.rule.most_per_edge().is_some() {
                // The better half of each edge's ops, so that every edge can be chosen.
                let of_edge = |e: usize| rows.iter().copied().filter(move |&row| edge(row) == e);
                let halves = edges.iter().flat_map(|&e| {
                    let n = of_edge(e).count();
                    of_edge(e).take(n.div_ceil(2)).collect::<Vec<_>>()
                });
                rows = halves.collect();
            } else {
                rows.truncate(most.max(kernel.choices.len() / 2));
            }
            rows.sort_unstable();
        }
        let mut among = kernel.kernel.restrict(&rows);
        among.add_jitter(self.settings.jitter);
        let choices: Vec<Choice> = rows.iter().map(|&row| kernel.choices[row]).collect();
        let wanted = most.min(self.rule.thinned(choices.clone()).len());
        let apart = |items: &[usize]| {
            let items: Vec<Choice> = items.iter().map(|&i| choices[i]).collect();
            self.rule.allows(&items)
        };
        let chosen = match self.settings.selection {
            Selection::BruteForce => brute_force_where(&among, wanted, apart)?,
            Selection::Greedy => greedy_where(&among, wanted, apart)?,
        };
        let mut chosen: Vec<Choice> = chosen.iter().map(|&i| choices[i]).collect();
        chosen.sort_unstable();
        Ok(chosen)
    }
}

/// The kernel of a node, and what its rows are.
struct NodeKernel {
    choices: Vec<Choice>,
    kernel: Kernel,
}

impl NodeKernel {
    /// Takes in what the ops of the node gave on a batch.
    fn observe(&mut self, candidates: &[Candidate], samples: usize, sigma: f64) {
        let outputs: Vec<Vec<f32>> = (candidates.iter())
            .map(|c| c.output.to_data().iter::<f32>().collect())
            .collect();
        self.kernel.observe(&outputs, samples, sigma);
    }
}

impl Finalizers for MutualInformation {
    fn needs_data(&self) -> bool {
        true
    }

    fn prepare(&mut self, model: &mut Model, data: &FinalizeData<'_>) -> Result<(), EngineError> {
        let owns: Vec<bool> = (model.desc().cells.iter().enumerate())
            .map(|(c, cell)| cell.alphas_from == c)
            .collect();
        let mut kernels: BTreeMap<(usize, usize), NodeKernel> = BTreeMap::new();
        let limit = usize::try_from(self.settings.max_batches).unwrap_or(usize::MAX);
        let total = data.loaders.train.n_batches().min(limit);
        for (done, batch) in data.loaders.train.epoch(0).take(total).enumerate() {
            let batch = batch?;
            let samples = batch.labels.len();
            model.visit_candidates(&batch, &mut |cell, node, candidates| {
                if !owns[cell] {
                    return;
                }
                let kernel = kernels.entry((cell, node)).or_insert_with(|| {
                    let choices = candidates.iter().map(|c| Choice {
                        edge: c.edge,
                        child: c.child,
                    });
                    NodeKernel {
                        choices: choices.collect(),
                        kernel: Kernel::new(candidates.len()),
                    }
                });
                kernel.observe(&candidates, samples, self.settings.sigma);
            })?;
            data.log.progress(Progress::Validate {
                title: "divnas".to_string(),
                done: done as u64 + 1,
                total: total as u64,
            })?;
            data.run.check_stop()?;
        }
        if total == 0 {
            return Err(EngineError::setting(
                "nas.search.loader",
                "the finalizers mi and mi_ranked compare ops on training data, but there are none; load_train, max_batches \
                 and val_ratio decide how many there are",
            ));
        }

        let weights: BTreeMap<(usize, usize, usize), Vec<f64>> = (model.edge_weights().into_iter())
            .map(|(key, weights)| ((key.cell, key.node, key.edge), weights))
            .collect();
        let most = model.desc().max_final_edges;
        let mut kept = BTreeMap::new();
        for ((cell, node), kernel) in &kernels {
            let weight = |c: Choice| weights[&(*cell, *node, c.edge)][c.child];
            let chosen = self.choose(kernel, weight, most).map_err(|e| {
                EngineError::setting(
                    "nas.search.divnas",
                    format!("cell {cell}, node {node}: {e} (see its jitter and selection)"),
                )
            })?;
            let edges = &model.desc().cells[*cell].nodes[*node].edges;
            let names = chosen.iter().map(|c| {
                let name = &edges[c.edge].op.children[c.child].op.name;
                format!("edge{}.{name}", c.edge)
            });
            let log = data.log.at(format!("cell{cell}.node{node}"));
            log.values(vec![
                ("ops".to_string(), json(names.collect::<Vec<_>>())),
                ("candidates".to_string(), json(kernel.choices.len())),
                ("samples".to_string(), json(kernel.kernel.samples())),
            ])?;
            kept.insert((*cell, *node), chosen);
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
                "the finalizers mi and mi_ranked decide by data: call Finalizers::prepare before finalising".to_string(),
            )
        })?;
        let owner = model.desc().cells[cell].alphas_from;
        let chosen = kept.get(&(owner, node)).map_or(&[][..], Vec::as_slice);
        Ok(model.supernet().node_of_choices(cell, node, chosen)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three edges of two ops each; `weights` by row.
    fn node(values: &[f64]) -> NodeKernel {
        let choices = (0..6).map(|i| Choice {
            edge: i / 2,
            child: 1 + i % 2,
        });
        NodeKernel {
            choices: choices.collect(),
            kernel: Kernel::from_values(6, values.to_vec()).expect("square"),
        }
    }

    /// Rows that stand for an op at a place on a line each: near ones give nearly the same.
    fn on_a_line(places: [f64; 6]) -> Vec<f64> {
        let near = |a: f64, b: f64| (-(a - b) * (a - b) / 2.0).exp();
        let row = |a: f64| places.map(|b| near(a, b));
        places.map(row).concat()
    }

    #[test]
    fn the_rank_of_an_op_belongs_to_its_row() {
        // Rows 4 and 5 are far from everything and from each other; rows 0 to 3 are two close pairs.
        let kernel = node(&on_a_line([0.0, 0.3, 4.0, 4.3, 50.0, 90.0]));
        let choose = |candidates, selection, weights: [f64; 6]| -> Vec<(usize, usize)> {
            let settings = DivnasSettings {
                selection,
                ..DivnasSettings::default()
            };
            let finalizer = MutualInformation::new(settings, candidates).expect("settings");
            let weight = |c: Choice| weights[2 * c.edge + c.child - 1];
            let chosen = finalizer.choose(&kernel, weight, 2).expect("definite");
            chosen.iter().map(|c| (c.edge, c.child)).collect()
        };
        let both = [Selection::BruteForce, Selection::Greedy];
        for selection in both {
            // One of each pair tells about the other; the far ones tell nothing.
            let chosen = choose(Candidates::All, selection, [1.0; 6]);
            let edges: Vec<usize> = chosen.iter().map(|(edge, _)| *edge).collect();
            assert_eq!(edges, [0, 1], "{selection:?}");
        }
        let check = |weights, expect: [(usize, usize); 2]| {
            for selection in both {
                let chosen = choose(Candidates::BetterHalf, selection, weights);
                assert_eq!(chosen, expect, "{selection:?}");
            }
        };
        // The better half are rows 1, 4 and 5, nothing tells about anything: the first of equals.
        check([0.1, 0.6, 0.2, 0.3, 0.9, 0.8], [(0, 2), (2, 1)]);
        // The better half are rows 2, 3 and 5.
        check([0.1, 0.2, 0.6, 0.9, 0.3, 0.8], [(1, 1), (2, 2)]);
    }

    #[test]
    fn where_an_edge_has_one_op_the_chosen_ones_are_of_different_edges() {
        // The two ops of the first edge are a close pair: apart from each other, each tells about the other.
        let kernel = node(&on_a_line([0.0, 0.3, 0.1, 50.0, 0.2, 90.0]));
        for selection in [Selection::BruteForce, Selection::Greedy] {
            for candidates in [Candidates::All, Candidates::BetterHalf] {
                let settings = DivnasSettings {
                    selection,
                    ..DivnasSettings::default()
                };
                let finalizer = MutualInformation::new(settings, candidates).expect("settings");
                let finalizer = finalizer.with_rule(NodeRule::OneOpPerEdge);
                let weight = |c: Choice| [0.1, 0.2, 0.9, 0.8, 0.7, 0.6][2 * c.edge + c.child - 1];
                for (most, edges) in [(1, 1), (2, 2), (3, 3), (9, 3)] {
                    let chosen = finalizer.choose(&kernel, weight, most).expect("definite");
                    let mut of: Vec<usize> = chosen.iter().map(|c| c.edge).collect();
                    of.dedup();
                    assert_eq!((of.len(), chosen.len()), (edges, edges), "{selection:?}");
                }
                if candidates == Candidates::BetterHalf {
                    let chosen = finalizer.choose(&kernel, weight, 3).expect("definite");
                    let ops: Vec<usize> = chosen.iter().map(|c| c.child).collect();
                    assert_eq!(ops, [2, 1, 1], "the better op of each edge");
                }
            }
        }
    }

    #[test]
    fn a_node_with_few_ops_keeps_all() {
        let kernel = NodeKernel {
            choices: vec![Choice { edge: 0, child: 3 }],
            kernel: Kernel::new(1),
        };
        for candidates in [Candidates::All, Candidates::BetterHalf] {
            let finalizer = MutualInformation::new(DivnasSettings::default(), candidates);
            let chosen = finalizer.expect("settings").choose(&kernel, |_| 0.5, 2);
            assert_eq!(chosen, Ok(vec![Choice { edge: 0, child: 3 }]));
        }
    }
}
