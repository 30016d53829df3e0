//! A trained network in one file: weights, and in the header all that using them takes. [`ModelFile`] reads what the exporter
//! `safetensors` writes, and says of anything else what it is and what was expected.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use archai_spec::desc::{ModelDesc, OpCatalog};
use archai_spec::graph::Graph;

use crate::info::ModelInfo;
use crate::safetensors::read_safetensors;
use crate::tensor::NamedTensor;
use crate::{Exported, Options};

/// Version of model files that this program writes: what their headers hold. Files of later versions are not read.
pub const MODEL_VERSION: u32 = 1;

/// The text of the header that says the version.
pub(crate) const VERSION_TEXT: &str = "archai_model";

/// The text of the header that holds the description as YAML.
pub(crate) const DESC_TEXT: &str = "model_desc";

/// A trained network as one file holds it: its structure, its numbers, what it takes and gives, and where it comes from.
///
/// ```
/// use archai_export::ModelFile;
/// use archai_spec::desc::OpCatalog;
/// # let model = archai_export::testing::brightness(&["night", "day"], [1, 4, 4]);
/// # let bytes = archai_export::testing::bytes(&model)?;
/// let catalog = OpCatalog::builtin();
/// let model = ModelFile::from_bytes(&bytes, &catalog)?;
/// assert_eq!(model.info.class_names, ["night", "day"]);
/// let graph = model.graph(&catalog)?;
/// assert_eq!(graph.values[graph.logits].shape.channels, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ModelFile {
    /// The network's description; without auxiliary towers, unless the file was written for training to go on.
    pub desc: ModelDesc,
    /// Weights and running statistics by name.
    pub state: Vec<NamedTensor>,
    /// What the network takes and gives, and where it comes from.
    pub info: ModelInfo,
}

/// The kind of an error, for callers and tests; people read the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ModelFileErrorKind {
    /// There is no such file or folder, or no model in the folder.
    Absent,
    /// The operating system refuses to read it.
    Unreadable,
    /// It was cut off or changed, or never was such a file.
    Damaged,
    /// It belongs to another program, or holds weights alone.
    Foreign,
    /// It was written by a newer program.
    Version,
    /// Its header lacks something, or says what cannot be.
    Incomplete,
    /// Its parts contradict each other: tensors that do not fit the description, say.
    Mismatch,
}

/// A file that cannot be used as a model. Displays as `` `place`: message ``.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ModelFileError {
    /// Kind.
    pub kind: ModelFileErrorKind,
    /// The file; empty if it is not known.
    pub place: PathBuf,
    /// What happened, what was expected, how to mend it.
    pub message: String,
}

impl fmt::Display for ModelFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.as_os_str().is_empty() {
            write!(f, "`{}`: ", self.place.display())?;
        }
        f.write_str(&self.message)
    }
}

impl ModelFileError {
    fn new(kind: ModelFileErrorKind, message: impl Into<String>) -> Self {
        ModelFileError {
            kind,
            place: PathBuf::new(),
            message: message.into(),
        }
    }

    /// The same error of a file.
    #[must_use]
    pub fn at(self, place: &Path) -> Self {
        ModelFileError {
            place: place.to_path_buf(),
            ..self
        }
    }
}

/// What to do about weights that come without the rest.
const IMPORT: &str = "`archai import` makes a model file of weights and a description";

impl ModelFile {
    /// Reads a model file. `catalog` has the meanings of the ops that its description names.
    ///
    /// # Errors
    /// See [`ModelFileErrorKind`].
    pub fn open(path: &Path, catalog: &OpCatalog) -> Result<Self, ModelFileError> {
        let bytes = std::fs::read(path).map_err(|e| unreadable(&e).at(path))?;
        ModelFile::from_bytes(&bytes, catalog).map_err(|e| e.at(path))
    }

