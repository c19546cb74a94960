//! Output that is pleasant to read: aligned tables, bars, counts with thin spaces, colour on a terminal only.

use std::borrow::Cow;
use std::fmt::Write as _;

mod mask;

pub use mask::mask;

/// Whether to colour; never when the output is not a terminal or `NO_COLOR` is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Paint {
    /// Plain text.
    #[default]
    Plain,
    /// ANSI colours.
    Colour,
}

impl Paint {
    /// A heading.
    #[must_use]
    pub fn heading(self, text: &str) -> String {
        self.wrap("1", text)
    }

    /// Less important than the rest.
    #[must_use]
    pub fn faint(self, text: &str) -> String {
        self.wrap("2", text)
    }

    /// Something to look at.
    #[must_use]
    pub fn warning(self, text: &str) -> String {
        self.wrap("33", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Colour => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        }
    }
}

/// To which side a column is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table whose columns are as wide as their widest cell.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<(&'static str, Side)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns and no row.
    #[must_use]
    pub fn new(columns: &[(&'static str, Side)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; cells beyond the columns are dropped, missing ones empty.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// The table as text, indented by two, the header faint.
    #[must_use]
    pub fn render(&self, paint: Paint) -> String {
        let width = |place: usize, name: &str| {
            let cells = self.rows.iter().filter_map(|row| row.get(place)).map(|cell| cell.chars().count());
            cells.max().unwrap_or(0).max(name.chars().count())
        };
        let widths: Vec<usize> = self.columns.iter().enumerate().map(|(place, (name, _))| width(place, name)).collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let mut line = String::from(" ");
            for ((cell, (_, side)), width) in cells.zip(&self.columns).zip(&widths) {
                let gap = " ".repeat(width.saturating_sub(cell.chars().count()));
                let _ = match side {
                    Side::Left => write!(line, " {cell}{gap} "),
                    Side::Right => write!(line, " {gap}{cell} "),
                };
            }
            line.trim_end().to_owned()
        };
        let mut text = String::new();
        if self.columns.iter().any(|(name, _)| !name.is_empty()) {
            text.push_str(&paint.faint(&line(&mut self.columns.iter().map(|(name, _)| *name))));
            text.push('\n');
        }
        for row in &self.rows {
            text.push_str(&line(&mut row.iter().map(String::as_str)));
            text.push('\n');
        }
        text
    }
}

/// Text as a terminal may have it: values come from strangers, and one that holds control characters could rewrite what
/// stands on the screen. Ends of lines, tabs and the colours of [`Paint`] stay, all else becomes a mark.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    let harmful = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if !text.contains(harmful) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(harmful) {
        shown.push_str(&rest[..at]);
        rest = &rest[at..];
        let colour = ["1", "2", "33", "0"].iter().find_map(|code| {
            let behind = rest.strip_prefix("\u{1b}[")?.strip_prefix(code)?.strip_prefix('m')?;
            Some(rest.len() - behind.len())
        });
        let taken = colour.unwrap_or_else(|| rest.chars().next().map_or(rest.len(), char::len_utf8));
        shown.push_str(if colour.is_some() { &rest[..taken] } else { "\u{fffd}" });
        rest = &rest[taken..];
    }
    shown.push_str(rest);
    Cow::Owned(shown)
}

/// A bar of ten cells for a share out of a thousand.
#[must_use]
pub fn bar(permille: u32) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = permille.min(1000) as usize * 80 / 1000;
    let text = "█".repeat(eighths / 8) + PARTS[eighths % 8];
    let gap = 10 - text.chars().count();
    text + &" ".repeat(gap)
}

/// A count with a comma at every thousand.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align_words_left_and_numbers_right() {
        let mut table = Table::new(&[("name", Side::Left), ("n", Side::Right)]);
        table.row(["Zoë".to_owned(), count(7)]);
        table.row(["x".to_owned(), count(1_234_567)]);
        assert_eq!(table.render(Paint::Plain), "  name          n\n  Zoë           7\n  x     1,234,567\n");
    }

    #[test]
    fn values_cannot_move_the_cursor() {
        let heading = Paint::Colour.heading("values");
        for (text, want) in [
            ("a\tb\n", "a\tb\n"),
            (heading.as_str(), heading.as_str()),
            ("\u{1b}[2J\u{1b}[31mRed\u{9b}1A\rx\0", "\u{fffd}[2J\u{fffd}[31mRed\u{fffd}1A\u{fffd}x\u{fffd}"),
            ("\u{1b}", "\u{fffd}"),
        ] {
            assert_eq!(visible(text), want, "{text:?}");
        }
    }

    #[test]
    fn bars_keep_their_width() {
        for (permille, want) in
            [(0, "          "), (500, "█████     "), (1000, "██████████"), (2000, "██████████"), (60, "▌         ")]
        {
            assert_eq!(bar(permille), want);
        }
    }
}
