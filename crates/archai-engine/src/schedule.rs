//! Learning rates: a pure function of the epoch, so that nothing must be remembered to resume.

use std::f64::consts::PI;

use archai_spec::settings::{LrSchedule, ScheduleKind};

use crate::error::EngineError;

/// A learning rate for every epoch.
///
/// ```
/// use archai_engine::schedule::Schedule;
/// use archai_spec::settings::{LrSchedule, ScheduleKind};
/// let cosine = LrSchedule {
///     kind: ScheduleKind::Cosine,
///     min_lr: Some(0.001),
///     milestones: None,
///     decay_period: None,
///     gamma: None,
///     warmup: None,
/// };
/// let schedule = Schedule::new(&cosine, 0.025, 50)?;
/// assert_eq!(schedule.lr(0), 0.025);
/// assert!((schedule.lr(25) - 0.013).abs() < 1e-12);
/// # Ok::<(), archai_engine::EngineError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    rule: Rule,
    base: f64,
    epochs: usize,
    warmup_epochs: usize,
    warmup_multiplier: f64,
}

#[derive(Clone, Debug, PartialEq)]
enum Rule {
    Constant,
    Cosine { min: f64 },
    MultiStep { milestones: Vec<usize>, gamma: f64 },
    Step { period: usize, gamma: f64 },
}

impl Schedule {
    /// From settings, for a training of `epochs` epochs that starts at the rate `base`. A key that belongs to another
    /// kind of schedule is an error, and so is one that is missing, or a warm-up that is longer than the training.
    pub fn new(settings: &LrSchedule, base: f64, epochs: usize) -> Result<Self, EngineError> {
        let LrSchedule {
            kind,
            min_lr,
            milestones,
            decay_period,
            gamma,
            warmup,
        } = settings;
        let name = kind.name();
        let setting = |problem: String| EngineError::setting("lr_schedule", problem);
        if let Some((key, _)) = settings.foreign().first() {
            return Err(setting(format!(
                "`{key}` does not belong to type `{name}`; remove it or set it to null"
            )));
        }
        let missing = |key: &str| setting(format!("type `{name}` needs `{key}`"));
        let rule = match kind {
            ScheduleKind::Constant => Rule::Constant,
            ScheduleKind::Cosine => Rule::Cosine {
                min: min_lr.unwrap_or(0.0),
            },
            ScheduleKind::MultiStep => Rule::MultiStep {
                milestones: milestones.clone().ok_or_else(|| missing("milestones"))?,
                gamma: gamma.ok_or_else(|| missing("gamma"))?,
            },
            ScheduleKind::Step => Rule::Step {
                period: decay_period
                    .filter(|&p| p > 0)
                    .ok_or_else(|| missing("decay_period"))?,
                gamma: gamma.ok_or_else(|| missing("gamma"))?,
            },
        };
        let (warmup_epochs, warmup_multiplier) = warmup
            .as_ref()
            .map_or((0, 1.0), |w| (w.epochs, w.multiplier));
        if warmup_epochs > 0 && warmup_multiplier < 1.0 {
            return Err(setting(format!(
                "`warmup.multiplier` must be 1 or more, found {warmup_multiplier}"
            )));
        }
        if warmup_epochs > epochs && epochs > 0 {
            return Err(setting(format!(
                "`warmup.epochs`: a warm-up of {warmup_epochs} epochs does not end in a training of {epochs}; expected at \
                 most that, or null for none"
            )));
        }
        Ok(Schedule {
            rule,
            base,
            epochs,
            warmup_epochs,
            warmup_multiplier,
        })
    }

    /// The rate during `epoch`, from 0.
    ///
    /// Warm-up over W epochs with multiplier 1 gives base·(e+1)/W, with m > 1 base·(1 + (m−1)(e+1)/W); the schedule
    /// proper then starts at base·m. The cosine's half period and the step's period count from the end of the warm-up;
    /// milestones are epochs of the training.
    pub fn lr(&self, epoch: usize) -> f64 {
        let (w, m) = (self.warmup_epochs, self.warmup_multiplier);
        if epoch < w {
            let share = (epoch + 1) as f64 / w as f64;
            return self.base
                * if m > 1.0 {
                    1.0 + (m - 1.0) * share
                } else {
                    share
                };
        }
        let base = if w > 0 { self.base * m } else { self.base };
        let since = epoch - w;
        match &self.rule {
            Rule::Constant => base,
            Rule::Cosine { min } => {
                let half_period = self.epochs.saturating_sub(w).max(1) as f64;
                let t = (since as f64).min(half_period);
                min + (base - min) * (1.0 + (PI * t / half_period).cos()) / 2.0
            }
            Rule::MultiStep { milestones, gamma } => {
                base * gamma.powi(milestones.iter().filter(|&&at| epoch >= at).count() as i32)
            }
            Rule::Step { period, gamma } => base * gamma.powi((since / period) as i32),
        }
    }
}

/// Probability of dropping a path in `epoch` of `epochs`: it grows linearly from 0, p·e/E.
pub fn drop_path_prob(last: f64, epoch: usize, epochs: usize) -> f64 {
    last * epoch as f64 / epochs.max(1) as f64
}
