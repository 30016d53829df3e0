//! What stands on the pages of a run that ended well.

use archai_lab::report::{collate, find};
use archai_lab::rundir::REPORT_FILE;
use archai_lab::{Lab, digests};
use archai_report::runs_page;
use archai_spec::desc::draw::{self, Place};
use archai_spec::numbers::percent;
use serde_json::{Value, json};

use crate::support::{Copied, data, has, page};

#[test]
fn numbers_on_the_page_are_those_of_the_records() {
    let copied = Copied::new();
    for dir in [copied.search(), copied.eval()] {
        let (page, record) = (page(&dir), dir.record().unwrap().unwrap());
        let data = data(&page);
        assert_eq!(data["figures"], json!(record.figures));
        for (name, value) in &record.figures {
            let cell = format!("data-figure=\"{name}\" data-value=\"{value}\"");
            assert!(page.contains(&cell), "{cell} is missing");
        }
        // Every number of an epoch in the log stands in the data, unrounded, and the other way round.
        let mut compared = 0;
        for entry in dir.log().unwrap() {
            let Some((path, values)) = entry.values() else {
                continue;
            };
            let parts: Vec<&str> = path.0.iter().map(String::as_str).collect();
            let [.., "epochs", epoch, kind @ ("train" | "val" | "guard")] = parts[..] else {
                continue;
            };
            let place = parts[..parts.len() - 3].join("/");
            let trainings = data["trainings"].as_array().unwrap();
            let training = trainings
                .iter()
                .find(|t| t["place"] == place.as_str())
                .unwrap();
            let number: u64 = epoch.parse().unwrap();
            let epochs = training["epochs"].as_array().unwrap();
            let epoch = epochs.iter().find(|e| e["epoch"] == number).unwrap();
            let logged: serde_json::Map<String, Value> = values.iter().cloned().collect();
            let logged: serde_json::Map<String, Value> =
                logged.into_iter().filter(|(_, v)| v.is_number()).collect();
            let shown = epoch[kind].as_object().unwrap();
            assert_eq!(shown.len(), logged.len());
            for (name, value) in &logged {
                assert_eq!(shown[name].as_f64(), value.as_f64(), "{place} {name}");
            }
            compared += logged.len();
        }
        assert!(compared > 10, "{compared} numbers were compared");
    }
}

#[test]
fn a_search_says_what_was_found_and_how_it_went() {
    let copied = Copied::new();
    let page = page(&copied.search());
    has(
        &page,
        &[
            "<h1>darts on fashion_mnist_mini: the search</h1>",
            "Did the search collapse?",
            "test accuracy</p>",
            "href=\"../darts_fashion_mnist_mini_throwaway_eval/report.html\"",
            "edges of the found regular cell are skip connections",
            "Dominant eigenvalue",
            "Regular cell (cell 0), node 0",
            "from input k−2",
            "sep_conv_3x3",
            "nas.search.trainer.epochs",
            "archai run --algos=darts",
            "These are not the published settings",
            "final_model_desc.yaml",
        ],
    );
    // One chart for each of the five edges of both cells.
    assert_eq!(page.matches("<figcaption>from ").count(), 10);
    let lab = Lab::builtin();
    let catalog = lab.components().ops.catalog();
    let found = copied.search().found_desc(catalog).unwrap().unwrap();
    let drawn = draw::cells(&found, catalog).svg(Place::Page);
    assert!(page.contains(&drawn));
    // One drawing for each epoch, all of one layout; the last one labels what was found.
    let frames: Vec<&str> = page.split("class=\"frame\"").skip(1).collect();
    assert_eq!(frames.len(), 3);
    let labels = |text: &str| -> Vec<String> {
        let svg = text.split("</svg>").next().unwrap_or_default();
        let labels = svg.split("class=\"dr-label\"").skip(1);
        let names = labels.map(|label| {
            let text = label
                .split_once("<text")
                .unwrap()
                .1
                .split_once('>')
                .unwrap()
                .1;
            text.split([' ', '<'])
                .next()
                .unwrap_or_default()
                .to_string()
        });
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    };
    let last = frames[2];
    assert!(last.contains("after epoch 3"), "{last:.300}");
    assert_eq!(labels(last).len(), 8);
    assert_eq!(labels(last), labels(&drawn));
    for frame in &frames {
        assert_eq!(frame.matches("class=\"dr-edge\"").count(), 10);
        assert_eq!(frame.matches("<use href=\"#cell-frame-").count(), 2);
    }
    for part in ["below", "above"] {
        assert_eq!(
            page.matches(&format!("id=\"cell-frame-{part}\"")).count(),
            1
        );
    }
}

#[test]
fn an_evaluation_says_how_good_the_network_is() {
    let copied = Copied::new();
    let (page, record) = (
        page(&copied.eval()),
        copied.eval().record().unwrap().unwrap(),
    );
    has(
        &page,
        &[
            "<h1>darts on fashion_mnist_mini: the evaluation</h1>",
            &format!("{} test accuracy", percent(record.figures["test_top1"])),
            "95 % confidence interval",
            "Guessing gives 10.00 %.",
            "Parameters and multiply-adds by cell",
            "href=\"../darts_fashion_mnist_mini_throwaway_search/report.html\"",
        ],
    );
    let images = record.data["test"].images as f64;
    let ends = &data(&page)["test_top1_ci95"];
    let (low, high) = (ends[0].as_f64().unwrap(), ends[1].as_f64().unwrap());
    // Both ends of the score interval are as far from the accuracy as 1.96 standard deviations of a share that is the end.
    for end in [low, high] {
        let far = (record.figures["test_top1"] - end).powi(2);
        let expect = 3.841_458_820_694_124 * end * (1.0 - end) / images;
        assert!((far - expect).abs() < 1e-9, "{end}");
    }
}

