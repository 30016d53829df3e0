//! What a search found: for people, for programs, as files and as drawings.

use std::collections::BTreeMap;

use archai_lab::discrete::{
    BEST_FILE, Evaluation, FRONT_FILE, PLOT_FILE, PROGRESS_FILE, Recorded, STATE_FILE, SearchDir,
};
use archai_report::front::{Plane, PlaneAxis, PlanePoint, Standing, VolumeLine, volumes};
use archai_search::export::{search_state, volume_curve, volume_curve_from};
use archai_search::space::SearchSpace;
use archai_search::{
    Bound, Direction, PARAMS, Quantity, State, Study, Trial, TrialState, View, front, optimisers,
};
use serde_json::{Value, json};

use super::screen::shown;
use crate::cli::error::CliError;
use crate::cli::text;

/// The version of what is printed as JSON.
const VERSION: u32 = 1;

/// What is known at one moment.
pub struct Results<'a> {
    pub study: &'a Study,
    pub state: &'a State,
}

impl<'a> Results<'a> {
    pub fn view(&self) -> View<'a> {
        self.study.view_of(self.state)
    }

    /// The trials of the front, best in the first objective first.
    pub fn front(&self) -> Vec<(&'a Trial, Vec<f64>)> {
        let mut front = self.view().front();
        front.sort_by(|(a, x), (b, y)| {
            let orders = x.iter().zip(y).map(|(x, y)| x.total_cmp(y));
            let order = orders.into_iter().find(|order| order.is_ne());
            order
                .unwrap_or(std::cmp::Ordering::Equal)
                .then(a.number.cmp(&b.number))
        });
        front
    }

    /// The trial that bends the front farthest, if there are several objectives and more than the front's two ends.
    pub fn knee(&self) -> Option<&'a Trial> {
        let front = self.front();
        let scores: Vec<&[f64]> = front.iter().map(|(_, scores)| scores.as_slice()).collect();
        if self.view().objectives().len() < 2 || front.len() < 3 {
            return None;
        }
        front.get(front::knee(&scores)?).map(|(trial, _)| *trial)
    }

    /// The answer.
    pub fn best(&self, predicted: bool) -> Option<&'a Trial> {
        optimisers::answer(&self.view(), predicted)
    }

    /// Objectives first, then what else is limited, then the sizes.
    pub fn quantities(&self) -> Vec<Quantity> {
        let view = self.view();
        let settings = &view.problem().settings;
        let limited = settings.limits.iter().map(|limit| limit.quantity.as_str());
        let names = (settings.objectives.iter().map(String::as_str))
            .chain(limited)
            .chain([PARAMS]);
        let mut all: Vec<Quantity> = Vec::new();
        for name in names {
            let found = settings.quantities.iter().find(|q| q.name == name);
            if let Some(found) = found.filter(|q| !all.iter().any(|other| other.name == q.name)) {
                all.push(found.clone());
            }
        }
        all
    }

    /// How many trials there are of each state.
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for trial in self.state.trials() {
            *counts.entry(trial.state.name()).or_insert(0) += 1;
        }
        counts
    }

    fn trial_json(&self, trial: &Trial) -> Value {
        let failed = match &trial.state {
            TrialState::Failed { message, .. } => Some(message.as_str()),
            TrialState::Infeasible { limit } => Some(limit.as_str()),
            _ => None,
        };
        json!({
            "trial": trial.number,
            "id": trial.id,
            "state": trial.state.name(),
            "why": failed,
            "origin": trial.origin,
            "epochs": trial.epochs,
            "seconds": trial.seconds,
            "values": trial.values,
        })
    }

    /// One trial, for programs.
    pub fn of_trial(&self, trial: &Trial) -> Value {
        self.trial_json(trial)
    }

    /// All of it, for programs.
    pub fn json(&self, dir: &SearchDir) -> Value {
        let view = self.view();
        let settings = &view.problem().settings;
        let volume = volume_curve(&view);
        let knee = self.knee().map(|trial| trial.number);
        let front = self.front();
        json!({
            "version": VERSION,
            "dir": dir.path(),
            "space": view.space().name(),
            "objectives": view.objectives(),
            "limits": settings.limits.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "optimiser": settings.optimiser,
            "order": settings.order,
            "seed": settings.seed,
            "rungs": settings.rungs,
            "trials": self.state.trials().len(),
            "states": self.counts(),
            "queued": self.study.queued(),
            "seconds": self.state.trials().iter().map(|trial| trial.seconds).sum::<f64>(),
            "hypervolume": volume.as_ref().and_then(|curve| Some(curve.points.last()?.2)),
            "reference": volume.as_ref().map(|curve| &curve.reference),
            "front": front.iter().map(|(trial, _)| self.trial_json(trial)).collect::<Vec<_>>(),
            "knee": knee,
            "best": self.best(false).map(|trial| trial.number),
        })
    }

    /// The front for people.
    pub fn table(&self, width: Option<usize>) -> String {
        let (front, quantities) = (self.front(), self.quantities());
        if front.is_empty() {
            return "no network is done and within the limits\n".to_string();
        }
        let knee = self.knee().map(|trial| trial.number);
        let mut header = vec!["network", "trial"];
        header.extend(quantities.iter().map(|quantity| quantity.name.as_str()));
        header.push("");
        let rows: Vec<Vec<String>> = front
            .iter()
            .map(|(trial, _)| {
                let mut row = vec![trial.id.clone(), trial.number.to_string()];
                row.extend(quantities.iter().map(|quantity| {
                    let value = trial.values.get(&quantity.name);
                    value.map_or_else(|| "-".to_string(), |value| shown(quantity, *value))
                }));
                let is_knee = knee == Some(trial.number);
                row.push(if is_knee { "knee" } else { "" }.to_string());
                row
            })
            .collect();
        format!("{}\n", text::table(&header, 1, &rows, width))
    }

    /// The front as CSV.
    pub fn csv(&self) -> String {
        let quantities = &self.view().problem().settings.quantities;
        let mut out = String::from("trial,id");
        for quantity in quantities {
            out.push(',');
            out += &text::csv_field(&quantity.name);
        }
        out.push_str(",knee\n");
        let knee = self.knee().map(|trial| trial.number);
        for (trial, _) in self.front() {
            out += &format!("{},{}", trial.number, text::csv_field(&trial.id));
            for quantity in quantities {
                out.push(',');
                if let Some(value) = trial.values.get(&quantity.name) {
                    out += &value.to_string();
                }
            }
            out += &format!(",{}\n", knee == Some(trial.number));
        }
        out
    }

    /// The two quantities of the plane: the first two objectives, or the only one and the parameters.
    fn axes(&self) -> Option<[Quantity; 2]> {
        let view = self.view();
        let settings = &view.problem().settings;
        let first = view.objectives().first()?.clone();
        let params = settings.quantities.iter().find(|q| q.name == PARAMS);
        let second = view.objectives().get(1).or(params)?.clone();
        Some([second, first])
    }

    /// The plane of two objectives. None as long as no trial has both.
    pub fn plane(&self, title: &str, beside: Option<(&str, &Results<'_>)>) -> Option<String> {
        let [x, y] = self.axes()?;
        let front: Vec<usize> = self.front().iter().map(|(trial, _)| trial.number).collect();
        let points = self.state.trials().iter().filter_map(|trial| {
            let at = [*trial.values.get(&x.name)?, *trial.values.get(&y.name)?];
            let standing = match &trial.state {
                TrialState::Done if front.contains(&trial.number) => Standing::Front,
                TrialState::Infeasible { .. } | TrialState::Failed { .. } => Standing::Outside,
                _ => Standing::Dominated,
            };
            Some(PlanePoint {
                at,
                trial: trial.number,
                id: trial.id.clone(),
                standing,
            })
        });
        let points: Vec<PlanePoint> = points.collect();
        if points.is_empty() {
            return None;
        }
        let view = self.view();
        let limits = &view.problem().settings.limits;
        let axis = |quantity: &Quantity| PlaneAxis {
            name: quantity.name.clone(),
            unit: quantity.unit.clone(),
            maximised: quantity.direction == Direction::Maximise,
            limits: (limits.iter())
                .filter(|limit| limit.quantity == quantity.name)
                .map(|limit| match limit.bound {
                    Bound::AtMost(bound) | Bound::AtLeast(bound) => bound,
                })
                .collect(),
        };
        let beside = beside.map(|(name, other)| {
            let front = other.front();
            let points = front.iter().filter_map(|(trial, _)| {
                Some([*trial.values.get(&x.name)?, *trial.values.get(&y.name)?])
            });
            (name.to_string(), points.collect())
        });
        let plane = Plane {
            title: title.to_string(),
            x: axis(&x),
            y: axis(&y),
            points,
            knee: self.knee().map(|trial| trial.number),
            beside,
        };
        Some(plane.draw())
    }

    /// The hypervolume over the trials. None before its reference is known.
    pub fn progress(&self, title: &str, beside: Option<(&str, &Results<'_>)>) -> Option<String> {
        let own = volume_curve(&self.view())?;
        let line = |name: &str, points: &[(usize, f64, f64)]| VolumeLine {
            name: name.to_string(),
            points: points
                .iter()
                .enumerate()
                .map(|(i, (_, _, volume))| [i as f64 + 1.0, *volume])
                .collect(),
        };
        let name = &self.view().problem().settings.optimiser.name;
        let mut lines = vec![line(name, &own.points)];
        if let Some((name, other)) = beside {
            let other = volume_curve_from(&other.view(), &own.reference);
            lines.push(line(name, &other.points));
        }
        Some(volumes(title, &lines))
    }
}

/// Writes what a search found into its folder.
///
/// # Errors
/// Files that cannot be written.
pub fn write(dir: &SearchDir, space: &dyn SearchSpace, study: &Study) -> Result<(), CliError> {
    let state = study.results();
    let results = Results {
        study,
        state: &state,
    };
    dir.write(STATE_FILE, &search_state(&results.view()))?;
    dir.write(FRONT_FILE, &results.csv())?;
    let title = format!("{}: trials and front", space.name());
    if let Some(plane) = results.plane(&title, None) {
        dir.write(PLOT_FILE, &plane)?;
    }
    let title = format!("{}: hypervolume", space.name());
    if let Some(progress) = results.progress(&title, None) {
        dir.write(PROGRESS_FILE, &progress)?;
    }
    if let Some(best) = results.best(false) {
        dir.write(BEST_FILE, &description(space, best)?)?;
    }
    Ok(())
}

/// The description of a trial's network.
///
/// # Errors
/// The space cannot describe it.
pub fn description(space: &dyn SearchSpace, trial: &Trial) -> Result<String, CliError> {
    let desc = space.describe(&trial.member).map_err(CliError::input)?;
    desc.to_yaml().map_err(CliError::input)
}

/// What evaluates, in a line.
pub fn evaluation(recorded: &Recorded) -> String {
    match &recorded.start.evaluation {
        Evaluation::Training { settings, .. } => {
            let get = |key: &str| {
                let value = settings.get(key);
                value.map_or_else(String::new, |value| match value {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                })
            };
            format!(
                "training on {}, epochs: {}",
                get("nas.eval.loader.dataset.name"),
                get("nas.eval.trainer.epochs")
            )
        }
        Evaluation::Command { command, .. } => format!("the command {}", command.join(" ")),
        Evaluation::Table { path, .. } => format!("the table {}", path.display()),
    }
}
