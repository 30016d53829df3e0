//! The search: seeds, rounds of growth, and the tables that list them.

use std::fmt::Write as _;
use std::io::Write as _;

use archai_data::rng::Key;
use archai_engine::{
    EngineError, NamedTensor,
    experiment::{Experiment, ExperimentRunner, Found, RunFile, Searcher, Trial},
    finalize::Supernet,
    searcher::describe,
};
use archai_spec::desc::{CellType, ModelDesc, OpCatalog, build};
use archai_spec::event::LogPath;
use archai_spec::spaces::Space;
use archai_spec::{settings, values};
use serde::{Deserialize, Serialize};

use super::hull::{CostError, draw_index, eps_hull, lower_hull, parent_probabilities};
use super::workers::{Job, JobResult, Work, Workers};
use super::{POST_TRAIN, PetridishSettings, SEED_TRAIN, SeedLimits, WHO};
use crate::compared;

/// How a point came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// A network of random cells.
    Seed,
    /// Grown from another point.
    Grown,
}

/// A trained network of the pool, as `hull_….yaml` and the tables hold it. Accuracies are fractions, of the last epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// Number, in the order in which jobs were given out.
    pub id: usize,
    /// The point that it was grown from.
    pub parent_id: Option<usize>,
    /// How it came about.
    pub job_stage: Stage,
    /// Cells.
    pub cells: usize,
    /// Reduction cells among them.
    pub reductions: usize,
    /// Nodes of a cell.
    pub nodes: usize,
    /// Multiply-adds for one image.
    pub madd: u64,
    /// Weights.
    pub parameters: u64,
    /// Accuracy on training data.
    pub train_top1: f64,
    /// Accuracy on validation data.
    pub val_top1: f64,
    /// How often it was drawn as a parent.
    pub sampling_count: usize,
    /// Seconds that its trainings took.
    pub seconds: f64,
}

impl Point {
    fn cost_error(&self) -> CostError {
        CostError {
            cost: self.madd as f64,
            error: 1.0 - self.val_top1,
        }
    }
}

/// A point with its network. Weights are kept as long as the point may become a parent.
struct Member {
    point: Point,
    desc: ModelDesc,
    weights: Vec<NamedTensor>,
}

/// Grows networks from seeds with the help of workers.
pub struct PetridishSearcher {
    settings: PetridishSettings,
    workers: Box<dyn Workers>,
}

impl PetridishSearcher {
    /// From the section's settings and whoever does the trainings.
    pub fn new(settings: PetridishSettings, workers: Box<dyn Workers>) -> Self {
        PetridishSearcher { settings, workers }
    }
}

impl Searcher for PetridishSearcher {
    fn search(
        &mut self,
        experiment: &Experiment<'_>,
        runner: &dyn ExperimentRunner,
    ) -> Result<Found, EngineError> {
        let own = &self.settings;
        let mut pool = Pool {
            members: Vec::new(),
            eps: own.convex_hull_eps,
            key: experiment.run.key("petridish parents"),
            draws: 0,
        };
        let max_jobs = own.max_jobs.unwrap_or(usize::MAX);
        let mut jobs = seed_jobs(experiment, runner, own)?;
        let mut warnings = Vec::new();
        if jobs.len() > max_jobs {
            warnings.push(format!(
                "nas.search.petridish.max_jobs: {max_jobs} leaves out {} of {} seeds",
                jobs.len() - max_jobs,
                jobs.len()
            ));
            jobs.truncate(max_jobs);
        }
        let mut parents: Vec<Option<usize>> = vec![None; jobs.len()];
        let why = loop {
            let given = pool.members.len() + jobs.len();
            let results = self.workers.run(jobs, experiment)?;
            for (result, parent) in results.into_iter().zip(parents) {
                warnings.extend(result.metrics.skip_warning());
                pool.join(result, parent, experiment)?;
            }
            pool.forget_weights();
            write_tables(&pool, experiment)?;
            if let Some(why) = pool.is_full(own) {
                break why;
            }
            if given >= max_jobs {
                break format!("{given} jobs were done (max_jobs)");
            }
            let n = own.parents_per_round.min(max_jobs - given);
            parents = (0..n).map(|_| pool.draw_parent()).collect();
            jobs = grow_jobs(&pool, &parents, experiment, own);
        };

        experiment
            .run
            .log(LogPath::root())
            .info(format!("petridish ended: {why}"))?;
        // The lowest error: the last vertex of the hull.
        let (hull, near) = (pool.hull(), pool.near());
        let best = hull
            .last()
            .map(|&i| &pool.members[i])
            .ok_or_else(|| EngineError::Internal("the pool of petridish is empty".to_string()))?;
        let (id, desc) = (best.point.id, best.desc.clone());
        let (train_top1, val_top1) = (best.point.train_top1, best.point.val_top1);
        let grown = pool.members.iter();
        let grown = grown.filter(|m| m.point.job_stage == Stage::Grown).count();
        let note = format!(
            "{} seeds and {grown} grown networks, {} of them on the convex hull and {} near it; ended because {why}; the best is \
             point {id}",
            pool.members.len() - grown,
            hull.len(),
            near.len()
        );
        let files = TABLES.map(|(name, what)| RunFile::new(what, experiment.dir.join(name)));
        let trials = pool.members.into_iter().enumerate();
        let trials = trials.map(|(i, member)| member.trial(near.contains(&i)));
        Ok(Found {
            what: "found description: the best point".to_string(),
            introduced: format!("found point {id}:"),
            train_top1: Some(train_top1),
            val_top1: Some(val_top1),
            trials: trials.collect::<Result<_, _>>()?,
            gallery: Some(format!(
                "descriptions of the {} networks near the hull",
                near.len()
            )),
            notes: vec![note],
            warnings,
            files: files.to_vec(),
            ..Found::new(desc)
        })
    }
}

