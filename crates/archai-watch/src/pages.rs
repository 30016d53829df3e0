//! What stands on the pages: the list of runs, a run, runs beside each other. A page is made of pieces, of which a browser gets
//! those anew that have changed.

use archai_lab::progress::PhaseProgress;
use archai_lab::runs::{RunState, Works};
use archai_lab::{Phase, RunDir};
use archai_report::{SCRIPT, ViewSection};
use archai_spec::numbers::percent;
use jiff::{SignedDuration, Timestamp};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::files::offered;
use crate::http::{Answer, HTML, Refusal};
use crate::phase::PhaseSeen;
use crate::runs::RunSeen;
use crate::store::{Snapshot, Store};

const OWN_STYLE: &str = include_str!("watch.css");
const OWN_SCRIPT: &str = include_str!("watch.js");
/// Three nodes of a cell.
pub const ICON: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 32 32\"><path d=\"M7 8L25 16L7 24\" fill=\"none\" stroke=\"#1f6fc4\" stroke-width=\"3\"/><circle cx=\"7\" cy=\"8\" r=\"5\" fill=\"#2c8556\"/><circle cx=\"7\" cy=\"24\" r=\"5\" fill=\"#c8611f\"/><circle cx=\"25\" cy=\"16\" r=\"5\" fill=\"#1f6fc4\"/></svg>";

/// The style of all pages.
pub fn style() -> String {
    format!("{}\n{OWN_STYLE}", archai_report::style())
}

/// The script of all pages.
pub fn script() -> String {
    format!("{SCRIPT}\n{OWN_SCRIPT}")
}

/// A page at a moment.
pub struct Page {
    /// What it is called.
    pub title: String,
    /// Where its pieces are, with what is asked of them.
    source: String,
    /// Where it is told of news.
    feed: String,
    /// What always stands above its pieces.
    above: Markup,
    /// Its parts.
    pub pieces: Vec<Piece>,
}

/// A part of a page.
pub struct Piece {
    /// By which it is known, and its anchor.
    pub id: String,
    /// The whole element.
    pub html: String,
}

impl Piece {
    fn new(id: &str, content: &Markup) -> Self {
        Piece {
            id: id.to_string(),
            html: content.0.clone(),
        }
    }

    fn section(section: &ViewSection) -> Self {
        let html = html! {
            @if section.id != "answers" { h2 { (section.title) } }
            (PreEscaped(&section.html))
        };
        Piece::new(&section.id, &html)
    }

    /// By which it is seen whether it has changed.
    pub fn hash(&self) -> String {
        let hash = blake3::hash(self.html.as_bytes()).to_hex();
        hash.chars().take(12).collect()
    }
}

/// A page as a document.
pub fn whole(page: &Page) -> String {
    let body = html! {
        body data-source=(page.source) data-feed=(page.feed) {
            (top(true))
            main #main {
                (page.above)
                div #pieces {
                    @for piece in &page.pieces {
                        section id=(piece.id) data-piece=(piece.id) data-hash=(piece.hash()) { (PreEscaped(&piece.html)) }
                    }
                }
            }
            p #said role="status" {}
            script src="/app.js" {}
        }
    };
    document(&page.title, &body)
}

fn top(is_live: bool) -> Markup {
    html! {
        a.skip href="#main" { "To the contents" }
        header.top {
            a.home href="/" { "archai" span.soft { " · runs" } }
            @if is_live { span #link.soft { "not live: this page needs JavaScript to follow runs" } }
            button #theme type="button" hidden { "Light or dark" }
        }
    }
}

fn document(title: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="no-referrer";
                title { (title) " · archai" }
                link rel="icon" href="/favicon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/app.css";
            }
            (body)
        }
    };
    page.into_string()
}

/// The page of a refusal.
pub fn refused(Refusal(status, why): Refusal) -> Answer {
    let body = html! {
        body {
            (top(false))
            main #main {
                h1 { @match status { 404 => "Not here", 401 => "The token is missing", _ => "Refused" } }
                p { (capital(why)) "." }
            }
            script src="/app.js" {}
        }
    };
    Answer::new(status, HTML, document("Refused", &body))
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

/// The address of a phase of a run.
pub fn address(run: &RunSeen, phase: Phase) -> String {
    format!("/runs/{}/{}", run.id, phase.name())
}

/// A state as a coloured word.
fn badge(state: RunState) -> Markup {
    html! { span class={ "state " (state.name()) } { (state.name()) } }
}

/// `50 s`, `12 min`, `3.5 h`, `2.1 d`.
fn span(seconds: f64) -> String {
    match seconds.max(0.0) {
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s if s < 129_600.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.1} d", s / 86_400.0),
    }
}

