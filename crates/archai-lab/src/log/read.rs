//! Reading `log.jsonl`: whole, or while the run writes it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use archai_engine::files::FileError;
use archai_spec::event::{Event, LogPath};
use jiff::Timestamp;
use serde_json::Value;

/// A line of `log.jsonl`.
#[derive(Clone, Debug, PartialEq)]
pub struct LogEntry {
    /// When it happened.
    pub time: Option<Timestamp>,
    /// What happened: values or a message.
    pub event: Event,
}

impl LogEntry {
    /// Reads a line; `None` if it is not an entry.
    ///
    /// ```
    /// use archai_lab::log::LogEntry;
    /// let line = br#"{"time":"2026-01-02T03:04:05Z","level":"info","message":"found"}"#;
    /// assert!(LogEntry::parse(line).is_some_and(|entry| entry.message() == Some("found")));
    /// assert_eq!(LogEntry::parse(&line[..20]), None);
    /// ```
    pub fn parse(line: &[u8]) -> Option<LogEntry> {
        let record: Value = serde_json::from_slice(line).ok()?;
        let time = record["time"].as_str().and_then(|time| time.parse().ok());
        let event = match &record["values"] {
            Value::Object(values) => Event::Values {
                path: match record["path"].as_str()? {
                    "" => LogPath::root(),
                    path => LogPath(path.split('/').map(str::to_string).collect()),
                },
                values: values.clone().into_iter().collect(),
            },
            _ => Event::Message {
                level: serde_json::from_value(record["level"].clone()).ok()?,
                text: record["message"].as_str()?.to_string(),
            },
        };
        Some(LogEntry { time, event })
    }

    /// Its sentence, if it is a message.
    pub fn message(&self) -> Option<&str> {
        match &self.event {
            Event::Message { text, .. } => Some(text),
            Event::Values { .. } | Event::Progress(_) => None,
        }
    }

    /// Place and values, if it has values.
    pub fn values(&self) -> Option<(&LogPath, &[(String, Value)])> {
        match &self.event {
            Event::Values { path, values } => Some((path, values)),
            Event::Message { .. } | Event::Progress(_) => None,
        }
    }
}

/// The entries in the bytes of a log. Lines that are not entries are left out: a process that was killed leaves half a line
/// at the end.
pub fn read_entries(bytes: &[u8]) -> impl DoubleEndedIterator<Item = LogEntry> {
    bytes
        .split(|&byte| byte == b'\n')
        .filter_map(LogEntry::parse)
}

/// What is new in a log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct News {
    /// Whether these are all entries from the beginning, because the log was cut back (a run was resumed) or replaced (a
    /// new run began) since the last look: what was read before counts no more.
    pub from_start: bool,
    /// Entries whose lines are complete.
    pub entries: Vec<LogEntry>,
    /// Complete lines that are no entries.
    pub damaged: usize,
}

/// Follows a log while a run writes it.
///
/// Only complete lines count: what is written of a line comes with the next look, when it is whole.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    /// Bytes that were read, up to the end of a line.
    read: u64,
    /// The last line that was read, by which a log that was rewritten is recognised.
    last: Vec<u8>,
}

