//! Numeric arrays of MATLAB's files of version 5, 6 and 7 (`.mat`), which SVHN is published in (Netzer et al., 2011): `X` with
//! the sides rows, columns, channels, pictures, and `y`. MATLAB counts from 1: a label that equals the number of classes is
//! class 0, as SVHN means it (10 is the digit 0) and as torchvision reads it.
//!
//! A file is a row of elements, some of them compressed; an element that is an array begins with its class, its sides and its
//! name. Only arrays of numbers are read. Structures, cells and files of version 7.3, which are HDF5, are refused by name.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use archai_spec::registry::Named;
use archai_spec::settings;
use flate2::read::ZlibDecoder;

use super::arrays::{self, Array, MAX_DIMENSIONS, Order, Pictures};
use super::columns;
use crate::bounded::bounded;
use crate::dataset::{Dataset, Split};
use crate::error::DataError;
use crate::files;
use crate::format::DataFormat;
use crate::gather::Gather;

/// The usual names of the arrays of pictures and of labels.
const IMAGES: [&str; 3] = ["x", "images", "data"];
const LABELS: [&str; 3] = ["y", "labels", "label"];

/// Most arrays of a file that are looked at.
const MAX_ARRAYS: usize = 10_000;

/// Longest name of an array; MATLAB allows 63.
const MAX_NAME: u64 = 1024;

/// The format `mat`.
pub(super) struct Mat;

impl Named for Mat {
    fn name(&self) -> &str {
        "mat"
    }

    fn about(&self) -> &str {
        "MATLAB's files of arrays (version 5 to 7) with X and y, as SVHN has them: train*.mat and test*.mat"
    }
}

impl DataFormat for Mat {
    fn open(
        &self,
        dataset: &settings::Dataset,
        split: Split,
    ) -> Result<Arc<dyn Dataset>, DataError> {
        let mut gather = Gather::new(dataset);
        for path in self.files(dataset, split)? {
            file(&path, dataset, &mut gather)?;
        }
        Ok(Arc::new(gather.finish(Path::new(&dataset.path))?))
    }

    fn files(&self, dataset: &settings::Dataset, split: Split) -> Result<Vec<PathBuf>, DataError> {
        columns::refuse_test_names(dataset)?;
        let usual: &[&[&str]] = match split {
            Split::Train => &[&["train*.mat"]],
            Split::Test => &[&["test*.mat"], &["val*.mat"]],
        };
        files::of_part(dataset, split, usual)
    }

    fn keys(&self) -> &[&str] {
        &["columns"]
    }
}

fn file(path: &Path, dataset: &settings::Dataset, gather: &mut Gather) -> Result<(), DataError> {
    let there = names(path)?;
    let [image, label] = arrays::named(dataset, Split::Train, false)?;
    let images = columns::find(path, &there, "images", image, &IMAGES)?;
    let labels = columns::find(path, &there, "labels", label, &LABELS)?;
    let mut labels = integers(path, &there[labels])?;
    let n_classes = dataset.n_classes as i64;
    if labels.contains(&n_classes) {
        if labels.contains(&0) {
            return Err(DataError::Malformed {
                path: path.to_owned(),
                at: "its labels".into(),
                expected: format!(
                    "labels from 0 to {}, or from 1 to {n_classes}",
                    n_classes - 1
                ),
                found: format!("both 0 and {n_classes}"),
                mend: "correct dataset.n_classes".into(),
            });
        }
        labels
            .iter_mut()
            .filter(|label| **label == n_classes)
            .for_each(|label| *label = 0);
    }
    find(path, &there[images], |array, bytes| {
        if array.class != UINT8 || array.stored != MI_UINT8 {
            return Err(array.of_class(
                path,
                "pixels of the class uint8",
                "images = uint8(images)",
            ));
        }
        let pixels = Array {
            path,
            name: &array.name,
            shape: &array.shape,
            order: Order::Fortran,
            pictures: Pictures::Last,
        };
        pixels.gather(&labels, bytes, gather)
    })
}

