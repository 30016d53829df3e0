//! Many runs, few numbers: [`collate`] puts runs that differ in nothing but their seed together, and gives mean, standard
//! deviation and confidence interval of every figure, with the random baseline beside it.
//!
//! Each phase of a run leaves its facts as a [`Record`] in `result.json`; [`crate::cli`] reads them back. Nothing here
//! touches files.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use archai_spec::numbers::{percent_bare, thousands_spaced};
use archai_spec::settings::Space;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Name of the file in a run directory that holds its [`Record`].
pub const RECORD_FILE: &str = "result.json";
/// Version of [`Record`]s that this program writes. Others are not read.
pub const RECORD_VERSION: u32 = 1;
/// The algorithm that all others are compared with.
pub const BASELINE: &str = "random";

/// The facts of one phase of a run that ended well, as `result.json` holds them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// [`RECORD_VERSION`].
    pub version: u32,
    /// `search` or `evaluation`.
    pub phase: String,
    /// The algorithm's name.
    pub algorithm: String,
    /// The data set of the search.
    pub dataset: String,
    /// The data set of the evaluation.
    pub eval_dataset: String,
    /// The run's seed.
    pub seed: u64,
    /// Digest of the settings, the seed among them.
    pub digest: String,
    /// What computed it: `fused` or `plain`.
    pub engine: String,
    /// The description that was evaluated, by its digest, where it came from a file of the user's and not from a search.
    pub given_desc: Option<String>,
    /// All settings that change results, by dotted names.
    pub settings: BTreeMap<String, Value>,
    /// Measured numbers by name, for example `test_top1`. Accuracies are fractions, times are seconds.
    pub figures: BTreeMap<String, f64>,
    /// The result as the phase gave it, for a command that is taken up after it.
    #[serde(default)]
    pub outcome: Value,
}

impl Record {
    /// Reads a record.
    ///
    /// # Errors
    /// What is wrong with it, to stand behind its name: another version, or no record.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let damaged = |e: serde_json::Error| format!("is damaged: {e}");
        let value: Value = serde_json::from_str(text).map_err(damaged)?;
        match value["version"].as_u64() {
            Some(v) if v == u64::from(RECORD_VERSION) => {}
            Some(v) => {
                return Err(format!(
                    "has version {v}, this program reads {RECORD_VERSION}"
                ));
            }
            None => return Err("is damaged: it has no version".to_string()),
        }
        let record: Record = serde_json::from_value(value).map_err(damaged)?;
        match record.phase.as_str() {
            "search" | "evaluation" => Ok(record),
            other => Err(format!(
                "is damaged: `{other}` is no phase, expected `search` or `evaluation`"
            )),
        }
    }
}

/// The last sentence in the text of a `log.jsonl`, for people who wonder how far a run got.
pub fn last_message(log: &str) -> Option<String> {
    log.lines().rev().find_map(|line| {
        let record: Value = serde_json::from_str(line).ok()?;
        let message = record.get("message").or_else(|| record.get("text"))?;
        Some(message.as_str()?.to_string())
    })
}

/// How a figure is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Percent,
    Count,
    Seconds,
}

/// The known figures, in the order in which they are shown: names in files, names for people.
const FIGURES: [(&str, &str, Unit); 23] = [
    ("test_top1", "test accuracy", Unit::Percent),
    ("test_top5", "test accuracy (top-5)", Unit::Percent),
    ("val_top1", "validation accuracy", Unit::Percent),
    ("best_val_top1", "best validation accuracy", Unit::Percent),
    ("train_top1", "training accuracy", Unit::Percent),
    ("parameters", "parameters", Unit::Count),
    ("macs", "multiply-adds", Unit::Count),
    ("search_seconds", "seconds of search", Unit::Seconds),
    ("eval_seconds", "seconds of evaluation", Unit::Seconds),
    ("epochs", "epochs of evaluation", Unit::Count),
    (
        "supernet_val_top1",
        "validation accuracy of the supernet",
        Unit::Percent,
    ),
    (
        "supernet_train_top1",
        "training accuracy of the supernet",
        Unit::Percent,
    ),
    (
        "post_train_test_top1",
        "test accuracy at search size",
        Unit::Percent,
    ),
    (
        "search_parameters",
        "parameters at search size",
        Unit::Count,
    ),
    ("search_macs", "multiply-adds at search size", Unit::Count),
    (
        "supernet_parameters",
        "parameters of the supernet",
        Unit::Count,
    ),
    ("alphas", "architecture parameters", Unit::Count),
    (
        "nb201_cifar10_top1",
        "table: true test accuracy on CIFAR-10",
        Unit::Percent,
    ),
    ("nb201_cifar10_rank", "table: rank on CIFAR-10", Unit::Count),
    (
        "nb201_cifar100_top1",
        "table: true test accuracy on CIFAR-100",
        Unit::Percent,
    ),
    (
        "nb201_cifar100_rank",
        "table: rank on CIFAR-100",
        Unit::Count,
    ),
    (
        "nb201_imagenet16_top1",
        "table: true test accuracy on ImageNet16-120",
        Unit::Percent,
    ),
    (
        "nb201_imagenet16_rank",
        "table: rank on ImageNet16-120",
        Unit::Count,
    ),
];
/// The figures that the table of NAS-Bench-201 gives, shown in an overview of their own: accuracy and rank.
const TABLE_FIGURES: [(&str, &str, &str); 3] = [
    ("CIFAR-10", "nb201_cifar10_top1", "nb201_cifar10_rank"),
    ("CIFAR-100", "nb201_cifar100_top1", "nb201_cifar100_rank"),
    (
        "ImageNet16-120",
        "nb201_imagenet16_top1",
        "nb201_imagenet16_rank",
    ),
];

