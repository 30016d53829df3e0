//! A drawing as shapes with inks, and its SVG. Shapes are plain data, so that other programs (a rasteriser, a test) read them
//! as well.

use std::fmt::Write as _;

use super::colours::Rgb;

/// A drawing.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// Width in pixels.
    pub width: f64,
    /// Height in pixels.
    pub height: f64,
    /// What it is, in a few words.
    pub title: String,
    /// What it shows, in words, for those who do not see it.
    pub words: String,
    /// What is drawn, the lowest first.
    pub marks: Vec<Mark>,
}

/// What a mark stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A heading.
    Heading,
    /// The way of a state into the output.
    Join,
    /// An edge: its line, or several for as many ops.
    Edge,
    /// What stands on an edge.
    Label,
    /// An input, a node or the output.
    State,
    /// An entry of the legend.
    Legend,
}

impl Part {
    /// Whether it differs between drawings of one layout, or has the colours of ops.
    fn moves(self) -> bool {
        match self {
            Part::Edge | Part::Label | Part::Legend => true,
            Part::Heading | Part::Join | Part::State => false,
        }
    }
}

/// Something in a drawing.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// What it stands for.
    pub part: Part,
    /// What it says when one points at it; may be empty.
    pub says: String,
    /// Its shapes, the lowest first.
    pub shapes: Vec<Shape>,
}

/// A shape.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// A line.
    Line(Line),
    /// A filled rectangle with round corners.
    Box {
        /// Left, top, width and height.
        at: [f64; 4],
        /// Radius of its corners.
        radius: f64,
        /// What it is filled with.
        fill: Ink,
        /// What its border is drawn with.
        border: Option<Ink>,
    },
    /// The head of an arrow.
    Head {
        /// Where it points.
        tip: [f64; 2],
        /// From which it points there: its length and half its width.
        size: [f64; 2],
        /// Whether it points up instead of to the right.
        up: bool,
        /// What it is filled with.
        fill: Ink,
    },
    /// A text on one line.
    Text {
        /// Its middle (or start) and base line.
        at: [f64; 2],
        /// The text.
        text: String,
        /// What stands below the line behind it.
        sub: String,
        /// Height of the letters, in pixels.
        size: f64,
        /// Whether it is bold.
        bold: bool,
        /// Whether `at` is its middle.
        middle: bool,
        /// What it is written with.
        ink: Ink,
    },
}

/// A line.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Where it begins.
    pub from: [f64; 2],
    /// How it goes on.
    pub steps: Vec<Step>,
    /// Its thickness.
    pub width: f64,
    /// What it is drawn with.
    pub ink: Ink,
    /// Whether it is dashed.
    pub dashed: bool,
    /// How much it covers, up to 1.
    pub opacity: f64,
}

/// A step of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// Straight to a point.
    To([f64; 2]),
    /// A cubic Bézier curve: both control points and the end.
    Curve([f64; 2], [f64; 2], [f64; 2]),
}

impl Step {
    /// Where it ends.
    pub fn end(&self) -> [f64; 2] {
        match self {
            Step::To(end) | Step::Curve(_, _, end) => *end,
        }
    }
}

/// What a shape is drawn with: a colour on white grounds and one on dark grounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// The ground.
    Ground,
    /// Headings.
    Text,
    /// What is said beside.
    Soft,
    /// Lines that carry no op.
    Plain,
    /// A node.
    Node,
    /// The border of a node, and its number.
    Border,
    /// An input or the output.
    Gate,
    /// The name on an input or the output.
    OnGate,
    /// An op.
    Op(Rgb),
    /// A text on the colour of an op.
    OnOp(Rgb),
}

