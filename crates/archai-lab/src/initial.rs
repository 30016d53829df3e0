//! The weights that an evaluation starts from: `nas.eval.init_weights`.

use std::path::{Path, PathBuf};

use archai_engine::export::import::{self, Weights};
use archai_engine::files::FileError;
use archai_spec::desc::{ModelDesc, OpCatalog};
use archai_spec::settings::Settings;

use crate::error::LabError;
use crate::message::{Message, Term};

/// The key that names them, whose value in records is their digest: a path says nothing of what a run computes.
pub(crate) const INIT_WEIGHTS: &str = "nas.eval.init_weights";

/// A file of weights that was looked at.
pub(crate) struct InitialWeights {
    path: PathBuf,
    /// BLAKE3 digest of the file, in hexadecimal.
    pub digest: String,
}

impl InitialWeights {
    /// The weights that the settings name, if they name any.
    ///
    /// # Errors
    /// A file that cannot be read or holds no weights; a request that searches for the network itself.
    pub fn of(settings: &Settings, searches: bool) -> Result<Option<Self>, LabError> {
        let Some(path) = &settings.nas.eval.init_weights else {
            return Ok(None);
        };
        if searches {
            return Err(LabError::request(
                Message::from(format!(
                    "{INIT_WEIGHTS} names `{path}`, but this run searches for a network, whose weights nobody has yet; add "
                ))
                .term(Term::NoSearch)
                .text(" and name the network in nas.eval.final_desc_filename, or leave the key out"),
            ));
        }
        let path = PathBuf::from(path);
        let bytes = read(&path)?;
        weights(&path, &bytes)?;
        Ok(Some(InitialWeights {
            digest: blake3::hash(&bytes).to_hex().to_string(),
            path,
        }))
    }

    /// Checks that a network can start from them.
    ///
    /// # Errors
    /// They are of another network.
    pub fn check(&self, desc: &ModelDesc, catalog: &OpCatalog) -> Result<(), LabError> {
        let weights = weights(&self.path, &read(&self.path)?)?;
        let started = import::start(&weights, desc, catalog);
        started.map(drop).map_err(|e| refused(&self.path, &e))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, LabError> {
    std::fs::read(path).map_err(|e| {
        let error = FileError::new("read", path, e);
        LabError::request(format!("{INIT_WEIGHTS}: {error}"))
    })
}

fn weights(path: &Path, bytes: &[u8]) -> Result<Weights, LabError> {
    Weights::read(bytes).map_err(|e| refused(path, &e))
}

fn refused(path: &Path, error: &std::io::Error) -> LabError {
    LabError::request(format!("{INIT_WEIGHTS}: `{}`: {error}", path.display()))
}
