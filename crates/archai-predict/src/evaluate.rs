//! How often a model is right: accuracy, by class too, and what is taken for what.

use std::collections::BTreeSet;
use std::path::Path;

use archai_data::{DataError, Dataset};
use archai_spec::settings;
use rayon::prelude::*;
use serde::Serialize;

use crate::classifier::Classifier;
use crate::error::PredictError;
use crate::prediction::{log_sum_exp, ranked};

/// How often a model is right.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// The names of the classes, in the order of the network's outputs.
    pub class_names: Vec<String>,
    /// How often pictures of class i were taken for class j: `confusion[i][j]`.
    pub confusion: Vec<Vec<u64>>,
    /// For how many pictures the true class was among the five most likely ones; none where there are no more than five.
    pub within_five: Option<u64>,
    /// Mean cross entropy: of the network's probability for the true class, the negative natural logarithm.
    pub loss: f64,
    /// Whether classes of data and model were told to be the same by their numbers alone, because one of both has no names.
    pub by_number: bool,
}

impl Evaluation {
    /// Pictures that were looked at.
    pub fn pictures(&self) -> u64 {
        self.confusion.iter().flatten().sum()
    }

    /// Pictures whose most likely class was the true one.
    pub fn correct(&self) -> u64 {
        (0..self.confusion.len())
            .map(|i| self.confusion[i][i])
            .sum()
    }

    /// Share of the pictures whose most likely class was the true one.
    pub fn top1(&self) -> f64 {
        self.correct() as f64 / self.pictures() as f64
    }

    /// Share of the pictures whose true class was among the five most likely ones.
    pub fn top5(&self) -> Option<f64> {
        Some(self.within_five? as f64 / self.pictures() as f64)
    }

    /// Pictures of each class, and how many of them were taken for it.
    pub fn per_class(&self) -> impl Iterator<Item = (u64, u64)> {
        let rows = self.confusion.iter().enumerate();
        rows.map(|(i, row)| (row.iter().sum(), row[i]))
    }
}

/// What a network makes of prepared images.
type Logits<'a> = dyn Fn(&[f32]) -> Result<Vec<f32>, PredictError> + 'a;

impl Classifier {
    /// Measures how often the model is right about a data set, in batches of so many pictures, on all threads of the caller's
    /// pool. `section` is what `data` was opened from; its pictures are normalised as the model says. `progress` is told after
    /// each batch how many pictures are done.
    ///
    /// # Errors
    /// Data for pictures of another size or with other classes than the model's, pictures that cannot be read.
    pub fn evaluate(
        &self,
        section: &settings::Dataset,
        data: &dyn Dataset,
        batch: usize,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Evaluation, PredictError> {
        let items: Vec<usize> = (0..data.len()).collect();
        let logits = |numbers: &[f32]| self.logits(numbers);
        self.evaluate_items(section, data, &items, batch, &logits, progress)
    }

    /// [`Classifier::evaluate`] on some of the pictures, by what `logits` makes of prepared ones.
    pub(crate) fn evaluate_items(
        &self,
        section: &settings::Dataset,
        data: &dyn Dataset,
        items: &[usize],
        batch: usize,
        logits: &Logits<'_>,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Evaluation, PredictError> {
        let (classes, by_number) = self.classes_of(section, data)?;
        let n = self.info().n_classes;
        let mut confusion = vec![vec![0; n]; n];
        let (mut within_five, mut loss, mut done) = (0, 0.0, 0);
        for items in items.chunks(batch.max(1)) {
            let logits = logits(&self.prepared(section, data, items)?)?;
            for (&item, logits) in items.iter().zip(logits.chunks_exact(n)) {
                let truth = classes[data.label(item) as usize];
                let ranked = ranked(logits);
                confusion[truth][ranked[0]] += 1;
                within_five += u64::from(ranked.iter().take(5).any(|class| *class == truth));
                loss += log_sum_exp(logits) - f64::from(logits[truth]);
            }
            done += items.len();
            progress(done);
        }
        Ok(Evaluation {
            class_names: self.class_names().to_vec(),
            confusion,
            within_five: (n > 5).then_some(within_five),
            loss: loss / items.len() as f64,
            by_number,
        })
    }

    /// Pictures as the network takes them, one after the other.
    pub(crate) fn prepared(
        &self,
        section: &settings::Dataset,
        data: &dyn Dataset,
        items: &[usize],
    ) -> Result<Vec<f32>, PredictError> {
        let (size, place) = (self.numbers(), Path::new(&section.path));
        let mut numbers = vec![0.0; items.len() * size];
        (numbers.par_chunks_exact_mut(size))
            .zip(items)
            .try_for_each(|(out, &item)| {
                let at = || format!("image {item}");
                self.prepare(place, &at, data.image(item)?, out)
            })?;
        Ok(numbers)
    }

    /// The output of the network for each class of a data set, and whether that was told by numbers alone.
    pub(crate) fn classes_of(
        &self,
        section: &settings::Dataset,
        data: &dyn Dataset,
    ) -> Result<(Vec<usize>, bool), PredictError> {
        let (info, name) = (self.info(), data.name());
        if data.is_empty() {
            let problem = format!("`{name}` has no picture");
            return Err(DataError::setting("dataset", problem).into());
        }
        let shape = |channels: usize, [height, width]: [usize; 2]| {
            format!("{channels}x{height}x{width} (channels, height, width)")
        };
        if (section.channels, section.size) != (info.channels, info.size) {
            return Err(PredictError::Mismatch(format!(
                "the model takes pictures of {}, data set `{name}` gives them as {}; set dataset.channels to {} and \
                 dataset.size to {:?} if the model shall see these data at its own size, or take another model",
                shape(info.channels, info.size),
                shape(section.channels, section.size),
                info.channels,
                info.size
            )));
        }
        let (own, theirs) = (&info.class_names, data.class_names());
        if data.n_classes() != info.n_classes {
            return Err(self.other_classes(data));
        }
        if own.is_empty() || theirs.is_empty() {
            return Ok(((0..info.n_classes).collect(), true));
        }
        let place = |name: &String| own.iter().position(|own| own == name);
        let classes: Option<Vec<usize>> = theirs.iter().map(place).collect();
        let classes = classes.ok_or_else(|| self.other_classes(data))?;
        let different: BTreeSet<&usize> = classes.iter().collect();
        match different.len() == classes.len() {
            true => Ok((classes, false)),
            false => Err(self.other_classes(data)),
        }
    }

    /// The error for a data set with other classes: both lists.
    fn other_classes(&self, data: &dyn Dataset) -> PredictError {
        let said = |names: &[String], n: usize| match names {
            [] => format!("{n} classes without names"),
            names => format!("{n} classes: {}", names.join(", ")),
        };
        let (own, theirs) = (&self.info().class_names, data.class_names());
        let only = |a: &[String], b: &[String]| {
            let rest = a.iter().filter(|name| !b.contains(name)).cloned();
            let rest: Vec<String> = rest.collect();
            match rest.is_empty() {
                true => "none".to_string(),
                false => rest.join(", "),
            }
        };
        let difference = match own.is_empty() || theirs.is_empty() {
            true => String::new(),
            false => format!(
                "\n  only the model has: {}\n  only the data have: {}",
                only(own, theirs),
                only(theirs, own)
            ),
        };
        PredictError::Mismatch(format!(
            "the model and data set `{}` have different classes\n  the model has {}\n  the data have {}{difference}\n  \
             take data with the model's classes, or a model that was trained on these",
            data.name(),
            said(own, self.info().n_classes),
            said(theirs, data.n_classes())
        ))
    }
}
