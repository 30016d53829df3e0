//! Charts as SVG: lines over an axis, bars, intervals and points, with ticks, units, legends and values to hover.

use maud::{Markup, html};

use crate::ticks::{Unit, range, ticks};

/// A line of a chart.
#[derive(Clone, Debug)]
pub struct Line {
    /// What the legend calls it.
    pub name: String,
    /// Its colour: a colour of CSS.
    pub colour: String,
    /// Its points, from left to right.
    pub points: Vec<[f64; 2]>,
    /// Whether it is drawn thin, without points: what lies behind other lines.
    pub faint: bool,
}

impl Line {
    /// A line in the nth colour of the page.
    pub fn new(name: &str, nth: usize, points: Vec<[f64; 2]>) -> Self {
        Line {
            name: name.to_string(),
            colour: format!("var(--c{})", nth % 8),
            points,
            faint: false,
        }
    }

    /// The same, thin.
    pub fn faint(self) -> Self {
        Line {
            faint: true,
            ..self
        }
    }
}

/// A chart of lines.
#[derive(Clone, Debug)]
pub struct Chart<'a> {
    /// What it shows.
    pub title: &'a str,
    /// What runs to the right, with its unit.
    pub x: &'a str,
    /// What runs upwards, with its unit.
    pub y: &'a str,
    /// How values are written.
    pub unit: Unit,
    /// Ends of the vertical axis, where they are known beforehand.
    pub span: Option<[f64; 2]>,
    /// Width and height in pixels of the drawing.
    pub size: [f64; 2],
    /// Whether the legend stands below it.
    pub legend: bool,
}

impl Default for Chart<'_> {
    fn default() -> Self {
        Chart {
            title: "",
            x: "",
            y: "",
            unit: Unit::Plain,
            span: None,
            size: [560.0, 260.0],
            legend: true,
        }
    }
}

/// Most points of a line; more are thinned out, which keeps the highest and the lowest of each stretch.
const MOST_POINTS: usize = 400;
/// Up to so many points carry a mark with their value each; in a small chart fewer.
const MOST_MARKS: usize = 60;
const MOST_SMALL_MARKS: usize = 12;
/// Most strips that tell values.
const MOST_STRIPS: usize = 60;
const MOST_SMALL_STRIPS: usize = 25;
/// Width below which a chart is a small one.
const SMALL: f64 = 400.0;

