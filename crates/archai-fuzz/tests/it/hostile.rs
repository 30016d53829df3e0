//! Files that a program could choke on: lies in headers, bombs, nesting, and work that grows out of proportion.

use std::io::{Read, Write, copy, repeat};
use std::sync::Arc;

use archai_fuzz::SEPARATOR;
use flate2::{Compression, Crc, write::GzEncoder, write::ZlibEncoder};

use parquet::data_type::{ByteArray, ByteArrayType, Int32Type};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use crate::fixtures::*;
use crate::samples::Sample;

/// Largest one that is kept as a file.
const KEPT: usize = 50_000;

/// Those that are small enough to be kept as files.
pub fn kept() -> impl Iterator<Item = Sample> {
    all().into_iter().filter(|sample| sample.2.len() <= KEPT)
}

/// All of them.
pub fn all() -> Vec<Sample> {
    let mut all = Vec::new();
    let mut add = |target, name: &str, bytes: Vec<u8>| all.push((target, name.to_owned(), bytes));
    configs(&mut add);
    models(&mut add);
    runs(&mut add);
    pickles(&mut add);
    states(&mut add);
    pictures(&mut add);
    data(&mut add);
    all
}

type Add<'a> = dyn FnMut(&'static str, &str, Vec<u8>) + 'a;

/// Each list holds the one before ten times.
fn aliases(levels: usize, leaf: &str) -> String {
    let mut text = format!("a0: &a0 [{}]\n", [leaf; 10].join(", "));
    for i in 1..levels {
        text += &format!(
            "a{i}: &a{i} [{}]\n",
            vec![format!("*a{}", i - 1); 10].join(", ")
        );
    }
    text
}

fn configs(add: &mut Add<'_>) {
    let nested = |n| format!("a: {}{}\n", "[".repeat(n), "]".repeat(n));
    let blocks: String = (0..250).map(|i| format!("{}k:\n", " ".repeat(i))).collect();
    let lists: String = format!("a:\n{}x\n", "- ".repeat(5_000));
    for target in ["config", "dataset", "archai_config"] {
        add(target, "aliases", aliases(12, "x").into());
        add(target, "nested", nested(5_000).into());
        add(target, "blocks", blocks.clone().into());
        add(target, "lists", lists.clone().into());
        add(target, "contains_itself", b"a: &a {b: *a}\n".to_vec());
        add(
            target,
            "tag",
            b"a: !!python/object/apply:os.system [id]\n".to_vec(),
        );
    }
    // Every section copies the next one, and so does every part of it: written out, the views would double at every step.
    let doubling = |n: usize| -> String {
        let section = |i: usize| {
            format!(
                "k{i}: {{_copy: /k{0}, x: {{_copy: /k{0}/x, y: {{_copy: /k{0}/x/y, z: {{_copy: /k{0}/x/y/z}}}}}}}}\n",
                i + 1
            )
        };
        (0..n).map(section).collect::<String>() + &format!("k{n}: {{x: {{y: {{z: {{v: 1}}}}}}}}\n")
    };
    add("config", "doubling_copies", doubling(60).into());
    add("config", "many_copies", doubling(250).into());
    let each_other = "a: {b: {_copy: /c}}\nc: {d: {_copy: /a}, e: {_copy: /a}}\n";
    add("config", "copies_of_each_other", each_other.into());
    let chain: String = (0..40_000)
        .map(|i| format!("k{i}: '_copy: /k{}'\n", i + 1))
        .collect();
    add("config", "chain", chain.into());
    let wide: String = (0..5_000).map(|i| format!("trainer{i}: 1\n")).collect();
    add(
        "config",
        "unknown_keys",
        format!("nas:\n  search:\n    {}", wide.replace('\n', "\n    ")).into(),
    );
    let includes: String = (1..40)
        .map(|i| {
            format!(
                "{}__include__: [{i}.yaml, {i}.yaml]\n",
                if i > 1 { "\u{1e}" } else { "" }
            )
        })
        .collect();
    add("config", "doubling_includes", includes.into());
    let long_key = format!("{}: 1\n", "k".repeat(200_000));
    add("config", "long_key", long_key.clone().into());
    add("archai_config", "long_key", long_key.into());
    let unknown: String = (0..20_000).map(|i| format!("trainer{i}: 1\n")).collect();
    add("archai_config", "unknown_keys", unknown.into());
    let nowhere: String = (0..200)
        .map(|i| format!("    k{i}: '_copy: ../nothing'\n"))
        .collect();
    let nowhere = nowhere.replace("k0:", "epochs:").replace("k1:", "title:");
    add(
        "archai_config",
        "copies_of_nothing",
        format!("nas:\n  eval:\n   trainer:\n{nowhere}").into(),
    );
    add(
        "config",
        "long_number",
        format!("common: {{seed: 1{}}}\n", "0".repeat(200_000)).into(),
    );
    let lines = |line: &str, n: usize| vec![line; n].join("\n");
    add(
        "overrides",
        "deep_key",
        format!("--{}=1", vec!["a"; 20_000].join(".")).into(),
    );
    add(
        "overrides",
        "nested",
        format!("common.seed={}", "[".repeat(20_000)).into(),
    );
    add(
        "overrides",
        "many",
        lines("--nas.eval.trainer.epochs=3", 5_000).into(),
    );
    add(
        "overrides",
        "aliases",
        format!("dataset.mean={{{}}}", aliases(8, "x").replace('\n', ", ")).into(),
    );
}

