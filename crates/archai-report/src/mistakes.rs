//! What a network was right and wrong about in its test: the confusion matrix, the accuracy of each class, and the pictures
//! that it was most sure about and wrong.

use std::collections::BTreeMap;

use archai_lab::pictures::Thumbnail;
use archai_lab::rundir::TestPrediction;
use archai_lab::{Lab, LabError, RunDir};
use archai_spec::numbers::{percent, thousands};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, html};
use serde_json::{Value, json};

use crate::chart::{Interval, Mark, intervals};
use crate::page::scrolled;
use crate::ticks::Unit;
use crate::words::{interval, plural, wilson};

/// Most classes whose matrix has its counts written into it; more are a map of colours.
const MOST_WRITTEN: usize = 25;
/// Most squares along a side of that map; of more classes, several neighbours share one.
const MOST_SQUARES: usize = 120;
/// Shades of the map.
const SHADES: usize = 8;
/// Classes whose accuracies are drawn, the worst first and then the best, where there are more than can be.
const WORST: usize = 15;
const BEST: usize = 5;
/// Rows of the table of confusions.
const MOST_CONFUSIONS: usize = 12;
/// Pictures of mistakes, their longest side in pixels, and the bytes that all may take on the page.
const MOST_PICTURES: usize = 36;
const SIDE: u32 = 96;
const MOST_BYTES: usize = 330_000;

/// What a test said, counted.
#[derive(Debug, PartialEq)]
pub struct Judged {
    /// The names of the classes.
    names: Vec<String>,
    /// How often pictures of class i were taken for class j.
    confusion: Vec<Vec<u64>>,
    /// How often no answer was given to pictures of a class, because no output was a number.
    silent: Vec<u64>,
    /// What was taken for something else, the surest first.
    mistakes: Vec<TestPrediction>,
    /// The mean probability of the answers.
    sureness: f64,
}

/// One kind of mistake.
struct Confusion {
    truth: usize,
    said: usize,
    count: u64,
}

impl Judged {
    /// Counts predictions of `names.len()` classes.
    ///
    /// # Errors
    /// What is wrong with them: there are none, or a class is not among the names.
    pub fn of(predictions: &[TestPrediction], names: Vec<String>) -> Result<Judged, String> {
        let n = names.len();
        let mut confusion = vec![vec![0; n]; n];
        let mut silent = vec![0; n];
        let mut mistakes = Vec::new();
        for one in predictions {
            let said = one.predicted.unwrap_or(0);
            if one.label >= n || said >= n {
                return Err(format!(
                    "they name class {}, but the data have {n} classes, from 0",
                    one.label.max(said)
                ));
            }
            match one.predicted {
                None => silent[one.label] += 1,
                Some(said) => {
                    confusion[one.label][said] += 1;
                    if said != one.label {
                        mistakes.push(one.clone());
                    }
                }
            }
        }
        if predictions.is_empty() {
            return Err("there are none".to_string());
        }
        mistakes.sort_by(|a, b| {
            let surest = b.probability.total_cmp(&a.probability);
            surest.then(a.index.cmp(&b.index))
        });
        let sum: f64 = predictions.iter().map(|one| one.probability).sum();
        Ok(Judged {
            names,
            confusion,
            silent,
            mistakes,
            sureness: sum / predictions.len() as f64,
        })
    }

    /// Pictures of each class, and how many of them were right.
    fn classes(&self) -> Vec<(u64, u64)> {
        let rows = self.confusion.iter().zip(&self.silent).enumerate();
        rows.map(|(i, (row, silent))| (row.iter().sum::<u64>() + silent, row[i]))
            .collect()
    }

    /// How many pictures were right, and how many there were.
    pub fn right(&self) -> (u64, u64) {
        let classes = self.classes();
        let right = classes.iter().map(|(_, right)| right).sum();
        (right, classes.iter().map(|(all, _)| all).sum())
    }

    /// The share of pictures that were right.
    pub fn top1(&self) -> f64 {
        let (right, all) = self.right();
        right as f64 / all as f64
    }

    /// All kinds of mistakes, the most frequent first.
    fn confusions(&self) -> Vec<Confusion> {
        let rows = self.confusion.iter().enumerate();
        let cells = rows.flat_map(|(truth, row)| {
            let cells = row.iter().enumerate();
            cells.map(move |(said, &count)| Confusion { truth, said, count })
        });
        let mut all: Vec<Confusion> = cells.filter(|c| c.truth != c.said && c.count > 0).collect();
        all.sort_by(|a, b| {
            b.count
                .cmp(&a.count)
                .then((a.truth, a.said).cmp(&(b.truth, b.said)))
        });
        all
    }

