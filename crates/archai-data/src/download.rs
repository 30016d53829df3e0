//! Getting published data sets: download, check, unpack, put into place.
//!
//! What is published is a value, [`Download`], so that everything here runs against a local server too. A download
//! goes on where an earlier one stopped, nothing is unpacked unless its hash is right, and the data set's folder
//! appears complete or not at all.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};
use ureq::http::{Response, StatusCode, header};

use crate::error::DataError;

/// A published archive (`.tar.gz`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Download {
    /// The data set's name.
    pub name: String,
    /// The format of its files, as `dataset.format` has it.
    pub format: String,
    /// Where its authors publish it.
    pub url: String,
    /// Length of the archive.
    pub bytes: u64,
    /// SHA-256 of the archive, in hexadecimal.
    pub sha256: String,
    /// The folder inside the archive, and the one that it becomes below the folder of all data sets.
    pub folder: String,
    /// The files inside that folder that the data set needs, with their lengths. Others are not unpacked.
    pub members: Vec<(String, u64)>,
}

/// The data sets that [`get`] knows.
pub fn all() -> Vec<Download> {
    let members = |list: &[(&str, u64)]| {
        list.iter()
            .map(|&(name, bytes)| (name.to_owned(), bytes))
            .collect()
    };
    vec![
        Download {
            name: "cifar10".into(),
            format: "cifar10_binary".into(),
            url: "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz".into(),
            bytes: 170_052_171,
            sha256: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd".into(),
            folder: "cifar-10-batches-bin".into(),
            members: members(&[
                ("data_batch_1.bin", 30_730_000),
                ("data_batch_2.bin", 30_730_000),
                ("data_batch_3.bin", 30_730_000),
                ("data_batch_4.bin", 30_730_000),
                ("data_batch_5.bin", 30_730_000),
                ("test_batch.bin", 30_730_000),
            ]),
        },
        Download {
            name: "cifar100".into(),
            format: "cifar100_binary".into(),
            url: "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz".into(),
            bytes: 168_513_733,
            sha256: "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec".into(),
            folder: "cifar-100-binary".into(),
            members: members(&[("train.bin", 153_700_000), ("test.bin", 30_740_000)]),
        },
    ]
}

/// The known data set of this name.
pub fn by_name(name: &str) -> Option<Download> {
    all().into_iter().find(|known| known.name == name)
}

/// Where an archive is taken from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    from: Option<String>,
    proxy: Option<String>,
}

impl Source {
    /// The authors' site.
    pub fn official() -> Source {
        Source::default()
    }

    /// A mirror (`http://…`, `https://…`) or a file (a path, or `file://…`).
    pub fn from(file_or_url: impl Into<String>) -> Source {
        Source {
            from: Some(file_or_url.into()),
            proxy: None,
        }
    }

    /// Through this proxy (`http://host:port`).
    #[must_use]
    pub fn with_proxy(mut self, proxy: Option<String>) -> Source {
        self.proxy = proxy;
        self
    }
}

/// Puts the data set into `dataroot` and returns its folder. If it is there already, nothing happens.
///
/// `progress` is told how many bytes of how many are there. An interrupted download leaves a `.part` file, from which
/// the next call goes on.
///
/// # Errors
/// [`DataError::Download`] and [`DataError::Io`]; messages say what to do.
pub fn get(
    source: &Source,
    spec: &Download,
    dataroot: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<PathBuf, DataError> {
    let from = source.from.as_deref().unwrap_or(&spec.url);
    let fetch = Fetch {
        spec,
        from,
        proxy: source.proxy.as_deref(),
    };
    let target = dataroot.join(&spec.folder);
    if target.exists() {
        return fetch.check_present(&target).map(|()| target);
    }
    fs::create_dir_all(dataroot).map_err(DataError::io("create", dataroot))?;
    if from.starts_with("http://") || from.starts_with("https://") {
        let part = dataroot.join(format!("{}.tar.gz.part", spec.folder));
        let mut file = fetch.download(&part, progress)?;
        if let Err(error) = fetch.verify(&part, &mut file) {
            // Going on from wrong bytes would never end well.
            drop(file);
            fs::remove_file(&part).map_err(DataError::io("remove", &part))?;
            return Err(error);
        }
        fetch.unpack(&part, &mut file, dataroot, &target)?;
        drop(file);
        fs::remove_file(&part).map_err(DataError::io("remove", &part))?;
    } else {
        let path = PathBuf::from(from.strip_prefix("file://").unwrap_or(from));
        let mut file = File::open(&path).map_err(DataError::io("open", &path))?;
        fetch.verify(&path, &mut file)?;
        progress(spec.bytes, spec.bytes);
        fetch.unpack(&path, &mut file, dataroot, &target)?;
    }
    Ok(target)
}

/// Longest that a connection may be silent.
const PATIENCE: Duration = Duration::from_secs(60);

const CHUNK: usize = 1 << 16;

/// One call of [`get`].
struct Fetch<'a> {
    spec: &'a Download,
    from: &'a str,
    proxy: Option<&'a str>,
}

