//! Compares the scores of `archai proxies` with the public ones on cells of NAS-Bench-201, as docs/proxies.md shows it:
//!
//! ```console
//! $ cargo run --release -p archai --example nb201_proxies -- nb201_merged.csv.gz --cifar10 FOLDER --cells 60
//! ```
//!
//! The table has the public scores of NAS-Bench-Suite-Zero in columns `zc10_…` and accuracies on CIFAR-10; FOLDER has CIFAR-10 as
//! parquet files. Without it, images are noise.

use std::path::PathBuf;
use std::time::Instant;

use archai_engine::{Compute, OpRegistry, proxies};
use archai_lab::Lab;
use archai_lab::proxies::{Images, Scorer, batches, named};
use archai_search::space::{SearchSpace, shipped};
use archai_search::table::{Table, TableQuantity};
use archai_search::{CostClass, Direction, Evaluator, Quantity};
use archai_spec::rng::Key;
use archai_spec::settings::Dataset;

type Failure = Box<dyn std::error::Error>;

/// The column of the accuracy after 200 epochs on test data.
const ACCURACY: &str = "c10_test_200ep";

struct Options {
    table: PathBuf,
    cifar10: Option<String>,
    cells: usize,
    batch: usize,
    seed: u64,
    only: Vec<String>,
}

fn options() -> Result<Options, Failure> {
    let mut options = Options {
        table: PathBuf::new(),
        cifar10: None,
        cells: 60,
        batch: 32,
        seed: 0,
        only: Vec::new(),
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("`{arg}` needs a value"));
        match arg.as_str() {
            "--cifar10" => options.cifar10 = Some(value()?),
            "--cells" => options.cells = value()?.parse()?,
            "--batch" => options.batch = value()?.parse()?,
            "--seed" => options.seed = value()?.parse()?,
            "--only" => options.only = value()?.split(',').map(String::from).collect(),
            path => options.table = PathBuf::from(path),
        }
    }
    Ok(options)
}

fn mean_ranks(values: &[f64]) -> Vec<f64> {
    let below = |v: f64| values.iter().filter(|w| **w < v).count() as f64;
    let equal = |v: f64| values.iter().filter(|w| **w == v).count() as f64;
    values
        .iter()
        .map(|&v| below(v) + (equal(v) - 1.0) / 2.0)
        .collect()
}

/// Pearson's correlation of mean ranks.
fn spearman(pairs: &[(f64, f64)]) -> f64 {
    let (a, b): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let (a, b) = (mean_ranks(&a), mean_ranks(&b));
    let mean = (a.len() as f64 - 1.0) / 2.0;
    let dot = |x: &[f64], y: &[f64]| -> f64 {
        x.iter().zip(y).map(|(x, y)| (x - mean) * (y - mean)).sum()
    };
    dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
}

/// Kendall's τ-b: pairs in order less pairs out of order, where ties shrink the number of pairs.
fn kendall(pairs: &[(f64, f64)]) -> f64 {
    let (mut order, mut a, mut b) = (0.0, 0.0, 0.0);
    for (i, x) in pairs.iter().enumerate() {
        for y in &pairs[..i] {
            let sign = |d: f64| if d == 0.0 { 0.0 } else { d.signum() };
            let (p, q) = (sign(x.0 - y.0), sign(x.1 - y.1));
            order += p * q;
            a += p * p;
            b += q * q;
        }
    }
    order / f64::sqrt(a * b)
}

fn main() -> Result<(), Failure> {
    let options = options()?;
    let known = proxies::builtin();
    let chosen = named(&known, &options.only)?;
    let names: Vec<String> = chosen
        .iter()
        .map(|proxy| proxy.name().to_string())
        .collect();
    let column = |name: &str, column: String| {
        let quantity = Quantity::new(name, Direction::Maximise).class(CostClass::Static);
        TableQuantity::new(quantity, column)
    };
    // ZiCo is younger than the table.
    let public = names.iter().filter(|name| *name != "zico");
    let mut columns: Vec<TableQuantity> = public
        .map(|name| column(name, format!("zc10_{name}")))
        .collect();
    columns.push(column(ACCURACY, ACCURACY.to_string()));
    let table = Table::open(&options.table, "edges", columns)?;
    let images = match &options.cifar10 {
        None => Images::Noise(options.batch),
        Some(folder) => {
            let section = Dataset {
                format: "parquet".into(),
                path: folder.clone(),
                ..Dataset::shipped("cifar10")?
            };
            Images::Batches(batches(
                &Lab::builtin(),
                &section,
                options.batch,
                options.seed,
            )?)
        }
    };
    let scorer = Scorer::new(
        chosen,
        OpRegistry::builtin(),
        images,
        Compute::cpu(),
        options.seed,
        0,
    )?;
    // Its ids have the digits of the table.
    let space = shipped("nb201")?;
    let key = Key::new(options.seed).with("nb201_proxies");
    // Our score, the public one, the accuracy.
    let mut rows: Vec<Vec<[f64; 3]>> = vec![Vec::new(); names.len()];
    let (mut cells, mut undefined, begun) = (0, 0, Instant::now());
    for i in 0..15_625u32 {
        if cells == options.cells {
            break;
        }
        let member = space.sample(key.with(i))?;
        let of_table = table.statics(&space, &member)?;
        let Some(accuracy) = of_table.get(ACCURACY) else {
            continue;
        };
        // Not all cells have public scores.
        if names
            .iter()
            .any(|name| name != "zico" && !of_table.contains_key(name))
        {
            continue;
        }
        let scores = scorer.score(&space.describe(&member)?)?;
        for ((name, score), rows) in names.iter().zip(scores).zip(&mut rows) {
            match score {
                Ok(score) => {
                    let public = of_table.get(name).copied().unwrap_or(f64::NAN);
                    rows.push([score, public, *accuracy]);
                }
                Err(error) => {
                    eprintln!("{}: {error}", space.id(&member));
                    undefined += 1;
                }
            }
        }
        cells += 1;
        if cells % 10 == 0 {
            eprintln!("{cells} cells, {:.0} s", begun.elapsed().as_secs_f64());
        }
    }
    println!(
        "{cells} cells, batches of {}, {undefined} scores without a value",
        options.batch
    );
    println!(
        "| proxy | ρ public | τ public | ρ accuracy | ρ of public and accuracy | mean \\|relative difference\\| |"
    );
    println!("|---|---|---|---|---|---|");
    for (name, rows) in names.iter().zip(&rows) {
        let of = |a: usize, b: usize| -> Vec<(f64, f64)> {
            let pairs = rows.iter().map(|row| (row[a], row[b]));
            pairs
                .filter(|(a, b)| a.is_finite() && b.is_finite())
                .collect()
        };
        let (public, accuracy) = (of(0, 1), of(0, 2));
        let differences = public
            .iter()
            .map(|(ours, public)| ((ours - public) / public).abs());
        let difference = differences.sum::<f64>() / public.len() as f64;
        // A proxy without public scores has no number beside them.
        let shown = |value: f64| match value.is_finite() {
            true => format!("{value:.3}"),
            false => "–".to_string(),
        };
        println!(
            "| `{name}` | {} | {} | {} | {} | {} |",
            shown(spearman(&public)),
            shown(kendall(&public)),
            shown(spearman(&accuracy)),
            shown(spearman(&of(1, 2))),
            shown(difference)
        );
    }
    Ok(())
}
