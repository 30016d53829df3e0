//! One reading at a time, with its memory and its time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use archai_fuzz::target;

use crate::MEMORY;

/// The tests run side by side, but the allocator counts for all of them.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Every test holds this while it runs.
pub fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Longest that a reader may compute.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// Reads an input and checks what the reader took for it. `what` says which input it is. Gives whether it was read, and not
/// refused.
#[track_caller]
pub fn read(name: &str, bytes: &[u8], what: &str) -> bool {
    try_read(name, bytes, what).unwrap_or_else(|finding| panic!("{finding}"))
}

/// The same; the error is what was found.
pub fn try_read(name: &str, bytes: &[u8], what: &str) -> Result<bool, String> {
    let target = target(name).ok_or_else(|| format!("no target {name}"))?;
    let (before, start) = (MEMORY.current_usage(), cpu_time());
    MEMORY.reset_peak_usage();
    let is_read = catch_unwind(AssertUnwindSafe(|| (target.run)(bytes)))
        .map_err(|_| format!("{name}, {what}: the reader panicked"))?;
    let time = cpu_time().saturating_sub(start);
    let memory = MEMORY.peak_usage().saturating_sub(before);
    let bound = target.memory.bound(bytes.len());
    if memory > bound {
        let (memory, bound) = (memory >> 10, bound >> 10);
        return Err(format!(
            "{name}, {what}: {memory} KiB of memory for {} bytes, at most {bound} KiB",
            bytes.len()
        ));
    }
    match time <= PATIENCE {
        true => Ok(is_read),
        false => Err(format!("{name}, {what}: {time:?}")),
    }
}

/// What this thread has computed so far: a busy machine does not lengthen it. Elsewhere than on Linux, nothing is known.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = stat.split(' ').next().and_then(|n| n.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}
