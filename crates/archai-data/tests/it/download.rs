//! Downloads from a server of our own.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use archai_data::download::{Download, Holds, Published, Source, all, by_name, get};
use archai_data::{DataError, Split, formats, open};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::fixtures::{check_error, cifar_record, settings, tar_gz};

/// What the server does.
#[derive(Clone, Copy, PartialEq)]
enum Habit {
    Ranges,
    NoRanges,
    /// Honours ranges, but breaks off after this many bytes of an answer.
    BreakAfter(usize),
    NotFound,
    /// Refuses every range.
    Unsatisfiable,
}

/// A server of one file, and the ranges that it was asked for.
struct Server {
    url: String,
    asked: Arc<Mutex<Vec<Option<usize>>>>,
}

impl Server {
    fn start(file: Vec<u8>, habit: Habit) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/sample.tar.gz", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &file, habit, &log);
            }
        });
        Server { url, asked }
    }

    fn asked(&self) -> Vec<Option<usize>> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(mut stream: TcpStream, file: &[u8], habit: Habit, log: &Mutex<Vec<Option<usize>>>) {
    let mut start = None;
    for line in BufReader::new(stream.try_clone().unwrap()).lines() {
        let line = line.unwrap().to_lowercase();
        if let Some(range) = line.strip_prefix("range: bytes=") {
            start = range.trim_end_matches('-').parse::<usize>().ok();
        }
        if line.is_empty() {
            break;
        }
    }
    log.lock().unwrap().push(start);
    let total = file.len();
    let (head, body) = match (habit, start) {
        (Habit::NotFound, _) => ("404 Not Found".to_owned(), &b"no such file"[..]),
        (Habit::Unsatisfiable, Some(_)) => ("416 Range Not Satisfiable".to_owned(), &b""[..]),
        (Habit::NoRanges | Habit::Unsatisfiable, _) | (_, None) => ("200 OK".to_owned(), file),
        (_, Some(start)) => {
            let range = format!(
                "206 Partial Content\r\nContent-Range: bytes {start}-{}/{total}",
                total - 1
            );
            (range, &file[start..])
        }
    };
    let sent = if let Habit::BreakAfter(n) = habit {
        &body[..n.min(body.len())]
    } else {
        body
    };
    let head = format!(
        "HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    // The client may hang up first, which is its right.
    let _ = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(sent));
}

/// An archive and its description; noise keeps it longer than a few reads.
fn sample() -> (Vec<u8>, Download) {
    let record = cifar_record(&[1], [1, 2, 3]);
    let mut rng = archai_data::rng::Key::new(1).rng();
    let noise: Vec<u8> = (0..200_000).map(|_| rng.next_u32() as u8).collect();
    let archive = tar_gz(&[
        ("sample/test_batch.bin", &record),
        ("sample/noise", &noise),
        ("sample/data_batch_1.bin", &record),
    ]);
    let spec = spec(
        &archive,
        &[("data_batch_1.bin", 3073), ("test_batch.bin", 3073)],
    );
    (archive, spec)
}

fn spec(archive: &[u8], members: &[(&str, u64)]) -> Download {
    let holds = Holds::Members {
        folder: "sample".into(),
        members: members
            .iter()
            .map(|&(name, bytes)| (name.into(), bytes))
            .collect(),
    };
    Download {
        name: "sample".into(),
        format: "cifar10_binary".into(),
        folder: "sample".into(),
        files: vec![published(
            "http://127.0.0.1:9/never-asked.tar.gz",
            archive,
            holds,
        )],
    }
}

fn published(url: &str, file: &[u8], holds: Holds) -> Published {
    Published {
        url: url.into(),
        bytes: file.len() as u64,
        sha256: Sha256::digest(file)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
        holds,
    }
}

fn try_get(url: &str, spec: &Download, root: &Path) -> Result<(), DataError> {
    let mut last = 0;
    let folder = get(&Source::from(url), spec, root, &mut |done, total| {
        assert!(done <= total && total == spec.bytes());
        last = done;
    })?;
    assert_eq!(folder, root.join("sample"));
    assert_eq!(last, spec.bytes());
    Ok(())
}

/// Exactly these names lie in `root`.
#[track_caller]
fn check_left(root: &Path, names: &[&str]) {
    let mut found: Vec<String> = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    assert_eq!(found, names);
}

const PART: &str = "sample.tar.gz.part";

