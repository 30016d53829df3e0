//! All algorithms from one command, other spaces, and the table of true accuracies.

use std::fmt::Write;

use archai_spec::desc::{ModelDesc, OpCatalog, nasbench201::Cell201};
use serde_json::Value;

use crate::run::TINY;
use crate::support::World;

const ALL: &str = "darts,didarts,xnas,gs,divnas,petridish,random,manual,nasbench101";
const IN_SPACES: &str = "darts,didarts,xnas,gs,divnas,random";

/// A few images per phase, in a space whose sizes are its own.
const FEW: &str = "\
nas:
  search:
    loader: {dataset: {max_batches: 4}, train_batch: 4, test_batch: 4, train_workers: 0}
    model_desc: {model_stems: {init_node_ch: 2}}
  eval:
    loader: {dataset: {max_batches: 2}, train_batch: 4, test_batch: 4, train_workers: 0}
    model_desc: {model_stems: {init_node_ch: 2}}
";

/// Three narrow cells and a few images per phase, for any algorithm.
fn tiny() -> String {
    TINY.replace("    darts: {second_order: false}\n", "")
}

fn record(world: &World, dir: &str) -> Value {
    let path = world.path(&format!("logdir/{dir}/result.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// A made-up accuracy.
fn accuracy(cell: &Cell201) -> f64 {
    (cell.code() % 900) as f64 / 10.0
}

/// A table of all cells.
fn table(world: &World) -> String {
    let mut text =
        String::from("index,arch_str,edges,c10_test_200ep,c100_test_200ep,in16_test_200ep\n");
    for (i, cell) in Cell201::all().enumerate() {
        let a = accuracy(&cell);
        writeln!(text, "{i},{cell},{},{a},{a},{a}", cell.digits()).unwrap();
    }
    world.write("nb201.csv", &text)
}

#[test]
fn all_algorithms_run_from_one_command() {
    let world = World::new();
    let config = world.write("tiny.yaml", &tiny());
    let out = world
        .run(&[
            "run",
            "--smoke",
            "--algos",
            ALL,
            "--config",
            &config,
            "--threads",
            "2",
        ])
        .ok();
    assert_eq!(world.names("logdir").len(), 2 * ALL.split(',').count());
    for algo in ALL.split(',') {
        assert!(
            out.contains(&format!("{algo} on fashion_mnist_mini")),
            "{out}"
        );
        let eval = format!("{algo}_fashion_mnist_mini_throwaway_eval");
        let record = record(&world, &eval);
        assert_eq!(record["algorithm"], algo);
        assert!(record["figures"]["test_top1"].is_number(), "{record}");
        for file in ["model.safetensors", "model.pt", "final_model_desc.yaml"] {
            assert!(
                world.path(&format!("logdir/{eval}/{file}")).is_file(),
                "{algo}: {file}"
            );
        }
    }
}

#[test]
fn supernets_and_random_search_run_in_nasbench201() {
    let world = World::new();
    let (config, table) = (world.write("few.yaml", FEW), table(&world));
    let out = world
        .run(&[
            "run",
            "--smoke",
            "--algos",
            IN_SPACES,
            "--space",
            "nasbench201",
            "--table",
            &table,
            "--config",
            &config,
            "--threads",
            "2",
        ])
        .ok();
    for algo in IN_SPACES.split(',') {
        let dir = format!("{algo}-nasbench201_fashion_mnist_mini_throwaway");
        let path = world.path(&format!("logdir/{dir}_search/final_model_desc.yaml"));
        let text = std::fs::read_to_string(path).unwrap();
        let desc = ModelDesc::from_yaml(&text, "found", &OpCatalog::builtin()).unwrap();
        let cell = Cell201::from_desc(&desc).unwrap_or_else(|e| panic!("{algo}: {e}"));
        let found = record(&world, &format!("{dir}_search"));
        let figure = |name: &str| found["figures"][name].as_f64().unwrap();
        let (want, got) = (accuracy(&cell), 100.0 * figure("nb201_cifar10_top1"));
        assert!((want - got).abs() < 1e-9, "{algo}: {want} {got}");
        let better = Cell201::all().filter(|c| accuracy(c) > want).count();
        assert_eq!(figure("nb201_cifar10_rank"), (better + 1) as f64, "{algo}");
        let line = format!("{algo} in nasbench201 on fashion_mnist_mini: NAS-Bench-201 cell");
        assert!(out.contains(&line), "{line} is missing in:\n{out}");
        let evaluated = record(&world, &format!("{dir}_eval"));
        assert_eq!(evaluated["settings"]["nas.search.space"], "nasbench201");
        assert!(evaluated["figures"]["test_top1"].is_number());
        let looked = world.run(&["table", &table, &cell.to_string()]).ok();
        assert!(
            looked.contains(&format!("CIFAR-10: {want:.2} %, rank")),
            "{looked}"
        );
    }
    // Runs in a space that is not the algorithm's own are verified where they are repeated.
    let dirs = ["search", "eval"]
        .map(|phase| format!("logdir/random-nasbench201_fashion_mnist_mini_throwaway_{phase}"));
    let verified = world.run(&["verify", &dirs[0], &dirs[1]]).ok();
    assert_eq!(verified.matches("all the same").count(), 2, "{verified}");
    let report = world.run(&["report", "collate", "logdir"]).ok();
    for expect in [
        "| darts (toy) | darts-nasbench201_fashion_mnist_mini_throwaway | fashion_mnist_mini in nasbench201 |",
        "| table's data set |",
        "| random (toy) | ImageNet16-120 | 1 |",
        "| table: rank on CIFAR-100 | 1 |",
    ] {
        assert!(
            report.contains(expect),
            "{expect:?} is missing in:\n{report}"
        );
    }
    // Alone, an evaluation looks up what it evaluates.
    world
        .run(&[
            "run",
            "--smoke",
            "--no-search",
            "--space",
            "nasbench201",
            "--table",
            &table,
            "--config",
            &config,
        ])
        .ok();
    let record = record(
        &world,
        "darts-nasbench201_fashion_mnist_mini_throwaway_eval",
    );
    assert!(record["figures"]["nb201_cifar100_rank"].is_number());
}

#[test]
fn every_way_of_finalising_leaves_a_cell_of_the_space() {
    let world = World::new();
    let config = world.write("few.yaml", FEW);
    for (algo, setting) in [
        ("gs", "nas.search.gs.finalize=sample"),
        ("gs", "nas.search.gs.finalize=largest"),
        ("divnas", "nas.search.divnas.selection=greedy"),
        ("divnas", "nas.search.finalizer=mi"),
        ("darts", "nas.search.finalizer=random"),
        ("darts", "nas.search.finalizer=darts_pt"),
    ] {
        world
            .run(&[
                "run",
                "--smoke",
                "--no-eval",
                "--algos",
                algo,
                "--space",
                "nasbench201",
                "--config",
                &config,
                setting,
            ])
            .ok();
        let dir = format!("logdir/{algo}-nasbench201_fashion_mnist_mini_throwaway_search");
        let text =
            std::fs::read_to_string(world.path(&format!("{dir}/final_model_desc.yaml"))).unwrap();
        let desc = ModelDesc::from_yaml(&text, "found", &OpCatalog::builtin()).unwrap();
        let cell = Cell201::from_desc(&desc);
        assert!(cell.is_ok(), "{algo}, {setting}: {:?}", cell.err());
    }
}

#[test]
fn a_part_of_a_table_says_what_it_lacks() {
    let world = World::new();
    let table = world.write(
        "part.csv",
        "index,edges,c10_test_200ep,c100_test_200ep,in16_test_200ep\n7,433000,91.5,66.5,40\n",
    );
    let look = |cell: &str| world.run(&["table", &table, cell]).ok();
    assert!(look("433000").contains("CIFAR-100: 66.50 %, rank 1 of 1 cells, 1 of 1 distinct"));
    let lacks = look("433001");
    assert!(
        lacks.contains("no row") && !lacks.contains("rank"),
        "{lacks}"
    );
}

#[test]
fn what_does_not_fit_together_is_said_before_anything_runs() {
    let world = World::new();
    let table = table(&world);
    let at = |line: &str| -> Vec<String> {
        line.split_whitespace()
            .map(|word| word.replace("TABLE", &table))
            .collect()
    };
    for (line, expect) in [
        (
            "run --algos petridish --space nasbench201",
            vec!["petridish: ", "space of its own", "leave out the space"],
        ),
        (
            "run --algos darts,manual --space nasbench201",
            vec!["error: manual: nas.search.space: "],
        ),
        (
            "run --algos nasbench101 --space nasbench201",
            vec!["nasbench101: "],
        ),
        (
            "run --space nasbench301",
            vec!["nasbench301", "nasbench201"],
        ),
        (
            "run --table TABLE",
            vec!["darts searches in its own space", "add --space nasbench201"],
        ),
        (
            "run --algos manual --nas.search.manual.model resnet21",
            vec!["nas.search.manual.model", "resnet20"],
        ),
        (
            "run --algos nasbench101 --nas.search.nasbench101.cell.matrix [[0,1],[1,0]] \
             --nas.search.nasbench101.cell.ops [input,output]",
            vec!["nas.search.nasbench101", "row 1, column 0"],
        ),
        ("table TABLE 433005", vec!["433005", "six digits"]),
    ] {
        let args = at(line);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        world.run(&args).fails(2, &expect);
    }
    world
        .run(&[
            "run",
            "--smoke",
            "--space",
            "nasbench201",
            "--table",
            "nowhere.csv",
        ])
        .fails(2, &["nowhere.csv"]);
    assert!(world.names("logdir").is_empty());
    for args in [
        ["show", "nasbench101", "--full", "--datasets=imagenet"],
        [
            "show",
            "darts",
            "--space=nasbench201",
            "--datasets=imagenet",
        ],
    ] {
        world.run(&[&["config"], &args[..]].concat()).ok();
    }
    let shown = world
        .run(&["config", "show", "darts", "--space", "nasbench201"])
        .ok();
    assert!(
        shown.contains("space: nasbench201") && shown.contains("init_node_ch: 8"),
        "{shown}"
    );
}

#[test]
fn a_cell_that_is_named_is_the_one_that_is_evaluated() {
    let world = World::new();
    let config = world.write("cell.yaml", &format!("{}__include__: mine.yaml\n", tiny()));
    world.write(
        "mine.yaml",
        "nas: {search: {nasbench101: {cell: {\
         matrix: [[0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]], \
         ops: [input, conv3x3-bn-relu, maxpool3x3, output]}}}}\n",
    );
    let out = world
        .run(&[
            "run",
            "--smoke",
            "--algos",
            "nasbench101",
            "--config",
            &config,
        ])
        .ok();
    assert!(
        out.contains("the named cell") && out.contains("maxpool3x3"),
        "{out}"
    );
    let text = std::fs::read_to_string(
        world.path("logdir/nasbench101_fashion_mnist_mini_throwaway_eval/full_model_desc.yaml"),
    )
    .unwrap();
    let desc = ModelDesc::from_yaml(&text, "full", &OpCatalog::builtin()).unwrap();
    let cell = archai_spec::desc::nasbench101::Cell101::from_desc(&desc).unwrap();
    assert_eq!(
        cell.op_names(),
        ["input", "conv3x3-bn-relu", "maxpool3x3", "output"]
    );
    assert_eq!(desc.cells.len(), 3);
}

#[test]
fn a_cell_that_is_none_is_found_in_the_file_that_has_it() {
    let world = World::new();
    let bad = "nas:\n  search:\n    nasbench101:\n      cell:\n        matrix: [[0, 2], [0, 0]]\n        ops: [input, output]\n";
    let bad = world.write("bad.yaml", bad);
    let args = ["run", "--smoke", "--algos", "nasbench101", "--config", &bad];
    let expect = [
        "bad.yaml:4:7: nas.search.nasbench101: entry 2 at row 0, column 1 of the matrix",
        "1 above the diagonal",
    ];
    world.run(&args).fails(2, &expect);
    assert!(world.names("logdir").is_empty());
}
