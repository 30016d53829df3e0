//! The description that an evaluation starts from.

use std::path::{Path, PathBuf};

use archai_engine::export::read_safetensors;
use archai_engine::files::{FileError, write_atomically};
use archai_spec::desc::{ModelDesc, OpCatalog};
use archai_spec::settings::Settings;

use crate::dirs::RunDirs;
use crate::error::LabError;
use crate::message::{Message, Term};
use crate::rundir::{FOUND_DESC, GALLERY, RunDir};

/// A found description, read while it is still where it was.
pub(crate) struct Template {
    pub path: PathBuf,
    text: String,
    /// Whether a search of this run's name found it.
    is_ours: bool,
    /// Names and texts of the files in the gallery beside it.
    gallery: Vec<(String, String)>,
}

impl Template {
    /// What a search of this run's name found: the description, along with all networks of its gallery, if it has one.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub fn found(path: &Path) -> Result<Self, LabError> {
        let text = std::fs::read_to_string(path).map_err(|e| FileError::new("read", path, e))?;
        Ok(Template {
            path: path.to_path_buf(),
            text,
            is_ours: true,
            gallery: gallery_beside(path)?,
        })
    }

    /// A description that was named, which is evaluated alone: a file of its own, or the header of a model file.
    fn named(path: &Path) -> Result<Self, LabError> {
        let bytes = std::fs::read(path).map_err(|e| FileError::new("read", path, e))?;
        let invalid = |e: String| {
            FileError::new(
                "read",
                path,
                std::io::Error::new(std::io::ErrorKind::InvalidData, e),
            )
        };
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(e) => desc_of_model(e.as_bytes()).map_err(invalid)?,
        };
        Ok(Template {
            path: path.to_path_buf(),
            text,
            is_ours: false,
            gallery: Vec::new(),
        })
    }

    /// The description to evaluate without a search: the one that `nas.eval.final_desc_filename` names, or what the last
    /// search of this name found. The description comes with it.
    ///
    /// # Errors
    /// There is none, or it is no description.
    pub fn without_search(
        dirs: &RunDirs,
        search: &Settings,
        eval: &Settings,
        catalog: &OpCatalog,
    ) -> Result<(Self, ModelDesc), LabError> {
        let named = PathBuf::from(&eval.nas.eval.final_desc_filename);
        let searched = PathBuf::from(&search.nas.search.final_desc_filename);
        let is_default = named.starts_with(dirs.eval.path());
        let path = match (named.exists(), is_default && searched.exists()) {
            (true, _) => named.clone(),
            (false, true) => searched,
            (false, false) => {
                let looked_for = if is_default {
                    format!(
                        "neither `{}` nor `{}` is there",
                        named.display(),
                        searched.display()
                    )
                } else {
                    format!("`{}` is not there", named.display())
                };
                return Err(LabError::request(
                    Message::from(format!(
                        "there is no found network to evaluate: {looked_for}; search first (without "
                    ))
                    .term(Term::NoSearch)
                    .text("), or name a description in nas.eval.final_desc_filename"),
                ));
            }
        };
        let template = match is_default {
            true => Self::found(&path)?,
            false => Self::named(&path)?,
        };
        let name = path.display().to_string();
        let desc = ModelDesc::from_yaml(&template.text, &name, catalog);
        Ok((template, desc?))
    }

    /// With a search, the evaluation takes what the search found; another file would be ignored or written over.
    ///
    /// # Errors
    /// The settings name another file.
    pub fn check_not_named(dirs: &RunDirs, eval: &Settings) -> Result<(), LabError> {
        let named = &eval.nas.eval.final_desc_filename;
        if Path::new(named).starts_with(dirs.eval.path()) {
            return Ok(());
        }
        Err(LabError::request(
            Message::from(format!(
                "nas.eval.final_desc_filename names `{named}`, but this run searches for a network itself; add "
            ))
            .term(Term::NoSearch)
            .text(" to evaluate that file, or leave the key out"),
        ))
    }

    /// The digest of the description, if it came from a file of the user's.
    pub fn given_digest(&self) -> Option<String> {
        let digest = || blake3::hash(self.text.as_bytes()).to_hex().to_string();
        (!self.is_ours).then(digest)
    }

    /// Writes it into the directory of an evaluation, with its gallery.
    ///
    /// # Errors
    /// Files that cannot be written.
    pub fn write(&self, dir: &RunDir) -> Result<(), FileError> {
        dir.write(FOUND_DESC, &self.text)?;
        if !self.gallery.is_empty() {
            let folder = dir.file(GALLERY);
            std::fs::create_dir_all(&folder).map_err(|e| FileError::new("make", &folder, e))?;
            for (name, text) in &self.gallery {
                write_atomically(&folder.join(name), |out| {
                    std::io::Write::write_all(out, text.as_bytes())
                })?;
            }
        }
        Ok(())
    }
}

/// The description in the header of a model file.
fn desc_of_model(bytes: &[u8]) -> Result<String, String> {
    let expected = "expected a description, or a model file (safetensors), whose header holds one";
    let (_, mut texts) = read_safetensors(bytes).map_err(|e| format!("{e}; {expected}"))?;
    (texts.remove("model_desc")).ok_or_else(|| format!("it holds weights alone; {expected}"))
}

/// Names and texts of the descriptions in the gallery beside a found description, sorted.
fn gallery_beside(path: &Path) -> Result<Vec<(String, String)>, LabError> {
    let folder = path.with_file_name(GALLERY);
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let failed = |e| FileError::new("read", &folder, e);
    let mut gallery = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".yaml") {
            let text =
                std::fs::read_to_string(&path).map_err(|e| FileError::new("read", &path, e))?;
            gallery.push((name.into_owned(), text));
        }
    }
    gallery.sort();
    Ok(gallery)
}
