//! Latency as a quantity of a discrete search: looked up in a table, or measured.

use std::sync::{Arc, Mutex, PoisonError};

use archai_engine::OpRegistry;
use archai_engine::run::Clock;
use archai_search::space::{Member, SearchSpace};
use archai_search::{CostClass, Direction, EvalError, Evaluator, Job, Quantity, Reports, Values};
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::measure::{Effort, in_turns, summary};
use super::network::{NetworkTimer, lowered, reference_timer, runnable};
use super::table::LatencyTable;
use crate::error::LabError;

/// The quantity, in milliseconds for a batch.
pub const LATENCY: &str = "latency";

fn quantity(class: CostClass) -> Quantity {
    Quantity::new(LATENCY, Direction::Minimise)
        .unit("ms")
        .class(class)
}

/// `latency` by a table: a static quantity, known of every candidate. Limits on it should go through
/// [`LatencyTable::tighten`].
pub struct TableLatency {
    table: LatencyTable,
    ops: OpRegistry,
    quantities: [Quantity; 1],
}

impl TableLatency {
    /// By this table.
    pub fn new(table: LatencyTable, ops: OpRegistry) -> Self {
        TableLatency {
            table,
            ops,
            quantities: [quantity(CostClass::Static)],
        }
    }

    /// The table.
    pub fn table(&self) -> &LatencyTable {
        &self.table
    }
}

impl Evaluator for TableLatency {
    fn quantities(&self) -> &[Quantity] {
        &self.quantities
    }

    fn evaluate(&self, _: &Job<'_>, _: &mut dyn Reports) -> Result<Values, EvalError> {
        Ok(Values::new())
    }

    fn statics(&self, space: &dyn SearchSpace, member: &Member) -> Result<Values, EvalError> {
        let graph = lowered(space, member, self.ops.catalog()).map_err(EvalError::network)?;
        // A table that lacks a layer is one for another space.
        let ms = self.table.predict(&graph).map_err(EvalError::setup)?;
        Ok(Values::from([(LATENCY.to_string(), ms)]))
    }
}

/// `latency` by measuring: a cheap quantity. Networks are timed one at a time, in turns with the reference network; the value is
/// the ratio of both times the reference's own time, which was measured when nothing else ran.
pub struct MeasuredLatency {
    ops: OpRegistry,
    batch: usize,
    effort: Effort,
    clock: Arc<dyn Clock>,
    reference_ms: f64,
    /// Two networks at once would measure each other.
    turn: Mutex<()>,
    pool: ThreadPool,
    quantities: [Quantity; 1],
}

impl MeasuredLatency {
    /// Measures networks in so many threads, for batches of so many images. The reference network is timed here, so that this
    /// should be called before other work begins.
    ///
    /// # Errors
    /// Threads that cannot be started, a clock that stands still.
    pub fn new(
        ops: OpRegistry,
        batch: usize,
        threads: usize,
        effort: Effort,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, LabError> {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|e| LabError::failure(format!("cannot start the threads: {e}")))?;
        let timed = pool.install(|| {
            let mut reference = reference_timer(batch)?;
            let times = in_turns(&mut [&mut reference], &effort, &*clock)?;
            summary(&times[0], &times[0])
        });
        let timed = timed.map_err(LabError::failure)?;
        let noise = 1e3 * timed.interval.width() / 4.0;
        Ok(MeasuredLatency {
            ops,
            batch,
            effort,
            clock,
            reference_ms: 1e3 * timed.median,
            turn: Mutex::new(()),
            pool,
            quantities: [quantity(CostClass::Cheap).noise(noise)],
        })
    }
}

impl Evaluator for MeasuredLatency {
    fn quantities(&self) -> &[Quantity] {
        &self.quantities
    }

    fn evaluate(&self, job: &Job<'_>, _: &mut dyn Reports) -> Result<Values, EvalError> {
        let desc = job.describe()?;
        let (graph, state) = runnable(&desc, &self.ops, 1).map_err(EvalError::network)?;
        let mut thing =
            NetworkTimer::new(&graph, &state, self.batch).map_err(EvalError::network)?;
        let mut reference = reference_timer(self.batch).map_err(EvalError::setup)?;
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let timing = self.pool.install(|| {
            let times = in_turns(
                &mut [&mut thing, &mut reference],
                &self.effort,
                &*self.clock,
            )?;
            summary(&times[0], &times[1])
        });
        let timing = timing.map_err(EvalError::machine)?;
        Ok(Values::from([(
            LATENCY.to_string(),
            self.reference_ms * timing.ratio,
        )]))
    }
}
