//! Files made to harm: each is refused, or read, in less than a second and within the reader's memory.

use crate::made_to_harm;
use crate::measure::read;

#[test]
fn p15_p18_p20_files_made_to_harm() {
    // On a thread with the stack of a worker, not the larger one of the main thread.
    let work = || {
        for (target, name, bytes) in made_to_harm::all() {
            read(target, &bytes, &name);
        }
    };
    let worker = std::thread::Builder::new().stack_size(2 << 20).spawn(work);
    worker.unwrap().join().unwrap();
}
