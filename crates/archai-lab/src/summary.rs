//! What a run found, as data and as the Markdown of `summary.md`.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use archai_engine::evaluater::EvalResult;
use archai_engine::experiment::RunFile;
use archai_engine::files::FULL_DESC;
use archai_engine::searcher::SearchResult;
use archai_spec::numbers::{percent, thousands};

use crate::forecast::bytes as bytes_text;
use crate::rundir::{CONFIG_FILE, SUMMARY_FILE};
use crate::table::TableEntry;

/// What one algorithm found on one data set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Algorithm and data sets, in words.
    pub title: String,
    /// What the table of NAS-Bench-201 says of the found cell, if one was given.
    pub table: Option<TableEntry>,
    /// The search's result.
    pub search: Option<SearchResult>,
    /// The search's directory.
    pub search_dir: Option<PathBuf>,
    /// The evaluation's result.
    pub eval: Option<EvalResult>,
    /// The evaluation's directory.
    pub eval_dir: Option<PathBuf>,
    /// Names of the log files in each of these directories: for people, as a tree if there is one, for programs.
    pub logs: Vec<String>,
}

impl Outcome {
    /// Figures with their names, those that there are, as texts.
    pub fn figures(&self) -> Vec<(&'static str, String)> {
        let mut figures = Vec::new();
        let mut add =
            |name, value: Option<String>| figures.extend(value.map(|value| (name, value)));
        if let Some(eval) = &self.eval {
            add("test accuracy (top-1)", eval.test_top1.map(percent));
            add("test accuracy (top-5)", eval.test_top5.map(percent));
            add("validation accuracy", eval.val_top1.map(percent));
            add(
                "best on validation",
                eval.best_val
                    .map(|(e, v)| format!("{} in epoch {}", percent(v), e + 1)),
            );
            add(
                "test accuracy of the best on validation",
                eval.best_test_top1.map(percent),
            );
            add("training accuracy", eval.train_top1.map(percent));
            add("parameters", Some(thousands(eval.parameters)));
            if eval.parameters_with_aux != eval.parameters {
                add(
                    "parameters with auxiliary tower",
                    Some(thousands(eval.parameters_with_aux)),
                );
            }
            add("multiply-adds per image", Some(thousands(eval.macs)));
            add("epochs of evaluation", Some(eval.epochs.to_string()));
            add("time of evaluation", Some(time(eval.seconds)));
        }
        if let Some(search) = &self.search {
            // Searches without a supernet measure the networks themselves.
            let [val, train] = match search.supernet_parameters {
                0 => [
                    "validation accuracy in the search",
                    "training accuracy in the search",
                ],
                _ => [
                    "validation accuracy of the supernet",
                    "training accuracy of the supernet",
                ],
            };
            add(val, search.val_top1.map(percent));
            add(train, search.train_top1.map(percent));
            add(
                "found network, trained at search size",
                search.post_train_test_top1.map(percent),
            );
            if search.supernet_parameters > 0 {
                let parameters = thousands(search.supernet_parameters);
                add("parameters of the supernet", Some(parameters));
                add("architecture parameters", Some(thousands(search.alphas)));
            }
            if self.eval.is_none() {
                add(
                    "parameters at search size",
                    Some(thousands(search.parameters)),
                );
                add("multiply-adds at search size", Some(thousands(search.macs)));
            }
            add("time of search", Some(time(search.seconds)));
        }
        figures
    }

    /// What is to be said beside the figures: warnings first.
    pub fn remarks(&self) -> Vec<String> {
        let (search, eval) = (self.search.iter(), self.eval.iter());
        let warnings = (search.clone().flat_map(|s| &s.warnings))
            .chain(eval.clone().flat_map(|e| &e.warnings));
        let notes = (search.flat_map(|s| &s.notes)).chain(eval.flat_map(|e| &e.notes));
        let table = self.table.iter().flat_map(|entry| &entry.lines);
        (warnings.map(|text| format!("warning: {text}")))
            .chain(notes.map(|text| format!("note: {text}")))
            .chain(table.cloned())
            .collect()
    }