fn models(add: &mut Add<'_>) {
    let head = "version: 1\ninput: {channels: 3, height: 32, width: 32}\nn_classes: 10\naffine: true\nmax_final_edges: 2\n";
    add(
        "description",
        "aliases",
        format!("{head}x: &x y\n{}", aliases(12, "x")).into(),
    );
    let op = "{name: skip_connect, ch_in: 16, ch_out: 16}";
    let edges = |n: usize| vec![format!("{{inputs: [0], op: {op}}}"); n].join(", ");
    let node = format!("&n {{edges: [{}]}}", edges(100));
    let cell = format!(
        "&c {{cell_type: regular, stems: [{op}, {op}], nodes: [{node}{}], concat: [2]}}",
        ", *n".repeat(99)
    );
    add(
        "description",
        "multiplied_cells",
        format!("{head}cells: [{cell}{}]\n", ", *c".repeat(99)).into(),
    );
    let deep = |n: usize| {
        format!(
            "{}{op}{}",
            "{name: multi_op, children: [{input: 0, op: ".repeat(n),
            "}]}".repeat(n)
        )
    };
    for n in [50, 400, 5_000] {
        add(
            "description",
            &format!("nested_{n}"),
            format!("{head}pool: {}\n", deep(n)).into(),
        );
        let archai = "{name: multi_op, children: [".repeat(n) + "]}".repeat(n).as_str();
        let archai = format!(
            "_cell_descs: [{{cell_type: regular, _nodes: [{{edges: [{{input_ids: [0], op_desc: {archai}}}]}}]}}]\n"
        );
        add("import", &format!("nested_{n}"), archai.into());
    }
    add(
        "import",
        "aliases",
        format!("{}_cell_descs: *a11\n", aliases(12, "x")).into(),
    );
    let edges = vec!["{input_ids: [0], op_desc: {name: skip_connect}}"; 3_000].join(", ");
    let cells = format!(
        "- {{cell_type: regular, _nodes: [{{edges: [{edges}]}}]}}\n{}",
        "- {cell_type: regular, _nodes: []}\n".repeat(5_000)
    );
    add(
        "import",
        "many_cells_of_many_edges",
        format!("_cell_descs:\n{cells}").into(),
    );
    let inputs = vec!["0"; 20_000].join(",");
    let wide = format!(
        "_cell_descs: [{{cell_type: regular, _nodes: [{{edges: [{{input_ids: [{inputs}], op_desc: {{name: skip_connect}}}}]}}]}}]"
    );
    add("import", "many_inputs", wide.into());

    let pairs = |n: usize| vec!["('skip_connect', 0)"; n].join(", ");
    let genotype = |n: usize, concat: &str| {
        format!(
            "Genotype(normal=[{0}], normal_concat={concat}, reduce=[{0}], reduce_concat={concat})",
            pairs(n)
        )
    };
    add(
        "genotype",
        "many_nodes",
        genotype(1_000, "range(2, 502)").into(),
    );
    add("genotype", "too_many_nodes", genotype(20_000, "[2]").into());
    add(
        "genotype",
        "range",
        genotype(2, "range(0, 18446744073709551615)").into(),
    );
    add(
        "genotype",
        "comments",
        format!("{}Genotype(", "# x\n".repeat(100_000)).into(),
    );
    for (name, text) in [
        ("unfinished", "Genotype(normal=[(".repeat(2_000)),
        ("in_comments", "Genotype(normal=[ # ".repeat(2_000)),
        ("dictionaries", "{'normal': ".repeat(4_000)),
        ("calls", "Genotype(x, ".repeat(60_000)),
        ("bars", "|none~0|+|".repeat(100_000)),
        ("brackets", format!("matrix = {}", "[".repeat(40_000))),
        (
            "matrix",
            format!("matrix = [{}]\nops = []", "[0, 1], ".repeat(100_000)),
        ),
        ("values", format!("matrix = [{}]", "0,".repeat(600_000))),
    ] {
        add("foreign", name, text.into());
    }
    add(
        "genotype",
        "code",
        b"__import__('os').system('id')".to_vec(),
    );
}

