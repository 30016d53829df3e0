//! Functions of single numbers that stand between layers, beside ReLU and ReLU6: what each computes, and the share of a
//! dropout.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};
use std::fmt;

use serde::{Deserialize, Serialize};

/// A function of each number by itself. ReLU and ReLU6 are layers of their own, because kernels are chosen by them.
///
/// ```
/// use archai_spec::ops::Activation;
/// assert_eq!(Activation::HardSwish.apply(3.0), 3.0);
/// assert_eq!(Activation::named("gelu"), Some(Activation::Gelu));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Activation {
    /// x · min(max(x + 3, 0), 6) / 6 (Howard et al. 2019, "Searching for MobileNetV3").
    #[serde(rename = "hswish")]
    HardSwish,
    /// min(max(x + 3, 0), 6) / 6, from the same paper.
    #[serde(rename = "hsigmoid")]
    HardSigmoid,
    /// 1 / (1 + e⁻ˣ).
    #[serde(rename = "sigmoid")]
    Sigmoid,
    /// x · Φ(x) = x · (1 + erf(x / √2)) / 2, the exact form and not the one by tanh (Hendrycks and Gimpel 2016).
    #[serde(rename = "gelu")]
    Gelu,
    /// x · σ(x), also called swish (Hendrycks and Gimpel 2016; Ramachandran et al. 2017).
    #[serde(rename = "silu")]
    Silu,
}

impl Activation {
    /// All of them.
    pub const ALL: [Activation; 5] = [
        Activation::HardSwish,
        Activation::HardSigmoid,
        Activation::Sigmoid,
        Activation::Gelu,
        Activation::Silu,
    ];

    /// Its name in descriptions: `hswish`, `hsigmoid`, `sigmoid`, `gelu` or `silu`.
    pub fn name(self) -> &'static str {
        match self {
            Activation::HardSwish => "hswish",
            Activation::HardSigmoid => "hsigmoid",
            Activation::Sigmoid => "sigmoid",
            Activation::Gelu => "gelu",
            Activation::Silu => "silu",
        }
    }

    /// The one of a name.
    pub fn named(name: &str) -> Option<Activation> {
        Activation::ALL.into_iter().find(|a| a.name() == name)
    }

    /// How people write it.
    pub fn title(self) -> &'static str {
        match self {
            Activation::HardSwish => "hard swish",
            Activation::HardSigmoid => "hard sigmoid",
            Activation::Sigmoid => "sigmoid",
            Activation::Gelu => "GELU",
            Activation::Silu => "SiLU",
        }
    }

    /// Its value, in 64 bits: the definition that engines and exporters are held to. What is no number stays none.
    pub fn apply(self, x: f64) -> f64 {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let hard_sigmoid = |x: f64| (x + 3.0).clamp(0.0, 6.0) / 6.0;
        match self {
            Activation::HardSwish => x * hard_sigmoid(x),
            Activation::HardSigmoid => hard_sigmoid(x),
            Activation::Sigmoid => sigmoid(x),
            Activation::Gelu => 0.5 * x * (1.0 + erf(x * FRAC_1_SQRT_2)),
            Activation::Silu => x * sigmoid(x),
        }
    }
}

/// 2/√π · ∫₀ˣ e^(−t²) dt by its series 2/√π · e^(−x²) · Σ 2ⁿ x²ⁿ⁺¹ / (2n + 1)!!, whose terms have one sign (Abramowitz and Stegun
/// 1964, 7.1.6). Beyond 6 it is 1 to the last bit.
fn erf(x: f64) -> f64 {
    if x.abs() >= 6.0 {
        return x.signum();
    }
    let (mut term, mut sum, mut n) = (x, x, 1.0);
    // At most some 120 terms below 6. What is no number ends at once.
    while (term / sum).abs() > f64::EPSILON / 4.0 {
        n += 2.0;
        term *= 2.0 * x * x / n;
        sum += term;
    }
    FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

/// A share from 0 to below 1: how many features a dropout sets to zero in training.
///
/// ```
/// use archai_spec::ops::Share;
/// assert_eq!(Share::new(0.25).map(Share::get), Some(0.25));
/// assert_eq!(Share::new(1.0), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Share(f64);

/// It is never "no number".
impl Eq for Share {}

impl Share {
    /// The share, if it is one.
    pub fn new(share: f64) -> Option<Share> {
        (0.0..1.0).contains(&share).then_some(Share(share))
    }

    /// As a number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Share {
    type Error = String;

    fn try_from(share: f64) -> Result<Self, String> {
        Share::new(share).ok_or_else(|| format!("{share} is no share; expected 0 or more, below 1"))
    }
}

impl From<Share> for f64 {
    fn from(share: Share) -> f64 {
        share.0
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of 16 places from an arithmetic of 30.
    #[test]
    fn values_are_those_of_an_exact_arithmetic() {
        use Activation::{Gelu, HardSigmoid, HardSwish, Sigmoid, Silu};
        for (function, x, expected) in [
            (HardSwish, -4.0, 0.0),
            (HardSwish, -1.0, -1.0 / 3.0),
            (HardSwish, 2.0, 5.0 / 3.0),
            (HardSwish, 7.0, 7.0),
            (HardSigmoid, -3.5, 0.0),
            (HardSigmoid, 0.0, 0.5),
            (HardSigmoid, 1.5, 0.75),
            (HardSigmoid, 3.5, 1.0),
            (Sigmoid, -2.5, 0.07585818002124355),
            (Sigmoid, 0.0, 0.5),
            (Sigmoid, 0.75, 0.679178699175393),
            (Sigmoid, 6.0, 0.9975273768433652),
            (Gelu, -5.0, -1.4332578593959695e-06),
            (Gelu, -1.0, -0.15865525393145705),
            (Gelu, 0.0, 0.0),
            (Gelu, 0.5, 0.34573123063700656),
            (Gelu, 3.25, 3.24812466861223),
            (Gelu, 9.0, 9.0),
            (Silu, -4.0, -0.07194483984836623),
            (Silu, -0.5, -0.18877033439907273),
            (Silu, 1.0, 0.7310585786300049),
            (Silu, 8.0, 7.997317198956268),
        ] {
            let found = function.apply(x);
            assert!(
                (found - expected).abs() <= 1e-15 * expected.abs().max(1.0),
                "{function:?}({x}): {found:e} {expected:e}"
            );
        }
        for function in Activation::ALL {
            assert!(function.apply(f64::NAN).is_nan(), "{function:?}");
            assert_eq!(Activation::named(function.name()), Some(function));
        }
    }
}
