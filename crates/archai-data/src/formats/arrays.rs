//! Arrays of pixels, which files of NumPy and of MATLAB have in common: which side is which, and how the pixels of a picture
//! are found in them. Nothing is guessed where a shape can be read in two ways.

use std::io::{self, Read};
use std::path::Path;

use archai_spec::settings;

use crate::dataset::{Image, MAX_SIDE, Split};
use crate::error::DataError;
use crate::gather::Gather;

/// Most dimensions of an array; pictures have four.
pub(super) const MAX_DIMENSIONS: usize = 32;

/// In which order the numbers of an array stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The last dimension changes fastest.
    C,
    /// The first one does.
    Fortran,
}

/// Where the dimension of the pictures stands, if the shape leaves it open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pictures {
    First,
    Last,
}

/// An array of bytes whose pixels are not read yet.
pub(super) struct Array<'a> {
    /// The file.
    pub path: &'a Path,
    /// What the file calls it.
    pub name: &'a str,
    pub shape: &'a [u64],
    pub order: Order,
    pub pictures: Pictures,
}

/// One dimension: how long it is, and how far its neighbours are from each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Side {
    length: usize,
    stride: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sides {
    pictures: Side,
    height: Side,
    width: Side,
    channels: Side,
}

impl Array<'_> {
    /// Adds all pictures of the array, whose pixels follow in `bytes`, one for each label.
    ///
    /// # Errors
    /// [`DataError::Malformed`] if the shape is none of as many pictures, or can be read in two ways; if the bytes are not as
    /// many; as [`Gather::push`].
    pub(super) fn gather(
        &self,
        labels: &[i64],
        bytes: &mut dyn Read,
        gather: &mut Gather,
    ) -> Result<(), DataError> {
        let sides = self.sides(labels.len())?;
        gather.expect(self.path, labels.len() as u64)?;
        let size = sides.height.length * sides.width.length * sides.channels.length;
        // Where pictures lie one behind the other, one at a time is in memory.
        let at_once = match sides.pictures.stride >= size {
            true => 1,
            false => labels.len(),
        };
        let mut planes = Vec::new();
        let mut part = Vec::new();
        for (group, labels) in labels.chunks(at_once.max(1)).enumerate() {
            take(self, bytes, size * labels.len(), &mut part)?;
            for (index, &label) in labels.iter().enumerate() {
                sides.planes(&part, index * sides.pictures.stride, &mut planes);
                let image = Image {
                    pixels: planes.as_slice().into(),
                    channels: sides.channels.length,
                    height: sides.height.length,
                    width: sides.width.length,
                };
                let index = group * at_once + index;
                gather.push(self.path, image, label, || {
                    format!("picture {index} of `{}`", self.name)
                })?;
            }
        }
        let mut byte = [0];
        match bytes.read(&mut byte) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.wrong("no more bytes than its shape says", "more")),
            Err(error) => Err(self.broken(&error)),
        }
    }

    /// Which dimension is which, of an array of `n` pictures.
    fn sides(&self, n: usize) -> Result<Sides, DataError> {
        let strides = self.strides()?;
        let all: Vec<Side> = (self.shape.iter().zip(strides))
            .map(|(&length, stride)| Side {
                // The product of all fits, so each of them does.
                length: length as usize,
                stride,
            })
            .collect();
        let (first, last) = match all.as_slice() {
            [first, .., last] if (3..=4).contains(&all.len()) => (first, last),
            _ => {
                return Err(self.wrong(
                    "3 dimensions (pictures, rows, columns) or 4 (channels too); rows of pixels do not say how high a picture \
                     is, so give the array its shape back",
                    format!("{} dimensions", all.len()),
                ));
            }
        };
        let is_first = first.length == n;
        let (pictures, rest) = match self.pictures {
            Pictures::Last if last.length == n => (*last, &all[..all.len() - 1]),
            _ if is_first => (*first, &all[1..]),
            Pictures::First if last.length == n => (*last, &all[..all.len() - 1]),
            _ => {
                return Err(self.wrong(
                    format!("{n} pictures, one for each label"),
                    "another number",
                ));
            }
        };
        let is_channels = |side: &Side| [1, 3].contains(&side.length);
        let (height, width, channels) = match *rest {
            [height, width] => (
                height,
                width,
                Side {
                    length: 1,
                    stride: 0,
                },
            ),
            [a, b, c] => match (is_channels(&a), is_channels(&c)) {
                (false, true) => (a, b, c),
                (true, false) => (b, c, a),
                (true, true) => {
                    return Err(self.wrong(
                        "a shape of which it is clear whether channels come first or last",
                        "1 or 3 at both ends; cut such pictures or enlarge them",
                    ));
                }
                (false, false) => {
                    return Err(self.wrong(
                        "1 or 3 channels, as the first or the last side of a picture",
                        "neither",
                    ));
                }
            },
            _ => return Err(self.wrong("3 or 4 dimensions", "others")),
        };
        let is_sound = |side: Side| (1..=MAX_SIDE).contains(&side.length);
        if !is_sound(height) || !is_sound(width) {
            let expected = format!("pictures of 1 to {MAX_SIDE} pixels a side");
            let found = format!("{} x {}", height.length, width.length);
            return Err(self.wrong(expected, found));
        }
        Ok(Sides {
            pictures,
            height,
            width,
            channels,
        })
    }

    fn strides(&self) -> Result<Vec<usize>, DataError> {
        let mut strides = vec![0; self.shape.len()];
        let mut product = 1_u64;
        let mut place = |(stride, length): (&mut usize, &u64)| {
            *stride = usize::try_from(product).ok()?;
            product = product.checked_mul(*length)?;
            isize::try_from(product).ok()
        };
        let pairs = strides.iter_mut().zip(self.shape);
        let fits = match self.order {
            Order::Fortran => pairs.map(&mut place).all(|fits| fits.is_some()),
            Order::C => pairs.rev().map(&mut place).all(|fits| fits.is_some()),
        };
        match fits && !self.shape.contains(&0) {
            true => Ok(strides),
            false => Err(self.wrong(
                "an array of at least one picture that fits into memory",
                "another",
            )),
        }
    }

    fn wrong(&self, expected: impl Into<String>, found: impl std::fmt::Display) -> DataError {
        let at = format!("array `{}` of shape {:?}", self.name, self.shape);
        DataError::Malformed {
            path: self.path.to_owned(),
            at,
            expected: expected.into(),
            found: found.to_string(),
            mend: "change the array and write it again, or name another one in dataset.columns"
                .into(),
        }
    }

    fn broken(&self, error: &io::Error) -> DataError {
        DataError::malformed(
            self.path,
            format!("array `{}`", self.name),
            "readable data",
            error.to_string(),
        )
    }
}

