//! What the page of an evaluation says of its test: it must be what the run recorded, and nothing where that is missing.

use std::fs;

use archai_lab::RunDir;
use archai_lab::rundir::TestPrediction;
use archai_spec::numbers::percent;
use serde_json::{Value, json};

use crate::support::{Copied, data, has, page};

const PREDICTIONS: &str = "test_predictions.csv";

/// Changes `result.json`.
fn change(dir: &RunDir, change: impl FnOnce(&mut Value)) {
    let text = fs::read_to_string(dir.file("result.json")).unwrap();
    let mut record: Value = serde_json::from_str(&text).unwrap();
    change(&mut record);
    fs::write(dir.file("result.json"), record.to_string()).unwrap();
}

fn said(dir: &RunDir) -> Vec<TestPrediction> {
    dir.predictions().unwrap().unwrap()
}

#[test]
fn matrix_and_classes_are_those_of_the_predictions() {
    let copied = Copied::new();
    let dir = copied.eval();
    let (page, said) = (page(&dir), said(&dir));
    let record = dir.record().unwrap().unwrap();
    let data = &data(&page)["test"];
    let names = &record.data["test"].class_names;
    assert!(said.len() > 5 && names.len() == 10, "{names:?}");
    let count = |of: &dyn Fn(&TestPrediction) -> bool| said.iter().filter(|p| of(p)).count();
    for (truth, name) in names.iter().enumerate() {
        for taken in 0..names.len() {
            let n = count(&|p| p.label == truth && p.predicted == Some(taken));
            assert_eq!(data["confusion"][truth][taken], json!(n), "{truth} {taken}");
            if n > 0 {
                let taken = &names[taken];
                has(
                    &page,
                    &[&format!("title=\"{name} taken for {taken}: {n}, ")],
                );
            }
        }
        let all = count(&|p| p.label == truth);
        let right = count(&|p| p.label == truth && p.predicted == Some(truth));
        let class = &data["classes"][truth];
        assert_eq!(
            (&class["name"], &class["pictures"]),
            (&json!(name), &json!(all))
        );
        assert_eq!(class["right"], json!(right));
        let share = (all > 0).then(|| percent(right as f64 / all as f64));
        let row = format!(
            "<tr><th scope=\"row\">{name}</th><td class=\"n\">{all}</td> <td class=\"n\">{right}</td><td class=\"n\">{}</td></tr>",
            share.unwrap_or("–".to_string())
        );
        let squeezed = page.replace("</td> <td", "</td><td");
        assert!(
            squeezed.contains(&row.replace("</td> <td", "</td><td")),
            "{row}"
        );
    }
    let right = count(&|p| p.predicted == Some(p.label)) as f64 / said.len() as f64;
    assert!((right - record.figures["test_top1"]).abs() < 1e-12);
}

#[test]
fn the_surest_mistakes_are_shown_with_their_pictures() {
    let copied = Copied::new();
    let dir = copied.eval();
    let (page, mut wrong) = (page(&dir), said(&dir));
    wrong.retain(|p| p.predicted != Some(p.label));
    wrong.sort_by(|a, b| {
        b.probability
            .total_cmp(&a.probability)
            .then(a.index.cmp(&b.index))
    });
    wrong.truncate(36);
    assert!(!wrong.is_empty());
    let shown = data(&page)["test"]["surest_mistakes"].clone();
    let indices: Vec<u64> = wrong.iter().map(|p| p.index as u64).collect();
    let on_page = shown.as_array().unwrap().iter();
    let on_page: Vec<u64> = on_page.map(|p| p["index"].as_u64().unwrap()).collect();
    assert_eq!(on_page, indices);
    assert_eq!(
        page.matches("src=\"data:image/png;base64,").count(),
        wrong.len()
    );
    has(&page, &["img-src data:;", &percent(wrong[0].probability)]);
    assert_eq!(
        page.matches("src=\"").count(),
        wrong.len(),
        "all pictures are in the page"
    );
    assert!(page.len() < 400_000, "{} bytes", page.len());
}

