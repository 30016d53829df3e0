//! How a command can end, and the one place that reports it to the user.

use std::io::{self, Write};
use std::process::ExitCode;

use archai_engine::EngineError;
use archai_engine::files::FileError;
use archai_lab::{LabError, Term};
use archai_spec::config::ConfigErrors;

use super::text::{error_width, wrapped};

/// Exit status of a failure on the way: a disk, a network or a training that fails, a result that is not what it should be.
pub const FAILURE: u8 = 1;
/// Exit status of what cannot be done as it is asked for: the command line, a configuration, or a file or folder that they name
/// is missing or cannot be used. Nothing was begun.
pub const USAGE: u8 = 2;
/// Exit status after an interrupt (128 + SIGINT).
pub const INTERRUPTED: u8 = 130;

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The command line, a configuration, or what they name cannot be used.
    #[error("{0}")]
    Usage(String),
    /// Something went wrong.
    #[error("{0}")]
    Failure(String),
    /// The same, with its reasons.
    #[error(transparent)]
    Caused(Box<dyn std::error::Error + Send + Sync>),
    /// The user interrupted the run; the text says what is left and how to go on.
    #[error("{0}")]
    Interrupted(String),
    /// Whoever read the output has gone (`archai algos | head -1`): nothing to complain about.
    #[error("the reader of the output has gone")]
    BrokenPipe,
}

impl CliError {
    /// A mistake of the command line.
    pub fn usage(text: impl Into<String>) -> Self {
        CliError::Usage(text.into())
    }

    /// A failure without further reasons.
    pub fn failure(text: impl Into<String>) -> Self {
        CliError::Failure(text.into())
    }

    /// A failure with its reasons.
    pub fn caused(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        CliError::Caused(Box::new(error))
    }

    /// A file of the user's that cannot be used for what it was named for.
    pub fn input(error: impl std::error::Error) -> Self {
        CliError::Usage(error.to_string())
    }

    /// A configuration that cannot be used.
    pub fn config(errors: ConfigErrors) -> Self {
        LabError::from(errors).into()
    }

    /// An error at a file that the command line names: one that is not there, or is a folder or no text, is the user's to mend.
    pub fn at_named(error: FileError) -> Self {
        use io::ErrorKind::{InvalidData, IsADirectory, NotADirectory, NotFound};
        match error.source.kind() {
            NotFound | IsADirectory | NotADirectory | InvalidData => {
                CliError::usage(error.to_string())
            }
            _ => CliError::caused(error),
        }
    }

    /// An error of the engine: settings that do not fit together are the user's to mend.
    pub fn engine(error: EngineError) -> Self {
        LabError::from(error).into()
    }

    /// Prints the error with its reasons to standard error and gives the exit status.
    pub fn report(&self, colors: bool) -> ExitCode {
        let (label, code) = match self {
            CliError::BrokenPipe => return ExitCode::SUCCESS,
            CliError::Interrupted(_) => ("stopped:", INTERRUPTED),
            CliError::Usage(_) => ("error:", USAGE),
            CliError::Failure(_) | CliError::Caused(_) => ("error:", FAILURE),
        };
        let label = if colors {
            format!("\x1b[1;31m{label}\x1b[0m")
        } else {
            label.to_string()
        };
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            let reason = error.to_string();
            // Many errors quote their reason already.
            if !text.contains(&reason) {
                text.push_str(&format!("\n  because {reason}"));
            }
            source = error.source();
        }
        let text = wrapped(&format!("{label} {text}"), error_width(), 2);
        // If even standard error is closed, the exit status is all that can be said.
        let _ = writeln!(io::stderr(), "{text}");
        ExitCode::from(code)
    }
}

impl From<LabError> for CliError {
    fn from(error: LabError) -> Self {
        match error {
            LabError::Request(text) => CliError::Usage(text.with(flag)),
            LabError::Failure(text) => CliError::Failure(text.with(flag)),
            LabError::Caused(error) => CliError::Caused(error),
            LabError::StoppedBefore { .. } => CliError::Interrupted(error.to_string()),
            LabError::Interrupted { ref dir, .. } => CliError::Interrupted(format!(
                "{error}\n  to go on where it stopped, run the same command again, or: archai resume {}",
                dir.display()
            )),
            error => CliError::caused(error),
        }
    }
}

/// What a term of the library is called on the command line.
fn flag(term: &Term) -> String {
    let flag = match term {
        Term::Algorithms => "--algos",
        Term::Datasets => "--datasets",
        Term::Space => "--space",
        Term::Table => "--table",
        Term::NoSearch => "--no-search",
        Term::NoEval => "--no-eval",
        Term::ExpPrefix => "--exp-prefix",
        Term::Logdir => "--logdir",
        Term::Device => "--device",
        Term::Engine => "--engine",
        Term::Seed => "--seed",
        Term::Seeds => "--seeds",
        Term::Fresh => "--fresh",
        Term::AllowChanged => "--allow-changed",
        Term::Replace => "--replace",
        Term::Resume(dir) => return format!("archai resume {}", dir.display()),
        other => return other.to_string(),
    };
    flag.to_string()
}

impl From<FileError> for CliError {
    fn from(error: FileError) -> Self {
        CliError::caused(error)
    }
}

/// Writing to standard output.
impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => CliError::BrokenPipe,
            _ => CliError::failure(format!("cannot write to standard output: {error}")),
        }
    }
}
