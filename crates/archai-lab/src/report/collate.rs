//! Runs that differ in nothing but their seed are put together and compared with the random baseline.

use std::collections::{BTreeMap, BTreeSet};

use archai_algos::BASE_ALGORITHM;
use archai_engine::metrics::has_top5;
use archai_spec::settings::OWN_SPACE;
use serde::Serialize;
use serde_json::Value;

use super::figures::{FIGURES, unit_of};
use super::stats::{Difference, Sample};
use crate::phase::Phase;
use crate::record::Record;

/// The algorithm that all others are compared with.
pub const BASELINE: &str = "random";

/// A finished run: its search, its evaluation, or both.
#[derive(Clone, Debug, PartialEq)]
pub struct FinishedRun {
    /// What it is called: its directory.
    pub name: String,
    /// The search, if there was one.
    pub search: Option<Record>,
    /// The evaluation, if there was one.
    pub eval: Option<Record>,
    /// Whether it was a toy run, whose figures say that everything works and nothing else.
    pub toy: bool,
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

/// One figure of a group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Its name in files.
    pub figure: String,
    /// Over the seeds.
    pub own: Sample,
    /// Of each run, in the order of the group's runs; none of one that did not measure it.
    pub each: Vec<Option<f64>>,
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
    /// Whether they are toy runs.
    pub toy: bool,
    /// The settings that tell this group from others of the same algorithm and data set, with their values here.
    pub settings: BTreeMap<String, Value>,
    /// All settings in which the groups on this data set differ, of whatever algorithm, with their values here. Those of an
    /// algorithm's own section are compared among the groups that have them.
    pub apart: BTreeMap<String, Value>,
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
    toy: bool,
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
            Some(Value::String(space)) if space != OWN_SPACE => {
                format!("{dataset} in {space}")
            }
            _ => dataset,
        };
        let mut settings: BTreeMap<String, String> = (record.settings.iter())
            .filter(|(name, value)| {
                // The algorithm's own space is what an absent key means.
                *name != "common.seed" && !(*name == "nas.search.space" && **value == OWN_SPACE)
            })
            .map(|(name, value)| (name.clone(), value.to_string()))
            .collect();
        for (name, value) in [("engine", &record.engine), ("device", &record.device)] {
            settings.insert(name.into(), Value::from(value.as_str()).to_string());
        }
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
            toy: false,
            settings,
        }
    }

    /// The data of a phase, which two runs must share to be counted together. What data set it is its name alone says.
    fn add_data(&mut self, record: &Record) {
        for (name, part) in &record.data {
            let digest = &part.digest[..part.digest.len().min(16)];
            let name = format!("{DATA} {} ({name})", record.phase);
            self.settings.insert(name, Value::from(digest).to_string());
        }
    }

    /// Settings that both could have: without the sections of algorithms. That of the base may stand in any configuration.
    fn shared<'a>(&'a self, other: &'a Common) -> impl Iterator<Item = (&'a String, &'a String)> {
        let own = [self.algorithm.as_str(), &other.algorithm, BASE_ALGORITHM];
        self.settings.iter().filter(move |(name, _)| {
            let section = name.strip_prefix("nas.search.");
            let section = section.and_then(|rest| rest.split('.').next());
            section.is_none_or(|section| !own.contains(&section))
        })
    }
}

/// How the names of what says which data a run had begin.
const DATA: &str = "data of the";

