//! Discrete searches as drawings: the trials in the plane of two quantities with their front, and the hypervolume over the
//! trials. Each is an SVG file of its own, complete in itself; a point tells its trial where a pointer is.

use maud::{Markup, PreEscaped, html};

use crate::chart::Frame;
use crate::ticks::{Unit, plain, range};

/// What became of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// No other trial is better.
    Front,
    /// Another trial is better.
    Dominated,
    /// It is beyond a limit, or was given up.
    Outside,
}

/// A trial in the plane of two quantities.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanePoint {
    /// Both quantities.
    pub at: [f64; 2],
    /// Its number, from 0.
    pub trial: usize,
    /// Its readable id.
    pub id: String,
    /// What became of it.
    pub standing: Standing,
}

/// An axis of the plane.
#[derive(Clone, Debug, PartialEq)]
pub struct PlaneAxis {
    /// The quantity.
    pub name: String,
    /// Its unit; empty where there is none.
    pub unit: String,
    /// Whether larger values are better.
    pub maximised: bool,
    /// Hard limits on it.
    pub limits: Vec<f64>,
}

/// The trials of a search in the plane of two quantities.
#[derive(Clone, Debug, PartialEq)]
pub struct Plane {
    /// What stands above.
    pub title: String,
    /// What runs to the right.
    pub x: PlaneAxis,
    /// What runs upwards.
    pub y: PlaneAxis,
    /// The trials, by number.
    pub points: Vec<PlanePoint>,
    /// The trial that bends the front farthest.
    pub knee: Option<usize>,
    /// The front of another search, to compare with, and its name.
    pub beside: Option<(String, Vec<[f64; 2]>)>,
}

/// A curve of hypervolume.
#[derive(Clone, Debug, PartialEq)]
pub struct VolumeLine {
    /// Whose it is.
    pub name: String,
    /// After how many trials, and the hypervolume.
    pub points: Vec<[f64; 2]>,
}

const SIZE: [f64; 2] = [760.0, 470.0];
/// Height of what stands above the plane.
const HEAD: f64 = 62.0;

const STYLE: &str = "\
    svg{background:#fff;font:13px system-ui,sans-serif}.grid{stroke:#e7eaee}.axis{stroke:#5a6672}.tick,.label{fill:#44505c}\
    .title{fill:#1c232b;font-size:16px;font-weight:600}.front{fill:#c8611f}.step{fill:none;stroke:#c8611f;stroke-width:2}\
    .dominated{fill:#1f6fc4}.outside{fill:none;stroke:#8a949e}.limit{stroke:#b3261e;stroke-width:1.5;stroke-dasharray:6 4}\
    .limit-name{fill:#b3261e}.knee{fill:none;stroke:#1c232b;stroke-width:2}\
    .beside{fill:none;stroke:#2c8556;stroke-width:1.5;stroke-dasharray:2 3}\
    .c0{fill:none;stroke:#c8611f;stroke-width:2}.c1{fill:none;stroke:#2c8556;stroke-width:2}.c2{fill:none;stroke:#8455ad;stroke-width:2}";

fn place(v: f64) -> String {
    format!("{v:.1}")
}

fn svg(title: &str, told: &str, body: &Markup) -> String {
    let [width, height] = SIZE;
    let all = html! {
        svg xmlns="http://www.w3.org/2000/svg" width=(width) height=(height + HEAD)
            viewBox={ "0 " (-HEAD) " " (width) " " (height + HEAD) } role="img" aria-label={ (title) "; " (told) } {
            style { (PreEscaped(STYLE)) }
            text.title x="14" y=(24.0 - HEAD) { (title) }
            (body)
        }
    };
    format!("{}\n", all.into_string())
}

impl PlaneAxis {
    fn label(&self) -> String {
        let better = if self.maximised { "more" } else { "less" };
        match self.unit.as_str() {
            "" => format!("{} ({better} is better)", self.name),
            unit => format!("{}, {unit} ({better} is better)", self.name),
        }
    }

