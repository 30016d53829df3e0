//! Zero-cost proxies of [`archai_engine::proxies`] at work: scores of networks on a fixed minibatch, and the same as
//! quantities of a discrete search, where they cost seconds and no training.
//!
//! Every network is scored with the same seed and on the same images, so that scores can be compared.

use std::sync::Arc;

use archai_data::{Batch, Loader, Pipeline, Split, open};
use archai_engine::proxies::{Needs, Proxies, Proxy, ProxyError, Subject, noise, score};
use archai_engine::{Compute, EngineError, ModelOptions, OpRegistry};
use archai_search::space::{Member, SearchSpace};
use archai_search::{CostClass, Direction, EvalError, Evaluator, Job, Quantity, Reports, Values};
use archai_spec::desc::ModelDesc;
use archai_spec::names::UnknownName;
use archai_spec::rng::Key;
use archai_spec::settings::Dataset;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::LabError;
use crate::lab::Lab;

/// How the names of proxies as quantities begin: `proxy.nwot`.
pub const PREFIX: &str = "proxy.";

/// Batches that scores are computed from: one, and a second one for zico.
const BATCHES: usize = 2;

/// What networks are scored on.
#[derive(Clone, Debug)]
pub enum Images {
    /// So many images of noise a batch, with random labels.
    Noise(usize),
    /// Batches of a data set: see [`batches`].
    Batches(Arc<[Batch]>),
}

/// Two batches of a data set's training images, as training sees them: shuffled, cropped, flipped and normalised as the section
/// says.
///
/// # Errors
/// Data that are not there or cannot be read; fewer images than two batches take.
pub fn batches(
    lab: &Lab,
    section: &Dataset,
    images: usize,
    seed: u64,
) -> Result<Arc<[Batch]>, LabError> {
    let components = lab.components();
    let data = open(&components.formats, section, Split::Train)?;
    let n = data.len();
    if n < BATCHES * images {
        return Err(LabError::request(format!(
            "`{}` has {n} training images, and {BATCHES} batches of {images} take more; choose a smaller batch",
            section.name
        )));
    }
    let pipeline = Pipeline::train(section, 0, &components.transforms)?;
    let loader = Loader::new(data, pipeline, images);
    let loader = loader.shuffled(Key::new(seed).with("images for proxies"));
    let all: Result<Vec<Batch>, _> = (0..BATCHES).map(|step| loader.batch_at(0, step)).collect();
    Ok(all?.into())
}

/// Scores networks by some proxies, all in the same way.
pub struct Scorer {
    proxies: Vec<Arc<dyn Proxy>>,
    ops: OpRegistry,
    options: ModelOptions,
    images: Images,
    pool: ThreadPool,
}

/// The scores of a network, in the order of the proxies.
pub type Scores = Vec<Result<f64, ProxyError>>;

/// The proxies of these names, or all.
///
/// # Errors
/// There is none of a name; the message offers the nearest.
pub fn named(known: &Proxies, names: &[String]) -> Result<Vec<Arc<dyn Proxy>>, UnknownName> {
    match names {
        [] => Ok(known.iter().cloned().collect()),
        names => names.iter().map(|name| known.get(name).cloned()).collect(),
    }
}

impl Scorer {
    /// Scores by these proxies. `seed` decides the starting weights and noise; `threads` (0: one for each processor) change no
    /// number.
    ///
    /// # Errors
    /// Threads cannot be started.
    pub fn new(
        proxies: Vec<Arc<dyn Proxy>>,
        ops: OpRegistry,
        images: Images,
        compute: Compute,
        seed: u64,
        threads: usize,
    ) -> Result<Self, LabError> {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|e| LabError::failure(format!("cannot start the threads: {e}")))?;
        let options = ModelOptions {
            compute,
            seed,
            ..ModelOptions::default()
        };
        Ok(Scorer {
            proxies,
            ops,
            options,
            images,
            pool,
        })
    }

    /// The proxies.
    pub fn proxies(&self) -> &[Arc<dyn Proxy>] {
        &self.proxies
    }

    /// The scores of a network.
    ///
    /// # Errors
    /// A network that cannot be built, or that does not fit the images. A score that has no value is no error of the others.
    pub fn score(&self, desc: &ModelDesc) -> Result<Scores, EngineError> {
        self.score_by(desc, |_| true)
    }

    /// The scores of the proxies that `wanted` chooses.
    fn score_by(
        &self,
        desc: &ModelDesc,
        wanted: impl Fn(&dyn Proxy) -> bool,
    ) -> Result<Scores, EngineError> {
        let wanted: Vec<&Arc<dyn Proxy>> =
            self.proxies.iter().filter(|p| wanted(p.as_ref())).collect();
        let with_images = wanted
            .iter()
            .any(|proxy| proxy.needs() != Needs::Description);
        let made: Vec<Batch>;
        let batches: &[Batch] = match &self.images {
            _ if !with_images => &[],
            Images::Batches(batches) => batches,
            Images::Noise(images) => {
                made = noise(desc, *images, BATCHES, Key::new(self.options.seed));
                &made
            }
        };
        self.pool.install(|| {
            let subject = Subject::new(desc, &self.ops, batches, &self.options)?;
            Ok(wanted
                .iter()
                .map(|proxy| score(proxy.as_ref(), &subject))
                .collect())
        })
    }
}