#[test]
fn a_page_needs_nothing_from_elsewhere() {
    let copied = Copied::new();
    let page = page(&copied.search());
    has(
        &page,
        &[
            "Content-Security-Policy",
            "default-src 'none'",
            "script-src 'sha256-",
            "prefers-color-scheme:dark",
            "lang=\"en\"",
        ],
    );
    let elsewhere = page.replace("http://www.w3.org/2000/svg", "");
    for text in [
        "http://", "https://", "src=", "@import", "url(http", " onclick",
    ] {
        assert!(!elsewhere.contains(text), "{text}");
    }
    // Without JavaScript nothing but the slider and the switch is hidden.
    for (at, _) in page.match_indices(" hidden>") {
        let before = &page[..at];
        let element = &before[before.rfind('<').unwrap()..];
        assert!(
            element.starts_with("<button") || element.contains("class=\"slider\""),
            "{element}"
        );
    }
    assert!(page.len() < 300_000, "{} bytes", page.len());
}

#[test]
fn a_page_changes_nothing_that_a_run_computed() {
    let copied = Copied::new();
    let dir = copied.search();
    let before = digests::of_run(dir.path()).unwrap();
    let first = page(&dir);
    std::fs::write(dir.file(REPORT_FILE), &first).unwrap();
    assert_eq!(digests::of_run(dir.path()).unwrap(), before);
    assert_eq!(page(&dir), first, "the page does not count itself");
}

#[test]
fn a_long_search_stays_below_a_megabyte() {
    let copied = Copied::new();
    let dir = copied.search();
    let path = dir.file("log.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    // 50 epochs of 391 steps; what the three logged epochs have, again and again.
    let mut long = String::new();
    for line in text.lines() {
        let Some((_, rest)) = line.split_once("/epochs/2/") else {
            long += &format!("{line}\n");
            continue;
        };
        for epoch in 2..50 {
            if rest.starts_with("steps/0\"") {
                for step in 0..391 {
                    let line = line.replace(
                        "/epochs/2/steps/0",
                        &format!("/epochs/{epoch}/steps/{step}"),
                    );
                    long += &format!("{line}\n");
                }
            } else {
                // Alphas that move, so that the choice changes often.
                let digit = format!("[0.{}", epoch * 37 % 97);
                let line = line
                    .replace("/epochs/2/", &format!("/epochs/{epoch}/"))
                    .replace("[0.", &digit);
                long += &format!("{line}\n");
            }
        }
    }
    std::fs::write(&path, long).unwrap();
    let page = page(&dir);
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
    let training = &data(&page)["trainings"][0];
    assert_eq!(training["epochs"].as_array().unwrap().len(), 50);
}

#[test]
fn many_runs_are_what_collate_computes() {
    let copied = Copied::new();
    let (runs, left_out) = find(&[copied.logdir()]).unwrap();
    let collation = collate(runs, left_out);
    let page = runs_page(&collation, "logdir");
    assert_eq!(
        data(&page)["collation"],
        serde_json::to_value(&collation).unwrap()
    );
    let row = &collation.groups[0].rows[0];
    assert_eq!(row.figure, "test_top1");
    has(
        &page,
        &[
            "Runs beside each other",
            &format!("darts: {}", percent(row.own.mean)),
            "There is no random baseline to compare with",
            "Test accuracy against parameters",
            "darts (1, toy)",
        ],
    );
}

#[test]
fn runs_that_differ_are_lines_over_their_settings() {
    let copied = Copied::new();
    let text = std::fs::read_to_string(copied.eval().file("result.json")).unwrap();
    let search = std::fs::read_to_string(copied.search().file("result.json")).unwrap();
    for (name, epochs, top1) in [("b", 7, 0.25), ("c", 9, 0.75)] {
        for (phase, text) in [("search", &search), ("eval", &text)] {
            let dir = copied
                .logdir()
                .join(format!("darts_fashion_mnist_mini_{name}_{phase}"));
            std::fs::create_dir(&dir).unwrap();
            let mut record: Value = serde_json::from_str(text).unwrap();
            record["settings"]["nas.search.trainer.epochs"] = epochs.into();
            record["settings"]["<b>odd"] = "c".into();
            if phase == "eval" {
                record["figures"]["test_top1"] = top1.into();
                record["figures"]["latency_seconds"] = 0.004.into();
                record["figures"]["nb201_cifar10_top1"] = 0.91.into();
                record["figures"]["nb201_cifar10_rank"] = 1234.into();
            }
            std::fs::write(dir.join("result.json"), record.to_string()).unwrap();
        }
    }
    let (runs, left_out) = find(&[copied.logdir()]).unwrap();
    let collation = collate(runs, left_out);
    let page = runs_page(&collation, "logdir");
    has(
        &page,
        &[
            "Settings that differ",
            "nas.search.trainer.epochs 7; ",
            "; test accuracy 25.00 %",
            "nas.search.trainer.epochs 9; ",
            "; test accuracy 75.00 %",
            "&lt;b&gt;odd c; ",
            "Test accuracy against milliseconds for one picture, median",
            "True accuracy and rank",
            "<td class=\"n\">1234</td>",
        ],
    );
    assert_eq!(page.matches("class=\"course\"").count(), 3);
    assert!(!page.contains("<b>odd"));
}
