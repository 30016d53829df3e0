//! Checkpoints: the whole state of a training as plain data ([`Snapshot`]), and where a run keeps them ([`CheckpointStore`]).
//!
//! A run is a program that draws all its randomness from keys, so it can be taken up by starting it again: trainings that
//! were finished give back what they ended with, the one that was under way goes on at its step, and everything between
//! repeats itself to the bit. Each training has a *scope*, the place of its log, which is unique within a run.
//!
//! A checkpoint is one file with a checksum of every part, written beside its name, flushed and moved into place. One that
//! is damaged is recognised, named, and the one before is used.

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::error::EngineError;
use crate::files::{
    Disk, FileError, RealDisk, make_folder, remove_unfinished, write_atomically_on,
};
use crate::params::NamedTensor;
use crate::run::Clock;

/// First line of a checkpoint file, but for its version.
const NAME: &[u8] = b"archai checkpoint ";
/// First line of a checkpoint file.
const MAGIC: &[u8] = b"archai checkpoint 1\n";
/// The version of the files that are written and read here.
const VERSION: u64 = 1;

/// State as plain data: named tensors, and values by name.
///
/// ```
/// use archai_engine::checkpoint::Snapshot;
/// let mut snapshot = Snapshot::default();
/// snapshot.set("epoch", &3)?;
/// let mut outer = Snapshot::default();
/// outer.put("training", snapshot);
/// assert_eq!(outer.part("training").get::<usize>("epoch")?, 3);
/// # Ok::<(), archai_engine::EngineError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    values: Map<String, Value>,
    tensors: Vec<NamedTensor>,
}

impl Snapshot {
    /// Keeps a value under a name.
    ///
    /// # Errors
    /// The value cannot be said as JSON.
    pub fn set(&mut self, name: &str, value: &impl Serialize) -> Result<(), EngineError> {
        let value = serde_json::to_value(value)
            .map_err(|e| EngineError::Config(format!("the state `{name}` cannot be kept: {e}")))?;
        self.values.insert(name.to_string(), value);
        Ok(())
    }

    /// The value of a name.
    ///
    /// # Errors
    /// There is none, or it is of another type.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<T, EngineError> {
        let value = self
            .values
            .get(name)
            .ok_or_else(|| EngineError::Config(format!("the checkpoint has no `{name}`")))?;
        T::deserialize(value).map_err(|e| {
            EngineError::Config(format!(
                "`{name}` in the checkpoint is not what was expected: {e}"
            ))
        })
    }

    /// Keeps tensors below a name.
    pub fn put_tensors(&mut self, name: &str, tensors: Vec<NamedTensor>) {
        self.tensors
            .extend(tensors.into_iter().map(|t| NamedTensor {
                name: format!("{name}/{}", t.name),
                ..t
            }));
    }

    /// The tensors below a name, in the order in which they were kept.
    pub fn tensors(&self, name: &str) -> Vec<NamedTensor> {
        let below = |t: &NamedTensor| {
            let name = t.name.strip_prefix(name)?.strip_prefix('/')?.to_string();
            Some(NamedTensor { name, ..t.clone() })
        };
        self.tensors.iter().filter_map(below).collect()
    }

    /// Keeps a whole snapshot below a name.
    pub fn put(&mut self, name: &str, part: Snapshot) {
        let values = part.values.into_iter();
        self.values
            .extend(values.map(|(key, value)| (format!("{name}/{key}"), value)));
        self.put_tensors(name, part.tensors);
    }

    /// The snapshot below a name; empty if nothing was kept there.
    pub fn part(&self, name: &str) -> Snapshot {
        let below = |(key, value): (&String, &Value)| {
            let key = key.strip_prefix(name)?.strip_prefix('/')?;
            Some((key.to_string(), value.clone()))
        };
        Snapshot {
            values: self.values.iter().filter_map(below).collect(),
            tensors: self.tensors(name),
        }
    }

    /// Whether nothing was kept.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty() && self.tensors.is_empty()
    }
}

/// How often the state of a training is kept, apart from the end of each epoch and an interruption.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// After so many steps; 0 not by steps.
    pub every_steps: usize,
    /// After so many seconds of the clock; 0 not by time.
    pub every_seconds: f64,
    /// How many to keep of a training under way; older ones serve when the last is damaged.
    pub keep: usize,
}

impl Default for Policy {
    /// Once a minute; the last two are kept.
    fn default() -> Self {
        Policy {
            every_steps: 0,
            every_seconds: 60.0,
            keep: 2,
        }
    }
}

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

/// A part of a checkpoint file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    name: String,
    length: u64,
    blake3: String,
}

/// What a checkpoint file says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    /// Number within the run, from 1.
    sequence: u64,
    scope: String,
    finished: bool,
    /// What the keeper of the logs wants back, see [`CheckpointStore::open`].
    mark: Value,
    parts: Vec<Part>,
}

