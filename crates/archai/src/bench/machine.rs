//! The machine: what it could do at best, what it is, how much memory was used.

use std::hint::black_box;
use std::time::Instant;

use archai_kernels::{Exec, fma_burst};
use rayon::prelude::*;

/// Multiply-adds in registers on all threads: GFLOP/s, the best of a few tries.
pub(super) fn ceiling_gflops() -> f64 {
    let exec = Exec::new();
    let threads = rayon::current_num_threads();
    let mut best = 0.0f64;
    for _ in 0..5 {
        let start = Instant::now();
        let done: f64 = (0..threads)
            .into_par_iter()
            .map(|_| {
                let (operations, value) = fma_burst(&exec, 4_000_000);
                black_box(value);
                operations
            })
            .sum();
        best = best.max(done / start.elapsed().as_secs_f64() / 1e9);
    }
    best
}

/// What was measured on.
pub(super) fn device() -> String {
    let model = std::fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|l| l.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_string())
        });
    format!(
        "cpu: {} ({})",
        model.unwrap_or_else(|| std::env::consts::ARCH.to_string()),
        Exec::new().simd().name()
    )
}

/// The most memory that this process has held, if the system says so.
pub(super) fn peak_rss_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    let kb: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kb / 1024.0)
}