/// A finished run: its search, its evaluation, or both.
#[derive(Clone, Debug, PartialEq)]
pub struct FinishedRun {
    /// What it is called: its directory.
    pub name: String,
    /// The search, if there was one.
    pub search: Option<Record>,
    /// The evaluation, if there was one.
    pub eval: Option<Record>,
}

impl FinishedRun {
    /// An evaluation of a network that was given has nothing to do with a search beside it.
    fn parts(self) -> Vec<FinishedRun> {
        let given = self.eval.as_ref().is_some_and(|e| e.given_desc.is_some());
        if !given || self.search.is_none() {
            return vec![self];
        }
        let search = FinishedRun {
            eval: None,
            ..self.clone()
        };
        vec![
            search,
            FinishedRun {
                search: None,
                ..self
            },
        ]
    }
}

/// A run that does not count, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct LeftOut {
    /// What it is called: its directory.
    pub name: String,
    /// Why it does not count.
    pub reason: String,
}

/// Mean and spread of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sample {
    /// How many numbers.
    pub n: usize,
    /// Their mean.
    pub mean: f64,
    /// Standard deviation of the sample (n − 1 below the line); none of one number.
    pub sd: Option<f64>,
    /// 95 % confidence interval of the mean by Student's t; none of one number.
    pub ci95: Option<[f64; 2]>,
}

impl Sample {
    /// Of at least one number; none of none.
    pub fn of(values: &[f64]) -> Option<Sample> {
        let n = values.len();
        if n == 0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / n as f64;
        let sd = (n > 1).then(|| {
            let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
            (squares / (n - 1) as f64).sqrt()
        });
        let ci95 = sd.map(|sd| interval(mean, sd / (n as f64).sqrt(), (n - 1) as f64));
        Some(Sample { n, mean, sd, ci95 })
    }
}

/// Difference of two means.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// First minus second.
    pub mean: f64,
    /// 95 % confidence interval by Welch's t, which does not take both spreads for equal; none if either sample is one
    /// number.
    pub ci95: Option<[f64; 2]>,
}

impl Difference {
    /// `a` minus `b`.
    pub fn of(a: &Sample, b: &Sample) -> Difference {
        let mean = a.mean - b.mean;
        let ci95 = a.sd.zip(b.sd).map(|(sa, sb)| {
            let (va, vb) = (sa * sa / a.n as f64, sb * sb / b.n as f64);
            // Welch and Satterthwaite's degrees of freedom.
            let below = va * va / (a.n - 1) as f64 + vb * vb / (b.n - 1) as f64;
            interval(mean, (va + vb).sqrt(), (va + vb).powi(2) / below)
        });
        Difference { mean, ci95 }
    }
}

/// mean ± t(0.975, freedom)·error. Numbers that do not differ at all have an interval of no width.
fn interval(mean: f64, error: f64, freedom: f64) -> [f64; 2] {
    let half = match StudentsT::new(0.0, 1.0, freedom) {
        Ok(t) if error > 0.0 => t.inverse_cdf(0.975) * error,
        _ => 0.0,
    };
    [mean - half, mean + half]
}

/// One figure of a group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Its name in files.
    pub figure: String,
    /// Over the seeds.
    pub own: Sample,
    /// The same of the random baseline, where there is one that measured it.
    pub random: Option<Sample>,
    /// Own minus random.
    pub difference: Option<Difference>,
}

/// The random baseline of a group.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Baseline {
    /// The group is the baseline.
    Itself,
    /// Another group, by its number, and the settings (the algorithms' own aside) that differ from this group's: how the
    /// search was done, never how the evaluation was.
    Group {
        /// Number of the group.
        group: usize,
        /// Names of settings, with this group's value and the baseline's.
        differences: Vec<(String, Value, Value)>,
    },
    /// There is none, and why.
    None(String),
}

