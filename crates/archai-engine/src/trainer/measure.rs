//! Measuring a model in evaluation mode.

use archai_data::{Batch, Loader};
use archai_spec::event::Progress;
use archai_spec::settings;

use super::log::results;
use crate::{
    error::EngineError,
    metrics::{EpochMetrics, Metrics, accuracies},
    model::{Logits, Model},
    run::{Log, Run},
};

/// Measures a model in evaluation mode: one pass over `loader`, in the order of the data.
///
/// # Errors
/// Data that cannot be read, a request to stop, a sink that cannot keep an event.
pub fn measure(
    model: &Model,
    loader: &Loader,
    settings: &settings::Validation,
    title: &str,
    run: Run<'_>,
    log: &Log<'_>,
) -> Result<Metrics, EngineError> {
    measure_and_see(model, loader, settings, title, run, log, &mut |_, _| {})
}

/// The same; `see` gets the logits and the labels of each batch, in the order of the data.
pub(super) fn measure_and_see(
    model: &Model,
    loader: &Loader,
    settings: &settings::Validation,
    title: &str,
    run: Run<'_>,
    log: &Log<'_>,
    see: &mut dyn FnMut(&Logits, &[i64]),
) -> Result<Metrics, EngineError> {
    let start = run.clock.now();
    let mut metrics = Metrics::new(title, settings.logger_freq, start);
    let mut pass = EpochMetrics {
        start_time: start,
        end_time: start,
        ..EpochMetrics::default()
    };
    let mut before = start;
    for batch in loader.epoch(0) {
        let batch = batch?;
        let (loss, logits) = evaluate(model, &batch, settings)?;
        let now = run.clock.now();
        if settings.logger_freq > 0 && pass.step.is_multiple_of(settings.logger_freq) {
            let [top1, top5] = accuracies(&logits, &batch.labels, [1, 5]);
            let log = log.at("steps").at(pass.step);
            log.values(results(
                logits.classes,
                [Some(top1), Some(top5), Some(loss)],
                Vec::new(),
            ))?;
        }
        pass.update(&logits, &batch.labels, loss, now - before);
        see(&logits, &batch.labels);
        before = now;
        log.progress(Progress::Validate {
            title: title.to_string(),
            done: pass.step as u64,
            total: loader.n_batches() as u64,
        })?;
        run.check_stop()?;
    }
    pass.end_time = run.clock.now();
    metrics.global_step = pass.step;
    metrics.run_metrics.end_time = pass.end_time;
    metrics.run_metrics.epoch = 1;
    metrics.run_metrics.epochs_metrics.push(pass);
    Ok(metrics)
}

/// Mean loss and logits of a batch, chunk by chunk.
pub(crate) fn evaluate(
    model: &Model,
    batch: &Batch,
    settings: &settings::Validation,
) -> Result<(f64, Logits), EngineError> {
    let n = batch.labels.len();
    let chunks = settings.batch_chunks.clamp(1, n.max(1));
    let (mut loss, mut all) = (0.0, Logits::default());
    for chunk in 0..chunks {
        let (start, end) = (chunk * n / chunks, (chunk + 1) * n / chunks);
        let (mean, logits) = model.evaluate_part(batch, start..end, &settings.lossfn)?;
        loss += mean * (end - start) as f64 / n as f64;
        all.classes = logits.classes;
        all.n += logits.n;
        all.values.extend(logits.values);
    }
    Ok((loss, all))
}

/// Whether no loss was measured that is not finite.
pub(super) fn has_finite_loss(metrics: &Metrics) -> bool {
    let loss = metrics.last().and_then(|pass| pass.loss.avg);
    loss.is_none_or(f64::is_finite)
}
