//! Bringing an image to the channels and the size of a data set, by the rule of `resize: fit`.

use std::borrow::Cow;
use std::path::Path;

use image::imageops::{self, FilterType};
use image::{ImageBuffer, Luma};

use crate::dataset::Image;
use crate::error::DataError;

/// The image with `channels` (1 or 3) and `size` (height, width, at least 1). Grey is repeated, colours are averaged; sides
/// that are too long are scaled down (triangle filter over all covered pixels), each on its own, sides that are too short are
/// padded with zeros on both ends, the odd pixel at the end. `path` and `at` say where the image comes from, for messages.
///
/// # Errors
/// [`DataError::Malformed`] if the image has no pixels, other than 1 or 3 channels, or not one byte for each pixel and
/// channel.
pub fn fit<'a>(
    path: &Path,
    at: &dyn Fn() -> String,
    image: Image<'a>,
    channels: usize,
    size: [usize; 2],
) -> Result<Image<'a>, DataError> {
    check_sound(path, at, &image)?;
    Ok(pad(shrink(recolour(image, channels), size), size))
}

/// Whether an image holds what it claims, at any size. `path` and `at` say where it comes from, for messages.
///
/// # Errors
/// As [`fit`].
pub fn check_sound(
    path: &Path,
    at: &dyn Fn() -> String,
    image: &Image<'_>,
) -> Result<(), DataError> {
    let bytes = [image.height, image.width]
        .into_iter()
        .try_fold(image.channels, usize::checked_mul);
    let is_sound = [1, 3].contains(&image.channels) && !image.pixels.is_empty();
    if is_sound && bytes == Some(image.pixels.len()) {
        return Ok(());
    }
    let found = format!(
        "{} bytes for {} channels of {} x {} pixels (height, width)",
        image.pixels.len(),
        image.channels,
        image.height,
        image.width
    );
    let expected = "an image of 1 or 3 channels with one byte for each channel of each pixel";
    Err(DataError::malformed(path, at(), expected, found))
}

/// The image with so many channels (1 or 3): grey is repeated, colours are averaged to the nearest.
pub(crate) fn recolour(image: Image<'_>, channels: usize) -> Image<'_> {
    if image.channels == channels {
        return image;
    }
    let plane = image.height * image.width;
    let grey: Vec<u8> = (0..plane)
        .map(|i| {
            let sum: usize = (0..image.channels)
                .map(|c| usize::from(image.pixels[c * plane + i]))
                .sum();
            ((sum + image.channels / 2) / image.channels) as u8
        })
        .collect();
    Image {
        pixels: grey.repeat(channels).into(),
        channels,
        ..image
    }
}

fn shrink(image: Image<'_>, [height, width]: [usize; 2]) -> Image<'_> {
    let (height, width) = (height.min(image.height), width.min(image.width));
    if (height, width) == (image.height, image.width) {
        return image;
    }
    let mut pixels = Vec::with_capacity(image.channels * height * width);
    for plane in image.pixels.chunks_exact(image.height * image.width) {
        let plane: Option<ImageBuffer<Luma<u8>, &[u8]>> =
            ImageBuffer::from_raw(image.width as u32, image.height as u32, plane);
        if let Some(plane) = plane {
            pixels.extend(
                imageops::resize(&plane, width as u32, height as u32, FilterType::Triangle)
                    .into_raw(),
            );
        }
    }
    Image {
        pixels: pixels.into(),
        channels: image.channels,
        height,
        width,
    }
}

fn pad(image: Image<'_>, [height, width]: [usize; 2]) -> Image<'_> {
    if (height, width) == (image.height, image.width) {
        return image;
    }
    let (top, left) = ((height - image.height) / 2, (width - image.width) / 2);
    let mut pixels = vec![0; image.channels * height * width];
    for (row, line) in image.pixels.chunks_exact(image.width).enumerate() {
        let (channel, row) = (row / image.height, row % image.height);
        let start = (channel * height + top + row) * width + left;
        pixels[start..start + image.width].copy_from_slice(line);
    }
    Image {
        pixels: Cow::Owned(pixels),
        channels: image.channels,
        height,
        width,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(channels: usize, height: usize, width: usize, pixels: &[u8]) -> Image<'_> {
        assert_eq!(pixels.len(), channels * height * width);
        Image {
            pixels: pixels.into(),
            channels,
            height,
            width,
        }
    }

    #[test]
    fn fitting() {
        let check = |from: Image<'_>, channels, size, expect: &[u8]| {
            let fitted = fit(Path::new("a"), &|| "row 1".into(), from, channels, size).unwrap();
            assert_eq!(
                (fitted.channels, [fitted.height, fitted.width]),
                (channels, size)
            );
            assert_eq!(&*fitted.pixels, expect);
        };
        // As it is; grey repeated; colours averaged to the nearest.
        check(image(1, 2, 2, &[1, 2, 3, 4]), 1, [2, 2], &[1, 2, 3, 4]);
        check(image(1, 1, 2, &[1, 2]), 3, [1, 2], &[1, 2, 1, 2, 1, 2]);
        check(
            image(3, 1, 2, &[1, 255, 2, 255, 5, 254]),
            1,
            [1, 2],
            &[3, 255],
        );
        // Padded on all sides, per channel; the odd pixel at the end.
        check(
            image(1, 1, 1, &[9]),
            1,
            [3, 3],
            &[0, 0, 0, 0, 9, 0, 0, 0, 0],
        );
        check(image(1, 1, 1, &[9]), 1, [2, 2], &[9, 0, 0, 0]);
        check(
            image(3, 1, 1, &[7, 8, 9]),
            3,
            [1, 3],
            &[0, 7, 0, 0, 8, 0, 0, 9, 0],
        );
        // Scaled down: a flat image stays flat, in each channel.
        check(
            image(3, 4, 4, &[[5; 16], [6; 16], [7; 16]].concat()),
            3,
            [2, 2],
            &[5, 5, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7],
        );
        // One side too long, the other too short.
        check(image(1, 1, 4, &[8; 4]), 1, [3, 2], &[0, 0, 8, 8, 0, 0]);
    }

    #[test]
    fn images_that_are_not_what_they_claim() {
        let check = |[channels, height, width]: [usize; 3], n: usize| {
            let image = Image {
                pixels: vec![0; n].into(),
                channels,
                height,
                width,
            };
            let at = || "row 7".to_owned();
            let error = fit(Path::new("a.bin"), &at, image, 3, [2, 2]).unwrap_err();
            let expect = format!(
                "'a.bin': at row 7: expected an image of 1 or 3 channels with one byte for each channel of each pixel, \
                 found {n} bytes for {channels} channels of {height} x {width} pixels"
            );
            assert!(error.to_string().starts_with(&expect), "{error}");
        };
        check([1, 2, 2], 3);
        check([3, 2, 2], 13);
        check([0, 2, 2], 0);
        check([1, 0, 2], 0);
        check([2, 2, 2], 8);
        check([1, usize::MAX, 2], 4);
    }
}
