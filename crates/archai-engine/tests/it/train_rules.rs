//! Rules that the reference vectors do not cover: schedules, optimizer variants, accuracies, the selection of edges.

use archai_engine::{
    Compute, Logits, ParamVec, Precision,
    finalize::select_edges,
    metrics::{EpochMetrics, Meter, accuracies},
    optim::Optimizer,
    params::{Init, NamedTensor, ParamLayout, ParamRole, ParamSpec, Piece},
    schedule::Schedule,
};
use archai_spec::desc::{EdgeDesc, OpDesc};
use archai_spec::settings::{self, LrSchedule, OptimizerKind, ScheduleKind, Warmup};

use crate::train_support::{flat_params, values_of};

fn schedule(kind: ScheduleKind) -> LrSchedule {
    LrSchedule {
        kind,
        min_lr: None,
        milestones: None,
        decay_period: None,
        gamma: None,
        warmup: None,
    }
}

#[test]
fn schedules() {
    let check = |settings: LrSchedule, epochs: usize, expect: &[f64]| {
        let schedule = Schedule::new(&settings, 1.0, epochs).expect("schedule");
        for (epoch, expect) in expect.iter().enumerate() {
            let lr = schedule.lr(epoch);
            assert!(
                (lr - expect).abs() < 1e-12,
                "{settings:?}, epoch {epoch}: {lr} instead of {expect}"
            );
        }
    };
    let warmup = |epochs: usize, multiplier: f64| Some(Warmup { epochs, multiplier });
    check(schedule(ScheduleKind::Constant), 3, &[1.0, 1.0, 1.0]);
    check(schedule(ScheduleKind::Cosine), 2, &[1.0, 0.5]);
    let multi = LrSchedule {
        milestones: Some(vec![1, 3]),
        gamma: Some(0.1),
        ..schedule(ScheduleKind::MultiStep)
    };
    check(multi.clone(), 4, &[1.0, 0.1, 0.1, 0.01]);
    // Milestones are epochs of the training, whatever the warm-up.
    check(
        LrSchedule {
            warmup: warmup(1, 1.0),
            ..multi
        },
        4,
        &[1.0, 0.1, 0.1, 0.01],
    );
    let step = LrSchedule {
        decay_period: Some(2),
        gamma: Some(0.5),
        ..schedule(ScheduleKind::Step)
    };
    check(step.clone(), 5, &[1.0, 1.0, 0.5, 0.5, 0.25]);
    check(
        LrSchedule {
            warmup: warmup(1, 1.0),
            ..step
        },
        5,
        &[1.0, 1.0, 1.0, 0.5, 0.5],
    );
    // The first epoch trains; a multiplier grows beyond the base, where the schedule proper starts.
    let constant = schedule(ScheduleKind::Constant);
    check(
        LrSchedule {
            warmup: warmup(4, 1.0),
            ..constant.clone()
        },
        6,
        &[0.25, 0.5, 0.75, 1.0, 1.0],
    );
    check(
        LrSchedule {
            warmup: warmup(2, 3.0),
            ..constant.clone()
        },
        4,
        &[2.0, 3.0, 3.0, 3.0],
    );
    check(
        LrSchedule {
            warmup: warmup(0, 3.0),
            ..constant.clone()
        },
        2,
        &[1.0, 1.0],
    );
    // A warm-up may fill the training, but must end with it.
    let warm = LrSchedule {
        warmup: warmup(3, 1.0),
        ..constant
    };
    check(warm.clone(), 3, &[1.0 / 3.0, 2.0 / 3.0, 1.0]);
    let error = Schedule::new(&warm, 1.0, 2).unwrap_err().to_string();
    assert!(
        error.contains("a warm-up of 3 epochs does not end in a training of 2"),
        "{error}"
    );
}

fn sgd(change: impl FnOnce(&mut settings::Optimizer)) -> Optimizer<ParamVec> {
    Optimizer::new(&optimizer_settings(change)).expect("optimizer")
}

fn optimizer_settings(change: impl FnOnce(&mut settings::Optimizer)) -> settings::Optimizer {
    let mut settings = settings::Optimizer {
        kind: OptimizerKind::Sgd,
        lr: 0.1,
        decay: 0.0,
        decay_bn: None,
        momentum: Some(0.5),
        nesterov: None,
        betas: None,
        eps: None,
        alpha: None,
        centered: None,
    };
    change(&mut settings);
    settings
}

