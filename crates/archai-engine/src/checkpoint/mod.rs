//! Checkpoints: the whole state of a training as plain data ([`Snapshot`]), and where a run keeps them ([`CheckpointStore`]).
//!
//! A run is a program that draws all its randomness from keys, so starting it again resumes it: trainings that were
//! finished return what they ended with, the one that was under way goes on at its step, and everything between repeats
//! itself to the bit. Each training has a *scope*, the place of its log, which is unique within a run.
//!
//! A checkpoint is one file with a checksum of every part, written beside its name, flushed and moved into place. One that
//! is damaged is recognised, named, and the one before is used.

mod codec;
mod reached;
mod snapshot;

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

/// How often checkpoints are written and how many are kept: the section `common.checkpoint` of the settings.
pub use archai_spec::settings::Checkpoint as Policy;
pub use reached::{Reached, reached};
pub use snapshot::Snapshot;

use crate::clock::Clock;
use crate::error::EngineError;
use crate::files::{
    Disk, FileError, RealDisk, make_folder, remove_unfinished, write_atomically_on,
};
use codec::{Header, MAGIC, Part, VERSION, encode, newer_version, read_bytes, read_header};

/// Where a training keeps its state, as the training sees it.
pub trait Checkpoints: Send + Sync {
    /// What was kept last for a training, and whether that training had ended.
    ///
    /// # Errors
    /// A file that cannot be read.
    fn latest(&self, scope: &str) -> Result<Option<(Snapshot, bool)>, EngineError>;

    /// Whether a checkpoint is due: `steps` were done since the last one.
    fn is_due(&self, steps: usize) -> bool;

    /// Keeps the state of a training. `finished`: it has ended, and this is its outcome.
    ///
    /// # Errors
    /// A file that cannot be written.
    fn keep(&self, scope: &str, state: &Snapshot, finished: bool) -> Result<(), EngineError>;
}

/// Keeps nothing: for tests and short trainings.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCheckpoints;

impl Checkpoints for NoCheckpoints {
    fn latest(&self, _scope: &str) -> Result<Option<(Snapshot, bool)>, EngineError> {
        Ok(None)
    }
    fn is_due(&self, _steps: usize) -> bool {
        false
    }
    fn keep(&self, _scope: &str, _state: &Snapshot, _finished: bool) -> Result<(), EngineError> {
        Ok(())
    }
}

#[derive(Clone, Debug)]
struct Kept {
    header: Header,
    path: PathBuf,
}

struct Inner {
    kept: Vec<Kept>,
    sequence: u64,
    last: f64,
    /// Trainings whose outcome was kept or given back while the store was open.
    ended: HashSet<String>,
}

/// Gives the mark that is kept with a checkpoint: how far the logs are, for example. Whatever it speaks of must be safe from
/// a power cut before it is given.
pub type Mark<'a> = Box<dyn Fn() -> io::Result<Value> + Send + Sync + 'a>;

/// Checkpoints as files `<number>.checkpoint` in a folder.
pub struct CheckpointStore<'a> {
    dir: PathBuf,
    policy: Policy,
    clock: &'a dyn Clock,
    mark: Mark<'a>,
    disk: &'a dyn Disk,
    inner: Mutex<Inner>,
}

/// What was found when a store was opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Opened {
    /// The mark of the last checkpoint that is used; none if there is none.
    pub mark: Option<Value>,
    /// Its scope.
    pub scope: Option<String>,
    /// Sentences about files that are damaged and were set aside.
    pub damaged: Vec<String>,
}

/// A file that is no whole checkpoint.
struct Damaged {
    path: PathBuf,
    /// Of which training it was, where its header can still be read.
    scope: Option<String>,
    why: String,
}

