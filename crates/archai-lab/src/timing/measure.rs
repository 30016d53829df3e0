//! Timing in turns, and what follows from times: medians, intervals, ratios.

use archai_engine::run::Clock;
use serde::Serialize;

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effort {
    /// Runs of each network in a turn; of short ones more, so that they fill at least a fifth of the time of the longest.
    pub runs: usize,
    /// At least so many turns.
    pub least: usize,
    /// At most so many turns.
    pub most: usize,
    /// No turn begins after so many seconds.
    pub seconds: f64,
    /// It is enough when the interval of each median is at most this share of the median.
    pub interval: f64,
}

impl Default for Effort {
    /// 5 runs a turn, until all intervals are below 2 % of the median, at most 10 seconds.
    fn default() -> Self {
        Effort {
            runs: 5,
            least: 4,
            most: 2000,
            seconds: 10.0,
            interval: 0.02,
        }
    }
}

impl Effort {
    /// What a search can afford for each of its networks: at most a second.
    pub fn quick() -> Self {
        Effort {
            seconds: 1.0,
            interval: 0.05,
            ..Effort::default()
        }
    }
}

/// Something that is timed.
pub trait Timed {
    /// Does its work once.
    ///
    /// # Errors
    /// It cannot, and why.
    fn run(&mut self) -> Result<(), String>;
}

impl<F: FnMut() -> Result<(), String>> Timed for F {
    fn run(&mut self) -> Result<(), String> {
        self()
    }
}

/// Runs in a window of the warm-up, and how well two windows must agree.
const WINDOW: usize = 10;
const AGREE: f64 = 0.05;
/// The longest warm-up, in windows.
const WINDOWS: usize = 20;
/// The part of the longest thing's time in a turn that each other one fills, and how many runs it has for that at most: whatever
/// is over in a moment would not meet what the machine does meanwhile.
const SHARE: f64 = 0.2;
const MOST_RUNS: usize = 100;

/// Times several things in turns: each is warmed up until two windows of 10 runs agree within 5 % in their medians (at most 20
/// windows, or a quarter of the effort's seconds), then all have their runs in each turn, one after the other. Gives for each the
/// times of its turns, in seconds: `times[thing][turn][run]`.
///
/// # Errors
/// A run that fails; a clock that stands still or goes back.
pub fn in_turns(
    things: &mut [&mut dyn Timed],
    effort: &Effort,
    clock: &dyn Clock,
) -> Result<Vec<Vec<Vec<f64>>>, String> {
    let once = |thing: &mut dyn Timed| -> Result<f64, String> {
        let begun = clock.now();
        thing.run()?;
        let time = clock.now() - begun;
        match time > 0.0 {
            true => Ok(time),
            false => Err(format!(
                "the clock went from {begun} to {} s during a run; a clock that goes on is needed to time anything",
                begun + time
            )),
        }
    };
    let begun = clock.now();
    let mut warm_times = Vec::new();
    for thing in things.iter_mut() {
        let begun = clock.now();
        let mut last: Option<f64> = None;
        let mut now = 0.0;
        for _ in 0..WINDOWS {
            let window: Result<Vec<f64>, String> =
                (0..WINDOW).map(|_| once(&mut **thing)).collect();
            now = median(&sorted(&window?));
            let agrees = last.is_some_and(|last| (now / last - 1.0).abs() <= AGREE);
            if agrees || clock.now() - begun > effort.seconds / 4.0 {
                break;
            }
            last = Some(now);
        }
        warm_times.push(now);
    }
    let least = effort.runs.max(1);
    let longest = warm_times.iter().copied().fold(0.0, f64::max) * least as f64;
    let in_a_turn = warm_times.iter().map(|time| {
        let filling = (SHARE * longest / time).ceil() as usize;
        filling.min(MOST_RUNS).max(least)
    });
    let in_a_turn: Vec<usize> = in_a_turn.collect();
    let mut times: Vec<Vec<Vec<f64>>> = vec![Vec::new(); things.len()];
    let warm = clock.now();
    // What the warm-up took does not shorten the measurement by more than half.
    let left = (effort.seconds - (warm - begun)).max(effort.seconds / 2.0);
    for turn in 0..effort.most.max(1) {
        if turn >= effort.least.max(1) {
            let enough = times.iter().all(|turns| {
                let all = sorted(&turns.concat());
                interval(&all).width() <= effort.interval * median(&all)
            });
            if enough || clock.now() - warm > left {
                break;
            }
        }
        for ((thing, times), runs) in things.iter_mut().zip(&mut times).zip(&in_a_turn) {
            let runs = (0..*runs).map(|_| once(&mut **thing));
            times.push(runs.collect::<Result<_, _>>()?);
        }
    }
    Ok(times)
}

