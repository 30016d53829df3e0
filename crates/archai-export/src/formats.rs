//! The formats in which one network is written, and the files that come of it: [`Formats`].

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use archai_spec::desc::{ModelDesc, OpCatalog};

use crate::{Exported, Exporter, Exporters, Options};

/// The formats in which one network is written, with the choices about them. What is written where follows from these alone,
/// so that it can be said, checked and reserved before there is a network.
///
/// ```
/// use archai_export::{Formats, Options, builtin};
/// use std::path::Path;
/// let formats = Formats::new(&builtin(), &["safetensors", "pytorch"], &Options::default())?;
/// let names = |path: &str| -> Vec<String> {
///     formats.products(Path::new(path)).iter().map(|p| p.path().display().to_string()).collect()
/// };
/// assert_eq!(names("model.pt"), ["model.safetensors", "model.pt", "model.py"]);
/// assert_eq!(names("model.bin"), ["model.safetensors", "model.bin", "model.py"]);
/// let formats = Formats::new(&builtin(), &["safetensors"], &Options::default())?;
/// assert_eq!(formats.products(Path::new("model.bin"))[0].path(), Path::new("model.safetensors"));
/// let unknown = Formats::new(&builtin(), &["safetensor"], &Options::default()).unwrap_err();
/// assert!(unknown.contains("did you mean `safetensors`?"));
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug)]
pub struct Formats {
    exporters: Vec<Arc<dyn Exporter>>,
    options: Options,
}

/// A file that a format writes.
#[derive(Clone, Debug)]
pub struct Product {
    exporter: Arc<dyn Exporter>,
    path: PathBuf,
    /// Its name among the format's companions; none for the file that bears the format's extension.
    companion: Option<String>,
}

impl Formats {
    /// Those of `all` that have these names, in this order.
    ///
    /// # Errors
    /// Says which name there is not, which two formats would write the same file, or which choice none of them heeds.
    pub fn new<S: AsRef<str>>(
        all: &Exporters,
        names: &[S],
        options: &Options,
    ) -> Result<Self, String> {
        let mut exporters: Vec<Arc<dyn Exporter>> = Vec::new();
        for name in names {
            let exporter = all.get(name.as_ref()).map_err(|e| e.to_string())?;
            let extension = exporter.extension();
            let same = exporters.iter().find(|other| {
                other.name() == exporter.name()
                    || (!extension.is_empty() && other.extension() == extension)
            });
            if let Some(same) = same {
                return Err(match same.name() == exporter.name() {
                    true => format!("`{}` stands there twice; name it once", same.name()),
                    false => format!(
                        "`{}` and `{}` both write files that end in `.{extension}`; choose one of them",
                        same.name(),
                        exporter.name()
                    ),
                });
            }
            exporters.push(Arc::clone(exporter));
        }
        let formats = Formats {
            exporters,
            options: options.clone(),
        };
        formats.check_options().map(|()| formats)
    }

    /// Refuses a choice that none of the formats heeds: it would have no effect.
    fn check_options(&self) -> Result<(), String> {
        let fields = |options: &Options| match serde_json::json!(options) {
            serde_json::Value::Object(fields) => fields,
            _ => serde_json::Map::new(),
        };
        let usual = fields(&Options::default());
        let chosen = fields(&self.options);
        let mut changed = chosen
            .iter()
            .filter(|(name, value)| usual.get(*name) != Some(value));
        let idle = changed.find(|(name, _)| {
            let heeds = |e: &Arc<dyn Exporter>| e.options().contains(&name.as_str());
            !self.exporters.iter().any(heeds)
        });
        match idle {
            None => Ok(()),
            Some((name, value)) => {
                let names: Vec<&str> = self.exporters.iter().map(|e| e.name()).collect();
                Err(format!(
                    "the option `{name}: {value}` has no effect on {}; leave it out, or add a format that heeds it",
                    names.join(", ")
                ))
            }
        }
    }

    /// The choices about them.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Asks every format whether it can express a network.
    ///
    /// # Errors
    /// Says which format cannot, and which op is why.
    pub fn check(&self, desc: &ModelDesc, catalog: &OpCatalog) -> Result<(), String> {
        let desc = match self.options.training {
            true => desc.clone(),
            false => desc.without_towers(),
        };
        self.exporters.iter().try_for_each(|exporter| {
            let checked = exporter.check(&desc, catalog, &self.options);
            checked.map_err(|e| {
                format!(
                    "the network cannot be written as `{}`: {e}; or leave `{0}` out",
                    exporter.name()
                )
            })
        })
    }

    /// The files of a network, format by format. `path` names the file of the format whose extension it has, or else of the
    /// one that [takes any name](Exporter::takes_any_name); the others stand beside it with their own extensions.
    pub fn products(&self, path: &Path) -> Vec<Product> {
        let has_extension =
            |e: &dyn Exporter| path.extension().is_some_and(|own| own == e.extension());
        let own = self
            .exporters
            .iter()
            .position(|e| has_extension(e.as_ref()));
        let own = own.or_else(|| self.exporters.iter().position(|e| e.takes_any_name()));
        self.products_with(path, own)
    }

    /// The files of a network beside `path`, a file that is read: each has the stem of its name and the extension of its own
    /// format.
    ///
    /// ```
    /// use archai_export::{Formats, Options, builtin};
    /// use std::path::Path;
    /// let formats = Formats::new(&builtin(), &["pytorch"], &Options::default())?;
    /// let products = formats.products_beside(Path::new("served/v1.safetensors"));
    /// assert_eq!(products[0].path(), Path::new("served/v1.pt"));
    /// # Ok::<(), String>(())
    /// ```
    pub fn products_beside(&self, path: &Path) -> Vec<Product> {
        self.products_with(path, None)
    }

    /// Where the format of index `own`, if there is one, writes `path` itself.
    fn products_with(&self, path: &Path, own: Option<usize>) -> Vec<Product> {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let mut products = Vec::new();
        for (i, exporter) in self.exporters.iter().enumerate() {
            let product = |path, companion| Product {
                exporter: Arc::clone(exporter),
                path,
                companion,
            };
            if !exporter.extension().is_empty() {
                let place = match Some(i) == own {
                    true => path.to_path_buf(),
                    false => path.with_extension(exporter.extension()),
                };
                products.push(product(place, None));
            }
            for name in exporter.companions(&stem) {
                products.push(product(path.with_file_name(&name), Some(name)));
            }
        }
        products
    }
}

impl Product {
    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it holds the network's numbers: its size is about that of all of them.
    pub fn is_large(&self) -> bool {
        match &self.companion {
            None => true,
            Some(name) => self.exporter.is_large(name),
        }
    }

    /// Writes it.
    ///
    /// # Errors
    /// As [`Exporter::export`].
    pub fn write(&self, model: &Exported<'_>, out: &mut dyn Write) -> io::Result<()> {
        match &self.companion {
            None => self.exporter.export(model, out),
            Some(name) => self.exporter.export_companion(name, model, out),
        }
    }

    /// What it is, in a few words, where `what` says which weights it holds.
    pub fn describe(&self, what: &str) -> String {
        match &self.companion {
            None => self.exporter.describe(what),
            Some(name) => self.exporter.describe_companion(name, what),
        }
    }

    /// A line of code that loads it, if it is what a user of the format begins with.
    pub fn usage(&self) -> Option<String> {
        let name = self.path.file_name()?.to_string_lossy();
        let name = match &self.companion {
            None => &name,
            Some(companion) => companion.as_str(),
        };
        self.exporter.usage(name)
    }
}
