//! Every built-in algorithm against [`check_algorithm`]: a row says what it claims, and none may be without a row.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use archai_algos::{Algorithm, Darts, DartsSettings, NoSettings, all};
use archai_engine::{
    AlphaInit, ArchParams, Components, EngineError, Finalized, Model,
    experiment::ExperimentRunner,
    finalize::{Finalizers, NamedFinalizer},
    optim::Optimizer,
    run::Clock,
    testing::{Check, Conformance, Failure, Planted, Report, Subject, check_algorithm},
    trainer::{Outcome, Step, TrainerHooks},
};
use archai_spec::config::{ConfigLoader, ConfigTree, Shipped, parse_overrides};
use archai_spec::desc::{
    CellPlan, DartsModelDescBuilder, DescError, EdgeDesc, ModelDescBuilder, NodeDesc, OpDesc,
    OpInfo,
};
use archai_spec::finalize::NodeRule;
use archai_spec::ops::{ConvShape, LayerBuilder, Value};
use archai_spec::registry::Named;
use archai_spec::settings;
use archai_spec::spaces::Space;

/// What an algorithm claims, and the settings of its own that make it small and fast.
struct Row {
    algorithm: &'static str,
    /// Over the settings that all share.
    settings: &'static str,
    moves_alphas: bool,
    bounds_edges: bool,
    /// Settings of the planted search over those that all share; none where it claims to learn no architecture.
    planted: Option<&'static str>,
    /// The primitives of the planted search; empty takes those of the supernet.
    primitives: &'static [&'static str],
}

/// A gradient-trained supernet.
const SUPERNET: Row = Row {
    algorithm: "",
    settings: "",
    moves_alphas: true,
    bounds_edges: true,
    planted: Some(""),
    primitives: &[],
};

/// All built-in algorithms; one may stand here several times, with different settings.
const ROWS: &[Row] = &[
    Row {
        algorithm: "darts",
        settings: "nas.search.darts.second_order=false",
        planted: Some("nas.search.darts.second_order=false"),
        ..SUPERNET
    },
    Row {
        algorithm: "darts",
        settings: "nas.search.darts.second_order=true",
        planted: Some("nas.search.darts.second_order=true"),
        ..SUPERNET
    },
    Row {
        algorithm: "didarts",
        ..SUPERNET
    },
    // A node has one distribution over all its edges, so one edge is what it can be sure of.
    Row {
        algorithm: "gs",
        planted: Some("nas.search.model_desc.max_final_edges=1 nas.search.trainer.epochs=20"),
        ..SUPERNET
    },
    // The strongest of an edge stays at 0: only ratios count. Its own tests show that every reward arrives.
    Row {
        algorithm: "xnas",
        settings: "nas.search.trainer.alpha_optimizer=null",
        planted: Some("nas.search.trainer.alpha_optimizer=null nas.search.xnas.grad_clip=0.1"),
        moves_alphas: false,
        ..SUPERNET
    },
    // Its own finalizers look for ops that differ, and noise differs most: what is planted is found by its weights alone.
    Row {
        algorithm: "divnas",
        planted: Some("nas.search.finalizer=default"),
        ..SUPERNET
    },
    Row {
        algorithm: "random",
        settings: "",
        moves_alphas: false,
        bounds_edges: true,
        planted: None,
        primitives: &[],
    },
    // A network by its name, and a cell that is named or drawn: nothing is learnt, and their nodes have what edges they have.
    Row {
        algorithm: "manual",
        settings: "dataset.max_batches=2",
        moves_alphas: false,
        bounds_edges: false,
        planted: None,
        primitives: &[],
    },
    Row {
        algorithm: "nasbench101",
        settings: "nas.eval.model_desc.model_stems.init_node_ch=16",
        moves_alphas: false,
        bounds_edges: false,
        planted: None,
        primitives: &[],
    },
    // It trains its alphas in jobs, whose hooks are not those of `trainer_hooks`; its own tests look at them.
    Row {
        algorithm: "petridish",
        settings: "",
        moves_alphas: false,
        bounds_edges: true,
        planted: None,
        primitives: &[],
    },
];

/// Small cells on 8×8 pictures, laid over the algorithm's toy settings.
const SMALL: &str = "
    dataset.channels=1 dataset.size=[8,8]
    nas.search.model_desc.n_cells=3 nas.search.model_desc.n_reductions=1 nas.search.model_desc.cell.n_nodes=2
    nas.search.model_desc.model_stems.init_node_ch=2 nas.search.model_desc.model_stems.stem_multiplier=1
    nas.search.loader.train_batch=8 nas.search.loader.test_batch=32 nas.search.loader.train_workers=0
    nas.search.trainer.epochs=2
    nas.eval.model_desc.n_cells=3 nas.eval.model_desc.n_reductions=1 nas.eval.model_desc.aux_weight=0
    nas.eval.model_desc.model_stems.init_node_ch=2 nas.eval.model_desc.model_stems.stem_multiplier=1
    nas.eval.loader.train_batch=16 nas.eval.loader.test_batch=32 nas.eval.loader.train_workers=0
    nas.eval.loader.cutout=0 nas.eval.trainer.epochs=1
