//! The search algorithms, one file or folder each, written against the public interface of [`archai_engine`] alone: whatever a
//! built-in algorithm does, your own can do.
//!
//! [`all`] gives the built-in algorithms as a value; [`Algorithms::with`] adds yours.
//!
//! # Implementing DARTS
//! An algorithm is four small pieces: a search space, what happens before the training, what happens before each step, and
//! a runner that names them. This is DARTS in first order; `archai::cli::run(algorithms)` as the body of `main` gives it the
//! whole command line.
//!
//! ```
//! use archai_algos::NoSettings;
//! use archai_engine::checkpoint::Snapshot;
//! use archai_engine::experiment::ExperimentRunner;
//! use archai_engine::trainer::{Fit, Step, TrainerHooks};
//! use archai_engine::{ArchParams, EngineError, Model, optim::Optimizer};
//! use archai_spec::desc::{CellPlan, DescError, EdgeDesc, ModelDescBuilder, NodeDesc, OpDesc, PRIMITIVES};
//! use archai_spec::settings::Search;
//!
//! /// Every node reads every earlier state of its cell through a mixed op.
//! struct MyBuilder;
//! impl ModelDescBuilder for MyBuilder {
//!     fn nodes(&self, cell: &CellPlan<'_>) -> Result<Vec<NodeDesc>, DescError> {
//!         let edge = |from| EdgeDesc::new(from, OpDesc::mixed(&PRIMITIVES, cell.channels, cell.stride(from)));
//!         Ok((0..cell.n_nodes).map(|node| NodeDesc::new((0..node + 2).map(edge))).collect())
//!     }
//! }
//!
//! /// The architecture steps on a validation batch before the weights step on a training batch.
//! #[derive(Default)]
//! struct Bilevel(Option<(Optimizer<ArchParams>, f64)>);
//! impl TrainerHooks for Bilevel {
//!     fn pre_fit(&mut self, fit: &mut Fit<'_>) -> Result<(), EngineError> {
//!         let alpha = fit.settings.alpha_optimizer.as_ref();
//!         let alpha = alpha.ok_or_else(|| EngineError::Config("alpha_optimizer is missing".into()))?;
//!         self.0 = Some((Optimizer::new(alpha)?, alpha.lr));
//!         Ok(())
//!     }
//!     fn pre_step(&mut self, step: &mut Step<'_>) -> Result<(), EngineError> {
//!         let Some((optimizer, lr)) = &mut self.0 else { return Ok(()) };
//!         let valid = step.next_valid()?;
//!         let (_loss, grads) = step.model.arch_grads(&valid, &step.objective(), None)?;
//!         step.set_arch(optimizer.step(step.model.arch(), &grads, *lr))
//!     }
//!     // What is remembered between steps, so that an interrupted search ends in the same bytes.
//!     fn state(&self) -> Result<Snapshot, EngineError> {
//!         let mut state = Snapshot::default();
//!         if let Some((optimizer, _)) = &self.0 {
//!             state.put_tensors("optimizer", optimizer.state());
//!         }
//!         Ok(state)
//!     }
//!     fn restore(&mut self, state: &Snapshot, model: &Model) -> Result<(), EngineError> {
//!         let tensors = state.tensors("optimizer");
//!         let mut optimizers = self.0.iter_mut();
//!         optimizers.try_for_each(|(optimizer, _)| optimizer.set_state(&tensors, model.arch(), model.compute()))
//!     }
//! }
//!
//! struct MyDarts;
//! impl ExperimentRunner for MyDarts {
//!     fn model_desc_builder(&self) -> Box<dyn ModelDescBuilder> {
//!         Box::new(MyBuilder)
//!     }
//!     fn trainer_hooks(&self, _: &Search) -> Result<Vec<Box<dyn TrainerHooks>>, EngineError> {
//!         Ok(vec![Box::new(Bilevel::default())])
//!     }
//! }
//!
//! let algorithms = archai_algos::all().with("my_darts", "the tutorial's DARTS", |_: NoSettings| MyDarts);
//! assert!(algorithms.get("my_darts").is_ok());
//! ```

pub mod alpha_step;
pub mod darts;
pub mod didarts;
pub mod divnas;
mod given;
pub mod gs;
pub mod manual;
pub mod nasbench101;
pub mod petridish;
pub mod random;
mod registry;
pub mod xnas;

