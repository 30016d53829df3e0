//! A network that runs.

use super::build::Node;
use super::fuse;
use super::plan::Schedule;
use super::program::{Program, Work};
use super::step::Place;
use crate::buffer::Shared;
use crate::exec::Exec;
use crate::layout::FeatureMap;
use crate::simd::LANES;
use rayon::prelude::*;
use std::fmt;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// A network for inference, made by a [`NetBuilder`](super::NetBuilder). It may be shared between threads, and keeps the
/// memory of the runs that were in progress at once for the next ones.
pub struct Net {
    program: Program,
    output: FeatureMap,
    sequential: Schedule,
    /// Made when several threads first work on one image, and the number of these threads.
    parallel: OnceLock<(usize, Schedule)>,
    /// Elements of scratch that each thread needs.
    scratch: usize,
    /// Multiply-adds of one image, of eight lanes.
    cost: usize,
    alone: Spare,
    together: Spare,
}

/// Memory of earlier runs.
#[derive(Default)]
struct Spare(Mutex<Vec<Memory>>);

/// Memory of a run: the values of one image, and scratch for each thread.
struct Memory {
    values: Aligned,
    scratch: Vec<Aligned>,
}

/// Numbers that begin at a cache line.
struct Aligned {
    numbers: Vec<f32>,
    start: usize,
    len: usize,
}

impl Aligned {
    fn zeros(len: usize) -> Self {
        let numbers = vec![0.0; len + LINE];
        // The number of elements; more than there are if the address cannot be aligned, which then does not matter.
        let start = numbers.as_ptr().align_offset(4 * LINE).min(LINE);
        Aligned {
            numbers,
            start,
            len,
        }
    }

    fn all(&mut self) -> &mut [f32] {
        &mut self.numbers[self.start..self.start + self.len]
    }
}

/// Elements of a cache line.
const LINE: usize = 16;

impl Spare {
    fn take(&self) -> Option<Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn keep(&self, memory: Memory) {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spare.push(memory);
    }
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Net {
            program,
            output,
            sequential,
            ..
        } = self;
        f.debug_struct("Net")
            .field("input", &program.input)
            .field("output", output)
            .field("steps", &program.steps.len())
            .field("memory", &sequential.len)
            .finish_non_exhaustive()
    }
}

/// Images up to which several threads work on one image at a time rather than each on its own, if some would be idle.
const FEW: usize = 8;

/// Least work of a thread before another one gets images too, in multiply-adds of eight lanes.
const LEAST_WORK: usize = 200_000;

impl Net {
    pub(super) fn new(nodes: Vec<Node>, output: usize) -> Self {
        let map = nodes[output].map;
        let (nodes, output) = fuse::fuse(nodes, output);
        let program = Program::new(nodes, output);
        let scratch = program.steps.iter().map(|step| match &step.work {
            Work::Conv(conv) => conv.scratch(
                &program.values[step.inputs[0]],
                &program.values[step.output],
            ),
            _ => 0,
        });
        Net {
            scratch: scratch.max().unwrap_or(0),
            cost: program.steps.iter().map(|s| s.cost).sum(),
            output: map,
            sequential: Schedule::sequential(&program),
            parallel: OnceLock::new(),
            program,
            alone: Spare::default(),
            together: Spare::default(),
        }
    }

    /// The size of an image.
    pub fn input(&self) -> FeatureMap {
        self.program.input
    }

    /// The size of what it gives.
    pub fn output(&self) -> FeatureMap {
        self.output
    }

    /// The outputs for `images`, both in NCHW, computed on the rayon pool of the caller. They are the same, to the last bit,
    /// for any number of threads and any number of images at a time.
    ///
    /// # Panics
    /// If `images` does not hold whole images.
    pub fn run(&self, exec: &Exec, images: &[f32]) -> Vec<f32> {
        let (len, each) = (self.input().plain_len(), self.output.plain_len());
        assert!(
            images.len().is_multiple_of(len),
            "{} numbers are no whole images of {}: one has {len}",
            images.len(),
            self.input()
        );
        let n = images.len() / len;
        let mut out = vec![0.0; n * each];
        let threads = rayon::current_num_threads();
        // Images that are worked on one by one.
        let rest = match self.cost < 2 * LEAST_WORK || threads == 1 {
            true => 0,
            false if n < threads => n,
            false if n < FEW * threads => n % threads,
            false => 0,
        };
        let (first, last) = images.split_at((n - rest) * len);
        let (first_out, last_out) = out.split_at_mut((n - rest) * each);
        let least = (LEAST_WORK / self.cost.max(1)).max(1);
        if n - rest <= least {
            let pairs = first
                .chunks_exact(len)
                .zip(first_out.chunks_exact_mut(each));
            pairs.for_each(|(image, out)| self.alone(exec, image, out));
        } else {
            (first
                .par_chunks_exact(len)
                .zip(first_out.par_chunks_exact_mut(each)))
            .with_min_len(least)
            .for_each(|(image, out)| self.alone(exec, image, out));
        }
        let pairs = last.chunks_exact(len).zip(last_out.chunks_exact_mut(each));
        pairs.for_each(|(image, out)| self.together(exec, threads, image, out));
        out
    }

