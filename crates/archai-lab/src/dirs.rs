//! Run directories: `<logdir>/<algorithm>_<data set>_<prefix>_search` and `…_eval` are one experiment. A new run never
//! writes into an old one: what is there is set aside first, the pair together, under the same number.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use archai_engine::files::FileError;

use crate::error::LabError;
use crate::message::{Message, Term};
use crate::phase::Phase;
use crate::rundir::{RunDir, is_bare};

/// The two directories of an experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct RunDirs {
    /// Where the search leaves its results.
    pub search: RunDir,
    /// Where the evaluation leaves its results.
    pub eval: RunDir,
}

impl RunDirs {
    /// The directories of an experiment below `logdir`.
    ///
    /// # Errors
    /// A part of the name that cannot be part of a folder's name.
    pub fn new(logdir: &Path, algo: &str, dataset: &str, prefix: &str) -> Result<Self, LabError> {
        check_name("algorithm name", algo)?;
        check_name("data set name (dataset.name)", dataset)?;
        check_name(Term::ExpPrefix, prefix)?;
        let dir = |phase: Phase| {
            let name = format!("{algo}_{dataset}_{prefix}{}", phase.suffix());
            RunDir::new(logdir.join(name))
        };
        Ok(RunDirs {
            search: dir(Phase::Search),
            eval: dir(Phase::Eval),
        })
    }

    /// The folder that holds them.
    pub(crate) fn logdir(&self) -> &Path {
        self.search.path().parent().unwrap_or(Path::new("."))
    }

    /// The directory of a phase.
    pub fn of(&self, phase: Phase) -> &RunDir {
        match phase {
            Phase::Search => &self.search,
            Phase::Eval => &self.eval,
        }
    }

    /// The phase of a run directory, and the name that both directories of its run share: `…/NAME.3` and the search for
    /// `…/NAME_search.3`. None if its name is none of a run directory.
    pub fn phase_of(dir: &Path) -> Option<(PathBuf, Phase)> {
        let name = dir.file_name()?.to_str()?;
        let (stem, number) = match name.rsplit_once('.') {
            Some((stem, n)) if !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()) => {
                (stem, &name[stem.len()..])
            }
            _ => (name, ""),
        };
        Phase::ALL.into_iter().find_map(|phase| {
            let base = stem.strip_suffix(phase.suffix())?;
            Some((dir.with_file_name(format!("{base}{number}")), phase))
        })
    }

    /// Where the other phase of the run in `dir` lies, by the names that runs give; none for a directory of another name.
    pub fn other_phase(dir: &Path) -> Option<PathBuf> {
        let name = dir.file_name()?.to_str()?;
        let (_, phase) = RunDirs::phase_of(dir)?;
        let other = match phase {
            Phase::Search => Phase::Eval,
            Phase::Eval => Phase::Search,
        };
        let at = name.rfind(phase.suffix())?;
        let number = &name[at + phase.suffix().len()..];
        Some(dir.with_file_name(format!("{}{}{number}", &name[..at], other.suffix())))
    }

    /// Renames the pair, or `_eval` alone, to the next free number, the same for both: `.1`, `.2`, … Gives back what was
    /// moved, with the new names.
    ///
    /// # Errors
    /// A rename that the file system refuses; what was renamed before is named back.
    pub(crate) fn set_aside(&self, which: SetAside) -> Result<Vec<(PathBuf, PathBuf)>, LabError> {
        let (search, eval) = (self.search.path(), self.eval.path());
        let moving = match which {
            SetAside::Pair => vec![search, eval],
            SetAside::EvalOnly => vec![eval],
        };
        let moving: Vec<&Path> = moving
            .into_iter()
            .filter(|dir| is_taken(dir) && !is_bare(dir))
            .collect();
        if moving.is_empty() {
            return Ok(Vec::new());
        }
        let free = |n: &u32| {
            ![search, eval]
                .iter()
                .any(|dir| is_taken(&numbered(dir, *n)))
        };
        let Some(n) = (1..).find(free) else {
            return Err(LabError::failure(
                "all numbers for old runs are taken; remove some old run directories",
            ));
        };
        let mut moved: Vec<(PathBuf, PathBuf)> = Vec::new();
        for dir in moving {
            let aside = numbered(dir, n);
            if let Err(error) = fs::rename(dir, &aside) {
                // Half a pair under a number would look like an experiment of its own. The first error is the one to
                // report; one on the way back would only repeat it.
                for (from, to) in moved.iter().rev() {
                    let _ = fs::rename(to, from);
                }
                return Err(FileError::new("set aside the old run", dir, error).into());
            }
            moved.push((dir.to_path_buf(), aside));
        }
        Ok(moved)
    }
}

/// Which old directories a run sets aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetAside {
    /// Search and evaluation: the run makes a new search.
    Pair,
    /// The evaluation: the run evaluates what an earlier search found.
    EvalOnly,
}

/// Makes the folder of the run directories.
///
/// # Errors
/// No permission, a read-only or full disk.
pub(crate) fn create_logdir(logdir: &Path) -> Result<(), FileError> {
    fs::create_dir_all(logdir).map_err(|e| FileError::new("create the log folder", logdir, e))
}

