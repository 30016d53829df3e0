//! `archai search run`: everything is checked, then the search begins, or goes on where its journal ends.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use archai_lab::discrete::{
    Evaluation, FittedTo, JOURNAL_FILE, SearchDir, SearchStart, Training, space_from, surroundings,
};
use archai_lab::{Lab, LabError, Request};
use archai_search::journal::{FileStore, MemoryStore};
use archai_search::space::{Quantity, SearchSpace, Space};
use archai_search::{
    ACTIVATION_MEMORY, Bound, Catalogue, Evaluator, Limit, MACS, Order, Outcome, PARAMS, Run,
    Settings, Stop, Study, optimisers,
};

use super::cheap;
use super::results::{self, Results};
use super::screen::{Screen, ShownStore};
use super::wanted::{self, Wanted};
use crate::cli::args::{Command, ResumeArgs, RunArgs, SearchCommand, SearchRunArgs};
use crate::cli::data_found;
use crate::cli::env::Env;
use crate::cli::error::{CliError, INTERRUPTED};
use crate::cli::parse;
use crate::cli::space::{Written, written};
use crate::cli::text;

/// Searches, or goes on with a search.
///
/// # Errors
/// Whatever can be seen to be wrong before anything is trained or written; then whatever goes wrong.
pub fn run(
    args: &SearchRunArgs,
    overrides: &[String],
    lab: &Lab,
    env: &Env,
) -> Result<(), CliError> {
    let prepared = Prepared::new(args, overrides, lab, env)?;
    prepared.execute(args, lab, env)
}

/// Gives the command again that began the search in `dir`.
///
/// # Errors
/// Its command is none, and whatever goes wrong in it.
pub fn resume(dir: &Path, asked: &ResumeArgs, lab: &Lab, env: &Env) -> Result<(), CliError> {
    let unusable = |why: String| {
        CliError::failure(format!(
            "the command that began the search in `{}` cannot be given again: {why}",
            dir.display()
        ))
    };
    let start = SearchDir::new(dir).start()?;
    let start = start.ok_or_else(|| unusable("it is not known".into()))?;
    std::env::set_current_dir(&start.folder)
        .map_err(|e| unusable(format!("`{}`: {e}", start.folder.display())))?;
    let mut env = env.clone();
    env.folder = start.folder.clone();
    env.command_line.truncate(1);
    env.command_line.extend(start.arguments.iter().cloned());
    let lab = lab.clone().on(env.host());
    let (cli, overrides) =
        parse(start.arguments.clone(), &env).map_err(|e| unusable(e.to_string()))?;
    let Command::Search(SearchCommand::Run(mut args)) = cli.command else {
        return Err(unusable("it is no `search run`".into()));
    };
    args.dir = Some(dir.to_path_buf());
    // What changes no result is the choice of whoever resumes.
    (args.json, args.quiet, args.plain) =
        (asked.screen.json, asked.screen.quiet, asked.screen.plain);
    if asked.threads.threads.is_some() {
        args.compute.threads = asked.threads;
    }
    run(&args, &overrides, &lab, &env)
}

/// The flags of the run that trains with the same settings.
fn as_run(args: &SearchRunArgs) -> RunArgs {
    RunArgs {
        datasets: args.datasets.clone().map(|name| vec![name]),
        data: args.data.clone(),
        resolution: args.resolution.clone(),
        mode: args.mode,
        logdir: args.logdir.clone(),
        config: args.config.clone(),
        ..RunArgs::evaluation(&args.algo, "trials", &args.compute)
    }
}

/// A search that was checked.
struct Prepared {
    dir: SearchDir,
    space: Arc<Space>,
    space_text: String,
    start: SearchStart,
    catalogue: Arc<Catalogue>,
    evaluators: Vec<Arc<dyn Evaluator>>,
    settings: Settings,
    /// Sentences for whoever begins.
    notes: Vec<String>,
}

/// What evaluates, before the space is known.
struct Evaluates {
    training: Option<Arc<Training>>,
    evaluator: Arc<dyn Evaluator>,
    evaluation: Evaluation,
    seed: u64,
    logdir: PathBuf,
    rungs: Vec<u32>,
    notes: Vec<String>,
}

