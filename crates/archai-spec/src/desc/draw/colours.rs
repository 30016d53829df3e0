//! The colours of ops: one source for drawings, charts and legends.

use std::fmt;

use crate::desc::OpCatalog;

/// Colours of ops that have none of their own.
const MORE: [Rgb; 10] = [
    Rgb([0xb0, 0x30, 0x7a]),
    Rgb([0x0f, 0x7f, 0x8c]),
    Rgb([0x7a, 0x55, 0x46]),
    Rgb([0x8b, 0x94, 0x20]),
    Rgb([0x5b, 0x3f, 0xb5]),
    Rgb([0xb2, 0x3b, 0x3b]),
    Rgb([0xd9, 0x6b, 0xa0]),
    Rgb([0x3d, 0xa9, 0xb5]),
    Rgb([0xa9, 0x7a, 0x3d]),
    Rgb([0x55, 0x5f, 0x2a]),
];

/// A colour: red, green and blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rgb(pub [u8; 3]);

/// `#2563b0`.
impl fmt::Display for Rgb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [r, g, b] = self.0;
        write!(f, "#{r:02x}{g:02x}{b:02x}")
    }
}

impl Rgb {
    /// White.
    pub const WHITE: Rgb = Rgb([255; 3]);
    /// What dark drawings are drawn on.
    pub const NIGHT: Rgb = Rgb([0x1c, 0x22, 0x29]);
    /// The darkest ink.
    pub const INK: Rgb = Rgb([0x10, 0x15, 0x1a]);

    /// The colour that `#rrggbb` names.
    pub fn parse(text: &str) -> Option<Rgb> {
        let digits = text.strip_prefix('#').filter(|d| d.len() == 6)?;
        let part = |i: usize| u8::from_str_radix(digits.get(i..i + 2)?, 16).ok();
        Some(Rgb([part(0)?, part(2)?, part(4)?]))
    }

    /// How bright it looks, 0 to 1 (WCAG 2.2, relative luminance).
    fn luminance(self) -> f64 {
        let linear = |v: u8| {
            let v = f64::from(v) / 255.0;
            match v <= 0.04045 {
                true => v / 12.92,
                false => ((v + 0.055) / 1.055).powf(2.4),
            }
        };
        let [r, g, b] = self.0.map(linear);
        0.2126 * r + 0.7152 * g + 0.0722 * b
    }

    /// The contrast of two colours, 1 to 21 (WCAG 2.2).
    ///
    /// ```
    /// use archai_spec::desc::draw::Rgb;
    /// assert!((Rgb([0; 3]).contrast(Rgb::WHITE) - 21.0).abs() < 1e-9);
    /// ```
    pub fn contrast(self, other: Rgb) -> f64 {
        let (a, b) = (self.luminance(), other.luminance());
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    /// The nearest shade whose contrast to `ground` is at least `least`: the colour itself, or darker on white and lighter on
    /// dark grounds.
    #[must_use]
    pub fn visible_on(self, ground: Rgb, least: f64) -> Rgb {
        let towards = if ground.luminance() > 0.5 { 0.0 } else { 255.0 };
        let shade = |step: u32| {
            let share = f64::from(step) / 20.0;
            Rgb(self
                .0
                .map(|v| (f64::from(v) * (1.0 - share) + towards * share).round() as u8))
        };
        let mut shades = (0..=20).map(shade);
        shades
            .find(|shade| shade.contrast(ground) >= least)
            .unwrap_or(self)
    }
}

/// Which colour stands for which op. Ops that are often drawn have one of their own; each of the others gets one by its name,
/// so that a name has the same colour in all drawings and charts, unless another op of the same drawing has taken it.
///
/// ```
/// use archai_spec::desc::{OpCatalog, draw::OpColours};
/// let catalog = OpCatalog::builtin();
/// let mut colours = OpColours::new(&catalog);
/// assert_eq!(colours.get("sep_conv_3x3").to_string(), "#2563b0");
/// assert_ne!(colours.get("my_op"), colours.get("another"));
/// ```
#[derive(Clone, Debug)]
pub struct OpColours<'a> {
    catalog: &'a OpCatalog,
    given: Vec<(String, Rgb)>,
}

impl<'a> OpColours<'a> {
    /// The colours that a catalogue's ops have, and none given to others yet.
    pub fn new(catalog: &'a OpCatalog) -> Self {
        OpColours {
            catalog,
            given: Vec::new(),
        }
    }

    /// The colour of an op.
    pub fn get(&mut self, name: &str) -> Rgb {
        let own = self.catalog.get(name).ok();
        if let Some(own) = own.and_then(|op| op.colour()).and_then(Rgb::parse) {
            return own;
        }
        if let Some((_, known)) = self.given.iter().find(|(given, _)| given == name) {
            return *known;
        }
        let start = name
            .bytes()
            .fold(0usize, |sum, b| sum.wrapping_mul(31).wrapping_add(b.into()));
        let turns = (0..MORE.len()).map(|i| MORE[start.wrapping_add(i) % MORE.len()]);
        let is_free = |colour: &Rgb| self.given.iter().all(|(_, given)| given != colour);
        let colour = turns.clone().find(is_free);
        let colour = colour.unwrap_or(MORE[start % MORE.len()]);
        self.given.push((name.to_string(), colour));
        colour
    }
}
