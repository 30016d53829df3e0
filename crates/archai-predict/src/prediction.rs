//! What a network says of a picture.

use std::sync::Arc;

/// What a network says of a picture: a probability for each class.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    pub(crate) logits: Vec<f32>,
    pub(crate) names: Arc<[String]>,
}

/// A class that a picture may show.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guess<'a> {
    /// The number of the class: the place of its output.
    pub class: usize,
    /// Its name.
    pub name: &'a str,
    /// How likely it is in the eyes of the network, from 0 to 1.
    pub probability: f64,
}

impl Prediction {
    /// The network's outputs, one for each class.
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// The softmax of the outputs, which adds up to 1: how likely each class is in the eyes of the network.
    pub fn probabilities(&self) -> Vec<f64> {
        softmax(&self.logits)
    }

    /// The most likely class; of several that are equally likely the first.
    pub fn best(&self) -> Guess<'_> {
        self.top(1)[0]
    }

    /// The most likely classes, at most `k` and at least one, in falling order. Of classes that are equally likely the first
    /// comes first.
    pub fn top(&self, k: usize) -> Vec<Guess<'_>> {
        let probabilities = self.probabilities();
        let classes = ranked(&self.logits).into_iter().take(k.max(1));
        let guess = |class: usize| Guess {
            class,
            name: &self.names[class],
            probability: probabilities[class],
        };
        classes.map(guess).collect()
    }
}

/// The softmax, in 64 bits.
fn softmax(logits: &[f32]) -> Vec<f64> {
    let sum = log_sum_exp(logits);
    logits.iter().map(|&v| (f64::from(v) - sum).exp()).collect()
}

/// The logarithm of the sum of the powers of e, in 64 bits: what a softmax divides by.
pub(crate) fn log_sum_exp(logits: &[f32]) -> f64 {
    let most = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let powers = logits.iter().map(|&v| (f64::from(v) - most).exp());
    most + powers.sum::<f64>().ln()
}

/// The places of the numbers, the largest first; of equal ones the first comes first.
pub(crate) fn ranked(logits: &[f32]) -> Vec<usize> {
    let mut classes: Vec<usize> = (0..logits.len()).collect();
    classes.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
    classes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_come_in_order() {
        let prediction = Prediction {
            logits: vec![0.0, 1000.0, -5.0, 1000.0],
            names: ["a", "b", "c", "d"].map(String::from).into(),
        };
        let top = prediction.top(2);
        let found: Vec<_> = top
            .iter()
            .map(|g| (g.class, g.name, g.probability))
            .collect();
        assert_eq!(
            found.iter().map(|f| (f.0, f.1)).collect::<Vec<_>>(),
            [(1, "b"), (3, "d")]
        );
        assert!(found.iter().all(|f| (f.2 - 0.5).abs() < 1e-12), "{found:?}");
        assert_eq!(prediction.best().class, 1);
        assert_eq!(prediction.top(0).len(), 1);
        assert_eq!(prediction.top(9).len(), 4);
        let sum: f64 = prediction.probabilities().iter().sum();
        assert!((sum - 1.0).abs() < 1e-12, "{sum}");
    }
}
