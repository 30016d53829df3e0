//! Runs a part of a step.

use super::plan::{Schedule, Task};
use super::program::{
    Conv, Depthwise, Layout, Program, SLACK, Source, Step, ValueOf, Window, Work,
};
use crate::buffer::Shared;
use crate::exec::Exec;
use crate::micro::product::{Act, Pixels, Product};
use crate::micro::window::{
    self, MeanRows, PadRows, PickRows, Plane, PoolRows, ScaleRows, SumRows,
};
use crate::simd::{LANES, Portable};
use std::ops::Range;

/// Where a run computes: its memory, and the image that it reads.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub exec: &'a Exec,
    pub program: &'a Program,
    pub schedule: &'a Schedule,
    pub memory: Shared<'a>,
    pub image: &'a [f32],
}

impl<'a> Place<'a> {
    fn value(&self, v: usize) -> (&'a ValueOf, Shared<'a>) {
        let value = &self.program.values[v];
        (
            value,
            self.memory.part(self.schedule.offsets[v], value.len()),
        )
    }

    /// Runs a task.
    ///
    /// # Safety
    /// All steps that the schedule has before this one are done, for one thread, or all that it waits for, for several; and no
    /// other thread runs the same task.
    pub unsafe fn run(&self, task: &Task, scratch: &mut [f32]) {
        let step = &self.program.steps[task.step];
        let (to, out) = self.value(step.output);
        let Some(&x) = step.inputs.first() else {
            // SAFETY: nobody else has the output.
            let out = unsafe { out.write() };
            match step.work {
                Work::Input => input(self.image, to, out),
                _ => out.fill(0.0),
            }
            return;
        };
        let (from, x) = self.value(x);
        match &step.work {
            Work::Input | Work::Zero => unreachable!("they read nothing"),
            Work::Sum { scale_shift, act } => {
                let terms: Vec<Shared<'_>> = step.inputs.iter().map(|&v| self.value(v).1).collect();
                for block in 0..to.layout.blocks() {
                    let part = rows_of(to, block, &task.rows);
                    let of_block = |v: &'a [f32]| &v[block * LANES..(block + 1) * LANES];
                    let terms: Vec<Shared<'_>> = terms
                        .iter()
                        .map(|t| t.part(part.start, part.len()))
                        .collect();
                    self.exec.run(SumRows {
                        terms: &terms,
                        scale_shift: scale_shift
                            .as_ref()
                            .map(|(a, b)| (of_block(a), of_block(b))),
                        act: *act,
                        dst: out.part(part.start, part.len()),
                    });
                }
            }
            work => {
                // SAFETY: the input is written, and no step writes to its memory before this one is done: nothing but a sum or a
                // residual is replaced in place.
                let x = unsafe { x.read() };
                self.reads(work, step, (from, x), (to, out), &task.rows, scratch);
            }
        }
    }

