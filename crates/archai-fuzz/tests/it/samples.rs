//! Whole files for every reader, small and made here.

use std::collections::BTreeMap;
use std::fs;

use archai::engine::checkpoint::{CheckpointStore, Checkpoints, Policy, Snapshot};
use archai::engine::export::{save_safetensors, testing, write_pt};
use archai::engine::params::NamedTensor;
use archai::engine::run::NoClock;
use archai::spec::config::{FileSource, Shipped};
use archai::spec::desc::zoo;
use archai::spec::spaces;
use archai_data::nasbench201::Benchmark201;
use archai_fuzz::SEPARATOR;
use archai_spec::desc::nasbench201::Cell201;
use serde_json::Value;

use crate::fixtures::*;

/// Target, name and bytes.
pub type Sample = (&'static str, String, Vec<u8>);

/// All of them.
pub fn all() -> Vec<Sample> {
    let mut all = Vec::new();
    texts(&mut all);
    models(&mut all);
    runs(&mut all);
    data(&mut all);
    all
}

fn texts(all: &mut Vec<Sample>) {
    let algorithms = archai::algos::all();
    let files = archai::algos::files(&algorithms, &Shipped);
    let spaces = spaces::builtin();
    let files = spaces::files(&spaces, &files);
    for name in files.shipped() {
        let text = files.read(&name).unwrap();
        let name = name
            .rsplit(['/', ':'])
            .next()
            .unwrap_or_default()
            .to_owned();
        let target = if text.contains("\ndataset:") || text.starts_with("dataset:") {
            "dataset"
        } else {
            "config"
        };
        all.push((target, name, text.into_bytes()));
    }
    let configs = [
        "common:\n  seed: 3\nnas:\n  search: {trainer: {_copy: /nas/eval/trainer, epochs: 2}}\n  eval: {trainer: {epochs: 3}}\n",
        "__include__: [1.yaml, 2.yaml]\nnas: {eval: {trainer: {epochs: '_copy: ../../../common/seed'}}}\n\u{1e}__include__: 2.yaml\n\u{1e}common: {seed: 5}\n",
        "__include__: main.yaml\n",
        "a: &a [1, 2.5, x]\nb: *a\nc: {k: *a, l: !t x}\n--- second\n",
        "nas:\n  search:\n    trainer:\n      optimizer: {type: sgd, lr: 1e-3}\n    loader: {train_batch: 0x10, val_ratio: .5}\n",
        "\"quoted\": 'it''s'\nblock: |\n  a\n  b\nfolded: >-\n  c\n  d\n? complex\n: value\n",
    ];
    for (i, text) in configs.iter().enumerate() {
        all.push((
            "config",
            format!("small_{i}.yaml"),
            text.as_bytes().to_vec(),
        ));
    }
    let archai = include_str!("../fixtures/archai.yaml");
    let archai = format!(
        "__include__: 1.yaml\n{archai}\u{1e}dataset: {{name: cifar10, n_classes: 10, max_batches: -1}}\n"
    );
    all.push(("archai_config", "darts.yaml".into(), archai.into_bytes()));

    let lines = [
        "--common.seed\n3\nnas.eval.trainer.epochs=2",
        "--nas.search.trainer.optimizer.betas=[0.5, 0.999]\n--dataset.name\n'x'",
        "--dataset._copy\n/other\n--dataset.mean={a: [1, {b: 2}]}",
        "--nas.search.trainer.epochs\nnull\nnothing",
    ];
    for (i, text) in lines.iter().enumerate() {
        all.push(("overrides", format!("args_{i}"), text.as_bytes().to_vec()));
    }
}

fn models(all: &mut Vec<Sample>) {
    for name in zoo::names() {
        let Some(genotype) = zoo::genotype(name) else {
            continue;
        };
        all.push((
            "genotype",
            name.to_owned(),
            genotype.to_string().into_bytes(),
        ));
    }
    for (name, text) in [
        (
            "final.yaml",
            include_bytes!("../fixtures/0.1/run_eval/final_model_desc.yaml").as_slice(),
        ),
        (
            "full.yaml",
            include_bytes!("../fixtures/0.1/run_eval/full_model_desc.yaml"),
        ),
    ] {
        all.push(("description", name.to_owned(), text.to_vec()));
    }
    let states = "# found\nX = Genotype(normal=[('a', 0), ('b', 1)], normal_concat=[2, 2], reduce=[('none', 0), ('skip_connect', 1),], \
                  reduce_concat=range(1, 3), )";
    all.push(("genotype", "states".into(), states.as_bytes().to_vec()));

    let cell = "[('sep_conv_3x3', 2, 0), ('skip_connect', 3, 2)]";
    let fair = format!(
        "import x\n# old\nA = gt.Genotype(normal={cell}, normal_concat=list(range(2, 4)), reduce={cell}, reduce_concat=(3,))\n"
    );
    let node = "[(('sep_conv_3x3', 0, 0.25), ('skip_connect', 1, 1e-3))]";
    let dict = format!(
        "epoch 1 {{'normal': {node}, 'normal_concat': [2], 'reduce': {node}, 'reduce_concat': [2]}}\n"
    );
    let nb201 =
        "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|none~0|skip_connect~1|skip_connect~2|";
    let nb101 = "{\"matrix\": [[0, 1, 0], [0, 0, 1], [0, 0, 0]], \"ops\": [\"input\", \"conv3x3-bn-relu\", \"output\"]}";
    let spec = "INPUT = 'input'\ncell = api.ModelSpec(matrix=array([[0, 1], # row\n [0, 0]], dtype=int8), ops=[INPUT, OUTPUT])\n";
    for (name, text) in [
        (
            "module.py",
            format!("{fair}DARTS_V2 = {}", fair.replace("import x", "")),
        ),
        ("fair.py", fair),
        ("log", dict),
        ("nb201", format!("best {nb201} 94.3\n")),
        ("digits", "[4, 3, 3, 0, 0, 0]".into()),
        ("nb101.json", nb101.into()),
        ("nb101.py", spec.into()),
    ] {
        all.push(("foreign", name.to_owned(), text.into_bytes()));
    }

    let edge = "!!python/object:archai.nas.model_desc.EdgeDesc\n      input_ids: [0]\n      op_desc: \
                !!python/object:archai.nas.model_desc.OpDesc {name: sep_conv_3x3, params: {conv: &c {ch_in: 16}, stride: 1}, children: null}";
    let archai = format!(
        "!!python/object:archai.nas.model_desc.ModelDesc\n_cell_descs:\n- !!python/object:archai.nas.model_desc.CellDesc\n  \
         _nodes:\n  - edges:\n    - {edge}\n    - *e\n  cell_type: !!python/object/apply:archai.nas.model_desc.CellType [regular]\n"
    )
    .replace("- !!python/object:archai.nas.model_desc.EdgeDesc", "- &e !!python/object:archai.nas.model_desc.EdgeDesc");
    all.push(("import", "one_cell.yaml".into(), archai.into_bytes()));
    let several = "_cell_descs:\n- {cell_type: reduction, _nodes: [{edges: [{input_ids: [0, 1], op_desc: {name: multi_op, children: \
                   [{name: skip_connect}, {name: none}], children_ins: [1, 0]}}]}]}\nweights: !!binary aGVsbG8=\n";
    all.push((
        "import",
        "children.yaml".into(),
        several.as_bytes().to_vec(),
    ));
}

fn tensors() -> Vec<NamedTensor> {
    let tensor = |name: &str, shape: &[usize], values: &[f64]| NamedTensor {
        name: name.into(),
        shape: shape.to_vec(),
        values: values.to_vec(),
    };
    vec![
        tensor("stem.weight", &[2, 2], &[0.5, -1.0, f64::INFINITY, 0.0]),
        tensor("none", &[0, 7], &[]),
        tensor("scalar", &[], &[3.0]),
    ]
}

fn runs(all: &mut Vec<Sample>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    for (name, metadata) in [
        ("plain", BTreeMap::new()),
        ("metadata", BTreeMap::from([("desc".into(), "x: 1".into())])),
    ] {
        save_safetensors(&path, &tensors(), &metadata).unwrap();
        all.push(("safetensors", name.into(), fs::read(&path).unwrap()));
    }
    let model = testing::brightness(&["night", "day"], [1, 4, 4]);
    let model = testing::bytes(&model).unwrap();
    all.push(("model_file", "brightness".into(), model));
    let mut written = Vec::new();
    write_pt(&mut written, &tensors()).unwrap();
    all.push(("pt", "written".into(), written));
    // Both forms, as PyTorch wrote them.
    for (name, bytes) in [
        (
            "kinds",
            include_bytes!("../../../archai-export/tests/fixtures/darts/kinds.pt").as_slice(),
        ),
        (
            "kinds_old",
            include_bytes!("../../../archai-export/tests/fixtures/darts/kinds_old.pt"),
        ),
    ] {
        all.push(("pt", name.into(), bytes.to_vec()));
    }
    let mut wide =
        b"\0\0\0\0\0\0\0\0{\"a\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[0,8]}}   "
            .to_vec();
    let header = wide.len() as u64 - 8;
    wide[..8].copy_from_slice(&header.to_le_bytes());
    wide.extend(1.5f64.to_le_bytes());
    all.push(("safetensors", "wide".into(), wide));

    let mut snapshot = Snapshot::default();
    snapshot.set("n", &7).unwrap();
    snapshot.set("a/list", &[0.1, 2.0]).unwrap();
    snapshot.put_tensors("a", tensors());
    let store = folder.path().join("checkpoints");
    let mark = Box::new(|| Ok(Value::from(3)));
    let (checkpoints, _) =
        CheckpointStore::open(&store, Policy::shipped(), &NoClock, mark).unwrap();
    checkpoints.keep("eval/0", &snapshot, false).unwrap();
    all.push((
        "checkpoint",
        "whole".into(),
        fs::read(store.join("000001.checkpoint")).unwrap(),
    ));
    for (i, [header, values, numbers]) in [
        [
            "{}",
            "[{\"n\":1,\"a/b\":[1.5]},[{\"name\":\"a/t\",\"shape\":[1],\"wide\":false}]]",
            "\0\0\0\0",
        ],
        [
            "{\"finished\":true,\"mark\":{\"log\":5}}",
            "[{},[{\"name\":\"t\",\"shape\":[4294967296,4294967296,4294967296],\"wide\":true}]]",
            "",
        ],
        [
            "{\"parts\":[{\"name\":\"values\",\"length\":18446744073709551615,\"blake3\":\"\"}]}",
            "[{},[]]",
            "abcd",
        ],
    ]
    .iter()
    .enumerate()
    {
        let mut bytes = header.as_bytes().to_vec();
        for part in [values, numbers] {
            bytes.push(SEPARATOR);
            bytes.extend(part.as_bytes());
        }
        all.push(("checkpoint", format!("parts_{i}"), bytes));
    }

    let record = "{\"version\":1,\"phase\":\"search\",\"algorithm\":\"darts\",\"dataset\":\"cifar10\",\
                  \"eval_dataset\":\"cifar10\",\"seed\":2,\"digest\":\"0123\",\"engine\":\"plain\",\"given_desc\":null,\
                  \"settings\":{\"common.seed\":2,\"nas.eval.trainer.epochs\":3},\
                  \"figures\":{\"test_top1\":0.5,\"macs\":1e6}}";
    archai::lab::Record::from_json(record).unwrap();
    all.push(("record", "result.json".into(), record.into()));
    let log = "{\"time\":\"2026-01-02T03:04:05Z\",\"path\":\"arch_search/epochs/0\",\"values\":{\"top1\":0.5}}\n\
               {\"time\":\"2026-01-02T03:04:06Z\",\"level\":\"info\",\"message\":\"done\"}\n{\"time\":";
    all.push(("record", "log.jsonl".into(), log.as_bytes().to_vec()));
    // Lines that are written in pieces.
    let pieces = log.replace(",", ",\u{1e}");
    all.push(("follower", "pieces".into(), pieces.into_bytes()));
    all.push(("follower", "whole".into(), log.as_bytes().to_vec()));

    let started = "{\"version\":1,\"program\":\"0.1.0\",\"phase\":\"search\",\"algorithm\":\"darts\",\"engine\":\"fused\",\
                   \"arguments\":[\"run\",\"--toy\"],\"folder\":\"/home\",\"eval_follows\":true,\"digest\":\"0123\",\
                   \"given_desc\":null,\"settings\":{\"common.seed\":2,\"nas.search.trainer.grad_clip\":5.1}}";
    all.push(("started", "run.json".into(), started.into()));

    let meter = "{avg: 0.5, sum: 1.0, cnt: 2, last: .nan}";
    let metrics = |epochs: &str| {
        format!(
            "{{title: t, logger_freq: 1, global_step: 2, run_metrics: {{start_time: 0.0, end_time: 1.5, epoch: 1, \
             epochs_metrics: [{epochs}], test_metrics: null}}}}"
        )
    };
    let epoch = |valid: &str| {
        format!(
            "{{index: 0, top1: {meter}, top5: {meter}, loss: {meter}, step_time: {meter}, start_time: 0.0, end_time: 1e0, \
             step: 2, start_lr: 0.1, end_lr: 0.05, val_metrics: {valid}}}"
        )
    };
    let whole = metrics(&epoch(&metrics("")));
    all.push(("metrics", "nested.yaml".into(), whole.into_bytes()));
}

fn pair(labels: &[u8], images: &[u8]) -> Vec<u8> {
    [labels, &[SEPARATOR], images].concat()
}

fn data(all: &mut Vec<Sample>) {
    let (labels, images) = (idx(&[4], &[0, 1, 2, 0]), idx(&[4, 3, 5], &[7; 60]));
    all.push(("idx", "plain".into(), pair(&labels, &images)));
    all.push(("idx", "gzip".into(), pair(&gzip(&labels), &gzip(&images))));
    all.push(("idx", "mixed".into(), pair(&labels, &gzip(&images))));

    let record = cifar_record(&[2], [1, 2, 3]);
    all.push((
        "cifar",
        "records".into(),
        [&[0][..], &record, &record].concat(),
    ));
    let archive = tar_gz(&[
        ("x/data_batch_1.bin", &record),
        ("readme", b"x"),
        ("x/data_batch_2.bin", &record),
    ]);
    all.push((
        "cifar",
        "archive.tar.gz".into(),
        [&[1][..], &archive].concat(),
    ));
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(record.len() as u64);
    tar.append_data(
        &mut header,
        format!("{}/data_batch_1.bin", "long/".repeat(30)),
        &record[..],
    )
    .unwrap();
    let mut link = tar::Header::new_ustar();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    tar.append_link(&mut link, "x/data_batch_3.bin", "/etc/passwd")
        .unwrap();
    all.push((
        "cifar",
        "long_names.tar".into(),
        [&[2][..], &tar.into_inner().unwrap()].concat(),
    ));

    let rows: Vec<_> = (0..4u8)
        .map(|i| (Some(png(flat_grey(2, 2, i))), i64::from(i % 3)))
        .collect();
    for (name, layout, compression) in [
        ("struct_snappy", Layout::Struct, snappy()),
        ("plain_zstd", Layout::Plain, zstd()),
    ] {
        all.push((
            "parquet",
            name.into(),
            parquet_table(layout, &rows, compression),
        ));
    }
    let nulls = [(None, 1), (Some(jpeg(flat_rgb(3, 3, [1, 2, 3]))), 0)];
    all.push((
        "parquet",
        "nulls".into(),
        parquet_table(
            Layout::Struct,
            &nulls,
            parquet::basic::Compression::UNCOMPRESSED,
        ),
    ));

    for (target, name, kind, file) in [
        ("webdataset", "names.tar", None, "tar_cls/train-0.tar"),
        ("webdataset", "json.tar", None, "tar_json/train-0.tar"),
        ("npz", "stored.npz", Some(0), "npz_keras/all.npz"),
        ("npz", "packed.npz", Some(0), "npz_first/all.npz"),
        ("npz", "images.npy", Some(1), "npy/x_train.npy"),
        ("npz", "labels.npy", Some(2), "npy/y_train.npy"),
        ("mat", "plain.mat", None, "mat/train_32x32.mat"),
        ("mat", "packed.mat", None, "mat_compressed/train_32x32.mat"),
        (
            "pickle",
            "python2",
            None,
            "cifar10_python2/cifar-10-batches-py/data_batch_1",
        ),
        (
            "pickle",
            "protocol2",
            None,
            "cifar10_python3_2/cifar-10-batches-py/data_batch_1",
        ),
        (
            "pickle",
            "protocol3",
            None,
            "cifar10_python3_3/cifar-10-batches-py/data_batch_1",
        ),
        (
            "pickle",
            "protocol4",
            None,
            "cifar10_python3_4/cifar-10-batches-py/data_batch_1",
        ),
    ] {
        let sets = concat!(env!("CARGO_MANIFEST_DIR"), "/../archai-data/tests/sets");
        let file = fs::read(std::path::Path::new(sets).join(file)).unwrap();
        let bytes = kind.into_iter().chain(file).collect();
        all.push((target, name.into(), bytes));
    }
    for (name, text) in [
        ("names", "path,label\na.png,x\n\"a.png\",y\na.png,z\n"),
        ("numbers", "\u{feff}Label,Image\n2,a.png\n0, a.png\n"),
    ] {
        all.push(("csv", name.into(), text.as_bytes().to_vec()));
    }

    let noisy = image::RgbImage::from_fn(9, 6, |x, y| {
        image::Rgb([(x * 29) as u8, (y * 41) as u8, (x * y) as u8])
    });
    for (name, bytes) in [
        ("rgb.png", png(noisy.clone())),
        ("rgb.jpg", jpeg(noisy.clone())),
        ("grey.png", png(flat_grey(5, 7, 9))),
        ("grey.jpg", jpeg(flat_grey(17, 9, 100))),
        (
            "rgba16.png",
            png(image::DynamicImage::from(noisy.clone()).into_rgba16()),
        ),
    ] {
        all.push(("image", name.into(), bytes));
    }

    let columns = Benchmark201::ALL.map(|_| "50.5").join(",");
    let header = "index,arch_str,edges,c10_test_200ep,c100_test_200ep,in16_test_200ep";
    let lines: Vec<String> = ["220223", "110111", "444444"]
        .iter()
        .enumerate()
        .map(|(i, edges)| {
            format!(
                "{i},{},{edges},{columns}",
                edges.parse::<Cell201>().unwrap()
            )
        })
        .collect();
    let table = format!("{header}\n{}\n", lines.join("\n"));
    all.push((
        "nasbench201",
        "table.csv".into(),
        table.clone().into_bytes(),
    ));
    all.push(("nasbench201", "table.csv.gz".into(), gzip(table.as_bytes())));
    let bare =
        "edges,index,c10_test_200ep,c100_test_200ep,in16_test_200ep\r\n\"000000\",1,1e1,0,100\r\n";
    all.push(("nasbench201", "bare.csv".into(), bare.as_bytes().to_vec()));
}
