//! The pooling allocator under a whole cell: after the first step, no large block is requested from the system.

use crate::cell::{darts, full};
use archai_kernels::{CellWant, Exec, FeatureMap, FusedCell, PoolAllocator};

#[global_allocator]
static ALLOC: PoolAllocator = PoolAllocator::new(usize::MAX);

#[test]
fn steps_after_the_first_ask_for_nothing_large() {
    // Other tests run beside this one and allocate too, so it looks at itself in a process of its own.
    if std::env::args().any(|a| a == "--exact") {
        let cell =
            FusedCell::new(FeatureMap::new(16, 16, 16), 2, false, full(2, &darts(true))).unwrap();
        let (n, exec) = (16, Exec::new());
        let s = vec![0.5; n * cell.input().sample_len()];
        let (params, mixing) = (vec![0.1; cell.params().len()], vec![0.1; cell.mixing_len()]);
        let step = || {
            let (out, save) = cell.forward(&exec, [&s, &s], &mixing, &params);
            cell.backward(
                &exec,
                [&s, &s],
                &mixing,
                &params,
                &out,
                &save,
                out.clone(),
                CellWant::ALL,
            )
        };
        for threads in [2, 3] {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| drop(step()));
            let before = ALLOC.system_requests();
            assert!(before > 0);
            pool.install(|| (0..20).for_each(|_| drop(step())));
            assert_eq!(ALLOC.system_requests(), before, "{threads} threads");
        }
        return;
    }
    let name = "alloc::steps_after_the_first_ask_for_nothing_large";
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .status()
        .unwrap();
    assert!(status.success());
}
