//! `archai desc`: round trips through the command line.

use std::io::Write;
use std::process::Stdio;

use crate::support::{Done, World};

/// DARTS_V2 of the paper.
const DARTS_V2: &str = "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), \
    ('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], \
    normal_concat=range(2, 6), reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), \
    ('max_pool_3x3', 1), ('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], \
    reduce_concat=range(2, 6))";

#[test]
fn the_papers_network_has_the_papers_size() {
    let world = World::new();
    let genotype = world.write("v2.txt", DARTS_V2);
    for (flags, params, with_aux) in [
        (
            vec!["--stems", "one", "--aux"],
            3_349_342_u64,
            3_825_768_u64,
        ),
        (vec!["--stems", "one"], 3_349_342, 3_349_342),
    ] {
        let mut args = vec!["desc", "from-genotype", &genotype];
        args.extend(flags);
        let yaml = world.write("v2.yaml", &world.run(&args).ok());
        let shown: serde_json::Value =
            serde_json::from_str(&world.run(&["desc", "show", &yaml, "--json"]).ok()).unwrap();
        assert_eq!(shown["total"]["params"], params);
        assert_eq!(shown["total_with_aux"]["params"], with_aux);
        assert_eq!(shown["total"]["macs"], 528_359_040_u64);
        assert_eq!(shown["genotype"], DARTS_V2);
    }
    let table = world.run(&["desc", "show", "v2.yaml"]).ok();
    for expect in [
        "cell 19",
        "3,349,342",
        "528.4 M",
        "sep_conv_3x3←0",
        "stem 0",
    ] {
        assert!(table.contains(expect), "{expect:?} is missing in:\n{table}");
    }
}

#[test]
fn genotypes_and_descriptions_go_round() {
    let world = World::new();
    let genotype = world.write("v2.txt", DARTS_V2);
    world
        .run(&[
            "desc",
            "from-genotype",
            &genotype,
            "--cells",
            "5",
            "--channels",
            "4",
            "-o",
            "v2.yaml",
        ])
        .ok();
    assert_eq!(
        world.run(&["desc", "genotype", "v2.yaml"]).ok().trim(),
        DARTS_V2
    );
    assert!(
        world
            .run(&["desc", "check", "v2.yaml"])
            .ok()
            .contains("5 cells")
    );

    world
        .run(&[
            "desc",
            "scale",
            "v2.yaml",
            "--cells",
            "8",
            "--channels",
            "16",
            "-o",
            "big.yaml",
        ])
        .ok();
    assert_eq!(
        world.run(&["desc", "genotype", "big.yaml"]).ok().trim(),
        DARTS_V2
    );

    let mut child = world
        .command(&[
            "desc",
            "from-genotype",
            "-",
            "--cells",
            "5",
            "--channels",
            "4",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(DARTS_V2.as_bytes())
        .unwrap();
    let piped = Done::new(child.wait_with_output().unwrap()).ok();
    assert_eq!(
        piped,
        std::fs::read_to_string(world.path("v2.yaml")).unwrap()
    );
}

#[test]
fn drawings() {
    let world = World::new();
    let genotype = world.write("v2.txt", DARTS_V2);
    world
        .run(&["desc", "from-genotype", &genotype, "-o", "v2.yaml"])
        .ok();
    assert_eq!(
        world.run(&["desc", "draw", "v2.yaml"]).ok(),
        "v2.svg\nv2.dot\n"
    );
    world
        .run(&["desc", "draw", "v2.yaml", "-o", "other.svg"])
        .ok();
    let read = |name: &str| std::fs::read_to_string(world.path(name)).unwrap();
    assert!(read("v2.svg").contains("<svg") && read("v2.svg").contains("sep_conv_3x3"));
    assert!(read("v2.dot").contains("digraph"));
    assert_eq!(read("v2.svg"), read("other.svg"));
    world
        .run(&["desc", "draw", "v2.yaml", "-o", "v2.png"])
        .fails(2, &["end in .svg"]);
}

#[test]
fn broken_descriptions_are_refused() {
    let world = World::new();
    let genotype = world.write("v2.txt", DARTS_V2);
    let whole = world
        .run(&["desc", "from-genotype", &genotype, "--cells", "5"])
        .ok();
    for (from, to, expect) in [
        (
            "sep_conv_3x3",
            "sep_conv_3x4",
            vec!["broken.yaml", "sep_conv_3x4", "sep_conv_3x3"],
        ),
        ("version: 1", "version: 99", vec!["broken.yaml", "99"]),
        ("n_classes:", "n_clases:", vec!["broken.yaml:", "n_clases"]),
    ] {
        let broken = world.write("broken.yaml", &whole.replacen(from, to, 1));
        for command in ["check", "show", "draw", "genotype", "scale"] {
            world.run(&["desc", command, &broken]).fails(1, &expect);
        }
    }
    world
        .run(&["desc", "check", "absent.yaml"])
        .fails(2, &["absent.yaml", "check the path"]);
    let bad = world.write("bad.txt", "Genotype(normal=[('sep_conv_3x3', 0)");
    world
        .run(&["desc", "from-genotype", &bad])
        .fails(1, &["bad.txt"]);
}
