//! The messages of ONNX files that a network needs, with the field numbers of `onnx.proto3`, and short ways to make them.

use prost::Message;

/// A file.
#[derive(Clone, PartialEq, Message)]
pub struct Model {
    /// Version of the format, which goes with the version of the operators.
    #[prost(int64, tag = "1")]
    pub ir_version: i64,
    /// The program that wrote it.
    #[prost(string, tag = "2")]
    pub producer_name: String,
    /// Its version.
    #[prost(string, tag = "3")]
    pub producer_version: String,
    /// For people.
    #[prost(string, tag = "6")]
    pub doc_string: String,
    /// The network.
    #[prost(message, optional, tag = "7")]
    pub graph: Option<Graph>,
    /// Versions of the operators.
    #[prost(message, repeated, tag = "8")]
    pub opset_import: Vec<OperatorSet>,
    /// Texts by name.
    #[prost(message, repeated, tag = "14")]
    pub metadata_props: Vec<Text>,
}

/// Version of a set of operators. The standard ones have no domain.
#[derive(Clone, PartialEq, Message)]
pub struct OperatorSet {
    /// Whose operators.
    #[prost(string, tag = "1")]
    pub domain: String,
    /// Their version.
    #[prost(int64, tag = "2")]
    pub version: i64,
}

/// A text with a name.
#[derive(Clone, PartialEq, Message)]
pub struct Text {
    /// Its name.
    #[prost(string, tag = "1")]
    pub key: String,
    /// The text.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// A network: nodes in an order of execution.
#[derive(Clone, PartialEq, Message)]
pub struct Graph {
    /// The nodes.
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<Node>,
    /// Its name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Constants, parameters among them.
    #[prost(message, repeated, tag = "5")]
    pub initializer: Vec<Tensor>,
    /// For people.
    #[prost(string, tag = "10")]
    pub doc_string: String,
    /// What goes in.
    #[prost(message, repeated, tag = "11")]
    pub input: Vec<ValueInfo>,
    /// What comes out.
    #[prost(message, repeated, tag = "12")]
    pub output: Vec<ValueInfo>,
    /// Types of the values between.
    #[prost(message, repeated, tag = "13")]
    pub value_info: Vec<ValueInfo>,
}

/// An operation.
#[derive(Clone, PartialEq, Message)]
pub struct Node {
    /// Names of the values that it reads; an empty name leaves an optional one out.
    #[prost(string, repeated, tag = "1")]
    pub input: Vec<String>,
    /// Names of the values that it gives.
    #[prost(string, repeated, tag = "2")]
    pub output: Vec<String>,
    /// Its name.
    #[prost(string, tag = "3")]
    pub name: String,
    /// The operator.
    #[prost(string, tag = "4")]
    pub op_type: String,
    /// Settings of the operator.
    #[prost(message, repeated, tag = "5")]
    pub attribute: Vec<Attribute>,
    /// For people.
    #[prost(string, tag = "6")]
    pub doc_string: String,
}

/// A setting of an operator.
#[derive(Clone, PartialEq, Message)]
pub struct Attribute {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// If it is a number of 32 bits with a fraction.
    #[prost(float, tag = "2")]
    pub f: f32,
    /// If it is a whole number.
    #[prost(int64, tag = "3")]
    pub i: i64,
    /// If it is a tensor.
    #[prost(message, optional, tag = "5")]
    pub t: Option<Tensor>,
    /// If it is a list of whole numbers.
    #[prost(int64, repeated, tag = "8")]
    pub ints: Vec<i64>,
    /// Which of these it is.
    #[prost(enumeration = "AttributeType", tag = "20")]
    pub r#type: i32,
}

/// Kinds of [`Attribute`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum AttributeType {
    /// None.
    Undefined = 0,
    /// A number.
    Float = 1,
    /// A whole number.
    Int = 2,
    /// A tensor.
    Tensor = 4,
    /// Whole numbers.
    Ints = 7,
}

/// Types of the numbers of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum DataType {
    /// None.
    Undefined = 0,
    /// 32 bits with a fraction.
    Float = 1,
    /// 0 to 255.
    Uint8 = 2,
    /// −128 to 127.
    Int8 = 3,
    /// Whole numbers of 32 bits.
    Int32 = 6,
    /// Whole numbers of 64 bits.
    Int64 = 7,
    /// 16 bits with a fraction.
    Float16 = 10,
}

/// A constant.
#[derive(Clone, PartialEq, Message)]
pub struct Tensor {
    /// Its shape; none for a single number.
    #[prost(int64, repeated, tag = "1")]
    pub dims: Vec<i64>,
    /// Type of its numbers.
    #[prost(enumeration = "DataType", tag = "2")]
    pub data_type: i32,
    /// Its name.
    #[prost(string, tag = "8")]
    pub name: String,
    /// The numbers in row-major order, little-endian.
    #[prost(bytes = "vec", tag = "9")]
    pub raw_data: Vec<u8>,
}

