//! A model that is ready to classify: from the pixels of a picture to probabilities.

use std::path::Path;
use std::sync::Arc;

use archai_data::picture::{self, Decoder};
use archai_data::rng::Key;
use archai_data::{DataError, Image, Pipeline, Transforms, transforms};
use archai_export::{ModelFile, ModelInfo};
use archai_infer::Network;
use archai_spec::desc::{ModelDesc, OpCatalog};
use rayon::prelude::*;

use crate::error::PredictError;
use crate::prediction::Prediction;

/// A model that is ready to classify. It can be shared between threads, and computes in the threads of whoever calls it.
///
/// Pictures are prepared as those that it was trained on: grey ones are repeated for a network that takes colours, colours
/// are averaged for one that takes grey ones; they get the network's size as its data set says (unless it says something else,
/// a side that is longer is scaled down, each side on its own, and one that is shorter is padded with black at both ends);
/// then come the data set's transforms as far as nothing in them is random, which is normalisation unless there are
/// transforms of a user's own.
#[derive(Debug)]
pub struct Classifier {
    info: ModelInfo,
    desc: ModelDesc,
    network: Network,
    pipeline: Pipeline,
    decoder: Decoder,
    names: Arc<[String]>,
}

/// Reads a model file, or the one in the run directory of an evaluation, and prepares it for work; see
/// [`Classifier::open`] for models with ops or transforms of a user's own.
///
/// # Errors
/// As [`Classifier::open`].
pub fn load(path: impl AsRef<Path>) -> Result<Classifier, PredictError> {
    let path = ModelFile::find(path.as_ref(), false)?;
    Classifier::open(&path, &OpCatalog::builtin(), &transforms::builtin())
}

impl Classifier {
    /// Reads a model file and prepares it for work. `catalog` and `transforms` have the meanings of what it names.
    ///
    /// # Errors
    /// As [`ModelFile::open`] and [`Classifier::new`].
    pub fn open(
        path: &Path,
        catalog: &OpCatalog,
        transforms: &Transforms,
    ) -> Result<Self, PredictError> {
        let model = ModelFile::open(path, catalog)?;
        Classifier::new(model, catalog, transforms).map_err(|error| match error {
            PredictError::Model(error) => error.at(path).into(),
            other => other,
        })
    }

    /// Prepares a model for work.
    ///
    /// # Errors
    /// Tensors that do not fit the description, ops that are not made of layers, transforms that are not known.
    pub fn new(
        model: ModelFile,
        catalog: &OpCatalog,
        transforms: &Transforms,
    ) -> Result<Self, PredictError> {
        let network = Network::new(&model.graph(catalog)?, &model.state)?;
        let dataset = model.info.dataset();
        let pipeline = Pipeline::test(&dataset, transforms)?;
        let decoder = Decoder::new(&dataset);
        let ModelFile { desc, info, .. } = model;
        let names = (0..info.n_classes).map(|class| info.class_name(class));
        Ok(Classifier {
            names: names.collect(),
            info,
            desc,
            network,
            pipeline,
            decoder,
        })
    }

    /// The same with other names of the classes, in the order of the network's outputs: for a model that does not name them.
    ///
    /// # Errors
    /// [`PredictError::Mismatch`] unless there is one name for each class.
    pub fn with_class_names(mut self, names: Vec<String>) -> Result<Self, PredictError> {
        if names.len() != self.info.n_classes {
            return Err(PredictError::Mismatch(format!(
                "there are {} names for {} classes; expected one name for each class, in the order of the network's outputs",
                names.len(),
                self.info.n_classes
            )));
        }
        self.names = names.clone().into();
        self.info.class_names = names;
        Ok(self)
    }

    /// What the network takes and gives, and where it comes from.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// The network's description.
    pub fn desc(&self) -> &ModelDesc {
        &self.desc
    }

    /// The network itself, which takes numbers that are prepared already.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The names of the classes in the order of the network's outputs; numbers if the model does not name them.
    pub fn class_names(&self) -> &[String] {
        &self.names
    }

    /// What an image shows.
    ///
    /// # Errors
    /// An image that is not what it claims to be (see [`picture::check_sound`]), a network that gives numbers that are none.
    pub fn predict(&self, image: &Image<'_>) -> Result<Prediction, PredictError> {
        let mut predictions = self.predict_batch(std::slice::from_ref(image))?;
        Ok(predictions.remove(0))
    }

