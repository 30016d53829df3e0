//! A description lowered to layers against the engine: the same names and shapes, and the same numbers as the definition
//! of the layers gives (`archai_export::reference`).

use std::collections::BTreeSet;

use archai_data::rng::Key;
use archai_engine::compute::to_host;
use archai_engine::export::reference::{Maps, Reference};
use archai_engine::{
    Compute, Mode, Model, ModelOptions, NamedTensor, Objective, OpRegistry, Precision,
};
use archai_spec::desc::nasbench101::{Cell101, NasBench101Builder};
use archai_spec::desc::nasbench201::NasBench201Builder;
use archai_spec::desc::{
    ArchKey, Cost, DescError, DescErrorKind, ModelDesc, OpCatalog, OpDesc, OpInfo, Shape, zoo,
};
use archai_spec::graph::{Graph, GraphParam};
use archai_spec::ops::{ConvShape, LayerBuilder, Value};

use crate::spaces::{built, nasbench101, nasbench201};
use crate::support::{batch, compile, genotype, network, settings, supernet, tiny_supernet};

/// Names and shapes of a graph's parameters are those of the state dict, all of them.
fn check_names(what: &str, desc: &ModelDesc, registry: &OpRegistry) -> Graph {
    let graph = desc.lower(registry.catalog()).unwrap();
    let options = ModelOptions::default();
    let model = Model::compile(desc, registry, &options).unwrap();
    let params = graph.layers.iter().flat_map(|l| &l.params);
    let lowered: Vec<(String, Vec<usize>)> =
        params.map(|p| (p.name.clone(), p.shape.clone())).collect();
    let engine: BTreeSet<(String, Vec<usize>)> = model
        .named_state()
        .into_iter()
        .map(|t| (t.name, t.shape))
        .collect();
    let of_graph: BTreeSet<_> = lowered.iter().cloned().collect();
    assert_eq!(of_graph.len(), lowered.len(), "{what}: two of one name");
    let missing: Vec<_> = engine.symmetric_difference(&of_graph).take(5).collect();
    assert!(missing.is_empty(), "{what}: only one side has {missing:?}");
    // Learnt ones come in the same order, which is the order of their random draws.
    let learnt = |p: &&GraphParam| p.kind.is_learnt();
    let params = graph.layers.iter().flat_map(|l| &l.params).filter(learnt);
    let order: Vec<&str> = params.map(|p| p.name.as_str()).collect();
    let named = model.weights().named();
    let declared: Vec<&str> = named.iter().map(|t| t.name.as_str()).collect();
    if desc.has_alphas() {
        // A kernel for a whole cell of a supernet orders the parameters its own way.
        assert_eq!(order.len(), declared.len(), "{what}");
    } else {
        let plain = ModelOptions {
            compute: Compute::cpu().with_plain_ops(),
            ..ModelOptions::default()
        };
        let plain = Model::compile(desc, registry, &plain).unwrap();
        let named = plain.weights().named();
        let declared: Vec<&str> = named.iter().map(|t| t.name.as_str()).collect();
        assert_eq!(order, declared, "{what}");
    }
    let cost = desc.cost(registry.catalog()).unwrap();
    for with_aux in [false, true] {
        assert_eq!(graph.cost(with_aux), cost.total(with_aux), "{what}");
    }
    let memory = graph.memory(4);
    assert!(0 < memory.peak && memory.peak <= memory.forward, "{what}");
    graph
}

