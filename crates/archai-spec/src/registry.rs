//! The list of all things of one kind by name: algorithms, data formats, spaces, exporters. A value that a program is
//! started with, never a global, so that two experiments in one process can know different things.

use std::fmt;
use std::sync::Arc;

use crate::names::{UnknownName, unknown};

/// What a [`Registry`] needs to know of the things in it.
pub trait Named {
    /// The name by which people choose it, in configurations and flags: `cifar10_binary`.
    fn name(&self) -> &str;

    /// What it is, in one line without a full stop.
    fn about(&self) -> &str;
}

/// Things of one kind by name, in the order in which they were added.
///
/// ```
/// use archai_spec::registry::{Named, Registry};
/// use std::sync::Arc;
///
/// struct Colour(&'static str);
/// impl Named for Colour {
///     fn name(&self) -> &str { self.0 }
///     fn about(&self) -> &str { "a colour" }
/// }
///
/// let colours = Registry::new("colour")
///     .with(Arc::new(Colour("red")))
///     .with(Arc::new(Colour("green")));
/// assert_eq!(colours.get("red")?.name(), "red");
/// assert_eq!(
///     colours.get("gren").err().unwrap().to_string(),
///     "there is no colour `gren`; did you mean `green`? known are red, green"
/// );
/// # Ok::<(), archai_spec::names::UnknownName>(())
/// ```
pub struct Registry<T: ?Sized> {
    kind: &'static str,
    items: Vec<Arc<T>>,
}

impl<T: ?Sized> Clone for Registry<T> {
    fn clone(&self) -> Self {
        Registry {
            kind: self.kind,
            items: self.items.clone(),
        }
    }
}

impl<T: Named + ?Sized> fmt::Debug for Registry<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Registry { kind, items: _ } = self;
        write!(f, "Registry of {kind} ")?;
        f.debug_list().entries(self.names()).finish()
    }
}

/// A thing of this name is there already.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is a {kind} named `{name}` already; choose another name")]
pub struct DuplicateName {
    /// The kind of the registry.
    pub kind: &'static str,
    /// The name.
    pub name: String,
}

impl<T: Named + ?Sized> Registry<T> {
    /// An empty list. `kind` says in error messages what is listed, as a singular noun: `data format`.
    pub fn new(kind: &'static str) -> Self {
        Registry {
            kind,
            items: Vec::new(),
        }
    }

    /// What is listed.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Adds an item at the end, or in the place of the item of the same name: a program may bring its own version of a
    /// built-in one. Where a second item of one name would be a mistake, use [`Registry::register`].
    #[must_use]
    pub fn with(mut self, item: Arc<T>) -> Self {
        match self.items.iter_mut().find(|i| i.name() == item.name()) {
            Some(place) => *place = item,
            None => self.items.push(item),
        }
        self
    }

    /// Adds an item with a name of its own at the end.
    ///
    /// # Errors
    /// The name is in use; the list stays as it is.
    pub fn register(&mut self, item: Arc<T>) -> Result<(), DuplicateName> {
        if self.contains(item.name()) {
            return Err(DuplicateName {
                kind: self.kind,
                name: item.name().to_string(),
            });
        }
        self.items.push(item);
        Ok(())
    }

    /// The item of a name.
    ///
    /// # Errors
    /// There is none; the message offers the nearest name and lists all.
    pub fn get(&self, name: &str) -> Result<&Arc<T>, UnknownName> {
        self.items
            .iter()
            .find(|item| item.name() == name)
            .ok_or_else(|| unknown(self.kind, name, self.names()))
    }

    /// Whether an item has this name.
    pub fn contains(&self, name: &str) -> bool {
        self.items.iter().any(|item| item.name() == name)
    }

    /// All items, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.items.iter()
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.items.iter().map(|item| item.name())
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is no item.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}