    /// The worst class and the most frequent mistake in a sentence, if there was a mistake.
    pub fn headline(&self) -> Option<Markup> {
        let confusions = self.confusions();
        let most = confusions.first()?;
        let classes = self.classes().into_iter().enumerate();
        let shares = classes.filter(|(_, (all, _))| *all > 0);
        let shares = shares.map(|(class, (all, right))| (class, right as f64 / all as f64));
        let (worst, share) = shares.min_by(|a, b| a.1.total_cmp(&b.1))?;
        Some(html! {
            "It is worst at " (self.names[worst]) " (" (percent(share)) " right), and takes " (self.names[most.truth]) " for "
            (self.names[most.said]) " most often: " a href="#predictions" { "what it gets right and wrong" } "."
        })
    }

    /// The same numbers for programs.
    pub fn data(&self) -> Value {
        let classes = self.names.iter().zip(self.classes());
        let classes = classes.map(|(name, (all, right))| {
            let top1 = (all > 0).then(|| right as f64 / all as f64);
            json!({ "name": name, "pictures": all, "right": right, "top1": top1 })
        });
        let shown = self.mistakes.iter().take(MOST_PICTURES).map(|one| {
            json!({ "index": one.index, "name": one.name, "label": one.label, "predicted": one.predicted,
                    "probability": one.probability, "label_probability": one.label_probability })
        });
        json!({
            "classes": classes.collect::<Vec<_>>(),
            "confusion": self.confusion,
            "silent": self.silent,
            "mean_probability": self.sureness,
            "surest_mistakes": shown.collect::<Vec<_>>(),
        })
    }

    /// The section of a page. `gallery` are the tests of several networks, of which this is one.
    pub fn section(&self, lab: &Lab, dir: &RunDir, gallery: &BTreeMap<usize, Judged>) -> Markup {
        let (right, all) = self.right();
        html! {
            p {
                "Of " (thousands(all)) " test pictures the network was right about " (thousands(right)) ", and wrong about "
                (thousands(all - right)) ". Its answers had a probability of " (percent(self.sureness)) " on average, and "
                (percent(self.top1())) " of them were right: "
                (self.sure_of_itself())
            }
            @if !gallery.is_empty() { (of_gallery(gallery)) }
            h3 { "What is taken for what" }
            (self.matrix())
            h3 { "Accuracy of each class" }
            (self.per_class())
            h3 { "The mistakes that it was surest about" }
            (self.grid(lab, dir))
        }
    }