/// The graph, executed by plain loops, gives what the engine gives in 64 bits.
fn check_numbers(what: &str, desc: &ModelDesc, n: usize) {
    let registry = OpRegistry::builtin();
    let graph = desc.lower(registry.catalog()).unwrap();
    let compute = Compute::cpu().with_precision(Precision::F64);
    let mut model = compile(desc, &compute);
    // Statistics and norms off their neutral start.
    let mut state = model.named_state();
    for t in &mut state {
        let mut rng = Key::new(11).with(&t.name).rng();
        let is_var = t.name.ends_with("running_var");
        if is_var || t.name.ends_with("running_mean") || t.name.contains(".bn") {
            for v in &mut t.values {
                *v = if is_var {
                    1.0 + rng.uniform_f64()
                } else {
                    *v + 0.2 * rng.normal()
                };
            }
        }
    }
    model.set_named_state(&state).unwrap();
    let shape = [n, desc.input.channels, desc.input.height, desc.input.width];
    let mut rng = Key::new(5).rng();
    let image: Vec<f64> = (0..shape.iter().product()).map(|_| rng.normal()).collect();
    let images = Maps::new(shape, image.clone()).unwrap();
    let mixtures = model.edge_weights().into_iter().map(|(key, weights)| {
        let key = ArchKey {
            cell: key.cell,
            node: key.node,
            edge: key.edge,
            n_alphas: weights.len(),
        };
        (key, weights)
    });
    let mixtures: Vec<_> = mixtures.collect();
    for mode in [Mode::Evaluation, Mode::Training] {
        let reference = Reference::new(&graph, &state).unwrap();
        let mut reference = reference.with_mixtures(mixtures.clone());
        if mode == Mode::Training {
            reference = reference.with_batch_statistics();
        }
        let values = reference.values(&images).unwrap();
        let outputs = model.forward(compute.tensor(image.clone(), shape), mode);
        let mut pairs = vec![(graph.logits, to_host(&outputs.logits))];
        if mode == Mode::Training {
            assert_eq!(outputs.aux.len(), graph.aux.len(), "{what}");
            let aux = graph.aux.iter().copied();
            pairs.extend(aux.zip(outputs.aux.iter().map(to_host)));
        }
        for (value, engine) in pairs {
            let ours = &values[value].values;
            assert_eq!(ours.len(), engine.len());
            let size = engine.iter().fold(1.0, |m: f64, v| m.max(v.abs()));
            for (a, b) in ours.iter().zip(&engine) {
                let name = &graph.values[value].name;
                assert!(
                    (a - b).abs() < 1e-10 * size,
                    "{what} {mode:?} {name}: {a} {b}"
                );
            }
        }
    }
}

fn eval_network() -> ModelDesc {
    let mut s = settings(5, 2, 2, 4);
    s.aux_weight = 0.4;
    network(&genotype(), &s)
}

fn of_zoo(name: &str, size: usize) -> ModelDesc {
    let mut s = settings(20, 2, 4, 16);
    s.dataset.size = [size, size];
    built(&*zoo::builder(name).unwrap(), &s, true)
}

#[test]
fn names_are_those_of_the_state_dict() {
    let registry = OpRegistry::builtin();
    check_names("DARTS, evaluated", &eval_network(), &registry);
    check_names("DARTS, searched", &tiny_supernet(), &registry);
    for (name, size) in [
        ("resnet20", 16),
        ("resnet18", 72),
        ("vgg11_bn", 32),
        ("densenet_bc_100_12", 8),
        ("mobilenet_v2", 32),
    ] {
        check_names(name, &of_zoo(name, size), &registry);
    }
    let nb201 = built(&NasBench201Builder, &nasbench201(1, 6), false);
    check_names("NAS-Bench-201", &nb201, &registry);
    check_names("NAS-Bench-101", &nb101(), &registry);
}

fn nb101() -> ModelDesc {
    let mut rng = Key::new(3).with("cells").rng();
    let cell = Cell101::random(|n| rng.uniform_u32_below(n)).unwrap();
    built(
        &NasBench101Builder { cell: Some(cell) },
        &nasbench101(),
        true,
    )
}

#[test]
fn a_graph_computes_what_the_engine_computes() {
    check_numbers("DARTS, evaluated", &eval_network(), 3);
    check_numbers("DARTS, searched", &tiny_supernet(), 2);
    // A tower on maps of another size than the papers'.
    let mut s = settings(5, 2, 2, 4);
    (s.aux_weight, s.dataset.size) = (0.4, [48, 40]);
    check_numbers("tower on 12×10", &network(&genotype(), &s), 3);
    check_numbers("resnet20", &of_zoo("resnet20", 8), 2);
    check_numbers("densenet", &of_zoo("densenet_bc_100_12", 8), 1);
    check_numbers("NAS-Bench-101", &nb101(), 2);
}

