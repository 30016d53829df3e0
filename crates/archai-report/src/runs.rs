//! The page of many runs: what `archai report collate` computes, as pictures.

use std::collections::BTreeSet;

use archai_lab::report::{BASELINE, Baseline, Collation, Group, Row, Sample};
use archai_spec::numbers::percent;
use maud::{Markup, html};
use serde_json::{Value, json};

use crate::chart::{Interval, Mark, Spot, intervals, scatter};
use crate::page::{Card, Section, Tone, page, scrolled};
use crate::parallel::{ALGORITHM, Axes, Course, SIZE, parallel};
use crate::ticks::Unit;
use crate::words::{interval, plural};

/// The accuracies that are drawn, where runs have them.
const ACCURACIES: [(&str, &str); 5] = [
    ("test_top1", "Test accuracy"),
    (
        "nb201_cifar10_top1",
        "True test accuracy on CIFAR-10 (table)",
    ),
    (
        "nb201_cifar100_top1",
        "True test accuracy on CIFAR-100 (table)",
    ),
    (
        "nb201_imagenet16_top1",
        "True test accuracy on ImageNet16-120 (table)",
    ),
    ("supernet_val_top1", "Validation accuracy in the search"),
];

/// The tables of NAS-Bench-201, as figures and people call them.
const TABLES: [(&str, &str); 3] = [
    ("cifar10", "CIFAR-10"),
    ("cifar100", "CIFAR-100"),
    ("imagenet16", "ImageNet16-120"),
];

/// The page of the runs that `collation` has; `place` says where they lie.
///
/// ```
/// let collation = archai_lab::report::collate(Vec::new(), Vec::new());
/// assert!(archai_report::runs_page(&collation, "logdir").starts_with("<!DOCTYPE html>"));
/// ```
pub fn runs_page(collation: &Collation, place: &str) -> String {
    let runs: usize = collation.groups.iter().map(|group| group.runs.len()).sum();
    let below = html! {
        p.soft {
            (plural(runs, "run")) " in " (plural(collation.groups.len(), "group")) " below " code { (place) }
            ". Runs of a group differ in nothing but their seed."
            @if !collation.left_out.is_empty() { " " (collation.left_out.len()) " left out." }
        }
    };
    let datasets: BTreeSet<&str> = collation
        .groups
        .iter()
        .map(|g| g.dataset.as_str())
        .collect();
    let cards: Vec<Card> = datasets
        .iter()
        .map(|dataset| best(collation, dataset))
        .collect();
    let intro = html! {
        @if collation.groups.iter().any(|group| group.toy) {
            p.note { "Some of these were not run with the published settings (marked toy): their figures show that everything works, not what the algorithms can do." }
        }
        div.cards { @for card in &cards { (card.draw()) } }
    };
    let data = json!({ "collation": serde_json::to_value(collation).unwrap_or(Value::Null) });
    page(
        "Runs beside each other",
        below,
        intro,
        sections(collation, &datasets),
        &data,
    )
}

fn row<'a>(group: &'a Group, figure: &str) -> Option<&'a Row> {
    group.rows.iter().find(|row| row.figure == figure)
}

fn name_of(group: &Group) -> String {
    let toy = if group.toy { ", toy" } else { "" };
    format!("{} ({}{toy})", group.algorithm, group.number)
}

/// The best group on a data set, and what its lead is worth.
fn best(collation: &Collation, dataset: &str) -> Card {
    let groups = collation
        .groups
        .iter()
        .filter(|group| group.dataset == dataset);
    let tested = groups.filter_map(|group| Some((group, row(group, "test_top1")?)));
    let best = tested.max_by(|a, b| a.1.own.mean.total_cmp(&b.1.own.mean));
    let question = "Best on average";
    let Some((group, row)) = best else {
        return Card {
            question,
            answer: format!("{dataset}: nothing was tested"),
            tone: Tone::Warn,
            reasons: vec![
                html! { "No group has a test accuracy: no evaluation of these runs has ended." },
            ],
        };
    };
    let mut reasons = vec![html! { "On " (dataset) ": " (with_interval(&row.own)) "." }];
    let mut tone = Tone::Plain;
    match (&group.baseline, &row.difference) {
        (Baseline::Itself, _) => {
            tone = Tone::Warn;
            reasons.push(html! { "That is random search: nothing here does better than choosing by chance." });
        }
        (Baseline::None(why), _) => {
            tone = Tone::Warn;
            reasons.push(html! { "There is no random baseline to compare with: " (why) "." });
        }
        (Baseline::Group { .. }, None) => {
            reasons.push(html! { "The random baseline has no test." })
        }
        (Baseline::Group { .. }, Some(difference)) => {
            reasons.push(html! { (points(difference.mean)) " against random search." });
            match difference.ci95 {
                Some([low, _]) if low > 0.0 => {
                    tone = Tone::Good;
                    reasons.push(html! { "The 95 % interval of the difference lies above zero." });
                }
                Some([low, high]) => {
                    tone = Tone::Warn;
                    reasons.push(html! { "The 95 % interval of the difference, " (points(low)) " to " (points(high)) ", holds zero: the lead may be chance." });
                }
                None => {
                    tone = Tone::Warn;
                    reasons.push(html! { "With one seed nobody knows whether the difference is more than chance; give " code { "--seeds 1,2,3" } "." });
                }
            }
        }
    }
    Card {
        question,
        answer: format!("{}: {}", group.algorithm, percent(row.own.mean)),
        tone,
        reasons,
    }
}

