//! Which settings are paths, and their expansion.

use super::Settings;
use crate::config::{ExpandError, Vars, expand};

impl Settings {
    /// Expands `~`, `$VAR` and `${VAR}` in every path: the log directory, the file names and the data sets' folders. A
    /// phase that has its own `$expdir` expands its own copy of the settings.
    ///
    /// # Errors
    /// The keys whose values cannot be expanded, with the reason; the others are expanded all the same.
    pub fn expand_paths(&mut self, vars: &Vars) -> Result<(), Vec<(String, ExpandError)>> {
        let (search, eval) = (&mut self.nas.search, &mut self.nas.eval);
        let paths: [(&str, &mut String); 12] = [
            ("common.logdir", &mut self.common.logdir),
            ("dataset.path", &mut self.dataset.path),
            (
                "nas.search.final_desc_filename",
                &mut search.final_desc_filename,
            ),
            (
                "nas.search.model_desc.dataset.path",
                &mut search.model_desc.dataset.path,
            ),
            (
                "nas.search.loader.dataset.path",
                &mut search.loader.dataset.path,
            ),
            (
                "nas.search.post_train.loader.dataset.path",
                &mut search.post_train.loader.dataset.path,
            ),
            (
                "nas.eval.final_desc_filename",
                &mut eval.final_desc_filename,
            ),
            ("nas.eval.full_desc_filename", &mut eval.full_desc_filename),
            ("nas.eval.metric_filename", &mut eval.metric_filename),
            ("nas.eval.model_filename", &mut eval.model_filename),
            (
                "nas.eval.model_desc.dataset.path",
                &mut eval.model_desc.dataset.path,
            ),
            (
                "nas.eval.loader.dataset.path",
                &mut eval.loader.dataset.path,
            ),
        ];
        let mut problems = Vec::new();
        for (key, path) in paths {
            match expand(path, vars) {
                Ok(expanded) => *path = expanded,
                Err(error) => problems.push((key.to_owned(), error)),
            }
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }
}
