//! What augmentation does with the bytes of a picture, with the arithmetic of Pillow to the last bit: its `ImageOps`,
//! `ImageEnhance`, and affine transforms without interpolation, which are what torchvision's policies use on pictures.
//!
//! Grey pictures go through all of it. `color` and a turn of the hue leave them as they are, as they have neither; the rest
//! treats the one channel as it treats each of three.

/// A picture in bytes: channel after channel, each row by row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Raster {
    /// `channels · height · width` bytes.
    pub bytes: Vec<u8>,
    /// 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

/// What Pillow gives the colours red, green and blue in a grey level, of 65536 parts.
const LUMA: [u32; 3] = [19_595, 38_470, 7_471];

impl Raster {
    fn area(&self) -> usize {
        self.height * self.width
    }

    /// Each byte becomes the one in a table.
    fn map(&mut self, table: impl Fn(u8) -> u8) {
        let table: [u8; 256] = std::array::from_fn(|byte| table(byte as u8));
        for byte in &mut self.bytes {
            *byte = table[usize::from(*byte)];
        }
    }

    /// Each byte becomes the one in a table that is made of the histogram of its channel.
    fn map_each(&mut self, table: impl Fn(&[usize; 256]) -> Option<[u8; 256]>) {
        let area = self.area();
        for plane in self.bytes.chunks_exact_mut(area) {
            let mut histogram = [0; 256];
            for byte in &*plane {
                histogram[usize::from(*byte)] += 1;
            }
            if let Some(table) = table(&histogram) {
                for byte in plane {
                    *byte = table[usize::from(*byte)];
                }
            }
        }
    }

    /// White becomes black.
    pub fn invert(&mut self) {
        self.map(|byte| 255 - byte);
    }

    /// What is not below a threshold is inverted.
    pub fn solarize(&mut self, threshold: f64) {
        self.map(|byte| match f64::from(byte) < threshold {
            true => byte,
            false => 255 - byte,
        });
    }

    /// Only the highest bits of each byte are kept.
    pub fn posterize(&mut self, bits: u32) {
        let mask = !(0xff_u32 >> bits.min(8)) as u8;
        self.map(|byte| byte & mask);
    }

    /// The darkest byte of each channel becomes black, and the brightest white.
    pub fn autocontrast(&mut self) {
        self.map_each(|histogram| {
            let low = histogram.iter().position(|n| *n > 0)?;
            let high = histogram.iter().rposition(|n| *n > 0)?;
            if high <= low {
                return None;
            }
            let scale = 255.0 / (high - low) as f64;
            let offset = -(low as f64) * scale;
            Some(std::array::from_fn(|byte| {
                (byte as f64 * scale + offset) as u8
            }))
        });
    }

    /// Each channel's bytes are spread so that all levels are as frequent.
    pub fn equalize(&mut self) {
        self.map_each(|histogram| {
            let found = histogram.iter().filter(|n| **n > 0);
            let last = *histogram.iter().rfind(|n| **n > 0)?;
            let step = (histogram.iter().sum::<usize>() - last) / 255;
            if found.count() <= 1 || step == 0 {
                return None;
            }
            let mut n = step / 2;
            Some(std::array::from_fn(|byte| {
                let level = (n / step).min(255) as u8;
                n += histogram[byte];
                level
            }))
        });
    }

    /// From black (0) over the picture (1) to what is brighter.
    pub fn brightness(&mut self, factor: f64) {
        let factor = factor as f32;
        self.map(|byte| blend(0, byte, factor));
    }

    /// From the mean grey level (0) over the picture (1) to more contrast.
    pub fn contrast(&mut self, factor: f64) {
        let factor = factor as f32;
        let sum: u64 = (0..self.area()).map(|i| u64::from(self.grey(i))).sum();
        let mean = (sum as f64 / self.area() as f64 + 0.5) as u8;
        self.map(|byte| blend(mean, byte, factor));
    }

    /// From grey (0) over the picture (1) to stronger colours.
    pub fn color(&mut self, factor: f64) {
        let factor = factor as f32;
        let area = self.area();
        // Between a grey picture and itself is nothing.
        if self.channels == 3 {
            for i in 0..area {
                let grey = self.grey(i);
                for c in 0..3 {
                    let byte = &mut self.bytes[c * area + i];
                    *byte = blend(grey, *byte, factor);
                }
            }
        }
    }

