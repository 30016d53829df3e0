//! Many runs, few numbers: [`collate()`] puts runs that differ in nothing but their seed together, and gives mean, standard
//! deviation and confidence interval of every figure, with the random baseline beside it. [`find()`] reads the records of
//! finished runs below a folder.

mod collate;
mod csv;
mod figures;
mod find;
mod markdown;
mod stats;

pub use collate::{BASELINE, Baseline, Collation, FinishedRun, Group, LeftOut, Row, collate};
pub use find::find;
pub use stats::{Difference, Sample};
