//! Speed of the ops and of whole search cells, as shares of what the machine can do.
//!
//! `cargo bench -p archai-kernels [-- [NAME] [--threads T] [--portable]]`. GFLOP/s count the multiply-adds of the
//! forward pass once and of the backward pass twice, recomputation not counted; GB/s count each tensor that must be
//! read or written once. Times are the best of several rounds: an op is not made faster by what else the machine does.

use archai_kernels::{
    BatchNorm, CellEdge, CellWant, ConvKind, ConvNorm, ConvWant, Exec, FeatureMap, FusedCell,
    MixTerm, NormKind, Packing, Pool, PoolAllocator, PoolKind, Primitive, WeightedSum, fma_burst,
};
use std::hint::black_box;
use std::time::Instant;

#[global_allocator]
static ALLOC: PoolAllocator = PoolAllocator::new(usize::MAX);

const BATCH: usize = 64;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let after = |flag: &str| {
        args.iter()
            .position(|a| a == flag)
            .and_then(|i| args.get(i + 1))
    };
    let threads: usize = after("--threads").map_or(0, |t| t.parse().expect("a number of threads"));
    let exec = if args.iter().any(|a| a == "--portable") {
        Exec::portable()
    } else {
        Exec::new()
    };
    let flag_value = after("--threads").cloned();
    let filter = args
        .iter()
        .find(|a| !a.starts_with("--") && Some(*a) != flag_value.as_ref())
        .cloned()
        .unwrap_or_default();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .expect("a thread pool");
    pool.install(|| Bench::new(exec, filter).run());
}

struct Bench {
    exec: Exec,
    filter: String,
    /// GFLOP/s of all threads.
    ceiling: f64,
}

impl Bench {
    fn new(exec: Exec, filter: String) -> Self {
        let threads = rayon::current_num_threads();
        let mut operations = 0.0;
        let seconds = best(|| {
            operations = rayon::broadcast(|_| fma_burst(&exec, 400_000).0)
                .into_iter()
                .sum()
        });
        let ceiling = operations / seconds / 1e9;
        let (from, mut to) = (vec![1f32; 1 << 24], vec![0f32; 1 << 24]);
        let copy = best(|| {
            use rayon::prelude::*;
            let piece = from.len() / threads;
            to.par_chunks_mut(piece)
                .zip(from.par_chunks(piece))
                .for_each(|(d, s)| d.copy_from_slice(s));
        });
        let bandwidth = 8.0 * from.len() as f64 / copy / 1e9;
        println!(
            "{}, {threads} threads: {ceiling:.0} GFLOP/s multiply-add, {bandwidth:.1} GB/s copy",
            exec.simd().name()
        );
        println!(
            "{:40} {:>9} {:>8} {:>6} {:>7}",
            "batch 64", "ms", "GFLOP/s", "share", "GB/s"
        );
        Bench {
            exec,
            filter,
            ceiling,
        }
    }

    fn show(&self, name: &str, operations: f64, bytes: f64, mut work: impl FnMut()) {
        if !name.contains(&self.filter) {
            return;
        }
        let seconds = best(&mut work);
        let speed = operations / seconds / 1e9;
        print!("{name:40} {:9.3} ", seconds * 1e3);
        if operations > 0.0 {
            print!("{speed:8.1} {:5.1}% ", 100.0 * speed / self.ceiling);
        } else {
            print!("{:8} {:6} ", "", "");
        }
        if bytes > 0.0 {
            println!("{:7.1}", bytes / seconds / 1e9);
        } else {
            println!();
        }
    }

