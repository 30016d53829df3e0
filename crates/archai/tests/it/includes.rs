//! What a configuration may include depends on where it lies and where the program runs.

use crate::support::World;

#[test]
fn p19_files_below_the_working_folder_may_be_included() {
    let world = World::new();
    world.write("project/common/seed.yaml", "common: {seed: 41}\n");
    world.write(
        "project/confs/mine.yaml",
        "__include__: ../common/seed.yaml\n",
    );
    let show = |folder: &str, config: &str| {
        let mut command = world.command(&["config", "show", "darts", "--config", config]);
        let output = command.current_dir(world.path(folder)).output().unwrap();
        crate::support::Done::new(output)
    };
    let shown = show("project", "confs/mine.yaml").ok();
    assert!(shown.contains("seed: 41"), "{shown}");
    let refused = show("project/confs", "mine.yaml");
    assert_eq!(refused.code, Some(2));
    assert!(
        refused.err.contains("mine.yaml:1:") && refused.err.contains("it lies outside of"),
        "{}",
        refused.err
    );
}
