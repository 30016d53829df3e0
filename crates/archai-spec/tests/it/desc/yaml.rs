//! Description files.

use archai_spec::desc::{ChildDesc, DescErrorKind, ModelDesc, OpCatalog, ParamValue, Shape};

use super::{cifar, imagenet, network, supernet};

fn small() -> ModelDesc {
    network(&super::DARTS_V2.parse().unwrap(), &cifar(5, 2, 4, 8))
}

#[test]
fn round_trips() {
    let mut aux = cifar(20, 2, 4, 36);
    aux.aux_weight = 0.4;
    aux.model_stems.affine = Some(false);
    let mut head = imagenet(14, 48);
    head.aux_weight = 0.4;
    let v2 = super::DARTS_V2.parse().unwrap();
    for desc in [
        supernet(&cifar(8, 2, 4, 16)),
        supernet(&cifar(20, 2, 4, 36)),
        network(&v2, &aux),
        network(&v2, &head),
        network(&super::AMOEBANET.parse().unwrap(), &cifar(5, 2, 5, 4)),
    ] {
        let yaml = desc.to_yaml().unwrap();
        assert!(yaml.starts_with("# archai model description") && yaml.contains("\nversion: 1\n"));
        let back = ModelDesc::from_yaml(&yaml, "net.yaml", &OpCatalog::builtin()).unwrap();
        assert_eq!(back, desc);
        assert_eq!(back.to_yaml().unwrap(), yaml);
        assert!(yaml.lines().all(|line| line.chars().count() <= 120));
    }
}

/// What needs quotes or keeps its type.
#[test]
fn odd_values_round_trip() {
    struct Anything;
    impl archai_spec::desc::OpInfo for Anything {
        fn name(&self) -> &str {
            "no"
        }
        fn summary(&self) -> &str {
            "named like a truth value of old YAML"
        }
        fn has_children(&self) -> bool {
            true
        }
        fn params(&self) -> &[archai_spec::desc::ParamInfo] {
            use archai_spec::desc::{ParamInfo, ParamType};
            const fn param(name: &'static str, ty: ParamType) -> ParamInfo {
                ParamInfo {
                    name,
                    ty,
                    summary: "",
                }
            }
            const PARAMS: &[ParamInfo] = &[
                param("whole", ParamType::Float),
                param("small", ParamType::Float),
                param("text", ParamType::Text),
                param("ints", ParamType::Ints),
                param("int", ParamType::Int),
            ];
            PARAMS
        }
        fn measure(
            &self,
            _: &archai_spec::desc::OpDesc,
            i: &[Shape],
            _: bool,
            _: &OpCatalog,
        ) -> Result<(Shape, archai_spec::desc::Cost), archai_spec::desc::DescError> {
            Ok((i[0], Default::default()))
        }
    }
    let mut catalog = OpCatalog::builtin();
    catalog.register(Anything).unwrap();
    let mut desc = small();
    (0..5).for_each(|i| desc.cells[i].alphas_from = i);
    let op = &mut desc.cells[0].nodes[0].edges[0].op;
    op.name = "no".into();
    let skip = archai_spec::desc::OpDesc::new("skip_connect", 8, 8);
    op.children = vec![ChildDesc { input: 0, op: skip }];
    for text in [
        "true",
        "1.5",
        "a: b",
        "- x",
        "",
        "\"quoted\" \\ 'both'",
        "# no comment",
        "zeile\nzwei",
        "~",
        "ü",
    ] {
        let op = &mut desc.cells[0].nodes[0].edges[0].op;
        op.params.insert("whole".into(), ParamValue::Float(2.0));
        op.params.insert("small".into(), ParamValue::Float(1e-7));
        op.params.insert("int".into(), ParamValue::Int(-3));
        op.params
            .insert("ints".into(), ParamValue::Ints(vec![1, -2, 3]));
        op.params
            .insert("text".into(), ParamValue::Text(text.into()));
        let yaml = desc.to_yaml().unwrap();
        assert_eq!(
            ModelDesc::from_yaml(&yaml, "x", &catalog).unwrap(),
            desc,
            "{text:?}"
        );
    }
    desc.cells[0].nodes[0].edges[0]
        .op
        .params
        .insert("small".into(), ParamValue::Float(f64::NAN));
    assert!(desc.to_yaml().unwrap_err().to_string().contains("NaN"));
}

/// Replaces the first `from` in a sound file and expects these words.
fn check(from: &str, to: &str, kind: DescErrorKind, says: &[&str]) {
    let sound = small().to_yaml().unwrap();
    let text = sound.replacen(from, to, 1);
    assert_ne!(text, sound, "`{from}` is not in the file");
    let errors = ModelDesc::from_yaml(&text, "net.yaml", &OpCatalog::builtin()).unwrap_err();
    assert_eq!(errors.0[0].kind, kind, "{errors}");
    for word in ["net.yaml"].iter().chain(says) {
        assert!(
            errors.to_string().contains(word),
            "`{word}` is missing in: {errors}"
        );
    }
}

