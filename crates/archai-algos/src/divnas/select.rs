//! Which few of many items tell most about the rest: a kernel between items from what they give on samples, the mutual
//! information of a choice, and two ways to find a good choice.
//!
//! Items are jointly Gaussian with the kernel K as covariance; I(A; V∖A) = ½·ln(det K_A · det K_{V∖A} / det K_V) is what a
//! choice A tells about the others. Krause, Singh, Guestrin: "Near-Optimal Sensor Placements in Gaussian Processes", Journal of
//! Machine Learning Research 9, 2008.

/// More choices than this are not tried one by one.
const MOST_SUBSETS: u128 = 1_000_000;

/// Why there is no choice.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum SelectError {
    /// A determinant that is not positive.
    #[error(
        "the kernel matrix of {items} items is not positive definite: items {twin} and an earlier one give (nearly) the \
         same; a larger jitter on its diagonal mends that"
    )]
    NotPositiveDefinite {
        /// Items of the matrix.
        items: usize,
        /// The item at which the decomposition ended.
        twin: usize,
    },
    /// More items wanted than there are.
    #[error("{wanted} of {items} items cannot be chosen")]
    TooFew {
        /// Items that there are, or that may be chosen.
        items: usize,
        /// Items wanted.
        wanted: usize,
    },
    /// Brute force would take too long.
    #[error(
        "there are {subsets} ways to choose {wanted} of {items} items, more than brute force tries ({MOST_SUBSETS}); \
         choose greedily"
    )]
    TooMany {
        /// Items that there are.
        items: usize,
        /// Items wanted.
        wanted: usize,
        /// Ways to choose them.
        subsets: u128,
    },
}

/// A symmetric matrix of similarities between items, the mean over the samples seen so far:
/// K_ij = mean of exp(−‖a_i − a_j‖² / 2σ²), where a_i is what item i gives on a sample. K_ii = 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel {
    n: usize,
    values: Vec<f64>,
    samples: u64,
}

impl Kernel {
    /// Of `n` items that have shown nothing yet: the identity.
    pub fn new(n: usize) -> Self {
        let mut kernel = Kernel {
            n,
            values: vec![0.0; n * n],
            samples: 0,
        };
        kernel.add_jitter(1.0);
        kernel
    }

    /// From a symmetric matrix in row-major order. `None` unless it is square.
    pub fn from_values(n: usize, values: Vec<f64>) -> Option<Self> {
        (values.len() == n * n).then_some(Kernel {
            n,
            values,
            samples: 0,
        })
    }

    /// Items.
    pub fn len(&self) -> usize {
        self.n
    }

    /// Whether there are no items.
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// Samples seen.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// The similarity of two items.
    pub fn at(&self, i: usize, j: usize) -> f64 {
        self.values[i * self.n + j]
    }

    /// Takes in what every item gave on a batch: per item `samples` rows of equal length, one after the other.
    pub fn observe(&mut self, items: &[Vec<f32>], samples: usize, sigma: f64) {
        if samples == 0 {
            return;
        }
        let seen = self.samples as f64;
        for i in 0..self.n {
            for j in 0..i {
                let rows = items[i].len() / samples;
                let pairs = items[i].chunks_exact(rows).zip(items[j].chunks_exact(rows));
                let sum: f64 = pairs
                    .map(|(a, b)| (-squared_distance(a, b) / (2.0 * sigma * sigma)).exp())
                    .sum();
                let mean = (self.at(i, j) * seen + sum) / (seen + samples as f64);
                self.values[i * self.n + j] = mean;
                self.values[j * self.n + i] = mean;
            }
        }
        self.samples += samples as u64;
    }

    /// Adds `by` to the diagonal: with it the matrix is positive definite whatever the items give, twins included.
    pub fn add_jitter(&mut self, by: f64) {
        for i in 0..self.n {
            self.values[i * self.n + i] += by;
        }
    }