impl Damaged {
    /// Whether what came later does not need it: the training that it belongs to kept a later one.
    fn is_superseded(&self, kept: &[Kept]) -> bool {
        let Some(n) = number(&self.path) else {
            return true;
        };
        let later = |scope: &str| {
            let mut kept = kept.iter().map(|k| &k.header);
            kept.any(|h| h.sequence > n && h.scope == scope)
        };
        match &self.scope {
            Some(scope) => later(scope),
            // Between two of one training there are only others of it.
            None => kept
                .iter()
                .any(|k| k.header.sequence < n && later(&k.header.scope)),
        }
    }
}

/// Reads what a folder of checkpoints holds, without changing it.
fn survey(disk: &dyn Disk, dir: &Path) -> Result<(Vec<Kept>, Vec<Damaged>), EngineError> {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    let paths = disk.list(dir).map_err(|e| FileError::new("read", dir, e))?;
    for path in paths {
        if path.extension().is_none_or(|e| e != "checkpoint") {
            continue;
        }
        let bytes = disk
            .read(&path)
            .map_err(|e| FileError::new("read", &path, e))?;
        if let Some(version) = newer_version(&bytes) {
            return Err(EngineError::Checkpoint(format!(
                "the checkpoint {} has version {version}, this program reads {VERSION}; resume with the newer program that wrote \
                 it, or start the run over",
                path.display()
            )));
        }
        match read_bytes(&bytes) {
            Ok((header, _)) => good.push(Kept { header, path }),
            Err(e) => bad.push(Damaged {
                scope: read_header(&bytes).ok().map(|(header, _)| header.scope),
                why: e.to_string(),
                path,
            }),
        }
    }
    good.sort_by_key(|k| k.header.sequence);
    bad.sort_by(|a, b| a.path.cmp(&b.path));
    Ok((good, bad))
}

impl<'a> CheckpointStore<'a> {
    /// Opens the checkpoints in `dir` and makes the folder if it is not there. Damaged files are renamed to `….damaged` and
    /// named in [`Opened`]; whatever was kept after a damaged one that is still needed counts no more, because it would not
    /// follow from what is left. `mark` is asked at every checkpoint for a value that is kept with it.
    ///
    /// # Errors
    /// A folder that cannot be read or written; a checkpoint of a newer program.
    pub fn open(
        dir: &Path,
        policy: Policy,
        clock: &'a dyn Clock,
        mark: Mark<'a>,
    ) -> Result<(Self, Opened), EngineError> {
        Self::open_on(&RealDisk, dir, policy, clock, mark)
    }

