//! Tables of results: typed cells, units in the headings, aligned columns.

use serde_json::{Map, Value, json};
use std::fmt::Write;

/// A table. Rows have exactly as many cells as there are columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// A short name for programs: lower case letters, digits and hyphens.
    pub name: String,
    /// What the table shows.
    pub title: String,
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

/// One column: its heading, the unit of its numbers, how many decimals they are shown with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    heading: String,
    unit: String,
    decimals: usize,
    text: bool,
}

impl Column {
    /// A column of words, aligned left.
    #[must_use]
    pub fn text(heading: impl Into<String>) -> Column {
        Column { heading: heading.into(), unit: String::new(), decimals: 2, text: true }
    }

    /// A column of numbers, aligned right, all in `unit` (empty for plain counts) with so many decimals.
    #[must_use]
    pub fn number(heading: impl Into<String>, unit: impl Into<String>, decimals: usize) -> Column {
        Column { heading: heading.into(), unit: unit.into(), decimals, text: false }
    }

    /// A column of ratios, shown as `1.04 × (0.98–1.11)`.
    #[must_use]
    pub fn ratio(heading: impl Into<String>) -> Column {
        Column { heading: heading.into(), unit: String::new(), decimals: 2, text: false }
    }

    fn heading_with_unit(&self) -> String {
        if self.unit.is_empty() { self.heading.clone() } else { format!("{} [{}]", self.heading, self.unit) }
    }
}

/// One cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Words.
    Text(String),
    /// A number in the unit of its column and with its decimals.
    Number(f64),
    /// A number that brings its own unit and decimals, for columns that mix them.
    Quantity {
        /// How many.
        value: f64,
        /// Of what.
        unit: String,
        /// Shown with so many decimals.
        decimals: usize,
    },
    /// A ratio with the lowest and highest that its rounds gave.
    Ratio {
        /// The median.
        value: f64,
        /// The lowest.
        low: f64,
        /// The highest.
        high: f64,
    },
    /// Not measured, or not known; shown as `–`.
    Missing,
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell::Text(text)
    }
}

impl From<f64> for Cell {
    fn from(value: f64) -> Cell {
        Cell::Number(value)
    }
}

impl From<u64> for Cell {
    fn from(value: u64) -> Cell {
        Cell::Number(value as f64)
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Cell {
        value.map_or(Cell::Missing, Into::into)
    }
}

impl Cell {
    fn shown(&self, column: &Column) -> String {
        match self {
            Cell::Text(text) => text.clone(),
            Cell::Number(value) => number(*value, column.decimals),
            Cell::Quantity { value, unit, decimals } => format!("{} {unit}", number(*value, *decimals)),
            Cell::Ratio { value, low, high } => format!("{value:.2} × ({low:.2}–{high:.2})"),
            Cell::Missing => "–".to_owned(),
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Cell::Text(text) => json!(text),
            Cell::Number(value) => json!(value),
            Cell::Quantity { value, unit, .. } => json!({ "value": value, "unit": unit }),
            Cell::Ratio { value, low, high } => json!({ "value": value, "low": low, "high": high }),
            Cell::Missing => Value::Null,
        }
    }
}

impl Table {
    /// An empty table.
    ///
    /// # Panics
    /// When two columns have the same heading, as JSON rows are keyed by them.
    #[must_use]
    pub fn new(name: impl Into<String>, title: impl Into<String>, columns: Vec<Column>) -> Table {
        for (index, column) in columns.iter().enumerate() {
            let twin = columns[..index].iter().any(|other| other.heading == column.heading);
            assert!(!twin, "two columns are headed {:?}", column.heading);
        }
        Table { name: name.into(), title: title.into(), columns, rows: Vec::new() }
    }

    /// Adds a row.
    ///
    /// # Panics
    /// When it has not one cell for each column.
    pub fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        self.row_of(cells.into());
    }

    /// Adds a row whose length is known when the program runs.
    ///
    /// # Panics
    /// When it has not one cell for each column.
    pub fn row_of(&mut self, cells: Vec<Cell>) {
        assert_eq!(cells.len(), self.columns.len(), "a row of table {:?} has a cell a column", self.name);
        self.rows.push(cells);
    }

    /// The rows so far.
    #[must_use]
    pub fn rows(&self) -> &[Vec<Cell>] {
        &self.rows
    }