pub use darts::{Darts, DartsSettings};
pub use didarts::Didarts;
pub use divnas::{Divnas, DivnasSettings};
pub use gs::{Gs, GsSettings};
pub use manual::{Manual, ManualSettings, ZooModel};
pub use nasbench101::{NasBench101, NasBench101Settings};
pub use petridish::{Petridish, PetridishSettings};
pub use random::{Random, RandomSettings};
pub use registry::{Algorithm, AlgorithmConfig, Algorithms, NoSettings};
pub use xnas::{Xnas, XnasSettings};

/// All algorithms that come with the program.
///
/// ```
/// let algorithms = archai_algos::all();
/// assert!(algorithms.get("darts").is_ok());
/// let error = algorithms.get("drats").err().map(|e| e.to_string());
/// assert!(error.is_some_and(|e| e.contains("darts")));
/// ```
pub fn all() -> Algorithms {
    let shipped = |algorithm: Algorithm, file: &str| {
        algorithm.config(AlgorithmConfig::File(format!("archai:algos/{file}.yaml")))
    };
    Algorithms::new()
        .with_algorithm(shipped(
            Algorithm::new(
                "darts",
                "a softmax over the ops of each edge, trained by gradient",
                Darts::new,
            )
            .paper("Liu, Simonyan, Yang: DARTS: Differentiable Architecture Search, 2019, arXiv:1806.09055"),
            "darts",
        ))
        .with_algorithm(shipped(
            Algorithm::new(
                "didarts",
                "DARTS on one level: weights and architecture step on the same training loss",
                |_: NoSettings| Didarts,
            )
            .paper(
                "Liu, Simonyan, Yang: DARTS: Differentiable Architecture Search, 2019, arXiv:1806.09055 (its single-level \
                 alternative)",
            ),
            "didarts",
        ))
        .with_algorithm(shipped(
            Algorithm::new(
                "xnas",
                "ops as experts: exponentiated gradient, and the hopeless are wiped out",
                Xnas::new,
            )
            .paper("Nayman et al.: XNAS: Neural Architecture Search with Expert Advice, 2019, arXiv:1906.08031"),
            "xnas",
        ))
        .with_algorithm(shipped(
            Algorithm::new(
                "gs",
                "each node samples its edges and ops by Gumbel softmax",
                Gs::new,
            )
            .paper(
                "Dong, Yang: Searching for a Robust Neural Architecture in Four GPU Hours (GDAS), 2019, arXiv:1910.04465; \
                 Xie et al.: SNAS, 2019, arXiv:1812.09926; Jang, Gu, Poole: Categorical Reparameterization with \
                 Gumbel-Softmax, 2017, arXiv:1611.01144",
            ),
            "gs",
        ))
        .with_algorithm(
            Algorithm::new("petridish", "small networks, of which the promising ones grow", Petridish::new)
                .paper(
                    "Hu, Langford, Caruana, Mukherjee, Horvitz, Dey: Efficient Forward Architecture Search, 2019, \
                     arXiv:1905.13360",
                )
                .config(AlgorithmConfig::File("archai:algos/petridish.yaml".to_string())),
        )
        .with_algorithm(
            Algorithm::new("random", "the best of some random architectures: the baseline", Random::new)
                .paper(
                    "Li, Talwalkar: Random Search and Reproducibility for Neural Architecture Search, 2019, arXiv:1902.07638",
                )
                .config(AlgorithmConfig::File("archai:algos/random.yaml".to_string())),
        )
        .with_algorithm(
            Algorithm::new("divnas", "the supernet of DARTS, of which the ops remain that differ most", Divnas::new)
                .paper(
                    "an algorithm of Microsoft Archai without a paper of its own; the criterion is that of Krause, Singh, Guestrin: \
                     Near-Optimal Sensor Placements in Gaussian Processes, 2008, Journal of Machine Learning Research 9",
                )
                .config(AlgorithmConfig::File("archai:algos/divnas.yaml".to_string())),
        )
        .with_algorithm(shipped(
            Algorithm::new("manual", "no search: a network of the model zoo, by its name", Manual::new)
                .paper("those of the networks: He et al. 2016 (ResNet) and others; each name's is in docs/spaces.md"),
            "manual",
        ))
        .with_algorithm(shipped(
            Algorithm::new(
                "nasbench101",
                "no search: the NAS-Bench-101 cell that is named, or a random one",
                NasBench101::new,
            )
            .paper("Ying et al.: NAS-Bench-101: Towards Reproducible Neural Architecture Search, 2019, arXiv:1902.09635"),
            "nasbench101",
        ))
}