impl Chart<'_> {
    /// The chart of these lines; those without a point are left out, and without any line there is no chart.
    pub fn draw(&self, lines: &[Line]) -> Markup {
        let lines: Vec<&Line> = lines
            .iter()
            .filter(|line| !line.points.is_empty())
            .collect();
        let all = || lines.iter().flat_map(|line| &line.points);
        if lines.is_empty() {
            return html! {};
        }
        let frame = Frame::new(
            self.size,
            range(all().map(|p| p[0]), None),
            range(all().map(|p| p[1]), self.span),
        );
        let small = self.size[0] < SMALL;
        html! {
            figure.chart.small[small] {
                figcaption { (self.title) }
                svg viewBox={ "0 0 " (self.size[0]) " " (self.size[1]) } role="img" aria-label=(self.summary(&lines)) {
                    (frame.axes(self.x, self.y, self.unit, small))
                    @for line in &lines { (self.line(line, &frame)) }
                    (self.strips(&lines, &frame))
                }
                @if self.legend { (legend(lines.iter().map(|line| (line.name.as_str(), line.colour.as_str())))) }
            }
        }
    }

    fn line(&self, line: &Line, frame: &Frame) -> Markup {
        let points = thinned(&line.points);
        let at: Vec<String> = (points.iter())
            .map(|p| format!("{:.1},{:.1}", frame.x(p[0]), frame.y(p[1])))
            .collect();
        let most = match self.size[0] < SMALL {
            true => MOST_SMALL_MARKS,
            false => MOST_MARKS,
        };
        let marked = !line.faint && points.len() <= most;
        html! {
            g style={ "--c:" (line.colour) } {
                polyline.line.faint[line.faint] points=(at.join(" ")) {}
                @if marked || points.len() == 1 {
                    @for p in &points {
                        circle.mark cx=(format!("{:.1}", frame.x(p[0]))) cy=(format!("{:.1}", frame.y(p[1]))) r="3.5" {}
                    }
                }
            }
        }
    }

    /// Where a pointer is, a strip tells the values of all lines there.
    fn strips(&self, lines: &[&Line], frame: &Frame) -> Markup {
        // Whole epochs, where there are some; steps only where there is nothing else.
        let is_told = |line: &&&Line| !line.faint && line.points.len() > 1;
        let mut told: Vec<&Line> = lines.iter().filter(is_told).copied().collect();
        if told.is_empty() {
            told = lines.to_vec();
        }
        let mut xs: Vec<f64> = told.iter().flat_map(|l| &l.points).map(|p| p[0]).collect();
        xs.sort_by(f64::total_cmp);
        xs.dedup();
        let most = match self.size[0] < SMALL {
            true => MOST_SMALL_STRIPS,
            false => MOST_STRIPS,
        };
        let xs: Vec<f64> = match xs.len() > most {
            true => (0..most)
                .map(|i| xs[i * (xs.len() - 1) / (most - 1)])
                .collect(),
            false => xs,
        };
        let half = |i: usize| (xs[i] + xs[i + 1]) / 2.0;
        let strips = (0..xs.len()).map(|i| {
            let from = if i == 0 { frame.x[0] } else { half(i - 1) };
            let to = if i + 1 == xs.len() {
                frame.x[1]
            } else {
                half(i)
            };
            let values = told.iter().filter_map(|line| {
                let near = (line.points.iter()).min_by(|a, b| {
                    let far = |p: &[f64; 2]| (p[0] - xs[i]).abs();
                    far(a).total_cmp(&far(b))
                })?;
                let is_here = from <= near[0] && near[0] <= to;
                is_here.then(|| format!("{} {}", line.name, self.unit.show(near[1])))
            });
            let values: Vec<String> = values.collect();
            let text = format!(
                "{} {}: {}",
                self.x,
                Unit::Plain.show(xs[i]),
                values.join("; ")
            );
            (frame.x(from), frame.x(to), text)
        });
        let (top, height) = (10.0, self.size[1] - frame.bottom - 10.0);
        html! {
            g.strips {
                @for (from, to, text) in strips {
                    rect x=(format!("{from:.1}")) y=(top) width=(format!("{:.1}", (to - from).max(0.1))) height=(height) { title { (text) } }
                }
            }
        }
    }

    /// A line in words: `training: 25.16 % to 74.40 %`.
    fn course(&self, line: &Line) -> String {
        let ends = line.points.first().zip(line.points.last());
        let ends = ends.map(|(a, b)| match line.points.len() {
            1 => self.unit.show(a[1]),
            _ => format!("{} to {}", self.unit.show(a[1]), self.unit.show(b[1])),
        });
        format!("{}: {}", line.name, ends.unwrap_or_default())
    }

    fn summary(&self, lines: &[&Line]) -> String {
        let courses: Vec<String> = lines.iter().map(|line| self.course(line)).collect();
        format!("{}; {}", self.title, courses.join("; "))
    }
}

/// Names with their colours.
pub fn legend<'a>(entries: impl Iterator<Item = (&'a str, &'a str)>) -> Markup {
    html! {
        ul.legend {
            @for (name, colour) in entries {
                li { span.key style={ "--c:" (colour) } {} (name) }
            }
        }
    }
}

/// Where the axes lie, and how values become places.
pub struct Frame {
    size: [f64; 2],
    x: [f64; 2],
    y: [f64; 2],
    left: f64,
    bottom: f64,
}

impl Frame {
    /// A frame for these ranges.
    pub fn new(size: [f64; 2], x: [f64; 2], y: [f64; 2]) -> Self {
        let small = size[0] < SMALL;
        let (left, bottom) = if small { (40.0, 34.0) } else { (82.0, 42.0) };
        Frame {
            size,
            x,
            y,
            left,
            bottom,
        }
    }

