//! What a hook remembers between steps: values by name, which the trainer saves with its checkpoints and gives back on
//! resuming.

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    arch::ArchParams,
    checkpoint::Snapshot,
    error::EngineError,
    model::Model,
    optim::{Optimizer, Vector},
    params::ParamVec,
};

/// A value that a hook remembers. Every plain value (what `serde` reads and writes) is one, and so are the optimizers of
/// weights and of architecture parameters. Numbers in plain values must be finite.
pub trait Remember {
    /// Puts the value into `state` under `name`.
    ///
    /// # Errors
    /// The value cannot be written so that it comes back.
    fn save(&self, name: &str, state: &mut Snapshot) -> Result<(), EngineError>;

    /// Takes the value of `name` from `state`. `model` gives names and shapes of parameters.
    ///
    /// # Errors
    /// There is no such value, or it is of another type or shape.
    fn load(&mut self, name: &str, state: &Snapshot, model: &Model) -> Result<(), EngineError>;
}

impl<T: Serialize + DeserializeOwned> Remember for T {
    fn save(&self, name: &str, state: &mut Snapshot) -> Result<(), EngineError> {
        state.set(name, self)?;
        // JSON has no infinity: better to say so now than when the run is resumed.
        state.get::<T>(name).map(drop).map_err(|e| {
            EngineError::Internal(format!(
                "a hook's `{name}` cannot be kept so that it comes back ({e}); numbers in it must be finite"
            ))
        })
    }

    fn load(&mut self, name: &str, state: &Snapshot, _: &Model) -> Result<(), EngineError> {
        *self = state.get(name)?;
        Ok(())
    }
}

impl Remember for Optimizer<ArchParams> {
    fn save(&self, name: &str, state: &mut Snapshot) -> Result<(), EngineError> {
        save_optimizer(self, name, state)
    }

    fn load(&mut self, name: &str, state: &Snapshot, model: &Model) -> Result<(), EngineError> {
        self.set_state(&state.tensors(name), model.arch(), model.compute())
    }
}

impl Remember for Optimizer<ParamVec> {
    fn save(&self, name: &str, state: &mut Snapshot) -> Result<(), EngineError> {
        save_optimizer(self, name, state)
    }

    fn load(&mut self, name: &str, state: &Snapshot, model: &Model) -> Result<(), EngineError> {
        self.set_state(&state.tensors(name), model.weights(), model.compute())
    }
}

fn save_optimizer<V: Vector>(
    optimizer: &Optimizer<V>,
    name: &str,
    state: &mut Snapshot,
) -> Result<(), EngineError> {
    state.put_tensors(name, optimizer.state());
    Ok(())
}

/// The values that a hook remembers, by name: see [`TrainerHooks::memory`](super::TrainerHooks::memory).
#[derive(Default)]
pub struct Memory<'a> {
    values: Vec<(&'static str, &'a mut dyn Remember)>,
}

impl<'a> Memory<'a> {
    /// Nothing is remembered.
    pub fn none() -> Self {
        Memory::default()
    }

    /// One value more. Its name is what a checkpoint knows it by: unique within the hook, and without `/`.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &'a mut impl Remember) -> Self {
        self.values.push((name, value));
        self
    }

    /// Whether a checkpoint can tell the values apart. The trainer asks before the first step.
    ///
    /// # Errors
    /// Two values have one name, or a name holds `/`.
    pub fn check(&self) -> Result<(), EngineError> {
        let wrong = |problem: String| Err(EngineError::Internal(problem));
        for (i, (name, _)) in self.values.iter().enumerate() {
            if self.values[..i].iter().any(|(earlier, _)| earlier == name) {
                return wrong(format!(
                    "a hook names two values `{name}` in TrainerHooks::memory, of which a checkpoint would keep one; give each \
                     a name of its own"
                ));
            }
            if name.contains('/') {
                return wrong(format!(
                    "a hook names a value `{name}` in TrainerHooks::memory, but `/` separates names in a checkpoint; choose a \
                     name without it"
                ));
            }
        }
        Ok(())
    }

    /// All values as plain data.
    ///
    /// # Errors
    /// As [`Memory::check`] and [`Remember::save`].
    pub fn state(&self) -> Result<Snapshot, EngineError> {
        self.check()?;
        let mut state = Snapshot::default();
        for (name, value) in &self.values {
            value.save(name, &mut state)?;
        }
        Ok(state)
    }

    /// Sets all values to what [`Memory::state`] gave.
    ///
    /// # Errors
    /// As [`Memory::check`] and [`Remember::load`]; state that belongs to none of the values.
    pub fn restore(&mut self, state: &Snapshot, model: &Model) -> Result<(), EngineError> {
        self.check()?;
        let known = |name: &str| self.values.iter().any(|(own, _)| *own == name);
        if let Some(name) = state.names().into_iter().find(|name| !known(name)) {
            return Err(EngineError::Checkpoint(format!(
                "the checkpoint holds `{name}` of an algorithm's hook, which this program does not know"
            )));
        }
        self.values
            .iter_mut()
            .try_for_each(|(name, value)| value.load(name, state, model))
    }
}