/// The older form of a PyTorch file with this pickle in the place of its weights: programs for a stack machine.
fn stream(pickle: &[u8]) -> Vec<u8> {
    let head = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.";
    let system = b"\x80\x02}(X\x0d\x00\x00\x00little_endian\x88u.";
    [&head[..], system, b"\x80\x02", pickle, b"\x80\x02]."].concat()
}

fn pickles(add: &mut Add<'_>) {
    let mut add = |name: &str, pickle: &[u8]| add("pt", name, stream(pickle));
    add("system", b"cos\nsystem\nX\x02\x00\x00\x00id\x85R.");
    add("object", b"ccollections\nOrderedDict\n)\x81}b.");
    // Each tuple holds the one before twice.
    add(
        "doubled",
        &[
            b"N".to_vec(),
            b"q\x00h\x00\x86".repeat(5_000),
            b".".to_vec(),
        ]
        .concat(),
    );
    // A list in a list in a list.
    add(
        "nested",
        &[b"]".repeat(900_000), b"a".repeat(899_999), b".".to_vec()].concat(),
    );
    add("marks", &[b"(".repeat(900_000), b".".to_vec()].concat());
    // A list that holds itself.
    add("circle", b"]q\x00h\x00a.");
    // One long list, of which dictionaries are made again and again.
    let pair = b"K\x01K\x02\x86";
    let long = [b"](".to_vec(), pair.repeat(50_000), b"e\x85q\x00".to_vec()].concat();
    let again = b"ccollections\nOrderedDict\nh\x00R".repeat(20_000);
    add("dictionaries", &[long, again, b".".to_vec()].concat());
    // A tensor of the shape of a long list, over and over.
    let shape = [b"(".to_vec(), b"K\x01".repeat(100_000), b"tq\x01".to_vec()].concat();
    let call = b"ctorch._utils\n_rebuild_tensor\n(Nh\x01h\x01h\x01tR".repeat(20_000);
    add("shapes", &[shape, call, b".".to_vec()].concat());
    // Numbers that are not there.
    let storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000N\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7ftQ";
    let shape = b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85q\x02K\x01\x85";
    let tensor = [
        b"ctorch._utils\n_rebuild_tensor\n(",
        &storage[..],
        b"K\x00",
        shape,
        b"tR",
    ]
    .concat();
    add(
        "huge",
        &[&b"}X\x01\x00\x00\x00w"[..], &tensor, b"s."].concat(),
    );
    add("endless_text", b"X\xff\xff\xff\xffabc");
}