    /// Place of a value from the left.
    pub fn x(&self, v: f64) -> f64 {
        let width = self.size[0] - self.left - 12.0;
        self.left + (v - self.x[0]) / (self.x[1] - self.x[0]) * width
    }

    /// Place of a value from above.
    pub fn y(&self, v: f64) -> f64 {
        let height = self.size[1] - self.bottom - 10.0;
        10.0 + (self.y[1] - v) / (self.y[1] - self.y[0]) * height
    }

    /// The axes with ticks, lines and labels.
    pub fn axes(&self, x: &str, y: &str, unit: Unit, small: bool) -> Markup {
        let [width, height] = self.size;
        let (bottom, middle) = (height - self.bottom, (height - self.bottom) / 2.0 + 5.0);
        let n = if small { 3 } else { 6 };
        // Epochs and networks are counted; within one epoch there are steps.
        let across = match self.x[1] - self.x[0] >= 2.0 {
            true => Unit::Whole,
            false => Unit::Plain,
        };
        let place = |v: f64| format!("{v:.1}");
        html! {
            @for (v, text) in ticks(self.y, n, unit) {
                line.grid x1=(place(self.left)) x2=(place(width - 12.0)) y1=(place(self.y(v))) y2=(place(self.y(v))) {}
                text.tick x=(place(self.left - 6.0)) y=(place(self.y(v) + 4.0)) text-anchor="end" { (text) }
            }
            @for (v, text) in ticks(self.x, n, across) {
                line.grid x1=(place(self.x(v))) x2=(place(self.x(v))) y1=(place(bottom)) y2=(place(bottom + 4.0)) {}
                text.tick x=(place(self.x(v))) y=(place(bottom + 16.0)) text-anchor="middle" { (text) }
            }
            line.axis x1=(place(self.left)) x2=(place(width - 12.0)) y1=(place(bottom)) y2=(place(bottom)) {}
            text.label x=(place((self.left + width) / 2.0)) y=(place(height - 6.0)) text-anchor="middle" { (x) }
            @if !y.is_empty() {
                text.label transform=(format!("translate(14 {middle:.1}) rotate(-90)")) text-anchor="middle" { (y) }
            }
        }
    }
}

/// Bars from the left, one below the other: names, colours, shares of 1.
pub fn bars(title: &str, x: &str, entries: &[(String, String, f64)]) -> Markup {
    let most = entries.iter().map(|e| e.2).fold(0.0, f64::max).max(1e-9);
    let row = 18.0;
    let height = row * entries.len() as f64 + 22.0;
    let told: Vec<String> = (entries.iter())
        .map(|(name, _, v)| format!("{name} {}", Unit::Percent.show(*v)))
        .collect();
    html! {
        figure.chart.small {
            figcaption { (title) }
            svg viewBox={ "0 0 250 " (height) } role="img" aria-label={ (title) "; " (told.join("; ")) } {
                @for (i, (name, colour, v)) in entries.iter().enumerate() {
                    @let y = row * i as f64 + 2.0;
                    g style={ "--c:" (colour) } {
                        text.tick x="92" y=(format!("{:.1}", y + 12.0)) text-anchor="end" { (name) }
                        rect.bar x="97" y=(y) width=(format!("{:.1}", (v / most * 105.0).max(0.5))) height="13" rx="2" {
                            title { (name) ": " (Unit::Percent.show(*v)) }
                        }
                        text.tick x=(format!("{:.1}", 101.0 + v / most * 105.0)) y=(format!("{:.1}", y + 12.0)) {
                            (format!("{:.1}", 100.0 * v))
                        }
                    }
                }
                text.label x="150" y=(format!("{:.1}", height - 5.0)) text-anchor="middle" { (x) }
            }
        }
    }
}

/// A mean with its interval.
pub struct Interval {
    /// Whose it is.
    pub name: String,
    /// Its colour.
    pub colour: String,
    /// The mean.
    pub mean: f64,
    /// The ends of its interval, if it has one.
    pub ends: Option<[f64; 2]>,
    /// The values whose mean it is.
    pub each: Vec<f64>,
    /// All of it in words.
    pub words: String,
}

