//! What stands on the pages.

use archai_lab::{Lab, RunDir};

use crate::support::{NAME, Runs, Served, copy};

#[test]
fn a_run_is_shown_as_on_its_own_page() {
    let runs = Runs::new();
    let served = Served::new(&runs.logdir());
    let run = served.run();
    served.get("/").has(&[
        "data-state=\"complete\"",
        NAME,
        "fashion_mnist_mini",
        ">test</span>",
    ]);
    for (phase, dir) in [("search", runs.search()), ("evaluation", runs.eval())] {
        let live = served.get(&format!("{run}/{phase}"));
        let page = archai_report::run_page(&Lab::builtin(), &RunDir::new(&dir)).unwrap();
        // All figures of the page are those of the report, and the other way round.
        let figures = |text: &str| -> Vec<String> {
            let cells = text.split("data-figure=").skip(1);
            cells
                .map(|cell| cell.split('>').next().unwrap().to_string())
                .collect()
        };
        assert_eq!(figures(&live.body), figures(&page));
        assert!(figures(&page).len() > 5);
        let charts = |text: &str| text.matches("<svg").count();
        assert_eq!(charts(&live.body), charts(&page), "{phase}");
        live.has(&["aria-current=\"page\"", "files/report.html", "Take along"]);
        // Links to the page beside lead to the live one.
        assert!(!live.body.contains("report.html\">"), "{phase}");
    }
    let search = served.get(&format!("{run}/search"));
    search.has(&[&format!("href=\"{run}/evaluation\"")]);
}

#[test]
fn files_are_those_of_the_run() {
    let runs = Runs::new();
    let served = Served::new(&runs.logdir());
    let run = served.run();
    let yaml = served.get(&format!("{run}/search/files/final_model_desc.yaml"));
    let own = std::fs::read_to_string(runs.search().join("final_model_desc.yaml")).unwrap();
    assert_eq!(yaml.body, own);
    let name = format!("attachment; filename=\"{NAME}_search-final_model_desc.yaml\"");
    assert_eq!(yaml.field("content-disposition"), Some(name.as_str()));
    let length = std::fs::metadata(runs.eval().join("model.onnx"))
        .unwrap()
        .len();
    let onnx = served.get(&format!("{run}/evaluation/files/model.onnx"));
    assert_eq!(
        onnx.field("content-length"),
        Some(length.to_string().as_str())
    );
    let report = served.get(&format!("{run}/search/files/report.html"));
    report.has(&["<!DOCTYPE html>", "id=\"data\""]);
    assert_eq!(
        served.get(&format!("{run}/search/files/model.onnx")).status,
        404
    );
    let head = served.ask("HEAD", &format!("{run}/search"), "");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[test]
fn runs_are_compared() {
    let runs = Runs::new();
    let other = runs.logdir().join("darts_fashion_mnist_mini_other_search");
    copy(&runs.search(), &other);
    let started = other.join("run.json");
    let text = std::fs::read_to_string(&started).unwrap();
    let text = text.replacen("\"common.seed\": 2", "\"common.seed\": 7", 1);
    std::fs::write(&started, text).unwrap();
    let served = Served::new(&runs.logdir());
    let list = served.get("/").body;
    let ids: Vec<&str> = list
        .split("data-id=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert_eq!(ids.len(), 2);
    let page = served.get(&format!("/compare?runs={}", ids.join(",")));
    page.has(&[
        "Searches: curves",
        "Searches: figures",
        "Searches: settings that differ",
        "Searches: found cells",
        "Evaluations: figures",
        "Accuracy on validation data",
        NAME,
        "darts_fashion_mnist_mini_other",
    ]);
    let few = served.get("/compare?runs=nothing");
    few.has(&["Choose two runs or more"]);
}

#[test]
fn names_stay_text() {
    let runs = Runs::new();
    let evil = runs.logdir().join("<img src=x onerror=alert(1)>_search");
    copy(&runs.search(), &evil);
    let served = Served::new(&runs.logdir());
    for target in ["/", "/pieces"] {
        let body = served.get(target).body;
        assert!(
            !body.contains("<img") && body.contains("&lt;img"),
            "{target}"
        );
    }
}

#[test]
fn a_single_directory_is_enough() {
    let runs = Runs::new();
    let served = Served::new(&runs.search());
    let run = served.run();
    // The evaluation beside it belongs to the run.
    served
        .get(&format!("{run}/evaluation"))
        .has(&["files/model.onnx"]);
    let file = served.get(&format!("{run}/search/files/final_model_desc.yaml"));
    assert_eq!(file.status, 200);
}
