//! Draws a block of lines below all others, on the terminal that standard error goes to, and keeps it up to date.
//!
//! While the block stands there, the cursor is at its beginning, hidden. Drawing is writing over it and clearing what is
//! below: wherever a terminal moves its lines to when it becomes narrower, the cursor goes with them, and a process that was
//! killed leaves the shell's prompt at the right place. A thread of its own draws, ten times a second at most, so that whoever
//! reports something never waits for the terminal.

use std::collections::VecDeque;
use std::io::Write as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::block::{Block, Line, Style};
use super::text::wrapped;
use super::tty::{self, Keys};

/// Least time between two drawings.
const PAUSE: Duration = Duration::from_millis(100);
/// Most time between two: clocks go on.
const TICK: Duration = Duration::from_millis(500);
/// Lines of the log that are kept for whoever wants to see it.
const KEPT: usize = 200;
/// Lines that wait for a terminal that is held up; then the oldest go, which the log files have.
const WAITING: usize = 10_000;

const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";
/// Everything between the two appears at once, on terminals that know of it; others leave it out.
const TOGETHER: [&str; 2] = ["\x1b[?2026h", "\x1b[?2026l"];
const CLEAR_BELOW: &str = "\x1b[J";
const CLEAR_LINE: &str = "\x1b[K";

const SHOWS_LOG: &str = "l: show the log   Ctrl-C: stop after this step";
const HIDES_LOG: &str = "l: hide the log   Ctrl-C: stop after this step";
const NO_KEYS: &str = "Ctrl-C: stop after this step";

/// Where a block is drawn while there is one.
pub struct Canvas {
    start: Instant,
    view: Mutex<View>,
    changed: Condvar,
    drawn: Mutex<Drawn>,
    keys: Keys,
    threads: Mutex<Vec<JoinHandle<()>>>,
    #[cfg(unix)]
    watches_stops: std::sync::Once,
}

/// What is to be seen.
#[derive(Default)]
struct View {
    block: Option<Block>,
    /// Lines that are to stand above it and were not drawn yet.
    lines: Vec<String>,
    /// The last lines of the log that were not shown.
    log: VecDeque<String>,
    log_is_shown: bool,
    has_changed: bool,
    /// Whether the process is about to be stopped, and leaves the terminal alone.
    is_stopped: bool,
}

impl View {
    fn say(&mut self, line: String) {
        if self.lines.len() >= WAITING {
            self.lines.drain(..WAITING / 2);
        }
        self.lines.push(line);
        self.has_changed = true;
    }

    fn hint(&mut self) {
        if let Some(block) = &mut self.block {
            block.hint = match (Keys::are_there(), self.log_is_shown) {
                (false, _) => NO_KEYS,
                (true, false) => SHOWS_LOG,
                (true, true) => HIDES_LOG,
            };
        }
        self.has_changed = true;
    }
}

/// What can be seen.
#[derive(Default)]
struct Drawn {
    block: Vec<Line>,
    size: (usize, usize),
    cursor_is_hidden: bool,
}

impl Canvas {
    /// Without a block.
    pub fn new(log_is_shown: bool) -> Arc<Self> {
        let canvas = Canvas {
            start: Instant::now(),
            view: Mutex::default(),
            changed: Condvar::new(),
            drawn: Mutex::default(),
            keys: Keys::default(),
            threads: Mutex::default(),
            #[cfg(unix)]
            watches_stops: std::sync::Once::new(),
        };
        lock(&canvas.view).log_is_shown = log_is_shown;
        Arc::new(canvas)
    }

