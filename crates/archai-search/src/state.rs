//! What a journal's events amount to: networks, their values, the jobs under way.

use std::collections::{HashMap, VecDeque};

use crate::evaluator::{FailureKind, Verdict};
use crate::journal::{Event, Network, Proposed};
use crate::quantity::Values;
use crate::settings::Order;
use crate::space::Member;

/// Values after some epochs.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The job that measured; none for a foreign trial.
    pub job: Option<usize>,
    /// After how many epochs.
    pub epochs: u32,
    /// The values.
    pub values: Values,
}

/// How far a network has come.
#[derive(Clone, Debug, PartialEq)]
pub enum TrialState {
    /// It is being evaluated, or what came of it is not to be known yet.
    Running,
    /// It waits at a rung to be trained on.
    Paused,
    /// Everything is known.
    Done,
    /// Its training was ended because it cannot win.
    Stopped,
    /// It has no values.
    Failed {
        /// Whose fault it was.
        kind: FailureKind,
        /// What happened.
        message: String,
    },
    /// It is beyond a limit.
    Infeasible {
        /// The limit.
        limit: String,
    },
}

impl TrialState {
    /// One word for it: `running`, `paused`, `done`, `stopped`, `failed`, `infeasible`.
    pub fn name(&self) -> &'static str {
        match self {
            TrialState::Running => "running",
            TrialState::Paused => "paused",
            TrialState::Done => "done",
            TrialState::Stopped => "stopped",
            TrialState::Failed { .. } => "failed",
            TrialState::Infeasible { .. } => "infeasible",
        }
    }
}

/// A network of a search.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// Its number, from 0, in the order of proposals.
    pub number: usize,
    /// Its choices.
    pub member: Member,
    /// Its readable id.
    pub id: String,
    /// What it computes.
    pub hash: Network,
    /// Why it was proposed.
    pub origin: String,
    /// Static and measured values as far as they are known; of several epochs, the latest.
    pub values: Values,
    /// The values after some epochs, in the order of the epochs.
    pub measured: Vec<Measured>,
    /// For how many epochs it was trained.
    pub epochs: u32,
    /// How far it is.
    pub state: TrialState,
    /// How long its evaluations took in all, by the clock of the search.
    pub seconds: f64,
}

/// All networks of a search.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    pub(crate) trials: Vec<Trial>,
    pub(crate) by_hash: HashMap<Network, usize>,
    pub(crate) budget: Option<usize>,
    /// The trials in the order in which their last results came.
    pub(crate) completed: Vec<usize>,
}

impl State {
    /// All of them, by number.
    pub fn trials(&self) -> &[Trial] {
        &self.trials
    }

    fn add(&mut self, network: &Proposed, origin: &str) {
        self.by_hash.insert(network.hash.clone(), self.trials.len());
        self.trials.push(Trial {
            number: self.trials.len(),
            member: network.member.clone(),
            id: network.id.clone(),
            hash: network.hash.clone(),
            origin: origin.to_string(),
            values: network.statics.clone(),
            measured: Vec::new(),
            epochs: 0,
            state: TrialState::Running,
            seconds: 0.0,
        });
    }
}

/// How a job stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum JobEnd {
    Finished {
        epochs: u32,
        values: Values,
        verdict: Verdict,
    },
    Infeasible {
        values: Values,
        limit: String,
    },
    Failed {
        kind: FailureKind,
        message: String,
    },
}

/// A piece of work.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct JobRecord {
    /// None where there was nothing to do.
    pub trial: Option<usize>,
    pub epochs: (u32, u32),
    pub attempt: u32,
    /// What was reported, and what was answered.
    pub reports: Vec<(u32, Values, Verdict)>,
    pub end: Option<JobEnd>,
    pub seconds: f64,
}

/// The events so far, in order: what is visible to proposals, and what is not yet.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    order: Order,
    last_rung: u32,
    pub state: State,
    pub jobs: Vec<JobRecord>,
    /// In strict order: the results of the jobs before this one are visible.
    released: usize,
    pub events: usize,
    /// Networks that somebody wants to be tried, and who.
    pub queue: VecDeque<(Proposed, String)>,
}

/// An event that cannot follow the ones before it.
pub(crate) type Misfit = String;

