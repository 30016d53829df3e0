//! Arrays of NumPy: a file `.npz` that holds several, or a folder of files `.npy`. Pictures are an array of unsigned bytes,
//! labels one of whole numbers, under the names that Keras (`x_train`, `y_train`) and MedMNIST (`train_images`) give them, or
//! those of `dataset.columns`.
//!
//! The header of an array is one line of a fixed form, which is read here: a reader of Python's literals would have to be
//! guarded against what the form does not allow.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use archai_spec::registry::Named;
use archai_spec::settings;
use zip::ZipArchive;
use zip::result::ZipError;

use super::arrays::{self, Array, MAX_DIMENSIONS, Order, Pictures};
use super::columns;
use crate::bounded::bounded;
use crate::dataset::{Dataset, Split};
use crate::error::DataError;
use crate::files;
use crate::format::DataFormat;
use crate::gather::Gather;

/// The usual names of arrays, pictures before labels, of each part in files that hold both.
const TRAIN: [[&str; 2]; 2] = [["x_train", "y_train"], ["train_images", "train_labels"]];
const TEST: [[&str; 2]; 2] = [["x_test", "y_test"], ["test_images", "test_labels"]];

/// The usual names in files of one part.
const PLAIN: [[&str; 2]; 4] = [
    ["x", "y"],
    ["images", "labels"],
    ["image", "label"],
    ["data", "labels"],
];

/// Longest header: those of arrays without fields have about a hundred bytes.
const MAX_HEADER: usize = 1 << 16;

/// Most arrays of a file.
const MAX_ARRAYS: usize = 10_000;

/// The format `npz`.
pub(super) struct Npz;

impl Named for Npz {
    fn name(&self) -> &str {
        "npz"
    }

    fn about(&self) -> &str {
        "NumPy's arrays x_train, y_train, x_test, y_test (or train_images, …): one file .npz, or .npy files of these names"
    }
}

impl DataFormat for Npz {
    fn open(
        &self,
        dataset: &settings::Dataset,
        split: Split,
    ) -> Result<Arc<dyn Dataset>, DataError> {
        let mut gather = Gather::new(dataset);
        for store in Store::find(dataset, split)? {
            store.gather(dataset, split, &mut gather)?;
        }
        Ok(Arc::new(gather.finish(Path::new(&dataset.path))?))
    }

    fn files(&self, dataset: &settings::Dataset, split: Split) -> Result<Vec<PathBuf>, DataError> {
        let stores = Store::find(dataset, split)?;
        Ok(stores.into_iter().map(|store| store.path).collect())
    }

    fn keys(&self) -> &[&str] {
        &["columns"]
    }
}

/// Where arrays lie under their names.
struct Store {
    path: PathBuf,
    /// A file `.npz`, or a folder.
    is_file: bool,
    /// It may hold the arrays of all parts.
    is_joint: bool,
}

impl Store {
    fn find(dataset: &settings::Dataset, split: Split) -> Result<Vec<Store>, DataError> {
        let root = Path::new(&dataset.path);
        let joint = |path: PathBuf, is_file| Store {
            path,
            is_file,
            is_joint: true,
        };
        if root.is_file() {
            if let Some(pattern) = split.pattern(dataset) {
                let problem = format!(
                    "is '{pattern}', but dataset.path is a file; leave it out, or name the folder in dataset.path"
                );
                return Err(DataError::setting(split.key(), problem));
            }
            return Ok(vec![joint(root.to_owned(), true)]);
        }
        let own: &[&[&str]] = match split {
            Split::Train => &[&["train*.npz"]],
            Split::Test => &[&["test*.npz"], &["val*.npz"]],
        };
        let of_part = match files::of_part(dataset, split, own) {
            Err(DataError::Absent { .. }) if split.pattern(dataset).is_none() => Vec::new(),
            other => other?,
        };
        if !of_part.is_empty() {
            let store = |path: PathBuf| Store {
                is_file: path.is_file(),
                path,
                is_joint: false,
            };
            return Ok(of_part.into_iter().map(store).collect());
        }
        let mut all = files::find(root, "*.npz")?;
        match (all.len(), files::find(root, "*.npy")?.is_empty()) {
            (1, _) => Ok(vec![joint(all.swap_remove(0), true)]),
            (0, false) => Ok(vec![joint(root.to_owned(), false)]),
            (0, true) => Err(files::absent(dataset, split, "*.npz or *.npy")),
            (n, _) => Err(DataError::setting(
                split.key(),
                format!(
                    "in '{}' there are {n} files *.npz; say which is meant",
                    dataset.path
                ),
            )),
        }
    }

