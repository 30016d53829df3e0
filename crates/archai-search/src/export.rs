//! The results of a search for other programs: Archai's table, and a journal that Optuna and its dashboard open.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::front;
use crate::optimiser::View;
use crate::quantity::Direction;
use crate::state::{Trial, TrialState};

/// The columns of Archai's `search_state` table and some more: `archid`, every quantity, `iteration_num` (the trial's number),
/// `is_pareto`, then `state`, `epochs` and `seconds`. Fields of what is unknown are empty.
pub fn search_state(view: &View<'_>) -> String {
    let quantities = &view.problem().settings.quantities;
    let mut text = String::from("archid");
    for quantity in quantities {
        text.push(',');
        text.push_str(&field(&quantity.name));
    }
    text.push_str(",iteration_num,is_pareto,state,epochs,seconds\n");
    let front: Vec<usize> = view.front().iter().map(|(trial, _)| trial.number).collect();
    for trial in view.trials() {
        text.push_str(&field(&trial.id));
        for quantity in quantities {
            text.push(',');
            if let Some(value) = trial.values.get(&quantity.name) {
                let _ = write!(text, "{value}");
            }
        }
        let _ = writeln!(
            text,
            ",{},{},{},{},{}",
            trial.number,
            if front.contains(&trial.number) {
                "True"
            } else {
                "False"
            },
            trial.state.name(),
            trial.epochs,
            trial.seconds
        );
    }
    text
}

/// A field of a table, in quotes where it must be.
fn field(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_string(),
    }
}

/// Optuna's numbers for the states of trials.
fn optuna_state(trial: &Trial) -> Option<u8> {
    match trial.state {
        TrialState::Running | TrialState::Paused => None,
        TrialState::Done => Some(1),
        TrialState::Stopped | TrialState::Infeasible { .. } => Some(2),
        TrialState::Failed { .. } => Some(3),
    }
}

/// The lines of a journal file as Optuna 3 and 4 read it (`JournalFileBackend`). Every choice of a member is a categorical
/// parameter, every quantity an attribute; reports hold the first objective. `time` is written where Optuna wants one, such as
/// `2026-01-31T12:00:00`.
pub fn optuna_journal(view: &View<'_>, study: &str, time: &str) -> String {
    let worker = "archai";
    let mut text = String::new();
    let mut line = |value: Value| {
        let _ = writeln!(text, "{value}");
    };
    let directions: Vec<u8> = view
        .objectives()
        .iter()
        .map(|quantity| match quantity.direction {
            Direction::Minimise => 1,
            Direction::Maximise => 2,
        })
        .collect();
    line(json!({"op_code": 0, "worker_id": worker, "study_name": study, "directions": directions}));
    // The options that occur at a place; Optuna wants the same for all trials.
    let places = view
        .trials()
        .iter()
        .map(|trial| trial.member.choices.len())
        .max();
    let options: Vec<u16> = (0..places.unwrap_or(0))
        .map(|place| {
            let of = |trial: &Trial| trial.member.choices.get(place).copied().flatten();
            view.trials().iter().filter_map(of).max().unwrap_or(0)
        })
        .collect();
    for trial in view.trials() {
        let id = trial.number;
        line(json!({"op_code": 4, "worker_id": worker, "study_id": 0, "datetime_start": time}));
        for (place, choice) in trial.member.choices.iter().enumerate() {
            let Some(choice) = choice else {
                continue;
            };
            let all: Vec<u16> = (0..=options[place]).collect();
            let distribution =
                json!({"name": "CategoricalDistribution", "attributes": {"choices": all}});
            line(json!({
                "op_code": 5, "worker_id": worker, "trial_id": id, "param_name": format!("choice_{place}"),
                "param_value_internal": choice, "distribution": distribution.to_string(),
            }));
        }
        for measured in &trial.measured {
            let Some(first) = view.objectives().first() else {
                continue;
            };
            if let Some(value) = measured.values.get(&first.name) {
                line(json!({
                    "op_code": 7, "worker_id": worker, "trial_id": id, "step": measured.epochs,
                    "intermediate_value": value,
                }));
            }
        }
        let mut attributes = vec![
            ("archid".to_string(), json!(trial.id)),
            ("origin".to_string(), json!(trial.origin)),
        ];
        attributes.extend(
            trial
                .values
                .iter()
                .map(|(name, value)| (name.clone(), json!(value))),
        );
        for (name, value) in attributes {
            line(
                json!({"op_code": 8, "worker_id": worker, "trial_id": id, "user_attr": {name: value}}),
            );
        }
        if let Some(state) = optuna_state(trial) {
            let values: Option<Vec<f64>> = view
                .objectives()
                .iter()
                .map(|quantity| trial.values.get(&quantity.name).copied())
                .collect();
            let values = values.filter(|_| state == 1);
            line(json!({
                "op_code": 6, "worker_id": worker, "trial_id": id, "state": state, "values": values,
                "datetime_complete": time,
            }));
        }
    }
    text
}

/// Hypervolume after each trial that was done, in the order of results.
#[derive(Clone, Debug, PartialEq)]
pub struct VolumeCurve {
    /// From where it counts, in the quantities' own signs.
    pub reference: Vec<f64>,
    /// The number of the trial, the seconds of evaluation so far, and the hypervolume.
    pub points: Vec<(usize, f64, f64)>,
}

/// How many trials make the reference if nobody names one.
const FIRST: usize = 10;

/// The curve of hypervolume. The reference is what the quantities say; of one that says nothing, the worst of the first ten trials
/// that were done and a tenth of their range more, so that it stays the same however long the search goes on. None before that
/// many are done.
pub fn volume_curve(view: &View<'_>) -> Option<VolumeCurve> {
    let done = view.completed().filter_map(|trial| view.scores(trial));
    let first: Vec<Vec<f64>> = done.take(FIRST).collect();
    let named = |quantity: &crate::quantity::Quantity| {
        let reference = quantity.reference?;
        Some(quantity.direction.minimised(reference))
    };
    let named: Vec<Option<f64>> = view.objectives().iter().map(named).collect();
    if named.iter().any(Option::is_none) && first.len() < FIRST {
        return None;
    }
    let found = front::reference(&first).unwrap_or_default();
    let reference = view.objectives().iter().zip(named).enumerate();
    let reference = reference.map(|(o, (quantity, named))| {
        let value = named.unwrap_or_else(|| found.get(o).copied().unwrap_or_default());
        quantity.direction.minimised(value)
    });
    Some(volume_curve_from(view, &reference.collect::<Vec<f64>>()))
}

/// The same from a reference that another search has, one number for each objective in the quantities' own signs: curves with the
/// same reference may be compared.
pub fn volume_curve_from(view: &View<'_>, reference: &[f64]) -> VolumeCurve {
    let objectives = view.objectives().iter();
    let minimised: Vec<f64> = objectives
        .zip(reference)
        .map(|(quantity, value)| quantity.direction.minimised(*value))
        .collect();
    let (mut seconds, mut points) = (0.0, Vec::new());
    let mut kept: Vec<Vec<f64>> = Vec::new();
    for trial in view.completed() {
        let Some(scores) = view.scores(trial) else {
            continue;
        };
        seconds += trial.seconds;
        kept.push(scores);
        kept = front::non_dominated(&kept)
            .into_iter()
            .map(|i| kept[i].clone())
            .collect();
        points.push((trial.number, seconds, front::hypervolume(&kept, &minimised)));
    }
    VolumeCurve {
        reference: reference.to_vec(),
        points,
    }
}
