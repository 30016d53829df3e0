//! Errors: what is wrong, where, and what was meant.

use archai_search::space::{Quantity, Space, shipped};

/// The error of a network between a head of five lines and the classifier.
fn network(body: &str) -> String {
    space(body, "", "[8, 8]")
}

fn space(body: &str, more: &str, size: &str) -> String {
    let text = format!(
        "space: x\nversion: 1\ninput: {{channels: 8, size: {size}}}\nclasses: 4\nnetwork:\n{body}\n  - pool\n  - linear: {{out: $classes}}\n{more}"
    );
    Space::parse("x.yaml", &text)
        .map(|s| s.report().clone())
        .unwrap_err()
        .to_string()
}

#[test]
fn each_problem_names_its_place_and_what_was_meant() {
    for (body, expected) in [
        (
            "  - conv_bn: {out: 8, kernels: 3}",
            "x.yaml:6:23: unknown argument `kernels` of `conv_bn`; did you mean `kernel`?",
        ),
        (
            "  - conv_bm: {out: 8}",
            "x.yaml:6:5: there is no op `conv_bm`; did you mean `conv_bn`?",
        ),
        (
            "  - repat: {times: 2, body: identity}",
            "did you mean `repeat`?",
        ),
        (
            "  - conv_bn: {out: $width}",
            "x.yaml:6:15: there is no name `$width` here; known are classes",
        ),
        (
            "  - conv_bn: {out: {one_of: [8, many]}}",
            "x.yaml:6:15: `out` of `conv_bn` is a whole number, at least 1, not `many`",
        ),
        (
            "  - residual: {conv_bn: {out: {one_of: [8, 16]}}}",
            "x.yaml:6:5: some members of `x` cannot be built: the branch turns 8×8×8 into 16×8×8; a sum needs equal shapes",
        ),
        (
            "  - conv_bn: {kernel: {one_of: [3, 4]}}",
            "an odd number from 1 to 63",
        ),
        (
            "  - conv_bn: {groups: {one_of: [1, 3]}}",
            "which must divide its 8 input channels",
        ),
        (
            "  - dag: {nodes: 2, edges: {pick: 3}, op: identity}",
            "how many edges a node has, a whole number from 1 to 1",
        ),
        (
            "  - dag: {nodes: 2, edges: sometimes, op: identity}",
            "expected `every` or `{pick: k}`",
        ),
        (
            "  - dag: {nodes: 1, edges: every, op: {one_of: [identity, {conv_bn: {out: 4}}]}}\n  - residual: {conv_bn: {out: 8}}",
            "x.yaml:7:5: some members of `x` cannot be built",
        ),
        (
            "  - stage: {id: a, times: {one_of: [1, -2]}, body: identity}",
            "`times` is a whole number from 0 to 1000, not `-2`",
        ),
        (
            "  - conv_bn: {out: \"= 8 *\"}",
            "x.yaml:6:15: `8 *` is no expression",
        ),
        (
            "  - conv_bn: {out: {one_of: []}}",
            "a choice without options",
        ),
        ("  - {relu: , identity: }", "expected one layer"),
        (
            "  - relu\n  - relu\n  - cells: {channels: 4, sequence: [a], kinds: {a: {dag: {inputs: 2, nodes: 1, edges: every, op: skip_connect}}}}",
            "x.yaml:8:5: `cells` read the two outputs before them",
        ),
        (
            "  - branches: {join: add, of: [[conv_bn: {out: 4}], [identity]]}",
            "one branch gives 4×8×8 and another 8×8×8",
        ),
    ] {
        let error = network(body);
        assert!(error.contains(expected), "{body}\n{error}");
    }
}

#[test]
fn the_simplest_member_that_cannot_be_built_is_named() {
    let error = network(
        "  - repeat: {times: {one_of: [1, 2]}, body: {one_of: {a: identity, b: {residual: {conv_bn: {out: {one_of: [8, 16]}}}}}}}",
    );
    let lines: Vec<&str> = error.lines().collect();
    assert!(
        lines[0].contains("the branch turns 8×8×8 into 16×8×8"),
        "{error}"
    );
    assert_eq!(
        lines[1],
        "  smallest such member: repeat[0].one_of = b, repeat[0].b.residual.conv_bn.out = 16"
    );
    // Of 3 + 9 members, 1 + (3 + 3 - 1) have a branch that is wider.
    assert_eq!(lines[2], "  6 of 12 members");
}

#[test]
fn conditions_and_limits_are_judged() {
    let stage =
        "  - stage: {id: s1, let: {w: {one_of: [4, 8]}}, times: 1, body: {conv_bn: {out: $w}}}";
    for (condition, expected) in [
        (
            "$s1.w > 8",
            "x.yaml:9:9: the condition `$s1.w > 8` is never true: $s1.w is 4 or 8",
        ),
        ("$s1.v > 8", "`$s1.v` is none of them; did you mean `s1.w`?"),
        ("1 < 2", "names no choice"),
        ("$s1.w +", "is no expression"),
        ("$s1.w", "is never true"),
    ] {
        let error = space(stage, &format!("where: [\"{condition}\"]"), "[8, 8]");
        assert!(error.contains(expected), "{condition}\n{error}");
    }
    let both = space(stage, "where: [$s1.w < 8, $s1.w > 4]", "[8, 8]");
    assert!(
        both.contains("no member meets all conditions at once"),
        "{both}"
    );
    let mobile = shipped("mobile").unwrap();
    assert_eq!(mobile.check_limit(Quantity::Params, 1_584_664), Ok(()));
    let error = mobile
        .check_limit(Quantity::Params, 1_000_000)
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "no member of `mobile` has at most 1000000 parameters; the smallest has 1584664: \
         mobile-w24d2k3e3/k3e3.w40d2k3e3sf/k3e3sf.w80d2k3e3/k3e3.w112d2k3e3sf/k3e3sf.w160d2k3e3sf/k3e3sf; raise the limit or add \
         smaller options"
    );
}