    fn reads(
        &self,
        work: &Work,
        step: &Step,
        (from, x): (&ValueOf, &'a [f32]),
        (to, out): (&ValueOf, Shared<'a>),
        rows: &Range<usize>,
        scratch: &mut [f32],
    ) {
        let blocks = to.layout.blocks();
        match work {
            Work::Conv(conv) => {
                let residual = step.residual.map(|v| self.value(v).1);
                let run = ConvRun {
                    exec: self.exec,
                    conv,
                    from,
                    x,
                    to,
                    out,
                    residual,
                };
                run.rows(rows, scratch);
            }
            Work::Pool { pooling, sizes } => {
                for block in 0..blocks {
                    let part = rows_of(to, block, rows);
                    self.exec.run(PoolRows {
                        src: plane(from, x, block),
                        kernel: sizes.kernel,
                        stride: sizes.stride,
                        padding: sizes.padding,
                        pooling: *pooling,
                        first: rows.start,
                        rows: rows.len(),
                        cols: to.width,
                        dst: out.part(part.start, part.len()),
                    });
                }
            }
            Work::Pick { stride, top, left } => {
                for block in 0..blocks {
                    let part = rows_of(to, block, rows);
                    self.exec.run(PickRows {
                        src: plane(from, x, block),
                        top: top + rows.start * stride,
                        left: *left,
                        stride: (*stride, *stride),
                        rows: rows.len(),
                        cols: to.width,
                        act: Act::None,
                        dst: out.part(part.start, part.len()),
                    });
                }
            }
            Work::Scale => {
                let factors = self.value(step.inputs[1]).1;
                // SAFETY: as for the first input.
                let factors = unsafe { factors.read() };
                for block in 0..blocks {
                    let part = rows_of(to, block, rows);
                    self.exec.run(ScaleRows {
                        src: &x[part.clone()],
                        factors: &factors[block * LANES..(block + 1) * LANES],
                        dst: out.part(part.start, part.len()),
                    });
                }
            }
            Work::GlobalMean => {
                let factor = 1.0 / (from.height * from.width) as f32;
                for block in 0..blocks {
                    let dst = out.part(block * LANES, LANES);
                    self.exec.run(MeanRows {
                        src: plane(from, x, block),
                        factor,
                        dst,
                    });
                }
            }
            Work::Move { from: places } => {
                let source = |c: usize, p: usize| {
                    let (block, lane) = places[c];
                    x[block * from.plane() + p * LANES + lane]
                };
                gather(&to.layout, to.height * to.width, &out, source);
            }
            Work::Flatten => {
                let (places, pixels) = (from.layout.places(), from.height * from.width);
                let source = |f: usize, _: usize| {
                    let (block, lane) = places[f / pixels];
                    x[block * from.plane() + f % pixels * LANES + lane]
                };
                gather(&to.layout, 1, &out, source);
            }
            Work::Input | Work::Zero | Work::Sum { .. } => unreachable!("ran above"),
        }
    }
}

/// The elements of some rows of a block.
fn rows_of(value: &ValueOf, block: usize, rows: &Range<usize>) -> Range<usize> {
    let start = block * value.plane();
    let row = value.width * LANES;
    start + rows.start * row..start + rows.end * row
}

fn plane<'a>(value: &ValueOf, data: &'a [f32], block: usize) -> Plane<'a> {
    let len = value.plane();
    let data = &data[block * len..(block + 1) * len];
    Plane {
        data,
        height: value.height,
        width: value.width,
    }
}

/// NCHW to blocks.
fn input(image: &[f32], to: &ValueOf, out: &mut [f32]) {
    let pixels = to.height * to.width;
    out.fill(0.0);
    for ((block, lane), plane) in to
        .layout
        .places()
        .into_iter()
        .zip(image.chunks_exact(pixels))
    {
        let out = out[block * to.plane()..].chunks_exact_mut(LANES);
        out.zip(plane).for_each(|(out, v)| out[lane] = *v);
    }
}

/// Writes every lane of every pixel: what `source` gives for the channel and the pixel, zeros in the gaps.
fn gather(layout: &Layout, pixels: usize, out: &Shared<'_>, source: impl Fn(usize, usize) -> f32) {
    let mut channels = vec![[None; LANES]; layout.blocks()];
    for (c, (block, lane)) in layout.places().into_iter().enumerate() {
        channels[block][lane] = Some(c);
    }
    assert!(out.len() >= layout.blocks() * pixels * LANES);
    for (block, channels) in channels.iter().enumerate() {
        for p in 0..pixels {
            let v = channels.map(|c| c.map_or(0.0, |c| source(c, p)));
            // SAFETY: checked above; the output is this task's.
            unsafe { out.store::<Portable>((block * pixels + p) * LANES, v) };
        }
    }
}

/// A convolution at work.
struct ConvRun<'a> {
    exec: &'a Exec,
    conv: &'a Conv,
    from: &'a ValueOf,
    x: &'a [f32],
    to: &'a ValueOf,
    out: Shared<'a>,
    residual: Option<Shared<'a>>,
}

