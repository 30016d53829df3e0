//! Weights that were trained elsewhere, or by an earlier program, brought into a network's own names: a file is [read](Weights::read), its
//! tensors are [placed](place) under the names that one of the [layouts](Layouts) has for them, and whatever does not find its place is an
//! error that names it.

mod layout;
mod pickle;
mod pt;
mod start;

pub use layout::{Darts, Layout, Layouts, Own, Placed, layouts};
pub use pt::{PtTensor, StateDict, is_pt, read_pt};
pub use start::{Start, start};

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;

use archai_spec::desc::{ModelDesc, OpCatalog};

use crate::{ModelInfo, NamedTensor, invalid, read_safetensors};

/// Most tensors that one error names.
const MOST_NAMED: usize = 20;

/// What a file of weights holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights {
    /// The tensors, under the names that they have in the file, without the `module.` in front that PyTorch's parallel
    /// training leaves there.
    pub tensors: Vec<NamedTensor>,
    /// Names of those that hold whole numbers: counts, and no weights.
    pub whole: BTreeSet<String>,
    /// Texts beside them, which safetensors files may have.
    pub texts: BTreeMap<String, String>,
    /// What is to be said of the file: what else it holds and was left there.
    pub notes: Vec<String>,
}

/// What PyTorch's `DataParallel` puts in front of every name.
const PARALLEL: &str = "module.";

impl Weights {
    /// Reads a file of weights of PyTorch or safetensors, told apart by what is in it.
    ///
    /// ```
    /// use archai_export::import::Weights;
    /// let error = Weights::read(b"\x80\x02cos\nsystem\n").unwrap_err();
    /// assert!(error.to_string().contains("no file of PyTorch"), "{error}");
    /// ```
    ///
    /// # Errors
    /// It is neither, or is damaged, or holds something that is no weights: see [`read_pt`] and [`read_safetensors`].
    pub fn read(bytes: &[u8]) -> io::Result<Weights> {
        let mut weights = match is_pt(bytes) {
            false => {
                let (tensors, texts) = read_safetensors(bytes)?;
                Weights {
                    tensors,
                    texts,
                    ..Weights::default()
                }
            }
            true => Weights::of_pt(read_pt(bytes)?),
        };
        let is_parallel = |t: &NamedTensor| t.name.starts_with(PARALLEL);
        if !weights.tensors.is_empty() && weights.tensors.iter().all(is_parallel) {
            let bare = |name: &str| name[PARALLEL.len()..].to_string();
            weights.whole = weights.whole.iter().map(|name| bare(name)).collect();
            for tensor in &mut weights.tensors {
                tensor.name = bare(&tensor.name);
            }
        }
        Ok(weights)
    }

    fn of_pt(state: StateDict) -> Weights {
        let mut notes = Vec::new();
        if let Some(under) = &state.under {
            let beside = match state.beside.as_slice() {
                [] => String::new(),
                names => format!("; left there: {}", names.join(", ")),
            };
            notes.push(format!(
                "the file is a checkpoint, whose weights stand under `{under}`{beside}"
            ));
        }
        let whole = state.tensors.iter().filter(|t| t.whole);
        Weights {
            whole: whole.map(|t| t.tensor.name.clone()).collect(),
            tensors: state.tensors.into_iter().map(|t| t.tensor).collect(),
            texts: BTreeMap::new(),
            notes,
        }
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        let tensor = self.tensors.iter().find(|t| t.name == name);
        tensor.map(|t| t.shape.as_slice())
    }
}

/// What the tensors of the original DARTS code say of their network's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DartsSize {
    /// Channels of the image.
    pub image_channels: usize,
    /// Channels of the nodes of the first cell.
    pub channels: usize,
    /// Cells.
    pub cells: usize,
    /// Classes.
    pub classes: usize,
    /// Whether it is the network for ImageNet, which starts with two stems.
    pub imagenet: bool,
    /// Whether the auxiliary tower is there.
    pub tower: bool,
}

/// How many times the channels of the first cell's nodes the stem for CIFAR gives.
const STEM_MULTIPLIER: usize = 3;

