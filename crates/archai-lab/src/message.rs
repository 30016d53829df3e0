//! The texts of errors, in which fields of the request stand as such: a library has names for them, a command line has flags,
//! and only who shows the text knows which.

use std::fmt;
use std::path::PathBuf;

/// What a caller can change or do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Term {
    /// [`Request::algorithms`](crate::Request::algorithms).
    Algorithms,
    /// [`Request::datasets`](crate::Request::datasets).
    Datasets,
    /// [`Request::space`](crate::Request::space).
    Space,
    /// [`Request::table`](crate::Request::table).
    Table,
    /// [`Request::search`](crate::Request::search) switched off.
    NoSearch,
    /// [`Request::eval`](crate::Request::eval) switched off.
    NoEval,
    /// [`Request::exp_prefix`](crate::Request::exp_prefix).
    ExpPrefix,
    /// [`Request::logdir`](crate::Request::logdir).
    Logdir,
    /// [`Request::device`](crate::Request::device).
    Device,
    /// [`Request::engine`](crate::Request::engine).
    Engine,
    /// [`Request::seed`](crate::Request::seed).
    Seed,
    /// [`Request::seeds`](crate::Request::seeds).
    Seeds,
    /// [`Request::fresh`](crate::Request::fresh).
    Fresh,
    /// [`Request::allow_changed`](crate::Request::allow_changed).
    AllowChanged,
    /// [`ExportRequest::replace`](crate::export::ExportRequest::replace).
    Replace,
    /// Making the request again that made the run in this directory.
    Resume(PathBuf),
}

/// As a program that makes a [`Request`](crate::Request) says it.
impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = match self {
            Term::Algorithms => "algorithms",
            Term::Datasets => "datasets",
            Term::Space => "space",
            Term::Table => "table",
            Term::NoSearch => "search: false",
            Term::NoEval => "eval: false",
            Term::ExpPrefix => "exp_prefix",
            Term::Logdir => "logdir",
            Term::Device => "device",
            Term::Engine => "engine",
            Term::Seed => "seed",
            Term::Seeds => "seeds",
            Term::Fresh => "fresh",
            Term::AllowChanged => "allow_changed",
            Term::Replace => "replace",
            Term::Resume(dir) => {
                return write!(f, "the request that made `{}`", dir.display());
            }
        };
        write!(f, "`{field}`")
    }
}

/// The text of an error.
///
/// ```
/// use archai_lab::{Message, Term};
/// let text = Message::from("there is no result; ").term(Term::Fresh).text(" starts over");
/// assert_eq!(text.to_string(), "there is no result; `fresh` starts over");
/// let flags = text.with(|term| match term {
///     Term::Fresh => "--fresh".to_string(),
///     other => other.to_string(),
/// });
/// assert_eq!(flags, "there is no result; --fresh starts over");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Term(Term),
}

impl Message {
    /// The same with more text.
    #[must_use]
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.0.push(Part::Text(text.into()));
        self
    }

    /// The same with what a caller can change.
    #[must_use]
    pub fn term(mut self, term: Term) -> Self {
        self.0.push(Part::Term(term));
        self
    }

    /// The same with another message at its end.
    #[must_use]
    pub fn message(mut self, other: Message) -> Self {
        self.0.extend(other.0);
        self
    }

    /// The whole text, in which `name` says what each term is called.
    pub fn with(&self, name: impl Fn(&Term) -> String) -> String {
        let parts = self.0.iter().map(|part| match part {
            Part::Text(text) => text.clone(),
            Part::Term(term) => name(term),
        });
        parts.collect()
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with(Term::to_string))
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Message::default().text(text)
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Message::default().text(text)
    }
}

impl From<Term> for Message {
    fn from(term: Term) -> Self {
        Message::default().term(term)
    }
}
