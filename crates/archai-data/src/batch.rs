//! What is trained on at a time.

use std::ops::Range;
use std::sync::Arc;

/// Images and labels that are trained on together.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Normalised pixels: image after image, each channel after channel, each row by row.
    pub images: Vec<f32>,
    /// One class per image: of mixed images the class with the larger share, the first of two that are equal.
    pub labels: Vec<i64>,
    /// Images, channels, height, width.
    pub shape: [usize; 4],
    /// The other classes in images that are mixtures.
    pub mixed: Option<Mixed>,
    /// How much each class counts in the loss; all the same if there is none.
    pub class_weights: Option<Arc<[f64]>>,
}

/// The classes of images that are mixtures of two.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixed {
    /// The class that each image has besides its label.
    pub others: Vec<i64>,
    /// The label's share of each image; the other class has the rest.
    pub shares: Vec<f64>,
}

impl Batch {
    /// Images as they are, whose classes all count the same.
    pub fn new(images: Vec<f32>, labels: Vec<i64>, shape: [usize; 4]) -> Batch {
        Batch {
            images,
            labels,
            shape,
            mixed: None,
            class_weights: None,
        }
    }

    /// The classes of an image with the share of each in its target, which is 1 together.
    ///
    /// # Panics
    /// Unless there is such an image, and a share for it if there are any.
    pub fn classes(&self, image: usize) -> impl Iterator<Item = (i64, f64)> {
        let label = self.labels[image];
        let (first, other) = match &self.mixed {
            None => (1.0, None),
            Some(Mixed { others, shares }) => {
                (shares[image], Some((others[image], 1.0 - shares[image])))
            }
        };
        [(label, first)].into_iter().chain(other)
    }

    /// What a class counts in the loss.
    ///
    /// # Panics
    /// If there are weights, but none of this class.
    pub fn class_weight(&self, class: usize) -> f64 {
        self.class_weights
            .as_ref()
            .map_or(1.0, |weights| weights[class])
    }

    /// What some of the images count together: their number, unless classes have weights.
    ///
    /// # Panics
    /// As [`Batch::classes`] and [`Batch::class_weight`].
    pub fn weight(&self, images: Range<usize>) -> f64 {
        if self.class_weights.is_none() {
            return images.len() as f64;
        }
        images
            .flat_map(|image| self.classes(image))
            .map(|(class, share)| share * self.class_weight(class as usize))
            .sum()
    }
}
