//! Axes: where they begin and end, where their ticks stand, and how numbers are written on them.

use archai_spec::numbers::{percent, thousands_spaced};

/// How the values of an axis are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bare numbers.
    Plain,
    /// Fractions, in percent.
    Percent,
    /// Whole numbers, between which nothing is.
    Whole,
}

impl Unit {
    /// A value as people read it.
    pub fn show(self, v: f64) -> String {
        match self {
            Unit::Percent => percent(v),
            Unit::Plain | Unit::Whole => plain(v),
        }
    }
}

/// Four significant digits; whole numbers as they are, large ones in groups.
pub fn plain(v: f64) -> String {
    let size = v.abs();
    if v == v.trunc() && size < 1e15 {
        return if size < 10_000.0 {
            format!("{v:.0}")
        } else {
            thousands_spaced(v)
        };
    }
    match size {
        s if s >= 1000.0 => thousands_spaced(v),
        s if s >= 100.0 => format!("{v:.1}"),
        s if s >= 10.0 => format!("{v:.2}"),
        s if s >= 1.0 => format!("{v:.3}"),
        s if s >= 1e-3 => format!("{v:.4}"),
        _ => format!("{v:.2e}"),
    }
}

/// From the least to the largest value, with some room; `span` where it is known beforehand. Never empty.
pub fn range(values: impl Iterator<Item = f64>, span: Option<[f64; 2]>) -> [f64; 2] {
    if let Some(span) = span {
        return span;
    }
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for v in values {
        (low, high) = (low.min(v), high.max(v));
    }
    match low < high {
        true => [low - 0.04 * (high - low), high + 0.04 * (high - low)],
        false if low.is_finite() => [
            low - 0.5 * low.abs().max(1e-3),
            low + 0.5 * low.abs().max(1e-3),
        ],
        false => [0.0, 1.0],
    }
}

/// Round values within a range, at most about `most`, with their texts.
pub fn ticks([low, high]: [f64; 2], most: usize, unit: Unit) -> Vec<(f64, String)> {
    let raw = (high - low) / most.max(1) as f64;
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|n| n * power)
        .find(|s| *s >= raw * 0.999);
    let step = step.unwrap_or(power);
    let step = if unit == Unit::Whole {
        step.max(1.0)
    } else {
        step
    };
    let (first, last) = ((low / step).ceil(), (high / step).floor());
    if !(step.is_finite() && step > 0.0 && last - first < 100.0) {
        return Vec::new();
    }
    let shown = if unit == Unit::Percent {
        step * 100.0
    } else {
        step
    };
    let digits = (-shown.log10().floor()).clamp(0.0, 9.0) as usize;
    let text = |v: f64| match unit {
        Unit::Percent => format!("{:.digits$} %", v * 100.0),
        Unit::Plain | Unit::Whole if v.abs() >= 10_000.0 || (v != 0.0 && step < 1e-4) => short(v),
        Unit::Plain | Unit::Whole => format!("{v:.digits$}"),
    };
    let mut all = Vec::new();
    let mut n = first;
    while n <= last {
        // No negative zero.
        let v = n * step + 0.0;
        all.push((v, text(v)));
        n += 1.0;
    }
    all
}

/// `12 k`, `3.5 M`, `1e-6`.
fn short(v: f64) -> String {
    let size = v.abs();
    let trim = |v: f64| {
        let text = format!("{v:.2}");
        text.trim_end_matches('0').trim_end_matches('.').to_string()
    };
    match size {
        s if s >= 1e9 => format!("{} G", trim(v / 1e9)),
        s if s >= 1e6 => format!("{} M", trim(v / 1e6)),
        s if s >= 1e3 => format!("{} k", trim(v / 1e3)),
        _ => format!("{v:.0e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let texts = |range, most, unit| -> Vec<String> {
            ticks(range, most, unit)
                .into_iter()
                .map(|(_, text)| text)
                .collect()
        };
        assert_eq!(
            texts([0.0, 1.0], 5, Unit::Percent),
            ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"]
        );
        assert_eq!(texts([0.96, 4.1], 6, Unit::Plain), ["1", "2", "3", "4"]);
        assert_eq!(
            texts([0.11, 0.14], 3, Unit::Percent),
            ["11 %", "12 %", "13 %", "14 %"]
        );
        assert_eq!(
            texts([0.0, 3e6], 3, Unit::Plain),
            ["0", "1 M", "2 M", "3 M"]
        );
        assert_eq!(texts([0.9, 3.1], 6, Unit::Whole), ["1", "2", "3"]);
        assert!(ticks([1.0, 1.0], 5, Unit::Plain).is_empty());
        assert!(ticks([f64::NAN, 1.0], 5, Unit::Plain).is_empty());
    }

    #[test]
    fn ranges_are_never_empty() {
        for values in [&[][..], &[2.0], &[0.0, 0.0], &[1.0, 3.0], &[-1.0]] {
            let [low, high] = range(values.iter().copied(), None);
            assert!(low < high, "{values:?}");
        }
    }

    #[test]
    fn numbers_have_four_digits() {
        for (v, text) in [
            (0.25, "0.2500"),
            (12.345, "12.35"),
            (3.0, "3"),
            (1e-6, "1.00e-6"),
            (41258.0, "41 258"),
        ] {
            assert_eq!(plain(v), text);
        }
    }
}
