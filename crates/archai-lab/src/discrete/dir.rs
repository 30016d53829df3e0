//! The folder of a discrete search: what was searched and how, the journal, a folder for each trial, and results.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use archai_engine::files::{FileError, write_atomically};
use archai_search::command::CommandEvaluator;
use archai_search::journal::{Event, FileStore, JournalError, MemoryStore, Store, read};
use archai_search::space::desc::SpaceDesc;
use archai_search::space::{Member, SearchSpace, Space};
use archai_search::table::{Table, TableQuantity};
use archai_search::{
    EvalError, Evaluator, Job, Quantity, Reports, Setup, Study, StudyError, Values, optimisers,
    own_quantities,
};
use archai_spec::desc::Shape;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::all_ops;
use crate::data::{Data, differences};
use crate::error::LabError;
use crate::lab::Lab;

/// How the search was started, as JSON: [`SearchStart`].
pub const SEARCH_FILE: &str = "search.json";
/// The space, as it was written.
pub const SPACE_FILE: &str = "space.yaml";
/// The journal.
pub const JOURNAL_FILE: &str = "journal.log";
/// The folder that has one for each trial.
pub const TRIALS: &str = "trials";
/// The table of all trials, with Archai's columns.
pub const STATE_FILE: &str = "search_state.csv";
/// The table of the front.
pub const FRONT_FILE: &str = "front.csv";
/// The description of the best network.
pub const BEST_FILE: &str = "best.yaml";
/// The drawing of the trials in the plane of two objectives.
pub const PLOT_FILE: &str = "front.svg";
/// The drawing of the hypervolume over the trials.
pub const PROGRESS_FILE: &str = "progress.svg";

/// The version of [`SearchStart`].
const VERSION: u32 = 1;

/// How a search was started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchStart {
    /// The version of this file.
    pub version: u32,
    /// The program that made it.
    pub program: String,
    /// The folder in which the command was given.
    pub folder: PathBuf,
    /// The command's arguments, without the program's name.
    pub arguments: Vec<String>,
    /// The name of the space's file in messages.
    pub space: String,
    /// The images and classes to which the space was fitted; none if they are as its file says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fitted: Option<FittedTo>,
    /// What evaluates.
    pub evaluation: Evaluation,
}

/// The images and classes to which a space was fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedTo {
    /// The image.
    pub input: Shape,
    /// Classes.
    pub classes: usize,
}

/// What evaluates the trials of a search, as far as results depend on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Evaluation {
    /// Our own training.
    Training {
        /// Settings, by dotted names.
        settings: BTreeMap<String, Value>,
        /// What the data hold.
        data: Data,
    },
    /// A program of the user's.
    Command {
        /// The program and its arguments.
        command: Vec<String>,
        /// What it finds out.
        quantities: Vec<Quantity>,
        /// Seconds after which it is ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        time_limit: Option<f64>,
    },
    /// A table.
    Table {
        /// The file; another one with the same contents is the same.
        path: PathBuf,
        /// BLAKE3 digest of its bytes in hexadecimal.
        digest: String,
        /// The column of ids.
        key: String,
        /// The quantities.
        columns: Vec<TableColumn>,
    },
}

/// A quantity of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableColumn {
    /// What it is.
    pub quantity: Quantity,
    /// The columns, each with the epochs after which it holds; a single column may have any number.
    pub columns: Vec<(u32, String)>,
}

