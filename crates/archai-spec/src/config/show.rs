//! A checked tree as YAML: plain, or with the place that each value came from.

use super::node::{Kind, Node, Scalar, Style};
use serde_json::Value;

/// Renders a typed tree. With `origins`, each line of a value ends in a comment that names its place.
pub(super) fn render(value: &Value, origins: Option<&Node>) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => block(map, origins, 0, &mut out),
        other => {
            out.push_str(&flow(other));
            out.push('\n');
        }
    }
    out
}

fn block(
    map: &serde_json::Map<String, Value>,
    origins: Option<&Node>,
    depth: usize,
    out: &mut String,
) {
    for (key, value) in map {
        let origin = origins.and_then(|node| node.child(key));
        out.push_str(&"  ".repeat(depth));
        out.push_str(&text(key));
        out.push(':');
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                out.push('\n');
                block(inner, origin, depth + 1, out);
            }
            leaf => {
                out.push(' ');
                out.push_str(&flow(leaf));
                if let Some(node) = origin {
                    out.push_str(&format!("  # {}", node.origin));
                }
                out.push('\n');
            }
        }
    }
}

fn flow(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(s) => text(s),
        Value::Array(items) => format!(
            "[{}]",
            items.iter().map(flow).collect::<Vec<_>>().join(", ")
        ),
        Value::Object(map) => {
            let entries = map
                .iter()
                .map(|(key, value)| format!("{}: {}", text(key), flow(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

/// Bare where YAML takes it for nothing but text, in quotes elsewhere.
pub(crate) fn text(text: &str) -> String {
    let starts = text.starts_with(|c: char| c.is_ascii_alphanumeric() || "_$./~".contains(c));
    let safe = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"_$./~-+".contains(&b));
    let scalar = Scalar {
        text: text.to_owned(),
        style: Style::Plain,
    };
    // Words that older readers take for truth values are quoted too.
    let word = matches!(
        text.to_lowercase().as_str(),
        "y" | "yes" | "n" | "no" | "on" | "off"
    );
    if starts && safe && !word && scalar.kind() == Kind::Text && text != "..." {
        text.to_owned()
    } else {
        serde_json::Value::from(text).to_string()
    }
}
