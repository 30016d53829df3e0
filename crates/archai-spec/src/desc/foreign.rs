//! Architectures in the notations of other programs, told apart by what the text holds.

use std::fmt;

use super::nasbench101::Cell101;
use super::nasbench201::Cell201;
use super::{DescError, DescErrorKind, Genotype, Which};

/// A notation of architectures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A genotype of DARTS and the programs that came from it.
    Genotype,
    /// A cell of NAS-Bench-201.
    NasBench201,
    /// A cell of NAS-Bench-101.
    NasBench101,
    /// A model description of Microsoft Archai.
    Archai,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Form::Genotype => "a genotype of DARTS",
            Form::NasBench201 => "a cell of NAS-Bench-201",
            Form::NasBench101 => "a cell of NAS-Bench-101",
            Form::Archai => "a model description of Microsoft Archai",
        })
    }
}

/// An architecture that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// See [`Genotype::find`].
    Genotype(Genotype),
    /// See [`Cell201::find`].
    Cell201(Cell201),
    /// A matrix and its ops.
    Cell101(Cell101),
    /// The text is for [`import_archai`](super::import_archai), which builds a description at once.
    Archai,
}

impl Foreign {
    /// Reads an architecture in whatever notation the text has.
    ///
    /// ```
    /// use archai_spec::desc::{Foreign, Form, Which};
    /// let cell = Foreign::read("433000", &Which::Only).unwrap();
    /// assert_eq!(cell.form(), Form::NasBench201);
    /// assert!(Foreign::read("a poem", &Which::Only).unwrap_err().to_string().contains("expected"));
    /// ```
    ///
    /// # Errors
    /// No notation is recognised, or what is wrong with the text in the one that it has.
    pub fn read(text: &str, which: &Which) -> Result<Foreign, DescError> {
        let form = detect(text)?;
        let one = |thing: &str| match which {
            Which::Only => Ok(()),
            _ => Err(error(format!(
                "the text is {form}, of which a text holds one; leave the choice among several {thing} out"
            ))),
        };
        match form {
            Form::Genotype => Genotype::find(text, which).map(Foreign::Genotype),
            Form::NasBench201 => Cell201::find(text, which).map(Foreign::Cell201),
            Form::NasBench101 => {
                one("cells")?;
                text.parse().map(Foreign::Cell101)
            }
            Form::Archai => {
                one("descriptions")?;
                Ok(Foreign::Archai)
            }
        }
    }
    /// The notation.
    pub fn form(&self) -> Form {
        match self {
            Foreign::Genotype(_) => Form::Genotype,
            Foreign::Cell201(_) => Form::NasBench201,
            Foreign::Cell101(_) => Form::NasBench101,
            Foreign::Archai => Form::Archai,
        }
    }
}

fn error(message: impl Into<String>) -> DescError {
    DescError::new(DescErrorKind::Syntax, message)
}

fn detect(text: &str) -> Result<Form, DescError> {
    let has = |words: &[&str]| words.iter().all(|word| text.contains(word));
    if has(&["_cell_descs"]) {
        Ok(Form::Archai)
    } else if has(&["stem_outputs:", "cells:"]) {
        Err(error(
            "the text is a description of this program already; see `archai desc show`, `check` and `scale`",
        ))
    } else if Genotype::is_in(text) {
        Ok(Form::Genotype)
    } else if Cell201::is_in(text) {
        Ok(Form::NasBench201)
    } else if has(&["matrix"])
        || has(&["module_adjacency"])
        || text.trim_start().starts_with(['[', '('])
    {
        Ok(Form::NasBench101)
    } else {
        Err(error(
            "the text is in no notation that is known; expected a genotype `Genotype(normal=[('sep_conv_3x3', 0), …], …)`, a cell \
             of NAS-Bench-201 `|nor_conv_3x3~0|+|…|` or its six digits, a cell of NAS-Bench-101 `{\"matrix\": [[0, 1], [0, 0]], \
             \"ops\": [\"input\", \"output\"]}`, or a model description of Microsoft Archai (with `_cell_descs`)",
        ))
    }
}