    /// Files of every run, with what they are.
    fn common_files(&self) -> Vec<(String, String)> {
        let mut files = vec![(
            CONFIG_FILE.to_string(),
            "the whole configuration".to_string(),
        )];
        if !self.logs.is_empty() {
            let what = match self.logs.len() {
                3 => "the log for people, as a tree, line by line",
                _ => "the log for people, line by line",
            };
            files.push((self.logs.join(", "), what.to_string()));
        }
        files
    }

    /// How to load the trained network: a file with a line of code, for each format that has one. Only of the weights that
    /// are listed first; the others are loaded in the same way.
    pub fn usages(&self) -> Vec<(String, String)> {
        let files = self.eval.iter().flat_map(|eval| &eval.files);
        let mut usages: Vec<(String, String)> = Vec::new();
        for file in files {
            let extension = |name: &str| Path::new(name).extension().map(|e| e.to_owned());
            let name = file.path.file_name().unwrap_or_default();
            let name = name.to_string_lossy().into_owned();
            let is_new = !usages
                .iter()
                .any(|(other, _)| extension(other) == extension(&name));
            if let (Some(usage), true) = (&file.usage, is_new) {
                usages.push((name, usage.clone()));
            }
        }
        usages
    }

    /// The directories, with the files that their phases wrote: those in a folder of their own as one.
    fn written(&self) -> impl Iterator<Item = (&Path, Vec<RunFile>)> {
        let phases = [
            (&self.search_dir, self.search.as_ref().map(|s| &s.files)),
            (&self.eval_dir, self.eval.as_ref().map(|e| &e.files)),
        ];
        phases.into_iter().filter_map(|(dir, files)| {
            let dir = dir.as_deref()?;
            Some((dir, by_folder(files?, dir)))
        })
    }

    /// Directories, with the names of the files in them that are worth knowing and what each is.
    pub fn places(&self) -> Vec<(&Path, Vec<(String, String)>)> {
        let mut places: Vec<(&Path, Vec<(String, String)>)> = (self.written())
            .map(|(dir, files)| {
                let named = |file: &RunFile| {
                    let what = match file.bytes {
                        Some(bytes) => format!("{} ({})", file.what, bytes_text(bytes)),
                        None => file.what.clone(),
                    };
                    (shown(&file.path, dir), what)
                };
                let mut list: Vec<_> = files.iter().map(named).collect();
                list.extend(self.common_files());
                (dir, list)
            })
            .collect();
        if let Some((_, list)) = places.last_mut() {
            list.push((SUMMARY_FILE.into(), "this summary".into()));
        }
        places
    }

    /// What one goes on with: directories, with the names of the descriptions and trained networks in them and what each is, or
    /// how it is loaded. [`Outcome::places`] has all files.
    pub fn essentials(&self) -> Vec<(&Path, Vec<(String, String)>)> {
        let usages = self.usages();
        let named = |file: &RunFile, dir| {
            let name = shown(&file.path, dir);
            let usage = usages.iter().find(|(other, _)| *other == name);
            let what = usage.map_or(&file.what, |(_, code)| code);
            match file.bytes {
                Some(bytes) => (name, format!("{:>8}  {what}", bytes_text(bytes))),
                None => (name, what.clone()),
            }
        };
        let is_essential = |file: &RunFile, dir: &Path| {
            let is_found = self.search_dir.as_deref() == Some(dir)
                && file.path.extension().is_some_and(|end| end == "yaml");
            file.bytes.is_some() || is_found || file.path.ends_with(FULL_DESC)
        };
        (self.written())
            .map(|(dir, files)| {
                let kept = files.iter().filter(|file| is_essential(file, dir));
                (dir, kept.map(|file| named(file, dir)).collect())
            })
            .collect()
    }
}

/// How a file is named beside the name of its directory.
fn shown(path: &Path, dir: &Path) -> String {
    let below = path.strip_prefix(dir).unwrap_or(path);
    below.display().to_string()
}

