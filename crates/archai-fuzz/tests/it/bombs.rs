//! Hostile files: each is refused, or read, in less than a second and within the reader's memory.

use crate::hostile;
use crate::measure::{alone, try_read};

#[test]
fn p15_p18_p20_hostile_files() {
    let _alone = alone();
    // On a thread with the stack of a worker, not the larger one of the main thread.
    let work = || {
        let all = hostile::all();
        let found = all
            .iter()
            .filter_map(|(target, name, bytes)| try_read(target, bytes, name).err());
        let found: Vec<String> = found.collect();
        assert!(found.is_empty(), "{}", found.join("\n"));
    };
    let worker = std::thread::Builder::new().stack_size(2 << 20).spawn(work);
    worker.unwrap().join().unwrap();
}
