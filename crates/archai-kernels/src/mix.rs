//! The weighted sum of a mixed op, `Σ w_k y_k`, into which the norms of its primitives can be folded.

use crate::buffer::{Samples, SamplesMut, overwritten};
use crate::exec::Exec;
use crate::layout::FeatureMap;
use crate::micro::norm::{Combine, Term};
use crate::micro::place::Place;
use crate::norm::{ChannelStats, Moments, batch_dots};

/// One primitive's result.
#[derive(Clone, Copy, Debug)]
pub struct MixTerm<'a> {
    /// `y_k`, or the values before an affine-free norm if statistics are given.
    pub values: &'a [f32],
    /// The norm to fold in: `y_k = (values − mean) / √(var + ε)`.
    pub stats: Option<&'a ChannelStats>,
}

/// `Σ w_k y_k` over maps of one size.
///
/// ```
/// use archai_kernels::{Exec, FeatureMap, MixTerm, WeightedSum};
/// let (exec, sum) = (Exec::new(), WeightedSum::new(FeatureMap::new(8, 1, 1)));
/// let (a, b) = (vec![1.0; 8], vec![2.0; 8]);
/// let terms = [MixTerm { values: &a, stats: None }, MixTerm { values: &b, stats: None }];
/// assert_eq!(sum.forward(&exec, &terms, &[0.5, 0.25]), vec![1.0; 8]);
/// let (dw, dy) = sum.backward(&exec, &terms, &[0.5, 0.25], &a, true);
/// assert_eq!((dw, &dy[1]), (vec![8.0, 16.0], &vec![0.25; 8]));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct WeightedSum {
    map: FeatureMap,
}

impl WeightedSum {
    /// A sum over maps of this size.
    pub fn new(map: FeatureMap) -> Self {
        WeightedSum { map }
    }

    /// The sum.
    pub fn forward(&self, exec: &Exec, terms: &[MixTerm<'_>], weights: &[f32]) -> Vec<f32> {
        let (map, len, n) = (self.map, self.map.sample_len(), self.check(terms, weights));
        let mut base = vec![0.0; map.padded_channels()];
        let scales: Vec<Vec<f32>> = terms
            .iter()
            .zip(weights)
            .map(|(term, &w)| match term.stats {
                None => vec![w; map.padded_channels()],
                Some(stats) => {
                    let (scale, shift) = Moments::given(stats, map.channels).fold(None);
                    base.iter_mut().zip(shift).for_each(|(b, s)| *b += w * s);
                    scale.into_iter().map(|s| w * s).collect()
                }
            })
            .collect();
        let values: Vec<Samples<'_>> = terms
            .iter()
            .map(|t| Samples::whole(t.values, len))
            .collect();
        // SAFETY: `Combine` without `add` writes every element of each sample.
        let mut y = unsafe { overwritten::<f32>(n * len) };
        let ys = SamplesMut::whole(&mut y, len);
        exec.for_samples(n, n * len, ys, |i, dst| {
            let terms: Vec<Term<'_>> = values
                .iter()
                .zip(&scales)
                .map(|(v, scale)| Term::new(v.get(i), scale))
                .collect();
            exec.run(Combine {
                terms: &terms,
                base: &base,
                blocks: map.blocks(),
                pixels: map.pixels(),
                dst,
                to: Place::Blocks,
                add: false,
            });
        });
        y
    }

    /// Gradients with respect to the weights, `Σ g·y_k`, and, if wanted, to each `y_k`, `w_k g`.
    pub fn backward(
        &self,
        exec: &Exec,
        terms: &[MixTerm<'_>],
        weights: &[f32],
        g: &[f32],
        want_terms: bool,
    ) -> (Vec<f32>, Vec<Vec<f32>>) {
        let (map, len, n) = (self.map, self.map.sample_len(), self.check(terms, weights));
        map.check("gradient", g, n);
        let gs = Samples::whole(g, len);
        let values: Vec<Samples<'_>> = terms
            .iter()
            .map(|t| Samples::whole(t.values, len))
            .collect();
        let sums = batch_dots(exec, map, gs, &values, n);
        let mut sums = sums.chunks_exact(map.padded_channels());
        let sum_g = sums.next().expect("the sum of the gradient comes first");
        let dw = terms.iter().zip(sums).map(|(term, sum)| match term.stats {
            None => sum.iter().sum::<f64>() as f32,
            Some(stats) => Moments::given(stats, map.channels)
                .dot_normalised(sum_g, sum)
                .iter()
                .sum::<f64>() as f32,
        });
        let dw = dw.collect();
        if !want_terms {
            return (dw, Vec::new());
        }
        // SAFETY: `Combine` without `add` writes every element of each sample of every tensor.
        let mut dys: Vec<Vec<f32>> = terms
            .iter()
            .map(|_| unsafe { overwritten::<f32>(n * len) })
            .collect();
        let dsts: Vec<SamplesMut<'_>> = dys.iter_mut().map(|d| SamplesMut::whole(d, len)).collect();
        let scales: Vec<Vec<f32>> = weights
            .iter()
            .map(|&w| vec![w; map.padded_channels()])
            .collect();
        let base = vec![0.0; map.padded_channels()];
        exec.for_samples(n, n * len * terms.len(), dsts, |i, dsts| {
            for (dst, scale) in dsts.into_iter().zip(&scales) {
                let terms = [Term::new(gs.get(i), scale)];
                exec.run(Combine {
                    terms: &terms,
                    base: &base,
                    blocks: map.blocks(),
                    pixels: map.pixels(),
                    dst,
                    to: Place::Blocks,
                    add: false,
                });
            }
        });
        (dw, dys)
    }

    fn check(&self, terms: &[MixTerm<'_>], weights: &[f32]) -> usize {
        assert!(
            !terms.is_empty() && terms.len() == weights.len(),
            "{} terms and {} weights",
            terms.len(),
            weights.len()
        );
        let n = self.map.samples(terms[0].values.len());
        terms
            .iter()
            .for_each(|t| self.map.check("term", t.values, n));
        n
    }
}
