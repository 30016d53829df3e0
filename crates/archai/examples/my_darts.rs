//! The tutorial's "Implementing DARTS": an algorithm of your own in four small pieces, with the whole command line around it.
//!
//! ```text
//! cargo run --release --example my_darts -- run --algos my_darts
//! cargo run --release --example my_darts -- algos
//! ```

use std::process::ExitCode;

use archai::algos::{Algorithm, NoSettings};
use archai::engine::trainer::{Step, TrainerHooks};
use archai::engine::{EngineError, experiment::ExperimentRunner};
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

/// Pieces 2 and 3, optimizer and step: before each step of the weights, the architecture takes one on a validation batch
/// (the first-order rule) by the settings' `alpha_optimizer`, whose moments the trainer remembers: an interrupted search
/// ends in the same bytes.
struct Bilevel;

impl TrainerHooks for Bilevel {
    fn pre_step(&mut self, step: &mut Step<'_>) -> Result<(), EngineError> {
        let valid = step.next_valid()?;
        let (_loss, grads) = step.model.arch_grads(&valid, &step.objective())?;
        step.move_arch(&grads)
    }
}

/// Piece 4, the runner: names the parts; searcher, finalizers and evaluater are the defaults.
struct MyDarts;

impl ExperimentRunner for MyDarts {
    fn model_desc_builder(&self) -> Box<dyn ModelDescBuilder> {
        Box::new(MyBuilder)
    }

    fn trainer_hooks(&self, _search: &Search) -> Result<Vec<Box<dyn TrainerHooks>>, EngineError> {
        Ok(vec![Box::new(Bilevel)])
    }
}

fn main() -> ExitCode {
    let new = |_: NoSettings| MyDarts;
    let my_darts = Algorithm::new("my_darts", "the tutorial's DARTS, first order", new);
    archai::cli::run(Lab::builtin().with_algorithm(my_darts))
}
