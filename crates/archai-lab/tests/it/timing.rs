//! Tables of latencies: how one is made, what it says, and what is refused. The clock is scripted: no test waits for a real one.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use archai_engine::OpRegistry;
use archai_engine::run::Clock;
use archai_lab::timing::{
    Effort, Fit, FitError, Kind, LATENCY, LatencyTable, Machine, MeasuredLatency, ProfileRequest,
    TableLatency, TimedLayer, profile, signatures,
};
use archai_search::journal::MemoryStore;
use archai_search::space::{SearchSpace, Space};
use archai_search::{Bound, Evaluator, Limit, Run, Settings, Setup, Stop, Study, optimisers};
use archai_spec::desc::OpCatalog;
use archai_spec::rng::Key;

/// Each look at the clock takes a millisecond.
#[derive(Default)]
struct Ticking(Mutex<f64>);

impl Clock for Ticking {
    fn now(&self) -> f64 {
        let mut now = self.0.lock().unwrap();
        *now += 1e-3;
        *now
    }
}

fn space(text: &str) -> Space {
    let text = format!(
        "space: small\nversion: 1\ninput: {{channels: 2, size: [6, 6]}}\nclasses: 3\nnetwork:\n{text}  - pool: {{kind: mean}}\n  \
         - linear: {{out: $classes}}\n"
    );
    Space::parse("small.yaml", &text).unwrap_or_else(|e| panic!("{e}"))
}

fn chain() -> Space {
    space(
        "  - conv_bn: {out: {one_of: [2, 3]}, kernel: {one_of: [1, 3]}, act: relu}\n  \
         - residual: {mbconv: {kernel: 3, expand: 2, se: {one_of: [true, false]}}}\n  \
         - branches: {join: concat, of: [[identity], [conv_bn: {out: 4, kernel: 3}]]}\n",
    )
}

fn request<'a>(space: &'a Space, ops: &'a OpRegistry) -> ProfileRequest<'a> {
    ProfileRequest {
        space,
        ops,
        networks: 12,
        batch: 2,
        seed: 1,
        effort: Effort {
            runs: 1,
            least: 1,
            most: 1,
            ..Effort::default()
        },
        machine: Machine {
            cpu: "abacus".into(),
            threads: 1,
            governor: String::new(),
        },
    }
}

