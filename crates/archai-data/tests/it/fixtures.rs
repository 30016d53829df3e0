//! Small data sets on disk, made by the tests themselves.

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;
use std::sync::Arc;

use archai_data::{DataError, Dataset, InMemory, Split, formats, open, rng::Key};
use archai_spec::settings;
use flate2::{Compression, write::GzEncoder};
use image::{DynamicImage, GrayImage, ImageFormat, RgbImage};
use parquet::basic::{Compression as ParquetCompression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, Int32Type, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

/// Settings that leave images as they are: no mean, no deviation, no augmentation.
pub fn settings(
    format: &str,
    path: impl AsRef<Path>,
    n_classes: usize,
    channels: usize,
    size: [usize; 2],
) -> settings::Dataset {
    settings::Dataset {
        name: "sample".into(),
        format: format.into(),
        path: path.as_ref().to_str().unwrap().into(),
        n_classes,
        channels,
        size,
        mean: vec![0.0; channels],
        std: vec![1.0; channels],
        crop_padding: 0,
        flip: false,
        ..mini()
    }
}

/// The data set that travels inside the program.
pub fn mini() -> settings::Dataset {
    settings::Dataset::shipped("fashion_mnist_mini").unwrap()
}

pub fn train(dataset: &settings::Dataset) -> Result<Arc<dyn Dataset>, DataError> {
    open(&formats::builtin(), dataset, Split::Train)
}

pub fn test(dataset: &settings::Dataset) -> Result<Arc<dyn Dataset>, DataError> {
    open(&formats::builtin(), dataset, Split::Test)
}

/// `n` images of random bytes, labels 0, 1, … by turns.
pub fn random(n: usize, n_classes: usize, shape: [usize; 3]) -> InMemory {
    let mut rng = Key::new(5).with("random images").rng();
    let pixels = (0..n * shape.iter().product::<usize>())
        .map(|_| rng.next_u32() as u8)
        .collect();
    let labels = (0..n).map(|i| (i % n_classes) as u32).collect();
    InMemory::new("random", n_classes, shape, pixels, labels).unwrap()
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A `.tar.gz` of these members.
pub fn tar_gz(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        // Written into the header as it is: the checked way refuses the names that attackers use.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        builder.append(&header, *bytes).unwrap();
    }
    gzip(&builder.into_inner().unwrap())
}

pub fn idx(dims: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, dims.len() as u8];
    dims.iter().for_each(|dim| bytes.extend(dim.to_be_bytes()));
    bytes.extend(data);
    bytes
}

/// One record of the binary CIFAR format; every byte of a channel is the same.
pub fn cifar_record(labels: &[u8], channels: [u8; 3]) -> Vec<u8> {
    let mut record = labels.to_vec();
    channels
        .iter()
        .for_each(|&value| record.extend([value; 1024]));
    record
}

pub fn png(image: impl Into<DynamicImage>) -> Vec<u8> {
    encoded(image.into(), ImageFormat::Png)
}

pub fn jpeg(image: impl Into<DynamicImage>) -> Vec<u8> {
    encoded(image.into(), ImageFormat::Jpeg)
}