impl ConvRun<'_> {
    /// Some rows of the output, a panel at a time.
    fn rows(&self, rows: &Range<usize>, scratch: &mut [f32]) {
        for top in rows.clone().step_by(self.conv.panel) {
            self.panel(top..(top + self.conv.panel).min(rows.end), scratch);
        }
    }

    fn panel(&self, rows: Range<usize>, scratch: &mut [f32]) {
        let (from, to, x) = (self.from, self.to, self.x);
        let blocks = from.layout.blocks();
        let block = self.conv.block(from, to);
        let pixels = rows.len() * to.width;
        match &self.conv.source {
            Source::Direct => {
                let start = rows.start * to.width * LANES;
                let flat = Pixels {
                    start,
                    row: 0,
                    step: LANES,
                };
                self.products(x, flat, 0, (1, pixels), rows.start);
            }
            Source::Pick { start, stride } => {
                let all = Shared::whole(scratch);
                for b in 0..blocks {
                    self.exec.run(PickRows {
                        src: plane(from, x, b),
                        top: start.0 + rows.start * stride.0,
                        left: start.1,
                        stride: *stride,
                        rows: rows.len(),
                        cols: to.width,
                        act: self.conv.pre,
                        dst: all.part(b * block, pixels * LANES),
                    });
                }
                let flat = Pixels {
                    start: 0,
                    row: 0,
                    step: LANES,
                };
                self.products(scratch, flat, SLACK, (1, pixels), rows.start);
            }
            Source::Window(w) => {
                let (down, across) = (w.rows(rows.len()), w.cols(to.width));
                for (b, scratch) in scratch.chunks_mut(block).take(blocks).enumerate() {
                    self.pad(w, b, &rows, scratch);
                }
                assert!(down * across * LANES <= block);
                let from = Pixels {
                    start: 0,
                    row: w.stride.0 * across * LANES,
                    step: w.stride.1 * LANES,
                };
                self.products(scratch, from, SLACK, (rows.len(), to.width), rows.start);
            }
            Source::Depthwise(d) => {
                let (padded, mid) = scratch.split_at_mut(self.conv.padded(&d.window, to));
                let all = Shared::whole(mid);
                for b in 0..blocks {
                    self.depthwise(d, b, &rows, padded, all.part(b * block, pixels * LANES));
                }
                let flat = Pixels {
                    start: 0,
                    row: 0,
                    step: LANES,
                };
                self.products(mid, flat, SLACK, (1, pixels), rows.start);
            }
            Source::OnlyDepthwise(d) => {
                for b in 0..blocks {
                    let part = rows_of(to, b, &rows);
                    self.depthwise(d, b, &rows, scratch, self.out.part(part.start, part.len()));
                }
            }
        }
    }

    /// The rows of one block that a window reads for some rows of the output, with their border.
    fn pad(&self, w: &Window, block: usize, rows: &Range<usize>, dst: &mut [f32]) {
        self.exec.run(PadRows {
            src: plane(self.from, self.x, block),
            top: w.start.0 + (rows.start * w.stride.0) as isize,
            left: w.start.1,
            rows: w.rows(rows.len()),
            cols: w.cols(self.to.width),
            act: self.conv.pre,
            dst,
        });
    }

    fn depthwise(
        &self,
        d: &Depthwise,
        block: usize,
        rows: &Range<usize>,
        padded: &mut [f32],
        dst: Shared<'_>,
    ) {
        self.pad(&d.window, block, rows, padded);
        let taps = d.window.kernel.0 * d.window.kernel.1 * LANES;
        self.exec.run(window::Depthwise {
            src: padded,
            row: d.window.cols(self.to.width) * LANES,
            kernel: d.window.kernel,
            dilation: d.window.dilation,
            stride: d.window.stride,
            weights: &d.weights[block * taps..(block + 1) * taps],
            bias: &d.bias[block * LANES..(block + 1) * LANES],
            rows: rows.len(),
            cols: self.to.width,
            act: d.mid,
            dst,
        });
    }

    /// All blocks of the output for `rows`×`cols` pixels, the first of which begins row `first`.
    fn products(
        &self,
        src: &[f32],
        from: Pixels,
        slack: usize,
        (rows, cols): (usize, usize),
        first: usize,
    ) {
        let to = self.to;
        for part in &self.conv.products {
            self.exec.run(Product {
                weights: &part.weights,
                bias: &part.bias,
                segments: &part.segments,
                blocks: part.blocks.len(),
                src,
                from,
                slack,
                rows,
                cols,
                residual: self.residual,
                dst: self.out,
                to: Pixels {
                    start: part.blocks.start * to.plane() + first * to.width * LANES,
                    row: to.width * LANES,
                    step: LANES,
                },
                to_block: to.plane(),
                act: self.conv.post,
            });
        }
    }
}
