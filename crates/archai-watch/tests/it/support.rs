//! One small run, searched and evaluated by the lab, for all tests; a server of it; a client that says what it is told to say.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use archai_lab::runs::Worker;
use archai_lab::{Host, Lab, NoObserver, ProcessState, Processes, Request};
use archai_watch::{End, Limits, Settings, Stopper, Watch};
use tempfile::TempDir;

/// Networks of a few channels on a few images.
const TINY: [&str; 17] = [
    "nas.search.trainer.epochs=3",
    "nas.search.loader.dataset.max_batches=4",
    "nas.search.loader.train_batch=4",
    "nas.search.loader.test_batch=4",
    "nas.search.model_desc.n_cells=3",
    "nas.search.model_desc.n_reductions=1",
    "nas.search.model_desc.cell.n_nodes=4",
    "nas.search.model_desc.model_stems.init_node_ch=2",
    "nas.eval.trainer.epochs=2",
    "nas.eval.loader.dataset.max_batches=2",
    "nas.eval.loader.train_batch=4",
    "nas.eval.loader.test_batch=4",
    "nas.eval.model_desc.n_cells=3",
    "nas.eval.model_desc.n_reductions=1",
    "nas.eval.model_desc.aux_weight=0",
    "nas.eval.model_desc.model_stems.init_node_ch=2",
    "common.yaml_log=false",
];

pub const TOKEN: &str = "a-token-for-tests-alone";
pub const NAME: &str = "darts_fashion_mnist_mini_throwaway";

fn logdir() -> &'static Path {
    static DIR: OnceLock<TempDir> = OnceLock::new();
    let dir = DIR.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let request = Request {
            logdir: Some(dir.path().display().to_string()),
            threads: Some(1),
            overrides: TINY.map(String::from).to_vec(),
            ..Request::new("darts")
        };
        Lab::builtin().run(&request, &NoObserver).unwrap();
        dir
    });
    dir.path()
}

pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy(&path, &to),
            false => drop(std::fs::copy(&path, to).unwrap()),
        }
    }
}

/// A copy of the run, which a test may change.
pub struct Runs(TempDir);

impl Runs {
    pub fn new() -> Self {
        let runs = Runs(tempfile::tempdir().unwrap());
        copy(logdir(), &runs.logdir());
        runs
    }

    /// A folder around the log folder, for what must not be seen.
    pub fn around(&self) -> &Path {
        self.0.path()
    }

    pub fn logdir(&self) -> PathBuf {
        self.0.path().join("logdir")
    }

    pub fn search(&self) -> PathBuf {
        self.logdir().join(format!("{NAME}_search"))
    }

    pub fn eval(&self) -> PathBuf {
        self.logdir().join(format!("{NAME}_eval"))
    }

    /// Makes the search one in which a process works, as far as its files tell: that of this test, which [`Works`] knows.
    pub fn unfinished(&self) {
        std::fs::remove_dir_all(self.eval()).unwrap();
        std::fs::remove_file(self.search().join("result.json")).unwrap();
        std::fs::write(
            self.search().join(".lock"),
            r#"{"pid":17,"host":"here","since":5}"#,
        )
        .unwrap();
    }
}

/// Process 17 works, and has everything open; others have ended.
pub struct Works;

impl Processes for Works {
    fn look(&self, process: u32) -> ProcessState {
        match process {
            17 => ProcessState::Works { since: 5 },
            _ => ProcessState::Ended,
        }
    }

    fn has_open(&self, _process: u32, _file: &Path) -> Option<bool> {
        Some(true)
    }
}

/// Notes who was asked to stop.
#[derive(Default)]
pub struct Asked(pub Mutex<Vec<u32>>);

impl Stopper for Asked {
    fn stop(&self, worker: &Worker) -> Result<(), String> {
        self.0.lock().unwrap().push(worker.pid);
        Ok(())
    }
}