impl Evaluates {
    fn new(
        args: &SearchRunArgs,
        wanted: &Wanted,
        overrides: &[String],
        lab: &Lab,
        env: &Env,
    ) -> Result<Self, CliError> {
        let mut overrides = overrides.to_vec();
        let epochs = args.epochs.or(args.rungs.last().copied());
        overrides.extend(epochs.map(|epochs| format!("nas.eval.trainer.epochs={epochs}")));
        let plain = as_run(args);
        if args.table.is_none() && args.command.is_none() {
            let (plain, env) = match &plain.data {
                Some(path) => data_found::described(path, &plain, &overrides, lab, env)?,
                None => (plain, env.clone()),
            };
            let request = crate::cli::run::request(&plain, &overrides, &env);
            return Self::training(args, wanted, &request, lab);
        }
        if let Some(first) = overrides.first().filter(|_| epochs.is_none()) {
            return Err(CliError::usage(format!(
                "`{first}`: settings are those of our own training, which a search by --table or --command does not use; leave \
                 it out"
            )));
        }
        let request = crate::cli::run::request(&plain, &[], env);
        let (seed, logdir) = surroundings(lab, &request)?;
        let evaluation = match (&args.table, &args.command) {
            (Some(table), _) => {
                let key = match &args.key {
                    Some(key) => key.clone(),
                    None => first_column(table)?,
                };
                // From everywhere, for whoever looks at the search later.
                let path = env.folder.join(table);
                Evaluation::table(&path, key, wanted.columns(args)?)
                    .map_err(|e| CliError::usage(e.to_string()))?
            }
            (None, command) => Evaluation::Command {
                command: wanted::words(command.as_deref().unwrap_or_default())?,
                quantities: wanted.foreign()?,
                time_limit: args.time_limit,
            },
        };
        let rungs = match epochs {
            Some(epochs) => wanted.rungs(args, epochs)?,
            None if wanted.has_rungs => {
                return Err(CliError::usage(format!(
                    "the optimiser `{}` compares trainings on their way; say after how many epochs with --rungs, such as \
                     --rungs 3,9,27",
                    args.optimiser
                )));
            }
            None => Vec::new(),
        };
        let evaluator = evaluation.evaluator()?;
        Ok(Evaluates {
            training: None,
            evaluator: evaluator.ok_or_else(|| CliError::failure("nothing evaluates"))?,
            evaluation,
            seed,
            logdir,
            rungs,
            notes: Vec::new(),
        })
    }

    fn training(
        args: &SearchRunArgs,
        wanted: &Wanted,
        request: &Request,
        lab: &Lab,
    ) -> Result<Self, CliError> {
        let cores = request.threads.unwrap_or_else(|| {
            std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
        });
        let threads = (cores / usize::from(args.workers)).max(1);
        let training = Arc::new(Training::new(lab, request, threads)?);
        wanted.check(training.quantities())?;
        let [learnt, measured] = training.images();
        let epochs = match training.epochs() {
            1 => "1 epoch".to_string(),
            n => format!("{n} epochs"),
        };
        let threads = match threads {
            1 => "1 thread".to_string(),
            n => format!("{n} threads"),
        };
        let mut notes = vec![format!(
            "each network learns from {learnt} images of {} for {epochs}, and its accuracy is that on {measured} other images of the \
             training data; {} at a time with {threads} each",
            training.dataset().name,
            args.workers
        )];
        notes.extend(
            training
                .warnings()
                .iter()
                .map(|text| format!("warning: {text}")),
        );
        Ok(Evaluates {
            evaluation: Evaluation::Training {
                settings: training.identity().clone(),
                data: training.data().clone(),
            },
            seed: training.seed(),
            logdir: training.logdir().to_path_buf(),
            rungs: wanted.rungs(args, training.epochs())?,
            evaluator: training.clone(),
            training: Some(training),
            notes,
        })
    }
}

/// The name of the first column of a table.
fn first_column(table: &Path) -> Result<String, CliError> {
    archai_search::table::header(table)
        .map_err(CliError::input)?
        .into_iter()
        .next()
        .ok_or_else(|| {
            CliError::usage(format!(
                "the table `{}` is empty; expected a header line",
                table.display()
            ))
        })
}