    fn sure_of_itself(&self) -> &'static str {
        /// Differences below this are called none.
        const ALIKE: f64 = 0.02;
        match self.sureness - self.top1() {
            d if d > ALIKE => "it is surer than it should be.",
            d if d < -ALIKE => "it is less sure than it could be.",
            _ => "it is about as sure as it should be.",
        }
    }

    fn matrix(&self) -> Markup {
        let is_written = self.names.len() <= MOST_WRITTEN;
        html! {
            p {
                "A row is the true class of pictures, a column what the network took them for"
                @if is_written { "; a cell counts them. " } @else { ". " }
                "Blue on the diagonal is right, orange is wrong; the stronger the colour, the larger its share of the row."
            }
            div.side {
                @if is_written { (self.written()) } @else { (self.map()) }
                (self.most_frequent())
            }
            @if !is_written {
                details {
                    summary { "The classes by number" }
                    ol.classes start="0" { @for name in &self.names { li { (name) } } }
                }
            }
        }
    }

    /// The matrix as a table.
    fn written(&self) -> Markup {
        let classes = self.classes();
        let table = html! {
            table.confusion {
                thead {
                    tr {
                        td {}
                        @for name in &self.names { th scope="col" { span { (name) } } }
                    }
                }
                tbody {
                    @for (truth, row) in self.confusion.iter().enumerate() {
                        tr {
                            th scope="row" { (self.names[truth]) }
                            @for (said, count) in row.iter().enumerate() {
                                @let share = *count as f64 / classes[truth].0.max(1) as f64;
                                td.n.right[truth == said] style=(shade(share)) title=(self.told(truth, said, *count, share)) {
                                    @if *count > 0 { (count) } @else { span.soft { "·" } }
                                }
                            }
                        }
                    }
                }
            }
        };
        scrolled("Confusion matrix", table)
    }

    fn told(&self, truth: usize, said: usize, count: u64, share: f64) -> String {
        let (truth, said) = (&self.names[truth], &self.names[said]);
        format!(
            "{truth} taken for {said}: {count}, {} of the class",
            percent(share)
        )
    }

    /// The matrix as a map of colours, in which neighbouring classes may share a square.
    fn map(&self) -> Markup {
        const SIDE: f64 = 620.0;
        let n = self.names.len();
        let together = n.div_ceil(MOST_SQUARES);
        let squares = n.div_ceil(together);
        let mut counts = vec![vec![0u64; squares]; squares];
        for (truth, row) in self.confusion.iter().enumerate() {
            for (said, count) in row.iter().enumerate() {
                counts[truth / together][said / together] += count;
            }
        }
        // One path for each shade, of squares of 1×1.
        let mut paths = BTreeMap::<(bool, usize), String>::new();
        for (y, row) in counts.iter().enumerate() {
            let all = row.iter().sum::<u64>().max(1);
            for (x, count) in row.iter().enumerate().filter(|(_, count)| **count > 0) {
                let share = *count as f64 / all as f64;
                let shade = ((visible(share) * SHADES as f64).ceil() as usize).clamp(1, SHADES);
                let path = paths.entry((x == y, shade)).or_default();
                path.push_str(&format!("M{x} {y}h1v1h-1z"));
            }
        }
        let classes = self.classes();
        let frequent = self.confusions();
        let worst: Vec<String> = (frequent.iter().take(3))
            .map(|c| format!("{} taken for {}", self.names[c.truth], self.names[c.said]))
            .collect();
        let told = format!(
            "Confusion matrix of {n} classes; most often {}",
            worst.join("; ")
        );
        let step = match squares {
            0..=60 => 10,
            _ => 20,
        };
        let places: Vec<usize> = (0..squares).step_by(step).collect();
        let scale = SIDE / squares as f64;
        let place = |v: f64| format!("{v:.1}");
        html! {
            figure.chart.heat {
                figcaption {
                    "Confusion matrix"
                    @if together > 1 { small { ", " (together) " neighbouring classes in each square" } }
                }
                svg viewBox=(format!("0 0 {:.0} {:.0}", SIDE + 64.0, SIDE + 58.0)) role="img" aria-label=(told) {
                    g transform=(format!("translate(56 8) scale({scale:.4})")) {
                        rect.back width=(squares) height=(squares) {}
                        @for ((is_right, shade), path) in &paths {
                            path.right[*is_right].wrong[!is_right] style=(format!("--s:{:.3}", *shade as f64 / SHADES as f64)) d=(path) {}
                        }
                        @if together == 1 {
                            @for c in frequent.iter().take(60) {
                                @let share = c.count as f64 / classes[c.truth].0.max(1) as f64;
                                rect.clear x=(c.said) y=(c.truth) width="1" height="1" {
                                    title { (self.told(c.truth, c.said, c.count, share)) }
                                }
                            }
                        }
                    }
                    @for at in &places {
                        @let middle = (*at as f64 + 0.5) * scale;
                        text.tick x="50" y=(place(12.0 + middle)) text-anchor="end" { (at * together) }
                        text.tick x=(place(56.0 + middle)) y=(place(SIDE + 26.0)) text-anchor="middle" { (at * together) }
                    }
                    text.label x=(place(56.0 + SIDE / 2.0)) y=(place(SIDE + 50.0)) text-anchor="middle" { "taken for (number of the class)" }
                    text.label transform=(format!("translate(14 {:.1}) rotate(-90)", 8.0 + SIDE / 2.0)) text-anchor="middle" { "true class (number)" }
                }
            }
        }
    }

    fn most_frequent(&self) -> Markup {
        let all = self.confusions();
        let classes = self.classes();
        if all.is_empty() {
            return html! { p { "Nothing was taken for anything else." } };
        }
        let table = html! {
            table {
                thead { tr { th { "true class" } th { "taken for" } th.n { "pictures" } th.n { "of the class" } } }
                tbody {
                    @for c in all.iter().take(MOST_CONFUSIONS) {
                        tr {
                            td { (self.names[c.truth]) } td { (self.names[c.said]) }
                            td.n { (thousands(c.count)) }
                            td.n { (percent(c.count as f64 / classes[c.truth].0.max(1) as f64)) }
                        }
                    }
                }
            }
        };
        html! {
            div {
                h4 { "The most frequent mistakes" }
                (scrolled("The most frequent mistakes", table))
            }
        }
    }

    fn per_class(&self) -> Markup {
        let classes = self.classes();
        let share = |class: usize| {
            let (all, right) = classes[class];
            (all > 0).then(|| right as f64 / all as f64)
        };
        let mut order: Vec<usize> = (0..classes.len()).filter(|i| share(*i).is_some()).collect();
        order.sort_by(|a, b| {
            share(*a)
                .partial_cmp(&share(*b))
                .unwrap_or(std::cmp::Ordering::Equal)
        });
        let drawn: Vec<usize> = match order.len() > MOST_WRITTEN {
            true => [&order[..WORST], &order[order.len() - BEST..]].concat(),
            false => order.clone(),
        };
        let rows = drawn.iter().map(|&class| {
            let (all, right) = classes[class];
            let mean = right as f64 / all.max(1) as f64;
            let ends = wilson(mean, all as usize);
            let words = format!("{right} of {all} right, {}", percent(mean));
            Interval {
                name: self.names[class].clone(),
                colour: "var(--c0)".to_string(),
                mean,
                ends,
                each: Vec::new(),
                words: match ends {
                    Some(ends) => format!("{words}; 95 % interval {}", interval(ends)),
                    None => words,
                },
            }
        });
        let rows: Vec<Interval> = rows.collect();
        let mark = Mark {
            at: self.top1(),
            name: "all classes".to_string(),
        };
        let title = match drawn.len() < order.len() {
            true => format!(
                "The {WORST} worst and the {BEST} best of {} classes",
                order.len()
            ),
            false => "Accuracy of each class, the worst first".to_string(),
        };
        let table = html! {
            table {
                thead { tr { th { "class" } th.n { "pictures" } th.n { "right" } th.n { "accuracy" } } }
                tbody {
                    @for (class, (all, right)) in classes.iter().enumerate() {
                        tr {
                            th scope="row" { (self.names[class]) }
                            td.n { (thousands(*all)) } td.n { (thousands(*right)) }
                            td.n { @match share(class) { Some(share) => (percent(share)), None => "–" } }
                        }
                    }
                }
            }
        };
        html! {
            p { "A bar is the 95 % interval for the number of the class's pictures, the dashed line the accuracy on all." }
            div.charts { (intervals(&title, "accuracy, %", Unit::Percent, &rows, Some(&mark))) }
            details { summary { "As a table" } (scrolled("Accuracy of each class", table)) }
        }
    }

    /// The surest mistakes with their pictures, or without them and why.
    fn grid(&self, lab: &Lab, dir: &RunDir) -> Markup {
        if self.mistakes.is_empty() {
            return html! { p { "There are none." } };
        }
        let shown: Vec<&TestPrediction> = self.mistakes.iter().take(MOST_PICTURES).collect();
        let indices: Vec<usize> = shown.iter().map(|one| one.index).collect();
        let pictures = lab.test_pictures(dir, &indices, SIDE);
        html! {
            p {
                @if shown.len() < self.mistakes.len() { "The first " (shown.len()) " of " (thousands(self.mistakes.len() as u64)) " mistakes. " }
                "Below each picture stand its true class, what it was taken for, and how probable the network thought that."
            }
            @match &pictures {
                Err(why) => (self.listed(&shown, why)),
                Ok(pictures) => (self.pictured(&shown, pictures)),
            }
        }
    }

    fn pictured(&self, shown: &[&TestPrediction], pictures: &[Thumbnail]) -> Markup {
        let mut left = MOST_BYTES;
        let mut encoded = Vec::new();
        for picture in pictures {
            let text = format!(
                "data:{};base64,{}",
                picture.kind,
                STANDARD.encode(&picture.bytes)
            );
            let Some(rest) = left.checked_sub(text.len()) else {
                break;
            };
            left = rest;
            encoded.push((picture, text));
        }
        html! {
            ul.mistakes {
                @for (one, (picture, text)) in shown.iter().zip(&encoded) {
                    li {
                        img.pixels[picture.width.max(picture.height) <= 64] src=(text) width=(picture.width) height=(picture.height)
                            alt={ "test picture " (one.index) } title=(place(one));
                        span.truth { (self.names[one.label]) }
                        span.said { "→ " (self.name(one.predicted)) }
                        span.soft { (percent(one.probability)) }
                    }
                }
            }
            @if encoded.len() < shown.len() {
                p.soft { "So that the page stays small, only " (encoded.len()) " pictures are shown." }
            }
        }
    }

    fn listed(&self, shown: &[&TestPrediction], why: &LabError) -> Markup {
        let table = html! {
            table {
                thead { tr { th { "picture" } th { "true class" } th { "taken for" } th.n { "probability" } } }
                tbody {
                    @for one in shown {
                        tr {
                            td { (place(one)) } td { (self.names[one.label]) } td { (self.name(one.predicted)) }
                            td.n { (percent(one.probability)) }
                        }
                    }
                }
            }
        };
        html! {
            p.note { "The pictures cannot be shown: " (why.to_string()) }
            details open[shown.len() <= 12] {
                summary { "The mistakes without their pictures" }
                (scrolled("The surest mistakes", table))
            }
        }
    }

    fn name(&self, class: Option<usize>) -> &str {
        class
            .and_then(|class| self.names.get(class))
            .map_or("nothing", String::as_str)
    }
}