impl Member {
    /// What the search reports of it, with the point in a file of its own.
    fn trial(self, in_gallery: bool) -> Result<Trial, EngineError> {
        let Member { point, desc, .. } = self;
        let text = serde_saphyr::to_string(&point).map_err(|e| {
            EngineError::Internal(format!("point {} cannot be written as YAML: {e}", point.id))
        })?;
        Ok(Trial {
            id: point.id,
            desc,
            train_top1: point.train_top1,
            val_top1: point.val_top1,
            parameters: point.parameters,
            macs: point.madd,
            in_gallery,
            files: vec![(POINT.to_string(), text)],
        })
    }
}

/// All points so far.
struct Pool {
    members: Vec<Member>,
    eps: f64,
    key: Key,
    /// Parents drawn so far.
    draws: usize,
}

impl Pool {
    fn points(&self) -> Vec<CostError> {
        self.members.iter().map(|m| m.point.cost_error()).collect()
    }

    fn hull(&self) -> Vec<usize> {
        lower_hull(&self.points())
    }

    fn near(&self) -> Vec<usize> {
        eps_hull(&self.points(), self.eps)
    }

    fn join(
        &mut self,
        result: JobResult,
        parent_id: Option<usize>,
        experiment: &Experiment<'_>,
    ) -> Result<(), EngineError> {
        let JobResult {
            id,
            desc,
            weights,
            metrics,
            seconds,
        } = result;
        let key = match parent_id {
            None => SEED_TRAIN,
            Some(_) => POST_TRAIN,
        };
        let measured = compared::measured(WHO, key, &metrics)?;
        let cost = experiment.cost(&desc, false)?;
        let reduces = |cell: &&archai_spec::desc::CellDesc| cell.cell_type == CellType::Reduction;
        let point = Point {
            id,
            parent_id,
            job_stage: match parent_id {
                None => Stage::Seed,
                Some(_) => Stage::Grown,
            },
            cells: desc.cells.len(),
            reductions: desc.cells.iter().filter(reduces).count(),
            nodes: desc.cells.iter().map(|c| c.nodes.len()).max().unwrap_or(0),
            madd: cost.macs,
            parameters: cost.params,
            train_top1: measured.train,
            val_top1: measured.val,
            sampling_count: 0,
            seconds,
        };
        let path = LogPath::new("petridish").join(id);
        experiment.run.log(path.clone()).emit(values!(path,
            "parent_id" => parent_id, "cells" => point.cells, "reductions" => point.reductions,
            "nodes" => point.nodes, "madd" => point.madd, "val_top1" => measured.val, "architecture" => describe(&desc)))?;
        self.members.push(Member {
            point,
            desc,
            weights,
        });
        Ok(())
    }

    /// More points only lower the hull: who is above the band now will never be a parent.
    fn forget_weights(&mut self) {
        let near = self.near();
        for (i, member) in self.members.iter_mut().enumerate() {
            if !near.contains(&i) {
                member.weights = Vec::new();
            }
        }
    }

