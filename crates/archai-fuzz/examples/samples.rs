//! Writes whole files for every reader, and files made to harm, into `fuzz/corpus` and
//! `fuzz/harm`. A fuzzer starts from the former; the latter would only slow it down.

use std::fs;
use std::path::Path;

#[path = "../../archai-data/tests/it/fixtures.rs"]
#[allow(dead_code, reason = "the readers' tests use more of it")]
mod fixtures;
#[path = "../tests/it/made_to_harm.rs"]
mod made_to_harm;
#[path = "../tests/it/samples.rs"]
mod samples;

fn main() -> std::io::Result<()> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let samples = samples::all().into_iter().map(|sample| ("corpus", sample));
    let harm = made_to_harm::kept().map(|sample| ("harm", sample));
    for (folder, (target, name, bytes)) in samples.chain(harm) {
        let folder = fuzz.join(folder).join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}
