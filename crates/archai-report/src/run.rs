//! The page of one run directory.

use std::collections::BTreeMap;

use archai_lab::config::supernet_of_run;
use archai_lab::dirs::RunDirs;
use archai_lab::rundir::{FOUND_DESC, RunDir};
use archai_lab::{Lab, Phase, Record, Started};
use archai_spec::desc::ModelDesc;
use archai_spec::numbers::{percent, thousands};
use maud::{Markup, html};
use serde_json::{Value, json};

use crate::live::{RunView, ViewSection};
use crate::log::{RunLog, Training};
use crate::mistakes::Judged;
use crate::page::{Card, Section, Tone, page};
use crate::words::wilson;
use crate::{ReportError, alphas, cells, curves, provenance, speed, verdict};

/// Everything that a directory tells, with what could not be read.
struct Run<'a> {
    lab: &'a Lab,
    dir: &'a RunDir,
    phase: Phase,
    started: Option<Started>,
    record: Option<Record>,
    log: &'a RunLog,
    found: Option<ModelDesc>,
    scaled: Option<ModelDesc>,
    supernet: Option<ModelDesc>,
    /// What the test said picture by picture, and that of each network where there are several.
    judged: Option<Judged>,
    gallery: BTreeMap<usize, Judged>,
    /// Sentences about what is missing or damaged.
    problems: Vec<String>,
}

/// The page of the run directory `dir`: of a search or of an evaluation, finished or not. What cannot be read is left out, and
/// the page says so.
///
/// # Errors
/// A directory that no run made.
pub fn run_page(lab: &Lab, dir: &RunDir) -> Result<String, ReportError> {
    let mut problems = Vec::new();
    let log = match dir.machine_log() {
        Ok(Some(path)) => noted(RunLog::read(&path), "the log", &mut problems),
        Ok(None) => {
            problems.push("There is no log for programs (log.jsonl): curves and architecture parameters are left out.".into());
            None
        }
        Err(e) => noted(Err(e), "the log", &mut problems),
    };
    let log = log.unwrap_or_default();
    Ok(Run::read(lab, dir, &log, problems)?.page())
}

/// The same page in pieces, of a log that somebody else reads.
pub(crate) fn run_view(
    lab: &Lab,
    dir: &RunDir,
    log: &RunLog,
    problems: Vec<String>,
) -> Result<RunView, ReportError> {
    let run = Run::read(lab, dir, log, problems)?;
    let answers = Section {
        id: "answers",
        title: "Answers",
        body: run.intro(),
    };
    let sections = std::iter::once(answers).chain(run.sections());
    Ok(RunView {
        title: run.title(),
        phase: run.phase,
        state: run.state().into_string(),
        sections: sections.map(ViewSection::from).collect(),
    })
}

impl<'a> Run<'a> {
    fn read(
        lab: &'a Lab,
        dir: &'a RunDir,
        log: &'a RunLog,
        mut problems: Vec<String>,
    ) -> Result<Self, ReportError> {
        // What is known of the log says nothing about whether there is a run.
        let of_log = problems.len();
        let started = noted(dir.started(), "how it was started", &mut problems).flatten();
        let record = noted(dir.record(), "its result", &mut problems).flatten();
        let phase = record
            .as_ref()
            .map(|r| r.phase)
            .or(started.as_ref().map(|s| s.phase));
        let Some(phase) = phase else {
            let why = match &problems[of_log..] {
                [] => "they are not there".to_string(),
                problems => problems.join("; "),
            };
            return Err(ReportError::NoRun {
                path: dir.path().to_path_buf(),
                why,
            });
        };
        if log.damaged > 0 {
            problems.push(format!(
                "{} of the log could not be read and are left out: a process that was killed leaves half a line, other damage \
                 means that curves may have gaps.",
                crate::words::plural(log.damaged, "line")
            ));
        }
        let catalog = lab.components().ops.catalog();
        let found = noted(
            dir.found_desc(catalog),
            "the found description",
            &mut problems,
        )
        .flatten();
        let scaled = match phase {
            Phase::Eval => noted(
                dir.scaled_desc(catalog),
                "the scaled description",
                &mut problems,
            )
            .flatten(),
            Phase::Search => None,
        };
        let has_alphas = log
            .trainings
            .iter()
            .any(|t| t.epochs.values().any(|e| !e.alphas.is_empty()));
        let supernet = match has_alphas {
            true => noted(supernet_of_run(lab, dir), "the supernet", &mut problems).flatten(),
            false => None,
        };
        let (judged, gallery) = match (phase, &record) {
            (Phase::Eval, Some(record)) => judged(dir, record, &mut problems),
            _ => (None, BTreeMap::new()),
        };
        Ok(Run {
            lab,
            dir,
            phase,
            started,
            record,
            log,
            found,
            scaled,
            supernet,
            judged,
            gallery,
            problems,
        })
    }