/// Runs that differ in nothing but their seed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    /// Number, from 1.
    pub number: usize,
    /// The algorithm.
    pub algorithm: String,
    /// The data set; two where search and evaluation had different ones.
    pub dataset: String,
    /// `search and evaluation`, `search` or `evaluation`.
    pub phases: String,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// The directories, in the order of the seeds.
    pub runs: Vec<String>,
    /// The settings that tell this group from others of the same algorithm and data set, with their values here.
    pub settings: BTreeMap<String, Value>,
    /// What it is compared with.
    pub baseline: Baseline,
    /// Its figures.
    pub rows: Vec<Row>,
}

/// What [`collate`] gives.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Collation {
    /// The groups, by data set and algorithm.
    pub groups: Vec<Group>,
    /// What does not count, and why.
    pub left_out: Vec<LeftOut>,
}

/// What all runs of a group have in common. Its order is that of the report.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Common {
    dataset: String,
    algorithm: String,
    phases: &'static str,
    /// All settings but the seed, and what else decides results, as texts.
    settings: BTreeMap<String, String>,
}

impl Common {
    fn of(record: &Record, phases: &'static str) -> Self {
        let dataset = match record.dataset == record.eval_dataset {
            true => record.dataset.clone(),
            false => format!("{}, evaluated on {}", record.dataset, record.eval_dataset),
        };
        // A space of cells is as much of a task as the pictures are.
        let dataset = match record.settings.get("nas.search.space") {
            Some(Value::String(space)) if space != Space::Own.name() => {
                format!("{dataset} in {space}")
            }
            _ => dataset,
        };
        let mut settings: BTreeMap<String, String> = (record.settings.iter())
            .filter(|(name, value)| {
                // The algorithm's own space is what an absent key means.
                *name != "common.seed"
                    && !(*name == "nas.search.space" && **value == Space::Own.name())
            })
            .map(|(name, value)| (name.clone(), value.to_string()))
            .collect();
        settings.insert(
            "engine".into(),
            Value::from(record.engine.as_str()).to_string(),
        );
        if let Some(given) = &record.given_desc {
            settings.insert(
                "evaluated description".into(),
                Value::from(given.as_str()).to_string(),
            );
        }
        Common {
            dataset,
            algorithm: record.algorithm.clone(),
            phases,
            settings,
        }
    }

    /// Settings that both could have: without the sections of algorithms. That of DARTS may stand in any configuration.
    fn shared<'a>(&'a self, other: &'a Common) -> impl Iterator<Item = (&'a String, &'a String)> {
        let own = [self.algorithm.as_str(), &other.algorithm, "darts"];
        self.settings.iter().filter(move |(name, _)| {
            let section = name.strip_prefix("nas.search.");
            let section = section.and_then(|rest| rest.split('.').next());
            section.is_none_or(|section| !own.contains(&section))
        })
    }
}

/// Whether a setting says how what was found is measured: there a baseline must not differ.
fn is_measure(name: &str) -> bool {
    [
        "dataset.",
        "nas.eval.",
        "nas.search.space",
        "engine",
        "phases",
    ]
    .iter()
    .any(|part| name.starts_with(part))
}

/// What two maps do not agree on, with both values (null where there is none).
fn differences<'a>(
    a: impl Iterator<Item = (&'a String, &'a String)>,
    b: impl Iterator<Item = (&'a String, &'a String)>,
) -> Vec<(String, Value, Value)> {
    let (a, b): (BTreeMap<_, _>, BTreeMap<_, _>) = (a.collect(), b.collect());
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).copied().collect();
    let both = names.into_iter().map(|name| {
        let [a, b] = [&a, &b].map(|values| parsed(values.get(name).copied()));
        (name.clone(), a, b)
    });
    // A key that is absent means what null means.
    both.filter(|(_, a, b)| a != b).collect()
}

fn parsed(text: Option<&String>) -> Value {
    text.map_or(Value::Null, |text| {
        serde_json::from_str(text).unwrap_or_else(|_| Value::from(text.as_str()))
    })
}

