//! A file system in memory that fails when it is told to, and that forgets in a power cut what was not flushed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use archai_data::rng::{Key, Rng};

use crate::files::{Disk, DiskFile};

/// Bytes that a disk writes whole or not at all.
const BLOCK: usize = 512;

/// What goes wrong at an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails with an input/output error, once. A sync that fails loses what it should have kept, and a second try says
    /// that all is well, as Linux has it.
    Io,
    /// From here on there is no space: whatever needs some fails.
    Full,
    /// It fails because a signal came in between, once.
    Interrupted,
    /// A write takes half of the bytes and says so. Other operations do not fail.
    ShortWrite,
    /// The power goes. This and every later operation fails, until [`FaultyDisk::restart`].
    PowerCut,
}

/// A kind of operation: the methods of [`Disk`] and [`DiskFile`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum OperationKind {
    CreateNew,
    Append,
    Write,
    Sync,
    SetLen,
    Read,
    List,
    CreateDir,
    Rename,
    RemoveFile,
    SyncDir,
}

/// Something that was asked of the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// What.
    pub kind: OperationKind,
    /// On what; of a rename the new name.
    pub path: PathBuf,
}

/// What a restart finds of what was not flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survives {
    /// All: only the process ended.
    All,
    /// Nothing: every name and every block is as it was last flushed.
    Flushed,
    /// Each name and each block of 512 bytes by chance, drawn by this seed.
    Some(u64),
}

/// A file system in memory. Clones are the same disk. There are two folders at first, `/` and the relative ``; every
/// operation counts, so that a test can let each of them fail in turn:
///
/// ```
/// use std::io::Write;
/// use std::path::Path;
/// use archai_engine::files::{Disk, write_atomically_on};
/// use archai_engine::testing::{Fault, FaultyDisk, Survives};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let path = Path::new("/a");
/// for k in 0.. {
///     let disk = FaultyDisk::new();
///     write_atomically_on(&disk, path, |out| out.write_all(b"old"))?;
///     disk.fail_at(k, Fault::PowerCut);
///     let written = write_atomically_on(&disk, path, |out| out.write_all(b"new"));
///     disk.restart(Survives::Some(1));
///     let found = disk.read(path)?;
///     assert!(found == b"new" || (found == b"old" && written.is_err()));
///     if written.is_ok() {
///         break;
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct FaultyDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// All files that there ever were, by number.
    files: Vec<Contents>,
    /// The names as programs see them.
    names: BTreeMap<PathBuf, Entry>,
    /// The names as they were last flushed.
    flushed: BTreeMap<PathBuf, Entry>,
    operations: Vec<Operation>,
    fault: Option<(usize, Fault)>,
    is_full: bool,
    is_off: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Folder,
    File(usize),
}

#[derive(Debug, Default)]
struct Contents {
    bytes: Vec<u8>,
    flushed: Vec<u8>,
    /// A sync failed: what was not flushed until then never will be.
    is_spoilt: bool,
}

impl Default for FaultyDisk {
    fn default() -> Self {
        FaultyDisk::new()
    }
}

impl FaultyDisk {
    /// Empty, and without faults.
    pub fn new() -> Self {
        let folders = ["/", ""].map(|name| (PathBuf::from(name), Entry::Folder));
        let names = BTreeMap::from(folders);
        FaultyDisk(Arc::new(Mutex::new(State {
            flushed: names.clone(),
            names,
            ..State::default()
        })))
    }

    /// Lets the operation fail that comes after `n` others from now on, in place of any fault that was planned before.
    pub fn fail_at(&self, n: usize, fault: Fault) {
        let mut state = self.state();
        state.fault = Some((state.operations.len() + n, fault));
    }

    /// All operations so far, the failed ones too, apart from those after a power cut.
    pub fn operations(&self) -> Vec<Operation> {
        self.state().operations.clone()
    }