/// The whole numbers of an array: as a file keeps them, or as fractions that are whole.
///
/// # Errors
/// [`DataError::Malformed`] if there is no such array, or if it holds others.
pub(super) fn integers(path: &Path, name: &str) -> Result<Vec<i64>, DataError> {
    find(path, name, |array, bytes| {
        let n = arrays::label_count(path, name, &array.shape)?;
        let wrong = |expected: &str, found: String| {
            DataError::malformed(path, format!("array `{name}`"), expected, found)
        };
        let size = match array.stored {
            MI_INT8 | MI_UINT8 => 1,
            MI_INT16 | MI_UINT16 => 2,
            MI_INT32 | MI_UINT32 | MI_SINGLE => 4,
            MI_DOUBLE | MI_INT64 | MI_UINT64 => 8,
            kind => return Err(wrong("numbers", format!("data of type {kind}"))),
        };
        if n.checked_mul(size) != Some(array.bytes) {
            return Err(wrong(
                &format!("{n} numbers of {size} bytes"),
                format!("{} bytes", array.bytes),
            ));
        }
        let mut all = Vec::new();
        bytes
            .read_to_end(&mut all)
            .map_err(|error| wrong("readable data", error.to_string()))?;
        if all.len() as u64 != array.bytes {
            return Err(wrong(
                &format!("{} bytes", array.bytes),
                format!("{}", all.len()),
            ));
        }
        let number = |bytes: &[u8]| {
            array
                .number(bytes)
                .ok_or_else(|| wrong("whole numbers", "a fraction".into()))
        };
        all.chunks_exact(size as usize).map(number).collect()
    })
}

// Types of data in a file.
const MI_INT8: u32 = 1;
const MI_UINT8: u32 = 2;
const MI_INT16: u32 = 3;
const MI_UINT16: u32 = 4;
const MI_INT32: u32 = 5;
const MI_UINT32: u32 = 6;
const MI_SINGLE: u32 = 7;
const MI_DOUBLE: u32 = 9;
const MI_INT64: u32 = 12;
const MI_UINT64: u32 = 13;
const MI_MATRIX: u32 = 14;
const MI_COMPRESSED: u32 = 15;
const MI_UTF8: u32 = 16;

/// The class of arrays of unsigned bytes.
const UINT8: u8 = 9;

/// The names of MATLAB's classes, from 1.
const CLASSES: [&str; 17] = [
    "cell", "struct", "object", "char", "sparse", "double", "single", "int8", "uint8", "int16",
    "uint16", "int32", "uint32", "int64", "uint64", "function", "opaque",
];

/// An array whose numbers are not read yet.
struct Header {
    name: String,
    class: u8,
    shape: Vec<u64>,
    is_big: bool,
    /// The type of its data, and how many bytes they are.
    stored: u32,
    bytes: u64,
}

impl Header {
    fn of_class(&self, path: &Path, expected: &str, remedy: &str) -> DataError {
        let class = match usize::from(self.class)
            .checked_sub(1)
            .and_then(|class| CLASSES.get(class))
        {
            Some(class) => format!("the class {class}"),
            None => format!("class {}", self.class),
        };
        DataError::Malformed {
            path: path.to_owned(),
            at: format!("array `{}`", self.name),
            expected: expected.into(),
            found: class,
            mend: format!("write it again, in MATLAB {remedy}"),
        }
    }

    /// A number of the array, if it is whole.
    fn number(&self, bytes: &[u8]) -> Option<i64> {
        let mut eight = [0; 8];
        let n = bytes.len().min(8);
        match self.is_big {
            true => eight[8 - n..].copy_from_slice(&bytes[..n]),
            false => eight[..n].copy_from_slice(&bytes[..n]),
        }
        let value = match self.is_big {
            true => u64::from_be_bytes(eight),
            false => u64::from_le_bytes(eight),
        };
        let whole = |value: f64| {
            (value.fract() == 0.0 && value.abs() < 2_f64.powi(53)).then_some(value as i64)
        };
        match self.stored {
            MI_INT8 => Some(i64::from(value as u8 as i8)),
            MI_INT16 => Some(i64::from(value as u16 as i16)),
            MI_INT32 => Some(i64::from(value as u32 as i32)),
            MI_SINGLE => whole(f32::from_bits(value as u32).into()),
            MI_DOUBLE => whole(f64::from_bits(value)),
            MI_UINT64 => i64::try_from(value).ok(),
            _ => Some(value as i64),
        }
    }
}

/// The names of the arrays of a file.
fn names(path: &Path) -> Result<Vec<String>, DataError> {
    let mut names = Vec::new();
    each(path, &mut |array, _| {
        names.push(array.name.clone());
        match names.len() > MAX_ARRAYS {
            true => Err(DataError::malformed(
                path,
                "its arrays",
                format!("at most {MAX_ARRAYS}"),
                "more",
            )),
            false => Ok(true),
        }
    })?;
    Ok(names)
}

