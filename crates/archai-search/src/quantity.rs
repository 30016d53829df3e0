//! What is known of a network as a number: its unit, which way is better, what it costs to find out; and hard limits on it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Numbers by the names of their quantities.
pub type Values = BTreeMap<String, f64>;

/// Which way is better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Less is better.
    #[default]
    Minimise,
    /// More is better.
    Maximise,
}

impl Direction {
    /// The value with its sign such that less is better.
    pub fn minimised(self, value: f64) -> f64 {
        match self {
            Direction::Minimise => value,
            Direction::Maximise => -value,
        }
    }
}

/// What it costs to find a quantity out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CostClass {
    /// It follows from the description: it is known of every candidate before one is proposed.
    Static,
    /// Milliseconds to seconds, without training: it is found out before a training begins.
    Cheap,
    /// A training.
    #[default]
    Expensive,
}

/// A number that networks have.
///
/// ```
/// use archai_search::{CostClass, Direction, Quantity};
/// let latency = Quantity::new("latency", Direction::Minimise).unit("ms").class(CostClass::Cheap);
/// assert_eq!((latency.name.as_str(), latency.unit.as_str()), ("latency", "ms"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantity {
    /// By what it is named in reports, limits and objectives.
    pub name: String,
    /// `ms`, `%`; empty where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
    /// Which way is better.
    #[serde(default)]
    pub direction: Direction,
    /// What it costs.
    #[serde(default)]
    pub class: CostClass,
    /// From where hypervolume counts: a value that is just bad enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<f64>,
    /// Standard deviation between two measurements of one network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise: Option<f64>,
}

impl Quantity {
    /// An expensive quantity without unit, reference and noise.
    pub fn new(name: impl Into<String>, direction: Direction) -> Self {
        Quantity {
            name: name.into(),
            direction,
            ..Quantity::default()
        }
    }

    /// With a unit.
    #[must_use]
    pub fn unit(mut self, unit: impl Into<String>) -> Self {
        self.unit = unit.into();
        self
    }

    /// With a class of cost.
    #[must_use]
    pub fn class(mut self, class: CostClass) -> Self {
        self.class = class;
        self
    }

    /// With a value from where hypervolume counts.
    #[must_use]
    pub fn reference(mut self, reference: f64) -> Self {
        self.reference = Some(reference);
        self
    }

    /// With the standard deviation between two measurements.
    #[must_use]
    pub fn noise(mut self, noise: f64) -> Self {
        self.noise = Some(noise);
        self
    }
}

/// The end of the range that a limit leaves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Not more than this.
    AtMost(f64),
    /// Not less than this.
    AtLeast(f64),
}

/// A hard limit on a quantity. A network beyond it is no result, whatever else it reaches.
///
/// ```
/// use archai_search::{Bound, Limit};
/// let limit: Limit = "params<=200k".parse()?;
/// assert_eq!(limit.bound, Bound::AtMost(200_000.0));
/// assert!(limit.admits(200_000.0) && !limit.admits(200_001.0) && !limit.admits(f64::NAN));
/// assert_eq!(limit.to_string(), "params<=200000");
/// assert!("params=200k".parse::<Limit>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// The quantity's name.
    pub quantity: String,
    /// The range that is left.
    pub bound: Bound,
    /// How sure it must be that a value is within, where values are predicted.
    #[serde(default = "usual_confidence")]
    pub confidence: f64,
}

fn usual_confidence() -> f64 {
    0.95
}

impl Limit {
    /// A limit with the usual confidence, 0.95.
    pub fn new(quantity: impl Into<String>, bound: Bound) -> Self {
        Limit {
            quantity: quantity.into(),
            bound,
            confidence: usual_confidence(),
        }
    }

    /// Whether a value is within. One that is no number is not.
    pub fn admits(&self, value: f64) -> bool {
        match self.bound {
            Bound::AtMost(most) => value <= most,
            Bound::AtLeast(least) => value >= least,
        }
    }

    /// How far a value is beyond, as a part of the limit's size; 0 within.
    pub fn excess(&self, value: f64) -> f64 {
        let (beyond, bound) = match self.bound {
            Bound::AtMost(most) => (value - most, most),
            Bound::AtLeast(least) => (least - value, least),
        };
        match beyond.is_nan() {
            true => f64::INFINITY,
            false => beyond.max(0.0) / bound.abs().max(f64::MIN_POSITIVE),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bound {
            Bound::AtMost(most) => write!(f, "{}<={most}", self.quantity),
            Bound::AtLeast(least) => write!(f, "{}>={least}", self.quantity),
        }
    }
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fail = || {
            format!(
                "`{text}` is no limit; expected a quantity, `<=` or `>=`, and a number that may end in k, M or G, such as \
                 `params<=200k`"
            )
        };
        let (name, number, bound): (_, _, fn(f64) -> Bound) = match text.split_once("<=") {
            Some((name, number)) => (name, number, Bound::AtMost),
            None => match text.split_once(">=") {
                Some((name, number)) => (name, number, Bound::AtLeast),
                None => return Err(fail()),
            },
        };
        let (name, number) = (name.trim(), number.trim());
        let (digits, factor) = match number.char_indices().next_back() {
            Some((at, 'k')) => (&number[..at], 1e3),
            Some((at, 'M')) => (&number[..at], 1e6),
            Some((at, 'G')) => (&number[..at], 1e9),
            _ => (number, 1.0),
        };
        match digits.trim().parse::<f64>() {
            Ok(value) if value.is_finite() && !name.is_empty() => {
                Ok(Limit::new(name, bound(value * factor)))
            }
            _ => Err(fail()),
        }
    }
}