impl DartsSize {
    /// The size of the network whose tensors these are; `None` if they are not called as there.
    pub fn of(weights: &Weights) -> Option<DartsSize> {
        let (small, large) = (
            weights.shape("stem.0.weight"),
            weights.shape("stem1.1.weight"),
        );
        let (&[wide, image_channels, ..], imagenet) = (match (small, large) {
            (Some(stem), None) => (stem, false),
            (None, Some(_)) => (weights.shape("stem0.0.weight")?, true),
            _ => return None,
        }) else {
            return None;
        };
        let channels = match (imagenet, large) {
            // The first of the two convolutions of `stem0` gives half of the channels.
            (true, Some(&[channels, ..])) => channels,
            _ => wide / STEM_MULTIPLIER,
        };
        let number = |t: &NamedTensor| {
            t.name
                .strip_prefix("cells.")?
                .split('.')
                .next()?
                .parse()
                .ok()
        };
        let last: usize = weights.tensors.iter().filter_map(number).max()?;
        let &[classes, _] = weights.shape("classifier.weight")? else {
            return None;
        };
        Some(DartsSize {
            image_channels,
            channels,
            cells: last.checked_add(1)?,
            classes,
            imagenet,
            tower: weights
                .tensors
                .iter()
                .any(|t| t.name.starts_with("auxiliary_head.")),
        })
    }
}

/// Reads what a network takes and gives from the text of a `model.yaml`.
///
/// # Errors
/// The text is none.
pub fn read_info(text: &str) -> io::Result<ModelInfo> {
    serde_saphyr::from_str(text).map_err(|e| {
        invalid(format!(
            "it does not say what a network takes and gives: {e}"
        ))
    })
}

/// Puts weights under a network's own names, as the layout says that they are called in the file. Gives the tensors in the
/// order of exports: what is learnt, then running statistics; and how many tensors were left out because a network computes
/// nothing with them.
///
/// # Errors
/// An op that is not made of layers; a layout without names for the network; every tensor that is missing, unknown, of
/// another shape or of whole numbers, by name.
pub fn place(
    weights: &Weights,
    desc: &ModelDesc,
    catalog: &OpCatalog,
    layout: &dyn Layout,
) -> io::Result<(Vec<NamedTensor>, usize)> {
    let graph = desc.lower(catalog);
    let graph = graph.map_err(|e| io::Error::new(io::ErrorKind::Unsupported, e))?;
    let mut given: HashMap<&str, &NamedTensor> = HashMap::new();
    for tensor in &weights.tensors {
        given.insert(&tensor.name, tensor);
    }
    let (mut state, mut wrong) = (Vec::new(), Vec::new());
    for Placed {
        name,
        shape,
        theirs,
    } in layout.place(desc, &graph)?
    {
        let found = theirs.iter().find_map(|their| given.remove(their.as_str()));
        let shown = theirs.first().map_or("", String::as_str);
        match found {
            None => wrong.push(format!("`{shown}` (shape {shape:?}) is missing")),
            Some(t) if weights.whole.contains(&t.name) => {
                wrong.push(format!("`{}` holds whole numbers and no weights", t.name));
            }
            Some(t) if t.shape != shape => wrong.push(format!(
                "`{}` has shape {:?} instead of {shape:?}",
                t.name, t.shape
            )),
            Some(t) => state.push(NamedTensor { name, ..t.clone() }),
        }
    }
    let before = given.len();
    given.retain(|name, _| !layout.is_idle(name));
    let idle = before - given.len();
    let mut unknown: Vec<&str> = given.into_keys().collect();
    unknown.sort_unstable();
    wrong.extend(
        unknown
            .iter()
            .map(|name| format!("`{name}` has no place in the network")),
    );
    if !wrong.is_empty() {
        return Err(invalid(format!(
            "the weights are not those of this network: {}; check the architecture and the network's size",
            listed(wrong)
        )));
    }
    let is_statistic =
        |t: &NamedTensor| t.name.ends_with(".running_mean") || t.name.ends_with(".running_var");
    state.sort_by_key(is_statistic);
    Ok((state, idle))
}

/// What is wrong, one after the other, but not hundreds.
fn listed(mut wrong: Vec<String>) -> String {
    let n = wrong.len();
    wrong.truncate(MOST_NAMED);
    if n > MOST_NAMED {
        wrong.push(format!("and {} more", n - MOST_NAMED));
    }
    wrong.join("; ")
}