    fn run(&self) {
        for (c, side) in [(16, 32), (32, 16), (64, 8), (36, 32), (48, 28)] {
            let map = FeatureMap::new(c, side, side);
            for (name, kind) in [
                (
                    "sep half 3x3",
                    ConvKind::Separable {
                        kernel: 3,
                        dilation: 1,
                        stride: 1,
                    },
                ),
                (
                    "sep half 5x5",
                    ConvKind::Separable {
                        kernel: 5,
                        dilation: 1,
                        stride: 1,
                    },
                ),
                (
                    "dil half 5x5",
                    ConvKind::Separable {
                        kernel: 5,
                        dilation: 2,
                        stride: 1,
                    },
                ),
                (
                    "sep half 3x3 stride 2",
                    ConvKind::Separable {
                        kernel: 3,
                        dilation: 1,
                        stride: 2,
                    },
                ),
                ("pointwise", ConvKind::Pointwise),
                ("dense 3x3", ConvKind::dense(3, 1)),
                ("factorized reduce", ConvKind::FactorizedReduce),
            ] {
                self.conv(&format!("{name} {c}@{side}"), map, c, kind, NormKind::Plain);
            }
            self.memory_bound(map);
        }
        // The stages of an evaluated network: the ops before a cell, and its separable convolutions.
        for (c, side) in [(36, 32), (72, 16), (144, 8)] {
            let map = FeatureMap::new(4 * c, side, side);
            let name = format!("evaluated: pointwise {}->{c}@{side}", 4 * c);
            self.conv(&name, map, c, ConvKind::Pointwise, NormKind::Affine);
            let map = FeatureMap::new(c, side, side);
            let kind = ConvKind::Separable {
                kernel: 3,
                dilation: 1,
                stride: 1,
            };
            let name = format!("evaluated: sep half 3x3 {c}@{side}");
            self.conv(&name, map, c, kind, NormKind::Affine);
            self.found_cell(map);
        }
        for (c, side, reduction) in [
            (16, 32, false),
            (32, 16, false),
            (64, 8, false),
            (32, 32, true),
        ] {
            self.cell(FeatureMap::new(c, side, side), reduction);
        }
    }

    fn conv(&self, name: &str, map: FeatureMap, channels: usize, kind: ConvKind, norm: NormKind) {
        let op = ConvNorm::new(map, channels, kind, true, norm).expect("a supported op");
        let (x, params) = (noise(BATCH * map.sample_len()), noise(op.params().len()));
        let g = noise(BATCH * op.output().sample_len());
        let macs = multiply_adds(op.params(), op.output());
        let bytes = 4.0 * (x.len() + g.len()) as f64;
        let (y, save) = op.forward(&self.exec, &x, &params);
        self.show(&format!("{name} forward"), 2.0 * macs, bytes, || {
            drop(black_box(op.forward(&self.exec, &x, &params)))
        });
        self.show(&format!("{name} backward"), 4.0 * macs, 2.0 * bytes, || {
            drop(black_box(op.backward(
                &self.exec,
                &x,
                &params,
                &y,
                &save,
                &g,
                ConvWant::ALL,
            )));
        });
    }

    fn memory_bound(&self, map: FeatureMap) {
        let at = format!("{}@{}", map.channels, map.height);
        let (x, g) = (
            noise(BATCH * map.sample_len()),
            noise(BATCH * map.sample_len()),
        );
        let tensor = 4.0 * x.len() as f64;
        let bn = BatchNorm::new(map, false);
        let (_, save) = bn.forward(&self.exec, &x, &[]);
        self.show(
            &format!("batch norm {at} forward"),
            0.0,
            3.0 * tensor,
            || drop(black_box(bn.forward(&self.exec, &x, &[]))),
        );
        self.show(
            &format!("batch norm {at} backward"),
            0.0,
            5.0 * tensor,
            || {
                drop(black_box(bn.backward(&self.exec, &x, &[], &save, &g)));
            },
        );
        for (name, kind) in [
            ("max pool", PoolKind::Max),
            ("average pool", PoolKind::Average),
        ] {
            let pool = Pool::new(map, kind, 3, 1, 1, false).expect("a supported pool");
            let (y, save) = pool.forward(&self.exec, &x);
            self.show(&format!("{name} {at} forward"), 0.0, 2.0 * tensor, || {
                drop(black_box(pool.forward(&self.exec, &x)))
            });
            self.show(&format!("{name} {at} backward"), 0.0, 2.0 * tensor, || {
                drop(black_box(pool.backward(&self.exec, &y, &save, &g)));
            });
        }
        let sum = WeightedSum::new(map);
        let terms = [MixTerm {
            values: &x,
            stats: None,
        }; 7];
        self.show(
            &format!("weighted sum of 7 {at} forward"),
            0.0,
            8.0 * tensor,
            || {
                drop(black_box(sum.forward(&self.exec, &terms, &[0.1; 7])));
            },
        );
    }