    /// The kernel between some of the items.
    pub fn restrict(&self, items: &[usize]) -> Kernel {
        let rows = items.iter();
        let values = rows.flat_map(|&i| items.iter().map(move |&j| self.at(i, j)));
        Kernel {
            n: items.len(),
            values: values.collect(),
            samples: self.samples,
        }
    }

    /// ln det, by Cholesky's decomposition; 0 of no items.
    ///
    /// # Errors
    /// [`SelectError::NotPositiveDefinite`].
    pub fn log_det(&self) -> Result<f64, SelectError> {
        let n = self.n;
        let mut lower = vec![0.0; n * n];
        let mut log = 0.0;
        for i in 0..n {
            for j in 0..=i {
                let known: f64 = (0..j).map(|k| lower[i * n + k] * lower[j * n + k]).sum();
                let rest = self.at(i, j) - known;
                if i != j {
                    lower[i * n + j] = rest / lower[j * n + j];
                } else if rest > f64::EPSILON * n as f64 * self.at(i, i) {
                    lower[i * n + i] = rest.sqrt();
                    log += rest.ln();
                } else {
                    return Err(SelectError::NotPositiveDefinite { items: n, twin: i });
                }
            }
        }
        Ok(log)
    }
}

/// ‖a − b‖², summed in 32 bits over short runs and in 64 bits over these.
fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    const LANES: usize = 8;
    let mut total = 0.0;
    for (a, b) in a.chunks(256).zip(b.chunks(256)) {
        let mut sums = [0.0f32; LANES];
        let (a, b) = (a.chunks(LANES), b.chunks(LANES));
        for (a, b) in a.zip(b) {
            for ((sum, x), y) in sums.iter_mut().zip(a).zip(b) {
                *sum += (x - y) * (x - y);
            }
        }
        total += sums.iter().map(|&s| f64::from(s)).sum::<f64>();
    }
    total
}

/// I(A; V∖A) = ½·ln(det K_A · det K_{V∖A} / det K_V): what the items of `chosen` tell about all others.
///
/// # Errors
/// [`SelectError::NotPositiveDefinite`].
pub fn mutual_information(kernel: &Kernel, chosen: &[usize]) -> Result<f64, SelectError> {
    let rest: Vec<usize> = (0..kernel.len()).filter(|i| !chosen.contains(i)).collect();
    let whole = kernel.log_det()?;
    let parts = kernel.restrict(chosen).log_det()? + kernel.restrict(&rest).log_det()?;
    Ok(0.5 * (parts - whole))
}

/// The `wanted` items with the largest mutual information, by trying all choices; of equals the first in lexicographic order.
/// In ascending order.
///
/// # Errors
/// As [`mutual_information`]; more items wanted than there are; more than a million choices.
pub fn brute_force(kernel: &Kernel, wanted: usize) -> Result<Vec<usize>, SelectError> {
    brute_force_where(kernel, wanted, |_| true)
}

/// As [`brute_force`], among the choices that are allowed (asked in ascending order).
///
/// # Errors
/// As [`brute_force`]; no choice is allowed.
pub fn brute_force_where(
    kernel: &Kernel,
    wanted: usize,
    allowed: impl Fn(&[usize]) -> bool,
) -> Result<Vec<usize>, SelectError> {
    let items = check_wanted(kernel, wanted)?;
    // n·(n−1)/2·(n−2)/3…: whole at every step.
    let subsets = (0..wanted as u128).try_fold(1u128, |count, i| {
        Some(count.checked_mul(items as u128 - i)? / (i + 1))
    });
    let subsets = subsets.unwrap_or(u128::MAX);
    if subsets > MOST_SUBSETS {
        return Err(SelectError::TooMany {
            items,
            wanted,
            subsets,
        });
    }
    let mut choice: Vec<usize> = (0..wanted).collect();
    let mut best: Option<(f64, Vec<usize>)> = None;
    loop {
        if allowed(&choice) {
            let information = mutual_information(kernel, &choice)?;
            if best.as_ref().is_none_or(|(most, _)| information > *most) {
                best = Some((information, choice.clone()));
            }
        }
        // The last place that can move on does, and those after it follow closely.
        let Some(place) = (0..wanted).rfind(|&p| choice[p] < items - wanted + p) else {
            break;
        };
        choice[place] += 1;
        for p in place + 1..wanted {
            choice[p] = choice[p - 1] + 1;
        }
    }
    let best = best.map(|(_, choice)| choice);
    best.ok_or(SelectError::TooFew { items: 0, wanted })
}