impl Prepared {
    fn new(
        args: &SearchRunArgs,
        overrides: &[String],
        lab: &Lab,
        env: &Env,
    ) -> Result<Self, CliError> {
        let wanted = Wanted::new(args)?;
        let Written {
            file,
            text,
            is_shipped,
        } = written(&args.space.space)?;
        let written_for = space_from(lab, &file, &text, None)?;
        let mut found = Evaluates::new(args, &wanted, overrides, lab, env)?;
        let fits = found.training.as_ref().map(|training| training.fits());
        let own = FittedTo {
            input: written_for.desc().input,
            classes: written_for.desc().classes,
        };
        // A space of the user's says what it means; one that comes with the program is for any images.
        let fitted = fits.filter(|fits| is_shipped && *fits != own);
        let space = match fitted {
            Some(FittedTo { input, classes }) => {
                found.notes.push(format!(
                    "the networks of `{}` are fitted to images of {input} and {classes} classes",
                    written_for.desc().name
                ));
                space_from(lab, &file, &text, fitted)?
            }
            None => written_for,
        };
        if let Some(training) = &found.training {
            training.check_space(&space)?;
        }
        check_bounds(&space, &wanted.limits)?;
        let space = Arc::new(space);
        let settings = Settings {
            objectives: wanted.objectives.clone(),
            limits: wanted.limits.clone(),
            seed: found.seed,
            order: match args.strict {
                Some(lag) => Order::Strict { lag },
                None => Order::Arrival,
            },
            optimiser: wanted.optimiser.clone(),
            rungs: found.rungs.clone(),
            ..Settings::new([PARAMS])
        };
        let data = found.training.as_ref().map(|t| t.dataset().name.as_str());
        let dir = match &args.dir {
            Some(dir) => env.folder.join(dir),
            None => {
                let middle = data.map_or(String::new(), |name| format!("{name}_"));
                found
                    .logdir
                    .join(format!("{}_{middle}trials", space.name()))
            }
        };
        let arguments = env.command_line.get(1..).unwrap_or_default().to_vec();
        let start = SearchStart::new(lab, arguments, &file, fitted, found.evaluation);
        let memory = wanted
            .objectives
            .iter()
            .any(|name| name == ACTIVATION_MEMORY)
            || wanted
                .limits
                .iter()
                .any(|limit| limit.quantity == ACTIVATION_MEMORY);
        let cheap = cheap::evaluators(&wanted, found.training.as_deref(), found.seed, lab)?;
        let mut evaluators = vec![found.evaluator.clone()];
        evaluators.extend(cheap);
        let catalogue = Catalogue::new(space.clone(), evaluators.clone(), memory);
        Ok(Prepared {
            dir: SearchDir::new(dir),
            space,
            space_text: text,
            start,
            catalogue: Arc::new(catalogue),
            evaluators,
            settings,
            notes: found.notes,
        })
    }

    fn open(&self, store: Box<dyn archai_search::journal::Store>) -> Result<Study, CliError> {
        let folder = Some(self.dir.path().to_path_buf());
        let study = Study::open_with(
            self.catalogue.clone(),
            self.evaluators.clone(),
            self.settings.clone(),
            &optimisers::all(),
            store,
            folder,
        );
        Ok(study.map_err(LabError::from)?)
    }

    /// Checks that the search in the folder, if there is one, is this one.
    fn check_same(&self, lab: &Lab) -> Result<bool, CliError> {
        let Some(begun) = self.dir.start()? else {
            return Ok(false);
        };
        let mut differing = begun.evaluation.differences(&self.start.evaluation);
        let space = self.dir.space(lab, &begun)?;
        if space.fingerprint() != self.space.fingerprint() {
            differing.push(format!(
                "the space `{}` is another one, or was changed ({} has it as it was)",
                self.space.name(),
                self.dir.file(archai_lab::discrete::SPACE_FILE).display()
            ));
        }
        match differing.is_empty() {
            true => Ok(true),
            false => Err(CliError::usage(format!(
                "the search in `{}` was begun otherwise: {}; use the same settings, or name another folder with --dir",
                self.dir.path().display(),
                differing.join("; ")
            ))),
        }
    }

    fn execute(&self, args: &SearchRunArgs, lab: &Lab, env: &Env) -> Result<(), CliError> {
        let goes_on = self.check_same(lab)?;
        if !goes_on {
            // As a whole, before anything is written.
            self.open(Box::new(MemoryStore::default()))?;
            self.dir.begin(&self.start, &self.space_text)?;
        }
        let store = FileStore::open(&self.dir.file(JOURNAL_FILE));
        let store = store.map_err(|e| LabError::from(archai_search::StudyError::from(e)))?;
        let budget = args.budget as usize;
        let screen = Screen::new(
            self.shown_quantities(),
            budget,
            args.quiet,
            env.draws && !args.plain,
        )?;
        let mut study = self.open(Box::new(ShownStore::new(store, screen.clone())))?;
        let before = study.results().trials().len();
        let place = self.dir.path().display();
        match goes_on {
            true => screen.tell(&format!(
                "{} goes on in {place} ({before} trials so far)",
                self.space.name()
            )),
            false => screen.tell(&format!("searching {} in {place}", self.space.name())),
        }
        for note in &self.notes {
            match note.starts_with("warning:") {
                true => screen.say(&format!("  {note}")),
                false => screen.tell(&format!("  {note}")),
            }
        }
        let stop = Arc::new(Stop::new());
        watch_interrupts(&stop, &screen)?;
        let host = lab.host();
        let clock = host.clock.clone();
        let ended = study.run(Run {
            workers: usize::from(args.workers),
            budget: Some(budget),
            stop: &stop,
            clock: &|| clock.now(),
        });
        screen.close();
        let written = results::write(&self.dir, &*self.space, &study);
        let ended = ended.map_err(LabError::from)?;
        written?;
        self.show(args, &study, &ended)?;
        match ended {
            Outcome::Stopped => Err(CliError::Interrupted(format!(
                "{} of {budget} networks were tried; to go on, give the same command again, or: archai resume {place}",
                study.results().trials().len()
            ))),
            Outcome::Budget | Outcome::Exhausted(_) => Ok(()),
        }
    }

