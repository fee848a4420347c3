//! What the requests to the bucket cost at list prices, for three workloads; written to a page of its own. The client is in
//! `tests/bench/cost.py`.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::{Bench, script};

/// Dollars for a request: S3 Standard in us-east-1. LIST costs as much as PUT; DELETE, which is not shown, nothing.
const PUT: f64 = 0.005 / 1e3;
const GET: f64 = 0.0004 / 1e3;

const HOURS_OF_A_MONTH: f64 = 730.0;

const HEAD: &str = "| | PUT/h | GET/h | LIST/h | $ a month | $ per TB written |\n|---|---|---|---|---|---|\n";

const WORKLOADS: [(&str, &str); 3] = [
    ("local", "1,000 records/s, `local`"),
    ("object", "1,000 records/s, `object`"),
    ("large", "30,000 records/s, `local`"),
];

pub(super) fn run(bench: &Bench) -> Result<String> {
    println!("cost: three workloads");
    let dir = bench.dir.join("cost").display().to_string();
    let args = [dir.as_str(), "--quick"];
    let found: BTreeMap<String, f64> =
        script::run_with_servers("cost", &args[..if bench.quick { 2 } else { 1 }], bench)?;
    let rows: Result<String> = WORKLOADS.iter().map(|(prefix, name)| row(&found, prefix, name)).collect();
    Ok(HEAD.to_owned() + &rows?)
}

fn row(found: &BTreeMap<String, f64>, prefix: &str, name: &str) -> Result<String> {
    let of =
        |what: &str| found.get(&format!("{prefix}_{what}")).copied().with_context(|| format!("no {prefix}_{what}"));
    let (put, get, list, tb) = (of("put")?, of("get")?, of("list")?, of("tb")?);
    let dollars = (put + list) * PUT + get * GET;
    Ok(format!(
        "| {name} | {put:.0} | {get:.0} | {list:.0} | {:.2} | {:.2} |\n",
        dollars * HOURS_OF_A_MONTH,
        dollars / tb
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn puts_and_lists_cost_the_same() -> Result<()> {
        let figures = [("put", 600.0), ("get", 1000.0), ("list", 400.0), ("tb", 0.01)];
        let found = figures.map(|(name, figure)| (format!("x_{name}"), figure)).into();
        let shown = row(&found, "x", "some")?;
        assert_eq!(shown, "| some | 600 | 1000 | 400 | 3.94 | 0.54 |\n");
        let columns = |text: &str| text.lines().map(|line| line.matches('|').count()).collect::<Vec<_>>();
        assert_eq!(columns(HEAD), [columns(&shown), columns(&shown)].concat());
        assert!(row(&found, "y", "other").is_err());
        Ok(())
    }
}
