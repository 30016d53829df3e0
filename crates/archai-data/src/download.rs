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

/// A published data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Download {
    /// The data set's name.
    pub name: String,
    /// The format of its files, as `dataset.format` has it.
    pub format: String,
    /// The folder that it becomes below the folder of all data sets.
    pub folder: String,
    /// The files that its authors publish. If there are several, each goes by the name that its address ends with.
    pub files: Vec<Published>,
}

/// A published file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Where its authors publish it.
    pub url: String,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
    /// What of it the data set needs.
    pub holds: Holds,
}

/// What a published file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holds {
    /// An archive (`.tar.gz`) of a folder, of whose files these are needed, with their lengths. Others are not unpacked.
    Members {
        /// The folder inside the archive.
        folder: String,
        /// Files inside that folder.
        members: Vec<(String, u64)>,
    },
    /// An archive of a folder all of whose files are needed, and which becomes a folder of the data set.
    Folder(String),
    /// An archive of a folder all of whose files are needed, and which is the data set.
    Whole(String),
    /// A file that the data set needs as it is.
    Itself,
}

impl Download {
    /// The length of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

impl Published {
    /// The last part of its address.
    fn name(&self) -> &str {
        self.url.rsplit('/').next().unwrap_or_default()
    }
}

/// The data sets that [`get`] knows. Lengths and hashes of flowers, house numbers, dishes, digits and clothes are those that
/// TensorFlow Datasets 4.9 checks; those of aircraft are what public programs check that fetch them.
pub fn all() -> Vec<Download> {
    let archive =
        |name: &str, format: &str, folder: &str, bytes, sha256: &str, list: &[(&str, u64)]| {
            let archive = format!(
                "https://www.cs.toronto.edu/~kriz/{}.tar.gz",
                name.replace("cifar", "cifar-") + "-binary"
            );
            let members = list.iter().map(|&(name, bytes)| (name.to_owned(), bytes));
            Download {
                name: name.into(),
                format: format.into(),
                folder: folder.into(),
                files: vec![Published {
                    url: archive,
                    bytes,
                    sha256: sha256.into(),
                    holds: Holds::Members {
                        folder: folder.into(),
                        members: members.collect(),
                    },
                }],
            }
        };
    let file = |url: &str, bytes, sha256: &str, holds| Published {
        url: url.into(),
        bytes,
        sha256: sha256.into(),
        holds,
    };
    let whole = |name: &str, format: &str, folder: &str, url: &str, bytes, sha256: &str| Download {
        name: name.into(),
        format: format.into(),
        folder: folder.into(),
        files: vec![file(url, bytes, sha256, Holds::Whole(folder.into()))],
    };
    let digits = |name: &str, site: &str, list: &[(&str, u64, &str)]| Download {
        name: name.into(),
        format: "idx".into(),
        folder: name.into(),
        files: (list.iter())
            .map(|(part, bytes, sha256)| {
                let url = format!("{site}/{part}-ubyte.gz");
                file(&url, *bytes, sha256, Holds::Itself)
            })
            .collect(),
    };
    vec![
        whole(
            "aircraft",
            "fgvc_aircraft",
            "fgvc-aircraft-2013b",
            "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/archives/fgvc-aircraft-2013b.tar.gz",
            2_753_340_328,
            "e4e323d410e29f0370c81eabdcbb0e2b813acea1de22891b70b58ff41bfc9834",
        ),
        archive(
            "cifar10",
            "cifar10_binary",
            "cifar-10-batches-bin",
            170_052_171,
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            &[
                ("data_batch_1.bin", 30_730_000),
                ("data_batch_2.bin", 30_730_000),
                ("data_batch_3.bin", 30_730_000),
                ("data_batch_4.bin", 30_730_000),
                ("data_batch_5.bin", 30_730_000),
                ("test_batch.bin", 30_730_000),
            ],
        ),
        archive(
            "cifar100",
            "cifar100_binary",
            "cifar-100-binary",
            168_513_733,
            "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
            &[("train.bin", 153_700_000), ("test.bin", 30_740_000)],
        ),
        // Its files are published without encryption; the hashes say what arrived.
        digits(
            "fashion_mnist",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
            &[
                (
                    "train-images-idx3",
                    26_421_880,
                    "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                ),
                (
                    "train-labels-idx1",
                    29_515,
                    "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                ),
                (
                    "t10k-images-idx3",
                    4_422_102,
                    "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                ),
                (
                    "t10k-labels-idx1",
                    5_148,
                    "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                ),
            ],
        ),
        Download {
            name: "flower102".into(),
            format: "flowers102".into(),
            folder: "flowers-102".into(),
            files: vec![
                file(
                    "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/102flowers.tgz",
                    344_862_509,
                    "2d01ecc807db462958cfe3d92f57a8c252b4abd240eb955770201e45f783b246",
                    Holds::Folder("jpg".into()),
                ),
                file(
                    "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/imagelabels.mat",
                    502,
                    "4903e94206bac23bf772aadf06451916df56b58fc483a62db32a97b82656651d",
                    Holds::Itself,
                ),
                file(
                    "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/setid.mat",
                    14_989,
                    "46b8678f91fd95d3c8f4feab80d271a6c834a1dd896fe29fd3e6ad9ce5c8dccd",
                    Holds::Itself,
                ),
            ],
        },
        // The address that its authors give, encrypted.
        whole(
            "food101",
            "food101",
            "food-101",
            "https://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",
            4_996_278_331,
            "d97d15e438b7f4498f96086a4f7e2fa42a32f2712e87d3295441b2b6314053a4",
        ),
        // A mirror: the site of its authors answers to nobody any more.
        digits(
            "mnist",
            "https://storage.googleapis.com/cvdf-datasets/mnist",
            &[
                (
                    "train-images-idx3",
                    9_912_422,
                    "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                ),
                (
                    "train-labels-idx1",
                    28_881,
                    "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                ),
                (
                    "t10k-images-idx3",
                    1_648_877,
                    "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                ),
                (
                    "t10k-labels-idx1",
                    4_542,
                    "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                ),
            ],
        ),
        Download {
            name: "svhn".into(),
            format: "mat".into(),
            folder: "svhn".into(),
            // Published without encryption; the hashes say what arrived.
            files: vec![
                file(
                    "http://ufldl.stanford.edu/housenumbers/train_32x32.mat",
                    182_040_794,
                    "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
                    Holds::Itself,
                ),
                file(
                    "http://ufldl.stanford.edu/housenumbers/test_32x32.mat",
                    64_275_384,
                    "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
                    Holds::Itself,
                ),
                file(
                    "http://ufldl.stanford.edu/housenumbers/extra_32x32.mat",
                    1_329_278_602,
                    "a133a4beb38a00fcdda90c9489e0c04f900b660ce8a316a5e854838379a71eb3",
                    Holds::Itself,
                ),
            ],
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

    /// A mirror (`http://…`, `https://…`) or a file (a path, or `file://…`); of a data set of several files, the folder in which
    /// they lie, here or there.
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
    let target = dataroot.join(&spec.folder);
    let fetches: Vec<Fetch<'_>> = (spec.files.iter())
        .map(|file| Fetch {
            name: &spec.name,
            file,
            from: match &source.from {
                None => file.url.clone(),
                Some(from) if spec.files.len() == 1 => from.clone(),
                Some(from) => format!("{}/{}", from.trim_end_matches('/'), file.name()),
            },
            proxy: source.proxy.as_deref(),
        })
        .collect();
    if target.exists() {
        for fetch in &fetches {
            fetch.check_present(&target)?;
        }
        return Ok(target);
    }
    fs::create_dir_all(dataroot).map_err(DataError::io("create", dataroot))?;
    let (mut before, total, mut arrived) = (0, spec.bytes(), Vec::new());
    for fetch in &fetches {
        let mut progress = |done, _| progress(before + done, total);
        if fetch.from.starts_with("http://") || fetch.from.starts_with("https://") {
            let part = dataroot.join(match spec.files.len() {
                1 => format!("{}.tar.gz.part", spec.folder),
                _ => format!("{}-{}.part", spec.folder, fetch.file.name()),
            });
            let mut file = fetch.download(&part, &mut progress)?;
            if let Err(error) = fetch.verify(&part, &mut file) {
                // Going on from wrong bytes would never end well.
                drop(file);
                fs::remove_file(&part).map_err(DataError::io("remove", &part))?;
                return Err(error);
            }
            arrived.push((fetch, file, part.clone(), Some(part)));
        } else {
            let path = PathBuf::from(fetch.from.strip_prefix("file://").unwrap_or(&fetch.from));
            let mut file = File::open(&path).map_err(DataError::io("open", &path))?;
            fetch.verify(&path, &mut file)?;
            progress(fetch.file.bytes, fetch.file.bytes);
            arrived.push((fetch, file, path, None));
        }
        before += fetch.file.bytes;
    }

    // In a temporary folder beside the target, which is renamed when all is there.
    let temporary = tempfile::Builder::new()
        .prefix(".unpack-")
        .tempdir_in(dataroot)
        .map_err(DataError::io("create a folder in", dataroot))?;
    let folder = temporary.path().join(&spec.folder);
    fs::create_dir(&folder).map_err(DataError::io("create", &folder))?;
    for (fetch, file, path, _) in &mut arrived {
        fetch.unpack(path, file, &folder)?;
    }
    fs::rename(&folder, &target)
        .map_err(DataError::io("rename the unpacked folder to", &target))?;
    for part in arrived.into_iter().filter_map(|(.., part)| part) {
        fs::remove_file(&part).map_err(DataError::io("remove", &part))?;
    }
    Ok(target)
}

/// Longest that a connection may be silent.
const PATIENCE: Duration = Duration::from_secs(60);

const CHUNK: usize = 1 << 16;

/// Most that an archive of which all is needed may become: several times the largest.
const MAX_UNPACKED: u64 = 64 << 30;

/// One file of a call of [`get`].
struct Fetch<'a> {
    /// The data set.
    name: &'a str,
    file: &'a Published,
    from: String,
    proxy: Option<&'a str>,
}

impl Fetch<'_> {
    fn error(&self, problem: impl Into<String>, mend: impl Into<String>) -> DataError {
        DataError::Download {
            name: self.name.to_owned(),
            from: self.from.clone(),
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
                self.file.url
            ),
        )
    }

    fn check_present(&self, target: &Path) -> Result<(), DataError> {
        let needed: Vec<(&str, u64)> = match &self.file.holds {
            Holds::Members { members, .. } => {
                let all = members.iter();
                all.map(|(name, bytes)| (name.as_str(), *bytes)).collect()
            }
            Holds::Itself => vec![(self.file.name(), self.file.bytes)],
            // It was renamed when all of it was there.
            Holds::Whole(_) if target.is_dir() => Vec::new(),
            Holds::Folder(folder) if target.join(folder).is_dir() => Vec::new(),
            Holds::Whole(folder) | Holds::Folder(folder) => vec![(folder.as_str(), 1)],
        };
        for (name, bytes) in needed {
            let path = target.join(name);
            let found = match fs::metadata(&path) {
                Ok(meta) => meta.len(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
                Err(error) => return Err(DataError::io("read", &path)(error)),
            };
            if found != bytes {
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
        let total = self.file.bytes;
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
        let total = self.file.bytes;
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
        let mut request = agent.get(&self.from);
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
                    self.file.url
                ),
            )
        };
        let length = file.metadata().map_err(io("read"))?.len();
        if length != self.file.bytes {
            return Err(not_it(
                format!("{length} bytes"),
                self.file.bytes.to_string(),
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
        if !found.eq_ignore_ascii_case(&self.file.sha256) {
            return Err(not_it(format!("SHA-256 {found}"), self.file.sha256.clone()));
        }
        Ok(())
    }

    /// Puts what is needed of the file into the data set's folder.
    fn unpack(&self, path: &Path, file: &mut File, folder: &Path) -> Result<(), DataError> {
        file.rewind().map_err(DataError::io("read", path))?;
        match &self.file.holds {
            Holds::Itself => {
                let to = folder.join(self.file.name());
                write_file(&mut *file, &to)
            }
            Holds::Members {
                folder: inside,
                members,
            } => self.unpack_members(file, inside, members, folder),
            Holds::Folder(inside) => {
                let to = folder.join(inside);
                fs::create_dir(&to).map_err(DataError::io("create", &to))?;
                self.unpack_folder(file, inside, &to)
            }
            Holds::Whole(inside) => self.unpack_folder(file, inside, folder),
        }
    }

    fn unpack_members(
        &self,
        file: &mut File,
        inside: &str,
        members: &[(String, u64)],
        to: &Path,
    ) -> Result<(), DataError> {
        let mut missing: Vec<&(String, u64)> = members.iter().collect();
        self.each_member(file, inside, &mut |entry, name, below| {
            let wanted = missing
                .iter()
                .position(|(wanted, _)| below == Path::new(wanted));
            let Some(wanted) = wanted else {
                return Ok(());
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
            write_file(entry, &to.join(member))
        })?;
        match missing.first() {
            Some((member, _)) => Err(self.bad_archive(format!("lacks '{inside}/{member}'"))),
            None => Ok(()),
        }
    }

    fn unpack_folder(&self, file: &mut File, inside: &str, to: &Path) -> Result<(), DataError> {
        let mut bytes = 0_u64;
        self.each_member(file, inside, &mut |entry, name, below| {
            bytes = bytes.saturating_add(entry.size());
            if bytes > MAX_UNPACKED {
                let problem = format!(
                    "becomes more than {} GiB with '{}'",
                    MAX_UNPACKED >> 30,
                    name.display()
                );
                return Err(self.bad_archive(problem));
            }
            let to = to.join(below);
            if let Some(above) = to.parent() {
                fs::create_dir_all(above).map_err(DataError::io("create", above))?;
            }
            write_file(entry, &to)
        })?;
        match bytes {
            0 => Err(self.bad_archive(format!("lacks '{inside}/'"))),
            _ => Ok(()),
        }
    }

    /// Hands each file below the folder `inside` of the archive to `each`: with its name, and with its place in the folder.
    fn each_member(
        &self,
        file: &mut File,
        inside: &str,
        each: &mut Member<'_>,
    ) -> Result<(), DataError> {
        let damaged = |error: io::Error| self.bad_archive(format!("cannot be unpacked: {error}"));
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
            let below = name.strip_prefix(".").unwrap_or(&name).strip_prefix(inside);
            if let Ok(below) = below
                && kind.is_file()
            {
                each(&mut entry, &name, below)?;
            }
        }
        Ok(())
    }

    fn bad_archive(&self, problem: String) -> DataError {
        self.error(
            format!("the archive {problem}"),
            "nothing was unpacked; get the archive from elsewhere with --from",
        )
    }
}

/// Takes a file of an archive, its name, and its place in the folder that is unpacked.
type Member<'a> =
    dyn FnMut(&mut tar::Entry<'_, Unpacked<'_>>, &Path, &Path) -> Result<(), DataError> + 'a;

/// An archive without its compression.
type Unpacked<'a> = GzDecoder<BufReader<&'a mut File>>;

/// Writes a new file and waits until it is on the disk.
fn write_file(from: &mut dyn Read, to: &Path) -> Result<(), DataError> {
    let mut out = File::create_new(to).map_err(DataError::io("create", to))?;
    io::copy(from, &mut out).map_err(DataError::io("write", to))?;
    out.sync_all().map_err(DataError::io("write", to))
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
