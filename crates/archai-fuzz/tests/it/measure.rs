//! One reading at a time, with its memory and its time.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use archai_fuzz::{Target, target};

use crate::MEMORY;

/// The tests run side by side, but the allocator counts for all of them.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Longest that a reader may compute.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// Reads an input and checks what the reader took for it. `what` says which input it is.
#[track_caller]
pub fn read(name: &str, bytes: &[u8], what: &str) {
    let target = target(name).unwrap_or_else(|| panic!("no target {name}"));
    let (memory, time) = measured(target, bytes, what);
    let bound = target.memory.bound(bytes.len());
    assert!(
        memory <= bound,
        "{name}, {what}: {} KiB of memory for {} bytes, at most {} KiB",
        memory >> 10,
        bytes.len(),
        bound >> 10
    );
    assert!(time <= PATIENCE, "{name}, {what}: {time:?}");
}

fn measured(target: &Target, bytes: &[u8], what: &str) -> (usize, Duration) {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let (before, start) = (MEMORY.current_usage(), cpu_time());
    MEMORY.reset_peak_usage();
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.run)(bytes))) {
        eprintln!("{}, {what}: the reader panicked", target.name);
        resume_unwind(panic);
    }
    (
        MEMORY.peak_usage().saturating_sub(before),
        cpu_time().saturating_sub(start),
    )
}

/// What this thread has computed so far: a busy machine does not lengthen it. Elsewhere than on Linux, nothing is known.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = stat.split(' ').next().and_then(|n| n.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}
