//! Where a page comes from: command, program, settings, data, files.

use std::fs;
use std::path::Path;

use archai_lab::forecast::bytes;
use archai_lab::rundir::{REPORT_FILE, RunDir};
use archai_lab::{Data, Lab, Phase, Record, Started};
use archai_spec::numbers::thousands;
use maud::{Markup, html};
use serde_json::Value;

use crate::log::RunLog;
use crate::page::facts;

/// Most files that are listed.
const MOST_FILES: usize = 200;

/// Everything that says where the numbers come from.
pub fn section(
    lab: &Lab,
    dir: &RunDir,
    started: Option<&Started>,
    record: Option<&Record>,
    log: &RunLog,
) -> Markup {
    html! {
        (facts("Origin", &origin(dir, started, record, log)))
        h3 { "Settings that differ from the published ones" }
        (settings(lab, started))
        h3 { "Data" }
        @match record.map(|r| &r.data).or(started.map(|s| &s.data)) {
            Some(parts) if !parts.is_empty() => (data(parts)),
            _ => p { "The records do not say what the data held." },
        }
        h3 { "Files" }
        (files(dir))
    }
}

fn origin(
    dir: &RunDir,
    started: Option<&Started>,
    record: Option<&Record>,
    log: &RunLog,
) -> Vec<(String, Markup)> {
    let mut rows: Vec<(String, Markup)> = Vec::new();
    let mut add = |name: &str, value: Markup| rows.push((name.to_string(), value));
    let logged = |name: &str| log.run.get(name).map(shown);
    if let Some(started) = started {
        add(
            "command",
            html! { code { "archai " (started.arguments.iter().map(|a| quoted(a)).collect::<Vec<_>>().join(" ")) } },
        );
        if !started.folder.as_os_str().is_empty() {
            add("given in", html! { code { (started.folder.display()) } });
        }
        add("program", html! { "archai " (started.program) });
    } else {
        add(
            "command",
            html! { "not known: run.json is missing or cannot be read" },
        );
    }
    if let Some(seed) = record.map(|r| r.seed.to_string()).or(logged("seed")) {
        add("seed", html! { (seed) });
    }
    if let Some(digest) = record.map(|r| &r.digest).or(started.map(|s| &s.digest)) {
        add("digest of the settings", html! { code { (digest) } });
    }
    let device = record
        .map(|r| r.device.clone())
        .or(started.map(|s| s.device.clone()))
        .or(logged("device"));
    let engine = record
        .map(|r| r.engine.clone())
        .or(started.map(|s| s.engine.clone()))
        .or(logged("engine"));
    let threads = logged("threads").map(|n| format!(", threads: {n}"));
    if let (Some(device), Some(engine)) = (device, engine) {
        add(
            "computed on",
            html! { "device " (device) ", engine " (engine) (threads.unwrap_or_default()) },
        );
    }
    if let Some(given) = record.and_then(|r| r.given_desc.as_ref()) {
        add(
            "evaluated description",
            html! { "from a file, digest " code { (given) } },
        );
    }
    if let Some((from, to)) = &log.times {
        add("log written", html! { (from) " to " (to) });
    }
    add("directory", html! { code { (dir.path().display()) } });
    rows
}

/// An argument as a shell takes it.
fn quoted(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./,:+@%".contains(c);
    match !argument.is_empty() && argument.chars().all(plain) {
        true => argument.to_string(),
        false => format!("'{}'", argument.replace('\'', "'\\''")),
    }
}

/// A value of JSON for people.
pub fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The settings of the phase that are not those that the algorithm publishes.
fn settings(lab: &Lab, started: Option<&Started>) -> Markup {
    let Some(started) = started else {
        return html! { p { "Not known: run.json is missing or cannot be read." } };
    };
    let published = match lab.published_settings(started) {
        Ok(published) => published,
        Err(e) => return html! { p { "They cannot be compared: " (e) } },
    };
    let other = match started.phase {
        Phase::Search => "nas.eval.",
        Phase::Eval => "nas.search.",
    };
    let names = started.settings.keys().chain(published.keys());
    let mut names: Vec<&String> = names.filter(|name| !name.starts_with(other)).collect();
    names.sort();
    names.dedup();
    let none = Value::Null;
    let differing: Vec<(&String, &Value, &Value)> = (names.into_iter())
        .map(|name| {
            (
                name,
                started.settings.get(name).unwrap_or(&none),
                published.get(name).unwrap_or(&none),
            )
        })
        .filter(|(_, here, there)| here != there)
        .collect();
    html! {
        @if differing.is_empty() {
            p { "None: all settings of this phase are those that the algorithm publishes (" code { "--full" } ")." }
        } @else {
            details open[differing.len() <= 40] {
                summary { (differing.len()) " of " (started.settings.len()) " settings, compared with " code { "--full" } }
                div.table tabindex="0" role="group" aria-label="Settings that differ" { table {
                    thead { tr { th { "setting" } th { "here" } th { "published" } } }
                    tbody {
                        @for (name, here, there) in differing {
                            tr { td { code { (name) } } td { (shown(here)) } td { (shown(there)) } }
                        }
                    }
                } }
            }
        }
    }
}

fn data(parts: &Data) -> Markup {
    html! {
        div.table tabindex="0" role="group" aria-label="Data" { table {
            thead { tr { th { "part" } th.n { "images" } th.n { "classes" } th { "digest" } } }
            tbody {
                @for (name, part) in parts {
                    tr {
                        td { (name) }
                        td.n { (thousands(part.images as u64)) }
                        td.n { (part.per_class.len()) }
                        td { code { (part.digest) } }
                    }
                }
            }
        } }
    }
}

fn files(dir: &RunDir) -> Markup {
    let mut found = Vec::new();
    let complete = list(dir.path(), dir.path(), &mut found);
    found.sort();
    let all: u64 = found.iter().map(|(_, size)| size).sum();
    html! {
        @if let Err(e) = &complete { p { "Not all files could be listed: " (e) } }
        details {
            summary { (found.len()) " files, " (bytes(all)) }
            div.table tabindex="0" role="group" aria-label="Files" { table {
                thead { tr { th { "file" } th.n { "size" } } }
                tbody {
                    @for (name, size) in found.iter().take(MOST_FILES) {
                        tr { td { code { (name) } } td.n { (bytes(*size)) } }
                    }
                }
            } }
            @if found.len() > MOST_FILES { p { "The first " (MOST_FILES) " are listed." } }
        }
    }
}

/// The files below `dir` with their sizes; hidden ones, links and this page aside.
fn list(root: &Path, dir: &Path, found: &mut Vec<(String, u64)>) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        let name = path
            .strip_prefix(root)
            .unwrap_or(&path)
            .to_string_lossy()
            .into_owned();
        if entry.file_name().to_string_lossy().starts_with('.') || name == REPORT_FILE {
            continue;
        }
        if kind.is_dir() {
            list(root, &path, found)?;
        } else if kind.is_file() {
            found.push((name, entry.metadata()?.len()));
        }
    }
    Ok(())
}
