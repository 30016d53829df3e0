//! Architectures in the notations of other programs.

use archai_spec::desc::nasbench101::Cell101;
use archai_spec::desc::nasbench201::Cell201;
use archai_spec::desc::{
    DescErrorKind, Foreign, Form, Genotype, GenotypeEdge, OpCatalog, Which, from_genotype,
};

use super::{DARTS_V1, DARTS_V2, cifar, network};

fn edge(op: &str, input: usize) -> GenotypeEdge {
    (op.to_string(), input)
}

/// Two nodes, in the original notation.
const FLAT: &str = "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('skip_connect', 0), ('dil_conv_3x3', 2)], \
    normal_concat=range(2, 4), reduce=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('skip_connect', 0), ('dil_conv_3x3', 2)], \
    reduce_concat=range(2, 4))";

#[test]
fn one_genotype_in_many_forms() {
    let expect: Genotype = FLAT.parse().unwrap();
    let with = |cell: &str| {
        format!(
            "Genotype(normal={cell}, normal_concat=range(2, 4), reduce={cell}, reduce_concat=range(2, 4))"
        )
    };
    for text in [
        // pt.darts
        with(
            "[[('sep_conv_3x3', 0), ('sep_conv_3x3', 1)], [('skip_connect', 0), ('dil_conv_3x3', 2)]]",
        ),
        // AutoDL-Projects, with and without the strength of edges
        with(
            "[(('sep_conv_3x3', 0), ('sep_conv_3x3', 1)), (('skip_connect', 0), ('dil_conv_3x3', 2))]",
        ),
        with(
            "[(('sep_conv_3x3', 0, 0.14), ('sep_conv_3x3', 1, 1e-3)), (('skip_connect', 0, 1.0), ('dil_conv_3x3', 2, 0.2))]",
        ),
        // FairDARTS
        with(
            "[('sep_conv_3x3', 2, 0), ('sep_conv_3x3', 2, 1), ('skip_connect', 3, 0), ('dil_conv_3x3', 3, 2)]",
        ),
        FLAT.replace("range(2, 4)", "list(range(2, 4))"),
        FLAT.replace("Genotype(", "gt.Genotype("),
        format!("X = genotypes.{FLAT}"),
        FLAT.replace("Genotype(", "{'")
            .replace("=[", "': [")
            .replace("=range", "': range")
            .replace(", normal_c", ", 'normal_c")
            .replace(", reduce", ", 'reduce")
            .replace("))", ")}"),
        // Python takes the parts by their places too.
        ["normal=", "normal_concat=", "reduce=", "reduce_concat="]
            .iter()
            .rev()
            .fold(FLAT.to_string(), |text, key| text.replace(key, "")),
    ] {
        assert_eq!(text.parse::<Genotype>(), Ok(expect.clone()), "{text}");
        let log = format!("11/29 08:00:01 PM step 3 of 50 (50%) {text} loss 0.3\n");
        assert_eq!(
            Genotype::find(&log, &Which::Only),
            Ok(expect.clone()),
            "{text}"
        );
    }
    assert_eq!(expect.to_string(), FLAT);
}

#[test]
fn nodes_may_have_other_than_two_edges() {
    let text = "Genotype(normal=[('sep_conv_3x3', 2, 0), ('skip_connect', 3, 2), ('max_pool_3x3', 5, 0)], \
                normal_concat=[2, 3, 5], reduce=[('sep_conv_3x3', 3, 1), ('skip_connect', 3, 0), ('skip_connect', 3, 1)], \
                reduce_concat=[3])";
    let genotype: Genotype = text.parse().unwrap();
    assert_eq!(
        genotype.normal,
        [
            vec![edge("sep_conv_3x3", 0)],
            vec![edge("skip_connect", 2)],
            vec![],
            vec![edge("max_pool_3x3", 0)]
        ]
    );
    assert!(genotype.reduce[0].is_empty());
    assert_eq!(genotype.reduce[1].len(), 3);
    // What is written is by node, and comes back: as text, as JSON, and by way of a network.
    let written = genotype.to_string();
    assert!(written.contains(
        "normal=[[('sep_conv_3x3', 0)], [('skip_connect', 2)], [], [('max_pool_3x3', 0)]]"
    ));
    assert_eq!(written.parse::<Genotype>(), Ok(genotype.clone()));
    let json = serde_json::to_string(&genotype).unwrap();
    assert_eq!(serde_json::from_str::<Genotype>(&json).unwrap(), genotype);
    let desc = network(&genotype, &cifar(3, 1, 4, 8));
    assert_eq!(desc.cells[0].out.channels, 3 * 8);
    assert_eq!(desc.cells[0].nodes[1].edges.len(), 1);
    assert_eq!(desc.genotype_by_node(), Ok(genotype.clone()));
    let error = desc.genotype().unwrap_err().to_string();
    assert!(error.contains("two edges per node"), "{error}");
    // A node without edges that the network's own cells repeat cannot be said.
    let mut repeated = desc.clone();
    for cell in [0, 2] {
        repeated.cells[cell].nodes[1].edges.clear();
    }
    let error = repeated.genotype_by_node().unwrap_err().to_string();
    assert!(
        error.contains("normal_concat: names state 3, but node 1 has no edges"),
        "{error}"
    );
}