    fn gather(
        &self,
        dataset: &settings::Dataset,
        split: Split,
        gather: &mut Gather,
    ) -> Result<(), DataError> {
        let there = self.names()?;
        let named = arrays::named(dataset, split, self.is_joint)?;
        let of_part = match split {
            Split::Train => &TRAIN,
            Split::Test => &TEST,
        };
        let usual: Vec<[&str; 2]> = match self.is_joint {
            true => of_part.to_vec(),
            false => of_part.iter().chain(&PLAIN).copied().collect(),
        };
        let pick = |which: usize, what: &'static str| {
            let usual: Vec<&str> = usual.iter().map(|pair| pair[which]).collect();
            let found = columns::find(&self.path, &there, what, named[which], &usual)?;
            Ok::<_, DataError>(there[found].as_str())
        };
        let (images, labels) = (pick(0, "images")?, pick(1, "labels")?);
        let labels = self.with(labels, |mut array| array.labels())?;
        self.with(images, |mut array| array.pictures(&labels, gather))
    }

    /// The names of all arrays.
    fn names(&self) -> Result<Vec<String>, DataError> {
        let names = match self.is_file {
            true => {
                let zip = self.zip()?;
                let names = zip.file_names().map(|name| name.map(String::from));
                names
                    .collect::<Result<Vec<_>, _>>()
                    .map_err(|error| self.damaged(error))?
            }
            false => files::list(&self.path)?,
        };
        if names.len() > MAX_ARRAYS {
            let found = names.len().to_string();
            let expected = format!("at most {MAX_ARRAYS} arrays");
            return Err(DataError::malformed(
                &self.path, "its list", expected, found,
            ));
        }
        let array = |name: &String| name.strip_suffix(".npy").map(str::to_owned);
        Ok(names.iter().filter_map(array).collect())
    }

    fn zip(&self) -> Result<ZipArchive<BufReader<File>>, DataError> {
        let file = File::open(&self.path).map_err(DataError::io("open", &self.path))?;
        ZipArchive::new(BufReader::new(file)).map_err(|error| self.damaged(error))
    }

    fn damaged(&self, error: ZipError) -> DataError {
        let expected = "a file .npz, which is a zip archive of arrays";
        DataError::malformed(&self.path, "its list", expected, error.to_string())
    }

    /// Opens an array.
    fn with<T>(
        &self,
        name: &str,
        work: impl FnOnce(Npy<'_>) -> Result<T, DataError>,
    ) -> Result<T, DataError> {
        let member = format!("{name}.npy");
        if !self.is_file {
            let path = self.path.join(member);
            let file = File::open(&path).map_err(DataError::io("open", &path))?;
            return work(Npy::open(&path, name, Box::new(BufReader::new(file)))?);
        }
        let mut zip = self.zip()?;
        let member = zip.by_name(&member).map_err(|error| self.damaged(error))?;
        let length = member.compressed_size();
        work(Npy::open(
            &self.path,
            name,
            Box::new(bounded(member, length)),
        )?)
    }
}

/// An array whose header is read.
struct Npy<'a> {
    path: &'a Path,
    name: &'a str,
    header: Header,
    bytes: Box<dyn Read + 'a>,
}

impl<'a> Npy<'a> {
    fn open(
        path: &'a Path,
        name: &'a str,
        mut bytes: Box<dyn Read + 'a>,
    ) -> Result<Self, DataError> {
        let wrong = |found: String| {
            let at = format!("the header of array `{name}`");
            DataError::malformed(path, at, "that of a NumPy array", found)
        };
        let mut take = |n: usize| {
            let mut taken = Vec::new();
            match (&mut bytes).take(n as u64).read_to_end(&mut taken) {
                Ok(read) if read == n => Ok(taken),
                Ok(_) => Err(wrong("the end of the file".into())),
                Err(error) => Err(wrong(error.to_string())),
            }
        };
        let start = take(8)?;
        if start[..6] != *b"\x93NUMPY" {
            return Err(wrong(format!("bytes {:02x?}", &start[..6])));
        }
        let length = match start[6] {
            1 => take(2)?,
            2 | 3 => take(4)?,
            version => {
                return Err(wrong(format!(
                    "version {version}, of which nothing is known"
                )));
            }
        };
        let length = length
            .iter()
            .rev()
            .fold(0, |length, &byte| length << 8 | usize::from(byte));
        if length > MAX_HEADER {
            return Err(wrong(format!(
                "{length} bytes, and at most {MAX_HEADER} are read"
            )));
        }
        let text = take(length)?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let header = Header::parse(&text).ok_or_else(|| wrong(text.trim().to_owned()))?;
        Ok(Npy {
            path,
            name,
            header,
            bytes,
        })
    }

