//! Columns as Go's text/tabwriter sets them with minwidth 0, tabwidth 8, padding 1 and a tab as the padding: every
//! column but the last is widened with tabs to the next multiple of eight that leaves one place free.

const TAB: usize = 8;

/// The lines of `rows`, which all have the same number of cells.
pub(super) fn lay_out(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width_of = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|cell| (cell.chars().count() + 1).next_multiple_of(TAB))
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width_of).collect();
    rows.iter().map(|row| line(row, &widths)).collect()
}

fn line(row: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (number, cell) in row.iter().enumerate() {
        line.push_str(cell);
        if number + 1 < row.len() {
            let missing = widths[number] - cell.chars().count();
            line.push_str(&"\t".repeat(missing.div_ceil(TAB)));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_padded_as_gos_tabwriter_pads_them() {
        let rows = [
            vec!["UNIT", "MACHINE", "ACTIVE", "SUB"],
            vec!["hello.service", "113f16a7.../172.17.8.103", "active", "running"],
            vec!["1234567", "-", "", "x"],
            vec!["12345678", "ü", "inactive", ""],
        ];
        let rows: Vec<Vec<String>> = rows
            .iter()
            .map(|row| row.iter().map(ToString::to_string).collect())
            .collect();
        let expected = [
            "UNIT\t\tMACHINE\t\t\t\tACTIVE\t\tSUB",
            "hello.service\t113f16a7.../172.17.8.103\tactive\t\trunning",
            "1234567\t\t-\t\t\t\t\t\tx",
            "12345678\tü\t\t\t\tinactive\t",
        ];
        assert_eq!(lay_out(&rows), expected);
    }
}
