//! What `archai search run` is asked for, from texts to types.

use archai_lab::discrete::{ACCURACY, LOSS, TRAIN_TIME, TableColumn};
use archai_lab::proxies::PREFIX;
use archai_search::{
    Bound, CostClass, Direction, Limit, OptimiserChoice, Quantity, optimisers, own_quantities,
};
use serde_json::{Map, Value};

use crate::cli::args::SearchRunArgs;
use crate::cli::error::CliError;

/// Objectives, limits, and what proposes networks.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Names of the objectives, the most important first.
    pub objectives: Vec<String>,
    pub limits: Vec<Limit>,
    pub optimiser: OptimiserChoice,
    /// Whether the optimiser compares trainings on their way.
    pub has_rungs: bool,
    /// The directions that were written, by name.
    directions: Vec<(String, Direction)>,
}

/// Quantities whose better way nobody has to write.
const USUAL: [(&str, Direction); 12] = [
    (ACCURACY, Direction::Maximise),
    (LOSS, Direction::Minimise),
    (TRAIN_TIME, Direction::Minimise),
    ("error", Direction::Minimise),
    ("latency", Direction::Minimise),
    ("energy", Direction::Minimise),
    ("auc", Direction::Maximise),
    ("f1", Direction::Maximise),
    ("r2", Direction::Maximise),
    ("mae", Direction::Minimise),
    ("mse", Direction::Minimise),
    ("rmse", Direction::Minimise),
];

impl Wanted {
    /// What the flags say.
    ///
    /// # Errors
    /// A text that is no objective, no limit or no setting; an optimiser that does not exist or does not have a setting.
    pub fn new(args: &SearchRunArgs) -> Result<Self, CliError> {
        let (mut objectives, mut directions) = (Vec::new(), Vec::new());
        for text in &args.objectives {
            let text = text.trim();
            let (name, direction) = match text.split_once(':') {
                Some(("max", name)) => (name, Some(Direction::Maximise)),
                Some(("min", name)) => (name, Some(Direction::Minimise)),
                Some((other, name)) => {
                    return Err(CliError::usage(format!(
                        "--objectives {text}: `{other}` is no direction; write max:{name} or min:{name}"
                    )));
                }
                None => (text, None),
            };
            if name.is_empty() {
                return Err(CliError::usage(
                    "--objectives: a name is empty; name what is to be made better, such as accuracy,params",
                ));
            }
            objectives.push(name.to_string());
            directions.extend(direction.map(|direction| (name.to_string(), direction)));
        }
        let limits = args.limit.iter().map(|text| {
            let limit: Result<Limit, String> = text.parse();
            limit.map_err(|e| CliError::usage(format!("--limit: {e}")))
        });
        let optimiser = optimiser(args)?;
        let made = (optimisers::all().get(&optimiser.name))
            .map_err(CliError::input)?
            .make(&optimiser.settings)
            .map_err(CliError::usage)?;
        Ok(Wanted {
            objectives,
            limits: limits.collect::<Result<_, _>>()?,
            optimiser,
            has_rungs: made.has_rungs(),
            directions,
        })
    }

    /// Checks directions that were written against those of quantities which have one.
    ///
    /// # Errors
    /// One is the other way.
    pub fn check(&self, known: &[Quantity]) -> Result<(), CliError> {
        for (name, direction) in &self.directions {
            let found = known.iter().find(|quantity| quantity.name == *name);
            if let Some(found) = found.filter(|found| found.direction != *direction) {
                let better = match found.direction {
                    Direction::Minimise => "less",
                    Direction::Maximise => "more",
                };
                return Err(CliError::usage(format!(
                    "--objectives: of `{name}` {better} is better; write it without a direction"
                )));
            }
        }
        Ok(())
    }

