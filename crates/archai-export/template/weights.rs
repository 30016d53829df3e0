//! The network's numbers, read from a safetensors file: eight bytes with the length of a header, the header in JSON (name, type,
//! shape and place of every tensor), and the numbers.

use std::collections::HashMap;
use std::path::Path;

use crate::Error;

/// Tensors by name.
pub struct Weights {
    bytes: Vec<u8>,
    tensors: HashMap<String, Tensor>,
}

struct Tensor {
    half: bool,
    begin: usize,
    end: usize,
}

impl Weights {
    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let place = path.display();
        let bytes = std::fs::read(path).map_err(|e| Error(format!("cannot read `{place}`: {e}")))?;
        Weights::from_bytes(bytes).map_err(|e| Error(format!("`{place}`: {e}")))
    }

    /// Takes a file's contents.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, Error> {
        let broken = || Error("it is no whole safetensors file".to_string());
        let length = bytes.first_chunk::<8>().ok_or_else(broken)?;
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| broken())?;
        let data = length.checked_add(8).ok_or_else(broken)?;
        let header = bytes.get(8..data).ok_or_else(broken)?;
        let header = std::str::from_utf8(header).map_err(|_| broken())?;
        let mut tensors = HashMap::new();
        let Json::Object(entries) = Json::parse(header)? else {
            return Err(broken());
        };
        for (name, entry) in entries {
            if name == "__metadata__" {
                continue;
            }
            let Json::Object(fields) = entry else {
                return Err(broken());
            };
            let field = |wanted: &str| fields.iter().find(|(name, _)| name == wanted).map(|f| &f.1);
            let numbers = |wanted| match field(wanted) {
                Some(Json::Array(items)) => items.iter().map(Json::number).collect(),
                _ => None,
            };
            let shape: Vec<usize> = numbers("shape").ok_or_else(broken)?;
            let offsets: Vec<usize> = numbers("data_offsets").ok_or_else(broken)?;
            let half = match field("dtype") {
                Some(Json::Text(kind)) if kind == "F32" => false,
                Some(Json::Text(kind)) if kind == "F16" => true,
                _ => return Err(Error(format!("tensor `{name}` is neither F32 nor F16"))),
            };
            let count = shape.iter().try_fold(1, |all: usize, &n| all.checked_mul(n));
            let size = count.and_then(|n| n.checked_mul(if half { 2 } else { 4 }));
            let [begin, end] = offsets[..] else {
                return Err(broken());
            };
            let (begin, end) = (begin.checked_add(data), end.checked_add(data));
            let (begin, end) = begin.zip(end).ok_or_else(broken)?;
            if begin > end || end > bytes.len() || Some(end - begin) != size {
                return Err(Error(format!("tensor `{name}` does not lie within the file")));
            }
            tensors.insert(name, Tensor { half, begin, end });
        }
        Ok(Weights { bytes, tensors })
    }

    /// Whether there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The numbers of a tensor.
    pub fn get(&self, name: &str) -> Result<Vec<f32>, Error> {
        let tensor = self.tensors.get(name).ok_or_else(|| {
            Error(format!("there is no tensor `{name}`: the weights are of another network"))
        })?;
        let bytes = &self.bytes[tensor.begin..tensor.end];
        Ok(match tensor.half {
            false => bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            true => bytes.as_chunks::<2>().0.iter().map(|b| single(u16::from_le_bytes(*b))).collect(),
        })
    }
}

/// A number of 16 bits as one of 32.
fn single(half: u16) -> f32 {
    let sign = if half >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(half >> 10 & 31), f32::from(half & 1023));
    sign * match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1024.0 + fraction) * 2f32.powi(exponent - 25),
    }
}

/// As much of JSON as headers have.
enum Json {
    Object(Vec<(String, Json)>),
    Array(Vec<Json>),
    Text(String),
    Number(f64),
}

impl Json {
    fn parse(text: &str) -> Result<Json, Error> {
        let mut rest = text;
        let value = value(&mut rest, 0).ok_or_else(|| Error("its header is damaged".to_string()))?;
        Ok(value)
    }

    fn number(&self) -> Option<usize> {
        match self {
            Json::Number(n) if *n >= 0.0 && n.fract() == 0.0 && *n < 2f64.powi(53) => Some(*n as usize),
            _ => None,
        }
    }
}

fn value(rest: &mut &str, depth: usize) -> Option<Json> {
    if depth > 8 {
        return None;
    }
    *rest = rest.trim_start();
    if eat(rest, '{') {
        let mut fields = Vec::new();
        while !eat(rest, '}') {
            let name = string(rest)?;
            eat(rest, ':').then_some(())?;
            fields.push((name, value(rest, depth + 1)?));
            if !eat(rest, ',') {
                return eat(rest, '}').then_some(Json::Object(fields));
            }
        }
        return Some(Json::Object(fields));
    }
    if eat(rest, '[') {
        let mut items = Vec::new();
        while !eat(rest, ']') {
            items.push(value(rest, depth + 1)?);
            if !eat(rest, ',') {
                return eat(rest, ']').then_some(Json::Array(items));
            }
        }
        return Some(Json::Array(items));
    }
    if rest.starts_with('"') {
        return string(rest).map(Json::Text);
    }
    let end = rest.find([',', '}', ']', ' ']).unwrap_or(rest.len());
    let (number, after) = rest.split_at(end);
    *rest = after;
    number.trim_end().parse().ok().map(Json::Number)
}

fn eat(rest: &mut &str, wanted: char) -> bool {
    let after = rest.trim_start().strip_prefix(wanted);
    *rest = after.unwrap_or(rest);
    after.is_some()
}

fn string(rest: &mut &str) -> Option<String> {
    let mut chars = rest.trim_start().strip_prefix('"')?.chars();
    let mut text = String::new();
    loop {
        match chars.next()? {
            '"' => break,
            '\\' => match chars.next()? {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'r' => text.push('\r'),
                'b' => text.push('\u{8}'),
                'f' => text.push('\u{c}'),
                'u' => {
                    let digits: String = chars.by_ref().take(4).collect();
                    let code = u32::from_str_radix(&digits, 16).ok()?;
                    text.push(char::from_u32(code).unwrap_or('\u{fffd}'));
                }
                other => text.push(other),
            },
            other => text.push(other),
        }
    }
    *rest = chars.as_str();
    Some(text)
}
