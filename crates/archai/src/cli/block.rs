//! The block of lines that a run shows of itself on a terminal: what is known of the phase, and how it is written into the
//! room that there is. Nothing here draws; see [`super::canvas`].

use std::fmt::Write as _;
use std::time::Duration;

use archai_lab::Ended;
use archai_lab::progress::Pace;
use archai_lab::summary::clock;
use archai_spec::desc::Genotype;
use archai_spec::event::{LogPath, Progress};
use serde_json::Value;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// How a piece of a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// As text.
    Plain,
    /// What heads the block.
    Bold,
    /// What is there to be looked up.
    Dim,
    /// What is done, as a bar or a curve.
    Drawn,
    /// What needs attention.
    Warning,
}

/// A line, in pieces.
pub type Line = Vec<(Style, String)>;

/// What is known of the phase that is under way. Times are seconds since any one moment.
#[derive(Clone, Debug)]
pub struct Block {
    /// Algorithm, data and phase.
    title: String,
    /// When the phase began.
    since: f64,
    training: Option<Training>,
    /// How many trainings have begun.
    trainings: usize,
    /// What is measured at this moment.
    measuring: Option<String>,
    cells: Option<Cells>,
    guard: Option<Guard>,
    warnings: usize,
    last_warning: String,
    /// What keys do, if any key does something.
    pub hint: &'static str,
}

/// A training that is under way.
#[derive(Clone, Debug)]
struct Training {
    title: String,
    pace: Pace,
    loss: Curve,
    top1: Curve,
    val: Option<Measured>,
    /// The best accuracy on validation data, and its epoch from 1.
    best: Option<(f64, u64)>,
    images_per_s: Option<f64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Measured {
    loss: Option<f64>,
    top1: Option<f64>,
}

impl Block {
    /// A phase that begins at `now`.
    pub fn new(title: String, now: f64) -> Self {
        Block {
            title,
            since: now,
            training: None,
            trainings: 0,
            measuring: None,
            cells: None,
            guard: None,
            warnings: 0,
            last_warning: String::new(),
            hint: "",
        }
    }

    /// Takes what a live view is told.
    pub fn progress(&mut self, progress: &Progress, now: f64) {
        match progress {
            Progress::Begin {
                title,
                epochs,
                steps,
            } => {
                self.trainings += 1;
                self.measuring = None;
                self.guard = None;
                self.training = Some(Training {
                    title: title.clone(),
                    pace: Pace::new(*epochs, *steps),
                    loss: Curve::default(),
                    top1: Curve::default(),
                    val: None,
                    best: None,
                    images_per_s: None,
                });
            }
            Progress::Step {
                epoch,
                step,
                loss,
                top1,
                images_per_s,
            } => {
                self.measuring = None;
                if let Some(training) = &mut self.training {
                    training.pace.step_done(*epoch, *step, now);
                    training.images_per_s = Some(*images_per_s).filter(|speed| *speed > 0.0);
                    training.loss.extend(*loss);
                    training.top1.extend(*top1);
                }
            }
            Progress::Validate { title, done, total } => {
                self.measuring = Some(format!("measuring {title} {done}/{total}"));
            }
            Progress::Genotype(text) => self.cells = Some(Cells::of(text)),
            Progress::End => self.measuring = None,
        }
    }

    /// Takes values of the log: what was measured on validation data, and what the guard watches.
    pub fn values(&mut self, path: &LogPath, values: &[(String, Value)]) {
        let parts: Vec<&str> = path.0.iter().map(String::as_str).collect();
        let number = |name: &str| {
            let (_, value) = values.iter().find(|(key, _)| key == name)?;
            value.as_f64()
        };
        match parts[..] {
            [.., "epochs", _, "guard"] => {
                self.guard = Some(Guard {
                    skip_share: number("skip_share"),
                    entropy: number("entropy"),
                    eigenvalue: number("eigenvalue"),
                });
            }
            [.., "epochs", epoch, "val"] => {
                if let (Some(training), Ok(epoch)) = (&mut self.training, epoch.parse()) {
                    training.validated(epoch, number("loss"), number("top1"));
                }
            }
            _ => {}
        }
    }

