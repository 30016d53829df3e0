//! Weights of other programs: files that PyTorch wrote (`interop/darts_import.py --fixtures`), and files that somebody made
//! to run something.

use std::collections::BTreeMap;
use std::io::{Cursor, Write};

use archai_export::import::{DartsSize, Weights, layouts, place, read_pt, start};
use archai_export::reference::{Maps, Reference};
use archai_export::{NamedTensor, read_safetensors, write_pt};
use archai_spec::desc::{
    CellType, Genotype, ModelDesc, OpCatalog, Shape, Which, adapted, from_genotype,
};
use archai_spec::settings::{Settings, StemWiring};
use zip::write::{SimpleFileOptions, ZipWriter};

const CIFAR: &[u8] = include_bytes!("../fixtures/darts/cifar.pt");
const CIFAR_OLD: &[u8] = include_bytes!("../fixtures/darts/cifar_checkpoint_old.pt");
const IMAGENET: &[u8] = include_bytes!("../fixtures/darts/imagenet.pt");
const GENOTYPES: &str = include_str!("../fixtures/darts/genotypes.py");
const KINDS: [&[u8]; 2] = [
    include_bytes!("../fixtures/darts/kinds.pt"),
    include_bytes!("../fixtures/darts/kinds_old.pt"),
];

/// The description of one of the fixtures' networks in the size that its weights have.
fn desc(weights: &Weights, name: &str, tower: bool) -> ModelDesc {
    let genotype = Genotype::find(GENOTYPES, &Which::Named(name.into())).unwrap();
    let size = DartsSize::of(weights).unwrap();
    let data = if size.imagenet { "imagenet" } else { "cifar10" };
    let mut settings = Settings::shipped(data).unwrap().nas.eval.model_desc;
    settings.n_cells = size.cells;
    settings.dataset.n_classes = size.classes;
    settings.aux_weight = if tower { 0.4 } else { 0.0 };
    settings.aux_tower_stride = if size.imagenet { 2 } else { 3 };
    settings.aux_tower_second_norm = !size.imagenet;
    let stems = &mut settings.model_stems;
    stems.init_node_ch = size.channels;
    stems.wiring = StemWiring::Shared;
    if size.imagenet {
        stems.wiring = StemWiring::Chained;
        stems.ops = ["stem_conv3x3_s4", "stem_relu_conv3x3_s2"].map(String::from);
        stems.stem_multiplier = 1;
    }
    let built = from_genotype(&genotype, &settings, true, &OpCatalog::builtin());
    built.unwrap().desc
}

fn placed(
    weights: &Weights,
    desc: &ModelDesc,
    layout: &str,
) -> std::io::Result<(Vec<NamedTensor>, usize)> {
    let layouts = layouts();
    let layout = layouts.get(layout).unwrap();
    place(weights, desc, &OpCatalog::builtin(), layout.as_ref())
}

#[test]
fn the_size_is_read_off_the_tensors() {
    for (bytes, expect) in [
        (CIFAR, (3, 2, 5, 3, false)),
        (CIFAR_OLD, (3, 2, 5, 3, false)),
        (IMAGENET, (3, 2, 5, 5, true)),
    ] {
        let size = DartsSize::of(&Weights::read(bytes).unwrap()).unwrap();
        let found = (
            size.image_channels,
            size.channels,
            size.cells,
            size.classes,
            size.imagenet,
        );
        assert_eq!(found, expect);
        assert!(!size.tower);
    }
    let ours = Weights::read(&pt(&[tensor("stem.conv1.weight", &[2, 3, 3, 3])])).unwrap();
    assert_eq!(DartsSize::of(&ours), None);
}

#[test]
fn cells_that_halve_stand_where_the_original_code_has_them() {
    let mut settings = Settings::shipped("cifar10").unwrap().nas.eval.model_desc;
    let genotype = Genotype::find(GENOTYPES, &Which::Named("CIFAR".into())).unwrap();
    settings.model_stems.init_node_ch = 2;
    for n in 5..=24 {
        settings.n_cells = n;
        let built = from_genotype(&genotype, &settings, true, &OpCatalog::builtin());
        let cells = built.unwrap().desc.cells;
        let halve = (0..n).filter(|&i| cells[i].cell_type == CellType::Reduction);
        assert_eq!(halve.collect::<Vec<_>>(), [n / 3, 2 * n / 3], "{n} cells");
    }
}

