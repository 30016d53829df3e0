//! The answers on top of a page: what was found, how good it is, whether the search collapsed.

use archai_lab::Phase;
use archai_spec::desc::ModelDesc;
use archai_spec::numbers::{percent, thousands};
use maud::html;

use crate::cells::in_words;
use crate::log::{RunLog, Training};
use crate::page::{Card, Tone};
use crate::words::{SKIP, interval, plural, wilson, worst_regular};

/// Entropy above which the ops of a supernet can hardly be told apart.
const UNDECIDED: f64 = 0.95;
/// Skip connections of a regular cell from which DARTS+ stops a search (Liang et al. 2019, arXiv:1909.06035).
const MANY_SKIPS: usize = 2;

/// Epochs whose eigenvalues are compared with those of as many before, and the ratio below which that is a sign of collapse
/// (Zela et al. 2020, arXiv:1909.09656, section 4.3).
const WINDOW: usize = 5;
const EIGENVALUE_RATIO: f64 = 0.75;

/// Whether the eigenvalue grew at the end as it does before a collapse.
fn grew(values: &[f64]) -> bool {
    let Some(before) = values.len().checked_sub(2 * WINDOW) else {
        return false;
    };
    let mean = |part: &[f64]| part.iter().map(|v| v.abs()).sum::<f64>() / WINDOW as f64;
    let (earlier, last) = values[before..].split_at(WINDOW);
    mean(earlier) < EIGENVALUE_RATIO * mean(last)
}

/// What was found, or that nothing was. `has_file` says whether the directory has a description, readable or not.
pub fn found(
    desc: Option<&ModelDesc>,
    has_file: bool,
    finished: bool,
    last_message: Option<&str>,
) -> Card {
    let question = "What was found";
    let Some(desc) = desc else {
        let (answer, reason) = match (has_file, finished) {
            (false, false) => (
                "Nothing yet",
                html! { "The search writes the network that it found (" code { "final_model_desc.yaml" } ") when it ends." },
            ),
            (false, true) => (
                "The description is missing",
                html! { "The search has ended, but there is no " code { "final_model_desc.yaml" } " in its directory." },
            ),
            (true, _) => (
                "The description cannot be read",
                html! { code { "final_model_desc.yaml" } " is damaged; what is wrong with it stands above." },
            ),
        };
        let mut reasons = vec![reason];
        if let Some(text) = last_message.filter(|_| !finished) {
            reasons.push(html! { "The log ends with: " (text) });
        }
        return Card {
            question,
            answer: answer.to_string(),
            tone: Tone::Warn,
            reasons,
        };
    };
    let reductions = desc
        .cells
        .iter()
        .filter(|c| c.cell_type == archai_spec::desc::CellType::Reduction)
        .count();
    Card {
        question,
        answer: format!("A network of {}", plural(desc.cells.len(), "cell")),
        tone: Tone::Plain,
        reasons: vec![
            html! { (plural(reductions, "reduction")) " among them, which halve the picture. Ops of the " (in_words(desc)) "." },
            html! { a href="#cells" { "The cells, drawn" } },
        ],
    }
}

/// An accuracy on test pictures with what it may be by chance.
pub fn tested(
    top1: f64,
    images: Option<usize>,
    chance: Option<f64>,
) -> (String, Vec<maud::Markup>) {
    let mut reasons = Vec::new();
    match images.and_then(|n| Some((n, wilson(top1, n)?))) {
        Some((n, ends)) => reasons.push(html! {
            "Right about " (format!("{:.0}", top1 * n as f64)) " of " (thousands(n as u64)) " test pictures; 95 % confidence interval "
            (interval(ends)) " (of the pictures; other seeds vary beyond it)."
        }),
        None => reasons.push(html! { "The number of test pictures is not recorded, so there is no confidence interval." }),
    }
    reasons.extend(chance.map(|c| html! { "Guessing gives " (percent(c)) "." }));
    (format!("{} test accuracy", percent(top1)), reasons)
}

