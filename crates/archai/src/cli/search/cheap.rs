//! What costs seconds and no training, beside what evaluates: zero-cost proxies, and latency where nothing else finds it out.

use std::sync::Arc;
use std::time::Instant;

use archai_engine::Compute;
use archai_engine::proxies::Needs;
use archai_lab::Lab;
use archai_lab::config::all_ops;
use archai_lab::discrete::Training;
use archai_lab::proxies::{Images, PREFIX, ProxyEvaluator, Scorer, batches, named};
use archai_lab::timing::{Effort, LATENCY, MeasuredLatency};
use archai_search::{Evaluator, MACS, PARAMS};

use super::wanted::Wanted;
use crate::cli::error::CliError;
use crate::cli::latency::Stopwatch;

/// Images that proxies are computed from.
const BATCH: usize = 32;

/// The evaluators of the quantities that objectives and limits name and that no training, table or command finds out.
///
/// # Errors
/// A proxy that does not exist, or that the space knows by another name; data that cannot be read.
pub fn evaluators(
    wanted: &Wanted,
    training: Option<&Training>,
    seed: u64,
    lab: &Lab,
) -> Result<Vec<Arc<dyn Evaluator>>, CliError> {
    let (ops, _) = all_ops(lab.algorithms(), lab.components())?;
    let mut found: Vec<Arc<dyn Evaluator>> = Vec::new();
    let names: Vec<String> = (wanted.names())
        .filter_map(|name| Some(name.strip_prefix(PREFIX)?.to_string()))
        .collect();
    if !names.is_empty() {
        let proxies = named(&lab.components().proxies, &names).map_err(CliError::input)?;
        let known = proxies.iter().find(|p| p.needs() == Needs::Description);
        if let Some(proxy) = known {
            return Err(CliError::usage(format!(
                "`{PREFIX}{}` follows from the description alone; the space knows it as `{PARAMS}` or `{MACS}`",
                proxy.name()
            )));
        }
        let images = match training {
            Some(training) => Images::Batches(batches(lab, training.dataset(), BATCH, seed)?),
            None => Images::Noise(BATCH),
        };
        let scorer = Scorer::new(proxies, ops.clone(), images, Compute::cpu(), seed, 1)?;
        found.push(Arc::new(ProxyEvaluator::new(scorer)));
    }
    if training.is_some() && wanted.names().any(|name| name == LATENCY) {
        let (effort, clock) = (Effort::quick(), Arc::new(Stopwatch(Instant::now())));
        found.push(Arc::new(MeasuredLatency::new(ops, 1, 1, effort, clock)?));
    }
    for evaluator in &found {
        wanted.check(evaluator.quantities())?;
    }
    Ok(found)
}