    fn algorithm(&self) -> &str {
        let known = self
            .record
            .as_ref()
            .map(|r| &r.algorithm)
            .or(self.started.as_ref().map(|s| &s.algorithm));
        known.map_or("a run", String::as_str)
    }

    fn setting(&self, name: &str) -> Option<&Value> {
        let own = self
            .record
            .as_ref()
            .map(|r| &r.settings)
            .or(self.started.as_ref().map(|s| &s.settings));
        own?.get(name)
    }

    fn dataset(&self) -> String {
        let known = self.record.as_ref().map(|r| match self.phase {
            Phase::Search => r.dataset.clone(),
            Phase::Eval => r.eval_dataset.clone(),
        });
        let named = || {
            self.setting("dataset.name")
                .and_then(Value::as_str)
                .map(str::to_string)
        };
        known
            .or_else(named)
            .unwrap_or_else(|| "its data".to_string())
    }

    /// The accuracy of guessing.
    fn chance(&self) -> Option<f64> {
        let key = match self.phase {
            Phase::Search => "nas.search.loader.dataset.n_classes",
            Phase::Eval => "nas.eval.loader.dataset.n_classes",
        };
        let n = self
            .setting(key)
            .or(self.setting("dataset.n_classes"))?
            .as_u64()?;
        (n > 0).then(|| 1.0 / n as f64)
    }

    fn figure(&self, name: &str) -> Option<f64> {
        self.record.as_ref()?.figures.get(name).copied()
    }

    /// The training whose architecture parameters were searched.
    fn searched(&self) -> Option<&Training> {
        self.log.searched()
    }

    fn title(&self) -> String {
        format!(
            "{} on {}: the {}",
            self.algorithm(),
            self.dataset(),
            self.phase
        )
    }

    /// What is to be noted, and the answers.
    fn intro(&self) -> Markup {
        let cards = match self.phase {
            Phase::Search => self.search_cards(),
            Phase::Eval => self.eval_cards(),
        };
        html! {
            (self.notes())
            div.cards { @for card in &cards { (card.draw()) } }
        }
    }

    fn page(&self) -> String {
        page(
            &self.title(),
            self.state(),
            self.intro(),
            self.sections(),
            &self.data(),
        )
    }

    /// Whether it is finished, and what kind of run it is.
    fn state(&self) -> Markup {
        let finished = self.record.is_some();
        html! {
            p.soft {
                @if finished { "Finished" } @else { strong { "Not finished" } }
                @if let Some(seconds) = self.figure("search_seconds").or(self.figure("eval_seconds")) {
                    " in " (archai_lab::summary::time(seconds))
                }
                @if let Some(epochs) = self.log.trainings.last().filter(|_| !finished) {
                    ": " (epochs.epochs.len()) " epochs logged"
                    @if let Some(n) = epochs.planned_epochs() { " of " (n) }
                    @if let Some(left) = speed::time_left(epochs) { ", about " (archai_lab::summary::time(left)) " left" }
                }
                @if let Some(seed) = self.setting("common.seed") { " · seed " (seed) }
                @if let Some((_, to)) = &self.log.times { " · last entry " (to.split('.').next().unwrap_or(to).replace('T', " ")) " UTC" }
            }
        }
    }

    fn notes(&self) -> Markup {
        html! {
            @if self.started.as_ref().is_some_and(Started::is_toy) {
                p.note { "These are not the published settings (" code { "--full" } "), but small networks, few images, few epochs. Its figures show that everything works, not what the algorithm can do." }
            }
            @for problem in &self.problems { p.note { (problem) } }
        }
    }

