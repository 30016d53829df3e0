//! Anyone can do what the built-in parts do: a program with nothing but public items brings an op, an algorithm with its
//! YAML, a space, a data format, a transform, a finalizer, an exporter and an observer, and searches, evaluates and exports with
//! them.

use std::io::{self, Write};
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex};

use archai::data::{DataError, DataFormat, Dataset, InMemory, Scope, Split, Transform, rng::Key};
use archai::engine::export::{Exported, Exporter};
use archai::engine::finalize::{Finalized, NamedFinalizer};
use archai::engine::run::StopFlag;
use archai::engine::tensor::{Tensor, activation};
use archai::engine::{Features, OpBuilder, OpRegistry, Pass};
use archai::spec::desc::{Cost, OpCatalog, OpInfo, Shape};
use archai::spec::event::{Event, Progress};
use archai::spec::ops::{ConvShape, LayerBuilder, Value};
use archai::spec::registry::Named;
use archai::spec::spaces::Space;
use archai::{
    Algorithm, CellPlan, DescError, EdgeDesc, EngineError, ExperimentRunner, Finalizers, Lab,
    LabEvent, Model, ModelDesc, ModelDescBuilder, NodeDesc, Observer, Op, OpDesc, Request, RunDir,
    RunMode, Step, TrainerHooks, settings,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::support::{Done, World};

/// An op: x·sigmoid(x), without parameters.
#[derive(Debug)]
struct Swish(OpDesc);

impl Op for Swish {
    fn forward(&self, _: &mut Pass<'_>, inputs: &[Features], _: Option<&Tensor<1>>) -> Features {
        let x = inputs[0].nchw();
        Features::from_nchw(x.clone() * activation::sigmoid(x))
    }
    fn desc(&self) -> &OpDesc {
        &self.0
    }
}

fn make_swish(desc: &OpDesc, _: &mut OpBuilder<'_>) -> Result<Box<dyn Op>, EngineError> {
    Ok(Box::new(Swish(desc.clone())))
}

/// What the op means for shapes and costs.
struct SwishInfo;

impl OpInfo for SwishInfo {
    fn name(&self) -> &str {
        "swish"
    }
    fn summary(&self) -> &str {
        "x·sigmoid(x)"
    }
    fn measure(
        &self,
        _: &OpDesc,
        inputs: &[Shape],
        _: bool,
        _: &OpCatalog,
    ) -> Result<(Shape, Cost), DescError> {
        Ok((inputs[0], Cost::default()))
    }
}

/// An op that is a list of layers.
struct Pointwise;

impl OpInfo for Pointwise {
    fn name(&self) -> &str {
        "pointwise"
    }
    fn summary(&self) -> &str {
        "ReLU, 1×1 convolution, norm"
    }
    fn lower(
        &self,
        op: &OpDesc,
        inputs: &[Value],
        b: &mut LayerBuilder<'_>,
    ) -> Result<Value, DescError> {
        let x = b.relu(inputs[0]);
        let x = b.conv(x, ConvShape::new(op.ch_in, op.ch_out, 1));
        Ok(b.norm(x, op.ch_out))
    }
}

/// An op that an algorithm brings.
struct Hush;

impl OpInfo for Hush {
    fn name(&self) -> &str {
        "hush"
    }
    fn summary(&self) -> &str {
        "ReLU, norm"
    }
    fn lower(
        &self,
        op: &OpDesc,
        inputs: &[Value],
        b: &mut LayerBuilder<'_>,
    ) -> Result<Value, DescError> {
        let x = b.relu(inputs[0]);
        Ok(b.norm(x, op.ch_out))
    }
}

/// A space: each node reads the state before it, through one of the program's ops or a convolution.
struct Chain {
    name: &'static str,
    op: &'static str,
}

const CHAIN: Chain = Chain {
    name: "chain",
    op: "swish",
};
const LAYERED_CHAIN: Chain = Chain {
    name: "layered_chain",
    op: "pointwise",
};

impl Named for Chain {
    fn name(&self) -> &str {
        self.name
    }
    fn about(&self) -> &str {
        "cells whose nodes form a chain"
    }
}

impl ModelDescBuilder for Chain {
    fn nodes(&self, cell: &CellPlan<'_>) -> Result<Vec<NodeDesc>, DescError> {
        let node = |i: usize| {
            let from = if i == 0 { 0 } else { i + 1 };
            let ops = match cell.stride(from) {
                1 => [self.op, "nor_conv_1x1"],
                _ => ["max_pool_3x3", "sep_conv_3x3"],
            };
            let op = OpDesc::mixed(&ops, cell.channels, cell.stride(from));
            NodeDesc::new([EdgeDesc::new(from, op)])
        };
        Ok((0..cell.n_nodes).map(node).collect())
    }
}

impl Space for Chain {
    fn builder(&self) -> &dyn ModelDescBuilder {
        self
    }
    fn toy_config(&self) -> Option<&str> {
        Some("nas: {search: {model_desc: {cell: {n_nodes: 2}}}}")
    }
}

/// A data format: images whose brightness is their class.
struct Brightness;

impl Named for Brightness {
    fn name(&self) -> &str {
        "brightness"
    }
    fn about(&self) -> &str {
        "noisy images, dark or bright"
    }
}

impl DataFormat for Brightness {
    fn open(
        &self,
        section: &settings::Dataset,
        split: Split,
    ) -> Result<Arc<dyn Dataset>, DataError> {
        let labels: Vec<u32> = (0..128).map(|i| i % 2).collect();
        let shape = [section.channels, section.size[0], section.size[1]];
        let mut noise = Key::new(7).with(split.as_str()).rng();
        let size: usize = shape.iter().product();
        let pixels = labels.iter().flat_map(|&label| vec![label; size]);
        let pixels = pixels.map(|label| (label * 120 + noise.uniform_u32_below(100)) as u8);
        let images = InMemory::new(&section.name, 2, shape, pixels.collect(), labels)?;
        Ok(Arc::new(images))
    }
    fn needs_path(&self) -> bool {
        false
    }
}

/// A transform: half the contrast.
struct Fade;

impl Named for Fade {
    fn name(&self) -> &str {
        "fade"
    }
    fn about(&self) -> &str {
        "half the contrast"
    }
}

impl Transform for Fade {
    fn prepare(&self, _: &Scope<'_>) -> Result<Option<archai::data::Step>, DataError> {
        Ok(Some(Arc::new(|pixels, _| {
            for value in pixels.values_mut() {
                *value = 64.0 + *value / 2.0;
            }
        })))
    }
}

const DATASET: &str = "\
dataset:
  name: bright
  format: brightness
  path: ''
  n_classes: 2
  channels: 1
  size: [8, 8]
  mean: [0.5]
  std: [0.25]
";

/// An algorithm with settings of its own: the architecture steps once every so many steps of the weights.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PatientSettings {
    /// Steps of the weights for one of the architecture.
    every: usize,
}

