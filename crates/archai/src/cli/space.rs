//! `archai space …`: spaces of discrete search, checked, counted, sampled and drawn.

use std::io::Write;
use std::path::Path;

use archai_engine::files::{FileError, write_atomically};
use archai_search::space::{
    Member, Quantity, Report, SearchSpace, Space, language_ops, shipped_names, shipped_text,
};
use archai_spec::desc::{draw_dot, draw_svg};
use archai_spec::numbers::thousands;
use archai_spec::rng::Key;
use serde_json::{Map, Value, json};

use super::args::SpaceCommand;
use super::desc::give;
use super::error::CliError;
use super::text::{self, wrapped};

/// Largest file of a space: real ones have some thousand bytes.
const MAX_FILE: u64 = 1 << 20;

/// Runs a command of the group.
///
/// # Errors
/// A space that is not there or is wrong, a member that is none, a file that cannot be written.
pub fn run(command: &SpaceCommand) -> Result<(), CliError> {
    match command {
        SpaceCommand::List { json } => list(shipped_names(), *json),
        SpaceCommand::Ops { json } => list(language_ops(), *json),
        SpaceCommand::Check { space, limit, json } => {
            let space = load(&space.space)?;
            for limit in limit {
                let (quantity, most) = self::limit(limit)?;
                space.check_limit(quantity, most).map_err(CliError::input)?;
            }
            match json {
                true => print(&check_json(&space)),
                false => write(&check_text(&space)),
            }
        }
        SpaceCommand::Show { space, json } => show(&load(&space.space)?, *json),
        SpaceCommand::Count { space, json } => count(&load(&space.space)?, *json),
        SpaceCommand::Sample {
            space,
            n,
            seed,
            json,
        } => sample(&load(&space.space)?, *n, *seed, *json),
        SpaceCommand::Desc { space, id, output } => {
            let space = load(&space.space)?;
            let member = space.parse_id(id).map_err(CliError::input)?;
            let desc = space.describe(&member).map_err(CliError::input)?;
            give(&desc, output.as_deref())
        }
        SpaceCommand::Draw {
            space,
            id,
            seed,
            output,
        } => {
            let space = load(&space.space)?;
            let member = match id {
                Some(id) => space.parse_id(id),
                None => space.sample(key(*seed)),
            };
            draw(&space, &member.map_err(CliError::input)?, output.as_deref())
        }
    }
}

/// The space that an argument names: a file, or one that comes with the program.
///
/// # Errors
/// There is none, or it is wrong.
pub(super) fn load(name: &str) -> Result<Space, CliError> {
    let Written { file, text, .. } = written(name)?;
    Space::parse(&file, &text).map_err(CliError::input)
}

/// A space as it is written.
pub struct Written {
    /// The name of its file in messages.
    pub file: String,
    pub text: String,
    /// Whether it comes with the program.
    pub is_shipped: bool,
}

/// The text of the space that an argument names: a file, or one that comes with the program.
///
/// # Errors
/// There is no such file and no such space.
pub fn written(name: &str) -> Result<Written, CliError> {
    let path = Path::new(name);
    let is_path = path.components().count() > 1 || path.extension().is_some();
    if !is_path && !path.exists() {
        let text = shipped_text(name).map_err(CliError::input)?;
        return Ok(Written {
            file: format!("archai:search_spaces/{name}.yaml"),
            text: text.to_string(),
            is_shipped: true,
        });
    }
    let size =
        std::fs::metadata(path).map_err(|e| CliError::at_named(FileError::new("read", path, e)))?;
    if size.len() > MAX_FILE {
        return Err(CliError::usage(format!(
            "`{name}` has more than {MAX_FILE} bytes; a space has some thousand"
        )));
    }
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|e| CliError::at_named(FileError::new("read", path, e)))?;
    Ok(Written {
        file: name.to_string(),
        text,
        is_shipped: false,
    })
}

/// `params<=1e6`.
fn limit(text: &str) -> Result<(Quantity, u64), CliError> {
    let wrong = || {
        CliError::usage(format!(
            "`{text}` is no limit; expected `params<=1e6` or `macs<=5e7`"
        ))
    };
    let (quantity, most) = text.split_once("<=").ok_or_else(wrong)?;
    let quantity = match quantity.trim() {
        "params" => Quantity::Params,
        "macs" => Quantity::Macs,
        _ => return Err(wrong()),
    };
    let most: f64 = most.trim().parse().map_err(|_| wrong())?;
    match most.is_finite() && most >= 0.0 {
        true => Ok((quantity, most as u64)),
        false => Err(wrong()),
    }
}

fn key(seed: u64) -> Key {
    Key::new(seed).with("archai space")
}

fn write(text: &str) -> Result<(), CliError> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

fn print(value: &Value) -> Result<(), CliError> {
    write(&format!("{value:#}\n"))
}

fn list(
    entries: impl Iterator<Item = (&'static str, &'static str)>,
    json: bool,
) -> Result<(), CliError> {
    let entries: Vec<(&str, &str)> = entries.collect();
    if json {
        let all = entries
            .iter()
            .map(|(name, about)| json!({"name": name, "about": about}));
        return print(&all.collect());
    }
    let width = entries
        .iter()
        .map(|(name, _)| name.len())
        .max()
        .unwrap_or(0);
    let lines = entries.iter().map(|(name, about)| {
        let line = format!("{name:<width$}  {about}");
        wrapped(&line, text::width(), width + 2) + "\n"
    });
    write(&lines.collect::<String>())
}

