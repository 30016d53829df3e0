//! Units that are easily mistaken: percent for a share, 0 to 255 for pixels in [0, 1], 1e3 for 1e-3. One table says for each
//! unit which numbers make sense, and what one outside of them was likely meant as.
//!
//! A field names its unit, as `#[schemars(extend("x-unit" = "share"))]` does it, in the settings and in any section of an
//! algorithm. Bounds that the field gives itself are kept.

use serde_json::{Value, json};

/// The extension of a schema that names the unit of a number, or of the numbers in a list.
const UNIT: &str = "x-unit";

/// What numbers of a unit are like.
struct Unit {
    name: &'static str,
    min: f64,
    max: f64,
    /// Said of a number above `max` that has a likely meaning.
    about: &'static str,
    /// What a number above `max` was likely meant as.
    meant: fn(f64) -> Option<f64>,
    /// Where one number of a list is wrong, all are.
    together: bool,
}

/// All units. The upper bounds are far above what anybody trains with.
const UNITS: [Unit; 8] = [
    Unit {
        name: "share",
        min: 0.0,
        max: 1.0,
        about: "it is a share of 1, not percent",
        meant: percent,
        together: false,
    },
    Unit {
        name: "learning rate",
        min: 0.0,
        max: 10.0,
        about: "no training survives such a rate",
        meant: |rate| match rate {
            rate if rate < 1e3 => Some(rate / 1e3),
            rate => negative_exponent(rate),
        },
        together: false,
    },
    Unit {
        name: "weight decay",
        min: 0.0,
        max: 1.0,
        about: "it is the factor of the weights in the gradient",
        meant: |decay| match decay {
            decay if decay < 1e2 => Some(decay / 1e4),
            decay => negative_exponent(decay),
        },
        together: false,
    },
    Unit {
        name: "factor of a drop",
        min: 0.0,
        max: 1.0,
        about: "the rate is multiplied by it, not divided",
        meant: |factor| Some(1.0 / factor),
        together: false,
    },
    Unit {
        name: "weight of a loss",
        min: 0.0,
        max: 10.0,
        about: "the other loss counts 1, not 100",
        meant: percent,
        together: false,
    },
    Unit {
        name: "small number",
        min: 0.0,
        max: 1.0,
        about: "it only keeps a denominator from 0",
        meant: negative_exponent,
        together: false,
    },
    Unit {
        name: "pixel mean",
        min: 0.0,
        max: 1.0,
        about: "pixels lie in [0, 1] here, not in 0 to 255",
        meant: byte,
        together: true,
    },
    Unit {
        name: "pixel deviation",
        min: 0.0,
        max: 1.0,
        about: "pixels lie in [0, 1] here, not in 0 to 255",
        meant: byte,
        together: true,
    },
];

fn percent(value: f64) -> Option<f64> {
    (value <= 100.0).then_some(value / 100.0)
}

fn byte(value: f64) -> Option<f64> {
    (value <= 255.0).then_some(value / 255.0)
}

/// 3e4 where 3e-4 was meant.
fn negative_exponent(value: f64) -> Option<f64> {
    let power = 10f64.powf(value.log10().floor());
    power.is_finite().then(|| value / power / power)
}

impl Unit {
    fn of(schema: &Value) -> Option<&'static Unit> {
        let name = schema.get(UNIT)?.as_str()?;
        UNITS.iter().find(|unit| unit.name == name)
    }

    fn is_high(&self, value: f64) -> bool {
        value > self.max
    }

    /// `; it is a share of 1, not percent; did you mean `0.5`?`, or nothing for numbers that nobody means.
    fn hint(&self, values: &[f64], is_list: bool) -> String {
        if !values.iter().any(|value| self.is_high(*value)) {
            return String::new();
        }
        let meant = |value: &f64| match self.together || self.is_high(*value) {
            true => (self.meant)(*value).map(short),
            false => Some(value.to_string()),
        };
        let meant: Option<Vec<String>> = values.iter().map(meant).collect();
        match meant {
            Some(meant) if is_list => {
                format!("; {}; did you mean `[{}]`?", self.about, meant.join(", "))
            }
            Some(meant) => format!("; {}; did you mean `{}`?", self.about, meant.concat()),
            None => format!("; {}", self.about),
        }
    }
}

/// Four significant digits.
fn short(value: f64) -> String {
    let text = format!("{value:.3e}");
    let rounded: f64 = text.parse().unwrap_or(value);
    if rounded != 0.0 && rounded.abs() < 1e-4 {
        format!("{rounded:e}")
    } else {
        rounded.to_string()
    }
}

/// What to add to the message of a number that is out of its field's range.
pub(super) fn hint(value: &Value, schema: &Value) -> String {
    match (Unit::of(schema), value.as_f64()) {
        (Some(unit), Some(value)) => unit.hint(&[value], false),
        _ => String::new(),
    }
}

/// What is wrong with the numbers of a list that has a unit, in one sentence for all of them.
pub(super) fn list_problem(values: &[f64], schema: &Value) -> Option<String> {
    Unit::of(schema).and_then(|unit| problem(unit, values))
}

/// The same for a unit by its name, where there is no schema: what is wrong with the numbers.
pub(crate) fn problem_of(name: &str, values: &[f64]) -> Option<String> {
    let unit = UNITS.iter().find(|unit| unit.name == name)?;
    problem(unit, values)
}

fn problem(unit: &Unit, values: &[f64]) -> Option<String> {
    let outside = |value: &f64| *value < unit.min || unit.is_high(*value);
    let value = values.iter().find(|value| outside(value))?;
    Some(format!(
        "{value} is out of range: expected numbers from {} to {}{}",
        unit.min,
        unit.max,
        unit.hint(values, true)
    ))
}

/// Gives every number with a unit the unit's bounds where its field gives none, for editors and for [`Schema`](super::Schema)
/// alike. Numbers in a list get none: the list is one mistake.
///
/// # Panics
/// If a field names a unit that is not in the table: the name is the program's, not the user's.
pub(super) fn bound(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if let Some(name) = map.get(UNIT) {
                let unit = UNITS.iter().find(|unit| *name == json!(unit.name));
                let unit = unit.unwrap_or_else(|| panic!("there is no unit {name}"));
                if !map.contains_key("items") {
                    map.entry("minimum").or_insert(json!(unit.min));
                    map.entry("maximum").or_insert(json!(unit.max));
                }
            }
            map.values_mut().for_each(bound);
        }
        Value::Array(items) => items.iter_mut().for_each(bound),
        _ => {}
    }
}
