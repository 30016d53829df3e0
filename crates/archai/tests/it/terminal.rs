//! What a run shows on a terminal: a pseudo-terminal runs the program, and an emulator says what is to be seen.
#![cfg(unix)]

use std::io::{Read, Write};
use std::num::NonZero;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use archai::spec::desc::DartsModelDescBuilder;
use archai::{
    Algorithm, EngineError, ExperimentRunner, Lab, ModelDescBuilder, NoSettings, Step,
    TrainerHooks, settings,
};
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use crate::run::TINY;
use crate::support::World;

/// Longest that something may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A terminal in which a program runs.
struct Session {
    master: Box<dyn MasterPty + Send>,
    child: Box<dyn Child + Send + Sync>,
    keyboard: Box<dyn Write + Send>,
    screen: Arc<Mutex<vt100::Parser>>,
    /// All that was written.
    raw: Arc<Mutex<Vec<u8>>>,
    /// How the terminal was before the program began.
    modes: String,
}

impl Session {
    /// Starts a program in a terminal of `rows` times `columns`, with nothing but `env` in its environment besides what every
    /// terminal has.
    fn start(
        world: &World,
        program: &Path,
        args: &[&str],
        env: &[(&str, &str)],
        (rows, columns): (u16, u16),
    ) -> Session {
        let size = PtySize {
            rows,
            cols: columns,
            ..PtySize::default()
        };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(program);
        command.args(args);
        command.cwd(world.dir());
        command.env_clear();
        let home = world.dir().to_str().unwrap();
        let all = [("HOME", home), ("TZ", "UTC"), ("TERM", "xterm-256color")];
        for (name, value) in all.iter().chain(env) {
            command.env(name, value);
        }
        let modes = modes(pair.master.as_ref());
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(
            at_least_one(rows),
            at_least_one(columns),
            10_000,
        )));
        let raw = Arc::new(Mutex::new(Vec::new()));
        let (mut reader, to_screen, to_raw) = (
            pair.master.try_clone_reader().unwrap(),
            Arc::clone(&screen),
            Arc::clone(&raw),
        );
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // A terminal that its last program has left gives an error.
            while let Ok(n @ 1..) = reader.read(&mut bytes) {
                to_screen.lock().unwrap().process(&bytes[..n]);
                to_raw.lock().unwrap().extend_from_slice(&bytes[..n]);
            }
        });
        Session {
            keyboard: pair.master.take_writer().unwrap(),
            master: pair.master,
            child,
            screen,
            raw,
            modes,
        }
    }

    /// The program, with arguments.
    fn archai(world: &World, args: &[&str], env: &[(&str, &str)], size: (u16, u16)) -> Session {
        Session::start(
            world,
            Path::new(env!("CARGO_BIN_EXE_archai")),
            args,
            env,
            size,
        )
    }

    /// The rows of the screen.
    fn rows(&self) -> Vec<String> {
        let parser = self.screen.lock().unwrap();
        let (_, columns) = parser.screen().size();
        let rows = parser.screen().rows(0, columns.get());
        rows.map(|row| row.trim_end().to_string()).collect()
    }

    /// Lines above the screen.
    fn scrolled(&self) -> usize {
        let mut parser = self.screen.lock().unwrap();
        parser.screen_mut().set_scrollback(usize::MAX);
        let scrolled = parser.screen().scrollback();
        parser.screen_mut().set_scrollback(0);
        scrolled
    }

    fn raw(&self) -> String {
        String::from_utf8_lossy(&self.raw.lock().unwrap()).into_owned()
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self.keyboard.flush().unwrap();
    }

    /// Waits until the screen is as is expected, and gives it.
    #[track_caller]
    fn wait_for(&self, what: &str, is_there: impl Fn(&[String]) -> bool) -> Vec<String> {
        let begin = Instant::now();
        loop {
            let rows = self.rows();
            if is_there(&rows) {
                return rows;
            }
            assert!(
                begin.elapsed() < PATIENCE,
                "{what} does not come:\n{}\n{}",
                rows.join("\n"),
                self.raw()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for the end of the program, and gives its status.
    #[track_caller]
    fn end(&mut self) -> u32 {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                // What it wrote last is on its way.
                std::thread::sleep(Duration::from_millis(300));
                return status.exit_code();
            }
            assert!(begin.elapsed() < PATIENCE, "{}", self.rows().join("\n"));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn cursor_is_hidden(&self) -> bool {
        self.screen.lock().unwrap().screen().hide_cursor()
    }

    /// The terminal is as it was before the program began.
    #[track_caller]
    fn is_in_order(&self) {
        assert!(!self.cursor_is_hidden(), "{}", self.rows().join("\n"));
        assert_eq!(modes(self.master.as_ref()), self.modes);
    }

    /// No line goes over the right edge.
    #[track_caller]
    fn nothing_wraps(&self, rows: std::ops::Range<usize>) {
        let parser = self.screen.lock().unwrap();
        for row in rows {
            assert!(
                !parser.screen().row_wrapped(row as u16),
                "row {row} goes on:\n{}",
                parser.screen().contents()
            );
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It has ended, unless the test failed.
        let _ = self.child.kill();
    }
}

fn at_least_one(n: u16) -> NonZero<u16> {
    NonZero::new(n).unwrap()
}

fn modes(terminal: &(dyn MasterPty + Send)) -> String {
    format!("{:?}", terminal.get_termios().unwrap())
}

/// The arguments of a run that takes as long as it is let.
fn endless(world: &World) -> Vec<String> {
    let config = world.write("tiny.yaml", TINY);
    let epochs = "nas.search.trainer.epochs=100000";
    let args = [
        "run",
        "--smoke",
        "--config",
        &config,
        "--threads",
        "1",
        epochs,
    ];
    args.map(String::from).to_vec()
}

fn as_strs(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

/// The epoch that a screen shows, and in which row.
fn epoch(rows: &[String]) -> Option<(usize, u64)> {
    let at = rows.iter().position(|row| row.starts_with("  epoch "))?;
    let number = rows[at].strip_prefix("  epoch ")?.split('/').next()?;
    Some((at, number.parse().ok()?))
}

fn holds(rows: &[String], text: &str) -> bool {
    rows.iter().any(|row| row.contains(text))
}

/// An algorithm whose training panics in its second epoch.
struct Fragile;

impl ExperimentRunner for Fragile {
    fn model_desc_builder(&self) -> Box<dyn ModelDescBuilder> {
        Box::new(DartsModelDescBuilder)
    }

    fn trainer_hooks(
        &self,
        _: &settings::Search,
    ) -> Result<Vec<Box<dyn TrainerHooks>>, EngineError> {
        Ok(vec![Box::new(Fragile)])
    }
}

impl TrainerHooks for Fragile {
    fn pre_step(&mut self, step: &mut Step<'_>) -> Result<(), EngineError> {
        assert!(step.epoch < 1, "it broke");
        Ok(())
    }
}

/// The command line of a program with that algorithm.
#[test]
#[ignore = "a program for the test below, which runs it in a terminal of its own"]
fn program() -> ExitCode {
    let Ok(config) = std::env::var(CONFIG) else {
        return ExitCode::SUCCESS;
    };
    let fragile = Algorithm::new("fragile", "breaks", |_: NoSettings| Fragile);
    let epochs = "nas.search.trainer.epochs=3";
    let arguments = [
        "fragile",
        "run",
        "--algos",
        "fragile",
        "--smoke",
        "--config",
        &config,
        "--threads",
        "1",
        epochs,
    ];
    archai::cli::run_as(
        Lab::builtin().with_algorithm(fragile),
        arguments.map(String::from).to_vec(),
    )
}

/// Where the program above finds the name of its configuration.
const CONFIG: &str = "ARCHAI_TEST_CONFIG";

/// A panic is read where it stands: the block is gone, the cursor is back, and keys are shown again.
#[test]
fn a_panic_gives_the_terminal_back() {
    let world = World::new();
    let config = world.write(
        "tiny.yaml",
        &TINY.replace("    darts: {second_order: false}\n", ""),
    );
    let program = std::env::current_exe().unwrap();
    let args = ["--ignored", "--exact", "terminal::program", "--nocapture"];
    let env = [(CONFIG, config.as_str())];
    let mut session = Session::start(&world, &program, &args, &env, (24, 80));
    assert_ne!(session.end(), 0);
    let rows = session.rows();
    assert!(
        holds(&rows, "it broke") || session.raw().contains("it broke"),
        "{}",
        rows.join("\n")
    );
    assert_eq!(epoch(&rows), None, "{}", rows.join("\n"));
    session.is_in_order();
}

#[test]
fn a_block_stands_still_and_gives_the_terminal_back() {
    let world = World::new();
    let args = endless(&world);
    let mut session = Session::archai(&world, &as_strs(&args), &[], (24, 80));
    let rows = session.wait_for("epoch 3", |rows| epoch(rows).is_some_and(|(_, n)| n >= 3));
    let (at, first) = epoch(&rows).unwrap();
    assert!(session.cursor_is_hidden());
    assert_ne!(
        modes(session.master.as_ref()),
        session.modes,
        "keys are read"
    );
    for expect in [
        "darts on fashion_mnist_mini: search",
        "/100000 ",
        " left",
        "  loss ",
        "  top-1 ",
        "images/s",
        "  best  normal ",
        "l: show the log",
    ] {
        assert!(
            holds(&rows, expect),
            "{expect:?} is missing in:\n{}",
            rows.join("\n")
        );
    }
    let curves = rows
        .iter()
        .filter(|row| row.contains(['▁', '▂', '▃', '▅', '█']));
    assert_eq!(curves.count(), 2, "{}", rows.join("\n"));
    // However many steps are done, no line comes and none goes.
    let later = session.wait_for("20 epochs more", |rows| {
        epoch(rows).is_some_and(|(_, n)| n >= first + 20)
    });
    assert_eq!(epoch(&later).unwrap().0, at, "{}", later.join("\n"));
    assert_eq!(
        later[..at],
        rows[..at]
            .iter()
            .map(|row| same_clock(row, &later))
            .collect::<Vec<_>>()[..]
    );
    assert_eq!(session.scrolled(), 0);
    session.nothing_wraps(at..24);

    // The terminal becomes narrow, and wide again.
    for columns in [40, 100] {
        let size = PtySize {
            rows: 24,
            cols: columns,
            ..PtySize::default()
        };
        session.master.resize(size).unwrap();
        let mut parser = session.screen.lock().unwrap();
        parser
            .screen_mut()
            .set_size(at_least_one(24), at_least_one(columns));
        drop(parser);
        let (_, before) = epoch(&session.rows()).unwrap_or((0, 0));
        session.wait_for("a block that fits", |rows| {
            epoch(rows).is_some_and(|(_, n)| n >= before + 3) && holds(rows, " left")
        });
        let rows = session.rows();
        let blocks = rows
            .iter()
            .filter(|row| row.starts_with("  epoch "))
            .count();
        assert_eq!(blocks, 1, "{}", rows.join("\n"));
        let (at, _) = epoch(&rows).unwrap();
        session.nothing_wraps(at..24);
    }

    // The log is one key away, and goes away again.
    assert!(!holds(&session.rows(), "arch_train epoch "));
    session.press("l");
    let rows = session.wait_for("the log", |rows| holds(rows, "l: hide the log"));
    assert!(holds(&rows, " arch_train epoch "), "{}", rows.join("\n"));
    session.wait_for("lines that scroll", |_| session.scrolled() > 30);
    session.press("l");
    session.wait_for("no log", |rows| holds(rows, "l: show the log"));
    let scrolled = session.scrolled();
    let (_, n) = epoch(&session.rows()).unwrap();
    session.wait_for("10 epochs more", |rows| {
        epoch(rows).is_some_and(|(_, m)| m > n + 10)
    });
    assert!(session.scrolled() <= scrolled + 2);

    session.press("\x03");
    assert_eq!(session.end(), 130);
    session.is_in_order();
    let rows = session.rows();
    assert!(
        holds(&rows, "  search stopped after ") && epoch(&rows).is_none(),
        "{}",
        rows.join("\n")
    );
    assert!(
        holds(&rows, "archai resume") || holds(&rows, "same command"),
        "{}",
        rows.join("\n")
    );
}

/// The row of another moment whose clock may show another time.
fn same_clock(row: &str, later: &[String]) -> String {
    let words = |row: &str| row.rsplit_once("  ").map(|(before, _)| before.to_string());
    let same = later
        .iter()
        .find(|other| words(other).is_some() && words(other) == words(row));
    same.cloned().unwrap_or_else(|| row.to_string())
}

#[test]
fn lines_are_plain_where_they_are_asked_for() {
    for (env, more) in [
        (&[][..], &["--plain"][..]),
        (&[("NO_COLOR", "1")], &[]),
        (&[("CI", "true")], &[]),
        (&[("TERM", "dumb")], &[]),
        (&[], &["--quiet"]),
    ] {
        let world = World::new();
        let config = world.write("tiny.yaml", TINY);
        let mut args = vec![
            "run",
            "--smoke",
            "--config",
            &config,
            "--threads",
            "1",
            "--no-eval",
        ];
        args.extend(more);
        let mut session = Session::archai(&world, &args, env, (40, 80));
        assert_eq!(session.end(), 0, "{}", session.raw());
        let (raw, rows) = (session.raw(), session.rows());
        assert!(!raw.contains('\x1b'), "{env:?} {more:?}: {raw:?}");
        let is_quiet = more.contains(&"--quiet");
        let step = "arch_train epoch 1/1 step 1/";
        assert_eq!(holds(&rows, step), !is_quiet, "{raw}");
        assert!(holds(&rows, "darts on fashion_mnist_mini"), "{raw}");
        assert_eq!(session.scrolled(), 0, "all of it fits on a screen:\n{raw}");
        session.is_in_order();
    }
}

#[test]
fn a_run_that_fails_leaves_the_terminal_in_order() {
    let world = World::new();
    let args = endless(&world);
    let mut session = Session::archai(&world, &as_strs(&args), &[], (24, 80));
    session.wait_for("epoch 2", |rows| epoch(rows).is_some_and(|(_, n)| n >= 2));
    // No checkpoint can be written any more.
    let dir = world.path("logdir/darts_fashion_mnist_mini_throwaway_search");
    std::fs::rename(dir.join("checkpoints"), dir.join("gone")).unwrap();
    std::fs::write(dir.join("checkpoints"), "").unwrap();
    assert_eq!(session.end(), 1, "{}", session.raw());
    session.is_in_order();
    let rows = session.rows();
    for expect in ["  search failed after ", "error: ", "checkpoint"] {
        assert!(
            holds(&rows, expect),
            "{expect:?} is missing in:\n{}",
            rows.join("\n")
        );
    }
    assert!(!holds(&rows, "Ctrl-C"), "{}", rows.join("\n"));
}

#[test]
fn results_go_where_standard_output_goes() {
    let world = World::new();
    let config = world.write("tiny.yaml", TINY);
    let program = env!("CARGO_BIN_EXE_archai");
    let line = format!("{program} run --smoke --config {config} --threads 1 --no-eval > out.txt");
    let mut session = Session::start(&world, Path::new("/bin/sh"), &["-c", &line], &[], (24, 80));
    assert_eq!(session.end(), 0, "{}", session.raw());
    session.is_in_order();
    let out = std::fs::read_to_string(world.path("out.txt")).unwrap();
    assert!(
        out.contains("multiply-adds") && !out.contains('\x1b'),
        "{out}"
    );
    let (raw, rows) = (session.raw(), session.rows());
    assert!(
        raw.contains("\x1b[?25l") && raw.contains("epoch 1/1"),
        "{raw}"
    );
    assert!(
        holds(&rows, "  search complete after ") && !holds(&rows, "multiply-adds"),
        "{}",
        rows.join("\n")
    );
}

/// A shell that controls jobs stops the run, which gives the terminal back and takes it again.
#[test]
fn a_run_that_is_stopped_goes_on() {
    let world = World::new();
    let args = endless(&world).join(" ");
    let shell = Path::new("/bin/sh");
    let mut session = Session::start(&world, shell, &["-i"], &[("PS1", "shell> ")], (24, 80));
    session.wait_for("a shell", |rows| holds(rows, "shell>"));
    let program = env!("CARGO_BIN_EXE_archai");
    session.press(&format!("{program} {args}\n"));
    let rows = session.wait_for("epoch 2", |rows| epoch(rows).is_some_and(|(_, n)| n >= 2));
    let (_, n) = epoch(&rows).unwrap();
    session.press("\x1a");
    session.wait_for("a stop", |rows| holds(rows, "topped"));
    session.press("echo one'-'two\n");
    let rows = session.wait_for("what the shell says", |rows| holds(rows, "one-two"));
    assert!(
        holds(&rows, "echo one'-'two"),
        "letters are shown:\n{}",
        rows.join("\n")
    );
    assert!(
        !session.cursor_is_hidden() && !holds(&rows, "Ctrl-C:"),
        "{}",
        rows.join("\n")
    );
    // In the background it works on without touching the screen.
    session.press("bg\n");
    session.press("echo three'-'four\n");
    session.wait_for("what the shell says", |rows| holds(rows, "three-four"));
    std::thread::sleep(Duration::from_millis(700));
    assert!(!session.cursor_is_hidden() && epoch(&session.rows()).is_none());
    session.press("fg\n");
    let rows = session.wait_for("the block", |rows| epoch(rows).is_some_and(|(_, m)| m > n));
    assert!(holds(&rows, "l: show the log"), "{}", rows.join("\n"));
    session.press("l");
    session.wait_for("keys", |rows| holds(rows, "l: hide the log"));
    session.press("\x03");
    session.wait_for("the end", |rows| holds(rows, "search stopped after"));
    session.press("exit 0\n");
    session.end();
    assert!(!session.cursor_is_hidden());
}
