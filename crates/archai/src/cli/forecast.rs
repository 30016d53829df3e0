//! `archai run --dry-run`: what the plan comes to, in words.

use std::fmt::Write as _;
use std::io::Write as _;

use archai_lab::forecast::{
    DataForecast, Forecast, NetworkSize, PhaseForecast, TrainingForecast, bytes,
};
use archai_lab::summary::time;
use archai_lab::{Phase, Plan, Progress};
use archai_spec::numbers::{millions, thousands};

use super::error::CliError;

/// Finds out what a plan will do, and prints it.
///
/// # Errors
/// As [`Plan::forecast`]; standard output that cannot be written.
pub fn print(plan: &Plan<'_>) -> Result<(), CliError> {
    let progress = plan.progress()?;
    let forecasts = plan.forecast()?;
    let mut out = String::new();
    for forecast in &forecasts {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&as_text(forecast));
    }
    let older = match progress {
        Progress::None => "",
        Progress::Begun => {
            "\nAn equal command was interrupted here: without --fresh it goes on where it stopped.\n"
        }
        Progress::Complete => {
            "\nEqual runs are complete here: they are kept under a number, and the command starts anew.\n"
        }
    };
    out.push_str(older);
    out.push_str("\nThis was a dry run: nothing was trained and nothing written.\n");
    Ok(std::io::stdout().write_all(out.as_bytes())?)
}

fn as_text(forecast: &Forecast) -> String {
    let mut out = format!("{}\n", forecast.title);
    for phase in &forecast.phases {
        let _ = writeln!(out, "\n{} in {}", phase.phase, phase.dir.display());
        let mut line = |label: &str, text: &str| {
            for (i, text) in wrapped(text).iter().enumerate() {
                let label = if i == 0 { label } else { "" };
                let _ = writeln!(out, "  {label:<10}{text}");
            }
        };
        let [about, images] = data(&phase.data);
        line("data", &about);
        line("", &images);
        networks(phase, &mut line);
        for training in &phase.trainings {
            self::training(training, &mut line);
        }
        if let Some(beyond) = &phase.beyond {
            line("", beyond);
        }
        for (i, file) in phase.files.iter().enumerate() {
            let label = if i == 0 { "files" } else { "" };
            match file.bytes {
                Some(n) => line(label, &format!("{}, about {}", file.name, bytes(n))),
                None => line(label, &file.name),
            }
        }
    }
    let seconds: f64 = all_trainings(forecast)
        .map(|training| training.seconds)
        .sum();
    let is_open = forecast.phases.iter().any(|phase| phase.beyond.is_some());
    let more = if is_open { " for what is known" } else { "" };
    let _ = writeln!(
        out,
        "\ntime    about {}{more}: steps on images of noise were measured, and what only\n        measures counts a third of a training step",
        time(seconds)
    );
    let free = forecast
        .free_disk
        .map_or_else(String::new, |n| format!("; {} is free", bytes(n)));
    let _ = writeln!(out, "disk    about {}{free}", bytes(forecast.disk));
    let most = all_trainings(forecast)
        .filter_map(|training| training.memory)
        .max();
    if let Some(most) = most {
        let there = forecast
            .memory
            .map_or_else(String::new, |n| format!("; {} is available", bytes(n)));
        let _ = writeln!(out, "memory  about {} at most{there}", bytes(most));
    }
    for warning in &forecast.warnings {
        let _ = writeln!(out, "\nwarning: {warning}");
    }
    out
}

fn all_trainings(forecast: &Forecast) -> impl Iterator<Item = &TrainingForecast> {
    forecast.phases.iter().flat_map(|phase| &phase.trainings)
}

/// The data set, and its images.
fn data(data: &DataForecast) -> [String; 2] {
    let [channels, height, width] = data.shape;
    let parts = [
        (data.train, "to train on"),
        (data.valid, "set apart"),
        (data.test, "to test on"),
    ];
    let parts = parts.into_iter().filter(|(n, _)| *n > 0);
    let parts = parts.map(|(n, what)| format!("{} {what}", thousands(n as u64)));
    let parts: Vec<String> = parts.collect();
    [
        format!(
            "{}: {channels}x{height}x{width}, {} classes",
            data.name, data.classes
        ),
        format!("images: {}", parts.join(", ")),
    ]
}

/// A text in lines that fit behind a label on a terminal of 80 columns; paths stay whole.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.len() - 1;
        let line = &mut lines[last];
        let is_full = line.chars().count() + word.chars().count() >= 68;
        match (line.is_empty(), is_full) {
            (true, _) => line.push_str(word),
            (false, false) => {
                line.push(' ');
                line.push_str(word);
            }
            (false, true) => lines.push(word.to_string()),
        }
    }
    lines
}

/// What a search may find, or what is evaluated.
fn networks(phase: &PhaseForecast, line: &mut impl FnMut(&str, &str)) {
    let label = match phase.phase {
        Phase::Search => "finds",
        Phase::Eval => "network",
    };
    let Some([least, most]) = &phase.networks else {
        line(label, "not known before");
        return;
    };
    line(
        label,
        &range(least.cost.params, most.cost.params, "parameters", thousands),
    );
    if most.params_with_aux != most.cost.params {
        let aux = [least, most].map(|size| size.params_with_aux);
        line(
            "",
            &range(aux[0], aux[1], "with the auxiliary tower", thousands),
        );
    }
    line(
        "",
        &range(
            least.cost.macs,
            most.cost.macs,
            "multiply-adds per image",
            millions,
        ),
    );
}

/// `7 parameters`, or `5 to 7 parameters`.
fn range(a: u64, b: u64, what: &str, say: fn(u64) -> String) -> String {
    let (least, most) = (a.min(b), a.max(b));
    match least == most {
        true => format!("{} {what}", say(least)),
        false => format!("{} to {} {what}", say(least), say(most)),
    }
}

fn training(training: &TrainingForecast, line: &mut impl FnMut(&str, &str)) {
    let TrainingForecast {
        what,
        times,
        size: NetworkSize { cost, .. },
        epochs,
        steps,
        batch,
        measured,
        step_seconds,
        seconds,
        memory,
    } = training;
    let many = if *times == 1 {
        String::new()
    } else {
        format!("{times} ")
    };
    line("trains", &format!("{many}{what}"));
    line(
        "",
        &format!(
            "{} parameters, {} multiply-adds per image",
            thousands(cost.params),
            millions(cost.macs)
        ),
    );
    line(
        "",
        &format!("{epochs} epochs of {steps} steps with {batch} images"),
    );
    if *measured == 0 {
        return;
    }
    line(
        "",
        &format!(
            "about {}: {step_seconds:.2} s a step, measured with {measured} images",
            time(*seconds)
        ),
    );
    if let Some(memory) = memory {
        line(
            "",
            &format!(
                "about {} of memory, in proportion to the measured step",
                bytes(*memory)
            ),
        );
    }
}