    /// Takes a warning, which stays in sight.
    pub fn warn(&mut self, text: &str) {
        self.warnings += 1;
        self.last_warning = text.lines().next().unwrap_or_default().to_string();
    }

    /// What the phase leaves behind.
    pub fn ended(&self, phase: &str, ended: Ended, now: f64) -> String {
        let how = match ended {
            Ended::Complete => "complete",
            Ended::Stopped => "stopped",
            Ended::Failed => "failed",
        };
        let mut text = format!("  {phase} {how} after {}", spent(now - self.since));
        let Some(training) = &self.training else {
            return text;
        };
        match self.trainings {
            0 | 1 => {
                let _ = write!(text, ", epoch {}", training.epoch());
            }
            n => {
                let _ = write!(text, ", {n} trainings");
            }
        }
        if let Some(loss) = training.loss.last() {
            let _ = write!(text, ", loss {loss:.3}");
        }
        if let Some(top1) = training.top1.last() {
            let _ = write!(text, ", top-1 {}", percent(top1));
        }
        if let Some(top1) = training.val.and_then(|val| val.top1) {
            let _ = write!(text, " (validation {})", percent(top1));
        }
        text
    }

    /// The block in lines of at most `width` columns, at most `height` of them: what matters least is left out first.
    pub fn lines(&self, now: f64, width: usize, height: usize) -> Vec<Line> {
        // Every line with how much it matters, the least the most.
        let mut lines: Vec<(u8, Line)> = Vec::new();
        let time = spent(now - self.since);
        lines.push((
            1,
            vec![
                (Style::Bold, self.title.clone()),
                (Style::Dim, format!("  {time}")),
            ],
        ));
        match &self.training {
            Some(training) => {
                let before = match self.trainings {
                    0 | 1 => String::new(),
                    n => format!("training {n}, "),
                };
                lines.push((0, training.bar(&before, now, width)));
                lines.extend(training.curves(width).map(|line| (2, line)));
                let mut state = Vec::new();
                state.extend(
                    training
                        .images_per_s
                        .map(|v| format!("{} images/s", speed(v))),
                );
                state.push(
                    self.measuring
                        .clone()
                        .unwrap_or_else(|| training.title.clone()),
                );
                let state = format!("  {}", state.join("   "));
                lines.push((5, vec![(Style::Plain, state)]));
            }
            None => {
                let text = self.measuring.as_deref().unwrap_or("preparing");
                lines.push((0, vec![(Style::Plain, format!("  {text}"))]));
            }
        }
        if let Some(cells) = &self.cells {
            let cells = cells.lines(width).into_iter();
            lines.extend(cells.map(|text| (4, vec![(Style::Plain, text)])));
        }
        lines.extend(self.guard.iter().map(|guard| (4, guard.line())));
        if self.warnings > 0 {
            let before = match self.warnings {
                1 => "  warning: ".to_string(),
                n => format!("  {n} warnings, the last: "),
            };
            let text = vec![
                (Style::Warning, before),
                (Style::Plain, self.last_warning.clone()),
            ];
            lines.push((3, text));
        }
        if !self.hint.is_empty() {
            lines.push((6, vec![(Style::Dim, format!("  {}", self.hint))]));
        }
        while lines.len() > height.max(1) {
            let Some(least) = lines.iter().map(|(rank, _)| *rank).max() else {
                break;
            };
            let at = lines.iter().rposition(|(rank, _)| *rank == least);
            if let Some(at) = at {
                lines.remove(at);
            }
        }
        lines
            .into_iter()
            .map(|(_, line)| cut(line, width))
            .collect()
    }
}

/// What the guard against collapse saw last.
#[derive(Clone, Copy, Debug)]
struct Guard {
    skip_share: Option<f64>,
    entropy: Option<f64>,
    eigenvalue: Option<f64>,
}

impl Guard {
    /// `skips 25 %   entropy 0.92   eigenvalue 0.31`; more skips than half of the ops need attention, as in the summary.
    fn line(&self) -> Line {
        let style = match self.skip_share.is_some_and(|share| share > 0.5) {
            true => Style::Warning,
            false => Style::Plain,
        };
        let skips = self.skip_share.map(|v| format!("skips {:.0} %", 100.0 * v));
        let entropy = self.entropy.map(|v| format!("   entropy {v:.2}"));
        let eigenvalue = self.eigenvalue.map(|v| format!("   eigenvalue {v:.2}"));
        vec![
            (Style::Plain, "  guard ".to_string()),
            (style, skips.unwrap_or_default()),
            (Style::Plain, entropy.unwrap_or_default()),
            (Style::Plain, eigenvalue.unwrap_or_default()),
        ]
    }
}

impl Training {
    /// Takes what was measured on validation data after `epoch`, from 0.
    fn validated(&mut self, epoch: u64, loss: Option<f64>, top1: Option<f64>) {
        self.val = Some(Measured { loss, top1 });
        if let Some(top1) = top1
            && self.best.is_none_or(|(best, _)| top1 > best)
        {
            self.best = Some((top1, epoch + 1));
        }
    }