/// Groups runs by algorithm, data set and all settings but the seed, and compares each group with the random baseline of the
/// same data set and the same evaluation. `left_out` are runs that could not be read; runs that cannot count join them: two
/// phases with different settings, and a seed that is there already, which is no second sample.
pub fn collate(runs: Vec<FinishedRun>, mut left_out: Vec<LeftOut>) -> Collation {
    let mut groups: BTreeMap<Common, Seeds> = BTreeMap::new();
    for run in runs.into_iter().flat_map(FinishedRun::parts) {
        let leave = |reason: String| LeftOut {
            name: run.name.clone(),
            reason,
        };
        let (record, phases) = match (&run.search, &run.eval) {
            (Some(search), Some(eval)) => {
                let [a, b] = [search, eval].map(|r| Common::of(r, ""));
                let names = differences(a.settings.iter(), b.settings.iter());
                let mut names: Vec<String> = names.into_iter().map(|(name, ..)| name).collect();
                for (name, differs) in [
                    ("algorithm", a.algorithm != b.algorithm),
                    ("data set", a.dataset != b.dataset),
                    ("common.seed", search.seed != eval.seed),
                ] {
                    names.extend(differs.then(|| name.to_string()));
                }
                if !names.is_empty() {
                    left_out.push(leave(format!(
                        "its search and its evaluation have different settings: {}",
                        names.join(", ")
                    )));
                    continue;
                }
                (eval, "search and evaluation")
            }
            (Some(search), None) => (search, "search"),
            (None, Some(eval)) => (eval, "evaluation"),
            (None, None) => {
                left_out.push(leave(
                    "neither a search nor an evaluation has ended".to_string(),
                ));
                continue;
            }
        };
        let phases_there = [&run.search, &run.eval];
        let figures = (phases_there.into_iter().flatten())
            .flat_map(|record| record.figures.clone())
            .collect();
        let seeds = groups.entry(Common::of(record, phases)).or_default();
        if let Some((same, _)) = seeds.get(&record.seed) {
            left_out.push(leave(format!(
                "seed {} with the same settings is counted already ({same}): a repetition is no second sample",
                record.seed
            )));
            continue;
        }
        seeds.insert(record.seed, (run.name.clone(), figures));
    }
    left_out.sort();

    let all: Vec<(Common, Samples)> = groups
        .into_iter()
        .map(|(common, seeds)| (common, Samples::new(seeds)))
        .collect();
    let groups = (0..all.len()).map(|i| group(&all, i)).collect();
    Collation { groups, left_out }
}

/// By seed, the name of a run and its figures.
type Seeds = BTreeMap<u64, (String, BTreeMap<String, f64>)>;

/// The numbers of a group.
struct Samples {
    seeds: Vec<u64>,
    runs: Vec<String>,
    figures: BTreeMap<String, Sample>,
}

impl Samples {
    fn new(seeds: Seeds) -> Self {
        let mut values: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for (name, value) in seeds.values().flat_map(|(_, figures)| figures) {
            values.entry(name.clone()).or_default().push(*value);
        }
        Samples {
            figures: values
                .into_iter()
                .filter_map(|(name, values)| Some((name, Sample::of(&values)?)))
                .collect(),
            runs: seeds.values().map(|(name, _)| name.clone()).collect(),
            seeds: seeds.into_keys().collect(),
        }
    }
}

fn group(all: &[(Common, Samples)], i: usize) -> Group {
    let (common, samples) = &all[i];
    let mut settings = BTreeMap::new();
    for (other, _) in all {
        if (&other.dataset, &other.algorithm) == (&common.dataset, &common.algorithm) {
            for (name, own, _) in differences(common.settings.iter(), other.settings.iter()) {
                settings.insert(name, own);
            }
        }
    }
    let baseline = baseline(all, common);
    let random = match baseline {
        Baseline::Group { group, .. } => Some(&all[group - 1].1),
        Baseline::Itself | Baseline::None(_) => None,
    };
    let place = |name: &str| FIGURES.iter().position(|(known, ..)| *known == name);
    let mut names: Vec<&String> = samples.figures.keys().collect();
    names.sort_by_key(|name| place(name).unwrap_or(FIGURES.len()));
    let rows = names
        .into_iter()
        .map(|name| {
            let own = samples.figures[name];
            let random = random.and_then(|r| r.figures.get(name)).copied();
            Row {
                figure: name.clone(),
                own,
                random,
                difference: random.map(|random| Difference::of(&own, &random)),
            }
        })
        .collect();
    Group {
        number: i + 1,
        algorithm: common.algorithm.clone(),
        dataset: common.dataset.clone(),
        phases: common.phases.to_string(),
        seeds: samples.seeds.clone(),
        runs: samples.runs.clone(),
        settings,
        baseline,
        rows,
    }
}

/// The random group of the same data set, phases and evaluation whose search differs least.
fn baseline(all: &[(Common, Samples)], common: &Common) -> Baseline {
    if common.algorithm == BASELINE {
        return Baseline::Itself;
    }
    let on_this: Vec<_> = (all.iter().enumerate())
        .filter(|(_, (other, _))| other.algorithm == BASELINE && other.dataset == common.dataset)
        .map(|(i, (other, _))| {
            let mut all = differences(common.shared(other), other.shared(common));
            if other.phases != common.phases {
                all.push(("phases".into(), common.phases.into(), other.phases.into()));
            }
            (i + 1, all)
        })
        .collect();
    let measured = |d: &[(String, Value, Value)]| -> Vec<String> {
        let names = d
            .iter()
            .map(|(name, ..)| name)
            .filter(|name| is_measure(name));
        names.cloned().collect()
    };
    let fitting = on_this.iter().filter(|(_, d)| measured(d).is_empty());
    if let Some((group, differences)) = fitting.min_by_key(|(_, d)| d.len()) {
        return Baseline::Group {
            group: *group,
            differences: differences.clone(),
        };
    }
    Baseline::None(match on_this.first() {
        None => format!("no finished run of `{BASELINE}` on {}", common.dataset),
        Some((group, d)) => format!(
            "`{BASELINE}` on {} was measured otherwise: group {group} differs in {}",
            common.dataset,
            measured(d).join(", ")
        ),
    })
}