const PATIENT: &str = "\
__include__: archai:algos/common.yaml
nas:
  search:
    patient: {every: 3}
";
const PATIENT_TOY: &str = "nas: {search: {patient: {every: 2}}}";

struct Patient(PatientSettings);

impl ExperimentRunner for Patient {
    fn model_desc_builder(&self) -> Box<dyn ModelDescBuilder> {
        Box::new(CHAIN)
    }
    fn trainer_hooks(
        &self,
        _: &settings::Search,
    ) -> Result<Vec<Box<dyn TrainerHooks>>, EngineError> {
        Ok(vec![Box::new(Patience(self.0))])
    }
    fn register_ops(&self, registry: &mut OpRegistry) -> Result<(), EngineError> {
        registry.register_layers(Hush)
    }
}

struct Patience(PatientSettings);

impl TrainerHooks for Patience {
    fn pre_step(&mut self, step: &mut Step<'_>) -> Result<(), EngineError> {
        if !step.step.is_multiple_of(self.0.every) {
            return Ok(());
        }
        let valid = step.next_valid()?;
        let (_loss, grads) = step.model.arch_grads(&valid, &step.objective())?;
        step.move_arch(&grads)
    }
}

/// A finalizer: every mixed edge keeps its first candidate.
struct First;

impl Finalizers for First {
    fn finalize_edge(
        &self,
        model: &Model,
        cell: usize,
        node: usize,
        edge: usize,
    ) -> Result<Finalized, EngineError> {
        let op = &model.desc().cells[cell].nodes[node].edges[edge].op;
        let first = op.children.first().map_or(op, |child| &child.op);
        Ok(Finalized {
            desc: first.clone(),
            rank: None,
        })
    }
}

