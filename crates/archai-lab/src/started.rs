//! What a run directory says of the run that made it (`run.json`), and in which state its phase is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::data::{self, Data};
use crate::device::{is_usual_device, usual_device};
use crate::error::LabError;
use crate::message::{Message, Term};
use crate::phase::Phase;
use crate::record::Record;

/// Version of [`Started`] that this program writes and reads.
const STARTED_VERSION: u32 = 1;

/// How a phase was started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Started {
    /// Version of this file's contents.
    pub version: u32,
    /// Version of the program.
    pub program: String,
    /// The phase.
    pub phase: Phase,
    /// The algorithm's name.
    pub algorithm: String,
    /// What computes: `fused` or `plain`.
    pub engine: String,
    /// Where it computes; the file says so only of devices other than [`archai_engine::device::USUAL_DEVICE`].
    #[serde(default = "usual_device", skip_serializing_if = "is_usual_device")]
    pub device: String,
    /// Arguments of the command line, without the program's name.
    pub arguments: Vec<String>,
    /// The folder in which the command was given; empty if the [`Host`](crate::Host) did not say.
    pub folder: PathBuf,
    /// Whether the same command evaluates what this search finds.
    pub eval_follows: bool,
    /// Digest of the settings.
    pub digest: String,
    /// The description that is evaluated, by its digest, if it came from a file and not from a search.
    pub given_desc: Option<String>,
    /// All settings that change results, by dotted names.
    pub settings: BTreeMap<String, Value>,
    /// What its data held.
    #[serde(default, skip_serializing_if = "Data::is_empty")]
    pub data: Data,
}

impl Started {
    /// A phase that a program of this version starts, with nothing in it yet but what every phase of a command shares.
    pub(crate) fn new(phase: Phase, program: &str, arguments: &[String], folder: &Path) -> Self {
        Started {
            version: STARTED_VERSION,
            program: program.to_string(),
            phase,
            algorithm: String::new(),
            engine: String::new(),
            device: usual_device(),
            arguments: arguments.to_vec(),
            folder: folder.to_path_buf(),
            eval_follows: false,
            digest: String::new(),
            given_desc: None,
            settings: BTreeMap::new(),
            data: Data::new(),
        }
    }

    /// The value of a flag of the command line, which stands behind it or behind its `=`.
    pub(crate) fn argument(&self, flag: &str) -> Option<&str> {
        let mut arguments = self.arguments.iter();
        while let Some(argument) = arguments.next() {
            if argument == flag {
                return arguments.next().map(String::as_str);
            }
            let value = argument.strip_prefix(flag);
            if let Some(value) = value.and_then(|rest| rest.strip_prefix('=')) {
                return Some(value);
            }
        }
        None
    }

    /// Whether the command line asked for toy mode, by not asking for anything else.
    pub fn is_toy(&self) -> bool {
        let other = ["--full", "--config-only"];
        let is_other = |argument: &String| {
            let name = argument
                .split_once('=')
                .map_or(argument.as_str(), |(name, _)| name);
            other.contains(&name) && !argument.ends_with("=false")
        };
        !self.arguments.is_empty() && !self.arguments.iter().any(is_other)
    }

    /// Reads the file's text.
    ///
    /// # Errors
    /// What is wrong with it: another version, or damage.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
        match value["version"].as_u64() {
            Some(version) if version == u64::from(STARTED_VERSION) => {}
            other => {
                let found = other.map_or("no version".to_string(), |n| format!("version {n}"));
                return Err(format!(
                    "it has {found}, this program reads version {STARTED_VERSION}"
                ));
            }
        }
        serde_json::from_value(value).map_err(|e| e.to_string())
    }

    /// Checks that this run in `dir`, which is to be resumed or taken over, computes what `now` asks for, but for the
    /// differences that are accepted.
    ///
    /// # Errors
    /// All differences that count, by name.
    pub(crate) fn check_same(
        &self,
        now: &Started,
        dir: &Path,
        accepted: Accepted,
    ) -> Result<(), LabError> {
        let searching = self.phase == Phase::Search;
        let mut differences: Vec<Message> = Vec::new();
        let mut harmless = true;
        let mut differs = |name: Message, old: String, new: String, is_harmless: bool| {
            if old != new {
                harmless &= is_harmless;
                let line = Message::from("\n  ").message(name);
                differences.push(line.text(format!(": {old} -> {new}")));
            }
        };
        let none = Value::Null;
        let names: BTreeSet<&String> = self.settings.keys().chain(now.settings.keys()).collect();
        for name in names {
            let value = |of: &Started| of.settings.get(name).unwrap_or(&none).to_string();
            let is_harmless = searching && name.starts_with("nas.eval.");
            if is_harmless && accepted == Accepted::Later {
                continue;
            }
            differs(name.as_str().into(), value(self), value(now), is_harmless);
        }
        for (term, old, new) in [
            (Term::Engine, &self.engine, &now.engine),
            (Term::Device, &self.device, &now.device),
        ] {
            differs(term.into(), old.clone(), new.clone(), false);
        }
        let desc = |of: &Started| {
            let digest = of.given_desc.as_deref();
            digest.map_or("what the search found".into(), |d| format!("file {d:.16}"))
        };
        let name = "the evaluated description".into();
        differs(name, desc(self), desc(now), false);
        for (name, old, new) in data::differences(&self.data, &now.data) {
            differs(name.as_str().into(), old, new, false);
        }
        differs(
            "archai".into(),
            self.program.clone(),
            now.program.clone(),
            true,
        );
        if differences.is_empty() || (accepted == Accepted::Harmless && harmless) {
            return Ok(());
        }
        let what = match accepted {
            Accepted::Later => "the search",
            Accepted::None | Accepted::Harmless => "the unfinished run",
        };
        let mut message = Message::from(format!(
            "{what} in `{}` was started differently (old -> new):",
            dir.display()
        ));
        for line in differences {
            message = message.message(line);
        }
        message = message
            .text("\n  go on as it was started (")
            .term(Term::Resume(dir.to_path_buf()))
            .text("); ");
        if harmless {
            message = message.term(Term::AllowChanged).text(
                " goes on with the new values, which change nothing that was computed so far; ",
            );
        }
        message = match (self.phase, &self.given_desc) {
            // What was found stays where it is.
            (Phase::Eval, None) => (message.term(Term::NoSearch).text(" with "))
                .term(Term::Fresh)
                .text(
                    " sets the old evaluation aside and evaluates what was found again, without another search",
                ),
            _ => (message.term(Term::Fresh)).text(" sets the old run aside and starts over"),
        };
        Err(LabError::request(message))
    }
}

