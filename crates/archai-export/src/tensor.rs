//! A tensor as files hold it.

use serde::{Deserialize, Serialize};

/// A tensor by name, on the host, as files hold it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NamedTensor {
    /// Readable name.
    pub name: String,
    /// Shape.
    pub shape: Vec<usize>,
    /// Numbers in row-major order; 32-bit values are exact in it.
    pub values: Vec<f64>,
}
