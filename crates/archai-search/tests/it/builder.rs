//! Spaces in Rust are the same as spaces in the language.

use archai_search::space::build::{
    Act, BasicBlock, BnRelu, ConvBn, Dense, Identity, Linear, MbConv, MeanPool, Seq, Val, dag,
    one_of, residual,
};
use archai_search::space::{SearchSpace, Space, shipped};

fn nb201(s: &mut Seq) {
    let ops = [
        "skip_connect",
        "none",
        "nor_conv_3x3",
        "nor_conv_1x1",
        "avg_pool_3x3",
    ];
    let cell = s.bind_fragment("cell", dag(3).every_edge(ops).output_last());
    s.push(ConvBn::new(16).kernel(3)).repeat(5, |_, s| {
        s.push(&cell);
    });
    for out in [32, 64] {
        s.push(BasicBlock::new(out).stride(2)).repeat(5, |_, s| {
            s.push(&cell);
        });
    }
    s.push(BnRelu).push(MeanPool).push(Linear::classes());
}

fn mobile(s: &mut Seq) {
    let no: Val<bool> = false.into();
    let either = one_of([false, true]);
    let stages = [
        ([24, 32], 2, &no, Act::Relu),
        ([40, 48], 2, &either, Act::Relu),
        ([80, 96], 2, &no, Act::Hswish),
        ([112, 136], 1, &either, Act::Hswish),
        ([160, 192], 2, &either, Act::Hswish),
    ];
    s.push(ConvBn::new(16).kernel(3).stride(2).act(Act::Hswish));
    s.push(MbConv::new(16).kernel(3).expand(1).act(Act::Relu));
    for (widths, stride, se, act) in stages {
        s.scope(|s| {
            let width = s.bind("width", one_of(widths));
            s.repeat(one_of([2, 3, 4]), |i, s| {
                let block = MbConv::new(&width)
                    .kernel(one_of([3, 5, 7]))
                    .expand(one_of([3, 4, 6]));
                s.push(
                    block
                        .se(se)
                        .act(act)
                        .stride(if i == 0 { stride } else { 1 }),
                );
            });
        });
    }
    s.push(ConvBn::new(960).kernel(1).act(Act::Hswish));
    s.push(MeanPool).push(Linear::classes());
}

fn mlp(s: &mut Seq) {
    let act = s.bind("act", one_of([Act::Relu, Act::Gelu, Act::Silu]));
    let embed = Dense::new(one_of([64, 128])).act(Act::None);
    s.either([("plain", Identity.into()), ("embed", embed.into())]);
    s.repeat(one_of([1, 2, 3, 4]), |_, s| {
        let dense = Dense::new(one_of([32, 64, 128, 256]))
            .act(&act)
            .dropout(one_of([0.0, 0.1, 0.3]));
        let same = residual(Dense::same().act(&act).norm(true));
        s.either([("dense", dense.into()), ("residual", same)]);
    });
    s.push(Linear::classes());
}

#[test]
fn rust_and_yaml_make_the_same_spaces() {
    for (name, built) in [
        ("nb201", Space::image("nb201", [3, 32, 32], 10, nb201)),
        (
            "mobile",
            Space::image("mobile", [3, 224, 224], 1000, mobile),
        ),
        ("mlp", Space::table("mlp", 54, 7, mlp)),
    ] {
        let built = built.unwrap_or_else(|e| panic!("{name}: {e}"));
        let read = shipped(name).unwrap();
        assert_eq!(built.desc(), read.desc(), "{name}");
        assert_eq!(built.fingerprint(), read.fingerprint(), "{name}");
        assert_eq!(built.report().members, read.report().members, "{name}");
    }
}

#[test]
fn conditions_limit_a_space() {
    let space = Space::image("mobile", [3, 224, 224], 1000, mobile).unwrap();
    let all = space.report().members.clone();
    let space = space.limit("$s2.width >= $s1.width + 16").unwrap();
    // Of the four pairs of widths, 32 and 40 is the one that is refused.
    assert_eq!(space.report().members.clone() * 4u32, all.clone() * 3u32);
    assert_eq!(space.report().without_conditions, all);
    let error = space
        .limit("$s2.width >= $s1.width + 64")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("is never true: $s2.width is 40 or 48, $s1.width is 24 or 32"),
        "{error}"
    );
}