/// Which differences between a run and a request are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// None.
    None,
    /// Settings of what comes after a search that is finished.
    Later,
    /// All that cannot change what the phase computes: settings of the evaluation while the search goes on, and the
    /// program's version.
    Harmless,
}

/// In which state the directory of a phase is.
#[derive(Clone, Debug)]
pub enum DirState {
    /// There is no directory, or an empty one.
    Absent,
    /// Something that no run of this program made.
    Foreign,
    /// A run that did not end well.
    Unfinished(Box<Started>),
    /// A run that did.
    Finished(Box<Started>, Box<Record>),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(phase: Phase, settings: Value) -> Started {
        Started {
            settings: serde_json::from_value(settings).unwrap(),
            ..Started::new(phase, "0.1.0", &["run".into()], Path::new("/"))
        }
    }

    #[test]
    fn differences_are_named() {
        let old = json(1, 5);
        fn json(epochs: u32, eval: u32) -> Value {
            serde_json::json!({ "nas.search.trainer.epochs": epochs, "nas.eval.trainer.epochs": eval })
        }
        // (phase, new settings, what is accepted, what the error holds)
        let cases = [
            (Phase::Search, json(1, 5), Accepted::None, &[][..]),
            (Phase::Search, json(1, 6), Accepted::Harmless, &[]),
            (Phase::Search, json(1, 6), Accepted::Later, &[]),
            (
                Phase::Search,
                json(2, 6),
                Accepted::Later,
                &[
                    "the search in `d` was started differently",
                    "nas.search.trainer.epochs: 1 -> 2",
                ],
            ),
            (
                Phase::Search,
                json(1, 6),
                Accepted::None,
                &["nas.eval.trainer.epochs: 5 -> 6", "`allow_changed` goes on"],
            ),
            (
                Phase::Search,
                json(2, 5),
                Accepted::Harmless,
                &[
                    "nas.search.trainer.epochs: 1 -> 2",
                    "`fresh` sets the old run aside",
                ],
            ),
            (
                Phase::Eval,
                json(1, 6),
                Accepted::Harmless,
                &[
                    "nas.eval.trainer.epochs: 5 -> 6",
                    "`search: false` with `fresh`",
                ],
            ),
        ];
        for (phase, new, accepted, expect) in cases {
            let result = started(phase, old.clone()).check_same(
                &started(phase, new.clone()),
                Path::new("d"),
                accepted,
            );
            let error = result.err().map(|e| e.to_string()).unwrap_or_default();
            assert_eq!(
                error.is_empty(),
                expect.is_empty(),
                "{phase} {new}: {error}"
            );
            for text in expect {
                assert!(error.contains(text), "{text:?} is missing in {error}");
            }
        }
        let mut other = started(Phase::Search, old.clone());
        other.program = "99.0".into();
        let before = started(Phase::Search, old);
        assert!(
            before
                .check_same(&other, Path::new("d"), Accepted::Later)
                .is_err()
        );
        assert!(
            before
                .check_same(&other, Path::new("d"), Accepted::Harmless)
                .is_ok()
        );
    }

    #[test]
    fn a_run_does_not_go_on_with_other_data() {
        let with = |digest: &str| {
            let part = serde_json::json!({ "digest": digest.repeat(32), "images": 2, "per_class": [1, 1] });
            Started {
                data: serde_json::from_value(serde_json::json!({ "train": part })).unwrap(),
                ..started(Phase::Search, serde_json::json!({}))
            }
        };
        let check = |now: &Started| with("ab").check_same(now, Path::new("d"), Accepted::Harmless);
        check(&with("ab")).unwrap();
        // What an older program did not look at is not known to differ.
        check(&started(Phase::Search, serde_json::json!({}))).unwrap();
        let error = check(&with("cd")).unwrap_err().to_string();
        assert!(
            error.contains(
                "the data (train): 2 images (digest abababab) -> 2 images (digest cdcdcdcd)"
            ),
            "{error}"
        );
    }
}