fn encoded(image: DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

pub fn flat_rgb(height: u32, width: u32, colour: [u8; 3]) -> RgbImage {
    RgbImage::from_pixel(width, height, image::Rgb(colour))
}

pub fn flat_grey(height: u32, width: u32, value: u8) -> GrayImage {
    GrayImage::from_pixel(width, height, image::Luma([value]))
}

/// What a table looks like.
#[derive(Clone, Copy)]
pub enum Layout {
    /// `img: {bytes, path}`, `label: int64`, all optional, as Hugging Face writes it.
    Struct,
    /// `image: binary`, `label: int32`, required.
    Plain,
}

/// A parquet table in several row groups.
pub fn parquet_table(
    layout: Layout,
    rows: &[(Option<Vec<u8>>, i64)],
    compression: ParquetCompression,
) -> Vec<u8> {
    let schema = match layout {
        Layout::Struct => {
            "message schema { optional group img { optional binary bytes; optional binary path (UTF8); } \
             optional int64 label; }"
        }
        Layout::Plain => "message schema { required binary image; required int32 label; }",
    };
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = Arc::new(
        WriterProperties::builder()
            .set_compression(compression)
            .build(),
    );
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, properties).unwrap();
    for rows in rows.chunks(3) {
        let images: Vec<ByteArray> = rows
            .iter()
            .filter_map(|(bytes, _)| bytes.clone().map(ByteArray::from))
            .collect();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        match layout {
            Layout::Struct => {
                let levels: Vec<i16> = rows
                    .iter()
                    .map(|(bytes, _)| if bytes.is_some() { 2 } else { 1 })
                    .collect();
                column
                    .typed::<ByteArrayType>()
                    .write_batch(&images, Some(&levels), None)
                    .unwrap();
                column.close().unwrap();
                let mut column = group.next_column().unwrap().unwrap();
                column
                    .typed::<ByteArrayType>()
                    .write_batch(&[], Some(&vec![1; rows.len()]), None)
                    .unwrap();
                column.close().unwrap();
                let labels: Vec<i64> = rows.iter().map(|(_, label)| *label).collect();
                let mut column = group.next_column().unwrap().unwrap();
                column
                    .typed::<Int64Type>()
                    .write_batch(&labels, Some(&vec![1; rows.len()]), None)
                    .unwrap();
                column.close().unwrap();
            }
            Layout::Plain => {
                column
                    .typed::<ByteArrayType>()
                    .write_batch(&images, None, None)
                    .unwrap();
                column.close().unwrap();
                let labels: Vec<i32> = rows.iter().map(|(_, label)| *label as i32).collect();
                let mut column = group.next_column().unwrap().unwrap();
                column
                    .typed::<Int32Type>()
                    .write_batch(&labels, None, None)
                    .unwrap();
                column.close().unwrap();
            }
        }
        group.close().unwrap();
    }
    writer.into_inner().unwrap()
}

/// A table of one row group whose column of labels has this name, and the notes of Hugging Face's library, if any.
pub fn table_with_labels(
    labels: &str,
    rows: &[(Option<Vec<u8>>, i64)],
    notes: Option<&str>,
) -> Vec<u8> {
    let schema = format!("message schema {{ required binary image; required int32 {labels}; }}");
    let schema = Arc::new(parse_message_type(&schema).unwrap());
    let notes = notes.map(|notes| vec![KeyValue::new("huggingface".into(), notes.to_owned())]);
    let properties = WriterProperties::builder().set_key_value_metadata(notes);
    let properties = Arc::new(properties.build());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, properties).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let images: Vec<ByteArray> = rows
        .iter()
        .filter_map(|(bytes, _)| bytes.clone().map(ByteArray::from))
        .collect();
    let labels: Vec<i32> = rows.iter().map(|(_, label)| *label as i32).collect();
    let mut column = group.next_column().unwrap().unwrap();
    let images = column
        .typed::<ByteArrayType>()
        .write_batch(&images, None, None);
    images.unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let labels = column.typed::<Int32Type>().write_batch(&labels, None, None);
    labels.unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.into_inner().unwrap()
}

pub fn snappy() -> ParquetCompression {
    ParquetCompression::SNAPPY
}

pub fn zstd() -> ParquetCompression {
    ParquetCompression::ZSTD(ZstdLevel::try_new(1).unwrap())
}

pub fn write(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
    let path = path.as_ref();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// The error's message, which must hold all of `parts`.
#[track_caller]
pub fn check_error<T>(result: Result<T, DataError>, parts: &[&str]) {
    let Err(error) = result else {
        panic!("expected an error that says {parts:?}")
    };
    let message = error.to_string();
    for part in parts {
        assert!(
            message.contains(part),
            "'{part}' is missing from: {message}"
        );
    }
}
