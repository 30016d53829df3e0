//! Archai's tagged files.

use archai_spec::desc::{CellType, DescErrorKind, OpCatalog, import_archai};

use super::{cifar, imagenet};

/// A file of version 0.4's shape (short field names, tagged enumerations with anchors) with the given kinds of cells.
fn old(kinds: &[&str]) -> String {
    let cells = [
        (
            "regular",
            [
                [("sep_conv_5x5", 0, 1), ("sep_conv_3x3", 1, 1)],
                [("dil_conv_5x5", 2, 1), ("max_pool_3x3", 0, 1)],
            ],
        ),
        (
            "reduction",
            [
                [("max_pool_3x3", 0, 2), ("skip_connect", 1, 2)],
                [("skip_connect", 2, 1), ("sep_conv_3x3", 1, 2)],
            ],
        ),
    ];
    let mut text = String::from("!!python/object:archai.nas.model_desc.ModelDesc\n_cell_descs:\n");
    let mut anchored = Vec::new();
    for (i, kind) in kinds.iter().enumerate() {
        text += "- !!python/object:archai.nas.model_desc.CellDesc\n  _nodes:\n";
        let nodes = &cells
            .iter()
            .find(|c| c.0 == *kind)
            .map_or(&cells[0], |c| c)
            .1;
        for node in nodes {
            text += "  - !!python/object:archai.nas.model_desc.NodeDesc\n    edges:\n";
            for (op, input, stride) in node {
                text += &format!(
                    "    - !!python/object:archai.nas.model_desc.EdgeDesc\n      input_ids:\n      - {input}\n      op_desc: \
                     !!python/object:archai.nas.model_desc.OpDesc\n        children: null\n        children_ins: null\n        \
                     in_len: 1\n        name: {op}\n        params:\n          conv: \
                     !!python/object:archai.nas.model_desc.ConvMacroParams\n            ch_in: 16\n            ch_out: 16\n          \
                     stride: {stride}\n        trainables: null\n"
                );
            }
        }
        text += &format!("  alphas_from: {i}\n  cell_ch_out: 64\n");
        if anchored.contains(kind) {
            text += &format!("  cell_type: *kind_{kind}\n");
        } else {
            text += &format!(
                "  cell_type: &kind_{kind} !!python/object/apply:archai.nas.model_desc.CellType\n  - {kind}\n"
            );
            anchored.push(kind);
        }
        text += "  s0_op: !!python/object:archai.nas.model_desc.OpDesc\n    name: prepr_normal\n    trainables:\n      \
                 name: prepr_normal\n      sd: !!python/object/apply:collections.OrderedDict\n      - - - op.1.weight\n          \
                 - !!python/object/apply:torch._utils._rebuild_tensor_v2\n            - \
                 !!python/object/apply:torch.storage._load_from_bytes\n              - !!binary |\n                \
                 gAKKCmz8nEb5IGqoUBkugAJN6QMu\n            - !!python/tuple\n              - 16\n              - 48\n";
    }
    text + "aux_tower_descs:\n- null\nds_ch: 3\nn_classes: 10\n"
}

/// A file of the current shape with a multi-op edge, and channels shared by anchors.
const NEW: &str = "\
!!python/object:archai.supergraph.nas.model_desc.ModelDesc
_cell_descs:
- !!python/object:archai.supergraph.nas.model_desc.CellDesc
  id: 0
  cell_type: !!python/object/apply:archai.supergraph.nas.model_desc.CellType [regular]
  conf_cell: {n_nodes: 1}
  stem_shapes: !!python/tuple
  - [16, -1, 32, 32]
  _nodes:
  - !!python/object:archai.supergraph.nas.model_desc.NodeDesc
    conv_params: &conv !!python/object:archai.supergraph.nas.model_desc.ConvMacroParams {ch_in: 16, ch_out: 16}
    edges:
    - !!python/object:archai.supergraph.nas.model_desc.EdgeDesc
      input_ids: [0, 1]
      op_desc: !!python/object:archai.supergraph.nas.model_desc.OpDesc
        name: multi_op
        in_len: 2
        params: {conv: *conv, out_states: 2}
        children:
        - !!python/object:archai.supergraph.nas.model_desc.OpDesc
          {name: sep_conv_3x3, in_len: 1, params: {conv: *conv, stride: 1}, children: null, children_ins: null}
        - !!python/object:archai.supergraph.nas.model_desc.OpDesc
          {name: skip_connect, in_len: 1, params: {conv: *conv, stride: 1}, children: null, children_ins: null}
        children_ins: [1, 0]
  trainables_from: 0
