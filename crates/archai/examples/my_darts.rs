//! The tutorial's "Implementing DARTS": an algorithm of your own in four small pieces, with the whole command line around it.
//!
//! ```text
//! cargo run --release --example my_darts -- run --algos my_darts
//! cargo run --release --example my_darts -- algos
//! ```

use std::process::ExitCode;

use archai::algos::{Algorithm, NoSettings};
use archai::engine::checkpoint::Snapshot;
use archai::engine::trainer::{Fit, Step, TrainerHooks};
use archai::engine::{
    ArchParams, EngineError, Model, experiment::ExperimentRunner, optim::Optimizer,
};
use archai::lab::Lab;
use archai::spec::desc::{
    CellPlan, DescError, EdgeDesc, ModelDescBuilder, NodeDesc, OpDesc, PRIMITIVES,
};
use archai::spec::settings::Search;

/// Piece 1, the search space: every node reads every earlier state through a mixed op, a softmax-weighted sum of
/// primitives that finalises to the strongest one.
struct MyBuilder;

impl ModelDescBuilder for MyBuilder {
    fn nodes(&self, cell: &CellPlan<'_>) -> Result<Vec<NodeDesc>, DescError> {
        let edge = |from| {
            EdgeDesc::new(
                from,
                OpDesc::mixed(&PRIMITIVES, cell.channels, cell.stride(from)),
            )
        };
        Ok((0..cell.n_nodes)
            .map(|node| NodeDesc::new((0..node + 2).map(edge)))
            .collect())
    }
}

/// Pieces 2 and 3, the trainer's hooks: an optimizer for the architecture, made before the training, and a step of the
/// architecture on a validation batch before each step of the weights (the first-order rule). The optimizer remembers
/// something between steps, so the hook gives and takes it: an interrupted search ends in the same bytes.
#[derive(Default)]
struct Bilevel {
    optimizer: Option<(Optimizer<ArchParams>, f64)>,
}

impl TrainerHooks for Bilevel {
    fn pre_fit(&mut self, fit: &mut Fit<'_>) -> Result<(), EngineError> {
        let settings = fit.settings.alpha_optimizer.as_ref();
        let settings = settings
            .ok_or_else(|| EngineError::Config("set nas.search.trainer.alpha_optimizer".into()))?;
        self.optimizer = Some((Optimizer::new(settings)?, settings.lr));
        Ok(())
    }

    fn pre_step(&mut self, step: &mut Step<'_>) -> Result<(), EngineError> {
        let Some((optimizer, lr)) = &mut self.optimizer else {
            return Ok(());
        };
        let valid = step.next_valid()?;
        let (_loss, grads) = step.model.arch_grads(&valid, &step.objective(), None)?;
        step.set_arch(optimizer.step(step.model.arch(), &grads, *lr))
    }

    fn state(&self) -> Result<Snapshot, EngineError> {
        let mut state = Snapshot::default();
        if let Some((optimizer, _)) = &self.optimizer {
            state.put_tensors("optimizer", optimizer.state());
        }
        Ok(state)
    }

    fn restore(&mut self, state: &Snapshot, model: &Model) -> Result<(), EngineError> {
        let tensors = state.tensors("optimizer");
        self.optimizer.iter_mut().try_for_each(|(optimizer, _)| {
            optimizer.set_state(&tensors, model.arch(), model.compute())
        })
    }
}

/// Piece 4, the runner: names the parts; searcher, finalizers and evaluater are the defaults.
struct MyDarts;

impl ExperimentRunner for MyDarts {
    fn model_desc_builder(&self) -> Box<dyn ModelDescBuilder> {
        Box::new(MyBuilder)
    }

    fn trainer_hooks(&self, _search: &Search) -> Result<Vec<Box<dyn TrainerHooks>>, EngineError> {
        Ok(vec![Box::new(Bilevel::default())])
    }
}

fn main() -> ExitCode {
    let new = |_: NoSettings| MyDarts;
    let my_darts = Algorithm::new("my_darts", "the tutorial's DARTS, first order", new);
    archai::cli::run(Lab::builtin().with_algorithm(my_darts))
}