/// An exporter: the names and shapes of all tensors.
struct Inventory;

impl Named for Inventory {
    fn name(&self) -> &str {
        "inventory"
    }
    fn about(&self) -> &str {
        "a list of tensors"
    }
}

impl Exporter for Inventory {
    fn extension(&self) -> &str {
        "txt"
    }
    fn export(&self, model: &Exported<'_>, out: &mut dyn Write) -> io::Result<()> {
        let mut lines = model.state.iter();
        lines.try_for_each(|t| writeln!(out, "{} {:?}", t.name, t.shape))
    }
}

/// An exporter: the network's layers.
struct Layers;

impl Named for Layers {
    fn name(&self) -> &str {
        "layers"
    }
    fn about(&self) -> &str {
        "a list of layers"
    }
}

impl Exporter for Layers {
    fn extension(&self) -> &str {
        "layers"
    }
    fn export(&self, model: &Exported<'_>, out: &mut dyn Write) -> io::Result<()> {
        let graph = model.desc.lower(model.catalog);
        let graph = graph.map_err(|e| io::Error::new(io::ErrorKind::Unsupported, e))?;
        let mut layers = graph.layers.iter();
        layers.try_for_each(|l| writeln!(out, "{}", graph.values[l.output].name))
    }
}

/// An observer: phases and steps.
#[derive(Default)]
struct Count(Mutex<Vec<String>>);

impl Observer for Count {
    fn observe(&self, event: &LabEvent<'_>) {
        let seen = match event {
            LabEvent::PhaseBegins { phase, .. } => phase.to_string(),
            LabEvent::Emitted {
                event: Event::Progress(Progress::Step { .. }),
                ..
            } => "step".to_string(),
            _ => return,
        };
        self.0.lock().unwrap().push(seen);
    }
}

fn lab() -> Lab {
    let patient = Algorithm::new("patient", "few steps of the architecture", Patient)
        .yaml(PATIENT)
        .toy(PATIENT_TOY);
    let first = NamedFinalizer::new("first", "the first candidate", |_| Ok(Box::new(First)));
    Lab::builtin()
        .with_algorithm(patient)
        .with_op(SwishInfo, Arc::new(make_swish))
        .unwrap()
        .with_layers(Pointwise)
        .unwrap()
        .with_space(CHAIN)
        .unwrap()
        .with_space(LAYERED_CHAIN)
        .unwrap()
        .with_format(Brightness)
        .with_transform(Fade)
        .with_finalizer(first)
        .with_exporter(Inventory)
        .with_exporter(Layers)
}

/// An exporter gets all that it needs to take a network apart, a program's own ops included.
#[test]
fn an_exporter_lowers_a_network_with_a_programs_op() {
    let world = World::new();
    let dataset = world.write("bright.yaml", DATASET);
    let request = Request {
        space: Some("layered_chain".to_string()),
        datasets: Some(vec![dataset]),
        logdir: Some(world.path("logdir").display().to_string()),
        threads: Some(1),
        overrides: [
            "nas.search.finalizer=first",
            "nas.search.loader.train_batch=8",
            "nas.eval.loader.train_batch=8",
            "nas.eval.loader.cutout=2",
            "nas.eval.model_desc.aux_weight=0",
            "nas.eval.export=[layers]",
        ]
        .map(String::from)
        .to_vec(),
        mode: RunMode::Smoke,
        ..Request::new("patient")
    };
    let outcomes = lab().run(&request, &Count::default()).unwrap();
    let eval_dir = RunDir::new(outcomes[0].eval_dir.as_ref().unwrap());
    let layers = std::fs::read_to_string(eval_dir.file("model.layers")).unwrap();
    let mut names = layers.lines();
    assert!(
        names.any(|name| name == "cell0.node0.edge0.pointwise.conv1"),
        "{layers}"
    );
}

