//! `~`, `$VAR` and `${VAR}` in path values. The program gives the variables; nothing here reads the environment.

use std::collections::BTreeMap;

/// Variables by name: `expdir`, `logdir`, `dataroot` and what the environment holds. `~` stands for `HOME`.
pub type Vars = BTreeMap<String, String>;

/// A path value that cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// A variable that is not there.
    #[error(
        "`{text}`: the variable `{name}` is not set; {}, or write `$$` for a dollar sign",
        how_to_set(name)
    )]
    Undefined {
        /// The value.
        text: String,
        /// The variable.
        name: String,
    },
    /// `${` without an end or a name.
    #[error("`{text}`: expected a name and a closing brace after `${{`")]
    Malformed {
        /// The value.
        text: String,
    },
}

/// The folder of all data sets has another name in the environment.
fn how_to_set(name: &str) -> &'static str {
    match name {
        "dataroot" => "set `default_dataroot`, from which it is made",
        _ => "set it",
    }
}

/// Expands a leading `~` and every `$VAR` and `${VAR}`; `$$` is a dollar sign. Values of variables are taken as they
/// are.
///
/// # Errors
/// A variable that is not set, or `${` that never closes.
///
/// ```
/// use archai_spec::config::{Vars, expand};
/// let vars = Vars::from([("HOME".into(), "/home/ada".into()), ("logdir".into(), "/tmp/logs".into())]);
/// assert_eq!(expand("~/logdir", &vars).unwrap(), "/home/ada/logdir");
/// assert_eq!(expand("${logdir}/run$$1", &vars).unwrap(), "/tmp/logs/run$1");
/// assert!(expand("$nowhere/x", &vars).is_err());
/// ```
pub fn expand(text: &str, vars: &Vars) -> Result<String, ExpandError> {
    let value = |name: &str| {
        let undefined = || ExpandError::Undefined {
            text: text.to_owned(),
            name: name.to_owned(),
        };
        vars.get(name).cloned().ok_or_else(undefined)
    };
    let mut out = String::new();
    let mut rest = text;
    if rest == "~" || rest.starts_with("~/") {
        out.push_str(&value("HOME")?);
        rest = &rest[1..];
    }
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let end = after.find('}').filter(|end| *end > 0);
            let end = end.ok_or_else(|| ExpandError::Malformed {
                text: text.to_owned(),
            })?;
            out.push_str(&value(&after[..end])?);
            rest = &after[end + 1..];
        } else {
            let named = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let end = rest.find(|c| !named(c)).unwrap_or(rest.len());
            if end == 0 {
                out.push('$');
            } else {
                out.push_str(&value(&rest[..end])?);
            }
            rest = &rest[end..];
        }
    }
    out.push_str(rest);
    Ok(out)
}