#[test]
fn a_table_has_every_layer_of_a_space_and_survives_its_file() {
    let (space, ops) = (chain(), OpRegistry::builtin());
    let mut steps = Vec::new();
    let table = profile(
        &request(&space, &ops),
        &Ticking::default(),
        &mut |done, of| steps.push((done, of)),
    );
    let table = table.unwrap_or_else(|e| panic!("{e}"));
    let n = table.layers.len() + 12;
    assert_eq!((steps.len(), steps.last()), (n, Some(&(n, n))));
    assert_eq!(
        (table.error.networks, table.space.as_str(), table.batch),
        (12, "small", 2)
    );
    let kinds: std::collections::BTreeSet<Kind> = table.layers.iter().map(|l| l.kind).collect();
    for kind in [
        Kind::Conv,
        Kind::Pointwise,
        Kind::Grouped,
        Kind::Linear,
        Kind::Norm,
        Kind::Activation,
        Kind::Pool,
        Kind::Join,
    ] {
        assert!(kinds.contains(&kind), "{kind:?} is missing in {kinds:?}");
    }
    assert!(
        table
            .layers
            .iter()
            .any(|l| l.layer == "conv 3×3 2→3 padding 1 on 2×6×6"),
        "{:?}",
        table.layers
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.yaml");
    table.write(&path).unwrap();
    assert_eq!(LatencyTable::read(&path).unwrap(), table);
    // Every member can be looked up, and on this clock each takes as long as any other.
    for i in 0..20 {
        let member = space.sample(Key::new(i)).unwrap();
        let graph = space
            .describe(&member)
            .unwrap()
            .lower(ops.catalog())
            .unwrap();
        let ms = table.predict(&graph).unwrap();
        assert!((ms - 1.0).abs() < 1e-6, "{ms}");
    }
}

/// A table in which each layer of a space takes as many milliseconds as it has multiply-adds.
fn by_macs(space: &Space) -> LatencyTable {
    let catalog = OpCatalog::builtin();
    let mut layers = BTreeMap::new();
    for i in 0..200 {
        let member = space.sample(Key::new(i)).unwrap();
        let graph = space.describe(&member).unwrap().lower(&catalog).unwrap();
        for (text, (signature, _)) in signatures(&graph) {
            let ms = graph
                .layers
                .iter()
                .find(|l| text.starts_with(&format!("{} on", l.layer)));
            let ms = ms.map_or(0.0, |l| l.cost.macs as f64);
            layers.insert(
                text.clone(),
                TimedLayer {
                    layer: text,
                    kind: signature.kind,
                    ms,
                },
            );
        }
    }
    LatencyTable {
        format: "archai-latency-table".into(),
        version: 1,
        space: space.name().into(),
        runtime: "own".into(),
        batch: 1,
        machine: Machine::default(),
        reference_ms: 1.0,
        fit: Fit {
            base_ms: 5.0,
            factors: BTreeMap::from([(Kind::Conv, 1.0), (Kind::Pointwise, 1.0)]),
        },
        error: FitError {
            networks: 10,
            spearman: 1.0,
            mean_relative: 0.1,
            quantile_95: 0.25,
        },
        layers: layers.into_values().collect(),
    }
}

#[test]
fn a_limit_by_table_is_tightened_and_kept() {
    let space = space(
        "  - conv_bn: {out: {one_of: [2, 3, 4]}, kernel: 3, act: relu}\n  - conv_bn: {out: {one_of: [2, 3, 4]}, kernel: 3}\n",
    );
    let table = by_macs(&space);
    let limit = Limit::new(LATENCY, Bound::AtMost(5000.0));
    let tight = table.tighten(&limit, LATENCY);
    assert_eq!(tight.bound, Bound::AtMost(4000.0));
    assert_eq!(
        (table.tightened(125.0), table.tighten(&limit, "other")),
        (100.0, limit)
    );
    let table_of = TableLatency::new(table, OpRegistry::builtin());
    let space: Arc<dyn SearchSpace> = Arc::new(space);
    let widths = archai_search::from_fn(
        [archai_search::Quantity::new(
            "params_seen",
            archai_search::Direction::Maximise,
        )],
        |job, _| {
            Ok([(
                "params_seen".to_string(),
                job.space.costs(job.member)?.params as f64,
            )]
            .into())
        },
    );
    let evaluators: Vec<Arc<dyn Evaluator>> = vec![Arc::new(table_of), Arc::new(widths)];
    let mut study = Study::open(Setup {
        space: space.clone(),
        evaluators,
        settings: Settings::new(["params_seen", LATENCY]).limits([tight]),
        optimisers: &optimisers::all(),
        store: Box::new(MemoryStore::default()),
        folder: None,
    })
    .unwrap_or_else(|e| panic!("{e}"));
    let (stop, clock) = (Stop::new(), || 0.0);
    study
        .run(Run {
            workers: 1,
            budget: Some(9),
            stop: &stop,
            clock: &clock,
        })
        .unwrap_or_else(|e| panic!("{e}"));
    let results = study.results();
    let view = study.view_of(&results);
    let latencies: Vec<f64> = view
        .trials()
        .iter()
        .map(|trial| trial.values[LATENCY])
        .collect();
    assert!(latencies.len() >= 3 && latencies.len() < 9, "{latencies:?}");
    assert!(latencies.iter().all(|ms| *ms <= 4000.0), "{latencies:?}");
}

#[test]
fn what_is_no_table_or_one_for_another_space_is_refused() {
    let space_of = |kernel: u32| {
        space(&format!(
            "  - conv_bn: {{out: 3, kernel: {kernel}, act: relu}}\n"
        ))
    };
    let table = by_macs(&space_of(3));
    let (other, catalog) = (space_of(5), OpCatalog::builtin());
    let member = other.sample(Key::new(0)).unwrap();
    let graph = other.describe(&member).unwrap().lower(&catalog).unwrap();
    let error = table.predict(&graph).unwrap_err();
    for says in [
        "`conv 5×5 2→3",
        "made for the space `small`",
        "nearest",
        "archai latency profile",
    ] {
        assert!(error.contains(says), "{says}: {error}");
    }
    let evaluator = TableLatency::new(table.clone(), OpRegistry::builtin());
    let error = evaluator.statics(&other, &member).unwrap_err();
    assert_eq!(error.kind, archai_search::FailureKind::Setup);
    let good = table.to_text().unwrap();
    let refused = |text: &str| {
        LatencyTable::parse(Path::new("t.yaml"), text)
            .unwrap_err()
            .to_string()
    };
    for (text, says) in [
        (
            "space: nb201\nversion: 1\n".to_string(),
            "its `format` is ``, expected `archai-latency-table`",
        ),
        (
            good.replace("version: 1", "version: 2"),
            "version 2, and this program reads version 1",
        ),
        (good.replace("runtime:", "run_time:"), "run_time"),
        (
            good.replace("quantile_95: 0.25", "quantile_95: -1.0"),
            "-1 is no time, factor or error",
        ),
        ("[]".to_string(), "no table of latencies"),
    ] {
        let error = refused(&text);
        assert!(
            error.contains(says) && error.contains("`t.yaml`"),
            "{says}: {error}"
        );
    }
    let mut twice = table;
    twice.layers.push(twice.layers[0].clone());
    assert!(refused(&twice.to_text().unwrap()).contains("stands there twice"));
    let missing = LatencyTable::read(Path::new("no/such.yaml"))
        .unwrap_err()
        .to_string();
    assert!(missing.contains("no/such.yaml"), "{missing}");
}

#[test]
fn networks_are_measured_beside_the_reference() {
    let effort = Effort {
        runs: 2,
        least: 2,
        most: 2,
        ..Effort::default()
    };
    let measured = MeasuredLatency::new(
        OpRegistry::builtin(),
        1,
        1,
        effort,
        Arc::new(Ticking::default()),
    );
    let measured = measured.unwrap_or_else(|e| panic!("{e}"));
    let space: Arc<dyn SearchSpace> = Arc::new(chain());
    let mut study = Study::open(Setup {
        space,
        evaluators: vec![Arc::new(measured)],
        settings: Settings::new([LATENCY]),
        optimisers: &optimisers::all(),
        store: Box::new(MemoryStore::default()),
        folder: None,
    })
    .unwrap_or_else(|e| panic!("{e}"));
    let (stop, clock) = (Stop::new(), || 0.0);
    let run = Run {
        workers: 2,
        budget: Some(4),
        stop: &stop,
        clock: &clock,
    };
    study.run(run).unwrap_or_else(|e| panic!("{e}"));
    let results = study.results();
    for trial in study.view_of(&results).trials() {
        // On this clock every run takes a millisecond, the reference's too.
        assert!(
            (trial.values[LATENCY] - 1.0).abs() < 1e-6,
            "{:?}",
            trial.values
        );
    }
}

#[test]
fn too_few_networks_are_no_profile() {
    let (space, ops) = (chain(), OpRegistry::builtin());
    let request = ProfileRequest {
        networks: 9,
        ..request(&space, &ops)
    };
    let error = profile(&request, &Ticking::default(), &mut |_, _| {}).unwrap_err();
    assert!(error.contains("9 networks are too few"), "{error}");
}
