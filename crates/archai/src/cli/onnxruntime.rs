//! How long onnxruntime takes for written files: measured by a Python in which the user has it, because the program does not
//! contain it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::error::CliError;

/// What the interpreter runs. It is handed over as text, so no file has to be found or trusted.
const SCRIPT: &str = include_str!("onnxruntime.py");

/// A Python that has onnxruntime.
#[derive(Debug)]
pub struct Onnxruntime {
    python: PathBuf,
    threads: usize,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Latencies {
    /// The version of onnxruntime.
    pub version: String,
    pub threads: usize,
    pub files: Vec<FileLatency>,
}

/// Of one file.
#[derive(Debug, Serialize)]
pub struct FileLatency {
    pub path: PathBuf,
    pub batches: Vec<BatchLatency>,
}

/// Of batches of one size.
#[derive(Debug, Deserialize, Serialize)]
pub struct BatchLatency {
    pub batch: usize,
    pub median_ms: f64,
    /// Of each run, in order.
    #[serde(skip_serializing, default)]
    times_ms: Vec<f64>,
}

/// What one measurement does: sizes of batches, seconds and turns for each file and size at most, runs of each file in a turn.
struct Asked<'a> {
    batches: &'a [usize],
    seconds: f64,
    most: usize,
    turn: usize,
}

/// Of an export: one picture and a batch.
const EXPORTED: Asked<'static> = Asked {
    batches: &[1, 32],
    seconds: 1.0,
    most: 300,
    turn: 1,
};

/// Times of files in turns.
pub struct Times {
    /// The version of onnxruntime.
    pub version: String,
    /// For each size of batches, for each file, milliseconds of each run.
    pub batches: Vec<(usize, Vec<Vec<f64>>)>,
}

/// The line that the script prints.
#[derive(Debug, Deserialize)]
struct Printed {
    version: String,
    files: Vec<Vec<BatchLatency>>,
}

impl Onnxruntime {
    /// The interpreter `python`, once it is seen to have what is needed: whatever is missing is said before files are written.
    ///
    /// # Errors
    /// If it cannot be started, or lacks onnxruntime or NumPy.
    pub fn new(python: &Path) -> Result<Self, CliError> {
        let runtime = Onnxruntime {
            python: python.to_path_buf(),
            threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        };
        runtime.call(&EXPORTED, &[]).map_err(|reason| {
            CliError::usage(format!(
                "the Python `{}`: {reason}; name a Python in which `pip install onnxruntime numpy` was run",
                python.display()
            ))
        })?;
        Ok(runtime)
    }

    /// Times the files in turn, each with one picture and with a batch.
    ///
    /// # Errors
    /// If the interpreter fails.
    pub fn measure(&self, files: &[&Path]) -> Result<Latencies, CliError> {
        let printed = self.call(&EXPORTED, files).map_err(|reason| {
            CliError::failure(format!(
                "the files are written, but their latency is not known: {reason}"
            ))
        })?;
        let files = files.iter().zip(printed.files);
        Ok(Latencies {
            version: printed.version,
            threads: self.threads,
            files: files
                .map(|(path, batches)| FileLatency {
                    path: path.to_path_buf(),
                    batches,
                })
                .collect(),
        })
    }

    /// The same in so many threads.
    #[must_use]
    pub fn in_threads(self, threads: usize) -> Self {
        Onnxruntime { threads, ..self }
    }

    /// Times the files in turns of five runs each, for batches of these sizes, for at most so many seconds each.
    ///
    /// # Errors
    /// If the interpreter fails.
    pub fn times(
        &self,
        files: &[&Path],
        batches: &[usize],
        seconds: f64,
    ) -> Result<Times, CliError> {
        let asked = Asked {
            batches,
            seconds,
            most: 2000,
            turn: 5,
        };
        let printed = self.call(&asked, files).map_err(|reason| {
            CliError::failure(format!("onnxruntime could not time the network: {reason}"))
        })?;
        let of = |(i, batch): (usize, &usize)| {
            let of_file = |file: &Vec<BatchLatency>| file.get(i).map(|row| row.times_ms.clone());
            let times: Option<Vec<Vec<f64>>> = printed.files.iter().map(of_file).collect();
            let missing =
                || CliError::failure("the interpreter measured fewer batches than were asked for");
            Ok((*batch, times.ok_or_else(missing)?))
        };
        Ok(Times {
            batches: batches
                .iter()
                .enumerate()
                .map(of)
                .collect::<Result<_, CliError>>()?,
            version: printed.version,
        })
    }

    fn call(&self, asked: &Asked<'_>, files: &[&Path]) -> Result<Printed, String> {
        let mut command = Command::new(&self.python);
        let asked = serde_json::json!({
            "threads": self.threads,
            "batches": asked.batches,
            "seconds": asked.seconds,
            "most": asked.most,
            "turn": asked.turn,
        });
        command.arg("-c").arg(SCRIPT).arg(asked.to_string());
        // A file of the working directory must not stand in for a module.
        command.args(files).env("PYTHONSAFEPATH", "1");
        let output = command
            .output()
            .map_err(|e| format!("it cannot be started: {e}"))?;
        let errors = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            // The last line of a traceback says what happened.
            let last = errors.lines().rfind(|line| !line.trim().is_empty());
            return Err(last.map_or_else(|| output.status.to_string(), str::to_string));
        }
        let printed: Printed = serde_json::from_slice(&output.stdout)
            .map_err(|e| format!("what it prints is no measurement ({e})"))?;
        if printed.files.len() != files.len() {
            return Err(format!(
                "it measured {} of {} files",
                printed.files.len(),
                files.len()
            ));
        }
        Ok(printed)
    }
}
