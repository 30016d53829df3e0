//! The formats of data sets that come with the program, one file each. A new one is a file here and a line in
//! [`builtin`]; a program's own ones are added to what [`builtin`] gives.

mod arrays;
mod cifar;
mod columns;
mod csv;
pub mod embedded;
mod idx;
mod image_folder;
mod labels;
mod listed;
mod mat;
mod npz;
mod parquet;
mod parquet_guard;
mod parquet_table;
mod pickle;
mod pictures;
mod webdataset;

pub(crate) use image_folder::is_litter;
pub(crate) use labels::UNKNOWN_CLASSES;

use std::sync::Arc;

use crate::format::Formats;

/// All formats that come with the program.
pub fn builtin() -> Formats {
    let formats = Formats::new("data format")
        .with(Arc::new(embedded::Embedded))
        .with(Arc::new(cifar::Cifar::cifar10()))
        .with(Arc::new(cifar::Cifar::cifar100()))
        .with(Arc::new(cifar::Cifar::cifar10_python()))
        .with(Arc::new(cifar::Cifar::cifar100_python()))
        .with(Arc::new(idx::IdxFiles))
        .with(Arc::new(parquet::Parquet::default()))
        .with(Arc::new(image_folder::ImageFolder::default()))
        .with(Arc::new(csv::Csv::default()))
        .with(Arc::new(webdataset::WebDataset::default()))
        .with(Arc::new(npz::Npz))
        .with(Arc::new(mat::Mat));
    listed::Listed::all().fold(formats, |formats, layout| formats.with(Arc::new(layout)))
}
