//! Data that travels inside the program, so that a first run needs neither files nor a network.

use std::path::PathBuf;

use archai_spec::settings::{self, DatasetFormat};
use flate2::read::MultiGzDecoder;

use crate::dataset::{InMemory, Split};
use crate::error::DataError;
use crate::idx::{self, Idx};

struct Embedded {
    name: &'static str,
    train: [&'static [u8]; 2],
    test: [&'static [u8]; 2],
    classes: &'static [&'static str],
}

macro_rules! asset {
    ($file:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/", $file))
    };
}

const ALL: &[Embedded] = &[Embedded {
    name: "fashion_mnist_mini",
    train: [
        asset!("fashion_mnist_mini/train-images-idx3-ubyte.gz"),
        asset!("fashion_mnist_mini/train-labels-idx1-ubyte.gz"),
    ],
    test: [
        asset!("fashion_mnist_mini/t10k-images-idx3-ubyte.gz"),
        asset!("fashion_mnist_mini/t10k-labels-idx1-ubyte.gz"),
    ],
    classes: &[
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ],
}];

/// The names of the embedded data sets, which a configuration gives as `path` of format `embedded`.
///
/// `fashion_mnist_mini` holds the first 200 training and the first 50 test images of each class of Fashion-MNIST (Xiao,
/// Rasul, Vollgraf, 2017; MIT licence), 28×28 and grey.
pub fn names() -> Vec<&'static str> {
    ALL.iter().map(|data| data.name).collect()
}

/// Settings for an embedded data set as networks take it: padded to 32×32, with the published statistics of the set that
/// it was taken from.
///
/// # Errors
/// If there is none of that name.
pub fn settings(name: &str) -> Result<settings::Dataset, DataError> {
    find(name).map(|data| settings::Dataset {
        name: data.name.into(),
        format: DatasetFormat::Embedded,
        path: data.name.into(),
        train: None,
        test: None,
        n_classes: data.classes.len(),
        channels: 1,
        size: [32, 32],
        mean: vec![0.28604],
        std: vec![0.35302],
        crop_padding: 4,
        flip: true,
        max_batches: -1,
    })
}

fn find(name: &str) -> Result<&'static Embedded, DataError> {
    ALL.iter().find(|data| data.name == name).ok_or_else(|| {
        let problem = format!(
            "no data set '{name}' travels inside the program; expected {}",
            names().join(" or ")
        );
        DataError::setting("dataset.path", problem)
    })
}

pub(crate) fn read(dataset: &settings::Dataset, split: Split) -> Result<InMemory, DataError> {
    let data = find(&dataset.path)?;
    if let Some(pattern) = split.pattern(dataset) {
        let key = if split == Split::Train {
            "dataset.train"
        } else {
            "dataset.test"
        };
        return Err(DataError::setting(
            key,
            format!("is '{pattern}', but embedded data has no files: expected null"),
        ));
    }
    let [images, labels] = match split {
        Split::Train => data.train,
        Split::Test => data.test,
    };
    let open = |what: &str, bytes: &'static [u8]| {
        let path = PathBuf::from(format!("embedded:{}/{}-{what}", data.name, split.as_str()));
        Idx::new(path, Box::new(MultiGzDecoder::new(bytes)), None)
    };
    idx::gather(
        dataset,
        open("images", images)?,
        open("labels", labels)?,
        Some(data.classes),
    )
}