#[test]
fn nesterov_looks_ahead() {
    let compute = Compute::cpu().with_precision(Precision::F64);
    let (w, g) = (
        flat_params(vec![1.0], &compute),
        flat_params(vec![2.0], &compute),
    );
    let mut optimizer = sgd(|s| s.nesterov = Some(true));
    // m = 2, step 2 + 0.5·2 = 3; then m = 3, step 2 + 0.5·3 = 3.5.
    let w = optimizer.step(&w, &g, 0.1);
    assert!((values_of(&w)[0] - 0.7).abs() < 1e-12);
    assert!((values_of(&optimizer.direction(&w, &g))[0] - 3.5).abs() < 1e-12);
    let w = optimizer.step(&w, &g, 0.1);
    assert!((values_of(&w)[0] - 0.35).abs() < 1e-12);
    assert_eq!(optimizer.steps(), 2);
}

/// Three steps of rate 0.1 with decay 0.1 from (1, -2), by the formulas of PyTorch's documentation in 64-bit Python. The first
/// step of AdamW by hand: the moments' ratio is 1, so w·(1 − 0.1·0.1) ∓ 0.1; of RMSProp: g′ = 0.6 and √(0.01·0.6²) = 0.06, so
/// 1 − 0.1·10.
#[test]
fn adamw_and_rmsprop_step_as_in_pytorch() {
    let compute = Compute::cpu().with_precision(Precision::F64);
    let check = |change: &dyn Fn(&mut settings::Optimizer), expect: [[f64; 2]; 3]| {
        let settings = optimizer_settings(|s| {
            (s.momentum, s.decay) = (None, 0.1);
            change(s);
        });
        let mut optimizer = Optimizer::new(&settings).expect("optimizer");
        let mut w = flat_params(vec![1.0, -2.0], &compute);
        for (g, expect) in [[0.5, 1.0], [-0.25, 2.0], [0.75, -0.5]]
            .into_iter()
            .zip(expect)
        {
            let g = flat_params(g.to_vec(), &compute);
            let ahead = w.add_scaled(&optimizer.direction(&w, &g), -0.1);
            w = optimizer.step(&w, &g, 0.1);
            assert_eq!(values_of(&ahead), values_of(&w));
            for (value, expect) in values_of(&w).into_iter().zip(expect) {
                assert!(
                    (value - expect).abs() < 1e-12,
                    "{settings:?}: {value} {expect}"
                );
            }
            // A run that is resumed after any step goes on with the same memory.
            let mut resumed = Optimizer::new(&settings).expect("optimizer");
            (resumed.set_state(&optimizer.state(), &w, &compute)).expect("state");
            optimizer = resumed;
        }
    };
    check(
        &|s| s.kind = OptimizerKind::AdamW,
        [
            [0.890000002, -2.079999999],
            [0.8544662986878463, -2.1557182009818336],
            [0.7823896185427717, -2.1930216917999448],
        ],
    );
    check(
        &|s| {
            s.kind = OptimizerKind::AdamW;
            (s.betas, s.eps) = (Some([0.5, 0.9]), Some(1e-3));
        },
        [
            [0.8901996007984032, -2.0799000999001],
            [0.8812976047904192, -2.1628198214477625],
            [0.7947737235690396, -2.173849191167609],
        ],
    );
    check(
        &|s| s.kind = OptimizerKind::RmsProp,
        [
            [1.666666393784766e-07, -2.9999998750000154],
            [0.3862646142083085, -3.9056398794213614],
            [-0.38829840529561, -3.4752433664061835],
        ],
    );
    check(
        &|s| {
            s.kind = OptimizerKind::RmsProp;
            (s.alpha, s.eps) = (Some(0.9), Some(1e-3));
            (s.momentum, s.centered) = (Some(0.5), Some(true));
        },
        [
            [0.6685082872928176, -2.33195020746888],
            [0.6008655681667369, -2.8157511020861783],
            [0.2901457374468727, -2.929829246658248],
        ],
    );
}

#[test]
fn norms_have_their_own_decay() {
    let piece = |name: &str, role| Piece {
        name: name.into(),
        shape: vec![1],
        init: Init::Constant(1.0),
        role,
    };
    let (conv, bn) = (
        piece("conv", ParamRole::Weight),
        piece("bn", ParamRole::Norm),
    );
    let spec = |pieces| ParamSpec {
        pieces,
        packing: None,
    };
    // Each by itself, and both in one tensor.
    check_decay(vec![spec(vec![conv.clone()]), spec(vec![bn.clone()])]);
    check_decay(vec![spec(vec![conv, bn])]);
}

