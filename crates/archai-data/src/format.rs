//! How the files of a data set are laid out: the interface of readers. The readers themselves lie in
//! [`formats`](crate::formats), one file each.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use archai_spec::registry::{Named, Registry};
use archai_spec::settings::{self, OnDamaged};
use serde::{Deserialize, Serialize};

use crate::dataset::{self, Dataset, Listed, Split};
use crate::error::DataError;
use crate::files;
use crate::gather::check_label;
use crate::held_out;

/// A format of data sets: what `dataset.format` names in a configuration. Implement it to let configurations name data
/// that no reader here knows, and add it to the list of [`Formats`] that a program starts with.
///
/// ```
/// use archai_data::{DataError, DataFormat, Dataset, InMemory, Split, formats, open};
/// use archai_spec::{registry::Named, settings};
/// use std::sync::Arc;
///
/// /// Blank images: one for each class.
/// struct Blank;
///
/// impl Named for Blank {
///     fn name(&self) -> &str { "blank" }
///     fn about(&self) -> &str { "one black image of each class" }
/// }
///
/// impl DataFormat for Blank {
///     fn open(&self, data: &settings::Dataset, _: Split) -> Result<Arc<dyn Dataset>, DataError> {
///         let shape = [data.channels, data.size[0], data.size[1]];
///         let pixels = vec![0; data.n_classes * shape.iter().product::<usize>()];
///         let labels = (0..data.n_classes as u32).collect();
///         Ok(Arc::new(InMemory::new(&data.name, data.n_classes, shape, pixels, labels)?))
///     }
///     fn needs_path(&self) -> bool { false }
/// }
///
/// let formats = formats::builtin().with(Arc::new(Blank));
/// let mut settings = settings::Dataset::shipped("fashion_mnist_mini")?;
/// settings.format = "blank".into();
/// assert_eq!(open(&formats, &settings, Split::Train)?.len(), 10);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait DataFormat: Named + Send + Sync {
    /// Opens the training or test data of a data set. Images may keep their own size, which the
    /// [`Pipeline`](crate::Pipeline) changes as the section says. Readers give their images to [`Gather`](crate::Gather), which
    /// keeps what matters in memory, or decode each with [`picture::Decoder`](crate::picture::Decoder) when it is needed.
    ///
    /// # Errors
    /// [`DataError::Absent`] if the files are not there, [`DataError::Malformed`] if they are damaged or a label is not
    /// below `n_classes`, [`DataError::Setting`] if the section does not fit the format.
    fn open(
        &self,
        dataset: &settings::Dataset,
        split: Split,
    ) -> Result<Arc<dyn Dataset>, DataError>;

    /// The files that [`DataFormat::open`] would read, in their order. They are looked for before a run begins, so that a
    /// missing test file is not found out after the search. By default `dataset.path` itself, if the format needs it to be
    /// there.
    ///
    /// # Errors
    /// As [`DataFormat::open`], as far as it can be known without reading the files.
    fn files(&self, dataset: &settings::Dataset, split: Split) -> Result<Vec<PathBuf>, DataError> {
        let _ = split;
        Ok(match self.needs_path() {
            true => vec![PathBuf::from(&dataset.path)],
            false => Vec::new(),
        })
    }

    /// Whether `dataset.path` must name something that is there. By default it must.
    fn needs_path(&self) -> bool {
        true
    }

    /// Those of the keys that only some formats know (`columns`, `on_damaged`) that this one reads. A section that sets
    /// another of them is refused. By default none.
    fn keys(&self) -> &[&str] {
        &[]
    }
}

/// Formats by name.
pub type Formats = Registry<dyn DataFormat>;

/// Opens the training or test data that a section of the configuration describes.
///
/// Every image comes out with the section's channels: grey images are repeated, coloured ones averaged. With
/// `dataset.resize: fit` it has the section's size, too; otherwise it may have its own, which the
/// [`Pipeline`](crate::Pipeline) changes. Of the formats that come with the program, all but image folders are read into memory at once. With
/// `dataset.test_ratio` the images of a data set without test data are divided.
///
/// # Errors
/// [`DataError::Absent`] if the files are not there, [`DataError::Malformed`] if they are damaged or a label is not
/// below `n_classes`, [`DataError::Setting`] if the section contradicts itself, names a format that is not listed, or has
/// another number of classes than the data. That there are images and that all labels are good is checked here, whatever the
/// format did.
pub fn open(
    formats: &Formats,
    dataset: &settings::Dataset,
    split: Split,
) -> Result<Arc<dyn Dataset>, DataError> {
    dataset::check(dataset)?;
    let format = of(formats, dataset)?;
    check_keys(&**format, dataset)?;
    let data = match dataset.test_ratio > 0.0 {
        true => held_out::open(format.as_ref(), dataset, split)?,
        false => format.open(dataset, split)?,
    };
    if data.n_classes() != dataset.n_classes {
        let problem = format!(
            "is {}, but the {} data of format `{}` has {} classes",
            dataset.n_classes,
            split.as_str(),
            dataset.format,
            data.n_classes()
        );
        return Err(DataError::setting("dataset.n_classes", problem));
    }
    let place = Path::new(&dataset.path);
    if data.is_empty() {
        let expected = "at least one image";
        let at = format!("the {} data", split.as_str());
        return Err(DataError::malformed(place, at, expected, "none"));
    }
    for index in 0..data.len() {
        let at = || format!("image {index} of the {} data", split.as_str());
        check_label(place, data.label(index).into(), dataset.n_classes, &at)?;
    }
    Ok(data)
}