/// Two numbers between which another lies with a probability of 95 %.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Interval {
    /// From end to end.
    pub fn width(&self) -> f64 {
        self.high - self.low
    }
}

/// What times come to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Timing {
    /// The median of all runs, in seconds.
    pub median: f64,
    /// Its interval.
    pub interval: Interval,
    /// Nine of ten runs take at most as long.
    pub p90: f64,
    /// How many times as long as the reference it takes: the median over the turns of the quotient of both medians.
    pub ratio: f64,
    /// Its interval.
    pub ratio_interval: Interval,
    /// Runs that were timed.
    pub runs: usize,
}

/// The figures of a thing beside a reference that was timed in the same turns.
///
/// # Errors
/// No times; another number of turns.
pub fn summary(times: &[Vec<f64>], reference: &[Vec<f64>]) -> Result<Timing, String> {
    if times.is_empty()
        || times.len() != reference.len()
        || times.iter().chain(reference).any(Vec::is_empty)
    {
        return Err(format!(
            "{} turns beside {} of the reference are no measurement; both need as many, with a run in each",
            times.len(),
            reference.len()
        ));
    }
    let all = sorted(&times.concat());
    let turns = times.iter().zip(reference);
    let ratios: Vec<f64> = turns
        .map(|(a, b)| median(&sorted(a)) / median(&sorted(b)))
        .collect();
    let ratios = sorted(&ratios);
    Ok(Timing {
        median: median(&all),
        interval: interval(&all),
        p90: quantile(&all, 0.9),
        ratio: median(&ratios),
        ratio_interval: interval(&ratios),
        runs: all.len(),
    })
}

pub(super) fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

/// The median of sorted numbers.
pub(super) fn median(sorted: &[f64]) -> f64 {
    quantile(sorted, 0.5)
}

/// A quantile of sorted numbers, between two of them in proportion; no number of none.
pub(super) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let place = share.clamp(0.0, 1.0) * last as f64;
    let low = sorted[place.floor() as usize];
    low + place.fract() * (sorted[place.ceil() as usize] - low)
}

