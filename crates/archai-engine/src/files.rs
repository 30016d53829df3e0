//! Files that are there whole or not at all: what a run leaves behind is written beside its final name and moved into
//! place, so that a crash, a full disk or a reader in between never meets half a file. All of it goes through a [`Disk`].

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Name of a found description in a run directory.
pub const FOUND_DESC: &str = "final_model_desc.yaml";
/// The name of the scaled description in a run's directory, unless `nas.eval.full_desc_filename` says otherwise.
pub const FULL_DESC: &str = "full_model_desc.yaml";
/// Name of the drawing of its cells.
pub const FOUND_DRAWING: &str = "final_model_desc.svg";
/// Folder beside the found description for the networks of a search that finds several, as `model_desc_<number>.yaml`. The
/// evaluation gets it along with the description.
pub const GALLERY: &str = "model_desc_gallery";
/// How the names of the descriptions in a gallery begin, see [`numbered`].
pub const GALLERY_DESC: &str = "model_desc";

/// The name of one of many files of a kind: `model_desc_3.yaml`.
pub fn numbered(kind: &str, number: usize) -> String {
    format!("{kind}_{number}.yaml")
}

/// The number in such a name.
///
/// ```
/// use archai_engine::files::{number_of, numbered};
/// use std::path::Path;
/// assert_eq!(number_of(Path::new("gallery").join(numbered("hull", 3)).as_path(), "hull"), Some(3));
/// assert_eq!(number_of(Path::new("model_desc_mine_3.yaml"), "model_desc"), None);
/// ```
pub fn number_of(path: &Path, kind: &str) -> Option<usize> {
    let rest = path.file_name()?.to_str()?.strip_prefix(kind)?;
    rest.strip_prefix('_')?.strip_suffix(".yaml")?.parse().ok()
}

/// A file could not be written or read.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{}`: {source}{}", path.display(), hint(action, source))]
pub struct FileError {
    /// What was tried: `write`, `read`, …
    pub action: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What the operating system, or the file's format, said.
    pub source: io::Error,
}

impl FileError {
    /// From what was tried, on which file, and what went wrong.
    pub fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        FileError {
            action,
            path: path.to_path_buf(),
            source,
        }
    }
}

/// What mends the usual failures.
fn hint(action: &str, error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound if action == "read" => "; check the path",
        io::ErrorKind::NotFound => "; make the folder first, or correct the path",
        io::ErrorKind::PermissionDenied => {
            "; choose a place that you have access to, or change its permissions"
        }
        io::ErrorKind::ReadOnlyFilesystem => "; choose a folder that can be written to",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space and run again"
        }
        io::ErrorKind::IsADirectory => "; a folder of that name is in the way",
        _ => "",
    }
}

/// A file that is open for writing. What [`DiskFile::sync`] has not confirmed may be lost with the power.
pub trait DiskFile: Write + Send {
    /// Waits until the contents are where no power cut reaches them. One that fails may have lost them for good: whoever
    /// tries again is told of a success that is none.
    ///
    /// # Errors
    /// As the operating system says.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts the file off behind so many bytes, or makes it that long.
    ///
    /// # Errors
    /// As the operating system says.
    fn set_len(&mut self, length: u64) -> io::Result<()>;
}

impl DiskFile for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
    fn set_len(&mut self, length: u64) -> io::Result<()> {
        File::set_len(self, length)
    }
}

/// The file system, as far as a run needs it: all that a run writes goes through here, so that a test can let any
/// operation fail ([`FaultyDisk`](crate::testing::FaultyDisk)). All methods say what the operating system says.
pub trait Disk: Send + Sync {
    /// A new file; one that is there already is an error.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// A file to write on at its end; a new one if there is none.
    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// All bytes of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// What lies in a folder, in order.
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;
    /// A new folder in one that is there.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Gives a file another name, which another file may have had.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Waits until the names in a folder are where no power cut reaches them.
    fn sync_dir(&self, folder: &Path) -> io::Result<()>;
}

/// The file system of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(File::create_new(path)?))
    }
    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(
            File::options().append(true).create(true).open(path)?,
        ))
    }
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let entries = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
        let mut paths = entries.collect::<io::Result<Vec<_>>>()?;
        paths.sort();
        Ok(paths)
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }
    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        // Only Unix lets a folder be opened and flushed.
        #[cfg(unix)]
        File::open(folder)?.sync_all()?;
        #[cfg(not(unix))]
        let _ = folder;
        Ok(())
    }
}

/// What fills a file.
pub type Writer = BufWriter<Box<dyn DiskFile>>;

/// How the names of files begin that are not finished yet.
const UNFINISHED: &str = ".writing-";

/// The folder that a file lies in.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// [`write_atomically_on`] the file system of the operating system.
///
/// ```
/// use std::io::Write;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("summary.md");
/// archai_engine::files::write_atomically(&path, |w| w.write_all(b"# Found\n"))?;
/// assert_eq!(std::fs::read_to_string(&path)?, "# Found\n");
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`write_atomically_on`].
pub fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut Writer) -> io::Result<()>,
) -> Result<(), FileError> {
    write_atomically_on(&RealDisk, path, write)
}