impl Follower {
    /// Follows the log at `path`, which need not be there yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Follower {
            path: path.into(),
            read: 0,
            last: Vec::new(),
        }
    }

    /// The log.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was written since the last look. A log that is not there has no news.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn look(&mut self) -> Result<News, FileError> {
        self.look_at_most(u64::MAX)
    }

    /// How many bytes were read, up to the end of a line.
    pub fn place(&self) -> u64 {
        self.read
    }

    /// What was written since the last look, in about so many bytes at most: a long log is read in parts, so that memory stays
    /// small. While there is more, [`Follower::place`] moves.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn look_at_most(&mut self, most: u64) -> Result<News, FileError> {
        let failed = |e| FileError::new("read", &self.path, e);
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let from_start = self.read > 0;
                (self.read, self.last) = (0, Vec::new());
                return Ok(News {
                    from_start,
                    ..News::default()
                });
            }
            Err(e) => return Err(failed(e)),
        };
        let from_start = !self.continues(&mut file).map_err(failed)?;
        if from_start {
            (self.read, self.last) = (0, Vec::new());
        }
        file.seek(SeekFrom::Start(self.read)).map_err(failed)?;
        let mut bytes = Vec::new();
        let end = loop {
            let part = file.by_ref().take(most).read_to_end(&mut bytes);
            let part = part.map_err(failed)?;
            match bytes.iter().rposition(|&b| b == b'\n') {
                // A line may be longer than a part.
                None if part > 0 => {}
                end => break end.map_or(0, |i| i + 1),
            }
        };
        bytes.truncate(end);
        if let Some(last) = bytes.split_inclusive(|&b| b == b'\n').next_back() {
            self.last = last.to_vec();
        }
        self.read += end as u64;
        let lines = bytes.split(|&b| b == b'\n');
        let lines = lines.filter(|line| !line.iter().all(u8::is_ascii_whitespace));
        let lines = lines.count();
        let entries: Vec<LogEntry> = read_entries(&bytes).collect();
        Ok(News {
            from_start,
            damaged: lines - entries.len(),
            entries,
        })
    }

    /// Whether the file still has the last line where it was read.
    fn continues(&self, file: &mut File) -> io::Result<bool> {
        if file.metadata()?.len() < self.read {
            return Ok(false);
        }
        let mut last = vec![0; self.last.len()];
        file.seek(SeekFrom::Start(self.read - last.len() as u64))?;
        match file.read_exact(&mut last) {
            Ok(()) => Ok(last == self.last),
            // It was cut back meanwhile.
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(e) => Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn line(text: &str) -> String {
        format!("{{\"time\":\"2026-01-02T03:04:05Z\",\"level\":\"info\",\"message\":\"{text}\"}}\n")
    }

    fn texts(news: &News) -> Vec<&str> {
        news.entries.iter().filter_map(LogEntry::message).collect()
    }

    #[test]
    fn a_log_is_followed_over_half_lines_and_cuts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.jsonl");
        let mut follower = Follower::new(&path);
        assert_eq!(follower.look().unwrap(), News::default());

        let mut file = File::create(&path).unwrap();
        let second = line("two");
        write!(file, "{}{}", line("one"), &second[..30]).unwrap();
        assert_eq!(texts(&follower.look().unwrap()), ["one"]);
        assert_eq!(follower.look().unwrap(), News::default());
        write!(file, "{}", &second[30..]).unwrap();
        assert_eq!(texts(&follower.look().unwrap()), ["two"]);

        // A run that is resumed cuts its log back and writes on.
        file.set_len(line("one").len() as u64).unwrap();
        file.seek(SeekFrom::End(0)).unwrap();
        let news = follower.look().unwrap();
        assert!(news.from_start);
        assert_eq!(texts(&news), ["one"]);
        write!(file, "{}{}", line("2nd"), line("3rd")).unwrap();
        let news = follower.look().unwrap();
        assert!(!news.from_start);
        assert_eq!(texts(&news), ["2nd", "3rd"]);

        // A log of the same length with other contents is another log.
        let other = line("ONE") + &line("2nd") + &line("4th");
        std::fs::write(&path, other).unwrap();
        let news = follower.look().unwrap();
        assert!(news.from_start);
        assert_eq!(texts(&news), ["ONE", "2nd", "4th"]);

        std::fs::remove_file(&path).unwrap();
        assert!(follower.look().unwrap().from_start);
        assert_eq!(follower.look().unwrap(), News::default());
    }

    #[test]
    fn a_long_log_is_read_in_parts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.jsonl");
        let long = line(&"x".repeat(500));
        let half = "{\"time\":";
        std::fs::write(
            &path,
            format!("{}{long}\nnonsense\n{}{half}", line("a"), line("b")),
        )
        .unwrap();
        let mut follower = Follower::new(&path);
        let (mut read, mut damaged, mut looks) = (Vec::new(), 0, 0);
        loop {
            let before = follower.place();
            let news = follower.look_at_most(100).unwrap();
            if follower.place() == before {
                break;
            }
            assert!(!news.from_start);
            read.extend(texts(&news).into_iter().map(str::len));
            damaged += news.damaged;
            looks += 1;
        }
        assert_eq!((read, damaged), (vec![1, 500, 1], 1));
        assert!(looks > 1);
        let whole = std::fs::metadata(&path).unwrap().len();
        assert_eq!(follower.place(), whole - half.len() as u64);
    }

    #[test]
    fn lines_that_are_no_entries_are_left_out() {
        let text = format!("{}nonsense\n{{}}\n{}{{\"time\":", line("a"), line("b"));
        let entries: Vec<LogEntry> = read_entries(text.as_bytes()).collect();
        assert_eq!(entries.len(), 2);
        let values = br#"{"path": "a/b", "values": {"loss": 0.5, "acc": 1}}"#;
        let entry = LogEntry::parse(values).unwrap();
        let (path, values) = entry.values().unwrap();
        assert_eq!((path.to_string().as_str(), values.len()), ("a/b", 2));
    }
}
