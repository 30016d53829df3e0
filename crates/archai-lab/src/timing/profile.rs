//! Making a table: which layers a space has, what each takes alone, what whole members take.

use std::collections::BTreeMap;

use archai_engine::OpRegistry;
use archai_engine::run::Clock;
use archai_search::space::SearchSpace;
use archai_spec::rng::Key;

use super::fit::{FEWEST, Observed, fit};
use super::layers::{Signature, signatures};
use super::measure::{Effort, Timing, in_turns, summary};
use super::network::{NetworkTimer, lowered, reference_timer, runnable};
use super::table::{LatencyTable, Machine, TimedLayer};

/// Members in a row that bring no new layer, after which a space is taken to have no others.
const QUIET: usize = 300;
/// Most members that are looked at for their layers.
const MEMBERS: usize = 20_000;

/// What a table is made of.
pub struct ProfileRequest<'a> {
    /// The space.
    pub space: &'a dyn SearchSpace,
    /// What its ops mean.
    pub ops: &'a OpRegistry,
    /// Whole members that are timed, from 10.
    pub networks: usize,
    /// Images at a time.
    pub batch: usize,
    /// Decides which members.
    pub seed: u64,
    /// How much each layer and each network is measured.
    pub effort: Effort,
    /// What the table says of the machine.
    pub machine: Machine,
}

/// All layers that members of a space have, found by looking at random members until 300 in a row bring no new one.
///
/// # Errors
/// A member that cannot be described.
pub(super) fn layers_of(
    space: &dyn SearchSpace,
    ops: &OpRegistry,
    key: Key,
) -> Result<BTreeMap<String, Signature>, String> {
    let mut all = BTreeMap::new();
    let mut quiet = 0;
    for i in 0..MEMBERS as u64 {
        let member = space
            .sample(key.with("layers").with(i))
            .map_err(|e| e.to_string())?;
        let before = all.len();
        for (text, (signature, _)) in signatures(&lowered(space, &member, ops.catalog())?) {
            all.entry(text).or_insert(signature);
        }
        quiet = if all.len() == before { quiet + 1 } else { 0 };
        if quiet >= QUIET {
            break;
        }
    }
    Ok(all)
}

/// Makes a table, in the threads of the caller's pool. `progress` hears what is done, of how much.
///
/// # Errors
/// Networks that cannot be run, too few of them, a clock that stands still.
pub fn profile(
    request: &ProfileRequest<'_>,
    clock: &dyn Clock,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<LatencyTable, String> {
    if request.networks < FEWEST {
        return Err(format!(
            "{} networks are too few for a fit with an error; at least {FEWEST} are needed",
            request.networks
        ));
    }
    let key = Key::new(request.seed).with("archai latency profile");
    let layers = layers_of(request.space, request.ops, key)?;
    let steps = layers.len() + request.networks;
    let mut done = 0;
    let mut reference = reference_timer(request.batch)?;
    let own = in_turns(&mut [&mut reference], &Effort::default(), clock)?;
    let reference_s = summary(&own[0], &own[0])?.median;
    let mut time = |thing: &mut NetworkTimer| -> Result<Timing, String> {
        let times = in_turns(&mut [thing, &mut reference], &request.effort, clock)?;
        summary(&times[0], &times[1])
    };
    // A time beside the reference, at the speed that the machine had when the reference was timed alone.
    let ms = |timing: &Timing| 1e3 * reference_s * timing.ratio;
    let mut table = LatencyTable::new(request.space.name(), request.batch, request.machine.clone());
    table.reference_ms = 1e3 * reference_s;
    let mut means: BTreeMap<String, f64> = BTreeMap::new();
    for (text, signature) in &layers {
        let (alone, mean) = signature.alone();
        let mut thing = NetworkTimer::new(&alone.graph, &alone.state, request.batch)?;
        let with_mean = ms(&time(&mut thing)?);
        let which = format!("{} {}", mean.graph.values[0].shape, mean.graph.layers.len());
        let mean_ms = match means.get(&which) {
            Some(ms) => *ms,
            None => ms(&time(&mut NetworkTimer::new(
                &mean.graph,
                &mean.state,
                request.batch,
            )?)?),
        };
        means.insert(which, mean_ms);
        table.layers.push(TimedLayer {
            layer: text.clone(),
            kind: signature.kind,
            ms: (with_mean - mean_ms).max(0.0),
        });
        done += 1;
        progress(done, steps);
    }
    let mut observed = Vec::new();
    for i in 0..request.networks as u64 {
        let member = request.space.sample(key.with("networks").with(i));
        let member = member.map_err(|e| e.to_string())?;
        let desc = request.space.describe(&member).map_err(|e| e.to_string())?;
        let (graph, state) = runnable(&desc, request.ops, 1)?;
        let mut thing = NetworkTimer::new(&graph, &state, request.batch)?;
        observed.push(Observed {
            alone: table.alone(&graph)?,
            ms: ms(&time(&mut thing)?),
        });
        done += 1;
        progress(done, steps);
    }
    (table.fit, table.error) = fit(&observed)?;
    Ok(table)
}
