//! What scores need of small matrices, in 64 bits and in a fixed order.

/// log |det A| of a square matrix, rows one after the other, by Gaussian elimination with partial pivoting; −∞ if it is
/// singular.
pub fn log_abs_det(mut a: Vec<f64>, n: usize) -> f64 {
    let mut sum = 0.0;
    for column in 0..n {
        let size = |row: usize| a[row * n + column].abs();
        let best = (column..n).max_by(|&i, &j| size(i).total_cmp(&size(j)).then(j.cmp(&i)));
        let pivot_row = best.unwrap_or(column);
        for k in 0..n {
            a.swap(column * n + k, pivot_row * n + k);
        }
        let pivot = a[column * n + column];
        sum += pivot.abs().ln();
        if pivot == 0.0 {
            return f64::NEG_INFINITY;
        }
        for row in column + 1..n {
            let factor = a[row * n + column] / pivot;
            for k in column..n {
                a[row * n + k] -= factor * a[column * n + k];
            }
        }
    }
    sum
}

/// The correlation coefficients of the rows of a matrix with each other; what a constant row takes part in is no number.
pub fn correlations(rows: &[&[f64]]) -> Vec<f64> {
    let centred: Vec<Vec<f64>> = (rows.iter())
        .map(|row| {
            let mean = row.iter().sum::<f64>() / row.len() as f64;
            row.iter().map(|v| v - mean).collect()
        })
        .collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let norms: Vec<f64> = centred.iter().map(|row| dot(row, row).sqrt()).collect();
    let n = rows.len();
    let mut all = vec![1.0; n * n];
    for i in 0..n {
        for j in 0..=i {
            let r = dot(&centred[i], &centred[j]) / norms[i] / norms[j];
            // As NumPy does: rounding leads beyond ±1.
            let r = if r.is_nan() { r } else { r.clamp(-1.0, 1.0) };
            all[i * n + j] = r;
            all[j * n + i] = r;
        }
    }
    all
}

/// The eigenvalues of a symmetric matrix by Jacobi rotations, in no particular order; no numbers if the matrix has some that
/// are none.
pub fn eigenvalues(mut a: Vec<f64>, n: usize) -> Vec<f64> {
    const SWEEPS: usize = 60;
    for _ in 0..SWEEPS {
        let off: f64 = (0..n)
            .flat_map(|i| (0..i).map(move |j| (i, j)))
            .map(|(i, j)| a[i * n + j].powi(2))
            .sum();
        let all: f64 = a.iter().map(|v| v * v).sum();
        if off <= 1e-30 * all {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(&mut a, n, p, q);
            }
        }
    }
    (0..n).map(|i| a[i * n + i]).collect()
}

/// Makes the entry (p, q) zero.
fn rotate(a: &mut [f64], n: usize, p: usize, q: usize) {
    let apq = a[p * n + q];
    if apq == 0.0 {
        return;
    }
    let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * apq);
    let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let c = 1.0 / (t * t + 1.0).sqrt();
    let s = t * c;
    for k in 0..n {
        let (x, y) = (a[k * n + p], a[k * n + q]);
        a[k * n + p] = c * x - s * y;
        a[k * n + q] = s * x + c * y;
    }
    for k in 0..n {
        let (x, y) = (a[p * n + k], a[q * n + k]);
        a[p * n + k] = c * x - s * y;
        a[q * n + k] = s * x + c * y;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn determinants_are_those_of_known_matrices() {
        // 2·3 − 1·4 = 2; a swap of rows changes the sign alone.
        assert!((log_abs_det(vec![2.0, 1.0, 4.0, 3.0], 2) - 2f64.ln()).abs() < 1e-12);
        assert!((log_abs_det(vec![0.0, 5.0, 7.0, 0.0], 2) - 35f64.ln()).abs() < 1e-12);
        assert_eq!(log_abs_det(vec![1.0, 2.0, 2.0, 4.0], 2), f64::NEG_INFINITY);
        // A 3×3 matrix of determinant -306 (a textbook's).
        let a = vec![6.0, 1.0, 1.0, 4.0, -2.0, 5.0, 2.0, 8.0, 7.0];
        assert!((log_abs_det(a, 3) - 306f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn eigenvalues_are_those_of_known_matrices() {
        let sorted = |a: Vec<f64>, n| {
            let mut v = eigenvalues(a, n);
            v.sort_by(f64::total_cmp);
            v
        };
        let near = |got: Vec<f64>, expect: &[f64]| {
            let same = got.iter().zip(expect).all(|(a, b)| (a - b).abs() < 1e-12);
            assert!(same && got.len() == expect.len(), "{got:?} {expect:?}");
        };
        near(sorted(vec![2.0, 1.0, 1.0, 2.0], 2), &[1.0, 3.0]);
        near(sorted(vec![4.0], 1), &[4.0]);
        // The second difference: 2 − 2 cos(k π / 4).
        let a = vec![2.0, -1.0, 0.0, -1.0, 2.0, -1.0, 0.0, -1.0, 2.0];
        let r = 2f64.sqrt();
        near(sorted(a, 3), &[2.0 - r, 2.0, 2.0 + r]);
    }

    #[test]
    fn correlations_are_pearson_s() {
        let rows: [&[f64]; 3] = [&[1.0, 2.0, 3.0], &[2.0, 4.0, 6.0], &[1.0, 3.0, 2.0]];
        let r = correlations(&rows);
        for (got, expect) in r.iter().zip([1.0, 1.0, 0.5, 1.0, 1.0, 0.5, 0.5, 0.5, 1.0]) {
            assert!((got - expect).abs() < 1e-12, "{r:?}");
        }
        assert!(correlations(&[&[1.0, 1.0], &[0.0, 1.0]])[1].is_nan());
    }
}
