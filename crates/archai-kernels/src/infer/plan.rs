//! Where values lie in memory and in which order steps run: once for a single thread, which wants few values at a time, and
//! once for several, which want steps that do not wait for each other.

use super::program::{Program, Step, Work};
use std::ops::Range;

/// Elements of a cache line: values begin at one.
const LINE: usize = 16;

/// A part of a step: some rows of its output.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub step: usize,
    pub rows: Range<usize>,
}

/// An order of the steps and a place for every value.
#[derive(Debug)]
pub(super) struct Schedule {
    pub tasks: Vec<Task>,
    /// First element of each value.
    pub offsets: Vec<usize>,
    /// Elements of all memory.
    pub len: usize,
    /// For several threads: for each step those that must be done before it, and its own number of tasks.
    pub waits: Vec<Vec<usize>>,
    pub parts: Vec<usize>,
}

/// Least work of a task, in multiply-adds of eight lanes: about 10 µs, some times what handing it over costs.
const LEAST_WORK: usize = 50_000;

impl Schedule {
    /// For one thread: in the program's order, and memory is used again as soon as possible.
    pub fn sequential(program: &Program) -> Self {
        let times: Vec<usize> = (0..program.steps.len()).collect();
        let (offsets, len) = place(program, &times);
        let whole = |(step, s): (usize, &Step)| Task {
            step,
            rows: 0..rows(program, s),
        };
        Schedule {
            tasks: program.steps.iter().enumerate().map(whole).collect(),
            offsets,
            len,
            waits: Vec::new(),
            parts: Vec::new(),
        }
    }

    /// For several threads: steps that need the same number of steps before them stand together.
    pub fn parallel(program: &Program, threads: usize) -> Self {
        let steps = &program.steps;
        let writers = writers(program);
        let mut levels = vec![0; steps.len()];
        for (i, step) in steps.iter().enumerate() {
            let read = step.inputs.iter().chain(&step.residual);
            let before = read.flat_map(|&v| &writers[v]).map(|&w| levels[w] + 1);
            levels[i] = before.max().unwrap_or(0);
        }
        let (offsets, len) = place(program, &levels);
        let mut order: Vec<usize> = (0..steps.len()).collect();
        order.sort_by_key(|&i| levels[i]);
        let waits = waits(program, &order, &offsets);
        let mut tasks = Vec::new();
        let mut parts = vec![0; steps.len()];
        for &step in &order {
            let rows = rows(program, &steps[step]);
            let n = threads.min(steps[step].cost / LEAST_WORK).clamp(1, rows);
            parts[step] = n;
            tasks.extend((0..n).map(|i| Task {
                step,
                rows: i * rows / n..(i + 1) * rows / n,
            }));
        }
        Schedule {
            tasks,
            offsets,
            len,
            waits,
            parts,
        }
    }
}

/// Rows by which a step may be split; one if it cannot be.
fn rows(program: &Program, step: &Step) -> usize {
    match step.work {
        Work::Conv(_) | Work::Pool { .. } | Work::Sum { .. } | Work::Scale | Work::Pick { .. } => {
            program.values[step.output].height
        }
        Work::Input | Work::GlobalMean | Work::Flatten | Work::Move { .. } | Work::Zero => 1,
    }
}

/// The steps that write each value: more than one for those that were joined.
fn writers(program: &Program) -> Vec<Vec<usize>> {
    let mut writers = vec![Vec::new(); program.values.len()];
    for (i, step) in program.steps.iter().enumerate() {
        let mut value = Some(step.output);
        while let Some(v) = value {
            writers[v].push(i);
            value = program.inside[v].map(|(whole, _)| whole);
        }
    }
    writers
}

