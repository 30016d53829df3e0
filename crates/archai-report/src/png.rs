//! Drawings as PNG: the same shapes as in the SVG, with letters of a font that comes along, so that the picture is the same on
//! every machine.

use archai_spec::desc::draw::{Ink, Line, Picture, Rgb, SUB_DROP, SUB_SIZE, Shape, Step};
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use tiny_skia::{
    Color, FillRule, LineCap, LineJoin, Paint, Path, PathBuilder, Pixmap, Stroke, StrokeDash,
    Transform,
};
use ttf_parser::{Face, GlyphId, OutlineBuilder};

use crate::ReportError;

/// Inter, under the SIL Open Font License (`fonts/OFL.txt`).
const REGULAR: &[u8] = include_bytes!("../fonts/Inter-Regular.otf");
const BOLD: &[u8] = include_bytes!("../fonts/Inter-SemiBold.otf");

/// Most pixels of a picture: a quarter of a gigabyte while it is drawn.
const MOST_PIXELS: u64 = 1 << 26;

/// On what a picture is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// White.
    Light,
    /// Nearly black.
    Dark,
}

impl Ground {
    fn colour(self, ink: Ink) -> Rgb {
        match self {
            Ground::Light => ink.light(),
            Ground::Dark => ink.dark(),
        }
    }
}

/// The drawing as PNG, each of its pixels drawn as `scale`×`scale` ones.
///
/// ```
/// use archai_report::{Ground, png};
/// use archai_spec::desc::{Genotype, OpCatalog, draw, from_genotype, zoo};
/// use archai_spec::settings::Settings;
/// let catalog = OpCatalog::builtin();
/// let settings = Settings::shipped("cifar10")?.nas.eval.model_desc;
/// let genotype = zoo::genotype("darts_v2").expect("a cell of the zoo");
/// let desc = from_genotype(&genotype, &settings, true, &catalog)?.desc;
/// let file = png(&draw::cells(&desc, &catalog), 2.0, Ground::Light)?;
/// assert!(file.starts_with(b"\x89PNG"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// A scale that makes no picture, or one that is too large.
pub fn png(picture: &Picture, scale: f32, ground: Ground) -> Result<Vec<u8>, ReportError> {
    let fonts = [REGULAR, BOLD].map(|font| Face::parse(font, 0));
    let [Ok(regular), Ok(bold)] = fonts else {
        return Err(ReportError::Drawing(
            "the font of drawings cannot be read".to_string(),
        ));
    };
    let side = |v: f64| (v.ceil() * f64::from(scale)).round();
    let (width, height) = (side(picture.width), side(picture.height));
    let fits = width >= 1.0 && height >= 1.0 && width * height <= MOST_PIXELS as f64;
    let pixmap = fits
        .then(|| Pixmap::new(width as u32, height as u32))
        .flatten();
    let Some(pixmap) = pixmap else {
        return Err(ReportError::Drawing(format!(
            "{width:.0}×{height:.0} pixels are no picture that can be drawn; expected at least one and at most {MOST_PIXELS} in all: \
             take another scale"
        )));
    };
    let mut canvas = Canvas {
        pixmap,
        by: Transform::from_scale(scale, scale),
        ground,
        regular,
        bold,
    };
    let [r, g, b] = ground.colour(Ink::Ground).0;
    canvas.pixmap.fill(Color::from_rgba8(r, g, b, 255));
    for shape in picture.marks.iter().flat_map(|mark| &mark.shapes) {
        canvas.draw(shape);
    }
    // Everything is opaque: three of four bytes are the picture.
    let (pixels, _) = canvas.pixmap.data().as_chunks::<4>();
    let rgb: Vec<u8> = pixels.iter().flat_map(|&[r, g, b, _]| [r, g, b]).collect();
    let mut file = Vec::new();
    PngEncoder::new_with_quality(&mut file, CompressionType::Best, FilterType::Adaptive)
        .write_image(&rgb, width as u32, height as u32, ExtendedColorType::Rgb8)
        .map_err(|e| ReportError::Drawing(e.to_string()))?;
    Ok(file)
}

struct Canvas<'a> {
    pixmap: Pixmap,
    by: Transform,
    ground: Ground,
    regular: Face<'a>,
    bold: Face<'a>,
}

