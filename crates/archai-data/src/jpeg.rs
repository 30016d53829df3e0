//! Whether a JPEG file is whole. The decoder reads a file that was cut off as if nothing were wrong and paints the missing
//! rows grey, which nobody would notice in a training.

/// The marker of the file's end.
const END: u8 = 0xd9;
/// The marker of a scan, whose data follow.
const SCAN: u8 = 0xda;

/// Whether the file goes on to its end-of-image marker. What lies behind that marker is not looked at: cameras and editors
/// leave previews and padding there.
///
/// Segments are skipped by their lengths, so the end of a preview inside of one does not count. Bytes that belong to no
/// marker are passed over, as decoders do.
pub(crate) fn is_whole(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    let mut scanning = false;
    while let Some(at) = rest.iter().position(|&byte| byte == 0xff) {
        rest = &rest[at + 1..];
        let Some(&marker) = rest.first() else {
            return false;
        };
        match marker {
            END => return true,
            // A fill byte: the marker may come with the next one.
            0xff => continue,
            // A 0xff of the data, restarts inside of them, and markers that stand alone.
            0x00 | 0x01 | 0xd0..=0xd8 => rest = &rest[1..],
            // No marker of a file: damage inside of a scan, which is for the decoder to judge.
            0x02..=0xbf if scanning => rest = &rest[1..],
            _ => {
                let Some(&[_, high, low]) = rest.first_chunk() else {
                    return false;
                };
                // The length counts its own two bytes.
                let length = usize::from(u16::from_be_bytes([high, low]));
                let Some(behind) = rest.get(1 + length.max(2)..) else {
                    return false;
                };
                scanning = marker == SCAN;
                rest = behind;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_looked_for_behind_the_scans() {
        let (start, end) = ([0xff, 0xd8], [0xff, 0xd9]);
        // An application's segment that holds a whole little file, with an end of its own.
        let preview = [0xff, 0xe1, 0, 6, 0xff, 0xd8, 0xff, 0xd9];
        let scan = [0xff, 0xda, 0, 3, 1];
        // A stuffed 0xff, a restart and a fill byte.
        let data = [7, 0xff, 0, 8, 0xff, 0xd3, 9, 0xff];
        let check = |parts: &[&[u8]], expect: bool| {
            let bytes = parts.concat();
            assert_eq!(is_whole(&bytes), expect, "{bytes:02x?}");
        };
        check(&[&start, &scan, &data, &end], true);
        check(&[&start, &preview, &scan, &data, &scan, &data, &end], true);
        check(&[&start, &scan, &data, &end, b"more", &start], true);
        check(&[&start, &preview, &scan, &data], false);
        check(&[&start, &preview], false);
        check(&[&start, &scan[..3]], false);
        check(&[&start, &preview[..6]], false);
        check(&[&start, &scan, &data, &end[..1]], false);
        // Space that was reserved for the rest of the file and never written.
        check(&[&start, &scan, &data, &[0; 9]], false);
        check(&[], false);
    }
}
