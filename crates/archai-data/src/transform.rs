//! From the bytes of an image to the numbers that a network sees: the interface of transforms, and their chain. The
//! transforms themselves lie in [`transforms`](crate::transforms), one file each.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use archai_spec::registry::{Named, Registry};
use archai_spec::settings;

use crate::dataset::{self, Image};
use crate::error::DataError;
use crate::geometry::{Geometry, Scratch};
use crate::rng::Key;

/// An image on its way to the network: one number per pixel and channel, between 0 and 255 until it is normalised.
#[derive(Debug)]
pub struct Pixels<'a> {
    values: &'a mut [f32],
    shape: [usize; 3],
}

impl Pixels<'_> {
    /// Channels, height and width, which no transform changes: the network is built for them.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// All numbers: channel after channel, each row by row.
    pub fn values_mut(&mut self) -> &mut [f32] {
        self.values
    }

    /// The numbers of each channel, row by row.
    pub fn planes_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        let [_, height, width] = self.shape;
        self.values.chunks_exact_mut(height * width)
    }
}

/// What a transform is prepared for.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The data set.
    pub dataset: &'a settings::Dataset,
    /// Side of the square that `loader.cutout` asks for; 0 for none, and for images that are measured on, whatever the
    /// setting says.
    pub cutout: usize,
    /// The policy that `loader.aug` asks for; none for images that are measured on.
    pub aug: Option<&'a settings::Aug>,
    /// What `loader.random_erasing` asks for; none for images that are measured on.
    pub random_erasing: Option<settings::RandomErasing>,
    /// Whether networks or architectures learn from the images, so that they are augmented; otherwise they are measured
    /// on them, and nothing may be random.
    pub training: bool,
}

/// A transform with its settings. It changes an image in place; all that is random comes from the key, which belongs to
/// this image in this pass. Draw from a key below it (`key.with("noise").rng()`), so that no two transforms share draws.
pub type Step = Arc<dyn Fn(&mut Pixels<'_>, Key) + Send + Sync>;

/// A transform: what `dataset.transforms` names in a configuration. Implement it to change images in a way of your own, and
/// add it to the list of [`Transforms`] that a program starts with.
///
/// ```
/// use archai_data::{DataError, Pipeline, Scope, Step, Transform, transforms};
/// use archai_spec::{registry::Named, settings::Dataset};
/// use std::sync::Arc;
///
/// /// Makes training images brighter or darker.
/// struct Brightness(f32);
///
/// impl Named for Brightness {
///     fn name(&self) -> &str { "brightness" }
///     fn about(&self) -> &str { "training images become brighter or darker at random" }
/// }
///
/// impl Transform for Brightness {
///     fn prepare(&self, scope: &Scope<'_>) -> Result<Option<Step>, DataError> {
///         let most = self.0;
///         Ok(scope.training.then(|| -> Step {
///             Arc::new(move |pixels, key| {
///                 let draw = key.with("brightness").rng().uniform_f64() as f32;
///                 let factor = 1.0 + most * (2.0 * draw - 1.0);
///                 pixels.values_mut().iter_mut().for_each(|v| *v *= factor);
///             })
///         }))
///     }
/// }
///
/// let transforms = transforms::builtin().with(Arc::new(Brightness(0.2)));
/// let mut dataset = Dataset::shipped("fashion_mnist_mini")?;
/// dataset.transforms = Some(["crop", "flip", "brightness", "normalise"].map(String::from).into());
/// let pipeline = Pipeline::train(&dataset, 0, &transforms)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Transform: Named + Send + Sync {
    /// The transform for one purpose, with everything computed that does not depend on the image; none if there is
    /// nothing to do for it.
    ///
    /// # Errors
    /// [`DataError::Setting`] if the settings do not fit.
    fn prepare(&self, scope: &Scope<'_>) -> Result<Option<Step>, DataError>;

    /// The setting that asks for this transform, with its value, if one does (`dataset.crop_padding is 4`): a list of
    /// transforms that leaves it out is then an error, since the setting would be ignored. By default none does. A setting
    /// that every section must have asks only with a value other than the one under which the transform does nothing.
    fn asked_for(&self, scope: &Scope<'_>) -> Option<String> {
        let _ = scope;
        None
    }

    /// Whether it takes images of bytes, whole numbers of 0 to 255: it has to come before `normalise`, then. By default it
    /// does not.
    fn takes_bytes(&self) -> bool {
        false
    }
}

/// Transforms by name.
pub type Transforms = Registry<dyn Transform>;

/// The transform after which pixels are no bytes any more.
const NORMALISE: &str = "normalise";

/// The transforms that images go through, in order: those of the data set's list, or the usual ones, with those among them that
/// a setting asks for.
fn names<'a>(scope: &Scope<'a>, transforms: &Transforms) -> Vec<&'a str> {
    /// All built-in ones, in the order in which they are of use.
    const ORDER: [&str; 8] = [
        "aug",
        "random_affine",
        "crop",
        "flip",
        "color_jitter",
        NORMALISE,
        "cutout",
        "random_erasing",
    ];
    let usual = scope.dataset.transforms();
    if scope.dataset.transforms.is_some() {
        return usual;
    }
    let is_asked = |name: &str| {
        (transforms.get(name)).is_ok_and(|transform| transform.asked_for(scope).is_some())
    };
    let all = ORDER.into_iter();
    all.filter(|name| usual.contains(name) || is_asked(name))
        .collect()
}