impl Evaluation {
    /// A table as it lies on the disk.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn table(path: &Path, key: String, columns: Vec<TableColumn>) -> Result<Self, LabError> {
        let bytes = std::fs::read(path).map_err(|e| FileError::new("read", path, e))?;
        Ok(Evaluation::Table {
            path: path.to_path_buf(),
            digest: blake3::hash(&bytes).to_hex().to_string(),
            key,
            columns,
        })
    }

    /// What evaluates so, with the limits of time that it has; none for a training, which takes a [`super::Training`].
    ///
    /// # Errors
    /// A table that cannot be read.
    pub fn evaluator(&self) -> Result<Option<Arc<dyn Evaluator>>, LabError> {
        match self {
            Evaluation::Training { .. } => Ok(None),
            Evaluation::Command {
                command,
                quantities,
                time_limit,
            } => {
                let program = CommandEvaluator::new(command.clone(), quantities.clone());
                let limit = time_limit.map(std::time::Duration::try_from_secs_f64);
                let program = match limit {
                    Some(Ok(limit)) => program.time_limit(limit),
                    Some(Err(e)) => return Err(LabError::request(format!("the time limit: {e}"))),
                    None => program,
                };
                Ok(Some(Arc::new(program)))
            }
            Evaluation::Table {
                path, key, columns, ..
            } => {
                let columns = columns.iter().map(|column| {
                    let columns = column.columns.iter().cloned();
                    TableQuantity::by_epochs(column.quantity.clone(), columns)
                });
                let table = Table::open(path, key, columns.collect());
                Ok(Some(Arc::new(
                    table.map_err(|e| LabError::request(e.to_string()))?,
                )))
            }
        }
    }

    /// What differs from another one, in words: `nas.eval.trainer.epochs is 4 there and 8 here`. Empty if results are comparable.
    pub fn differences(&self, now: &Evaluation) -> Vec<String> {
        match (self, now) {
            (
                Evaluation::Training { settings, data },
                Evaluation::Training {
                    settings: other,
                    data: other_data,
                },
            ) => {
                let keys: BTreeSet<&String> = settings.keys().chain(other.keys()).collect();
                let told = |value: Option<&Value>| {
                    value.map_or_else(|| "missing".to_string(), Value::to_string)
                };
                let mut all: Vec<String> = keys
                    .into_iter()
                    .filter(|key| settings.get(*key) != other.get(*key))
                    .map(|key| {
                        let (there, here) = (told(settings.get(key)), told(other.get(key)));
                        format!("{key} is {there} there and {here} here")
                    })
                    .collect();
                let changed = differences(data, other_data).into_iter();
                all.extend(
                    changed.map(|(what, there, here)| {
                        format!("{what}: {there} there and {here} here")
                    }),
                );
                all
            }
            (
                Evaluation::Table {
                    digest,
                    key,
                    columns,
                    ..
                },
                Evaluation::Table {
                    digest: other,
                    key: other_key,
                    columns: other_columns,
                    ..
                },
            ) => {
                let mut all = Vec::new();
                if digest != other {
                    all.push("the table holds other numbers".to_string());
                }
                if key != other_key {
                    all.push(format!(
                        "the column of ids is `{key}` there and `{other_key}` here"
                    ));
                }
                if columns != other_columns {
                    all.push("the columns of the quantities are others".to_string());
                }
                all
            }
            (Evaluation::Command { command, .. }, Evaluation::Command { command: other, .. }) => {
                match command == other {
                    // Limits of time and quantities are compared with the settings of the search.
                    true => Vec::new(),
                    false => vec![format!(
                        "the command is `{}` there and `{}` here",
                        command.join(" "),
                        other.join(" ")
                    )],
                }
            }
            _ => vec![format!(
                "trials are evaluated by {} there and by {} here",
                self.name(),
                now.name()
            )],
        }
    }

    /// `a training`, `a command`, `a table`.
    pub fn name(&self) -> &'static str {
        match self {
            Evaluation::Training { .. } => "a training",
            Evaluation::Command { .. } => "a command",
            Evaluation::Table { .. } => "a table",
        }
    }
}

impl SearchStart {
    /// What an equal search writes in this lab.
    pub fn new(
        lab: &Lab,
        arguments: Vec<String>,
        space: &str,
        fitted: Option<FittedTo>,
        evaluation: Evaluation,
    ) -> Self {
        let host = lab.host();
        SearchStart {
            version: VERSION,
            program: format!("archai {}", host.version).trim_end().to_string(),
            folder: host.folder.clone(),
            arguments,
            space: space.to_string(),
            fitted,
            evaluation,
        }
    }
}

