//! What a search shows while it goes on: a line for each trial, and on a terminal a line that is kept up to date.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use archai_lab::summary::time;
use archai_search::journal::{Event, JournalError, Store};
use archai_search::{Direction, Quantity, Values, Verdict};
use archai_spec::numbers::{percent, thousands};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::error::CliError;
use crate::cli::text::{error_width, wrapped};

/// A value of a quantity as people read it.
pub fn shown(quantity: &Quantity, value: f64) -> String {
    let number = match value {
        v if quantity.name.ends_with("accuracy") && (0.0..=1.0).contains(&v) => return percent(v),
        v if v == v.trunc() && v.abs() < 1e15 => match v < 0.0 {
            true => format!("-{}", thousands((-v) as u64)),
            false => thousands(v as u64),
        },
        v if v.abs() >= 100.0 => format!("{v:.1}"),
        v if v.abs() >= 1e-3 => format!("{v:.4}"),
        v => format!("{v:.2e}"),
    };
    match quantity.unit.as_str() {
        "" => number,
        unit => format!("{number} {unit}"),
    }
}

/// Where a search shows what it does.
pub struct Screen {
    bar: ProgressBar,
    quiet: bool,
    /// What a line says of a trial: objectives, and what is limited.
    quantities: Vec<Quantity>,
    seen: Mutex<Seen>,
}

/// What was seen of the journal.
#[derive(Default)]
struct Seen {
    /// Id and static values of each trial.
    trials: Vec<(String, Values)>,
    /// The trial of each job.
    jobs: Vec<Option<usize>>,
    under_way: usize,
    failed: usize,
    best: Option<f64>,
}

