//! Which address shows what. Nothing of an address becomes part of a path of files: runs are found by their ids among those that
//! are known, files by their names in a fixed list.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use archai_lab::Phase;
use serde_json::{Value, json};

use crate::files;
use crate::gate::{Entry, Gate};
use crate::http::{Answer, Body, HTML, JSON, Method, Refusal, Request, TEXT};
use crate::pages::{self, Page};
use crate::phase::PhaseSeen;
use crate::runs::RunSeen;
use crate::store::{Snapshot, Store};

/// Most runs that are compared.
const MOST_COMPARED: usize = 8;

const NOT_FOUND: Refusal = Refusal(
    404,
    "there is no such page; all runs are listed on the first one",
);

/// Answers requests.
pub struct Routes {
    pub store: Arc<Store>,
    pub gate: Arc<Gate>,
    pub port: u16,
}

/// What a page is told of.
pub enum Feed {
    /// Of all runs.
    All,
    /// Of these.
    Runs(Vec<String>),
}

impl Feed {
    /// What a request wants to be told of.
    pub fn of(request: &Request) -> Self {
        match request.asked("runs") {
            None | Some("") => Feed::All,
            Some(ids) => Feed::Runs(ids.split(',').map(str::to_string).collect()),
        }
    }

    /// A number that changes with what the page shows.
    pub fn version(&self, snapshot: &Snapshot, store: &Store) -> u64 {
        let mut hasher = DefaultHasher::new();
        match self {
            Feed::All => snapshot.version.hash(&mut hasher),
            Feed::Runs(ids) => {
                for run in ids.iter().filter_map(|id| snapshot.run(id)) {
                    for seen in &run.phases {
                        (seen.version, seen.state.name()).hash(&mut hasher);
                        let asked = seen
                            .worker
                            .as_ref()
                            .is_some_and(|worker| store.is_asked(worker));
                        (asked, seen.dir.path()).hash(&mut hasher);
                    }
                    run.state().name().hash(&mut hasher);
                }
            }
        }
        hasher.finish()
    }
}

impl Routes {
    /// The answer to a request.
    ///
    /// # Errors
    /// Why there is none.
    pub fn answer(&self, request: &Request) -> Result<Answer, Refusal> {
        self.gate.check_origin(request)?;
        let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
        if request.method != Method::Post {
            // Style and script hold nothing of anybody's.
            match path.as_slice() {
                ["app.css"] => {
                    return Ok(Answer::new(200, "text/css; charset=utf-8", pages::style()));
                }
                ["app.js"] => {
                    return Ok(Answer::new(
                        200,
                        "text/javascript; charset=utf-8",
                        pages::script(),
                    ));
                }
                ["favicon.svg"] => return Ok(Answer::new(200, "image/svg+xml", pages::ICON)),
                _ => {}
            }
        }
        if self.gate.let_in(request, self.port)? == Entry::New {
            let plain = format!("/{}", request.path.join("/"));
            // An address that begins with two slashes would lead elsewhere.
            let plain = if plain.starts_with("//") {
                "/".to_string()
            } else {
                plain
            };
            let plain = percent_encoding::utf8_percent_encode(&plain, IN_PATH).to_string();
            return Ok(Answer::new(303, TEXT, "")
                .with("Location", plain)
                .with("Set-Cookie", self.gate.cookie(self.port)));
        }
        match (request.method, path.as_slice()) {
            (Method::Post, ["runs", id, "stop"]) => {
                self.gate.check_action(request)?;
                self.stop(id)
            }
            (Method::Post, _) => Err(Refusal(405, "nothing is changed at that address")),
            (_, ["events"]) => Ok(Answer {
                body: Body::Stream,
                ..Answer::new(200, "text/event-stream", "")
            }),
            (_, ["now"]) => Ok(self.now()),
            (_, ["runs", id, phase, "files", name]) => {
                let snapshot = self.store.fresh();
                let (_, seen) = find(&snapshot, id, phase)?;
                self.file(seen, name)
            }
            (_, [page @ .., "pieces"]) => {
                let page = self.page(page, request)?;
                let have = request.asked("have").unwrap_or_default();
                Ok(Answer::new(200, JSON, pieces(&page, have).to_string()))
            }
            (_, page) => {
                let page = self.page(page, request)?;
                Ok(Answer::new(200, HTML, pages::whole(&page)))
            }
        }
    }

