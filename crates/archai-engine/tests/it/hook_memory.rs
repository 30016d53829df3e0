//! What hooks remember survives an interruption, with no more than a name for each value; what would be lost is an error.

use archai_engine::checkpoint::{CheckpointStore, Policy, Snapshot};
use archai_engine::optim::Optimizer;
use archai_engine::run::{NoClock, Run, StopFlag};
use archai_engine::testing::FaultyDisk;
use archai_engine::trainer::{ArchTrainer, Memory, Outcome, Step, TrainerHooks};
use archai_engine::{ArchParams, EngineError, Model};
use archai_spec::event::LogPath;
use serde_json::Value;

use crate::support::{compile, tiny_supernet};
use crate::train_support::{loaders, model_settings, quiet, trainer_settings};

/// Moves the architecture on the training batch by the optimizer that the trainer remembers.
struct Moves;

impl TrainerHooks for Moves {
    fn pre_step(&mut self, step: &mut Step<'_>) -> Result<(), EngineError> {
        let (_, grads) = step.model.arch_grads(step.batch, &step.objective())?;
        step.move_arch(&grads)
    }
}

/// Does the same by an optimizer of its own, under the same name.
struct MovesItself {
    optimizer: Optimizer<ArchParams>,
    lr: f64,
}

impl TrainerHooks for MovesItself {
    fn memory(&mut self) -> Memory<'_> {
        Memory::none().with("optimizer", &mut self.optimizer)
    }
    fn pre_step(&mut self, step: &mut Step<'_>) -> Result<(), EngineError> {
        let (_, grads) = step.model.arch_grads(step.batch, &step.objective())?;
        let arch = self.optimizer.step(step.model.arch(), &grads, self.lr);
        step.set_arch(arch)
    }
}

/// Adds a mean of losses to the architecture parameters, so that a forgotten mean shows in them.
#[derive(Default)]
struct Mean {
    mean: f64,
    steps: u64,
}

impl TrainerHooks for Mean {
    fn memory(&mut self) -> Memory<'_> {
        Memory::none()
            .with("mean", &mut self.mean)
            .with("steps", &mut self.steps)
    }
    fn post_step(&mut self, step: &mut Step<'_>, outcome: &Outcome) -> Result<(), EngineError> {
        self.steps += 1;
        self.mean += (outcome.loss - self.mean) / self.steps as f64;
        let arch = step.model.arch().map(|a| a.clone() + self.mean * 1e-3);
        step.set_arch(arch)
    }
}

/// Asks for a stop after a step.
struct StopAt(u64, StopFlag);

impl TrainerHooks for StopAt {
    fn post_step(&mut self, step: &mut Step<'_>, _: &Outcome) -> Result<(), EngineError> {
        if (step.epoch * 4 + step.step) as u64 == self.0 {
            self.1.raise();
        }
        Ok(())
    }
}

type Hooks = Vec<Box<dyn TrainerHooks>>;

fn moves_itself() -> Box<dyn TrainerHooks> {
    let settings = trainer_settings(2).alpha_optimizer.expect("settings");
    Box::new(MovesItself {
        optimizer: Optimizer::new(&settings).expect("an optimizer"),
        lr: settings.lr,
    })
}

fn model() -> Model {
    let mut settings = model_settings(2, 2);
    settings.n_cells = 3;
    let built = archai_spec::desc::build(
        &archai_spec::desc::DartsModelDescBuilder,
        &settings,
        None,
        false,
        archai_engine::OpRegistry::builtin().catalog(),
    );
    compile(
        &built.expect("a description").desc,
        &archai_engine::Compute::cpu(),
    )
}

/// Two epochs of four steps on a disk of checkpoints.
fn train(disk: &FaultyDisk, stop: &StopFlag, mut hooks: Hooks) -> Result<Model, EngineError> {
    let policy = Policy {
        every_steps: 0,
        every_seconds: 0.0,
        keep: 1,
    };
    let mark = Box::new(|| Ok(Value::Null));
    let (store, _) = CheckpointStore::open_on(disk, "/run".as_ref(), policy, &NoClock, mark)?;
    let run: Run<'_> = quiet(stop).with_checkpoints(&store);
    let (settings, mut model) = (trainer_settings(2), model());
    ArchTrainer::new(&settings, run, &LogPath::new("search"), &mut hooks)
        .fit(&mut model, &loaders(32, 4))?;
    Ok(model)
}

