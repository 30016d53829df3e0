//! The `archai` program: the whole command line, with the built-in algorithms.

use archai_kernels::PoolAllocator;

/// Training asks for the same large blocks step after step: they are kept, unused ones up to 4 GiB.
#[global_allocator]
static ALLOC: PoolAllocator = PoolAllocator::new(4 << 30);

fn main() -> std::process::ExitCode {
    archai::cli::run(archai::lab::Lab::builtin())
}
