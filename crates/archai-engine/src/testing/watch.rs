//! What a test sees of a search from outside: an algorithm that also reports where its architecture parameters went, and a
//! log in memory that ends what takes too long.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use archai_spec::desc::ModelDescBuilder;
use archai_spec::event::{Event, EventSink, Progress};
use archai_spec::settings;

use crate::{
    arch::ArchKey,
    error::EngineError,
    experiment::ExperimentRunner,
    model::Model,
    run::{Clock, StopFlag},
    trainer::{Fit, Outcome, Step, TrainerHooks},
};

/// The architecture parameters of an edge before and after a training.
#[derive(Clone, Debug)]
pub(super) struct Moved {
    pub key: ArchKey,
    pub primitives: Vec<String>,
    pub before: Vec<f64>,
    pub after: Vec<f64>,
}

/// Every edge of every training that was seen.
pub(super) type Trainings = Arc<Mutex<Vec<Vec<Moved>>>>;

/// An algorithm with one more hook, behind all of its own.
pub(super) struct Watched<'a> {
    pub inner: &'a dyn ExperimentRunner,
    pub seen: Trainings,
}

impl ExperimentRunner for Watched<'_> {
    fn model_desc_builder(&self) -> Box<dyn ModelDescBuilder> {
        self.inner.model_desc_builder()
    }
    fn base(&self) -> Option<&dyn ExperimentRunner> {
        Some(self.inner)
    }
    fn trainer_hooks(
        &self,
        search: &settings::Search,
    ) -> Result<Vec<Box<dyn TrainerHooks>>, EngineError> {
        let mut hooks = self.inner.trainer_hooks(search)?;
        hooks.push(Box::new(Watch {
            seen: self.seen.clone(),
            place: None,
        }));
        Ok(hooks)
    }
}

struct Watch {
    seen: Trainings,
    /// Which training this is.
    place: Option<usize>,
}

impl Watch {
    fn look(&self, model: &Model) {
        let Some(place) = self.place else { return };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for (moved, (_, after)) in seen[place].iter_mut().zip(model.arch().to_host()) {
            moved.after = after;
        }
    }
}

impl TrainerHooks for Watch {
    fn pre_fit(&mut self, fit: &mut Fit<'_>) -> Result<(), EngineError> {
        if fit.model.arch().is_empty() {
            return Ok(());
        }
        let desc = fit.model.desc();
        let start = |(key, before): (ArchKey, Vec<f64>)| {
            let op = &desc.cells[key.cell].nodes[key.node].edges[key.edge].op;
            Moved {
                key,
                primitives: op.children.iter().map(|c| c.op.name.clone()).collect(),
                after: before.clone(),
                before,
            }
        };
        let edges = fit.model.arch().to_host().into_iter().map(start).collect();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push(edges);
        self.place = Some(seen.len() - 1);
        Ok(())
    }
    fn post_step(&mut self, step: &mut Step<'_>, _: &Outcome) -> Result<(), EngineError> {
        self.look(step.model);
        Ok(())
    }
    fn post_epoch(&mut self, fit: &mut Fit<'_>) -> Result<(), EngineError> {
        self.look(fit.model);
        Ok(())
    }
}

/// Keeps the logged values, and asks the run to stop when its time is over.
pub(super) struct Watchdog<'a> {
    pub clock: &'a dyn Clock,
    pub deadline: f64,
    pub stop: StopFlag,
    /// Steps after which it asks the run to stop, too.
    pub stop_after: usize,
    /// Steps so far.
    pub steps: AtomicUsize,
    /// Values by place and name: of several the last, so that the order between threads does not matter.
    pub values: Mutex<BTreeMap<String, String>>,
}

impl EventSink for Watchdog<'_> {
    fn emit(&self, event: Event) -> std::io::Result<()> {
        if self.clock.now() > self.deadline {
            self.stop.raise();
        }
        if let Event::Progress(Progress::Step { .. }) = event
            && self.steps.fetch_add(1, Ordering::Relaxed) + 1 >= self.stop_after
        {
            self.stop.raise();
        }
        if let Event::Values { path, values } = event {
            let mut kept = self.values.lock().unwrap_or_else(PoisonError::into_inner);
            for (name, value) in values {
                kept.insert(format!("{path}/{name}"), value.to_string());
            }
        }
        Ok(())
    }
}
