//! Columns for people.

use std::fmt;

/// Rows under a header; columns of numbers are aligned to the right.
#[derive(Debug)]
pub(crate) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new<const N: usize>(header: [&'static str; N]) -> Self {
        Self { header: header.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into_iter().map(printable).collect());
    }
}

/// Names that clients chose must neither break the lines nor steer the terminal.
fn printable(cell: String) -> String {
    if cell.contains(char::is_control) { cell.escape_debug().to_string() } else { cell }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<(usize, bool)> = (0..self.header.len())
            .map(|at| {
                let cells = || self.rows.iter().filter_map(move |row| row.get(at));
                let width = cells().map(|cell| cell.chars().count()).max().unwrap_or(0);
                let numbers = cells().all(|cell| cell.starts_with(|c: char| c.is_ascii_digit() || c == '-'));
                (width.max(self.header[at].len()), numbers && !self.rows.is_empty())
            })
            .collect();
        let line = |f: &mut fmt::Formatter<'_>, cells: Vec<&str>| {
            let padded = cells.iter().zip(&columns).map(|(cell, (width, right))| match right {
                true => format!("{cell:>width$}"),
                false => format!("{cell:<width$}"),
            });
            writeln!(f, "{}", padded.collect::<Vec<_>>().join("  ").trim_end())
        };
        line(f, self.header.clone())?;
        self.rows.iter().try_for_each(|row| line(f, row.iter().map(String::as_str).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stands_left_and_numbers_right() {
        let mut table = Table::new(["NAME", "OFFSET"]);
        table.row(["flights".to_owned(), "7".to_owned()]);
        table.row(["o".to_owned(), "12345678".to_owned()]);
        assert_eq!(table.to_string(), "NAME       OFFSET\nflights         7\no        12345678\n");
        assert_eq!(Table::new(["A", "B"]).to_string(), "A  B\n");
    }

    #[test]
    fn control_characters_are_shown_and_not_sent() {
        let mut table = Table::new(["NAME"]);
        table.row(["a\n\u{1b}[2Jb".to_owned()]);
        assert_eq!(table.to_string(), "NAME\na\\n\\u{1b}[2Jb\n");
    }
}
