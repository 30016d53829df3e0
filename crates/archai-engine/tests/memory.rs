//! After the first training step no large block is asked of the system. A process of its own: it installs the allocator.

use archai_data::Batch;
use archai_engine::{Compute, Model, ModelOptions, Objective, OpRegistry, Regular, Want};
use archai_kernels::PoolAllocator;
use archai_spec::desc::{DartsModelDescBuilder, OpCatalog, build, from_genotype};

#[path = "it/support.rs"]
#[allow(dead_code)]
mod support;

#[global_allocator]
static ALLOC: PoolAllocator = PoolAllocator::new(usize::MAX);

/// Cells as a search of two nodes finds them.
const FOUND: &str = "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('skip_connect', 0), \
    ('dil_conv_3x3', 2)], normal_concat=[2, 3], reduce=[('max_pool_3x3', 0), ('sep_conv_5x5', 1), \
    ('skip_connect', 2), ('skip_connect', 1)], reduce_concat=[2, 3])";

#[test]
fn steps_after_the_first_reuse_its_memory() {
    let (settings, catalog) = (support::settings(3, 1, 2, 20), OpCatalog::builtin());
    let supernet = build(&DartsModelDescBuilder, &settings, None, false, &catalog);
    let found = from_genotype(&FOUND.parse().unwrap(), &settings, true, &catalog);
    for desc in [supernet.unwrap().desc, found.unwrap().desc] {
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
        // How many runs are under way at once depends on how the threads meet, what they hold does not.
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
}