    fn search_cards(&self) -> Vec<Card> {
        let found = verdict::found(
            self.found.as_ref(),
            self.dir.file(FOUND_DESC).exists(),
            self.record.is_some(),
            self.log.last_message.as_deref(),
        );
        vec![
            found,
            self.search_quality(),
            verdict::collapse(
                self.phase,
                self.found.as_ref(),
                self.searched(),
                self.log,
                None,
            ),
        ]
    }

    /// How good the network is that a search found: only its evaluation says.
    fn search_quality(&self) -> Card {
        let question = "How good it is";
        let shared = self.figure("supernet_val_top1").map(|v| {
            html! {
                "The search itself reached " (percent(v)) " validation accuracy"
                @if self.figure("supernet_parameters").is_some() { " with the weights of the supernet, which ranks ops and says little about the found network alone" }
                "."
            }
        });
        let measured = self.figure("post_train_test_top1").map(|v| {
            html! { "Trained at the size of the search, the found network reached " (percent(v)) " test accuracy." }
        });
        let more = measured.into_iter().chain(shared);
        match self.evaluated() {
            Some((name, record)) => {
                let top1 = record.figures.get("test_top1").copied();
                let images = record.data.get("test").map(|part| part.images);
                let (answer, mut reasons) = match top1 {
                    Some(top1) => verdict::tested(top1, images, self.chance()),
                    None => ("Evaluated without a test".to_string(), Vec::new()),
                };
                reasons.insert(0, html! { "Measured by the " a href={ "../" (name) "/report.html" } { "evaluation beside this search" } ", which trained the found network from scratch." });
                reasons.extend(more);
                Card {
                    question,
                    answer,
                    tone: tone_of(top1, self.chance()),
                    reasons,
                }
            }
            None => {
                let mut reasons: Vec<Markup> = vec![
                    html! { "No finished evaluation of this network lies beside the search: it has not been trained on its own." },
                ];
                reasons.extend(more);
                Card {
                    question,
                    answer: "Not measured yet".to_string(),
                    tone: Tone::Warn,
                    reasons,
                }
            }
        }
    }

    /// The finished evaluation of what this search found, if it lies beside it: its name and its record.
    fn evaluated(&self) -> Option<(String, Record)> {
        let other = RunDir::new(RunDirs::other_phase(self.dir.path())?);
        let record = other.record().ok()??;
        let [ours, theirs] = [self.dir, &other].map(|dir| std::fs::read(dir.file(FOUND_DESC)).ok());
        (ours.is_some() && ours == theirs && record.phase == Phase::Eval)
            .then(|| (other.name(), record))
    }

    fn eval_cards(&self) -> Vec<Card> {
        let size = |name| self.figure(name).map(|v| thousands(v as u64));
        let mut reasons = Vec::new();
        if let Some(desc) = &self.found {
            reasons.push(html! { "Ops of the " (cells::in_words(desc)) "." });
        }
        if let (Some(parameters), Some(macs)) = (size("parameters"), size("macs")) {
            reasons.push(
                html! { (parameters) " parameters, " (macs) " multiply-adds for one picture." },
            );
        }
        if let Some(epochs) = self.figure("epochs") {
            reasons.push(html! { "Trained from scratch for " (epochs) " epochs." });
        }
        let n = self
            .scaled
            .as_ref()
            .or(self.found.as_ref())
            .map(|desc| desc.cells.len());
        let trained = Card {
            question: "What was trained",
            answer: n.map_or("A network".to_string(), |n| {
                format!("A network of {}", crate::words::plural(n, "cell"))
            }),
            tone: Tone::Plain,
            reasons,
        };
        let beside = RunDirs::other_phase(self.dir.path()).filter(|dir| dir.is_dir());
        let beside = beside.map(|dir| RunDir::new(dir).name());
        vec![
            trained,
            self.eval_quality(),
            verdict::collapse(
                self.phase,
                self.found.as_ref(),
                None,
                self.log,
                beside.as_deref(),
            ),
        ]
    }

    fn eval_quality(&self) -> Card {
        let question = "How good it is";
        let Some(top1) = self.figure("test_top1") else {
            let reason = match self.record.is_some() {
                true => "The evaluation made no test.",
                false => "The evaluation is not finished.",
            };
            return Card {
                question,
                answer: "Not measured".into(),
                tone: Tone::Warn,
                reasons: vec![html! { (reason) }],
            };
        };
        let (answer, mut reasons) = verdict::tested(top1, self.test_images(), self.chance());
        if let Some(train) = self.figure("train_top1") {
            reasons.push(html! {
                "On training pictures it is right about " (percent(train)) ", measured while it learnt and with augmentation."
            });
        }
        reasons.extend(self.judged.as_ref().and_then(Judged::headline));
        if let Some(top5) = self.figure("test_top5") {
            reasons
                .push(html! { "The right class is among the first five for " (percent(top5)) "." });
        }
        Card {
            question,
            answer,
            tone: tone_of(Some(top1), self.chance()),
            reasons,
        }
    }