impl Ink {
    /// All inks but those of ops, with their names in style sheets.
    const NAMED: [(Ink, &'static str); 8] = [
        (Ink::Ground, "ground"),
        (Ink::Text, "text"),
        (Ink::Soft, "soft"),
        (Ink::Plain, "plain"),
        (Ink::Node, "node"),
        (Ink::Border, "border"),
        (Ink::Gate, "gate"),
        (Ink::OnGate, "on-gate"),
    ];

    /// The colour on white.
    pub fn light(self) -> Rgb {
        match self {
            Ink::Ground => Rgb::WHITE,
            Ink::Text | Ink::Gate => Rgb([0x1c, 0x23, 0x2b]),
            Ink::Soft => Rgb([0x5a, 0x66, 0x72]),
            Ink::Plain => Rgb([0xaa, 0xb2, 0xbb]),
            Ink::Node => Rgb([0xee, 0xf2, 0xf6]),
            Ink::Border => Rgb([0x3d, 0x49, 0x56]),
            Ink::OnGate => Rgb::WHITE,
            Ink::Op(own) => own.visible_on(Rgb::WHITE, 3.0),
            Ink::OnOp(own) => {
                let ground = Ink::Op(own).light();
                let white = Rgb::WHITE.contrast(ground) >= 4.5;
                if white { Rgb::WHITE } else { Rgb::INK }
            }
        }
    }

    /// The colour on a dark ground.
    pub fn dark(self) -> Rgb {
        match self {
            Ink::Ground => Rgb::NIGHT,
            Ink::Text | Ink::Gate => Rgb([0xe6, 0xe9, 0xec]),
            Ink::Soft => Rgb([0xa3, 0xad, 0xb8]),
            Ink::Plain => Rgb([0x65, 0x70, 0x7c]),
            Ink::Node => Rgb([0x2c, 0x36, 0x40]),
            Ink::Border => Rgb([0xc3, 0xcb, 0xd4]),
            Ink::OnGate | Ink::OnOp(_) => Rgb::INK,
            Ink::Op(own) => own.visible_on(Rgb::NIGHT, 4.2),
        }
    }

    fn named(self) -> Option<&'static str> {
        let named = Ink::NAMED.iter().find(|(ink, _)| *ink == self);
        named.map(|(_, name)| *name)
    }
}

/// Where an SVG will stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a file of its own: it brings its ground, and rules for dark grounds.
    File,
    /// In a page, whose style sheet has the rules ([`ink_rules`], [`dark_op_rules`]) and whose ground it takes.
    Page,
}

/// The rules by which ops are shown on a dark ground, each behind the selector `scope`.
pub fn dark_op_rules(scope: &str) -> String {
    format!(
        "{scope} .dr-s{{stroke:var(--d)}}{scope} .dr-f{{fill:var(--d)}}{scope} .dr-on-op{{fill:{}}}",
        Rgb::INK
    )
}

/// The rules by which all inks but those of ops are variables, whose values are [`ink_values`]. Variables reach what
/// drawings share ([`Picture::frame`]), rules that name what is around them do not.
pub fn ink_rules() -> String {
    let rule = |(_, name): (Ink, &str)| {
        format!(".dr-{name}{{fill:var(--dr-{name})}}.dr-s-{name}{{stroke:var(--dr-{name})}}")
    };
    Ink::NAMED.map(rule).concat()
}

/// The values of the variables in [`ink_rules`], on a dark ground or on white.
pub fn ink_values(is_dark: bool) -> String {
    let value = |(ink, name): (Ink, &str)| {
        let colour = if is_dark { ink.dark() } else { ink.light() };
        format!("--dr-{name}:{colour};")
    };
    Ink::NAMED.map(value).concat()
}

/// A text for XML: characters that mean something there as entities, those that may not stand there replaced.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            c if c.is_control() && !matches!(c, '\n' | '\t') => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

/// A number with at most one decimal.
fn short(v: f64) -> String {
    let text = format!("{v:.1}");
    match text.strip_suffix(".0") {
        Some("-0") => "0".to_string(),
        Some(whole) => whole.to_string(),
        None => text,
    }
}

impl Picture {
    /// The drawing as SVG.
    pub fn svg(&self, place: Place) -> String {
        let mut svg = self.head();
        if place == Place::File {
            let _ = write!(
                svg,
                "<style>@media(prefers-color-scheme:dark){{svg{{{}}}{}{}}}</style>\n<rect class=\"dr-ground\" width=\"100%\" height=\"100%\" \
                 fill=\"{}\"/>\n",
                ink_values(true),
                ink_rules(),
                dark_op_rules("svg"),
                Ink::Ground.light()
            );
        }
        self.marks.iter().for_each(|mark| mark.write(&mut svg));
        svg.push_str("</svg>\n");
        svg
    }

    /// The drawing for a page that has many of one layout: what is the same in all of them comes from
    /// [`Picture::frame`], written once under the same `id`.
    pub fn in_frame(&self, id: &str) -> String {
        let mut svg = self.head();
        let _ = writeln!(svg, "<use href=\"#{id}-below\"/>");
        let moving = self.marks.iter().filter(|mark| mark.part.moves());
        moving.for_each(|mark| mark.write(&mut svg));
        let _ = writeln!(svg, "<use href=\"#{id}-above\"/></svg>");
        svg
    }