impl Ledger {
    pub fn new(order: Order, last_rung: u32) -> Self {
        Ledger {
            order,
            last_rung,
            state: State::default(),
            jobs: Vec::new(),
            released: 0,
            events: 0,
            queue: VecDeque::new(),
        }
    }

    /// The job whose result the next proposal must see, if it is not there yet.
    pub fn awaited(&self) -> Option<usize> {
        let Order::Strict { lag } = self.order else {
            return None;
        };
        let needed = self.jobs.len().saturating_sub(lag);
        (self.released..needed).find(|job| self.jobs[*job].end.is_none())
    }

    /// In strict order, makes the results visible that the next proposal is to see. All of them must be there.
    pub fn release(&mut self) {
        if let Order::Strict { lag } = self.order {
            while self.released < self.jobs.len().saturating_sub(lag) {
                self.show(self.released);
                self.released += 1;
            }
        }
    }

    /// Makes all results visible that are there, in the order of jobs: at the end of a search.
    pub fn release_all(&mut self) {
        if let Order::Strict { .. } = self.order {
            for job in self.released..self.jobs.len() {
                if self.jobs[job].end.is_some() {
                    self.show(job);
                }
            }
            self.released = self.jobs.len();
        }
    }

    /// Which jobs are visible to verdicts on a job: in strict order, those that its proposal saw.
    pub fn horizon(&self, job: usize) -> Option<usize> {
        match self.order {
            Order::Arrival => None,
            Order::Strict { lag } => Some(job.saturating_sub(lag)),
        }
    }

    /// Whether the next job may be passed over, so that the one after it sees more: in strict order, as long as not everything
    /// is visible.
    pub fn may_skip(&self) -> bool {
        match self.order {
            Order::Arrival => false,
            Order::Strict { lag } => {
                let jobs = self.jobs.iter().rev();
                jobs.take_while(|job| job.trial.is_none()).count() <= lag
            }
        }
    }

    fn show(&mut self, number: usize) {
        let job = &self.jobs[number];
        let (Some(trial), Some(end)) = (job.trial, &job.end) else {
            return;
        };
        let trial = &mut self.state.trials[trial];
        trial.seconds += job.seconds;
        for (epochs, values, _) in &job.reports {
            trial.measured.push(Measured {
                job: Some(number),
                epochs: *epochs,
                values: values.clone(),
            });
        }
        match end {
            JobEnd::Finished {
                epochs,
                values,
                verdict,
            } => {
                // A training that was ended at a report has reported its last values already.
                if trial
                    .measured
                    .last()
                    .is_none_or(|last| last.epochs < *epochs)
                {
                    trial.measured.push(Measured {
                        job: Some(number),
                        epochs: *epochs,
                        values: values.clone(),
                    });
                }
                trial.epochs = *epochs;
                trial.values.extend(values.clone());
                trial.state = match verdict {
                    Verdict::Stop => TrialState::Stopped,
                    Verdict::Pause => TrialState::Paused,
                    Verdict::Go if *epochs < self.last_rung => TrialState::Paused,
                    Verdict::Go => TrialState::Done,
                };
            }
            JobEnd::Infeasible { values, limit } => {
                trial.values.extend(values.clone());
                trial.state = TrialState::Infeasible {
                    limit: limit.clone(),
                };
            }
            JobEnd::Failed { kind, message } => {
                trial.state = TrialState::Failed {
                    kind: *kind,
                    message: message.clone(),
                };
            }
        }
        let number = trial.number;
        self.state.completed.retain(|other| *other != number);
        self.state.completed.push(number);
    }

