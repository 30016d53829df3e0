//! Search spaces: what a search chooses from. A [`Space`] builds the description of its supernet, says which choices a found
//! network may keep, draws and varies architectures, tells equal ones, and counts them, all without tensors.
//!
//! [`builtin`] lists the spaces that come with the program; a program adds its own with [`Registry::with`].

pub mod cells;
mod darts;
mod nasbench201;
mod own;
mod space;

use std::borrow::Cow;
use std::sync::Arc;

use crate::config::{AddedFiles, FileSource};
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

/// The name of the configuration file of a space: its own settings or, without any, the choice of the space alone.
pub fn file(space: &dyn Space) -> String {
    format!("archai:spaces/{}.yaml", space.name())
}

/// The name of the file with what toy mode changes in a space's settings, if it has one.
pub fn toy_file(space: &dyn Space) -> Option<String> {
    let name = || format!("archai:spaces/{}_toy.yaml", space.name());
    space.toy_config().map(|_| name())
}

/// The configuration files of all spaces under their names, on top of the files that `rest` gives.
///
/// ```
/// use archai_spec::config::{FileSource, Shipped};
/// use archai_spec::spaces;
/// let spaces = spaces::builtin();
/// assert!(spaces::files(&spaces, &Shipped).read("archai:spaces/nasbench201.yaml").is_ok());
/// ```
pub fn files<'a>(spaces: &'a Spaces, rest: &'a dyn FileSource) -> AddedFiles<'a> {
    let texts = spaces.iter().flat_map(|space| {
        let own = space.config().map_or_else(
            || format!("nas:\n  search:\n    space: {}\n", space.name()).into(),
            Cow::Borrowed,
        );
        let toy = toy_file(space.as_ref()).zip(space.toy_config().map(Cow::Borrowed));
        [(file(space.as_ref()), own)].into_iter().chain(toy)
    });
    AddedFiles::new(texts, rest)
}