/// A server in threads of this process.
pub struct Served {
    pub at: SocketAddr,
    pub asked: Arc<Asked>,
    /// What a browser that was let in says.
    pub cookie: String,
    end: End,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    pub fn new(root: &Path) -> Self {
        let limits = Limits {
            look: Duration::from_millis(50),
            ..Limits::default()
        };
        Served::with(root, limits)
    }

    pub fn with(root: &Path, limits: Limits) -> Self {
        let asked = Arc::new(Asked::default());
        let settings = Settings {
            names: vec!["here".into()],
            limits,
            ..Settings::new(root, TOKEN, asked.clone())
        };
        let host = Host {
            name: "here".into(),
            processes: Arc::new(Works),
            ..Host::default()
        };
        let watch = Watch::new(Lab::builtin().on(host), settings).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let end = End::new();
        let own = end.clone();
        let thread = std::thread::spawn(move || watch.serve(&listener, &own).unwrap());
        let mut served = Served {
            at,
            asked,
            cookie: String::new(),
            end,
            thread: Some(thread),
        };
        let reply = served.say(&format!(
            "GET /?token={TOKEN} HTTP/1.1\r\nHost: {at}\r\n\r\n"
        ));
        assert_eq!((reply.status, reply.field("location")), (303, Some("/")));
        let cookie = reply.field("set-cookie").unwrap();
        assert!(cookie.ends_with("; HttpOnly; SameSite=Strict"), "{cookie}");
        served.cookie = cookie.split(';').next().unwrap().to_string();
        served
    }

    /// What the server says to this, as it is.
    pub fn say(&self, text: &str) -> Reply {
        let mut stream = TcpStream::connect(self.at).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        // Whoever is refused early may be cut off while it still speaks.
        let _ = stream.write_all(text.as_bytes());
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        Reply::parse(&bytes)
    }

    /// What a browser that was let in gets.
    pub fn get(&self, target: &str) -> Reply {
        self.ask("GET", target, "")
    }

    pub fn ask(&self, method: &str, target: &str, fields: &str) -> Reply {
        let (at, cookie) = (self.at, &self.cookie);
        self.say(&format!(
            "{method} {target} HTTP/1.1\r\nHost: {at}\r\nCookie: {cookie}\r\n{fields}\r\n"
        ))
    }

    /// The address of the only run, without its phase.
    pub fn run(&self) -> String {
        let list = self.get("/").body;
        let (_, from) = list.split_once("data-id=\"").expect("a run is listed");
        format!("/runs/{}", from.split('"').next().unwrap())
    }

    /// A stream of news.
    pub fn events(&self, target: &str) -> Events {
        let mut stream = TcpStream::connect(self.at).unwrap();
        let (at, cookie) = (self.at, &self.cookie);
        write!(
            stream,
            "GET {target} HTTP/1.1\r\nHost: {at}\r\nCookie: {cookie}\r\n\r\n"
        )
        .unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        Events {
            stream,
            read: Vec::new(),
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.end.ask();
        if let Some(thread) = self.thread.take() {
            // The test that failed says more than the thread.
            let _ = thread.join();
        }
    }
}

/// A stream of news.
pub struct Events {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Events {
    /// The next news.
    pub fn next(&mut self) -> String {
        loop {
            let text = String::from_utf8_lossy(&self.read).into_owned();
            if let Some(at) = text.find("data: ")
                && let Some(end) = text[at..].find("\n\n")
            {
                self.read = text.as_bytes()[at + end..].to_vec();
                return text[at + 6..at + end].to_string();
            }
            let mut part = [0; 1024];
            let n = self.stream.read(&mut part).expect("news");
            assert!(n > 0, "the stream has ended: {text}");
            self.read.extend_from_slice(&part[..n]);
        }
    }
}

/// What a server said.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        Reply {
            status: status.unwrap_or(0),
            head: head.to_string(),
            body: body.to_string(),
        }
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields
            .into_iter()
            .find(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    #[track_caller]
    pub fn has(&self, texts: &[&str]) {
        for text in texts {
            assert!(
                self.body.contains(text),
                "{text:?} is missing in:\n{:.8000}",
                self.body
            );
        }
    }
}