    /// The labels that the array holds.
    fn labels(&mut self) -> Result<Vec<i64>, DataError> {
        let n = arrays::label_count(self.path, self.name, &self.header.shape)?;
        let (is_big, is_signed, size) = match self.header.whole_numbers() {
            Some(kind) => kind,
            None => return Err(self.of_type("labels as whole numbers", "labels.astype('int64')")),
        };
        let damaged = |found: String| {
            let at = format!("array `{}`", self.name);
            DataError::malformed(self.path, at, format!("{n} labels of {size} bytes"), found)
        };
        let length = n.checked_mul(size as u64);
        let length = length.ok_or_else(|| damaged("a shape that fits no file".into()))?;
        let mut bytes = Vec::new();
        // One more, which must not be there.
        (&mut self.bytes)
            .take(length.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| damaged(error.to_string()))?;
        if bytes.len() as u64 != length {
            return Err(damaged(format!("{} bytes", bytes.len())));
        }
        Ok(bytes
            .chunks_exact(size)
            .map(|label| number(label, is_big, is_signed))
            .collect())
    }

    /// Adds the pictures that the array holds.
    fn pictures(&mut self, labels: &[i64], gather: &mut Gather) -> Result<(), DataError> {
        if !self.header.is_bytes() {
            return Err(self.of_type(
                "pixels as unsigned bytes",
                "images.astype('uint8'), after (255 * images).round() if they are between 0 and 1",
            ));
        }
        let array = Array {
            path: self.path,
            name: self.name,
            shape: &self.header.shape,
            order: self.header.order,
            pictures: Pictures::First,
        };
        array.gather(labels, &mut self.bytes, gather)
    }

    fn of_type(&self, expected: &str, remedy: &str) -> DataError {
        let found = match self.header.kind.as_str() {
            kind if kind.contains('O') => "objects of Python, which only Python reads".to_owned(),
            kind if kind.contains('f') => {
                format!("fractions (`{kind}`), of which no scale is known")
            }
            kind => format!("`{kind}`"),
        };
        DataError::Malformed {
            path: self.path.to_owned(),
            at: format!("array `{}`", self.name),
            expected: expected.into(),
            found,
            mend: format!("write it again, in Python {remedy}"),
        }
    }
}

/// What the header of an array says.
#[derive(Debug, PartialEq, Eq)]
struct Header {
    /// As NumPy writes it: `|u1`, `<i8`.
    kind: String,
    order: Order,
    shape: Vec<u64>,
}

impl Header {
    /// `{'descr': '|u1', 'fortran_order': False, 'shape': (5, 4, 6), }`, with the keys in any order.
    fn parse(text: &str) -> Option<Header> {
        let mut rest = text.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
        let (mut kind, mut order, mut shape) = (None, None, None);
        while !rest.is_empty() {
            let (key, value) = rest.strip_prefix('\'')?.split_once('\'')?;
            let value = value.trim_start().strip_prefix(':')?.trim_start();
            let behind = match key {
                "descr" if kind.is_none() => {
                    let (text, behind) = value.strip_prefix('\'')?.split_once('\'')?;
                    kind = Some(text.to_owned());
                    behind
                }
                "fortran_order" if order.is_none() => {
                    let (of, behind) = match value.strip_prefix("False") {
                        Some(behind) => (Order::C, behind),
                        None => (Order::Fortran, value.strip_prefix("True")?),
                    };
                    order = Some(of);
                    behind
                }
                "shape" if shape.is_none() => {
                    let (inside, behind) = value.strip_prefix('(')?.split_once(')')?;
                    shape = Some(numbers(inside)?);
                    behind
                }
                _ => return None,
            };
            let behind = behind.trim_start();
            rest = match behind.strip_prefix(',') {
                Some(behind) => behind.trim_start(),
                None if behind.is_empty() => behind,
                None => return None,
            };
        }
        Some(Header {
            kind: kind?,
            order: order?,
            shape: shape?,
        })
    }

