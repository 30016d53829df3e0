//! Expressions over names: `max($width * 2, 16)`, `$s2.width >= $s1.width + 16 and $depth < 4`.

use std::fmt;

use super::desc::Lit;

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// A fixed value.
    Lit(Lit),
    /// What a name stands for.
    Name(String),
    /// −x or not x.
    Unary(Unary, Box<Expr>),
    /// a ∘ b.
    Binary(Binary, Box<Expr>, Box<Expr>),
    /// The smallest or largest of several.
    Extreme(bool, Vec<Expr>),
}

/// An operator of one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unary {
    /// −x.
    Minus,
    /// not x.
    Not,
}

/// An operator of two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// +
    Add,
    /// -
    Sub,
    /// *
    Mul,
    /// / (a number with fraction unless it comes out even)
    Div,
    /// // (rounded down)
    Floor,
    /// %
    Rem,
    /// <
    Less,
    /// <=
    AtMost,
    /// >
    More,
    /// >=
    AtLeast,
    /// ==
    Equal,
    /// !=
    Unequal,
    /// and
    And,
    /// or
    Or,
}

/// Operators by their strength, the weakest first; the longer of two that begin alike comes first.
const LEVELS: &[&[(&str, Binary)]] = &[
    &[("or", Binary::Or)],
    &[("and", Binary::And)],
    &[
        ("<=", Binary::AtMost),
        (">=", Binary::AtLeast),
        ("==", Binary::Equal),
        ("!=", Binary::Unequal),
        ("<", Binary::Less),
        (">", Binary::More),
    ],
    &[("+", Binary::Add), ("-", Binary::Sub)],
    &[
        ("*", Binary::Mul),
        ("//", Binary::Floor),
        ("/", Binary::Div),
        ("%", Binary::Rem),
    ],
];

/// Deepest nesting, far below the end of the stack.
const MAX_DEPTH: usize = 64;

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl Expr {
    /// Reads an expression. Names begin with `$`.
    ///
    /// # Errors
    /// What was expected, and at which character.
    pub fn parse(text: &str) -> Result<Expr, String> {
        let mut parser = Parser {
            text,
            at: 0,
            depth: 0,
        };
        let expr = parser.level(0)?;
        parser.space();
        match parser.rest() {
            "" => Ok(expr),
            rest => Err(parser.problem(&format!("an operator before `{}`", first_word(rest)))),
        }
    }

    /// Every name in it.
    pub fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.visit(&mut names);
        names
    }

    fn visit<'a>(&'a self, names: &mut Vec<&'a str>) {
        match self {
            Expr::Lit(_) => {}
            Expr::Name(name) => names.push(name),
            Expr::Unary(_, a) => a.visit(names),
            Expr::Binary(_, a, b) => {
                a.visit(names);
                b.visit(names);
            }
            Expr::Extreme(_, all) => all.iter().for_each(|a| a.visit(names)),
        }
    }

    /// Its value, `of` saying what names stand for.
    ///
    /// # Errors
    /// Operands of the wrong kind, division by zero, numbers that are too large; what `of` says.
    pub fn value(&self, of: &dyn Fn(&str) -> Result<Lit, String>) -> Result<Lit, String> {
        Ok(match self {
            Expr::Lit(lit) => lit.clone(),
            Expr::Name(name) => of(name)?,
            Expr::Unary(Unary::Minus, a) => match a.value(of)? {
                Lit::Int(a) => Lit::Int(a.checked_neg().ok_or_else(too_large)?),
                Lit::Float(a) => Lit::Float(-a),
                other => return Err(format!("`-` wants a number, not `{other}`")),
            },
            Expr::Unary(Unary::Not, a) => Lit::Bool(!truth(&a.value(of)?)?),
            Expr::Binary(Binary::And, a, b) => {
                Lit::Bool(truth(&a.value(of)?)? && truth(&b.value(of)?)?)
            }
            Expr::Binary(Binary::Or, a, b) => {
                Lit::Bool(truth(&a.value(of)?)? || truth(&b.value(of)?)?)
            }
            Expr::Binary(op, a, b) => binary(*op, &a.value(of)?, &b.value(of)?)?,
            Expr::Extreme(largest, all) => {
                let mut best: Option<Lit> = None;
                for a in all {
                    let a = a.value(of)?;
                    let better = match &best {
                        None => number(&a).map(|_| true)?,
                        Some(best) => (number(&a)? > number(best)?) == *largest,
                    };
                    if better {
                        best = Some(a);
                    }
                }
                best.ok_or_else(|| "`min` and `max` want at least one value".to_owned())?
            }
        })
    }
}

