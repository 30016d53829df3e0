//! What runs found, on the terminal.

use std::fmt::Write;
use std::path::Path;

use archai_lab::rundir::{REPORT_FILE, SUMMARY_FILE};
use archai_lab::summary::time;
use archai_lab::{Outcome, RunMode};
use archai_spec::numbers::{millions, percent, thousands};
use serde_json::{Value, json};

use super::text::{self, wrapped};

/// How many files of a run are named; a gallery has many.
const MOST_FILES: usize = 8;

/// How wide texts are that go to no terminal.
const USUAL_WIDTH: usize = 80;

/// Where results are shown.
#[derive(Clone, Debug, Default)]
pub struct Screen {
    /// Its width; none for a file.
    pub width: Option<usize>,
    /// What it has shown already.
    pub said: Vec<String>,
    /// Only figures and remarks are wanted.
    pub is_short: bool,
}

/// The closing table and where everything lies. Remarks that the same screen has shown are not repeated.
pub fn for_terminal(outcomes: &[Outcome], mode: Option<RunMode>, screen: &Screen) -> String {
    let Screen {
        width,
        said,
        is_short,
    } = screen;
    let width = *width;
    let rows: Vec<Vec<String>> = outcomes.iter().map(|outcome| row(outcome).into()).collect();
    let mut out = format!("\n{}\n", text::table(&HEADER, 1, &rows, width));
    let is_new = |remark: &String| !said.iter().any(|text| remark.ends_with(text));
    for outcome in outcomes {
        for remark in outcome.remarks().into_iter().filter(is_new) {
            let remark = format!("{}: {remark}", outcome.title);
            let _ = writeln!(out, "\n{}", wrapped(&remark, width, 2));
        }
    }
    if *is_short {
        return out;
    }
    let is_single = outcomes.len() == 1;
    for (dir, mut files) in outcomes.iter().flat_map(Outcome::essentials) {
        let _ = writeln!(out, "\n{}/", dir.display());
        // Of many runs the summaries say it.
        files.retain(|_| is_single);
        let left_out = files.len().saturating_sub(MOST_FILES);
        files.truncate(MOST_FILES);
        if dir.join(REPORT_FILE).is_file() {
            files.push((REPORT_FILE.into(), "a page to look at".into()));
        }
        if dir.join(SUMMARY_FILE).is_file() {
            let more = match left_out {
                0 => String::new(),
                n => format!(", {n} more networks among them"),
            };
            files.push((
                SUMMARY_FILE.into(),
                format!("what all files here are{more}"),
            ));
        }
        let names = files.iter().map(|(name, _)| name.chars().count());
        let column = names.max().unwrap_or(0);
        for (name, what) in files {
            let line = format!("  {name:<column$}  {what}");
            let _ = writeln!(out, "{}", wrapped(&line, width, column + 4));
        }
    }
    let mode = match mode {
        Some(RunMode::Toy) => {
            "This was toy mode: small networks and four passes over the images, to see that they learn. With few images, \
             take more epochs (--nas.eval.trainer.epochs 20); --full takes the published settings."
        }
        Some(RunMode::Smoke) => {
            "This was smoke mode: a handful of steps per phase, to see that everything works. Without --smoke more steps \
             are taken; --full takes the published settings."
        }
        Some(RunMode::Full) | None => return out,
    };
    let _ = writeln!(out, "\n{}", wrapped(mode, width.or(Some(USUAL_WIDTH)), 0));
    out
}

/// Version of what [`as_json`] gives.
const RESULTS_VERSION: u32 = 1;