    fn is_full(&self, settings: &PetridishSettings) -> Option<String> {
        let madd = self.members.iter().map(|m| m.point.madd).max().unwrap_or(0);
        if madd as f64 > settings.max_madd {
            return Some(format!(
                "a network has {madd} multiply-adds (max_madd {})",
                settings.max_madd
            ));
        }
        let n = self.members.len();
        (n > settings.max_hull_points).then(|| {
            format!(
                "the pool has {n} points (max_hull_points {})",
                settings.max_hull_points
            )
        })
    }

    /// The next parent, whose count grows by one.
    fn draw_parent(&mut self) -> Option<usize> {
        let near = self.near();
        let of = |f: &dyn Fn(&Point) -> f64| -> Vec<f64> {
            near.iter().map(|&i| f(&self.members[i].point)).collect()
        };
        let counts = of(&|p| p.sampling_count as f64);
        let costs = of(&|p| p.madd as f64);
        let probabilities = parent_probabilities(&counts, &costs);
        let drawn = near[draw_index(&probabilities, &self.key.with(self.draws))?];
        self.draws += 1;
        self.members[drawn].point.sampling_count += 1;
        Some(self.members[drawn].point.id)
    }
}

/// The seeds: a network for every (reductions, cells, nodes) from the search's shape to the limits, in this order, drawn under the
/// run's key.
pub(super) fn seeds(
    space: &dyn Space,
    shape: &settings::ModelDescSettings,
    own: &PetridishSettings,
    catalog: &OpCatalog,
    key: &Key,
) -> Result<Vec<ModelDesc>, EngineError> {
    let mut seeds = Vec::new();
    for (n_reductions, n_cells, n_nodes) in seed_shapes(shape, &own.pareto) {
        let mut shape = shape.clone();
        (shape.n_reductions, shape.n_cells, shape.cell.n_nodes) = (n_reductions, n_cells, n_nodes);
        let supernet = build(space.builder(), &shape, None, false, catalog)?.desc;
        let key = key.with("petridish seed").with(seeds.len());
        let drawn = space
            .draw(Supernet::new(&supernet, catalog), &key)
            .map_err(|e| EngineError::setting("nas.search.space", e.to_string()))?;
        seeds.push(build(space.builder(), &shape, Some(&drawn), true, catalog)?.desc);
    }
    if seeds.is_empty() {
        return Err(EngineError::setting(
            "nas.search.petridish.pareto",
            format!(
                "there is no seed between nas.search.model_desc (n_reductions {}, n_cells {}, n_nodes {}) and these limits \
             (max_reductions {}, max_cells {}, max_nodes {}); raise them",
                shape.n_reductions,
                shape.n_cells,
                shape.cell.n_nodes,
                own.pareto.max_reductions,
                own.pareto.max_cells,
                own.pareto.max_nodes
            ),
        ));
    }
    Ok(seeds)
}

/// (reductions, cells, nodes) with cells ≥ 2·reductions + 1.
fn seed_shapes(
    least: &settings::ModelDescSettings,
    most: &SeedLimits,
) -> Vec<(usize, usize, usize)> {
    let mut shapes = Vec::new();
    for reductions in least.n_reductions..=most.max_reductions {
        for cells in least.n_cells.max(2 * reductions + 1)..=most.max_cells {
            for nodes in least.cell.n_nodes..=most.max_nodes {
                shapes.push((reductions, cells, nodes));
            }
        }
    }
    shapes
}

/// One job per seed.
fn seed_jobs(
    experiment: &Experiment<'_>,
    runner: &dyn ExperimentRunner,
    own: &PetridishSettings,
) -> Result<Vec<Job>, EngineError> {
    let seeds = seeds(
        experiment.space(runner)?.as_ref(),
        &experiment.settings.nas.search.model_desc,
        own,
        experiment.components.ops.catalog(),
        &Key::new(experiment.run.seed),
    )?;
    let job = |(id, desc)| Job {
        id,
        desc,
        weights: Vec::new(),
        work: Work::Train(Box::new(own.seed_train.clone())),
    };
    Ok(seeds.into_iter().enumerate().map(job).collect())
}

