//! Pictures of the test data of a run, for pages that show what its network was wrong about.

use archai_data::sheet::thumbnail;
use archai_data::{Split, open};
use archai_spec::settings::Dataset;

pub use archai_data::sheet::Thumbnail;

use crate::config::dataset_of_run;
use crate::error::LabError;
use crate::lab::Lab;
use crate::rundir::RunDir;

impl Lab {
    /// Some of the test pictures of a finished evaluation, by their numbers in the data, as they are before anything is done to
    /// them but that the longest side is at most `side` pixels. They are shown only if the data are those that the run was
    /// tested on.
    ///
    /// # Errors
    /// A directory that does not say which data it had; data that are not there, that changed since, or that cannot be read.
    pub fn test_pictures(
        &self,
        dir: &RunDir,
        indices: &[usize],
        side: u32,
    ) -> Result<Vec<Thumbnail>, LabError> {
        let untold = || {
            LabError::failure(format!(
                "the records in `{}` do not say on which data the network was tested",
                dir.path().display()
            ))
        };
        let record = dir.record()?.ok_or_else(untold)?;
        let then = record.data.get("test").ok_or_else(untold)?;
        let section = dataset_of_run(self, dir, Vec::new())?.ok_or_else(untold)?;
        // What is done with images later does not change them.
        let section = Dataset {
            max_batches: -1,
            crop_padding: 0,
            flip: false,
            transforms: None,
            ..section
        };
        let formats = &self.components().formats;
        let now = (self.host().cache).inspect(formats, &section, Split::Test)?;
        if now.digest != then.digest {
            return Err(LabError::failure(format!(
                "the test data changed since: {} pictures then (digest {:.8}), {} now (digest {:.8})",
                then.images, then.digest, now.images, now.digest
            )));
        }
        let data = open(formats, &section, Split::Test)?;
        let pictures = indices.iter().map(|&index| {
            if index >= data.len() {
                let text = format!("there is no test picture {index}; there are {}", data.len());
                return Err(LabError::failure(text));
            }
            Ok(thumbnail(&*data, index, side)?)
        });
        pictures.collect()
    }
}