/// The interval of the median of sorted numbers by order statistics: it leaves (n − 1.96 √n)/2 of the numbers out at each end,
/// because how many lie below the true median has the binomial distribution of n tosses. Of few numbers it is their range.
pub(super) fn interval(sorted: &[f64]) -> Interval {
    let Some(last) = sorted.len().checked_sub(1) else {
        return Interval {
            low: f64::NAN,
            high: f64::NAN,
        };
    };
    let n = sorted.len() as f64;
    let left_out = ((n - 1.96 * n.sqrt()) / 2.0).floor().max(0.0) as usize;
    Interval {
        low: sorted[left_out.min(last)],
        high: sorted[last - left_out.min(last)],
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::Mutex;

    use super::*;

    /// A clock that goes on by what the things that are timed say.
    #[derive(Default)]
    struct Scripted(Mutex<f64>);

    impl Clock for Scripted {
        fn now(&self) -> f64 {
            *self.0.lock().unwrap()
        }
    }

    impl Scripted {
        fn pass(&self, seconds: f64) {
            *self.0.lock().unwrap() += seconds;
        }
    }

    #[test]
    fn whatever_slows_the_machine_slows_both() {
        let clock = Scripted::default();
        let order = RefCell::new(String::new());
        // The machine becomes slower and slower; one thing takes three times as long as the other.
        let speed = RefCell::new(1e-3);
        let mut thing = || {
            order.borrow_mut().push('a');
            clock.pass(3.0 * *speed.borrow());
            Ok(())
        };
        let mut reference = || {
            order.borrow_mut().push('b');
            clock.pass(*speed.borrow());
            *speed.borrow_mut() *= 1.001;
            Ok(())
        };
        let effort = Effort {
            most: 30,
            interval: 0.0,
            ..Effort::default()
        };
        let times = in_turns(&mut [&mut thing, &mut reference], &effort, &clock).unwrap();
        assert!(
            order.borrow().ends_with("aaaaabbbbbaaaaabbbbb"),
            "{}",
            order.borrow()
        );
        let timing = summary(&times[0], &times[1]).unwrap();
        assert_eq!((timing.runs, times[0].len()), (150, 30));
        // Drift within a turn of 5 runs is .2 %, over the whole measurement 15 %.
        assert!((timing.ratio / 3.0 - 1.0).abs() < 0.005, "{timing:?}");
        assert!(timing.ratio_interval.width() < 1e-9, "{timing:?}");
        assert!(timing.interval.width() / timing.median > 0.02, "{timing:?}");
    }

    #[test]
    fn a_steady_clock_needs_few_runs_and_a_shaky_one_the_whole_time() {
        let clock = Scripted::default();
        let count = RefCell::new(0);
        let effort = Effort::default();
        let mut steady = || {
            *count.borrow_mut() += 1;
            clock.pass(1e-3);
            Ok(())
        };
        in_turns(&mut [&mut steady], &effort, &clock).unwrap();
        // Two windows of warm-up, four turns.
        assert_eq!(*count.borrow(), 2 * 10 + 4 * 5);
        let begun = clock.now();
        let n = RefCell::new(0u32);
        let mut shaky = || {
            *n.borrow_mut() += 1;
            clock.pass(if n.borrow().is_multiple_of(2) {
                0.01
            } else {
                0.02
            });
            Ok(())
        };
        in_turns(&mut [&mut shaky], &effort, &clock).unwrap();
        let took = clock.now() - begun;
        assert!((9.0..12.0).contains(&took), "{took}");
    }

    #[test]
    fn what_is_over_in_a_moment_runs_more_often() {
        let clock = Scripted::default();
        let mut long = || {
            clock.pass(1.0);
            Ok(())
        };
        let mut short = || {
            clock.pass(0.125);
            Ok(())
        };
        let mut moment = || {
            clock.pass(1e-6);
            Ok(())
        };
        let times = in_turns(
            &mut [&mut long, &mut short, &mut moment],
            &Effort::default(),
            &clock,
        );
        let runs: Vec<usize> = times.unwrap().iter().map(|turns| turns[0].len()).collect();
        // 5 s of the long one, of which a fifth is 8 runs of the short one.
        assert_eq!(runs, [5, 8, 100]);
    }

    #[test]
    fn medians_and_intervals_are_those_of_order_statistics() {
        let all: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(median(&all), 50.5);
        // (100 − 19.6)/2 = 40.2: 40 are left out at each end, as tables of the binomial distribution have it (41st and 60th).
        assert_eq!(
            interval(&all),
            Interval {
                low: 41.0,
                high: 60.0
            }
        );
        assert_eq!(
            interval(&all[..3]),
            Interval {
                low: 1.0,
                high: 3.0
            }
        );
        assert!((quantile(&all, 0.9) - 90.1).abs() < 1e-9);
        assert!(median(&[]).is_nan());
        let says = summary(&[vec![1.0]], &[]).unwrap_err();
        assert!(says.contains("1 turns beside 0"), "{says}");
    }

    #[test]
    fn a_clock_that_stands_still_times_nothing() {
        let clock = Scripted::default();
        let mut thing = || Ok(());
        let says = in_turns(&mut [&mut thing], &Effort::default(), &clock).unwrap_err();
        assert!(says.contains("a clock that goes on is needed"), "{says}");
        let mut thing = || Err("no memory".to_string());
        let says = in_turns(&mut [&mut thing], &Effort::default(), &clock).unwrap_err();
        assert_eq!(says, "no memory");
    }
}