#[test]
fn a_whole_download_that_can_be_opened() {
    let (archive, mut spec) = sample();
    let server = Server::start(archive, Habit::Ranges);
    let root = TempDir::new().unwrap();
    spec.files[0].url = server.url.clone();
    let folder = get(
        &Source::official(),
        &spec,
        &root.path().join("data"),
        &mut |_, _| (),
    )
    .unwrap();
    check_left(&folder, &["data_batch_1.bin", "test_batch.bin"]);
    check_left(&root.path().join("data"), &["sample"]);
    let data = open(
        &formats::builtin(),
        &settings("cifar10_binary", &folder, 10, 3, [32, 32]),
        Split::Test,
    )
    .unwrap();
    assert_eq!((data.len(), data.label(0)), (1, 1));
    // It is there: nothing more is asked for.
    get(
        &Source::official(),
        &spec,
        &root.path().join("data"),
        &mut |_, _| (),
    )
    .unwrap();
    assert_eq!(server.asked(), [None]);
    fs::write(folder.join("test_batch.bin"), b"short").unwrap();
    let result = get(
        &Source::official(),
        &spec,
        &root.path().join("data"),
        &mut |_, _| (),
    );
    check_error(
        result,
        &[
            "test_batch.bin has 5 bytes instead of 3073",
            "move that folder away",
        ],
    );
}

#[test]
fn interrupted_downloads_go_on() {
    let (archive, spec) = sample();
    let server = Server::start(archive.clone(), Habit::BreakAfter(90_000));
    let root = TempDir::new().unwrap();
    for done in [90_000, 180_000] {
        check_error(
            try_get(&server.url, &spec, root.path()),
            &[
                "'sample'",
                &format!("{done} of"),
                "again to go on",
                "--from",
            ],
        );
        assert_eq!(fs::read(root.path().join(PART)).unwrap(), archive[..done]);
    }
    try_get(&server.url, &spec, root.path()).unwrap();
    check_left(root.path(), &["sample"]);
    assert_eq!(server.asked(), [None, Some(90_000), Some(180_000)]);
}

#[test]
fn what_servers_make_of_ranges() {
    let (archive, spec) = sample();
    let check = |habit, part: &[u8], asked: &[Option<usize>]| {
        let server = Server::start(archive.clone(), habit);
        let root = TempDir::new().unwrap();
        fs::write(root.path().join(PART), part).unwrap();
        try_get(&server.url, &spec, root.path()).unwrap();
        check_left(root.path(), &["sample"]);
        assert_eq!(server.asked(), asked);
    };
    check(Habit::Ranges, &archive[..100_000], &[Some(100_000)]);
    check(Habit::NoRanges, &archive[..100_000], &[Some(100_000)]);
    check(Habit::NoRanges, b"something else", &[Some(14)]);
    check(
        Habit::Unsatisfiable,
        &archive[..100_000],
        &[Some(100_000), None],
    );
    check(Habit::Ranges, &archive, &[]);
    check(
        Habit::Ranges,
        &[&archive[..], b"too long"].concat(),
        &[None],
    );
}

#[test]
fn what_is_not_the_archive_is_refused() {
    let (archive, spec) = sample();
    let root = TempDir::new().unwrap();
    let mut other = archive.clone();
    other[50_000] ^= 1;
    let server = Server::start(other.clone(), Habit::Ranges);
    check_error(
        try_get(&server.url, &spec, root.path()),
        &[
            "SHA-256",
            "expected",
            &spec.files[0].sha256,
            "from elsewhere",
        ],
    );
    check_left(root.path(), &[]);
    // A wrong beginning is found out and not gone on from for ever.
    fs::write(root.path().join(PART), &other[..60_000]).unwrap();
    let server = Server::start(archive.clone(), Habit::Ranges);
    check_error(try_get(&server.url, &spec, root.path()), &["SHA-256"]);
    try_get(&server.url, &spec, root.path()).unwrap();

    let root = TempDir::new().unwrap();
    let server = Server::start([&archive[..], b"more"].concat(), Habit::Ranges);
    check_error(
        try_get(&server.url, &spec, root.path()),
        &["more than the expected"],
    );
    check_left(root.path(), &[]);
    let server = Server::start(archive[..50_000].to_vec(), Habit::Ranges);
    check_error(try_get(&server.url, &spec, root.path()), &["only 50000 of"]);
    let server = Server::start(archive, Habit::NotFound);
    check_error(
        try_get(&server.url, &spec, root.path()),
        &["404", "--from FILE"],
    );
    let root = TempDir::new().unwrap();
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    check_error(
        try_get(&format!("http://{closed}/x"), &spec, root.path()),
        &["cannot get 'sample'", "--from URL"],
    );
    // A server that sent nothing leaves nothing.
    check_left(root.path(), &[]);
}