impl Collation {
    /// As Markdown: an overview, each group, and what does not count.
    pub fn to_markdown(&self) -> String {
        let mut out = String::from("# Collated runs\n\n");
        self.write_markdown(&mut out)
            .map_or_else(|_| String::new(), |()| out)
    }

    fn write_markdown(&self, out: &mut String) -> std::fmt::Result {
        let n: usize = self.groups.iter().map(|g| g.seeds.len()).sum();
        writeln!(
            out,
            "Runs: {n}. Groups: {}. Left out: {}. Runs of a group differ in nothing but their seed. Mean ± standard deviation of \
             the sample; intervals hold the mean (Student's t) or the difference to `{BASELINE}` (Welch's t) with 95 % confidence.\n",
            self.groups.len(),
            self.left_out.len()
        )?;
        writeln!(
            out,
            "| group | algorithm | data set | seeds | test accuracy | 95 % interval | random | difference | 95 % interval |"
        )?;
        writeln!(out, "|--:|---|---|--:|--:|--:|--:|--:|--:|")?;
        for g in &self.groups {
            let row = g.rows.iter().find(|r| r.figure == "test_top1");
            let cells = row.map_or_else(
                || {
                    [
                        "–".to_string(),
                        "–".into(),
                        g.no_random().into(),
                        "–".into(),
                        "–".into(),
                    ]
                },
                |row| row.cells(g),
            );
            writeln!(
                out,
                "| {} | {} | {} | {} | {} |",
                g.number,
                g.algorithm,
                cell(&g.dataset),
                g.seeds.len(),
                cells.join(" | ")
            )?;
        }
        self.write_table_overview(out)?;
        for g in &self.groups {
            write!(
                out,
                "\n## Group {}: {} on {}",
                g.number, g.algorithm, g.dataset
            )?;
            match g.phases.as_str() {
                "search and evaluation" => writeln!(out, "\n")?,
                phases => writeln!(out, " ({phases} only)\n")?,
            }
            let seeds: Vec<String> = g.seeds.iter().map(u64::to_string).collect();
            writeln!(out, "Seeds: {}.", seeds.join(", "))?;
            if !g.settings.is_empty() {
                writeln!(
                    out,
                    "\nOther groups of {} on {} differ in:\n",
                    g.algorithm, g.dataset
                )?;
                for (name, value) in &g.settings {
                    writeln!(out, "- `{name}`, here `{value}`")?;
                }
            }
            match &g.baseline {
                Baseline::Itself => writeln!(out, "\nThis is the random baseline.")?,
                Baseline::None(reason) => {
                    writeln!(
                        out,
                        "\n**NO RANDOM BASELINE: {reason}. Nothing here says that the search did anything.**"
                    )?;
                }
                Baseline::Group { group, differences } => {
                    writeln!(out, "\nRandom baseline: group {group}.")?;
                    if !differences.is_empty() {
                        writeln!(out, "Its search differs in:\n")?;
                    }
                    for (name, own, other) in differences {
                        writeln!(out, "- `{name}`, here `{own}`, there `{other}`")?;
                    }
                }
            }
            writeln!(
                out,
                "\n| figure | seeds | mean ± sd | 95 % interval | random | difference | 95 % interval |"
            )?;
            writeln!(out, "|---|--:|--:|--:|--:|--:|--:|")?;
            for row in &g.rows {
                let (title, _) = row.known();
                writeln!(
                    out,
                    "| {} | {} | {} |",
                    cell(&title),
                    row.own.n,
                    row.cells(g).join(" | ")
                )?;
            }
        }
        if !self.left_out.is_empty() {
            writeln!(out, "\n## Left out\n")?;
            for l in &self.left_out {
                writeln!(out, "- `{}`: {}", l.name, l.reason)?;
            }
        }
        Ok(())
    }

