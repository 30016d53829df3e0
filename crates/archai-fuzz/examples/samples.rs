//! Writes whole files for every reader, and hostile files, into `fuzz/corpus` and
//! `fuzz/hostile`. A fuzzer starts from the former; the latter would only slow it down.

use std::fs;
use std::path::Path;

#[path = "../../archai-data/tests/it/fixtures.rs"]
#[allow(dead_code, reason = "the readers' tests use more of it")]
mod fixtures;
#[path = "../tests/it/hostile.rs"]
mod hostile;
#[path = "../tests/it/samples.rs"]
mod samples;

fn main() -> std::io::Result<()> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let samples = samples::all().into_iter().map(|sample| ("corpus", sample));
    let hostile_files = hostile::kept().map(|sample| ("hostile", sample));
    for (folder, (target, name, bytes)) in samples.chain(hostile_files) {
        let folder = fuzz.join(folder).join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}