    /// What is the same in all drawings of one layout, for [`Picture::in_frame`]: an SVG without size.
    pub fn frame(&self, id: &str) -> String {
        let mut svg = String::from(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"dr\" width=\"0\" height=\"0\" aria-hidden=\"true\"><defs>",
        );
        for (name, is_above) in [("below", false), ("above", true)] {
            let _ = writeln!(svg, "<g id=\"{id}-{name}\">");
            let still = self
                .marks
                .iter()
                .filter(|mark| !mark.part.moves() && (mark.part == Part::State) == is_above);
            still.for_each(|mark| mark.write(&mut svg));
            svg.push_str("</g>");
        }
        svg.push_str("</defs></svg>\n");
        svg
    }

    fn head(&self) -> String {
        let (width, height) = (self.width.ceil(), self.height.ceil());
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"dr\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} \
             {height}\" role=\"img\" font-family=\"system-ui, 'Segoe UI', Helvetica, Arial, 'DejaVu Sans', sans-serif\">\n\
             <title>{}</title>\n<desc>{}</desc>\n",
            escape(&self.title),
            escape(&self.words)
        )
    }
}

impl Mark {
    fn write(&self, svg: &mut String) {
        let ops = self.shapes.iter().filter_map(|shape| match shape.ink() {
            Ink::Op(own) => Some(own),
            _ => None,
        });
        let mut ops: Vec<Rgb> = ops.collect();
        ops.dedup();
        // A mark of one op says its dark colour once for all its shapes.
        let own = (ops.len() == 1).then(|| ops[0]);
        let class = match self.part {
            Part::Edge => " class=\"dr-edge\"",
            Part::Label => " class=\"dr-label\"",
            Part::Heading | Part::Join | Part::State | Part::Legend => "",
        };
        let dark = own.map_or(String::new(), |own| {
            format!(" style=\"--d:{}\"", Ink::Op(own).dark())
        });
        let _ = write!(svg, "<g{class}{dark}>");
        if !self.says.is_empty() {
            let _ = write!(svg, "<title>{}</title>", escape(&self.says));
        }
        for shape in &self.shapes {
            shape.write(svg, own.is_none());
        }
        svg.push_str("</g>\n");
    }
}

/// The attributes that fill a shape, or draw its line if `stroke`.
fn paint(ink: Ink, stroke: bool, says_dark: bool) -> String {
    let (attribute, s) = if stroke {
        ("stroke", "s-")
    } else {
        ("fill", "")
    };
    let light = ink.light();
    match ink {
        Ink::Op(_) => {
            let class = if stroke { "dr-s" } else { "dr-f" };
            let dark = match says_dark {
                true => format!(" style=\"--d:{}\"", ink.dark()),
                false => String::new(),
            };
            format!("class=\"{class}\" {attribute}=\"{light}\"{dark}")
        }
        Ink::OnOp(_) => format!("class=\"dr-on-op\" {attribute}=\"{light}\""),
        named => {
            let name = named.named().unwrap_or_default();
            format!("class=\"dr-{s}{name}\" {attribute}=\"{light}\"")
        }
    }
}

impl Shape {
    /// What it is drawn with.
    pub fn ink(&self) -> Ink {
        match self {
            Shape::Line(line) => line.ink,
            Shape::Box { fill, .. } | Shape::Head { fill, .. } => *fill,
            Shape::Text { ink, .. } => *ink,
        }
    }