    fn test_images(&self) -> Option<usize> {
        let record = self.record.as_ref()?;
        record.data.get("test").map(|part| part.images)
    }

    fn sections(&self) -> Vec<Section> {
        let mut all = Vec::new();
        let mut add = |id, title, body| all.push(Section { id, title, body });
        if !self.log.warnings.is_empty() {
            add(
                "warnings",
                "Warnings",
                html! { ul.notes { @for text in &self.log.warnings { li { (text) } } } },
            );
        }
        let drawn = self.cells();
        if let Some(body) = drawn {
            add("cells", "The cells", body);
        }
        if let Some(judged) = &self.judged {
            let body = judged.section(self.lab, self.dir, &self.gallery);
            add("predictions", "What it gets right and wrong", body);
        }
        if let Some(body) = curves::section(&self.log.trainings, self.chance()) {
            add("curves", "Curves", body);
        }
        let catalog = self.lab.components().ops.catalog();
        if let Some(body) = self
            .searched()
            .and_then(|t| alphas::section(t, self.supernet.as_ref(), catalog))
        {
            add("alphas", "Architecture parameters", body);
        }
        if let Some(body) = self.scaled.as_ref().and_then(|desc| cost(desc, catalog)) {
            add("cost", "Parameters and multiply-adds by cell", body);
        }
        if let Some(body) = speed::section(self.phase, self.record.as_ref(), self.log) {
            add("speed", "Speed and memory", body);
        }
        if let Some(record) = &self.record {
            add("figures", "Figures of the record", figures(record));
        }
        let body = provenance::section(
            self.lab,
            self.dir,
            self.started.as_ref(),
            self.record.as_ref(),
            self.log,
        );
        add("provenance", "Where it comes from", body);
        all
    }

    fn cells(&self) -> Option<Markup> {
        let genotype = self
            .record
            .as_ref()
            .and_then(|r| r.outcome.get("genotype")?.as_str());
        let over = self
            .searched()
            .zip(self.supernet.as_ref())
            .and_then(|(t, s)| cells::over_epochs(t, s, self.lab));
        if self.found.is_none() && over.is_none() {
            return None;
        }
        Some(html! {
            @if let Some(desc) = &self.found { (cells::found(desc, self.lab.components().ops.catalog())) }
            @if let Some(text) = genotype { p { "As a genotype:" } pre { (text) } }
            @if let Some(over) = over { h3 { "As the search went on" } (over) }
        })
    }

    /// The numbers of the page for programs.
    fn data(&self) -> Value {
        let interval = self
            .figure("test_top1")
            .zip(self.test_images())
            .and_then(|(top1, n)| wilson(top1, n));
        json!({
            "phase": self.phase.to_string(),
            "name": self.dir.name(),
            "finished": self.record.is_some(),
            "figures": self.record.as_ref().map(|r| &r.figures),
            "test_top1_ci95": interval,
            "test": self.judged.as_ref().map(Judged::data),
            "trainings": curves::data(&self.log.trainings),
            "problems": self.problems,
        })
    }
}

/// What the test of a finished evaluation said, counted, and that of each network of a gallery.
fn judged(
    dir: &RunDir,
    record: &Record,
    problems: &mut Vec<String>,
) -> (Option<Judged>, BTreeMap<usize, Judged>) {
    let what = "what the network took for what";
    let Some(top1) = record.figures.get("test_top1") else {
        return (None, BTreeMap::new());
    };
    let Some(said) = noted(dir.predictions(), what, problems) else {
        return (None, BTreeMap::new());
    };
    let Some(said) = said else {
        problems.push(format!(
            "What is known of {what} is left out: there is no file of its test's predictions, as programs before this one left none."
        ));
        return (None, BTreeMap::new());
    };
    let names = class_names(record);
    let judged = Judged::of(&said, names.clone()).and_then(|judged| {
        // A test counts each picture once, and so do its predictions.
        match (judged.top1() - top1).abs() < 1e-6 {
            true => Ok(judged),
            false => Err(format!(
                "{} of the predictions are right, but the test of the record has {}; another test left them",
                percent(judged.top1()),
                percent(*top1)
            )),
        }
    });
    let Some(judged) = noted(judged, what, problems) else {
        return (None, BTreeMap::new());
    };
    let all = noted(dir.predictions_of_gallery(), "the other networks", problems);
    let gallery = all.into_iter().flatten().filter_map(|(number, said)| {
        let judged = Judged::of(&said, names.clone());
        Some((
            number,
            noted(judged, &format!("network {number}"), problems)?,
        ))
    });
    (Some(judged), gallery.collect())
}