#[test]
fn a_program_brings_parts_of_every_kind() {
    let world = World::new();
    let dataset = world.write("bright.yaml", DATASET);
    let request = |logdir: &str, overrides: &[&str]| Request {
        space: Some("chain".to_string()),
        datasets: Some(vec![dataset.clone()]),
        logdir: Some(world.path(logdir).display().to_string()),
        threads: Some(1),
        overrides: overrides.iter().map(|s| (*s).to_string()).collect(),
        mode: RunMode::Smoke,
        ..Request::new("patient")
    };
    let overrides = [
        "nas.search.finalizer=first",
        "nas.search.loader.train_batch=8",
        "nas.eval.loader.train_batch=8",
        // A tower would be larger than the rest, and the images are too small for the usual square of cutout.
        "nas.eval.loader.cutout=2",
        "nas.eval.model_desc.aux_weight=0",
        "nas.eval.export=[safetensors,inventory]",
    ];
    let lab = lab();
    let seen = Count::default();
    let outcomes = lab.run(&request("logdir", &overrides), &seen).unwrap();

    // The observer saw both phases, each with its steps.
    let seen = seen.0.into_inner().unwrap();
    assert_eq!(seen[..2], ["search", "step"]);
    let eval = seen.iter().position(|s| s == "evaluation").unwrap();
    assert!(seen[eval + 1..].contains(&"step".to_string()));

    // The space and the finalizer decide what is found, in which the op stands.
    let outcome = &outcomes[0];
    let found = RunDir::new(outcome.search_dir.as_ref().unwrap());
    let catalog = lab.components().ops.catalog();
    let found = found.found_desc(catalog).unwrap().unwrap();
    for cell in &found.cells {
        assert_eq!(cell.nodes.len(), 2);
        let ops = cell.nodes.iter().flat_map(|node| &node.edges);
        let ops: Vec<&str> = ops.map(|edge| edge.op.name.as_str()).collect();
        assert!(
            ops == ["swish", "swish"] || ops == ["max_pool_3x3", "swish"],
            "{ops:?}"
        );
    }

    // The exporter wrote every tensor of the trained network, and the usual format stands beside it.
    let eval_dir = RunDir::new(outcome.eval_dir.as_ref().unwrap());
    let inventory = std::fs::read_to_string(eval_dir.file("model.txt")).unwrap();
    assert!(
        inventory.contains("classifier.linear1.weight [2, "),
        "{inventory}"
    );
    assert!(eval_dir.file("model.safetensors").exists());
    assert!(!eval_dir.file("model.pt").exists());
    let listed = &outcome.eval.as_ref().unwrap().files;
    assert!(listed.iter().any(|f| f.path == eval_dir.file("model.txt")));

    // The algorithm's own toy settings count, and a misspelt one is an error that names the nearest.
    let config = std::fs::read_to_string(eval_dir.file("config_used.yaml")).unwrap();
    assert!(config.contains("every: 2"), "{config}");
    let misspelt = request("other", &["nas.search.patient.evry=1"]);
    let error = lab.plan(&misspelt).err().unwrap().to_string();
    assert!(
        error.contains("did you mean") && error.contains("every"),
        "{error}"
    );
    let unknown = request(
        "other",
        &["nas.search.finalizer=frist", "nas.eval.loader.cutout=2"],
    );
    let error = lab.plan(&unknown).err().unwrap().to_string();
    assert!(error.contains("did you mean `first`"), "{error}");
    assert!(!world.path("other").exists());
}

#[test]
fn a_transform_of_a_program_changes_what_is_learnt_from() {
    let world = World::new();
    let lab = lab();
    let train_loss = |name: &str, transforms: &str| {
        let more = format!("  crop_padding: 0\n  flip: false\n  transforms: {transforms}\n");
        let text = format!("{DATASET}{more}");
        let request = Request {
            datasets: Some(vec![world.write(&format!("{name}.yaml"), &text)]),
            logdir: Some(world.path(name).display().to_string()),
            threads: Some(1),
            overrides: vec!["nas.search.loader.train_batch=8".to_string()],
            eval: false,
            mode: RunMode::Smoke,
            ..Request::new("patient")
        };
        let outcome = lab.run(&request, &archai::NoObserver).unwrap().remove(0);
        let log = RunDir::new(outcome.search_dir.unwrap()).log().unwrap();
        let mut values = log.iter().filter_map(|entry| entry.values());
        let loss = values.find_map(|(_, values)| values.iter().find(|(key, _)| key == "loss"));
        loss.unwrap().1.clone()
    };
    let plain = train_loss("plain", "[normalise]");
    assert_ne!(train_loss("faded", "[fade, normalise]"), plain);
    assert_eq!(train_loss("again", "[normalise]"), plain);
}