/// The folder of a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchDir {
    path: PathBuf,
}

impl SearchDir {
    /// The folder at a path, whether it is there or not.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        SearchDir { path: path.into() }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Whether a search was begun in it.
    pub fn is_there(&self) -> bool {
        self.file(SEARCH_FILE).is_file()
    }

    /// How the search was started; none if there is no search.
    ///
    /// # Errors
    /// A file that cannot be read, or that a newer program wrote.
    pub fn start(&self) -> Result<Option<SearchStart>, LabError> {
        let path = self.file(SEARCH_FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(FileError::new("read", &path, e).into()),
        };
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let wrong = |e: serde_json::Error| {
            LabError::request(format!(
                "`{}` does not say how a search was started: {e}; restore the file from a copy, or begin in another folder",
                path.display()
            ))
        };
        let version: Version = serde_json::from_str(&text).map_err(wrong)?;
        if version.version != VERSION {
            return Err(LabError::request(format!(
                "`{}` has version {}, this program reads {VERSION}; use the program that wrote it, or a newer one",
                path.display(),
                version.version
            )));
        }
        serde_json::from_str(&text).map(Some).map_err(wrong)
    }

    /// Makes the folder of a new search: how it was started, and the space as it was written. The start is written last, so that
    /// a folder that has it has everything.
    ///
    /// # Errors
    /// A folder that holds other things, files that cannot be written.
    pub fn begin(&self, start: &SearchStart, space: &str) -> Result<(), LabError> {
        if let Ok(mut entries) = std::fs::read_dir(&self.path)
            && let Some(Ok(first)) = entries.find(|entry| {
                let name = entry.as_ref().ok().map(std::fs::DirEntry::file_name);
                // What an attempt leaves that was killed before the end of this function.
                name.is_some_and(|name| name != SPACE_FILE)
            })
        {
            return Err(LabError::request(format!(
                "`{}` is no folder of a search and not empty (it has `{}`); name another one with --dir",
                self.path.display(),
                first.file_name().to_string_lossy()
            )));
        }
        std::fs::create_dir_all(&self.path).map_err(|e| FileError::new("make", &self.path, e))?;
        self.write(SPACE_FILE, space)?;
        let text = serde_json::to_string_pretty(start).map_err(LabError::caused)?;
        self.write(SEARCH_FILE, &format!("{text}\n"))
    }

    /// Writes a file in it, complete or not at all.
    ///
    /// # Errors
    /// The system says no.
    pub fn write(&self, name: &str, text: &str) -> Result<(), LabError> {
        write_atomically(&self.file(name), |out| out.write_all(text.as_bytes()))?;
        Ok(())
    }