";

#[test]
fn old_files_with_tags_anchors_and_weights() {
    let catalog = OpCatalog::builtin();
    let text = old(&[
        "regular",
        "regular",
        "reduction",
        "regular",
        "regular",
        "reduction",
        "regular",
        "regular",
    ]);
    let built = import_archai(&text, "found.yaml", None, false, &catalog).unwrap();
    let desc = &built.desc;
    let kinds: Vec<usize> = (0..8)
        .filter(|&i| desc.cells[i].cell_type == CellType::Reduction)
        .collect();
    assert_eq!(kinds, [2, 5]);
    let genotype = desc.genotype().unwrap();
    assert_eq!(
        genotype.to_string(),
        "Genotype(normal=[('sep_conv_5x5', 0), ('sep_conv_3x3', 1), ('dil_conv_5x5', 2), ('max_pool_3x3', 0)], \
         normal_concat=range(2, 4), reduce=[('max_pool_3x3', 0), ('skip_connect', 1), ('skip_connect', 2), \
         ('sep_conv_3x3', 1)], reduce_concat=range(2, 4))"
    );
    // With settings the macro structure is theirs.
    for settings in [cifar(20, 2, 4, 36), imagenet(14, 48)] {
        let built = import_archai(&text, "found.yaml", Some(&settings), true, &catalog).unwrap();
        assert_eq!(built.desc.cells.len(), settings.n_cells);
        assert_eq!(built.desc.genotype().unwrap(), genotype);
        assert_eq!(
            built.notes.len(),
            1,
            "the file has 2 nodes, the settings 4: {:?}",
            built.notes
        );
    }
}

#[test]
fn new_files_with_children() {
    let catalog = OpCatalog::builtin();
    let desc = import_archai(NEW, "found.yaml", None, true, &catalog)
        .unwrap()
        .desc;
    let edge = &desc.cells[0].nodes[0].edges[0];
    assert_eq!(edge.inputs, [0, 1]);
    let children: Vec<(usize, &str)> = edge
        .op
        .children
        .iter()
        .map(|c| (c.input, c.op.name.as_str()))
        .collect();
    assert_eq!(children, [(1, "sep_conv_3x3"), (0, "skip_connect")]);
    assert!(!desc.has_alphas());
    desc.cost(&catalog).unwrap();
}

#[test]
fn bad_files() {
    let regular = old(&["regular", "regular", "regular"]);
    // Ten levels of ten aliases each: 10^10 nodes if nothing stopped it.
    let mut bomb = String::from("_cell_descs: []\na0: &a0 [x, x]\n");
    for i in 1..11 {
        let alias = format!("*a{}", i - 1);
        bomb += &format!("a{i}: &a{i} [{}]\n", [alias.as_str(); 10].join(", "));
    }
    use DescErrorKind::{Structure, Syntax, Template, UnknownOp};
    for (text, kind, says) in [
        ("version: 1\n".to_string(), Syntax, "_cell_descs"),
        ("_cell_descs: [\n".to_string(), Syntax, "found.yaml:"),
        (
            "_cell_descs: []\n".to_string(),
            Structure,
            "nothing to import",
        ),
        (
            regular.replace("sep_conv_5x5", "petridish_normal_op"),
            UnknownOp,
            "petridish_normal_op",
        ),
        (
            regular.replace("- regular", "- normal"),
            Structure,
            "expected `regular` or `reduction`",
        ),
        (
            NEW.replace("children_ins: [1, 0]", "children_ins: [1]"),
            Structure,
            "children_ins",
        ),
        (bomb, Syntax, "aliases"),
    ] {
        let errors =
            import_archai(&text, "found.yaml", None, true, &OpCatalog::builtin()).unwrap_err();
        assert_eq!(errors.0[0].kind, kind, "{errors}");
        assert!(
            errors.to_string().contains(says),
            "`{says}` is missing in: {errors}"
        );
    }
    let settings = cifar(5, 1, 2, 16);
    let errors = import_archai(
        &regular,
        "found.yaml",
        Some(&settings),
        true,
        &OpCatalog::builtin(),
    )
    .unwrap_err();
    assert_eq!(errors.0[0].kind, Template, "{errors}");
    assert!(errors.to_string().contains("no reduction cell"), "{errors}");
}
