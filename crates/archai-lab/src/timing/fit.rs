//! From times of single layers to times of whole networks: a linear model with factors that cannot be negative, and what it is
//! wrong by.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::layers::Kind;
use super::measure::{median, quantile, sorted};

/// A whole network that was timed.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// The sum of the times of its layers alone, by their kind, in milliseconds.
    pub alone: BTreeMap<Kind, f64>,
    /// What it takes, in milliseconds.
    pub ms: f64,
}

/// `L = base + Σ_kind factor(kind) · alone(kind)`: what a network takes, from what its layers take alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fit {
    /// Milliseconds that every network takes.
    pub base_ms: f64,
    /// How many times its time alone a layer takes in a network: below 1 where a runtime computes layers together, and 0 where
    /// the layer costs nothing.
    pub factors: BTreeMap<Kind, f64>,
}

/// What predictions are wrong by, found by five-fold cross-validation: each network is predicted by a model that was fitted
/// without it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FitError {
    /// Networks that were timed.
    pub networks: usize,
    /// Rank correlation of predicted and measured times; 0 where all are equal.
    pub spearman: f64,
    /// Mean of |predicted / measured − 1|.
    pub mean_relative: f64,
    /// In 95 of 100 networks, measured / predicted − 1 is at most this. A limit is made smaller by it.
    pub quantile_95: f64,
}

/// Parts into which networks are divided for the cross-validation.
const FOLDS: usize = 5;
/// Fewest networks for a fit with an error.
pub(super) const FEWEST: usize = 10;

impl Fit {
    /// What a network takes, in milliseconds.
    pub fn predict(&self, alone: &BTreeMap<Kind, f64>) -> f64 {
        let parts = alone
            .iter()
            .map(|(kind, ms)| ms * self.factors.get(kind).copied().unwrap_or(1.0));
        self.base_ms + parts.sum::<f64>()
    }
}

/// Fits a model to whole networks, the squares of relative errors being least, and finds out what it is wrong by.
///
/// # Errors
/// Fewer than 10 networks; a time that is no positive number.
pub fn fit(observed: &[Observed]) -> Result<(Fit, FitError), String> {
    if observed.len() < FEWEST {
        return Err(format!(
            "{} networks are too few to fit a table and to find out its error; at least {FEWEST} are needed",
            observed.len()
        ));
    }
    if let Some(wrong) = observed.iter().find(|o| !(o.ms.is_finite() && o.ms > 0.0)) {
        return Err(format!(
            "a network cannot take {} ms; expected a positive number",
            wrong.ms
        ));
    }
    let whole = fitted(observed.iter());
    let mut predicted = vec![0.0; observed.len()];
    for fold in 0..FOLDS {
        let others = observed
            .iter()
            .enumerate()
            .filter(|(i, _)| i % FOLDS != fold);
        let model = fitted(others.map(|(_, o)| o));
        for (i, o) in observed
            .iter()
            .enumerate()
            .filter(|(i, _)| i % FOLDS == fold)
        {
            predicted[i] = model.predict(&o.alone);
        }
    }
    let measured: Vec<f64> = observed.iter().map(|o| o.ms).collect();
    let pairs = || predicted.iter().zip(&measured);
    let excess: Vec<f64> = pairs()
        .map(|(p, m)| m / p.max(f64::MIN_POSITIVE) - 1.0)
        .collect();
    let error = FitError {
        networks: observed.len(),
        spearman: Some(spearman(&predicted, &measured))
            .filter(|r| r.is_finite())
            .unwrap_or(0.0),
        mean_relative: pairs().map(|(p, m)| (p / m - 1.0).abs()).sum::<f64>()
            / observed.len() as f64,
        quantile_95: quantile(&sorted(&excess), 0.95).max(0.0),
    };
    Ok((whole, error))
}

/// The model with the least squares of relative errors.
fn fitted<'a>(observed: impl Iterator<Item = &'a Observed>) -> Fit {
    let observed: Vec<&Observed> = observed.collect();
    let mut kinds: Vec<Kind> = observed
        .iter()
        .flat_map(|o| o.alone.keys().copied())
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    // Every column is brought to the size of a time, so that none is lost to rounding.
    let scale = |kind: &Kind| {
        let all: Vec<f64> = observed
            .iter()
            .filter_map(|o| o.alone.get(kind).copied())
            .collect();
        median(&sorted(&all)).max(f64::MIN_POSITIVE)
    };
    let scales: Vec<f64> = kinds.iter().map(scale).collect();
    let typical = median(&sorted(&observed.iter().map(|o| o.ms).collect::<Vec<_>>()));
    let rows: Vec<Vec<f64>> = (observed.iter())
        .map(|o| {
            let alone = kinds.iter().zip(&scales).map(|(kind, scale)| {
                o.alone.get(kind).copied().unwrap_or(0.0) / scale * typical / o.ms
            });
            std::iter::once(typical / o.ms).chain(alone).collect()
        })
        .collect();
    let solved = non_negative_least_squares(&rows, &vec![1.0; rows.len()]);
    let factors = kinds.iter().zip(&scales).zip(&solved[1..]);
    Fit {
        base_ms: solved[0] * typical,
        factors: factors
            .map(|((kind, scale), x)| (*kind, x * typical / scale))
            .collect(),
    }
}

