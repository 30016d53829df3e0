//! Weights in files: what is written is what is read, by our reader and by a decoder that knows only what PyTorch's safe
//! loader allows.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};

use archai_export::{
    Exported, Exporter, ModelInfo, NamedTensor, Options, builtin, read_safetensors, width,
    write_pt, write_safetensors,
};
use archai_spec::desc::{OpCatalog, build, zoo};
use archai_spec::settings::Settings;

fn pt(tensors: &[NamedTensor]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    write_pt(&mut bytes, tensors)?;
    Ok(bytes)
}

fn safetensors(tensors: &[NamedTensor], texts: &BTreeMap<String, String>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    write_safetensors(&mut bytes, tensors, texts)?;
    Ok(bytes)
}

fn tensor(name: &str, shape: &[usize]) -> NamedTensor {
    let n: usize = shape.iter().product();
    // Exact in 32 bits, so that equality holds after a round trip.
    let values = (0..n).map(|i| (i as f64 - 3.0) * 0.25).collect();
    NamedTensor {
        name: name.into(),
        shape: shape.to_vec(),
        values,
    }
}

fn samples() -> Vec<NamedTensor> {
    vec![
        tensor("stem0.conv1.weight", &[4, 3, 3, 3]),
        tensor("a.scalar", &[]),
        tensor("cell0.node1.edge2.sep_conv_3x3.bn1.weight", &[300]),
        tensor("empty", &[0, 2]),
        tensor("classifier.linear1.weight", &[10, 700]),
    ]
}

#[test]
fn safetensors_round_trip() {
    let texts: BTreeMap<_, _> = [
        ("description", "version: 1\ncells: []\n"),
        ("digest", "ab12"),
    ]
    .map(|(k, v)| (k.into(), v.into()))
    .into();
    let bytes = safetensors(&samples(), &texts).unwrap();
    let (tensors, metadata) = read_safetensors(&bytes).unwrap();
    assert_eq!(metadata, texts);
    // Tensors without numbers share their place with a neighbour, so only the others have a fixed order.
    let full = |t: Vec<NamedTensor>| {
        t.into_iter()
            .filter(|t| !t.values.is_empty())
            .collect::<Vec<_>>()
    };
    assert_eq!(tensors.len(), samples().len());
    assert_eq!(full(tensors), full(samples()));

    assert_eq!(
        bytes,
        safetensors(&samples(), &texts).unwrap(),
        "same tensors, same bytes"
    );
}

/// The file of an exporter, with weights in half precision. The network is of no matter.
fn in_half(name: &str, state: &[NamedTensor]) -> io::Result<Vec<u8>> {
    let settings = Settings::shipped("cifar10").unwrap();
    let catalog = OpCatalog::builtin();
    let builder = zoo::builder("resnet20").unwrap();
    let desc = &settings.nas.search.model_desc;
    let desc = build(&*builder, desc, None, true, &catalog).unwrap().desc;
    let exporters = builtin();
    let exporter: &dyn Exporter = exporters
        .iter()
        .find(|e| e.name() == name)
        .unwrap()
        .as_ref();
    let mut bytes = Vec::new();
    let model = Exported {
        desc: &desc,
        catalog: &catalog,
        state,
        info: &ModelInfo::new(&settings.dataset, &[]),
        options: &Options {
            half: true,
            ..Options::default()
        },
    };
    exporter.export(&model, &mut bytes)?;
    Ok(bytes)
}

#[test]
fn weights_in_half_precision() {
    let third = |name: &str, shape: &[usize]| NamedTensor {
        values: vec![1.0 / 3.0; shape.iter().product()],
        ..tensor(name, shape)
    };
    let state = vec![
        third("conv.weight", &[4, 3, 3, 3]),
        third("bn.weight", &[4]),
        third("linear.weight", &[10, 4]),
    ];
    let options = Options {
        half: true,
        ..Options::default()
    };
    let rounded = width::rounded(&state, &options).unwrap();
    // Ten bits of fraction, and 23.
    assert_eq!(rounded[0].values[0], 1365.0 / 4096.0);
    assert_eq!(rounded[1].values[0], f64::from(1.0_f32 / 3.0));
    let bytes = in_half("safetensors", &state).unwrap();
    assert_eq!(read_safetensors(&bytes).unwrap().0, rounded);
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.tensor("conv.weight").unwrap().data().len(), 2 * 108);
    assert_eq!(load_pt(&in_half("pytorch", &state).unwrap()), rounded);
    for name in ["safetensors", "pytorch"] {
        let large = NamedTensor {
            values: vec![65_520.0, 0.0],
            ..tensor("conv7.weight", &[2, 1])
        };
        let error = in_half(name, &[large]).unwrap_err().to_string();
        assert!(
            error.contains("tensor `conv7.weight` holds 65520"),
            "{error}"
        );
    }
}