    fn write(&self, svg: &mut String, says_dark: bool) {
        let _ = match self {
            Shape::Line(line) => {
                let dash = match line.dashed {
                    true => " stroke-dasharray=\"5 4\"",
                    false => "",
                };
                let opacity = match line.opacity < 1.0 {
                    true => format!(" opacity=\"{:.2}\"", line.opacity),
                    false => String::new(),
                };
                write!(
                    svg,
                    "<path d=\"{}\" fill=\"none\" {} stroke-width=\"{}\"{dash}{opacity}/>",
                    line.path(),
                    paint(line.ink, true, says_dark),
                    short(line.width)
                )
            }
            Shape::Box {
                at: [x, y, w, h],
                radius,
                fill,
                border,
            } => {
                // One element has one class, so a border is a rectangle of its own.
                let (x, y, w, h) = (short(*x), short(*y), short(*w), short(*h));
                let rect = format!(
                    "<rect x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" rx=\"{}\"",
                    short(*radius)
                );
                let fill = paint(*fill, false, says_dark);
                let _ = write!(svg, "{rect} {fill}/>");
                border.map_or(Ok(()), |ink| {
                    write!(
                        svg,
                        "{rect} fill=\"none\" {} stroke-width=\"1.5\"/>",
                        paint(ink, true, says_dark)
                    )
                })
            }
            Shape::Head {
                tip: [x, y],
                size: [length, half],
                up,
                fill,
            } => {
                let (length, half) = (*length, *half);
                let (a, b) = match up {
                    false => (
                        format!("l{} {}", short(-length), short(-half)),
                        format!("v{}", short(2.0 * half)),
                    ),
                    true => (
                        format!("l{} {}", short(-half), short(length)),
                        format!("h{}", short(2.0 * half)),
                    ),
                };
                let fill = paint(*fill, false, says_dark);
                write!(
                    svg,
                    "<path d=\"M{} {}{a}{b}z\" {fill}/>",
                    short(*x),
                    short(*y)
                )
            }
            Shape::Text {
                at: [x, y],
                text,
                sub,
                size,
                bold,
                middle,
                ink,
            } => {
                let anchor = if *middle {
                    " text-anchor=\"middle\""
                } else {
                    ""
                };
                let bold = if *bold { " font-weight=\"600\"" } else { "" };
                let sub = match sub.is_empty() {
                    true => String::new(),
                    false => format!(
                        "<tspan dy=\"{}\" font-size=\"{}\">{}</tspan>",
                        short(size * SUB_DROP),
                        short(size * SUB_SIZE),
                        escape(sub)
                    ),
                };
                write!(
                    svg,
                    "<text x=\"{}\" y=\"{}\"{anchor} font-size=\"{}\"{bold} {}>{}{sub}</text>",
                    short(*x),
                    short(*y),
                    short(*size),
                    paint(*ink, false, says_dark),
                    escape(text)
                )
            }
        };
    }

    /// The text in the middle of a place.
    pub(super) fn centred(text: String, [x, y]: [f64; 2], size: f64, ink: Ink) -> Shape {
        Shape::Text {
            at: [x, y + 0.36 * size],
            text,
            sub: String::new(),
            size,
            bold: false,
            middle: true,
            ink,
        }
    }

    /// A text that begins at a place on its base line.
    pub(super) fn written(text: &str, at: [f64; 2], size: f64, ink: Ink) -> Shape {
        Shape::Text {
            at,
            text: text.to_string(),
            sub: String::new(),
            size,
            bold: false,
            middle: false,
            ink,
        }
    }

    /// The same, bold.
    pub(super) fn bold(mut self) -> Shape {
        if let Shape::Text { bold, .. } = &mut self {
            *bold = true;
        }
        self
    }
}

/// How far a subscript stands below the line, and how large it is, as shares of the letters.
pub const SUB_DROP: f64 = 0.28;
/// The size of a subscript.
pub const SUB_SIZE: f64 = 0.7;

impl Line {
    /// A line in the thickness of drawings without weights.
    pub(super) fn new(from: [f64; 2], steps: Vec<Step>, ink: Ink) -> Line {
        Line {
            from,
            steps,
            width: 2.0,
            ink,
            dashed: false,
            opacity: 1.0,
        }
    }

    fn path(&self) -> String {
        let [x, y] = self.from;
        let mut d = format!("M{} {}", short(x), short(y));
        let mut pen = self.from;
        for step in &self.steps {
            let _ = match step {
                Step::To([x, y]) if (y - pen[1]).abs() < 0.05 => write!(d, "H{}", short(*x)),
                Step::To([x, y]) if (x - pen[0]).abs() < 0.05 => write!(d, "V{}", short(*y)),
                Step::To([x, y]) => write!(d, "L{} {}", short(*x), short(*y)),
                Step::Curve(a, b, c) => {
                    let points = [a, b, c].map(|[x, y]| format!("{} {}", short(*x), short(*y)));
                    write!(d, "C{}", points.join(" "))
                }
            };
            pen = step.end();
        }
        d
    }
}