    /// The value with its sign such that less is better.
    fn minimised(&self, v: f64) -> f64 {
        if self.maximised { -v } else { v }
    }
}

impl Plane {
    /// The drawing. Earlier trials are paler than later ones.
    pub fn draw(&self) -> String {
        // One trial that is far beyond a limit must not press all others together.
        let inside = |p: &&PlanePoint| p.standing != Standing::Outside;
        let shown: Vec<&PlanePoint> = self.points.iter().filter(inside).collect();
        let shown = match shown.is_empty() {
            true => self.points.iter().collect(),
            false => shown,
        };
        let beside = self.beside.iter().flat_map(|(_, points)| points);
        let ends = |d: usize, axis: &PlaneAxis| {
            let near: Vec<f64> = shown
                .iter()
                .map(|p| p.at[d])
                .chain(beside.clone().map(|p| p[d]))
                .collect();
            let [low, high] = range(near.iter().copied(), None);
            // A limit is shown where it does not press the trials together.
            let limits = axis.limits.iter().copied();
            let limits = limits.filter(|l| (low - (high - low)..=high + (high - low)).contains(l));
            range(near.iter().copied().chain(limits), None)
        };
        let (x, y) = (ends(0, &self.x), ends(1, &self.y));
        let frame = Frame::new(SIZE, x, y);
        let within = |v: f64, [low, high]: [f64; 2]| (low..=high).contains(&v);
        let visible = |p: &[f64; 2]| within(p[0], x) && within(p[1], y);
        let last = self
            .points
            .iter()
            .map(|p| p.trial)
            .max()
            .unwrap_or(0)
            .max(1);
        let hidden = self.points.iter().filter(|p| !visible(&p.at)).count();
        let knee = self.points.iter().find(|p| Some(p.trial) == self.knee);
        let front: Vec<[f64; 2]> = self
            .points
            .iter()
            .filter(|p| p.standing == Standing::Front)
            .map(|p| p.at)
            .collect();
        let [right, bottom] = [SIZE[0] - 12.0, SIZE[1] - 42.0];
        let body = html! {
            (legend(&self.entries(hidden)))
            (frame.axes(&self.x.label(), &self.y.label(), Unit::Plain, false))
            @for limit in self.x.limits.iter().filter(|l| within(**l, x)) {
                line.limit x1=(place(frame.x(*limit))) x2=(place(frame.x(*limit))) y1="10" y2=(bottom) {}
                text.limit-name x=(place(frame.x(*limit) - 4.0)) y="22" text-anchor="end" { "limit " (plain(*limit)) }
            }
            @for limit in self.y.limits.iter().filter(|l| within(**l, y)) {
                line.limit x1="82" x2=(right) y1=(place(frame.y(*limit))) y2=(place(frame.y(*limit))) {}
                text.limit-name x=(right) y=(place(frame.y(*limit) - 5.0)) text-anchor="end" { "limit " (plain(*limit)) }
            }
            @if let Some((_, points)) = &self.beside {
                polyline.beside points=(self.stairs(points, &frame)) {}
            }
            polyline.step points=(self.stairs(&front, &frame)) {}
            @for p in self.points.iter().filter(|p| visible(&p.at)) {
                @let (cx, cy) = (place(frame.x(p.at[0])), place(frame.y(p.at[1])));
                @let told = format!("trial {}: {} {}, {} {}; {}", p.trial, self.x.name, plain(p.at[0]), self.y.name, plain(p.at[1]), p.id);
                @match p.standing {
                    Standing::Front => circle.front cx=(cx) cy=(cy) r="5.5" { title { (told) } },
                    Standing::Dominated => {
                        circle.dominated cx=(cx) cy=(cy) r="4.5" fill-opacity=(format!("{:.2}", 0.25 + 0.65 * p.trial as f64 / last as f64)) {
                            title { (told) }
                        }
                    }
                    Standing::Outside => circle.outside cx=(cx) cy=(cy) r="4" { title { (told) } },
                }
            }
            @if let Some(knee) = knee {
                circle.knee cx=(place(frame.x(knee.at[0]))) cy=(place(frame.y(knee.at[1]))) r="10" {
                    title { "knee: trial " (knee.trial) "; " (knee.id) }
                }
            }
        };
        let told = format!(
            "{} trials, {} of them on the front",
            self.points.len(),
            front.len()
        );
        svg(&self.title, &told, &body)
    }