/// A number of any size with its thousands apart.
fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn check_text(space: &Space) -> String {
    let report = space.report();
    let row = |name: &str, text: String| format!("{name:<15}{text}\n");
    let range = |[lo, hi]: [u64; 2]| format!("{} to {}", thousands(lo), thousands(hi));
    let mut members = grouped(&report.members.to_string());
    if report.members != report.without_conditions {
        let all = grouped(&report.without_conditions.to_string());
        members.push_str(&format!(" of {all} meet the conditions"));
    }
    let mut text = format!("every member of `{}` can be built\n", space.name());
    text += &row("members", members);
    text += &row("choices", report.choices.to_string());
    text += &row("parameters", range(report.params));
    text += &row("multiply-adds", range(report.macs));
    text += &row("smallest", space.id(&report.smallest));
    text += &row("largest", space.id(&report.largest));
    let one_shot = match &report.one_shot {
        Ok(n) => format!("{n} mixed edges in a supernet"),
        Err(why) => format!("no supernet: {why}"),
    };
    text += &row("one-shot", one_shot);
    for warning in &report.warnings {
        text += &format!("warning: {warning}\n");
    }
    text
}

fn check_json(space: &Space) -> Value {
    let Report {
        members,
        without_conditions,
        exact,
        choices,
        params,
        macs,
        smallest,
        largest,
        cheapest,
        dearest,
        one_shot,
        warnings,
    } = space.report();
    let member = |member: &Member| space.id(member);
    json!({
        "space": space.name(),
        // Larger than a number of JSON may be.
        "members": members.to_string(),
        "members_without_conditions": without_conditions.to_string(),
        "exact": exact,
        "choices": choices,
        "params": {"min": params[0], "max": params[1]},
        "macs": {"min": macs[0], "max": macs[1]},
        "fewest_params": member(smallest),
        "most_params": member(largest),
        "fewest_macs": member(cheapest),
        "most_macs": member(dearest),
        "mixed_edges": one_shot.as_ref().ok(),
        "no_supernet": one_shot.as_ref().err(),
        "warnings": warnings,
    })
}

fn show(space: &Space, json: bool) -> Result<(), CliError> {
    let choices = space.choices();
    if json {
        let all = choices.iter().map(|choice| {
            json!({"place": choice.place, "options": choice.options, "recipe": choice.is_recipe})
        });
        return print(&all.collect());
    }
    let width = choices
        .iter()
        .map(|c| c.place.chars().count())
        .max()
        .unwrap_or(0);
    let lines = choices.iter().map(|choice| {
        let options = match choice.options.len() {
            0..=40 => choice.options.join(" | "),
            n => format!(
                "{} | … | {} ({n})",
                choice.options[0],
                choice.options[n - 1]
            ),
        };
        let line = format!("{:<width$}  {options}", choice.place);
        wrapped(&line, text::width(), width + 2) + "\n"
    });
    write(&lines.collect::<String>())
}

fn count(space: &Space, json: bool) -> Result<(), CliError> {
    let networks = space.count_networks().map_err(CliError::input)?;
    let members = space.report().members.to_string();
    if json {
        return print(&json!({"members": members, "networks": networks}));
    }
    let networks = match networks {
        Some(n) => format!("{} different networks", thousands(n as u64)),
        None => "too many to tell how many networks are the same".to_owned(),
    };
    write(&format!("{} members, {networks}\n", grouped(&members)))
}

fn sample(space: &Space, n: u32, seed: u64, json: bool) -> Result<(), CliError> {
    let mut all = Vec::new();
    let mut text = String::new();
    for i in 0..n {
        let member = space.sample(key(seed).with(i)).map_err(CliError::input)?;
        let cost = space.costs(&member).map_err(CliError::input)?;
        let id = space.id(&member);
        let recipe = space.recipe(&member).map_err(CliError::input)?;
        if json {
            let hash = space.network_hash(&member).map_err(CliError::input)?;
            let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            let choices = space.choices().into_iter().zip(&member.choices);
            let choices: Map<String, Value> = choices
                .filter_map(|(choice, i)| {
                    let option = choice.options.get(usize::from((*i)?))?;
                    Some((choice.place.clone(), json!(option)))
                })
                .collect();
            all.push(json!({
                "id": id,
                "params": cost.params,
                "macs": cost.macs,
                "network": hash,
                "choices": choices,
                "recipe": recipe,
            }));
            continue;
        }
        text += &format!(
            "{id}  {} parameters, {} multiply-adds\n",
            thousands(cost.params),
            thousands(cost.macs)
        );
        for (key, value) in &recipe {
            text += &format!("  {key}: {}\n", json!(value));
        }
    }
    match json {
        true => print(&Value::Array(all)),
        false => write(&text),
    }
}

fn draw(space: &Space, member: &Member, output: Option<&Path>) -> Result<(), CliError> {
    let desc = space.describe(member).map_err(CliError::input)?;
    let svg = match output {
        Some(path) => path.to_path_buf(),
        None => format!("{}.svg", space.name()).into(),
    };
    if svg.extension().is_none_or(|ending| ending != "svg") {
        return Err(CliError::usage(format!(
            "`{}`: the drawing is SVG; let its name end in .svg",
            svg.display()
        )));
    }
    let dot = svg.with_extension("dot");
    write_atomically(&svg, |out| out.write_all(draw_svg(&desc).as_bytes()))
        .map_err(CliError::at_named)?;
    write_atomically(&dot, |out| out.write_all(draw_dot(&desc).as_bytes()))?;
    write(&format!(
        "{}\n{}\n{}\n",
        space.id(member),
        svg.display(),
        dot.display()
    ))
}
