//! Many runs as lines over parallel axes: one axis for each setting in which they differ, and the accuracy at the end.

use std::collections::BTreeSet;

use maud::{Markup, html};
use serde_json::Value;

use crate::ticks::{Unit, range, ticks};

/// The axis of what found a network, and that of its size, which are no settings.
pub const ALGORITHM: &str = "algorithm";
pub const SIZE: &str = "parameters";
/// Most axes; more cannot be told apart.
const MOST_AXES: usize = 7;
/// Most lines.
pub const MOST_LINES: usize = 150;
/// Most values of an axis that are written at their places.
const MOST_PLACES: usize = 12;
/// Letters of a value, and of the name of an axis, that are written.
const LETTERS: usize = 15;
/// Ratio of the largest to the least number from which an axis is logarithmic.
const WIDE: f64 = 50.0;

/// One run.
pub struct Course {
    /// What it is called.
    pub name: String,
    /// Its values on the axes, in their order; null for none.
    pub values: Vec<Value>,
    /// The share on the last axis.
    pub result: f64,
}

/// The names of the axes, and what the last one shows.
pub struct Axes<'a> {
    /// Names of settings.
    pub names: &'a [String],
    /// What the last axis shows, such as `test accuracy`.
    pub result: &'a str,
}

/// An axis with the places of its values: 0 at the bottom, 1 at the top.
struct Axis {
    kind: Kind,
    written: Vec<(f64, String)>,
}

enum Kind {
    /// Numbers between two ends.
    Linear([f64; 2]),
    /// The same by their logarithms.
    Logarithmic([f64; 2]),
    /// Values one above the other.
    Listed(Vec<String>),
}

impl Axis {
    fn of(values: &[&Value]) -> Axis {
        let numbers: Option<Vec<f64>> = values.iter().map(|v| v.as_f64()).collect();
        let different: BTreeSet<String> = values.iter().map(|v| told(v)).collect();
        match numbers {
            Some(numbers) if different.len() > 1 => Axis::of_numbers(&numbers),
            _ => {
                let n = different.len();
                let texts: Vec<String> = different.into_iter().collect();
                let step = n.div_ceil(MOST_PLACES).max(1);
                let written = texts.iter().enumerate().step_by(step);
                let written = written.map(|(i, text)| (listed(i, n), text.clone()));
                Axis {
                    written: written.collect(),
                    kind: Kind::Listed(texts),
                }
            }
        }
    }

    fn of_numbers(numbers: &[f64]) -> Axis {
        let low = numbers.iter().copied().fold(f64::INFINITY, f64::min);
        let high = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let kind = match low > 0.0 && high / low >= WIDE {
            true => Kind::Logarithmic([low, high]),
            false => Kind::Linear([low, high]),
        };
        let mut axis = Axis {
            kind,
            written: Vec::new(),
        };
        let mut places: Vec<f64> = numbers.to_vec();
        places.sort_by(f64::total_cmp);
        places.dedup();
        // Where there are few, the values themselves are of interest; else round ones.
        let written: Vec<(f64, String)> = match (places.len() <= MOST_PLACES, &axis.kind) {
            (true, _) => places.iter().map(|v| (*v, shown(*v))).collect(),
            (false, Kind::Logarithmic(_)) => [low, (low * high).sqrt(), high]
                .map(|v| (v, shown(v)))
                .to_vec(),
            (false, _) => ticks([low, high], 6, Unit::Plain),
        };
        axis.written = (written.into_iter())
            .map(|(v, text)| (axis.place(&Value::from(v)), text))
            .collect();
        axis
    }

    fn place(&self, value: &Value) -> f64 {
        match &self.kind {
            Kind::Linear([low, high]) => {
                (value.as_f64().unwrap_or(*low) - low) / (high - low).max(f64::MIN_POSITIVE)
            }
            Kind::Logarithmic([low, high]) => {
                (value.as_f64().unwrap_or(*low) / low).ln() / (high / low).ln()
            }
            Kind::Listed(texts) => {
                let text = told(value);
                listed(
                    texts.iter().position(|t| *t == text).unwrap_or(0),
                    texts.len(),
                )
            }
        }
    }
}