    /// Mends the disk and starts again with what is left on it. Files that are open write into nothing.
    pub fn restart(&self, survives: Survives) {
        let mut state = self.state();
        state.fault = None;
        (state.is_full, state.is_off) = (false, false);
        let mut luck = match survives {
            Survives::All => return,
            Survives::Flushed => None,
            Survives::Some(seed) => Some(Key::new(seed).with("power cut").rng()),
        };
        let mut keeps = |what_is_new: bool| what_is_new && luck.as_mut().is_some_and(coin);
        // Files get new numbers, so that no open file reaches them.
        let paths: BTreeSet<PathBuf> =
            (state.names.keys().chain(state.flushed.keys()).cloned()).collect();
        let mut names = BTreeMap::new();
        for path in paths {
            let (now, before) = (state.names.get(&path), state.flushed.get(&path));
            let entry = if keeps(now != before) { now } else { before };
            let has_place = path
                .parent()
                .is_none_or(|p| names.get(p) == Some(&Entry::Folder));
            let Some(entry) = entry.copied().filter(|_| has_place) else {
                continue;
            };
            let entry = match entry {
                Entry::Folder => Entry::Folder,
                Entry::File(n) => {
                    let bytes = state.files[n].torn(&mut keeps);
                    state.files.push(Contents {
                        flushed: bytes.clone(),
                        bytes,
                        is_spoilt: false,
                    });
                    Entry::File(state.files.len() - 1)
                }
            };
            names.insert(path, entry);
        }
        state.flushed = names.clone();
        state.names = names;
    }

    /// All files as programs see them.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let state = self.state();
        let files = state.names.iter().filter_map(|(path, entry)| match entry {
            Entry::File(n) => Some((path.clone(), state.files[*n].bytes.clone())),
            Entry::Folder => None,
        });
        files.collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic in another thread leaves a state like any other.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, file: usize, path: &Path) -> Box<dyn DiskFile> {
        Box::new(FaultyFile {
            disk: self.clone(),
            path: path.to_path_buf(),
            file,
        })
    }
}

fn coin(rng: &mut Rng) -> bool {
    rng.uniform_f64() < 0.5
}

impl Contents {
    /// What may be found after a power cut: of each block what was flushed, or what was written since.
    fn torn(&self, keeps: &mut impl FnMut(bool) -> bool) -> Vec<u8> {
        let mut found = Vec::new();
        let longest = self.bytes.len().max(self.flushed.len());
        for start in (0..longest).step_by(BLOCK) {
            let block = |bytes: &[u8]| -> Vec<u8> {
                let end = bytes.len().min(start + BLOCK);
                bytes.get(start..end).unwrap_or_default().to_vec()
            };
            let (now, before) = (block(&self.bytes), block(&self.flushed));
            let block = if keeps(now != before) { now } else { before };
            if !block.is_empty() {
                // A block whose forerunners were lost: there is space for them, and nothing in it.
                found.resize(start, 0);
                found.extend(block);
            }
        }
        found
    }
}

impl State {
    /// Notes an operation and lets it fail, if its turn has come. Gives whether a write is to be short.
    fn begin(&mut self, kind: OperationKind, path: &Path) -> io::Result<bool> {
        if self.is_off {
            return Err(io::Error::other("the power is off (simulated)"));
        }
        let n = self.operations.len();
        self.operations.push(Operation {
            kind,
            path: path.to_path_buf(),
        });
        let fault = self
            .fault
            .filter(|(at, _)| *at == n)
            .map(|(_, fault)| fault);
        match fault {
            Some(Fault::PowerCut) => {
                self.is_off = true;
                return Err(io::Error::other("the power was cut (simulated)"));
            }
            Some(Fault::Io) => return Err(io::Error::other("input/output error (simulated)")),
            Some(Fault::Interrupted) => return Err(ErrorKind::Interrupted.into()),
            Some(Fault::Full) => self.is_full = true,
            Some(Fault::ShortWrite) | None => {}
        }
        use OperationKind::{Append, CreateDir, CreateNew, Write};
        let needs_space = match kind {
            CreateNew | CreateDir | Write => true,
            Append => !self.names.contains_key(path),
            _ => false,
        };
        if self.is_full && needs_space {
            return Err(ErrorKind::StorageFull.into());
        }
        Ok(fault == Some(Fault::ShortWrite))
    }

