//! What a parquet table says of its own sizes, looked at before the parquet library believes it: that one reserves what a
//! header asks for, up to 16 GiB for a file of a few bytes.
//!
//! Headers are structures of the Thrift compact protocol. Only whole numbers are looked at; everything else is passed
//! over.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use flate2::bufread::MultiGzDecoder;
use parquet::basic::Compression;

/// What a page may become, however small it is: several times what writers put into one.
const PAGE_FLOOR: i64 = 16 << 20;

/// How many times its size a larger page may become.
const PAGE_RATIO: i64 = 64;

/// Deepest nesting of structures; the format itself needs six.
const MAX_DEPTH: usize = 16;

fn damaged(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

/// Checks that no part of the schema claims more children than the schema has parts.
///
/// # Errors
/// What is wrong with the footer, or with reading it.
pub(super) fn check_footer(file: &mut File) -> io::Result<()> {
    let length = file.metadata()?.len();
    let Some(tail) = length.checked_sub(8) else {
        return Err(damaged("a file of less than 8 bytes"));
    };
    file.seek(SeekFrom::Start(tail))?;
    let mut bytes = [0; 8];
    file.read_exact(&mut bytes)?;
    let [a, b, c, d, magic @ ..] = bytes;
    if magic != *b"PAR1" {
        return Err(damaged("a file that does not end as a parquet table does"));
    }
    let size = u64::from(u32::from_le_bytes([a, b, c, d]));
    let Some(start) = tail.checked_sub(size) else {
        return Err(damaged(format!(
            "a footer of {size} bytes in a file of {length}"
        )));
    };
    file.seek(SeekFrom::Start(start))?;
    let (mut elements, mut most) = (0, 0);
    let mut thrift = Thrift::new(BufReader::new(file.take(size)));
    // FileMetaData: 2 is the list of SchemaElements, whose 5 is the number of children.
    thrift.structure(&mut Vec::new(), &mut |path, value| match path {
        [2] => elements = value,
        [2, 5] => most = most.max(value),
        _ => {}
    })?;
    if most > elements {
        return Err(damaged(format!(
            "a schema of {elements} parts of which one claims {most} children"
        )));
    }
    Ok(())
}

/// Checks what the pages of a column claim to become, and, where the parquet library unpacks without a limit, that they
/// become no more. They lie at `start`, `size` bytes in all.
///
/// # Errors
/// What is wrong with a page's header, or with reading it.
pub(super) fn check_pages(
    file: &mut File,
    start: u64,
    size: u64,
    compression: Compression,
) -> io::Result<()> {
    let length = file.metadata()?.len();
    if start.checked_add(size).is_none_or(|end| end > length) {
        return Err(damaged(format!(
            "a column of {size} bytes at byte {start} of {length}"
        )));
    }
    let mut at = 0;
    while at < size {
        file.seek(SeekFrom::Start(start + at))?;
        let mut thrift = Thrift::new(BufReader::new(file.take(size - at)));
        let (mut unpacked, mut packed, mut rows) = (0, 0, 0);
        let (mut levels, mut fields) = (0_i64, 0);
        // PageHeader: 2 and 3 are its sizes; 1 of 5, 7 and 8 is the number of values; 5 and 6 of 8 are the bytes in front of
        // the values that are never compressed. Of a field that stands twice, the larger counts.
        thrift.structure(&mut Vec::new(), &mut |path, value| match path {
            [2] => unpacked = value.max(unpacked),
            [3] => packed = value,
            [5 | 7 | 8, 1] => rows = value.max(rows),
            [8, 5 | 6] => {
                levels = levels.saturating_add(value.max(0));
                fields += 1;
            }
            _ => {}
        })?;
        if fields > 2 {
            return Err(damaged("a page that says its lengths twice"));
        }
        let header = thrift.read;
        let size_of_body = u64::try_from(packed)
            .map_err(|_| damaged(format!("a page of {packed} bytes at byte {}", start + at)))?;
        if size_of_body > (size - at).saturating_sub(header) {
            return Err(damaged(format!(
                "a page that is cut off at byte {}",
                start + at
            )));
        }
        let most = packed.saturating_mul(PAGE_RATIO).max(PAGE_FLOOR);
        if unpacked > most || rows > most {
            return Err(damaged(format!(
                "a page of {packed} bytes at byte {} that claims to hold {rows} values in {unpacked} bytes",
                start + at
            )));
        }
        let body = start + at + header;
        check_size(file, body, size_of_body, levels, unpacked, compression)?;
        at += header + size_of_body;
    }
    Ok(())
}

/// Checks that the page of `size` bytes at `start`, of which the first `levels` are not compressed, becomes no more than the
/// `most` bytes that it claims. What cannot be unpacked is the library's to report.
fn check_size(
    file: &mut File,
    start: u64,
    size: u64,
    levels: i64,
    most: i64,
    compression: Compression,
) -> io::Result<()> {
    let (levels, most) = (levels.unsigned_abs(), most.unsigned_abs());
    if !matches!(compression, Compression::GZIP(_) | Compression::BROTLI(_)) {
        return Ok(());
    }
    file.seek(SeekFrom::Start(start + levels.min(size)))?;
    let page = BufReader::new(file.take(size.saturating_sub(levels)));
    let mut becomes: Box<dyn Read> = match compression {
        Compression::GZIP(_) => Box::new(MultiGzDecoder::new(page)),
        _ => Box::new(brotli::Decompressor::new(page, 1 << 16)),
    };
    let (mut chunk, mut unpacked) = (vec![0; 1 << 16], levels);
    while let Ok(n @ 1..) = becomes.read(&mut chunk) {
        unpacked += n as u64;
        if unpacked > most {
            return Err(damaged(format!(
                "a page of {size} bytes at byte {start} that becomes more than the {most} bytes that it claims"
            )));
        }
    }
    Ok(())
}

/// Takes the path of a field's numbers, and its value; of a list, its length.
type Visit<'a> = dyn FnMut(&[i64], i64) + 'a;

struct Thrift<R> {
    from: R,
    read: u64,
}

impl<R: Read> Thrift<R> {
    fn new(from: R) -> Self {
        Thrift { from, read: 0 }
    }

    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.from.read_exact(&mut byte)?;
        self.read += 1;
        Ok(byte[0])
    }

    fn skip(&mut self, n: u64) -> io::Result<()> {
        let skipped = io::copy(&mut (&mut self.from).take(n), &mut io::sink())?;
        self.read += skipped;
        if skipped < n {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    fn varint(&mut self) -> io::Result<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(damaged("a number of more than ten bytes"))
    }

    fn zigzag(&mut self) -> io::Result<i64> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn structure(&mut self, path: &mut Vec<i64>, visit: &mut Visit<'_>) -> io::Result<()> {
        if path.len() > MAX_DEPTH {
            return Err(damaged("structures nested too deeply"));
        }
        let mut id = 0i64;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Ok(());
            }
            id = match head >> 4 {
                0 => self.zigzag()?,
                step => id.wrapping_add(i64::from(step)),
            };
            path.push(id);
            // A truth value is its own type.
            if !matches!(head & 15, 1 | 2) {
                self.value(head & 15, path, visit)?;
            }
            path.pop();
        }
    }

    fn value(&mut self, kind: u8, path: &mut Vec<i64>, visit: &mut Visit<'_>) -> io::Result<()> {
        match kind {
            1..=3 => self.skip(1),
            4..=6 => {
                let value = self.zigzag()?;
                visit(path, value);
                Ok(())
            }
            7 => self.skip(8),
            8 => {
                let length = self.varint()?;
                self.skip(length)
            }
            9 | 10 => {
                let head = self.byte()?;
                let n = match head >> 4 {
                    15 => self.varint()?,
                    n => n.into(),
                };
                visit(path, i64::try_from(n).unwrap_or(i64::MAX));
                // Every item has at least one byte, so a lie ends with the file.
                for _ in 0..n {
                    match head & 15 {
                        12 => self.structure(path, visit)?,
                        9 | 10 if path.len() > MAX_DEPTH => {
                            return Err(damaged("lists nested too deeply"));
                        }
                        9 | 10 => {
                            path.push(0);
                            self.value(head & 15, path, visit)?;
                            path.pop();
                        }
                        // Numbers in lists are no sizes.
                        kind => self.value(kind, path, &mut |_, _| ())?,
                    }
                }
                Ok(())
            }
            12 => self.structure(path, visit),
            13 => self.skip(16),
            _ => Err(damaged(format!("a field of type {kind}"))),
        }
    }
}
