//! Checks a resolved tree against a [`Schema`] and gives it types on the way: every scalar becomes what its key wants.
//! Nothing stops at the first problem.

use super::error::{ConfigError, did_you_mean};
use super::node::{Kind, Node, Scalar, Style, Value as Tree};
use super::schema::{Schema, alternatives, is_null, is_open, properties};
use super::units;
use crate::names::similar;
use serde_json::{Map, Number, Value, json};

/// The typed tree, complete only when there are no errors.
pub(super) fn check(root: &Node, schema: &Schema) -> (Value, Vec<ConfigError>) {
    let mut checker = Checker {
        schema,
        errors: Vec::new(),
    };
    let value = checker.value(root, schema.root(), "");
    (value, checker.errors)
}

struct Checker<'a> {
    schema: &'a Schema,
    errors: Vec<ConfigError>,
}

impl<'a> Checker<'a> {
    fn value(&mut self, node: &Node, declared: &'a Value, path: &str) -> Value {
        let nullable = is_nullable(declared);
        let schema = self.schema.plain(declared);
        let types = types(schema);
        if let Tree::Scalar(scalar) = &node.value {
            let null = match scalar.style {
                Style::Flag => {
                    matches!(scalar.text.as_str(), "null" | "~")
                        || (scalar.text.is_empty() && !types.contains(&"string"))
                }
                _ => scalar.kind() == Kind::Null,
            };
            if null && (nullable || is_open(schema)) {
                return Value::Null;
            }
        }
        if is_open(schema) {
            return self.free(node, path);
        }
        if let Some(words) = words(schema) {
            return self.word(node, schema, &words, nullable, path);
        }
        let choices = alternatives(schema);
        if !choices.is_empty() {
            return self.choice(node, choices, path);
        }
        let value = match (&node.value, types.as_slice()) {
            (Tree::Section(_), types) if types.contains(&"object") => {
                return self.section(node, schema, path);
            }
            (Tree::List(items), types) if types.contains(&"array") => {
                return self.list(node, items, schema, nullable, path);
            }
            (Tree::Scalar(scalar), types) => {
                types.iter().find_map(|wanted| scalar_value(scalar, wanted))
            }
            _ => None,
        };
        match value {
            Some(value) if in_range(&value, schema) => value,
            Some(value) => self.fail(
                node,
                path,
                format!(
                    "{} is out of range: expected {}{}",
                    node.found(),
                    expected(schema, nullable),
                    units::hint(&value, schema)
                ),
            ),
            None => self.fail(
                node,
                path,
                format!(
                    "expected {}, found {}{}",
                    expected(schema, nullable),
                    node.found(),
                    as_list(node, schema)
                        .map_or_else(String::new, |list| format!("; write `{list}`"))
                ),
            ),
        }
    }

    fn fail(&mut self, node: &Node, path: &str, message: String) -> Value {
        let message = if path.is_empty() {
            message
        } else {
            format!("{path}: {message}")
        };
        self.errors
            .push(ConfigError::at(&node.origin, path, message));
        Value::Null
    }

    /// A value of no declared type: read as YAML reads it.
    fn free(&mut self, node: &Node, path: &str) -> Value {
        match &node.value {
            Tree::Scalar(scalar) => match scalar.kind() {
                Kind::Null => Value::Null,
                Kind::Bool(b) => json!(b),
                Kind::Int(_) => {
                    scalar_value(scalar, "integer").unwrap_or_else(|| json!(scalar.text))
                }
                Kind::Float(_) => {
                    scalar_value(scalar, "number").unwrap_or_else(|| json!(scalar.text))
                }
                Kind::Text => json!(scalar.text),
            },
            Tree::List(items) => items
                .iter()
                .enumerate()
                .map(|(i, item)| self.free(item, &join(path, &i.to_string())))
                .collect(),
            Tree::Section(map) => {
                let entries = map
                    .iter()
                    .map(|(key, item)| (key.clone(), self.free(item, &join(path, key))));
                Value::Object(entries.collect())
            }
        }
    }

    fn word(
        &mut self,
        node: &Node,
        schema: &Value,
        words: &[&str],
        nullable: bool,
        path: &str,
    ) -> Value {
        match &node.value {
            Tree::Scalar(scalar) if words.contains(&scalar.text.as_str()) => json!(scalar.text),
            Tree::Scalar(scalar) if scalar.kind() == Kind::Text || scalar.style == Style::Flag => {
                let guess = did_you_mean(&similar(&scalar.text, words.iter().copied()));
                let valid = if nullable {
                    format!("{}, null", words.join(", "))
                } else {
                    words.join(", ")
                };
                self.fail(
                    node,
                    path,
                    format!("unknown value `{}`{guess} (valid: {valid})", scalar.shown()),
                )
            }
            _ => self.fail(
                node,
                path,
                format!(
                    "expected {}, found {}",
                    expected(schema, nullable),
                    node.found()
                ),
            ),
        }
    }