    /// [`ModelFile::open`] of a file's bytes.
    ///
    /// # Errors
    /// As [`ModelFile::open`], without a place.
    pub fn from_bytes(bytes: &[u8], catalog: &OpCatalog) -> Result<Self, ModelFileError> {
        use ModelFileErrorKind::{Damaged, Foreign, Incomplete, Mismatch};
        if let Some(what) = foreign(bytes) {
            let message =
                format!("it is {what}; expected a model file (model.safetensors); {IMPORT}");
            return Err(ModelFileError::new(Foreign, message));
        }
        let (state, texts) = read_safetensors(bytes).map_err(|e| {
            let message =
                format!("{e}; if it is a model file, it is damaged: copy or write it again");
            ModelFileError::new(Damaged, message)
        })?;
        let desc = texts.get(DESC_TEXT).ok_or_else(|| {
            let message = format!(
                "it holds {} tensors and no description of their network, as a plain state dict does; expected a model file, \
                 whose header holds `{DESC_TEXT}`; {IMPORT}",
                state.len()
            );
            ModelFileError::new(Foreign, message)
        })?;
        check_version(&texts)?;
        let desc = ModelDesc::from_yaml(desc, DESC_TEXT, catalog).map_err(|e| {
            let message = format!("the description in its header cannot be used: {e}");
            ModelFileError::new(Incomplete, message)
        })?;
        let info = ModelInfo::from_metadata(&texts, desc.n_classes);
        let info = info.map_err(|problem| ModelFileError::new(Incomplete, problem))?;
        let input = [desc.input.channels, desc.input.height, desc.input.width];
        let [height, width] = info.size;
        let said = [info.channels, height, width];
        if said != input {
            let message = format!(
                "its header says that it takes images of {} (channels, height, width), but its description is of a network \
                 for {}; write it again",
                shape(said),
                shape(input)
            );
            return Err(ModelFileError::new(Mismatch, message));
        }
        Ok(ModelFile { desc, state, info })
    }

    /// The file of a model that is named by itself or by the run directory of an evaluation, where `best` takes the weights
    /// that were best on validation data and not the last ones.
    ///
    /// # Errors
    /// [`ModelFileErrorKind::Absent`]: there is no such file or folder, the folder has no such model, or `best` stands beside
    /// a file, which can only be itself.
    pub fn find(path: &Path, best: bool) -> Result<PathBuf, ModelFileError> {
        let absent = |message: String| {
            Err(ModelFileError::new(ModelFileErrorKind::Absent, message).at(path))
        };
        if path.is_file() {
            return match best {
                false => Ok(path.to_path_buf()),
                true => absent(
                    "it is a file, of which there are no better weights; name the run directory, or leave out the choice of \
                     the best"
                        .into(),
                ),
            };
        }
        if !path.is_dir() {
            return absent("there is no such file or folder; check the path".into());
        }
        let name = if best { BEST_FILE } else { MODEL_FILE };
        let file = path.join(name);
        if file.is_file() {
            return Ok(file);
        }
        let others = models_in(path);
        let name_one = match others.as_slice() {
            [] => String::new(),
            names => format!("; it holds {}: name the file", names.join(", ")),
        };
        absent(match best {
            true => format!(
                "it has no `{name}`, which an evaluation with validation data leaves (nas.eval.loader.val_ratio above \
                 0){name_one}"
            ),
            false => format!(
                "it has no `{name}`; expected a model file or the run directory of an evaluation (NAME_eval) that ended \
                 well{name_one}"
            ),
        })
    }

    /// The network as layers, as it is used once it is trained, whose parameters are all in [`ModelFile::state`].
    ///
    /// # Errors
    /// [`ModelFileErrorKind::Incomplete`] for an op that is not made of layers, by name and place;
    /// [`ModelFileErrorKind::Mismatch`] for parameters that are missing, too many, or of another shape, by name.
    pub fn graph(&self, catalog: &OpCatalog) -> Result<Graph, ModelFileError> {
        let graph = self.desc.lower(catalog);
        let graph = graph.map_err(|e| {
            let message = format!("its network cannot be written as layers: {e}");
            ModelFileError::new(ModelFileErrorKind::Incomplete, message)
        })?;
        // A file from which training can go on has the auxiliary towers too.
        check_tensors(&graph, &self.state)?;
        Ok(graph.inference())
    }

    /// The network to be written in another format.
    pub fn exported<'a>(&'a self, catalog: &'a OpCatalog, options: &'a Options) -> Exported<'a> {
        Exported {
            desc: &self.desc,
            catalog,
            state: &self.state,
            info: &self.info,
            options,
        }
    }
}

/// The model in the run directory of an evaluation, as it was after the last epoch.
const MODEL_FILE: &str = "model.safetensors";
/// The one that was best on validation data.
const BEST_FILE: &str = "model_best.safetensors";