fn runs(add: &mut Add<'_>) {
    let with_header =
        |length: u64, header: &str| [&length.to_le_bytes()[..], header.as_bytes()].concat();
    let whole = |header: &str| with_header(header.len() as u64, header);
    add("safetensors", "endless_header", with_header(u64::MAX, "{}"));
    add("safetensors", "long_header", with_header(99_000_000, "{}"));
    add(
        "safetensors",
        "nested",
        whole(&format!("{{\"a\":{}}}", "[".repeat(50_000))),
    );
    let entry = |name: &str, shape: &str, offsets: &str| {
        format!("\"{name}\":{{\"dtype\":\"F32\",\"shape\":{shape},\"data_offsets\":{offsets}}}")
    };
    let huge = "[18446744073709551615,18446744073709551615]";
    add(
        "safetensors",
        "huge_shape",
        whole(&format!("{{{}}}", entry("a", huge, "[0,4]"))),
    );
    add(
        "safetensors",
        "huge_offsets",
        whole(&format!(
            "{{{}}}",
            entry("a", "[1]", "[18446744073709551612,18446744073709551615]")
        )),
    );
    let many: Vec<String> = (0..100_000)
        .map(|i| entry(&format!("{i:x}"), "[0]", "[0,0]"))
        .collect();
    add(
        "safetensors",
        "many_tensors",
        whole(&format!("{{{}}}", many.join(","))),
    );
    let dims = format!(
        "{{{}}}",
        entry("a", &format!("[{}]", vec!["1"; 100_000].join(",")), "[0,0]")
    );
    add("safetensors", "many_dimensions", whole(&dims));
    // A description that unfolds to a thousand million values.
    let texts = serde_json::json!({"archai_model": "1", "model_desc": format!("version: 1\n{}", aliases(9, "x"))});
    let header = serde_json::json!({ "__metadata__": texts });
    add("model_file", "aliases", whole(&header.to_string()));

    let magic = b"archai checkpoint 1\n";
    add(
        "checkpoint",
        "endless_header",
        [&magic[..], &[0xff; 60]].concat(),
    );
    add(
        "checkpoint",
        "newer",
        [&b"archai checkpoint 2\n"[..], &[0; 60]].concat(),
    );
    let parts = |values: &str, numbers: &[u8]| {
        [
            b"{}",
            &[SEPARATOR][..],
            values.as_bytes(),
            &[SEPARATOR],
            numbers,
        ]
        .concat()
    };
    add(
        "checkpoint",
        "nested",
        parts(&format!("[{{\"a\":{}", "[".repeat(50_000)), b""),
    );
    let empty = vec!["{\"name\":\"\",\"shape\":[0],\"wide\":false}"; 20_000].join(",");
    add(
        "checkpoint",
        "many_tensors",
        parts(&format!("[{{}},[{empty}]]"), b""),
    );
    add(
        "checkpoint",
        "many_values",
        parts(
            &format!("[{{\"a\":[{}]}},[]]", vec!["0"; 100_000].join(",")),
            b"",
        ),
    );

    add("record", "nested", "[".repeat(100_000).into());
    add(
        "record",
        "newer",
        b"{\"version\":2,\"anything\":[1]}".to_vec(),
    );
    add("record", "negative", b"{\"version\":-1}".to_vec());
    add(
        "record",
        "endless_number",
        format!("{{\"version\":1{}}}", "0".repeat(100_000)).into(),
    );
    add(
        "record",
        "log_without_messages",
        "{\"values\":[0]}\n".repeat(20_000).into(),
    );
}

fn states(add: &mut Add<'_>) {
    add("started", "nested", "[".repeat(100_000).into());
    add(
        "started",
        "newer",
        b"{\"version\":2,\"anything\":[1]}".to_vec(),
    );
    let many = vec!["\"\""; 100_000].join(",");
    let arguments = format!("{{\"version\":1,\"arguments\":[{many}]}}");
    add("started", "many_arguments", arguments.into());

    // Metrics hold those of a validation, which might hold others without end.
    let level = "{title: t, run_metrics: {epochs_metrics: [{val_metrics: ";
    add("metrics", "nested", level.repeat(2_000).into());
    add("metrics", "aliases", aliases(12, "x").into());
    add("metrics", "not_text", vec![0xff; 100]);

    add("follower", "lines", b"\n".repeat(40_000));
    add("follower", "line_without_end", b"{".repeat(200_000));
    let values = "{\"path\":\"a\",\"values\":{}}\n\u{1e}";
    add("follower", "many_pieces", values.repeat(2_000).into());
}

fn compressed(zeros: u64, start: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::best());
    out.write_all(start).unwrap();
    copy(&mut repeat(0).take(zeros), &mut out).unwrap();
    out.finish().unwrap()
}

