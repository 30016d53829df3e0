//! Known sets whose pictures lie in one folder and whose parts are lists of names, in the layouts of their authors' archives:
//! Food-101 (Bossard, Guillaumin, Van Gool, 2014), the indoor scenes of MIT (Quattoni, Torralba, 2009), FGVC-Aircraft (Maji et
//! al., 2013) and the 102 flowers of Oxford (Nilsback, Zisserman, 2008).

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use archai_spec::registry::Named;
use archai_spec::settings;

use super::labels::{Labels, numbered};
use super::mat;
use super::pictures::{Digest, Judged, Pictures};
use crate::dataset::{Dataset, Split};
use crate::error::DataError;
use crate::files;
use crate::format::DataFormat;

/// Largest list that is read.
const MAX_LIST: u64 = 256 << 20;

/// One of the layouts.
pub(super) struct Listed {
    layout: &'static Layout,
    judged: Judged,
}

struct Layout {
    name: &'static str,
    about: &'static str,
    /// The folder of all pictures.
    folder: &'static str,
    lists: Lists,
}

enum Lists {
    /// Files of lines, of the training data and of the test data: a path below the folder, whose first part is the class.
    Paths {
        lists: [&'static str; 2],
        /// What the paths lack.
        ending: &'static str,
    },
    /// Files of lines: a name without its ending, a space and the class.
    Names {
        lists: [&'static str; 2],
        ending: &'static str,
    },
    /// `setid.mat` with the numbers of the pictures of each part, and `imagelabels.mat` with the classes of all pictures, from 1.
    Numbers,
}

static FOOD101: Layout = Layout {
    name: "food101",
    about: "Food-101's archive: images/CLASS/NAME.jpg, listed in meta/train.txt and meta/test.txt",
    folder: "images",
    lists: Lists::Paths {
        lists: ["meta/train.txt", "meta/test.txt"],
        ending: ".jpg",
    },
};

static MIT67: Layout = Layout {
    name: "mit67",
    about: "MIT's indoor scenes: Images/CLASS/NAME.jpg, listed in TrainImages.txt and TestImages.txt",
    folder: "Images",
    lists: Lists::Paths {
        lists: ["TrainImages.txt", "TestImages.txt"],
        ending: "",
    },
};

static AIRCRAFT: Layout = Layout {
    name: "fgvc_aircraft",
    about: "FGVC-Aircraft's archive: data/images, listed with their variants in data/images_variant_trainval.txt and …_test.txt",
    folder: "data/images",
    lists: Lists::Names {
        lists: [
            "data/images_variant_trainval.txt",
            "data/images_variant_test.txt",
        ],
        ending: ".jpg",
    },
};

static FLOWERS102: Layout = Layout {
    name: "flowers102",
    about: "Oxford's 102 flowers: jpg/image_00001.jpg, …, with setid.mat and imagelabels.mat; trnid and valid are the training data",
    folder: "jpg",
    lists: Lists::Numbers,
};

impl Listed {
    /// All layouts.
    pub(super) fn all() -> impl Iterator<Item = Listed> {
        [&FOOD101, &MIT67, &AIRCRAFT, &FLOWERS102]
            .into_iter()
            .map(|layout| Listed {
                layout,
                judged: Judged::default(),
            })
    }
}

impl Named for Listed {
    fn name(&self) -> &str {
        self.layout.name
    }

    fn about(&self) -> &str {
        self.layout.about
    }
}

impl DataFormat for Listed {
    fn open(
        &self,
        dataset: &settings::Dataset,
        split: Split,
    ) -> Result<Arc<dyn Dataset>, DataError> {
        let found = self.read(dataset, split)?;
        let train = || self.read(dataset, Split::Train).map(|train| train.labels);
        let at = |index: usize| {
            let path = found.paths.get(index).cloned().unwrap_or_default();
            (path, "its class".to_owned())
        };
        let (numbers, classes) = numbered(dataset, split, &found.labels, train, &at)?;
        let mut pictures = Pictures::new(dataset, classes, Digest::Encoded("archai pictures 1\n"));
        for (path, label) in found.paths.into_iter().zip(numbers) {
            pictures.push_file(path, label);
        }
        Ok(Arc::new(pictures.cleaned(&self.judged)?))
    }

    fn files(&self, dataset: &settings::Dataset, split: Split) -> Result<Vec<PathBuf>, DataError> {
        Ok(self.read(dataset, split)?.paths)
    }

    fn keys(&self) -> &[&str] {
        &["on_damaged"]
    }
}

/// The pictures of a part, in the order of its list.
#[derive(Default)]
struct Found {
    paths: Vec<PathBuf>,
    labels: Labels,
}

impl Listed {
    fn read(&self, dataset: &settings::Dataset, split: Split) -> Result<Found, DataError> {
        if let Some(pattern) = split.pattern(dataset) {
            let problem = format!(
                "is '{pattern}', but the format `{}` has lists of its own; leave it out",
                self.layout.name
            );
            return Err(DataError::setting(split.key(), problem));
        }
        let root = Path::new(&dataset.path);
        let folder = root.join(self.layout.folder);
        let mut found = Found::default();
        match &self.layout.lists {
            Lists::Paths { lists, ending } => {
                let list = list(dataset, split, lists)?;
                for (number, line) in list.lines() {
                    let at = || format!("line {number}");
                    let class = line.split('/').next().unwrap_or_default();
                    found.labels.push(&list.path, class, &at)?;
                    found.paths.push(folder.join(format!("{line}{ending}")));
                }
            }
            Lists::Names { lists, ending } => {
                let list = list(dataset, split, lists)?;
                for (number, line) in list.lines() {
                    let at = || format!("line {number}");
                    let (name, class) = line.split_once(' ').unwrap_or((line, ""));
                    found.labels.push(&list.path, class, &at)?;
                    found.paths.push(folder.join(format!("{name}{ending}")));
                }
            }
            Lists::Numbers => flowers(dataset, split, &folder, &mut found)?,
        }
        Ok(found)
    }
}

/// A list of a part.
struct List {
    path: PathBuf,
    text: String,
}

impl List {
    /// Lines that are not empty, with their numbers from 1.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().map(str::trim).enumerate();
        lines
            .filter(|(_, line)| !line.is_empty())
            .map(|(number, line)| (number + 1, line))
    }
}

fn list(
    dataset: &settings::Dataset,
    split: Split,
    [train, test]: &[&'static str; 2],
) -> Result<List, DataError> {
    let name = match split {
        Split::Train => train,
        Split::Test => test,
    };
    let path = Path::new(&dataset.path).join(name);
    if !path.is_file() {
        return Err(files::absent(dataset, split, *name));
    }
    let length = fs::metadata(&path)
        .map_err(DataError::io("read", &path))?
        .len();
    if length > MAX_LIST {
        let expected = format!("a list of at most {} MiB", MAX_LIST >> 20);
        return Err(DataError::malformed(
            &path,
            "its length",
            expected,
            format!("{length} bytes"),
        ));
    }
    let bytes = fs::read(&path).map_err(DataError::io("read", &path))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        DataError::malformed(&path, "its lines", "a list in UTF-8", error.to_string())
    })?;
    Ok(List { path, text })
}

