//! `archai run` and `archai resume`: flags in, a lab at work on the terminal, results out.
//!
//! A command that was interrupted is resumed by giving it again: what is finished stays, what was under way goes on at its
//! last checkpoint. A command that had ended well starts anew, and the older runs are kept under a number.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use archai_engine::Engine;
use archai_engine::run::StopFlag;
use archai_lab::{Lab, LabEvent, Observer, Outcome, Plan, Progress, Request};
use archai_track::{Haste, Tracked};

use super::args::{RunArgs, is_on};
use super::config;
use super::data_found;
use super::env::Env;
use super::error::{CliError, INTERRUPTED};
use super::forecast;
use super::report;
use super::summary::{self, Screen};
use super::terminal::{Loudness, Terminal};
use super::text;
use super::track;
use super::watch::Beside;

/// Runs what the command line asks for and prints the results.
///
/// # Errors
/// Whatever goes wrong first. All configurations are checked before the first run starts.
pub fn run(args: &RunArgs, overrides: &[String], lab: &Lab, env: &Env) -> Result<(), CliError> {
    if let Some(path) = &args.data {
        let (args, env) = data_found::described(path, args, overrides, lab, env)?;
        return run(&args, overrides, lab, &env);
    }
    let plan = lab.plan(&request(args, overrides, env))?;
    if args.dry_run {
        return forecast::print(&plan);
    }
    execute(&plan, args, lab, env)
}

/// Goes on with the run in `dir`, which this command line made.
///
/// # Errors
/// `dir` was moved, and whatever goes wrong first.
pub fn resume(
    args: &RunArgs,
    overrides: &[String],
    lab: &Lab,
    env: &Env,
    dir: &Path,
) -> Result<(), CliError> {
    let plan = lab.plan(&request(args, overrides, env))?;
    plan.check_works_in(dir)?;
    if plan.progress()? == Progress::Complete {
        let text = format!("the run in {} is complete", dir.display());
        Terminal::new(env, loudness(args), true).say(&text);
        if args.screen.json {
            // Nothing ran; a program gets a whole document nevertheless.
            let text = summary::as_json(&[], None).map_err(CliError::caused)?;
            std::io::stdout().write_all(text.as_bytes())?;
        }
        return Ok(());
    }
    execute(&plan, args, lab, env)
}

/// Flags without values that do not say what a run is.
const NO_PART: [&str; 11] = [
    "--fresh",
    "--allow-changed",
    "--dry-run",
    "--json",
    "-q",
    "--quiet",
    "-v",
    "--verbose",
    "--watch",
    "--open",
    "--plain",
];

/// The flag that says who is shown a run.
const TRACK: &str = "--track";

/// The arguments that say what a run is: how older runs are treated, and what is shown to whom, does not.
fn part_of_run(arguments: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if argument == TRACK {
            // Its value.
            arguments.next();
            continue;
        }
        let is_track = |rest: &str| rest.starts_with('=');
        let is_track = argument.strip_prefix(TRACK).is_some_and(is_track);
        if !is_track && !NO_PART.contains(&argument.as_str()) {
            kept.push(argument.clone());
        }
    }
    kept
}

/// What the command line asks for.
pub(super) fn request(args: &RunArgs, overrides: &[String], env: &Env) -> Request {
    Request {
        algorithms: args.algos.clone(),
        datasets: args.datasets.clone(),
        eval_dataset: args.eval_dataset.clone(),
        mode: args.mode.mode(),
        space: args.space.clone(),
        table: args.table.clone(),
        search: !is_on(args.no_search),
        eval: !is_on(args.no_eval),
        exp_prefix: args.exp_prefix.clone(),
        logdir: args.logdir.clone(),
        config: config::files(&args.config),
        config_only: config::files(&args.config_only),
        overrides: overrides.to_vec(),
        device: args.compute.device.clone(),
        engine: Engine::from(args.compute.engine),
        threads: args.compute.threads.threads.map(usize::from),
        seed: args.compute.seed,
        seeds: args.seeds.clone(),
        fresh: args.fresh,
        allow_changed: args.allow_changed,
        track: args.track.as_deref().map(track::targets),
        made_by: Some(part_of_run(env.command_line.get(1..).unwrap_or_default())),
    }
}

pub(super) fn loudness(args: &RunArgs) -> Loudness {
    match (args.screen.quiet, args.screen.verbose) {
        (true, _) => Loudness::Quiet,
        (_, true) => Loudness::Loud,
        _ => Loudness::Usual,
    }
}

/// Executes a plan before the user's eyes, and prints what was found, also if it failed in the end.
fn execute(plan: &Plan<'_>, args: &RunArgs, lab: &Lab, env: &Env) -> Result<(), CliError> {
    let live = Live::new(env, loudness(args), args.screen.plain)?.with_pages(lab);
    let live = match args.screen.watch {
        true => live.with_watch(lab, env, args.screen.open),
        false => live,
    };
    let tracked = Tracked::new(&live, lab, track::notices(&live.terminal, env));
    let tracked = tracked.with_haste(live.haste.clone());
    let result = plan.execute(&tracked);
    tracked.finish();
    live.finish();
    live.terminal.close();
    let outcomes = live.outcomes();
    if args.screen.json {
        let result = result.map_err(CliError::from);
        let error = result.as_ref().err().map(ToString::to_string);
        let text = summary::as_json(&outcomes, error).map_err(CliError::caused)?;
        std::io::stdout().write_all(text.as_bytes())?;
        return result.map(drop);
    }
    if !outcomes.is_empty() {
        let mode = args.config_only.is_empty().then(|| args.mode.mode());
        let screen = Screen {
            width: text::width(),
            said: live.said(env),
            is_short: args.screen.quiet,
        };
        std::io::stdout().write_all(summary::for_terminal(&outcomes, mode, &screen).as_bytes())?;
    }
    result?;
    Ok(())
}

