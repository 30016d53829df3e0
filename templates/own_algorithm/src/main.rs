//! All of archai's commands, with one algorithm more: `cargo run --release -- run --algos my_algorithm`.

mod my_algorithm;

use archai::{Lab, PoolAllocator};

/// Training asks for the same large blocks step after step: they are kept, unused ones up to 4 GiB.
#[global_allocator]
static ALLOC: PoolAllocator = PoolAllocator::new(4 << 30);

fn main() -> std::process::ExitCode {
    archai::cli::run(Lab::builtin().with_algorithm(my_algorithm::algorithm()))
}