/// A difference of shares in percentage points.
fn points(v: f64) -> String {
    format!("{:+.2} points", 100.0 * v)
}

fn with_interval(sample: &Sample) -> String {
    let seeds = plural(sample.n, "seed");
    match sample.ci95 {
        Some(ends) => format!(
            "{} over {seeds}, 95 % interval {}",
            percent(sample.mean),
            interval(ends)
        ),
        None => format!("{}, {seeds}", percent(sample.mean)),
    }
}

fn sections(collation: &Collation, datasets: &BTreeSet<&str>) -> Vec<Section> {
    let mut all = Vec::new();
    let mut add = |id, title, body| all.push(Section { id, title, body });
    add(
        "accuracies",
        "Algorithms beside each other",
        html! {
            p { "A point is the mean over the seeds, a bar its 95 % confidence interval; one seed has no bar. The dashed line is the mean of " code { (BASELINE) } "." }
            div.charts { @for dataset in datasets { (accuracies(collation, dataset)) } }
        },
    );
    let sizes = html! {
        @for dataset in datasets {
            (size(collation, dataset, "parameters", "parameters", 1.0))
            (size(collation, dataset, "macs", "multiply-adds for one picture", 1.0))
            (size(collation, dataset, "latency_seconds", "milliseconds for one picture, median", 1e3))
        }
    };
    if !sizes.0.is_empty() {
        add(
            "sizes",
            "Accuracy against size and time",
            html! {
                p {
                    "A ringed point is on the Pareto front: no other group is both smaller (or faster) and better. "
                    "Times are those of the network alone, picture by picture, on the machine and in as many threads as the run had; of other machines they say nothing."
                }
                div.charts { (sizes) }
            },
        );
    }
    let settings = html! { @for dataset in datasets { @if let Some(lines) = settings(collation, dataset) { (lines) } } };
    if !settings.0.is_empty() {
        add(
            "settings",
            "Settings that differ",
            html! {
                p {
                    "Each line is a run: from axis to axis it goes through its settings, and ends at its accuracy. "
                    "Point at a line, or go from one to the next with the tabulator key, to see it alone."
                }
                (settings)
            },
        );
    }
    if let Some(body) = truth(collation) {
        add("truth", "True accuracy and rank", body);
    }
    add("groups", "The groups", table(collation));
    if !collation.left_out.is_empty() {
        add(
            "left-out",
            "Left out",
            html! {
                ul.notes { @for left in &collation.left_out { li { code { (left.name) } ": " (left.reason) } } }
            },
        );
    }
    all
}

fn accuracies(collation: &Collation, dataset: &str) -> Markup {
    html! {
        @for (figure, title) in ACCURACIES {
            @let rows = drawn(collation, dataset, figure);
            @if !rows.is_empty() {
                @let mark = baseline(collation, dataset, figure);
                (intervals(&format!("{title}, {dataset}"), "accuracy, %", Unit::Percent, &rows, mark.as_ref()))
            }
        }
    }
}

fn drawn(collation: &Collation, dataset: &str, figure: &str) -> Vec<Interval> {
    let groups = collation
        .groups
        .iter()
        .filter(|group| group.dataset == dataset);
    let rows = groups.filter_map(|group| {
        let row = row(group, figure)?;
        let own = row.own;
        Some(Interval {
            name: name_of(group),
            colour: nth_colour(group.number),
            mean: own.mean,
            ends: own.ci95,
            each: row.each.iter().copied().flatten().collect(),
            words: with_interval(&own),
        })
    });
    let mut rows: Vec<Interval> = rows.collect();
    rows.sort_by(|a, b| b.mean.total_cmp(&a.mean));
    rows
}

fn nth_colour(number: usize) -> String {
    format!("var(--c{})", number.saturating_sub(1) % 8)
}

/// The mean of the best random baseline on a data set.
fn baseline(collation: &Collation, dataset: &str, figure: &str) -> Option<Mark> {
    let groups = collation.groups.iter();
    let random = groups.filter(|g| g.dataset == dataset && g.baseline == Baseline::Itself);
    let best = random
        .filter_map(|g| Some(row(g, figure)?.own.mean))
        .max_by(f64::total_cmp)?;
    Some(Mark {
        at: best,
        name: BASELINE.to_string(),
    })
}

/// Accuracy against a figure, so many times as large.
fn size(collation: &Collation, dataset: &str, figure: &str, label: &str, times: f64) -> Markup {
    let groups = collation
        .groups
        .iter()
        .filter(|group| group.dataset == dataset);
    let spots = groups.filter_map(|group| {
        let (x, y) = (
            row(group, figure)?.own.mean,
            row(group, "test_top1")?.own.mean,
        );
        Some(Spot {
            name: name_of(group),
            colour: nth_colour(group.number),
            at: [times * x, y],
        })
    });
    let spots: Vec<Spot> = spots.collect();
    scatter(
        &format!("Test accuracy against {label}, {dataset}"),
        label,
        "accuracy, %",
        &spots,
    )
}