/// `wanted` items one by one, each the one that adds most to the mutual information; of equals the first. In the order in which
/// they were chosen. With `wanted` at most half of the items, the result has at least the share 1 − 1/e of the best choice's
/// information (Krause et al. 2008, theorem 7, where the information grows with every item up to 2·`wanted`).
///
/// # Errors
/// As [`mutual_information`]; more items wanted than there are.
pub fn greedy(kernel: &Kernel, wanted: usize) -> Result<Vec<usize>, SelectError> {
    greedy_where(kernel, wanted, |_| true)
}

/// As [`greedy`], of the items that are allowed together with those that were chosen before (asked in that order).
///
/// # Errors
/// As [`greedy`]; nothing more is allowed.
pub fn greedy_where(
    kernel: &Kernel,
    wanted: usize,
    allowed: impl Fn(&[usize]) -> bool,
) -> Result<Vec<usize>, SelectError> {
    let items = check_wanted(kernel, wanted)?;
    let mut chosen: Vec<usize> = Vec::with_capacity(wanted);
    while chosen.len() < wanted {
        let mut best: Option<(f64, usize)> = None;
        for item in (0..items)
            .filter(|i| !chosen.contains(i))
            .collect::<Vec<_>>()
        {
            chosen.push(item);
            let information = match allowed(&chosen) {
                true => Some(mutual_information(kernel, &chosen)?),
                false => None,
            };
            chosen.pop();
            if let Some(information) = information
                && best.is_none_or(|(most, _)| information > most)
            {
                best = Some((information, item));
            }
        }
        let (_, item) = best.ok_or(SelectError::TooFew {
            items: chosen.len(),
            wanted,
        })?;
        chosen.push(item);
    }
    Ok(chosen)
}

fn check_wanted(kernel: &Kernel, wanted: usize) -> Result<usize, SelectError> {
    let items = kernel.len();
    match wanted <= items {
        true => Ok(items),
        false => Err(SelectError::TooFew { items, wanted }),
    }
}

/// One round of weighted majority: every expert's weight grows by the factor 1 + η·reward, then all are scaled to sum 1.
pub fn weighted_majority(weights: &mut [f64], rewards: &[f64], eta: f64) {
    for (weight, reward) in weights.iter_mut().zip(rewards) {
        *weight *= 1.0 + eta * reward;
    }
    let total: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|weight| *weight /= total);
}

#[cfg(test)]
mod tests {
    use super::*;
    use archai_data::rng::Key;

    /// What `n` items give on `samples` samples of `dim` numbers.
    fn activations(key: &Key, n: usize, samples: usize, dim: usize) -> Vec<Vec<f32>> {
        let mut rng = key.rng();
        let mut row = || (0..samples * dim).map(|_| rng.normal() as f32).collect();
        (0..n).map(|_| row()).collect()
    }

