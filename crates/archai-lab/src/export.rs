//! A trained network, read from its model file or its run directory, in the formats of other programs: what `archai export`
//! does.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use archai_engine::experiment::RunFile;
use archai_engine::export::{Exporter, Formats, ModelFile, ModelFileErrorKind, Options};
use archai_engine::files::{Disk, FileError, RealDisk, make_folder, write_atomically};

use crate::config::all_ops;
use crate::error::LabError;
use crate::lab::Lab;
use crate::message::{Message, Term};
use crate::rundir::EXPORTS;

/// What is exported, and as what.
///
/// ```
/// use archai_lab::{Lab, export::ExportRequest};
/// let request = ExportRequest::new("no/such/run_eval", &["safetensors"]);
/// let error = Lab::builtin().export(&request).unwrap_err().to_string();
/// assert!(error.contains("there is no such file or folder"), "{error}");
/// ```
#[derive(Clone, Debug)]
pub struct ExportRequest {
    /// A model file, or the run directory of an evaluation.
    pub model: PathBuf,
    /// Whether the weights of the run directory that were best on validation data are taken, not the last ones.
    pub best: bool,
    /// The names of exporters.
    pub formats: Vec<String>,
    /// Exporters that belong to these weights (a quantised network), beside those of the lab; each writes.
    pub own: Vec<Arc<dyn Exporter>>,
    /// How they write.
    pub options: Options,
    /// The folder for the files, which is made if it is not there. None stands for the folder of a model file, and for
    /// `export` in a run directory, whose own files stay as they are.
    pub out: Option<PathBuf>,
    /// Whether files that are there already, with other contents, are replaced; they may have been edited.
    pub replace: bool,
}

impl ExportRequest {
    /// A model in these formats, in the usual place.
    pub fn new(model: impl Into<PathBuf>, formats: &[&str]) -> Self {
        ExportRequest {
            model: model.into(),
            best: false,
            formats: formats.iter().map(|name| (*name).to_string()).collect(),
            own: Vec::new(),
            options: Options::default(),
            out: None,
            replace: false,
        }
    }
}

impl ExportRequest {
    /// The folder in which the files will stand: the one that is asked for, `export` in a run directory, or that of the model
    /// file.
    pub fn folder(&self) -> PathBuf {
        let out = match &self.out {
            Some(out) => out.clone(),
            None if self.model.is_dir() => self.model.join(EXPORTS),
            None => self
                .model
                .parent()
                .map(Path::to_path_buf)
                .unwrap_or_default(),
        };
        match out.as_os_str().is_empty() {
            true => PathBuf::from("."),
            false => out,
        }
    }
}

impl Lab {
    /// Writes a trained network in the formats of other programs, and gives the files. All of them are written before the
    /// first one gets its name, so that what goes wrong leaves nothing behind.
    ///
    /// # Errors
    /// [`LabError::Request`] for formats that there are not, options that none of them heeds, an op that one of them cannot
    /// express, by name, and a model that is not there; another for a model file that cannot be used (see
    /// [`ModelFileErrorKind`]) and for files that cannot be written.
    pub fn export(&self, request: &ExportRequest) -> Result<Vec<RunFile>, LabError> {
        let mut exporters = self.components().exporters.clone();
        let mut names: Vec<&str> = request.formats.iter().map(String::as_str).collect();
        for own in &request.own {
            exporters
                .register(Arc::clone(own))
                .map_err(|e| LabError::request(e.to_string()))?;
            names.push(own.name());
        }
        let formats = Formats::new(&exporters, &names, &request.options);
        let formats = formats.map_err(LabError::request)?;
        let (ops, _) = all_ops(self.algorithms(), self.components())?;
        let catalog = ops.catalog();
        let source = ModelFile::find(&request.model, request.best)
            .map_err(|e| LabError::request(e.to_string()))?;
        let model = ModelFile::open(&source, catalog).map_err(|e| match e.kind {
            ModelFileErrorKind::Absent => LabError::request(e.to_string()),
            _ => LabError::failure(e.to_string()),
        })?;
        formats
            .check(&model.desc, catalog)
            .map_err(LabError::request)?;
        let out = request.folder();
        let name = source.file_name().unwrap_or_default();
        let products = formats.products_beside(&out.join(name));
        let same = |path: &Path| match (path.canonicalize(), source.canonicalize()) {
            (Ok(a), Ok(b)) => a == b,
            _ => false,
        };
        if products.iter().any(|product| same(product.path())) {
            return Err(LabError::request(format!(
                "`{}` would be written over while it is read; name another folder for the files, or leave the format out",
                source.display()
            )));
        }
        let stage = Stage::new(&out)?;
        let exported = model.exported(catalog, formats.options());
        let mut files = Vec::new();
        for product in &products {
            let below = product.path().strip_prefix(&out).unwrap_or(product.path());
            let path = stage.folder.join(below);
            if let Some(folder) = path.parent() {
                make_folder(&RealDisk, folder)?;
            }
            // The error is of the file that was asked for, not of its place until it is complete.
            write_atomically(&path, |w| product.write(&exported, w))
                .map_err(|e| FileError::new("write", product.path(), e.source))?;
            let size = fs::metadata(&path).map_err(|e| FileError::new("read", &path, e))?;
            files.push(RunFile {
                bytes: Some(size.len()),
                usage: product.usage(),
                ..RunFile::new(product.describe("weights"), product.path())
            });
        }
        if !request.replace
            && let Some(other) = files.iter().find(|file| !stage.may_take(&file.path))
        {
            return Err(LabError::request(
                Message::from(format!(
                    "`{}` is there already and differs from what would be written; name another folder, or replace it: ",
                    other.path.display()
                ))
                .term(Term::Replace),
            ));
        }
        stage.publish(&files)?;
        Ok(files)
    }
}