/// How long ago something was; the page counts on by itself.
fn ago(at: Option<f64>, now: f64) -> Markup {
    html! {
        @match at {
            Some(at) => span.ago data-at=(format!("{at:.0}")) { (span(now - at)) " ago" },
            None => "–",
        }
    }
}

/// `epoch 3 of 50`.
fn epochs(progress: &PhaseProgress) -> Option<String> {
    let network = match progress.trainings {
        0 | 1 => String::new(),
        n => format!("network {n}, "),
    };
    (progress.epochs > 0)
        .then(|| format!("{network}epoch {} of {}", progress.epoch, progress.epochs))
}

/// The share of the present training that is done, once there is one.
fn share(progress: &PhaseProgress) -> Option<f64> {
    (progress.epochs > 0).then_some(progress.fraction)
}

/// Seconds that the present training still takes.
fn left(progress: &PhaseProgress, store: &Store) -> Option<f64> {
    let now = Timestamp::from_duration(SignedDuration::from_secs_f64(store.now())).ok()?;
    progress.left(now).map(|left| left.as_secs_f64())
}

/// The last accuracy of the present training, and of which data.
fn measured(progress: &PhaseProgress) -> Option<(f64, &'static str)> {
    let of = match progress.top1_of? {
        "val" => "validation",
        "train" => "training",
        of => of,
    };
    Some((progress.top1?, of))
}

fn bar(progress: &PhaseProgress, what: &str) -> Markup {
    html! {
        @if let Some(share) = share(progress) {
            progress max="1" value=(format!("{share:.4}")) aria-label=(what) {}
        }
    }
}

/// The accuracy that says most about a run, and what it was measured on.
fn accuracy(run: &RunSeen) -> Option<(f64, &'static str)> {
    let tested = run.phases.iter().rev().find_map(|seen| seen.test_top1);
    let present = || run.present().and_then(|seen| measured(&seen.progress));
    let searched = || run.phases.iter().find_map(|seen| seen.supernet_top1);
    let searched = || searched().map(|v| (v, "validation"));
    tested
        .map(|v| (v, "test"))
        .or_else(present)
        .or_else(searched)
}

/// The list of all runs.
pub fn list(store: &Store, snapshot: &Snapshot) -> Page {
    let place = store.root.display().to_string();
    Page {
        title: "Runs".to_string(),
        source: "/pieces".to_string(),
        feed: "/events".to_string(),
        above: html! {
            h1 { "Runs" }
            p.soft { "Below " code { (place) } "." }
            div.tools {
                label { "Filter " input #filter type="search" placeholder="name, algorithm, data" autocomplete="off"; }
                label { "State " select #state {
                    option value="" { "all" }
                    @for state in RunState::ALL { option value=(state.name()) { (state.name()) } }
                } }
                button #compare type="button" disabled { "Compare" }
                span #shown.soft {}
            }
        },
        pieces: vec![Piece::new("runs", &table(store, &snapshot.runs))],
    }
}

fn table(store: &Store, runs: &[RunSeen]) -> Markup {
    if runs.is_empty() {
        return html! {
            p.note {
                "There is no run yet. One appears here as soon as it begins: "
                code { "archai run --algos darts --logdir " (store.root.display()) }
            }
        };
    }
    let column = |key: &str, title: &str, class: &str| {
        html! { th class=(class) scope="col" { button type="button" data-sort=(key) { (title) } } }
    };
    html! {
        div.table.runs tabindex="0" role="region" aria-label="All runs" { table {
            thead { tr {
                th scope="col" { span.hidden { "Compare" } }
                (column("name", "run", "")) (column("state", "state", "")) (column("share", "progress", ""))
                (column("top1", "accuracy", "n")) (column("left", "time left", "n"))
                (column("algorithm", "algorithm", "")) (column("dataset", "data", "")) (column("seed", "seed", "n"))
                (column("changed", "last change", "n"))
            } }
            tbody { @for run in runs { (row(store, run)) } }
        } }
    }
}