/// Shows runs on the terminal and stops them at an interrupt.
pub struct Live<'a> {
    /// The lab whose runs get a page at their end.
    pages: Option<&'a Lab>,
    /// Shows them in a browser.
    watch: Option<Beside>,
    terminal: Arc<Terminal>,
    stop: StopFlag,
    haste: Haste,
    outcomes: Mutex<Vec<Outcome>>,
}

impl<'a> Live<'a> {
    /// Draws on the terminal, unless lines are asked for (`plain`), and watches for interrupts from now on: once in a process.
    ///
    /// # Errors
    /// The system does not let interrupts be watched, or they are watched already.
    pub fn new(env: &Env, loudness: Loudness, plain: bool) -> Result<Self, CliError> {
        let terminal = Arc::new(Terminal::new(env, loudness, plain));
        let (stop, haste) = (StopFlag::new(), Haste::default());
        watch_interrupts(&stop, &haste, &terminal)?;
        terminal.watch_panics();
        Ok(Live {
            pages: None,
            watch: None,
            terminal,
            stop,
            haste,
            outcomes: Mutex::default(),
        })
    }

    /// The same, which writes a page into the directories of each run that ends.
    pub fn with_pages(mut self, lab: &'a Lab) -> Self {
        self.pages = Some(lab);
        self
    }

    /// The same, which shows the runs in a browser while they go on.
    fn with_watch(mut self, lab: &Lab, env: &Env, open: bool) -> Self {
        let beside = Beside::new(lab, env, &self.terminal, &self.stop, open);
        self.watch = Some(beside);
        self
    }

    /// Ends what goes on beside the runs.
    fn finish(&self) {
        if let Some(watch) = &self.watch {
            watch.end();
        }
    }

    /// A run is a run without its page, too: what goes wrong is said, and nothing fails.
    fn write_pages(&self, lab: &Lab, outcome: &Outcome) {
        for written in report::of_outcome(lab, outcome) {
            if let Err(why) = written {
                self.terminal.say(&format!(
                    "  warning: a page of the run was not written: {why}"
                ));
            }
        }
    }

    /// The warnings that whoever reads the results has read.
    fn said(&self, env: &Env) -> Vec<String> {
        match env.one_screen {
            true => self.terminal.said(),
            false => Vec::new(),
        }
    }

    /// What was found so far.
    fn outcomes(&self) -> Vec<Outcome> {
        let outcomes = self.outcomes.lock();
        outcomes.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Live<'_> {
    /// However the run ends, the terminal is left as it was. Whoever watches for interrupts keeps it until the process ends.
    fn drop(&mut self) {
        self.terminal.close();
    }
}

impl Observer for Live<'_> {
    fn observe(&self, event: &LabEvent<'_>) {
        if let LabEvent::JobEnds { outcome } = event {
            let outcomes = self.outcomes.lock();
            outcomes
                .unwrap_or_else(PoisonError::into_inner)
                .push((*outcome).clone());
        }
        self.terminal.show(event);
        if let (LabEvent::PhaseBegins { dir, .. }, Some(watch)) = (event, &self.watch) {
            watch.begin(dir);
        }
        if let (LabEvent::JobEnds { outcome }, Some(lab)) = (event, self.pages) {
            self.write_pages(lab, outcome);
        }
    }

    fn stop_flag(&self) -> StopFlag {
        self.stop.clone()
    }
}

/// The first interrupt asks for a stop after the present step, the second one ends the program. Where the program only waits for
/// trackers, the first one asks for an end of that.
fn watch_interrupts(
    stop: &StopFlag,
    haste: &Haste,
    terminal: &Arc<Terminal>,
) -> Result<(), CliError> {
    let (stop, haste, terminal) = (stop.clone(), haste.clone(), Arc::clone(terminal));
    ctrlc::set_handler(move || {
        if haste.ask() {
            terminal.say("  waiting no longer for trackers; interrupt again to stop at once");
            return;
        }
        if stop.is_raised() || haste.is_asked() {
            terminal.close();
            terminal.say("stopped at once; the last lines of its log say how far it got");
            std::process::exit(i32::from(INTERRUPTED));
        }
        stop.raise();
        terminal.say("  stopping after this step; interrupt again to stop at once");
    })
    .map_err(|e| CliError::failure(format!("cannot watch for interrupts: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_shown_a_run_is_no_part_of_it() {
        let of = |line: &str| {
            let arguments: Vec<String> = line.split(' ').map(str::to_string).collect();
            part_of_run(&arguments).join(" ")
        };
        let run = "run --algos darts --seed 3";
        for line in [
            run,
            "run --algos darts --track tensorboard --seed 3",
            "run --track=mlflow=http://h --algos darts --seed 3 --quiet",
            "run --algos darts --watch --open --seed 3",
        ] {
            assert_eq!(of(line), run, "{line}");
        }
        assert_eq!(of("run --tracker x"), "run --tracker x");
    }
}
