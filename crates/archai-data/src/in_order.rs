//! Work on many files in a few threads, with the result of work in one.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::error::DataError;

/// Enough to wait for several files at a time.
const THREADS: usize = 4;

/// The results for 0, 1, … n - 1 in this order, or the error of the smallest number that has one.
pub(crate) fn map<T: Send>(
    n: usize,
    work: impl Fn(usize) -> Result<T, DataError> + Sync,
) -> Result<Vec<T>, DataError> {
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(usize::MAX));
    let done = Mutex::new(Vec::with_capacity(n));
    thread::scope(|scope| {
        for _ in 0..THREADS.min(n) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    // What comes behind an error is not needed; all before it is.
                    if index >= n || index > failed.load(Ordering::Relaxed) {
                        break;
                    }
                    let result = work(index);
                    if result.is_err() {
                        failed.fetch_min(index, Ordering::Relaxed);
                    }
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    done.push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_in_one_thread() {
        assert_eq!(map(100, |i| Ok(i * i)).unwrap()[99], 99 * 99);
        assert!(map(0, Ok).unwrap().is_empty());
        let error = map(1000, |i| match i % 100 {
            73 => Err(DataError::setting("number", i.to_string())),
            _ => Ok(i),
        });
        assert_eq!(error.unwrap_err().to_string(), "number: 73");
    }
}