fn row(store: &Store, run: &RunSeen) -> Markup {
    let (state, present) = (run.state(), run.present());
    let progress = present.map(|seen| &seen.progress);
    let left = progress
        .filter(|_| state == RunState::Running)
        .and_then(|progress| left(progress, store));
    let share = match state {
        RunState::Complete => Some(1.0),
        _ => progress.and_then(share),
    };
    let top1 = accuracy(run);
    let place = present.map_or_else(|| "/".to_string(), |seen| address(run, seen.phase));
    let text = |of: fn(&PhaseSeen) -> Option<&String>| run.phases.iter().find_map(of);
    let algorithm = text(|seen| seen.algorithm.as_ref());
    let dataset = text(|seen| seen.dataset.as_ref());
    let seed = run.phases.iter().find_map(|seen| seen.seed);
    let number = |v: Option<f64>| v.map_or(String::new(), |v| format!("{v:.6}"));
    html! {
        tr data-id=(run.id) data-state=(state.name()) data-href=(place) {
            td.pick { input type="checkbox" name="pick" value=(run.id) aria-label={ "Compare " (run.name) }; }
            th scope="row" data-key="name" data-v=(run.name) { a href=(place) { (breakable(&run.name)) } }
            td data-key="state" data-label="state" data-v=(state.name()) {
                (badge(state))
                @if let Some(detail) = run.detail().filter(|_| state != RunState::Running) { " " span.detail { (detail) } }
            }
            td data-key="share" data-label="progress" data-v=(number(share)) {
                @if let Some(seen) = present {
                    @match (state, epochs(&seen.progress)) {
                        (RunState::Complete, _) => span.soft { (phases(run)) },
                        (_, Some(epochs)) => { (bar(&seen.progress, &format!("Progress of {}", run.name))) span.steps { (seen.phase) ", " (epochs) } },
                        (_, None) => span.soft { (seen.phase) },
                    }
                }
            }
            td.n data-key="top1" data-label="accuracy" data-v=(number(top1.map(|t| t.0))) {
                @match top1 { Some((v, on)) => { (percent(v)) " " span.soft { (on) } }, None => "–" }
            }
            td.n data-key="left" data-label="time left" data-v=(number(left)) { @match left { Some(left) => { "about " (span(left)) }, None => "–" } }
            td data-key="algorithm" data-label="algorithm" data-v=(algorithm.map_or("", String::as_str)) { (algorithm.map_or("–", String::as_str)) }
            td data-key="dataset" data-label="data" data-v=(dataset.map_or("", String::as_str)) { (dataset.map_or("–", String::as_str)) }
            td.n data-key="seed" data-label="seed" data-v=(number(seed.map(|n| n as f64))) { @match seed { Some(seed) => (seed), None => "–" } }
            td.n data-key="changed" data-label="last change" data-v=(number(run.changed())) { (ago(run.changed(), store.now())) }
        }
    }
}

/// `search, evaluation`: the phases that are there.
fn phases(run: &RunSeen) -> String {
    let names = run.phases.iter().map(|seen| seen.phase.name());
    names.collect::<Vec<_>>().join(", ")
}

/// A name that may be broken behind each `_`.
fn breakable(name: &str) -> Markup {
    html! { @for part in name.split_inclusive('_') { (part) wbr; } }
}

/// The page of a phase of a run.
pub fn run(store: &Store, run: &RunSeen, seen: &PhaseSeen) -> Page {
    let place = address(run, seen.phase);
    let mut page = Page {
        title: run.name.clone(),
        source: format!("{place}/pieces"),
        feed: format!("/events?runs={}", run.id),
        above: html! {},
        pieces: Vec::new(),
    };
    let view = store.views.of(&store.lab, seen);
    let title = match &view {
        Ok(view) => view.title.clone(),
        Err(_) => format!("{}: the {}", run.name, seen.phase),
    };
    page.title = format!("{} · {title}", seen.state.name());
    page.pieces
        .push(Piece::new("head", &head(store, run, seen, &title)));
    match view {
        Ok(view) => {
            page.pieces
                .push(Piece::new("contents", &contents(&view.sections)));
            let sections = view.sections.iter().map(|section| {
                let html = with_links(&section.html, run, &seen.dir);
                Piece::section(&ViewSection {
                    html,
                    ..section.clone()
                })
            });
            page.pieces.extend(sections);
        }
        Err(why) => {
            let body = html! {
                @match seen.state {
                    RunState::Waiting | RunState::Running => p.note { "The phase is about to begin: nothing was logged yet." },
                    _ => p.note { "Nothing can be shown: " (why) },
                }
            };
            page.pieces.push(Piece::new("nothing", &body));
        }
    }
    page
}

/// Pages of run directories lead to those beside them; here these have other addresses.
fn with_links(html: &str, run: &RunSeen, dir: &RunDir) -> String {
    let mut html = html.to_string();
    for other in run.phases.iter().filter(|seen| seen.dir != *dir) {
        let written = html! { a href={ "../" (other.dir.name()) "/report.html" } {} }.into_string();
        let Some(written) = written
            .strip_prefix("<a ")
            .and_then(|rest| rest.strip_suffix("></a>"))
        else {
            continue;
        };
        html = html.replace(written, &format!("href=\"{}\"", address(run, other.phase)));
    }
    html
}