#[test]
fn broken_safetensors_are_refused_by_name() {
    let whole = safetensors(&samples(), &BTreeMap::new()).unwrap();
    for (what, bytes) in [
        ("cut off", &whole[..whole.len() - 1]),
        ("no header", &whole[..4]),
        ("text", b"Not a tensor in sight."),
    ] {
        let error = read_safetensors(bytes).unwrap_err().to_string();
        assert!(
            error.contains("not a whole safetensors file"),
            "{what}: {error}"
        );
    }
}

#[test]
fn impossible_tensors_are_refused() {
    let twice = vec![tensor("w", &[1]), tensor("w", &[2])];
    let short = vec![NamedTensor {
        values: vec![1.0],
        ..tensor("w", &[2, 2])
    }];
    for (tensors, expect) in [
        (twice, "two tensors are called `w`"),
        (short, "should hold 4 numbers and holds 1"),
    ] {
        for error in [pt(&tensors), safetensors(&tensors, &BTreeMap::new())] {
            let error = error.unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        }
    }
}

#[test]
fn pytorch_files_decode_with_what_the_safe_loader_allows() {
    let bytes = pt(&samples()).unwrap();
    assert_eq!(load_pt(&bytes), samples());
    assert_eq!(bytes, pt(&samples()).unwrap(), "same tensors, same bytes");
}

/// Reads a state dict as PyTorch does, and checks what its loader needs: stored entries, one folder, alignment.
fn load_pt(bytes: &[u8]) -> Vec<NamedTensor> {
    let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut files = BTreeMap::new();
    for i in 0..zip.len() {
        let mut entry = zip.by_index(i).unwrap();
        assert_eq!(entry.compression(), zip::CompressionMethod::Stored);
        let name = entry.name().unwrap().into_owned();
        assert_eq!(entry.data_start().unwrap() % 64, 0, "{name} is not aligned");
        let name = name
            .strip_prefix("model/")
            .expect("one folder holds everything")
            .to_string();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        files.insert(name, bytes);
    }
    assert_eq!(files["version"], b"3\n");
    assert_eq!(files["byteorder"], b"little");
    let Value::Dict(items) = unpickle(&files["data.pkl"]) else {
        panic!("not a dictionary")
    };
    assert_eq!(
        files.len(),
        3 + items.len(),
        "one entry of data for each tensor"
    );
    items
        .into_iter()
        .map(|(name, value)| {
            let (
                Value::Text(name),
                Value::Tensor {
                    key,
                    half,
                    shape,
                    strides,
                },
            ) = (name, value)
            else {
                panic!("expected name and tensor")
            };
            let expected: Vec<usize> = (0..shape.len())
                .map(|axis| shape[axis + 1..].iter().map(|&n| n.max(1)).product())
                .collect();
            assert_eq!(strides, expected, "{name}");
            let data = &files[&format!("data/{key}")];
            let numbers: usize = shape.iter().product();
            let values: Vec<f64> = match half {
                true => (data.as_chunks::<2>().0.iter())
                    .map(|&b| half::f16::from_le_bytes(b).to_f64())
                    .collect(),
                false => (data.as_chunks::<4>().0.iter())
                    .map(|&b| f32::from_le_bytes(b).into())
                    .collect(),
            };
            assert_eq!(values.len(), numbers, "{name}");
            NamedTensor {
                name,
                shape,
                values,
            }
        })
        .collect()
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Mark,
    Global(String),
    Text(String),
    Int(usize),
    False,
    Tuple(Vec<Value>),
    Storage {
        key: String,
        half: bool,
        numbers: usize,
    },
    Tensor {
        key: String,
        half: bool,
        shape: Vec<usize>,
        strides: Vec<usize>,
    },
    Dict(Vec<(Value, Value)>),
}