/// A chunk of a PNG with its checksum.
fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = Crc::new();
    crc.update(kind);
    crc.update(data);
    let length = (data.len() as u32).to_be_bytes();
    [&length[..], kind, data, &crc.sum().to_be_bytes()].concat()
}

/// A PNG that claims a size and goes on with these chunks.
fn png_of(width: u32, height: u32, colour: u8, chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut head = [width.to_be_bytes(), height.to_be_bytes()].concat();
    head.extend([8, colour, 0, 0, 0]);
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    png.extend(chunk(b"IHDR", &head));
    chunks.iter().for_each(|chunk| png.extend(chunk));
    png.extend(chunk(b"IEND", b""));
    png
}

fn zlib(zeros: u64) -> Vec<u8> {
    let mut out = ZlibEncoder::new(Vec::new(), Compression::best());
    copy(&mut repeat(0).take(zeros), &mut out).unwrap();
    out.finish().unwrap()
}

fn pictures(add: &mut Add<'_>) {
    // 42 KB that become 42 MB, and as much as the format can become.
    let pixels = 6_500u64;
    let flat = png_of(
        pixels as u32,
        pixels as u32,
        0,
        &[chunk(b"IDAT", &zlib(pixels * (pixels + 1)))],
    );
    assert!((40_000..44_000).contains(&flat.len()), "{}", flat.len());
    add("image", "flat_42_kb.png", flat);
    for (name, width, height) in [
        ("wide", 16_384, 16_384),
        ("endless", u32::MAX >> 1, u32::MAX >> 1),
        ("line", 16_384, 1),
        ("none", 0, 0),
    ] {
        add(
            "image",
            &format!("{name}.png"),
            png_of(width, height, 2, &[chunk(b"IDAT", &zlib(1_000))]),
        );
    }
    let profile = [&b"p\0\0"[..], &zlib(40 << 20)].concat();
    add(
        "image",
        "profile_bomb.png",
        png_of(
            4,
            4,
            2,
            &[chunk(b"iCCP", &profile), chunk(b"IDAT", &zlib(52))],
        ),
    );
    let text = [&b"t\0\0"[..], &zlib(40 << 20)].concat();
    add(
        "image",
        "text_bomb.png",
        png_of(4, 4, 2, &[chunk(b"zTXt", &text), chunk(b"IDAT", &zlib(52))]),
    );
    add(
        "image",
        "excess_pixels.png",
        png_of(4, 4, 2, &[chunk(b"IDAT", &zlib(40 << 20))]),
    );
    for side in [6_500u16, 16_384, u16::MAX] {
        let mut picture = jpeg(flat_rgb(8, 8, [9, 8, 7]));
        let frame = picture
            .windows(2)
            .position(|two| two == [0xff, 0xc0])
            .unwrap();
        picture[frame + 5..frame + 7].copy_from_slice(&side.to_be_bytes());
        picture[frame + 7..frame + 9].copy_from_slice(&side.to_be_bytes());
        add("image", &format!("claims_{side}.jpg"), picture);
    }
    add("image", "gif", b"GIF89a\xff\xff\xff\xff".to_vec());
}

/// A parquet file of a footer alone. Its schema is one group that claims a number of children.
fn claims_children(n: &[u8]) -> Vec<u8> {
    let footer = [
        &b"\x15\x02\x19\x1c\x48\x01m\x15"[..],
        n,
        b"\0\x16\0\x19\x0c\0",
    ]
    .concat();
    [
        b"PAR1",
        &footer[..],
        &(footer.len() as u32).to_le_bytes(),
        b"PAR1",
    ]
    .concat()
}

/// One row group in which the same picture stands in every row: a few bits each.
fn one_group(picture: &[u8], rows: usize) -> Vec<u8> {
    let schema = "message schema { required binary image; required int32 label; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let picture = ByteArray::from(picture.to_vec());
    let mut column = group.next_column().unwrap().unwrap();
    let images = vec![picture; rows];
    let images = column
        .typed::<ByteArrayType>()
        .write_batch(&images, None, None);
    assert_eq!(images.unwrap(), rows);
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let labels = column
        .typed::<Int32Type>()
        .write_batch(&vec![0; rows], None, None);
    assert_eq!(labels.unwrap(), rows);
    column.close().unwrap();
    group.close().unwrap();
    writer.into_inner().unwrap()
}