fn contents(sections: &[ViewSection]) -> Markup {
    html! {
        nav aria-label="Sections" { ul {
            @for section in sections.iter().filter(|section| section.id != "answers") {
                li { a href={ "#" (section.id) } { (section.title) } }
            }
        } }
    }
}

fn head(store: &Store, run: &RunSeen, seen: &PhaseSeen, title: &str) -> Markup {
    let progress = &seen.progress;
    let works = seen
        .worker
        .as_ref()
        .filter(|_| matches!(seen.state, RunState::Running | RunState::Waiting));
    let is_asked = works.is_some_and(|worker| store.is_asked(worker));
    let others = run.phases.iter().filter(|other| other.phase != seen.phase);
    let goes_on = others
        .into_iter()
        .find(|other| other.state == RunState::Running);
    html! {
        h1 { (title) }
        p.soft { code { (run.name) } }
        nav.tabs aria-label="Phases" { ul {
            @for own in &run.phases {
                li { a href=(address(run, own.phase)) aria-current=[(own.phase == seen.phase).then_some("page")] { (capital(own.phase.name())) } " " (badge(own.state)) }
            }
        } }
        div.now {
            p {
                (badge(seen.state))
                @if let Some(epochs) = epochs(progress).filter(|_| seen.state != RunState::Complete) { " " strong { (epochs) } }
                @if seen.state == RunState::Running {
                    @if let Some(left) = left(progress, store) { " · about " (span(left)) " left in this training" }
                }
                @if let Some((v, on)) = measured(progress).filter(|_| seen.state != RunState::Complete) { " · " (percent(v)) " on " (on) " data" }
                " · last change " (ago(seen.changed, store.now()))
            }
            @if seen.state != RunState::Complete { (bar(progress, "Progress of this training")) }
            @if let Some(detail) = &seen.detail { p.soft { (capital(detail)) "." } }
            @if matches!(run.state(), RunState::Interrupted | RunState::Failed) && works.is_none() && goes_on.is_none() {
                p { "To go on where it stopped: " code { "archai resume " (seen.dir.path().display()) } }
            }
            @if let Some(other) = goes_on {
                p.note { a href=(address(run, other.phase)) { "The " (other.phase) " goes on" } " at the moment." }
            }
            div.actions {
                @match works.map(|worker| worker.works) {
                    Some(Works::Yes) if is_asked => strong { "It stops after its present step." },
                    Some(Works::Yes) => button.stop type="button" data-stop={ "/runs/" (run.id) "/stop" } { "Stop after this step" },
                    Some(_) => span.soft { "It runs on another machine, where it can be stopped (Ctrl-C)." },
                    None => {},
                }
                details.menu {
                    summary { "Take along" }
                    ul {
                        @for offer in offered(&seen.dir) {
                            li { a href={ (address(run, seen.phase)) "/files/" (offer.name) } download { (offer.what) } }
                        }
                    }
                }
            }
        }
    }
}

/// Runs beside each other.
pub fn compare(store: &Store, runs: &[&RunSeen]) -> Page {
    let ids: Vec<&str> = runs.iter().map(|run| run.id.as_str()).collect();
    let ids = ids.join(",");
    let head = html! {
        h1 { "Runs beside each other" }
        @if runs.len() < 2 { p.note { "Choose two runs or more in " a href="/" { "the list" } "." } }
        div.table tabindex="0" role="region" aria-label="The compared runs" { table {
            thead { tr { th { "run" } th { "state" } th { "accuracy" } th { "progress" } } }
            tbody { @for run in runs {
                tr {
                    th scope="row" { @if let Some(seen) = run.present() { a href=(address(run, seen.phase)) { (run.name) } } }
                    td { (badge(run.state())) }
                    td.n { @match accuracy(run) { Some((v, on)) => { (percent(v)) " " span.soft { (on) } }, None => "–" } }
                    td { @if let Some(seen) = run.present() { (seen.phase) @if let Some(epochs) = epochs(&seen.progress) { ", " (epochs) } } }
                }
            } }
        } }
    };
    let phases = runs
        .iter()
        .flat_map(|run| run.phases.iter().map(|seen| (run.name.clone(), seen)));
    let sections = store
        .views
        .compared(&store.lab, &phases.collect::<Vec<_>>());
    let mut pieces = vec![
        Piece::new("head", &head),
        Piece::new("contents", &contents(&sections)),
    ];
    pieces.extend(sections.iter().map(Piece::section));
    Page {
        title: "Runs beside each other".to_string(),
        source: format!("/compare/pieces?runs={ids}"),
        feed: format!("/events?runs={ids}"),
        above: html! {},
        pieces,
    }
}