/// One job per parent.
fn grow_jobs(
    pool: &Pool,
    parents: &[Option<usize>],
    experiment: &Experiment<'_>,
    own: &PetridishSettings,
) -> Vec<Job> {
    let search = &experiment.settings.nas.search;
    let growth = settings::Training {
        loader: search.loader.clone(),
        trainer: search.trainer.clone(),
    };
    let members = parents.iter().flatten().map(|&id| &pool.members[id]);
    members
        .zip(pool.members.len()..)
        .map(|(parent, id)| Job {
            id,
            desc: parent.desc.clone(),
            weights: parent.weights.clone(),
            work: Work::Grow {
                search: Box::new(growth.clone()),
                post: Box::new(search.post_train.clone()),
                keep: own.ops_per_node,
            },
        })
        .collect()
}

/// All points, those on the hull, and those near it.
fn write_tables(pool: &Pool, experiment: &Experiment<'_>) -> Result<(), EngineError> {
    let all: Vec<usize> = (0..pool.members.len()).collect();
    for ((name, _), list) in TABLES.iter().zip([all, pool.hull(), pool.near()]) {
        let text = as_table(list.iter().map(|&i| &pool.members[i]));
        let path = experiment.dir.join(name);
        (experiment.run).write(&path, |out| out.write_all(text.as_bytes()))?;
    }
    Ok(())
}

/// The kind of the files in the gallery that hold points: `hull_<number>.yaml`.
const POINT: &str = "hull";

const TABLES: [(&str, &str); 3] = [
    ("full_pool.tsv", "all trained networks"),
    ("pareto_front_summary.tsv", "those on the convex hull"),
    (
        "pareto_eps_summary.tsv",
        "those near it, the possible parents",
    ),
];

fn as_table<'m>(members: impl Iterator<Item = &'m Member>) -> String {
    let mut text = String::from(
        "id\tparent_id\tjob_stage\tcells\treductions\tnodes\tmadd\tparameters\ttrain_top1\tval_top1\tsampling_count\tseconds\t\
         architecture\n",
    );
    for Member { point: p, desc, .. } in members {
        let parent = p.parent_id.map_or("-".to_string(), |id| id.to_string());
        let stage = match p.job_stage {
            Stage::Seed => "seed",
            Stage::Grown => "grown",
        };
        let _ = writeln!(
            text,
            "{}\t{parent}\t{stage}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}",
            p.id,
            p.cells,
            p.reductions,
            p.nodes,
            p.madd,
            p.parameters,
            p.train_top1,
            p.val_top1,
            p.sampling_count,
            p.seconds,
            describe(desc)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pool of (cost, accuracy).
    fn pool(points: &[(u64, f64)]) -> Pool {
        let desc = ModelDesc {
            version: archai_spec::desc::FORMAT_VERSION,
            input: archai_spec::desc::Shape::new(1, 8, 8),
            n_classes: 2,
            affine: true,
            max_final_edges: 2,
            stems: Vec::new(),
            stem_outputs: vec![0, 0],
            cells: Vec::new(),
            pool: archai_spec::desc::OpDesc::new("pool_adaptive_avg2d", 1, 1),
            logits: archai_spec::desc::OpDesc::new("linear", 1, 2),
        };
        let member = |(id, &(madd, val_top1)): (usize, &(u64, f64))| Member {
            point: Point {
                id,
                parent_id: None,
                job_stage: Stage::Seed,
                cells: 3,
                reductions: 1,
                nodes: 1,
                madd,
                parameters: 1,
                train_top1: 0.0,
                val_top1,
                sampling_count: 0,
                seconds: 0.0,
            },
            desc: desc.clone(),
            weights: vec![NamedTensor {
                name: "w".to_string(),
                shape: vec![1],
                values: vec![0.0],
            }],
        };
        Pool {
            members: points.iter().enumerate().map(member).collect(),
            eps: 0.1,
            key: Key::new(1),
            draws: 0,
        }
    }

    #[test]
    fn parents_are_near_the_hull_and_counted() {
        let mut pool = pool(&[(10, 0.2), (20, 0.6), (25, 0.3), (40, 0.9)]);
        for draw in 1..=30 {
            let id = pool.draw_parent().expect("a parent");
            assert_ne!(id, 2, "point 2 is far above the hull");
            let total: usize = pool.members.iter().map(|m| m.point.sampling_count).sum();
            assert_eq!(total, draw);
        }
        let drawn = |i: usize| pool.members[i].point.sampling_count;
        assert!(drawn(0) > 0 && drawn(1) > 0 && drawn(3) > 0);
        pool.forget_weights();
        let has: Vec<bool> = pool.members.iter().map(|m| !m.weights.is_empty()).collect();
        assert_eq!(has, [true, true, false, true]);
    }
}