    /// `3/10`.
    fn epoch(&self) -> String {
        format!("{}/{}", self.pace.epoch(), self.pace.epochs())
    }

    /// `epoch 3/10 ━━━━━━━╸────── step 12/20  24 %  0:34 left`, what there is room for.
    fn bar(&self, before: &str, now: f64, width: usize) -> Line {
        let pace = &self.pace;
        let name = format!("  {before}epoch {} ", self.epoch());
        let left = match pace.seconds_left(now) {
            Some(left) => format!("{} left", spent(left)),
            None => "… left".to_string(),
        };
        // Not the whole before all is over.
        let percent = format!("{} %", (100.0 * pace.fraction()).floor());
        let step = format!("step {}/{}", pace.step(), pace.steps());
        let all = [
            format!(" {step}  {percent}  {left}"),
            format!(" {percent}  {left}"),
            format!(" {left}"),
        ];
        let room = |behind: &str| width.saturating_sub(name.width() + behind.width());
        // At last the time without a bar.
        let fits = all.iter().find(|behind| room(behind) >= NARROWEST);
        let behind = fits.or(all.last()).cloned().unwrap_or_default();
        let [done, half, rest] = bar(pace.fraction(), room(&behind).min(WIDEST));
        vec![
            (Style::Plain, name),
            (Style::Drawn, done + &half),
            (Style::Dim, rest),
            (Style::Plain, behind),
        ]
    }

    /// Loss and accuracy, each with its curve and, where there is room, what validation says.
    fn curves(&self, width: usize) -> [Line; 2] {
        let before = |name: &str, value: Option<String>| {
            let value = value.unwrap_or_else(|| "-".to_string());
            format!("  {name:<5} {value:>8} ")
        };
        let loss = before("loss", self.loss.last().map(|v| format!("{v:.3}")));
        let top1 = before("top-1", self.top1.last().map(percent));
        let room = width.saturating_sub(loss.width().max(top1.width()));
        let val = self.val.unwrap_or_default();
        let val_loss = val.loss.map(|v| format!("  validation {v:.3}"));
        let val_top1 = val.top1.map(|v| format!("  validation {}", percent(v)));
        let best = self.best.filter(|_| self.pace.epochs() > 1);
        let best = best.map(|(best, epoch)| format!(" (best {} in epoch {epoch})", percent(best)));
        let [val_loss, val_top1, best] = [val_loss, val_top1, best].map(Option::unwrap_or_default);
        // A curve says more than how well one measured.
        let all = [
            [val_loss.clone(), val_top1.clone() + &best],
            [val_loss, val_top1],
            [String::new(), String::new()],
        ];
        let widest = |behind: &[String; 2]| behind[0].width().max(behind[1].width());
        let fits = |behind: &&[String; 2]| widest(behind) + NARROWEST <= room;
        let behind = all.iter().find(fits).cloned().unwrap_or_default();
        let room = room.saturating_sub(widest(&behind)).min(WIDEST);
        let [of_loss, of_top1] = behind;
        let line = |before: String, curve: &Curve, behind: String| {
            let drawn = sparkline(&curve.values, room);
            let gap = match behind.is_empty() {
                true => 0,
                false => room.saturating_sub(drawn.width()),
            };
            vec![
                (Style::Plain, before),
                (Style::Drawn, drawn),
                (Style::Plain, " ".repeat(gap) + &behind),
            ]
        };
        [
            line(loss, &self.loss, of_loss),
            line(top1, &self.top1, of_top1),
        ]
    }
}

/// Narrowest that a bar or a curve is drawn beside words, and widest that one is drawn.
const NARROWEST: usize = 8;
const WIDEST: usize = 30;

/// Numbers in the order in which they came. When there are many, neighbours are put together.
#[derive(Clone, Debug, Default)]
struct Curve {
    values: Vec<f64>,
    /// How many numbers a value stands for, less one.
    more: usize,
    sum: f64,
    count: usize,
    last: Option<f64>,
}

/// Most values that a curve keeps.
const MOST: usize = 512;

impl Curve {
    fn extend(&mut self, value: Option<f64>) {
        let Some(value) = value.filter(|value| value.is_finite()) else {
            return;
        };
        self.last = Some(value);
        (self.sum, self.count) = (self.sum + value, self.count + 1);
        if self.count <= self.more {
            return;
        }
        self.values.push(self.sum / self.count as f64);
        (self.sum, self.count) = (0.0, 0);
        if self.values.len() == MOST {
            let pairs = self.values.chunks(2).map(mean);
            self.values = pairs.collect();
            self.more = 2 * self.more + 1;
        }
    }