/// The place of the nth of so many values, with room at both ends.
fn listed(nth: usize, of: usize) -> f64 {
    (nth as f64 + 0.5) / of.max(1) as f64
}

/// A value for people.
pub fn told(value: &Value) -> String {
    match value {
        Value::Null => "–".to_string(),
        Value::String(text) => text.clone(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_string(),
        Value::Number(n) => n.as_f64().map_or(n.to_string(), shown),
        other => other.to_string(),
    }
}

fn shown(v: f64) -> String {
    match v.abs() {
        a if a != 0.0 && !(1e-4..1e7).contains(&a) => format!("{v:.2e}"),
        _ => {
            let text = format!("{v:.6}");
            text.trim_end_matches('0').trim_end_matches('.').to_string()
        }
    }
}

fn cut(text: &str) -> String {
    match text.chars().count() > LETTERS {
        true => text.chars().take(LETTERS - 1).chain(['…']).collect(),
        false => text.to_string(),
    }
}

/// The end of a dotted name, which says most.
fn short(name: &str) -> String {
    let mut parts = name.rsplit('.');
    let last = parts.next().unwrap_or(name);
    let before = parts.next().map(|part| format!("{part}.{last}"));
    match before {
        Some(both) if both.chars().count() <= LETTERS => both,
        _ => cut(last),
    }
}

/// A colour between that of the worst result (0) and that of the best (1).
fn colour(share: f64) -> String {
    format!(
        "color-mix(in oklab,var(--c0) {:.0}%,var(--c1))",
        100.0 * share.clamp(0.0, 1.0)
    )
}

/// Which of the settings get an axis, in the order of the axes; of those that tell the same runs apart, one. The algorithm comes
/// first and the size last, where they are there, and settings of more values before those of fewer.
struct Chosen {
    /// Places in the list of names, with those of the settings that say the same.
    axes: Vec<(usize, Vec<usize>)>,
    /// Places of those for which there is no room.
    rest: Vec<usize>,
}

impl Chosen {
    fn of(names: &[String], courses: &[&Course]) -> Chosen {
        // Which runs have the same value, and how many values there are.
        let parts = |i: usize| -> (Vec<usize>, usize) {
            let mut seen: Vec<String> = Vec::new();
            let values = courses.iter().map(|course| {
                let text = told(course.values.get(i).unwrap_or(&Value::Null));
                seen.iter().position(|t| *t == text).unwrap_or_else(|| {
                    seen.push(text);
                    seen.len() - 1
                })
            });
            let values = values.collect();
            (values, seen.len())
        };
        let mut kinds: Vec<(Vec<usize>, usize, Vec<usize>)> = Vec::new();
        for (i, name) in names.iter().enumerate() {
            let (values, n) = parts(i);
            match kinds.iter_mut().find(|(known, ..)| *known == values) {
                Some((_, _, places)) if name != SIZE => places.push(i),
                // All runs drawn may agree on what others differ in.
                _ if n > 1 => kinds.push((values, n, vec![i])),
                _ => {}
            }
        }
        let rank = |places: &[usize], n: usize| match names[places[0]].as_str() {
            ALGORITHM => (0, 0),
            SIZE => (2, 0),
            _ => (1, usize::MAX - n),
        };
        kinds.sort_by_key(|(_, n, places)| rank(places, *n));
        let mut rest = Vec::new();
        if kinds.len() > MOST_AXES {
            let size = kinds.pop_if(|(_, _, places)| names[places[0]] == SIZE);
            let room = MOST_AXES - usize::from(size.is_some());
            rest = (kinds.split_off(room).into_iter())
                .flat_map(|(_, _, places)| places)
                .collect();
            kinds.extend(size);
        }
        let axes = kinds.into_iter().map(|(_, _, mut places)| {
            let first = places.remove(0);
            (first, places)
        });
        Chosen {
            axes: axes.collect(),
            rest,
        }
    }
}

/// The lines; none of fewer than two runs, or where no setting differs. The best are drawn last, above the others.
pub fn parallel(title: &str, axes: &Axes<'_>, courses: &[Course]) -> Option<Markup> {
    let mut order: Vec<&Course> = courses.iter().collect();
    order.sort_by(|a, b| a.result.total_cmp(&b.result));
    let order = &order[order.len().saturating_sub(MOST_LINES)..];
    let chosen = Chosen::of(axes.names, order);
    if order.len() < 2 || chosen.axes.is_empty() {
        return None;
    }
    let name = |at: &usize| axes.names[*at].as_str();
    let names: Vec<&str> = chosen.axes.iter().map(|(at, _)| name(at)).collect();
    let of = |course: &Course, (at, _): &(usize, Vec<usize>)| -> Value {
        course.values.get(*at).cloned().unwrap_or(Value::Null)
    };
    let columns: Vec<Axis> = (chosen.axes.iter())
        .map(|axis| {
            let values: Vec<Value> = order.iter().map(|course| of(course, axis)).collect();
            Axis::of(&values.iter().collect::<Vec<_>>())
        })
        .collect();
    let [low, high] = range(order.iter().map(|c| c.result), None);
    let (worst, best) = (order.first()?.result, order.last()?.result);
    let (width, top, bottom) = (150.0 * (names.len() + 1) as f64, 54.0, 330.0);
    let x = |i: usize| 75.0 + i as f64 * (width - 150.0) / names.len() as f64;
    let y = |share: f64| bottom - share.clamp(0.0, 1.0) * (bottom - top);
    let at = |v: f64| (v - low) / (high - low);
    let place = |v: f64| format!("{v:.1}");
    let lines = order.iter().map(|course| {
        let values: Vec<Value> = (chosen.axes.iter()).map(|axis| of(course, axis)).collect();
        let mut points: Vec<String> = (values.iter().zip(&columns).enumerate())
            .map(|(i, (value, axis))| format!("{:.1},{:.1}", x(i), y(axis.place(value))))
            .collect();
        points.push(format!("{:.1},{:.1}", x(names.len()), y(at(course.result))));
        let mut words: Vec<String> = (names.iter().zip(&values))
            .map(|(name, v)| format!("{name} {}", told(v)))
            .collect();
        words.push(format!(
            "{} {}",
            axes.result,
            Unit::Percent.show(course.result)
        ));
        let share = match best > worst {
            true => (course.result - worst) / (best - worst),
            false => 1.0,
        };
        (
            points.join(" "),
            colour(share),
            format!("{}: {}", course.name, words.join("; ")),
        )
    });
    let lines: Vec<(String, String, String)> = lines.collect();
    Some(html! {
        figure.chart.wide {
            figcaption { (title) }
            div.table tabindex="0" role="group" aria-label=(title) {
                svg.parallel viewBox=(format!("0 0 {width:.0} 350")) style=(format!("min-width:{:.0}px", width * 0.75)) role="group" aria-label=(title) {
                    @for (i, (name, axis)) in names.iter().zip(&columns).enumerate() {
                        line.axis x1=(place(x(i))) x2=(place(x(i))) y1=(top) y2=(bottom) {}
                        text.label x=(place(x(i))) y="22" text-anchor="middle" { (short(name)) title { (name) } }
                        @if matches!(axis.kind, Kind::Logarithmic(_)) {
                            text.tick x=(place(x(i))) y="38" text-anchor="middle" { "logarithmic" }
                        }
                    }
                    line.axis x1=(place(x(names.len()))) x2=(place(x(names.len()))) y1=(top) y2=(bottom) {}
                    text.label x=(place(x(names.len()))) y="22" text-anchor="middle" { (axes.result) }
                    @for (points, colour, words) in &lines {
                        g.course tabindex="0" role="img" aria-label=(words) style={ "--c:" (colour) } {
                            polyline.wide points=(points) { title { (words) } }
                            polyline.line points=(points) { title { (words) } }
                        }
                    }
                    @for (i, axis) in columns.iter().enumerate() {
                        @for (share, text) in &axis.written {
                            text.tick.halo x=(place(x(i) + 5.0)) y=(place(y(*share) + 4.0)) { (cut(text)) @if cut(text) != *text { title { (text) } } }
                        }
                    }
                    @for (v, text) in ticks([low, high], 6, Unit::Percent) {
                        text.tick.halo x=(place(x(names.len()) + 5.0)) y=(place(y(at(v)) + 4.0)) { (text) }
                    }
                }
            }
            p.scale {
                span { (Unit::Percent.show(worst)) }
                span.ramp {}
                span { (Unit::Percent.show(best)) }
                span.soft { (axes.result) }
            }
        }
        @if courses.len() > order.len() {
            p.soft { "The best " (order.len()) " of " (courses.len()) " runs are drawn." }
        }
        @for (at, same) in chosen.axes.iter().filter(|(_, same)| !same.is_empty()) {
            p.soft { "With " code { (name(at)) } " go " (first_few(same, name)) "." }
        }
        @if !chosen.rest.is_empty() {
            p.soft { "There is no room for " (first_few(&chosen.rest, name)) "." }
        }
    })
}

/// The first few of some names.
fn first_few<'a>(places: &'a [usize], name: impl Fn(&'a usize) -> &'a str) -> Markup {
    const SHOWN: usize = 8;
    html! {
        @for (i, place) in places.iter().take(SHOWN).enumerate() {
            @if i > 0 { ", " }
            code { (name(place)) }
        }
        @if places.len() > SHOWN { " and " (places.len() - SHOWN) " more" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn places_lie_on_their_axis() {
        let of = |values: &[Value]| Axis::of(&values.iter().collect::<Vec<_>>());
        let numbers = of(&[json!(1), json!(3), json!(2)]);
        assert_eq!(numbers.place(&json!(2)), 0.5);
        let written: Vec<&str> = numbers.written.iter().map(|(_, t)| t.as_str()).collect();
        assert_eq!(written, ["1", "2", "3"]);
        let wide = of(&[json!(1e-4), json!(1e-2), json!(1.0)]);
        assert!((wide.place(&json!(1e-2)) - 0.5).abs() < 1e-12);
        // What is no number for every run is listed.
        let mixed = of(&[json!("adam"), json!(null), json!("sgd")]);
        assert_eq!(mixed.written.len(), 3);
        assert!(mixed.place(&json!("sgd")) > mixed.place(&json!("adam")));
        assert!(mixed.written.iter().any(|(_, text)| text == "–"));
    }

    #[test]
    fn lines_are_the_runs() {
        let course = |name: &str, lr: f64, result: f64| Course {
            name: name.into(),
            values: vec![
                json!(name),
                json!(lr),
                json!("<b>"),
                json!(lr < 0.15),
                json!(1),
            ],
            result,
        };
        let names = [
            "algorithm",
            "nas.search.trainer.lr",
            "kind",
            "<i>",
            "parameters",
        ];
        let names = names.map(String::from);
        let axes = Axes {
            names: &names,
            result: "test accuracy",
        };
        let courses = [course("b", 0.1, 0.9), course("a", 0.2, 0.8)];
        let text = parallel("runs", &axes, &courses).unwrap().into_string();
        let at = |text: &str, what: &str| text.find(what).unwrap();
        // What says the same of all runs needs no axis, and the best is drawn last.
        let [a, b] = [
            "a: algorithm a; test",
            "b: algorithm b; test accuracy 90.00 %",
        ];
        assert!(at(&text, a) < at(&text, b));
        let told = "With <code>algorithm</code> go <code>nas.search.trainer.lr</code>, <code>&lt;i&gt;</code>.";
        assert!(text.contains(told), "{text}");
        assert!(!text.contains("<b>") && !text.contains("<i>"), "{text}");
        let more = [
            course("b", 0.1, 0.9),
            course("b", 0.2, 0.8),
            course("<b>", 0.2, 0.7),
        ];
        let text = parallel("runs", &axes, &more).unwrap().into_string();
        let told =
            "&lt;b&gt;: algorithm &lt;b&gt;; nas.search.trainer.lr 0.2; test accuracy 70.00 %";
        assert!(
            text.contains(told) && text.contains(">trainer.lr<"),
            "{text}"
        );
        // Three axes 150 apart; of the second, 0.1 lies at the bottom and 0.2 at the top. Each line is there twice.
        let through = |at: &str| text.matches(at).count();
        assert_eq!([through(" 225.0,330.0 "), through(" 225.0,54.0 ")], [2, 4]);
        assert!(parallel("runs", &axes, &courses[..1]).is_none());
    }
}