#[test]
fn nodes_without_edges_have_no_value() {
    let cell = |normal: &str, concat: &str| {
        let text = format!(
            "Genotype(normal={normal}, normal_concat={concat}, reduce=[[('skip_connect', 0)]], reduce_concat=[2])"
        );
        text.parse::<Genotype>().unwrap_err().to_string()
    };
    for (normal, concat, says) in [
        (
            "[('sep_conv_3x3', 2, 0)]",
            "range(2, 4)",
            "normal_concat: names state 3, but node 1 has no edges and so no value; leave the state out of `normal_concat`",
        ),
        (
            "[[], [('sep_conv_3x3', 2)]]",
            "[3]",
            "normal: pair 0 ('sep_conv_3x3', 2) reads node 0, which has no edges and so no value",
        ),
        ("[]", "[2]", "normal: has 0 pairs"),
        (
            "[('sep_conv_3x3', 1, 0)]",
            "[2]",
            "line 1, column 35: expected the state of a node, which is 2 or more, found `1, 0)]",
        ),
        (
            "[('sep_conv_3x3', 2, 0), ('skip_connect', 0)]",
            "[2]",
            "expected (op, node, input), as the entries before it",
        ),
        (
            "[('skip_connect', 0), ('sep_conv_3x3', 2, 0)]",
            "[2]",
            "expected (op, input), as the entries before it",
        ),
        (
            "[[('skip_connect', 2, 0)]]",
            "[2]",
            "expected (op, input) within the list of a node",
        ),
        ("[['skip_connect']]", "[2]", "an edge ('op', input)"),
        (
            "[('skip_connect', 0, 1, 2)]",
            "[2]",
            "an edge ('op', input)",
        ),
        ("'skip_connect'", "[2]", "expected `[`"),
        ("[('a', 0), ('b', 1)]", "2", "expected `[` or `range(`"),
        (
            "[('a', 0), ('b', 1)]",
            "range(2, 3, 4)",
            "range(FIRST, END)",
        ),
    ] {
        let error = cell(normal, concat);
        assert!(error.contains(says), "`{says}` is missing in: {error}");
    }
}

const MODULE: &str = "from collections import namedtuple

Genotype = namedtuple('Genotype', 'normal normal_concat reduce reduce_concat')

PRIMITIVES = [
    'none',
    'skip_connect',
]
# OLD = Genotype(normal=[], normal_concat=[], reduce=[], reduce_concat=[])

";

