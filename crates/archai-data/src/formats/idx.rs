//! IDX files, the format of MNIST (LeCun, Cortes, Burges) and its family: a header of dimensions, then bytes; plain or
//! compressed with gzip.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use archai_spec::registry::Named;
use archai_spec::settings;

use crate::bounded::gunzip;
use crate::dataset::{Dataset, Image, InMemory, MAX_SIDE, Split};
use crate::error::DataError;
use crate::files;
use crate::format::DataFormat;
use crate::gather::Gather;

/// Images that any compressed file may have, however small it is.
const IMAGES_FLOOR: u64 = 10_000;

/// Fewest bytes that an image of a larger compressed file takes.
const IMAGE_BYTES: u64 = 16;

/// The format `idx`.
pub(super) struct IdxFiles;

impl Named for IdxFiles {
    fn name(&self) -> &str {
        "idx"
    }

    fn about(&self) -> &str {
        "IDX files of the MNIST family, plain or gzip"
    }
}

impl DataFormat for IdxFiles {
    fn open(
        &self,
        dataset: &settings::Dataset,
        split: Split,
    ) -> Result<Arc<dyn Dataset>, DataError> {
        let [images, labels] = match split.pattern(dataset) {
            Some(pattern) => {
                let [first, second] = by_pattern(dataset, split, pattern)?;
                let (first, second) = (Idx::open(first)?, Idx::open(second)?);
                // Their headers say which is which.
                match first.dims.len() > second.dims.len() {
                    true => [first, second],
                    false => [second, first],
                }
            }
            None => {
                let [images, labels] = by_usual_names(dataset, split)?;
                [Idx::open(images)?, Idx::open(labels)?]
            }
        };
        Ok(Arc::new(gather(dataset, images, labels)?))
    }

    fn files(&self, dataset: &settings::Dataset, split: Split) -> Result<Vec<PathBuf>, DataError> {
        let pair = match split.pattern(dataset) {
            Some(pattern) => by_pattern(dataset, split, pattern)?,
            None => by_usual_names(dataset, split)?,
        };
        Ok(pair.into())
    }
}

/// The files of images and of labels under the names of MNIST.
fn by_usual_names(dataset: &settings::Dataset, split: Split) -> Result<[PathBuf; 2], DataError> {
    let prefixes: &[&str] = match split {
        Split::Train => &["train"],
        Split::Test => &["t10k", "test"],
    };
    let find = |what: &str| -> Result<PathBuf, DataError> {
        for prefix in prefixes {
            for name in [
                format!("{prefix}-{what}-ubyte"),
                format!("{prefix}-{}-ubyte", what.replace('-', ".")),
            ] {
                for name in [name.clone(), format!("{name}.gz")] {
                    let path = Path::new(&dataset.path).join(name);
                    if path.is_file() {
                        return Ok(path);
                    }
                }
            }
        }
        Err(files::absent(
            dataset,
            split,
            format!("{}-{what}-ubyte or {0}-{what}-ubyte.gz", prefixes[0]),
        ))
    };
    Ok([find("images-idx3")?, find("labels-idx1")?])
}

/// The two files that fit the user's pattern.
fn by_pattern(
    dataset: &settings::Dataset,
    split: Split,
    pattern: &str,
) -> Result<[PathBuf; 2], DataError> {
    let found = files::find(Path::new(&dataset.path), pattern)?;
    match <[PathBuf; 2]>::try_from(found) {
        Ok(pair) => Ok(pair),
        Err(found) if found.is_empty() => Err(files::absent(dataset, split, pattern)),
        Err(found) => Err(DataError::setting(
            split.key(),
            format!(
                "'{pattern}' fits {} files in '{}', expected two: one of images, one of labels",
                found.len(),
                dataset.path
            ),
        )),
    }
}

/// Reads a pair of files into memory.
pub(super) fn gather(
    dataset: &settings::Dataset,
    images: Idx,
    labels: Idx,
) -> Result<InMemory, DataError> {
    let &[n, height, width] = images.dims.as_slice() else {
        return Err(images.wrong(
            "byte 3",
            "3 dimensions: images, rows, columns",
            images.dims.len(),
        ));
    };
    let &[n_labels] = labels.dims.as_slice() else {
        return Err(labels.wrong("byte 3", "1 dimension: labels", labels.dims.len()));
    };
    if !(1..=MAX_SIDE as u32).contains(&height) || !(1..=MAX_SIDE as u32).contains(&width) {
        let found = format!("{height} x {width}");
        return Err(images.wrong(
            "byte 8",
            format!("images of 1 to {MAX_SIDE} pixels a side"),
            found,
        ));
    }
    if n != n_labels {
        return Err(labels.wrong(
            "byte 4",
            format!("{n} labels, one for each image"),
            n_labels,
        ));
    }
    if let Some(length) = images.compressed {
        // Equal images take few bits; those of a data set do not.
        let most = IMAGES_FLOOR.max(length / IMAGE_BYTES);
        if u64::from(n) > most {
            let expected = format!("at most {most} images in {length} compressed bytes");
            return Err(images.wrong("byte 4", expected, n));
        }
    }
    let mut gathered = Gather::new(dataset);
    gathered.expect(&images.path, n.into())?;
    let (height, width) = (height as usize, width as usize);
    let (mut images, mut labels) = (images, labels);
    let mut pixels = Vec::new();
    for index in 0..n {
        images.take(height * width, &mut pixels)?;
        let label = labels.byte()?;
        let image = Image {
            pixels: pixels.as_slice().into(),
            channels: 1,
            height,
            width,
        };
        gathered.push(&labels.path, image, label.into(), || {
            format!("byte {} (item {index})", labels.at - 1)
        })?;
    }
    images.end()?;
    labels.end()?;
    gathered.finish(&images.path)
}

