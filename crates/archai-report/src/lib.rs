//! Runs as pages that one looks at. [`run_page`] makes one HTML file of a run directory, [`runs_page`] one of many runs: what
//! was found, how good it is, whether the search collapsed, and where all of it comes from. [`desc_page`] makes one of a
//! network's description, [`png`] a picture of its cells, and [`front`] drawings of discrete searches.
//!
//! A page is complete in itself: pictures are SVG within it, nothing is loaded from elsewhere, and without JavaScript all
//! pictures are visible. Its numbers are those of the run's records; they stand once more, unrounded, as JSON in the element
//! `data`. What a directory does not hold, or holds damaged, is left out, and the page says so.
//!
//! ```no_run
//! use archai_lab::{Lab, RunDir};
//! let page = archai_report::run_page(&Lab::builtin(), &RunDir::new("logdir/darts_cifar10_a_search"))?;
//! std::fs::write("report.html", page)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod alphas;
mod cells;
mod chart;
mod compare;
mod curves;
mod desc;
pub mod front;
mod live;
mod log;
mod mistakes;
mod page;
mod parallel;
mod png;
mod provenance;
mod run;
mod runs;
mod speed;
mod ticks;
mod verdict;
mod words;

use std::path::{Path, PathBuf};

pub use compare::{Course, compared};
pub use desc::desc_page;
pub use live::{LiveLog, RunView, ViewSection};
pub use page::{SCRIPT, style};
pub use png::{Ground, png};
pub use run::run_page;
pub use runs::runs_page;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file or folder.
    #[error("cannot {what} `{}`: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A directory that no run made.
    #[error("`{}` is no run directory: it has neither run.json nor result.json that can be read ({why}); name a folder that \
             `archai run` made", path.display())]
    NoRun {
        /// The directory.
        path: PathBuf,
        /// What is wrong with its files.
        why: String,
    },
    /// A drawing.
    #[error("cannot make the picture: {0}")]
    Drawing(String),
}

impl ReportError {
    pub(crate) fn io(what: &'static str, path: &Path, source: std::io::Error) -> Self {
        ReportError::Io {
            what,
            path: path.to_path_buf(),
            source,
        }
    }
}
