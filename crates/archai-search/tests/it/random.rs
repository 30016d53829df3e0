//! Random spaces: what the check says of all members is what looking at each of them says.

use std::collections::BTreeSet;
use std::sync::Arc;

use archai_search::journal::MemoryStore;
use archai_search::space::{Member, Quantity, SearchSpace, Space};
use archai_search::{
    Direction, Limit, Quantity as Measured, Run, Settings, Setup, Stop, Study, StudyError, Values,
    from_fn, optimisers,
};
use archai_spec::desc::OpCatalog;
use archai_spec::rng::{Key, Rng};
use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

/// Most members that are looked at one by one.
const FEW: usize = 1500;

fn pick<'a>(rng: &mut Rng, options: &[&'a str]) -> &'a str {
    options[rng.uniform_u32_below(options.len() as u32) as usize]
}

/// A layer after which there are as many channels as before, or not.
fn layer(rng: &mut Rng, depth: usize, stages: &mut usize) -> String {
    let kernel = pick(rng, &["1", "3", "{one_of: [1, 3]}"]);
    let out = pick(
        rng,
        &[
            "out: 4, ",
            "out: $w, ",
            "out: {one_of: [4, 8]}, ",
            "out: \"= $w + 2\", ",
            "",
            "",
        ],
    );
    let conv = format!(
        "conv_bn: {{{out}kernel: {kernel}, act: {}}}",
        pick(rng, &["relu", "$act"])
    );
    if depth == 0 {
        return conv;
    }
    let inner = |rng: &mut Rng, stages: &mut usize| layer(rng, depth - 1, stages);
    match rng.uniform_u32_below(9) {
        0 | 1 => conv,
        2 => {
            let times = pick(rng, &["2", "{one_of: [0, 2]}", "{one_of: [1, 2, 3]}", "$n"]);
            format!(
                "repeat: {{times: {times}, body: {{{}}}}}",
                inner(rng, stages)
            )
        }
        3 => format!("residual: {{conv_bn: {{kernel: {kernel}}}}}"),
        4 => format!(
            "one_of: {{a: {{{}}}, b: identity, c: [{{{}}}]}}",
            inner(rng, stages),
            inner(rng, stages)
        ),
        5 => format!(
            "branches: {{join: concat, of: [[{{{}}}], [identity]]}}",
            inner(rng, stages)
        ),
        6 => {
            *stages += 1;
            let body = format!("conv_bn: {{out: $v, kernel: {kernel}}}");
            format!(
                "stage: {{id: s{stages}, let: {{v: {{one_of: [4, 6]}}}}, times: {{one_of: [1, 2]}}, first: {{act: relu6}}, body: {{{body}}}}}"
            )
        }
        7 => {
            let edges = pick(rng, &["every", "{pick: 1}"]);
            let output = pick(rng, &["last", "concat", "unused"]);
            let on = pick(rng, &["edge", "node"]);
            format!(
                "dag: {{nodes: 2, edges: {edges}, on: {on}, output: {output}, op: {{one_of: [skip_connect, {{conv_bn: {{kernel: {kernel}}}}}]}}}}"
            )
        }
        _ => "conv: {norm: {one_of: [true, false]}}".to_owned(),
    }
}

fn space(rng: &mut Rng) -> String {
    let mut stages = 0;
    let shared = layer(rng, 1, &mut stages);
    let mut text = format!(
        "space: random\nversion: 1\ninput: {{channels: 4, size: [6, 6]}}\nclasses: 3\nlet:\n  w: {{one_of: [4, 6]}}\n  n: {{one_of: [1, 2]}}\n  \
         act: {{one_of: [relu, relu6]}}\n  f: [{{{shared}}}]\nnetwork:\n"
    );
    for _ in 0..1 + rng.uniform_u32_below(3) {
        match rng.uniform_u32_below(3) {
            0 => text.push_str("  - $f\n"),
            _ => text.push_str(&format!("  - {}\n", layer(rng, 2, &mut stages))),
        }
    }
    text.push_str("  - pool\n  - linear: {out: $classes}\n");
    text.push_str(pick(
        rng,
        &[
            "",
            "where: [$w > 4]\n",
            "where: [\"$n * 4 >= $w or $act == relu6\"]\n",
        ],
    ));
    text
}

