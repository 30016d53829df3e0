//! Neural architecture search from the first search to the trained network: one crate to depend on.
//!
//! This is DARTS in first order, an algorithm as you would write your own, with the whole command line around it:
//!
//! ```no_run
#![doc = include_str!("../examples/my_darts.rs")]
//! ```
//!
//! `my_darts run --algos my_darts` then searches, scales the found network up, trains and saves it; `my_darts algos` lists
//! your algorithm beside the built-in ones. To run experiments from Rust without a command line, see [`Lab`].
//!
//! # A trained network at work
//!
//! One file is a whole model, and using it takes nothing of the training:
//!
//! ```
//! # let folder = tempfile::tempdir()?;
//! # let (model, picture) = (folder.path().join("model.safetensors"), folder.path().join("picture.png"));
//! # archai::engine::export::testing::write_brightness(&model, &["night", "day"], [3, 32, 32])?;
//! # image::RgbImage::from_pixel(32, 48, image::Rgb([240; 3])).save(&picture)?;
//! let model = archai::load(&model)?; // a model.safetensors, or the run directory of an evaluation
//! let image = archai::read_picture(&picture)?;
//! let prediction = model.predict(&image)?;
//! for guess in prediction.top(5) {
//!     println!("{} {:.1} %", guess.name, 100.0 * guess.probability);
//! }
//! # assert_eq!(prediction.best().name, "day");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Classifier`] has the rest: batches, files, class names, and how often it is right about a data set. A program that only
//! predicts is better off with the crate `archai-predict` alone, which is built without the tensor framework.
//!
//! # The nine names
//!
//! | name | what it is |
//! |---|---|
//! | [`ExperimentRunner`] | names the parts of an algorithm; every method but one has a default |
//! | [`Searcher`] | searches, by default with one supernet |
//! | [`Evaluater`] | scales the found description up and trains it from scratch |
//! | [`Model`] | a compiled description; architecture parameters apart from weights |
//! | [`ModelDesc`] | a network as plain data: checked, scaled, drawn, counted |
//! | [`ModelDescBuilder`] | builds descriptions: the search space |
//! | [`ArchTrainer`] | the training loop; an algorithm joins it with [`TrainerHooks`] |
//! | [`Finalizers`] | turn a trained supernet into a description: model, cell, node, edge |
//! | [`Op`] | an operation of a network |
//!
//! # The crates
//!
//! The work is done by the crates that this one re-exports: [`spec`] holds configurations and model descriptions, [`data`]
//! reads images, [`engine`] builds, trains and saves models, [`algos`] are the search algorithms, and [`lab`] runs
//! experiments and reads what they leave, [`report`] makes pages of it, [`watch`] shows them while they go on, and [`search`]
//! holds discrete search. What this crate adds is the command line, [`cli::run`], which any program may
//! call with a [`Lab`] of its own. Such a program does well to install [`PoolAllocator`]: training asks for the same large
//! blocks step after step.

pub use archai_algos as algos;
pub use archai_data as data;
pub use archai_engine as engine;
pub use archai_kernels::PoolAllocator;
pub use archai_lab as lab;
pub use archai_predict as predict;
pub use archai_report as report;
pub use archai_search as search;
pub use archai_spec as spec;
pub use archai_track as track;
pub use archai_watch as watch;

pub use archai_algos::{Algorithm, NoSettings};
pub use archai_engine::{
    EngineError, Model, Op,
    evaluater::Evaluater,
    experiment::{Experiment, ExperimentRunner},
    finalize::Finalizers,
    searcher::Searcher,
    trainer::{ArchTrainer, Fit, Step, TrainerHooks},
};
pub use archai_lab::{Lab, LabError, LabEvent, NoObserver, Observer, Request, RunDir, RunMode};
pub use archai_predict::{Classifier, Prediction, load, read_picture};
pub use archai_spec::{
    desc::{
        CellPlan, DescError, EdgeDesc, ModelDesc, ModelDescBuilder, NodeDesc, OpDesc, PRIMITIVES,
    },
    settings,
};

mod bench;
pub mod cli;
