//! Means, deviations and confidence intervals.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Mean and spread of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sample {
    /// How many numbers.
    pub n: usize,
    /// Their mean.
    pub mean: f64,
    /// Standard deviation of the sample (n − 1 below the line); none of one number.
    pub sd: Option<f64>,
    /// 95 % confidence interval of the mean by Student's t; none of one number.
    pub ci95: Option<[f64; 2]>,
}

impl Sample {
    /// Of at least one number; none of none.
    pub fn of(values: &[f64]) -> Option<Sample> {
        let n = values.len();
        if n == 0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / n as f64;
        let sd = (n > 1).then(|| {
            let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
            (squares / (n - 1) as f64).sqrt()
        });
        let ci95 = sd.map(|sd| interval(mean, sd / (n as f64).sqrt(), (n - 1) as f64));
        Some(Sample { n, mean, sd, ci95 })
    }

    /// The same with an interval that keeps to what is possible.
    #[must_use]
    pub(super) fn within(self, [least, most]: [f64; 2]) -> Sample {
        let ci95 = self.ci95.map(|ends| ends.map(|end| end.clamp(least, most)));
        Sample { ci95, ..self }
    }
}

/// Difference of two means.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// First minus second.
    pub mean: f64,
    /// 95 % confidence interval by Welch's t, which does not take both spreads for equal; none if either sample is one
    /// number.
    pub ci95: Option<[f64; 2]>,
}

impl Difference {
    /// `a` minus `b`.
    pub fn of(a: &Sample, b: &Sample) -> Difference {
        let mean = a.mean - b.mean;
        let ci95 = a.sd.zip(b.sd).map(|(sa, sb)| {
            let (va, vb) = (sa * sa / a.n as f64, sb * sb / b.n as f64);
            // Welch and Satterthwaite's degrees of freedom.
            let below = va * va / (a.n - 1) as f64 + vb * vb / (b.n - 1) as f64;
            interval(mean, (va + vb).sqrt(), (va + vb).powi(2) / below)
        });
        Difference { mean, ci95 }
    }
}

/// mean ± t(0.975, freedom)·error. Numbers that do not differ at all have an interval of no width.
fn interval(mean: f64, error: f64, freedom: f64) -> [f64; 2] {
    let half = match StudentsT::new(0.0, 1.0, freedom) {
        Ok(t) if error > 0.0 => t.inverse_cdf(0.975) * error,
        _ => 0.0,
    };
    [mean - half, mean + half]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn close(got: f64, want: f64) {
        assert!((got - want).abs() < 1e-6, "{got} is not {want}");
    }

    #[test]
    fn means_and_intervals_are_those_of_the_textbook() {
        // 0.90, 0.92, 0.97: mean 0.93, squares 0.0009 + 0.0001 + 0.0016; t(0.975, 2) = 4.30265273.
        let a = Sample::of(&[0.90, 0.92, 0.97]).unwrap();
        close(a.mean, 0.93);
        close(a.sd.unwrap(), 0.0013f64.sqrt());
        let half = 4.302_652_73 * (0.0013f64 / 3.0).sqrt();
        close(a.ci95.unwrap()[0], 0.93 - half);
        close(a.ci95.unwrap()[1], 0.93 + half);

        // 0.80, 0.84: mean 0.82, variance 0.0008; t(0.975, 1) = 12.7062047.
        let b = Sample::of(&[0.80, 0.84]).unwrap();
        close(b.ci95.unwrap()[1], 0.82 + 12.706_204_7 * 0.02);

        // Welch: variances of the means 0.0013/3 and 0.0004, together 1/1200; freedom (1/1200)² / ((0.0013/3)²/2 + 0.0004²)
        // = 6.944444e-7 / 2.538889e-7 = 2.735230. Between t(0.975, 2) and t(0.975, 3) = 3.18244631.
        let d = Difference::of(&a, &b);
        close(d.mean, 0.11);
        let half = (d.ci95.unwrap()[1] - d.ci95.unwrap()[0]) / 2.0;
        let t = half / (1.0f64 / 1200.0).sqrt();
        let exact = StudentsT::new(0.0, 1.0, 6.944_444_444e-7 / 2.538_888_889e-7).unwrap();
        close(exact.cdf(t), 0.975);
        assert!((3.1825..4.3026).contains(&t), "{t}");

        let one = Sample::of(&[0.5]).unwrap();
        assert_eq!((one.sd, one.ci95), (None, None));
        assert_eq!(Difference::of(&a, &one).ci95, None);
        assert_eq!(Sample::of(&[]), None);
        assert_eq!(Sample::of(&[0.5, 0.5]).unwrap().ci95, Some([0.5, 0.5]));
        assert_eq!(
            Difference::of(
                &Sample::of(&[0.5, 0.5]).unwrap(),
                &Sample::of(&[0.25, 0.25]).unwrap()
            )
            .ci95,
            Some([0.25, 0.25])
        );
    }
}