fn flowers(
    dataset: &settings::Dataset,
    split: Split,
    folder: &Path,
    found: &mut Found,
) -> Result<(), DataError> {
    let file = |name: &str| {
        let path = Path::new(&dataset.path).join(name);
        match path.is_file() {
            true => Ok(path),
            false => Err(files::absent(dataset, split, name)),
        }
    };
    let (sets, classes) = (file("setid.mat")?, file("imagelabels.mat")?);
    let labels = mat::integers(&classes, "labels")?;
    let parts: &[&str] = match split {
        Split::Train => &["trnid", "valid"],
        Split::Test => &["tstid"],
    };
    for part in parts {
        for number in mat::integers(&sets, part)? {
            let index = usize::try_from(number)
                .ok()
                .and_then(|number| number.checked_sub(1));
            let Some(label) = index.and_then(|index| labels.get(index)) else {
                let expected =
                    format!("numbers from 1 to {}, the number of pictures", labels.len());
                return Err(DataError::malformed(
                    &sets,
                    format!("array `{part}`"),
                    expected,
                    number.to_string(),
                ));
            };
            let label = label.saturating_sub(1).to_string();
            found
                .labels
                .push(&classes, &label, &|| format!("picture {number}"))?;
            found
                .paths
                .push(folder.join(format!("image_{number:05}.jpg")));
        }
    }
    Ok(())
}