    fn check_parent(&self, path: &Path) -> io::Result<()> {
        match path.parent().and_then(|parent| self.names.get(parent)) {
            Some(Entry::Folder) => Ok(()),
            Some(Entry::File(_)) => Err(ErrorKind::NotADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn find_file(&self, path: &Path) -> io::Result<usize> {
        match self.names.get(path) {
            Some(Entry::File(n)) => Ok(*n),
            Some(Entry::Folder) => Err(ErrorKind::IsADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn new_file(&mut self, path: &Path) -> io::Result<usize> {
        self.check_parent(path)?;
        self.files.push(Contents::default());
        let file = self.files.len() - 1;
        self.names.insert(path.to_path_buf(), Entry::File(file));
        Ok(file)
    }
}

impl Disk for FaultyDisk {
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        state.begin(OperationKind::CreateNew, path)?;
        if state.names.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        Ok(self.open(state.new_file(path)?, path))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        state.begin(OperationKind::Append, path)?;
        let file = match state.find_file(path) {
            Err(e) if e.kind() == ErrorKind::NotFound => state.new_file(path)?,
            other => other?,
        };
        Ok(self.open(file, path))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut state = self.state();
        state.begin(OperationKind::Read, path)?;
        let file = state.find_file(path)?;
        Ok(state.files[file].bytes.clone())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let mut state = self.state();
        state.begin(OperationKind::List, folder)?;
        match state.names.get(folder) {
            Some(Entry::Folder) => {}
            Some(Entry::File(_)) => return Err(ErrorKind::NotADirectory.into()),
            None => return Err(ErrorKind::NotFound.into()),
        }
        let inside = state.names.keys().filter(|p| p.parent() == Some(folder));
        Ok(inside.cloned().collect())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.begin(OperationKind::CreateDir, path)?;
        if state.names.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        state.check_parent(path)?;
        state.names.insert(path.to_path_buf(), Entry::Folder);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.begin(OperationKind::Rename, to)?;
        let file = state.find_file(from)?;
        state.check_parent(to)?;
        if state.names.get(to) == Some(&Entry::Folder) {
            return Err(ErrorKind::IsADirectory.into());
        }
        state.names.remove(from);
        state.names.insert(to.to_path_buf(), Entry::File(file));
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.begin(OperationKind::RemoveFile, path)?;
        state.find_file(path)?;
        state.names.remove(path);
        Ok(())
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.begin(OperationKind::SyncDir, folder)?;
        let inside = |path: &Path| path.parent() == Some(folder);
        let State { names, flushed, .. } = &mut *state;
        flushed.retain(|path, _| !inside(path) || names.contains_key(path));
        let new = names.iter().filter(|(path, _)| inside(path));
        flushed.extend(new.map(|(path, entry)| (path.clone(), *entry)));
        Ok(())
    }
}

/// An open file of a [`FaultyDisk`].
struct FaultyFile {
    disk: FaultyDisk,
    path: PathBuf,
    file: usize,
}

impl FaultyFile {
    fn begin(&self, kind: OperationKind) -> io::Result<(MutexGuard<'_, State>, bool)> {
        let mut state = self.disk.state();
        let is_short = state.begin(kind, &self.path)?;
        Ok((state, is_short))
    }
}

impl Write for FaultyFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let (mut state, is_short) = self.begin(OperationKind::Write)?;
        let taken = &buffer[..if is_short {
            buffer.len() / 2
        } else {
            buffer.len()
        }];
        state.files[self.file].bytes.extend_from_slice(taken);
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for FaultyFile {
    fn sync(&mut self) -> io::Result<()> {
        let begun = self.begin(OperationKind::Sync).map(drop);
        let mut state = self.disk.state();
        let contents = &mut state.files[self.file];
        match &begun {
            Err(_) => contents.is_spoilt = true,
            Ok(()) if contents.is_spoilt => {}
            Ok(()) => contents.flushed.clone_from(&contents.bytes),
        }
        begun
    }

    fn set_len(&mut self, length: u64) -> io::Result<()> {
        let (mut state, _) = self.begin(OperationKind::SetLen)?;
        let length = usize::try_from(length).map_err(io::Error::other)?;
        state.files[self.file].bytes.resize(length, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{make_folder, write_atomically_on};

    fn disk_with(path: &str, flushed: &[u8], then: &[u8]) -> FaultyDisk {
        let disk = FaultyDisk::new();
        let mut file = disk.create_new(Path::new(path)).unwrap();
        file.write_all(flushed).unwrap();
        file.sync().unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        file.write_all(then).unwrap();
        disk
    }

    #[test]
    fn what_was_not_flushed_is_lost_or_torn_at_512_bytes() {
        let (old, new) = (vec![1u8; 700], vec![2u8; 2000]);
        let read = |survives| {
            let disk = disk_with("/a", &old, &new);
            disk.restart(survives);
            disk.read(Path::new("/a")).unwrap()
        };
        assert_eq!(read(Survives::Flushed), old);
        assert_eq!(read(Survives::All), [&old[..], &new].concat());
        let all: BTreeSet<Vec<u8>> = (0..40).map(|seed| read(Survives::Some(seed))).collect();
        assert!(all.len() > 5, "{}", all.len());
        for found in all {
            assert_eq!(found[..700], old);
            for block in found.chunks(BLOCK).skip(2) {
                assert!(block.iter().all(|b| *b == block[0]), "a block is torn");
            }
        }
    }

    #[test]
    fn names_that_were_not_flushed_may_go() {
        let found = |survives| {
            let disk = disk_with("/a", b"a", b"");
            disk.create_dir(Path::new("/d")).unwrap();
            disk.rename(Path::new("/a"), Path::new("/d/b")).unwrap();
            disk.restart(survives);
            disk.files().into_keys().collect::<Vec<_>>()
        };
        assert_eq!(found(Survives::Flushed), [PathBuf::from("/a")]);
        assert_eq!(found(Survives::All), [PathBuf::from("/d/b")]);
        // A folder that is lost takes its files along.
        assert!((0..20).any(|seed| found(Survives::Some(seed)).is_empty()));
    }

    #[test]
    fn each_fault_does_what_it_says() {
        let write = |fault, k| {
            let disk = disk_with("/a", b"old", b"");
            disk.fail_at(k, fault);
            let result = write_atomically_on(&disk, Path::new("/a"), |out| out.write_all(&[7; 9]));
            let bytes = disk.files()[Path::new("/a")].clone();
            (result.map_err(|e| e.to_string()), bytes)
        };
        // 0 create, 1 write, 2 sync, 3 rename, 4 sync of the folder.
        for k in 0..4 {
            let (result, bytes) = write(Fault::Io, k);
            let error = result.unwrap_err();
            assert!(error.contains("`/a`: input/output error"), "{error}");
            assert_eq!(bytes, b"old");
        }
        assert_eq!(
            write(Fault::Io, 4).1,
            [7; 9],
            "complete, but not sure to stay"
        );
        assert!(write(Fault::Io, 4).0.is_err());
        assert_eq!(write(Fault::Io, 5), (Ok(()), vec![7; 9]));
        assert_eq!(
            write(Fault::Interrupted, 1),
            (Ok(()), vec![7; 9]),
            "tried again"
        );
        assert_eq!(
            write(Fault::ShortWrite, 1),
            (Ok(()), vec![7; 9]),
            "written on"
        );
        let (result, bytes) = write(Fault::Full, 1);
        assert!(result.unwrap_err().contains("free some space"));
        assert_eq!(bytes, b"old");
    }

    #[test]
    fn a_second_try_after_a_failed_sync_lies() {
        let disk = disk_with("/a", b"old", b", new");
        let mut file = disk.append(Path::new("/a")).unwrap();
        disk.fail_at(0, Fault::Io);
        assert!(file.sync().is_err());
        assert!(file.sync().is_ok());
        disk.restart(Survives::Flushed);
        assert_eq!(disk.read(Path::new("/a")).unwrap(), b"old");
    }

    #[test]
    fn files_are_written_on_cut_off_and_found() {
        let disk = FaultyDisk::new();
        make_folder(&disk, Path::new("/x/y")).unwrap();
        disk.restart(Survives::Flushed);
        let path = Path::new("/x/y/log");
        for text in ["one", "two"] {
            let mut log = disk.append(path).unwrap();
            log.write_all(text.as_bytes()).unwrap();
            if text == "one" {
                log.set_len(2).unwrap();
            }
        }
        assert_eq!(disk.read(path).unwrap(), b"ontwo");
        assert_eq!(disk.list(Path::new("/x/y")).unwrap(), [path]);
        let kinds = [
            (
                disk.read(Path::new("/x")).unwrap_err(),
                ErrorKind::IsADirectory,
            ),
            (disk.read(Path::new("/z")).unwrap_err(), ErrorKind::NotFound),
            (disk.list(path).unwrap_err(), ErrorKind::NotADirectory),
            (disk.create_dir(path).unwrap_err(), ErrorKind::AlreadyExists),
            (
                disk.rename(path, Path::new("/x")).unwrap_err(),
                ErrorKind::IsADirectory,
            ),
            (
                disk.remove_file(Path::new("/z")).unwrap_err(),
                ErrorKind::NotFound,
            ),
        ];
        for (error, kind) in kinds {
            assert_eq!(error.kind(), kind);
        }
    }
}