#[test]
fn one_of_several_is_chosen() {
    let text =
        format!("{MODULE}DARTS_V1 = {DARTS_V1}\n\nDARTS_V2 = \\\n  {DARTS_V2}\nDARTS = DARTS_V2\n");
    let (v1, v2): (Genotype, Genotype) = (DARTS_V1.parse().unwrap(), DARTS_V2.parse().unwrap());
    let find = |which| Genotype::find(&text, &which);
    assert_eq!(find(Which::Nth(1)), Ok(v1.clone()));
    assert_eq!(find(Which::Nth(2)), Ok(v2.clone()));
    assert_eq!(find(Which::Nth(-1)), Ok(v2.clone()));
    assert_eq!(find(Which::Nth(-2)), Ok(v1));
    assert_eq!(find(Which::Named("DARTS_V2".into())), Ok(v2.clone()));
    let one = format!("{MODULE}DARTS_V2 = {DARTS_V2}\n");
    assert_eq!(Genotype::find(&one, &Which::Only), Ok(v2));
    for (which, says) in [
        (
            Which::Only,
            vec![
                "there are 2 genotypes",
                "1  line 11: DARTS_V1",
                "2  line 14: DARTS_V2",
            ],
        ),
        (Which::Nth(3), vec!["no genotype 3; expected 1 to 2"]),
        (Which::Nth(0), vec!["no genotype 0"]),
        (
            Which::Nth(i64::MIN),
            vec!["no genotype -9223372036854775808"],
        ),
        (
            Which::Named("DARTS_V3".into()),
            vec![
                "no genotype has the name `DARTS_V3`",
                "did you mean `DARTS_V",
                "line 14",
            ],
        ),
    ] {
        let error = find(which).unwrap_err().to_string();
        for says in says {
            assert!(error.contains(says), "`{says}` is missing in: {error}");
        }
    }
    let epochs = format!("e1 genotype = {DARTS_V1}\ne2 genotype = {DARTS_V2}\n").repeat(30);
    let error = Genotype::find(&epochs, &Which::Named("genotype".into())).unwrap_err();
    assert!(
        error.message.contains("several genotypes have the name")
            && error.message.contains("… and 40 more")
    );
    let error = Genotype::find(MODULE, &Which::Only).unwrap_err();
    assert!(error.message.contains("there is no genotype"), "{error}");
    // One that is cut off is shown with its place.
    let cut = format!("epoch 1\ngenotype = {}", &DARTS_V1[..40]);
    let error = Genotype::find(&cut, &Which::Only).unwrap_err();
    assert!(error.to_string().starts_with("line 2, column 5"), "{error}");
}

#[test]
fn noise_of_robustness_studies_is_an_op() {
    let genotype: Genotype = DARTS_V2
        .replacen("skip_connect", "noise", 1)
        .parse()
        .unwrap();
    let desc = from_genotype(&genotype, &cifar(5, 2, 4, 8), true, &OpCatalog::builtin());
    let desc = desc.unwrap().desc;
    assert_eq!(desc.genotype().unwrap(), genotype);
    let op = &desc.cells[0].nodes[2].edges[1].op;
    assert_eq!((op.name.as_str(), op.stride), ("noise", 1));
}

const BEST_201: &str = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|";

#[test]
fn cells_of_nasbench201_among_words() {
    let cell: Cell201 = BEST_201.parse().unwrap();
    for text in [
        format!("{BEST_201}\n"),
        format!("'arch_str': '{BEST_201}',"),
        format!("[2021-03-01] Structure(4 nodes with {BEST_201}) : 94.37"),
        cell.digits(),
        format!("  {}\n", cell.digits()),
        "[2, 2, 0, 2, 2, 2]".into(),
        "(2, 2, 0, 2, 2, 2)".into(),
    ] {
        assert_eq!(
            Foreign::read(&text, &Which::Only),
            Ok(Foreign::Cell201(cell)),
            "{text}"
        );
    }
    let two = format!("{}\n{BEST_201}\n", BEST_201.replace("skip_connect", "none"));
    assert_eq!(Cell201::find(&two, &Which::Nth(2)), Ok(cell));
    let error = Cell201::find(&two, &Which::Only).unwrap_err().to_string();
    assert!(
        error.contains("there are 2 cells") && error.contains("2  line 2, column 1: |nor_conv"),
        "{error}"
    );
    let wrong = format!("best\n at {}", BEST_201.replace("skip_connect", "skip"));
    let error = Cell201::find(&wrong, &Which::Only).unwrap_err().to_string();
    assert!(
        error.starts_with("line 2, column 5: ") && error.contains("`skip` is no op"),
        "{error}"
    );
    let error = Cell201::find("[9, 2, 0, 2, 2, 2]", &Which::Only).unwrap_err();
    assert!(
        error.message.contains("`920222` is no NAS-Bench-201 cell"),
        "{error}"
    );
}