/// A value with which others are compared.
pub struct Mark {
    /// The value.
    pub at: f64,
    /// Whose it is.
    pub name: String,
}

/// Most letters of a name beside a bar.
const MOST_LETTERS: usize = 22;

/// A name that fits beside a bar.
fn cut(name: &str) -> String {
    match name.chars().count() > MOST_LETTERS {
        true => name.chars().take(MOST_LETTERS - 1).chain(['…']).collect(),
        false => name.to_string(),
    }
}

/// Means with their intervals, one below the other, with a dashed line at `mark`.
pub fn intervals(
    title: &str,
    x: &str,
    unit: Unit,
    rows: &[Interval],
    mark: Option<&Mark>,
) -> Markup {
    let row = 26.0;
    let (left, right, bottom) = (176.0, 540.0, row * rows.len() as f64 + 10.0);
    let values = rows.iter().flat_map(|r| {
        let ends = r.ends.into_iter().flatten();
        [r.mean]
            .into_iter()
            .chain(ends)
            .chain(r.each.iter().copied())
    });
    let [low, high] = range(values.chain(mark.map(|mark| mark.at)), None);
    let at = |v: f64| left + (v - low) / (high - low) * (right - left);
    let place = |v: f64| format!("{v:.1}");
    let told: Vec<String> = rows
        .iter()
        .map(|r| format!("{}: {}", r.name, r.words))
        .collect();
    html! {
        figure.chart {
            figcaption { (title) }
            svg viewBox={ "0 0 560 " (bottom + 40.0) } role="img" aria-label={ (title) "; " (told.join("; ")) } {
                @for (v, text) in ticks([low, high], 5, unit) {
                    line.grid x1=(place(at(v))) x2=(place(at(v))) y1="4" y2=(bottom) {}
                    text.tick x=(place(at(v))) y=(bottom + 16.0) text-anchor="middle" { (text) }
                }
                line.axis x1=(left) x2=(right) y1=(bottom) y2=(bottom) {}
                @if let Some(mark) = mark {
                    line.axis stroke-dasharray="5 4" x1=(place(at(mark.at))) x2=(place(at(mark.at))) y1="4" y2=(bottom) {
                        title { (mark.name) ": " (unit.show(mark.at)) }
                    }
                }
                @for (i, r) in rows.iter().enumerate() {
                    @let y = row * i as f64 + 20.0;
                    g style={ "--c:" (r.colour) } {
                        text.tick x=(left - 10.0) y=(y + 4.0) text-anchor="end" { (cut(&r.name)) @if cut(&r.name) != r.name { title { (r.name) } } }
                        @if let Some([from, to]) = r.ends {
                            line.span x1=(place(at(from))) x2=(place(at(to))) y1=(y) y2=(y) { title { (r.name) ": " (r.words) } }
                        }
                        @if r.each.len() > 1 {
                            @for v in &r.each {
                                circle.each cx=(place(at(*v))) cy=(y) r="3" { title { (r.name) ": " (unit.show(*v)) } }
                            }
                        }
                        circle.mark cx=(place(at(r.mean))) cy=(y) r="5" { title { (r.name) ": " (r.words) } }
                    }
                }
                text.label x=((left + right) / 2.0) y=(bottom + 34.0) text-anchor="middle" { (x) }
            }
        }
    }
}

/// A point of two figures.
pub struct Spot {
    /// Whose it is.
    pub name: String,
    /// Its colour.
    pub colour: String,
    /// Size and accuracy.
    pub at: [f64; 2],
}

