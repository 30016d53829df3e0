//! DARTS in first order, with the whole command line around it:
//! `cargo run --release --example my_darts -- run --algos my_darts`

use archai::{
    Algorithm, CellPlan, DescError, EdgeDesc, EngineError, ExperimentRunner, Lab, ModelDescBuilder,
    NoSettings, NodeDesc, OpDesc, Step, TrainerHooks, settings,
};

/// The ops that an edge may choose from.
const OPS: [&str; 4] = ["sep_conv_3x3", "dil_conv_3x3", "skip_connect", "none"];

/// The search space: every node reads every earlier state of its cell through a mixed op, a weighted sum of all candidates.
struct MySpace;

impl ModelDescBuilder for MySpace {
    fn nodes(&self, cell: &CellPlan<'_>) -> Result<Vec<NodeDesc>, DescError> {
        let op = |from| OpDesc::mixed(&OPS, cell.channels, cell.stride(from));
        let edge = |from| EdgeDesc::new(from, op(from));
        let node = |i| NodeDesc::new((0..i + 2).map(edge));
        Ok((0..cell.n_nodes).map(node).collect())
    }
}

/// The search: before each step of the weights, the architecture takes a step on a validation batch.
struct Bilevel;

impl TrainerHooks for Bilevel {
    fn pre_step(&mut self, step: &mut Step<'_>) -> Result<(), EngineError> {
        let valid = step.next_valid()?;
        let (_loss, grads) = step.model.arch_grads(&valid, &step.objective())?;
        step.move_arch(&grads)
    }
}

/// The algorithm names its parts. Searcher, finalizers, evaluater and all others are the defaults.
struct MyDarts;

impl ExperimentRunner for MyDarts {
    fn model_desc_builder(&self) -> Box<dyn ModelDescBuilder> {
        Box::new(MySpace)
    }

    fn trainer_hooks(
        &self,
        _search: &settings::Search,
    ) -> Result<Vec<Box<dyn TrainerHooks>>, EngineError> {
        Ok(vec![Box::new(Bilevel)])
    }
}

fn main() -> std::process::ExitCode {
    let my_darts = Algorithm::new("my_darts", "the tutorial's DARTS", |_: NoSettings| MyDarts);
    archai::cli::run(Lab::builtin().with_algorithm(my_darts))
}