/// A hidden folder in which files wait until all of them are complete. It goes away with the value.
struct Stage {
    /// Where the files will be.
    out: PathBuf,
    /// Where they are.
    folder: PathBuf,
    /// The outermost folder that was made for them.
    made: Option<PathBuf>,
}

impl Stage {
    fn new(out: &Path) -> Result<Self, FileError> {
        let missing = out
            .ancestors()
            .take_while(|path| !path.as_os_str().is_empty());
        let made = missing.take_while(|path| !path.exists()).last();
        let made = made.map(Path::to_path_buf);
        make_folder(&RealDisk, out)?;
        let mut n = 0;
        // A name that nobody else has: another process may write here, and one that was killed may have left its folder.
        let folder = loop {
            let folder = out.join(format!(".exporting-{n}"));
            match fs::create_dir(&folder) {
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => n += 1,
                Err(e) => return Err(FileError::new("make the folder", &folder, e)),
                Ok(()) => break folder,
            }
        };
        Ok(Stage {
            out: out.to_path_buf(),
            folder,
            made,
        })
    }

    /// Where a file waits.
    fn staged(&self, place: &Path) -> PathBuf {
        self.folder
            .join(place.strip_prefix(&self.out).unwrap_or(place))
    }

    /// Whether there is nothing at a file's place, or the same file.
    fn may_take(&self, place: &Path) -> bool {
        match fs::read(place) {
            Ok(old) => fs::read(self.staged(place)).is_ok_and(|new| new == old),
            Err(e) => e.kind() == std::io::ErrorKind::NotFound,
        }
    }

    /// Gives all files their places: a folder that is new as a whole, all else one by one.
    fn publish(mut self, files: &[RunFile]) -> Result<(), FileError> {
        for RunFile { path, .. } in files {
            let failed = |e| FileError::new("write", path, e);
            let below = path.strip_prefix(&self.out).unwrap_or(path);
            let first = below.components().next().map(|first| self.out.join(first));
            let place = match first {
                // Its files come along.
                Some(folder) if !folder.exists() => folder,
                _ => path.clone(),
            };
            let staged = self.staged(&place);
            if !staged.exists() {
                continue;
            }
            if let Some(folder) = place.parent() {
                make_folder(&RealDisk, folder)?;
            }
            fs::rename(staged, &place).map_err(failed)?;
        }
        self.made = None;
        RealDisk
            .sync_dir(&self.out)
            .map_err(|e| FileError::new("write", &self.out, e))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Nothing can be done about what cannot be removed.
        let _ = fs::remove_dir_all(&self.folder);
        if let Some(made) = &self.made {
            let _ = fs::remove_dir_all(made);
        }
    }
}