/// Works on the numbers of one array.
fn find<T>(
    path: &Path,
    name: &str,
    work: impl FnOnce(&Header, &mut dyn Read) -> Result<T, DataError>,
) -> Result<T, DataError> {
    let (mut work, mut done, mut there) = (Some(work), None, Vec::new());
    each(path, &mut |array, bytes| {
        if array.name != name {
            there.push(array.name.clone());
            return Ok(true);
        }
        if !(6..=15).contains(&array.class) {
            let expected = "an array of numbers; structures, cells and texts are not read";
            return Err(array.of_class(path, expected, "an array of numbers"));
        }
        if let Some(work) = work.take() {
            done = Some(work(array, bytes)?);
        }
        Ok(false)
    })?;
    done.ok_or_else(|| {
        let found = there.join(", ");
        DataError::malformed(path, "its arrays", format!("the array `{name}`"), found)
    })
}

/// Takes an array and its numbers; says whether to go on to the next.
type Visit<'a> = dyn FnMut(&Header, &mut dyn Read) -> Result<bool, DataError> + 'a;

/// Visits the arrays of a file, one after the other.
fn each(path: &Path, visit: &mut Visit<'_>) -> Result<(), DataError> {
    let io = |action| DataError::io(action, path);
    let mut file = File::open(path).map_err(io("open"))?;
    let length = file.metadata().map_err(io("read"))?.len();
    let is_big = check_version(path, &mut file)?;
    let mut at = 128;
    while at < length {
        let damaged = |what: io::Error| {
            let at = format!("byte {at}");
            DataError::malformed(path, at, "an element of a MATLAB file", what.to_string())
        };
        file.seek(SeekFrom::Start(at)).map_err(io("read"))?;
        let mut reader = BufReader::with_capacity(1 << 16, &mut file);
        let tag = Tag::read(&mut reader, is_big).map_err(damaged)?;
        let end = at + 8 + tag.bytes;
        if tag.small.is_some() || end > length {
            return Err(damaged(invalid(format!(
                "one of {} bytes in a file of {length}",
                tag.bytes
            ))));
        }
        let inside = reader.take(tag.bytes);
        let goes_on = match tag.kind {
            MI_MATRIX => matrix(path, inside, tag.bytes, is_big, at, visit)?,
            MI_COMPRESSED => {
                let mut inside = bounded(ZlibDecoder::new(inside), tag.bytes);
                let tag = Tag::read(&mut inside, is_big).map_err(damaged)?;
                match tag.kind {
                    MI_MATRIX => matrix(path, inside, tag.bytes, is_big, at, visit)?,
                    _ => true,
                }
            }
            _ => true,
        };
        if !goes_on {
            break;
        }
        at = end;
    }
    Ok(())
}

/// Checks what the first 128 bytes say, and gives whether the file's numbers begin with their highest byte.
fn check_version(path: &Path, file: &mut File) -> Result<bool, DataError> {
    let mut head = Vec::new();
    file.take(128)
        .read_to_end(&mut head)
        .map_err(DataError::io("read", path))?;
    let refused = |found: &str, mend: &str| DataError::Malformed {
        path: path.to_owned(),
        at: "byte 0".into(),
        expected: "a MATLAB file of version 5 to 7".into(),
        found: found.into(),
        mend: mend.into(),
    };
    let again = "write it again, in MATLAB save(FILE, 'X', 'y', '-v7'), in Python scipy.io.savemat";
    if head.starts_with(b"MATLAB 7.3") || head.starts_with(b"\x89HDF") {
        return Err(refused("one of version 7.3, which is HDF5", again));
    }
    match head.get(124..128) {
        Some([0, 1, b'I', b'M']) => Ok(false),
        Some([1, 0, b'M', b'I']) => Ok(true),
        _ => Err(refused("another file, or one of version 4", again)),
    }
}