    /// One image on this thread.
    fn alone(&self, exec: &Exec, image: &[f32], out: &mut [f32]) {
        let schedule = &self.sequential;
        let mut memory = self
            .alone
            .take()
            .unwrap_or_else(|| self.memory(schedule, 1));
        let Memory { values, scratch } = &mut memory;
        let place = self.place(exec, schedule, values, image);
        for task in &schedule.tasks {
            // SAFETY: the tasks run in their order, on this thread alone.
            unsafe { place.run(task, scratch[0].all()) };
        }
        self.result(schedule, values, out);
        self.alone.keep(memory);
    }

    /// One image on all threads of the pool.
    fn together(&self, exec: &Exec, threads: usize, image: &[f32], out: &mut [f32]) {
        let made = self
            .parallel
            .get_or_init(|| (threads, Schedule::parallel(&self.program, threads)));
        // In a pool of another size the tasks are the same.
        let (threads, schedule) = (threads.min(made.0), &made.1);
        let memory = self.together.take().filter(|m| m.scratch.len() >= threads);
        let mut memory = memory.unwrap_or_else(|| self.memory(schedule, threads));
        let Memory { values, scratch } = &mut memory;
        let round = Round {
            place: self.place(exec, schedule, values, image),
            next: AtomicUsize::new(0),
            done: schedule.parts.iter().map(|_| AtomicUsize::new(0)).collect(),
            broken: AtomicBool::new(false),
        };
        rayon::scope(|scope| {
            let Some((own, others)) = scratch.split_first_mut() else {
                return;
            };
            for scratch in others.iter_mut().take(threads - 1) {
                scope.spawn(|_| round.take_part(scratch.all()));
            }
            round.take_part(own.all());
        });
        self.result(schedule, values, out);
        self.together.keep(memory);
    }

    fn memory(&self, schedule: &Schedule, threads: usize) -> Memory {
        Memory {
            values: Aligned::zeros(schedule.len),
            scratch: (0..threads).map(|_| Aligned::zeros(self.scratch)).collect(),
        }
    }

    fn place<'a>(
        &'a self,
        exec: &'a Exec,
        schedule: &'a Schedule,
        values: &'a mut Aligned,
        image: &'a [f32],
    ) -> Place<'a> {
        let (program, memory) = (&self.program, Shared::whole(values.all()));
        Place {
            exec,
            program,
            schedule,
            memory,
            image,
        }
    }

    /// The output from its blocks.
    fn result(&self, schedule: &Schedule, values: &mut Aligned, out: &mut [f32]) {
        let value = &self.program.values[self.program.output];
        let start = schedule.offsets[self.program.output];
        let data = &values.all()[start..start + value.len()];
        let pixels = value.height * value.width;
        for ((block, lane), out) in value
            .layout
            .places()
            .into_iter()
            .zip(out.chunks_exact_mut(pixels))
        {
            let data = data[block * value.plane()..].chunks_exact(LANES);
            out.iter_mut().zip(data).for_each(|(out, v)| *out = v[lane]);
        }
    }
}

/// One image that several threads work on: each takes the next task, waits until what it needs is done, and does it. A task
/// waits only for earlier ones, which somebody is at work on by then; so any number of threads comes to the end.
struct Round<'a> {
    place: Place<'a>,
    next: AtomicUsize,
    /// Tasks done of each step.
    done: Vec<AtomicUsize>,
    /// A thread has panicked: what it was to do will never be done.
    broken: AtomicBool,
}

/// Rounds of waiting before a thread lets others have the processor.
const PATIENCE: usize = 10_000;

impl Round<'_> {
    fn take_part(&self, scratch: &mut [f32]) {
        let schedule = self.place.schedule;
        let guard = Guard(&self.broken);
        while let Some(task) = schedule
            .tasks
            .get(self.next.fetch_add(1, Ordering::Relaxed))
        {
            for &step in &schedule.waits[task.step] {
                let mut rounds = 0;
                while self.done[step].load(Ordering::Acquire) < schedule.parts[step] {
                    if self.broken.load(Ordering::Relaxed) {
                        return;
                    }
                    rounds += 1;
                    match rounds < PATIENCE {
                        true => spin_loop(),
                        false => std::thread::yield_now(),
                    }
                }
            }
            // SAFETY: all that the task waits for is done, and the counter gives each task to one thread.
            unsafe { self.place.run(task, scratch) };
            self.done[task.step].fetch_add(1, Ordering::Release);
        }
        std::mem::forget(guard);
    }
}

/// Tells the other threads if this one panics.
struct Guard<'a>(&'a AtomicBool);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