#[test]
fn broken_files() {
    use DescErrorKind::{Reference, Shape, Syntax, UnknownOp, Version};
    for (text, section, place) in [
        ("dataset: {name: pets}\n", "dataset", "--datasets"),
        ("nas: {eval: {trainer: {epochs: 2}}}\n", "nas", "--config"),
        ("common: {seed: 2}\n", "common", "--config"),
    ] {
        let error = ModelDesc::from_yaml(text, "net.yaml", &OpCatalog::builtin()).unwrap_err();
        let expect = format!(
            "net.yaml: this is a configuration, for it has a section `{section}`, and no model description; it goes behind \
             `archai run {place}`"
        );
        assert_eq!(error.to_string(), expect);
    }
    check(
        "n_classes: 10",
        "n_clases: 10",
        Syntax,
        &[
            "net.yaml:5:1:",
            "unknown field `n_clases`",
            "did you mean `n_classes`?",
        ],
    );
    check(
        "n_classes: 10",
        "n_classes: ten",
        Syntax,
        &["net.yaml:5:12:", "whole number"],
    );
    check(
        "n_classes: 10",
        "n_classes: -1",
        Syntax,
        &["net.yaml:5:12:", "whole number"],
    );
    check(
        "n_classes: 10",
        "n_classes: 10\nn_classes: 10",
        Syntax,
        &["net.yaml:6:1:", "duplicate"],
    );
    check("affine: true\n", "", Syntax, &["missing field `affine`"]);
    check(
        "cell_type: regular",
        "cell_type: normal",
        Syntax,
        &["net.yaml:13:14:", "regular, reduction"],
    );
    check(
        "stride: 2",
        "strid: 2",
        Syntax,
        &["net.yaml:37:", "did you mean `stride`?"],
    );
    check(
        "stride: 2",
        "stride: 2, params: {norm: {a: 1}}",
        Syntax,
        &["net.yaml:37:", "true or false, a number"],
    );
    check("stride: 2", "stride: [2", Syntax, &["net.yaml:37:"]);
    check(
        "version: 1",
        "version: 2\nmanners: new",
        Version,
        &["newer program", "up to 1"],
    );
    check(
        "version: 1",
        "version: 0",
        Version,
        &["no layout version 0"],
    );
    check(
        "version: 1\n",
        "",
        Version,
        &["`version` is missing", "desc import"],
    );
    check(
        "name: sep_conv_3x3",
        "name: sep_conv3x3",
        UnknownOp,
        &["cell 0, node 0, edge 0", "did you mean `sep_conv_3x3`"],
    );
    check(
        "{inputs: [0]",
        "{inputs: [7]",
        Reference,
        &["cell 0, node 0, edge 0", "state 7", "0 to 1"],
    );
    check(
        "ch_in: 8, ch_out: 8",
        "ch_in: 9, ch_out: 8",
        Shape,
        &["cell 0, node 0, edge 0", "9 channels", "8×32×32"],
    );
    for text in ["", "[]", "42", "version: [1]", "\t"] {
        ModelDesc::from_yaml(text, "net.yaml", &OpCatalog::builtin()).unwrap_err();
    }
}

#[test]
fn deep_nesting_is_an_error() {
    let deep = format!(
        "version: 1\npool: {}x{}\n",
        "[".repeat(5000),
        "]".repeat(5000)
    );
    ModelDesc::from_yaml(&deep, "net.yaml", &OpCatalog::builtin()).unwrap_err();
    let op = "{name: multi_op, ch_in: 8, ch_out: 8, children: [{op: ";
    let deep = format!(
        "version: 1\npool: {}{{name: none, ch_in: 8, ch_out: 8}}{}\n",
        op.repeat(2000),
        "}]}".repeat(2000)
    );
    ModelDesc::from_yaml(&deep, "net.yaml", &OpCatalog::builtin()).unwrap_err();
}

/// The descriptions that are shipped, as small as a search writes them: templates for an evaluation without a search.
/// `ARCHAI_BLESS=1` writes them anew.
#[test]
fn shipped_descriptions() {
    let catalog = OpCatalog::builtin();
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../confs/models");
    for (file, text) in [
        ("darts_v1.yaml", super::DARTS_V1),
        ("darts_v2.yaml", super::DARTS_V2),
    ] {
        let desc = network(&text.parse().unwrap(), &cifar(8, 2, 4, 16));
        let path = dir.join(file);
        if std::env::var_os("ARCHAI_BLESS").is_some() {
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(&path, desc.to_yaml().unwrap()).unwrap();
        }
        let shipped = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            ModelDesc::from_yaml(&shipped, file, &catalog).unwrap(),
            desc,
            "{file}"
        );
        assert_eq!(desc.genotype().unwrap().to_string(), text);
    }
}