/// Whether the search collapsed, as far as its files tell. `beside` is the name of the search's directory, if it lies beside.
pub fn collapse(
    phase: Phase,
    desc: Option<&ModelDesc>,
    search: Option<&Training>,
    log: &RunLog,
    beside: Option<&str>,
) -> Card {
    let question = "Did the search collapse?";
    let worst = desc.and_then(worst_regular);
    let guarded: Vec<_> = search
        .iter()
        .flat_map(|t| t.epochs.values())
        .filter(|e| !e.guard.is_empty())
        .collect();
    let last = guarded.last().map(|epoch| &epoch.guard);
    let mut reasons = Vec::new();
    let mut leans = false;
    let (answer, mut tone) = match worst {
        None => ("Not known".to_string(), Tone::Plain),
        Some((skips, edges)) => {
            reasons.push(html! {
                (skips) " of the " (edges) " edges of the found regular cell are skip connections (" (percent(skips as f64 / edges as f64))
                "). Searches that collapse choose " code { (SKIP) } " nearly everywhere."
            });
            if 2 * skips > edges {
                ("Yes, it looks so".to_string(), Tone::Bad)
            } else if skips >= MANY_SKIPS {
                reasons.push(html! { "DARTS+ stops a search at " (MANY_SKIPS) " skip connections in a regular cell." });
                ("Perhaps: many skip connections".to_string(), Tone::Warn)
            } else {
                ("No sign of it".to_string(), Tone::Good)
            }
        }
    };
    match last {
        None => reasons.push(match phase {
            Phase::Eval => html! {
                "What the guard saw stands on the page of the "
                @match beside { Some(name) => a href={ "../" (name) "/report.html" } { "search" }, None => "search" }
                "."
            },
            Phase::Search => html! { "No supernet was watched here, so that the guard says nothing: algorithms that train whole networks cannot collapse in this way." },
        }),
        Some(last) => {
            if let Some(entropy) = last.get("entropy") {
                reasons.push(html! {
                    "The weights of the ops have entropy " (format!("{entropy:.2}")) " (0: one op has all, 1: all are equal)"
                    @if *entropy > UNDECIDED { ": the search has hardly decided, and another seed may well find other cells" }
                    "."
                });
                if *entropy > UNDECIDED && tone == Tone::Good {
                    tone = Tone::Warn;
                }
            }
            if let Some(share) = last.get("skip_share") {
                reasons.push(html! {
                    "After the last epoch, " (percent(*share)) " of the ops that the supernet would choose were skip connections, in all cells."
                });
                leans |= *share > 0.5;
            }
            let values: Vec<f64> = guarded.iter().filter_map(|e| e.guard.get("eigenvalue").copied()).collect();
            match values.as_slice() {
                [] => {}
                [one] => reasons.push(html! { "Dominant eigenvalue of the validation loss: " (format!("{one:.4}")) "." }),
                [first, .., end] => reasons.push(html! {
                    "The dominant eigenvalue of the validation loss went from " (format!("{first:.4}")) " to " (format!("{end:.4}"))
                    "; a strong growth comes before a collapse."
                }),
            }
            if grew(&values) {
                leans = true;
                reasons.push(html! {
                    "The mean of its absolute value over the last " (WINDOW) " epochs is more than 4/3 of that over the " (WINDOW)
                    " before: the sign by which Zela et al. (arXiv:1909.09656) stop a search."
                });
            }
        }
    }
    let answer = match (answer.as_str(), tone) {
        ("No sign of it", Tone::Good | Tone::Warn) if leans => {
            tone = Tone::Warn;
            "Perhaps: the supernet leant to it".to_string()
        }
        ("No sign of it", Tone::Warn) => "No, but it hardly decided".to_string(),
        _ => answer,
    };
    if !log.warnings.is_empty() {
        reasons.push(
            html! { a href="#warnings" { (plural(log.warnings.len(), "warning")) " of the run" } },
        );
    }
    Card {
        question,
        answer,
        tone,
        reasons,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_seen_over_two_windows() {
        assert!(!grew(&[0.1, 9.0, 9.0]));
        assert!(!grew(&[1.0; 12]));
        let last = |v: f64| [vec![7.0], vec![-1.0; 5], vec![v; 5]].concat();
        assert!(!grew(&last(1.3)) && grew(&last(1.4)));
    }
}