/// Finds out, without reading them, whether the files of a part of a data set are there: before anything is begun that
/// needs them.
///
/// # Errors
/// As [`open`], as far as it can be known without reading the files.
pub fn check_place(
    formats: &Formats,
    dataset: &settings::Dataset,
    split: Split,
) -> Result<(), DataError> {
    dataset::check(dataset)?;
    let place = Path::new(&dataset.path);
    let format = of(formats, dataset)?;
    check_keys(&**format, dataset)?;
    // What is held out lies among the rest.
    let split = match dataset.test_ratio > 0.0 {
        true => Split::Train,
        false => split,
    };
    for file in format.files(dataset, split)? {
        if !file.exists() {
            let below = file.strip_prefix(place).unwrap_or(&file);
            let looked_for = match below.as_os_str().is_empty() {
                true => "a file or folder".to_owned(),
                false => below.display().to_string(),
            };
            return Err(files::absent(dataset, split, looked_for));
        }
    }
    Ok(())
}

/// What a part of a data set holds, as [`inspect`] found it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// BLAKE3 digest in hexadecimal of what it holds: see [`Dataset::digest`].
    pub digest: String,
    /// Number of images.
    pub images: usize,
    /// How many there are of each class.
    pub per_class: Vec<usize>,
    /// The names of the classes; none if the data do not tell them.
    pub class_names: Vec<String>,
    /// Pictures that were left out because they cannot be read.
    pub left_out: usize,
    /// What whoever starts the training should be told: pictures that were left out, classes without an image to learn from.
    pub notes: Vec<String>,
}

/// Opens a part of a data set and looks at all of it, as far as can be done without decoding images that are read when they
/// are needed: so that nothing that a run needs is found to be damaged after hours, and so that a run which is resumed can be
/// told from one on other data.
///
/// # Errors
/// As [`open`] and [`Dataset::digest`].
pub fn inspect(
    formats: &Formats,
    dataset: &settings::Dataset,
    split: Split,
) -> Result<Contents, DataError> {
    check_place(formats, dataset, split)?;
    inspect_listed(formats, dataset, split).map(|(contents, _)| contents)
}

/// All files on which the images of a part and their labels depend. The training data number the classes of the test data.
pub(crate) fn files_of(
    formats: &Formats,
    dataset: &settings::Dataset,
    split: Split,
) -> Result<Vec<PathBuf>, DataError> {
    let format = of(formats, dataset)?;
    let own = match (split, dataset.test_ratio > 0.0) {
        (Split::Test, false) => format.files(dataset, Split::Test)?,
        _ => Vec::new(),
    };
    match format.files(dataset, Split::Train) {
        Ok(train) => Ok([train, own].concat()),
        Err(DataError::Absent { .. }) => Ok(own),
        Err(error) => Err(error),
    }
}

/// [`inspect`] of files that are there, with the pictures that the data have.
pub(crate) fn inspect_listed(
    formats: &Formats,
    dataset: &settings::Dataset,
    split: Split,
) -> Result<(Contents, Option<Vec<Listed>>), DataError> {
    let data = open(formats, dataset, split)?;
    let mut per_class = vec![0; data.n_classes()];
    for index in 0..data.len() {
        per_class[data.label(index) as usize] += 1;
    }
    let (digest, listed) = data.digest_listed()?;
    let contents = Contents {
        digest,
        images: data.len(),
        class_names: data.class_names().to_vec(),
        left_out: data.left_out().len(),
        notes: notes(&*data, split, &per_class),
        per_class,
    };
    Ok((contents, listed))
}

fn notes(data: &dyn Dataset, split: Split, per_class: &[usize]) -> Vec<String> {
    let mut notes = Vec::new();
    let left_out = data.left_out();
    if !left_out.is_empty() {
        notes.push(format!(
            "{} of {} pictures of the {} data were left out, because they cannot be read: {}",
            left_out.len(),
            left_out.len() + data.len(),
            split.as_str(),
            some_of(left_out)
        ));
    }
    let names = data.class_names();
    let missing = (per_class.iter().enumerate()).filter(|(_, images)| **images == 0);
    let missing: Vec<String> = missing
        .map(|(class, _)| names.get(class).cloned().unwrap_or(class.to_string()))
        .collect();
    if split == Split::Train && !missing.is_empty() {
        notes.push(format!(
            "{} of {} classes have no image in the training data: {}; is dataset.n_classes right?",
            missing.len(),
            per_class.len(),
            some_of(&missing)
        ));
    }
    notes
}

/// The first few of a list, for a message.
pub(crate) fn some_of(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = names[..names.len().min(SHOWN)].join(", ");
    match names.len() > SHOWN {
        true => format!("{shown}, …"),
        false => shown,
    }
}

/// Refuses a key that the format would ignore.
fn check_keys(format: &dyn DataFormat, dataset: &settings::Dataset) -> Result<(), DataError> {
    let set = [
        ("columns", dataset.columns.is_some()),
        ("on_damaged", dataset.on_damaged != OnDamaged::Stop),
    ];
    match set
        .into_iter()
        .find(|(key, is_set)| *is_set && !format.keys().contains(key))
    {
        None => Ok(()),
        Some((key, _)) => Err(DataError::setting(
            format!("dataset.{key}"),
            format!(
                "is set, but the format `{}` does not read it; leave it out",
                dataset.format
            ),
        )),
    }
}

fn of<'a>(
    formats: &'a Formats,
    dataset: &settings::Dataset,
) -> Result<&'a Arc<dyn DataFormat>, DataError> {
    formats
        .get(&dataset.format)
        .map_err(|unknown| DataError::setting("dataset.format", unknown.to_string()))
}