/// Reads what stands before the numbers of an array, and hands it to the visitor.
fn matrix(
    path: &Path,
    mut inside: impl Read,
    bytes: u64,
    is_big: bool,
    at: u64,
    visit: &mut Visit<'_>,
) -> Result<bool, DataError> {
    let damaged = |what: io::Error| {
        let at = format!("byte {at}");
        DataError::malformed(path, at, "an array", what.to_string())
    };
    // An array may be empty.
    if bytes == 0 {
        return Ok(true);
    }
    let header = head(&mut inside, is_big).map_err(damaged)?;
    let mut numbers = Vec::new();
    match header.small {
        None => visit(&header.header, &mut inside.take(header.header.bytes)),
        Some(small) => {
            numbers.extend(&small[..header.header.bytes.min(4) as usize]);
            visit(&header.header, &mut &numbers[..])
        }
    }
}

/// The head of an array, and its numbers if they stand there already.
struct Head {
    header: Header,
    small: Option<[u8; 4]>,
}

fn head(inside: &mut dyn Read, is_big: bool) -> io::Result<Head> {
    let flags = part(inside, is_big, MI_UINT32, 8)?;
    let flags = word(&flags, is_big)?;
    let class = flags as u8;
    let shape = part(inside, is_big, MI_INT32, 4 * MAX_DIMENSIONS as u64)?;
    let shape = shape.chunks(4).map(|side| {
        let side = word(side, is_big)? as i32;
        u64::try_from(side).map_err(|_| invalid("a side below 0"))
    });
    let shape = shape.collect::<io::Result<Vec<u64>>>()?;
    let tag = Tag::read(inside, is_big)?;
    if ![MI_INT8, MI_UTF8].contains(&tag.kind) || tag.bytes > MAX_NAME {
        return Err(invalid("a name that is none"));
    }
    let name = tag.rest(inside)?;
    let name = String::from_utf8(name).map_err(|_| invalid("a name that is not UTF-8"))?;
    let mut header = Header {
        name,
        class,
        shape,
        is_big,
        stored: 0,
        bytes: 0,
    };
    // Structures, cells, texts: what follows is of another form.
    if !(6..=15).contains(&class) {
        return Ok(Head {
            header,
            small: None,
        });
    }
    if flags & 0x800 != 0 {
        return Err(invalid(format!("complex numbers in `{}`", header.name)));
    }
    let tag = Tag::read(inside, is_big)?;
    (header.stored, header.bytes) = (tag.kind, tag.bytes);
    Ok(Head {
        header,
        small: tag.small,
    })
}

/// A part of the head of an array: of this type, and of at most so many bytes.
fn part(inside: &mut dyn Read, is_big: bool, kind: u32, most: u64) -> io::Result<Vec<u8>> {
    let tag = Tag::read(inside, is_big)?;
    if tag.kind != kind || tag.bytes > most {
        return Err(invalid(format!(
            "{} bytes of type {}, where at most {most} of type {kind} are expected",
            tag.bytes, tag.kind
        )));
    }
    tag.rest(inside)
}

/// What stands before data: their type, how many bytes they are, and the data themselves if they are four bytes or less.
struct Tag {
    kind: u32,
    bytes: u64,
    small: Option<[u8; 4]>,
}

impl Tag {
    fn read(from: &mut dyn Read, is_big: bool) -> io::Result<Tag> {
        let mut bytes = [0; 8];
        from.read_exact(&mut bytes)?;
        let [a, b, c, d, small @ ..] = bytes;
        let first = word(&[a, b, c, d], is_big)?;
        Ok(match first >> 16 {
            0 => Tag {
                kind: first,
                bytes: word(&small, is_big)?.into(),
                small: None,
            },
            length @ 1..=4 => Tag {
                kind: first & 0xffff,
                bytes: length.into(),
                small: Some(small),
            },
            length => return Err(invalid(format!("{length} bytes in the place of four"))),
        })
    }

    /// The data, and what fills them up to a multiple of eight bytes.
    fn rest(&self, from: &mut dyn Read) -> io::Result<Vec<u8>> {
        if let Some(small) = self.small {
            return Ok(small[..self.bytes as usize].to_vec());
        }
        let mut bytes = Vec::new();
        from.take(self.bytes.next_multiple_of(8))
            .read_to_end(&mut bytes)?;
        match bytes.len() as u64 >= self.bytes {
            true => {
                bytes.truncate(self.bytes as usize);
                Ok(bytes)
            }
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

fn word(bytes: &[u8], is_big: bool) -> io::Result<u32> {
    match bytes.first_chunk() {
        Some(bytes) if is_big => Ok(u32::from_be_bytes(*bytes)),
        Some(bytes) => Ok(u32::from_le_bytes(*bytes)),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}
