//! Trained networks as files: [`safetensors`] for everything, [`pytorch`] for PyTorch. Both hold named 32-bit
//! tensors; the names are those of the parameters (`cell0.node1.edge2.sep_conv_3x3.conv1.weight`).
//!
//! The same tensors always give the same bytes: no time stamp, no order that depends on a hash.
//!
//! What formats there are is an open list of [`Exporter`]s, from which an evaluation takes those that it is asked for.

mod fold;
mod formats;
pub mod import;
mod info;
mod model_file;
pub mod onnx;
mod pt;
pub mod pytorch;
pub mod quant;
pub mod reference;
pub mod rust;
pub mod safetensors;
mod tensor;
pub mod testing;
mod weights;
pub mod width;

pub use fold::fold_norms;
pub use formats::{Formats, Product};
pub use info::{ModelInfo, Provenance, info_path};
pub use model_file::{MODEL_VERSION, ModelFile, ModelFileError, ModelFileErrorKind};
pub use pt::write_pt;
pub use safetensors::{read_safetensors, write_safetensors};
pub use tensor::NamedTensor;
pub use weights::Weights;

use std::collections::HashSet;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use archai_spec::desc::{DescErrors, ModelDesc, OpCatalog};
use archai_spec::graph::Graph;
use archai_spec::registry::{Named, Registry};

/// What is exported: a network and its numbers.
#[derive(Clone, Copy, Debug)]
pub struct Exported<'a> {
    /// The network's description. Auxiliary towers exist in training only: without [`Options::training`] it has none.
    pub desc: &'a ModelDesc,
    /// What the names of its ops mean, those that a program or the algorithm added included: for formats that need the
    /// ops as lists of layers.
    pub catalog: &'a OpCatalog,
    /// Weights and running statistics by name, each once, those of the description's parts and no others.
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

/// What may be chosen about an export: the section `nas.eval.export_options`, each a flag of `archai export`.
pub use archai_spec::settings::{ExportInput, ExportOptions as Options};

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
    /// How the name of its main file ends, without the dot. Empty if there is none, and all files are
    /// [companions](Exporter::companions).
    fn extension(&self) -> &str;

    /// Writes the main file. The same network must give the same bytes, whatever the file is called: it may be copied under
    /// another name.
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

    /// The names of the [`Options`] that it heeds. One that none of the chosen formats heeds is refused when it is changed.
    fn options(&self) -> &[&str] {
        &[]
    }

    /// Names of further files that belong to this format, beside the one whose name is `stem` and the extension; they may
    /// lie in folders of their own (`/` stands between). By default there are none.
    fn companions(&self, stem: &str) -> Vec<String> {
        let _ = stem;
        Vec::new()
    }

    /// Writes one of the [companions](Exporter::companions). The same network must give the same bytes, whatever the files are
    /// called: they may be copied under other names.
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

    /// Whether a companion holds the network's numbers, for forecasts of disk space. By default it is small.
    fn is_large(&self, companion: &str) -> bool {
        let _ = companion;
        false
    }

    /// How the main file is described in the list of a run's files, where `what` says which weights it holds.
    fn describe(&self, what: &str) -> String {
        format!("{what}, as {}", self.about())
    }

    /// The same of a companion.
    fn describe_companion(&self, name: &str, what: &str) -> String {
        let _ = name;
        format!("belongs to: {}", self.describe(what))
    }

    /// One line of code that loads the file of this name, for those of the format's files that a user begins with.
    fn usage(&self, file: &str) -> Option<String> {
        let _ = file;
        None
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
        .with(Arc::new(pytorch::PytorchExporter))
        .with(Arc::new(onnx::OnnxExporter))
        .with(Arc::new(rust::RustExporter))
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

/// What to say of a shifted map that a graph was left with: [`archai_spec::desc::ModelDesc::lower`] leaves none.
fn unspelt(graph: &Graph, value: usize) -> String {
    unspelt_name(&graph.values[value].name)
}

fn unspelt_name(name: &str) -> String {
    format!(
        "`{name}` is a shifted map, which a graph says as a crop; take the graph from `ModelDesc::lower`"
    )
}

fn unsupported(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, message)
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
