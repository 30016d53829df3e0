//! Data that travels inside the program, so that a first run needs neither files nor a network.

use std::path::PathBuf;
use std::sync::Arc;

use archai_spec::registry::Named;
use archai_spec::settings;
use flate2::read::MultiGzDecoder;

use super::idx::{self, Idx};
use crate::dataset::{Dataset, Split};
use crate::error::DataError;
use crate::format::DataFormat;

struct Asset {
    name: &'static str,
    train: [&'static [u8]; 2],
    test: [&'static [u8]; 2],
    class_names: &'static [&'static str],
}

macro_rules! asset {
    ($file:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/", $file))
    };
}

const ALL: &[Asset] = &[Asset {
    name: "fashion_mnist_mini",
    train: [
        asset!("fashion_mnist_mini/train-images-idx3-ubyte.gz"),
        asset!("fashion_mnist_mini/train-labels-idx1-ubyte.gz"),
    ],
    test: [
        asset!("fashion_mnist_mini/t10k-images-idx3-ubyte.gz"),
        asset!("fashion_mnist_mini/t10k-labels-idx1-ubyte.gz"),
    ],
    class_names: &[
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

/// The data that the section names, in which no file of the user's has a place.
fn find(dataset: &settings::Dataset, split: Split) -> Result<&'static Asset, DataError> {
    let name = &dataset.path;
    let data = ALL.iter().find(|data| data.name == name).ok_or_else(|| {
        let problem = format!(
            "no data set '{name}' travels inside the program; expected {}",
            names().join(" or ")
        );
        DataError::setting("dataset.path", problem)
    })?;
    match split.pattern(dataset) {
        None => Ok(data),
        Some(pattern) => Err(DataError::setting(
            split.key(),
            format!("is '{pattern}', but embedded data has no files: expected null"),
        )),
    }
}

/// The format `embedded`.
pub(super) struct Embedded;

impl Named for Embedded {
    fn name(&self) -> &str {
        "embedded"
    }

    fn about(&self) -> &str {
        "data that travels inside the program; `path` names it"
    }
}

impl DataFormat for Embedded {
    fn open(
        &self,
        dataset: &settings::Dataset,
        split: Split,
    ) -> Result<Arc<dyn Dataset>, DataError> {
        let data = find(dataset, split)?;
        let [images, labels] = match split {
            Split::Train => data.train,
            Split::Test => data.test,
        };
        let open = |what: &str, bytes: &'static [u8]| {
            let path = PathBuf::from(format!("embedded:{}/{}-{what}", data.name, split.as_str()));
            Idx::new(path, Box::new(MultiGzDecoder::new(bytes)), None)
        };
        let images = idx::gather(dataset, open("images", images)?, open("labels", labels)?)?;
        // More classes than the data has are allowed, and have no names.
        if dataset.n_classes != data.class_names.len() {
            return Ok(Arc::new(images));
        }
        let names = data.class_names.iter().map(|&name| name.to_owned());
        Ok(Arc::new(images.with_class_names(names.collect())?))
    }

    fn files(&self, dataset: &settings::Dataset, split: Split) -> Result<Vec<PathBuf>, DataError> {
        find(dataset, split).map(|_| Vec::new())
    }

    fn needs_path(&self) -> bool {
        false
    }
}
