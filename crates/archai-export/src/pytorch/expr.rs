//! Python expressions and statements as text, laid out as the formatter `black` would.

/// Longest line.
pub const WIDTH: usize = 88;

/// A Python expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// A name, a number, or anything else that stands on one line and binds tighter than a sum.
    Atom(String),
    /// `f(a, key=b)`.
    Call(String, Vec<(Option<String>, Expr)>),
    /// `[a, b]`.
    List(Vec<Expr>),
    /// `a + b`.
    Sum(Vec<Expr>),
    /// `a * b`.
    Product(Vec<Expr>),
    /// `a[:, 1:]`, `a.flatten(1)`: what stands behind a value.
    Then(Box<Expr>, String),
}

impl Expr {
    pub fn atom(text: impl Into<String>) -> Expr {
        Expr::Atom(text.into())
    }

    /// A call without keywords.
    pub fn call(f: impl Into<String>, args: impl IntoIterator<Item = Expr>) -> Expr {
        Expr::Call(f.into(), args.into_iter().map(|a| (None, a)).collect())
    }

    /// The same call with one more argument.
    pub fn with(mut self, key: &str, value: Expr) -> Expr {
        if let Expr::Call(_, args) = &mut self {
            args.push((Some(key.to_string()), value));
        }
        self
    }

    pub fn then(self, text: impl Into<String>) -> Expr {
        Expr::Then(Box::new(self), text.into())
    }

    /// On one line.
    pub fn line(&self) -> String {
        match self {
            Expr::Atom(text) => text.clone(),
            Expr::Call(f, args) => format!("{f}({})", arguments(args).join(", ")),
            Expr::List(items) => {
                let items: Vec<String> = items.iter().map(Expr::line).collect();
                format!("[{}]", items.join(", "))
            }
            Expr::Sum(terms) => {
                let terms: Vec<String> = terms.iter().map(Expr::line).collect();
                terms.join(" + ")
            }
            Expr::Product(factors) => {
                let factor = |factor: &Expr| match factor {
                    Expr::Sum(_) => format!("({})", factor.line()),
                    _ => factor.line(),
                };
                let factors: Vec<String> = factors.iter().map(factor).collect();
                factors.join(" * ")
            }
            Expr::Then(inner, text) => match **inner {
                Expr::Sum(_) | Expr::Product(_) => format!("({}){text}", inner.line()),
                _ => format!("{}{text}", inner.line()),
            },
        }
    }

    /// Writes `before`, the expression and `after`, `indent` columns to the right; in several lines if one is too short.
    pub fn write(&self, out: &mut String, indent: usize, before: &str, after: &str) {
        let margin = " ".repeat(indent);
        let line = format!("{margin}{before}{}{after}\n", self.line());
        let width = line.chars().count() - 1;
        let (open, close, items) = match self {
            Expr::Call(f, args) => (format!("{f}("), ")", args.clone()),
            Expr::List(items) => {
                let items = items.iter().map(|item| (None, item.clone()));
                ("[".to_string(), "]", items.collect())
            }
            _ => {
                out.push_str(&line);
                return;
            }
        };
        if width <= WIDTH || items.is_empty() {
            out.push_str(&line);
            return;
        }
        out.push_str(&format!("{margin}{before}{open}\n"));
        let inner = indent + 4;
        let together = arguments(&items).join(", ");
        if inner + together.chars().count() <= WIDTH {
            out.push_str(&format!("{}{together}\n", " ".repeat(inner)));
        } else {
            let comma = if items.len() > 1 { "," } else { "" };
            for (key, value) in &items {
                let before = key.as_ref().map_or(String::new(), |key| format!("{key}="));
                value.write(out, inner, &before, comma);
            }
        }
        out.push_str(&format!("{margin}{close}{after}\n"));
    }
}

fn arguments(args: &[(Option<String>, Expr)]) -> Vec<String> {
    let one = |(key, value): &(Option<String>, Expr)| match key {
        Some(key) => format!("{key}={}", value.line()),
        None => value.line(),
    };
    args.iter().map(one).collect()
}

