//! How work is divided: into a fixed number of runs of samples, whose partial sums are added in order.
//!
//! The runs depend on the batch alone, never on the number of threads, so that every result is the same to the last bit
//! for any thread pool. The threads are those of the rayon pool in which the caller runs.

use crate::buffer::PerSample;
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

/// How kernels run: the instruction set. Cheap to make and to copy; a parameter of every op.
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

    /// The same with the runs in the other order: a pass over tensors too large for the caches finds in them what the
    /// pass before touched last. It makes no difference to any result.
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

    /// A pass over a batch: calls `body` for every sample with what `out` holds for it. Each run of consecutive samples
    /// has a scratch and a result of its own; the results are returned in the order of the runs. Runs are worked on in
    /// parallel if the tensors have many `elements`.
    ///
    /// A run reuses the scratch of one before it. Before the first run, as many scratches are made as runs can be in
    /// progress at once: if they were made on demand, their number would depend on the timing of the threads, and with
    /// it the memory that a later step of the same kind allocates.
    pub(crate) fn map_samples<O: PerSample, S: Send, A: Send>(
        &self,
        samples: usize,
        elements: usize,
        out: O,
        scratch: impl Fn() -> S + Sync,
        result: impl Fn() -> A + Sync,
        body: impl Fn(usize, O::Sample, &mut S, &mut A) + Sync,
    ) -> Vec<A> {
        let count = samples.min(MAX_RUNS);
        let serial = elements < SERIAL_BELOW || count < 2;
        let mut runs: Vec<(Range<usize>, O)> = Vec::with_capacity(count);
        let mut rest = out;
        for i in 0..count {
            let range = i * samples / count..(i + 1) * samples / count;
            let (own, others) = rest.split(range.len());
            runs.push((range, own));
            rest = others;
        }
        if self.backwards {
            runs.reverse();
        }
        let at_once = match serial {
            true => 1,
            false => rayon::current_num_threads().min(count),
        };
        let spare: Mutex<Vec<S>> = Mutex::new((0..at_once).map(|_| scratch()).collect());
        let spare = || spare.lock().unwrap_or_else(PoisonError::into_inner);
        let run = |(range, mut own): (Range<usize>, O)| {
            let free = spare().pop();
            let mut scratch = free.unwrap_or_else(&scratch);
            let mut result = result();
            for i in range {
                body(i, own.take(), &mut scratch, &mut result);
            }
            spare().push(scratch);
            result
        };
        let mut results: Vec<A> = match serial {
            true => runs.into_iter().map(run).collect(),
            false => runs.into_par_iter().with_max_len(1).map(run).collect(),
        };
        if self.backwards {
            results.reverse();
        }
        results
    }

    /// As [`Exec::map_samples`], without scratch; the sum of the runs' results, which begin with `len` zeros each.
    pub(crate) fn sum_samples<O: PerSample>(
        &self,
        samples: usize,
        elements: usize,
        out: O,
        len: usize,
        body: impl Fn(usize, O::Sample, &mut [f64]) + Sync,
    ) -> Vec<f64> {
        let zeros = || vec![0.0; len];
        sum_runs(self.map_samples(
            samples,
            elements,
            out,
            || (),
            zeros,
            |i, out, (), sums| {
                body(i, out, sums);
            },
        ))
    }

    /// As [`Exec::map_samples`], for work that needs no scratch and has no result.
    pub(crate) fn for_samples<O: PerSample>(
        &self,
        samples: usize,
        elements: usize,
        out: O,
        body: impl Fn(usize, O::Sample) + Sync,
    ) {
        self.map_samples(
            samples,
            elements,
            out,
            || (),
            || (),
            |i, out, (), ()| {
                body(i, out);
            },
        );
    }
}

/// For consecutive passes over a batch: each goes in the opposite direction to the one before.
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
