//! A few runs beside each other: their curves in the same charts, their figures, the settings in which they differ, their cells.

use std::collections::{BTreeMap, BTreeSet};

use archai_lab::{Lab, Phase, RunDir};
use archai_spec::numbers::percent;
use maud::{Markup, PreEscaped, html};
use serde_json::Value;

use crate::cells;
use crate::chart::{Chart, Line};
use crate::live::{LiveLog, ViewSection};
use crate::log::{Epoch, Training};
use crate::page::Section;
use crate::provenance::shown;
use crate::ticks::{Unit, plain};

/// What is drawn of each run: title, vertical axis, whether it is a share, part of the epoch, name.
const CURVES: [(&str, &str, bool, Part, &str); 9] = [
    (
        "Accuracy on validation data",
        "accuracy, %",
        true,
        Part::Val,
        "top1",
    ),
    (
        "Accuracy on training data",
        "accuracy, %",
        true,
        Part::Train,
        "top1",
    ),
    (
        "Loss on validation data",
        "cross-entropy, nats",
        false,
        Part::Val,
        "loss",
    ),
    (
        "Loss on training data",
        "cross-entropy, nats",
        false,
        Part::Train,
        "loss",
    ),
    (
        "Entropy of the ops' weights",
        "0: decided, 1: all equal",
        false,
        Part::Guard,
        "entropy",
    ),
    (
        "Share of skip connections",
        "of the chosen ops, %",
        true,
        Part::Guard,
        "skip_share",
    ),
    (
        "Dominant eigenvalue of the validation loss",
        "eigenvalue",
        false,
        Part::Guard,
        "eigenvalue",
    ),
    ("Learning rate", "rate", false, Part::Train, "end_lr"),
    (
        "Speed",
        "images per second",
        false,
        Part::Train,
        "images_per_s",
    ),
];

#[derive(Clone, Copy, Debug)]
enum Part {
    Train,
    Val,
    Guard,
}

impl Part {
    fn of<'a>(self, epoch: &'a Epoch, name: &str) -> Option<&'a f64> {
        match self {
            Part::Train => epoch.train.get(name),
            Part::Val => epoch.val.get(name),
            Part::Guard => epoch.guard.get(name),
        }
    }
}

/// What a run is compared by: it holds no log, so that many of them take little memory.
#[derive(Clone, Debug)]
pub struct Course {
    phase: Phase,
    /// Points of each of [`CURVES`].
    curves: Vec<Vec<[f64; 2]>>,
    figures: BTreeMap<String, f64>,
    settings: BTreeMap<String, Value>,
    /// The drawing of what was found, and what it consists of.
    found: Option<(String, String)>,
}

impl Course {
    /// Of the run in `dir`, whose log is `log`. What cannot be read is left out.
    pub fn read(lab: &Lab, dir: &RunDir, log: &LiveLog) -> Course {
        let (started, record) = (dir.started().ok().flatten(), dir.record().ok().flatten());
        let told = record.as_ref().map(|r| r.phase);
        let told = told.or(started.as_ref().map(|s| s.phase));
        let training = main_training(log);
        let curve = |part: Part, name: &str| {
            let points = training.map(|t| t.curve(|epoch| part.of(epoch, name).copied()));
            points.unwrap_or_default()
        };
        let catalog = lab.components().ops.catalog();
        let desc = dir.found_desc(catalog).ok().flatten();
        let found = desc.map(|desc| {
            let drawing = cells::found(&desc, catalog).into_string();
            (drawing, cells::in_words(&desc))
        });
        Course {
            phase: told.unwrap_or(Phase::Search),
            curves: CURVES
                .map(|(_, _, _, part, name)| curve(part, name))
                .to_vec(),
            settings: match (&record, started) {
                (_, Some(started)) => started.settings,
                (Some(record), None) => record.settings.clone(),
                (None, None) => BTreeMap::new(),
            },
            figures: record.map(|record| record.figures).unwrap_or_default(),
            found,
        }
    }
}

/// The training that was searched; elsewhere the first of those with the most epochs.
fn main_training(log: &LiveLog) -> Option<&Training> {
    let log = log.log();
    let most = log.trainings.iter().map(|t| t.epochs.len()).max();
    log.searched()
        .or_else(|| log.trainings.iter().find(|t| Some(t.epochs.len()) == most))
}

