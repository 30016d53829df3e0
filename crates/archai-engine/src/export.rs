//! Trained networks as files: the crate `archai_export` with what it leaves to its callers, the file system and the settings.

use std::collections::BTreeMap;
use std::path::Path;

pub use archai_export::*;
use archai_spec::desc::{ModelDesc, OpCatalog};
use archai_spec::settings;

use crate::error::EngineError;
use crate::files::{FileError, write_atomically};

/// What an evaluation writes its model as: the formats that `nas.eval.export` names, of all that are known.
///
/// # Errors
/// [`EngineError::Setting`]: as [`Formats::new`].
pub fn chosen(all: &Exporters, settings: &settings::Eval) -> Result<Formats, EngineError> {
    Formats::new(all, &settings.export, &settings.export_options)
        .map_err(|problem| EngineError::setting("nas.eval.export", problem))
}

/// Asks every format that an evaluation writes whether it can express the network that is trained.
///
/// # Errors
/// [`EngineError::Setting`]: as [`Formats::check`].
pub fn check_expressed(
    formats: &Formats,
    desc: &ModelDesc,
    catalog: &OpCatalog,
) -> Result<(), EngineError> {
    formats
        .check(desc, catalog)
        .map_err(|problem| EngineError::setting("nas.eval.export", problem))
}

/// Writes `tensors` as a PyTorch state dict of float32 tensors, in their order.
///
/// # Errors
/// As [`write_pt`], and a file that cannot be written.
pub fn save_pt(path: &Path, tensors: &[NamedTensor]) -> Result<(), FileError> {
    write_atomically(path, |out| write_pt(out, tensors))
}

/// Writes `tensors` as 32-bit floats, in their order, with `metadata` as texts beside them (a model's description, say).
///
/// # Errors
/// As [`write_safetensors`], and a file that cannot be written.
pub fn save_safetensors(
    path: &Path,
    tensors: &[NamedTensor],
    metadata: &BTreeMap<String, String>,
) -> Result<(), FileError> {
    write_atomically(path, |out| write_safetensors(out, tensors, metadata))
}

/// Reads tensors of 32- or 64-bit floats, in the order in which they lie in the file, and the texts beside them.
///
/// # Errors
/// As [`read_safetensors`], and a file that cannot be read.
pub fn load_safetensors(
    path: &Path,
) -> Result<(Vec<NamedTensor>, BTreeMap<String, String>), FileError> {
    let failed = |e| FileError::new("read", path, e);
    let bytes = std::fs::read(path).map_err(failed)?;
    read_safetensors(&bytes).map_err(failed)
}
