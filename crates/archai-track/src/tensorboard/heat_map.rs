//! A picture of the weights that the edges of a cell give their ops: a row for each edge, a column for each op, the darker the
//! heavier, with the weight in percent.

use std::io::Cursor;

use font8x8::{BASIC_FONTS, UnicodeFonts};
use image::{ImageError, ImageFormat, Rgb, RgbImage};

/// Side of a letter.
const LETTER: u32 = 8;
/// Width and height of a field: three digits and some air.
const FIELD: (u32, u32) = (30, 16);
/// Air around everything.
const MARGIN: u32 = 6;

const WHITE: Rgb<u8> = Rgb([255; 3]);
const BLACK: Rgb<u8> = Rgb([0; 3]);
/// The colour of weight 1: the blue of ColorBrewer's Blues.
const FULL: [f64; 3] = [8.0, 48.0, 107.0];

/// A row: its name, and its weights between 0 and 1.
pub type Row = (String, Vec<f64>);

/// Draws rows under the names of their columns. Gives width, height and the PNG file.
///
/// # Errors
/// A picture that is too large for the format.
pub fn draw(rows: &[Row], columns: &[String]) -> Result<(u32, u32, Vec<u8>), ImageError> {
    let length = |text: &String| text.chars().count() as u32 * LETTER;
    let fields = rows.iter().map(|(_, weights)| weights.len());
    let n_fields = fields.max().unwrap_or(0).max(columns.len()) as u32;
    let left = MARGIN + rows.iter().map(|(name, _)| length(name)).max().unwrap_or(0) + LETTER;
    let top = MARGIN + columns.iter().map(length).max().unwrap_or(0) + LETTER / 2;
    let width = left + n_fields * FIELD.0 + MARGIN;
    let height = top + rows.len() as u32 * FIELD.1 + MARGIN;
    let mut picture = RgbImage::from_pixel(width, height, WHITE);
    for (i, name) in columns.iter().enumerate() {
        let x = left + i as u32 * FIELD.0 + (FIELD.0 - LETTER) / 2;
        write_upwards(&mut picture, name, x, top - LETTER / 2);
    }
    for (i, (name, weights)) in rows.iter().enumerate() {
        let y = top + i as u32 * FIELD.1;
        write(
            &mut picture,
            name,
            MARGIN,
            y + (FIELD.1 - LETTER) / 2,
            BLACK,
        );
        for (j, weight) in weights.iter().enumerate() {
            draw_field(&mut picture, *weight, left + j as u32 * FIELD.0, y);
        }
    }
    let mut png = Cursor::new(Vec::new());
    picture.write_to(&mut png, ImageFormat::Png)?;
    Ok((width, height, png.into_inner()))
}

fn draw_field(picture: &mut RgbImage, weight: f64, x: u32, y: u32) {
    let share = match weight.is_finite() {
        true => weight.clamp(0.0, 1.0),
        false => 0.0,
    };
    let mix = |full: f64| (255.0 + (full - 255.0) * share).round() as u8;
    let colour = Rgb(FULL.map(mix));
    for (dx, dy) in (1..FIELD.0).flat_map(|dx| (1..FIELD.1).map(move |dy| (dx, dy))) {
        put(picture, x + dx, y + dy, colour);
    }
    let text = match weight.is_finite() {
        true => format!("{:.0}", 100.0 * share),
        false => "?".to_string(),
    };
    let ink = if share > 0.5 { WHITE } else { BLACK };
    let indent = (FIELD.0 - text.len() as u32 * LETTER) / 2;
    write(picture, &text, x + indent, y + (FIELD.1 - LETTER) / 2, ink);
}

/// Writes from left to right, with the upper left corner at a place.
fn write(picture: &mut RgbImage, text: &str, x: u32, y: u32, ink: Rgb<u8>) {
    for (i, letter) in text.chars().enumerate() {
        for (dx, dy) in dots(letter) {
            put(picture, x + i as u32 * LETTER + dx, y + dy, ink);
        }
    }
}

/// Writes from below to above, with the lower left corner at a place.
fn write_upwards(picture: &mut RgbImage, text: &str, x: u32, y: u32) {
    for (i, letter) in text.chars().enumerate() {
        for (dx, dy) in dots(letter) {
            let up = i as u32 * LETTER + dx + 1;
            put(picture, x + dy, y.saturating_sub(up), BLACK);
        }
    }
}

fn put(picture: &mut RgbImage, x: u32, y: u32, ink: Rgb<u8>) {
    if let Some(pixel) = picture.get_pixel_mut_checked(x, y) {
        *pixel = ink;
    }
}

/// The dots of a letter, from its upper left corner.
fn dots(letter: char) -> impl Iterator<Item = (u32, u32)> {
    let rows = BASIC_FONTS.get(letter).unwrap_or([0; 8]);
    let all = (0..LETTER).flat_map(|x| (0..LETTER).map(move |y| (x, y)));
    all.filter(move |(x, y)| rows.get(*y as usize).is_some_and(|row| row >> x & 1 == 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_shades() {
        let rows = [
            ("a".to_string(), vec![0.0, 1.0]),
            ("bcd".to_string(), vec![0.5]),
        ];
        let columns = ["one".to_string(), "two".to_string()];
        let (width, height, png) = draw(&rows, &columns).unwrap();
        let picture = image::load_from_memory(&png).unwrap().to_rgb8();
        assert_eq!(picture.dimensions(), (width, height));
        let (left, top) = (MARGIN + 4 * LETTER, MARGIN + 3 * LETTER + LETTER / 2);
        let field = |row: u32, column: u32| {
            picture
                .get_pixel(left + column * FIELD.0 + 1, top + row * FIELD.1 + 1)
                .0
        };
        assert_eq!(field(0, 0), [255; 3]);
        assert_eq!(field(0, 1), [8, 48, 107]);
        assert_eq!(field(1, 0), [132, 152, 181]);
        assert_eq!(field(1, 1), [255; 3], "a row may be shorter");
        let ink = picture.pixels().filter(|pixel| pixel.0 == [0; 3]).count();
        assert!(ink > 50, "{ink} dots of letters");
        draw(&[], &[]).unwrap();
    }
}