    /// The quantities that are named, each once.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let limited = self.limits.iter().map(|limit| &limit.quantity);
        let all = self.objectives.iter().chain(limited);
        let names: std::collections::BTreeSet<&str> = all.map(String::as_str).collect();
        names.into_iter()
    }

    /// The quantities that a table or a command has to find out: all that neither the space itself knows nor a proxy is.
    ///
    /// # Errors
    /// One of which nobody knows which way is better.
    pub fn foreign(&self) -> Result<Vec<Quantity>, CliError> {
        let own = own_quantities();
        let mut all: Vec<Quantity> = Vec::new();
        let limited = self.limits.iter().map(|limit| &limit.quantity);
        for name in self.objectives.iter().chain(limited) {
            let known = own.iter().chain(&all).any(|other| other.name == *name);
            if known || name.starts_with(PREFIX) {
                continue;
            }
            let written = self.directions.iter().find(|(other, _)| other == name);
            let usual = USUAL.iter().find(|(other, _)| other == name);
            let bound = self.limits.iter().find(|limit| limit.quantity == *name);
            let by_bound = bound.map(|limit| match limit.bound {
                Bound::AtMost(_) => Direction::Minimise,
                Bound::AtLeast(_) => Direction::Maximise,
            });
            let direction = (written.map(|(_, direction)| *direction))
                .or(usual.map(|(_, direction)| *direction))
                .or(by_bound)
                .ok_or_else(|| {
                    CliError::usage(format!(
                        "--objectives: nobody knows whether more or less of `{name}` is better; write max:{name} or min:{name}"
                    ))
                })?;
            all.push(Quantity::new(name.clone(), direction));
        }
        self.check(&own)?;
        Ok(all)
    }

    /// The columns of a table in which the quantities stand.
    ///
    /// # Errors
    /// A text that is no column, or one of a quantity that is not asked for.
    pub fn columns(&self, args: &SearchRunArgs) -> Result<Vec<TableColumn>, CliError> {
        let mut columns: Vec<TableColumn> = self
            .foreign()?
            .into_iter()
            .map(|quantity| TableColumn {
                quantity,
                columns: Vec::new(),
            })
            .collect();
        let names: Vec<String> = columns.iter().map(|c| c.quantity.name.clone()).collect();
        let unknown = |flag: &str, name: &str| {
            let names = names.iter().map(String::as_str);
            let error = archai_spec::names::unknown("quantity of the table", name, names);
            CliError::usage(format!(
                "{flag}: {error}; objectives and limits say which there are"
            ))
        };
        for text in &args.column {
            let wrong = || {
                CliError::usage(format!(
                    "--column {text}: expected NAME=COLUMN or NAME=COLUMN@EPOCHS, such as accuracy=val_12@12"
                ))
            };
            let (name, column) = text.split_once('=').ok_or_else(wrong)?;
            let (column, epochs) = match column.rsplit_once('@') {
                Some((column, epochs)) => (column, epochs.parse::<u32>().map_err(|_| wrong())?),
                None => (column, u32::MAX),
            };
            let found = columns.iter_mut().find(|c| c.quantity.name == name);
            let found = found.ok_or_else(|| unknown("--column", name))?;
            found.columns.push((epochs, column.to_string()));
        }
        for name in &args.known {
            let found = columns.iter_mut().find(|c| c.quantity.name == *name);
            let found = found.ok_or_else(|| unknown("--known", name))?;
            found.quantity.class = CostClass::Static;
        }
        for column in &mut columns {
            if column.columns.is_empty() {
                let name = column.quantity.name.clone();
                column.columns.push((u32::MAX, name));
            }
            column.columns.sort();
        }
        Ok(columns)
    }

    /// After how many epochs trainings are compared: as the flags say, or at a ninth, a third and all of `epochs` for an optimiser
    /// that has rungs.
    ///
    /// # Errors
    /// Rungs for an optimiser that has none.
    pub fn rungs(&self, args: &SearchRunArgs, epochs: u32) -> Result<Vec<u32>, CliError> {
        if !self.has_rungs {
            return match args.rungs.is_empty() {
                true => Ok(vec![epochs]),
                false => Err(CliError::usage(format!(
                    "--rungs has no meaning for the optimiser `{}`, which trains each network at once; add --optimiser halving, or \
                     give --epochs",
                    args.optimiser
                ))),
            };
        }
        if !args.rungs.is_empty() {
            return Ok(args.rungs.clone());
        }
        let mut rungs = vec![epochs / 9, epochs / 3, epochs];
        rungs.retain(|rung| *rung > 0);
        rungs.dedup();
        Ok(rungs)
    }
}

/// The optimiser and its settings.
fn optimiser(args: &SearchRunArgs) -> Result<OptimiserChoice, CliError> {
    let mut settings = Map::new();
    for text in &args.set {
        let (name, value) = text.split_once('=').ok_or_else(|| {
            CliError::usage(format!(
                "--set {text}: expected NAME=VALUE, such as eta=3; docs/search.md says what optimisers have"
            ))
        })?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        settings.insert(name.to_string(), value);
    }
    Ok(OptimiserChoice {
        name: args.optimiser.clone(),
        settings,
    })
}

/// The words of a command as a shell would take them apart: at blanks that stand in no quotes.
///
/// # Errors
/// A quote without its other one, or no word.
pub fn words(command: &str) -> Result<Vec<String>, CliError> {
    let words = shlex::split(command)
        .ok_or_else(|| CliError::usage(format!("--command {command}: a quote is not closed")))?;
    match words.is_empty() {
        true => Err(CliError::usage(
            "--command is empty; give a program and its arguments, such as 'python train.py'",
        )),
        false => Ok(words),
    }
}