/// What a data set's images go through: first they get its channels and its size, whatever they were before, then its
/// transforms follow.
#[derive(Clone)]
pub struct Pipeline {
    geometry: Geometry,
    names: Vec<String>,
    steps: Vec<Step>,
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pipeline {
            geometry,
            names,
            steps: _,
        } = self;
        f.debug_struct("Pipeline")
            .field("geometry", geometry)
            .field("names", names)
            .finish_non_exhaustive()
    }
}

impl Pipeline {
    /// For images that are learnt from: all transforms of the data set, with cutout of the given side and no other
    /// augmentation of a loader.
    ///
    /// # Errors
    /// [`DataError::Setting`] if the section contradicts itself or names a transform that is not listed.
    pub fn train(
        dataset: &settings::Dataset,
        cutout: usize,
        transforms: &Transforms,
    ) -> Result<Pipeline, DataError> {
        let scope = Scope {
            dataset,
            cutout,
            aug: None,
            random_erasing: None,
            training: true,
        };
        Pipeline::new(&scope, transforms)
    }

    /// For images that are learnt from, with all augmentation that a loader's section asks for.
    ///
    /// # Errors
    /// As [`Pipeline::train`].
    pub fn of_loader(
        loader: &settings::Loader,
        transforms: &Transforms,
    ) -> Result<Pipeline, DataError> {
        if let Some((key, problem)) = loader.check_augmentation().into_iter().next() {
            return Err(DataError::setting(format!("loader.{key}"), problem));
        }
        let scope = Scope {
            dataset: &loader.dataset,
            cutout: loader.cutout,
            aug: loader.aug.as_ref(),
            random_erasing: loader.random_erasing,
            training: true,
        };
        Pipeline::new(&scope, transforms)
    }

    /// For images that are measured on: what is not random, which is normalisation alone unless the data set names
    /// transforms of your own.
    ///
    /// # Errors
    /// As [`Pipeline::train`].
    pub fn test(
        dataset: &settings::Dataset,
        transforms: &Transforms,
    ) -> Result<Pipeline, DataError> {
        let scope = Scope {
            dataset,
            cutout: 0,
            aug: None,
            random_erasing: None,
            training: false,
        };
        Pipeline::new(&scope, transforms)
    }

    fn new(scope: &Scope<'_>, transforms: &Transforms) -> Result<Pipeline, DataError> {
        const KEY: &str = "dataset.transforms";
        dataset::check(scope.dataset)?;
        let names = names(scope, transforms);
        for transform in transforms.iter() {
            if !names.contains(&transform.name())
                && let Some(asked) = transform.asked_for(scope)
            {
                let name = transform.name();
                let problem = format!(
                    "does not list `{name}`, but {asked}; list it, or switch that setting off"
                );
                return Err(DataError::setting(KEY, problem));
            }
        }
        let mut steps = Vec::new();
        for (i, name) in names.iter().enumerate() {
            if names[..i].contains(name) {
                let problem = format!("lists `{name}` twice; expected each transform once");
                return Err(DataError::setting(KEY, problem));
            }
            let transform = transforms
                .get(name)
                .map_err(|unknown| DataError::setting(KEY, unknown.to_string()))?;
            if transform.takes_bytes() && names[..i].contains(&NORMALISE) {
                let problem = format!(
                    "lists `{name}` behind `{NORMALISE}`, but it takes pixels as they are before; list it first"
                );
                return Err(DataError::setting(KEY, problem));
            }
            steps.extend(transform.prepare(scope)?);
        }
        Ok(Pipeline {
            geometry: Geometry::new(scope.dataset, scope.training),
            names: names.into_iter().map(str::to_owned).collect(),
            steps,
        })
    }

    /// Channels, height and width of what comes out.
    pub fn shape(&self) -> [usize; 3] {
        self.geometry.shape()
    }

    /// Writes the transformed image to `out`, channel after channel. It may be of any size. All that is random comes from
    /// `key`.
    ///
    /// # Errors
    /// [`DataError::Malformed`] if the image does not hold what it claims; see
    /// [`picture::check_sound`](crate::picture::check_sound).
    ///
    /// # Panics
    /// Unless `out` holds one number per pixel and channel.
    pub fn apply(&self, image: &Image<'_>, key: Key, out: &mut [f32]) -> Result<(), DataError> {
        let at = || "its shape".to_owned();
        let scratch = &mut Scratch::default();
        self.apply_with(scratch, (Path::new("image"), &at), image, key, out)
    }

    /// The same with space that is kept for the next image, and with where the image comes from, for messages.
    pub(crate) fn apply_with(
        &self,
        scratch: &mut Scratch,
        (path, at): (&Path, &dyn Fn() -> String),
        image: &Image<'_>,
        key: Key,
        out: &mut [f32],
    ) -> Result<(), DataError> {
        let shape = self.shape();
        assert_eq!(
            out.len(),
            shape.iter().product::<usize>(),
            "room for one image of shape {shape:?}"
        );
        let bytes = self.geometry.apply(path, at, image, key, scratch)?;
        for (value, &byte) in out.iter_mut().zip(bytes) {
            *value = f32::from(byte);
        }
        let mut pixels = Pixels { values: out, shape };
        for step in &self.steps {
            step(&mut pixels, key);
        }
        Ok(())
    }
}
