//! `archai report` on runs of the program itself.

use crate::run::TINY;
use crate::support::World;

#[test]
fn runs_are_collated_and_none_is_forgotten() {
    let world = World::new();
    let config = world.write("tiny.yaml", TINY);
    let run = |seed: &str, prefix: &str, more: &[&str]| {
        let mut args = vec![
            "run",
            "--smoke",
            "--algos",
            "darts",
            "--config",
            &config,
            "--threads",
            "2",
        ];
        args.extend(["--seed", seed, "--exp-prefix", prefix]);
        args.extend(more);
        world.run(&args).ok();
    };
    run("1", "a", &[]);
    run("2", "b", &[]);
    run("2", "again", &[]);
    run("3", "other", &["--nas.search.trainer.epochs", "2"]);
    // One that never ended, one whose record is damaged.
    let dir = |name: &str| format!("logdir/darts_fashion_mnist_mini_{name}");
    run("4", "cut", &["--no-eval"]);
    std::fs::remove_file(world.path(&dir("cut_search/result.json"))).unwrap();
    run("5", "hurt", &["--no-eval"]);
    world.write(
        &dir("hurt_search/result.json"),
        "{\"version\": 1, \"phase\": ",
    );

    let record: serde_json::Value = serde_json::from_str(
        &std::fs::read_to_string(world.path(&dir("a_eval/result.json"))).unwrap(),
    )
    .unwrap();
    assert_eq!(
        (&record["version"], &record["seed"]),
        (&1.into(), &1.into())
    );
    assert_eq!(record["settings"]["nas.search.darts.second_order"], false);
    assert!(record["figures"]["test_top1"].is_number(), "{record}");

    let text = world.run(&["report", "collate", "logdir"]).ok();
    for expect in [
        "Runs: 3. Groups: 2. Left out: 3.",
        "| 1 | darts (toy) | darts_fashion_mnist_mini_a, darts_fashion_mnist_mini_again | fashion_mnist_mini | 2 |",
        "| 2 | darts (toy) | darts_fashion_mnist_mini_other | fashion_mnist_mini | 1 |",
        "Toy runs: their figures say that everything works",
        "- `nas.search.trainer.epochs`, here `2`",
        "NO RANDOM BASELINE: no finished run of `random`",
        "cut_search`: it is not complete, or was made by an older program: there is no result.json; its log ends with: the search is complete",
        "hurt_search`: result.json is damaged",
        "seed 2 with the same settings is counted already",
        "| test accuracy | 2 |",
        "| seconds of search | 2 |",
    ] {
        assert!(text.contains(expect), "{expect:?} is missing in:\n{text}");
    }

    let done = world.run(&["report", "collate", "logdir", "logdir", "--out", "out/deep"]);
    assert!(done.err.contains("left out: logdir/"), "{}", done.err);
    done.ok();
    assert_eq!(
        world.names("out/deep"),
        ["report.csv", "report.json", "report.md"]
    );
    let read =
        |name: &str| std::fs::read_to_string(world.path(&format!("out/deep/{name}"))).unwrap();
    assert_eq!(
        read("report.md"),
        text,
        "a folder that is named twice counts once"
    );
    let json: serde_json::Value = serde_json::from_str(&read("report.json")).unwrap();
    assert_eq!(json["groups"][0]["seeds"], serde_json::json!([1, 2]));
    let own = &json["groups"][0]["rows"][0];
    assert_eq!(
        (&own["figure"], &own["own"]["n"]),
        (&"test_top1".into(), &2.into())
    );
    assert!(read("report.csv").lines().count() > 10);
    assert_eq!(
        world
            .run(&["report", "collate", "logdir", "--format", "csv"])
            .ok(),
        read("report.csv")
    );

    world
        .run(&["report", "collate", "logdir", "--format", "csv,json"])
        .fails(2, &["--out"]);
    world
        .run(&["report", "collate", "nowhere"])
        .fails(2, &["`nowhere` is no folder"]);
    world
        .run(&["report", "collate", "out"])
        .fails(2, &["no run in `out`"]);
}

#[test]
fn runs_have_pages() {
    let world = World::new();
    let config = world.write("tiny.yaml", TINY);
    let mut args = vec!["run", "--smoke", "--algos", "darts", "--config", &config];
    args.extend(["--threads", "2", "--exp-prefix", "a"]);
    let done = world.run(&args);
    let (search, eval) = (
        "logdir/darts_fashion_mnist_mini_a_search",
        "logdir/darts_fashion_mnist_mini_a_eval",
    );
    let closing = done.ok();
    for (dir, names) in [
        (search, &["report.html "][..]),
        (eval, &["report.html ", "summary.md "]),
    ] {
        let (_, files) = closing.split_once(&format!("{dir}/\n")).unwrap();
        let files = files.split("\n\n").next().unwrap();
        for name in names {
            assert!(files.contains(name), "{name} is missing in:\n{files}");
        }
    }
    let read = |name: &str| std::fs::read_to_string(world.path(name)).unwrap();
    let page = |dir: &str| read(&format!("{dir}/report.html"));
    assert!(page(search).contains("<h1>darts on fashion_mnist_mini: the search</h1>"));
    // Made anew, it is the same page: what it shows is in the directory.
    let at_the_end = page(eval);
    let told = world.run(&["report", "html", eval]).ok();
    assert_eq!(told, format!("{eval}/report.html\n"));
    let below = format!("{}/", world.dir().display());
    let [first, again] = [at_the_end, page(eval)].map(|page| page.replace(&below, ""));
    assert_eq!(first, again);

    world.run(&["report", "html", "logdir"]).ok();
    assert!(read("logdir/report.html").contains("Runs beside each other"));
    world
        .run(&["report", "html", search, eval, "--out", "both.html"])
        .ok();
    assert!(read("both.html").contains("darts (1, toy)"));
    world
        .run(&["report", "html", search, eval])
        .fails(2, &["--out"]);
    world.write("odd/run.json", "{}");
    world
        .run(&["report", "html", "odd"])
        .fails(2, &["is no run directory", "no version"]);
    world
        .run(&["report", "html", "nowhere"])
        .fails(2, &["`nowhere` is no folder"]);
}

#[test]
fn a_page_that_cannot_be_written_is_a_warning() {
    let world = World::new();
    let config = world.write("tiny.yaml", TINY);
    let mut args = vec!["run", "--smoke", "--algos", "darts", "--config", &config];
    args.extend(["--threads", "2", "--exp-prefix", "a"]);
    world.run(&args).ok();
    // The evaluation is resumed; a folder stands where the page of the search belongs.
    let dir = |name: &str| world.path(&format!("logdir/darts_fashion_mnist_mini_a_{name}"));
    std::fs::remove_file(dir("eval").join("result.json")).unwrap();
    std::fs::remove_file(dir("search").join("report.html")).unwrap();
    std::fs::create_dir(dir("search").join("report.html")).unwrap();
    let done = world.run(&args);
    assert!(
        done.err
            .contains("warning: a page of the run was not written: cannot write"),
        "{}",
        done.err
    );
    done.ok();
    assert!(dir("eval").join("result.json").is_file());
}