    /// Several shapes are possible: the first that fits, else the problems of the nearest.
    fn choice(&mut self, node: &Node, choices: &'a [Value], path: &str) -> Value {
        // Where a word such as `type` tells the choices apart, it decides.
        let tags: Vec<(&str, &str)> = choices.iter().filter_map(tag).collect();
        if let Some((key, _)) = tags.first().filter(|_| tags.len() == choices.len())
            && let Some(given) = node.child(key)
            && let Tree::Scalar(scalar) = &given.value
        {
            match tags.iter().position(|(_, word)| *word == scalar.text) {
                Some(chosen) => return self.value(node, &choices[chosen], path),
                None => {
                    let words: Vec<&str> = tags.iter().map(|(_, word)| *word).collect();
                    return self.word(given, &Value::Null, &words, false, &join(path, key));
                }
            }
        }
        let mut best: Option<Vec<ConfigError>> = None;
        for choice in choices {
            let mut attempt = Checker {
                schema: self.schema,
                errors: Vec::new(),
            };
            let value = attempt.value(node, choice, path);
            if attempt.errors.is_empty() {
                return value;
            }
            if best
                .as_ref()
                .is_none_or(|best| attempt.errors.len() < best.len())
            {
                best = Some(attempt.errors);
            }
        }
        self.errors.extend(best.unwrap_or_default());
        Value::Null
    }

    fn section(&mut self, node: &Node, schema: &'a Value, path: &str) -> Value {
        let mut out = Map::new();
        let Some(map) = node.entries() else {
            return Value::Null;
        };
        let extra = schema.get("additionalProperties");
        for (key, child) in map {
            let at = join(path, key);
            if let Some(declared) = schema.get("properties").and_then(|p| p.get(key)) {
                if is_default_of_another_type(child, declared, map.get(TYPE)) {
                    continue;
                }
                out.insert(key.clone(), self.value(child, declared, &at));
            } else if let Some(declared) = extra.filter(|extra| **extra != json!(false)) {
                out.insert(key.clone(), self.value(child, declared, &at));
            } else if extra.is_some() {
                let names: Vec<&str> = properties(schema).map(|(name, _)| name.as_str()).collect();
                let message = self.schema.unknown(key, path, &names, None);
                self.errors
                    .push(ConfigError::at(&child.origin, at, message));
            } else {
                out.insert(key.clone(), self.free(child, &at));
            }
        }
        for key in schema
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            if !map.contains_key(key) {
                let meaning = schema["properties"][key]["description"]
                    .as_str()
                    .unwrap_or_default();
                let meaning = meaning.lines().next().unwrap_or_default();
                let meaning = if meaning.is_empty() {
                    String::new()
                } else {
                    format!(" ({meaning})")
                };
                let place = if path.is_empty() {
                    "at the top of the tree".to_owned()
                } else {
                    format!("in {path}")
                };
                let message = format!("missing key `{key}` {place}{meaning}");
                self.errors
                    .push(ConfigError::at(&node.origin, join(path, key), message));
            }
        }
        // Copied sections come in any order; the order of the settings is the readable one.
        let mut ordered = Map::new();
        for (key, _) in properties(schema) {
            if let Some(value) = out.shift_remove(key) {
                ordered.insert(key.clone(), value);
            }
        }
        ordered.extend(out);
        Value::Object(ordered)
    }

    fn list(
        &mut self,
        node: &Node,
        items: &[Node],
        schema: &'a Value,
        nullable: bool,
        path: &str,
    ) -> Value {
        let bound = |word: &str| schema.get(word).and_then(Value::as_u64);
        let few = bound("minItems").is_some_and(|least| (items.len() as u64) < least);
        let many = bound("maxItems").is_some_and(|most| items.len() as u64 > most);
        if few || many {
            return self.fail(
                node,
                path,
                format!(
                    "expected {}, found {}",
                    expected(schema, nullable),
                    node.found()
                ),
            );
        }
        // A wrong unit is one mistake, not one of each number.
        if let Some(problem) =
            numbers(items).and_then(|numbers| units::list_problem(&numbers, schema))
        {
            return self.fail(node, path, problem);
        }
        let mut out = Vec::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            let declared = match schema.get("items") {
                Some(Value::Array(each)) => each.get(i).or_else(|| schema.get("additionalItems")),
                one => one,
            };
            let at = join(path, &i.to_string());
            out.push(match declared {
                Some(declared) => self.value(item, declared, &at),
                None => self.free(item, &at),
            });
        }
        Value::Array(out)
    }
}

/// The key that says of which kind a section is.
const TYPE: &str = "type";

/// The extension of a schema that lists the types of its section which read a key.
const TYPES: &str = "x-types";

