//! Rows as a table, by a template, or as JSON lines: what `--format` means for lists.

use std::io::{self, Write};

use serde_json::Value;

use super::failure::Failure;
use super::template::Template;

/// How rows are shown.
pub(super) enum Format {
    /// The command's own table.
    Table,
    /// A table of a template's columns.
    TableOf(Template),
    /// A template for each row.
    Lines(Template),
    /// JSON for each row.
    Json,
}

impl Format {
    /// Reads `--format`.
    pub(super) fn parse(text: Option<&str>) -> Result<Self, Failure> {
        let template = |text: &str| {
            // Go unquotes these two in the shell's stead.
            let text = text.replace("\\t", "\t").replace("\\n", "\n");
            Template::parse(&text).map_err(|error| Failure::plain(64, error))
        };
        match text {
            None | Some("" | "table") => Ok(Self::Table),
            Some("json") => Ok(Self::Json),
            Some(text) => match text.strip_prefix("table ") {
                Some(columns) => template(columns).map(Self::TableOf),
                None => template(text).map(Self::Lines),
            },
        }
    }
}

/// The columns of a command: heading and field.
pub(super) struct Sheet {
    /// Those of its own table.
    pub(super) columns: &'static [(&'static str, &'static str)],
    /// Those a template may name.
    pub(super) all: &'static [(&'static str, &'static str)],
}

impl Sheet {
    /// Prints `rows`.
    pub(super) fn print(&self, format: &Format, rows: &[Value]) -> Result<(), Failure> {
        let failed = |error: String| Failure::plain(1, error);
        let mut lines = Vec::new();
        match format {
            Format::Json => lines.extend(rows.iter().map(Value::to_string)),
            Format::Lines(template) => {
                for row in rows {
                    lines.push(template.render(row).map_err(failed)?);
                }
            }
            Format::Table => {
                let mut cells = vec![
                    self.columns
                        .iter()
                        .map(|(heading, _)| (*heading).to_owned())
                        .collect(),
                ];
                let cell = |row: &Value, field: &str| row[field].as_str().unwrap_or_default().to_owned();
                cells.extend(
                    rows.iter()
                        .map(|row| self.columns.iter().map(|(_, field)| cell(row, field)).collect()),
                );
                lines = align(&cells);
            }
            Format::TableOf(template) => {
                let split = |line: String| line.split('\t').map(str::to_owned).collect::<Vec<_>>();
                let mut cells = vec![split(template.headings(|field| self.heading(field)))];
                for row in rows {
                    cells.push(split(template.render(row).map_err(failed)?));
                }
                lines = align(&cells);
            }
        }
        print_lines(&lines);
        Ok(())
    }

    fn heading(&self, field: &str) -> String {
        let known = self
            .all
            .iter()
            .chain(self.columns)
            .find(|(_, each)| *each == field);
        known.map_or_else(|| field.to_uppercase(), |(heading, _)| (*heading).to_owned())
    }
}

/// Columns as wide as their widest cell and three spaces.
pub(super) fn align(rows: &[Vec<String>]) -> Vec<String> {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        for (index, cell) in row.iter().enumerate() {
            if widths.len() <= index {
                widths.push(0);
            }
            widths[index] = widths[index].max(cell.chars().count());
        }
    }
    let line = |row: &Vec<String>| {
        let mut text = String::new();
        for (index, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if index + 1 < row.len() {
                text.push_str(&" ".repeat(widths[index] - cell.chars().count() + 3));
            }
        }
        text
    };
    rows.iter().map(line).collect()
}

/// Prints lines; a reader that goes away (`| head`) ends it quietly.
pub(super) fn print_lines(lines: &[String]) {
    let mut out = io::stdout().lock();
    for line in lines {
        if writeln!(out, "{line}").is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [
            vec!["ID".to_owned(), "NAME".to_owned()],
            vec!["abc".to_owned(), "x".to_owned()],
        ];
        assert_eq!(align(&rows), ["ID    NAME", "abc   x"]);
    }
}