/// Accuracy against size; those on the Pareto front are ringed. Without a point there is no chart.
pub fn scatter(title: &str, x: &str, y: &str, spots: &[Spot]) -> Markup {
    if spots.is_empty() {
        return html! {};
    }
    let size = [560.0, 300.0];
    let frame = Frame::new(
        size,
        range(spots.iter().map(|s| s.at[0]), None),
        range(spots.iter().map(|s| s.at[1]), None),
    );
    let told: Vec<String> = (spots.iter())
        .map(|s| {
            format!(
                "{}: {} at {}",
                s.name,
                Unit::Percent.show(s.at[1]),
                Unit::Plain.show(s.at[0])
            )
        })
        .collect();
    html! {
        figure.chart {
            figcaption { (title) }
            svg viewBox={ "0 0 " (size[0]) " " (size[1]) } role="img" aria-label={ (title) "; " (told.join("; ")) } {
                (frame.axes(x, y, Unit::Percent, false))
                @for (spot, words) in spots.iter().zip(&told) {
                    @let (cx, cy) = (format!("{:.1}", frame.x(spot.at[0])), format!("{:.1}", frame.y(spot.at[1])));
                    g style={ "--c:" (spot.colour) } {
                        @if is_best(spot, spots) { circle.ring cx=(cx) cy=(cy) r="10" {} }
                        circle.mark cx=(cx) cy=(cy) r="5.5" { title { (words) } }
                    }
                }
            }
            (legend(spots.iter().map(|s| (s.name.as_str(), s.colour.as_str()))))
        }
    }
}

/// Whether nothing is at least as small and as good, and one of both strictly.
fn is_best(spot: &Spot, all: &[Spot]) -> bool {
    let [size, accuracy] = spot.at;
    !all.iter().any(|other| {
        let [s, a] = other.at;
        s <= size && a >= accuracy && (s < size || a > accuracy)
    })
}

/// The points of a long line: of each stretch the lowest and the highest, in their order, and both ends.
fn thinned(points: &[[f64; 2]]) -> Vec<[f64; 2]> {
    if points.len() <= MOST_POINTS {
        return points.to_vec();
    }
    let stretch = points.len().div_ceil(MOST_POINTS / 2);
    let mut kept: Vec<[f64; 2]> = Vec::new();
    for part in points.chunks(stretch) {
        let by = |a: &&[f64; 2], b: &&[f64; 2]| a[1].total_cmp(&b[1]);
        let ends = part.iter().min_by(by).zip(part.iter().max_by(by));
        if let Some((low, high)) = ends {
            let (first, second) = if low[0] <= high[0] {
                (low, high)
            } else {
                (high, low)
            };
            kept.push(*first);
            if first != second {
                kept.push(*second);
            }
        }
    }
    kept.extend(points.last().filter(|last| kept.last() != Some(*last)));
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_keep_their_extremes() {
        let mut points: Vec<[f64; 2]> = (0..20_000).map(|i| [i as f64, (i % 7) as f64]).collect();
        (points[7_777][1], points[12_345][1]) = (100.0, -100.0);
        let kept = thinned(&points);
        assert!(kept.len() <= MOST_POINTS + 2, "{}", kept.len());
        for point in [points[7_777], points[12_345], points[19_999]] {
            assert!(kept.contains(&point), "{point:?}");
        }
        assert!(kept.windows(2).all(|pair| pair[0][0] < pair[1][0]));
    }

    #[test]
    fn the_front_is_what_nothing_beats() {
        let spot = |x: f64, y: f64| Spot {
            name: String::new(),
            colour: String::new(),
            at: [x, y],
        };
        let spots = [
            spot(1.0, 0.5),
            spot(2.0, 0.5),
            spot(2.0, 0.7),
            spot(3.0, 0.6),
            spot(1.0, 0.5),
        ];
        let best: Vec<bool> = spots.iter().map(|s| is_best(s, &spots)).collect();
        assert_eq!(best, [true, false, true, false, true]);
    }

    #[test]
    fn names_are_escaped() {
        let lines = [Line::new("<script>", 0, vec![[1.0, 2.0], [2.0, 3.0]])];
        let chart = Chart {
            title: "a<b",
            ..Chart::default()
        };
        let text = chart.draw(&lines).into_string();
        assert!(
            !text.contains("<script>") && text.contains("&lt;script&gt;"),
            "{text}"
        );
        assert!(chart.draw(&[]).into_string().is_empty());
    }
}
