//! Trained networks as files: [`safetensors`] for everything, [`pt`] for PyTorch. Both hold named 32-bit
//! tensors; the names are those of the parameters (`cell0.node1.edge2.sep_conv_3x3.conv1.weight`).
//!
//! The same tensors always give the same bytes: no time stamp, no order that depends on a hash.
//!
//! What formats there are is an open list of [`Exporter`]s, from which an evaluation takes those that it is asked for.

mod info;
pub mod pt;
pub mod safetensors;
mod tensor;

pub use info::{ModelInfo, info_path};
pub use pt::write_pt;
pub use safetensors::{read_safetensors, write_safetensors};
pub use tensor::NamedTensor;

use std::collections::HashSet;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use archai_spec::desc::{DescErrors, ModelDesc, OpCatalog};
use archai_spec::graph::Graph;
use archai_spec::registry::{Named, Registry};
use serde::{Deserialize, Serialize};

/// What is exported: a network and its numbers.
#[derive(Clone, Copy, Debug)]
pub struct Exported<'a> {
    /// The network's description, without auxiliary towers: they exist in training only.
    pub desc: &'a ModelDesc,
    /// What the names of its ops mean, those that a program or the algorithm added included: for formats that need the
    /// ops as lists of layers.
    pub catalog: &'a OpCatalog,
    /// Weights and running statistics by name, each once, those of auxiliary towers left out.
    pub state: &'a [NamedTensor],
    /// What the network takes and gives.
    pub info: &'a ModelInfo,
    /// How it is written.
    pub options: &'a Options,
}

impl Exported<'_> {
    /// The network as layers, as it is used once it is trained.
    ///
    /// # Errors
    /// An op that is not made of layers, by name and place.
    pub fn graph(&self) -> Result<Graph, DescErrors> {
        Ok(self.desc.lower(self.catalog)?.inference())
    }
}

/// What may be chosen about an export. A format that has no use for a choice leaves it alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {}

/// A format of files in which a trained network is left for other programs.
///
/// ```
/// use archai_export::{Exported, Exporter};
/// use archai_spec::registry::Named;
/// use std::io::{self, Write};
///
/// /// The names and sizes of all tensors.
/// struct Sizes;
/// impl Named for Sizes {
///     fn name(&self) -> &str { "sizes" }
///     fn about(&self) -> &str { "a list of its tensors" }
/// }
/// impl Exporter for Sizes {
///     fn extension(&self) -> &str { "txt" }
///     fn export(&self, model: &Exported<'_>, out: &mut dyn Write) -> io::Result<()> {
///         model.state.iter().try_for_each(|t| writeln!(out, "{} {:?}", t.name, t.shape))
///     }
/// }
/// ```
pub trait Exporter: Named + Send + Sync {
    /// How the names of its files end, without the dot.
    fn extension(&self) -> &str;

    /// Writes a network. The same network must give the same bytes.
    ///
    /// # Errors
    /// What the writer reports; of kind `Unsupported` if the format cannot express what the network is made of, and the
    /// message names the op.
    fn export(&self, model: &Exported<'_>, out: &mut dyn Write) -> io::Result<()>;

    /// Says before anything is trained or written what would stop the export: by default nothing.
    ///
    /// # Errors
    /// Of kind `Unsupported` if the format cannot express the network; the message names the op.
    fn check(&self, desc: &ModelDesc, catalog: &OpCatalog, options: &Options) -> io::Result<()> {
        let _ = (desc, catalog, options);
        Ok(())
    }

    /// Names of further files that belong to this format, beside the one whose name is `stem` and the extension; they may
    /// lie in folders of their own. By default there are none.
    fn companions(&self, stem: &str) -> Vec<String> {
        let _ = stem;
        Vec::new()
    }

    /// Writes one of the [companions](Exporter::companions). The same network must give the same bytes.
    ///
    /// # Errors
    /// As [`Exporter::export`].
    fn export_companion(
        &self,
        name: &str,
        model: &Exported<'_>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let _ = (model, out);
        Err(invalid(format!(
            "`{}` writes no file `{name}`",
            self.name()
        )))
    }

    /// Whether `nas.eval.model_filename` names this format's file even with an extension of no format. By default not: the
    /// file stands beside it, with its own extension.
    fn takes_any_name(&self) -> bool {
        false
    }

    /// How the file is described in the list of a run's files, where `what` says which weights it holds.
    fn describe(&self, what: &str) -> String {
        format!("{what}, as {}", self.about())
    }
}

impl fmt::Debug for dyn Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Exporter").field(&self.name()).finish()
    }
}

/// Formats by name.
pub type Exporters = Registry<dyn Exporter>;

/// The formats that come with the program.
pub fn builtin() -> Exporters {
    Exporters::new("exporter")
        .with(Arc::new(safetensors::SafetensorsExporter))
        .with(Arc::new(pt::PtExporter))
}

/// The files of a network in several formats, one for each exporter. `path` names the file of the format whose extension
/// it has, or else of the one that [takes any name](Exporter::takes_any_name); the others stand beside it with their own
/// extensions.
///
/// ```
/// use archai_export::{builtin, files};
/// use std::path::Path;
/// let exporters: Vec<_> = builtin().iter().cloned().collect();
/// let names = |path: &str| -> Vec<String> {
///     files(Path::new(path), &exporters).iter().map(|p| p.display().to_string()).collect()
/// };
/// assert_eq!(names("model.pt"), ["model.safetensors", "model.pt"]);
/// assert_eq!(names("model.bin"), ["model.safetensors", "model.bin"]);
/// let only: Vec<_> = exporters[..1].to_vec();
/// assert_eq!(files(Path::new("model.bin"), &only), [Path::new("model.safetensors")]);
/// ```
pub fn files(path: &Path, exporters: &[Arc<dyn Exporter>]) -> Vec<PathBuf> {
    let has_extension = |e: &dyn Exporter| path.extension().is_some_and(|own| own == e.extension());
    let own = exporters.iter().position(|e| has_extension(e.as_ref()));
    let own = own.or_else(|| exporters.iter().position(|e| e.takes_any_name()));
    let place = |(i, exporter): (usize, &Arc<dyn Exporter>)| match Some(i) == own {
        true => path.to_path_buf(),
        false => path.with_extension(exporter.extension()),
    };
    exporters.iter().enumerate().map(place).collect()
}

/// Refuses what no format can hold: a name twice, or fewer numbers than the shape says.
fn check(tensors: &[NamedTensor]) -> io::Result<()> {
    let mut names = HashSet::new();
    for tensor in tensors {
        if !names.insert(tensor.name.as_str()) {
            return Err(invalid(format!(
                "two tensors are called `{}`; names must differ",
                tensor.name
            )));
        }
        let expected: usize = tensor.shape.iter().product();
        if tensor.values.len() != expected {
            return Err(invalid(format!(
                "tensor `{}` of shape {:?} should hold {expected} numbers and holds {}",
                tensor.name,
                tensor.shape,
                tensor.values.len()
            )));
        }
    }
    Ok(())
}

/// The numbers as little-endian 32-bit floats.
fn write_f32(out: &mut (impl Write + ?Sized), values: &[f64]) -> io::Result<()> {
    values
        .iter()
        .try_for_each(|&v| out.write_all(&(v as f32).to_le_bytes()))
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