/// Asks for a stop after the first step.
#[derive(Default)]
struct Stops(StopFlag);

impl Observer for Stops {
    fn observe(&self, event: &LabEvent<'_>) {
        if let LabEvent::Emitted {
            event: Event::Progress(Progress::Step { .. }),
            ..
        } = event
        {
            self.0.raise();
        }
    }
    fn stop_flag(&self) -> StopFlag {
        self.0.clone()
    }
}

/// The variable with the arguments of [`program`], as JSON.
const ARGUMENTS: &str = "ARCHAI_TEST_ARGUMENTS";

/// The command line of the program that [`lab`] makes.
#[test]
#[ignore = "a program for the test below, which runs it in a process of its own"]
fn program() -> ExitCode {
    let Ok(arguments) = std::env::var(ARGUMENTS) else {
        return ExitCode::SUCCESS;
    };
    archai::cli::run_as(lab(), serde_json::from_str(&arguments).unwrap())
}

/// Runs that program to its end.
fn own_program(world: &World, arguments: &[&str]) -> Done {
    let command_line = [&["mine"], arguments].concat();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "open::program", "--nocapture"])
        .current_dir(world.dir())
        .env("HOME", world.dir())
        .env("TZ", "UTC")
        .env(ARGUMENTS, serde_json::json!(command_line).to_string())
        .output();
    Done::new(output.unwrap())
}

/// Every command knows an op of a program's own, and one that its algorithm brings.
#[test]
fn an_own_op_is_known_to_every_command() {
    let world = World::new();
    let ops = own_program(&world, &["ops"]).ok();
    for expect in ["swish ", "pointwise ", "hush (patient) "] {
        assert!(ops.contains(expect), "{expect:?} is missing in:\n{ops}");
    }

    // A run that was stopped is resumed, and both phases can be repeated.
    let lab = lab().on(archai::cli::host());
    let request = Request {
        mode: RunMode::Smoke,
        space: Some("chain".to_string()),
        datasets: Some(vec![world.write("bright.yaml", DATASET)]),
        logdir: Some(world.path("logdir").display().to_string()),
        threads: Some(1),
        overrides: [
            "nas.search.finalizer=first",
            "nas.search.loader.train_batch=8",
            "nas.eval.loader.train_batch=8",
            "nas.eval.loader.cutout=0",
            "nas.eval.model_desc.aux_weight=0",
            "nas.eval.export=[safetensors]",
        ]
        .map(String::from)
        .to_vec(),
        ..Request::new("patient")
    };
    let dirs = lab.plan(&request).unwrap().dirs()[0].clone();
    let stopped = lab.run(&request, &Stops::default()).unwrap_err();
    assert!(stopped.to_string().contains("is not complete"), "{stopped}");
    let [search, eval] = [&dirs.search, &dirs.eval].map(|dir| dir.path().to_str().unwrap());
    own_program(&world, &["resume", search]).ok();
    let verified = own_program(&world, &["verify", "--threads", "1", search, eval]).ok();
    assert_eq!(
        verified.matches("all the same but for times").count(),
        2,
        "{verified}"
    );
    // The space's own settings of small modes counted.
    let found = dirs.search.file("final_model_desc.yaml");
    let text = std::fs::read_to_string(&found).unwrap();
    let desc = ModelDesc::from_yaml(&text, "found", lab.components().ops.catalog()).unwrap();
    assert!(desc.cells.iter().all(|cell| cell.nodes.len() == 2));

    // What was found is shown, checked and drawn, and so is a network with the algorithm's op.
    let hushed = world.write("hushed.yaml", &text.replace("swish", "hush"));
    for (file, op) in [(found.to_str().unwrap(), "swish"), (&hushed, "hush")] {
        let shown = own_program(&world, &["desc", "show", file]).ok();
        assert!(shown.contains(op), "{shown}");
        let checked = own_program(&world, &["desc", "check", file]).ok();
        assert!(checked.contains("is a valid description"), "{checked}");
        let drawing = world.path("cells.svg");
        let to = drawing.to_str().unwrap();
        own_program(&world, &["desc", "draw", file, "-o", to]).ok();
        assert!(std::fs::read_to_string(&drawing).unwrap().contains(op));
    }
    // A program without the op says so.
    world.run(&["desc", "check", &hushed]).fails(2, &["hush"]);
}