impl Canvas<'_> {
    fn paint(&self, ink: Ink, opacity: f64) -> Paint<'static> {
        let [r, g, b] = self.ground.colour(ink).0;
        let mut paint = Paint::default();
        paint.set_color_rgba8(r, g, b, (opacity.clamp(0.0, 1.0) * 255.0).round() as u8);
        paint
    }

    fn fill(&mut self, path: Option<Path>, ink: Ink) {
        let paint = self.paint(ink, 1.0);
        if let Some(path) = path {
            (self.pixmap).fill_path(&path, &paint, FillRule::Winding, self.by, None);
        }
    }

    fn stroke(&mut self, path: Option<Path>, ink: Ink, opacity: f64, stroke: &Stroke) {
        let paint = self.paint(ink, opacity);
        if let Some(path) = path {
            self.pixmap
                .stroke_path(&path, &paint, stroke, self.by, None);
        }
    }

    fn draw(&mut self, shape: &Shape) {
        match shape {
            Shape::Line(line) => {
                let stroke = Stroke {
                    width: line.width as f32,
                    line_cap: LineCap::Butt,
                    line_join: LineJoin::Miter,
                    dash: line
                        .dashed
                        .then(|| StrokeDash::new(vec![5.0, 4.0], 0.0))
                        .flatten(),
                    ..Stroke::default()
                };
                self.stroke(path_of(line), line.ink, line.opacity, &stroke);
            }
            Shape::Box {
                at,
                radius,
                fill,
                border,
            } => {
                self.fill(rounded(*at, *radius), *fill);
                if let Some(ink) = border {
                    let stroke = Stroke {
                        width: 1.5,
                        ..Stroke::default()
                    };
                    self.stroke(rounded(*at, *radius), *ink, 1.0, &stroke);
                }
            }
            Shape::Head {
                tip,
                size: [length, half],
                up,
                fill,
            } => {
                let [x, y] = tip.map(|v| v as f32);
                let (length, half) = (*length as f32, *half as f32);
                let mut path = PathBuilder::new();
                path.move_to(x, y);
                match up {
                    true => {
                        path.line_to(x - half, y + length);
                        path.line_to(x + half, y + length);
                    }
                    false => {
                        path.line_to(x - length, y - half);
                        path.line_to(x - length, y + half);
                    }
                }
                path.close();
                self.fill(path.finish(), *fill);
            }
            Shape::Text {
                at,
                text,
                sub,
                size,
                bold,
                middle,
                ink,
            } => {
                let face = if *bold { &self.bold } else { &self.regular };
                let small = size * SUB_SIZE;
                let own = advance(face, text, *size);
                let start = match middle {
                    true => at[0] - (own + advance(face, sub, small)) / 2.0,
                    false => at[0],
                };
                let mut letters = PathBuilder::new();
                write(&mut letters, face, text, [start, at[1]], *size);
                write(
                    &mut letters,
                    face,
                    sub,
                    [start + own, at[1] + size * SUB_DROP],
                    small,
                );
                self.fill(letters.finish(), *ink);
            }
        }
    }
}

fn path_of(line: &Line) -> Option<Path> {
    let point = |p: [f64; 2]| p.map(|v| v as f32);
    let mut path = PathBuilder::new();
    let [x, y] = point(line.from);
    path.move_to(x, y);
    for step in &line.steps {
        match step {
            Step::To(end) => {
                let [x, y] = point(*end);
                path.line_to(x, y);
            }
            Step::Curve(a, b, end) => {
                let ([ax, ay], [bx, by], [x, y]) = (point(*a), point(*b), point(*end));
                path.cubic_to(ax, ay, bx, by, x, y);
            }
        }
    }
    path.finish()
}

/// A rectangle with round corners.
fn rounded(at: [f64; 4], radius: f64) -> Option<Path> {
    let [x, y, w, h] = at.map(|v| v as f32);
    let r = (radius as f32).min(w / 2.0).min(h / 2.0);
    // How far a control point of a quarter of a circle is from the corner.
    let k = r * (1.0 - 0.552_285);
    let mut path = PathBuilder::new();
    path.move_to(x + r, y);
    path.line_to(x + w - r, y);
    path.cubic_to(x + w - k, y, x + w, y + k, x + w, y + r);
    path.line_to(x + w, y + h - r);
    path.cubic_to(x + w, y + h - k, x + w - k, y + h, x + w - r, y + h);
    path.line_to(x + r, y + h);
    path.cubic_to(x + k, y + h, x, y + h - k, x, y + h - r);
    path.line_to(x, y + r);
    path.cubic_to(x, y + k, x + k, y, x + r, y);
    path.close();
    path.finish()
}

/// The glyph of a character; the font's box where it has none.
fn glyph(face: &Face<'_>, c: char) -> GlyphId {
    face.glyph_index(c).unwrap_or(GlyphId(0))
}

fn em(face: &Face<'_>, size: f64) -> f64 {
    size / f64::from(face.units_per_em())
}

fn advance(face: &Face<'_>, text: &str, size: f64) -> f64 {
    let advances = text
        .chars()
        .map(|c| face.glyph_hor_advance(glyph(face, c)).unwrap_or(0));
    advances.map(f64::from).sum::<f64>() * em(face, size)
}

fn write(path: &mut PathBuilder, face: &Face<'_>, text: &str, [x, y]: [f64; 2], size: f64) {
    let mut pen = x;
    for c in text.chars() {
        let outline = &mut Outline {
            path,
            x: pen as f32,
            y: y as f32,
            em: em(face, size) as f32,
        };
        // A space has no outline.
        let _ = face.outline_glyph(glyph(face, c), outline);
        pen += advance(face, c.encode_utf8(&mut [0; 4]), size);
    }
}

/// Puts outlines of a font, whose y goes up, into a path.
struct Outline<'a> {
    path: &'a mut PathBuilder,
    x: f32,
    y: f32,
    em: f32,
}

impl Outline<'_> {
    fn at(&self, x: f32, y: f32) -> (f32, f32) {
        (self.x + x * self.em, self.y - y * self.em)
    }
}

impl OutlineBuilder for Outline<'_> {
    fn move_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.path.move_to(x, y);
    }
    fn line_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.path.line_to(x, y);
    }
    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ((x1, y1), (x, y)) = (self.at(x1, y1), self.at(x, y));
        self.path.quad_to(x1, y1, x, y);
    }
    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let ((x1, y1), (x2, y2), (x, y)) = (self.at(x1, y1), self.at(x2, y2), self.at(x, y));
        self.path.cubic_to(x1, y1, x2, y2, x, y);
    }
    fn close(&mut self) {
        self.path.close();
    }
}