    /// What a page shows now.
    fn page(&self, path: &[&str], request: &Request) -> Result<Page, Refusal> {
        let snapshot = self.store.fresh();
        match path {
            [""] | [] => Ok(pages::list(&self.store, &snapshot)),
            ["compare"] => {
                let ids = request.asked("runs").unwrap_or_default();
                let runs = ids.split(',').filter_map(|id| snapshot.run(id));
                let runs: Vec<&RunSeen> = runs.take(MOST_COMPARED).collect();
                Ok(pages::compare(&self.store, &runs))
            }
            ["runs", id, phase] => {
                let (run, seen) = find(&snapshot, id, phase)?;
                Ok(pages::run(&self.store, run, seen))
            }
            _ => Err(NOT_FOUND),
        }
    }

    /// Leads to the run that goes on, or else to the list.
    fn now(&self) -> Answer {
        use archai_lab::runs::RunState::{Running, Waiting};
        let snapshot = self.store.fresh();
        let mut runs = snapshot.runs.iter();
        let going = runs.find(|run| matches!(run.state(), Running | Waiting));
        let place = going.and_then(|run| Some(pages::address(run, run.present()?.phase)));
        let place = place.unwrap_or_else(|| "/?now".to_string());
        Answer::new(303, TEXT, "").with("Location", place)
    }

    fn stop(&self, id: &str) -> Result<Answer, Refusal> {
        let snapshot = self.store.fresh();
        let run = snapshot.run(id).ok_or(NOT_FOUND)?;
        let (status, said) = match self.store.stop(run) {
            Ok(said) => (200, said),
            Err(why) => (409, why),
        };
        Ok(Answer::new(
            status,
            JSON,
            json!({ "said": said }).to_string(),
        ))
    }

    fn file(&self, seen: &PhaseSeen, name: &str) -> Result<Answer, Refusal> {
        let offer = files::OFFERS
            .iter()
            .find(|offer| offer.name == name)
            .ok_or(NOT_FOUND)?;
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() || "._-".contains(c) {
                c
            } else {
                '_'
            }
        };
        let own: String = seen.dir.name().chars().map(plain).collect();
        let fields = format!("attachment; filename=\"{own}-{}\"", offer.name);
        if offer.is_made {
            let page = archai_report::run_page(&self.store.lab, &seen.dir);
            let page = page.map_err(|_| Refusal(404, "the run has no page yet"))?;
            return Ok(Answer::new(200, HTML, page).with("Content-Disposition", fields));
        }
        let missing = Refusal(404, "the run has not written that file");
        let (file, length) = files::open(&self.store.root, &seen.dir, offer).ok_or(missing)?;
        let answer = Answer {
            body: Body::File(file, length),
            ..Answer::new(200, "application/octet-stream", "")
        };
        Ok(answer.with("Content-Disposition", fields))
    }
}

/// What is written otherwise in the path of an address.
const IN_PATH: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'\\')
    .add(b'`');

/// The run of an id, and its phase.
fn find<'a>(
    snapshot: &'a Snapshot,
    id: &str,
    phase: &str,
) -> Result<(&'a RunSeen, &'a PhaseSeen), Refusal> {
    let phase = Phase::ALL
        .into_iter()
        .find(|own| own.name() == phase)
        .ok_or(NOT_FOUND)?;
    let run = snapshot.run(id).ok_or(NOT_FOUND)?;
    Ok((run, run.phase(phase).ok_or(NOT_FOUND)?))
}

/// The parts of a page, those that a browser has left out.
fn pieces(page: &Page, have: &str) -> Value {
    let have: Vec<&str> = have.split(',').collect();
    let pieces = page.pieces.iter().map(|piece| {
        let hash = piece.hash();
        match have.contains(&hash.as_str()) {
            true => json!({ "id": piece.id, "hash": hash }),
            false => json!({ "id": piece.id, "hash": hash, "html": piece.html }),
        }
    });
    json!({ "title": page.title, "pieces": pieces.collect::<Vec<_>>() })
}