/// A proxy as a quantity: `proxy.NAME`, static where it follows from the description alone, cheap otherwise.
pub fn quantity(proxy: &dyn Proxy) -> Quantity {
    let direction = match proxy.larger_is_better() {
        true => Direction::Maximise,
        false => Direction::Minimise,
    };
    let class = match proxy.needs() {
        Needs::Description => CostClass::Static,
        Needs::Weights | Needs::Images | Needs::Labels => CostClass::Cheap,
    };
    Quantity::new(format!("{PREFIX}{}", proxy.name()), direction).class(class)
}

/// Proxies as quantities of a discrete search.
///
/// ```
/// use archai_engine::{Compute, OpRegistry, proxies};
/// use archai_lab::proxies::{Images, ProxyEvaluator, Scorer, named};
/// use archai_search::Evaluator;
///
/// let chosen = named(&proxies::builtin(), &["nwot".into(), "synflow".into()])?;
/// let scorer = Scorer::new(chosen, OpRegistry::builtin(), Images::Noise(32), Compute::cpu(), 1, 1)?;
/// let evaluator = ProxyEvaluator::new(scorer);
/// let names: Vec<&str> = evaluator.quantities().iter().map(|q| q.name.as_str()).collect();
/// assert_eq!(names, ["proxy.nwot", "proxy.synflow"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ProxyEvaluator {
    scorer: Scorer,
    quantities: Vec<Quantity>,
}

impl ProxyEvaluator {
    /// An evaluator of the scorer's proxies.
    pub fn new(scorer: Scorer) -> Self {
        let quantities = scorer.proxies().iter();
        let quantities = quantities.map(|proxy| quantity(proxy.as_ref())).collect();
        ProxyEvaluator { scorer, quantities }
    }

    fn values(&self, desc: &ModelDesc, class: CostClass) -> Result<Values, EvalError> {
        let of_class = || {
            self.quantities
                .iter()
                .filter(|quantity| quantity.class == class)
        };
        let scores = self
            .scorer
            .score_by(desc, |proxy| quantity(proxy).class == class);
        let scores = scores.map_err(|e| match e {
            EngineError::Batch(_) => EvalError::setup(e.to_string()),
            e => EvalError::network(e.to_string()),
        })?;
        let pairs = of_class().zip(scores).map(|(quantity, score)| match score {
            Ok(value) => Ok((quantity.name.clone(), value)),
            // Whatever lacks batches lacks them for every network.
            Err(ProxyError::Engine(e @ EngineError::Batch(_))) => {
                Err(EvalError::setup(e.to_string()))
            }
            Err(e) => Err(EvalError::network(e.to_string())),
        });
        pairs.collect()
    }
}

impl Evaluator for ProxyEvaluator {
    fn quantities(&self) -> &[Quantity] {
        &self.quantities
    }

    fn evaluate(&self, job: &Job<'_>, _: &mut dyn Reports) -> Result<Values, EvalError> {
        self.values(&job.describe()?, CostClass::Cheap)
    }

    fn statics(&self, space: &dyn SearchSpace, member: &Member) -> Result<Values, EvalError> {
        let is_static = |quantity: &Quantity| quantity.class == CostClass::Static;
        match self.quantities.iter().any(is_static) {
            true => self.values(&space.describe(member)?, CostClass::Static),
            false => Ok(Values::new()),
        }
    }
}