    fn entries(&self, hidden: usize) -> Vec<(&'static str, String)> {
        let mut all = vec![
            ("front", "front".to_string()),
            ("dominated", "dominated, later trials darker".to_string()),
        ];
        let outside = self.points.iter().any(|p| p.standing == Standing::Outside);
        if outside {
            let more = match hidden {
                0 => String::new(),
                n => format!(" ({n} outside of the drawing)"),
            };
            all.push(("outside", format!("beyond a limit{more}")));
        }
        if self.knee.is_some() {
            all.push(("knee", "knee".to_string()));
        }
        if let Some((name, _)) = &self.beside {
            all.push(("beside", format!("front of {name}")));
        }
        all
    }

    /// The edge of what the points dominate.
    fn stairs(&self, points: &[[f64; 2]], frame: &Frame) -> String {
        let better = |p: &[f64; 2]| [self.x.minimised(p[0]), self.y.minimised(p[1])];
        let mut sorted: Vec<&[f64; 2]> = points.iter().collect();
        sorted.sort_by(|a, b| {
            let (a, b) = (better(a), better(b));
            a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1]))
        });
        let mut kept: Vec<&[f64; 2]> = Vec::new();
        for point in sorted {
            if kept
                .last()
                .is_none_or(|last| better(point)[1] < better(last)[1])
            {
                kept.push(point);
            }
        }
        let mut corners: Vec<[f64; 2]> = Vec::new();
        for point in kept {
            if let Some(last) = corners.last().copied() {
                corners.push([point[0], last[1]]);
            }
            corners.push(*point);
        }
        let at = corners
            .iter()
            .map(|p| format!("{},{}", place(frame.x(p[0])), place(frame.y(p[1]))));
        at.collect::<Vec<_>>().join(" ")
    }
}