/// Places for all values, when the steps run at the given times: two values share memory only if no time of the one is a
/// time of the other.
fn place(program: &Program, times: &[usize]) -> (Vec<usize>, usize) {
    let n = program.values.len();
    let mut inside: Vec<Option<(usize, usize)>> = (program.inside.iter().enumerate())
        .map(|(v, inside)| inside.map(|(whole, block)| (whole, block * program.values[v].plane())))
        .collect();
    // First and last time at which each value exists.
    let mut life: Vec<Option<(usize, usize)>> = vec![None; n];
    let touch = |life: &mut Option<(usize, usize)>, time: usize| {
        let (first, last) = life.unwrap_or((time, time));
        *life = Some((first.min(time), last.max(time)));
    };
    for (step, &time) in program.steps.iter().zip(times) {
        for &v in step
            .inputs
            .iter()
            .chain(&step.residual)
            .chain([&step.output])
        {
            touch(&mut life[v], time);
        }
    }
    // The result is read at the end.
    touch(&mut life[program.output], usize::MAX);
    let whole = |inside: &[Option<(usize, usize)>], mut v: usize| {
        let mut offset = 0;
        while let Some((next, more)) = inside[v] {
            (v, offset) = (next, offset + more);
        }
        (v, offset)
    };
    let is_whole: Vec<bool> = {
        let mut is_whole = vec![false; n];
        inside
            .iter()
            .flatten()
            .for_each(|&(w, _)| is_whole[w] = true);
        is_whole
    };
    // What a convolution adds to, or a sum's first term, is replaced by the result if nobody needs it afterwards and it does not
    // belong to something larger.
    for (step, &time) in program.steps.iter().zip(times) {
        let replaced = match step.work {
            Work::Sum { .. } => step.inputs.first().copied(),
            _ => step.residual,
        };
        let Some(v) = replaced else {
            continue;
        };
        let elsewhere = match step.work {
            Work::Sum { .. } => step.inputs[1..].contains(&v),
            _ => step.inputs.contains(&v),
        };
        let dead = life[v].is_some_and(|(_, last)| last == time);
        // At one time several steps may read it.
        let readers = program.steps.iter().zip(times);
        let last_reader = readers
            .filter(|(s, t)| **t == time && s.inputs.iter().chain(&s.residual).any(|&x| x == v))
            .count()
            == 1;
        let sizes = program.values[v].len() == program.values[step.output].len();
        if dead && last_reader && sizes && !elsewhere && !is_whole[v] && inside[v].is_none() {
            inside[v] = Some((step.output, 0));
        }
    }
    let mut lives: Vec<Option<(usize, usize)>> = vec![None; n];
    for (v, life) in life.iter().enumerate() {
        if let Some((first, last)) = *life {
            let root = whole(&inside, v).0;
            touch(&mut lives[root], first);
            touch(&mut lives[root], last);
        }
    }
    // The largest first, each at the lowest place that is free during its whole life.
    let mut roots: Vec<usize> = (0..n)
        .filter(|&v| inside[v].is_none() && lives[v].is_some())
        .collect();
    roots.sort_by_key(|&v| std::cmp::Reverse(program.values[v].len()));
    let mut offsets = vec![0; n];
    let mut placed: Vec<(usize, usize, (usize, usize))> = Vec::new();
    let mut total = 0;
    for v in roots {
        let Some((first, last)) = lives[v] else {
            continue;
        };
        let len = program.values[v].len().next_multiple_of(LINE);
        let mut busy: Vec<(usize, usize)> = (placed.iter())
            .filter(|(_, _, (a, b))| *a <= last && first <= *b)
            .map(|&(start, end, _)| (start, end))
            .collect();
        busy.sort_unstable();
        let mut at = 0;
        for (start, end) in busy {
            if at + len <= start {
                break;
            }
            at = at.max(end);
        }
        placed.push((at, at + len, (first, last)));
        offsets[v] = at;
        total = total.max(at + len);
    }
    for v in 0..n {
        let (root, offset) = whole(&inside, v);
        offsets[v] = offsets[root] + offset;
    }
    (offsets, total)
}

/// For each step the earlier ones that it must wait for: those that write what it reads, and those that still read or
/// write the memory that it writes. What follows from others is left out.
fn waits(program: &Program, order: &[usize], offsets: &[usize]) -> Vec<Vec<usize>> {
    let range = |v: usize| offsets[v]..offsets[v] + program.values[v].len();
    let meets = |a: &Range<usize>, b: &Range<usize>| a.start < b.end && b.start < a.end;
    let reads: Vec<Vec<Range<usize>>> = (program.steps.iter())
        .map(|s| {
            s.inputs
                .iter()
                .chain(&s.residual)
                .map(|&v| range(v))
                .collect()
        })
        .collect();
    let writes: Vec<Range<usize>> = program.steps.iter().map(|s| range(s.output)).collect();
    let n = program.steps.len();
    let words = n.div_ceil(64);
    let mut before: Vec<Vec<u64>> = vec![vec![0; words]; n];
    let mut waits = vec![Vec::new(); n];
    for (i, &step) in order.iter().enumerate() {
        let mut known = vec![0u64; words];
        for &other in order[..i].iter().rev() {
            if known[other / 64] >> (other % 64) & 1 == 1 {
                continue;
            }
            let conflict = meets(&writes[other], &writes[step])
                || reads[step].iter().any(|r| meets(r, &writes[other]))
                || reads[other].iter().any(|r| meets(r, &writes[step]));
            if conflict {
                waits[step].push(other);
                known[other / 64] |= 1 << (other % 64);
                known
                    .iter_mut()
                    .zip(&before[other])
                    .for_each(|(k, b)| *k |= b);
            }
        }
        before[step] = known;
    }
    waits
}