/// What a user writes: the layers of a separable convolution under another name.
struct MySeparable;

impl OpInfo for MySeparable {
    fn name(&self) -> &str {
        "my_sep_3x3"
    }
    fn summary(&self) -> &str {
        "the layers of sep_conv_3x3"
    }
    fn is_primitive(&self) -> bool {
        true
    }
    fn lower(
        &self,
        op: &OpDesc,
        inputs: &[Value],
        b: &mut LayerBuilder<'_>,
    ) -> Result<Value, DescError> {
        let mut x = inputs[0];
        for (c_out, stride) in [(op.ch_in, op.stride), (op.ch_out, 1)] {
            x = b.relu(x);
            x = b.conv(x, ConvShape::depthwise(op.ch_in, 3).with_stride(stride));
            x = b.conv(x, ConvShape::new(op.ch_in, c_out, 1));
            x = b.norm(x, c_out);
        }
        Ok(x)
    }
}

#[test]
fn a_users_layers_are_worth_as_much_as_a_built_in_ops() {
    let mut registry = OpRegistry::builtin();
    registry.register_layers(MySeparable).unwrap();
    let builtin = supernet(&{
        let mut s = settings(3, 1, 2, 4);
        s.dataset.size = [8, 8];
        s
    });
    let mut renamed = builtin.clone();
    let edges = renamed.cells.iter_mut().flat_map(|c| &mut c.nodes);
    for child in edges
        .flat_map(|n| &mut n.edges)
        .flat_map(|e| &mut e.op.children)
    {
        if child.op.name == "sep_conv_3x3" {
            child.op.name = "my_sep_3x3".to_string();
        }
    }
    let graph = check_names("a user's op", &renamed, &registry);
    let names = graph.layers.iter().flat_map(|l| &l.params).map(|p| &p.name);
    assert!(
        names
            .into_iter()
            .any(|n| n == "cell0.node0.edge0.my_sep_3x3.conv1.weight")
    );
    assert_eq!(
        renamed.cost(registry.catalog()).unwrap().total(false),
        builtin.cost(registry.catalog()).unwrap().total(false)
    );
    // The kernel for whole cells takes it, so that the parameters of a cell are one: and gives the same bits for the same
    // numbers.
    let compiled = |desc: &ModelDesc| {
        let options = ModelOptions::default();
        Model::compile(desc, &registry, &options).unwrap()
    };
    let (ours, mut theirs) = (compiled(&builtin), compiled(&renamed));
    let n_tensors = |m: &Model| m.weights().tensors().len();
    assert_eq!(n_tensors(&ours), n_tensors(&theirs));
    let state: Vec<NamedTensor> = (ours.named_state().into_iter())
        .map(|t| NamedTensor {
            name: t.name.replace("sep_conv_3x3", "my_sep_3x3"),
            ..t
        })
        .collect();
    theirs.set_named_state(&state).unwrap();
    theirs.set_arch(ours.arch().clone());
    let batch = batch(4, &builtin, 1);
    let logits = |m: &Model| {
        let objective = Objective::default();
        m.grads(&batch, &objective).unwrap().logits.values
    };
    assert_eq!(logits(&ours), logits(&theirs));
}

#[test]
fn what_does_not_lower_says_so_by_name() {
    struct Opaque;
    impl OpInfo for Opaque {
        fn name(&self) -> &str {
            "opaque"
        }
        fn summary(&self) -> &str {
            "no list of layers"
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
    let mut catalog = OpCatalog::builtin();
    catalog.register(Opaque).unwrap();
    let mut desc = eval_network();
    desc.cells[0].nodes[1].edges[0].op.name = "opaque".into();
    desc.cells[0].nodes[1].edges[0].op.stride = 1;
    let errors = desc.lower(&catalog).unwrap_err();
    let error = &errors.0[0];
    assert_eq!(error.kind, DescErrorKind::NoLayers, "{errors}");
    let text = errors.to_string();
    for part in ["cell 0, node 1, edge 0", "`opaque` is not made of layers"] {
        assert!(text.contains(part), "{text}");
    }
}