    /// The true accuracies of found cells of NAS-Bench-201, where runs looked them up.
    fn write_table_overview(&self, out: &mut String) -> std::fmt::Result {
        let find = |g: &'_ Group, figure: &str| g.rows.iter().find(|r| r.figure == figure).cloned();
        let all = self.groups.iter().flat_map(|g| {
            let of_one = move |(data, top1, rank): (&'static str, _, _)| {
                Some((g, data, find(g, top1)?, find(g, rank)))
            };
            TABLE_FIGURES.into_iter().filter_map(of_one)
        });
        let all: Vec<_> = all.collect();
        if all.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "\nWhat the found cells reach at the benchmark's own size and training, as its table says (mean of its runs):\n"
        )?;
        writeln!(
            out,
            "| group | algorithm | table's data set | seeds | true test accuracy | 95 % interval | random | difference | 95 % \
             interval | rank |"
        )?;
        writeln!(out, "|--:|---|---|--:|--:|--:|--:|--:|--:|--:|")?;
        for (g, data, top1, rank) in all {
            writeln!(
                out,
                "| {} | {} | {data} | {} | {} | {} |",
                g.number,
                g.algorithm,
                top1.own.n,
                top1.cells(g).join(" | "),
                rank.map_or_else(|| "–".to_string(), |rank| rank.cells(g)[0].clone())
            )?;
        }
        Ok(())
    }

    /// As CSV: one line per group and figure, numbers in full. What was left out does not fit in.
    pub fn to_csv(&self) -> String {
        let mut out = String::from(
            "group,algorithm,dataset,phases,settings,figure,n,mean,sd,ci95_low,ci95_high,random_group,random_n,random_mean,\
             random_sd,difference,difference_ci95_low,difference_ci95_high\n",
        );
        let number = |v: Option<f64>| v.map_or_else(String::new, |v| v.to_string());
        for g in &self.groups {
            let settings: Vec<String> =
                g.settings.iter().map(|(k, v)| format!("{k}={v}")).collect();
            let random_group = match g.baseline {
                Baseline::Group { group, .. } => group.to_string(),
                Baseline::Itself | Baseline::None(_) => String::new(),
            };
            for row in &g.rows {
                let end = |ci: Option<[f64; 2]>, i: usize| number(ci.map(|ci| ci[i]));
                let (random, difference) = (row.random, row.difference);
                let of_difference = difference.and_then(|d| d.ci95);
                let fields = [
                    g.number.to_string(),
                    quoted(&g.algorithm),
                    quoted(&g.dataset),
                    quoted(&g.phases),
                    quoted(&settings.join("; ")),
                    quoted(&row.figure),
                    row.own.n.to_string(),
                    row.own.mean.to_string(),
                    number(row.own.sd),
                    end(row.own.ci95, 0),
                    end(row.own.ci95, 1),
                    random_group.clone(),
                    random.map_or_else(String::new, |r| r.n.to_string()),
                    number(random.map(|r| r.mean)),
                    number(random.and_then(|r| r.sd)),
                    number(difference.map(|d| d.mean)),
                    end(of_difference, 0),
                    end(of_difference, 1),
                ];
                out.push_str(&fields.join(","));
                out.push('\n');
            }
        }
        out
    }
}

impl Group {
    /// What stands where the baseline's figure is missing.
    fn no_random(&self) -> &'static str {
        match self.baseline {
            Baseline::Itself => "(itself)",
            Baseline::Group { .. } => "–",
            Baseline::None(_) => "**none**",
        }
    }
}

impl Row {
    /// Name and unit.
    fn known(&self) -> (String, Unit) {
        let known = FIGURES.iter().find(|(name, ..)| *name == self.figure);
        known.map_or((self.figure.clone(), Unit::Seconds), |(_, title, unit)| {
            (title.to_string(), *unit)
        })
    }

    /// Mean ± deviation, interval, random, difference, interval.
    fn cells(&self, group: &Group) -> [String; 5] {
        let (_, unit) = self.known();
        let none = || "–".to_string();
        let own = |s: &Sample| match s.sd {
            Some(sd) => format!("{} ± {}", unit.show(s.mean), unit.bare(sd)),
            None => format!("{} (one seed)", unit.show(s.mean)),
        };
        let interval = |ci: Option<[f64; 2]>, sign: bool| {
            ci.map_or_else(none, |[low, high]| match sign {
                true => format!("[{}, {}]", unit.signed(low), unit.signed(high)),
                false => format!("[{}, {}]", unit.bare(low), unit.bare(high)),
            })
        };
        [
            own(&self.own),
            interval(self.own.ci95, false),
            (self.random.as_ref()).map_or_else(|| group.no_random().to_string(), own),
            self.difference.map_or_else(none, |d| unit.signed(d.mean)),
            interval(self.difference.and_then(|d| d.ci95), true),
        ]
    }
}

impl Unit {
    fn bare(self, v: f64) -> String {
        match self {
            Unit::Percent => percent_bare(v),
            Unit::Count => thousands_spaced(v),
            // Unknown figures come here too: enough digits for fractions.
            Unit::Seconds if v.abs() < 10.0 => format!("{v:.3}"),
            Unit::Seconds => format!("{v:.1}"),
        }
    }

