//! `archai watch` and the flag `--watch`: runs in a browser while they go on.

use std::io::{ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use archai_engine::files::FileError;
use archai_engine::run::StopFlag;
use archai_lab::Lab;
use archai_lab::runs::Worker;
use archai_watch::{End, Settings, Stopper, Watch, WatchError};

use super::args::WatchArgs;
use super::env::Env;
use super::error::CliError;
use super::runs;
use super::terminal::Terminal;

/// The first port that is tried.
const PORT: u16 = 4747;
/// How many ports are tried, one after another.
const PORTS: u16 = 20;
/// Bytes of chance in a token.
const CHANCE: usize = 24;

/// Serves the pages of runs until an interrupt.
///
/// # Errors
/// A folder that is not there, an address at which nothing can be served, a token that is none.
pub fn run(args: &WatchArgs, lab: &Lab, env: &Env) -> Result<(), CliError> {
    let given = args.dir.as_deref().or(args.logdir_option.as_deref());
    let folder = runs::folder(given, lab)?;
    let token = match &args.token_file {
        Some(path) => token_in(path)?,
        None => new_token()?,
    };
    let settings = Settings {
        names: vec![lab.host().name.clone()],
        ..Settings::new(&folder, &token, Arc::new(Interrupt { own: None }))
    };
    let watch = Watch::new(lab.clone(), settings).map_err(|e| match e {
        WatchError::Token => match &args.token_file {
            Some(path) => CliError::usage(format!("`{}`: {e}", path.display())),
            None => CliError::failure(e.to_string()),
        },
        e => CliError::input(e),
    })?;
    let listener = listen(args.listen.as_deref())?;
    let at = listener.local_addr().map_err(CliError::caused)?;
    let end = End::new();
    let asked = end.clone();
    ctrlc::set_handler(move || asked.ask())
        .map_err(|e| CliError::failure(format!("cannot watch for interrupts: {e}")))?;
    let count = match watch.count() {
        0 => "no run yet".to_string(),
        1 => "1 run".to_string(),
        n => format!("{n} runs"),
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", watch.address(at, "/"))?;
    writeln!(out, "  {count} below {}; Ctrl-C ends it", folder.display())?;
    if !at.ip().is_loopback() {
        writeln!(
            out,
            "  other machines reach it, without encryption: whoever reads along learns the token (safer: ssh -L {port}:127.0.0.1:{port})",
            port = at.port()
        )?;
    }
    out.flush()?;
    drop(out);
    if args.open
        && let Err(why) = open(&watch.address_once(at, "/"))
    {
        Terminal::new(env, super::terminal::Loudness::Usual, true).say(&why);
    }
    watch.serve(&listener, &end).map_err(CliError::caused)
}

/// A listener where it was asked for, or at the first free port from [`PORT`] on.
fn listen(given: Option<&str>) -> Result<TcpListener, CliError> {
    let (ip, port) = match given {
        Some(given) => place(given)?,
        None => (IpAddr::V4(Ipv4Addr::LOCALHOST), None),
    };
    let ports = match port {
        Some(port) => port..=port,
        None => PORT..=PORT + (PORTS - 1),
    };
    let mut last = None;
    for port in ports {
        let at = SocketAddr::new(ip, port);
        match TcpListener::bind(at) {
            Ok(listener) => return Ok(listener),
            Err(e) if e.kind() == ErrorKind::AddrInUse => last = Some(at),
            Err(e) => {
                return Err(CliError::usage(format!(
                    "cannot listen at {at}: {e}; give another address with --listen"
                )));
            }
        }
    }
    let at = last.unwrap_or(SocketAddr::new(ip, PORT));
    Err(CliError::usage(match port {
        Some(_) => format!(
            "another program listens at {at}; give another port with --listen, or leave it out"
        ),
        None => format!(
            "other programs listen at all ports of {ip} from {PORT} to {}; give one with --listen",
            at.port()
        ),
    }))
}

/// An address, a port, or both.
fn place(given: &str) -> Result<(IpAddr, Option<u16>), CliError> {
    if let Ok(at) = given.parse::<SocketAddr>() {
        return Ok((at.ip(), Some(at.port())));
    }
    let bare = given.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok((ip, None));
    }
    let port = given
        .trim_start_matches("localhost")
        .trim_start_matches(':');
    if let Ok(port) = port.parse::<u16>() {
        return Ok((IpAddr::V4(Ipv4Addr::LOCALHOST), Some(port)));
    }
    Err(CliError::usage(format!(
        "--listen {given}: this is no address; give a number such as 127.0.0.1 or 0.0.0.0, a port, or both: 0.0.0.0:{PORT}"
    )))
}

/// A secret that nobody can guess.
fn new_token() -> Result<String, CliError> {
    let mut chance = [0; CHANCE];
    getrandom::fill(&mut chance)
        .map_err(|e| CliError::failure(format!("the system gives no random numbers: {e}")))?;
    Ok(chance.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The token in a file.
fn token_in(path: &Path) -> Result<String, CliError> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| CliError::at_named(FileError::new("read", path, e)))?;
    Ok(text.lines().next().unwrap_or_default().trim().to_string())
}

/// Opens the browser. Its command line can be seen by others, therefore it gets a secret that works once.
fn open(address: &str) -> Result<(), String> {
    let (program, arguments): (&str, &[&str]) = if cfg!(target_os = "macos") {
        ("open", &[])
    } else if cfg!(windows) {
        ("cmd", &["/c", "start", ""])
    } else {
        ("xdg-open", &[])
    };
    let mut command = Command::new(program);
    command.args(arguments).arg(address);
    let quiet = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let started = quiet.spawn();
    started.map(drop).map_err(|e| {
        format!("  cannot open a browser ({program}: {e}); open the printed address yourself")
    })
}

/// Stops runs as Ctrl-C does.
struct Interrupt {
    /// The flag of the run in this process.
    own: Option<StopFlag>,
}

impl Stopper for Interrupt {
    fn stop(&self, worker: &Worker) -> Result<(), String> {
        if worker.pid == std::process::id() {
            return match &self.own {
                Some(flag) => {
                    flag.raise();
                    Ok(())
                }
                None => Err(
                    "the run works in this program itself, which is not to be stopped from here"
                        .to_string(),
                ),
            };
        }
        interrupt(worker.pid)
    }
}

#[cfg(unix)]
fn interrupt(pid: u32) -> Result<(), String> {
    use nix::errno::Errno;
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    // No number of a process is 0 or below: those would mean groups of processes.
    let number = i32::try_from(pid).ok().filter(|number| *number > 1);
    let number =
        number.ok_or_else(|| format!("{pid} is no number of a process that could be stopped"))?;
    kill(Pid::from_raw(number), Signal::SIGINT).map_err(|e| match e {
        Errno::EPERM => format!("process {pid} belongs to another user"),
        Errno::ESRCH => format!("process {pid} has ended"),
        e => format!("process {pid} cannot be interrupted: {e}"),
    })
}

#[cfg(not(unix))]
fn interrupt(pid: u32) -> Result<(), String> {
    Err(format!(
        "process {pid} cannot be interrupted from here on this system; press Ctrl-C where it runs"
    ))
}

/// The server beside a run. Whatever goes wrong with it is said, and the run goes on.
pub struct Beside {
    lab: Lab,
    program: String,
    terminal: Arc<Terminal>,
    stop: StopFlag,
    opens: bool,
    end: End,
    served: Mutex<Option<Served>>,
}

/// What is served, or that it was tried.
struct Served {
    folder: String,
    server: Option<(Arc<Watch>, JoinHandle<()>)>,
}

impl Beside {
    /// For a run that `stop` stops.
    pub fn new(
        lab: &Lab,
        env: &Env,
        terminal: &Arc<Terminal>,
        stop: &StopFlag,
        opens: bool,
    ) -> Self {
        Beside {
            lab: lab.clone(),
            program: env.program.clone(),
            terminal: Arc::clone(terminal),
            stop: stop.clone(),
            opens,
            end: End::new(),
            served: Mutex::default(),
        }
    }

    /// Serves the folder in which the run directory `dir` lies, from the first phase on.
    pub fn begin(&self, dir: &Path) {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        if served.is_some() {
            return;
        }
        let folder = dir.parent().unwrap_or(Path::new("."));
        let server = self.serve(folder).map_err(|why| {
            self.terminal.say(&format!(
                "  warning: the run cannot be watched: {why}; it goes on"
            ));
        });
        *served = Some(Served {
            folder: folder.display().to_string(),
            server: server.ok(),
        });
    }

    fn serve(&self, folder: &Path) -> Result<(Arc<Watch>, JoinHandle<()>), String> {
        let stopper = Interrupt {
            own: Some(self.stop.clone()),
        };
        let token = new_token().map_err(|e| e.to_string())?;
        let settings = Settings {
            names: vec![self.lab.host().name.clone()],
            ..Settings::new(folder, &token, Arc::new(stopper))
        };
        let watch = Watch::new(self.lab.clone(), settings).map_err(|e| e.to_string())?;
        let listener = listen(None).map_err(|e| e.to_string())?;
        let at = listener.local_addr().map_err(|e| e.to_string())?;
        let watch = Arc::new(watch);
        let (server, end, terminal) = (
            Arc::clone(&watch),
            self.end.clone(),
            Arc::clone(&self.terminal),
        );
        let thread = std::thread::Builder::new()
            .name("watch".into())
            .spawn(move || {
                if let Err(e) = server.serve(&listener, &end) {
                    terminal.say(&format!(
                        "  warning: the run can no longer be watched: {e}; it goes on"
                    ));
                }
            });
        let thread = thread.map_err(|e| e.to_string())?;
        self.terminal
            .say(&format!("  watch it: {}", watch.address(at, "/now")));
        if self.opens
            && let Err(why) = open(&watch.address_once(at, "/now"))
        {
            self.terminal.say(&why);
        }
        Ok((watch, thread))
    }

    /// Ends with the run, when open pages have seen the end of it.
    pub fn end(&self) {
        let served = self
            .served
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(Served {
            folder,
            server: Some((watch, thread)),
        }) = served
        else {
            return;
        };
        if watch.is_watched() {
            std::thread::sleep(Duration::from_millis(1500));
        }
        self.end.ask();
        // A server that panicked has ended, too.
        let _ = thread.join();
        self.terminal.tell(&format!(
            "  no longer watched; to see it again: {} watch {folder}",
            self.program
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (given, expect) in [
            ("0.0.0.0", Some(("0.0.0.0", None))),
            ("0.0.0.0:80", Some(("0.0.0.0", Some(80)))),
            ("[::1]:80", Some(("::1", Some(80)))),
            ("::1", Some(("::1", None))),
            ("[::1]", Some(("::1", None))),
            ("8080", Some(("127.0.0.1", Some(8080)))),
            (":8080", Some(("127.0.0.1", Some(8080)))),
            ("localhost:8080", Some(("127.0.0.1", Some(8080)))),
            ("example.org:80", None),
            ("70000", None),
            ("", None),
        ] {
            let expect = expect.map(|(ip, port)| (ip.parse::<IpAddr>().unwrap(), port));
            assert_eq!(place(given).ok(), expect, "{given}");
        }
    }

    #[test]
    fn tokens_differ() {
        let (a, b) = (new_token().unwrap(), new_token().unwrap());
        assert!(a.len() == 2 * CHANCE && a != b);
    }

    #[cfg(unix)]
    #[test]
    fn no_group_of_processes_is_interrupted() {
        for pid in [0, 1, u32::MAX, 1 << 31] {
            assert!(interrupt(pid).is_err(), "{pid}");
        }
    }

    #[test]
    fn a_port_that_is_taken_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port().to_string();
        let error = listen(Some(&port)).unwrap_err().to_string();
        assert!(
            error.contains("another program listens at 127.0.0.1:"),
            "{error}"
        );
    }
}