    /// What images show, all at once, on all threads of the caller's pool.
    ///
    /// # Errors
    /// As [`Classifier::predict`].
    pub fn predict_batch(&self, images: &[Image<'_>]) -> Result<Vec<Prediction>, PredictError> {
        let place = Path::new("image");
        let mut numbers = vec![0.0; images.len() * self.numbers()];
        (numbers.par_chunks_exact_mut(self.numbers()))
            .zip(images)
            .enumerate()
            .try_for_each(|(i, (out, image))| {
                // Cheap: pixels that are borrowed stay so.
                let image = Image {
                    pixels: (&*image.pixels).into(),
                    ..*image
                };
                self.prepare(place, &|| format!("place {i} of the batch"), image, out)
            })?;
        self.classify(&numbers)
    }

    /// What the pictures in files show, all at once, on all threads of the caller's pool: an error in the place of
    /// each that cannot be read.
    ///
    /// # Errors
    /// A network that gives numbers that are none.
    pub fn predict_files<P: AsRef<Path> + Sync>(
        &self,
        paths: &[P],
    ) -> Result<Vec<Result<Prediction, DataError>>, PredictError> {
        self.predict_each(paths.len(), |i| self.read(&paths[i]))
    }

    /// Reads a picture file as the data were read that the network learnt from: turned as its camera noted it and laid over a
    /// background, if they were.
    ///
    /// # Errors
    /// A file that cannot be read, that is no picture, or that is damaged.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Image<'static>, DataError> {
        self.decoder.read(path)
    }

    /// What `n` pictures show that are read when they are needed, number by number and several at a time: an error in the place
    /// of each that cannot be read.
    ///
    /// # Errors
    /// A network that gives numbers that are none.
    pub fn predict_each<'i>(
        &self,
        n: usize,
        read: impl Fn(usize) -> Result<Image<'i>, DataError> + Sync,
    ) -> Result<Vec<Result<Prediction, DataError>>, PredictError> {
        let prepared: Vec<Result<Vec<f32>, DataError>> = (0..n)
            .into_par_iter()
            .map(|i| {
                let mut out = vec![0.0; self.numbers()];
                let at = || format!("picture {i}");
                self.prepare(Path::new("picture"), &at, read(i)?, &mut out)?;
                Ok(out)
            })
            .collect();
        let good: Vec<&[f32]> = prepared.iter().flatten().map(Vec::as_slice).collect();
        let mut predictions = self.classify(&good.concat())?.into_iter();
        let mut all = Vec::with_capacity(n);
        for prepared in prepared {
            match prepared {
                // One for each that could be read, in their order.
                Ok(_) => all.extend(predictions.next().map(Ok)),
                Err(error) => all.push(Err(error)),
            }
        }
        Ok(all)
    }

    /// Numbers of an image.
    pub(crate) fn numbers(&self) -> usize {
        self.pipeline.shape().iter().product()
    }

    /// Writes the numbers of an image that the network takes.
    pub(crate) fn prepare(
        &self,
        path: &Path,
        at: &dyn Fn() -> String,
        image: Image<'_>,
        out: &mut [f32],
    ) -> Result<(), DataError> {
        picture::check_sound(path, at, &image)?;
        // Nothing is random where nothing is learnt.
        self.pipeline.apply(&image, Key::new(0), out)
    }

    fn classify(&self, numbers: &[f32]) -> Result<Vec<Prediction>, PredictError> {
        let logits = self.logits(numbers)?;
        let each = logits.chunks_exact(self.info.n_classes);
        let predictions = each.map(|logits| Prediction {
            logits: logits.to_vec(),
            names: Arc::clone(&self.names),
        });
        Ok(predictions.collect())
    }

    /// The network's outputs for images that are prepared.
    pub(crate) fn logits(&self, numbers: &[f32]) -> Result<Vec<f32>, PredictError> {
        if numbers.is_empty() {
            return Ok(Vec::new());
        }
        let logits = self.network.logits(numbers)?;
        match logits.iter().all(|v| v.is_finite()) {
            true => Ok(logits),
            false => Err(PredictError::NotFinite),
        }
    }
}
