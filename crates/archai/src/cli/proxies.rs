//! `archai proxies`: zero-cost proxies of a network, or of members of a space.

use std::io::Write;
use std::sync::Arc;

use archai_engine::{Compute, EngineError};
use archai_lab::Lab;
use archai_lab::config::all_ops;
use archai_lab::proxies::{Images, Scorer, Scores, batches, named};
use archai_spec::desc::ModelDesc;
use archai_spec::rng::Key;
use serde_json::{Map, Value, json};

use super::args::{OutputFormat, ProxiesArgs};
use super::env::Env;
use super::error::CliError;
use super::networks::{Given, Network, given, members, name_of};
use super::text::{csv_field, table, width};
use super::{data_found, lists, model};

/// Scores networks and prints the scores.
///
/// # Errors
/// A network, a space, a proxy or data that cannot be used.
pub fn run(args: &ProxiesArgs, overrides: &[String], lab: &Lab, env: &Env) -> Result<(), CliError> {
    let known = &lab.components().proxies;
    let Some(network) = &args.network else {
        return lists::named(args.list_args(), known);
    };
    let proxies = named(known, &args.only).map_err(CliError::input)?;
    let (ops, _) = all_ops(lab.algorithms(), lab.components())?;
    let networks = match given(network, ops.catalog())? {
        Given::Space(space) => {
            let key = Key::new(args.seed).with("archai proxies");
            members(&space, &args.id, args.sample, key)?
        }
        Given::Description(desc) => vec![Network {
            name: name_of(network),
            desc: *desc,
        }],
        Given::Model(file) => vec![Network {
            name: name_of(network),
            desc: file.desc.clone(),
        }],
    };
    let Some(first) = networks.first() else {
        return Err(CliError::usage(
            "--sample 0 leaves nothing to score; ask for one network at least",
        ));
    };
    let images = images(args, &first.desc, overrides, lab, env)?;
    let threads = args.threads.map_or(0, usize::from);
    let scorer = Scorer::new(proxies, ops, images, Compute::cpu(), args.seed, threads)?;
    let bar = model::bar(networks.len(), "scoring", env.draws)?;
    let mut scored = Vec::new();
    for network in &networks {
        let scores = scorer.score(&network.desc).map_err(|e| match e {
            EngineError::Desc(_) | EngineError::Batch(_) => {
                CliError::usage(format!("{}: {e}", network.name))
            }
            e => CliError::engine(e),
        })?;
        scored.push((network.name.clone(), scores));
        bar.inc(1);
    }
    bar.finish_and_clear();
    let names: Vec<&str> = scorer.proxies().iter().map(|proxy| proxy.name()).collect();
    let text = match args.format.chosen() {
        OutputFormat::Table => as_table(&names, &scored),
        OutputFormat::Json => format!("{:#}\n", as_json(&names, &scored)),
        OutputFormat::Csv => as_csv(&names, &scored),
    };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

/// What networks of the form of `desc` are scored on.
fn images(
    args: &ProxiesArgs,
    desc: &ModelDesc,
    overrides: &[String],
    lab: &Lab,
    env: &Env,
) -> Result<Images, CliError> {
    let section = match (&args.data, &args.datasets) {
        (Some(path), _) => {
            let size = Some([desc.input.height, desc.input.width]);
            let path = path.display().to_string();
            data_found::seen(&path, size, overrides, lab, env)?.section
        }
        (None, Some(name)) => model::section(name, overrides, lab)?,
        (None, None) => {
            if let Some(first) = overrides.first() {
                return Err(CliError::usage(format!(
                    "`{first}` is a setting of a data set, and none is named; add --datasets NAME or --data PATH"
                )));
            }
            return Ok(Images::Noise(args.batch));
        }
    };
    if section.n_classes > desc.n_classes {
        return Err(CliError::usage(format!(
            "`{}` has {} classes and the network tells {}; choose other data, or a network for as many classes",
            section.name, section.n_classes, desc.n_classes
        )));
    }
    let batches: Arc<[_]> = batches(lab, &section, args.batch, args.seed)?;
    Ok(Images::Batches(batches))
}

/// A score for people.
fn written(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_string(),
        0.001..1e6 => format!("{value:.4}"),
        _ => format!("{value:.4e}"),
    }
}

type Scored = (String, Scores);

/// One network: a row for each proxy. Several: a row for each network.
fn as_table(names: &[&str], scored: &[Scored]) -> String {
    let cell = |score: &Result<f64, _>| match score {
        Ok(value) => written(*value),
        Err(_) => "–".to_string(),
    };
    let text = match scored {
        [(name, scores)] => {
            let rows: Vec<Vec<String>> = (names.iter().zip(scores))
                .map(|(proxy, score)| vec![proxy.to_string(), cell(score)])
                .collect();
            table(&["proxy", name], 1, &rows, width())
        }
        all => {
            let rows: Vec<Vec<String>> = (all.iter())
                .map(|(name, scores)| {
                    let cells = scores.iter().map(cell);
                    std::iter::once(name.clone()).chain(cells).collect()
                })
                .collect();
            let header: Vec<&str> = std::iter::once("network")
                .chain(names.iter().copied())
                .collect();
            table(&header, 1, &rows, width())
        }
    };
    let missing = scored.iter().flat_map(|(name, scores)| {
        let wrong = scores.iter().filter_map(|score| score.as_ref().err());
        wrong.map(move |error| format!("{name}: {error}\n"))
    });
    format!("{text}\n{}", missing.collect::<String>())
}

fn as_json(names: &[&str], scored: &[Scored]) -> Value {
    let network = |(network, scores): &Scored| {
        let (mut values, mut undefined) = (Map::new(), Map::new());
        for (name, score) in names.iter().zip(scores) {
            match score {
                Ok(value) => values.insert(name.to_string(), json!(value)),
                Err(error) => undefined.insert(name.to_string(), json!(error.to_string())),
            };
        }
        let mut value = json!({"network": network, "scores": values});
        if !undefined.is_empty() {
            value["undefined"] = undefined.into();
        }
        value
    };
    scored.iter().map(network).collect()
}

/// A field is empty where a score has no value.
fn as_csv(names: &[&str], scored: &[Scored]) -> String {
    let mut text = format!("network,{}\n", names.join(","));
    for (network, scores) in scored {
        let cells = scores.iter().map(|score| match score {
            Ok(value) => value.to_string(),
            Err(_) => String::new(),
        });
        let cells: Vec<String> = std::iter::once(csv_field(network)).chain(cells).collect();
        text += &format!("{}\n", cells.join(","));
    }
    text
}