/// Writes a file so that it appears complete or not at all: `write` fills a temporary file in the same folder, which is
/// flushed to the disk and renamed over `path`; then the folder is flushed, so that the name survives a power cut too.
///
/// # Errors
/// Whatever `write` or the file system reports, with the path. The old file, if any, is then still there, unchanged, or the
/// new one is complete.
pub fn write_atomically_on(
    disk: &dyn Disk,
    path: &Path,
    write: impl FnOnce(&mut Writer) -> io::Result<()>,
) -> Result<(), FileError> {
    try_write(disk, path, write).map_err(|e| FileError::new("write", path, e))
}

fn try_write(
    disk: &dyn Disk,
    path: &Path,
    write: impl FnOnce(&mut Writer) -> io::Result<()>,
) -> io::Result<()> {
    let folder = folder_of(path);
    // A name that nobody else has: two processes may write here at once, and one that was killed may have left a file.
    let mut n = 0u32;
    let (temporary, file) = loop {
        let temporary = folder.join(format!("{UNFINISHED}{n}"));
        match disk.create_new(&temporary) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => n += 1,
            other => break (temporary, other?),
        }
    };
    let mut writer = BufWriter::with_capacity(1 << 16, file);
    let moved = write(&mut writer)
        .and_then(|()| writer.flush())
        .and_then(|()| writer.get_mut().sync())
        .and_then(|()| disk.rename(&temporary, path));
    if let Err(error) = moved {
        // What is left in the buffer is not worth a try. If the file cannot be removed either, the first error says why.
        drop(writer.into_parts());
        let _ = disk.remove_file(&temporary);
        return Err(error);
    }
    disk.sync_dir(folder)
}

/// Removes from a folder what writers left that did not come to their end. Nobody else may be writing there.
///
/// # Errors
/// A folder that cannot be read or written.
pub fn remove_unfinished(disk: &dyn Disk, folder: &Path) -> Result<(), FileError> {
    let paths = disk
        .list(folder)
        .map_err(|e| FileError::new("read", folder, e))?;
    let unfinished = paths.iter().filter(|path| {
        let name = path.file_name().map(|name| name.to_string_lossy());
        name.is_some_and(|name| name.starts_with(UNFINISHED))
    });
    for path in unfinished {
        disk.remove_file(path)
            .map_err(|e| FileError::new("remove", path, e))?;
    }
    Ok(())
}

/// Makes a folder and those above it, so that they survive a power cut. One that is there already stays as it is.
///
/// # Errors
/// A folder that cannot be made.
pub fn make_folder(disk: &dyn Disk, folder: &Path) -> Result<(), FileError> {
    let failed = |e| FileError::new("make the folder", folder, e);
    let made = match disk.create_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound && folder.parent().is_some() => {
            make_folder(disk, folder_of(folder))?;
            disk.create_dir(folder)
        }
        other => other,
    };
    match made {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            // A file of that name is no folder.
            disk.list(folder).map(drop).map_err(failed)
        }
        other => other
            .and_then(|()| disk.sync_dir(folder_of(folder)))
            .map_err(failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn replaces_a_file_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        for text in ["one", "two"] {
            write_atomically(&path, |w| w.write_all(text.as_bytes())).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(names(dir.path()), ["a.txt"]);
    }

    #[test]
    fn a_failure_keeps_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        write_atomically(&path, |w| w.write_all(b"old")).unwrap();
        let error = write_atomically(&path, |w| {
            w.write_all(b"half of the ne")?;
            Err(io::ErrorKind::StorageFull.into())
        })
        .unwrap_err()
        .to_string();
        assert!(
            error.contains("a.txt") && error.contains("free some space"),
            "{error}"
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(names(dir.path()), ["a.txt"]);
    }

    #[test]
    fn errors_name_the_path_and_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let absent = write_atomically(&dir.path().join("no/such/a.txt"), |_| Ok(()))
            .unwrap_err()
            .to_string();
        assert!(
            absent.contains("no/such/a.txt") && absent.contains("make the folder first"),
            "{absent}"
        );
        let folder = write_atomically(dir.path(), |_| Ok(()))
            .unwrap_err()
            .to_string();
        assert!(folder.contains("folder of that name"), "{folder}");
    }

    #[test]
    fn p07_leftovers_of_a_killed_writer_are_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(".writing-0"), "half").unwrap();
        let path = dir.path().join("a.txt");
        write_atomically(&path, |w| w.write_all(b"whole")).unwrap();
        assert_eq!(names(dir.path()), [".writing-0", "a.txt"]);
        remove_unfinished(&RealDisk, dir.path()).unwrap();
        assert_eq!(names(dir.path()), ["a.txt"]);
    }

    #[test]
    fn folders_are_made_with_those_above_them() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b/c");
        for _ in 0..2 {
            make_folder(&RealDisk, &deep).unwrap();
            assert!(deep.is_dir());
        }
        let file = deep.join("file");
        write_atomically(&file, |_| Ok(())).unwrap();
        let error = make_folder(&RealDisk, &file).unwrap_err().to_string();
        assert!(error.contains("c/file"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn others_may_read_the_result() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let (ours, plain) = (dir.path().join("ours"), dir.path().join("plain"));
        write_atomically(&ours, |w| w.write_all(b"x")).unwrap();
        std::fs::write(&plain, "x").unwrap();
        let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }
}