/// Makes a run directory, unless one is there in which nothing was begun.
///
/// # Errors
/// No permission, a read-only or full disk, or something that is in the way.
pub(crate) fn create(dir: &Path) -> Result<(), LabError> {
    match fs::create_dir(dir) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        Err(e) => Err(FileError::new("create the run directory", dir, e).into()),
    }
}

/// Whether a name is in use, by a dangling link too.
fn is_taken(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn numbered(dir: &Path, n: u32) -> PathBuf {
    let mut name = dir.as_os_str().to_owned();
    name.push(format!(".{n}"));
    name.into()
}

fn check_name(what: impl Into<Message>, name: &str) -> Result<(), LabError> {
    let allowed = |c: char| c.is_alphanumeric() || "_-+=.,".contains(c);
    let problem = if name.is_empty() {
        "is empty".to_string()
    } else if let Some(bad) = name.chars().find(|&c| !allowed(c)) {
        format!("`{name}` holds {bad:?}")
    } else if name.starts_with('.') {
        format!("`{name}` starts with a dot")
    } else if name.len() > 100 {
        format!("is {} bytes long, at most 100 fit", name.len())
    } else {
        return Ok(());
    };
    Err(LabError::request(what.into().text(format!(
        " {problem}; it becomes part of the names of run directories, which take letters, digits and `_ - + = . ,`"
    ))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dirs(logdir: &Path) -> RunDirs {
        RunDirs::new(logdir, "darts", "mini", "p").unwrap()
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn names_of_experiments() {
        for (prefix, expect) in [
            ("throwaway", None),
            ("é-2_x.y=1", None),
            ("a/b", Some("holds '/'")),
            ("..", Some("starts with a dot")),
            ("", Some("is empty")),
            ("a b", Some("holds ' '")),
            ("a\nb", Some("holds '\\n'")),
            (&"x".repeat(101), Some("101 bytes")),
        ] {
            let error = RunDirs::new(Path::new("l"), "darts", "mini", prefix)
                .err()
                .map(|e| e.to_string());
            match (&error, expect) {
                (None, None) => {}
                (Some(error), Some(expect)) if error.contains(expect) => {}
                _ => panic!("{prefix:?}: {error:?}, expected {expect:?}"),
            }
        }
    }

    #[test]
    fn a_pair_gets_one_number() {
        let root = tempfile::tempdir().unwrap();
        let dirs = dirs(root.path());
        assert!(dirs.set_aside(SetAside::Pair).unwrap().is_empty());
        // `.1` of the evaluation is taken, so both take `.2`.
        for name in [
            "darts_mini_p_search",
            "darts_mini_p_eval",
            "darts_mini_p_eval.1",
        ] {
            fs::create_dir(root.path().join(name)).unwrap();
            fs::write(root.path().join(name).join("log.log"), "").unwrap();
        }
        assert_eq!(dirs.set_aside(SetAside::Pair).unwrap().len(), 2);
        assert_eq!(
            names(root.path()),
            [
                "darts_mini_p_eval.1",
                "darts_mini_p_eval.2",
                "darts_mini_p_search.2"
            ]
        );
        create(dirs.search.path()).unwrap();
        create(dirs.eval.path()).unwrap();
        assert!(
            dirs.set_aside(SetAside::Pair).unwrap().is_empty(),
            "nothing was begun"
        );
        fs::write(dirs.eval.file("log.log"), "").unwrap();
        assert_eq!(dirs.set_aside(SetAside::EvalOnly).unwrap().len(), 1);
        assert_eq!(
            names(root.path()),
            [
                "darts_mini_p_eval.1",
                "darts_mini_p_eval.2",
                "darts_mini_p_eval.3",
                "darts_mini_p_search",
                "darts_mini_p_search.2"
            ]
        );
    }

    #[test]
    fn directories_of_one_run_share_a_name() {
        for (dir, expect) in [
            (
                "a/darts_x_one_search",
                Some(("a/darts_x_one", Phase::Search)),
            ),
            ("a/darts_x_one_eval", Some(("a/darts_x_one", Phase::Eval))),
            (
                "a/darts_x_one_eval.12",
                Some(("a/darts_x_one.12", Phase::Eval)),
            ),
            (
                "a/darts_x_v1.5_search",
                Some(("a/darts_x_v1.5", Phase::Search)),
            ),
            ("a/search", None),
            ("a/x_search.old", None),
        ] {
            let got = RunDirs::phase_of(Path::new(dir));
            let expect = expect.map(|(key, phase)| (PathBuf::from(key), phase));
            assert_eq!(got, expect, "{dir}");
        }
        for (dir, expect) in [
            ("a/darts_x_one_search", Some("a/darts_x_one_eval")),
            ("a/darts_x_one_eval.12", Some("a/darts_x_one_search.12")),
            ("a/x_eval_search", Some("a/x_eval_eval")),
            ("a/search", None),
        ] {
            let got = RunDirs::other_phase(Path::new(dir));
            assert_eq!(got, expect.map(PathBuf::from), "{dir}");
        }
    }
}
