//! What runs found, on the terminal.

use std::fmt::Write;

use archai_lab::Outcome;
use archai_lab::summary::time;
use archai_spec::numbers::{millions, percent, thousands};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// The closing table and where everything lies.
pub fn for_terminal(outcomes: &[Outcome], toy: bool) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header([
        "run",
        "test accuracy",
        "parameters",
        "multiply-adds",
        "search",
        "evaluation",
    ]);
    for o in outcomes {
        let (search, eval) = (o.search.as_ref(), o.eval.as_ref());
        let none = || "-".to_string();
        table.add_row([
            o.title.clone(),
            eval.and_then(|e| e.test_top1).map_or_else(none, percent),
            eval.map(|e| e.parameters)
                .or(search.map(|s| s.parameters))
                .map_or_else(none, thousands),
            eval.map(|e| e.macs)
                .or(search.map(|s| s.macs))
                .map_or_else(none, millions),
            search.map_or_else(none, |s| time(s.seconds)),
            eval.map_or_else(none, |e| time(e.seconds)),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut out = format!("\n{table}\n");
    for outcome in outcomes {
        for remark in outcome.remarks() {
            let _ = writeln!(out, "\n{}: {remark}", outcome.title);
        }
    }
    for outcome in outcomes {
        for (dir, files) in outcome.places() {
            let _ = writeln!(out, "\n{}/", dir.display());
            let width = files
                .iter()
                .map(|(name, _)| name.chars().count())
                .max()
                .unwrap_or(0);
            for (name, what) in files {
                let _ = writeln!(out, "  {name:<width$}  {what}");
            }
        }
    }
    if toy {
        out.push_str(
            "\nThis was toy mode: a few batches per phase, to see that everything works and moves. --full takes the\n\
             published settings.\n",
        );
    }
    out
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
        let terminal = for_terminal(&[outcome], false);
        let expect = "\ndarts on mnist: warning: all skips\n\ndarts on mnist: note: ended early\n";
        assert!(terminal.contains(expect), "{terminal}");
    }
}
