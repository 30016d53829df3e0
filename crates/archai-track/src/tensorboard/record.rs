//! The framing of event files, that of TensorFlow's record files: length, checksum of the length, content, checksum of the
//! content. All numbers have their lowest byte first.

use std::io::{self, Write};

use prost::Message;

use super::proto::Event;

/// Writes one event as a record.
///
/// # Errors
/// As the writer.
pub fn write(out: &mut dyn Write, event: &Event) -> io::Result<()> {
    let content = event.encode_to_vec();
    let length = (content.len() as u64).to_le_bytes();
    out.write_all(&length)?;
    out.write_all(&masked(&length).to_le_bytes())?;
    out.write_all(&content)?;
    out.write_all(&masked(&content).to_le_bytes())
}

/// CRC32C, rotated by 15 bits and moved: so that a checksum of data that holds checksums is none of theirs.
fn masked(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}

/// The whole records at the beginning of a file's bytes: what readers see of a file whose writer was killed.
///
/// # Errors
/// Says what is wrong with a record that is there as a whole.
pub fn read(bytes: &[u8]) -> Result<Vec<Event>, String> {
    let mut events = Vec::new();
    let mut rest = bytes;
    while let Some((content, after)) = next(rest)? {
        let at = bytes.len() - rest.len();
        let event = Event::decode(content).map_err(|e| format!("the record at byte {at}: {e}"))?;
        events.push(event);
        rest = after;
    }
    Ok(events)
}

/// The content of a record, and what follows it.
type Parts<'a> = (&'a [u8], &'a [u8]);

/// The first record; none if it is not there as a whole.
fn next(bytes: &[u8]) -> Result<Option<Parts<'_>>, String> {
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return Ok(None);
    };
    let Some((sum, rest)) = rest.split_first_chunk::<4>() else {
        return Ok(None);
    };
    if masked(length) != u32::from_le_bytes(*sum) {
        return Err("the checksum of a record's length is wrong".to_string());
    }
    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let Some((content, rest)) = rest.split_at_checked(length) else {
        return Ok(None);
    };
    let Some((sum, rest)) = rest.split_first_chunk::<4>() else {
        return Ok(None);
    };
    match masked(content) == u32::from_le_bytes(*sum) {
        true => Ok(Some((content, rest))),
        false => Err("the checksum of a record is wrong".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::proto::Content;
    use super::*;

    #[test]
    fn checksums_are_those_of_the_specification() {
        // RFC 3720, appendix B.4; the masked ones are what TensorBoard 2.21 computes.
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c::crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(masked(&[0; 32]), 0x0fd7_fffa);
    }

    #[test]
    fn the_first_record_of_a_file_is_as_tensorboard_writes_it() {
        let event = Event {
            wall_time: 1.5,
            step: 0,
            content: Some(Content::FileVersion("brain.Event:2".into())),
        };
        let mut bytes = Vec::new();
        write(&mut bytes, &event).unwrap();
        let mut expect = vec![24, 0, 0, 0, 0, 0, 0, 0];
        expect.extend(0x224b_7fa3_u32.to_le_bytes());
        expect.extend(b"\x09\x00\x00\x00\x00\x00\x00\xf8\x3f\x1a\x0dbrain.Event:2");
        expect.extend(0x6c64_282a_u32.to_le_bytes());
        assert_eq!(bytes, expect);
        assert_eq!(read(&bytes).unwrap(), [event]);
    }

    #[test]
    fn a_file_that_is_cut_anywhere_is_read_up_to_there() {
        let event = |step| Event {
            wall_time: 1.5,
            step,
            content: None,
        };
        let (mut bytes, mut ends) = (Vec::new(), vec![0]);
        for step in 0..3 {
            write(&mut bytes, &event(step)).unwrap();
            ends.push(bytes.len());
        }
        for length in 0..=bytes.len() {
            let whole = ends.iter().filter(|end| **end <= length).count() - 1;
            assert_eq!(read(&bytes[..length]).unwrap().len(), whole, "{length}");
        }
        for place in 0..bytes.len() {
            let mut other = bytes.clone();
            other[place] ^= 4;
            // A length that is too great is noticed by its checksum.
            assert!(read(&other).is_err(), "{place}");
        }
    }
}
