//! Directories that are damaged, cut short, or made to do harm.

use archai_lab::{Lab, RunDir};
use archai_report::run_page;

use crate::support::{Copied, data, has, page};

#[test]
fn a_folder_without_a_run_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    let error = |dir: RunDir| run_page(&Lab::builtin(), &dir).unwrap_err().to_string();
    for dir in [
        RunDir::new(root.path()),
        RunDir::new(root.path().join("nowhere")),
    ] {
        let text = error(dir);
        assert!(
            text.contains("is no run directory") && text.contains("they are not there"),
            "{text}"
        );
    }
    std::fs::write(root.path().join("run.json"), "{\"version\": 9}").unwrap();
    let text = error(RunDir::new(root.path()));
    assert!(text.contains("version 9"), "{text}");
}

#[test]
fn what_is_missing_is_left_out_and_said() {
    // (file that goes, what the page says)
    let cases = [
        ("log.jsonl", "There is no log for programs"),
        (
            "final_model_desc.yaml",
            "there is no <code>final_model_desc.yaml</code>",
        ),
        ("result.json", "<strong>Not finished</strong>"),
        ("run.json", "run.json is missing or cannot be read"),
        ("config_used.yaml", "ops have numbers instead of names"),
    ];
    for (file, expect) in cases {
        let copied = Copied::new();
        let dir = copied.search();
        std::fs::remove_file(dir.file(file)).unwrap();
        has(&page(&dir), &[expect, "Where it comes from"]);
    }
}

#[test]
fn damage_is_left_out_and_said() {
    for file in ["result.json", "run.json", "final_model_desc.yaml"] {
        let copied = Copied::new();
        let dir = copied.search();
        std::fs::write(dir.file(file), "{\"version\": [<script>alert(1)</script>").unwrap();
        let page = page(&dir);
        has(&page, &["is left out: "]);
        assert!(!page.contains("<script>alert"), "{file}");
    }
}

#[test]
fn lines_that_are_cut_or_odd_are_counted() {
    let copied = Copied::new();
    let dir = copied.search();
    let path = dir.file("log.jsonl");
    let mut log = std::fs::read(&path).unwrap();
    let whole = data(&page(&dir));
    let odd = [
        r#"{"path":"arch_search/arch_train/epochs/99999999999999999999/train","values":{"top1":0.5}}"#,
        r#"{"path":"arch_search/arch_train/epochs","values":{"top1":0.5}}"#,
        r#"{"path":"epochs/0/train","values":{"top1":"NaN","loss":null,"x":[1,{}]}}"#,
        r#"{"path":"arch_search/arch_train/epochs/1/alphas","values":{"cell0.node0.edge0":[],"cell9.node9.edge9":[1e308,-1e308],"odd":[1]}}"#,
        r#"{"path":"arch_search/arch_train/epochs/1/guard","values":{"skip_share":1e300,"entropy":-7,"eigenvalue":"inf"}}"#,
    ];
    log.extend(odd.join("\n").bytes());
    log.extend(b"\n\xff\xfe\n\n{\"time\":\"2026-01-01T00:00:00Z\",\"path\":\"arch_search/arch_tr");
    std::fs::write(&path, log).unwrap();
    let page = page(&dir);
    has(&page, &["2 lines of the log could not be read"]);
    let epochs =
        |data: &serde_json::Value| data["trainings"][0]["epochs"].as_array().unwrap().len();
    assert_eq!(epochs(&data(&page)), epochs(&whole));
}

#[test]
fn texts_of_a_run_are_texts_on_its_page() {
    const EVIL: &str = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\\\"'";
    let copied = Copied::new();
    let dir = copied.search();
    for file in ["run.json", "result.json"] {
        let text = std::fs::read_to_string(dir.file(file)).unwrap();
        let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
        for key in ["algorithm", "program", "digest", "device", "dataset"] {
            if value.get(key).is_some() {
                value[key] = EVIL.into();
            }
        }
        if let Some(arguments) = value.get_mut("arguments") {
            *arguments = serde_json::json!(["run", EVIL]);
        }
        if value.get("outcome").is_some() {
            value["outcome"]["genotype"] = EVIL.into();
            value["figures"][EVIL] = 1.into();
        }
        value["settings"]["nas.search.odd"] = EVIL.into();
        std::fs::write(dir.file(file), value.to_string()).unwrap();
    }
    let mut log = std::fs::read_to_string(dir.file("log.jsonl")).unwrap();
    let evil = serde_json::json!(EVIL);
    log += &format!(
        "{{\"time\":\"2026-01-01T00:00:00Z\",\"level\":\"warning\",\"message\":{evil}}}\n"
    );
    log += &format!("{{\"path\":{evil},\"values\":{{{evil}:1}}}}\n");
    log += &format!("{{\"path\":\"x/epochs/1/train\",\"values\":{{{evil}:1,\"top1\":0.5}}}}\n");
    std::fs::write(dir.file("log.jsonl"), log).unwrap();
    std::fs::write(dir.file("<script>alert(1)<"), "").unwrap();
    let page = page(&dir);
    assert!(
        !page.contains("<script>alert") && !page.contains("<img"),
        "a text became an element"
    );
    assert_eq!(page.matches("<script").count(), 2);
    has(&page, &["&lt;script&gt;alert(1)"]);
    assert!(data(&page)["figures"].get(EVIL).is_some());
}
