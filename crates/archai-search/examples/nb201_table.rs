//! Compares the optimisers on the table of NAS-Bench-201, as docs/search.md shows it:
//!
//! ```console
//! $ cargo run --release -p archai-search --example nb201_table -- nb201_merged.csv.gz --runs 200
//! ```
//!
//! No optimiser sees a test accuracy; the budget counts distinct networks; every optimiser has its usual settings.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use archai_search::cells::Cells201;
use archai_search::front::{hypervolume, non_dominated};
use archai_search::journal::MemoryStore;
use archai_search::space::SearchSpace;
use archai_search::table::{Table, TableQuantity};
use archai_search::{
    Catalogue, CostClass, Direction, Evaluator, Quantity, Run, Settings, Stop, Study, optimisers,
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const BUDGETS: [usize; 3] = [50, 100, 150];
const PROXIES: [&str; 3] = ["nwot", "synflow", "jacov"];

struct Options {
    table: PathBuf,
    runs: usize,
    threads: usize,
    proxies: bool,
    only: Option<String>,
    optimisers: Vec<String>,
    settings: serde_json::Map<String, serde_json::Value>,
}

fn options() -> Result<Options, Failure> {
    let mut options = Options {
        table: PathBuf::new(),
        runs: 200,
        threads: 1,
        proxies: false,
        only: None,
        optimisers: Vec::new(),
        settings: serde_json::Map::new(),
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("`{arg}` needs a value"));
        match arg.as_str() {
            "--runs" => options.runs = value()?.parse()?,
            "--threads" => options.threads = value()?.parse()?,
            "--proxies" => options.proxies = true,
            "--only" => options.only = Some(value()?),
            "--optimisers" => options.optimisers = value()?.split(',').map(String::from).collect(),
            "--settings" => options.settings = serde_json::from_str(&value()?)?,
            path => options.table = PathBuf::from(path),
        }
    }
    Ok(options)
}

fn mean(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    (mean, (variance / n).sqrt())
}

/// Runs searches with the seeds of tabular protocols, and looks at each after each budget.
fn searches<const N: usize>(
    options: &Options,
    catalogue: &Arc<Catalogue>,
    table: &Arc<Table>,
    settings: &Settings,
    look: impl Fn(&Study) -> [f64; N] + Sync,
) -> Result<Vec<[[f64; N]; 3]>, Failure> {
    let next = AtomicUsize::new(0);
    let one = |run: usize| -> Result<[[f64; N]; 3], Failure> {
        let table: Arc<dyn Evaluator> = table.clone();
        let mut study = Study::open_with(
            catalogue.clone(),
            vec![table],
            settings.clone().seed(1000 + run as u64),
            &optimisers::all(),
            Box::new(MemoryStore::default()),
            None,
        )?;
        let (stop, clock) = (Stop::new(), || 0.0);
        let mut found = [[0.0; N]; 3];
        for (found, budget) in found.iter_mut().zip(BUDGETS) {
            study.run(Run {
                workers: 1,
                budget: Some(budget),
                stop: &stop,
                clock: &clock,
            })?;
            *found = look(&study);
        }
        Ok(found)
    };
    let results = std::thread::scope(|scope| {
        let work = || -> Result<Vec<_>, Failure> {
            let mut found = Vec::new();
            loop {
                let run = next.fetch_add(1, Ordering::Relaxed);
                if run >= options.runs {
                    return Ok(found);
                }
                found.push(one(run)?);
            }
        };
        let threads: Vec<_> = (0..options.threads).map(|_| scope.spawn(work)).collect();
        let joined = threads
            .into_iter()
            .map(|thread| thread.join().expect("a thread ends"));
        joined.collect::<Result<Vec<_>, Failure>>()
    })?;
    Ok(results.concat())
}

fn proxies() -> Vec<TableQuantity> {
    let of = |name: &&str| {
        let quantity = Quantity::new(format!("proxy.{name}"), Direction::Maximise);
        TableQuantity::new(quantity.class(CostClass::Static), format!("zc10_{name}"))
    };
    PROXIES.iter().map(of).collect()
}

fn settings(options: &Options, objectives: &[&str], optimiser: &str) -> Settings {
    let mut settings = Settings::new(objectives.iter().copied()).optimiser(optimiser);
    if options.proxies {
        settings.prior = PROXIES.iter().map(|name| format!("proxy.{name}")).collect();
    }
    if optimiser == "guided" {
        settings.optimiser.settings = options.settings.clone();
    }
    settings
}