    /// Seconds since the beginning.
    pub fn now(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// Shows a block from now on.
    pub fn begin(self: &Arc<Self>, block: Block) {
        self.end(None);
        let mut view = lock(&self.view);
        view.block = Some(block);
        view.hint();
        drop(view);
        let mut threads = lock(&self.threads);
        // Without a thread nothing is drawn until the end; the run goes on nevertheless.
        let canvas = Arc::clone(self);
        threads.extend(spawn("screen", move || canvas.draw_on()));
        if Keys::are_there() {
            self.keys.want();
            let canvas = Arc::clone(self);
            threads.extend(spawn("keys", move || canvas.read_keys()));
        }
        #[cfg(unix)]
        self.watches_stops.call_once(|| watch_stops(self));
    }

    /// Takes the block away, and leaves the terminal as it was; a last line takes its place.
    pub fn end(&self, last: Option<String>) {
        let mut view = lock(&self.view);
        if view.block.take().is_none() {
            return;
        }
        last.into_iter().for_each(|line| view.say(line));
        view.log.clear();
        drop(view);
        self.changed.notify_all();
        let threads: Vec<JoinHandle<()>> = lock(&self.threads).drain(..).collect();
        for thread in threads {
            // One that failed drew nothing any more.
            let _ = thread.join();
        }
        self.draw();
        self.keys.give_back();
    }

    /// Does something to the block, if there is one.
    pub fn update(&self, work: impl FnOnce(&mut Block)) {
        let mut view = lock(&self.view);
        if let Some(block) = &mut view.block {
            work(block);
            view.has_changed = true;
            drop(view);
            self.changed.notify_all();
        }
    }

    /// Shows a line above the block. It stays.
    pub fn say(&self, line: String) {
        let mut view = lock(&self.view);
        view.say(line);
        let waits = view.block.is_some();
        drop(view);
        match waits {
            true => self.changed.notify_all(),
            false => self.draw(),
        }
    }

    /// Shows a line of the log to those who want to see it.
    pub fn log(&self, line: String) {
        let mut view = lock(&self.view);
        if view.log_is_shown {
            view.say(line);
            drop(view);
            self.changed.notify_all();
            return;
        }
        if view.log.len() == KEPT {
            view.log.pop_front();
        }
        view.log.push_back(line);
    }

    /// Gives the terminal back for a moment in which another writes, a panic that says what happened. Whoever draws at this
    /// moment is not waited for: it may be the one that panics.
    pub fn interrupted_by(&self, work: impl FnOnce()) {
        match self.drawn.try_lock() {
            Ok(mut drawn) => {
                self.erase(&mut drawn);
                work();
            }
            Err(_) => {
                write(SHOW_CURSOR);
                self.keys.give_back();
                work();
            }
        }
        // What caught the panic may go on.
        if let Ok(view) = self.view.try_lock()
            && view.block.is_some()
        {
            self.keys.want();
        }
    }

    /// What the thread of the screen does.
    fn draw_on(&self) {
        loop {
            let view = lock(&self.view);
            let idle = |view: &mut View| !view.has_changed && view.block.is_some();
            let waited = self.changed.wait_timeout_while(view, TICK, idle);
            drop(waited);
            self.draw();
            let view = lock(&self.view);
            let waited = self
                .changed
                .wait_timeout_while(view, PAUSE, |view| view.block.is_some());
            let (view, _) = waited.unwrap_or_else(PoisonError::into_inner);
            if view.block.is_none() {
                return;
            }
        }
    }

    /// What the thread of the keys does.
    fn read_keys(&self) {
        Keys::prepare_thread();
        while lock(&self.view).block.is_some() {
            match self.keys.pressed() {
                Some(keys) if !keys.is_empty() => keys.iter().for_each(|key| self.press(*key)),
                // It waited, unless there was nothing to wait for.
                Some(_) => std::thread::sleep(PAUSE / 10),
                None => std::thread::sleep(PAUSE),
            }
        }
    }

    fn press(&self, key: u8) {
        if !key.eq_ignore_ascii_case(&b'l') {
            return;
        }
        let (_, rows) = tty::size();
        let room = rows.saturating_sub(lock(&self.drawn).block.len() + 2);
        let mut view = lock(&self.view);
        view.log_is_shown = !view.log_is_shown;
        if view.log_is_shown {
            // As much of it as there is room for.
            let log: Vec<String> = view.log.drain(..).collect();
            let skipped = log.len().saturating_sub(room.max(3));
            log.into_iter()
                .skip(skipped)
                .for_each(|line| view.say(line));
        }
        view.hint();
        drop(view);
        self.changed.notify_all();
    }

    /// Brings the terminal up to date.
    fn draw(&self) {
        let mut drawn = lock(&self.drawn);
        let (size, may_draw) = (tty::size(), tty::may_draw());
        let (width, height) = size;
        let mut view = lock(&self.view);
        if view.is_stopped {
            return;
        }
        view.has_changed = false;
        let lines = std::mem::take(&mut view.lines);
        let block = match &view.block {
            // The last column stays free: in some terminals a full line is two.
            Some(block) if may_draw => block.lines(
                self.now(),
                width.saturating_sub(1),
                height.saturating_sub(1),
            ),
            _ => Vec::new(),
        };
        drop(view);
        let is_same = block == drawn.block && (block.is_empty() || size == drawn.size);
        if lines.is_empty() && is_same {
            return;
        }
        let together = match block.is_empty() && drawn.block.is_empty() {
            true => [""; 2],
            false => TOGETHER,
        };
        let mut text = together[0].to_string();
        if !block.is_empty() && !drawn.cursor_is_hidden {
            text.push_str(HIDE_CURSOR);
        }
        text.push('\r');
        let is_over = block.is_empty() && !drawn.block.is_empty();
        if !lines.is_empty() && !drawn.block.is_empty() {
            text.push_str(CLEAR_BELOW);
        }
        for line in lines {
            text.push_str(&wrapped(&line, Some(width), 4).replace('\n', "\r\n"));
            text.push_str("\r\n");
        }
        for (n, line) in block.iter().enumerate() {
            if n > 0 {
                text.push_str("\r\n");
            }
            line.iter().for_each(|piece| styled(piece, &mut text));
            text.push_str(CLEAR_LINE);
        }
        if is_over || !block.is_empty() {
            text.push_str(CLEAR_BELOW);
        }
        if block.len() > 1 {
            text.push_str(&format!("\x1b[{}A", block.len() - 1));
        }
        if block.is_empty() && drawn.cursor_is_hidden {
            text.push_str(SHOW_CURSOR);
        }
        text.push('\r');
        text.push_str(together[1]);
        drawn.cursor_is_hidden = !block.is_empty();
        (drawn.block, drawn.size) = (block, size);
        write(&text);
    }

    /// Takes the block off the screen until it is drawn the next time, and gives keys back.
    fn erase(&self, drawn: &mut Drawn) {
        if !drawn.block.is_empty() {
            write(&format!("\r{CLEAR_BELOW}"));
        }
        if drawn.cursor_is_hidden {
            write(SHOW_CURSOR);
        }
        *drawn = Drawn::default();
        self.keys.give_back();
    }

    /// Leaves the terminal alone, because the process is about to be stopped.
    #[cfg(unix)]
    fn leave(&self) {
        let mut drawn = lock(&self.drawn);
        lock(&self.view).is_stopped = true;
        self.erase(&mut drawn);
    }

    /// Goes on after a stop.
    #[cfg(unix)]
    fn go_on(&self) {
        let mut drawn = lock(&self.drawn);
        let mut view = lock(&self.view);
        view.is_stopped = false;
        view.has_changed = true;
        if view.block.is_some() {
            self.keys.want();
        }
        // Whatever is there now, it is drawn anew.
        *drawn = Drawn::default();
        drop((view, drawn));
        self.draw();
    }
}

/// Gives the terminal back while the process is stopped (Ctrl-Z), and takes it again when it goes on.
#[cfg(unix)]
fn watch_stops(canvas: &Arc<Canvas>) {
    use signal_hook::consts::{SIGCONT, SIGTSTP};
    // Where stops cannot be watched, the shell has to put the terminal in order.
    let Ok(mut signals) = signal_hook::iterator::Signals::new([SIGTSTP, SIGCONT]) else {
        return;
    };
    let canvas = Arc::downgrade(canvas);
    let watching = move || {
        for signal in signals.forever() {
            let Some(canvas) = canvas.upgrade() else {
                // Nothing is drawn any more.
                let _ = signal_hook::low_level::emulate_default_handler(signal);
                continue;
            };
            if signal == SIGTSTP && tty::can_be_stopped() {
                canvas.leave();
                // If it is not stopped, it goes on at once.
                let _ = signal_hook::low_level::emulate_default_handler(SIGTSTP);
                canvas.go_on();
            } else if signal == SIGCONT {
                canvas.go_on();
            }
        }
    };
    // It ends with the process.
    let _ = spawn("stops", watching);
}

/// A thread with a name; none where the system has none left.
fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Option<JoinHandle<()>> {
    let thread = std::thread::Builder::new().name(name.to_string());
    thread.spawn(work).ok()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A terminal that has gone is no reason to end a run of days: the log files go on.
fn write(text: &str) {
    let mut out = std::io::stderr().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn styled((style, piece): &(Style, String), text: &mut String) {
    let code = match style {
        Style::Plain => {
            text.push_str(piece);
            return;
        }
        Style::Bold => "1",
        Style::Dim => "2",
        Style::Drawn => "36",
        Style::Warning => "1;33",
    };
    if !piece.is_empty() {
        text.push_str(&format!("\x1b[{code}m{piece}\x1b[0m"));
    }
}
