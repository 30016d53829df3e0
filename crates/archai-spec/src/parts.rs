//! Parts of a network by the names of its parameters: what is frozen, or learns at a rate of its own.

use std::fmt;

/// Some parts of a network: the front of the names of their parameters, where `*` stands for any letters and digits between two dots.
///
/// ```
/// use archai_spec::parts::Part;
/// let part: Part = "cell1".parse()?;
/// assert!(part.covers("cell1.node0.edge1.sep_conv_3x3.conv1.weight"));
/// assert!(!part.covers("cell10.pre0.conv1.weight"));
/// let norms: Part = "cell*.pre*.bn1".parse()?;
/// assert!(norms.covers("cell10.pre0.bn1.weight") && !norms.covers("cell10.pre0.conv1.weight"));
/// assert!("cell1..pre0".parse::<Part>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part(Vec<String>);

impl std::str::FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<String> = text.split('.').map(String::from).collect();
        let is_word = |word: &String| {
            let known = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '*';
            !word.is_empty() && word.chars().all(known)
        };
        match words.iter().all(is_word) {
            true => Ok(Part(words)),
            false => Err(format!(
                "`{text}` is no part of a network; expected the front of the names that `archai desc lower` lists, such as \
                 `stem`, `cell3.node0`, `cell*` or `classifier`"
            )),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

impl Part {
    /// Whether a parameter, a norm or a value of this name belongs to it.
    pub fn covers(&self, name: &str) -> bool {
        let mut words = name.split('.');
        self.0
            .iter()
            .all(|pattern| words.next().is_some_and(|word| is_like(word, pattern)))
    }

    /// How closely it says what it means: of two parts that cover a parameter, the one with more words counts, and of those
    /// with as many, the one with fewer `*`.
    pub fn closeness(&self) -> (usize, std::cmp::Reverse<usize>) {
        let stars = self.0.iter().map(|word| word.matches('*').count()).sum();
        (self.0.len(), std::cmp::Reverse(stars))
    }
}

impl Part {
    /// Whether some name may belong to both, as far as their words tell: two words with `*` always may.
    pub(crate) fn meets(&self, other: &Part) -> bool {
        self.0
            .iter()
            .zip(&other.0)
            .all(|(a, b)| match (a.contains('*'), b.contains('*')) {
                (false, false) => a == b,
                (false, true) => is_like(a, b),
                (true, false) => is_like(b, a),
                (true, true) => true,
            })
    }
}

/// Whether a word is like a pattern with `*` in it.
fn is_like(word: &str, pattern: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = word.strip_prefix(first) else {
        return false;
    };
    let Some(last) = pieces.next_back() else {
        return rest.is_empty();
    };
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_letters() {
        for (pattern, covered, not) in [
            ("stem", "stem.conv1.weight", "stem0.conv1.weight"),
            ("*", "stem0.conv1.weight", ""),
            ("cell*", "cell12.pre0.bn1.bias", "classifier.linear1.bias"),
            ("cell1*", "cell12.pre0.bn1.bias", "cell21.pre0.bn1.bias"),
            ("cell*2.p*0", "cell12.pre0.bn1.bias", "cell12.pre1.bn1.bias"),
            ("c*l*2", "cell12.pre0", "cell13.pre0"),
            (
                "cell1.pre0.bn1.bias",
                "cell1.pre0.bn1.bias",
                "cell1.pre0.bn1",
            ),
        ] {
            let part: Part = pattern.parse().unwrap();
            assert!(part.covers(covered), "{pattern} covers {covered}");
            assert!(
                !part.covers(not) || not.is_empty(),
                "{pattern} does not cover {not}"
            );
            assert_eq!(part.to_string(), pattern);
        }
        for bad in ["", ".", "a.", "a b", "a/b", "cell[0]"] {
            assert!(bad.parse::<Part>().is_err(), "{bad}");
        }
        let closeness = |text: &str| text.parse::<Part>().unwrap().closeness();
        assert!(closeness("cell0.pre0") > closeness("cell0"));
        assert!(closeness("cell0") > closeness("cell*"));
    }
}
