//! The table: ours, the peer's, the ratio, the aim.

/// Whether more is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// Operations per second.
    More,
    /// Time and memory.
    Less,
}

/// One measure of both.
#[derive(Debug, Clone)]
pub struct Row {
    /// What is measured, with its unit.
    pub what: String,
    /// Ours, then the peer's.
    pub values: [f64; 2],
    /// Which way is better.
    pub better: Better,
    /// The ratio, ours to the peer's, that we want; `None` for one that is only told.
    pub aim: Option<f64>,
}

/// All rows.
#[derive(Debug, Default)]
pub struct Table {
    /// In the order they were measured.
    pub rows: Vec<Row>,
}

impl Row {
    fn ratio(&self) -> f64 {
        self.values[0] / self.values[1]
    }

    fn line(&self) -> String {
        let (aim, reached) = match (self.aim, self.better) {
            (None, _) => (String::new(), ""),
            (Some(aim), Better::More) => (
                format!("at least {aim} x"),
                if self.ratio() >= aim { "yes" } else { "**no**" },
            ),
            (Some(aim), Better::Less) => (
                format!("at most {aim} x"),
                if self.ratio() <= aim { "yes" } else { "**no**" },
            ),
        };
        let [ours, theirs] = self.values.map(digits);
        let ratio = self.ratio();
        format!(
            "| {} | {ours} | {theirs} | {ratio:.2} x | {aim} | {reached} |",
            self.what
        )
    }
}

/// Three digits that count.
fn digits(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

impl Table {
    /// Prints it as Markdown.
    pub fn print(&self) {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        println!("\n| {cores} cores, shared with the client | corten | etcd | ratio | aim | reached |");
        println!("| --- | ---: | ---: | ---: | --- | --- |");
        for row in &self.rows {
            println!("{}", row.line());
        }
    }
}
