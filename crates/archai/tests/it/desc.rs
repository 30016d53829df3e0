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
        "stem 0",
        "regular cell (cells 0–5, 7–12, 14–19)\n  node 0    sep_conv_3x3←c_{k-2}  sep_conv_3x3←c_{k-1}",
        "  node 3    skip_connect←c_{k-2}  dil_conv_3x3←0\n  output    concate_channels←0,1,2,3",
        "reduction cell (cells 6, 13)\n  node 0    max_pool_3x3 /2←c_{k-2}",
    ] {
        assert!(table.contains(expect), "{expect:?} is missing in:\n{table}");
    }
}

#[test]
fn a_tower_that_is_asked_for_is_there() {
    let world = World::new();
    let genotype = world.write("v2.txt", DARTS_V2);
    for flags in [
        "--cells 20 --reductions 2",
        "--cells 14 --channels 48 --dataset imagenet",
        "--cells 5 --reductions 1",
        "--cells 3 --reductions 0",
        "--cells 5 --dataset mnist",
    ] {
        let mut args = vec!["desc", "from-genotype", &genotype, "--aux"];
        args.extend(flags.split(' '));
        world.write("net.yaml", &world.run(&args).ok());
        let shown = world.run(&["desc", "show", "net.yaml", "--json"]).ok();
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        let params = |key: &str| shown[key]["params"].as_u64().unwrap();
        assert!(params("total_with_aux") > params("total"), "{flags}");
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
    let draw = |args: &[&str]| world.run(&[&["desc", "draw", "v2.yaml"], args].concat());
    let size = |name: &str| {
        let picture = image::open(world.path(name)).unwrap().to_rgb8();
        let ground = picture.get_pixel(0, 0);
        let drawn = picture.pixels().filter(|pixel| *pixel != ground).count();
        assert!(drawn > picture.pixels().len() / 50, "{name} is blank");
        (picture.width(), picture.height(), ground.0)
    };
    let svg = read("v2.svg");
    let number = |name: &str| -> u32 {
        let rest = svg.split_once(&format!(" {name}=\"")).unwrap().1;
        rest.split('"').next().unwrap().parse().unwrap()
    };
    let (width, height) = (number("width"), number("height"));
    assert_eq!(draw(&["-o", "v2.png"]).ok(), "v2.png\n");
    assert_eq!(size("v2.png"), (2 * width, 2 * height, [255; 3]));
    draw(&[
        "--format", "png", "--out", "small", "--scale", "0.5", "--dark",
    ])
    .ok();
    let half = std::fs::read(world.path("small")).unwrap();
    std::fs::write(world.path("small.png"), &half).unwrap();
    let (w, h, ground) = size("small.png");
    assert_eq!((w, h), (width / 2, height / 2));
    assert!(ground.iter().all(|v| *v < 64), "{ground:?}");
    draw(&["-o", "again.png", "--scale", "0.5", "--dark"]).ok();
    assert_eq!(half, std::fs::read(world.path("again.png")).unwrap());
    assert_eq!(draw(&["--format", "html"]).ok(), "v2.html\n");
    let page = read("v2.html");
    for text in [
        "<h1>v2</h1>",
        "cell 19 · regular",
        "sep_conv_3x3",
        "576×8×8",
        "As a genotype",
    ] {
        assert!(page.contains(text), "{text}");
    }
    let elsewhere = page.replace("http://www.w3.org/2000/svg", "");
    assert!(!elsewhere.contains("http:") && !elsewhere.contains("https:"));
    draw(&["--format", "dot", "-o", "cells.gv"]).ok();
    assert!(read("cells.gv").contains("digraph"));
    draw(&["-o", "v2.pdf"]).fails(2, &["end in .svg, .png, .dot or .html"]);
    for scale in ["0", "-1", "NaN", "1000"] {
        let scale = format!("--scale={scale}");
        draw(&["-o", "none.png", &scale]).fails(2, &["pixels are no picture"]);
    }
    assert!(!world.path("none.png").exists());
    draw(&["--dark"]).fails(2, &["--dark is for PNG"]);
    world
        .run(&["desc", "draw", "-", "--format", "png"])
        .fails(2, &["-o FILE.png"]);
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
            world.run(&["desc", command, &broken]).fails(2, &expect);
        }
    }
    world
        .run(&["desc", "check", "absent.yaml"])
        .fails(2, &["absent.yaml", "check the path"]);
    let bad = world.write("bad.txt", "Genotype(normal=[('sep_conv_3x3', 0)");
    world
        .run(&["desc", "from-genotype", &bad])
        .fails(2, &["bad.txt"]);
}

/// What `archai desc show --json` says of the description that a command writes.
fn shown(world: &World, args: &[&str]) -> serde_json::Value {
    let yaml = world.write("shown.yaml", &world.run(args).ok());
    serde_json::from_str(&world.run(&["desc", "show", &yaml, "--json"]).ok()).unwrap()
}