/// Runs beside each other, by their names; those of searches and of evaluations each for themselves.
///
/// ```
/// assert!(archai_report::compared(&[]).is_empty());
/// ```
pub fn compared(runs: &[(String, Course)]) -> Vec<ViewSection> {
    let mut sections = Vec::new();
    let mut add = |id, title, body: Markup| {
        if !body.0.is_empty() {
            sections.push(ViewSection::from(Section { id, title, body }));
        }
    };
    for phase in Phase::ALL {
        let own: Vec<(usize, &String, &Course)> = (runs.iter())
            .filter(|(_, course)| course.phase == phase)
            .enumerate()
            .map(|(i, (name, course))| (i, name, course))
            .collect();
        let [curves, figures, settings, cells] = match phase {
            Phase::Search => [
                ("search-curves", "Searches: curves"),
                ("search-figures", "Searches: figures"),
                ("search-settings", "Searches: settings that differ"),
                ("search-cells", "Searches: found cells"),
            ],
            Phase::Eval => [
                ("eval-curves", "Evaluations: curves"),
                ("eval-figures", "Evaluations: figures"),
                ("eval-settings", "Evaluations: settings that differ"),
                ("eval-cells", "Evaluations: cells"),
            ],
        };
        if own.is_empty() {
            continue;
        }
        add(curves.0, curves.1, drawn(&own));
        add(figures.0, figures.1, figures_of(&own));
        add(settings.0, settings.1, settings_of(&own, phase));
        add(cells.0, cells.1, cells_of(&own));
    }
    sections
}

type Own<'a> = (usize, &'a String, &'a Course);

fn drawn(runs: &[Own<'_>]) -> Markup {
    let charts = CURVES
        .iter()
        .enumerate()
        .map(|(at, (title, y, share, _, _))| {
            let lines = runs.iter().map(|(i, name, course)| {
                let points = course.curves.get(at).cloned();
                Line::new(name, *i, points.unwrap_or_default())
            });
            let lines: Vec<Line> = lines.collect();
            let unit = if *share { Unit::Percent } else { Unit::Plain };
            Chart {
                title,
                x: "epoch",
                y,
                unit,
                ..Chart::default()
            }
            .draw(&lines)
        });
    let charts: Vec<Markup> = charts.filter(|chart| !chart.0.is_empty()).collect();
    html! {
        @match charts.is_empty() {
            true => p { "No epoch was logged yet." },
            false => div.charts { @for chart in &charts { (chart) } },
        }
    }
}

/// A table with a column for each run.
fn table(what: &str, runs: &[Own<'_>], rows: &[(&str, Vec<String>)]) -> Markup {
    html! {
        div.table tabindex="0" { table {
            thead { tr { th { (what) } @for (_, name, _) in runs { th.n { (name) } } } }
            tbody {
                @for (name, cells) in rows {
                    tr { th scope="row" { code { (name) } } @for cell in cells { td.n { (cell) } } }
                }
            }
        } }
    }
}

fn figures_of(runs: &[Own<'_>]) -> Markup {
    let names: BTreeSet<&String> = runs.iter().flat_map(|(_, _, c)| c.figures.keys()).collect();
    let rows: Vec<(&str, Vec<String>)> = (names.into_iter())
        .map(|name| {
            let show = |v: &f64| match name.contains("top1") || name.contains("top5") {
                true => percent(*v),
                false => plain(*v),
            };
            let cells = runs
                .iter()
                .map(|(_, _, c)| c.figures.get(name).map_or("–".to_string(), show));
            (name.as_str(), cells.collect())
        })
        .collect();
    html! {
        @match rows.is_empty() {
            true => p { "None of them is finished: a phase has figures when it has ended." },
            false => (table("figure", runs, &rows)),
        }
    }
}

fn settings_of(runs: &[Own<'_>], phase: Phase) -> Markup {
    if runs.len() < 2 {
        return html! {};
    }
    let other = match phase {
        Phase::Search => "nas.eval.",
        Phase::Eval => "nas.search.",
    };
    let names: BTreeSet<&String> = runs
        .iter()
        .flat_map(|(_, _, c)| c.settings.keys())
        .collect();
    let names = names.into_iter().filter(|name| !name.starts_with(other));
    let rows: Vec<(&str, Vec<String>)> = names
        .filter_map(|name| {
            let values: Vec<Option<&Value>> =
                runs.iter().map(|(_, _, c)| c.settings.get(name)).collect();
            let differ = values.windows(2).any(|pair| pair[0] != pair[1]);
            let cells = values
                .iter()
                .map(|value| value.map_or("–".to_string(), shown));
            differ.then(|| (name.as_str(), cells.collect()))
        })
        .collect();
    html! {
        @match rows.is_empty() {
            true => p { "All settings of this phase are the same." },
            false => (table("setting", runs, &rows)),
        }
    }
}

fn cells_of(runs: &[Own<'_>]) -> Markup {
    let found = runs
        .iter()
        .filter_map(|(_, name, c)| Some((name, c.found.as_ref()?)));
    html! {
        @for (name, (drawing, words)) in found {
            figure.frame { figcaption { (name) ": " (words) } (PreEscaped(drawing)) }
        }
    }
}