#[test]
fn two_at_once_do_not_mix() {
    let (archive, spec) = sample();
    let server = Server::start(archive, Habit::Ranges);
    let root = TempDir::new().unwrap();
    let part = fs::File::create(root.path().join(PART)).unwrap();
    part.lock().unwrap();
    check_error(
        try_get(&server.url, &spec, root.path()),
        &[PART, "another process", "wait"],
    );
    drop(part);
    try_get(&server.url, &spec, root.path()).unwrap();
}

#[test]
fn files() {
    let (archive, spec) = sample();
    let root = TempDir::new().unwrap();
    let file = root.path().join("mirror.tgz");
    check_error(
        try_get(file.to_str().unwrap(), &spec, root.path()),
        &["cannot open", "mirror.tgz"],
    );
    fs::write(&file, &archive).unwrap();
    for from in [
        file.to_str().unwrap().to_owned(),
        format!("file://{}", file.display()),
    ] {
        try_get(&from, &spec, root.path()).unwrap();
        check_left(root.path(), &["mirror.tgz", "sample"]);
        fs::remove_dir_all(root.path().join("sample")).unwrap();
    }
    fs::write(&file, &archive[..100]).unwrap();
    check_error(
        try_get(file.to_str().unwrap(), &spec, root.path()),
        &["mirror.tgz' has 100 bytes"],
    );
    assert!(file.exists(), "a user's own file is never removed");
}

#[test]
fn archives_that_attack() {
    let check = |archive: Vec<u8>, parts: &[&str]| {
        let root = TempDir::new().unwrap();
        let (inner, file) = (root.path().join("inner"), root.path().join("a.tar.gz"));
        fs::write(&file, &archive).unwrap();
        check_error(
            try_get(file.to_str().unwrap(), &spec(&archive, &[("a", 1)]), &inner),
            parts,
        );
        check_left(&inner, &[]);
        check_left(root.path(), &["a.tar.gz", "inner"]);
    };
    check(
        tar_gz(&[("sample/a", b"1"), ("../evil", b"2")]),
        &["'../evil'", "leads out", "nothing was unpacked"],
    );
    check(
        tar_gz(&[("sample/a", b"1"), ("sample/../../evil", b"2")]),
        &["leads out"],
    );
    check(tar_gz(&[("/tmp/evil", b"2")]), &["leads out"]);
    check(
        tar_gz(&[("sample/a", b"12")]),
        &["'sample/a' of 2 bytes, expected 1"],
    );
    check(tar_gz(&[("sample/b", b"1")]), &["lacks 'sample/a'"]);
    check(b"no archive".to_vec(), &["cannot be unpacked"]);

    use tar::EntryType;
    for kind in [
        EntryType::Symlink,
        EntryType::Link,
        EntryType::Fifo,
        EntryType::Block,
    ] {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        builder
            .append_link(&mut header, "sample/a", "/etc/passwd")
            .unwrap();
        check(
            crate::fixtures::gzip(&builder.into_inner().unwrap()),
            &["'sample/a'", "neither file nor folder"],
        );
    }
}

#[test]
fn what_is_known() {
    let cifar10 = by_name("cifar10").unwrap();
    assert_eq!(cifar10.bytes(), 170_052_171);
    assert_eq!(
        cifar10.files[0].url,
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
    );
    assert!(by_name("cifar11").is_none());
    for known in all() {
        // What comes without encryption is told from something else by its hash.
        let is_plain = ["svhn", "fashion_mnist"].contains(&known.name.as_str());
        for file in &known.files {
            assert!(is_plain || file.url.starts_with("https://"), "{}", file.url);
            assert!(
                file.sha256.len() == 64 && file.sha256.bytes().all(|byte| byte.is_ascii_hexdigit())
            );
        }
        // The section that goes with it looks for the files where they are put.
        let section = archai_spec::settings::Dataset::shipped(&known.name).unwrap();
        assert_eq!(section.format, known.format);
        assert!(section.path.ends_with(&known.folder), "{}", section.path);
    }
    let source = Source::official().with_proxy(Some("not a proxy".into()));
    check_error(
        get(
            &source,
            &cifar10,
            TempDir::new().unwrap().path(),
            &mut |_, _| (),
        ),
        &["'not a proxy' is no proxy"],
    );
}

