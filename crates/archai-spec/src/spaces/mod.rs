//! Search spaces: what a search chooses from. A [`Space`] builds the description of its supernet, says which choices a found
//! network may keep, draws and varies architectures, tells equal ones, and counts them, all without tensors.
//!
//! [`builtin`] lists the spaces that come with the program; a program adds its own with [`Registry::with`].

pub mod cells;
mod darts;
mod nasbench201;
mod own;
mod space;

use std::sync::Arc;

use crate::registry::Registry;

pub use darts::DartsSpace;
pub use nasbench201::{NASBENCH201, NasBench201Space};
pub use own::OwnSpace;
pub use space::{Count, Space};

/// Spaces by name.
pub type Spaces = Registry<dyn Space>;

/// The spaces that come with the program.
///
/// ```
/// use archai_spec::spaces;
/// let spaces = spaces::builtin();
/// assert_eq!(spaces.names().collect::<Vec<_>>(), ["darts", "nasbench201"]);
/// ```
pub fn builtin() -> Spaces {
    let none: Spaces = Registry::new("space");
    none.with(Arc::new(DartsSpace))
        .with(Arc::new(NasBench201Space))
}