/// A tensor's place in the numbers of a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TensorEntry {
    name: String,
    shape: Vec<usize>,
    /// Whether its numbers need 64 bits.
    wide: bool,
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
pub struct Found {
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
            return Err(EngineError::Config(format!(
                "the checkpoint {} has version {version}, this program reads {VERSION}; go on with the newer program that wrote \
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
    /// named in [`Found`]; whatever was kept after a damaged one that is still needed counts no more, because it would not
    /// follow from what is left. `mark` is asked at every checkpoint for a value that is kept with it.
    ///
    /// # Errors
    /// A folder that cannot be read or written; a checkpoint of a newer program.
    pub fn open(
        dir: &Path,
        policy: Policy,
        clock: &'a dyn Clock,
        mark: Mark<'a>,
    ) -> Result<(Self, Found), EngineError> {
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
    ) -> Result<(Self, Found), EngineError> {
        make_folder(disk, dir)?;
        remove_unfinished(disk, dir)?;
        let (mut kept, bad) = survey(disk, dir)?;
        let mut found = Found::default();
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
                // Its outcome is missing, so what came after it has no ground.
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
            return Err(EngineError::Config(format!(
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

/// Values, and tensors, as bytes.
fn encode(state: &Snapshot) -> io::Result<[Vec<u8>; 2]> {
    let (mut entries, mut numbers) = (Vec::with_capacity(state.tensors.len()), Vec::new());
    for t in &state.tensors {
        // Numbers of 32 bits come back exactly from 32 bits.
        let wide = t
            .values
            .iter()
            .any(|&v| f64::from(v as f32).to_bits() != v.to_bits());
        for &v in &t.values {
            match wide {
                true => numbers.extend_from_slice(&v.to_le_bytes()),
                false => numbers.extend_from_slice(&(v as f32).to_le_bytes()),
            }
        }
        entries.push(TensorEntry {
            name: t.name.clone(),
            shape: t.shape.clone(),
            wide,
        });
    }
    let values = serde_json::to_vec(&(&state.values, entries))?;
    Ok([values, numbers])
}

fn damaged(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

/// The version of a file that a newer program wrote. A file of this version in which that number is damaged is none.
fn newer_version(bytes: &[u8]) -> Option<u64> {
    let rest = bytes.strip_prefix(NAME)?;
    let end = rest.iter().take(20).position(|&byte| byte == b'\n')?;
    let version = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
    let as_ours = [MAGIC, &rest[end + 1..]].concat();
    (version > VERSION && read_header(&as_ours).is_err()).then_some(version)
}

/// The header of a checkpoint, and what follows it. Nothing is believed before its checksum agrees.
fn read_header(bytes: &[u8]) -> io::Result<(Header, &[u8])> {
    let rest = bytes
        .strip_prefix(MAGIC)
        .ok_or_else(|| damaged("it does not begin like a checkpoint of this version"))?;
    let (length, rest) = rest.split_first_chunk::<8>().ok_or_else(cut)?;
    let (hash, rest) = rest.split_first_chunk::<32>().ok_or_else(cut)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let (text, rest) = rest.split_at_checked(length).ok_or_else(cut)?;
    if blake3::hash(text).as_bytes() != hash {
        return Err(damaged("its header's checksum does not agree"));
    }
    let header = serde_json::from_slice(text).map_err(|e| damaged(e.to_string()))?;
    Ok((header, rest))
}

/// Reads and checks the bytes of a checkpoint. What is wrong with them is an error of kind `InvalidData`.
fn read_bytes(bytes: &[u8]) -> io::Result<(Header, Snapshot)> {
    let (header, mut rest) = read_header(bytes)?;
    let mut parts = Vec::new();
    for part in &header.parts {
        let length = usize::try_from(part.length).unwrap_or(usize::MAX);
        let (body, after) = rest.split_at_checked(length).ok_or_else(cut)?;
        if blake3::hash(body).to_hex().as_str() != part.blake3 {
            return Err(damaged(format!(
                "the checksum of its {} does not agree",
                part.name
            )));
        }
        parts.push(body);
        rest = after;
    }
    let [values, numbers] = parts[..] else {
        return Err(damaged("it does not have two parts"));
    };
    if !rest.is_empty() {
        return Err(damaged("there is something behind its end"));
    }
    let (values, entries): (Map<String, Value>, Vec<TensorEntry>) =
        serde_json::from_slice(values).map_err(|e| damaged(e.to_string()))?;
    let mut left = numbers;
    let mut tensors = Vec::with_capacity(entries.len());
    for TensorEntry { name, shape, wide } in entries {
        let n = shape
            .iter()
            .try_fold(1usize, |n, &d| n.checked_mul(d))
            .ok_or_else(cut)?;
        let bytes = n.checked_mul(if wide { 8 } else { 4 }).ok_or_else(cut)?;
        let (own, after) = left.split_at_checked(bytes).ok_or_else(cut)?;
        left = after;
        let values = match wide {
            true => own
                .as_chunks::<8>()
                .0
                .iter()
                .map(|&b| f64::from_le_bytes(b))
                .collect(),
            false => own
                .as_chunks::<4>()
                .0
                .iter()
                .map(|&b| f32::from_le_bytes(b).into())
                .collect(),
        };
        tensors.push(NamedTensor {
            name,
            shape,
            values,
        });
    }
    if !left.is_empty() {
        return Err(damaged("it holds more numbers than its tensors"));
    }
    Ok((header, Snapshot { values, tensors }))
}

fn cut() -> io::Error {
    damaged("it is cut off")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::NoClock;

    fn policy(keep: usize) -> Policy {
        Policy {
            every_steps: 0,
            every_seconds: 0.0,
            keep,
        }
    }

    fn open(dir: &Path, keep: usize) -> (CheckpointStore<'static>, Found) {
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
        assert_eq!(found, Found::default());
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
        // Without the outcome of a training, what came after it has no ground.
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