#[test]
fn both_forms_of_a_file_give_the_same_network() {
    let new = Weights::read(CIFAR).unwrap();
    let old = Weights::read(CIFAR_OLD).unwrap();
    assert!(new.notes.is_empty());
    let [note] = old.notes.as_slice() else {
        panic!("{:?}", old.notes);
    };
    for expect in ["`state_dict`", "epoch, best_acc_top1"] {
        assert!(note.contains(expect), "{note}");
    }
    let desc = desc(&new, "CIFAR", false);
    let (state, idle) = placed(&new, &desc, "darts").unwrap();
    assert_eq!(placed(&old, &desc, "darts").unwrap().0, state);
    // PyTorch counts the batches of each norm.
    let norms = state.iter().filter(|t| t.name.ends_with("running_var"));
    assert_eq!(idle, norms.count());
    let graph = desc.lower(&OpCatalog::builtin()).unwrap();
    let params = graph.layers.iter().flat_map(|l| &l.params).count();
    assert_eq!(state.len(), params);
    assert_eq!(new.tensors.len(), params + idle);
    // What goes out under our names comes in under them.
    let again = Weights::read(&pt(&state)).unwrap();
    assert_eq!(placed(&again, &desc, "archai").unwrap(), (state, 0));
}

#[test]
fn the_imported_network_computes_what_pytorch_computes() {
    for (bytes, logits, name, size) in [
        (
            CIFAR,
            include_bytes!("../fixtures/darts/cifar_logits.safetensors").as_slice(),
            "CIFAR",
            32,
        ),
        (
            IMAGENET,
            include_bytes!("../fixtures/darts/imagenet_logits.safetensors"),
            "IMAGENET",
            224,
        ),
    ] {
        let weights = Weights::read(bytes).unwrap();
        let desc = desc(&weights, name, false);
        let (state, _) = placed(&weights, &desc, "darts").unwrap();
        let graph = desc.lower(&OpCatalog::builtin()).unwrap().inference();
        let image = (0..3 * size * size).map(|i| (i as f64 * 0.37).sin());
        let image = Maps::new([1, 3, size, size], image.collect()).unwrap();
        let ours = Reference::new(&graph, &state)
            .unwrap()
            .logits(&image)
            .unwrap();
        let (theirs, _) = read_safetensors(logits).unwrap();
        assert_eq!(ours.values.len(), desc.n_classes);
        for (a, b) in ours.values.iter().zip(&theirs[0].values) {
            // PyTorch's numbers are kept in 32 bits.
            assert!(
                (a - b).abs() < 1e-6,
                "{name}: {:?} and {:?}",
                ours.values,
                theirs
            );
        }
    }
}

