//! What the benchmark prints: Markdown tables.

use std::fmt::Write as _;

use tests::bench::statistics::Spread;

/// The least or the most that a figure shall be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    AtMost(f64),
    AtLeast(f64),
}

impl Target {
    fn is_met(self, figure: f64) -> bool {
        match self {
            Self::AtMost(limit) => figure <= limit,
            Self::AtLeast(limit) => figure >= limit,
        }
    }
}

/// The unit of a figure, and its digits.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    Ratio,
    Bytes,
    Microseconds,
    Milliseconds,
}

impl Unit {
    fn digits(self) -> usize {
        match self {
            Self::Ratio => 2,
            Self::Bytes => 0,
            Self::Microseconds | Self::Milliseconds => 1,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ratio => "",
            Self::Bytes => " B",
            Self::Microseconds => " µs",
            Self::Milliseconds => " ms",
        }
    }
}

/// A name in English and in Chinese.
pub(crate) type Words = [&'static str; 2];

/// Everything that was measured.
#[derive(Debug, Default)]
pub(crate) struct Report {
    goals: Vec<Goal>,
    tables: Vec<Table>,
}

/// A figure with a target.
#[derive(Debug)]
struct Goal {
    name: Words,
    figure: Spread,
    unit: Unit,
    target: Option<Target>,
}

/// A table of details.
#[derive(Debug)]
pub(crate) struct Table {
    title: String,
    header: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

impl Report {
    /// Adds a figure, and says it at once.
    pub(crate) fn goal(&mut self, name: Words, figure: Spread, unit: Unit, target: Option<Target>) {
        let goal = Goal { name, figure, unit, target };
        eprintln!("{}", goal.row(0));
        self.goals.push(goal);
    }

    /// Adds details.
    pub(crate) fn table(&mut self, table: Table) {
        self.tables.push(table);
    }

    /// The figures with their targets, in English (0) or Chinese (1).
    pub(crate) fn goals(&self, language: usize) -> String {
        let heads = ["| figure | measured | target | |", "| 项目 | 实测 | 目标 | |"];
        let mut text = format!("{}\n| --- | ---: | ---: | --- |\n", heads[language]);
        for goal in &self.goals {
            text.push_str(&goal.row(language));
            text.push('\n');
        }
        text
    }

    /// All of it.
    pub(crate) fn markdown(&self, preface: &str) -> String {
        let mut text = format!("{preface}\n");
        if !self.goals.is_empty() {
            _ = writeln!(text, "{}", self.goals(0));
        }
        for table in &self.tables {
            _ = writeln!(text, "{}", table.markdown());
        }
        text
    }
}

impl Goal {
    fn row(&self, language: usize) -> String {
        let (digits, unit) = (self.unit.digits(), self.unit.name());
        let Spread { median, min, max } = self.figure;
        let words = [["met", "missed"], ["达到", "未达到"]][language];
        let (target, verdict) = match self.target {
            None => (String::new(), ""),
            Some(target) => {
                let (sign, limit) = match target {
                    Target::AtMost(limit) => ("≤", limit),
                    Target::AtLeast(limit) => ("≥", limit),
                };
                (format!("{sign} {limit:.digits$}{unit}"), words[usize::from(!target.is_met(median))])
            }
        };
        let to = ["to", "至"][language];
        let name = self.name[language];
        format!(
            "| {name} | {median:.digits$}{unit} ({min:.digits$} {to} {max:.digits$}) | {target} | {verdict} |"
        )
    }
}

impl Table {
    /// A table without rows. All columns but the first hold numbers.
    pub(crate) fn new(title: impl Into<String>, header: &'static [&'static str]) -> Self {
        Self { title: title.into(), header, rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let header: Vec<String> = self.header.iter().map(|&cell| cell.to_owned()).collect();
        let mut text =
            format!("{}\n\n{}| ---{} |\n", self.title, line(&header), " | ---:".repeat(header.len() - 1));
        for row in &self.rows {
            text.push_str(&line(row));
        }
        text
    }
}
