//! How work is spread: over a fixed number of runs of samples, whose partial sums are added in order.
//!
//! The runs depend on the batch alone, never on the number of threads, so that every result is the same to the last bit
//! for any thread pool. Threads are those of the rayon pool in which the caller stands.

use crate::simd::{Kernel, Simd};
use rayon::prelude::*;
use std::ops::{AddAssign, Range};
use std::sync::{Mutex, PoisonError};

/// Most runs into which a batch is split: enough for the cores of a workstation, few enough that adding up the weight
/// gradients of all runs costs little.
const MAX_RUNS: usize = 16;

/// Below this many elements a tensor is worked on by the calling thread, in the same runs: waking the others would take
/// longer (about 10 µs).
const SERIAL_BELOW: usize = 50_000;

/// How kernels run: the instruction set. Cheap to make and to copy; every op takes one.
///
/// ```
/// use archai_kernels::Exec;
/// let fast = Exec::new();
/// let reference = Exec::portable();
/// assert_eq!(reference.simd().name(), "portable");
/// # let _ = fast;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Exec {
    simd: Simd,
    /// Whether the last run comes first.
    backwards: bool,
}

impl Default for Exec {
    fn default() -> Self {
        Self::new()
    }
}

impl Exec {
    /// The best instructions of this processor.
    pub fn new() -> Self {
        Self::with(Simd::detect())
    }

    /// Only the instructions that every processor of the target has; for tests and comparisons.
    pub fn portable() -> Self {
        Self::with(Simd::portable())
    }

    /// One for each instruction set of this processor, the best first; for tests and comparisons.
    pub fn all() -> Vec<Self> {
        Simd::all().into_iter().map(Self::with).collect()
    }

    fn with(simd: Simd) -> Self {
        Exec {
            simd,
            backwards: false,
        }
    }

    /// The instruction set in use.
    pub fn simd(&self) -> Simd {
        self.simd
    }

    /// The same with the runs in the other order: a pass over tensors too large for the caches finds in them what the pass
    /// before touched last. It makes no difference to any result.
    pub(crate) fn turned(self) -> Self {
        Exec {
            backwards: !self.backwards,
            ..self
        }
    }

    #[inline(always)]
    pub(crate) fn run<K: Kernel>(&self, kernel: K) -> K::Out {
        self.simd.run(kernel)
    }

    /// Calls `run` on runs of consecutive samples, in parallel if the tensor has many `elements`; results in order.
    pub(crate) fn runs<A: Send>(
        &self,
        samples: usize,
        elements: usize,
        run: impl Fn(Range<usize>) -> A + Sync,
    ) -> Vec<A> {
        let count = samples.min(MAX_RUNS);
        let range = |i: usize| {
            let i = if self.backwards { count - 1 - i } else { i };
            i * samples / count..(i + 1) * samples / count
        };
        let mut results: Vec<A> = if elements < SERIAL_BELOW || count < 2 {
            (0..count).map(|i| run(range(i))).collect()
        } else {
            (0..count)
                .into_par_iter()
                .with_max_len(1)
                .map(|i| run(range(i)))
                .collect()
        };
        if self.backwards {
            results.reverse();
        }
        results
    }

    /// As [`Exec::runs`], with scratch that a run takes over from one before it. As many are made as runs can be under way
    /// at once, before the first begins: how many of them are in use would depend on how the threads meet, and with it
    /// the memory that a later step of the same kind asks for.
    pub(crate) fn runs_with<S: Send, A: Send>(
        &self,
        samples: usize,
        elements: usize,
        scratch: impl Fn() -> S + Sync,
        run: impl Fn(Range<usize>, &mut S) -> A + Sync,
    ) -> Vec<A> {
        let at_once = match elements < SERIAL_BELOW {
            true => 1,
            false => rayon::current_num_threads().min(samples).min(MAX_RUNS),
        };
        let spare: Mutex<Vec<S>> = Mutex::new((0..at_once).map(|_| scratch()).collect());
        let spare = || spare.lock().unwrap_or_else(PoisonError::into_inner);
        self.runs(samples, elements, |range| {
            let taken = spare().pop();
            let mut own = taken.unwrap_or_else(&scratch);
            let result = run(range, &mut own);
            spare().push(own);
            result
        })
    }

    /// As [`Exec::runs`], for work that returns nothing.
    pub(crate) fn for_samples(&self, samples: usize, elements: usize, body: impl Fn(usize) + Sync) {
        self.runs(samples, elements, |range| range.for_each(&body));
    }
}

/// For passes over a batch that follow each other: each goes the other way than the one before.
pub(crate) struct Turn(Exec);

impl Turn {
    pub fn new(exec: &Exec) -> Self {
        Turn(*exec)
    }

    pub fn next(&mut self) -> Exec {
        let exec = self.0;
        self.0 = exec.turned();
        exec
    }
}

/// Adds up the runs' partial sums, in their order.
pub(crate) fn sum_runs<T: Copy + AddAssign + Send + Sync>(mut runs: Vec<Vec<T>>) -> Vec<T> {
    if runs.is_empty() {
        return Vec::new();
    }
    let rest = runs.split_off(1);
    let mut total = runs.remove(0);
    const PIECE: usize = 1 << 14;
    let add = |(i, piece): (usize, &mut [T])| {
        for run in &rest {
            for (a, b) in piece.iter_mut().zip(&run[i * PIECE..]) {
                *a += *b;
            }
        }
    };
    if total.len() * (rest.len() + 1) < 4 * SERIAL_BELOW {
        total.chunks_mut(PIECE).enumerate().for_each(add);
    } else {
        total.par_chunks_mut(PIECE).enumerate().for_each(add);
    }
    total
}