impl Sides {
    /// Replaces `planes` by the channels of the picture that begins at `start`, each row by row.
    fn planes(&self, part: &[u8], start: usize, planes: &mut Vec<u8>) {
        planes.clear();
        for channel in 0..self.channels.length {
            for row in 0..self.height.length {
                let line = start + channel * self.channels.stride + row * self.height.stride;
                planes.extend(
                    (0..self.width.length).map(|column| part[line + column * self.width.stride]),
                );
            }
        }
    }
}

/// Replaces `part` by the next `n` bytes. Memory grows with what is really there, whatever a header promised.
fn take(
    array: &Array<'_>,
    bytes: &mut dyn Read,
    n: usize,
    part: &mut Vec<u8>,
) -> Result<(), DataError> {
    part.clear();
    let read = bytes
        .take(n as u64)
        .read_to_end(part)
        .map_err(|error| array.broken(&error))?;
    match read == n {
        true => Ok(()),
        false => Err(array.wrong(
            "as many bytes as its shape says",
            format!("{} too few", n - read),
        )),
    }
}

/// Checks that labels are one in each row of an array of this shape, and gives their number.
///
/// # Errors
/// [`DataError::Malformed`].
pub(super) fn label_count(path: &Path, name: &str, shape: &[u64]) -> Result<u64, DataError> {
    let long = shape.iter().filter(|&&side| side != 1).count();
    let count = shape
        .iter()
        .try_fold(1_u64, |product, &side| product.checked_mul(side));
    match (long, count) {
        (0 | 1, Some(count)) if !shape.is_empty() => Ok(count),
        _ => Err(DataError::Malformed {
            path: path.to_owned(),
            at: format!("array `{name}`"),
            expected: "one label for each picture: a list of whole numbers".into(),
            found: format!("the shape {shape:?}"),
            mend: "where there is a row for each picture and a column for each class, write the numbers of the classes \
                   (in Python: labels.argmax(1))"
                .into(),
        }),
    }
}

