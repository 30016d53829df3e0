//! Whether a PNG file is sound: whole, and unchanged where it matters. Its decoder finds the same, but only when it decodes
//! the pixels, which is too late for an image that a search does not use.

/// The first bytes of every PNG file.
const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";

/// Whether all chunks that matter have the checksum that they say, and none was cut off. A missing last chunk is no damage, for
/// it holds nothing, and chunks of comments are not looked at: decoders read such files, too.
pub(crate) fn is_sound(bytes: &[u8]) -> bool {
    let Some(mut rest) = bytes.strip_prefix(&SIGNATURE) else {
        return false;
    };
    let mut has_pixels = false;
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let Some((kind, _)) = behind.split_first_chunk::<4>() else {
            break;
        };
        if kind == b"IEND" {
            break;
        }
        // The name of a chunk without which an image cannot be shown begins with a capital letter.
        let matters = kind[0].is_ascii_uppercase();
        let end = 4 + u32::from_be_bytes(*length) as usize;
        let chunk = behind
            .split_at_checked(end)
            .and_then(|(data, behind)| Some((data, behind.split_first_chunk::<4>()?)));
        let Some((data, (checksum, next))) = chunk else {
            return has_pixels && !matters;
        };
        if matters {
            let mut sum = flate2::Crc::new();
            sum.update(data);
            if sum.sum() != u32::from_be_bytes(*checksum) {
                return false;
            }
        }
        has_pixels |= kind == b"IDAT";
        rest = next;
    }
    has_pixels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
        let mut sum = flate2::Crc::new();
        sum.update(kind);
        sum.update(data);
        let length = (data.len() as u32).to_be_bytes();
        [&length[..], kind, data, &sum.sum().to_be_bytes()].concat()
    }

    #[test]
    fn damage_is_seen_where_it_matters() {
        let check = |parts: &[&[u8]], expect: bool| {
            let bytes = [&SIGNATURE[..], &parts.concat()].concat();
            assert_eq!(is_sound(&bytes), expect, "{bytes:02x?}");
        };
        let (head, end) = (chunk(b"IHDR", &[1; 13]), chunk(b"IEND", &[]));
        let (pixels, text) = (chunk(b"IDAT", &[1, 2, 3]), chunk(b"tEXt", b"hello"));
        let changed = |chunk: &[u8]| {
            let mut chunk = chunk.to_vec();
            chunk[9] ^= 1;
            chunk
        };
        check(&[&head, &text, &pixels, &pixels, &end, b"more"], true);
        check(&[&head, &pixels], true);
        check(&[&head, &changed(&text), &pixels, &end], true);
        check(&[&head, &pixels, &text[..7]], true);
        check(&[&head, &changed(&pixels), &end], false);
        check(&[&changed(&head), &pixels, &end], false);
        check(&[&head, &pixels[..9]], false);
        check(&[&head, &pixels, &pixels[..14]], false);
        check(&[&head, &end], false);
        check(&[&head[..3]], false);
        check(&[], false);
        assert!(!is_sound(b"\x89PNG"));
    }
}