/// The names of the classes of an evaluation: numbers where the data did not tell them.
fn class_names(record: &Record) -> Vec<String> {
    let parts = || {
        ["test", "train"]
            .into_iter()
            .filter_map(|part| record.data.get(part))
    };
    let setting = record.settings.get("nas.eval.loader.dataset.n_classes");
    let counted = parts().map(|part| part.per_class.len()).next();
    let n = counted.or(setting.and_then(Value::as_u64).map(|n| n as usize));
    let n = n.unwrap_or(0);
    let told = parts().map(|part| &part.class_names);
    match told.into_iter().find(|names| names.len() == n) {
        Some(names) if n > 0 => names.clone(),
        _ => (0..n).map(|class| format!("class {class}")).collect(),
    }
}

/// An accuracy that is no better than guessing is bad; whether another is good depends on the task.
fn tone_of(top1: Option<f64>, chance: Option<f64>) -> Tone {
    match (top1, chance) {
        (Some(top1), Some(chance)) if top1 <= 1.2 * chance => Tone::Bad,
        (None, _) => Tone::Warn,
        _ => Tone::Plain,
    }
}

/// What was read, or a sentence about why it was not.
fn noted<T, E: std::fmt::Display>(
    result: Result<T, E>,
    what: &str,
    problems: &mut Vec<String>,
) -> Option<T> {
    result
        .map_err(|e| problems.push(format!("What is known of {what} is left out: {e}")))
        .ok()
}

fn cost(desc: &ModelDesc, catalog: &archai_spec::desc::OpCatalog) -> Option<Markup> {
    let cost = desc.cost(catalog).ok()?;
    let stems = cost.stems.iter().copied().sum();
    let mut rows = vec![("stems".to_string(), stems)];
    for (i, (cell, of)) in desc.cells.iter().zip(&cost.cells).enumerate() {
        rows.push((format!("cell {i} ({})", cell.cell_type), of.total()));
    }
    rows.push((
        "pool and classifier".to_string(),
        [cost.pool, cost.logits].into_iter().sum(),
    ));
    let total = cost.total(false);
    let share = |part: u64, all: u64| percent(part as f64 / all.max(1) as f64);
    Some(html! {
        div.table tabindex="0" role="group" aria-label="Parameters and multiply-adds by cell" { table {
            thead { tr { th { "part" } th.n { "parameters" } th.n { "share" } th.n { "multiply-adds" } th.n { "share" } } }
            tbody {
                @for (name, of) in &rows {
                    tr {
                        th scope="row" { (name) }
                        td.n { (thousands(of.params)) } td.n { (share(of.params, total.params)) }
                        td.n { (thousands(of.macs)) } td.n { (share(of.macs, total.macs)) }
                    }
                }
                tr {
                    th scope="row" { "all, without auxiliary towers" }
                    td.n { strong { (thousands(total.params)) } } td.n {}
                    td.n { strong { (thousands(total.macs)) } } td.n {}
                }
            }
        } }
        p.soft { "Multiply-adds are those of one picture." }
    })
}

fn figures(record: &Record) -> Markup {
    html! {
        div.table tabindex="0" role="group" aria-label="Figures of the record" { table {
            thead { tr { th { "figure" } th.n { "value" } } }
            tbody {
                @for (name, value) in &record.figures {
                    tr { td { code { (name) } } td.n data-figure=(name) data-value=(value) {
                        @if name.contains("top1") || name.contains("top5") { (percent(*value)) } @else { (crate::ticks::plain(*value)) }
                    } }
                }
            }
        } }
    }
}
