//! Values as Python and JSON write them: lists, tuples, dictionaries, quoted texts, bare words, calls with arguments, and
//! comments from `#` to the end of the line. Text is parsed, never run; nesting and the number of values are bounded.

use super::{DescError, DescErrorKind};

/// Deepest nesting of brackets; architectures have four.
const MAX_DEPTH: usize = 16;
/// Most values in a text; the largest architectures have some thousands.
const MAX_VALUES: usize = 500_000;

/// What is wrong at a place of a text. The line is counted when the error is shown, because a long text may hold many
/// places that are tried and passed over.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    /// Byte of the text.
    pub at: usize,
    pub message: String,
}

impl Fault {
    pub(super) fn new(at: usize, message: impl Into<String>) -> Self {
        Fault {
            at,
            message: message.into(),
        }
    }
    /// The error with line and column.
    pub(super) fn of(self, text: &str, kind: DescErrorKind) -> DescError {
        let (line, column) = line_and_column(text, self.at);
        DescError::new(kind, self.message).at(format!("line {line}, column {column}"))
    }
}

/// Where a byte of a text is, both counted from 1.
pub(super) fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}

/// A value, and the byte at which it starts.
#[derive(Clone, Debug)]
pub(super) struct Literal<'a> {
    pub at: usize,
    pub value: Value<'a>,
}