#[test]
fn numbers_of_all_kinds_are_read() {
    let grid: Vec<f64> = (0..12).map(|i| f64::from(i) / 8.0 - 0.5).collect();
    let turned: Vec<f64> = (0..12).map(|i| grid[i % 3 * 4 + i / 3]).collect();
    for bytes in KINDS {
        let state = read_pt(bytes).unwrap();
        let tensors: BTreeMap<&str, _> = (state.tensors.iter())
            .map(|t| (t.tensor.name.as_str(), t))
            .collect();
        let check = |name: &str, shape: &[usize], values: &[f64]| {
            let t = &tensors[name].tensor;
            assert_eq!(
                (t.shape.as_slice(), t.values.as_slice()),
                (shape, values),
                "{name}"
            );
        };
        for name in ["f64", "f32", "f16", "bf16", "parameter"] {
            check(name, &[3, 4], &grid);
        }
        check("i64", &[5], &[0.0, 1.0, 2.0, 3.0, 4.0]);
        check("transposed", &[4, 3], &turned);
        check("column", &[3], &[grid[1], grid[5], grid[9]]);
        check("scalar", &[], &[2.5]);
        check("empty", &[0, 3], &[]);
        let whole = state.tensors.iter().filter(|t| t.whole);
        let whole: Vec<&str> = whole.map(|t| t.tensor.name.as_str()).collect();
        assert_eq!(whole, ["i64"]);
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let whole = Weights::read(CIFAR).unwrap();
    let desc = desc(&whole, "CIFAR", false);
    let with = |change: &dyn Fn(&mut Weights)| {
        let mut weights = whole.clone();
        change(&mut weights);
        placed(&weights, &desc, "darts").unwrap_err().to_string()
    };
    let missing = with(&|w| {
        w.tensors
            .retain(|t| t.name != "cells.1.preprocess0.op.1.weight")
    });
    assert!(
        missing.contains("`cells.1.preprocess0.op.1.weight` (shape [4, 6, 1, 1])"),
        "{missing}"
    );
    let unknown = with(&|w| w.tensors.push(tensor("cells.5._ops.0.op.1.weight", &[2])));
    assert!(
        unknown.contains("`cells.5._ops.0.op.1.weight` has no place"),
        "{unknown}"
    );
    let wrong = with(&|w| {
        let classifier = w.tensors.iter_mut().find(|t| t.name == "classifier.bias");
        *classifier.unwrap() = tensor("classifier.bias", &[9]);
    });
    assert!(
        wrong.contains("`classifier.bias` has shape [9] instead of [3]"),
        "{wrong}"
    );
    let counted = with(&|w| {
        w.whole.insert("classifier.bias".into());
    });
    assert!(
        counted.contains("`classifier.bias` holds whole numbers"),
        "{counted}"
    );
    let tower = desc_with_tower(&whole);
    let error = placed(&whole, &tower, "darts").unwrap_err().to_string();
    assert!(error.contains("`auxiliary_head."), "{error}");
    let error = placed(&whole, &desc, "archai").unwrap_err().to_string();
    assert!(
        error.contains("`stem.conv1.weight` (shape [6, 3, 3, 3]) is missing"),
        "{error}"
    );
    assert!(error.contains("and ") && error.contains(" more"), "{error}");
}

fn desc_with_tower(weights: &Weights) -> ModelDesc {
    desc(weights, "CIFAR", true)
}

#[test]
fn towers_have_their_names() {
    for (bytes, name, second_norm) in [(CIFAR, "CIFAR", true), (IMAGENET, "IMAGENET", false)] {
        let mut weights = Weights::read(bytes).unwrap();
        let desc = desc(&weights, name, true);
        let channels = desc
            .cells
            .iter()
            .find_map(|c| Some(c.aux_tower.as_ref()?.ch_in));
        let classes = desc.n_classes;
        let mut add = |name: &str, shape: &[usize]| {
            let name = format!("auxiliary_head.{name}");
            weights.tensors.push(tensor(&name, shape));
        };
        let norm = |at: usize, channels: usize, add: &mut dyn FnMut(&str, &[usize])| {
            for part in ["weight", "bias", "running_mean", "running_var"] {
                add(&format!("features.{at}.{part}"), &[channels]);
            }
        };
        add("features.2.weight", &[128, channels.unwrap(), 1, 1]);
        norm(3, 128, &mut add);
        add("features.5.weight", &[768, 128, 2, 2]);
        if second_norm {
            norm(6, 768, &mut add);
        }
        add("classifier.weight", &[classes, 768]);
        add("classifier.bias", &[classes]);
        let (state, _) = placed(&weights, &desc, "darts").unwrap();
        let tower = state.iter().filter(|t| t.name.starts_with("aux."));
        assert_eq!(tower.count(), if second_norm { 12 } else { 8 });
        assert!(DartsSize::of(&weights).unwrap().tower);
    }
}

#[test]
fn networks_that_the_layout_has_no_names_for_are_refused() {
    let weights = Weights::read(CIFAR).unwrap();
    let mut settings = Settings::shipped("cifar10").unwrap().nas.eval.model_desc;
    settings.n_cells = 5;
    let genotype = Genotype::find(GENOTYPES, &Which::Named("CIFAR".into())).unwrap();
    let two = from_genotype(&genotype, &settings, true, &OpCatalog::builtin());
    let error = placed(&weights, &two.unwrap().desc, "darts").unwrap_err();
    assert!(error.to_string().contains("2 stems"), "{error}");
}

/// A description of five cells on CIFAR-10, and drawn weights for it.
fn drawn(name: &str, tower: bool) -> (ModelDesc, Weights) {
    let whole = Weights::read(CIFAR).unwrap();
    let desc = desc(&whole, name, tower);
    let graph = desc.lower(&OpCatalog::builtin()).unwrap();
    let params = graph
        .layers
        .iter()
        .filter(|l| !l.only_training)
        .flat_map(|l| &l.params);
    let tensors = params.map(|param| tensor(&param.name, &param.shape));
    let text = desc.without_towers().to_yaml().unwrap();
    let weights = Weights {
        tensors: tensors.collect(),
        texts: [("model_desc".to_string(), text)].into(),
        ..Weights::default()
    };
    (desc, weights)
}

#[test]
fn a_training_starts_from_weights_of_the_same_network() {
    let catalog = OpCatalog::builtin();
    let (desc, weights) = drawn("CIFAR", false);
    let all = start(&weights, &desc, &catalog).unwrap();
    assert_eq!(
        (all.taken.len(), all.notes),
        (weights.tensors.len(), Vec::new())
    );

    // Other classes, other images: the classifier and the stem start anew, and are named.
    let other = adapted(&desc, Shape::new(1, 28, 28), 7, &catalog).unwrap();
    assert_eq!(other.notes.len(), 3, "{:?}", other.notes);
    let some = start(&weights, &other.desc, &catalog).unwrap();
    assert_eq!(some.taken.len(), weights.tensors.len() - 7);
    let [note] = some.notes.as_slice() else {
        panic!("{:?}", some.notes)
    };
    for expect in [
        "classifier, stem start(s) anew",
        "`classifier.linear1.weight` has shape [3, ",
        "`stem.conv1.weight` has shape [6, 3, 3, 3] in the file and [6, 1, 3, 3] here",
        "`stem.bn1.running_var`",
    ] {
        assert!(note.contains(expect), "{expect:?} is missing in {note}");
    }

    // A tower, which files of models do not have.
    let (with_tower, _) = drawn("CIFAR", true);
    let some = start(&weights, &with_tower, &catalog).unwrap();
    assert_eq!(some.taken.len(), weights.tensors.len());
    assert!(
        some.notes[0].starts_with("aux start(s) anew"),
        "{:?}",
        some.notes
    );
}

#[test]
fn a_training_does_not_start_from_another_network() {
    let catalog = OpCatalog::builtin();
    let (desc, weights) = drawn("CIFAR", false);
    let refused = |weights: &Weights, desc: &ModelDesc, expect: &str| {
        let error = start(weights, desc, &catalog).unwrap_err().to_string();
        assert!(error.contains(expect), "{expect:?} is missing in {error}");
    };
    // Ops without weights: only the description tells.
    let mut pooled = desc.clone();
    let edge = &mut pooled.cells[0].nodes[1].edges[0].op;
    assert_eq!(edge.name, "max_pool_3x3");
    edge.name = "avg_pool_3x3".into();
    refused(
        &weights,
        &pooled,
        "`cell0.node1.edge0.max_pool_3x3.max_pool1` = ",
    );
    let bare = Weights {
        texts: BTreeMap::new(),
        ..weights.clone()
    };
    assert!(
        start(&bare, &pooled, &catalog).is_ok(),
        "without a description nobody knows"
    );
    let mut missing = bare.clone();
    missing
        .tensors
        .retain(|t| t.name != "cell2.pre0.conv1.weight");
    refused(&missing, &desc, "`cell2.pre0.conv1.weight` (shape ");
    let mut more = bare.clone();
    more.tensors.push(tensor("cell9.pre0.conv1.weight", &[1]));
    refused(&more, &desc, "`cell9.pre0.conv1.weight` has no place");
    let none = Weights {
        tensors: Vec::new(),
        ..bare
    };
    refused(&none, &desc, " is missing");
}

fn tensor(name: &str, shape: &[usize]) -> NamedTensor {
    NamedTensor {
        name: name.into(),
        shape: shape.to_vec(),
        values: vec![0.5; shape.iter().product()],
    }
}

fn pt(tensors: &[NamedTensor]) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_pt(&mut bytes, tensors).unwrap();
    bytes
}