fn check(seed: u64) -> Result<(), proptest::test_runner::TestCaseError> {
    let mut rng = Key::new(seed).rng();
    let text = space(&mut rng);
    let space = match Space::parse("random.yaml", &text) {
        Ok(space) => space,
        Err(error) => {
            // A fragment with a stage in it, or a choice of channels within a residual, may be refused; nothing else is.
            let error = error.to_string();
            let known = ["cannot be built", "there is a stage"];
            prop_assert!(
                known.iter().any(|part| error.contains(part)),
                "{error}\n{text}"
            );
            return Ok(());
        }
    };
    let report = space.report();
    let Some(all) = space.enumerate() else {
        return Ok(());
    };
    let all: Vec<Member> = all.take(FEW + 1).collect();
    for member in all.iter().step_by(1 + all.len() / 60) {
        let cost = space.costs(member).unwrap();
        let desc = space.describe(member).unwrap();
        let counted = desc.cost(&OpCatalog::builtin()).unwrap().total(false);
        prop_assert_eq!(counted, cost, "{}", text);
        let again = space.parse_id(&space.id(member)).unwrap();
        prop_assert_eq!(&again, member, "{}", text);
        let key = Key::new(seed).with("another");
        let other = space.sample(key).unwrap();
        prop_assert!(
            space
                .describe(&space.crossover(member, &other, key))
                .is_ok(),
            "{text}"
        );
        if let Some(changed) = space.mutate(member, key) {
            prop_assert!(
                changed != *member && space.describe(&changed).is_ok(),
                "{text}"
            );
        }
    }
    if all.len() > FEW {
        return Ok(());
    }
    let costs: Vec<_> = all
        .iter()
        .map(|member| space.costs(member).unwrap())
        .collect();
    let params = costs.iter().map(|cost| cost.params);
    let macs = costs.iter().map(|cost| cost.macs);
    prop_assert_eq!(
        report.members.to_string(),
        all.len().to_string(),
        "{}",
        text
    );
    prop_assert_eq!(
        report.params,
        [params.clone().min().unwrap(), params.max().unwrap()],
        "{}",
        text
    );
    prop_assert_eq!(
        report.macs,
        [macs.clone().min().unwrap(), macs.max().unwrap()],
        "{}",
        text
    );
    prop_assert_eq!(
        space.costs(&report.smallest).unwrap().params,
        report.params[0],
        "{}",
        text
    );
    prop_assert_eq!(
        space.costs(&report.dearest).unwrap().macs,
        report.macs[1],
        "{}",
        text
    );
    prop_assert!(
        space
            .check_limit(Quantity::Params, report.params[0])
            .is_ok()
    );
    prop_assert!(
        space
            .check_limit(Quantity::Macs, report.macs[0] - 1)
            .is_err()
    );
    let ids: BTreeSet<String> = all.iter().map(|member| space.id(member)).collect();
    prop_assert_eq!(ids.len(), all.len(), "{}", text);
    Ok(())
}

/// A search of a random space under random limits: whatever is proposed, tried or on the front keeps all of them, as counted from
/// the descriptions; or no network does.
fn keeps_limits(seed: u64) -> Result<(), proptest::test_runner::TestCaseError> {
    let mut rng = Key::new(seed).with("limits").rng();
    let text = space(&mut rng);
    let Ok(space) = Space::parse("random.yaml", &text) else {
        return Ok(());
    };
    let space = Arc::new(space);
    let report = space.report().clone();
    let mut between = |[low, high]: [u64; 2]| {
        // A little below the smallest, too.
        let from = low as f64 * 0.95;
        (from + (high as f64 - from) * rng.uniform_f64()).floor()
    };
    let (params, macs) = (between(report.params), between(report.macs));
    let depth = Measured::new("depth", Direction::Maximise);
    let evaluator = from_fn([depth], |job, _| {
        let cells = job.describe()?.cells.len();
        Ok(Values::from([("depth".to_string(), cells as f64)]))
    });
    let names = optimisers::all();
    let names: Vec<String> = names.iter().map(|kind| kind.name().to_string()).collect();
    let name = &names[rng.uniform_u32_below(names.len() as u32) as usize];
    let limits = [
        format!("params<={params}"),
        format!("macs<={macs}"),
        "depth>=2".to_string(),
    ];
    let limits: Vec<Limit> = limits.iter().map(|limit| limit.parse().unwrap()).collect();
    let settings = Settings::new(["depth", "params"])
        .limits(limits)
        .seed(seed)
        .optimiser(name.clone());
    let opened = Study::open(Setup {
        space: space.clone(),
        evaluators: vec![Arc::new(evaluator)],
        settings,
        optimisers: &optimisers::all(),
        store: Box::new(MemoryStore::default()),
        folder: None,
    });
    let within = |member: &Member| {
        let desc = space.describe(member).unwrap();
        let counted = desc.cost(&OpCatalog::builtin()).unwrap().total(false);
        counted.params as f64 <= params && counted.macs as f64 <= macs
    };
    let mut study = match opened {
        Ok(study) => study,
        Err(StudyError::Impossible(why)) => {
            let few = space
                .enumerate()
                .map(|all| all.take(FEW + 1).collect::<Vec<_>>());
            if let Some(all) = few.filter(|all| all.len() <= FEW) {
                prop_assert!(!all.iter().any(within), "{why}\n{text}");
            }
            return Ok(());
        }
        Err(other) => {
            return Err(proptest::test_runner::TestCaseError::fail(
                other.to_string(),
            ));
        }
    };
    let (stop, clock) = (Stop::new(), || 0.0);
    let run = Run {
        workers: 2,
        budget: Some(20),
        stop: &stop,
        clock: &clock,
    };
    study.run(run).unwrap();
    let results = study.results();
    prop_assert!(!results.trials().is_empty(), "{name}\n{text}");
    for trial in results.trials() {
        prop_assert!(within(&trial.member), "{name}: {}\n{text}", trial.id);
    }
    for (trial, _) in study.view_of(&results).front() {
        prop_assert!(trial.values["depth"] >= 2.0, "{name}: {}\n{text}", trial.id);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_members_are_what_the_check_says(seed in any::<u64>()) {
        check(seed)?;
    }

    #[test]
    fn limits_hold_in_every_space_whoever_proposes(seed in any::<u64>()) {
        keeps_limits(seed)?;
    }
}
