//! `archai proxies` and `archai latency`: that the commands run, in all their forms, and what they refuse. Figures of time are not
//! looked at.

use archai::engine::export::testing::write_brightness;
use serde_json::Value;

use crate::support::{Done, World};

const SPACE: &str = "\
space: small
version: 1
input: {channels: 1, size: [8, 8]}
classes: 10
network:
  - conv_bn: {out: {one_of: [2, 3]}, kernel: {one_of: [1, 3]}, act: relu}
  - pool: {kind: mean}
  - linear: {out: $classes}
";

fn world() -> World {
    let world = World::new();
    world.write("small.yaml", SPACE);
    world
}

fn run(world: &World, line: &str) -> Done {
    let args: Vec<&str> = line.split_whitespace().collect();
    world.run(&args)
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e} in:\n{text}"))
}

#[test]
fn proxies_score_members_descriptions_and_models() {
    let world = world();
    let list = run(&world, "proxies").ok();
    assert_eq!(list.lines().count(), 14, "{list}");
    assert!(list.starts_with("params"), "{list}");
    assert_eq!(
        json(&run(&world, "proxies --json").ok())
            .as_array()
            .unwrap()
            .len(),
        14
    );

    let table = run(
        &world,
        "proxies small.yaml --sample 3 --only nwot,synflow --batch 4",
    )
    .ok();
    assert!(
        table.contains("nwot") && table.contains("small-") && !table.contains("jacov"),
        "{table}"
    );
    let csv = run(
        &world,
        "proxies small.yaml --sample 3 --batch 4 --format csv",
    )
    .ok();
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(
        (lines.len(), lines[0].matches(',').count()),
        (4, 14),
        "{csv}"
    );
    let threads = run(
        &world,
        "proxies small.yaml --sample 3 --batch 4 --format csv --threads 1",
    )
    .ok();
    assert_eq!(csv, threads);

    let id = lines[1].split(',').next().unwrap();
    run(
        &world,
        &format!("space desc small.yaml {id} -o member.yaml"),
    )
    .ok();
    let member = json(
        &run(
            &world,
            &format!("proxies small.yaml --id {id} --batch 4 --json"),
        )
        .ok(),
    );
    let file = json(&run(&world, "proxies member.yaml --batch 4 --json").ok());
    assert_eq!(member[0]["scores"], file[0]["scores"]);
    assert_eq!(
        member[0]["scores"].as_object().unwrap().len(),
        14,
        "{member}"
    );
    assert_eq!(
        (&member[0]["network"], &file[0]["network"]),
        (&id.into(), &"member".into())
    );

    // Images of data: other scores where images matter, the same where they do not.
    let data = "--datasets fashion_mnist_mini --dataset.size [8,8]";
    let of_data = run(
        &world,
        &format!("proxies member.yaml --batch 4 --json {data}"),
    );
    let of_data = json(&of_data.ok());
    for (name, same) in [
        ("synflow", true),
        ("l2_norm", true),
        ("nwot", false),
        ("snip", false),
    ] {
        assert_eq!(
            of_data[0]["scores"][name] == file[0]["scores"][name],
            same,
            "{name}"
        );
    }

    // A network without ReLU has no nwot; its other scores stand.
    write_brightness(
        &world.path("model.safetensors"),
        &["dark", "bright"],
        [1, 8, 8],
    )
    .unwrap();
    let model = json(
        &run(
            &world,
            "proxies model.safetensors --only nwot,l2_norm --batch 4 --json",
        )
        .ok(),
    );
    assert!(model[0]["scores"]["l2_norm"].is_number(), "{model}");
    assert!(
        model[0]["undefined"]["nwot"]
            .as_str()
            .unwrap()
            .contains("no ReLU"),
        "{model}"
    );
}

#[test]
fn proxies_refuse_what_cannot_be() {
    let world = world();
    for (line, says) in [
        ("proxies nb202", "did you mean `nb201`"),
        ("proxies no_such.yaml", "no_such.yaml"),
        (
            "proxies small.yaml --only nwt",
            "no proxy `nwt`; did you mean `nwot`?",
        ),
        ("proxies small.yaml --sample 0", "--sample 0"),
        ("proxies small.yaml --id small-x", "no id of `small`"),
        (
            "proxies small.yaml --dataset.size [8,8]",
            "add --datasets NAME or --data PATH",
        ),
        (
            "proxies small.yaml --datasets fashion_mnist_mini",
            "do not fit the network",
        ),
        ("proxies small.yaml --batch 0", "whole number of at least 1"),
    ] {
        let done = run(&world, line);
        assert_eq!(done.code, Some(2), "{line}: {}", done.err);
        let err = done.err.replace("\n  ", " ");
        assert!(err.contains(says), "{line}: {err}");
    }
}