/// Whether a value is a shipped default that belongs to the shipped type of its section, while the user chose a type that does
/// not read it. What the user wrote is never dropped, nor what a shipped file says beside its own type.
fn is_default_of_another_type(node: &Node, declared: &Value, kind: Option<&Node>) -> bool {
    let (Some(types), Some(kind)) = (declared.get(TYPES).and_then(Value::as_array), kind) else {
        return false;
    };
    let Tree::Scalar(chosen) = &kind.value else {
        return false;
    };
    let is_read = types.iter().any(|known| *known == json!(chosen.text));
    !is_read && node.origin.is_shipped() && !kind.origin.is_shipped()
}

/// The items of a list that holds nothing but numbers.
fn numbers(items: &[Node]) -> Option<Vec<f64>> {
    let number = |item: &Node| match &item.value {
        Tree::Scalar(scalar) => scalar_value(scalar, "number")?.as_f64(),
        _ => None,
    };
    items.iter().map(number).collect()
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// The key of a choice that has one possible word, and the word.
fn tag(choice: &Value) -> Option<(&str, &str)> {
    properties(choice)
        .find_map(|(key, schema)| Some((key.as_str(), schema.get("const")?.as_str()?)))
}

fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => many
            .iter()
            .filter_map(Value::as_str)
            .filter(|word| *word != "null")
            .collect(),
        _ if schema.get("properties").is_some() => vec!["object"],
        _ => Vec::new(),
    }
}

pub(super) fn is_nullable(schema: &Value) -> bool {
    let listed = schema
        .get("type")
        .and_then(Value::as_array)
        .is_some_and(|types| types.contains(&json!("null")));
    listed || is_null(schema) || alternatives(schema).iter().any(is_nullable)
}

/// The words of an enumeration.
fn words(schema: &Value) -> Option<Vec<&str>> {
    if let Some(Value::String(word)) = schema.get("const") {
        return Some(vec![word]);
    }
    if let Some(Value::Array(all)) = schema.get("enum") {
        return Some(all.iter().filter_map(Value::as_str).collect());
    }
    let choices: Vec<&Value> = alternatives(schema)
        .iter()
        .filter(|choice| !is_null(choice))
        .collect();
    if choices.is_empty() {
        return None;
    }
    let each: Option<Vec<Vec<&str>>> = choices.into_iter().map(words).collect();
    each.map(|each| each.concat())
}

/// Reads a scalar as a type. Bare words of a file must be written as the type is written in YAML; the command line is
/// read more freely.
fn scalar_value(scalar: &Scalar, wanted: &str) -> Option<Value> {
    let free = scalar.style == Style::Flag;
    match (wanted, scalar.kind()) {
        ("string", Kind::Text) => Some(json!(scalar.text)),
        ("string", _) if free => Some(json!(scalar.text)),
        ("boolean", Kind::Bool(b)) => Some(json!(b)),
        ("boolean", _) if free => match scalar.text.to_lowercase().as_str() {
            "y" | "yes" | "t" | "true" | "on" | "1" => Some(json!(true)),
            "n" | "no" | "f" | "false" | "off" | "0" => Some(json!(false)),
            _ => None,
        },
        ("integer", Kind::Int(n)) => integer(n),
        ("number", Kind::Int(n)) => integer(n),
        ("number", Kind::Float(x)) => Number::from_f64(x).map(Value::Number),
        _ => None,
    }
}

fn integer(n: i128) -> Option<Value> {
    i64::try_from(n)
        .map(|n| json!(n))
        .or_else(|_| u64::try_from(n).map(|n| json!(n)))
        .ok()
}

fn in_range(value: &Value, schema: &Value) -> bool {
    let Some(x) = value.as_f64() else { return true };
    let (low, high) = limits(schema);
    let whole = value
        .as_i64()
        .map(i128::from)
        .or_else(|| value.as_u64().map(i128::from));
    let format_fits = match (whole, schema.get("format").and_then(Value::as_str)) {
        (Some(n), Some(format)) => {
            format_range(format).is_none_or(|(low, high)| (low..=high).contains(&n))
        }
        _ => true,
    };
    let above = |word: &str| {
        schema
            .get(word)
            .and_then(Value::as_f64)
            .is_none_or(|bound| x > bound)
    };
    let below = |word: &str| {
        schema
            .get(word)
            .and_then(Value::as_f64)
            .is_none_or(|bound| x < bound)
    };
    low.is_none_or(|low| x >= low)
        && high.is_none_or(|high| x <= high)
        && above("exclusiveMinimum")
        && below("exclusiveMaximum")
        && format_fits
}

