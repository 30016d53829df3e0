//! Names that people type: which known name a misspelt one may have meant, and the error that says so.
//!
//! Keys of configurations, ops of descriptions, algorithms and data sets are all misspelt in the same ways, so there is
//! one measure of nearness and one wording.

use std::fmt;

/// How many names a question may offer.
const MOST: usize = 3;

/// The candidates that a misspelt name may have meant, best first, at most three: those within a third of the longer
/// name's letters (at least one letter), and hardly further away than the best.
///
/// ```
/// use archai_spec::names::similar;
/// assert_eq!(similar("cifr10", ["cifar100", "mnist", "cifar10"]), ["cifar10", "cifar100"]);
/// assert!(similar("flowers", ["mnist"]).is_empty());
/// ```
pub fn similar<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let lower = name.to_lowercase();
    let mut scored: Vec<(usize, &str)> = candidates
        .into_iter()
        .map(|c| (strsim::damerau_levenshtein(&lower, &c.to_lowercase()), c))
        .filter(|(distance, c)| {
            *distance <= (c.chars().count().max(lower.chars().count()) / 3).max(1)
        })
        .collect();
    scored.sort();
    scored.dedup();
    let best = scored.first().map_or(0, |(distance, _)| *distance);
    scored.retain(|(distance, _)| *distance <= best + 1);
    scored.into_iter().take(MOST).map(|(_, c)| c).collect()
}

/// The candidate that a misspelt name most likely meant, if one is near enough.
///
/// ```
/// use archai_spec::names::nearest;
/// assert_eq!(nearest("drats", ["darts", "didarts"]), Some("darts"));
/// ```
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    similar(name, candidates).into_iter().next()
}

/// ``did you mean `a` or `b`?``, or nothing where no name is given. For messages of the caller's own wording.
///
/// ```
/// use archai_spec::names::did_you_mean;
/// assert_eq!(did_you_mean(&["stride"]).as_deref(), Some("did you mean `stride`?"));
/// assert_eq!(did_you_mean::<&str>(&[]), None);
/// ```
pub fn did_you_mean<S: fmt::Display>(names: &[S]) -> Option<String> {
    let quoted: Vec<String> = names.iter().map(|n| format!("`{n}`")).collect();
    (!quoted.is_empty()).then(|| format!("did you mean {}?", quoted.join(" or ")))
}

/// No thing of this kind has this name. The message offers the nearest name and lists all that are known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct UnknownName {
    /// What was looked for: `algorithm`, `data set`, `finalizer`.
    pub kind: String,
    /// The name that nothing has.
    pub name: String,
    /// The name that was most likely meant.
    pub nearest: Option<String>,
    /// All known names, in the order of their list.
    pub known: Vec<String>,
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let UnknownName {
            kind,
            name,
            nearest,
            known,
        } = self;
        write!(f, "there is no {kind} `{name}`; ")?;
        if let Some(question) = did_you_mean(nearest.as_slice()) {
            write!(f, "{question} ")?;
        }
        match known.as_slice() {
            [] => write!(f, "none is known"),
            known => write!(f, "known are {}", known.join(", ")),
        }
    }
}

/// The error that nothing of this kind has this name.
///
/// ```
/// let error = archai_spec::names::unknown("space", "drats", ["darts", "nasbench201"]);
/// assert_eq!(
///     error.to_string(),
///     "there is no space `drats`; did you mean `darts`? known are darts, nasbench201"
/// );
/// ```
pub fn unknown<'a>(
    kind: &str,
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> UnknownName {
    let known: Vec<&str> = known.into_iter().collect();
    UnknownName {
        kind: kind.to_string(),
        name: name.to_string(),
        nearest: nearest(name, known.iter().copied()).map(str::to_string),
        known: known.into_iter().map(str::to_string).collect(),
    }
}
