//! Figures as a table that is readable on a terminal and valid Markdown.

use std::fmt;

/// A table with a header row; the first column is text, the others are numbers.
#[derive(Debug, Clone, Default)]
pub struct Grid {
    rows: Vec<Vec<String>>,
}

impl Grid {
    /// Returns a table that only has a header row.
    pub fn new(head: &[&str]) -> Self {
        Self {
            rows: vec![head.iter().map(|&cell| cell.to_owned()).collect()],
        }
    }

    /// Adds a row.
    pub fn push(&mut self, row: impl Into<Vec<String>>) {
        self.rows.push(row.into());
    }
}

impl fmt::Display for Grid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cell = |row: &Vec<String>, column: usize| row.get(column).map_or(0, |cell| cell.chars().count());
        let columns = self.rows.first().map_or(0, Vec::len);
        let widths: Vec<_> = (0..columns)
            .map(|column| self.rows.iter().map(|row| cell(row, column)).max().unwrap_or(0).max(3))
            .collect();
        for (index, row) in self.rows.iter().enumerate() {
            for (column, (text, width)) in row.iter().zip(&widths).enumerate() {
                match column {
                    0 => write!(f, "| {text:width$} ")?,
                    _ => write!(f, "| {text:>width$} ")?,
                }
            }
            f.write_str("|\n")?;
            if index == 0 {
                for (column, width) in widths.iter().enumerate() {
                    let line = "-".repeat(*width);
                    match column {
                        0 => write!(f, "|-{line}-")?,
                        _ => write!(f, "|-{line}:")?,
                    }
                }
                f.write_str("|\n")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut grid = Grid::new(&["who", "µs", "n"]);
        grid.push(["collector".to_owned(), "8.35 ±1 %".to_owned(), "7".to_owned()]);
        let lines = [
            "| who       |        µs |   n |",
            "|-----------|----------:|----:|",
            "| collector | 8.35 ±1 % |   7 |",
            "",
        ];
        assert_eq!(grid.to_string(), lines.join("\n"));
    }
}