/// x ≥ 0 with the least |A x − b|, by coordinate descent: each step solves for one number alone, and the problem is convex, so
/// that it comes to the solution.
fn non_negative_least_squares(rows: &[Vec<f64>], b: &[f64]) -> Vec<f64> {
    const STEPS: usize = 20_000;
    let n = rows.first().map_or(1, Vec::len);
    let mut gram = vec![0.0; n * n];
    let mut right = vec![0.0; n];
    for (row, b) in rows.iter().zip(b) {
        for (i, x) in row.iter().enumerate() {
            right[i] += x * b;
            for (j, y) in row.iter().enumerate() {
                gram[i * n + j] += x * y;
            }
        }
    }
    let mut x = vec![0.0; n];
    for _ in 0..STEPS {
        let mut moved = 0.0f64;
        for (i, right) in right.iter().enumerate() {
            let row = &gram[i * n..][..n];
            if row[i] == 0.0 {
                continue;
            }
            let given: f64 = row.iter().zip(&x).map(|(a, x)| a * x).sum();
            let new = (x[i] + (right - given) / row[i]).max(0.0);
            moved = moved.max((new - x[i]).abs());
            x[i] = new;
        }
        if moved < 1e-12 {
            break;
        }
    }
    x
}

/// Spearman's rank correlation; equal values have their mean rank. No number where one side is all equal.
pub(super) fn spearman(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (mean_ranks(a), mean_ranks(b));
    let mean = (a.len() as f64 - 1.0) / 2.0;
    let dot = |x: &[f64], y: &[f64]| -> f64 {
        x.iter().zip(y).map(|(x, y)| (x - mean) * (y - mean)).sum()
    };
    dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
}

fn mean_ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
    let mut ranks = vec![0.0; values.len()];
    let mut from = 0;
    while from < order.len() {
        let mut to = from;
        while to + 1 < order.len() && values[order[to + 1]] == values[order[from]] {
            to += 1;
        }
        for &i in &order[from..=to] {
            ranks[i] = (from + to) as f64 / 2.0;
        }
        from = to + 1;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Networks of a law, each time wrong by up to `noise`.
    fn networks(n: usize, noise: f64) -> Vec<Observed> {
        (0..n)
            .map(|i| {
                let of = |step: usize, size: f64| size * (1.0 + (i * step % 11) as f64);
                let alone = BTreeMap::from([
                    (Kind::Conv, of(3, 0.5)),
                    (Kind::Activation, of(5, 0.02)),
                    (Kind::Pool, of(7, 0.1)),
                ]);
                let wrong = 1.0 + noise * ((i * 13 % 17) as f64 / 8.0 - 1.0);
                let ms = 0.25 + 0.9 * alone[&Kind::Conv] + 2.0 * alone[&Kind::Pool];
                Observed {
                    alone,
                    ms: ms * wrong,
                }
            })
            .collect()
    }

    #[test]
    fn a_law_is_found_and_what_costs_nothing_gets_nothing() {
        let (fit, error) = fit(&networks(40, 0.0)).unwrap();
        assert!((fit.base_ms - 0.25).abs() < 1e-6, "{fit:?}");
        for (kind, factor) in [
            (Kind::Conv, 0.9),
            (Kind::Pool, 2.0),
            (Kind::Activation, 0.0),
        ] {
            assert!((fit.factors[&kind] - factor).abs() < 1e-6, "{fit:?}");
        }
        assert!(
            error.mean_relative < 1e-6 && error.quantile_95 < 1e-6,
            "{error:?}"
        );
        // Equal times may differ by rounding.
        assert!(error.spearman > 0.99 && error.networks == 40, "{error:?}");
    }

    #[test]
    fn the_error_is_that_of_networks_that_were_not_fitted() {
        let (_, error) = fit(&networks(60, 0.1)).unwrap();
        assert!((0.03..0.08).contains(&error.mean_relative), "{error:?}");
        assert!((0.07..0.16).contains(&error.quantile_95), "{error:?}");
        assert!(error.spearman > 0.95 && error.spearman < 1.0);
    }

    #[test]
    fn too_few_networks_and_impossible_times_are_refused() {
        let says = fit(&networks(9, 0.0)).unwrap_err();
        assert!(says.contains("9 networks are too few"), "{says}");
        let mut wrong = networks(20, 0.0);
        wrong[3].ms = f64::NAN;
        assert!(fit(&wrong).unwrap_err().contains("cannot take NaN ms"));
    }

    #[test]
    fn rank_correlations_are_spearman_s() {
        assert_eq!(spearman(&[1.0, 2.0, 3.0], &[10.0, 20.0, 21.0]), 1.0);
        assert_eq!(spearman(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0]), -1.0);
        // Ties have mean ranks: ranks 0, 1.5, 1.5, 3 beside 0, 1, 2, 3 give 4.5/√(4.5·5).
        let r = spearman(&[1.0, 2.0, 2.0, 9.0], &[1.0, 2.0, 3.0, 4.0]);
        assert!((r - 4.5 / (4.5f64 * 5.0).sqrt()).abs() < 1e-12, "{r}");
        assert!(spearman(&[1.0, 1.0], &[1.0, 2.0]).is_nan());
    }
}
