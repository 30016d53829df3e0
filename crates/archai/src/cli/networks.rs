//! Networks that a command line names: a description, a trained model, or members of a space of discrete search.

use std::path::Path;

use archai_engine::export::ModelFile;
use archai_search::space::{SearchSpace, Space};
use archai_spec::desc::{ModelDesc, OpCatalog};
use archai_spec::rng::Key;

use super::error::CliError;
use super::{desc, space};

/// What an argument names.
pub enum Given {
    /// A space of discrete search.
    Space(Box<Space>),
    /// A description.
    Description(Box<ModelDesc>),
    /// A trained model.
    Model(Box<ModelFile>),
}

/// A network with what to call it.
pub struct Network {
    pub name: String,
    pub desc: ModelDesc,
}

/// Finds out what an argument names: the file of a space, of a description or of a model, a run directory, or a space that comes
/// with the program.
///
/// # Errors
/// There is no such thing, or it cannot be used.
pub fn given(argument: &str, catalog: &OpCatalog) -> Result<Given, CliError> {
    let path = Path::new(argument);
    let is_name = path.components().count() == 1 && path.extension().is_none();
    if !path.exists() && is_name && argument != "-" {
        return Ok(Given::Space(Box::new(space::load(argument)?)));
    }
    let ending = path.extension().and_then(|ending| ending.to_str());
    let is_model = matches!(ending, Some("pt" | "pth" | "safetensors"));
    if is_model || (path.is_dir() && ModelFile::find(path, false).is_ok()) {
        let file = ModelFile::find(path, false)?;
        return Ok(Given::Model(Box::new(ModelFile::open(&file, catalog)?)));
    }
    let (text, name) = desc::read(argument)?;
    // A key of spaces alone, at the beginning of a line.
    if text.lines().any(|line| line.starts_with("space:")) {
        let space = Space::parse(&name, &text).map_err(CliError::input)?;
        return Ok(Given::Space(Box::new(space)));
    }
    let desc = ModelDesc::from_yaml(&text, &name, catalog).map_err(CliError::input)?;
    Ok(Given::Description(Box::new(desc)))
}

/// Members of a space: those of the ids or, without any, as many random ones as are asked for.
///
/// # Errors
/// An id of no member.
pub fn members(
    space: &Space,
    ids: &[String],
    sample: u32,
    key: Key,
) -> Result<Vec<Network>, CliError> {
    let chosen: Result<Vec<_>, _> = match ids {
        [] => (0..sample).map(|i| space.sample(key.with(i))).collect(),
        ids => ids.iter().map(|id| space.parse_id(id)).collect(),
    };
    let chosen = chosen.map_err(CliError::input)?;
    let networks = chosen.iter().map(|member| {
        Ok(Network {
            name: space.id(member),
            desc: space.describe(member).map_err(CliError::input)?,
        })
    });
    networks.collect()
}

/// What to call a network that a file holds: the file's name without its ending.
pub fn name_of(argument: &str) -> String {
    let stem = Path::new(argument).file_stem();
    stem.map_or_else(
        || argument.to_string(),
        |stem| stem.to_string_lossy().into_owned(),
    )
}