";

/// One node per cell, so that every edge is kept, and rates at which a search of seconds learns.
const PLANTED: &str = "
    nas.search.model_desc.cell.n_nodes=1 nas.search.model_desc.model_stems.init_node_ch=4
    nas.search.loader.train_batch=32 nas.search.trainer.epochs=10 nas.search.trainer.validation.freq=0
    nas.search.trainer.optimizer.lr=0.1 nas.search.trainer.alpha_optimizer.lr=0.1
";

/// The algorithm's toy settings with these on top, and with `data` in place of the data set where it is given.
fn configuration(
    algorithm: &Algorithm,
    layers: &[&str],
    data: Option<&settings::Dataset>,
) -> ConfigTree {
    let mut overrides: Vec<String> = layers
        .iter()
        .flat_map(|layer| layer.split_whitespace())
        .map(str::to_owned)
        .collect();
    let data = serde_json::json!(data);
    for (key, value) in data.as_object().into_iter().flatten() {
        overrides.push(format!("dataset.{key}={value}"));
    }
    let algorithms = all();
    let files = archai_algos::files(&algorithms, &Shipped);
    let mut loader = ConfigLoader::new(&files)
        .files(&algorithm.defaults())
        .dataset("archai:datasets/fashion_mnist_mini.yaml")
        .files("archai:smoke.yaml");
    if let Some(own_toy) = algorithm.toy_overlay() {
        loader = loader.files(&own_toy);
    }
    loader
        .overrides(parse_overrides(&overrides).expect("overrides"))
        .load(&algorithm.schema())
        .unwrap_or_else(|e| panic!("{}: {e}", algorithm.name()))
}

struct Watch(Instant);

