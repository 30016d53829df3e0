//! Networks of 8 bits: calibrated on pictures, and compared with the network that they come from.

use archai_data::rng::Key;
use archai_data::{Dataset, split};
use archai_export::ModelFile;
use archai_export::quant::{Calibration, Method, Quantised};
use archai_export::reference::Maps;
use archai_spec::desc::OpCatalog;
use archai_spec::settings;
use rayon::prelude::*;

use crate::classifier::Classifier;
use crate::error::PredictError;
use crate::evaluate::Evaluation;

/// What 8 bits change, on the same pictures.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The network in 32 bits.
    pub before: Evaluation,
    /// The quantised one.
    pub after: Evaluation,
}

/// Pictures of every class in proportion, chosen by a key; all of them if there are no more.
fn chosen(data: &dyn Dataset, n: usize, purpose: &str) -> Vec<usize> {
    let labels: Vec<u32> = (0..data.len()).map(|item| data.label(item)).collect();
    split::stratified(&labels, n, Key::new(0).with(purpose)).0
}

impl Classifier {
    /// Quantises the network of `model`, which this classifier was made of, by `n` pictures of `data`, on all threads of the
    /// caller's pool. The pictures are chosen by a key, of every class in proportion; take training data, because what a network
    /// was fitted to says nothing of its accuracy. `section` is what `data` was opened from.
    ///
    /// # Errors
    /// Data for pictures of another size or with other classes than the model's, pictures that cannot be read, and what
    /// [`Quantised::new`] says.
    pub fn quantise(
        &self,
        model: &ModelFile,
        catalog: &OpCatalog,
        section: &settings::Dataset,
        data: &dyn Dataset,
        n: usize,
    ) -> Result<Quantised, PredictError> {
        self.classes_of(section, data)?;
        let numbers = self.prepared(section, data, &chosen(data, n, "calibration"))?;
        let calibration = Calibration {
            images: &self.maps(&numbers)?,
            method: Method::default(),
            threads: rayon::current_num_threads(),
        };
        Ok(Quantised::new(
            &model.graph(catalog)?,
            &model.state,
            &calibration,
        )?)
    }

    /// Measures the network and the quantised one on `n` pictures of `data`, chosen as those of [`Classifier::quantise`] are; all
    /// of them if there are no more. The quantised one is simulated, which takes some hundred times as long as the other one.
    ///
    /// # Errors
    /// As [`Classifier::evaluate`].
    pub fn compare(
        &self,
        quantised: &Quantised,
        section: &settings::Dataset,
        data: &dyn Dataset,
        n: usize,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Comparison, PredictError> {
        let items = chosen(data, n, "comparison");
        let size = self.numbers();
        let simulated = |numbers: &[f32]| -> Result<Vec<f32>, PredictError> {
            // A few images at a time, so that their values stay in the cache.
            let parts: Vec<Vec<f32>> = (numbers.par_chunks(4 * size))
                .map(|part| {
                    let logits = quantised.logits(&self.maps(part)?)?;
                    Ok(logits.values.iter().map(|&v| v as f32).collect())
                })
                .collect::<Result<_, PredictError>>()?;
            Ok(parts.concat())
        };
        let batch = 8 * rayon::current_num_threads();
        let usual = |numbers: &[f32]| self.logits(numbers);
        Ok(Comparison {
            before: self.evaluate_items(section, data, &items, batch, &usual, &mut |_| {})?,
            after: self.evaluate_items(section, data, &items, batch, &simulated, progress)?,
        })
    }

    fn maps(&self, numbers: &[f32]) -> Result<Maps, PredictError> {
        let info = self.info();
        let [h, w] = info.size;
        let shape = [numbers.len() / self.numbers(), info.channels, h, w];
        Ok(Maps::new(
            shape,
            numbers.iter().map(|&v| v.into()).collect(),
        )?)
    }
}