    fn grey(&self, i: usize) -> u8 {
        let area = self.area();
        match self.channels {
            3 => {
                let part = |c: usize| LUMA[c] * u32::from(self.bytes[c * area + i]);
                ((part(0) + part(1) + part(2) + (1 << 15)) >> 16) as u8
            }
            _ => self.bytes[i],
        }
    }

    /// From what is smoothed by Pillow's filter `SMOOTH` (0) over the picture (1) to what is sharper.
    pub fn sharpness(&mut self, factor: f64) {
        let factor = factor as f32;
        let (height, width) = (self.height, self.width);
        if height < 3 || width < 3 {
            return;
        }
        let [outer, inner] = [1.0_f32 / 13.0, 5.0_f32 / 13.0];
        let mut lines = vec![0; 2 * width];
        for plane in self.bytes.chunks_exact_mut(height * width) {
            // The line above and the one at hand as they were; the one below is so still.
            let (above, at) = lines.split_at_mut(width);
            above.copy_from_slice(&plane[..width]);
            at.copy_from_slice(&plane[width..2 * width]);
            for y in 1..height - 1 {
                let (line, below) = plane[y * width..(y + 2) * width].split_at_mut(width);
                for x in 1..width - 1 {
                    let three = |line: &[u8], middle: f32| {
                        let [a, b, c] = [line[x - 1], line[x], line[x + 1]].map(f32::from);
                        a * outer + b * middle + c * outer
                    };
                    let sum = 0.5 + three(below, outer) + three(at, inner) + three(above, outer);
                    line[x] = blend(sum as u8, at[x], factor);
                }
                above.copy_from_slice(at);
                at.copy_from_slice(below);
            }
        }
    }

    /// The hue turns by so many of 255 parts of the circle.
    pub fn hue(&mut self, turn: u8) {
        let area = self.area();
        if self.channels != 3 {
            return;
        }
        for i in 0..area {
            let [h, s, v] = hsv([0, 1, 2].map(|c| self.bytes[c * area + i]));
            let colour = rgb([h.wrapping_add(turn), s, v]);
            for (c, byte) in colour.into_iter().enumerate() {
                self.bytes[c * area + i] = byte;
            }
        }
    }

    /// A rectangle of one colour, whose last row and column belong to it. A grey picture takes the colour's grey level.
    pub fn fill(&mut self, [top, left]: [usize; 2], [bottom, right]: [usize; 2], colour: [u8; 3]) {
        let (area, height, width) = (self.area(), self.height, self.width);
        let mut below = Raster {
            bytes: colour.to_vec(),
            channels: 3,
            height: 1,
            width: 1,
        };
        if self.channels == 1 {
            below.bytes = vec![below.grey(0)];
        }
        for (plane, colour) in self.bytes.chunks_exact_mut(area).zip(below.bytes) {
            for row in plane
                .chunks_exact_mut(width)
                .take((bottom + 1).min(height))
                .skip(top)
            {
                row[left..(right + 1).min(width)].fill(colour);
            }
        }
    }

    /// The pixel at (x, y) becomes the one at (a·x + b·y + c, d·x + e·y + f), in coordinates whose whole numbers are the
    /// corners of pixels; what comes in from outside is black. `spare` is what is overwritten.
    pub fn affine(&mut self, matrix: [f64; 6], spare: &mut Vec<u8>) {
        let (height, width) = (self.height, self.width);
        spare.clear();
        spare.resize(self.bytes.len(), 0);
        let [a, b, _, d, e, _] = matrix;
        match b == 0.0 && d == 0.0 {
            true => {
                let columns = scaled(a, matrix[2], width);
                let rows = scaled(e, matrix[5], height);
                self.take(spare, |x, y| (columns[x], rows[y]));
            }
            false => {
                let fixed = Fixed::new(matrix);
                self.take(spare, |x, y| fixed.at(x, y));
            }
        }
        std::mem::swap(&mut self.bytes, spare);
    }

    /// Writes to `to` the pixels whose places `from` gives, as far as they are in the picture.
    fn take(&self, to: &mut [u8], from: impl Fn(usize, usize) -> (i64, i64)) {
        let (area, width) = (self.area(), self.width);
        for y in 0..self.height {
            for x in 0..width {
                let (from_x, from_y) = from(x, y);
                let is_inside = (0..width as i64).contains(&from_x)
                    && (0..self.height as i64).contains(&from_y);
                if is_inside {
                    let from = from_y as usize * width + from_x as usize;
                    for c in 0..self.channels {
                        to[c * area + y * width + x] = self.bytes[c * area + from];
                    }
                }
            }
        }
    }

