//! Writes whole files for every reader, and files made to harm, into `fuzz/corpus`: what a fuzzer starts from.

use std::fs;
use std::path::Path;

#[path = "../../archai-data/tests/it/fixtures.rs"]
#[allow(dead_code)]
mod fixtures;
#[path = "../tests/it/made_to_harm.rs"]
mod made_to_harm;
#[path = "../tests/it/samples.rs"]
mod samples;

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for (target, name, bytes) in samples::all().into_iter().chain(made_to_harm::kept()) {
        let folder = corpus.join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}