    /// [`CheckpointStore::open`] on another file system.
    ///
    /// # Errors
    /// A folder that cannot be read or written.
    pub fn open_on(
        disk: &'a dyn Disk,
        dir: &Path,
        policy: Policy,
        clock: &'a dyn Clock,
        mark: Mark<'a>,
    ) -> Result<(Self, Opened), EngineError> {
        make_folder(disk, dir)?;
        remove_unfinished(disk, dir)?;
        let (mut kept, bad) = survey(disk, dir)?;
        let mut found = Opened::default();
        let rename = |path: &Path, ending: &str| -> Result<PathBuf, EngineError> {
            let aside = path.with_extension(ending);
            // Each name is safe before the next step, which relies on it, is taken.
            disk.rename(path, &aside)
                .and_then(|()| disk.sync_dir(dir))
                .map_err(|e| FileError::new("set aside", path, e))?;
            Ok(aside)
        };
        for bad in bad {
            if !bad.is_superseded(&kept) {
                // Its outcome is missing, and what came after it was computed from that outcome.
                let n = number(&bad.path).unwrap_or(0);
                for late in kept.extract_if(.., |k| k.header.sequence > n) {
                    rename(&late.path, "checkpoint.unused")?;
                }
            }
            let aside = rename(&bad.path, "checkpoint.damaged")?;
            found.damaged.push(format!(
                "the checkpoint {} is damaged: {}; it is kept as {}, and the one before it is used",
                bad.path.display(),
                bad.why,
                aside.display()
            ));
        }
        let last = kept.last().map(|k| &k.header);
        found.mark = last.map(|h| h.mark.clone());
        found.scope = last.map(|h| h.scope.clone());
        let inner = Inner {
            sequence: last.map_or(0, |h| h.sequence),
            kept,
            last: clock.now(),
            ended: HashSet::new(),
        };
        let store = CheckpointStore {
            dir: dir.to_path_buf(),
            policy,
            clock,
            mark,
            disk,
            inner: Mutex::new(inner),
        };
        Ok((store, found))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // The list is changed only after the files were: a panic in between leaves it true.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number in `….000012.checkpoint`.
fn number(path: &Path) -> Option<u64> {
    path.file_stem()?.to_str()?.parse().ok()
}

impl Checkpoints for CheckpointStore<'_> {
    fn latest(&self, scope: &str) -> Result<Option<(Snapshot, bool)>, EngineError> {
        let mut inner = self.lock();
        if inner.ended.contains(scope) {
            return Err(EngineError::Internal(format!(
                "two trainings of this run have the place `{scope}` in the log, so that their checkpoints cannot be told apart; \
                 give each a title or a parent of its own"
            )));
        }
        let of_scope = inner.kept.iter().rev().find(|k| k.header.scope == scope);
        let Some(kept) = of_scope else {
            return Ok(None);
        };
        let failed = |e| EngineError::from(FileError::new("read", &kept.path, e));
        let bytes = self.disk.read(&kept.path).map_err(failed)?;
        let (header, snapshot) = read_bytes(&bytes).map_err(failed)?;
        if header.finished {
            inner.ended.insert(scope.to_string());
        }
        Ok(Some((snapshot, header.finished)))
    }

    fn is_due(&self, steps: usize) -> bool {
        let by_steps = self.policy.every_steps > 0 && steps >= self.policy.every_steps;
        let passed = self.clock.now() - self.lock().last;
        // A clock that was set back must not put checkpoints off for ever.
        by_steps
            || (self.policy.every_seconds > 0.0
                && !(0.0..self.policy.every_seconds).contains(&passed))
    }

    fn keep(&self, scope: &str, state: &Snapshot, finished: bool) -> Result<(), EngineError> {
        let mut inner = self.lock();
        let sequence = inner.sequence + 1;
        let path = self.dir.join(format!("{sequence:06}.checkpoint"));
        let failed = |e| EngineError::from(FileError::new("write", &path, e));
        let [values, tensors] = encode(state).map_err(failed)?;
        let part = |name: &str, bytes: &[u8]| Part {
            name: name.to_string(),
            length: bytes.len() as u64,
            blake3: blake3::hash(bytes).to_hex().to_string(),
        };
        let header = Header {
            sequence,
            scope: scope.to_string(),
            finished,
            mark: (self.mark)().map_err(failed)?,
            parts: vec![part("values", &values), part("tensors", &tensors)],
        };
        let text = serde_json::to_vec(&header).map_err(|e| failed(e.into()))?;
        write_atomically_on(self.disk, &path, |out| {
            out.write_all(MAGIC)?;
            out.write_all(&(text.len() as u64).to_le_bytes())?;
            out.write_all(blake3::hash(&text).as_bytes())?;
            out.write_all(&text)?;
            out.write_all(&values)?;
            out.write_all(&tensors)
        })?;
        inner.kept.push(Kept { header, path });
        inner.sequence = sequence;
        inner.last = self.clock.now();
        if finished {
            inner.ended.insert(scope.to_string());
        }
        // The outcome of a training that ended replaces what led to it.
        let keep = if finished { 1 } else { self.policy.keep.max(1) };
        let of_scope = inner
            .kept
            .iter()
            .filter(|k| k.header.scope == scope)
            .count();
        let mut superfluous = of_scope.saturating_sub(keep);
        let mut remove = Vec::new();
        inner.kept.retain(|k| {
            let goes = superfluous > 0 && k.header.scope == scope;
            if goes {
                superfluous -= 1;
                remove.push(k.path.clone());
            }
            !goes
        });
        for path in remove {
            self.disk
                .remove_file(&path)
                .map_err(|e| FileError::new("remove", &path, e))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::NoClock;
    use crate::params::NamedTensor;

    fn policy(keep: usize) -> Policy {
        Policy {
            every_steps: 0,
            every_seconds: 0.0,
            keep,
        }
    }

    fn open(dir: &Path, keep: usize) -> (CheckpointStore<'static>, Opened) {
        let mark = Box::new(|| Ok(Value::from("here")));
        CheckpointStore::open(dir, policy(keep), &NoClock, mark).unwrap()
    }

    fn snapshot(n: usize) -> Snapshot {
        let mut s = Snapshot::default();
        s.set("n", &n).unwrap();
        s.set("third", &(1.0f64 / 3.0)).unwrap();
        let tensor = |name: &str, values: Vec<f64>| NamedTensor {
            name: name.into(),
            shape: vec![values.len()],
            values,
        };
        s.put_tensors(
            "t",
            vec![
                tensor("narrow", vec![f64::from(0.1f32), -0.0, n as f64]),
                tensor("wide", vec![0.1, f64::INFINITY]),
                tensor("none", vec![]),
            ],
        );
        s
    }

    #[test]
    fn what_was_kept_comes_back_to_the_bit() {
        let dir = tempfile::tempdir().unwrap();
        let (store, found) = open(dir.path(), 2);
        assert_eq!(found, Opened::default());
        assert_eq!(store.latest("a").unwrap(), None);
        for n in 0..4 {
            store.keep("a", &snapshot(n), false).unwrap();
        }
        store.keep("b", &snapshot(9), true).unwrap();
        // The last two of `a`, and the outcome of `b`.
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
        let (store, found) = open(dir.path(), 2);
        assert_eq!(found.mark, Some(Value::from("here")));
        assert_eq!(found.scope.as_deref(), Some("b"));
        assert_eq!(store.latest("a").unwrap(), Some((snapshot(3), false)));
        assert_eq!(store.latest("b").unwrap(), Some((snapshot(9), true)));
        store.keep("a", &snapshot(4), true).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn p05_every_flipped_bit_and_every_cut_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), 1)
            .0
            .keep("a", &snapshot(1), false)
            .unwrap();
        let path = dir.path().join("000001.checkpoint");
        let bytes = std::fs::read(&path).unwrap();
        assert!(read_bytes(&bytes).is_ok());
        for i in 0..bytes.len() {
            for bit in 0..8 {
                let mut bad = bytes.clone();
                bad[i] ^= 1 << bit;
                assert!(read_bytes(&bad).is_err(), "byte {i}, bit {bit}");
            }
            assert!(read_bytes(&bytes[..i]).is_err(), "cut at {i}");
        }
        let longer = [&bytes[..], b"x"].concat();
        assert!(read_bytes(&longer).is_err());
    }

    #[test]
    fn p27_a_newer_version_is_refused_and_named_but_damage_is_not_taken_for_one() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), 1)
            .0
            .keep("a", &snapshot(1), false)
            .unwrap();
        let path = dir.path().join("000001.checkpoint");
        let ours = std::fs::read(&path).unwrap();
        let reopened = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let mark = Box::new(|| Ok(Value::Null));
            CheckpointStore::open(dir.path(), policy(1), &NoClock, mark).map(|(_, found)| found)
        };
        for version in [2, 12, 300] {
            let newer = format!("archai checkpoint {version}\nsomething else");
            let error = reopened(newer.as_bytes()).unwrap_err().to_string();
            let parts = [
                &format!("has version {version}, this program reads 1"),
                "000001",
            ];
            assert!(parts.iter().all(|part| error.contains(*part)), "{error}");
            assert_eq!(
                std::fs::read(&path).unwrap(),
                newer.as_bytes(),
                "left as it is"
            );
        }
        let mut flipped = ours.clone();
        flipped[MAGIC.len() - 2] ^= 2;
        assert_eq!(&flipped[..MAGIC.len()], b"archai checkpoint 3\n");
        assert_eq!(reopened(&flipped).unwrap().damaged.len(), 1);
        let found = reopened(&ours).unwrap();
        assert_eq!(
            (found.damaged.len(), found.scope.as_deref()),
            (0, Some("a"))
        );
    }

    #[test]
    fn p05_the_one_before_a_damaged_one_is_used_and_both_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = open(dir.path(), 3);
        for n in 0..3 {
            store.keep("a", &snapshot(n), false).unwrap();
        }
        let damage = |n: usize, at: usize| {
            let path = dir.path().join(format!("{n:06}.checkpoint"));
            let mut bytes = std::fs::read(&path).unwrap();
            let at = at.min(bytes.len() - 1);
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).unwrap();
        };
        damage(3, usize::MAX);
        let (store, found) = open(dir.path(), 3);
        assert_eq!(found.damaged.len(), 1);
        assert!(found.damaged[0].contains("000003.checkpoint"), "{found:?}");
        assert_eq!(store.latest("a").unwrap(), Some((snapshot(1), false)));
        // A damaged older one does no harm to a training that went on.
        damage(1, usize::MAX);
        let (store, found) = open(dir.path(), 3);
        assert_eq!(found.damaged.len(), 1);
        assert_eq!(store.latest("a").unwrap(), Some((snapshot(1), false)));
        // Without the outcome of a training, what came after it cannot be used.
        store.keep("a", &snapshot(7), true).unwrap();
        store.keep("b", &snapshot(8), false).unwrap();
        let outcome = dir.path().join("000003.checkpoint");
        std::fs::write(&outcome, "").unwrap();
        let (store, found) = open(dir.path(), 3);
        assert_eq!((found.damaged.len(), found.mark), (1, None));
        assert_eq!(store.latest("a").unwrap(), None);
        assert_eq!(store.latest("b").unwrap(), None);
    }

    #[test]
    fn how_far_a_training_came_is_read_without_its_tensors() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = open(dir.path(), 2);
        let mut state = snapshot(1);
        state.set("epoch", &3).unwrap();
        state.set("step", &14).unwrap();
        store.keep("a", &state, false).unwrap();
        store.keep("b", &snapshot(2), true).unwrap();
        let at = |number, scope: &str, finished, epoch, step| Reached {
            number,
            scope: scope.to_string(),
            finished,
            epoch,
            step,
        };
        let both = [
            at(1, "a", false, Some(3), Some(14)),
            at(2, "b", true, None, None),
        ];
        assert_eq!(reached(dir.path()).unwrap(), both);
        // The tensors come last.
        let path = dir.path().join("000001.checkpoint");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(reached(dir.path()).unwrap(), both);
        for n in [0, 10, MAGIC.len() + 20, bytes.len() / 2] {
            std::fs::write(&path, &bytes[..n]).unwrap();
            assert_eq!(reached(dir.path()).unwrap(), both[1..], "cut at {n}");
        }
        assert_eq!(reached(&dir.path().join("none")).unwrap(), []);
    }

    #[test]
    fn p28_due_by_steps_or_by_time_even_if_the_clock_is_set_back() {
        struct At(std::sync::atomic::AtomicI64);
        impl Clock for At {
            fn now(&self) -> f64 {
                self.0.load(std::sync::atomic::Ordering::Relaxed) as f64
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let clock = At(100.into());
        let policy = Policy {
            every_steps: 5,
            every_seconds: 60.0,
            keep: 1,
        };
        let mark = Box::new(|| Ok(Value::Null));
        let store = CheckpointStore::open(dir.path(), policy, &clock, mark)
            .unwrap()
            .0;
        for (now, steps, due) in [
            (100, 4, false),
            (100, 5, true),
            (159, 1, false),
            (160, 1, true),
            (99, 1, true),
        ] {
            clock.0.store(now, std::sync::atomic::Ordering::Relaxed);
            assert_eq!(store.is_due(steps), due, "{now} {steps}");
        }
    }
}