/// Whether a setting says how what was found is measured: there a baseline must not differ.
fn is_measure(name: &str) -> bool {
    [
        "dataset.",
        "nas.eval.",
        "nas.search.space",
        "engine",
        "device",
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

/// Why a phase does not count, though it ended well: it was to measure something, and did not. Nothing is no zero.
fn unmeasured(record: &Record) -> Option<String> {
    let figure = |name: &str| record.figures.get(name).copied();
    let setting = |name: &str| record.settings.get(name);
    match record.phase {
        Phase::Search => {
            let has_supernet = figure("supernet_parameters").is_some_and(|n| n > 0.0);
            let epochs = setting("nas.search.trainer.epochs").and_then(Value::as_u64);
            let trained = has_supernet && epochs.is_some_and(|n| n > 0);
            (trained && figure("supernet_train_top1").is_none()).then(|| {
                "the last epoch of its search measured nothing: every step was skipped".to_string()
            })
        }
        Phase::Eval => {
            let trained = figure("epochs").is_some_and(|n| n > 0.0);
            let tested = setting("nas.eval.loader.load_test") == Some(&Value::Bool(true));
            if trained && figure("train_top1").is_none() {
                Some(
                    "the last epoch of its evaluation measured nothing: every step was skipped"
                        .to_string(),
                )
            } else if trained && tested && figure("test_top1").is_none() {
                Some("its test measured nothing: there was no image".to_string())
            } else {
                None
            }
        }
    }
}

/// The figures of a record that say something: not the size of a supernet that there was not, nor how often the right one of
/// five classes is among the first five.
fn applicable(record: &Record) -> BTreeMap<String, f64> {
    let classes = record.settings.get("nas.eval.loader.dataset.n_classes");
    let has_top5 = classes
        .and_then(Value::as_u64)
        .is_none_or(|n| has_top5(n as usize));
    let says_something = |name: &str, value: f64| match name {
        "supernet_parameters" | "alphas" => value > 0.0,
        "test_top5" => has_top5,
        _ => true,
    };
    let figures = record.figures.iter();
    figures
        .filter(|(name, value)| says_something(name, **value))
        .map(|(name, value)| (name.clone(), *value))
        .collect()
}

/// Groups runs by algorithm, data set and all settings but the seed, and compares each group with the random baseline of the
/// same data set and the same evaluation. `left_out` are runs that could not be read; runs that cannot count join them: two
/// phases with different settings, a phase that measured nothing, and a seed that is there already, which is no second sample.
pub fn collate(runs: Vec<FinishedRun>, mut left_out: Vec<LeftOut>) -> Collation {
    let mut groups: BTreeMap<Common, Seeds> = BTreeMap::new();
    for run in runs.into_iter().flat_map(FinishedRun::parts) {
        let leave = |reason: String| LeftOut {
            name: run.name.clone(),
            reason,
        };
        let phases_there = [&run.search, &run.eval];
        if let Some(reason) = (phases_there.into_iter().flatten()).find_map(unmeasured) {
            left_out.push(leave(reason));
            continue;
        }
        let (record, phases) = match (&run.search, &run.eval) {
            (Some(search), Some(eval)) => {
                let [a, b] = [search, eval].map(|r| Common::of(r, ""));
                let names = differences(a.settings.iter(), b.settings.iter());
                let names = names.into_iter().map(|(name, ..)| name);
                // An evaluation may be done again with other settings of its own, which the search did not read.
                let mut names: Vec<String> = names
                    .filter(|name| !name.starts_with("nas.eval."))
                    .collect();
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
        let figures = (phases_there.into_iter().flatten())
            .flat_map(applicable)
            .collect();
        let mut common = Common {
            toy: run.toy,
            ..Common::of(record, phases)
        };
        for record in phases_there.into_iter().flatten() {
            common.add_data(record);
        }
        let seeds = groups.entry(common).or_default();
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
    let datasets: BTreeSet<&str> = all.iter().map(|(c, _)| c.dataset.as_str()).collect();
    let apart: BTreeMap<&str, BTreeSet<&String>> = (datasets.into_iter())
        .map(|dataset| (dataset, names_apart(&all, dataset)))
        .collect();
    let group = |i: usize| group(&all, i, &apart[all[i].0.dataset.as_str()]);
    let groups = (0..all.len()).map(group).collect();
    Collation { groups, left_out }
}

/// By seed, the name of a run and its figures.
type Seeds = BTreeMap<u64, (String, BTreeMap<String, f64>)>;

/// The numbers of a group.
struct Samples {
    seeds: Vec<u64>,
    runs: Vec<String>,
    figures: BTreeMap<String, Sample>,
    /// Of each run.
    each: Vec<BTreeMap<String, f64>>,
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
            each: (seeds.values())
                .map(|(_, figures)| figures.clone())
                .collect(),
            seeds: seeds.into_keys().collect(),
        }
    }
}

/// Names of the settings in which the groups on a data set differ.
fn names_apart<'a>(all: &'a [(Common, Samples)], dataset: &str) -> BTreeSet<&'a String> {
    let groups = || {
        let groups = all.iter().map(|(common, _)| common);
        groups.filter(|common| common.dataset == dataset)
    };
    let algorithms: BTreeSet<&str> = groups().map(|c| c.algorithm.as_str()).collect();
    let names: BTreeSet<&String> = groups().flat_map(|c| c.settings.keys()).collect();
    let differs = |name: &&String| {
        let section = name.strip_prefix("nas.search.");
        let section = section.and_then(|rest| rest.split('.').next());
        let is_own = section.is_some_and(|s| s == BASE_ALGORITHM || algorithms.contains(s));
        // Elsewhere a key that is absent means what null means.
        let values = groups().map(|c| c.settings.get(*name).map(String::as_str));
        let values = values.filter(|value| !is_own || value.is_some());
        let values: BTreeSet<&str> = values.map(|value| value.unwrap_or("null")).collect();
        values.len() > 1
    };
    names.into_iter().filter(differs).collect()
}

fn group(all: &[(Common, Samples)], i: usize, apart: &BTreeSet<&String>) -> Group {
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
            let possible = |sample: Sample| match unit_of(name) {
                Some(unit) => sample.within(unit.range()),
                None => sample,
            };
            let own = possible(samples.figures[name]);
            let random = random
                .and_then(|r| r.figures.get(name))
                .copied()
                .map(possible);
            Row {
                figure: name.clone(),
                own,
                each: (samples.each.iter())
                    .map(|figures| figures.get(name).copied())
                    .collect(),
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
        toy: common.toy,
        settings,
        apart: (apart.iter())
            .map(|name| ((*name).clone(), parsed(common.settings.get(*name))))
            .collect(),
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
        let names = d.iter().filter(|(name, own, other)| {
            // Runs of programs that did not look at their data are not known to have had others.
            let is_known = !own.is_null() && !other.is_null();
            is_measure(name) || (name.starts_with(DATA) && is_known)
        });
        names.map(|(name, ..)| name.clone()).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::RECORD_VERSION;
    use serde_json::json;

    fn record(phase: Phase, algorithm: &str, seed: u64, settings: Value, figures: Value) -> Record {
        let mut settings: BTreeMap<String, Value> = serde_json::from_value(settings).unwrap();
        settings.insert("common.seed".into(), seed.into());
        Record {
            version: RECORD_VERSION,
            phase,
            algorithm: algorithm.into(),
            dataset: "mini".into(),
            eval_dataset: "mini".into(),
            seed,
            digest: String::new(),
            engine: "fused".into(),
            device: "cpu".into(),
            given_desc: None,
            settings,
            data: Default::default(),
            figures: serde_json::from_value(figures).unwrap(),
            outcome: Value::Null,
        }
    }

    fn run(algorithm: &str, seed: u64, settings: Value, test: f64) -> FinishedRun {
        let record = |phase, figures| record(phase, algorithm, seed, settings.clone(), figures);
        FinishedRun {
            name: format!("{algorithm}_{seed}_{settings}"),
            search: Some(record(Phase::Search, json!({ "search_seconds": 10.0 }))),
            eval: Some(record(Phase::Eval, json!({ "test_top1": test }))),
            toy: false,
        }
    }

    #[track_caller]
    fn close(got: f64, want: f64) {
        assert!((got - want).abs() < 1e-6, "{got} is not {want}");
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
        assert_eq!(row.each, [Some(0.90), Some(0.92), Some(0.97)]);
        let seconds = &c.groups[0].rows[1];
        assert_eq!(seconds.each, [Some(10.0), Some(10.0), None]);
        for (group, epochs) in c.groups.iter().zip([1, 5, 1]) {
            let apart = [("nas.search.trainer.epochs".to_string(), json!(epochs))];
            assert_eq!(group.apart, BTreeMap::from(apart));
        }
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
            "| 3 | 93.00 % ± 3.61 | [84.04, 100.00] | 82.00 % ± 2.83 | +11.00 | [",
            "| 1 | 99.00 % (one seed) | – | 82.00 % ± 2.83 | +17.00 | – |",
            "- `nas.search.trainer.epochs`, here `5`, there `1`",
        ] {
            assert!(text.contains(expect), "{expect}\n{text}");
        }
        // The best come first.
        let places = ["| 2 | darts |", "| 1 | darts |", "| 3 | random |"].map(|row| text.find(row));
        assert!(
            places.is_sorted() && places[0].is_some(),
            "{places:?} in {text}"
        );
        let csv = c.to_csv();
        let widths: BTreeSet<usize> = csv.lines().map(|l| l.matches(',').count()).collect();
        assert_eq!(widths, BTreeSet::from([17]), "{csv}");
        assert!(csv.contains("\n2,darts,mini,search and evaluation,nas.search.trainer.epochs=5,test_top1,1,0.99,,,,3,2,0.82"), "{csv}");
    }

    #[test]
    fn runs_on_other_data_of_one_name_are_groups_of_their_own() {
        let on = |algorithm: &str, seed: u64, digest: &str| {
            let mut run = run(algorithm, seed, json!({}), 0.5);
            let part = json!({ "digest": digest.repeat(32), "images": 2, "per_class": [1, 1] });
            let data = json!({ "train": part });
            run.name = format!("{algorithm}_{seed}_{digest}");
            for record in run.search.iter_mut().chain(&mut run.eval) {
                record.data = serde_json::from_value(data.clone()).unwrap();
            }
            run
        };
        let runs = vec![
            on("darts", 1, "aa"),
            on("darts", 2, "bb"),
            on("darts", 3, "aa"),
            on("random", 1, "aa"),
        ];
        let c = collate(runs, Vec::new());
        let groups: Vec<(&str, &[u64])> = (c.groups.iter())
            .map(|g| (g.algorithm.as_str(), g.seeds.as_slice()))
            .collect();
        let expect = [("darts", &[1, 3][..]), ("darts", &[2]), ("random", &[1])];
        assert_eq!(groups, expect);
        let name = "data of the evaluation (train)";
        assert_eq!(c.groups[1].settings[name], json!("bb".repeat(8)));
        let is_compared = |group: &Group| matches!(group.baseline, Baseline::Group { .. });
        assert!(is_compared(&c.groups[0]) && !is_compared(&c.groups[1]));
        assert!(c.left_out.is_empty());

        // A baseline of a program that did not look at its data is not known to have had others.
        let runs = vec![on("darts", 1, "aa"), run("random", 1, json!({}), 0.4)];
        assert!(is_compared(&collate(runs, Vec::new()).groups[0]));
    }

    #[test]
    fn runs_on_another_device_are_a_group_of_their_own() {
        let mut on_gpu = run("darts", 2, json!({}), 0.7);
        for record in on_gpu.search.iter_mut().chain(&mut on_gpu.eval) {
            record.device = "gpu:0".into();
        }
        let runs = vec![
            run("darts", 1, json!({}), 0.5),
            on_gpu,
            run("random", 1, json!({}), 0.4),
        ];
        let c = collate(runs, Vec::new());
        let groups: Vec<(&str, &[u64], Option<&Value>)> = (c.groups.iter())
            .map(|g| {
                (
                    g.algorithm.as_str(),
                    g.seeds.as_slice(),
                    g.settings.get("device"),
                )
            })
            .collect();
        let (cpu, gpu) = (json!("cpu"), json!("gpu:0"));
        assert_eq!(
            groups,
            [
                ("darts", &[1][..], Some(&cpu)),
                ("darts", &[2], Some(&gpu)),
                ("random", &[1], None)
            ]
        );
        assert!(matches!(
            c.groups[0].baseline,
            Baseline::Group { group: 3, .. }
        ));
        assert!(matches!(c.groups[1].baseline, Baseline::None(_)));
        assert!(c.left_out.is_empty());
    }

    #[test]
    fn what_cannot_count_is_said() {
        let base = json!({ "nas.eval.trainer.epochs": 2 });
        let mut mixed = run("darts", 1, base.clone(), 0.5);
        let own = &mut mixed.eval.as_mut().unwrap().settings;
        own.insert("nas.search.trainer.epochs".into(), json!(3));
        mixed.name = "mixed".into();
        // The settings of the evaluation are its own.
        let mut changed = run("darts", 3, base.clone(), 0.7);
        let before = &mut changed.search.as_mut().unwrap().settings;
        before.insert("nas.eval.trainer.epochs".into(), json!(1));
        let mut again = run("darts", 2, base.clone(), 0.6);
        again.name = "again".into();
        let nothing = FinishedRun {
            name: "nothing".into(),
            search: None,
            eval: None,
            toy: false,
        };
        let broken = LeftOut {
            name: "broken".into(),
            reason: "damaged".into(),
        };
        let other = run("random", 1, json!({ "nas.eval.trainer.epochs": 9 }), 0.7);
        let c = collate(
            vec![
                run("darts", 2, base, 0.6),
                mixed,
                again,
                nothing,
                other,
                changed,
            ],
            vec![broken],
        );
        let names: Vec<&str> = c.left_out.iter().map(|l| l.name.as_str()).collect();
        assert_eq!(names, ["again", "broken", "mixed", "nothing"]);
        assert!(c.left_out[0].reason.contains("no second sample"));
        assert!(c.left_out[2].reason.contains("nas.search.trainer.epochs"));
        assert_eq!(c.groups[0].seeds, [2, 3]);
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
    fn figures_that_do_not_apply_are_not_shown() {
        let settings = json!({ "nas.eval.loader.dataset.n_classes": 4 });
        let runs = [1, 2].map(|seed| {
            let record = |phase, figures| record(phase, "manual", seed, settings.clone(), figures);
            FinishedRun {
                name: format!("logs/manual_mini_{seed}"),
                search: Some(record(
                    Phase::Search,
                    json!({ "supernet_parameters": 0.0, "alphas": 0.0, "search_parameters": 7.0 * seed as f64 }),
                )),
                eval: Some(record(
                    Phase::Eval,
                    json!({ "test_top1": 0.5 + 0.4 * seed as f64 / 2.0, "test_top5": 1.0, "train_top1": 0.9, "epochs": 3.0 }),
                )),
                toy: true,
            }
        });
        let c = collate(runs.to_vec(), Vec::new());
        let shown: Vec<&str> = c.groups[0].rows.iter().map(|r| r.figure.as_str()).collect();
        assert_eq!(
            shown,
            ["test_top1", "train_top1", "epochs", "search_parameters"]
        );
        for row in &c.groups[0].rows {
            let [low, high] = row.own.ci95.unwrap();
            assert!(
                low >= 0.0 && (row.figure != "test_top1" || high <= 1.0),
                "{row:?}"
            );
        }
        let text = c.to_markdown();
        for expect in [
            "| manual (toy) | manual_mini_1, manual_mini_2 | mini |",
            "Toy runs:",
            // What does not vary has no interval.
            "| epochs of evaluation | 2 | 3 | – |",
        ] {
            assert!(text.contains(expect), "{expect:?} is missing in:\n{text}");
        }
    }

    #[test]
    fn runs_that_measured_nothing_are_left_out_by_name() {
        let settings = json!({
            "nas.search.trainer.epochs": 2, "nas.eval.loader.load_test": true,
        });
        let evaluated = json!({ "epochs": 3.0, "train_top1": 0.4, "test_top1": 0.5 });
        let searched = json!({ "supernet_parameters": 7.0, "supernet_train_top1": 0.3 });
        // (phase, figure that is missing, why the run does not count)
        let cases = [
            (
                Phase::Eval,
                "train_top1",
                Some("the last epoch of its evaluation"),
            ),
            (Phase::Eval, "test_top1", Some("its test measured nothing")),
            (
                Phase::Search,
                "supernet_train_top1",
                Some("the last epoch of its search"),
            ),
            // Other algorithms have no supernet to measure.
            (Phase::Search, "supernet_parameters", None),
        ];
        for (phase, missing, expect) in cases {
            let mut figures = if phase == Phase::Eval {
                evaluated.clone()
            } else {
                searched.clone()
            };
            figures.as_object_mut().unwrap().remove(missing);
            let record = record(phase, "darts", 1, settings.clone(), figures);
            let (search, eval) = match phase {
                Phase::Search => (Some(record), None),
                Phase::Eval => (None, Some(record)),
            };
            let run = FinishedRun {
                name: "lost".to_string(),
                search,
                eval,
                toy: false,
            };
            let c = collate(vec![run], Vec::new());
            let reason = c
                .left_out
                .first()
                .map(|l| (l.name.as_str(), l.reason.as_str()));
            match expect {
                Some(text) => assert!(
                    reason.is_some_and(|(name, why)| name == "lost" && why.contains(text)),
                    "{reason:?}"
                ),
                None => assert_eq!((reason, c.groups.len()), (None, 1)),
            }
        }
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
