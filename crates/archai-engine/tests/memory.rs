//! After the first training step no large block is asked of the system. A process of its own: it installs the allocator.

use archai_data::Batch;
use archai_engine::{Compute, Model, ModelOptions, Objective, OpRegistry, Regular, Want};
use archai_kernels::PoolAllocator;
use archai_spec::desc::{DartsModelDescBuilder, OpCatalog, build};

#[path = "it/support.rs"]
#[allow(dead_code)]
mod support;

#[global_allocator]
static ALLOC: PoolAllocator = PoolAllocator::new(usize::MAX);

#[test]
fn steps_after_the_first_reuse_its_memory() {
    let desc = build(
        &DartsModelDescBuilder,
        &support::settings(3, 1, 2, 16),
        None,
        false,
        &OpCatalog::builtin(),
    )
    .unwrap()
    .desc;
    let options = ModelOptions {
        compute: Compute::cpu(),
        ..ModelOptions::default()
    };
    let mut model = Model::compile(&desc, &OpRegistry::builtin(), &options).unwrap();
    let mut step = |seed| {
        let batch: Batch = support::batch(16, &desc, seed);
        let regular = Regular {
            drop_path_prob: 0.0,
            draw: archai_data::rng::Key::new(seed),
        };
        let want = Want {
            weights: true,
            arch: true,
        };
        let grads = model
            .train_pass(&batch, &Objective::default(), &regular, want)
            .unwrap();
        model.set_weights(model.weights().add_scaled(&grads.weights, -0.025));
    };
    // How many of its runs are under way at once depends on how the threads meet, what they hold does not.
    for threads in [2, 3, 1] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(|| {
            step(0);
            let before = ALLOC.system_requests();
            assert!(before > 0, "the first step needs large blocks");
            (1..8).for_each(&mut step);
            assert_eq!(ALLOC.system_requests(), before, "{threads} threads");
        });
    }
}
