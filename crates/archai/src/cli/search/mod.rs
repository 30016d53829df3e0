//! `archai search …`: searches a space for networks that are good in several respects and within hard limits, and shows what was
//! found.

mod cheap;
mod results;
mod run;
mod screen;
mod wanted;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use archai_engine::files::write_atomically;
use archai_lab::Lab;
use archai_lab::discrete::{Recorded, SearchDir};
use archai_lab::summary::time;
use archai_search::export::{optuna_journal, search_state};
use archai_search::space::SearchSpace;
use archai_search::{Order, Study, Trial, TrialState, Values};
use archai_spec::names::unknown;
use serde_json::{Value, json};

use super::args::{FrontFormat, ResumeArgs, SearchCommand, SearchExport};
use super::env::Env;
use super::error::CliError;
use super::text;
use results::Results;

/// Runs a command of the group.
///
/// # Errors
/// What is asked for cannot be done; whatever goes wrong.
pub fn run(
    command: &SearchCommand,
    overrides: &[String],
    lab: &Lab,
    env: &Env,
) -> Result<(), CliError> {
    match command {
        SearchCommand::Run(args) => run::run(args, overrides, lab, env),
        SearchCommand::Status { dir, json } => status(dir, *json, lab),
        SearchCommand::Front {
            dir,
            format,
            json,
            beside,
            output,
        } => {
            let format = match (json, format) {
                (true, _) => FrontFormat::Json,
                (false, Some(format)) => *format,
                (false, None) => by_ending(output.as_deref()),
            };
            front(dir, format, beside.as_deref(), output.as_deref(), lab)
        }
        SearchCommand::Best {
            dir,
            by,
            knee,
            predicted,
            json,
            output,
        } => {
            let which = match (by, knee, predicted) {
                (Some(name), ..) => Which::By(name),
                (None, true, _) => Which::Knee,
                (None, false, predicted) => Which::Answer(*predicted),
            };
            best(dir, which, *json, output.as_deref(), lab)
        }
        SearchCommand::Export { dir, to, output } => export(dir, *to, output.as_deref(), lab, env),
        SearchCommand::Add {
            dir,
            id,
            values,
            source,
        } => add(dir, id, values, source, lab),
    }
}

/// Gives the command again that began the search in `dir`.
///
/// # Errors
/// Its command is none, and whatever goes wrong in it.
pub fn resume(dir: &Path, asked: &ResumeArgs, lab: &Lab, env: &Env) -> Result<(), CliError> {
    run::resume(dir, asked, lab, env)
}

/// Computes every proposal and verdict of a search again.
///
/// # Errors
/// Damaged files, and what comes out otherwise.
pub fn verify(dir: &Path, lab: &Lab) -> Result<(), CliError> {
    let recorded = SearchDir::new(dir).read(lab)?;
    let events = recorded.study.events().len();
    let differences = recorded
        .study
        .verify()
        .map_err(archai_lab::LabError::from)?;
    if differences.is_empty() {
        return write(&format!(
            "\n{}\n  {events} events of the journal: checksums, proposals and verdicts are the same\n",
            dir.display()
        ));
    }
    let lines = differences.iter().take(5).map(|difference| {
        format!(
            "  event {}: {} stands there; {} was computed again",
            difference.event, difference.found, difference.expected
        )
    });
    let lines: Vec<String> = lines.collect();
    Err(CliError::failure(format!(
        "{} of {events} events in the journal of `{}` are not what its settings give; another version of the program can be the \
         reason, or somebody changed them:\n{}",
        differences.len(),
        dir.display(),
        lines.join("\n")
    )))
}

fn write(text: &str) -> Result<(), CliError> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