/// The summary of one run as Markdown.
pub fn as_markdown(outcome: &Outcome, command_line: &[String], digest: &str) -> String {
    let mut out = format!("# {}\n\n", outcome.title);
    let _ = writeln!(out, "    {}\n", command_line.join(" "));
    let _ = writeln!(out, "| | |\n|---|---:|");
    for (name, value) in outcome.figures() {
        let _ = writeln!(out, "| {name} | {value} |");
    }
    if let Some(genotype) = outcome.search.as_ref().and_then(|s| s.genotype.as_ref()) {
        let _ = writeln!(out, "\nFound:\n\n    {genotype}");
    }
    for remark in outcome.remarks() {
        let _ = writeln!(out, "\n> {remark}");
    }
    for (dir, files) in outcome.places() {
        let _ = writeln!(out, "\n`{}`\n", dir.display());
        for (name, what) in files {
            let _ = writeln!(out, "- `{name}`: {what}");
        }
    }
    let usages = outcome.usages();
    if !usages.is_empty() {
        let _ = writeln!(out, "\nTo load the trained network:\n");
    }
    for (name, code) in usages {
        let _ = writeln!(out, "- `{name}`: `{code}`");
    }
    let _ = writeln!(out, "\nDigest of the configuration: `{digest}`");
    out
}

/// `12.3 s`, or `2:05` from a minute on.
pub fn time(seconds: f64) -> String {
    if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        clock(Duration::from_secs_f64(seconds))
    }
}

/// `1:02:03` or `2:03`.
pub fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if h > 0 {
        format!("{h}:{m:02}:{s:02}")
    } else {
        format!("{m}:{s:02}")
    }
}

/// The files of trained networks in `folder`, those in a folder of their own (a crate, say) as one: under the folder's name, with
/// the size of all and the words of the one that a user begins with. Other files stay as they are.
pub fn by_folder(files: &[RunFile], folder: &Path) -> Vec<RunFile> {
    let mut folded: Vec<RunFile> = Vec::new();
    let mut counts: Vec<usize> = Vec::new();
    for file in files {
        let below = file.path.strip_prefix(folder).unwrap_or(&file.path);
        let mut parts = below.components();
        let inner = (parts.next(), parts.next().is_some(), file.bytes);
        let (Some(first), true, Some(bytes)) = inner else {
            folded.push(file.clone());
            counts.push(0);
            continue;
        };
        let path = folder.join(first);
        match folded.iter().position(|other| other.path == path) {
            Some(place) => {
                counts[place] += 1;
                let whole = &mut folded[place];
                whole.bytes = whole.bytes.map(|all| all + bytes);
                if file.usage.is_some() {
                    whole.what.clone_from(&file.what);
                    whole.usage.clone_from(&file.usage);
                }
            }
            None => {
                counts.push(1);
                folded.push(RunFile {
                    path,
                    ..file.clone()
                });
            }
        }
    }
    for (file, n) in folded.iter_mut().zip(counts).filter(|(_, n)| *n > 0) {
        file.what = format!("{} ({n} files)", file.what);
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_readable() {
        assert_eq!((time(12.34), time(125.0)), ("12.3 s".into(), "2:05".into()));
    }

    #[test]
    fn notes_and_warnings_are_shown() {
        let search = SearchResult {
            notes: vec!["ended early".into()],
            warnings: vec!["all skips".into()],
            ..SearchResult::default()
        };
        let outcome = Outcome {
            title: "darts on mnist".into(),
            search: Some(search),
            ..Outcome::default()
        };
        let markdown = as_markdown(&outcome, &[], "digest");
        assert!(
            markdown.contains("\n> warning: all skips\n\n> note: ended early\n"),
            "{markdown}"
        );
    }

    #[test]
    fn times() {
        for (seconds, expect) in [(0, "0:00"), (61, "1:01"), (3723, "1:02:03")] {
            assert_eq!(clock(Duration::from_secs(seconds)), expect);
        }
    }
}