    /// The quantities that stand in the lines of trials: objectives, then what else is limited.
    fn shown_quantities(&self) -> Vec<archai_search::Quantity> {
        let own = archai_search::own_quantities();
        let known = || (own.iter()).chain(self.evaluators.iter().flat_map(|e| e.quantities()));
        let limited = self.settings.limits.iter().map(|limit| &limit.quantity);
        let mut names: Vec<&String> = self.settings.objectives.iter().collect();
        for name in limited {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        (names.into_iter())
            .filter_map(|name| known().find(|quantity| quantity.name == *name).cloned())
            .collect()
    }

    /// Prints what was found.
    fn show(&self, args: &SearchRunArgs, study: &Study, ended: &Outcome) -> Result<(), CliError> {
        let state = study.results();
        let results = Results {
            study,
            state: &state,
        };
        if args.json {
            return super::write(&super::pretty(&results.json(&self.dir)));
        }
        let mut out = format!("\n{}", results.table(text::width()));
        if let Outcome::Exhausted(why) = ended {
            out += &format!("\nthe search has ended before its budget: {why}\n");
        }
        let counts: Vec<String> = results
            .counts()
            .iter()
            .map(|(name, n)| format!("{n} {name}"))
            .collect();
        out += &format!("\n{} trials: {}\n", state.trials().len(), counts.join(", "));
        if !args.quiet && results.best(false).is_some() {
            let dir = self.dir.path().display();
            out += &format!(
                "\n{dir}/\n  \
                 front.csv, front.svg    the networks that no other beats\n  \
                 search_state.csv        all trials\n  \
                 best.yaml               the best network (in {})\n  \
                 journal.log             all that happened\n\n\
                 To train the best network on all of the data, and to have it for other programs:\n  \
                 archai train {dir}/best.yaml\n\
                 To try more networks:  the same command with a larger --budget\n",
                self.settings.objectives.first().map_or("", String::as_str)
            );
        }
        super::write(&out)
    }
}

/// Refuses limits on sizes that no member of the space keeps; what is known of all members is exact.
fn check_bounds(space: &Space, limits: &[Limit]) -> Result<(), CliError> {
    for limit in limits {
        let quantity = match limit.quantity.as_str() {
            PARAMS => Quantity::Params,
            MACS => Quantity::Macs,
            _ => continue,
        };
        match limit.bound {
            Bound::AtMost(most) => {
                let most = most.max(0.0) as u64;
                space.check_limit(quantity, most).map_err(CliError::input)?;
            }
            Bound::AtLeast(least) => {
                let report = space.report();
                let (most, member, what) = match quantity {
                    Quantity::Params => (report.params[1], &report.largest, "parameters"),
                    Quantity::Macs => (report.macs[1], &report.dearest, "multiply-adds"),
                };
                if (most as f64) < least {
                    return Err(CliError::usage(format!(
                        "no member of `{}` has at least {least} {what}; the largest has {most}: {}; lower the limit or add larger \
                         options",
                        space.name(),
                        space.id(member)
                    )));
                }
            }
        }
    }
    Ok(())
}

/// The first interrupt asks for an end, the second one ends the program.
fn watch_interrupts(stop: &Arc<Stop>, screen: &Arc<Screen>) -> Result<(), CliError> {
    let (stop, screen) = (Arc::clone(stop), Arc::clone(screen));
    ctrlc::set_handler(move || {
        if stop.is_requested() {
            screen.close();
            screen.say("stopped at once; the same command goes on with what the journal has");
            std::process::exit(i32::from(INTERRUPTED));
        }
        stop.request();
        screen.say("  stopping after this step; interrupt again to stop at once");
    })
    .map_err(|e| CliError::failure(format!("cannot watch for interrupts: {e}")))
}
