//! Values of the log as one line for people.

use archai_spec::event::LogPath;
use serde_json::Value;

/// `path/of/stack k1=v1, k2=v2`.
pub fn line(path: &LogPath, values: &[(String, Value)]) -> String {
    let values: Vec<String> = values
        .iter()
        .map(|(key, value)| format!("{key}={}", shown(value)))
        .collect();
    let path = path.to_string();
    if path.is_empty() {
        values.join(", ")
    } else {
        format!("{path} {}", values.join(", "))
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(n) if n.is_f64() => n.as_f64().map_or_else(|| n.to_string(), general),
        Value::Array(items) => format!(
            "[{}]",
            items.iter().map(shown).collect::<Vec<_>>().join(", ")
        ),
        other => other.to_string(),
    }
}

/// Four significant digits, as C's `%.4g`.
fn general(v: f64) -> String {
    if v == 0.0 {
        return "0".to_string();
    }
    let scientific = format!("{v:.3e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim = |digits: &str| -> String {
        if digits.contains('.') {
            digits
                .trim_end_matches('0')
                .trim_end_matches('.')
                .to_string()
        } else {
            digits.to_string()
        }
    };
    if (-4..4).contains(&exponent) {
        trim(&format!("{v:.*}", (3 - exponent) as usize))
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{}e{sign}{:02}", trim(mantissa), exponent.abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_four_digits() {
        for (v, expect) in [
            (0.15625, "0.1562"),
            (2.291, "2.291"),
            (2.0, "2"),
            (0.001, "0.001"),
            (0.00002, "2e-05"),
            (12345.6, "1.235e+04"),
            (9999.6, "1e+04"),
            (-0.5, "-0.5"),
            (0.0, "0"),
        ] {
            assert_eq!(general(v), expect, "{v}");
        }
    }
}