/// A text as a Python string literal.
pub fn text(value: &str) -> String {
    let quote = match value.contains('"') && !value.contains('\'') {
        true => '\'',
        false => '"',
    };
    let mut literal = String::from(quote);
    for c in value.chars() {
        match c {
            '\\' => literal.push_str("\\\\"),
            '\n' => literal.push_str("\\n"),
            c if c == quote => {
                literal.push('\\');
                literal.push(c);
            }
            // Control characters, and those that would change how the line is read.
            c if c.is_control()
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}') =>
            {
                literal.push_str(&format!("\\u{:04x}", c as u32));
            }
            c => literal.push(c),
        }
    }
    literal.push(quote);
    literal
}

/// `some_name` → `SomeName`, without what a Python name cannot hold.
pub fn camel(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric());
    let word = |w: &str| {
        let mut chars = w.chars();
        let first = chars.next().map(|c| c.to_ascii_uppercase());
        first.into_iter().chain(chars).collect::<String>()
    };
    let text: String = words.map(word).collect();
    match text.chars().next() {
        Some(c) if !c.is_ascii_digit() => text,
        _ => format!("Block{text}"),
    }
}

/// Words that are no names in Python.
const KEYWORDS: &[&str] = &[
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue",
    "def", "del", "elif", "else", "except", "finally", "for", "from", "global", "if", "import",
    "in", "is", "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while",
    "with", "yield",
];

/// Whether a name can stand behind a dot.
pub fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    let starts = chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    starts && chars.all(|c| c.is_ascii_alphanumeric() || c == '_') && !KEYWORDS.contains(&name)
}

/// What PyTorch's modules call themselves: no part of a network can have such a name.
const TAKEN: &[&str] = &[
    "T_destination",
    "add_module",
    "apply",
    "bfloat16",
    "buffers",
    "call_super_init",
    "children",
    "compile",
    "cpu",
    "cuda",
    "double",
    "dump_patches",
    "eval",
    "extra_repr",
    "float",
    "forward",
    "get_buffer",
    "get_extra_state",
    "get_parameter",
    "get_submodule",
    "half",
    "ipu",
    "load_state_dict",
    "modules",
    "mtia",
    "named_buffers",
    "named_children",
    "named_modules",
    "named_parameters",
    "parameters",
    "register_backward_hook",
    "register_buffer",
    "register_forward_hook",
    "register_forward_pre_hook",
    "register_full_backward_hook",
    "register_full_backward_pre_hook",
    "register_load_state_dict_post_hook",
    "register_load_state_dict_pre_hook",
    "register_module",
    "register_parameter",
    "register_state_dict_post_hook",
    "register_state_dict_pre_hook",
    "requires_grad_",
    "set_extra_state",
    "set_submodule",
    "share_memory",
    "state_dict",
    "to",
    "to_empty",
    "train",
    "training",
    "type",
    "xpu",
    "zero_grad",
];

/// Whether a part of a network may have this name in PyTorch.
pub fn is_free(name: &str) -> bool {
    !TAKEN.contains(&name) && !(name.starts_with('_')) && !name.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        for (value, expect) in [
            ("cat", "\"cat\""),
            ("a \"b\"", "'a \"b\"'"),
            ("it's \"b\"", "\"it's \\\"b\\\"\""),
            ("a\\n\n\u{1b}", "\"a\\\\n\\n\\u001b\""),
            ("été", "\"été\""),
        ] {
            assert_eq!(text(value), expect);
        }
    }

    #[test]
    fn names() {
        assert_eq!(camel("sep_conv_3x3"), "SepConv3x3");
        assert_eq!(camel("3x3-conv"), "Block3x3Conv");
        assert!(is_name("conv1") && !is_name("1conv") && !is_name("a-b") && !is_name("class"));
        assert!(is_free("conv1") && !is_free("half") && !is_free("_modules"));
    }

    #[test]
    fn long_lines_are_broken_as_black_breaks_them() {
        let item = |name: &str| Expr::call(name, [Expr::atom("channels"), Expr::atom("3")]);
        let long = Expr::call("Names", [])
            .with("edge0", item("SeparableConvolution"))
            .with("edge1", item("DilatedConvolution"))
            .with("edge2", item("Another"));
        let mut out = String::new();
        long.write(&mut out, 8, "self.node0 = ", "");
        assert_eq!(
            out,
            "        self.node0 = Names(
            edge0=SeparableConvolution(channels, 3),
            edge1=DilatedConvolution(channels, 3),
            edge2=Another(channels, 3),
        )
"
        );
    }
}