    fn last(&self) -> Option<f64> {
        self.last
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Values as a row of at most `width` columns, from the least (`▁`) to the largest (`█`); one that stays as it is is a line in
/// the middle.
fn sparkline(values: &[f64], width: usize) -> String {
    const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let n = values.len().min(width);
    let columns: Vec<f64> = (0..n)
        .map(|i| {
            let (from, to) = (i * values.len() / n, (i + 1) * values.len() / n);
            mean(&values[from..to])
        })
        .collect();
    let least = columns.iter().copied().fold(f64::INFINITY, f64::min);
    let most = columns.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let level = |value: &f64| match most - least {
        span if span > 0.0 => (7.0 * (value - least) / span).round() as usize,
        _ => 3,
    };
    columns
        .iter()
        .map(|value| LEVELS[level(value).min(7)])
        .collect()
}

/// A bar of `width` columns: what is done, its end, and the rest.
fn bar(fraction: f64, width: usize) -> [String; 3] {
    let halves = (fraction.clamp(0.0, 1.0) * 2.0 * width as f64).floor() as usize;
    let (done, half) = (halves / 2, halves % 2);
    [
        "━".repeat(done),
        "╸".repeat(half),
        "─".repeat(width - done - half),
    ]
}

/// The best cells of the moment.
#[derive(Clone, Debug, PartialEq)]
struct Cells {
    normal: String,
    reduce: Option<String>,
}

impl Cells {
    /// A genotype in short form; what is none stays as it is.
    fn of(text: &str) -> Self {
        let genotype = text.find("Genotype(").map(|at| &text[at..]);
        let Some(genotype) = genotype.and_then(|text| text.parse::<Genotype>().ok()) else {
            return Cells {
                normal: text.split_whitespace().collect::<Vec<_>>().join(" "),
                reduce: None,
            };
        };
        let short = |nodes: &[Vec<(String, usize)>]| {
            let edge = |(op, state): &(String, usize)| format!("{}←{state}", short_op(op));
            let nodes = nodes.iter();
            let nodes = nodes.map(|node| node.iter().map(edge).collect::<Vec<_>>().join(" "));
            nodes.collect::<Vec<_>>().join(" | ")
        };
        Cells {
            normal: format!("normal {}", short(&genotype.normal)),
            reduce: Some(format!("reduce {}", short(&genotype.reduce)))
                .filter(|text| text.len() > 7),
        }
    }

    /// One line where both kinds of cells fit on it, else one for each.
    fn lines(&self, width: usize) -> Vec<String> {
        const BEST: &str = "  best  ";
        let first = format!("{BEST}{}", self.normal);
        let Some(reduce) = &self.reduce else {
            return vec![first];
        };
        let both = format!("{first}   {reduce}");
        match both.width() <= width {
            true => vec![both],
            false => vec![first, format!("{}{reduce}", " ".repeat(BEST.width()))],
        }
    }
}

/// `sep_conv_3x3` as `sep3`, `skip_connect` as `skip`: without the parts that tell nothing apart.
fn short_op(name: &str) -> String {
    let parts: Vec<&str> = name.split('_').collect();
    let (first, rest) = parts.split_first().unwrap_or((&name, &[]));
    let mut short = first.to_string();
    for part in rest {
        match part.split_once('x') {
            Some((a, b)) if a == b && a.parse::<u32>().is_ok() => short.push_str(a),
            _ if ["conv", "pool", "connect"].contains(part) => {}
            _ => {
                let _ = write!(short, "_{part}");
            }
        }
    }
    short
}

/// A line without what lies beyond `width` columns; `…` stands at its end if something was left out.
fn cut(line: Line, width: usize) -> Line {
    let all: usize = line.iter().map(|(_, text)| text.width()).sum();
    if all <= width {
        return line;
    }
    let mut room = width.saturating_sub(1);
    let mut kept = Line::new();
    for (style, text) in line {
        let mut short = String::new();
        for c in text.chars() {
            let columns = c.width().unwrap_or(0);
            if columns > room {
                room = 0;
                break;
            }
            room -= columns;
            short.push(c);
        }
        kept.push((style, short));
        if room == 0 {
            break;
        }
    }
    if width > 0 {
        kept.push((Style::Dim, "…".to_string()));
    }
    kept
}

/// An accuracy: `56.2 %`.
pub fn percent(fraction: f64) -> String {
    format!("{:.1} %", 100.0 * fraction)
}

/// A time: `1:02:03`.
pub fn spent(seconds: f64) -> String {
    clock(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

fn speed(images_per_s: f64) -> String {
    match images_per_s < 10.0 {
        true => format!("{images_per_s:.1}"),
        false => format!("{images_per_s:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const GENOTYPE: &str = "Genotype(normal=[('sep_conv_3x3', 0), ('skip_connect', 1), ('dil_conv_5x5', 2), \
        ('max_pool_3x3', 0)], normal_concat=[2, 3], reduce=[('max_pool_3x3', 0), ('skip_connect', 1)], \
        reduce_concat=range(2, 3))";

    fn text(line: &Line) -> String {
        line.iter().map(|(_, text)| text.as_str()).collect()
    }

    fn texts(block: &Block, now: f64, width: usize, height: usize) -> Vec<String> {
        block.lines(now, width, height).iter().map(text).collect()
    }

    /// Two epochs of ten steps, of which eleven are over after 80 seconds.
    fn block() -> Block {
        let mut block = Block::new("darts on mini: search".into(), 10.0);
        let begin = Progress::Begin {
            title: "arch_train".into(),
            epochs: 2,
            steps: 10,
        };
        block.progress(&begin, 20.0);
        for n in 0..11 {
            let step = Progress::Step {
                epoch: n / 10,
                step: n % 10,
                loss: Some(3.0 - 0.1 * n as f64),
                top1: Some(0.05 * n as f64),
                images_per_s: 812.4,
            };
            block.progress(&step, 30.0 + 5.0 * n as f64);
        }
        block.progress(&Progress::Genotype(GENOTYPE.into()), 80.0);
        let val = LogPath::new("arch_search")
            .join("arch_train")
            .join("epochs")
            .join(0)
            .join("val");
        let named =
            |values: [(&str, Value); 2]| values.map(|(name, value)| (name.to_string(), value));
        block.values(&val, &named([("top1", json!(0.412)), ("loss", json!(1.9))]));
        let guard = LogPath::new("arch_search")
            .join("epochs")
            .join(0)
            .join("guard");
        block.values(
            &guard,
            &named([("skip_share", json!(0.75)), ("entropy", json!(0.9))]),
        );
        block.hint = "l log";
        block
    }

    #[test]
    fn all_is_said_where_there_is_room() {
        let mut block = block();
        block.warn("skips take over\nand more");
        let expect = [
            "darts on mini: search  1:10",
            "  epoch 2/2 ━━━━━━━━━━━━━━━━╸───────────── step 1/10  55 %  0:45 left",
            "  loss     2.000 █▇▇▆▅▅▄▃▂▂▁     validation 1.900",
            "  top-1   50.0 % ▁▂▂▃▄▅▅▆▇▇█     validation 41.2 % (best 41.2 % in epoch 1)",
            "  812 images/s   arch_train",
            "  best  normal sep3←0 skip←1 | dil5←2 max3←0   reduce max3←0 skip←1",
            "  guard skips 75 %   entropy 0.90",
            "  warning: skips take over",
            "  l log",
        ];
        assert_eq!(texts(&block, 80.0, 75, 20), expect);
        let narrow = texts(&block, 80.0, 60, 20);
        assert!(narrow[3].ends_with("  validation 41.2 %"), "{}", narrow[3]);
        block.warn("again");
        assert_eq!(
            texts(&block, 80.0, 79, 20)[7],
            "  2 warnings, the last: again"
        );
    }

    #[test]
    fn no_line_is_wider_or_lower_than_the_screen() {
        let mut block = block();
        block.warn(&"words ".repeat(40));
        for width in 1..100 {
            for height in [1, 2, 4, 24] {
                let lines = texts(&block, 80.0, width, height);
                assert!(lines.len() <= height && !lines.is_empty());
                for line in lines {
                    assert!(line.width() <= width, "{width}: {line}");
                }
            }
        }
        // The bar is there to the end, and time left longer than the number of steps.
        let lines = texts(&block, 80.0, 39, 2);
        assert_eq!(lines[0], "darts on mini: search  1:10");
        assert_eq!(lines[1], "  epoch 2/2 ━━━━━━───── 55 %  0:45 left");
        assert_eq!(texts(&block, 80.0, 39, 1), [lines[1].clone()]);
    }

    #[test]
    fn a_phase_leaves_a_line() {
        let block = block();
        assert_eq!(
            block.ended("search", Ended::Complete, 80.0),
            "  search complete after 1:10, epoch 2/2, loss 2.000, top-1 50.0 % (validation 41.2 %)"
        );
        let early = Block::new("t".into(), 0.0);
        assert_eq!(
            early.ended("search", Ended::Failed, 5.0),
            "  search failed after 0:05"
        );
        assert_eq!(texts(&early, 5.0, 79, 9), ["t  0:05", "  preparing"]);
    }

    #[test]
    fn sparklines_span_their_values() {
        for (values, width, expect) in [
            (&[][..], 5, ""),
            (&[1.0], 5, "▄"),
            (&[2.0, 2.0], 5, "▄▄"),
            (&[0.0, 7.0, 3.5], 5, "▁█▅"),
            (&[0.0, 0.0, 7.0, 7.0, 3.0, 4.0], 3, "▁█▅"),
            (&[1.0, 2.0], 0, ""),
        ] {
            assert_eq!(sparkline(values, width), expect, "{values:?}");
        }
    }

    #[test]
    fn a_curve_of_many_values_stays_small() {
        let mut curve = Curve::default();
        for n in 0..100_000 {
            curve.extend(Some(f64::from(n)));
        }
        curve.extend(Some(f64::NAN));
        assert!(curve.values.len() < MOST && curve.values.len() >= MOST / 2);
        assert_eq!(curve.last(), Some(99_999.0));
        assert_eq!(sparkline(&curve.values, 8), "▁▂▃▄▅▆▇█");
    }

    #[test]
    fn cells_are_said_in_short() {
        let cells = Cells::of(GENOTYPE);
        assert_eq!(cells.lines(60).len(), 2);
        assert_eq!(cells.lines(60)[1], "        reduce max3←0 skip←1");
        for (name, expect) in [
            ("sep_conv_3x3", "sep3"),
            ("nor_conv_1x1", "nor1"),
            ("avg_pool_3x3", "avg3"),
            ("skip_connect", "skip"),
            ("none", "none"),
            ("conv_7x1_1x7", "conv_7x1_1x7"),
            ("my_own", "my_own"),
        ] {
            assert_eq!(short_op(name), expect);
        }
        let other = Cells::of("2 cells");
        assert_eq!(other.lines(80), ["  best  2 cells"]);
    }
}