/// The names that the section gives the arrays of pictures and of labels of a part. `is_joint`: one file has those of all
/// parts.
///
/// # Errors
/// [`DataError::Setting`] if such a file's arrays of training data are named, and those of the test data are not.
pub(super) fn named(
    dataset: &settings::Dataset,
    split: Split,
    is_joint: bool,
) -> Result<[Option<&str>; 2], DataError> {
    let Some(columns) = &dataset.columns else {
        return Ok([None, None]);
    };
    let missing = |key: &str| {
        DataError::setting(
            format!("dataset.columns.test_{key}"),
            "is missing: one file has the arrays of training and test data, so both must be named",
        )
    };
    let pairs = [
        ("image", &columns.image, &columns.test_image),
        ("label", &columns.label, &columns.test_label),
    ];
    let mut names = [None, None];
    for (name, (key, own, of_test)) in names.iter_mut().zip(pairs) {
        *name = match (split, of_test) {
            (Split::Test, Some(of_test)) => Some(of_test.as_str()),
            (Split::Test, None) if is_joint && own.is_some() => return Err(missing(key)),
            _ => own.as_deref(),
        };
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sides(shape: &[u64], n: usize, pictures: Pictures) -> Result<[usize; 4], String> {
        let array = Array {
            path: Path::new("a.npz"),
            name: "x",
            shape,
            order: Order::C,
            pictures,
        };
        let sides = array.sides(n).map_err(|error| error.to_string())?;
        let Sides {
            pictures,
            height,
            width,
            channels,
        } = sides;
        Ok([pictures, channels, height, width].map(|side| side.length))
    }

    #[test]
    fn shapes() {
        use Pictures::{First, Last};
        for (shape, n, pictures, expect) in [
            (&[5, 4, 6][..], 5, First, [5, 1, 4, 6]),
            (&[4, 6, 5], 5, First, [5, 1, 4, 6]),
            (&[5, 4, 5], 5, First, [5, 1, 4, 5]),
            (&[5, 4, 5], 5, Last, [5, 1, 5, 4]),
            (&[5, 4, 6, 3], 5, First, [5, 3, 4, 6]),
            (&[5, 4, 6, 1], 5, First, [5, 1, 4, 6]),
            (&[5, 3, 4, 6], 5, First, [5, 3, 4, 6]),
            (&[32, 32, 3, 32], 32, Last, [32, 3, 32, 32]),
        ] {
            assert_eq!(sides(shape, n, pictures), Ok(expect), "{shape:?}");
        }
        for (shape, n, part) in [
            (&[5, 784][..], 5, "2 dimensions"),
            (&[5, 3, 4, 3], 5, "at both ends"),
            (&[5, 4, 4, 2], 5, "neither"),
            (&[32, 32, 3, 32], 32, "neither"),
            (&[5, 4, 4, 3], 6, "6 pictures, one for each label"),
            (&[5, 0, 4, 3], 5, "at least one picture"),
            (&[1 << 40, 1 << 40, 3, 5], 5, "fits into memory"),
            (&[1, 99_999, 4], 1, "pixels a side"),
        ] {
            let error = sides(shape, n, First).unwrap_err();
            assert!(error.contains(part), "{shape:?}: {error}");
        }
    }
}
