//! Text that fits on the screen: lines are broken between words, never inside one.

use comfy_table::{CellAlignment, Table, presets};

/// How wide the terminal is that standard output goes to; none if it goes elsewhere.
pub fn width() -> Option<usize> {
    known(Table::new().width())
}

/// How wide the terminal is that standard error goes to; none if it goes elsewhere.
pub fn error_width() -> Option<usize> {
    let mut table = Table::new();
    table.use_stderr();
    known(table.width())
}

/// A terminal that does not know its width says 0.
fn known(width: Option<u16>) -> Option<usize> {
    width.filter(|width| *width > 0).map(usize::from)
}

/// The same text in lines of at most `width` characters, broken between words. Lines that continue another are indented by
/// `indent` blanks; a word that is too long for a line stands on one of its own.
pub fn wrapped(text: &str, width: Option<usize>, indent: usize) -> String {
    let Some(width) = width else {
        return text.to_string();
    };
    let lines: Vec<String> = text
        .split('\n')
        .map(|line| wrapped_line(line, width, indent))
        .collect();
    lines.join("\n")
}

fn wrapped_line(line: &str, width: usize, indent: usize) -> String {
    let count = |text: &str| text.chars().count();
    if count(line) <= width {
        return line.to_string();
    }
    let (mut done, mut current, mut rest) = (String::new(), String::new(), line);
    while !rest.is_empty() {
        let word_at = rest.find(|c| c != ' ').unwrap_or(rest.len());
        let (gap, after) = rest.split_at(word_at);
        let end = after.find(' ').unwrap_or(after.len());
        let (word, after) = after.split_at(end);
        if !current.trim().is_empty() && count(&current) + count(gap) + count(word) > width {
            done.push_str(current.trim_end());
            done.push('\n');
            current = " ".repeat(indent);
        } else {
            current.push_str(gap);
        }
        current.push_str(word);
        rest = after;
    }
    done.push_str(current.trim_end());
    done
}

/// A table whose columns but the first `left` stand to the right or, where that does not fit on the screen, a paragraph for
/// each row, which its first cell heads.
pub fn table(header: &[&str], left: usize, rows: &[Vec<String>], width: Option<usize>) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(header);
    table.add_rows(rows);
    for column in table.column_iter_mut().skip(left) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let text = table.to_string();
    let widest = text.lines().map(|line| line.chars().count()).max();
    if width.is_none_or(|width| widest.is_none_or(|widest| widest <= width)) {
        return text;
    }
    let names = header.iter().map(|name| name.chars().count()).max();
    let names = names.unwrap_or(0);
    let paragraphs = rows.iter().map(|row| {
        let title = row.first().cloned().unwrap_or_default();
        let cells = header.iter().zip(row).skip(1);
        let lines = cells.map(|(name, cell)| format!("  {name:<names$}  {cell}"));
        let lines = lines.map(|line| wrapped(&line, width, names + 4));
        let all: Vec<String> = std::iter::once(title).chain(lines).collect();
        all.join("\n")
    });
    paragraphs.collect::<Vec<_>>().join("\n\n")
}

/// A field of CSV (RFC 4180).
pub fn csv_field(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_string(),
    }
}

/// Narrowest that a column becomes in which words are broken into lines.
const NARROWEST: usize = 16;

/// Breaks the cells of one column between words, so that the table fits on the screen, where that is possible.
pub fn narrow(header: &[&str], rows: &mut [Vec<String>], column: usize, width: Option<usize>) {
    let Some(width) = width else {
        return;
    };
    let count = |text: &str| text.chars().count();
    let widest = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at));
        let cells = cells.map(|cell| count(cell)).max().unwrap_or(0);
        cells.max(header.get(at).map_or(0, |name| count(name)))
    };
    let others = (0..header.len()).filter(|at| *at != column).map(widest);
    // A line before each column and one behind the last, blanks on both sides of each cell.
    let taken: usize = others.sum::<usize>() + 3 * header.len() + 1;
    let left = width.saturating_sub(taken).max(NARROWEST);
    for cell in rows.iter_mut().filter_map(|row| row.get_mut(column)) {
        *cell = wrapped(cell, Some(left), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_gives_way() {
        let rows = || {
            vec![vec![
                "one".to_string(),
                "two words and two more of them".to_string(),
            ]]
        };
        for (width, expect) in [
            (None, "two words and two more of them"),
            (Some(80), "two words and two more of them"),
            (Some(30), "two words and two\nmore of them"),
            (Some(5), "two words and\ntwo more of them"),
        ] {
            let mut rows = rows();
            narrow(&["a", "b"], &mut rows, 1, width);
            assert_eq!(rows[0][1], expect, "{width:?}");
            let text = table(&["a", "b"], 2, &rows, None);
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(width.is_none_or(|width| widest <= width.max(26)), "{text}");
        }
    }

    #[test]
    fn nothing_breaks_inside_a_word() {
        for (text, width, indent, expect) in [
            ("one two three", None, 2, "one two three"),
            ("one two three", Some(13), 2, "one two three"),
            ("one two three", Some(12), 2, "one two\n  three"),
            (
                "  a  b\nunbreakable x",
                Some(8),
                1,
                "  a  b\nunbreakable\n x",
            ),
            ("é é é é", Some(3), 0, "é é\né é"),
            ("", Some(3), 0, ""),
        ] {
            assert_eq!(wrapped(text, width, indent), expect, "{text}");
        }
    }
}