    fn is_bytes(&self) -> bool {
        ["|u1", "<u1", ">u1", "=u1"].contains(&self.kind.as_str())
    }

    /// Of whole numbers: whether the first byte is the highest, whether they have a sign, and how many bytes they have.
    fn whole_numbers(&self) -> Option<(bool, bool, usize)> {
        let (order, rest) = (self.kind.get(..1)?, self.kind.get(1..)?);
        let (is_signed, size) = match (rest.strip_prefix('i'), rest.strip_prefix('u')) {
            (Some(size), _) => (true, size),
            (_, Some(size)) => (false, size),
            _ => return None,
        };
        let size = size
            .parse()
            .ok()
            .filter(|size| [1, 2, 4, 8].contains(size))?;
        match order {
            ">" => Some((true, is_signed, size)),
            "<" => Some((false, is_signed, size)),
            "|" if size == 1 => Some((false, is_signed, size)),
            _ => None,
        }
    }
}

/// The sides of a shape: `5, 4`, `5,` or nothing.
fn numbers(inside: &str) -> Option<Vec<u64>> {
    let parts: Vec<&str> = inside.split(',').map(str::trim).collect();
    let parts = match parts.as_slice() {
        [all @ .., ""] => all,
        all => all,
    };
    if parts.len() > MAX_DIMENSIONS {
        return None;
    }
    parts.iter().map(|part| part.parse().ok()).collect()
}

/// A whole number of 1 to 8 bytes. What does not fit into 63 bits is no label anyway, and comes out below zero.
fn number(bytes: &[u8], is_big: bool, is_signed: bool) -> i64 {
    let value = |value: u64, &byte: &u8| value << 8 | u64::from(byte);
    let value = match is_big {
        true => bytes.iter().fold(0, value),
        false => bytes.iter().rev().fold(0, value),
    };
    let unused = 64 - 8 * bytes.len() as u32;
    match is_signed {
        true => (value << unused) as i64 >> unused,
        false => value as i64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let check = |text: &str, kind: &str, order: Order, shape: &[u64]| {
            let header = Header::parse(text).unwrap();
            assert_eq!(
                (header.kind.as_str(), header.order),
                (kind, order),
                "{text}"
            );
            assert_eq!(header.shape, shape, "{text}");
        };
        check(
            "{'descr': '|u1', 'fortran_order': False, 'shape': (5, 4, 6), }   \n",
            "|u1",
            Order::C,
            &[5, 4, 6],
        );
        check(
            "{'shape':(7,),'fortran_order':True,'descr':'>i2'}",
            ">i2",
            Order::Fortran,
            &[7],
        );
        check(
            "{'descr': '<i8', 'fortran_order': False, 'shape': ()}",
            "<i8",
            Order::C,
            &[],
        );
        for text in [
            "",
            "{}",
            "{'descr': '|u1', 'fortran_order': False}",
            "{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (5,)}",
            "{'descr': '|u1', 'fortran_order': 0, 'shape': (5,)}",
            "{'descr': '|u1', 'fortran_order': False, 'shape': (-5,)}",
            "{'descr': '|u1', 'fortran_order': False, 'shape': ((5,),)}",
            "{'descr': '|u1', 'descr': '|u1', 'fortran_order': False, 'shape': (5,)}",
            "{'descr': '|u1' 'fortran_order': False, 'shape': (5,)}",
        ] {
            assert_eq!(Header::parse(text), None, "{text}");
        }
    }

    #[test]
    fn whole_numbers() {
        for (bytes, is_big, is_signed, expect) in [
            (&[200][..], false, false, 200),
            (&[200], false, true, -56),
            (&[1, 2], false, false, 513),
            (&[1, 2], true, false, 258),
            (&[0xff; 8], false, true, -1),
            (&[0xfe, 0xff, 0xff, 0xff], false, true, -2),
        ] {
            assert_eq!(number(bytes, is_big, is_signed), expect, "{bytes:?}");
        }
    }
}
