//! Genotype text of the original DARTS code.

use archai_spec::desc::{
    DescErrorKind, Genotype, ModelDesc, OpCatalog, OpDesc, ParamValue, from_genotype,
};

use super::{cifar, network, supernet};

#[test]
fn reads_what_python_allows() {
    let expect: Genotype = super::DARTS_V2.parse().unwrap();
    for text in [
        format!("DARTS_V2 = {}\n", super::DARTS_V2),
        super::DARTS_V2.replace('\'', "\"").replace(", ", " ,\n  "),
        super::DARTS_V2.replace("range(2, 6)", "[2, 3, 4, 5,]"),
        super::DARTS_V2.replace("range(2, 6)", "(2, 3, 4, 5)"),
        super::DARTS_V2.replace("reduce=", "# the other cell\nreduce="),
        super::DARTS_V2.replacen("2)], ", "2),],", 1),
    ] {
        assert_eq!(text.parse::<Genotype>().unwrap(), expect, "{text}");
    }
    assert_eq!(expect.to_string(), super::DARTS_V2);
    let amoeba: Genotype = super::AMOEBANET.parse().unwrap();
    assert_eq!(amoeba.reduce_concat, [3, 4, 6]);
    assert!(amoeba.to_string().contains("reduce_concat=[3, 4, 6]"));
    assert_eq!(amoeba.to_string().parse::<Genotype>().unwrap(), amoeba);
}

#[test]
fn bad_texts() {
    let cell = "[('sep_conv_3x3', 0), ('skip_connect', 1)]";
    let whole = format!(
        "Genotype(normal={cell}, normal_concat=range(2, 3), reduce={cell}, reduce_concat=range(2, 3))"
    );
    whole.parse::<Genotype>().unwrap();
    for (text, says) in [
        (
            String::new(),
            "line 1, column 1: expected `Genotype(`, found the end",
        ),
        (
            "__import__('os').system('x')".into(),
            "expected `Genotype(`",
        ),
        (
            whole.replacen("('sep_conv_3x3', 0)", "('sep_conv_3x3' 0)", 1),
            "line 1, column 34: expected `,`",
        ),
        (
            whole.replacen("'sep_conv_3x3'", "sep_conv_3x3", 1),
            "column 19: expected the name of an op in quotes",
        ),
        (
            whole.replacen("'sep_conv_3x3'", "'sep_conv_3x3", 1),
            "expected `,` or `)`, found `skip_connect`",
        ),
        (
            whole.replacen(", 0)", ", zero)", 1),
            "the number of a state",
        ),
        (
            whole.replacen(", 0)", ", 99999999999999999999)", 1),
            "the number of a state",
        ),
        (
            whole.replacen(", 0)", ", 2)", 1),
            "normal: pair 0 ('sep_conv_3x3', 2) belongs to node 0, which can read states 0 to 1",
        ),
        (
            whole.replacen("('sep_conv_3x3', 0), ", "", 1),
            "normal: has 1 pairs; expected two per node",
        ),
        (
            whole.replacen("range(2, 3)", "range(2, 4)", 1),
            "normal_concat: names state 3, but the last one is 2",
        ),
        (
            whole.replacen("range(2, 3)", "range(3, 2)", 1),
            "normal_concat: is empty",
        ),
        (
            whole.replacen("range(2, 3)", "range(0, 4000000000)", 1),
            "the number of a state",
        ),
        (
            whole.replacen("reduce=", "normal=", 1),
            "each part once, but `normal` came before",
        ),
        (
            whole.replacen("reduce=", "reduction=", 1),
            "`normal`, `normal_concat`, `reduce` or `reduce_concat`",
        ),
        (
            whole.replacen(", reduce_concat=range(2, 3)", "", 1),
            "`reduce_concat=` is missing",
        ),
        (format!("{whole} + 1"), "nothing after the genotype"),
        (whole.trim_end_matches(')').to_string(), "found the end"),
    ] {
        let error = text.parse::<Genotype>().unwrap_err();
        assert_eq!(error.kind, DescErrorKind::Genotype);
        assert!(
            error.to_string().contains(says),
            "`{says}` is missing in: {error}\n{text}"
        );
    }
}

/// Such a network would have hundreds of thousands of ops.
#[test]
fn more_nodes_than_have_numbers_are_refused_before_a_network_is_built() {
    let text = |nodes: usize| {
        let pairs = vec!["('skip_connect', 0)"; 2 * nodes].join(", ");
        format!(
            "Genotype(normal=[{pairs}], normal_concat=[2], reduce=[{pairs}], reduce_concat=[2])"
        )
    };
    let most: Genotype = text(999).parse().unwrap();
    assert_eq!(most.normal.len(), 999);
    let error = text(1000).parse::<Genotype>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "normal: has 1000 nodes; a cell may have 999, because states are numbered up to 1000"
    );
}

#[test]
fn unknown_ops_are_named() {
    let genotype: Genotype = super::DARTS_V2
        .replacen("sep_conv_3x3", "sepconv_3x3", 1)
        .parse()
        .unwrap();
    let errors =
        from_genotype(&genotype, &cifar(5, 2, 4, 8), true, &OpCatalog::builtin()).unwrap_err();
    assert!(
        errors.to_string().contains(
            "cell 0, node 0, edge 0: unknown op `sepconv_3x3`; did you mean `sep_conv_3x3`"
        ),
        "{errors}"
    );
}

#[test]
fn inexpressible_descriptions() {
    let check = |desc: &ModelDesc, says: &str| {
        let error = desc.genotype().unwrap_err();
        assert!(
            error.kind == DescErrorKind::Genotype && error.to_string().contains(says),
            "`{says}` is missing in: {error}"
        );
    };
    let sound = network(&super::DARTS_V2.parse().unwrap(), &cifar(5, 2, 4, 8));
    let changed = |change: &dyn Fn(&mut ModelDesc)| {
        let mut desc = sound.clone();
        change(&mut desc);
        desc
    };
    check(
        &network(&super::DARTS_V2.parse().unwrap(), &cifar(3, 0, 4, 8)),
        "no reduction cell",
    );
    let pair = supernet(&cifar(3, 1, 1, 4));
    check(&pair, "cell 0, node 0, edge 0: `mixed_op` is not finalised");
    check(&supernet(&cifar(3, 1, 2, 4)), "not finalised");
    check(
        &changed(&|d| _ = d.cells[0].nodes[1].edges.pop()),
        "cell 0, node 1: a genotype has two edges per node, but this one has 1",
    );
    check(
        &changed(&|d| d.cells[2].nodes[1].edges[0].op.name = "none".into()),
        "cell 2: a genotype has one regular cell for all",
    );
    check(
        &changed(&|d| d.cells[1].nodes[0].edges[0].op.stride = 1),
        "stride 1, but a genotype means 2",
    );
    check(
        &changed(&|d| {
            let op: &mut OpDesc = &mut d.cells[1].nodes[0].edges[0].op;
            op.params.insert("norm".into(), ParamValue::Bool(true));
        }),
        "parameters",
    );
}
