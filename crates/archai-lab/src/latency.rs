//! How long a trained network takes for one picture, measured once at the end of its evaluation: a time, and so no part of what
//! a run computes.

use std::collections::BTreeMap;
use std::path::Path;

use archai_engine::export::ModelFile;
use archai_engine::run::Clock;
use archai_infer::Network;
use archai_spec::desc::OpCatalog;
use archai_spec::rng::Key;

/// Passes before the first that counts: memory is planned, caches are filled.
const WARM_UP: usize = 2;
/// At least so many passes, and more for so many seconds, unless that comes to very many.
const LEAST: usize = 9;
const MOST: usize = 200;
const SECONDS: f64 = 0.2;

/// The figures of the model in an evaluation's directory: `latency_seconds`, the median, and `latency_p90_seconds`, within which
/// nine of ten pictures are done. Pictures are given one by one, in the threads of the caller's pool; decoding does not count.
/// None without such a model, for ops that are not made of layers, and on a clock that stands still.
pub(crate) fn figures(dir: &Path, catalog: &OpCatalog, clock: &dyn Clock) -> BTreeMap<String, f64> {
    let times = times(dir, catalog, clock).unwrap_or_default();
    let named = [("latency_seconds", 0.5), ("latency_p90_seconds", 0.9)];
    let figures = named.into_iter().filter_map(|(name, share)| {
        let time = quantile(&times, share)?;
        Some((name.to_string(), time))
    });
    figures.collect()
}

/// Seconds of each pass, sorted.
fn times(dir: &Path, catalog: &OpCatalog, clock: &dyn Clock) -> Option<Vec<f64>> {
    let path = ModelFile::find(dir, false).ok()?;
    let model = ModelFile::open(&path, catalog).ok()?;
    let network = Network::new(&model.graph(catalog).ok()?, &model.state).ok()?;
    let numbers = model.info.channels * model.info.size[0] * model.info.size[1];
    let mut noise = Key::new(1).with("a picture of noise").rng();
    let picture: Vec<f32> = (0..numbers).map(|_| noise.normal() as f32).collect();
    let once = || {
        let begun = clock.now();
        let logits = network.logits(&picture).ok()?;
        std::hint::black_box(&logits);
        Some(clock.now() - begun)
    };
    let begun = clock.now();
    for _ in 0..WARM_UP {
        once()?;
    }
    if clock.now() <= begun {
        return None;
    }
    let (begun, mut times) = (clock.now(), Vec::new());
    while times.len() < LEAST || (times.len() < MOST && clock.now() - begun < SECONDS) {
        times.push(once()?);
    }
    times.sort_by(f64::total_cmp);
    // Whoever sets the clock back while this runs gets no figure.
    times
        .first()
        .is_some_and(|least| *least > 0.0)
        .then_some(times)
}

/// A quantile of sorted numbers, between two of them in proportion.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let place = share * sorted.len().checked_sub(1)? as f64;
    let low = sorted.get(place.floor() as usize)?;
    let high = sorted.get(place.ceil() as usize)?;
    Some(low + place.fract() * (high - low))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Each look at the clock takes a millisecond more than the one before.
    #[derive(Default)]
    struct Slower(Mutex<(f64, f64)>);

    impl Clock for Slower {
        fn now(&self) -> f64 {
            let mut state = self.0.lock().unwrap();
            state.1 += 1e-3;
            state.0 += state.1;
            state.0
        }
    }

    #[test]
    fn a_model_is_timed_by_the_clock_that_is_given() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = OpCatalog::builtin();
        let clock = Slower::default();
        assert_eq!(figures(dir.path(), &catalog, &clock), BTreeMap::new());
        let model = archai_engine::export::testing::brightness(&["dark", "bright"], [1, 4, 4]);
        let bytes = archai_engine::export::testing::bytes(&model).unwrap();
        std::fs::write(dir.path().join("model.safetensors"), bytes).unwrap();
        let still = archai_engine::run::NoClock;
        assert_eq!(figures(dir.path(), &catalog, &still), BTreeMap::new());
        let found = figures(dir.path(), &catalog, &clock);
        let (median, p90) = (found["latency_seconds"], found["latency_p90_seconds"]);
        assert!(0.0 < median && median < p90 && p90 < 1.0, "{found:?}");
    }

    #[test]
    fn quantiles_lie_between() {
        let times = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(quantile(&times, 0.5), Some(2.5));
        assert_eq!(quantile(&times, 1.0), Some(4.0));
        assert_eq!(quantile(&[5.0], 0.9), Some(5.0));
        assert_eq!(quantile(&[], 0.9), None);
    }
}