    #[test]
    fn the_kernel_is_the_mean_over_all_samples_however_they_come() {
        let items = activations(&Key::new(1), 4, 6, 300);
        let part = |from: usize, to: usize| -> Vec<Vec<f32>> {
            items
                .iter()
                .map(|i| i[from * 300..to * 300].to_vec())
                .collect()
        };
        let mut whole = Kernel::new(4);
        whole.observe(&items, 6, 20.0);
        let mut parts = Kernel::new(4);
        parts.observe(&part(0, 1), 1, 20.0);
        parts.observe(&part(1, 6), 5, 20.0);
        for i in 0..4 {
            assert_eq!(whole.at(i, i), 1.0);
            for j in 0..4 {
                assert!((whole.at(i, j) - parts.at(i, j)).abs() < 1e-14);
                let exact: f64 = (0..6)
                    .map(|s| {
                        let range = s * 300..(s + 1) * 300;
                        let pairs = items[i][range.clone()].iter().zip(&items[j][range]);
                        let square = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).powi(2);
                        (-pairs.map(square).sum::<f64>() / 800.0).exp() / 6.0
                    })
                    .sum();
                assert!((whole.at(i, j) - exact).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn identical_items_need_the_jitter() {
        let mut items = activations(&Key::new(2), 5, 3, 16);
        items[4] = items[1].clone();
        items[3] = items[1].clone();
        let mut kernel = Kernel::new(5);
        kernel.observe(&items, 3, 4.0);
        assert_eq!(
            mutual_information(&kernel, &[0, 1]),
            Err(SelectError::NotPositiveDefinite { items: 5, twin: 3 })
        );
        kernel.add_jitter(1e-4);
        for chosen in [brute_force(&kernel, 2), greedy(&kernel, 2)] {
            let chosen = chosen.expect("positive definite");
            assert!(
                mutual_information(&kernel, &chosen)
                    .expect("positive definite")
                    .is_finite()
            );
            // One of the three twins tells all about the other two.
            assert!(
                chosen.iter().filter(|i| [1, 3, 4].contains(i)).count() == 1,
                "{chosen:?}"
            );
        }
    }

    #[test]
    fn greedy_is_within_its_bound_of_brute_force() {
        let mut exact = 0;
        let problems = 60;
        for seed in 0..problems {
            let mut rng = Key::new(seed).with("size").rng();
            let n = 5 + rng.uniform_u32_below(8) as usize;
            let wanted = 1 + rng.uniform_u32_below(n as u32 / 2) as usize;
            let sigma = 1.0 + 4.0 * rng.uniform_f64();
            let mut kernel = Kernel::new(n);
            kernel.observe(&activations(&Key::new(seed), n, 8, 6), 8, sigma);
            kernel.add_jitter(1e-4);
            let information =
                |chosen: &[usize]| mutual_information(&kernel, chosen).expect("definite");
            let best = brute_force(&kernel, wanted).expect("a choice");
            let found = greedy(&kernel, wanted).expect("a choice");
            let (most, got) = (information(&best), information(&found));
            assert!(got <= most + 1e-12 && most > 0.0, "seed {seed}");
            assert!(
                got >= (1.0 - (-1.0f64).exp()) * most,
                "seed {seed}: {got} of {most}"
            );
            let mut sorted = found.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), wanted);
            exact += usize::from(sorted == best);
        }
        assert!(
            exact * 2 > problems as usize,
            "only {exact} of {problems} are the best choice"
        );
    }

    #[test]
    fn what_cannot_be_chosen_is_an_error() {
        let kernel = Kernel::new(3);
        assert_eq!(brute_force(&kernel, 0), Ok(vec![]));
        assert_eq!(brute_force(&kernel, 3), Ok(vec![0, 1, 2]));
        let few = SelectError::TooFew {
            items: 3,
            wanted: 4,
        };
        assert_eq!(
            (brute_force(&kernel, 4), greedy(&kernel, 4)),
            (Err(few), Err(few))
        );
        let many = brute_force(&Kernel::new(40), 10);
        assert!(matches!(
            many,
            Err(SelectError::TooMany {
                subsets: 847_660_528,
                ..
            })
        ));
        assert_eq!(Kernel::from_values(2, vec![1.0; 3]), None);
    }

    #[test]
    fn the_majority_follows_the_rewards() {
        let mut weights = vec![0.25; 4];
        let mut rng = Key::new(5).rng();
        for _ in 0..2000 {
            let rewards =
                [0.15, 0.5, 0.3, 0.05].map(|p| f64::from(u8::from(rng.uniform_f64() < p)));
            weighted_majority(&mut weights, &rewards, 0.01);
        }
        assert!(weights[1] > 0.4, "{weights:?}");
        assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }
}