/// All runs on a data set by the settings in which they differ.
fn settings(collation: &Collation, dataset: &str) -> Option<Markup> {
    let groups = || {
        let groups = collation.groups.iter();
        groups.filter(|group| group.dataset == dataset)
    };
    let algorithms: BTreeSet<&str> = groups().map(|g| g.algorithm.as_str()).collect();
    let apart: BTreeSet<&String> = groups().flat_map(|g| g.apart.keys()).collect();
    let mut names: Vec<String> = Vec::new();
    names.extend((algorithms.len() > 1).then(|| ALGORITHM.to_string()));
    names.extend(apart.iter().map(|name| (*name).clone()));
    let result = ACCURACIES
        .into_iter()
        .find(|(figure, _)| groups().any(|g| row(g, figure).is_some()))?;
    let (figure, title) = result;
    let size = SIZE.to_string();
    let has_size = !names.is_empty() && groups().any(|g| row(g, &size).is_some());
    names.extend(has_size.then(|| size.clone()));
    let courses = groups().flat_map(|group| {
        let of = |name: &String, nth: usize| match name.as_str() {
            ALGORITHM => Value::from(group.algorithm.as_str()),
            SIZE => {
                let each = row(group, name).and_then(|row| *row.each.get(nth)?);
                each.map_or(Value::Null, Value::from)
            }
            _ => group.apart.get(name).cloned().unwrap_or(Value::Null),
        };
        let results = row(group, figure).map_or(&[][..], |row| row.each.as_slice());
        let runs = group.runs.iter().zip(results).enumerate();
        let runs = runs.filter_map(|(nth, (run, result))| {
            Some(Course {
                name: run.clone(),
                values: names.iter().map(|name| of(name, nth)).collect(),
                result: (*result)?,
            })
        });
        runs.collect::<Vec<_>>()
    });
    let courses: Vec<Course> = courses.collect();
    let axes = Axes {
        names: &names,
        result: &title.to_lowercase(),
    };
    parallel(&format!("Runs on {dataset}"), &axes, &courses)
}

/// What a table knows of the found cells.
fn truth(collation: &Collation) -> Option<Markup> {
    let rows: Vec<(&Group, &str, &Row, Option<&Row>)> = (collation.groups.iter())
        .flat_map(|group| {
            TABLES.into_iter().filter_map(move |(key, name)| {
                let top1 = row(group, &format!("nb201_{key}_top1"))?;
                Some((group, name, top1, row(group, &format!("nb201_{key}_rank"))))
            })
        })
        .collect();
    if rows.is_empty() {
        return None;
    }
    let table = html! {
        table {
            thead { tr {
                th { "group" } th { "table" } th { "true test accuracy" } th.n { "rank of the cell, mean" } th.n { "best of its runs" }
            } }
            tbody {
                @for (group, name, top1, rank) in &rows {
                    tr {
                        td { (name_of(group)) } td { (name) } td { (with_interval(&top1.own)) }
                        td.n { @match rank { Some(rank) => (crate::ticks::plain(rank.own.mean.round())), None => "–" } }
                        td.n { @match best_rank(*rank) { Some(best) => (crate::ticks::plain(best)), None => "–" } }
                    }
                }
            }
        }
    };
    Some(html! {
        p {
            "The table of NAS-Bench-201 knows the accuracy of every one of its 15,625 cells after a full training. "
            "It says what the found cells are truly worth, whatever the evaluation here measured; rank 1 is the best cell there is."
        }
        (scrolled("True accuracy and rank", table))
    })
}

fn best_rank(rank: Option<&Row>) -> Option<f64> {
    rank?.each.iter().copied().flatten().min_by(f64::total_cmp)
}

fn table(collation: &Collation) -> Markup {
    html! {
        div.table tabindex="0" role="group" aria-label="The groups" { table {
            thead { tr {
                th.n { "group" } th { "algorithm" } th { "data set" } th { "phases" } th { "seeds" }
                th { "test accuracy" } th.n { "against random" } th { "settings that tell it from others" }
            } }
            tbody {
                @for group in &collation.groups {
                    @let tested = row(group, "test_top1");
                    tr {
                        td.n { (group.number) }
                        td { (group.algorithm) @if group.toy { " (toy)" } }
                        td { (group.dataset) }
                        td { (group.phases) }
                        td { (group.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")) }
                        td { @match tested { Some(row) => (with_interval(&row.own)), None => "–" } }
                        td.n { @match tested.and_then(|row| row.difference) { Some(d) => (points(d.mean)), None => "–" } }
                        td { @for (name, value) in &group.settings { code { (name) "=" (value) } " " } }
                    }
                }
            }
        } }
        @for group in &collation.groups {
            details {
                summary { "Group " (group.number) ", " (group.algorithm) ": " (plural(group.runs.len(), "run")) }
                ul { @for run in &group.runs { li { code { (run) } } } }
            }
        }
    }
}