fn check_decay(params: Vec<ParamSpec>) {
    let compute = Compute::cpu().with_precision(Precision::F64);
    let layout = std::sync::Arc::new(ParamLayout { params });
    let named = |v: f64| {
        ["conv", "bn"].map(|name| NamedTensor {
            name: name.into(),
            shape: vec![1],
            values: vec![v],
        })
    };
    let params = |v: f64| ParamVec::from_named(&layout, &named(v), &compute).expect("parameters");
    let check = |decay_bn: Option<f64>, expect: [f64; 2]| {
        let optimizer = sgd(|s| (s.decay, s.decay_bn) = (0.5, decay_bn));
        assert_eq!(
            values_of(&optimizer.direction(&params(2.0), &params(0.0))),
            expect
        );
    };
    check(None, [1.0, 1.0]);
    check(Some(0.0), [1.0, 0.0]);
    check(Some(0.25), [1.0, 0.5]);
}

#[test]
fn a_saved_state_must_fit() {
    let compute = Compute::cpu().with_precision(Precision::F64);
    let w = flat_params(vec![1.0, 2.0], &compute);
    let mut optimizer = sgd(|_| {});
    optimizer.step(&w, &w, 0.1);
    let state = optimizer.state();
    let names: Vec<&str> = state.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["steps", "momentum/w"]);
    let check = |state: &[NamedTensor], expect: &str| {
        let error = sgd(|_| {})
            .set_state(state, &w, &compute)
            .expect_err("an error")
            .to_string();
        assert!(error.contains(expect), "{error}");
    };
    check(&state[1..], "steps");
    check(&state[..1], "`w`");
    let short = NamedTensor {
        shape: vec![1],
        values: vec![0.0],
        ..state[1].clone()
    };
    check(&[state[0].clone(), short], "`w`");
}

#[test]
fn accuracies_count_the_k_largest() {
    let check = |values: &[f32], classes: usize, labels: &[i64], expect: [f64; 2]| {
        let logits = Logits {
            values: values.to_vec(),
            n: labels.len(),
            classes,
        };
        assert_eq!(
            accuracies(&logits, labels, [1, 5]),
            expect,
            "{values:?} {labels:?}"
        );
    };
    check(&[0.1, 0.9, 0.8, 0.2], 2, &[1, 1], [0.5, 1.0]);
    // Six classes: the sixth is not among five.
    check(&[6.0, 5.0, 4.0, 3.0, 2.0, 1.0], 6, &[5], [0.0, 0.0]);
    check(&[6.0, 5.0, 4.0, 3.0, 2.0, 1.0], 6, &[4], [0.0, 1.0]);
    // Among equals the lower class comes first, so that constant logits do not count as right for every class.
    check(&[1.0, 1.0, 1.0, 1.0], 2, &[0, 1], [0.5, 1.0]);
    check(&[f32::NAN, f32::NAN], 2, &[0], [0.0, 0.0]);
}

#[test]
fn meters_weigh_by_count() {
    let mut meter = Meter::default();
    meter.update(1.0, 3);
    meter.update(0.0, 1);
    assert_eq!(
        (meter.avg, meter.sum, meter.cnt, meter.last),
        (Some(0.75), 3.0, 4, Some(0.0))
    );
    let mut epoch = EpochMetrics::default();
    let logits = Logits {
        values: vec![1.0, 0.0],
        n: 1,
        classes: 2,
    };
    epoch.update(&logits, &[0], 0.5, 2.0);
    assert_eq!(
        (
            epoch.top1.avg,
            epoch.loss.avg,
            epoch.step_time.avg,
            epoch.step
        ),
        (Some(1.0), Some(0.5), Some(2.0), 1)
    );
}

#[test]
fn edges_without_a_rank_stay_and_ties_keep_the_lower_state() {
    let edge = |from: usize, rank: Option<f64>| {
        (EdgeDesc::new(from, OpDesc::new("skip_connect", 1, 1)), rank)
    };
    let check = |edges: Vec<(usize, Option<f64>)>, most: usize, expect: &[usize]| {
        let edges = edges
            .into_iter()
            .map(|(from, rank)| edge(from, rank))
            .collect();
        let kept: Vec<usize> = select_edges(edges, most)
            .edges
            .iter()
            .map(|e| e.inputs[0])
            .collect();
        assert_eq!(kept, expect);
    };
    check(
        vec![(0, Some(0.1)), (1, Some(0.3)), (2, Some(0.2))],
        2,
        &[1, 2],
    );
    check(
        vec![(0, Some(0.2)), (1, Some(0.2)), (2, Some(0.2))],
        2,
        &[0, 1],
    );
    check(vec![(0, Some(0.1)), (1, None), (2, Some(0.2))], 1, &[1, 2]);
    check(vec![(0, Some(0.1))], 2, &[0]);
}