    /// The search with all that happened in it, to be looked at: nothing is changed, and another process may be at work on it.
    ///
    /// # Errors
    /// There is no search in the folder, a file of it is missing, damaged or of another search.
    pub fn read(&self, lab: &Lab) -> Result<Recorded, LabError> {
        let events = match read(&self.file(JOURNAL_FILE)) {
            Ok(events) => events,
            // It was killed before it had one.
            Err(JournalError::Io { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                Vec::new()
            }
            Err(error) => return Err(LabError::request(error.to_string())),
        };
        self.opened(lab, Box::new(MemoryStore { events }))
    }

    /// The same, to which trials may be added; other processes are kept out meanwhile.
    ///
    /// # Errors
    /// As [`SearchDir::read`]; another process works on the search.
    pub fn edit(&self, lab: &Lab) -> Result<Recorded, LabError> {
        // Without a search in it, nothing is made in a folder.
        self.read(lab)?;
        let store = FileStore::open(&self.file(JOURNAL_FILE));
        self.opened(lab, Box::new(store.map_err(|e| of_study(e.into()))?))
    }

    fn opened(&self, lab: &Lab, mut store: Box<dyn Store>) -> Result<Recorded, LabError> {
        let Some(start) = self.start()? else {
            return Err(LabError::request(format!(
                "`{}` is no folder of a search: it has no {SEARCH_FILE}; name one that `archai search run` made",
                self.path.display()
            )));
        };
        let space = Arc::new(self.space(lab, &start)?);
        let events = store.load().map_err(|e| of_study(e.into()))?;
        let Some(Event::Study { settings, .. }) = events.first() else {
            return Err(LabError::request(format!(
                "the search in `{}` was stopped before it had begun; give its command again",
                self.path.display()
            )));
        };
        let evaluator: Arc<dyn Evaluator> = match &start.evaluation {
            // What it says of a network that was not tried counts as well.
            Evaluation::Table { .. } => match start.evaluation.evaluator()? {
                Some(table) => table,
                None => return Err(LabError::failure("a table evaluates nothing")),
            },
            _ => Arc::new(KnownQuantities(foreign(&settings.quantities))),
        };
        let study = Study::open(Setup {
            space: space.clone(),
            evaluators: vec![evaluator],
            settings: settings.clone(),
            optimisers: &optimisers::all(),
            store,
            folder: None,
        });
        Ok(Recorded {
            start,
            space,
            study: study.map_err(of_study)?,
        })
    }

    /// The space that is searched.
    ///
    /// # Errors
    /// Its file is missing or was changed to something that is none.
    pub fn space(&self, lab: &Lab, start: &SearchStart) -> Result<Space, LabError> {
        let path = self.file(SPACE_FILE);
        let text = std::fs::read_to_string(&path).map_err(|e| FileError::new("read", &path, e))?;
        space_from(lab, &start.space, &text, start.fitted)
    }
}

/// A space whose ops are those of a lab, fitted to images and classes if some are given. `name` is that of its file in messages.
///
/// # Errors
/// What is wrong with it, by place.
pub fn space_from(
    lab: &Lab,
    name: &str,
    text: &str,
    fitted: Option<FittedTo>,
) -> Result<Space, LabError> {
    let wrong = |e: archai_search::space::SpaceError| LabError::request(e.to_string());
    let mut desc: SpaceDesc = Space::read(name, text).map_err(wrong)?;
    if let Some(FittedTo { input, classes }) = fitted {
        (desc.input, desc.classes) = (input, classes);
    }
    let (ops, _) = all_ops(lab.algorithms(), lab.components())?;
    Space::with_ops(desc, ops.catalog().clone()).map_err(wrong)
}

/// The quantities that the space itself does not know.
fn foreign(quantities: &[Quantity]) -> Vec<Quantity> {
    let own = own_quantities();
    let is_foreign = |quantity: &&Quantity| !own.iter().any(|own| own.name == quantity.name);
    quantities.iter().filter(is_foreign).cloned().collect()
}

/// An error of a search: what the user asked for, unless a file could not be written.
pub(crate) fn of_study(error: StudyError) -> LabError {
    match error {
        StudyError::Journal(JournalError::Io { .. }) | StudyError::Folder { .. } => {
            LabError::caused(error)
        }
        error => LabError::request(error.to_string()),
    }
}

impl From<StudyError> for LabError {
    fn from(error: StudyError) -> Self {
        of_study(error)
    }
}

/// A search as its folder has it.
pub struct Recorded {
    /// How it was started.
    pub start: SearchStart,
    /// The space.
    pub space: Arc<Space>,
    /// The search. It evaluates nothing, and writes only if it was opened to be edited.
    pub study: Study,
}

/// What is known of a search's quantities where nothing is evaluated.
struct KnownQuantities(Vec<Quantity>);

impl Evaluator for KnownQuantities {
    fn quantities(&self) -> &[Quantity] {
        &self.0
    }

    fn evaluate(&self, _: &Job<'_>, _: &mut dyn Reports) -> Result<Values, EvalError> {
        Err(EvalError::setup(
            "a search that was opened to be looked at evaluates nothing",
        ))
    }

    fn statics(&self, _: &dyn SearchSpace, _: &Member) -> Result<Values, EvalError> {
        Ok(Values::new())
    }
}