/// An archive as PyTorch writes it, with this list of tensors and one storage of four numbers.
fn archive(pickle: &[u8]) -> Vec<u8> {
    archive_of(&[("data.pkl", pickle), ("data/0", &[0; 16])], false)
}

fn archive_of(entries: &[(&str, &[u8])], deflated: bool) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in entries {
        zip.start_file(format!("model/{name}"), options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    let mut bytes = zip.finish().unwrap().into_inner();
    if deflated {
        // The method stands in two headers: it says deflated then, whatever the bytes are.
        for (head, at) in [(b"PK\x03\x04", 8), (b"PK\x01\x02", 10)] {
            let starts: Vec<usize> = (0..bytes.len() - 4)
                .filter(|&i| bytes[i..].starts_with(head))
                .collect();
            starts.into_iter().for_each(|i| bytes[i + at] = 8);
        }
    }
    bytes
}

/// The older form, with this pickle in the place of the state dict.
fn stream(pickle: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.".to_vec();
    bytes.extend(b"\x80\x02M\xe9\x03.");
    bytes.extend(b"\x80\x02}(X\x0d\x00\x00\x00little_endian\x88u.");
    bytes.extend(pickle);
    bytes.extend(b"\x80\x02].");
    bytes
}

/// A tensor of the storage `0` that a pickle makes with these numbers of storage, offset, shape and stride.
fn tensor_code(len: u8, offset: u8, shape: &[u8], stride: &[u8]) -> Vec<u8> {
    let mut code = b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK".to_vec();
    code.extend([len, b't', b'Q', b'K', offset]);
    for list in [shape, stride] {
        code.push(b'(');
        code.extend(list.iter().flat_map(|&n| [b'K', n]));
        code.push(b't');
    }
    code.extend(b"\x89ccollections\nOrderedDict\n)RtR");
    code
}

fn dict_of(value: &[u8]) -> Vec<u8> {
    let mut code = b"\x80\x02}X\x01\x00\x00\x00w".to_vec();
    code.extend(value);
    code.extend(b"s.");
    code
}

#[test]
fn a_handmade_file_is_read() {
    let code = dict_of(&tensor_code(4, 1, &[3], &[1]));
    let state = read_pt(&archive(&code)).unwrap();
    assert_eq!(
        state.tensors[0].tensor,
        NamedTensor {
            values: vec![0.0; 3],
            ..tensor("w", &[3])
        }
    );
}

#[test]
fn whatever_is_more_than_tensors_is_refused_by_name() {
    for (code, expect) in [
        // What pickles that attack contain: functions that run something.
        (
            &b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00id\x85R."[..],
            "names `os.system`",
        ),
        (
            b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00id\x85R.",
            "names `posix.system`",
        ),
        (
            b"\x80\x02c__builtin__\neval\nX\x01\x00\x00\x001\x85R.",
            "names `__builtin__.eval`",
        ),
        (
            b"\x80\x02cbuiltins\nexec\nX\x01\x00\x00\x001\x85R.",
            "names `builtins.exec`",
        ),
        (b"\x80\x02cbuiltins\ngetattr\n.", "names `builtins.getattr`"),
        (
            b"\x80\x02csubprocess\nPopen\n)R.",
            "names `subprocess.Popen`",
        ),
        (
            b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n.",
            "names `numpy.core.multiarray._reconstruct`",
        ),
        (
            b"\x80\x02ctorch.nn.modules.container\nSequential\n)\x81.",
            "names `torch.nn.modules.container.Sequential`",
        ),
        (
            b"\x80\x02ctorch._utils\n_rebuild_tensor_v3\n.",
            "names `torch._utils._rebuild_tensor_v3`",
        ),
        (b"\x80\x02ctorch\nIntStorage\n.", "names `torch.IntStorage`"),
        // The same without a name: instructions that make objects.
        (
            b"\x80\x02(X\x02\x00\x00\x00idios\nsystem\n.",
            "instruction 0x69",
        ),
        (
            b"\x80\x02ccollections\nOrderedDict\n)\x81.",
            "instruction 0x81 at byte 28 (make an object of a class)",
        ),
        (
            b"\x80\x02(ccollections\nOrderedDict\no.",
            "instruction 0x6f",
        ),
        (b"\x80\x02\x82\x01.", "(a function by its number)"),
        (b"\x80\x02X\x02\x00\x00\x00os\x93.", "(of protocol 4)"),
        (
            b"\x80\x02Psomewhere\n.",
            "(an object that stands elsewhere)",
        ),
        (b"\x80\x04\x95\x00", "protocol 4"),
        // Attributes: of what is no dictionary, they would be an object's state.
        (b"\x80\x02]}b.", "attributes of an object"),
        (b"\x80\x02K\x01.", "holds a whole number and no dictionary"),
        (b"\x80\x02}.", "holds no tensors"),
    ] {
        for bytes in [archive(code), stream(code)] {
            let error = read_pt(&bytes).unwrap_err().to_string();
            assert!(error.contains(expect), "{expect:?} is missing in {error}");
        }
    }
}

#[test]
fn tensors_that_cannot_be_are_refused() {
    for (code, expect) in [
        (
            tensor_code(4, 2, &[3], &[1]),
            "does not lie within its numbers",
        ),
        (
            tensor_code(4, 0, &[2, 2], &[3, 2]),
            "does not lie within its numbers",
        ),
        (
            tensor_code(4, 0, &[200], &[0]),
            "does not lie within its numbers",
        ),
        (tensor_code(4, 0, &[2, 2], &[1]), "shape is none"),
        (tensor_code(4, 0, &[1; 17], &[1; 17]), "shape is none"),
        (
            tensor_code(5, 0, &[4], &[1]),
            "should hold 5 numbers of 4 bytes and has 16 bytes",
        ),
    ] {
        let error = read_pt(&archive(&dict_of(&code))).unwrap_err().to_string();
        assert!(error.contains(expect), "{expect:?} is missing in {error}");
    }
    // One storage under a hundred names: a file of some kilobytes would become as large as somebody likes.
    let mut code = b"\x80\x02}(".to_vec();
    for name in 0..100u8 {
        code.extend([b'X', 1, 0, 0, 0, name]);
        code.extend(tensor_code(4, 0, &[4], &[1]));
    }
    code.extend(b"u.");
    let error = read_pt(&archive(&code)).unwrap_err().to_string();
    assert!(error.contains("many that share their numbers"), "{error}");
    let mut twice = b"\x80\x02}(".to_vec();
    for _ in 0..2 {
        twice.extend(b"X\x01\x00\x00\x00w");
        twice.extend(tensor_code(4, 0, &[4], &[1]));
    }
    twice.extend(b"u.");
    let error = read_pt(&archive(&twice)).unwrap_err().to_string();
    assert!(error.contains("two tensors are called `w`"), "{error}");
}

#[test]
fn foreign_archives_are_refused() {
    let code = dict_of(&tensor_code(4, 0, &[4], &[1]));
    let numbers: (&str, &[u8]) = ("data/0", &[0; 16]);
    let list: (&str, &[u8]) = ("data.pkl", &code);
    for (entries, deflated, expect) in [
        (vec![("readme.txt", &b"x"[..])], false, "without `data.pkl`"),
        (vec![list, ("constants.pkl", b"")], false, "TorchScript"),
        (
            vec![list, numbers, ("byteorder", b"big")],
            false,
            "big-endian",
        ),
        (vec![list], false, "no entry `model/data/0`"),
        (vec![list, numbers], true, "compressed"),
    ] {
        let error = read_pt(&archive_of(&entries, deflated))
            .unwrap_err()
            .to_string();
        assert!(error.contains(expect), "{expect:?} is missing in {error}");
    }
    let mut tar = vec![0; 600];
    tar[257..262].copy_from_slice(b"ustar");
    for (bytes, expect) in [
        (tar.as_slice(), "before 0.1.10"),
        (b"\x80\x02}.", "no file of PyTorch"),
        (b"", "no whole safetensors file"),
    ] {
        let error = Weights::read(bytes).unwrap_err().to_string();
        assert!(
            error.contains(expect) || error.contains("not a whole safetensors"),
            "{error}"
        );
    }
}

#[test]
fn damaged_files_are_errors() {
    for whole in [CIFAR_OLD, KINDS[0], KINDS[1]] {
        for length in (0..whole.len()).step_by(whole.len().div_ceil(100)) {
            assert!(Weights::read(&whole[..length]).is_err(), "{length} bytes");
        }
        // Whatever a flipped byte gives, it is no panic; most give an error.
        let mut errors = 0;
        for at in (0..whole.len()).step_by(whole.len().div_ceil(200)) {
            let mut bytes = whole.to_vec();
            bytes[at] ^= 0xff;
            errors += usize::from(Weights::read(&bytes).is_err());
        }
        assert!(errors > 0);
    }
}
