//! Trained networks as files: the crate `archai_export` with what it leaves to its callers, the file system and the settings.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

pub use archai_export::*;
use archai_spec::settings;

use crate::error::EngineError;
use crate::files::{FileError, write_atomically};

/// The exporters that an evaluation writes its model with: those that `nas.eval.exports` names, of all that are known.
///
/// # Errors
/// [`EngineError::Setting`]: there is no exporter of such a name, or two of them write files of one extension.
pub fn chosen(
    all: &Exporters,
    settings: &settings::Eval,
) -> Result<Vec<Arc<dyn Exporter>>, EngineError> {
    let refused = |problem: String| EngineError::setting("nas.eval.exports", problem);
    let mut chosen: Vec<Arc<dyn Exporter>> = Vec::new();
    for name in settings.exports() {
        let exporter = all.get(name).map_err(|e| refused(e.to_string()))?;
        let extension = exporter.extension();
        if let Some(same) = chosen.iter().find(|e| e.extension() == extension) {
            return Err(refused(format!(
                "`{}` and `{name}` both write files that end in `.{extension}`; choose one of them",
                same.name()
            )));
        }
        chosen.push(Arc::clone(exporter));
    }
    Ok(chosen)
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
