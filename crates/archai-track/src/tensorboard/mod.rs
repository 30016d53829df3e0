//! TensorBoard: event files in the folder `tensorboard` of a run directory.
//!
//! They are a copy of the log and are written anew whenever a tracker begins: first a file beside them, which replaces them when
//! it holds all of the log so far, and then grows with it. Its session log tells a TensorBoard that is looking to forget what
//! it had from the older file. So a run that was resumed has each step once, and a writer that was killed leaves whole records
//! and at worst half a one, which readers pass over.

mod heat_map;
mod proto;
mod record;
mod values;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use archai_engine::files::FileError;
use archai_lab::config::supernet_of_run;
use archai_lab::rundir::TENSORBOARD;
use archai_lab::{Lab, Phase};
use archai_spec::desc::ModelDesc;
use jiff::Timestamp;

use proto::{Content, Event, SessionLog, SessionStatus, Summary, Value};

use crate::error::TrackError;
use crate::facts::{Ending, RunFacts};
use crate::point::{Point, What};
use crate::tracker::Tracker;

/// A file that is being written and has not taken its place yet. Readers know event files by their names.
const UNFINISHED: &str = ".writing-tensorboard";
/// How the names of event files begin.
const EVENTS: &str = "events.out.tfevents.";

/// The tags and steps of all values in the bytes of an event file, in their order: of whole records, since a writer that was
/// killed leaves half a one at the end.
///
/// # Errors
/// Says what is wrong with a record that is there as a whole.
pub fn read_tags(bytes: &[u8]) -> Result<Vec<(String, i64)>, String> {
    let mut tags = Vec::new();
    for event in record::read(bytes)? {
        if let Some(Content::Summary(summary)) = event.content {
            tags.extend(
                summary
                    .value
                    .into_iter()
                    .map(|value| (value.tag, event.step)),
            );
        }
    }
    Ok(tags)
}

/// Most edges and ops of a cell that a picture of it shows; of a larger one nothing could be read.
const MOST_ROWS: usize = 500;
const MOST_COLUMNS: usize = 100;

/// Writes event files.
pub struct TensorBoard {
    lab: Lab,
    open: Option<Open>,
}

/// The file that is being written.
struct Open {
    folder: PathBuf,
    out: BufWriter<File>,
    /// Where it is: beside the others until it has all of the log.
    path: PathBuf,
    is_placed: bool,
    /// The time of the last point.
    time: f64,
    /// The supernet, for the names of its ops.
    supernet: Option<ModelDesc>,
}

impl TensorBoard {
    /// Of runs in this lab.
    pub fn new(lab: &Lab) -> Self {
        TensorBoard {
            lab: lab.clone(),
            open: None,
        }
    }
}

impl Tracker for TensorBoard {
    fn begin(&mut self, run: &RunFacts) -> Result<(), TrackError> {
        self.open = None;
        let folder = run.dir.file(TENSORBOARD);
        fs::create_dir_all(&folder).map_err(|e| FileError::new("create the folder", &folder, e))?;
        let path = folder.join(UNFINISHED);
        let file = File::create(&path).map_err(|e| FileError::new("create", &path, e))?;
        let time = first_time(run)?.unwrap_or_else(|| self.lab.host().clock.now());
        // A run of which that is not known has its pictures with numbers in the place of names.
        let supernet = match run.started.phase {
            Phase::Search => supernet_of_run(&self.lab, &run.dir).ok().flatten(),
            Phase::Eval => None,
        };
        let mut open = Open {
            folder,
            out: BufWriter::new(file),
            path,
            is_placed: false,
            time,
            supernet,
        };
        open.put(0, Content::FileVersion("brain.Event:2".to_string()))?;
        let status = SessionStatus::Start.into();
        open.put(0, Content::SessionLog(SessionLog { status }))?;
        open.summary(0, vec![values::session_start(run, time)])?;
        let told = values::text("run", &run_as_markdown(run));
        open.summary(0, vec![told])?;
        self.open = Some(open);
        Ok(())
    }

    fn write(&mut self, points: &[Point]) -> Result<(), TrackError> {
        let now = self.lab.host().clock.now();
        let name = &self.lab.host().name;
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        for point in points {
            open.point(point)?;
        }
        open.flush()?;
        if !open.is_placed {
            open.place(now, name)?;
        }
        Ok(())
    }

    fn end(&mut self, run: &RunFacts, ending: Ending) -> Result<(), TrackError> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let figures = run.figures()?.into_iter();
        let figures =
            figures.map(|(name, figure)| values::scalar(format!("result/{name}"), figure));
        open.summary(0, figures.collect())?;
        if let Some(summary) = run.summary()? {
            open.summary(0, vec![values::text("summary", &summary)])?;
        }
        open.summary(0, vec![values::session_end(ending, open.time)])?;
        open.flush()
    }

    fn place(&self) -> Option<String> {
        let open = self.open.as_ref()?;
        Some(open.folder.display().to_string())
    }
}

impl Open {
    fn put(&mut self, step: u64, content: Content) -> Result<(), TrackError> {
        let event = Event {
            wall_time: self.time,
            step: i64::try_from(step).unwrap_or(i64::MAX),
            content: Some(content),
        };
        let failed = |e| FileError::new("write", &self.path, e);
        Ok(record::write(&mut self.out, &event).map_err(failed)?)
    }

    fn summary(&mut self, step: u64, value: Vec<Value>) -> Result<(), TrackError> {
        match value.is_empty() {
            true => Ok(()),
            false => self.put(step, Content::Summary(Summary { value })),
        }
    }