    /// Takes the next event in.
    pub fn apply(&mut self, event: &Event) -> Result<(), Misfit> {
        let jobs = self.jobs.len();
        let next = |job: usize| match job == jobs {
            true => Ok(()),
            false => Err(format!("job {job} comes where job {jobs} is expected")),
        };
        match event {
            Event::Study { .. } => return Err("a search begins twice".into()),
            Event::Session { budget } => self.state.budget = *budget,
            Event::Proposed {
                job,
                trial,
                network,
                epochs,
                origin,
                seen: _,
            } => {
                next(*job)?;
                self.release();
                match network {
                    Some(network) if *trial == self.state.trials.len() => {
                        if self.state.by_hash.contains_key(&network.hash) {
                            return Err(format!("the network {} comes twice", network.id));
                        }
                        self.state.add(network, origin);
                        self.queue
                            .retain(|(waiting, _)| waiting.hash != network.hash);
                    }
                    None if *trial < self.state.trials.len() => {
                        self.state.trials[*trial].state = TrialState::Running;
                    }
                    _ => return Err(format!("network {trial} is out of order")),
                }
                self.jobs.push(JobRecord {
                    trial: Some(*trial),
                    epochs: *epochs,
                    attempt: 0,
                    reports: Vec::new(),
                    end: None,
                    seconds: 0.0,
                });
            }
            Event::Skipped { job, seen: _ } => {
                next(*job)?;
                self.release();
                self.jobs.push(JobRecord {
                    trial: None,
                    epochs: (0, 0),
                    attempt: 0,
                    reports: Vec::new(),
                    end: Some(JobEnd::Failed {
                        kind: FailureKind::Machine,
                        message: String::new(),
                    }),
                    seconds: 0.0,
                });
            }
            Event::Started { job, attempt } => self.open(*job)?.attempt = *attempt,
            Event::Reported {
                job,
                epochs,
                values,
                verdict,
                seen: _,
            } => {
                let job = self.open(*job)?;
                job.reports.push((*epochs, values.clone(), *verdict));
            }
            Event::Finished {
                job,
                epochs,
                values,
                seconds,
                verdict,
            } => {
                let end = JobEnd::Finished {
                    epochs: *epochs,
                    values: values.clone(),
                    verdict: *verdict,
                };
                self.end(*job, end, *seconds)?;
            }
            Event::Infeasible {
                job,
                values,
                limit,
                seconds,
            } => {
                let end = JobEnd::Infeasible {
                    values: values.clone(),
                    limit: limit.clone(),
                };
                self.end(*job, end, *seconds)?;
            }
            Event::Failed {
                job,
                attempt,
                kind,
                message,
                again,
                seconds,
            } => match again {
                true => {
                    let job = self.open(*job)?;
                    job.attempt = attempt + 1;
                    job.seconds += seconds;
                }
                false => {
                    let end = JobEnd::Failed {
                        kind: *kind,
                        message: message.clone(),
                    };
                    self.end(*job, end, *seconds)?;
                }
            },
            Event::Added {
                trial,
                network,
                epochs,
                values,
                source,
            } => {
                if *trial != self.state.trials.len() {
                    return Err(format!("network {trial} is out of order"));
                }
                if self.state.by_hash.contains_key(&network.hash) {
                    return Err(format!("the network {} comes twice", network.id));
                }
                self.state.add(network, source);
                let added = &mut self.state.trials[*trial];
                added.values.extend(values.clone());
                added.epochs = *epochs;
                added.measured.push(Measured {
                    job: None,
                    epochs: *epochs,
                    values: values.clone(),
                });
                added.state = match *epochs < self.last_rung {
                    true => TrialState::Paused,
                    false => TrialState::Done,
                };
                self.state.completed.push(*trial);
            }
            Event::Enqueued { network, source } => {
                let waits = |(waiting, _): &(Proposed, String)| waiting.hash == network.hash;
                if self.state.by_hash.contains_key(&network.hash) || self.queue.iter().any(waits) {
                    return Err(format!("the network {} comes twice", network.id));
                }
                self.queue.push_back((network.clone(), source.clone()));
            }
        }
        self.events += 1;
        Ok(())
    }

    fn open(&mut self, job: usize) -> Result<&mut JobRecord, Misfit> {
        match self.jobs.get_mut(job) {
            Some(record) if record.end.is_none() => Ok(record),
            Some(_) => Err(format!("job {job} goes on after its end")),
            None => Err(format!("job {job} was never proposed")),
        }
    }

    fn end(&mut self, job: usize, end: JobEnd, seconds: f64) -> Result<(), Misfit> {
        let record = self.open(job)?;
        record.end = Some(end);
        record.seconds += seconds;
        if self.order == Order::Arrival {
            self.show(job);
        }
        Ok(())
    }
}
