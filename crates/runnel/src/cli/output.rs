//! What verbs print: tables for people, JSON and YAML for programs. Data goes to stdout, all the rest to stderr.

mod table;
mod yaml;

use std::io::{self, Write};

use clap::ValueEnum;
use serde_json::Value;

pub(crate) use table::Table;

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// For people and programs.
    Yaml,
}

/// Prints `value`, or what `table` makes of it.
pub(crate) fn print(output: Output, value: &Value, table: impl FnOnce() -> String) -> io::Result<()> {
    let text = match output {
        Output::Table => table(),
        Output::Json => format!("{value:#}\n"),
        Output::Yaml => yaml::to_string(value),
    };
    io::stdout().lock().write_all(text.as_bytes())
}

/// A byte size in the largest unit that keeps one digit before the point.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (n as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{n} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// `1 record`, `2 records`.
pub(crate) fn count(n: u64, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_and_counts_read_well() {
        let sizes = [0, 1023, 1024, 1536, 5 << 30].map(super::bytes);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "5.0 GiB"]);
        assert_eq!([super::count(1, "record"), super::count(0, "record")], ["1 record", "0 records"]);
    }
}