#[test]
fn what_closures_cannot_say_is_an_error() {
    let error = |f: fn(&mut Seq)| Space::image("x", [3, 8, 8], 4, f).unwrap_err().to_string();
    let end = |s: &mut Seq| {
        s.push(MeanPool).push(Linear::classes());
    };
    let text = error(|s| {
        s.repeat(3, |i, s| {
            s.push(ConvBn::new(8 * (i + 1)));
        });
    });
    assert!(
        text.contains("repetitions differ from the second on"),
        "{text}"
    );
    let text = error(|s| {
        s.scope(|s| {
            s.push(ConvBn::same());
        });
    });
    assert!(
        text.contains("the scope `s1` holds something else"),
        "{text}"
    );
    let text = error(|s| {
        s.repeat(2, |_, s| {
            s.bind("w", one_of([1, 2]));
        });
    });
    assert!(text.contains("`w` is bound within a repetition"), "{text}");
    let text = error(|s| {
        let w = one_of([8, 16]);
        s.push(ConvBn::new(&w * 2))
            .push(MeanPool)
            .push(Linear::classes());
    });
    assert!(text.contains("a choice that is not bound"), "{text}");
    assert!(Space::image("x y", [3, 8, 8], 4, end).is_err());
}

#[test]
fn ops_of_a_program_are_ops_of_its_spaces() {
    use archai_spec::desc::{DescError, OpCatalog, OpDesc, OpInfo, ParamInfo, ParamType};
    use archai_spec::ops::{ConvShape, LayerBuilder, Value};
    struct Wide;
    impl OpInfo for Wide {
        fn name(&self) -> &str {
            "wide_conv"
        }
        fn summary(&self) -> &str {
            "a convolution of `taps` taps in a row"
        }
        fn params(&self) -> &[ParamInfo] {
            &[ParamInfo {
                name: "taps",
                ty: ParamType::Int,
                summary: "how many",
            }]
        }
        fn lower(
            &self,
            op: &OpDesc,
            inputs: &[Value],
            b: &mut LayerBuilder<'_>,
        ) -> Result<Value, DescError> {
            let taps = op
                .int("taps")
                .and_then(|n| usize::try_from(n).ok())
                .unwrap_or(3);
            let shape = ConvShape {
                kernel: [1, taps],
                padding: [0, taps / 2],
                ..ConvShape::new(op.ch_in, op.ch_out, 1)
            };
            Ok(b.conv(inputs[0], shape))
        }
    }
    let mut catalog = OpCatalog::builtin();
    catalog.register(Wide).unwrap();
    let text = "
space: own
version: 1
input: {channels: 3, size: [8, 8]}
classes: 2
network:
  - wide_conv: {out: 4, taps: {one_of: [3, 5]}}
  - pool
  - linear: {out: $classes}
";
    let desc = Space::read("own.yaml", text).unwrap();
    let error = Space::new(desc.clone()).unwrap_err().to_string();
    assert!(
        error.contains("own.yaml:7:5: there is no op `wide_conv`"),
        "{error}"
    );
    let space = Space::with_ops(desc, catalog).unwrap();
    assert_eq!(space.report().params, [36 + 10, 60 + 10]);
}

#[test]
fn functions_describe_spaces_too() {
    use archai_search::space::{Pick, from_fn};
    use archai_spec::desc::OpCatalog;
    use archai_spec::rng::Key;
    let mlp = shipped("mlp").unwrap();
    let member = mlp.sample(Key::new(1)).unwrap();
    let base = mlp.describe(&member).unwrap();
    let space = from_fn(
        "either",
        OpCatalog::builtin(),
        move |pick: &mut Pick<'_>| {
            let mut desc = base.clone();
            if pick.index("short", 2) == 1 {
                desc.max_final_edges = 1 + pick.index("edges", 3);
            }
            Ok(desc)
        },
    )
    .unwrap();
    let all: Vec<_> = space.enumerate().unwrap().collect();
    let names: Vec<String> = all.iter().map(|m| space.id(m)).collect();
    assert_eq!(
        names,
        ["either-0", "either-1.0", "either-1.1", "either-1.2"]
    );
    for member in &all {
        assert_eq!(space.parse_id(&space.id(member)).as_ref(), Ok(member));
        assert_eq!(
            space.costs(member).unwrap(),
            mlp.costs(&mlp.sample(Key::new(1)).unwrap()).unwrap()
        );
        assert!(!space.neighbours(member).contains(member));
    }
    assert_eq!(space.neighbours(&all[0]), [all[1].clone()]);
    assert!(
        space
            .parse_id("either-2")
            .unwrap_err()
            .to_string()
            .contains("no member")
    );
    assert!(space.parse_id("either-0.0").is_err());
    let base = mlp.describe(&member).unwrap();
    let broken = from_fn(
        "broken",
        OpCatalog::builtin(),
        move |pick: &mut Pick<'_>| {
            let mut desc = base.clone();
            if pick.index("break", 3) == 2 {
                desc.cells.clear();
            }
            Ok(desc)
        },
    );
    assert!(broken.err().unwrap().to_string().starts_with("broken-2: "));
}