    fn show(self, v: f64) -> String {
        match self {
            Unit::Percent => format!("{} %", self.bare(v)),
            Unit::Count | Unit::Seconds => self.bare(v),
        }
    }

    fn signed(self, v: f64) -> String {
        format!("{}{}", if v > 0.0 { "+" } else { "" }, self.bare(v))
    }
}

/// A text that may stand in a cell of a Markdown table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// A field of CSV (RFC 4180).
fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn record(phase: &str, algorithm: &str, seed: u64, settings: Value, figures: Value) -> Record {
        let mut settings: BTreeMap<String, Value> = serde_json::from_value(settings).unwrap();
        settings.insert("common.seed".into(), seed.into());
        Record {
            version: RECORD_VERSION,
            phase: phase.into(),
            algorithm: algorithm.into(),
            dataset: "mini".into(),
            eval_dataset: "mini".into(),
            seed,
            digest: String::new(),
            engine: "fused".into(),
            given_desc: None,
            settings,
            figures: serde_json::from_value(figures).unwrap(),
            outcome: Value::Null,
        }
    }

    fn run(algorithm: &str, seed: u64, settings: Value, test: f64) -> FinishedRun {
        let record = |phase, figures| record(phase, algorithm, seed, settings.clone(), figures);
        FinishedRun {
            name: format!("{algorithm}_{seed}_{settings}"),
            search: Some(record("search", json!({ "search_seconds": 10.0 }))),
            eval: Some(record("evaluation", json!({ "test_top1": test }))),
        }
    }

    #[track_caller]
    fn close(got: f64, want: f64) {
        assert!((got - want).abs() < 1e-6, "{got} is not {want}");
    }

    #[test]
    fn means_and_intervals_are_those_of_the_textbook() {
        // 0.90, 0.92, 0.97: mean 0.93, squares 0.0009 + 0.0001 + 0.0016; t(0.975, 2) = 4.30265273.
        let a = Sample::of(&[0.90, 0.92, 0.97]).unwrap();
        close(a.mean, 0.93);
        close(a.sd.unwrap(), 0.0013f64.sqrt());
        let half = 4.302_652_73 * (0.0013f64 / 3.0).sqrt();
        close(a.ci95.unwrap()[0], 0.93 - half);
        close(a.ci95.unwrap()[1], 0.93 + half);

        // 0.80, 0.84: mean 0.82, variance 0.0008; t(0.975, 1) = 12.7062047.
        let b = Sample::of(&[0.80, 0.84]).unwrap();
        close(b.ci95.unwrap()[1], 0.82 + 12.706_204_7 * 0.02);

        // Welch: variances of the means 0.0013/3 and 0.0004, together 1/1200; freedom (1/1200)² / ((0.0013/3)²/2 + 0.0004²)
        // = 6.944444e-7 / 2.538889e-7 = 2.735230. Between t(0.975, 2) and t(0.975, 3) = 3.18244631.
        let d = Difference::of(&a, &b);
        close(d.mean, 0.11);
        let half = (d.ci95.unwrap()[1] - d.ci95.unwrap()[0]) / 2.0;
        let t = half / (1.0f64 / 1200.0).sqrt();
        let exact = StudentsT::new(0.0, 1.0, 6.944_444_444e-7 / 2.538_888_889e-7).unwrap();
        close(exact.cdf(t), 0.975);
        assert!((3.1825..4.3026).contains(&t), "{t}");

        let one = Sample::of(&[0.5]).unwrap();
        assert_eq!((one.sd, one.ci95), (None, None));
        assert_eq!(Difference::of(&a, &one).ci95, None);
        assert_eq!(Sample::of(&[]), None);
        assert_eq!(Sample::of(&[0.5, 0.5]).unwrap().ci95, Some([0.5, 0.5]));
        assert_eq!(
            Difference::of(
                &Sample::of(&[0.5, 0.5]).unwrap(),
                &Sample::of(&[0.25, 0.25]).unwrap()
            )
            .ci95,
            Some([0.25, 0.25])
        );
    }

    #[test]
    fn nothing_but_the_seed_may_differ_in_a_group() {
        let base = json!({ "nas.eval.trainer.epochs": 2, "nas.search.trainer.epochs": 1 });
        let longer = json!({ "nas.eval.trainer.epochs": 2, "nas.search.trainer.epochs": 5 });
        let mut runs = vec![
            run("darts", 1, base.clone(), 0.90),
            run("darts", 2, base.clone(), 0.92),
            run("darts", 3, base.clone(), 0.97),
            run("darts", 1, longer.clone(), 0.99),
            run("random", 1, base.clone(), 0.80),
            run("random", 2, base.clone(), 0.84),
        ];
        runs[2].search.as_mut().unwrap().figures.clear();
        let c = collate(runs, Vec::new());
        let groups: Vec<(&str, &[u64])> = c
            .groups
            .iter()
            .map(|g| (g.algorithm.as_str(), g.seeds.as_slice()))
            .collect();
        assert_eq!(
            groups,
            [
                ("darts", &[1, 2, 3][..]),
                ("darts", &[1]),
                ("random", &[1, 2])
            ]
        );
        let row = &c.groups[0].rows[0];
        assert_eq!(
            (row.figure.as_str(), row.own.n, row.random.unwrap().n),
            ("test_top1", 3, 2)
        );
        close(row.difference.unwrap().mean, 0.11);
        // A figure that one run lacks counts those that have it.
        assert_eq!(
            (
                c.groups[0].rows[1].figure.as_str(),
                c.groups[0].rows[1].own.n
            ),
            ("search_seconds", 2)
        );
        assert_eq!(
            c.groups[0].settings,
            BTreeMap::from([("nas.search.trainer.epochs".to_string(), json!(1))])
        );
        assert_eq!(
            c.groups[1].baseline,
            Baseline::Group {
                group: 3,
                differences: vec![("nas.search.trainer.epochs".into(), json!(5), json!(1))]
            }
        );
        assert_eq!(c.groups[2].baseline, Baseline::Itself);
        let text = c.to_markdown();
        for expect in [
            "| 1 | darts | mini | 3 | 93.00 % ± 3.61 | [84.04, 101.96] | 82.00 % ± 2.83 | +11.00 | [",
            "| 2 | darts | mini | 1 | 99.00 % (one seed) | – | 82.00 % ± 2.83 | +17.00 | – |",
            "- `nas.search.trainer.epochs`, here `5`, there `1`",
        ] {
            assert!(text.contains(expect), "{expect}\n{text}");
        }
        let csv = c.to_csv();
        let widths: BTreeSet<usize> = csv.lines().map(|l| l.matches(',').count()).collect();
        assert_eq!(widths, BTreeSet::from([17]), "{csv}");
        assert!(csv.contains("\n2,darts,mini,search and evaluation,nas.search.trainer.epochs=5,test_top1,1,0.99,,,,3,2,0.82"), "{csv}");
    }

    #[test]
    fn what_cannot_count_is_said() {
        let base = json!({ "nas.eval.trainer.epochs": 2 });
        let mut mixed = run("darts", 1, base.clone(), 0.5);
        mixed
            .eval
            .as_mut()
            .unwrap()
            .settings
            .insert("nas.eval.trainer.epochs".into(), json!(3));
        mixed.name = "mixed".into();
        let mut again = run("darts", 2, base.clone(), 0.6);
        again.name = "again".into();
        let nothing = FinishedRun {
            name: "nothing".into(),
            search: None,
            eval: None,
        };
        let broken = LeftOut {
            name: "broken".into(),
            reason: "damaged".into(),
        };
        let other = run("random", 1, json!({ "nas.eval.trainer.epochs": 9 }), 0.7);
        let c = collate(
            vec![run("darts", 2, base, 0.6), mixed, again, nothing, other],
            vec![broken],
        );
        let names: Vec<&str> = c.left_out.iter().map(|l| l.name.as_str()).collect();
        assert_eq!(names, ["again", "broken", "mixed", "nothing"]);
        assert!(c.left_out[0].reason.contains("no second sample"));
        assert!(c.left_out[2].reason.contains("nas.eval.trainer.epochs"));
        assert_eq!(c.groups[0].seeds, [2]);
        let text = c.to_markdown();
        assert!(
            text.contains("**NO RANDOM BASELINE: `random` on mini was measured otherwise: group 2 differs in nas.eval.trainer.epochs."),
            "{text}"
        );
        let alone = collate(vec![run("darts", 1, json!({}), 0.5)], Vec::new());
        assert!(
            alone
                .to_markdown()
                .contains("NO RANDOM BASELINE: no finished run of `random` on mini")
        );
    }

    #[test]
    fn searches_and_given_networks_are_groups_of_their_own() {
        let base = json!({});
        let mut searched = run("darts", 2, base.clone(), 0.0);
        searched.eval = None;
        let mut given = run("darts", 1, base.clone(), 0.4);
        given.eval.as_mut().unwrap().given_desc = Some("abc".into());
        let c = collate(
            vec![searched, given, run("darts", 1, base, 0.5)],
            Vec::new(),
        );
        let phases: Vec<&str> = c.groups.iter().map(|g| g.phases.as_str()).collect();
        assert_eq!(phases, ["evaluation", "search", "search and evaluation"]);
        assert_eq!(
            (c.groups[0].rows.len(), c.groups[1].seeds.as_slice()),
            (1, &[1, 2][..]),
            "a search does not count for a given network"
        );
        assert!(c.left_out.is_empty());
    }
}