fn format_range(format: &str) -> Option<(i128, i128)> {
    Some(match format {
        "uint8" => (0, u8::MAX.into()),
        "uint16" => (0, u16::MAX.into()),
        "uint32" => (0, u32::MAX.into()),
        "uint64" => (0, u64::MAX.into()),
        "uint" => (0, usize::MAX as i128),
        "int8" => (i8::MIN.into(), i8::MAX.into()),
        "int16" => (i16::MIN.into(), i16::MAX.into()),
        "int32" => (i32::MIN.into(), i32::MAX.into()),
        "int64" => (i64::MIN.into(), i64::MAX.into()),
        "int" => (isize::MIN as i128, isize::MAX as i128),
        _ => return None,
    })
}

fn limits(schema: &Value) -> (Option<f64>, Option<f64>) {
    let bound = |word: &str| schema.get(word).and_then(Value::as_f64);
    (bound("minimum"), bound("maximum"))
}

/// What was written as a list, where a list is wanted and what was written could be its items: one for all, or as many as it has
/// places with commas or blanks between them.
fn as_list(node: &Node, schema: &Value) -> Option<String> {
    let Tree::Scalar(scalar) = &node.value else {
        return None;
    };
    let items = schema.get("items").map(types)?;
    if !types(schema).contains(&"array") || items == ["string"] {
        return None;
    }
    let words = scalar.text.split([',', ' ', 'x']);
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let is_item = |word: &&str| {
        let word = Scalar {
            text: (*word).to_owned(),
            style: scalar.style,
        };
        (items.iter()).any(|wanted| scalar_value(&word, wanted).is_some())
    };
    if words.is_empty() || !words.iter().all(is_item) {
        return None;
    }
    let bound = |word: &str| schema.get(word).and_then(Value::as_u64);
    let words = match (words.len(), bound("minItems"), bound("maxItems")) {
        (1, Some(low), Some(high)) if low == high => vec![words[0]; low as usize],
        (n, low, high) => {
            let fits =
                low.is_none_or(|low| n as u64 >= low) && high.is_none_or(|high| n as u64 <= high);
            fits.then_some(words)?
        }
    };
    Some(format!("[{}]", words.join(", ")))
}

/// What a key wants, in words.
fn expected(schema: &Value, nullable: bool) -> String {
    let what = if let Some(words) = words(schema) {
        format!("one of {}", words.join(", "))
    } else {
        let each: Vec<String> = types(schema)
            .into_iter()
            .map(|wanted| expected_type(schema, wanted))
            .collect();
        if each.is_empty() {
            "another value".to_owned()
        } else {
            each.join(" or ")
        }
    };
    if nullable {
        format!("{what} or null")
    } else {
        what
    }
}

fn expected_type(schema: &Value, wanted: &str) -> String {
    match wanted {
        "boolean" => "true or false".to_owned(),
        "string" => "text".to_owned(),
        "integer" | "number" => {
            let name = if wanted == "integer" {
                "a whole number"
            } else {
                "a number"
            };
            let format = schema.get("format").and_then(Value::as_str);
            let (low, high) = limits(schema);
            // Bounds of small integer types are worth telling, those of large ones are not.
            let small = format.filter(|f| f.ends_with('8') || f.ends_with("16"));
            let typed = small
                .and_then(format_range)
                .map(|(low, high)| (low as f64, high as f64));
            let (low, high) = (low.or(typed.map(|t| t.0)), high.or(typed.map(|t| t.1)));
            let bound = |word: &str| schema.get(word).and_then(Value::as_f64);
            match (low, high) {
                (Some(low), Some(high)) => format!("{name} from {low} to {high}"),
                (Some(low), None) => format!("{name} of at least {low}"),
                (None, Some(high)) => format!("{name} of at most {high}"),
                (None, None) => match (bound("exclusiveMinimum"), bound("exclusiveMaximum")) {
                    (Some(low), Some(high)) => format!("{name} above {low} and below {high}"),
                    (Some(low), None) => format!("{name} above {low}"),
                    (None, Some(high)) => format!("{name} below {high}"),
                    (None, None) => name.to_owned(),
                },
            }
        }
        "array" => {
            let bound = |word: &str| schema.get(word).and_then(Value::as_u64);
            let item = match schema
                .get("items")
                .map(|items| (types(items), words(items)))
            {
                Some((types, None)) if types == ["string"] => "texts",
                Some((types, None)) if types == ["integer"] => "whole numbers",
                Some((types, None)) if types == ["number"] => "numbers",
                _ => "values",
            };
            match (bound("minItems"), bound("maxItems")) {
                (Some(low), Some(high)) if low == high => format!("a list of {low} {item}"),
                (Some(low), None) => format!("a list of at least {low} {item}"),
                _ => format!("a list of {item}"),
            }
        }
        _ => {
            let names: Vec<&str> = properties(schema).map(|(name, _)| name.as_str()).collect();
            if names.is_empty() {
                "a section".to_owned()
            } else {
                format!("a section ({})", names.join(", "))
            }
        }
    }
}