fn usual(options: &Options, names: &[&'static str]) -> Vec<String> {
    match options.optimisers.is_empty() {
        true => names.iter().map(|name| name.to_string()).collect(),
        false => options.optimisers.clone(),
    }
}

fn single(options: &Options, column: &str, data: &str) -> Result<(), Failure> {
    let signal = TableQuantity::new(Quantity::new("signal", Direction::Maximise), column);
    let mut columns = vec![signal];
    if options.proxies {
        columns.extend(proxies());
    }
    let table = Arc::new(Table::open(&options.table, "edges", columns)?);
    let test = TableQuantity::new(
        Quantity::new("test", Direction::Maximise),
        format!("{data}_test_200ep"),
    );
    let truth = Table::open(&options.table, "edges", vec![test])?;
    let space: Arc<dyn SearchSpace> = Arc::new(Cells201::new());
    let evaluator: Arc<dyn Evaluator> = table.clone();
    let catalogue = Arc::new(Catalogue::new(space, [evaluator], false));
    println!(
        "\n{column}: test accuracy at 200 epochs of the answer, mean ± standard error of {} runs",
        options.runs
    );
    println!("| optimiser | answer | 50 | 100 | 150 |\n|---|---|---|---|---|");
    for name in usual(
        options,
        &["random", "regularised_evolution", "local", "guided"],
    ) {
        let settings = settings(options, &["signal"], &name);
        let found = searches(options, &catalogue, &table, &settings, |study| {
            let results = study.results();
            let view = study.view_of(&results);
            [false, true].map(|short| {
                let answer = optimisers::answer(&view, short).map(|trial| &trial.id);
                let values = answer.and_then(|id| truth.get(id, 200));
                values.map_or(f64::NAN, |values| values["test"])
            })
        })?;
        for (kind, answer) in ["best signal", "signal and trees"].iter().enumerate() {
            let cells = (0..BUDGETS.len()).map(|b| {
                let values: Vec<f64> = found.iter().map(|run| run[b][kind]).collect();
                let (mean, error) = mean(&values);
                format!(" {mean:.2} ± {error:.2} |")
            });
            println!("| {name} | {answer} |{}", cells.collect::<String>());
        }
    }
    Ok(())
}

fn several(options: &Options, data: &str, latency_is: CostClass) -> Result<(), Failure> {
    let accuracy = Quantity::new("accuracy", Direction::Maximise);
    let latency = Quantity::new("latency", Direction::Minimise)
        .unit("ms")
        .class(latency_is);
    let mut columns = vec![
        TableQuantity::new(accuracy, format!("{data}_val_12ep")),
        TableQuantity::new(latency, format!("{data}_edgegpu_latency")),
    ];
    if options.proxies {
        columns.extend(proxies());
    }
    let table = Arc::new(Table::open(&options.table, "edges", columns)?);
    let space = Cells201::new();
    let all = space.enumerate().into_iter().flatten();
    let points: Vec<[f64; 2]> = all
        .filter_map(|member| {
            let values = table.get(&space.id(&member), u32::MAX)?;
            Some([-values.get("accuracy")?, *values.get("latency")?])
        })
        .collect();
    let sorted = |d: usize| {
        let mut values: Vec<f64> = points.iter().map(|p| p[d]).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let reference = [
        sorted(0)[points.len() / 2],
        sorted(1)[points.len() * 9 / 10],
    ];
    let front: Vec<[f64; 2]> = non_dominated(&points)
        .into_iter()
        .map(|i| points[i])
        .collect();
    let whole = hypervolume(&front, &reference);
    let evaluator: Arc<dyn Evaluator> = table.clone();
    let catalogue = Arc::new(Catalogue::new(Arc::new(space), [evaluator], false));
    println!(
        "\n{data}, 12 epochs, latency {}: hypervolume as a part of the true front's ({} points), mean ± standard error of {} runs",
        match latency_is {
            CostClass::Static => "known beforehand",
            CostClass::Cheap | CostClass::Expensive => "measured",
        },
        front.len(),
        options.runs
    );
    println!("| optimiser | 50 | 100 | 150 |\n|---|---|---|---|");
    for name in usual(
        options,
        &["random", "nsga2", "evolution_pareto", "bananas", "guided"],
    ) {
        let settings = settings(options, &["accuracy", "latency"], &name);
        let found = searches(options, &catalogue, &table, &settings, |study| {
            let results = study.results();
            let view = study.view_of(&results);
            let front: Vec<Vec<f64>> = view.front().into_iter().map(|(_, scores)| scores).collect();
            [hypervolume(&front, &reference) / whole]
        })?;
        let cells = (0..BUDGETS.len()).map(|b| {
            let values: Vec<f64> = found.iter().map(|run| run[b][0]).collect();
            let (mean, error) = mean(&values);
            format!(" {mean:.3} ± {error:.3} |")
        });
        println!("| {name} |{}", cells.collect::<String>());
    }
    Ok(())
}

fn main() -> Result<(), Failure> {
    let options = options()?;
    let wanted = |name: &str| {
        options
            .only
            .as_deref()
            .is_none_or(|only| name.contains(only))
    };
    for (column, data) in [
        ("c10_val_200ep_seed777", "c10"),
        ("c10_val_12ep", "c10"),
        ("c100_val_12ep", "c100"),
        ("in16_val_12ep", "in16"),
    ] {
        if wanted(column) {
            single(&options, column, data)?;
        }
    }
    for latency_is in [CostClass::Static, CostClass::Expensive] {
        for data in ["c10", "in16"] {
            if wanted(&format!("latency-{latency_is:?}-{data}")) {
                several(&options, data, latency_is)?;
            }
        }
    }
    Ok(())
}