/// An open IDX file, its header read and checked as far as it can be.
pub(super) struct Idx {
    path: PathBuf,
    dims: Vec<u32>,
    reader: Box<dyn Read>,
    /// The file's length, where it is compressed.
    compressed: Option<u64>,
    /// Bytes read so far, after decompression.
    at: u64,
}

impl Idx {
    fn open(path: PathBuf) -> Result<Idx, DataError> {
        let mut file = File::open(&path).map_err(DataError::io("open", &path))?;
        let mut magic = Vec::new();
        (&mut file)
            .take(2)
            .read_to_end(&mut magic)
            .map_err(DataError::io("read", &path))?;
        file.rewind().map_err(DataError::io("read", &path))?;
        let length = file.metadata().map_err(DataError::io("read", &path))?.len();
        let reader = BufReader::with_capacity(1 << 16, file);
        if magic == [0x1f, 0x8b] {
            let mut idx = Idx::new(path, Box::new(gunzip(reader, length)), None)?;
            idx.compressed = Some(length);
            Ok(idx)
        } else {
            Idx::new(path, Box::new(reader), Some(length))
        }
    }

    /// Reads the header. `length` is the file's, where it is known.
    pub(super) fn new(
        path: PathBuf,
        reader: Box<dyn Read>,
        length: Option<u64>,
    ) -> Result<Idx, DataError> {
        let mut idx = Idx {
            path,
            dims: Vec::new(),
            reader,
            compressed: None,
            at: 0,
        };
        let mut bytes = Vec::new();
        idx.take(4, &mut bytes)?;
        if bytes[..3] != [0, 0, 8] {
            let found = format!("{:02x?}", &bytes[..3]);
            return Err(idx.wrong(
                "byte 0",
                "an IDX file of unsigned bytes: [00, 00, 08]",
                found,
            ));
        }
        let n_dims = bytes[3];
        if !(1..=3).contains(&n_dims) {
            return Err(idx.wrong("byte 3", "1 dimension (labels) or 3 (images)", n_dims));
        }
        for _ in 0..n_dims {
            idx.take(4, &mut bytes)?;
            idx.dims
                .push(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
        }
        if let Some(length) = length {
            let declared = idx
                .dims
                .iter()
                .try_fold(1u64, |product, &dim| product.checked_mul(dim.into()));
            if declared.and_then(|data| data.checked_add(idx.at)) != Some(length) {
                let expected = format!(
                    "{} bytes of header and data of dimensions {:?}",
                    idx.at, idx.dims
                );
                return Err(idx.wrong("its length", expected, format!("{length} bytes")));
            }
        }
        Ok(idx)
    }

    /// Replaces `bytes` by the next `n`. Memory grows with what is really there, whatever a header promised.
    fn take(&mut self, n: usize, bytes: &mut Vec<u8>) -> Result<(), DataError> {
        bytes.clear();
        let read = (&mut self.reader)
            .take(n as u64)
            .read_to_end(bytes)
            .map_err(|error| self.broken(&error))?;
        if read != n {
            let at = format!("byte {}", self.at + read as u64);
            return Err(self.wrong(
                at,
                format!("{} more bytes", n - read),
                "the end of the file",
            ));
        }
        self.at += n as u64;
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, DataError> {
        let mut byte = [0];
        match self.reader.read_exact(&mut byte) {
            Ok(()) => {
                self.at += 1;
                Ok(byte[0])
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(self.wrong(
                format!("byte {}", self.at),
                "another byte",
                "the end of the file",
            )),
            Err(error) => Err(self.broken(&error)),
        }
    }

    fn end(&mut self) -> Result<(), DataError> {
        let mut byte = [0];
        match self.reader.read(&mut byte) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.wrong(
                format!("byte {}", self.at),
                "the end of the file",
                "more bytes",
            )),
            Err(error) => Err(self.broken(&error)),
        }
    }

    fn broken(&self, error: &io::Error) -> DataError {
        self.wrong(format!("byte {}", self.at), "readable data", error)
    }

    fn wrong(
        &self,
        at: impl Into<String>,
        expected: impl Into<String>,
        found: impl ToString,
    ) -> DataError {
        DataError::malformed(&self.path, at, expected, found.to_string())
    }
}
