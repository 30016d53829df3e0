//! Random search, without repetitions.

use archai_spec::rng::Key;
use serde::{Deserialize, Serialize};

use crate::optimiser::{Exhausted, Optimiser, Proposal, View};

/// Every network that is left is as likely as its members are.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomSearch {}

impl Optimiser for RandomSearch {
    fn ask(&self, view: &View<'_>, key: Key) -> Result<Proposal, Exhausted> {
        Ok(Proposal::new(view.draw(key)?.member, "random"))
    }
}
