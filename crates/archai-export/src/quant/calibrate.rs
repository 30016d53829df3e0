//! Which numbers each value takes: seen on images, and cut off where that costs least.

use std::io;
use std::thread;

use super::Affine;
use crate::invalid;

/// How the range of a value is found from the numbers that it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// All that was seen, from the smallest number to the largest.
    MinMax,
    /// The part of it with which the mean squared error of rounding is smallest: rare large numbers are cut off for finer
    /// steps of all others.
    #[default]
    MeanSquaredError,
}

impl Method {
    /// Name in files.
    pub fn name(self) -> &'static str {
        match self {
            Method::MinMax => "min_max",
            Method::MeanSquaredError => "mse",
        }
    }
}

/// Executes a graph on the images of a batch and shows each value with its numbers.
pub(super) type Execute<'a> =
    dyn Fn(usize, &mut dyn FnMut(usize, &[f64])) -> io::Result<()> + Sync + 'a;

/// How many equal parts the range of a value is divided into for counting.
const BINS: usize = 2048;

/// The numbers that a value took.
#[derive(Clone, Debug)]
struct Seen {
    low: f64,
    high: f64,
    bins: Vec<u64>,
}

impl Seen {
    fn nothing() -> Self {
        Seen {
            low: 0.0,
            high: 0.0,
            bins: Vec::new(),
        }
    }
    fn widen(&mut self, numbers: &[f64]) {
        for &x in numbers {
            self.low = self.low.min(x);
            // What is no number is larger than all.
            self.high = self.high.max(if x.is_nan() { f64::INFINITY } else { x });
        }
    }
    fn count(&mut self, numbers: &[f64]) {
        let per_unit = BINS as f64 / (self.high - self.low);
        if !per_unit.is_finite() {
            return;
        }
        for &x in numbers {
            let bin = ((x - self.low) * per_unit) as usize;
            self.bins[bin.min(BINS - 1)] += 1;
        }
    }
    /// Σ over all numbers of the squared error of rounding with this range, each number taken for the middle of its bin.
    fn error(&self, low: f64, high: f64) -> f64 {
        let affine = Affine::of_range(low, high);
        let width = (self.high - self.low) / BINS as f64;
        let of_bin = |(i, &n): (usize, &u64)| {
            let x = self.low + (i as f64 + 0.5) * width;
            n as f64 * (x - affine.round(x)).powi(2)
        };
        let bins = self.bins.iter().enumerate();
        bins.filter(|(_, n)| **n > 0).map(of_bin).sum()
    }
    /// The range with the smallest error among those that cut off parts of both ends, found for one end after the other.
    fn best_range(&self) -> (f64, f64) {
        const STEPS: i32 = 60;
        let part = |end: f64, step: i32| end * f64::from(STEPS - step) / f64::from(STEPS);
        let (mut low, mut high) = (self.low, self.high);
        let mut least = self.error(low, high);
        for _ in 0..2 {
            for step in 0..STEPS {
                let end = part(self.high, step);
                let error = self.error(low, end);
                if error < least {
                    (least, high) = (error, end);
                }
            }
            for step in 0..STEPS {
                let end = part(self.low, step);
                let error = self.error(end, high);
                if error < least {
                    (least, low) = (error, end);
                }
            }
        }
        (low, high)
    }
}

