//! Zero-cost proxies: numbers of a network that was never trained, from one minibatch or none, which go with the accuracy
//! that it would reach (Abdelfattah et al. 2021, "Zero-Cost Proxies for Lightweight NAS"; Krishnakumar et al. 2022,
//! "NAS-Bench-Suite-Zero").
//!
//! Common to all: the network is the one of a description with fresh weights (PyTorch's default initialisation: uniform in
//! ±1/√fan_in; norms 1 and 0), norms are in training mode, auxiliary towers, drop-path and dropout are left out, the loss is the
//! mean cross entropy of the batch. Sums run over the *weights* of convolutions and linear layers; those that no image reaches
//! count, too. A score depends on the batch and its size; those of NAS-Bench-Suite-Zero have the size of scores of 64 images.
//!
//! A score is a function of the description, the seed and the batches alone: it is the same for any number of threads.
//!
//! ```
//! use archai_engine::proxies::{self, Subject};
//! use archai_engine::{ModelOptions, OpRegistry};
//! # fn f(desc: archai_spec::desc::ModelDesc) -> Result<(), Box<dyn std::error::Error>> {
//! let batches = proxies::noise(&desc, 32, 2, archai_data::rng::Key::new(1));
//! let (ops, options) = (OpRegistry::builtin(), ModelOptions::default());
//! let subject = Subject::new(&desc, &ops, &batches, &options)?;
//! for proxy in proxies::builtin().iter() {
//!     println!("{}: {}", proxy.name(), proxies::score(proxy.as_ref(), &subject)?);
//! }
//! # Ok(()) }
//! ```

mod matrix;
mod scores;
mod subject;
mod walk;

use std::sync::Arc;

use archai_data::{Batch, rng::Key};
use archai_spec::desc::ModelDesc;
use archai_spec::registry::{Named, Registry};

use crate::error::EngineError;

pub use scores::GRASP_STEP;
pub use subject::Subject;

/// What a score is computed from, and so what it costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Needs {
    /// The description: microseconds.
    Description,
    /// Weights as well: a network is built.
    Weights,
    /// Weights and images: passes through the network.
    Images,
    /// Weights, images and their labels.
    Labels,
}

/// A number of an untrained network. A program may add its own to the list that [`builtin`] gives.
pub trait Proxy: Named + Send + Sync {
    /// What it is computed from.
    fn needs(&self) -> Needs;

    /// Passes that it takes, in forward passes of a batch, where a backward pass counts as two.
    fn passes(&self) -> f64;

    /// Whether networks with a larger score are expected to be better.
    fn larger_is_better(&self) -> bool {
        true
    }

    /// The score. What it gives may be no finite number; [`score`] refuses that.
    ///
    /// # Errors
    /// It has no value for this network or these batches, or a pass fails.
    fn compute(&self, subject: &Subject<'_>) -> Result<f64, ProxyError>;
}

/// Proxies by name.
pub type Proxies = Registry<dyn Proxy>;

/// There is no score.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The network cannot be built, or a pass through it fails.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The score is not defined for this network or these batches.
    #[error("the proxy `{proxy}` has no value for this network: {reason}")]
    Undefined {
        /// Its name.
        proxy: String,
        /// Why, and what was expected.
        reason: String,
    },
}

/// The score of a network by a proxy, a finite number.
///
/// # Errors
/// As [`Proxy::compute`]; the score is infinite or not a number.
pub fn score(proxy: &dyn Proxy, subject: &Subject<'_>) -> Result<f64, ProxyError> {
    let value = proxy.compute(subject).map_err(|error| match error {
        ProxyError::Undefined {
            proxy: named,
            reason,
        } if named.is_empty() => undefined(proxy.name(), reason),
        error => error,
    })?;
    match value.is_finite() {
        true => Ok(value),
        false => Err(undefined(
            proxy.name(),
            format!(
                "it comes to {value}, expected a finite number; such a network passes on no signal"
            ),
        )),
    }
}

pub(crate) fn undefined(proxy: impl Into<String>, reason: impl Into<String>) -> ProxyError {
    ProxyError::Undefined {
        proxy: proxy.into(),
        reason: reason.into(),
    }
}

/// A proxy made of a function.
///
/// ```
/// use archai_engine::proxies::{self, Needs, ProxyFn};
/// use std::sync::Arc;
///
/// let depth = ProxyFn::new("depth", "layers of the network", Needs::Description, 0.0, |subject| {
///     Ok(subject.graph().layers.len() as f64)
/// });
/// let known = proxies::builtin().with(Arc::new(depth));
/// assert!(known.contains("depth") && known.contains("nwot"));
/// ```
pub struct ProxyFn<F> {
    name: &'static str,
    about: &'static str,
    needs: Needs,
    passes: f64,
    compute: F,
}

