//! Reference numbers: parameters, multiply-adds, macro structures and genotypes of the original DARTS code and of Archai.
//! `ARCHAI_GOLDEN` names another directory of the same structure.

use std::collections::BTreeMap;
use std::path::PathBuf;

use archai_spec::desc::{
    AuxTowerDesc, CellType, ChildDesc, Genotype, ModelDesc, OpCatalog, OpDesc, ParamValue, Shape,
};
use archai_spec::settings::{ModelDescSettings, StemWiring};
use serde_json::Value;

use super::{cifar, imagenet, network, supernet};

pub(super) fn read(file: &str) -> Value {
    let dir = std::env::var_os("ARCHAI_GOLDEN").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden"),
        PathBuf::from,
    );
    let path = dir.join(file);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
    // The full files may hold Python's NaN among error figures, which JSON does not have and which are not read here.
    serde_json::from_str(&text.replace("NaN", "null"))
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn int(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("not a whole number: {value}"))
}
fn size(value: &Value) -> usize {
    int(value) as usize
}
fn sizes(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(size).collect()
}
fn genotype(value: &Value) -> Genotype {
    serde_json::from_value(value.clone()).unwrap()
}
fn reductions(desc: &ModelDesc) -> Vec<usize> {
    (0..desc.cells.len())
        .filter(|&i| desc.cells[i].cell_type == CellType::Reduction)
        .collect()
}

/// Shape without the batch dimension; a vector is a 1×1 map.
fn shape(value: &Value) -> Shape {
    let dims = sizes(value);
    Shape::new(
        dims[1],
        dims.get(2).copied().unwrap_or(1),
        dims.get(3).copied().unwrap_or(1),
    )
}