/// An archive without a folder of its own and two files beside it, as the flowers of Oxford are published.
#[test]
fn several_files_become_one_folder() {
    let archive = tar_gz(&[
        ("jpg/image_1.jpg", b"one"),
        ("jpg/more/image_2.jpg", b"two"),
        ("readme", b"?"),
    ]);
    let (labels, sets) = (b"labels".to_vec(), b"sets".to_vec());
    let servers = [&archive, &labels, &sets].map(|file| Server::start(file.clone(), Habit::Ranges));
    let base = |server: &Server| server.url.trim_end_matches("sample.tar.gz").to_owned();
    let spec = Download {
        name: "sample".into(),
        format: "flowers102".into(),
        folder: "sample".into(),
        files: vec![
            published(
                &(base(&servers[0]) + "a.tgz"),
                &archive,
                Holds::Folder("jpg".into()),
            ),
            published(&(base(&servers[1]) + "labels.mat"), &labels, Holds::Itself),
            published(&(base(&servers[2]) + "sets.mat"), &sets, Holds::Itself),
        ],
    };
    let check = |folder: &Path| {
        let read = |name: &str| fs::read(folder.join(name)).unwrap();
        assert_eq!(read("jpg/image_1.jpg"), b"one");
        assert_eq!(read("jpg/more/image_2.jpg"), b"two");
        assert_eq!(
            (read("labels.mat"), read("sets.mat")),
            (labels.clone(), sets.clone())
        );
        assert_eq!(fs::read_dir(folder).unwrap().count(), 3);
    };
    // From the authors, of whom the last cannot be reached at first: what arrived stays, and is not asked for again.
    let root = TempDir::new().unwrap();
    let mut broken = spec.clone();
    broken.files[2].url = "http://127.0.0.1:9/sets.mat".into();
    check_error(
        get(&Source::official(), &broken, root.path(), &mut |_, _| ()),
        &["127.0.0.1:9"],
    );
    assert!(!root.path().join("sample").exists());
    let (mut last, total) = (0, spec.bytes());
    let folder = get(&Source::official(), &spec, root.path(), &mut |done, of| {
        assert!(done >= last && done <= of && of == total);
        last = done;
    });
    check(&folder.unwrap());
    assert_eq!(last, total);
    assert_eq!(servers[0].asked().len(), 1);
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    // It is there, so nothing happens; and what is not as it should be is said.
    get(&Source::official(), &broken, root.path(), &mut |_, _| ()).unwrap();
    fs::write(root.path().join("sample/sets.mat"), "other").unwrap();
    check_error(
        get(&Source::official(), &spec, root.path(), &mut |_, _| ()),
        &["sets.mat has 5 bytes instead of 4"],
    );

    // An archive can be the whole data set.
    let root = TempDir::new().unwrap();
    let mut whole = spec.clone();
    whole.files.truncate(1);
    whole.files[0].holds = Holds::Whole("jpg".into());
    let get_whole = || get(&Source::official(), &whole, root.path(), &mut |_, _| ());
    let folder = get_whole().unwrap();
    assert_eq!(fs::read(folder.join("image_1.jpg")).unwrap(), b"one");
    assert_eq!(fs::read(folder.join("more/image_2.jpg")).unwrap(), b"two");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
    get_whole().unwrap();
    assert_eq!(servers[0].asked().len(), 2);

    // From a folder, whose files go by their names.
    let (root, local) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    for (name, file) in [
        ("a.tgz", &archive),
        ("labels.mat", &labels),
        ("sets.mat", &sets),
    ] {
        fs::write(local.path().join(name), file).unwrap();
    }
    let source = Source::from(local.path().to_str().unwrap());
    check(&get(&source, &spec, root.path(), &mut |_, _| ()).unwrap());
    // One that was changed is refused, and nothing is unpacked.
    let root = TempDir::new().unwrap();
    fs::write(local.path().join("sets.mat"), "stes").unwrap();
    check_error(
        get(&source, &spec, root.path(), &mut |_, _| ()),
        &["sets.mat", "SHA-256"],
    );
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    for (members, part) in [
        (&[("other/x", &b"x"[..])][..], "lacks 'jpg/'"),
        (&[("jpg/../../x", b"x")], "leads out"),
    ] {
        let archive = tar_gz(members);
        fs::write(local.path().join("a.tgz"), &archive).unwrap();
        let mut spec = spec.clone();
        spec.files.truncate(1);
        spec.files[0] = published(
            "http://127.0.0.1:9/a.tgz",
            &archive,
            Holds::Folder("jpg".into()),
        );
        let from = Source::from(local.path().join("a.tgz").to_str().unwrap());
        check_error(get(&from, &spec, root.path(), &mut |_, _| ()), &[part]);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