#[test]
fn pictures_of_other_data_are_not_shown() {
    let copied = Copied::new();
    let dir = copied.eval();
    change(&dir, |record| {
        record["data"]["test"]["digest"] = "0123456789abcdef".into();
    });
    let page = page(&dir);
    has(
        &page,
        &[
            "The pictures cannot be shown: the test data changed since",
            "The mistakes without their pictures",
            "picture ",
        ],
    );
    assert!(!page.contains("<img"));
}

#[test]
fn predictions_that_are_missing_damaged_or_of_another_test_are_left_out() {
    let whole = "index,name,label,predicted,probability,label_probability\n";
    for (text, expect) in [
        (None, "there is no file of its test"),
        (
            Some("<script>alert(1)</script>".to_string()),
            "test_predictions.csv",
        ),
        (Some(whole.to_string()), "there are none"),
        (
            Some(format!("{whole}0,,1,1,0.9,0.9\n")),
            "another test left them",
        ),
        (Some(format!("{whole}0,,77,1,0.9,0.9\n")), "name class 77"),
        (Some(format!("{whole}0,,1,1,0.9")), "is damaged"),
    ] {
        let copied = Copied::new();
        let dir = copied.eval();
        match &text {
            Some(text) => fs::write(dir.file(PREDICTIONS), text).unwrap(),
            None => fs::remove_file(dir.file(PREDICTIONS)).unwrap(),
        }
        let page = page(&dir);
        has(&page, &["test accuracy</p>", expect]);
        assert!(!page.contains("<script>alert") && !page.contains("What is taken for what"));
        assert_eq!(data(&page)["test"], Value::Null);
    }
}

#[test]
fn names_of_classes_and_files_stay_text() {
    const EVIL: &str = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\\\"'";
    let copied = Copied::new();
    let dir = copied.eval();
    change(&dir, |record| {
        for name in record["data"]["test"]["class_names"]
            .as_array_mut()
            .unwrap()
        {
            *name = EVIL.into();
        }
        record["data"]["test"]["digest"] = EVIL.into();
    });
    let text = fs::read_to_string(dir.file(PREDICTIONS)).unwrap();
    let quoted = format!("\"{}\"", EVIL.replace('"', "\"\""));
    let mut lines = text.lines();
    let head = lines.next().unwrap();
    let rows = lines.map(|line| {
        let (index, rest) = line.split_once(",,").unwrap();
        format!("{index},{quoted},{rest}\n")
    });
    fs::write(
        dir.file(PREDICTIONS),
        format!("{head}\n{}", rows.collect::<String>()),
    )
    .unwrap();
    let page = page(&dir);
    assert!(
        !page.contains("<script>alert") && !page.contains("<img src=x"),
        "a text became an element"
    );
    assert_eq!(page.matches("<script").count(), 2);
    assert_eq!(data(&page)["test"]["surest_mistakes"][0]["name"], EVIL);
    has(&page, &["&lt;script&gt;alert(1)"]);
}

#[test]
fn several_networks_are_compared() {
    let copied = Copied::new();
    let dir = copied.eval();
    fs::create_dir(dir.file("model_desc_gallery")).unwrap();
    for number in [2, 11] {
        let desc = dir
            .file("model_desc_gallery")
            .join(format!("model_desc_{number}.yaml"));
        fs::copy(dir.file("final_model_desc.yaml"), desc).unwrap();
        let own = dir.file(&format!("model_desc_{number}_{PREDICTIONS}"));
        fs::copy(dir.file(PREDICTIONS), own).unwrap();
    }
    has(
        &page(&dir),
        &[
            "2 networks of the search were evaluated",
            "<td class=\"n\">11</td>",
        ],
    );
}

#[test]
fn times_of_the_record_stand_on_the_page() {
    let copied = Copied::new();
    let dir = copied.eval();
    has(&page(&dir), &["not measured; <code>archai evaluate"]);
    change(&dir, |record| {
        record["figures"]["latency_seconds"] = 0.00125.into();
        record["figures"]["latency_p90_seconds"] = 0.0025.into();
    });
    let log = fs::read_to_string(dir.file("log.jsonl")).unwrap();
    let more = "{\"path\":\"run/end\",\"values\":{\"peak_memory\":1073741824}}\n";
    fs::write(dir.file("log.jsonl"), log + more).unwrap();
    has(
        &page(&dir),
        &[
            "1.250 ms in the median, nine of ten within 2.500 ms",
            "1.0 GiB",
        ],
    );
}
