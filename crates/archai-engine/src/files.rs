//! Files that are there whole or not at all: what a run leaves behind is written beside its final name and moved into
//! place, so that a crash, a full disk or a reader in between never meets half a file.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

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

/// Writes a file so that it appears complete or not at all: `write` fills a temporary file in the same folder, which is
/// flushed to the disk and renamed over `path`; then the folder is flushed, so that the name survives a power cut too.
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
/// Whatever `write` or the file system reports, with the path. The old file, if any, is then still there, unchanged.
pub fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), FileError> {
    try_write(path, write).map_err(|e| FileError::new("write", path, e))
}

fn try_write(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    if path.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let mut temporary = tempfile::Builder::new();
    temporary.prefix(".writing-");
    // A temporary file is private by default; a result is as readable as the user's other files (the umask applies).
    #[cfg(unix)]
    temporary.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let (file, temporary) = temporary.tempfile_in(folder)?.into_parts();

    let mut writer = BufWriter::with_capacity(1 << 16, file);
    write(&mut writer)?;
    writer.flush()?;
    writer.get_ref().sync_all()?;
    drop(writer);
    temporary.persist(path).map_err(|e| e.error)?;
    // Only Unix lets a folder be opened and flushed.
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    Ok(())
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
