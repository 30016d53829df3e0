//! The first program that a reader meets is one text: the example, the front page of the documentation (which includes it)
//! and the README.

use std::path::Path;

#[expect(dead_code, reason = "the example's main program")]
#[path = "../../examples/own_data.rs"]
mod own_data;

const EXAMPLE: &str = include_str!("../../examples/my_darts.rs");

#[test]
fn the_readme_shows_the_example() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    assert!(
        readme.contains(&format!("```rust\n{EXAMPLE}```\n")),
        "README.md and examples/my_darts.rs differ: copy the example into the README"
    );
}

#[test]
fn the_example_is_short_and_needs_one_use() {
    assert!(EXAMPLE.lines().count() <= 60);
    let uses = EXAMPLE.lines().filter(|line| line.starts_with("use "));
    assert_eq!(uses.collect::<Vec<_>>(), ["use archai::{"]);
}

#[test]
fn the_other_example_searches_on_images_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = own_data::search(folder.path()).unwrap();
    assert_eq!(outcome.title, "darts on my_stripes");
    let found = outcome.search.unwrap();
    assert!(found.genotype.is_some() && found.final_desc.exists());
    let accuracy = outcome.eval.unwrap().test_top1.unwrap();
    assert!(accuracy > 0.5, "{accuracy}");
}