/// A value's name and type.
#[derive(Clone, PartialEq, Message)]
pub struct ValueInfo {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its type.
    #[prost(message, optional, tag = "2")]
    pub r#type: Option<Type>,
    /// For people.
    #[prost(string, tag = "3")]
    pub doc_string: String,
}

/// A type; only tensors occur.
#[derive(Clone, PartialEq, Message)]
pub struct Type {
    /// Numbers and shape.
    #[prost(message, optional, tag = "1")]
    pub tensor_type: Option<TensorType>,
}

/// Type of a tensor.
#[derive(Clone, PartialEq, Message)]
pub struct TensorType {
    /// Type of its numbers.
    #[prost(enumeration = "DataType", tag = "1")]
    pub elem_type: i32,
    /// Its shape.
    #[prost(message, optional, tag = "2")]
    pub shape: Option<TensorShape>,
}

/// Shape of a tensor.
#[derive(Clone, PartialEq, Message)]
pub struct TensorShape {
    /// Its axes.
    #[prost(message, repeated, tag = "1")]
    pub dim: Vec<Dim>,
}

/// Size of an axis.
#[derive(Clone, PartialEq, Message)]
pub struct Dim {
    /// How large it is.
    #[prost(oneof = "Size", tags = "1, 2")]
    pub value: Option<Size>,
}

/// Size of an axis: a number, or a name for what each call decides.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Size {
    /// Always this many.
    #[prost(int64, tag = "1")]
    Value(i64),
    /// As many as there are.
    #[prost(string, tag = "2")]
    Param(String),
}

/// Whole numbers of ONNX are signed; what does not fit is larger than any memory.
pub fn int(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

impl Node {
    /// An operation that gives one value, and is called as this value is.
    pub fn new(op_type: &str, inputs: &[&str], output: &str) -> Node {
        Node {
            op_type: op_type.to_string(),
            input: inputs.iter().map(|name| name.to_string()).collect(),
            output: vec![output.to_string()],
            name: output.to_string(),
            ..Node::default()
        }
    }
    /// The same with a setting that is a list.
    #[must_use]
    pub fn with_ints(self, name: &str, ints: &[usize]) -> Node {
        self.with(Attribute {
            name: name.to_string(),
            ints: ints.iter().map(|&n| int(n)).collect(),
            r#type: AttributeType::Ints.into(),
            ..Attribute::default()
        })
    }
    /// The same with a setting that is a whole number.
    #[must_use]
    pub fn with_int(self, name: &str, i: usize) -> Node {
        self.with(Attribute {
            name: name.to_string(),
            i: int(i),
            r#type: AttributeType::Int.into(),
            ..Attribute::default()
        })
    }
    /// The same with a setting that is a number.
    #[must_use]
    pub fn with_float(self, name: &str, f: f32) -> Node {
        self.with(Attribute {
            name: name.to_string(),
            f,
            r#type: AttributeType::Float.into(),
            ..Attribute::default()
        })
    }
    /// The same with a setting that is a tensor.
    #[must_use]
    pub fn with_tensor(self, name: &str, t: Tensor) -> Node {
        self.with(Attribute {
            name: name.to_string(),
            t: Some(t),
            r#type: AttributeType::Tensor.into(),
            ..Attribute::default()
        })
    }
    /// The same with another setting.
    #[must_use]
    pub fn with(mut self, attribute: Attribute) -> Node {
        self.attribute.push(attribute);
        self
    }
}

impl Tensor {
    /// Numbers of 32 bits, the nearest to those given.
    pub fn floats(name: &str, shape: &[usize], values: &[f64]) -> Tensor {
        let bytes = values.iter().flat_map(|&v| (v as f32).to_le_bytes());
        Tensor::raw(name, shape, DataType::Float, bytes.collect())
    }
    /// Whole numbers, as shapes and axes are given.
    pub fn ints(name: &str, values: &[i64]) -> Tensor {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes());
        Tensor::raw(name, &[values.len()], DataType::Int64, bytes.collect())
    }
    /// Bytes as they are.
    pub fn raw(name: &str, shape: &[usize], data_type: DataType, raw_data: Vec<u8>) -> Tensor {
        Tensor {
            name: name.to_string(),
            dims: shape.iter().map(|&n| int(n)).collect(),
            data_type: data_type.into(),
            raw_data,
        }
    }
}

impl ValueInfo {
    /// A tensor whose first axis has the size of the batch.
    pub fn batched(name: &str, data_type: DataType, shape: &[usize]) -> ValueInfo {
        let batch = Size::Param(BATCH.to_string());
        let sizes = shape.iter().map(|&n| Size::Value(int(n)));
        let dims = std::iter::once(batch).chain(sizes);
        let dim = dims.map(|size| Dim { value: Some(size) }).collect();
        ValueInfo {
            name: name.to_string(),
            r#type: Some(Type {
                tensor_type: Some(TensorType {
                    elem_type: data_type.into(),
                    shape: Some(TensorShape { dim }),
                }),
            }),
            doc_string: String::new(),
        }
    }
}

/// Name of the first axis of all values.
pub const BATCH: &str = "batch";