/// Names of files in a folder that may be models, sorted.
fn models_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names
        .filter(|name| name.ends_with(".safetensors"))
        .collect();
    names.sort();
    names
}

fn unreadable(error: &io::Error) -> ModelFileError {
    match error.kind() {
        io::ErrorKind::NotFound => {
            let message = "there is no such file; check the path";
            ModelFileError::new(ModelFileErrorKind::Absent, message)
        }
        io::ErrorKind::IsADirectory => ModelFileError::new(
            ModelFileErrorKind::Absent,
            "it is a folder; name the model file in it",
        ),
        _ => ModelFileError::new(
            ModelFileErrorKind::Unreadable,
            format!("cannot be read: {error}"),
        ),
    }
}

/// What a file is that certainly is no model file, by its first bytes.
fn foreign(bytes: &[u8]) -> Option<&'static str> {
    // ZIP archives; pickles of protocol 2 to 5, as PyTorch wrote them before it took to archives.
    if bytes.starts_with(b"PK\x03\x04") || matches!(bytes, [0x80, 2..=5, ..]) {
        return Some("a PyTorch file or another archive");
    }
    if bytes.starts_with(b"\x89HDF") {
        return Some("an HDF5 file");
    }
    // The length of a header comes first, which no text is: that of 8 letters is far beyond what is read.
    let beginning = std::str::from_utf8(bytes.get(..8)?).ok()?;
    let is_text = beginning
        .chars()
        .all(|c| c.is_ascii_graphic() || c.is_ascii_whitespace());
    is_text.then_some("a text, as a description without weights is")
}

fn check_version(texts: &BTreeMap<String, String>) -> Result<(), ModelFileError> {
    let error = |kind, message: String| Err(ModelFileError::new(kind, message));
    match texts.get(VERSION_TEXT) {
        None => error(
            ModelFileErrorKind::Foreign,
            format!(
                "its header has a description, but no `{VERSION_TEXT}`: an early archai wrote it, which did not say all that \
                 using the network takes; {IMPORT}"
            ),
        ),
        Some(text) => match text.parse::<u32>() {
            Ok(MODEL_VERSION) => Ok(()),
            Ok(version) if version > MODEL_VERSION => error(
                ModelFileErrorKind::Version,
                format!(
                    "it is a model file of version {version}, written by a newer program; this one reads version \
                     {MODEL_VERSION}: use the newer program"
                ),
            ),
            _ => error(
                ModelFileErrorKind::Incomplete,
                format!(
                    "`{VERSION_TEXT}` in its header is `{text}`; expected {MODEL_VERSION}; write it again"
                ),
            ),
        },
    }
}

/// Checks that tensors are the parameters of a graph: each of them and no others.
fn check_tensors(graph: &Graph, state: &[NamedTensor]) -> Result<(), ModelFileError> {
    const SHOWN: usize = 5;
    let tensors: HashMap<&str, &NamedTensor> = state.iter().map(|t| (t.name.as_str(), t)).collect();
    let mut known = HashMap::new();
    let mut problems = Vec::new();
    for param in graph.layers.iter().flat_map(|layer| &layer.params) {
        known.insert(param.name.as_str(), ());
        match tensors.get(param.name.as_str()) {
            None => problems.push(format!("`{}` is missing", param.name)),
            Some(tensor) if tensor.shape != param.shape => problems.push(format!(
                "`{}` has shape {:?}, expected {:?}",
                param.name, tensor.shape, param.shape
            )),
            Some(_) => {}
        }
    }
    let others = state
        .iter()
        .filter(|t| !known.contains_key(t.name.as_str()));
    problems.extend(others.map(|t| format!("`{}` belongs to no part of the network", t.name)));
    if problems.is_empty() {
        return Ok(());
    }
    let more = match problems.len().saturating_sub(SHOWN) {
        0 => String::new(),
        n => format!("; and {n} more"),
    };
    problems.truncate(SHOWN);
    let message = format!(
        "its tensors are not those of its description: {}{more}; write it again, or import the weights into the description \
         that they belong to",
        problems.join("; ")
    );
    Err(ModelFileError::new(ModelFileErrorKind::Mismatch, message))
}

/// `3x32x32`.
fn shape([channels, height, width]: [usize; 3]) -> String {
    format!("{channels}x{height}x{width}")
}