/// The ranges of the values of a graph, each with 0 in it. `wanted` says of which ones; the others get an empty
/// range. Each of `n_batches` batches is executed once, and once more if the method counts how often numbers occur.
///
/// The result does not depend on the number of threads.
///
/// # Errors
/// What `execute` reports; a value that is infinite or no number, by name.
pub(super) fn ranges(
    names: &[&str],
    wanted: &[bool],
    n_batches: usize,
    execute: &Execute<'_>,
    method: Method,
    threads: usize,
) -> io::Result<Vec<(f64, f64)>> {
    let nothing = vec![Seen::nothing(); names.len()];
    let seen = on_threads(threads, n_batches, &nothing, |seen, batch| {
        execute(batch, &mut |value, numbers| {
            if wanted[value] {
                seen[value].widen(numbers);
            }
        })
    })?;
    let mut all = nothing;
    for part in &seen {
        for (all, part) in all.iter_mut().zip(part) {
            all.widen(&[part.low, part.high]);
        }
    }
    if let Some(value) = all
        .iter()
        .position(|s| !(s.low.is_finite() && s.high.is_finite()))
    {
        return Err(invalid(format!(
            "`{}` is infinite or no number on an image that the network is calibrated with",
            names[value]
        )));
    }
    if method == Method::MinMax {
        return Ok(all.iter().map(|s| (s.low, s.high)).collect());
    }
    for seen in &mut all {
        seen.bins = vec![0; BINS];
    }
    let counted = on_threads(threads, n_batches, &all, |seen, batch| {
        execute(batch, &mut |value, numbers| {
            if wanted[value] {
                seen[value].count(numbers);
            }
        })
    })?;
    for part in &counted {
        for (all, part) in all.iter_mut().zip(part) {
            let bins = all.bins.iter_mut().zip(&part.bins);
            bins.for_each(|(sum, n)| *sum += n);
        }
    }
    Ok(all.iter().map(Seen::best_range).collect())
}

/// Runs `work` for each batch, batches dealt out to threads, each of which changes a copy of `start`.
fn on_threads(
    threads: usize,
    n_batches: usize,
    start: &[Seen],
    work: impl Fn(&mut [Seen], usize) -> io::Result<()> + Sync,
) -> io::Result<Vec<Vec<Seen>>> {
    let threads = threads.clamp(1, n_batches.max(1));
    let part = |thread: usize| {
        let mut seen = start.to_vec();
        for batch in (thread..n_batches).step_by(threads) {
            work(&mut seen, batch)?;
        }
        Ok(seen)
    };
    thread::scope(|scope| {
        let part = &part;
        let running: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || part(thread)))
            .collect();
        let finished = running.into_iter().map(|t| {
            let done = t.join();
            done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        finished.collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1,000 numbers around 0 and one far away, in two batches.
    fn execute(batch: usize, show: &mut dyn FnMut(usize, &[f64])) -> io::Result<()> {
        let numbers: Vec<f64> = (0..500).map(|i| f64::from(i) / 250.0 - 1.0).collect();
        show(0, &numbers);
        if batch == 1 {
            show(0, &[40.0]);
        }
        show(1, &[-5.0, 7.0]);
        Ok(())
    }

    fn found(method: Method, threads: usize) -> Vec<(f64, f64)> {
        ranges(&["a", "b"], &[true, false], 2, &execute, method, threads).unwrap()
    }

    #[test]
    fn min_and_max() {
        assert_eq!(found(Method::MinMax, 2), [(-1.0, 40.0), (0.0, 0.0)]);
    }

    #[test]
    fn a_rare_number_is_cut_off_if_that_pays() {
        let whole = found(Method::MeanSquaredError, 1);
        assert_eq!(whole, found(Method::MeanSquaredError, 2));
        // Steps of 41/255 cost 1,000·(41/255)²/12 = 2.2 in all; cutting off 40 costs hundreds: it stays.
        assert_eq!(whole[0].1, 40.0);
        let many = |batch: usize, show: &mut dyn FnMut(usize, &[f64])| {
            for _ in 0..1000 {
                execute(0, show)?;
            }
            execute(batch, show)
        };
        let cut = ranges(
            &["a", "b"],
            &[true, false],
            2,
            &many,
            Method::MeanSquaredError,
            2,
        )
        .unwrap();
        assert!(cut[0].1 < 20.0, "{cut:?}");
    }

    #[test]
    fn what_is_infinite_is_refused() {
        for number in [f64::INFINITY, f64::NAN] {
            let infinite = |_: usize, show: &mut dyn FnMut(usize, &[f64])| {
                show(0, &[1.0, number, 2.0]);
                Ok(())
            };
            assert!(ranges(&["a"], &[true], 1, &infinite, Method::MinMax, 1).is_err());
        }
    }
}