    /// For a terminal: title, headings with units, aligned rows.
    #[must_use]
    pub fn to_text(&self) -> String {
        let grid = self.grid();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|at| grid.iter().map(|row| row[at].chars().count()).max().unwrap_or(0))
            .collect();
        let mut text = format!("{}\n", self.title);
        for (index, row) in grid.iter().enumerate() {
            let cells = row.iter().zip(&widths).zip(&self.columns);
            let line: Vec<String> =
                cells.map(|((cell, width), column)| pad(cell, *width, column.text)).collect();
            text.push_str(format!("  {}", line.join("  ")).trim_end());
            text.push('\n');
            if index == 0 {
                let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
                text.push_str(&format!("  {}\n", rule.join("  ")));
            }
        }
        text
    }

    /// For a document: a table in Markdown, without the title.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let grid = self.grid();
        let mut text = String::new();
        for (index, row) in grid.iter().enumerate() {
            let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
            // Writing to a string cannot fail, here and below.
            let _infallible = writeln!(text, "| {} |", cells.join(" | "));
            if index == 0 {
                let rule: Vec<&str> =
                    self.columns.iter().map(|c| if c.text { "---" } else { "---:" }).collect();
                let _infallible = writeln!(text, "| {} |", rule.join(" | "));
            }
        }
        text
    }

    /// Headings, then every cell as it is shown.
    fn grid(&self) -> Vec<Vec<String>> {
        let headings = self.columns.iter().map(Column::heading_with_unit).collect();
        let row = |row: &Vec<Cell>| {
            row.iter().zip(&self.columns).map(|(cell, column)| cell.shown(column)).collect()
        };
        std::iter::once(headings).chain(self.rows.iter().map(row)).collect()
    }

    pub(super) fn to_json(&self) -> Value {
        let columns: Vec<Value> = self
            .columns
            .iter()
            .map(|column| json!({ "heading": column.heading, "unit": column.unit }))
            .collect();
        let rows: Vec<Value> = self.rows.iter().map(|row| self.row_to_json(row)).collect();
        json!({ "name": self.name, "title": self.title, "columns": columns, "rows": rows })
    }

    fn row_to_json(&self, row: &[Cell]) -> Value {
        let cells = self.columns.iter().zip(row);
        Value::Object(
            cells.map(|(column, cell)| (column.heading.clone(), cell.to_json())).collect::<Map<_, _>>(),
        )
    }
}

/// A number with thousands set apart, so that magnitudes can be compared at a glance.
#[must_use]
pub fn number(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let plain = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = plain.split_at(plain.find('.').unwrap_or(plain.len()));
    let mut text = if value < 0.0 && plain.contains(|digit| ('1'..='9').contains(&digit)) {
        "-".to_owned()
    } else {
        String::new()
    };
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text + fraction
}

fn pad(cell: &str, width: usize, left: bool) -> String {
    let space = " ".repeat(width.saturating_sub(cell.chars().count()));
    if left { format!("{cell}{space}") } else { format!("{space}{cell}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Table {
        let columns = vec![Column::text("server"), Column::number("rate", "req/s", 0), Column::ratio("CPU")];
        let mut table = Table::new("example", "An example", columns);
        table.row(["ours".into(), 1234567.4.into(), Cell::Ratio { value: 1.0, low: 0.96, high: 1.05 }]);
        table.row(["theirs".into(), Cell::Missing, Cell::Missing]);
        table
    }

    #[test]
    fn columns_are_aligned_and_have_units() {
        let expected = "An example\n\
            \x20 server  rate [req/s]                 CPU\n\
            \x20 ──────  ────────────  ──────────────────\n\
            \x20 ours       1,234,567  1.00 × (0.96–1.05)\n\
            \x20 theirs             –                   –\n";
        assert_eq!(example().to_text(), expected);
    }

    #[test]
    fn json_keeps_the_precise_values() {
        let json = example().to_json();
        assert_eq!(json["rows"][0]["rate"], json!(1234567.4));
        assert_eq!(json["rows"][0]["CPU"]["low"], json!(0.96));
        assert_eq!(json["rows"][1]["rate"], Value::Null);
        assert_eq!(json["columns"][1]["unit"], "req/s");
    }

    #[test]
    fn markdown_aligns_numbers_right() {
        let markdown = example().to_markdown();
        assert!(
            markdown
                .starts_with("| server | rate [req/s] | CPU |\n| --- | ---: | ---: |\n| ours | 1,234,567 |")
        );
    }

    #[test]
    fn thousands_are_set_apart() {
        for (value, decimals, shown) in [
            (0.0, 0, "0"),
            (999.0, 0, "999"),
            (1000.0, 1, "1,000.0"),
            (-1234567.0, 0, "-1,234,567"),
            (-0.001, 1, "0.0"),
        ] {
            assert_eq!(number(value, decimals), shown);
        }
        assert_eq!(number(f64::NAN, 2), "–");
    }

    #[test]
    #[should_panic(expected = "a cell a column")]
    fn a_short_row_is_our_mistake() {
        example().row(["alone".into()]);
    }
}