#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    /// In quotes.
    Text(&'a str),
    /// Bare: a number, a constant, a name.
    Word(&'a str),
    /// A list or a tuple.
    List(Vec<Literal<'a>>),
    /// `{key: value}`.
    Dict(Vec<Entry<'a>>),
    /// `name(value, key=value)`. Entries without a key come by their place.
    Call(&'a str, Vec<Entry<'a>>),
}

/// What stands under a key.
#[derive(Clone, Debug)]
pub(super) struct Entry<'a> {
    /// Byte at which the entry starts.
    pub at: usize,
    pub key: Option<&'a str>,
    pub value: Literal<'a>,
}

impl<'a> Literal<'a> {
    /// The items of a list. `list(…)`, `tuple(…)` and numpy's `array(…)` are what they hold.
    pub(super) fn items(&self) -> Option<&[Literal<'a>]> {
        match &self.value {
            Value::List(items) => Some(items),
            Value::Call(name, arguments) if ["list", "tuple", "array"].contains(&last(name)) => {
                match arguments.as_slice() {
                    [
                        Entry {
                            key: None, value, ..
                        },
                        rest @ ..,
                    ] if rest.iter().all(|e| e.key == Some("dtype")) => value.items(),
                    _ => None,
                }
            }
            _ => None,
        }
    }
    /// A whole number that is not negative.
    pub(super) fn number(&self) -> Option<usize> {
        match self.value {
            Value::Word(word) => word.parse().ok(),
            _ => None,
        }
    }
    /// In quotes or bare.
    pub(super) fn text(&self) -> Option<&'a str> {
        match self.value {
            Value::Text(text) | Value::Word(text) => Some(text),
            _ => None,
        }
    }
}

/// The last part of a dotted name: `genotypes.Genotype` is a `Genotype`.
pub(super) fn last(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// What bare words and names of ops are made of.
pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || "_.-+".contains(c)
}

/// Reads one value after the other.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    pub text: &'a str,
    /// Byte up to which the text is read. It never goes back.
    pub pos: usize,
    values: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str, pos: usize) -> Self {
        Reader {
            text,
            pos,
            values: 0,
        }
    }
    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.pos..]
    }
    /// Skips white space and comments.
    pub(super) fn skip(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.pos += rest.len() - trimmed.len();
            if !trimmed.starts_with('#') {
                return;
            }
            self.pos += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }
    /// What was expected where the reader stands, and what is there.
    pub(super) fn fault(&self, expected: &str) -> Fault {
        self.fault_at(self.pos, expected)
    }
    pub(super) fn fault_at(&self, at: usize, expected: &str) -> Fault {
        let found: String = self.text[at..].chars().take(12).collect();
        let found = if found.is_empty() {
            "the end".to_string()
        } else {
            format!("`{found}`")
        };
        Fault::new(at, format!("expected {expected}, found {found}"))
    }
    pub(super) fn eat(&mut self, token: char) -> bool {
        self.skip();
        let found = self.rest().starts_with(token);
        if found {
            self.pos += token.len_utf8();
        }
        found
    }
    pub(super) fn expect(&mut self, token: char) -> Result<(), Fault> {
        match self.eat(token) {
            true => Ok(()),
            false => Err(self.fault(&format!("`{token}`"))),
        }
    }
    pub(super) fn word(&mut self) -> &'a str {
        self.skip();
        let rest = self.rest();
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        self.pos += end;
        &rest[..end]
    }
    /// The next value.
    pub(super) fn value(&mut self) -> Result<Literal<'a>, Fault> {
        self.nested(0)
    }

    fn nested(&mut self, depth: usize) -> Result<Literal<'a>, Fault> {
        self.skip();
        let at = self.pos;
        self.values += 1;
        if self.values > MAX_VALUES {
            let message = format!("more than {MAX_VALUES} values; no architecture has so many");
            return Err(Fault::new(at, message));
        }
        if depth > MAX_DEPTH {
            let message = format!(
                "brackets within brackets more than {MAX_DEPTH} deep; no architecture needs that"
            );
            return Err(Fault::new(at, message));
        }
        let value = match self.rest().chars().next() {
            Some(open @ ('[' | '(')) => {
                self.pos += 1;
                let close = if open == '[' { ']' } else { ')' };
                let mut items = Vec::new();
                self.separated(close, |reader| {
                    items.push(reader.nested(depth + 1)?);
                    Ok(())
                })?;
                Value::List(items)
            }
            Some('{') => {
                self.pos += 1;
                let mut entries = Vec::new();
                self.separated('}', |reader| {
                    reader.skip();
                    let at = reader.pos;
                    let key = match reader.rest().starts_with(['\'', '"']) {
                        true => reader.quoted()?,
                        false => reader.word(),
                    };
                    if key.is_empty() {
                        return Err(reader.fault("a key"));
                    }
                    reader.expect(':')?;
                    let value = reader.nested(depth + 1)?;
                    let key = Some(key);
                    entries.push(Entry { at, key, value });
                    Ok(())
                })?;
                Value::Dict(entries)
            }
            Some('\'' | '"') => Value::Text(self.quoted()?),
            Some(c) if is_word(c) => {
                let word = self.word();
                // A call's bracket follows its name at once or after blanks, never in the next line.
                let blanks = self.rest().len() - self.rest().trim_start_matches([' ', '\t']).len();
                match self.rest()[blanks..].starts_with('(') {
                    true => {
                        self.pos += blanks + 1;
                        Value::Call(word, self.arguments(depth)?)
                    }
                    false => Value::Word(word),
                }
            }
            _ => return Err(self.fault("a value")),
        };
        Ok(Literal { at, value })
    }

    fn arguments(&mut self, depth: usize) -> Result<Vec<Entry<'a>>, Fault> {
        let mut arguments = Vec::new();
        self.separated(')', |reader| {
            reader.skip();
            let at = reader.pos;
            let mut ahead = reader.clone();
            let key = Some(ahead.word()).filter(|word| !word.is_empty() && ahead.eat('='));
            if key.is_some() {
                reader.pos = ahead.pos;
            }
            let value = reader.nested(depth + 1)?;
            arguments.push(Entry { at, key, value });
            Ok(())
        })?;
        Ok(arguments)
    }

    /// What `item` reads, with commas between, up to `close`; a comma may stand last.
    fn separated(
        &mut self,
        close: char,
        mut item: impl FnMut(&mut Self) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        while !self.eat(close) {
            item(self)?;
            if !self.eat(',') {
                return match self.eat(close) {
                    true => Ok(()),
                    false => Err(self.fault(&format!("`,` or `{close}`"))),
                };
            }
        }
        Ok(())
    }

    fn quoted(&mut self) -> Result<&'a str, Fault> {
        let start = self.pos + 1;
        let quote = if self.rest().starts_with('\'') {
            '\''
        } else {
            '"'
        };
        match self.text[start..].find([quote, '\n']) {
            Some(length) if self.text[start + length..].starts_with(quote) => {
                self.pos = start + length + 1;
                Ok(&self.text[start..start + length])
            }
            _ => Err(self.fault("a text that ends in its quote on the same line")),
        }
    }
}
