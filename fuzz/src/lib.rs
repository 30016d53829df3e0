//! What every fuzz target does: read the input, and measure the memory that it takes.

use std::panic;
use std::sync::Once;

use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Reads an input as the target of this name does. Panics, also when it takes too much memory; libFuzzer keeps the input.
pub fn run(name: &str, bytes: &[u8]) {
    static QUIET: Once = Once::new();
    // libFuzzer's hook ends the process even where a reader catches the panic of a library.
    QUIET.call_once(|| panic::set_hook(Box::new(|panic| eprintln!("{panic}"))));
    let target = archai_fuzz::target(name).expect("a known target");
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    (target.run)(bytes);
    let taken = MEMORY.peak_usage().saturating_sub(before);
    let bound = target.memory.bound(bytes.len());
    assert!(
        taken <= bound,
        "{taken} bytes of memory for an input of {} bytes; at most {bound} are allowed",
        bytes.len()
    );
}