/// Writes into a file, or to standard output.
fn give(text: &str, output: Option<&Path>) -> Result<(), CliError> {
    match output {
        Some(path) => {
            write_atomically(path, |out| out.write_all(text.as_bytes()))
                .map_err(CliError::at_named)?;
            write(&format!("{}\n", path.display()))
        }
        None => write(text),
    }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn by_ending(output: Option<&Path>) -> FrontFormat {
    let ending = output.and_then(Path::extension);
    match ending.and_then(|ending| ending.to_str()) {
        Some("svg") => FrontFormat::Svg,
        Some("csv") => FrontFormat::Csv,
        Some("json") => FrontFormat::Json,
        _ => FrontFormat::Table,
    }
}

/// Whether a process works on a search: it has the journal's lock.
fn is_at_work(dir: &SearchDir) -> bool {
    let journal = std::fs::File::open(dir.file(archai_lab::discrete::JOURNAL_FILE));
    let Ok(journal) = journal else {
        return false;
    };
    // The lock goes with the file at the end of this function.
    matches!(
        journal.try_lock_shared(),
        Err(std::fs::TryLockError::WouldBlock)
    )
}

fn status(path: &Path, as_json: bool, lab: &Lab) -> Result<(), CliError> {
    let dir = SearchDir::new(path);
    let recorded = dir.read(lab)?;
    let state = recorded.study.results();
    let results = Results {
        study: &recorded.study,
        state: &state,
    };
    let at_work = is_at_work(&dir);
    if as_json {
        let mut value = results.json(&dir);
        value["is_at_work"] = json!(at_work);
        value["budget"] = json!(budget(&recorded.study));
        return write(&pretty(&value));
    }
    write(&status_text(&dir, &recorded, &results, at_work))
}

/// How many networks the last session wanted to try.
fn budget(study: &Study) -> Option<usize> {
    let mut events = study.events().iter().rev();
    events.find_map(|event| match event {
        archai_search::journal::Event::Session { budget } => *budget,
        _ => None,
    })
}

fn status_text(
    dir: &SearchDir,
    recorded: &Recorded,
    results: &Results<'_>,
    at_work: bool,
) -> String {
    let settings = &recorded.study.problem().settings;
    let row = |name: &str, text: &str| format!("{name:<12}{text}\n");
    let mut out = row("search", &dir.path().display().to_string());
    out += &row("space", recorded.space.name());
    let objectives = recorded.study.problem().objectives().iter();
    let objectives: Vec<&str> = objectives.map(|quantity| quantity.name.as_str()).collect();
    out += &row("objectives", &objectives.join(", "));
    let limits: Vec<String> = settings.limits.iter().map(ToString::to_string).collect();
    if !limits.is_empty() {
        out += &row("limits", &limits.join(", "));
    }
    out += &row("evaluation", &results::evaluation(recorded));
    let order = match settings.order {
        Order::Arrival => String::new(),
        Order::Strict { lag } => format!(", strict order with lag {lag}"),
    };
    out += &row("optimiser", &format!("{}{order}", settings.optimiser.name));
    let counts = results.counts();
    let counts: Vec<String> = counts
        .iter()
        .map(|(name, n)| format!("{n} {name}"))
        .collect();
    let tried = results.state.trials().len();
    let of = budget(&recorded.study).map_or_else(String::new, |budget| format!(" of {budget}"));
    let at = if at_work { "at work" } else { "not at work" };
    let states = match counts.is_empty() {
        true => String::new(),
        false => format!(": {}", counts.join(", ")),
    };
    out += &row("trials", &format!("{tried}{of}{states} ({at})"));
    let queued = recorded.study.queued();
    if !queued.is_empty() {
        out += &row("to be tried", &queued.join(", "));
    }
    let seconds: f64 = results.state.trials().iter().map(|t| t.seconds).sum();
    out += &row("evaluated", &time(seconds));
    let failed = results
        .state
        .trials()
        .iter()
        .rev()
        .find_map(|t| match &t.state {
            TrialState::Failed { message, .. } => Some(format!("trial {}: {message}", t.number)),
            _ => None,
        });
    if let Some(failed) = failed {
        out += &row("last failure", &failed);
    }
    format!("{out}\n{}", results.table(text::width()))
}

/// Another search with the same objectives.
struct Other {
    name: String,
    recorded: Recorded,
}

impl Other {
    fn read(path: &Path, like: &Study, lab: &Lab) -> Result<Self, CliError> {
        let recorded = SearchDir::new(path).read(lab)?;
        let names = |study: &Study| study.problem().settings.objectives.clone();
        if names(&recorded.study) != names(like) {
            return Err(CliError::usage(format!(
                "the search in `{}` has other objectives ({}); only fronts of the same objectives can be compared",
                path.display(),
                names(&recorded.study).join(", ")
            )));
        }
        let name = path.file_name().unwrap_or(path.as_os_str());
        let optimiser = &recorded.study.problem().settings.optimiser.name;
        Ok(Other {
            name: format!("{} ({optimiser})", name.to_string_lossy()),
            recorded,
        })
    }
}

fn front(
    path: &Path,
    format: FrontFormat,
    beside: Option<&Path>,
    output: Option<&Path>,
    lab: &Lab,
) -> Result<(), CliError> {
    let dir = SearchDir::new(path);
    let recorded = dir.read(lab)?;
    let state = recorded.study.results();
    let results = Results {
        study: &recorded.study,
        state: &state,
    };
    if beside.is_some() && format != FrontFormat::Svg {
        return Err(CliError::usage(
            "--beside is for drawings; add --format svg, or an output that ends in .svg",
        ));
    }
    match format {
        FrontFormat::Table => give(&results.table(text::width()), output),
        FrontFormat::Json => give(&pretty(&results.json(&dir)), output),
        FrontFormat::Csv => give(&results.csv(), output),
        FrontFormat::Svg => {
            let other = beside.map(|path| Other::read(path, &recorded.study, lab));
            let other = other.transpose()?;
            let other_state = other.as_ref().map(|other| other.recorded.study.results());
            let other = other.as_ref().zip(other_state.as_ref());
            let other = other.map(|(other, state)| {
                let results = Results {
                    study: &other.recorded.study,
                    state,
                };
                (other.name.as_str(), results)
            });
            let beside = other.as_ref().map(|(name, results)| (*name, results));
            let name = recorded.space.name();
            let plane = results.plane(&format!("{name}: trials and front"), beside);
            let plane = plane.ok_or_else(|| {
                CliError::failure("there is nothing to draw: no trial has values yet")
            })?;
            give(&plane, output)?;
            let progress = results.progress(&format!("{name}: hypervolume"), beside);
            match (output, progress) {
                (Some(output), Some(progress)) => {
                    let stem = output.file_stem().unwrap_or_default().to_string_lossy();
                    let second = output.with_file_name(format!("{stem}_progress.svg"));
                    give(&progress, Some(&second))
                }
                _ => Ok(()),
            }
        }
    }
}

/// Which network is the best.
enum Which<'a> {
    Answer(bool),
    By(&'a str),
    Knee,
}

fn best(
    path: &Path,
    which: Which<'_>,
    as_json: bool,
    output: Option<&Path>,
    lab: &Lab,
) -> Result<(), CliError> {
    let recorded = SearchDir::new(path).read(lab)?;
    let state = recorded.study.results();
    let results = Results {
        study: &recorded.study,
        state: &state,
    };
    let found: Option<&Trial> = match which {
        Which::Answer(predicted) => results.best(predicted),
        Which::Knee => match recorded.study.problem().objectives().len() {
            0 | 1 => {
                return Err(CliError::usage(
                    "--knee: the search has one objective, so its front has no knee; leave the flag out",
                ));
            }
            _ if (1..3).contains(&results.front().len()) => {
                return Err(CliError::failure(
                    "the front has less than three networks, so nothing bends it; take one with --by, or try more networks",
                ));
            }
            _ => results.knee(),
        },
        Which::By(name) => {
            let objectives = recorded.study.problem().objectives();
            let at = objectives.iter().position(|quantity| quantity.name == name);
            let at = at.ok_or_else(|| {
                let names = objectives.iter().map(|quantity| quantity.name.as_str());
                CliError::usage(format!("--by: {}", unknown("objective", name, names)))
            })?;
            let front = results.front();
            let best = front
                .iter()
                .min_by(|(a, x), (b, y)| x[at].total_cmp(&y[at]).then(a.number.cmp(&b.number)));
            best.map(|(trial, _)| *trial)
        }
    };
    let found = found.ok_or_else(|| {
        CliError::failure(format!(
            "no network of the search in `{}` is done and within the limits yet",
            path.display()
        ))
    })?;
    if as_json {
        return give(&pretty(&results.of_trial(found)), output);
    }
    let space: &dyn SearchSpace = &*recorded.space;
    give(&results::description(space, found)?, output)
}

fn export(
    path: &Path,
    to: SearchExport,
    output: Option<&Path>,
    lab: &Lab,
    env: &Env,
) -> Result<(), CliError> {
    let recorded = SearchDir::new(path).read(lab)?;
    let state = recorded.study.results();
    let view = recorded.study.view_of(&state);
    let text = match to {
        SearchExport::SearchState => search_state(&view),
        SearchExport::Optuna => {
            let now = env.now().strftime("%Y-%m-%dT%H:%M:%S").to_string();
            optuna_journal(&view, recorded.space.name(), &now)
        }
    };
    give(&text, output)
}

fn add(path: &Path, id: &str, values: &[String], source: &str, lab: &Lab) -> Result<(), CliError> {
    let dir = SearchDir::new(path);
    let mut recorded = dir.edit(lab)?;
    let member = recorded.space.parse_id(id).map_err(CliError::input)?;
    let known: Vec<String> = recorded
        .study
        .problem()
        .settings
        .quantities
        .iter()
        .map(|quantity| quantity.name.clone())
        .collect();
    let mut all = Values::new();
    for text in values {
        let wrong = || {
            CliError::usage(format!(
                "--values {text}: expected NAME=NUMBER, such as accuracy=0.91"
            ))
        };
        let (name, value) = text.split_once('=').ok_or_else(wrong)?;
        if !known.iter().any(|known| known == name) {
            let known = known.iter().map(String::as_str);
            return Err(CliError::usage(format!(
                "--values: {}",
                unknown("quantity", name, known)
            )));
        }
        let value: f64 = value.trim().parse().map_err(|_| wrong())?;
        all.insert(name.to_string(), value);
    }
    let said = match all.is_empty() {
        true => {
            recorded
                .study
                .enqueue(member, source)
                .map_err(archai_lab::LabError::from)?;
            format!("{id} is tried before all others when the search goes on")
        }
        false => {
            let trial = recorded
                .study
                .add(member, all, source)
                .map_err(archai_lab::LabError::from)?;
            format!("{id} is trial {trial}")
        }
    };
    let space: Arc<dyn SearchSpace> = recorded.space.clone();
    results::write(&dir, &*space, &recorded.study)?;
    write(&format!("{said}\n"))
}

/// The folders among some that are those of searches, and the others.
pub fn told_apart(dirs: &[PathBuf]) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let is_search = |dir: &PathBuf| SearchDir::new(dir).is_there();
    dirs.iter().cloned().partition(is_search)
}