#[test]
fn cells_of_nasbench101_in_many_forms() {
    let matrix = "[[0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]]";
    let ops = "['input', 'conv3x3-bn-relu', 'maxpool3x3', 'output']";
    let expect = Cell101::new(
        &[[0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]].map(Vec::from),
        &["input", "conv3x3-bn-relu", "maxpool3x3", "output"],
    )
    .unwrap();
    let json = format!(
        "{{\"matrix\": {matrix}, \"ops\": {}}}",
        ops.replace('\'', "\"")
    );
    for text in [
        json.clone(),
        json.replace("matrix", "module_adjacency")
            .replace("ops", "module_operations")
            .replace(
                '}',
                ", \"trainable_parameters\": 123, \"test_accuracy\": 0.94}",
            ),
        format!("{{'matrix': array({matrix}, dtype=int8), 'ops': {ops}}}"),
        format!("({matrix}, {ops})"),
        format!("matrix = {matrix}\nops = {ops}\n"),
        format!("matrix: {matrix}\nops: [input, conv3x3-bn-relu, maxpool3x3, output]\n"),
        format!(
            "INPUT = 'input'\ncell = api.ModelSpec(\n  matrix={}, # output layer\n  # Operations\n  ops=[INPUT, CONV3X3, MAXPOOL3X3, OUTPUT])",
            matrix.replace("], ", "], # a row\n ")
        ),
    ] {
        assert_eq!(
            Foreign::read(&text, &Which::Only),
            Ok(Foreign::Cell101(expect.clone())),
            "{text}"
        );
    }
    for (text, says) in [
        (
            json.replace("[0, 1, 1, 0]", "[0, 1, 2, 0]"),
            "line 1, column 20: expected 0 or 1, found `2, 0]",
        ),
        (
            json.replace("[0, 1, 1, 0]", "[0, 1, 1]"),
            "row 0 of the matrix has 3 entries",
        ),
        (
            json.replace("maxpool3x3", "maxpool5x5"),
            "op 2 is `maxpool5x5`",
        ),
        (
            json.replace("\"ops\"", "\"op\""),
            "unknown key `op`; expected `matrix` and `ops`",
        ),
        (format!("matrix = {matrix}"), "there is no `ops`"),
        (
            format!("matrix = {matrix}\nmatrix = {matrix}"),
            "line 2, column 1: `matrix` comes a second time",
        ),
        (
            format!("matrix = 3\nops = {ops}"),
            "expected a list of rows, found `3",
        ),
        (json.replace(']', ""), "expected `,` or `]`"),
    ] {
        let error = text.parse::<Cell101>().unwrap_err();
        assert_eq!(error.kind, DescErrorKind::Cell);
        assert!(
            error.to_string().contains(says),
            "`{says}` is missing in: {error}"
        );
    }
}

#[test]
fn forms_are_told_apart() {
    for (text, form) in [
        (FLAT, Form::Genotype),
        (BEST_201, Form::NasBench201),
        (
            "_cell_descs:\n- cell_type: regular\n  _nodes: []\n",
            Form::Archai,
        ),
        (
            "{'matrix': [[0, 1], [0, 0]], 'ops': ['input', 'output']}",
            Form::NasBench101,
        ),
    ] {
        assert_eq!(Foreign::read(text, &Which::Only).unwrap().form(), form);
    }
    let desc = network(&FLAT.parse().unwrap(), &cifar(3, 1, 2, 8));
    for (text, which, says) in [
        (
            desc.to_yaml().unwrap(),
            Which::Only,
            "a description of this program already",
        ),
        (
            "to be or not".into(),
            Which::Only,
            "in no notation that is known",
        ),
        (String::new(), Which::Only, "in no notation that is known"),
        (
            "{'matrix': []}".into(),
            Which::Nth(1),
            "of which a text holds one",
        ),
    ] {
        let error = Foreign::read(&text, &which).unwrap_err().to_string();
        assert!(error.contains(says), "`{says}` is missing in: {error}");
    }
}

/// Texts that would take long, or deep stacks, if each were read to its end anew.
#[test]
fn texts_are_read_in_one_pass() {
    for text in [
        "Genotype(normal=[(".repeat(60_000),
        "Genotype(normal=[ # ".repeat(60_000),
        "{'normal': ".repeat(60_000),
        "Genotype(".repeat(100_000),
        " ".repeat(200_000) + &"Genotype(x, ".repeat(20_000),
        "|none~0|+|".repeat(100_000),
        "matrix = ".to_string() + &"[".repeat(500_000),
        "matrix: a ".repeat(50_000),
    ] {
        let start = std::time::Instant::now();
        let error = Foreign::read(&text, &Which::Only).unwrap_err().to_string();
        assert!(error.len() < 5_000, "{}", error.len());
        assert!(start.elapsed().as_secs() < 10, "{}", &text[..20]);
    }
}
