//! Stand-ins for types of the neighbouring crates.

/// Keyed random draws.
pub mod rng {
    /// A key of random draws: a hash of everything that it was derived from.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Key([u8; 32]);

    impl Key {
        /// The root key of a run.
        pub fn new(seed: u64) -> Key {
            Key(*blake3::hash(&seed.to_le_bytes()).as_bytes())
        }
        /// A key for a purpose.
        pub fn with(&self, purpose: &str) -> Key {
            Key(*blake3::keyed_hash(&self.0, purpose.as_bytes()).as_bytes())
        }
        /// A key for a number: an epoch, a step, a sample.
        pub fn index(&self, i: u64) -> Key {
            Key(*blake3::keyed_hash(&self.0, &i.to_le_bytes()).as_bytes())
        }
        /// Uniform numbers in [0, 1).
        pub fn uniforms(&self) -> impl Iterator<Item = f64> + use<> {
            use rand_chacha::rand_core::{Rng, SeedableRng};
            let mut rng = rand_chacha::ChaCha8Rng::from_seed(self.0);
            std::iter::repeat_with(move || (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64)
        }
        /// Standard normal numbers.
        pub fn normals(&self) -> impl Iterator<Item = f64> + use<> {
            let mut u = self.uniforms();
            std::iter::repeat_with(move || {
                let (a, b) = (1.0 - u.next().unwrap_or(0.0), u.next().unwrap_or(0.0));
                (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
            })
        }
    }
}

/// Images with labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// `[n, c, h, w]`, row-major.
    pub images: Vec<f32>,
    /// Sizes.
    pub shape: [usize; 4],
    /// One label per image.
    pub labels: Vec<u32>,
}

/// What is known of an op without tensors.
pub trait OpInfo: Send + Sync {
    /// Name in descriptions.
    fn name(&self) -> &str;
    /// One line for `archai ops`.
    fn summary(&self) -> &str;
}

/// Ops by name.
#[derive(Clone, Default)]
pub struct OpCatalog {
    ops: indexmap::IndexMap<String, std::sync::Arc<dyn OpInfo>>,
}

impl OpCatalog {
    /// Adds an op.
    ///
    /// # Errors
    /// The name is taken.
    pub fn register(&mut self, op: impl OpInfo + 'static) -> Result<(), String> {
        match self.ops.insert(op.name().to_string(), std::sync::Arc::new(op)) {
            None => Ok(()),
            Some(_) => Err("taken".into()),
        }
    }
}