impl<F: Fn(&Subject<'_>) -> Result<f64, ProxyError> + Send + Sync> ProxyFn<F> {
    /// A proxy of which more is better.
    pub fn new(
        name: &'static str,
        about: &'static str,
        needs: Needs,
        passes: f64,
        compute: F,
    ) -> Self {
        ProxyFn {
            name,
            about,
            needs,
            passes,
            compute,
        }
    }
}

impl<F> Named for ProxyFn<F> {
    fn name(&self) -> &str {
        self.name
    }

    fn about(&self) -> &str {
        self.about
    }
}

impl<F: Fn(&Subject<'_>) -> Result<f64, ProxyError> + Send + Sync> Proxy for ProxyFn<F> {
    fn needs(&self) -> Needs {
        self.needs
    }

    fn passes(&self) -> f64 {
        self.passes
    }

    fn compute(&self, subject: &Subject<'_>) -> Result<f64, ProxyError> {
        (self.compute)(subject)
    }
}

/// The proxies that come with the engine.
///
/// ```
/// let names = archai_engine::proxies::builtin();
/// let names: Vec<&str> = names.names().collect();
/// assert_eq!(
///     names,
///     [
///         "params", "flops", "l2_norm", "synflow", "nwot", "jacov", "epe_nas", "grad_norm", "snip", "plain", "grasp", "fisher",
///         "zen", "zico"
///     ]
/// );
/// ```
pub fn builtin() -> Proxies {
    use Needs::{Description, Images, Labels, Weights};
    type Compute = fn(&Subject<'_>) -> Result<f64, ProxyError>;
    let list: [(&str, &str, Needs, f64, Compute); 14] = [
        (
            "params",
            "millions of learnt numbers",
            Description,
            0.0,
            scores::params,
        ),
        (
            "flops",
            "millions of multiply-adds, and the work of norms, ReLUs and pools",
            Description,
            0.0,
            scores::flops,
        ),
        (
            "l2_norm",
            "sum of the norms of the weights",
            Weights,
            0.0,
            scores::l2_norm,
        ),
        (
            "synflow",
            "logarithm of the synaptic flow of an image of ones",
            Weights,
            3.0 / 32.0,
            scores::synflow,
        ),
        (
            "nwot",
            "how differently images switch the ReLUs: without training",
            Images,
            1.0,
            scores::nwot,
        ),
        (
            "jacov",
            "how differently the outputs depend on the pixels of different images",
            Images,
            3.0,
            scores::jacov,
        ),
        (
            "epe_nas",
            "how alike the outputs depend on the pixels of images of one class",
            Labels,
            3.0,
            scores::epe_nas,
        ),
        (
            "grad_norm",
            "sum of the norms of the gradients",
            Labels,
            3.0,
            scores::grad_norm,
        ),
        (
            "snip",
            "sum of |weight times gradient|",
            Labels,
            3.0,
            scores::snip,
        ),
        (
            "plain",
            "sum of weight times gradient",
            Labels,
            3.0,
            scores::plain,
        ),
        (
            "grasp",
            "how much the gradient's norm loses without the weights",
            Labels,
            9.0,
            scores::grasp,
        ),
        (
            "fisher",
            "Fisher information of the channels of all layers",
            Labels,
            3.0,
            scores::fisher,
        ),
        (
            "zen",
            "Gaussian complexity of the features of noise",
            Weights,
            2.0,
            scores::zen,
        ),
        (
            "zico",
            "mean of the gradients over batches by their deviation",
            Labels,
            6.0,
            scores::zico,
        ),
    ];
    list.into_iter().fold(
        Registry::new("proxy"),
        |all, (name, about, needs, passes, compute)| {
            all.with(Arc::new(ProxyFn::new(name, about, needs, passes, compute)))
        },
    )
}

/// `n` batches of `images` images of noise that fit a network: pixels from N(0, 1), labels uniform. For scores of networks for
/// which there are no data at hand; those that compare classes then say little.
pub fn noise(desc: &ModelDesc, images: usize, n: usize, key: Key) -> Vec<Batch> {
    let input = desc.input;
    let shape = [images, input.channels, input.height, input.width];
    let key = key.with("noise for proxies");
    let batch = |number: usize| {
        let mut rng = key.with(number as u64).rng();
        let pixels = (0..shape.iter().product()).map(|_| rng.normal() as f32);
        let pixels = pixels.collect();
        let classes = u32::try_from(desc.n_classes.max(1)).unwrap_or(u32::MAX);
        let labels = (0..images).map(|_| i64::from(rng.uniform_u32_below(classes)));
        Batch::new(pixels, labels.collect(), shape)
    };
    (0..n).map(batch).collect()
}
