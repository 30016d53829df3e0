//! Decompression that cannot flood: a compressed file may become many times its size, but not without end.

use std::io::{self, BufRead, Read};

use flate2::read::MultiGzDecoder;

/// What any file may become, however small it is.
const FLOOR: u64 = 16 << 20;

/// How many times its size a larger file may become. Data sets reach 5; deflate itself could reach 1032.
const RATIO: u64 = 100;

/// Reads the gzip stream of a file of `length` bytes.
pub(crate) fn gunzip<'a>(file: impl BufRead + 'a, length: u64) -> impl Read + 'a {
    bounded(MultiGzDecoder::new(file), length)
}

/// Reads what `length` bytes decompress to, which `from` does.
pub(crate) fn bounded<'a>(from: impl Read + 'a, length: u64) -> impl Read + 'a {
    Bounded {
        from,
        left: length.saturating_mul(RATIO).max(FLOOR),
        length,
    }
}

struct Bounded<R> {
    from: R,
    left: u64,
    length: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.from.read(buffer)?;
        self.left = self.left.checked_sub(n as u64).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "these {} bytes decompress to more than {} MiB, as no data set does",
                    self.length,
                    self.length.saturating_mul(RATIO).max(FLOOR) >> 20
                ),
            )
        })?;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};

    #[test]
    fn p20_a_small_file_does_not_become_a_large_one() {
        let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
        io::copy(&mut io::repeat(0).take(FLOOR + 1), &mut bomb).unwrap();
        let bomb = bomb.finish().unwrap();
        let mut read = gunzip(&bomb[..], bomb.len() as u64);
        let error = io::copy(&mut read, &mut io::sink()).unwrap_err();
        assert!(error.to_string().contains("more than 16 MiB"), "{error}");
    }
}
