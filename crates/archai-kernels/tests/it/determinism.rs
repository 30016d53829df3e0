//! The same bits for any number of threads.

use crate::cell::{darts, full};
use crate::reference::Rng;
use archai_kernels::{
    CellWant, ConvKind, ConvNorm, ConvWant, Exec, FeatureMap, FusedCell, NormKind,
};

fn on_threads<R: Send + PartialEq + std::fmt::Debug>(work: impl Fn() -> R + Sync) {
    let run = |threads: usize| {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap()
            .install(&work)
    };
    let one = run(1);
    for threads in [2, 3, 4, 8] {
        assert!(
            run(threads) == one,
            "{threads} threads give other bits than one"
        );
    }
}

fn floats(rng: &mut Rng, n: usize) -> Vec<f32> {
    rng.vec(n).iter().map(|&v| v as f32).collect()
}

/// Tensors on both sides of the size from which work is spread.
#[test]
fn cells() {
    for (n, map, reduction) in [
        (2, FeatureMap::new(8, 8, 8), false),
        (21, FeatureMap::new(16, 16, 16), true),
    ] {
        let rng = &mut Rng(1);
        let cell = FusedCell::new(map, 2, reduction, full(2, &darts(true))).unwrap();
        let s = [(); 2].map(|()| floats(rng, n * map.sample_len()));
        let (params, _) = crate::conv::random_params(cell.params(), rng);
        let mixing = floats(rng, cell.mixing_len());
        let g = floats(rng, n * cell.output().sample_len());
        on_threads(|| {
            let (exec, inputs) = (Exec::new(), [&s[0][..], &s[1][..]]);
            let (out, save) = cell.forward(&exec, inputs, &mixing, &params);
            let grads = cell.backward(
                &exec,
                inputs,
                &mixing,
                &params,
                &out,
                &save,
                g.clone(),
                CellWant::ALL,
            );
            (out, grads, save.stats())
        });
    }
}

/// Learnt norms and dropped paths; and the register-rich instructions give what the others give.
#[test]
fn affine_cells_with_dropped_paths() {
    let (n, map) = (21, FeatureMap::new(36, 16, 16));
    let rng = &mut Rng(3);
    let cell = FusedCell::with_affine_norms(map, 2, false, full(2, &darts(false))).unwrap();
    let s = [(); 2].map(|()| floats(rng, n * map.sample_len()));
    let (params, _) = crate::conv::random_params(cell.params(), rng);
    let mixing = floats(rng, cell.mixing_len());
    let g = floats(rng, n * cell.output().sample_len());
    let factors: Vec<Option<Vec<f32>>> = (0..cell.edges().len())
        .map(|e| Some((0..n).map(|i| [0.0, 1.25][(e + i) % 2]).collect()))
        .collect();
    let pass = |exec: &Exec| {
        let inputs = [&s[0][..], &s[1][..]];
        let (out, save) = cell.forward_dropping(exec, inputs, &mixing, &params, factors.clone());
        let g = g.clone();
        let grads = cell.backward(
            exec,
            inputs,
            &mixing,
            &params,
            &out,
            &save,
            g,
            CellWant::ALL,
        );
        (out, grads, save.stats())
    };
    on_threads(|| pass(&Exec::new()));
    let fast: Vec<_> = Exec::all()
        .into_iter()
        .filter(|exec| exec.simd().name() != "portable")
        .collect();
    for pair in fast.windows(2) {
        assert!(pass(&pair[0]) == pass(&pair[1]));
    }
}

#[test]
fn convolutions() {
    let kinds = [
        ConvKind::Separable {
            kernel: 5,
            dilation: 1,
            stride: 2,
        },
        ConvKind::Pointwise,
        ConvKind::dense(3, 1),
        ConvKind::FactorizedReduce,
    ];
    for kind in kinds {
        let (n, map) = (19, FeatureMap::new(24, 16, 16));
        let rng = &mut Rng(2);
        let op = ConvNorm::new(map, 24, kind, true, NormKind::Affine).unwrap();
        let x = floats(rng, n * map.sample_len());
        let (params, _) = crate::conv::random_params(op.params(), rng);
        let g = floats(rng, n * op.output().sample_len());
        on_threads(|| {
            let exec = Exec::new();
            let (y, save) = op.forward(&exec, &x, &params);
            let grads = op.backward(&exec, &x, &params, &y, &save, &g, ConvWant::ALL);
            (y, grads)
        });
    }
}

/// Every number of blocks that a tile of registers can meet, and the ends of rows: the instruction sets that multiply
/// and add in one step give the same bits, however many blocks they take at a time.
#[test]
fn instruction_sets() {
    let fast: Vec<_> = Exec::all()
        .into_iter()
        .filter(|exec| exec.simd().name() != "portable")
        .collect();
    for blocks in 1..=13 {
        for (kind, side) in [
            (ConvKind::Pointwise, 9),
            (ConvKind::dense(3, 1), 5),
            (ConvKind::dense(3, 2), 15),
        ] {
            let (n, map) = (2, FeatureMap::new(104 - 8 * blocks + 3, side, side));
            let rng = &mut Rng(blocks as u64);
            let op = ConvNorm::new(map, 8 * blocks - 1, kind, true, NormKind::Affine).unwrap();
            let x = floats(rng, n * map.sample_len());
            let x = archai_kernels::from_nchw(&Exec::new(), map, &x[..n * map.plain_len()]);
            let (params, _) = crate::conv::random_params(op.params(), rng);
            let g = floats(rng, n * op.output().plain_len());
            let g = archai_kernels::from_nchw(&Exec::new(), op.output(), &g);
            let pass = |exec: &Exec| {
                let (y, save) = op.forward(exec, &x, &params);
                let grads = op.backward(exec, &x, &params, &y, &save, &g, ConvWant::ALL);
                (y, grads)
            };
            for pair in fast.windows(2) {
                assert!(
                    pass(&pair[0]) == pass(&pair[1]),
                    "{blocks} blocks, {kind:?}: {} and {} differ",
                    pair[0].simd().name(),
                    pair[1].simd().name()
                );
            }
        }
    }
}