/// What runs found, for programs; and what went wrong, if something did.
pub fn as_json(outcomes: &[Outcome], error: Option<String>) -> Result<String, serde_json::Error> {
    let phase = |dir: Option<&Path>, result: Result<Value, serde_json::Error>| {
        let result = result?;
        Ok::<Value, serde_json::Error>(match result {
            Value::Null => Value::Null,
            result => json!({ "dir": dir, "result": result }),
        })
    };
    let runs = outcomes.iter().map(|outcome| {
        let search = serde_json::to_value(&outcome.search);
        let eval = serde_json::to_value(&outcome.eval);
        Ok(json!({
            "title": outcome.title,
            "search": phase(outcome.search_dir.as_deref(), search)?,
            "evaluation": phase(outcome.eval_dir.as_deref(), eval)?,
            "table": outcome.table.as_ref().map(|entry| &entry.figures),
            "remarks": outcome.remarks(),
        }))
    });
    let runs = runs.collect::<Result<Vec<Value>, serde_json::Error>>()?;
    let all = json!({ "version": RESULTS_VERSION, "runs": runs, "error": error });
    Ok(format!("{all:#}\n"))
}

const HEADER: [&str; 6] = [
    "run",
    "test accuracy",
    "parameters",
    "multiply-adds",
    "search",
    "evaluation",
];

/// What stands under [`HEADER`]. The sizes are those of the network that was tested; of one that was only found they are
/// those in which it was searched for, and say so.
fn row(outcome: &Outcome) -> [String; 6] {
    let (search, eval) = (outcome.search.as_ref(), outcome.eval.as_ref());
    let none = || "-".to_string();
    let sizes = match (eval, search) {
        (Some(eval), _) => [thousands(eval.parameters), millions(eval.macs)],
        (None, Some(search)) => [thousands(search.parameters), millions(search.macs)]
            .map(|size| format!("{size} at search size")),
        (None, None) => [none(), none()],
    };
    let [parameters, macs] = sizes;
    [
        outcome.title.clone(),
        eval.and_then(|e| e.test_top1).map_or_else(none, percent),
        parameters,
        macs,
        search.map_or_else(none, |s| time(s.seconds)),
        eval.map_or_else(none, |e| time(e.seconds)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use archai_engine::searcher::SearchResult;

    #[test]
    fn notes_and_warnings_are_shown() {
        let search = SearchResult {
            notes: vec!["ended early".into()],
            warnings: vec!["all skips".into()],
            ..SearchResult::default()
        };
        let outcome = Outcome {
            title: "darts on mnist".into(),
            search: Some(search),
            ..Outcome::default()
        };
        let outcomes = [outcome];
        let terminal = for_terminal(&outcomes, None, &Screen::default());
        let expect = "\ndarts on mnist: warning: all skips\n\ndarts on mnist: note: ended early\n";
        assert!(terminal.contains(expect), "{terminal}");
        // What the screen has shown already is not said again.
        let terminal = for_terminal(
            &outcomes,
            None,
            &Screen {
                said: vec!["all skips".to_string()],
                ..Screen::default()
            },
        );
        assert!(
            !terminal.contains("all skips") && terminal.contains("note: ended early"),
            "{terminal}"
        );
    }

    #[test]
    fn figures_fit_on_a_narrow_screen_and_say_whose_they_are() {
        let searched = Outcome {
            title: "an_algorithm_with_a_long_name on a_data_set_with_a_long_name".into(),
            search: Some(SearchResult {
                parameters: 19_002,
                macs: 9_822_848,
                ..SearchResult::default()
            }),
            ..Outcome::default()
        };
        let shown = |width| {
            let screen = Screen {
                width,
                ..Screen::default()
            };
            for_terminal(std::slice::from_ref(&searched), Some(RunMode::Toy), &screen)
        };
        let wide = shown(None);
        assert!(wide.contains("19,002 at search size"), "{wide}");
        for width in [80, 60] {
            let text = shown(Some(width));
            for line in text.lines() {
                assert!(line.chars().count() <= width.max(60), "{width}: {line}");
            }
            for word in [
                "multiply-adds",
                "an_algorithm_with_a_long_name",
                "published",
            ] {
                assert!(text.contains(word), "{word} is broken in {text}");
            }
        }
    }
}