    /// Turned against the clock by so many degrees around its middle, as `Image.rotate` does it.
    pub fn rotate(&mut self, degrees: f64, spare: &mut Vec<u8>) {
        let angle = -degrees.rem_euclid(360.0).to_radians();
        // Pillow rounds so that right angles are exact.
        let round = |value: f64| (value * 1e15).round_ties_even() / 1e15;
        let (cos, sin) = (round(angle.cos()), round(angle.sin()));
        let [x, y] = [self.width as f64 / 2.0, self.height as f64 / 2.0];
        let matrix = [
            cos,
            sin,
            cos * -x + sin * -y + 0.0 + x,
            -sin,
            cos,
            -sin * -x + cos * -y + 0.0 + y,
        ];
        self.affine(matrix, spare);
    }
}

/// `factor` of `above`, the rest of `below`, beyond them if it is below 0 or above 1: Pillow's `Image.blend`.
fn blend(below: u8, above: u8, factor: f32) -> u8 {
    if factor == 0.0 {
        return below;
    }
    if factor == 1.0 {
        return above;
    }
    let between = f32::from(below) + factor * (f32::from(above) - f32::from(below));
    // Cut off, within 0 to 255.
    between as u8
}

/// From where each of `n` pixels in a row comes that is scaled and moved; -1 for what is outside.
fn scaled(factor: f64, offset: f64, n: usize) -> Vec<i64> {
    let mut place = offset + factor * 0.5;
    (0..n)
        .map(|_| {
            let found = if place < 0.0 { -1 } else { place as i64 };
            place += factor;
            found
        })
        .collect()
}

/// A matrix in whole numbers of 1/65536, as Pillow computes without interpolation.
struct Fixed([i64; 6]);

impl Fixed {
    fn new([a, b, c, d, e, f]: [f64; 6]) -> Fixed {
        let (c, f) = (c + a * 0.5 + b * 0.5, f + d * 0.5 + e * 0.5);
        Fixed([a, b, c, d, e, f].map(|v| (v * 65_536.0 + 0.5).floor() as i64))
    }

    fn at(&self, x: usize, y: usize) -> (i64, i64) {
        let Fixed([a, b, c, d, e, f]) = self;
        let (x, y) = (x as i64, y as i64);
        ((c + b * y + a * x) >> 16, (f + e * y + d * x) >> 16)
    }
}

/// Red, green and blue as hue, saturation and value, each of 255 parts, in the numbers of Pillow.
fn hsv(colour: [u8; 3]) -> [u8; 3] {
    let most = colour.into_iter().fold(0, u8::max);
    let least = colour.into_iter().fold(255, u8::min);
    if most == least {
        return [0, 0, most];
    }
    let range = f32::from(most - least);
    let saturation = range / f32::from(most);
    let [r, g, b] = colour.map(|c| f32::from(most - c) / range);
    let hue = if colour[0] == most {
        b - g
    } else if colour[1] == most {
        (2.0 + f64::from(r) - f64::from(b)) as f32
    } else {
        (4.0 + f64::from(g) - f64::from(r)) as f32
    };
    let hue = ((f64::from(hue) / 6.0 + 1.0) % 1.0) as f32;
    let byte = |part: f32| (f64::from(part) * 255.0) as u8;
    [byte(hue), byte(saturation), most]
}

/// The way back from [`hsv`].
fn rgb([hue, saturation, value]: [u8; 3]) -> [u8; 3] {
    if saturation == 0 {
        return [value; 3];
    }
    let place = f64::from(f32::from(hue)) * 6.0 / 255.0;
    let sector = place.floor();
    let rest = f64::from((place - sector) as f32);
    let saturation = f64::from((f64::from(saturation) / 255.0) as f32);
    let byte = |part: f64| (f64::from(value) * part).round() as u8;
    let p = byte(1.0 - saturation);
    let q = byte(1.0 - saturation * rest);
    let t = byte(1.0 - saturation * (1.0 - rest));
    match sector as u8 % 6 {
        0 => [value, t, p],
        1 => [q, value, p],
        2 => [p, value, t],
        3 => [p, q, value],
        4 => [t, p, value],
        _ => [value, p, q],
    }
}
