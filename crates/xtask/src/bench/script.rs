//! Clients in Python: the scripts of `tests/bench`, which print what they found as JSON.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;

use super::Bench;
use super::stats::{Series, row};
use crate::{install, process, workspace};

/// Runs a script to its end.
pub(super) fn run<T: DeserializeOwned>(name: &str, args: &[&str]) -> Result<T> {
    output(name, command(name, args)?)
}

/// Runs a script that starts brokers and what they need by itself.
pub(super) fn run_with_servers<T: DeserializeOwned>(name: &str, args: &[&str], bench: &Bench) -> Result<T> {
    let mut command = command(name, args)?;
    command.env("RUNNEL_BIN", &bench.binary).env("PUTS_BIN", &bench.puts);
    command.env("GETS_BIN", &bench.gets).env("MICRO_BIN", &bench.micro);
    command.env("VERSITYGW_BIN", install::versitygw()?).env("ETCD_BIN", install::etcd()?);
    command.env("TANSU_BIN", install::tansu()?);
    output(name, command)
}

fn command(name: &str, args: &[&str]) -> Result<Command> {
    let mut command = Command::new(workspace::python()?);
    command.arg(workspace::root().join("tests/bench").join(name).with_extension("py")).args(args);
    Ok(command)
}

fn output<T: DeserializeOwned>(name: &str, mut command: Command) -> Result<T> {
    let said = process::output(&mut command)?;
    serde_json::from_str(&said).with_context(|| format!("the script {name} said: {said}"))
}

/// Figures by the names that scripts give them, run by run.
#[derive(Default)]
pub(super) struct Figures(BTreeMap<String, Series>);

impl Figures {
    pub(super) fn push(&mut self, found: BTreeMap<String, f64>) {
        for (name, figure) in found {
            self.0.entry(name).or_default().push(figure);
        }
    }

    fn get(&self, name: &str) -> Series {
        self.0.get(name).cloned().unwrap_or_default()
    }
}

/// A row of a table: the name of the figure, what it says, its unit, how many decimals.
pub(super) type Row = (&'static str, &'static str, &'static str, usize);

/// The rows of a table, without its head.
pub(super) fn rows(rows: &[Row], ours: &Figures, theirs: &Figures) -> String {
    rows.iter()
        .map(|(figure, name, unit, decimals)| row(name, unit, *decimals, &ours.get(figure), &theirs.get(figure)))
        .collect()
}

/// The head of a table that has no peer.
pub(super) const OWN_HEAD: &str = "| | | runnel |\n|---|---|---|\n";

/// The rows of one.
pub(super) fn own_rows(rows: &[Row], ours: &Figures) -> String {
    let row =
        |(figure, name, unit, decimals): &Row| format!("| {name} | {unit} | {} |\n", ours.get(figure).show(*decimals));
    rows.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_that_one_side_has_not_is_a_dash() {
        let (mut ours, theirs) = (Figures::default(), Figures::default());
        ours.push([("a".to_owned(), 2.0)].into());
        ours.push([("a".to_owned(), 4.0)].into());
        let table = rows(&[("a", "rate", "1/s", 0)], &ours, &theirs);
        assert_eq!(table, "| rate | 1/s | **3** (2–4) | - | - |\n");
    }
}
