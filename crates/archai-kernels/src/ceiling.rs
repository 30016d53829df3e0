//! The arithmetic ceiling of the machine, for stating a kernel's speed as a share of it.

use crate::exec::Exec;
use crate::simd::{Isa, Kernel, LANES};

/// Independent chains of multiply-adds: enough to hide the instruction's latency.
const CHAINS: usize = 12;

struct Burst {
    rounds: usize,
}

impl Kernel for Burst {
    type Out = f32;
    #[inline(always)]
    fn run<I: Isa>(self) -> f32 {
        let (factor, summand) = (I::splat(0.999), I::splat(0.001));
        let mut chains: [I::V; CHAINS] = std::array::from_fn(|i| I::splat(i as f32));
        for _ in 0..self.rounds {
            for v in chains.iter_mut() {
                *v = I::fma(*v, factor, summand);
            }
        }
        chains.into_iter().flat_map(I::to_array).sum()
    }
}

/// Nothing but multiply-adds in registers, on the calling thread, for the caller to time: returns how many
/// floating-point operations were done, and a value that depends on all of them.
///
/// ```
/// let (operations, value) = archai_kernels::fma_burst(&archai_kernels::Exec::new(), 1000);
/// assert!(operations == 192_000.0 && value.is_finite());
/// ```
pub fn fma_burst(exec: &Exec, rounds: usize) -> (f64, f32) {
    (
        (rounds * CHAINS * LANES * 2) as f64,
        exec.run(Burst { rounds }),
    )
}