fn first_word(text: &str) -> String {
    text.chars().take(12).collect()
}

fn too_large() -> String {
    "a number is too large".to_owned()
}

fn truth(lit: &Lit) -> Result<bool, String> {
    match lit {
        Lit::Bool(value) => Ok(*value),
        other => Err(format!("expected a condition, found `{other}`")),
    }
}

fn number(lit: &Lit) -> Result<f64, String> {
    match lit {
        Lit::Int(value) => Ok(*value as f64),
        Lit::Float(value) => Ok(*value),
        other => Err(format!("expected a number, found `{other}`")),
    }
}

/// Whether two values are the same: numbers by what they count.
pub(crate) fn equal(a: &Lit, b: &Lit) -> bool {
    match (number(a), number(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

fn binary(op: Binary, a: &Lit, b: &Lit) -> Result<Lit, String> {
    match op {
        Binary::Equal => return Ok(Lit::Bool(equal(a, b))),
        Binary::Unequal => return Ok(Lit::Bool(!equal(a, b))),
        _ => {}
    }
    let (x, y) = (number(a)?, number(b)?);
    match op {
        Binary::Less => return Ok(Lit::Bool(x < y)),
        Binary::AtMost => return Ok(Lit::Bool(x <= y)),
        Binary::More => return Ok(Lit::Bool(x > y)),
        Binary::AtLeast => return Ok(Lit::Bool(x >= y)),
        _ => {}
    }
    if let (Lit::Int(a), Lit::Int(b)) = (a, b) {
        let result = match op {
            Binary::Add => a.checked_add(*b),
            Binary::Sub => a.checked_sub(*b),
            Binary::Mul => a.checked_mul(*b),
            _ if *b == 0 => return Err("division by zero".to_owned()),
            Binary::Rem => a.checked_rem_euclid(*b),
            Binary::Floor => a.checked_div_euclid(*b),
            _ if a.checked_rem(*b) == Some(0) => a.checked_div(*b),
            _ => return Ok(Lit::Float(x / y)),
        };
        return result.map(Lit::Int).ok_or_else(too_large);
    }
    Ok(Lit::Float(match op {
        Binary::Add => x + y,
        Binary::Sub => x - y,
        Binary::Mul => x * y,
        _ if y == 0.0 => return Err("division by zero".to_owned()),
        Binary::Rem => x.rem_euclid(y),
        Binary::Floor => (x / y).floor(),
        _ => x / y,
    }))
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn problem(&self, expected: &str) -> String {
        let column = self.text[..self.at].chars().count() + 1;
        format!(
            "`{}` is no expression: expected {expected} at character {column}",
            self.text
        )
    }

    /// Takes an operator; words end where letters do.
    fn take(&mut self, token: &str) -> bool {
        self.space();
        let Some(after) = self.rest().strip_prefix(token) else {
            return false;
        };
        let is_word = token.starts_with(|c: char| c.is_ascii_alphabetic());
        if is_word && after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
            return false;
        }
        self.at += token.len();
        true
    }

    fn level(&mut self, level: usize) -> Result<Expr, String> {
        let Some(operators) = LEVELS.get(level) else {
            return self.unary();
        };
        if level == 2 && self.take("not") {
            self.deeper()?;
            let inner = self.level(2)?;
            self.depth -= 1;
            return Ok(Expr::Unary(Unary::Not, Box::new(inner)));
        }
        let mut left = self.level(level + 1)?;
        while let Some((_, op)) = operators.iter().find(|(token, _)| self.take(token)) {
            let right = self.level(level + 1)?;
            left = Expr::Binary(*op, Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    fn deeper(&mut self) -> Result<(), String> {
        self.depth += 1;
        match self.depth > MAX_DEPTH {
            true => Err(format!("an expression is nested deeper than {MAX_DEPTH}")),
            false => Ok(()),
        }
    }

    fn unary(&mut self) -> Result<Expr, String> {
        if self.take("-") {
            self.deeper()?;
            let inner = self.unary()?;
            self.depth -= 1;
            return Ok(Expr::Unary(Unary::Minus, Box::new(inner)));
        }
        self.atom()
    }

    fn atom(&mut self) -> Result<Expr, String> {
        self.space();
        if self.take("(") {
            self.deeper()?;
            let inner = self.level(0)?;
            self.depth -= 1;
            return match self.take(")") {
                true => Ok(inner),
                false => Err(self.problem("`)`")),
            };
        }
        let word = |text: &str, more: &str| -> usize {
            text.find(|c: char| !(c.is_ascii_alphanumeric() || more.contains(c)))
                .unwrap_or(text.len())
        };
        let rest = self.rest();
        if let Some(name) = rest.strip_prefix('$') {
            let name = &name[..word(name, "_.")];
            if name.is_empty() {
                return Err(self.problem("a name after `$`"));
            }
            self.at += 1 + name.len();
            return Ok(Expr::Name(name.to_owned()));
        }
        if rest.starts_with(|c: char| c.is_ascii_digit()) {
            let text = &rest[..word(rest, ".")];
            let lit = match (text.parse::<i64>(), text.parse::<f64>()) {
                (Ok(value), _) => Lit::Int(value),
                (_, Ok(value)) if value.is_finite() => Lit::Float(value),
                _ => return Err(self.problem("a number")),
            };
            self.at += text.len();
            return Ok(Expr::Lit(lit));
        }
        for (token, largest) in [("min", false), ("max", true)] {
            if self.take(token) {
                return self.extreme(largest);
            }
        }
        let text = &rest[..word(rest, "_")];
        if text.is_empty() || matches!(text, "and" | "or" | "not") {
            return Err(self.problem("a number, a word, a `$name` or `(`"));
        }
        self.at += text.len();
        Ok(Expr::Lit(match text {
            "true" => Lit::Bool(true),
            "false" => Lit::Bool(false),
            word => Lit::Text(word.to_owned()),
        }))
    }

    fn extreme(&mut self, largest: bool) -> Result<Expr, String> {
        if !self.take("(") {
            return Err(self.problem("`(`"));
        }
        self.deeper()?;
        let mut all = vec![self.level(0)?];
        while self.take(",") {
            all.push(self.level(0)?);
        }
        self.depth -= 1;
        match self.take(")") {
            true => Ok(Expr::Extreme(largest, all)),
            false => Err(self.problem("`,` or `)`")),
        }
    }
}

impl fmt::Display for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = LEVELS.iter().flat_map(|level| level.iter());
        let found = all.clone().find(|(_, op)| op == self);
        f.write_str(found.map_or("", |(text, _)| text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Result<Lit, String> {
        Expr::parse(text)?.value(&|name| match name {
            "w" => Ok(Lit::Int(24)),
            "s1.act" => Ok(Lit::Text("relu".into())),
            _ => Err(format!("no `{name}`")),
        })
    }

    #[test]
    fn expressions_have_the_usual_strengths() {
        for (text, expected) in [
            ("1 + 2 * 3", Lit::Int(7)),
            ("(1 + 2) * 3", Lit::Int(9)),
            ("-$w / 8 - 1", Lit::Int(-4)),
            ("7 // 2 % 2", Lit::Int(1)),
            ("7 / 2", Lit::Float(3.5)),
            ("max(1, $w, 3) - min(2, 1.5)", Lit::Float(22.5)),
            ("$w >= 8 + 16 and not $w == 25", Lit::Bool(true)),
            ("$w < 3 or $s1.act == relu", Lit::Bool(true)),
            ("true and false or true", Lit::Bool(true)),
        ] {
            assert_eq!(value(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn problems_name_their_place() {
        for (text, part) in [
            ("1 +", "at character 4"),
            ("(1", "expected `)`"),
            ("1 2", "an operator before `2`"),
            ("$ + 1", "a name after `$`"),
            ("1 // 0", "division by zero"),
            ("9223372036854775807 + 1", "too large"),
            ("relu + 1", "expected a number, found `relu`"),
            ("not 3", "expected a condition"),
            ("$x", "no `x`"),
            ("", "expected a number"),
        ] {
            let problem = value(text).unwrap_err();
            assert!(problem.contains(part), "{text}: {problem}");
        }
        let deep = "(".repeat(100_000);
        assert!(value(&deep).unwrap_err().contains("nested deeper"));
        assert!(value(&"-".repeat(100_000)).unwrap_err().contains("nested"));
    }
}