#[test]
fn imagenet_gets_the_papers_network() {
    let world = World::new();
    let genotype = world.write("v2.txt", DARTS_V2);
    let args = ["desc", "from-genotype", &genotype, "--dataset", "imagenet"];
    let desc = shown(&world, &args);
    assert_eq!(desc["total"]["params"], 4_718_752);
    assert_eq!(desc["n_classes"], 1000);
    // A tower of its own kind: 768 channels without a second norm.
    let with_aux = shown(&world, &[&args[..], &["--aux"]].concat());
    assert_eq!(with_aux["total"], desc["total"]);
    let aux = 768 * 128 + 2 * 128 + 128 * 768 * 4 + 768 * 1000 + 1000;
    assert_eq!(with_aux["total_with_aux"]["params"], 4_718_752 + aux);
    // Archai's two stems, each on the image.
    let two = shown(&world, &[&args[..], &["--stems", "two"]].concat());
    assert_eq!(two["total"]["params"], 4_729_912);
    let small = shown(
        &world,
        &[
            "desc",
            "from-genotype",
            &genotype,
            "--stems",
            "imagenet",
            "--cells",
            "3",
            "--reductions",
            "1",
        ],
    );
    let stems: Vec<&str> = (0..2)
        .map(|i| small["rows"][i]["what"].as_str().unwrap())
        .collect();
    assert_eq!(stems, ["stem_conv3x3_s4", "stem_relu_conv3x3_s2"]);
}

#[test]
fn genotypes_of_other_programs_are_read() {
    let world = World::new();
    let module = format!(
        "# found\nFIRST = {}\nSECOND = gt.{DARTS_V2}\n",
        DARTS_V2.replace("sep", "dil")
    );
    let module = world.write("genotypes.py", &module);
    let log = world.write(
        "search.log",
        &format!("11/29 08:00 genotype = {DARTS_V2}\n11/29 09:00 end\n"),
    );
    for args in [
        vec!["desc", "from-genotype", &module, "--name", "SECOND"],
        vec!["desc", "from-genotype", &module, "--nth", "-1"],
        vec!["desc", "from", &module, "--nth", "2"],
        vec!["desc", "from", &log],
    ] {
        assert_eq!(shown(&world, &args)["genotype"], DARTS_V2, "{args:?}");
    }
    world.run(&["desc", "from-genotype", &module]).fails(
        2,
        &[
            "genotypes.py",
            "2 genotypes",
            "line 2: FIRST",
            "line 3: SECOND",
            "--nth",
        ],
    );
    world
        .run(&["desc", "from", &module, "--nth", "1", "--name", "FIRST"])
        .fails(2, &["cannot be used with"]);
    let noise = world.write("noise.txt", &DARTS_V2.replace("dil_conv_3x3", "noise"));
    let noisy = world.run(&["desc", "from", &noise]).ok();
    assert!(noisy.contains("noise"), "{noisy}");
    // One edge for a node: what is printed is by node.
    let sparse = "Genotype(normal=[('sep_conv_3x3', 2, 0)], normal_concat=[2], reduce=[('skip_connect', 2, 1)], reduce_concat=[2])";
    let sparse = world.write("sparse.txt", sparse);
    world
        .run(&[
            "desc",
            "from",
            &sparse,
            "--cells",
            "3",
            "--reductions",
            "1",
            "-o",
            "sparse.yaml",
        ])
        .ok();
    assert_eq!(
        world.run(&["desc", "genotype", "sparse.yaml"]).ok().trim(),
        "Genotype(normal=[[('sep_conv_3x3', 0)]], normal_concat=range(2, 3), reduce=[[('skip_connect', 1)]], \
         reduce_concat=range(2, 3))"
    );
}

#[test]
fn cells_of_benchmarks_get_the_benchmarks_network() {
    let world = World::new();
    // Row 13,557 of the published table, and the documented cell of NAS-Bench-101, with their published sizes.
    let nb201 = "|nor_conv_1x1~0|+|nor_conv_3x3~0|nor_conv_1x1~1|+|none~0|avg_pool_3x3~1|none~2|";
    let nb101 = "{\"matrix\": [[0,1,1,1,0,1,0],[0,0,0,0,0,0,1],[0,0,0,0,0,0,1],[0,0,0,0,1,0,0],[0,0,0,0,0,0,1],[0,0,0,0,0,0,1],\
                 [0,0,0,0,0,0,0]], \"ops\": [\"input\", \"conv1x1-bn-relu\", \"conv3x3-bn-relu\", \"conv3x3-bn-relu\", \
                 \"conv3x3-bn-relu\", \"maxpool3x3\", \"output\"]}";
    let (text, digits) = (
        world.write("201.txt", nb201),
        world.write("201d.txt", "321341\n"),
    );
    let cell = world.write("101.json", nb101);
    let of_text = shown(&world, &["desc", "from", &text]);
    assert_eq!(of_text, shown(&world, &["desc", "from", &digits]));
    assert_eq!(of_text["total"]["params"], 372_346);
    let note = world.run(&["desc", "from", &digits]);
    assert!(
        note.err.contains(nb201) && note.err.contains("a cell of NAS-Bench-201"),
        "{}",
        note.err
    );
    assert_eq!(
        shown(&world, &["desc", "from", &cell])["total"]["params"],
        2_694_282
    );
    let classes = shown(&world, &["desc", "from", &cell, "--dataset", "cifar100"]);
    assert_eq!(classes["n_classes"], 100);
    let small = shown(
        &world,
        &["desc", "from", &text, "--cells", "5", "--channels", "8"],
    );
    assert_eq!(small["rows"][0]["channels"], 8);
    world
        .run(&["desc", "from", &cell, "--stems", "one"])
        .fails(2, &["--stems is for genotypes"]);
    let poem = world.write("poem.txt", "to be or not to be");
    world
        .run(&["desc", "from", &poem])
        .fails(2, &["poem.txt", "in no notation that is known"]);
    let archai = world.write(
        "archai.yaml",
        "_cell_descs:\n- cell_type: regular\n  _nodes:\n  - edges:\n    - input_ids: [0]\n      op_desc: {name: skip_connect}\n",
    );
    assert_eq!(
        world.run(&["desc", "from", &archai]).ok(),
        world.run(&["desc", "import", &archai]).ok()
    );
}