fn data(add: &mut Add<'_>) {
    let pair = |labels: &[u8], images: &[u8]| [labels, &[SEPARATOR], images].concat();
    let labels = idx(&[4], &[0, 1, 2, 0]);
    add(
        "idx",
        "huge_dimensions",
        pair(&labels, &idx(&[u32::MAX; 3], b"x")),
    );
    add(
        "idx",
        "many_images",
        pair(&idx(&[u32::MAX], b"x"), &idx(&[u32::MAX, 1, 1], b"x")),
    );
    let bomb = compressed(42 << 20, &idx(&[4, 16_384, 16_384], b""));
    assert!((40_000..46_000).contains(&bomb.len()), "{}", bomb.len());
    add("idx", "bomb_42_kb", pair(&labels, &bomb));
    let many = 1 << 26;
    add(
        "idx",
        "bomb_of_images",
        pair(
            &compressed(many, &idx(&[many as u32], b"")),
            &compressed(many, &idx(&[many as u32, 1, 1], b"")),
        ),
    );
    add(
        "idx",
        "empty_members",
        pair(&labels, &gzip(b"").repeat(2_000)),
    );

    let archive = |kind: u8, bytes: Vec<u8>| [&[kind][..], &bytes].concat();
    let member = |name: &str, size: u64, kind: tar::EntryType| {
        let mut header = tar::Header::new_gnu();
        header.set_path(name).unwrap();
        header.set_size(size);
        header.set_entry_type(kind);
        header.set_cksum();
        header.as_bytes().to_vec()
    };
    use tar::EntryType;
    add(
        "cifar",
        "huge_member",
        archive(2, member("data_batch_1.bin", 8 << 30, EntryType::Regular)),
    );
    add(
        "cifar",
        "huge_name",
        archive(2, member("x", 8 << 30, EntryType::GNULongName)),
    );
    add(
        "cifar",
        "huge_extension",
        archive(2, member("x", 8 << 30, EntryType::XHeader)),
    );
    let mut sparse = tar::Header::new_gnu();
    sparse.set_path("data_batch_1.bin").unwrap();
    sparse.set_entry_type(EntryType::GNUSparse);
    sparse.set_size(0);
    if let Some(gnu) = sparse.as_gnu_mut() {
        gnu.realsize.copy_from_slice(b"007777777777");
    }
    sparse.set_cksum();
    add(
        "cifar",
        "sparse",
        archive(2, [sparse.as_bytes(), &[0; 1024][..]].concat()),
    );
    for (name, kind) in [
        ("bomb", EntryType::Regular),
        ("name_bomb", EntryType::GNULongName),
        ("extension_bomb", EntryType::XHeader),
    ] {
        let bomb = compressed(42 << 20, &member("data_batch_1.bin", 42 << 20, kind));
        add("cifar", &format!("{name}_42_kb"), archive(1, bomb));
    }
    for name in ["../../data_batch_1.bin", "/etc/data_batch_1.bin"] {
        let slip = tar_gz(&[(name, &cifar_record(&[1], [1, 2, 3]))]);
        add("cifar", &format!("slip_{}", name.len()), archive(1, slip));
    }

    add(
        "parquet",
        "children_lie",
        claims_children(b"\xfe\xff\xff\xff\x0f"),
    );
    add("parquet", "children_negative", claims_children(b"\x01"));
    add("parquet", "empty", claims_children(b"\0"));
    let zeros = [(Some(vec![0; 60 << 20]), 0)];
    let page = parquet_table(Layout::Plain, &zeros, zstd());
    assert!(page.len() < 50_000, "{}", page.len());
    add("parquet", "page_bomb", page);
    let picture = png(flat_grey(2, 2, 1));
    add("parquet", "row_bomb", one_group(&picture, 1_000_000));
    add(
        "parquet",
        "long_footer",
        [&b"PAR1"[..], &u32::MAX.to_le_bytes(), b"PAR1"].concat(),
    );

    let array = |kind: u8, header: &str, bytes: &[u8]| {
        let length = (header.len() as u32).to_le_bytes();
        [
            &[kind][..],
            b"\x93NUMPY\x02\x00",
            &length,
            header.as_bytes(),
            bytes,
        ]
        .concat()
    };
    for (name, shape) in [
        ("huge_shape", "(5, 9999999999, 9999999999)"),
        ("no_pictures", "(0, 4, 5)"),
        ("many_sides", &format!("({})", "1, ".repeat(1000))),
        ("nested", &"(".repeat(10_000)),
    ] {
        let header = format!("{{'descr': '|u1', 'fortran_order': True, 'shape': {shape}, }}");
        add("npz", name, array(1, &header, b"x"));
    }
    add(
        "npz",
        "long_header",
        [&b"\x01\x93NUMPY\x02\x00"[..], &[0xff; 4], b"{"].concat(),
    );
    add(
        "npz",
        "many_labels",
        array(
            2,
            "{'descr': '<i8', 'fortran_order': False, 'shape': (2305843009213693953,), }",
            b"x",
        ),
    );
    let head = [&[b' '; 124][..], &[0, 1, b'I', b'M']].concat();
    let element = |kind: u32, bytes: u32| [kind.to_le_bytes(), bytes.to_le_bytes()].concat();
    add(
        "mat",
        "long_element",
        [&head[..], &element(14, u32::MAX)].concat(),
    );
    add(
        "mat",
        "many_elements",
        [&head[..], &element(1, 0).repeat(2_000)].concat(),
    );
    let mut bomb = ZlibEncoder::new(Vec::new(), Compression::best());
    let matrix = [
        element(14, 64 << 20),
        element(6, 8),
        vec![9, 0, 0, 0, 0, 0, 0, 0],
        element(5, 64 << 20),
    ]
    .concat();
    bomb.write_all(&matrix)
        .and_then(|()| bomb.write_all(&vec![0; 64 << 20]))
        .unwrap();
    let bomb = bomb.finish().unwrap();
    add(
        "mat",
        "bomb",
        [&head[..], &element(15, bomb.len() as u32), &bomb].concat(),
    );
    add(
        "pickle",
        "global",
        b"\x80\x02cos\nsystem\nU\x04true\x85R.".to_vec(),
    );
    add(
        "pickle",
        "marks",
        [&b"\x80\x02"[..], &[b'('; 20_000]].concat(),
    );
    add(
        "pickle",
        "tuples",
        [&b"\x80\x02)"[..], &[0x85; 20_000], b"."].concat(),
    );
    let encode = b"h\x00h\x01h\x02\x86R0".repeat(2_000);
    add(
        "pickle",
        "many_copies",
        [
            &b"\x80\x02c_codecs\nencode\nq\x00X\x10\x27\0\0"[..],
            &[b'a'; 10_000],
            b"q\x01X\x06\0\0\0latin1q\x02",
            &encode,
        ]
        .concat(),
    );
    add(
        "csv",
        "one_line",
        [&b"path,label\n"[..], &b"a".repeat(40_000)].concat(),
    );
    add("csv", "many_columns", b",".repeat(40_000));
    add(
        "csv",
        "quotes",
        [&b"path,label\n\""[..], &b"\"\"".repeat(20_000)].concat(),
    );
    let mut long_name = tar::Header::new_gnu();
    long_name.set_entry_type(tar::EntryType::GNULongName);
    long_name.set_size(u64::MAX >> 12);
    long_name.set_cksum();
    add("webdataset", "long_name", long_name.as_bytes().to_vec());
    let mut large = tar::Header::new_gnu();
    large.set_path("a.png").unwrap();
    large.set_size(u64::MAX >> 1);
    large.set_cksum();
    add("webdataset", "large_member", large.as_bytes().to_vec());

    let header = "index,arch_str,edges,c10_test_200ep,c100_test_200ep,in16_test_200ep\n";
    add(
        "nasbench201",
        "line_bomb_42_kb",
        compressed(42 << 20, header.as_bytes()),
    );
    add(
        "nasbench201",
        "many_columns",
        format!("{header}{}\n", ",".repeat(1_000_000)).into(),
    );
    add(
        "nasbench201",
        "many_rows",
        format!("{header}{}", "1,,000000,1,1,1\n".repeat(20_000)).into(),
    );
}