/// Which picture it is.
fn place(one: &TestPrediction) -> String {
    match one.name.as_str() {
        "" => format!("picture {} of the test data", one.index),
        name => name.to_string(),
    }
}

/// The tests of several networks.
fn of_gallery(gallery: &BTreeMap<usize, Judged>) -> Markup {
    let table = html! {
        table {
            thead { tr { th.n { "network" } th.n { "right" } th.n { "of" } th.n { "test accuracy" } } }
            tbody {
                @for (number, judged) in gallery {
                    @let (right, all) = judged.right();
                    tr {
                        td.n { (number) } td.n { (thousands(right)) } td.n { (thousands(all)) }
                        td.n { (percent(judged.top1())) }
                    }
                }
            }
        }
    };
    html! {
        p { (plural(gallery.len(), "network")) " of the search were evaluated. What follows is of the one that was best on validation data." }
        (scrolled("The tests of all networks", table))
    }
}

/// What a share looks like: small ones shall be seen.
fn visible(share: f64) -> f64 {
    share.clamp(0.0, 1.0).sqrt()
}

fn shade(share: f64) -> String {
    format!("--s:{:.3}", visible(share))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(label: usize, predicted: Option<usize>, probability: f64) -> TestPrediction {
        TestPrediction {
            index: label,
            name: String::new(),
            label,
            predicted,
            probability,
            label_probability: 0.0,
        }
    }

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("class number {i}")).collect()
    }

    #[test]
    fn what_is_said_is_counted() {
        let all = [
            said(0, Some(0), 0.5),
            said(0, Some(1), 0.75),
            said(1, None, 0.0),
            said(1, Some(0), 0.75),
        ];
        let judged = Judged::of(&all, names(3)).unwrap();
        assert_eq!(judged.confusion, [[1, 1, 0], [1, 0, 0], [0, 0, 0]]);
        assert_eq!(judged.classes(), [(2, 1), (2, 0), (0, 0)]);
        assert_eq!((judged.right(), judged.top1()), ((1, 4), 0.25));
        assert_eq!(judged.sureness, 0.5);
        // Of equally sure ones the first in the data.
        let surest: Vec<usize> = judged.mistakes.iter().map(|one| one.index).collect();
        assert_eq!(surest, [0, 1]);
        assert!(Judged::of(&all, names(1)).unwrap_err().contains("class 1"));
        assert!(Judged::of(&[], names(1)).is_err());
    }

    #[test]
    fn many_classes_stay_readable_and_small() {
        for (classes, pictures, together) in [(100, 10_000, 1), (1000, 50_000, 9)] {
            // A poor network: what it says is spread over all classes.
            let all: Vec<TestPrediction> = (0..pictures)
                .map(|i| said(i % classes, Some((i * i + i / 7) % classes), 0.5))
                .collect();
            let judged = Judged::of(&all, names(classes)).unwrap();
            let text = judged.matrix().into_string();
            assert!(text.len() < 350_000, "{classes}: {} bytes", text.len());
            let told = format!("{together} neighbouring classes");
            assert_eq!(text.contains(&told), together > 1, "{classes}");
            let rows = judged.per_class().into_string();
            assert!(rows.contains(&format!("15 worst and the 5 best of {classes} classes")));
            let rows = judged.most_frequent().into_string();
            assert_eq!(rows.matches("<tr>").count(), 13);
        }
    }
}