    fn point(&mut self, point: &Point) -> Result<(), TrackError> {
        self.time = seconds(point.time);
        let all = match &point.what {
            What::Number(number) => vec![values::scalar(point.curve.clone(), *number)],
            What::Weights(edges) => {
                let spread = edges.iter().filter_map(|(edge, weights)| {
                    values::histogram(format!("{}/{edge}", point.curve), weights)
                });
                let mut all: Vec<Value> = spread.collect();
                let is_legible = |(_, rows, columns): &Cell| {
                    let fields = rows.iter().map(|(_, weights)| weights.len());
                    rows.len() <= MOST_ROWS
                        && fields.chain([columns.len()]).all(|n| n <= MOST_COLUMNS)
                };
                let cells = cells(edges, self.supernet.as_ref()).into_iter();
                for (cell, rows, columns) in cells.filter(is_legible) {
                    let drawn = heat_map::draw(&rows, &columns);
                    let (width, height, png) = drawn
                        .map_err(|e| FileError::new("draw for", &self.path, io::Error::other(e)))?;
                    let tag = format!("{}/{cell}", point.curve);
                    all.push(values::picture(tag, width, height, png));
                }
                all
            }
        };
        self.summary(point.step, all)
    }

    fn flush(&mut self) -> Result<(), TrackError> {
        let failed = |e| FileError::new("write", &self.path, e);
        Ok(self.out.flush().map_err(failed)?)
    }

    /// Puts the file into the place of the older ones. Its name is the last in the order of the alphabet, in which readers go.
    fn place(&mut self, now: f64, host: &str) -> Result<(), TrackError> {
        let older = event_files(&self.folder)?;
        let times = older.iter().filter_map(|path| time_in(path));
        let time = times.max().map_or(0, |time| time + 1).max(now as u64);
        let is_plain = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
        let host: String = host.chars().filter(is_plain).collect();
        let host = if host.is_empty() { "archai" } else { &host };
        let path = self.folder.join(format!("{EVENTS}{time:010}.{host}"));
        fs::rename(&self.path, &path).map_err(|e| FileError::new("rename", &self.path, e))?;
        self.path = path;
        self.is_placed = true;
        for path in older {
            fs::remove_file(&path).map_err(|e| FileError::new("remove", &path, e))?;
        }
        Ok(())
    }
}

/// The event files in a folder.
fn event_files(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let failed = |e| FileError::new("read", folder, e);
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if time_in(&path).is_some() {
            files.push(path);
        }
    }
    Ok(files)
}

/// The time in the name of an event file.
fn time_in(path: &Path) -> Option<u64> {
    let rest = path.file_name()?.to_str()?.strip_prefix(EVENTS)?;
    rest.split('.').next()?.parse().ok()
}

/// When the log begins, if it is there yet.
fn first_time(run: &RunFacts) -> Result<Option<f64>, TrackError> {
    let first = run.dir.log()?.into_iter().find_map(|entry| entry.time);
    Ok(first.map(seconds))
}

fn seconds(time: Timestamp) -> f64 {
    time.as_microsecond() as f64 / 1e6
}

/// How the run was started.
fn run_as_markdown(run: &RunFacts) -> String {
    let started = &run.started;
    let rows = [
        ("run", run.name()),
        ("phase", started.phase.to_string()),
        ("algorithm", started.algorithm.clone()),
        ("device", started.device.clone()),
        ("engine", started.engine.clone()),
        ("version", started.program.clone()),
        ("arguments", started.arguments.join(" ")),
        ("folder", started.folder.display().to_string()),
        ("digest of the settings", started.digest.clone()),
    ];
    // Texts of users are no Markdown: a star in a path is a star.
    let rows = rows.map(|(name, value)| format!("- **{name}**: `{}`\n", value.replace('`', "'")));
    rows.concat()
}

/// A cell's name, the rows of its picture and its columns.
type Cell = (String, Vec<heat_map::Row>, Vec<String>);

/// The cells that own edges, with the names of states and ops if the supernet is known.
fn cells(edges: &[(String, Vec<f64>)], supernet: Option<&ModelDesc>) -> Vec<Cell> {
    let mut cells: BTreeMap<usize, Cell> = BTreeMap::new();
    for (name, weights) in edges {
        let Some([cell, node, edge]) = numbers_in(name) else {
            continue;
        };
        let desc = supernet.and_then(|net| net.cells.get(cell));
        let found = desc.and_then(|cell| cell.nodes.get(node)?.edges.get(edge));
        let ops = found.map(|edge| edge.op.children.iter().map(|child| child.op.name.clone()));
        let ops: Vec<String> = ops.map(Iterator::collect).unwrap_or_default();
        let (_, rows, columns) = cells.entry(cell).or_insert_with(|| {
            let kind = desc.map(|cell| format!("_{}", cell.cell_type));
            let name = format!("cell{cell}{}", kind.unwrap_or_default());
            let columns = match ops.len() == weights.len() {
                true => ops.clone(),
                false => (1..=weights.len()).map(|i| format!("op {i}")).collect(),
            };
            (name, Vec::new(), columns)
        });
        if !ops.is_empty() && ops != *columns {
            // Its edges choose among different ops.
            *columns = (1..=columns.len().max(weights.len()))
                .map(|i| format!("op {i}"))
                .collect();
        }
        let row = match found.and_then(|edge| edge.inputs.first()) {
            Some(from) => format!("node{node} <- state{from}"),
            None => format!("node{node}.edge{edge}"),
        };
        rows.push((row, weights.clone()));
    }
    cells.into_values().collect()
}

/// The numbers in `cell0.node1.edge2`.
fn numbers_in(name: &str) -> Option<[usize; 3]> {
    let mut parts = name.split('.');
    let mut next = |kind: &str| parts.next()?.strip_prefix(kind)?.parse().ok();
    Some([next("cell")?, next("node")?, next("edge")?])
}