#[test]
fn latencies_are_measured_and_tabled() {
    let world = world();
    let ids = json(&run(&world, "space sample small.yaml --n 1 --json").ok());
    let id = ids[0]["id"].as_str().unwrap();
    let line = format!("latency measure small.yaml --id {id} --batch 1,2 --seconds 0.05");
    let text = run(&world, &line).ok();
    assert!(
        text.contains("ratio") && text.contains("own inference, 1 thread"),
        "{text}"
    );
    let figures = json(&run(&world, &format!("{line} --json --threads 2")).ok());
    let batches = figures["batches"].as_array().unwrap();
    assert_eq!(batches.len(), 2, "{figures}");
    for row in batches {
        let number = |key: &str| row[key].as_f64().unwrap();
        assert!(
            number("median_ms") > 0.0 && number("ratio") > 0.0 && number("runs") >= 20.0,
            "{row}"
        );
    }
    assert_eq!(figures["machine"]["threads"], 2);

    let made = run(
        &world,
        "latency profile --space small.yaml --networks 10 --seconds 0.01 -o table.yaml",
    )
    .ok();
    assert!(
        made.contains("rank correlation") && made.contains("10 whole networks"),
        "{made}"
    );
    let text = run(&world, "latency predict table.yaml small.yaml --sample 2").ok();
    assert!(
        text.contains("95 of 100 at most") && text.matches("small-").count() == 2,
        "{text}"
    );
    let found = json(
        &run(
            &world,
            "latency predict table.yaml small.yaml --sample 3 --json",
        )
        .ok(),
    );
    assert!(
        found
            .as_array()
            .unwrap()
            .iter()
            .all(|row| row["at_most_ms"].as_f64() >= row["ms"].as_f64())
    );
    for (line, says) in [
        (
            "latency predict small.yaml small.yaml",
            "expected `archai-latency-table`",
        ),
        (
            "latency predict table.yaml nb201 --sample 1",
            "is not in the latency table",
        ),
        ("latency measure small.yaml", "say which member with --id"),
        ("latency measure small.yaml --runtime onnxruntime", "--id"),
        (
            "latency profile --space small.yaml --networks 3 -o other.yaml",
            "too few",
        ),
    ] {
        let done = run(&world, line);
        assert!(done.code != Some(0), "{line}");
        let err = done.err.replace("\n  ", " ");
        assert!(err.contains(says), "{line}: {err}");
    }
    let python = format!("latency measure small.yaml --id {id} --python python3");
    run(&world, &python).fails(2, &["add --runtime onnxruntime"]);
    let without = format!("latency measure small.yaml --id {id} --runtime onnxruntime");
    run(&world, &without).fails(2, &["--python"]);
}

/// Plays onnxruntime: the program's part is to write both files, to ask in the right way and to do the arithmetic.
#[cfg(unix)]
#[test]
fn onnxruntime_is_asked_for_both_networks() {
    use std::os::unix::fs::PermissionsExt;
    let world = world();
    let ids = json(&run(&world, "space sample small.yaml --n 1 --json").ok());
    let id = ids[0]["id"].as_str().unwrap();
    let of = |ms: f64| {
        let times = vec![ms.to_string(); 20].join(", ");
        format!("[{{\"batch\": 4, \"median_ms\": {ms}, \"times_ms\": [{times}]}}]")
    };
    let script = format!(
        "#!/bin/sh\n[ $# = 3 ] && {{ echo '{{\"version\": \"9.9\", \"files\": []}}'; exit; }}\n\
         echo \"$3\" | grep -q '\"batches\":\\[4\\]' || exit 1\ntest -s \"$4\" && test -s \"$5\" || exit 1\n\
         echo '{{\"version\": \"9.9\", \"files\": [{}, {}]}}'\n",
        of(6.0),
        of(2.0)
    );
    let path = world.write("fake", &script);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let line = format!(
        "latency measure small.yaml --id {id} --runtime onnxruntime --python {path} --batch 4 --json"
    );
    let figures = json(&run(&world, &line).ok());
    let row = &figures["batches"][0];
    assert_eq!(figures["runtime"], "onnxruntime 9.9");
    assert_eq!(row["ratio"], 3.0);
    assert!(
        (row["median_ms"].as_f64().unwrap() - 6.0).abs() < 1e-9,
        "{row}"
    );
    assert_eq!(row["runs"], 20);
}