fn legend(entries: &[(&'static str, String)]) -> Markup {
    let mut left = 20.0;
    let places: Vec<f64> = entries
        .iter()
        .map(|(_, text)| {
            let at = left;
            left += 34.0 + 7.0 * text.chars().count() as f64;
            at
        })
        .collect();
    html! {
        @for ((class, text), x) in entries.iter().zip(places) {
            @match *class {
                "front" | "dominated" | "outside" | "knee" => circle class=(class) cx=(place(x)) cy=(44.0 - HEAD) r="5" {},
                line => line class=(line) x1=(place(x - 8.0)) x2=(place(x + 8.0)) y1=(44.0 - HEAD) y2=(44.0 - HEAD) {},
            }
            text.label x=(place(x + 12.0)) y=(48.5 - HEAD) { (text) }
        }
    }
}

/// The hypervolume of searches over their trials. All have the same reference.
pub fn volumes(title: &str, lines: &[VolumeLine]) -> String {
    const CLASSES: [&str; 3] = ["c0", "c1", "c2"];
    let all = || lines.iter().flat_map(|line| &line.points);
    let [low, high] = range(all().map(|p| p[1]).chain([0.0]), None);
    let frame = Frame::new(SIZE, range(all().map(|p| p[0]), None), [low, high]);
    let class = |i: usize| CLASSES[i % CLASSES.len()];
    let entries: Vec<(&'static str, String)> = lines
        .iter()
        .enumerate()
        .map(|(i, line)| (class(i), line.name.clone()))
        .collect();
    let corners = |line: &VolumeLine| {
        let mut at: Vec<String> = Vec::new();
        let mut before: Option<f64> = None;
        for [x, y] in &line.points {
            // It rises at a trial, not between two.
            if let Some(before) = before {
                at.push(format!("{},{}", place(frame.x(*x)), place(frame.y(before))));
            }
            at.push(format!("{},{}", place(frame.x(*x)), place(frame.y(*y))));
            before = Some(*y);
        }
        at.join(" ")
    };
    let body = html! {
        (legend(&entries))
        (frame.axes("trials that are done", "hypervolume", Unit::Plain, false))
        @for (i, line) in lines.iter().enumerate() {
            polyline class=(class(i)) points=(corners(line)) { title { (line.name) } }
        }
    };
    let told: Vec<String> = lines
        .iter()
        .filter_map(|line| Some(format!("{}: {}", line.name, plain(line.points.last()?[1]))))
        .collect();
    svg(title, &told.join("; "), &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plane() -> Plane {
        let axis = |name: &str, maximised, limits: &[f64]| PlaneAxis {
            name: name.into(),
            unit: String::new(),
            maximised,
            limits: limits.to_vec(),
        };
        let point = |trial, at, standing| PlanePoint {
            at,
            trial,
            id: format!("tiny-<{trial}>"),
            standing,
        };
        Plane {
            title: "a<b".into(),
            x: axis("params", false, &[250.0, 1e9]),
            y: axis("accuracy", true, &[]),
            points: vec![
                point(0, [100.0, 0.5], Standing::Front),
                point(1, [200.0, 0.8], Standing::Front),
                point(2, [220.0, 0.6], Standing::Dominated),
                point(3, [9e6, 0.9], Standing::Outside),
            ],
            knee: Some(1),
            beside: Some(("random".into(), vec![[150.0, 0.55]])),
        }
    }

    #[test]
    fn the_plane_has_the_trials_the_front_the_limit_and_the_knee() {
        let text = plane().draw();
        assert!(
            text.starts_with("<svg xmlns=") && !text.contains("tiny-<"),
            "{text}"
        );
        let count = |what: &str| text.matches(what).count();
        // One more each in the legend.
        assert_eq!(count("class=\"front\""), 3);
        assert_eq!(count("class=\"dominated\""), 2);
        assert_eq!(count("class=\"knee\""), 2);
        // The limit far away, and the trial beyond it, are not in the drawing.
        assert_eq!(count("class=\"limit\""), 1);
        assert!(
            text.contains("limit 250") && text.contains("(1 outside of the drawing)"),
            "{text}"
        );
        assert!(text.contains("a&lt;b") && text.contains("front of random"));
    }

    #[test]
    fn stairs_go_along_what_is_dominated() {
        let plane = plane();
        let frame = Frame::new(SIZE, [0.0, 300.0], [0.0, 1.0]);
        let points = [[200.0, 0.8], [100.0, 0.5], [150.0, 0.4]];
        let stairs = plane.stairs(&points, &frame);
        // From the smallest, level to the next one, then up: the point that is larger and worse is left out.
        assert_eq!(stairs.split(' ').count(), 3, "{stairs}");
        let empty = Plane {
            points: Vec::new(),
            knee: None,
            beside: None,
            ..plane
        };
        assert!(empty.draw().contains("0 trials"));
    }

    #[test]
    fn volumes_rise_in_steps() {
        let line = |name: &str, points: &[[f64; 2]]| VolumeLine {
            name: name.into(),
            points: points.to_vec(),
        };
        let lines = [
            line("guided", &[[1.0, 0.0], [2.0, 3.0]]),
            line("random", &[[1.0, 0.0], [2.0, 1.0]]),
        ];
        let text = volumes("hypervolume", &lines);
        assert_eq!(text.matches("<polyline").count(), 2);
        assert!(text.contains("guided: 3; random: 1"), "{text}");
        assert!(volumes("nothing", &[]).contains("<svg"));
    }
}