impl Screen {
    /// A screen for a search that tries `budget` networks. `draws`: standard error is a terminal that may be drawn on.
    ///
    /// # Errors
    /// None that a user can see: the template is a constant.
    pub fn new(
        quantities: Vec<Quantity>,
        budget: usize,
        quiet: bool,
        draws: bool,
    ) -> Result<Arc<Self>, CliError> {
        let bar = match draws && !quiet {
            true => {
                let template = "{bar:24.cyan/dim} {pos} of {len} networks   {msg}   {elapsed}";
                let style = ProgressStyle::with_template(template).map_err(CliError::caused)?;
                let bar = ProgressBar::with_draw_target(
                    Some(budget as u64),
                    ProgressDrawTarget::stderr(),
                );
                bar.with_style(style.progress_chars("━╸─"))
            }
            false => ProgressBar::hidden(),
        };
        Ok(Arc::new(Screen {
            bar,
            quiet,
            quantities,
            seen: Mutex::default(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        // What is shown may be a little wrong after a panic; nothing depends on it.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows a line that stays.
    pub fn say(&self, line: &str) {
        let line = wrapped(line, error_width(), 4);
        match self.bar.is_hidden() {
            true => drop(std::io::Write::write_all(
                &mut std::io::stderr(),
                format!("{line}\n").as_bytes(),
            )),
            false => self.bar.println(line),
        }
    }

    /// Shows a line to those who want to see more than results.
    pub fn tell(&self, line: &str) {
        if !self.quiet {
            self.say(line);
        }
    }

    /// Leaves the terminal as it was.
    pub fn close(&self) {
        self.bar.finish_and_clear();
    }

    fn values(&self, seen: &Seen, trial: usize, values: &Values) -> String {
        let statics = seen.trials.get(trial).map(|(_, statics)| statics);
        let parts = self.quantities.iter().filter_map(|quantity| {
            let value = values.get(&quantity.name);
            let value = value.or_else(|| statics?.get(&quantity.name))?;
            Some(format!("{} {}", quantity.name, shown(quantity, *value)))
        });
        parts.collect::<Vec<_>>().join(", ")
    }

    /// Takes in what happened. `aloud`: now, not before this program began.
    fn see(&self, event: &Event, aloud: bool) {
        let mut seen = self.lock();
        let name = |seen: &Seen, job: usize| {
            let trial = seen.jobs.get(job).copied().flatten()?;
            let id = seen.trials.get(trial).map(|(id, _)| id.clone())?;
            Some((trial, id))
        };
        let mut line = None;
        match event {
            Event::Proposed { trial, network, .. } => {
                seen.jobs.push(Some(*trial));
                if let Some(network) = network {
                    seen.trials
                        .push((network.id.clone(), network.statics.clone()));
                }
                seen.under_way += 1;
            }
            Event::Skipped { .. } => seen.jobs.push(None),
            Event::Added { network, .. } => {
                seen.trials
                    .push((network.id.clone(), network.statics.clone()));
            }
            Event::Finished {
                job,
                epochs,
                values,
                seconds,
                verdict,
            } => {
                seen.under_way = seen.under_way.saturating_sub(1);
                if let Some((trial, id)) = name(&seen, *job) {
                    let first = self.quantities.first();
                    let value = first.and_then(|q| Some((q, *values.get(&q.name)?)));
                    if let Some((quantity, value)) = value {
                        let better = seen.best.is_none_or(|best| match quantity.direction {
                            Direction::Maximise => value > best,
                            Direction::Minimise => value < best,
                        });
                        if better {
                            seen.best = Some(value);
                        }
                    }
                    let stands = match verdict {
                        Verdict::Stop => format!(" after {epochs} epochs, given up"),
                        Verdict::Pause => format!(" after {epochs} epochs, waits"),
                        Verdict::Go => String::new(),
                    };
                    let values = self.values(&seen, trial, values);
                    line = Some(format!(
                        "  trial {trial}  {id}  {values}{stands}  {}",
                        time(*seconds)
                    ));
                }
            }
            Event::Infeasible {
                job, values, limit, ..
            } => {
                seen.under_way = seen.under_way.saturating_sub(1);
                if let Some((trial, id)) = name(&seen, *job) {
                    let values = self.values(&seen, trial, values);
                    line = Some(format!("  trial {trial}  {id}  {values}: beyond {limit}"));
                }
            }
            Event::Failed {
                job,
                kind,
                message,
                again,
                ..
            } => {
                if !again {
                    seen.under_way = seen.under_way.saturating_sub(1);
                    seen.failed += 1;
                }
                if let Some((trial, id)) = name(&seen, *job) {
                    let again = if *again { "; once more" } else { "" };
                    line = Some(format!("  trial {trial}  {id}  {kind}: {message}{again}"));
                }
            }
            Event::Study { .. }
            | Event::Session { .. }
            | Event::Started { .. }
            | Event::Reported { .. }
            | Event::Enqueued { .. } => {}
        }
        if !aloud {
            return;
        }
        let done = seen.trials.len().saturating_sub(seen.under_way);
        self.bar.set_position(done as u64);
        let best = match (self.quantities.first(), seen.best) {
            (Some(quantity), Some(best)) => {
                format!(", best {} {}", quantity.name, shown(quantity, best))
            }
            _ => String::new(),
        };
        let failed = match seen.failed {
            0 => String::new(),
            n => format!(", {n} failed"),
        };
        self.bar
            .set_message(format!("{} under way{failed}{best}", seen.under_way));
        drop(seen);
        if let Some(line) = line {
            self.tell(&line);
        }
    }
}

/// A store that shows what is written into another one.
pub struct ShownStore<S> {
    inner: S,
    screen: Arc<Screen>,
}

impl<S> ShownStore<S> {
    /// Shows on a screen what is written.
    pub fn new(inner: S, screen: Arc<Screen>) -> Self {
        ShownStore { inner, screen }
    }
}

impl<S: Store> Store for ShownStore<S> {
    fn load(&mut self) -> Result<Vec<Event>, JournalError> {
        let events = self.inner.load()?;
        for event in &events {
            self.screen.see(event, false);
        }
        // What an earlier program had under way goes on with this one.
        Ok(events)
    }

    fn append(&mut self, event: &Event) -> Result<(), JournalError> {
        self.inner.append(event)?;
        self.screen.see(event, true);
        Ok(())
    }
}