/// A pickle machine with the opcodes of protocol 2 that a state dict needs; any other opcode or call panics.
fn unpickle(pickle: &[u8]) -> Value {
    let mut at = 0;
    let mut take = |n: usize| {
        at += n;
        &pickle[at - n..at]
    };
    let mut stack: Vec<Value> = Vec::new();
    let to_mark = |stack: &mut Vec<Value>| {
        let mark = stack
            .iter()
            .rposition(|v| *v == Value::Mark)
            .expect("a mark");
        let items = stack.split_off(mark + 1);
        stack.pop();
        items
    };
    loop {
        match take(1)[0] {
            0x80 => assert_eq!(take(1), [2], "protocol"),
            b'c' => {
                let mut line = || {
                    let mut text = String::new();
                    while !text.ends_with('\n') {
                        text.push(take(1)[0].into());
                    }
                    text.pop();
                    text
                };
                stack.push(Value::Global(format!("{}.{}", line(), line())));
            }
            b')' => stack.push(Value::Tuple(vec![])),
            b'(' => stack.push(Value::Mark),
            b't' => {
                let items = to_mark(&mut stack);
                stack.push(Value::Tuple(items));
            }
            b'X' => {
                let length = u32::from_le_bytes(take(4).try_into().unwrap()) as usize;
                stack.push(Value::Text(
                    String::from_utf8(take(length).to_vec()).unwrap(),
                ));
            }
            b'K' => stack.push(Value::Int(take(1)[0].into())),
            b'M' => stack.push(Value::Int(
                u16::from_le_bytes(take(2).try_into().unwrap()).into(),
            )),
            b'J' => stack.push(Value::Int(
                i32::from_le_bytes(take(4).try_into().unwrap())
                    .try_into()
                    .unwrap(),
            )),
            0x89 => stack.push(Value::False),
            b'Q' => {
                let Some(Value::Tuple(id)) = stack.pop() else {
                    panic!("no persistent id")
                };
                let [
                    Value::Text(kind),
                    Value::Global(class),
                    Value::Text(key),
                    Value::Text(place),
                    Value::Int(numbers),
                ] = &id[..]
                else {
                    panic!("persistent id {id:?}")
                };
                assert_eq!((kind.as_str(), place.as_str()), ("storage", "cpu"));
                let half = class == "torch.HalfStorage";
                assert!(half || class == "torch.FloatStorage", "{class}");
                stack.push(Value::Storage {
                    key: key.clone(),
                    half,
                    numbers: *numbers,
                });
            }
            b'R' => {
                let (arguments, function) = (stack.pop().unwrap(), stack.pop().unwrap());
                let (Value::Tuple(arguments), Value::Global(function)) = (arguments, function)
                else {
                    panic!("not a call")
                };
                stack.push(match (function.as_str(), &arguments[..]) {
                    ("collections.OrderedDict", []) => Value::Dict(vec![]),
                    (
                        "torch._utils._rebuild_tensor_v2",
                        [
                            Value::Storage { key, half, numbers },
                            Value::Int(0),
                            Value::Tuple(shape),
                            Value::Tuple(strides),
                            Value::False,
                            Value::Dict(_),
                        ],
                    ) => {
                        let ints = |t: &[Value]| -> Vec<usize> {
                            t.iter()
                                .map(|v| {
                                    if let Value::Int(n) = v {
                                        *n
                                    } else {
                                        panic!("{v:?} is no number")
                                    }
                                })
                                .collect()
                        };
                        let (shape, strides) = (ints(shape), ints(strides));
                        assert_eq!(shape.iter().product::<usize>(), *numbers);
                        Value::Tensor {
                            key: key.clone(),
                            half: *half,
                            shape,
                            strides,
                        }
                    }
                    other => panic!("the safe loader refuses {other:?}"),
                });
            }
            b'u' => {
                let items = to_mark(&mut stack);
                let Some(Value::Dict(dict)) = stack.last_mut() else {
                    panic!("items without a dictionary")
                };
                dict.extend(
                    items
                        .as_chunks::<2>()
                        .0
                        .iter()
                        .cloned()
                        .map(|[k, v]| (k, v)),
                );
            }
            b'.' => {
                let [value] = &stack[..] else {
                    panic!("{} values left", stack.len())
                };
                return value.clone();
            }
            other => panic!("opcode {other:#x}"),
        }
    }
}
