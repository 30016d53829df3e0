//! What a training measured, as plain data in the layout of `eval_train_metrics.yaml`. Accuracies are fractions in
//! [0, 1], times are seconds of the caller's clock.

use serde::{Deserialize, Serialize};

use crate::model::Logits;

/// A running mean. As long as nothing was counted there is none, which files show as null.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meter {
    /// Mean over everything counted.
    pub avg: Option<f64>,
    /// Sum over everything counted.
    pub sum: f64,
    /// How much was counted.
    pub cnt: u64,
    /// The last value.
    pub last: Option<f64>,
}

impl Meter {
    fn is_empty(&self) -> bool {
        self.cnt == 0
    }

    /// Counts `value`, the mean of `n` things.
    pub fn update(&mut self, value: f64, n: u64) {
        self.sum += value * n as f64;
        self.cnt += n;
        if self.cnt > 0 {
            self.last = Some(value);
            self.avg = Some(self.sum / self.cnt as f64);
        }
    }
}

/// What one pass over data measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochMetrics {
    /// Epoch, from 0.
    pub index: usize,
    /// Share of images whose class got the largest logit.
    pub top1: Meter,
    /// Share of images whose class is among the min(5, classes) largest logits.
    pub top5: Meter,
    /// Loss.
    pub loss: Meter,
    /// Seconds per step.
    pub step_time: Meter,
    /// Of these, seconds that a training step waited for its batch.
    #[serde(default, skip_serializing_if = "Meter::is_empty")]
    pub data_time: Meter,
    /// When it began.
    pub start_time: f64,
    /// When it ended.
    pub end_time: f64,
    /// Steps done.
    pub step: usize,
    /// Steps undone because of a number that is not finite; they count nowhere else.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped: usize,
    /// Learning rate at the beginning.
    pub start_lr: f64,
    /// Learning rate at the end.
    pub end_lr: f64,
    /// What validation after this epoch measured.
    pub val_metrics: Option<Box<Metrics>>,
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

impl EpochMetrics {
    /// Counts one batch.
    pub fn update(&mut self, logits: &Logits, labels: &[i64], loss: f64, seconds: f64) {
        let n = labels.len() as u64;
        let [top1, top5] = accuracies(logits, labels, [1, 5]);
        self.top1.update(top1, n);
        self.top5.update(top5, n);
        self.loss.update(loss, n);
        self.step_time.update(seconds, 1);
        self.step += 1;
    }

    /// Seconds from beginning to end: never less than 0, even if the clock was set back.
    pub fn duration(&self) -> f64 {
        (self.end_time - self.start_time).max(0.0)
    }
}

/// What a whole run measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunMetrics {
    /// When it began.
    pub start_time: f64,
    /// When it ended.
    pub end_time: f64,
    /// Epochs done.
    pub epoch: usize,
    /// Epoch by epoch.
    pub epochs_metrics: Vec<EpochMetrics>,
    /// What the test at the end measured.
    pub test_metrics: Option<Box<Metrics>>,
}

/// The content of `eval_train_metrics.yaml`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Title of the training or the measurement.
    pub title: String,
    /// Steps between two log entries; 0 for none.
    pub logger_freq: usize,
    /// Steps over all epochs.
    pub global_step: usize,
    /// The numbers.
    pub run_metrics: RunMetrics,
}

/// Accuracies (top-1) of an epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Top1 {
    /// On training data.
    pub train: f64,
    /// On validation data.
    pub val: f64,
}

/// The best epochs of a run. On a tie the earlier one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Best {
    /// Epoch of the best training accuracy, and the accuracy (top-1).
    pub train: Option<(usize, f64)>,
    /// Epoch of the best validation accuracy, and the accuracy.
    pub val: Option<(usize, f64)>,
    /// The test's accuracy: one measurement at the end, never a choice among epochs.
    pub test: Option<f64>,
}

impl Metrics {
    /// Without measurements.
    pub fn new(title: impl Into<String>, logger_freq: usize, now: f64) -> Self {
        Metrics {
            title: title.into(),
            logger_freq,
            global_step: 0,
            run_metrics: RunMetrics {
                start_time: now,
                end_time: now,
                ..RunMetrics::default()
            },
        }
    }

    /// The last epoch (for a measurement the only one).
    pub fn last(&self) -> Option<&EpochMetrics> {
        self.run_metrics.epochs_metrics.last()
    }

    /// What the last epoch measured, if it was measured on validation data, too.
    pub fn last_top1(&self) -> Option<Top1> {
        let last = self.last()?;
        Some(Top1 {
            train: last.top1.avg?,
            val: last.val_metrics.as_ref()?.top1()?,
        })
    }

    /// Steps undone because of a number that is not finite.
    pub fn skipped(&self) -> usize {
        let epochs = self.run_metrics.epochs_metrics.iter();
        epochs.map(|epoch| epoch.skipped).sum()
    }

    /// A sentence about skipped steps, if there were any.
    pub fn skip_warning(&self) -> Option<String> {
        let skipped = self.skipped();
        (skipped > 0).then(|| {
            format!(
                "{skipped} of the {} steps of {} were skipped, because a number was not finite (trainer.on_nan is skip); a \
                 smaller learning rate or a tighter grad_clip helps most often",
                self.global_step + skipped,
                self.title
            )
        })
    }

    /// Top-1 accuracy of the last epoch, if it measured any.
    pub fn top1(&self) -> Option<f64> {
        self.last()?.top1.avg
    }

    /// The best epochs.
    pub fn best(&self) -> Best {
        let epochs = &self.run_metrics.epochs_metrics;
        let best = |values: &mut dyn Iterator<Item = (usize, f64)>| {
            values.fold(None, |best: Option<(usize, f64)>, new| match best {
                Some(old) if old.1 >= new.1 => Some(old),
                _ => Some(new),
            })
        };
        Best {
            train: best(&mut epochs.iter().filter_map(|e| Some((e.index, e.top1.avg?)))),
            val: best(
                &mut epochs
                    .iter()
                    .filter_map(|e| Some((e.index, e.val_metrics.as_ref()?.top1()?))),
            ),
            test: self
                .run_metrics
                .test_metrics
                .as_ref()
                .and_then(|m| m.top1()),
        }
    }
}

/// Whether the share of images whose class is among the five largest logits says anything: of five classes it is always one.
pub fn has_top5(classes: usize) -> bool {
    classes > 5
}

/// Shares of samples whose label is among the k largest logits, for each k (at most the number of classes). Among equal
/// logits the class with the smaller index comes first. A NaN counts as smaller than anything.
pub fn accuracies<const K: usize>(logits: &Logits, labels: &[i64], ks: [usize; K]) -> [f64; K] {
    let mut hits = [0usize; K];
    for (row, &label) in logits
        .values
        .chunks_exact(logits.classes.max(1))
        .zip(labels)
    {
        // A label that is no class is never right.
        let Some((label, &own)) = usize::try_from(label)
            .ok()
            .and_then(|l| Some((l, row.get(l)?)))
        else {
            continue;
        };
        let before = (row.iter().enumerate())
            .filter(|&(class, &value)| value > own || (value == own && class < label))
            .count();
        for (hits, k) in hits.iter_mut().zip(ks) {
            *hits += usize::from(!own.is_nan() && before < k.min(logits.classes));
        }
    }
    hits.map(|h| {
        if labels.is_empty() {
            0.0
        } else {
            h as f64 / labels.len() as f64
        }
    })
}