impl Fetch<'_> {
    fn error(&self, problem: impl Into<String>, mend: impl Into<String>) -> DataError {
        DataError::Download {
            name: self.spec.name.clone(),
            from: self.from.to_owned(),
            problem: problem.into(),
            mend: mend.into(),
        }
    }

    /// A failure that has nothing to do with what was sent.
    fn unreachable(&self, problem: impl ToString) -> DataError {
        self.error(
            problem.to_string(),
            format!(
                "run the command again to go on from there, name a mirror with --from URL, or fetch {} by other means and \
                 give the file with --from FILE",
                self.spec.url
            ),
        )
    }

    fn check_present(&self, target: &Path) -> Result<(), DataError> {
        for (name, bytes) in &self.spec.members {
            let path = target.join(name);
            let found = match fs::metadata(&path) {
                Ok(meta) => meta.len(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
                Err(error) => return Err(DataError::io("read", &path)(error)),
            };
            if found != *bytes {
                return Err(self.error(
                    format!(
                        "'{}' exists, but its {name} has {found} bytes instead of {bytes}",
                        target.display()
                    ),
                    "move that folder away, then run the command again",
                ));
            }
        }
        Ok(())
    }

    /// Fetches what `part` lacks.
    fn download(&self, part: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<File, DataError> {
        let total = self.spec.bytes;
        let io = |action| DataError::io(action, part);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(part)
            .map_err(io("open"))?;
        // A file system without locks is no reason to refuse; nor is one process there likely to meet another.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Err(self.error(
                format!("'{}' is being written by another process", part.display()),
                "wait until it is done",
            ));
        }
        let mut done = file.metadata().map_err(io("read"))?.len();
        if done > total {
            file.set_len(0).map_err(io("cut"))?;
            done = 0;
        }
        progress(done, total);
        if done < total
            && let Err(error) = self.fill(&mut file, part, done, progress)
        {
            // Of a server that sent nothing nothing stays. The first error is the one to report.
            if file.metadata().is_ok_and(|meta| meta.len() == 0) {
                let _ = fs::remove_file(part);
            }
            return Err(error);
        }
        Ok(file)
    }

    /// Fetches what comes behind the first `done` bytes.
    fn fill(
        &self,
        file: &mut File,
        part: &Path,
        mut done: u64,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), DataError> {
        let total = self.spec.bytes;
        let io = |action| DataError::io(action, part);
        let mut response = self.request(done)?;
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE && done > 0 {
            // The mirror's file is shorter than what is here already: begin again and let the checks say what it is.
            done = 0;
            response = self.request(0)?;
        }
        match response.status() {
            StatusCode::PARTIAL_CONTENT if range_start(&response) == Some(done) => {}
            StatusCode::OK => done = 0,
            status => return Err(self.unreachable(format!("the server answered {status}"))),
        }
        file.set_len(done).map_err(io("cut"))?;
        file.seek(SeekFrom::Start(done)).map_err(io("write"))?;

        let mut body = response.into_body().into_reader();
        let mut chunk = vec![0; CHUNK];
        loop {
            let n = match body.read(&mut chunk) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(
                        self.unreachable(format!("{done} of {total} bytes came, then: {error}"))
                    );
                }
            };
            if done + n as u64 > total {
                fs::remove_file(part).map_err(io("remove"))?;
                return Err(self.error(
                    format!("more than the expected {total} bytes came"),
                    "this is not the published archive: name another mirror with --from URL",
                ));
            }
            file.write_all(&chunk[..n]).map_err(io("write"))?;
            done += n as u64;
            progress(done, total);
        }
        if done < total {
            return Err(self.unreachable(format!("only {done} of {total} bytes came")));
        }
        Ok(())
    }

    fn request(&self, start: u64) -> Result<Response<ureq::Body>, DataError> {
        let proxy = match self.proxy {
            Some(proxy) => Some(ureq::Proxy::new(proxy).map_err(|error| {
                self.error(
                    format!("'{proxy}' is no proxy: {error}"),
                    "expected http://host:port",
                )
            })?),
            None => None,
        };
        let agent = ureq::Agent::config_builder()
            .proxy(proxy)
            .http_status_as_error(false)
            .timeout_connect(Some(PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            .timeout_per_read(Some(PATIENCE))
            .user_agent(concat!("archai/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        let mut request = agent.get(self.from);
        if start > 0 {
            request = request.header(header::RANGE, format!("bytes={start}-"));
        }
        request.call().map_err(|error| self.unreachable(error))
    }

    /// Checks length and hash.
    fn verify(&self, path: &Path, file: &mut File) -> Result<(), DataError> {
        let io = |action| DataError::io(action, path);
        let not_it = |found: String, expected: String| {
            self.error(
                format!("'{}' has {found}, expected {expected}", path.display()),
                format!(
                    "this is not the archive that {} publishes: get it again, or from elsewhere",
                    self.spec.url
                ),
            )
        };
        let length = file.metadata().map_err(io("read"))?.len();
        if length != self.spec.bytes {
            return Err(not_it(
                format!("{length} bytes"),
                self.spec.bytes.to_string(),
            ));
        }
        file.rewind().map_err(io("read"))?;
        let mut hasher = Sha256::new();
        let mut chunk = vec![0; CHUNK];
        loop {
            match file.read(&mut chunk).map_err(io("read"))? {
                0 => break,
                n => hasher.update(&chunk[..n]),
            }
        }
        let found: String = hasher
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        if !found.eq_ignore_ascii_case(&self.spec.sha256) {
            return Err(not_it(format!("SHA-256 {found}"), self.spec.sha256.clone()));
        }
        Ok(())
    }

    /// Unpacks the members into a temporary folder beside the target, then renames it.
    fn unpack(
        &self,
        path: &Path,
        file: &mut File,
        dataroot: &Path,
        target: &Path,
    ) -> Result<(), DataError> {
        file.rewind().map_err(DataError::io("read", path))?;
        let temporary = tempfile::Builder::new()
            .prefix(".unpack-")
            .tempdir_in(dataroot)
            .map_err(DataError::io("create a folder in", dataroot))?;
        let folder = temporary.path().join(&self.spec.folder);
        fs::create_dir(&folder).map_err(DataError::io("create", &folder))?;

        let damaged = |error: io::Error| self.bad_archive(format!("cannot be unpacked: {error}"));
        let mut missing: Vec<&(String, u64)> = self.spec.members.iter().collect();
        let mut archive = tar::Archive::new(GzDecoder::new(BufReader::new(file)));
        for entry in archive.entries().map_err(damaged)? {
            let mut entry = entry.map_err(damaged)?;
            let name = entry.path().map_err(damaged)?.into_owned();
            let kind = entry.header().entry_type();
            if !(kind.is_file() || kind.is_dir()) {
                return Err(self.bad_archive(format!(
                    "has '{}', which is neither file nor folder",
                    name.display()
                )));
            }
            if !name
                .components()
                .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
            {
                return Err(self.bad_archive(format!(
                    "has '{}', which leads out of its folder",
                    name.display()
                )));
            }
            let inside = name
                .strip_prefix(".")
                .unwrap_or(&name)
                .strip_prefix(&self.spec.folder)
                .ok();
            let wanted = missing
                .iter()
                .position(|(wanted, _)| inside == Some(Path::new(wanted)));
            let Some(wanted) = wanted.filter(|_| kind.is_file()) else {
                continue;
            };
            let (member, bytes) = missing.swap_remove(wanted);
            if entry.size() != *bytes {
                let problem = format!(
                    "has '{}' of {} bytes, expected {bytes}",
                    name.display(),
                    entry.size()
                );
                return Err(self.bad_archive(problem));
            }
            let to = folder.join(member);
            let mut out = File::create_new(&to).map_err(DataError::io("create", &to))?;
            io::copy(&mut entry, &mut out).map_err(DataError::io("write", &to))?;
            out.sync_all().map_err(DataError::io("write", &to))?;
        }
        if let Some((member, _)) = missing.first() {
            return Err(self.bad_archive(format!("lacks '{}/{member}'", self.spec.folder)));
        }
        fs::rename(&folder, target).map_err(DataError::io("rename the unpacked folder to", target))
    }

    fn bad_archive(&self, problem: String) -> DataError {
        self.error(
            format!("the archive {problem}"),
            "nothing was unpacked; get the archive from elsewhere with --from",
        )
    }
}

/// Where a partial answer begins: `Content-Range: bytes START-END/TOTAL`.
fn range_start(response: &Response<ureq::Body>) -> Option<u64> {
    let range = response
        .headers()
        .get(header::CONTENT_RANGE)?
        .to_str()
        .ok()?;
    range
        .strip_prefix("bytes ")?
        .split('-')
        .next()?
        .trim()
        .parse()
        .ok()
}