    /// The mixed cell of the DARTS search network: four nodes, every node listens to all earlier states.
    fn cell(&self, map: FeatureMap, reduction: bool) {
        let primitives = [
            Primitive::None,
            Primitive::MaxPool { norm: true },
            Primitive::AvgPool { norm: true },
            Primitive::Skip,
            Primitive::Sep { kernel: 3 },
            Primitive::Sep { kernel: 5 },
            Primitive::Dil { kernel: 3 },
            Primitive::Dil { kernel: 5 },
        ];
        let edges = (0..4).flat_map(|node| (0..node + 2).map(move |from| (node, from)));
        let edges = edges
            .map(|(node, from)| CellEdge {
                from,
                node,
                primitives: primitives.to_vec(),
            })
            .collect();
        let cell = FusedCell::new(map, 4, reduction, edges).expect("a supported cell");
        let kind = if reduction { "reduction" } else { "normal" };
        let name = format!("{kind} cell {}@{}", map.channels, map.height);
        self.fused(&name, map, &cell);
    }

    /// The normal cell that DARTS found (second order), with learnt norms.
    fn found_cell(&self, map: FeatureMap) {
        let (sep, dil) = (Primitive::Sep { kernel: 3 }, Primitive::Dil { kernel: 3 });
        let edges = [
            (0, 0, sep),
            (0, 1, sep),
            (1, 0, sep),
            (1, 1, sep),
            (2, 1, sep),
            (2, 0, Primitive::Skip),
            (3, 0, Primitive::Skip),
            (3, 2, dil),
        ];
        let edges = edges.map(|(node, from, primitive)| CellEdge {
            from,
            node,
            primitives: vec![primitive],
        });
        let cell = FusedCell::with_affine_norms(map, 4, false, edges.to_vec());
        let name = format!("evaluated: cell {}@{}", map.channels, map.height);
        self.fused(&name, map, &cell.expect("a supported cell"));
    }

    fn fused(&self, name: &str, map: FeatureMap, cell: &FusedCell) {
        let s = noise(BATCH * map.sample_len());
        let (params, mixing) = (noise(cell.params().len()), vec![0.125; cell.mixing_len()]);
        let (out, save) = cell.forward(&self.exec, [&s, &s], &mixing, &params);
        let node = FeatureMap::new(map.channels, cell.output().height, cell.output().width);
        let macs = multiply_adds(cell.params(), node);
        let forward = || cell.forward(&self.exec, [&s, &s], &mixing, &params);
        let backward = |want: CellWant| {
            let g = out.clone();
            drop(black_box(cell.backward(
                &self.exec,
                [&s, &s],
                &mixing,
                &params,
                &out,
                &save,
                g,
                want,
            )));
        };
        self.show(&format!("{name} forward"), 2.0 * macs, 0.0, || {
            drop(black_box(forward()))
        });
        self.show(&format!("{name} backward"), 4.0 * macs, 0.0, || {
            backward(CellWant::ALL)
        });
        let alphas = CellWant {
            inputs: true,
            mixing: true,
            params: false,
        };
        self.show(
            &format!("{name} backward, alphas only"),
            2.0 * macs,
            0.0,
            || backward(alphas),
        );
    }
}

/// Each weight meets each output pixel once.
fn multiply_adds(params: &Packing, output: FeatureMap) -> f64 {
    let weights: usize = params
        .tensors()
        .iter()
        .filter(|p| p.shape.len() == 4)
        .map(|p| p.len())
        .sum();
    (weights * output.pixels() * BATCH) as f64
}

fn noise(n: usize) -> Vec<f32> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1664525).wrapping_add(1013904223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..n).map(|_| next()).collect()
}

/// Seconds of the fastest round.
fn best(mut work: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut best = f64::MAX;
    let mut rounds = 0;
    while rounds < 5 || (start.elapsed().as_secs_f64() < 0.3 && rounds < 1000) {
        let round = Instant::now();
        work();
        best = best.min(round.elapsed().as_secs_f64());
        rounds += 1;
    }
    best
}