/// Trains with `first`, stops after a step, and resumes with `second`.
fn interrupted(after: u64, first: Hooks, second: Hooks) -> Result<Model, EngineError> {
    let (disk, stop) = (FaultyDisk::new(), StopFlag::new());
    let mut hooks = first;
    hooks.push(Box::new(StopAt(after, stop.clone())));
    let stopped = train(&disk, &stop, hooks);
    assert!(matches!(stopped, Err(EngineError::Stopped)));
    train(&disk, &StopFlag::new(), second)
}

fn numbers(model: &Model) -> impl PartialEq + std::fmt::Debug {
    (model.named_state(), model.arch().to_host())
}

#[test]
fn p02_named_values_and_the_trainers_optimizer_survive_an_interruption() {
    let hooks = || -> Hooks { vec![Box::new(Mean::default()), Box::new(Moves)] };
    let straight = train(&FaultyDisk::new(), &StopFlag::new(), hooks()).expect("a training");
    for after in [0, 2, 3, 5] {
        let resumed = interrupted(after, hooks(), hooks()).expect("it is resumed");
        assert_eq!(numbers(&resumed), numbers(&straight), "after step {after}");
    }
}

#[test]
fn p02_a_checkpoint_of_a_hook_with_its_own_optimizer_serves_the_trainers() {
    // So did the search algorithms keep it before the trainer did.
    let straight = train(&FaultyDisk::new(), &StopFlag::new(), vec![Box::new(Moves)]);
    let straight = straight.expect("a training");
    for (first, second) in [
        (moves_itself(), Box::new(Moves) as Box<dyn TrainerHooks>),
        (Box::new(Moves), moves_itself()),
    ] {
        let resumed = interrupted(5, vec![first], vec![second]).expect("it is resumed");
        assert_eq!(numbers(&resumed), numbers(&straight));
    }
}

#[test]
fn p02_state_that_a_hook_does_not_know_is_an_error() {
    let error = interrupted(1, vec![Box::new(Mean::default())], vec![Box::new(Moves)]);
    assert_eq!(
        error.unwrap_err().to_string(),
        "the checkpoint holds `mean` of an algorithm's hook, which this program does not know"
    );
    let error = interrupted(1, vec![Box::new(Moves)], vec![Box::new(Mean::default())]);
    assert_eq!(
        error.unwrap_err().to_string(),
        "the checkpoint has no `mean`"
    );
}

/// Remembers two numbers under these names.
struct Named([&'static str; 2], [f64; 2]);

impl TrainerHooks for Named {
    fn memory(&mut self) -> Memory<'_> {
        let ([first, second], [a, b]) = (self.0, &mut self.1);
        Memory::none().with(first, a).with(second, b)
    }
    fn pre_step(&mut self, _: &mut Step<'_>) -> Result<(), EngineError> {
        panic!("the names are looked at before the first step");
    }
}

#[test]
fn p02_names_that_a_checkpoint_cannot_tell_apart_are_an_error_before_the_first_step() {
    for (names, expect) in [
        (
            ["mean", "mean"],
            "internal error: a hook names two values `mean` in TrainerHooks::memory, of which a checkpoint would keep one; \
             give each a name of its own",
        ),
        (
            ["mean", "mean/slow"],
            "internal error: a hook names a value `mean/slow` in TrainerHooks::memory, but `/` separates names in a \
             checkpoint; choose a name without it",
        ),
    ] {
        let hooks: Hooks = vec![Box::new(Named(names, [1.0, 2.0]))];
        let error = train(&FaultyDisk::new(), &StopFlag::new(), hooks);
        assert_eq!(error.map(drop).unwrap_err().to_string(), expect);
        let [mut a, mut b] = [1.0, 2.0];
        let memory = Memory::none().with(names[0], &mut a).with(names[1], &mut b);
        assert_eq!(memory.state().unwrap_err().to_string(), expect);
    }
}

#[test]
fn a_value_that_would_not_come_back_is_an_error_at_once() {
    let model = compile(&tiny_supernet(), &archai_engine::Compute::cpu());
    let mut endless = f64::INFINITY;
    let state = Memory::none().with("least", &mut endless).state();
    let text = state.unwrap_err().to_string();
    assert!(text.ends_with("numbers in it must be finite"), "{text}");

    let (mut count, mut name) = (3, "darts".to_string());
    let kept = Memory::none()
        .with("count", &mut count)
        .with("name", &mut name)
        .state()
        .expect("plain values");
    (count, name) = (0, String::new());
    let mut memory = Memory::none()
        .with("count", &mut count)
        .with("name", &mut name);
    memory.restore(&kept, &model).expect("the same values");
    assert_eq!((count, name.as_str()), (3, "darts"));
    assert!(Memory::none().restore(&Snapshot::default(), &model).is_ok());
}
