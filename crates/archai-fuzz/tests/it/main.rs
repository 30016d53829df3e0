//! Every reader against what fuzzing found, against damaged files, and against hostile files.

use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

#[path = "../../../archai-data/tests/it/fixtures.rs"]
#[allow(dead_code, reason = "the readers' tests use more of it")]
mod fixtures;

mod bombs;
mod hostile;
mod measure;
mod old_runs;
mod properties;
mod replay;
mod samples;