impl Clock for Watch {
    fn now(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

fn check(row: &Row, algorithm: &Algorithm) -> Result<Report, Vec<Failure>> {
    check_with(row, algorithm, &Components::builtin())
}

fn check_with(
    row: &Row,
    algorithm: &Algorithm,
    components: &Components,
) -> Result<Report, Vec<Failure>> {
    let dir = tempfile::tempdir().expect("a directory");
    let small = [SMALL, row.settings];
    let planted = [SMALL, PLANTED, row.planted.unwrap_or_default()];
    // The test puts its data and folders into the settings; an algorithm's own section must have them, too.
    let runner = |layers: &[&str], settings: &settings::Settings| {
        let tree = configuration(algorithm, layers, Some(&settings.dataset));
        let found = Path::new(&settings.nas.search.final_desc_filename);
        let folder = found.parent().unwrap_or(found).display().to_string();
        let vars = [("expdir".to_string(), folder)].into_iter().collect();
        tree.with_expanded_section(&format!("nas.search.{}", algorithm.name()), &vars)
            .and_then(|tree| algorithm.runner(&tree))
            .map_err(|e| EngineError::Internal(e.to_string()))
    };
    let of_small = |settings: &settings::Settings| runner(&small, settings);
    let of_planted = |settings: &settings::Settings| runner(&planted, settings);
    let settings = |layers: &[&str]| {
        let tree = configuration(algorithm, layers, None);
        tree.settings().expect("settings")
    };
    let subject = Subject {
        settings: settings(&planted),
        components: components.clone(),
        runner: &of_planted,
    };
    check_algorithm(&Conformance {
        small: Subject {
            settings: settings(&small),
            components: components.clone(),
            runner: &of_small,
        },
        planted: row.planted.map(|_| Planted {
            primitives: row.primitives.iter().map(|p| p.to_string()).collect(),
            ..Planted::new(subject)
        }),
        moves_alphas: row.moves_alphas,
        bounds_edges: row.bounds_edges,
        limit_s: 60.0,
        clock: &Watch(Instant::now()),
        dir: dir.path(),
    })
}

fn lines(failures: &[Failure]) -> String {
    let lines: Vec<String> = failures.iter().map(|f| format!("  {f}")).collect();
    lines.join("\n")
}

#[test]
fn all_algorithms_keep_their_promises() {
    let algorithms = all();
    for algorithm in algorithms.iter() {
        assert!(
            ROWS.iter().any(|row| row.algorithm == algorithm.name()),
            "`{}` has no row in ROWS: say there what it claims",
            algorithm.name()
        );
    }
    let mut broken = Vec::new();
    for row in ROWS {
        let algorithm = algorithms.get(row.algorithm).expect("a built-in algorithm");
        let start = Instant::now();
        match check(row, algorithm) {
            Ok(report) => println!(
                "{} {} ({:.1} s): {report}",
                row.algorithm,
                row.settings,
                start.elapsed().as_secs_f64()
            ),
            Err(failures) => {
                broken.push(format!(
                    "{} {}:\n{}",
                    row.algorithm,
                    row.settings,
                    lines(&failures)
                ));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// DARTS that forgets its hook: weights are trained, the architecture never is.
struct Asleep;

impl ExperimentRunner for Asleep {
    fn model_desc_builder(&self) -> Box<dyn ModelDescBuilder> {
        Box::new(DartsModelDescBuilder)
    }
}

/// DARTS in first order whose alphas of one primitive are put back after each step.
struct Forgetful;

struct PutBack;

impl TrainerHooks for PutBack {
    fn post_step(&mut self, step: &mut Step<'_>, _: &Outcome) -> Result<(), EngineError> {
        let mut values = step.model.arch().to_host();
        values.iter_mut().for_each(|(_, alpha)| alpha[3] = 0.0);
        let values = values.into_iter().map(|(_, alpha)| alpha).collect();
        let arch = (step.model.arch()).with_values(values, step.model.compute());
        step.set_arch(arch)
    }
}

impl ExperimentRunner for Forgetful {
    fn model_desc_builder(&self) -> Box<dyn ModelDescBuilder> {
        Box::new(DartsModelDescBuilder)
    }
    fn alpha_init(&self) -> AlphaInit {
        AlphaInit::Constant(0.0)
    }
    fn trainer_hooks(
        &self,
        search: &settings::Search,
    ) -> Result<Vec<Box<dyn TrainerHooks>>, EngineError> {
        let first_order = DartsSettings {
            second_order: false,
            ..DartsSettings::default()
        };
        let mut hooks = Darts::new(first_order).trainer_hooks(search)?;
        hooks.push(Box::new(PutBack));
        Ok(hooks)
    }
}

/// A space in which two states are joined by one op, of two that a program brings along with the identity.
struct Brought;

impl Named for Brought {
    fn name(&self) -> &str {
        "brought"
    }
    fn about(&self) -> &str {
        "ops of a program's own"
    }
}

impl ModelDescBuilder for Brought {
    fn nodes(&self, cell: &CellPlan<'_>) -> Result<Vec<NodeDesc>, DescError> {
        let edge = |from: usize| {
            let ops = ["brought_1x1", "nor_conv_3x3"];
            EdgeDesc::new(from, OpDesc::mixed(&ops, cell.channels, cell.stride(from)))
        };
        let node = |i: usize| NodeDesc::new((0..i + 2).map(edge));
        Ok((0..cell.n_nodes).map(node).collect())
    }
}

impl Space for Brought {
    fn builder(&self) -> &dyn ModelDescBuilder {
        self
    }
    fn rule(&self) -> NodeRule {
        NodeRule::OneOpPerEdge
    }
}

impl OpInfo for Brought {
    fn name(&self) -> &str {
        "brought_1x1"
    }
    fn summary(&self) -> &str {
        "1×1 convolution, norm"
    }
    fn lower(
        &self,
        op: &OpDesc,
        inputs: &[Value],
        b: &mut LayerBuilder<'_>,
    ) -> Result<Value, DescError> {
        let shape = ConvShape::new(op.ch_in, op.ch_out, 1).with_stride(op.stride);
        let x = b.conv(inputs[0], shape);
        Ok(b.norm(x, op.ch_out))
    }
}

#[test]
fn a_space_and_an_op_of_a_program_are_put_to_the_test() {
    let algorithms = all();
    let darts = algorithms.get("darts").expect("darts");
    let row = Row {
        settings: "nas.search.darts.second_order=false nas.search.space=brought",
        planted: None,
        ..SUPERNET
    };
    let failures = check(&row, darts).expect_err("nobody knows the space");
    assert!(
        lines(&failures).contains("`brought`"),
        "{}",
        lines(&failures)
    );
    let mut components = Components::builtin();
    components.spaces = components.spaces.with(Arc::new(Brought));
    components.ops.register_layers(Brought).expect("a new name");
    let report = check_with(&row, darts, &components);
    assert!(report.is_ok(), "{}", lines(&report.unwrap_err()));
}

#[test]
fn an_algorithm_that_never_moves_its_alphas_is_caught() {
    let algorithm = &Algorithm::new("asleep", "never moves", |_: NoSettings| Asleep);
    let failures = check(&SUPERNET, algorithm).expect_err("it must be caught");
    let failed: Vec<Check> = failures.iter().map(|f| f.check).collect();
    assert_eq!(
        failed,
        [Check::AlphasMove, Check::FindsPlanted, Check::BeatsRandom],
        "{}",
        lines(&failures)
    );
    assert!(
        failures[0]
            .message
            .contains("cell0.node0.edge0: max_pool_3x3, avg_pool_3x3"),
        "{}",
        failures[0]
    );
}

/// DARTS in first order whose hook has an optimizer of its own and does not name it in its memory.
struct Secretive;

struct KeptToItself {
    optimizer: Optimizer<ArchParams>,
    lr: f64,
}

impl TrainerHooks for KeptToItself {
    fn pre_step(&mut self, step: &mut Step<'_>) -> Result<(), EngineError> {
        let valid = step.next_valid()?;
        let (_, grads) = step.model.arch_grads(&valid, &step.objective())?;
        let arch = self.optimizer.step(step.model.arch(), &grads, self.lr);
        step.set_arch(arch)
    }
}

impl ExperimentRunner for Secretive {
    fn model_desc_builder(&self) -> Box<dyn ModelDescBuilder> {
        Box::new(DartsModelDescBuilder)
    }
    fn trainer_hooks(
        &self,
        search: &settings::Search,
    ) -> Result<Vec<Box<dyn TrainerHooks>>, EngineError> {
        let alpha = search.trainer.alpha_optimizer.as_ref();
        let alpha = alpha.expect("the settings of darts have one");
        Ok(vec![Box::new(KeptToItself {
            optimizer: Optimizer::new(alpha)?,
            lr: alpha.lr,
        })])
    }
}

#[test]
fn p02_a_hook_that_forgets_is_caught() {
    let algorithm = &Algorithm::new("secretive", "forgets", |_: NoSettings| Secretive);
    let row = Row {
        planted: None,
        ..SUPERNET
    };
    let failures = check(&row, algorithm).expect_err("it must be caught");
    let [failure] = failures.as_slice() else {
        panic!("{}", lines(&failures));
    };
    assert_eq!(failure.check, Check::Resumes);
    assert!(
        failure.message.contains("TrainerHooks::memory"),
        "{failure}"
    );
}

/// DARTS in first order whose finalizer takes the first primitive of the list, whatever was learnt.
struct FirstInList;

struct TakeFirst;

impl Finalizers for TakeFirst {
    fn finalize_edge(
        &self,
        model: &Model,
        cell: usize,
        node: usize,
        edge: usize,
    ) -> Result<Finalized, EngineError> {
        let op = &model.desc().cells[cell].nodes[node].edges[edge].op;
        let first: Vec<f64> = (0..op.children.len()).map(|k| f64::from(k == 0)).collect();
        Ok((model.supernet()).finalize_edge(cell, node, edge, &first)?)
    }
}

impl ExperimentRunner for FirstInList {
    fn model_desc_builder(&self) -> Box<dyn ModelDescBuilder> {
        Box::new(DartsModelDescBuilder)
    }
    fn trainer_hooks(
        &self,
        search: &settings::Search,
    ) -> Result<Vec<Box<dyn TrainerHooks>>, EngineError> {
        Darts::new(DartsSettings {
            second_order: false,
            ..DartsSettings::default()
        })
        .trainer_hooks(search)
    }
    fn finalizers(&self) -> Vec<NamedFinalizer> {
        let first = NamedFinalizer::new("default", "the first of the list", |_| {
            Ok(Box::new(TakeFirst))
        });
        vec![first]
    }
}

#[test]
fn a_taste_for_a_place_in_the_list_is_caught() {
    let algorithm = &Algorithm::new("first_in_list", "learns in vain", |_: NoSettings| {
        FirstInList
    });
    let failures = check(&SUPERNET, algorithm).expect_err("it must be caught");
    let failed: Vec<Check> = failures.iter().map(|f| f.check).collect();
    assert_eq!(
        failed,
        [Check::FindsPlanted, Check::BeatsRandom],
        "{}",
        lines(&failures)
    );
    assert!(
        failures[0].message.starts_with("in 1 of 10 searches"),
        "the seventh seed plants the first primitive: {}",
        failures[0]
    );
}

#[test]
fn an_alpha_that_never_moves_is_caught() {
    let algorithm = &Algorithm::new("forgetful", "moves all but one", |_: NoSettings| Forgetful);
    let row = Row {
        planted: None,
        ..SUPERNET
    };
    let failures = check(&row, algorithm).expect_err("it must be caught");
    let [failure] = failures.as_slice() else {
        panic!("{}", lines(&failures));
    };
    assert_eq!(failure.check, Check::AlphasMove);
    assert!(
        failure.message.contains("sep_conv_3x3 did not move"),
        "{failure}"
    );
}
