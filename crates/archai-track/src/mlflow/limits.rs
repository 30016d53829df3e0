//! What an MLflow server takes at once, and which texts: the limits of its REST interface, the narrowest of the versions since 1.x.

/// Metrics in a request.
pub const METRICS: usize = 1000;
/// Parameters in a request.
pub const PARAMS: usize = 100;
/// Letters of a name.
const NAME: usize = 250;
/// Letters of the digest that stands for the end of a name that is too long.
const DIGEST: usize = 8;
/// Letters of a parameter's value.
const VALUE: usize = 500;
/// Letters of a tag's value.
const TAG: usize = 5000;

/// A name as MLflow allows it: letters, digits, `_`, `-`, `.`, blanks and `/`, no longer than 250 letters, and no path that
/// leads elsewhere.
pub fn name(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./ ".contains(c);
    let text: String = text
        .chars()
        .map(|c| if is_plain(c) { c } else { '_' })
        .collect();
    // It becomes a path: empty parts, `.` and `..` are refused.
    let parts = text.split('/').filter(|part| !part.is_empty());
    let parts = parts.map(|part| {
        if [".", ".."].contains(&part) {
            "_"
        } else {
            part
        }
    });
    let text = parts.collect::<Vec<_>>().join("/");
    if text.is_empty() {
        return "_".to_string();
    }
    if text.len() <= NAME {
        return text;
    }
    // All letters are of one byte. What is cut off still tells names apart.
    let digest = blake3::hash(text.as_bytes()).to_hex();
    format!("{}.{}", &text[..NAME - DIGEST - 1], &digest[..DIGEST])
}

/// The value of a parameter.
pub fn value(text: &str) -> String {
    cut(text, VALUE)
}

/// The value of a tag.
pub fn tag(text: &str) -> String {
    cut(text, TAG)
}

/// The beginning of a text, marked as such.
fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_string(),
        Some(_) => {
            let kept: String = text.chars().take(most - 3).collect();
            format!("{kept}...")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_keep_to_the_limits() {
        assert_eq!(name("search/train/loss"), "search/train/loss");
        assert_eq!(name("a:b(c)=é"), "a_b_c___");
        assert_eq!(name("/a//../b/."), "a/_/b/_");
        assert_eq!(name("//"), "_");
        let (a, b) = (
            name(&("x".repeat(300) + "a")),
            name(&("x".repeat(300) + "b")),
        );
        assert!(a.len() == 250 && b.len() == 250 && a != b, "{a} {b}");
        assert_eq!(name(&"x".repeat(250)), "x".repeat(250));
        assert_eq!(value(&"é".repeat(501)).chars().count(), 500);
        assert!(value(&"é".repeat(501)).ends_with("é..."));
        assert_eq!(value(&"é".repeat(500)), "é".repeat(500));
    }
}