#[test]
fn what_is_hardly_meant_is_warned_of() {
    let text = "
space: x
version: 1
input: {channels: 8, size: [8, 8]}
classes: 4
let: {unused: {one_of: [1, 2]}}
network:
  - stage: {id: s1, let: {w: {one_of: [4, 8]}}, times: 1, body: {conv_bn: {out: $w, kernel: {one_of: [3, 1, 3]}}}}
  - one_of: {a: {conv_bn: {out: 4, norm: }}, b: identity}
  - pool
  - linear: {out: $classes}
where: [$s1.w >= 4]
";
    let error = Space::parse("x.yaml", text).unwrap_err().to_string();
    assert!(error.contains("expected a value"), "{error}");
    let text = text
        .replace(", norm: ", "")
        .replace("b: identity", "b: {conv_bn: {out: 4}}");
    let space = Space::parse("x.yaml", &text).unwrap_or_else(|e| panic!("{e}"));
    let warnings = space.report().warnings.join("\n");
    for part in [
        "nothing uses `$unused`",
        "options 0 and 2 of `kernel` are equal: 3",
        "the condition `$s1.w >= 4` is always true",
        "the choice `one_of` changed no network",
        "the choice `unused` changed no network",
    ] {
        assert!(warnings.contains(part), "{part}\n{warnings}");
    }
    assert!(
        space
            .report()
            .one_shot
            .clone()
            .unwrap_err()
            .contains("at line 6")
    );
    assert_eq!(shipped("nb201").unwrap().report().one_shot, Ok(6));
    assert_eq!(shipped("darts").unwrap().report().one_shot, Ok(28));
}

#[test]
fn ids_that_are_none_say_where() {
    use archai_search::space::SearchSpace;
    let space = shipped("nb201").unwrap();
    for (id, expected) in [
        ("nb202-000000", "it does not begin with `nb201-`"),
        (
            "nb201-00000",
            "at character 6, it ends where one of 0, 1, 2, 3, 4",
        ),
        ("nb201-000005", "at character 6, `5` stands"),
        ("nb201-0000000", "where the end is expected"),
        ("nb201-00000é", "`é` stands"),
    ] {
        let error = space.parse_id(id).unwrap_err().to_string();
        assert!(error.contains(expected), "{id}: {error}");
    }
}

#[test]
fn recipes_are_settings_of_the_evaluation() {
    use archai_search::space::{RecipeValue, SearchSpace};
    use archai_spec::rng::Key;
    let head = "space: x\nversion: 1\ninput: {features: 8}\nclasses: 4\nnetwork:\n  - dense: {out: {one_of: [4, 8]}}\n  - linear: {out: $classes}\nrecipe:\n";
    let text = format!(
        "{head}  trainer.epochs: {{int: [10, 30], step: 10}}\n  trainer.grad_clip: {{float: [0.5, 5.0], scale: log}}\n"
    );
    let space = Space::parse("x.yaml", &text).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(
        space.report().members.to_string(),
        (2 * 3 * 1001).to_string()
    );
    for i in 0..20u64 {
        let member = space.sample(Key::new(i)).unwrap();
        assert_eq!(space.parse_id(&space.id(&member)).as_ref(), Ok(&member));
        let recipe = space.recipe(&member).unwrap();
        assert!(matches!(
            recipe["trainer.epochs"],
            RecipeValue::Int(10 | 20 | 30)
        ));
        let RecipeValue::Float(clip) = recipe["trainer.grad_clip"] else {
            panic!("{recipe:?}");
        };
        assert!((0.5..=5.0).contains(&clip));
    }
    let error = Space::parse(
        "x.yaml",
        &format!("{head}  trainer.epoch: {{int: [1, 2]}}\n"),
    );
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("x.yaml:9:3: `trainer.epoch` is no setting of the evaluation"),
        "{error}"
    );
    assert!(error.contains("did you mean"), "{error}");
}

#[test]
fn spaces_that_are_too_large_end_in_time() {
    let many = |n: usize| {
        (1..=n)
            .map(|i| i.to_string())
            .collect::<Vec<String>>()
            .join(", ")
    };
    let nested = "  - repeat: {times: 1000, body: {repeat: {times: 1000, body: {repeat: {times: 1000, body: relu}}}}}";
    for (body, more, expected) in [
        (nested.to_owned(), String::new(), "more than 200000 layers"),
        (
            "  - stage: {id: s, let: {a: &a {one_of: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}, b: *a, c: *a, d: *a, e: *a, f: *a, g: *a}, \
             times: 1, body: {conv_bn: {out: \"= $a + $b + $c + $d + $e + $f + $g\"}}}"
                .replace("$b + $c + $d + $e + $f + $g", "$b"),
            String::new(),
            "more than 1000000 combinations",
        ),
        (
            format!("  - stage: {{id: s, let: {{w: {{one_of: [{}]}}}}, times: 1, body: {{conv_bn: {{out: $w}}}}}}", many(300)),
            "where: [$s.w > 299]".to_owned(),
            "",
        ),
    ] {
        let result = std::panic::catch_unwind(|| space(&body, &more, "[4, 4]"));
        match expected {
            // One member is left: the helper wants an error, and there is none.
            "" => assert!(result.is_err(), "{body}"),
            expected => {
                let error = result.unwrap();
                assert!(error.contains(expected), "{error}");
            }
        }
    }
}
