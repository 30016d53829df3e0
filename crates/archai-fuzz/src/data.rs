//! Readers of data sets and tables.

use std::cell::OnceCell;
use std::fs;
use std::io::Write;
use std::path::Path;

use archai::data::nasbench201::NasBench201Table;
use archai::data::{DataError, Formats, Split, formats, open};
use archai::spec::settings::Dataset;
use flate2::{Compression, write::GzEncoder};

use crate::SEPARATOR;

thread_local! {
    /// Reading a shipped file takes longer than most readers do.
    static BASE: OnceCell<Dataset> = const { OnceCell::new() };
    static FORMATS: OnceCell<Formats> = const { OnceCell::new() };
}

fn settings(format: &str, path: &Path) -> Dataset {
    let shipped = || Dataset::shipped("cifar10").expect("a shipped data set");
    Dataset {
        name: "fuzzed".into(),
        format: format.into(),
        path: path.to_str().expect("a temporary folder in UTF-8").into(),
        n_classes: 3,
        channels: 3,
        size: [4, 4],
        mean: vec![0.0; 3],
        std: vec![1.0; 3],
        crop_padding: 0,
        flip: false,
        ..BASE.with(|base| base.get_or_init(shipped).clone())
    }
}

/// Opens a data set, reads all of its images, and looks at it as a run does before it begins.
fn read(settings: &Dataset) -> Result<(), DataError> {
    let data =
        FORMATS.with(|all| open(all.get_or_init(formats::builtin), settings, Split::Train))?;
    for i in 0..data.len() {
        assert!((data.label(i) as usize) < data.n_classes());
        let image = data.image(i)?;
        assert_eq!(
            image.pixels.len(),
            image.channels * image.height * image.width
        );
        assert_eq!(
            (image.channels, [image.height, image.width]),
            (settings.channels, settings.size)
        );
    }
    data.digest().map(drop)
}

fn read_files(format: &str, files: &[(&str, &[u8])]) -> bool {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, bytes) in files {
        let path = folder.path().join(name);
        if let Some(above) = path.parent() {
            fs::create_dir_all(above).expect("a temporary folder");
        }
        fs::write(path, bytes).expect("a temporary file");
    }
    // Damage is an error, and nothing else is asked of it.
    read(&settings(format, folder.path())).is_ok()
}

/// Both files of an IDX data set: labels, separator, images.
pub fn idx(bytes: &[u8]) -> bool {
    let mut parts = bytes.splitn(2, |&byte| byte == SEPARATOR);
    let (labels, images) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    let files = [
        ("train-labels-idx1-ubyte", labels),
        ("train-images-idx3-ubyte", images),
    ];
    read_files("idx", &files)
}

/// By the first byte: a file of records, an archive, or an archive that is still to be compressed.
pub fn cifar(bytes: &[u8]) -> bool {
    let Some((kind, bytes)) = bytes.split_first() else {
        return false;
    };
    if kind % 3 == 0 {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut settings = settings("cifar10_binary", folder.path());
        settings.train = Some("data_batch_1.bin".into());
        fs::write(folder.path().join("data_batch_1.bin"), bytes).expect("a temporary file");
        return read(&settings).is_ok();
    }
    let archive = if kind % 3 == 1 {
        bytes.to_vec()
    } else {
        gzip(bytes)
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("cifar.tar.gz");
    fs::write(&path, archive).expect("a temporary file");
    let mut settings = settings("cifar10_binary", &path);
    settings.train = Some("data_batch_*.bin".into());
    read(&settings).is_ok()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::none());
    out.write_all(bytes)
        .and_then(|()| out.finish())
        .expect("memory takes all bytes")
}

/// A parquet table of images.
pub fn parquet(bytes: &[u8]) -> bool {
    read_files("parquet", &[("train.parquet", bytes)])
}

/// A table of paths; one picture is there.
pub fn csv(bytes: &[u8]) -> bool {
    read_files("csv", &[("train.csv", bytes), ("a.png", PICTURE)])
}

/// A grey picture.
const PICTURE: &[u8] = include_bytes!("../../../fuzz/corpus/image/grey.png");

/// A tar file of pictures and labels.
pub fn webdataset(bytes: &[u8]) -> bool {
    read_files("webdataset", &[("train.tar", bytes)])
}

/// By the first byte: a file of several arrays of NumPy, or the array of pictures or that of labels beside a good one of the
/// other.
pub fn npz(bytes: &[u8]) -> bool {
    let Some((kind, bytes)) = bytes.split_first() else {
        return false;
    };
    match kind % 3 {
        0 => read_files("npz", &[("all.npz", bytes)]),
        1 => read_files("npz", &[("x_train.npy", bytes), ("y_train.npy", LABELS)]),
        _ => read_files("npz", &[("x_train.npy", IMAGES), ("y_train.npy", bytes)]),
    }
}

const IMAGES: &[u8] = include_bytes!("../../archai-data/tests/sets/npy/x_train.npy");
const LABELS: &[u8] = include_bytes!("../../archai-data/tests/sets/npy/y_train.npy");

/// A file of MATLAB.
pub fn mat(bytes: &[u8]) -> bool {
    read_files("mat", &[("train.mat", bytes)])
}

/// A batch of CIFAR's Python version.
pub fn pickle(bytes: &[u8]) -> bool {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut settings = settings("cifar10_python", folder.path());
    settings.train = Some("data_batch_1".into());
    fs::write(folder.path().join("data_batch_1"), bytes).expect("a temporary file");
    read(&settings).is_ok()
}

/// A picture, as each kind of file.
pub fn image(bytes: &[u8]) -> bool {
    let is_read = ["train/a/x.png", "train/a/x.jpg"].map(|name| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir_all(folder.path().join("train/a")).expect("a temporary folder");
        fs::write(folder.path().join(name), bytes).expect("a temporary file");
        let mut settings = settings("image_folder", folder.path());
        settings.n_classes = 1;
        read(&settings).is_ok()
    });
    assert_eq!(is_read[0], is_read[1], "the name does not matter");
    is_read[0]
}

/// The table of NAS-Bench-201.
pub fn nasbench201(bytes: &[u8]) -> bool {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("table.csv");
    fs::write(&path, bytes).expect("a temporary file");
    let table = NasBench201Table::open(&path);
    if let Ok(table) = &table {
        assert!(!table.is_empty() && table.n_networks() <= table.len());
    }
    table.is_ok()
}