/// The number that stands between two pieces of text.
fn number_between(text: &str, before: &str, after: &str) -> usize {
    text.split(before)
        .nth(1)
        .unwrap()
        .split(after)
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn golden_ops_shapes_and_weights() {
    let catalog = OpCatalog::builtin();
    let file = read("ops.json");
    // Whether norms are affine is a property of a group of cases with one size; every group must fit one choice.
    let mut groups: BTreeMap<String, Vec<(String, u64, [u64; 2])>> = BTreeMap::new();
    for case in file["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let structure = case["structure"].as_str().unwrap();
        let mut parts = name.split('.');
        let op_name = parts.next().unwrap();
        let group = name.rsplit('.').next().unwrap().to_string();
        let stride = parts
            .next()
            .and_then(|p| p.strip_prefix('s'))
            .and_then(|p| p.parse().ok());
        let mut inputs: Vec<Shape> = case["in_shapes"]
            .as_array()
            .unwrap()
            .iter()
            .map(shape)
            .collect();
        let out = shape(&case["out_shape"]);
        let weights = int(&case["n_weights"]);
        if op_name.starts_with("aux_") {
            let tower = AuxTowerDesc {
                ch_in: inputs[0].channels,
                n_classes: out.channels,
                stride: stride.unwrap_or(2),
                window: 5,
                second_norm: op_name == "aux_tower",
            };
            assert_eq!(tower.cost(inputs[0]).unwrap().params, weights, "{name}");
            continue;
        }
        if structure.contains("last ") {
            let n = number_between(structure, "last ", " of");
            inputs = inputs.split_off(inputs.len() - n);
        }
        let features = if op_name == "linear" {
            inputs[0].channels * inputs[0].height * inputs[0].width
        } else {
            inputs[0].channels
        };
        let mut op = OpDesc::new(op_name.trim_end_matches("+bn"), features, out.channels)
            .with_stride(if op_name.starts_with("stem") {
                1
            } else {
                stride.unwrap_or(1)
            });
        if op_name.ends_with("+bn") {
            op = op.with_param("norm", ParamValue::Bool(true));
        }
        if op_name == "multi_op" {
            let list = structure.split([':', ';']).nth(1).unwrap();
            for child in list.split(',') {
                let (child, input) = child.trim().split_once(" on x").unwrap();
                let op_desc = OpDesc::new(child, features, features);
                op.children.push(ChildDesc {
                    input: input.parse().unwrap(),
                    op: op_desc,
                });
            }
        }
        catalog.check(&op).unwrap();
        let got = catalog.out_shape(&op, &inputs).unwrap();
        assert_eq!(
            (got.channels, got.height, got.width),
            (out.channels, out.height, out.width),
            "{name}"
        );
        let params = [false, true].map(|affine| catalog.cost(&op, &inputs, affine).unwrap().params);
        groups
            .entry(group)
            .or_default()
            .push((name.to_string(), weights, params));
    }
    assert!(!groups.is_empty());
    for (group, cases) in groups {
        let wrong = [0, 1]
            .map(|affine| -> Vec<_> { cases.iter().filter(|c| c.2[affine] != c.1).collect() });
        assert!(
            wrong.iter().any(Vec::is_empty),
            "{group}: neither choice of affine fits: {wrong:?}"
        );
    }
}

/// Settings of one entry of `macro_tables.json`; keys that are absent there have the values of the CIFAR search.
fn macro_settings(config: &Value) -> ModelDescSettings {
    let [cells, reds, nodes, channels] =
        ["n_cells", "n_red", "n_nodes", "ch"].map(|key| size(&config[key]));
    let mut s = cifar(cells, reds, nodes, channels);
    for (key, value) in config.as_object().unwrap() {
        match key.as_str() {
            "n_cells" | "n_red" | "n_nodes" | "ch" => {}
            "mult" => s.model_stems.stem_multiplier = size(value),
            "aux" => s.aux_weight = value.as_f64().unwrap(),
            "auxs" => s.aux_tower_stride = size(value),
            "ncls" => s.dataset.n_classes = size(value),
            "pool" => s.model_post_op = value.as_str().unwrap().into(),
            "post" => s.cell.cell_post_op = value.as_str().unwrap().into(),
            "stems" => s.model_stems.ops = [0, 1].map(|i| value[i].as_str().unwrap().to_string()),
            other => panic!("unknown key {other}: {value}"),
        }
    }
    if s.model_post_op == "pool_avg2d7x7" {
        s.dataset.size = [224, 224];
    }
    s
}

#[test]
fn golden_macro_tables() {
    let catalog = OpCatalog::builtin();
    let tables = read("macro_tables.json");
    assert!(!tables.as_object().unwrap().is_empty());
    for (name, table) in tables.as_object().unwrap() {
        let desc = supernet(&macro_settings(&table["config"]));
        let cells = table["cells"].as_array().unwrap();
        // The reference guesses a reduction from doubled channels. Where that misfires, its table is not what we want.
        let misfires = cells.iter().enumerate().any(|(i, c)| {
            i > 0 && c["stem0"] == "prepr_reduce" && cells[i - 1]["type"] != "reduction"
        });
        let cost = desc.cost(&catalog).unwrap();
        assert_eq!(
            reductions(&desc),
            sizes(&table["reduction_indices"]),
            "{name}"
        );
        assert_eq!(desc.logits.ch_in, size(&table["logits_in"]), "{name}");
        assert_eq!(cost.alphas, int(&table["alphas"]), "{name}");
        let channels = |i: &usize| desc.stems[*i].out.channels;
        let mut previous: Vec<usize> = desc.stem_outputs.iter().map(channels).collect();
        for (i, (cell, want)) in desc.cells.iter().zip(cells).enumerate() {
            let kind = if want["type"] == "normal" {
                CellType::Regular
            } else {
                CellType::Reduction
            };
            assert_eq!(cell.cell_type, kind, "{name} {i}");
            assert_eq!(
                previous,
                [size(&want["pp"]), size(&want["p"])],
                "{name} {i}"
            );
            assert_eq!(cell.stems[0].ch_out, size(&want["node"]), "{name} {i}");
            assert_eq!(cell.out.channels, size(&want["out"]), "{name} {i}");
            assert_eq!(
                cell.alphas_from,
                size(&want["alphas_shared_with_cell"]),
                "{name} {i}"
            );
            assert_eq!(
                cell.aux_tower.is_some(),
                want["aux"].as_bool().unwrap(),
                "{name} {i}"
            );
            assert_eq!(
                cell.stems[1].name,
                want["stem1"].as_str().unwrap(),
                "{name} {i}"
            );
            let after_reduction = i > 0 && desc.cells[i - 1].cell_type == CellType::Reduction;
            let scales_differ =
                i == 0 && desc.stems[0].out.scale != desc.stems[desc.stem_outputs[1]].out.scale;
            let stem0 = if after_reduction || scales_differ {
                "prepr_reduce"
            } else {
                "prepr_normal"
            };
            assert_eq!(cell.stems[0].name, stem0, "{name} {i}");
            if !misfires {
                assert_eq!(
                    cell.stems[0].name,
                    want["stem0"].as_str().unwrap(),
                    "{name} {i}"
                );
            }
            previous = vec![previous[1], cell.out.channels];
        }
        assert_eq!(desc.cells.len(), cells.len(), "{name}");
        // `prepr_reduce` and `prepr_normal` have the same weights, so the count holds for both readings.
        assert_eq!(
            cost.total(true).params,
            int(&table["weights_non_affine"]),
            "{name}"
        );
    }
}

#[test]
fn golden_archai_supernet() {
    let file = read("archai_supernet.json");
    let config = &file["config"];
    let stems = &config["model_stems"];
    let mut s = cifar(
        size(&config["n_cells"]),
        size(&config["n_reductions"]),
        size(&config["cell"]["n_nodes"]),
        size(&stems["init_node_ch"]),
    );
    s.model_stems.stem_multiplier = size(&stems["stem_multiplier"]);
    s.dataset.n_classes = size(&config["dataset"]["n_classes"]);
    let desc = supernet(&s);
    let cost = desc.cost(&OpCatalog::builtin()).unwrap();
    assert_eq!(cost.total(false).params, int(&file["n_weights"]));
    assert_eq!(cost.alphas, int(&file["n_alphas"]));
    assert_eq!(reductions(&desc), sizes(&file["reduction_cells"]));
}

/// One stem for both inputs, as in the original code.
fn shared(mut settings: ModelDescSettings) -> ModelDescSettings {
    settings.model_stems.wiring = StemWiring::Shared;
    settings
}

fn original(network: &str, cells: usize, channels: usize, classes: usize) -> ModelDescSettings {
    let mut s = match network {
        "cifar" => shared(cifar(cells, 2, 4, channels)),
        "imagenet" => imagenet(cells, channels),
        other => panic!("unknown network {other}"),
    };
    s.dataset.n_classes = classes;
    s.aux_weight = 0.4;
    s
}

/// Settings follow the genotype's number of nodes.
fn built(genotype: &Genotype, mut settings: ModelDescSettings) -> ModelDesc {
    settings.cell.n_nodes = genotype.normal.len();
    network(genotype, &settings)
}

#[test]
fn golden_full_size_parameter_counts() {
    let file = read("eval_net.json");
    let counts = file["full_size_parameter_counts"].as_array().unwrap();
    assert!(!counts.is_empty());
    for row in counts {
        let name = row["genotype"].as_str().unwrap();
        let net = row["network"].as_str().unwrap();
        let settings = original(
            net,
            size(&row["cells"]),
            size(&row["C"]),
            size(&row["classes"]),
        );
        let desc = built(&genotype(&file["genotypes"][name]), settings);
        let cost = desc.cost(&OpCatalog::builtin()).unwrap();
        assert_eq!(
            cost.total(false).params,
            int(&row["params_without_aux"]),
            "{name} {net}"
        );
        assert_eq!(
            cost.total(true).params,
            int(&row["params_with_aux"]),
            "{name} {net} with tower"
        );
    }
}

#[test]
fn golden_macs() {
    let file = read("eval_net.json");
    let macs = file["macs"].as_object().unwrap();
    assert!(!macs.is_empty());
    for (key, entry) in macs {
        let (name, net) = key.rsplit_once('_').unwrap();
        let genotype = genotype(&file["genotypes"][name]);
        let row = file["full_size_parameter_counts"]
            .as_array()
            .unwrap()
            .iter();
        let row = row
            .into_iter()
            .find(|r| r["genotype"] == name && r["network"] == net)
            .unwrap();
        let settings = original(
            net,
            size(&row["cells"]),
            size(&row["C"]),
            size(&row["classes"]),
        );
        let cost = built(&genotype, settings)
            .cost(&OpCatalog::builtin())
            .unwrap();
        assert_eq!(cost.total(false).macs, int(&entry["total_macs"]), "{key}");
        // Cell by cell: rows start with `cellI.`
        let mut by_cell: BTreeMap<usize, u64> = BTreeMap::new();
        for row in entry["rows"].as_array().unwrap() {
            let place = row[0].as_str().unwrap();
            if let Some(cell) = place.strip_prefix("cell").and_then(|p| p.split('.').next()) {
                *by_cell.entry(cell.parse().unwrap()).or_default() +=
                    int(row.as_array().unwrap().last().unwrap());
            }
        }
        assert_eq!(by_cell.len(), cost.cells.len(), "{key}");
        for (cell, macs) in by_cell {
            assert_eq!(cost.cells[cell].total().macs, macs, "{key} cell {cell}");
        }
    }
}

#[test]
fn golden_small_evaluation_networks() {
    let file = read("eval_net.json");
    let classes = file["full_size_parameter_counts"].as_array().unwrap();
    for net in ["cifar", "imagenet"] {
        let entry = &file[net];
        let n_classes = size(&classes.iter().find(|r| r["network"] == net).unwrap()["classes"]);
        let mut settings = original(net, size(&entry["cells"]), size(&entry["C"]), n_classes);
        let input = sizes(&entry["input"]);
        settings.dataset.channels = input[1];
        settings.dataset.size = [input[2], input[3]];
        // The small networks do not record their classes; the classifier's count decides between the two data sets' sizes.
        let genotype = genotype(&file["genotypes"][entry["genotype"].as_str().unwrap()]);
        let fits = [10, n_classes].into_iter().find(|&n| {
            settings.dataset.n_classes = n;
            let cost = built(&genotype, settings.clone())
                .cost(&OpCatalog::builtin())
                .unwrap();
            cost.total(true).params == int(&entry["n_params"])
                && cost.total(false).params == int(&entry["n_params_without_aux"])
        });
        assert!(fits.is_some(), "{net}");
        let desc = built(&genotype, settings);
        assert_eq!(reductions(&desc), sizes(&entry["reduction_cells"]), "{net}");
        let towers: Vec<usize> = (0..desc.cells.len())
            .filter(|&i| desc.cells[i].aux_tower.is_some())
            .collect();
        assert_eq!(towers, [size(&entry["aux_after_cell"])], "{net}");
    }
}

#[test]
fn golden_genotypes_round_trip() {
    let finalize = read("finalize.json");
    let eval = read("eval_net.json");
    let cases = finalize["cases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| genotype(&c["original_softmax_rule"]));
    let known = eval["genotypes"]
        .as_object()
        .unwrap()
        .values()
        .map(genotype);
    let mut n = 0;
    for genotype in cases.chain(known) {
        assert_eq!(genotype.to_string().parse::<Genotype>().unwrap(), genotype);
        let desc = built(&genotype, cifar(5, 2, 4, 4));
        assert_eq!(desc.genotype().unwrap(), genotype);
        n += 1;
    }
    assert!(n > 0);
}

/// Counts that are pure arithmetic of the published structures.
#[test]
fn golden_published_counts() {
    let catalog = OpCatalog::builtin();
    let params = |desc: &ModelDesc| desc.cost(&catalog).unwrap();
    let search = cifar(8, 2, 4, 16);
    let two = params(&supernet(&search));
    assert_eq!((two.total(false).params, two.alphas), (1_931_818, 224));
    let mut one = shared(search);
    one.model_stems.affine = Some(true);
    assert_eq!(params(&supernet(&one)).total(false).params, 1_930_618);
    let toy = params(&supernet(&cifar(3, 1, 2, 16)));
    assert_eq!((toy.total(false).params, toy.alphas), (124_426, 80));

    let v2: Genotype = super::DARTS_V2.parse().unwrap();
    let v1: Genotype = super::DARTS_V1.parse().unwrap();
    let mut eval = cifar(20, 2, 4, 36);
    eval.aux_weight = 0.4;
    for (genotype, settings, without, with) in [
        (&v2, eval.clone(), 3_352_474, Some(3_828_900)),
        (&v1, eval.clone(), 3_172_546, Some(3_648_972)),
        (&v2, shared(eval.clone()), 3_349_342, Some(3_825_768)),
        (&v2, imagenet(14, 48), 4_718_752, None),
    ] {
        let cost = params(&network(genotype, &settings));
        assert_eq!(cost.total(false).params, without);
        if let Some(with) = with {
            assert_eq!(cost.total(true).params, with);
        }
    }
    let mut independent = imagenet(14, 48);
    independent.model_stems.wiring = StemWiring::Independent;
    independent.model_stems.ops[1] = "stem_conv3x3_s4s2".into();
    assert_eq!(
        params(&network(&v2, &independent)).total(false).params,
        4_729_912
    );
}

/// The architectures of the descriptions that Archai ships, in short: op and input state, `|` between nodes.
#[test]
fn golden_shipped_counts() {
    let node = |text: &str| -> Vec<(String, usize)> {
        text.split(' ')
            .map(|token| {
                let (op, input) = token.split_once(':').unwrap();
                let op = match op {
                    "mx" => "max_pool_3x3",
                    "av" => "avg_pool_3x3",
                    "sk" => "skip_connect",
                    "s3" => "sep_conv_3x3",
                    "s5" => "sep_conv_5x5",
                    "d3" => "dil_conv_3x3",
                    "d5" => "dil_conv_5x5",
                    other => panic!("{other}"),
                };
                (op.to_string(), input.parse().unwrap())
            })
            .collect()
    };
    for (normal, reduce, params) in [
        (
            "s3:0 s5:1|s3:1 mx:0|s3:0 s3:1|s3:0 s3:1",
            "mx:0 s5:1|d5:2 mx:0|d5:3 sk:2|d5:3 sk:2",
            4_099_402,
        ),
        (
            "s3:0 s5:1|s3:0 s5:1|mx:0 d5:2|s3:0 s3:1",
            "mx:0 s5:1|d5:2 mx:0|d5:3 mx:0|av:1 s5:2",
            4_023_802,
        ),
        (
            "s3:0 s3:1|mx:0 s3:1|mx:0 s3:2|s3:0 s5:1",
            "mx:0 sk:1|d5:2 mx:0|mx:0 d5:3|d5:4 d5:3",
            3_734_146,
        ),
        (
            "s3:0 s3:1|s3:0 s3:1|mx:0 s5:1|sk:0 d3:1",
            "mx:0 s5:1|d5:2 s5:1|d5:3 s3:2|mx:0 s5:3",
            3_711_466,
        ),
    ] {
        let concat = vec![2, 3, 4, 5];
        let nodes = |text: &str| text.split('|').map(node).collect();
        let (normal, reduce) = (nodes(normal), nodes(reduce));
        let genotype = Genotype {
            normal,
            normal_concat: concat.clone(),
            reduce,
            reduce_concat: concat,
        };
        let cost = network(&genotype, &cifar(20, 2, 4, 36))
            .cost(&OpCatalog::builtin())
            .unwrap();
        assert_eq!(cost.total(false).params, params, "{genotype}");
    }
}
