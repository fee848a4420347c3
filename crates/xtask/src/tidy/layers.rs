//! Layers: a crate may depend on lower layers, and on the neighbours in its own that are named here.

use crate::workspace::Package;

/// One crate of the house.
struct Row {
    layer: u8,
    name: &'static str,
    /// Crates of the same layer that it may use.
    neighbours: &'static [&'static str],
    /// If set, the only crates of ours that it may use.
    only: Option<&'static [&'static str]>,
}

const fn row(layer: u8, name: &'static str, neighbours: &'static [&'static str]) -> Row {
    Row { layer, name, neighbours, only: None }
}

/// A crate that is fenced off from most of what lies below it.
const fn fenced(layer: u8, name: &'static str, only: &'static [&'static str]) -> Row {
    Row { layer, name, neighbours: &[], only: Some(only) }
}

/// What only tests and developers use; no other crate may depend on it, but in its tests.
const DEV: u8 = u8::MAX;

/// A front door sees the boundary and the ports of the process, never what is behind them.
const DOOR: &[&str] = &["api", "record", "runtime"];

/// The table of ARCHITECTURE.md.
const TABLE: &[Row] = &[
    row(0, "guard", &[]),
    row(0, "record", &[]),
    row(0, "format", &["record"]),
    row(1, "partition", &[]),
    row(1, "group", &[]),
    row(1, "plan", &[]),
    row(2, "runtime", &[]),
    row(2, "blob", &["runtime"]),
    row(2, "metastore", &["runtime"]),
    row(2, "cache", &["runtime"]),
    row(3, "wal", &[]),
    row(3, "segment", &[]),
    fenced(4, "api", &["group", "record"]),
    fenced(4, "proto", &[]),
    row(5, "broker", &[]),
    fenced(5, "peer", &["api", "proto", "record"]),
    fenced(6, "kafka", DOOR),
    fenced(6, "grpc", &["api", "peer", "proto", "record", "runtime"]),
    fenced(6, "http", DOOR),
    fenced(7, "client", &["proto", "record"]),
    row(8, "runnel", &[]),
    row(DEV, "bench", &[]),
    fenced(DEV, "explore", &[]),
    row(DEV, "fuzz", &["testkit"]),
    fenced(DEV, "judge", &[]),
    row(DEV, "sim", &["judge", "testkit"]),
    row(DEV, "testkit", &[]),
    row(DEV, "xtask", &[]),
];

/// Foreign crates that belong to one crate of ours (a prefix ends in `*`).
const OWNED: &[(&str, &str)] = &[
    ("arrow-*", "segment"),
    ("foyer", "cache"),
    ("kafka-protocol", "kafka"),
    ("object_store", "blob"),
    ("parquet", "segment"),
    ("redb", "metastore"),
];

/// Foreign crates that pure layers do without: those machines neither wait nor touch the world.
const IMPURE: &[&str] = &["futures", "metrics", "rustix", "tempfile", "tokio", "tokio-util", "tracing"];

/// What the names of our crates begin with.
const OURS: &str = "runnel-";

/// Layers below this one are pure.
const FIRST_PORT: u8 = 2;

/// Breaches of the table.
pub(crate) fn check(packages: &[Package]) -> Vec<String> {
    packages.iter().flat_map(check_package).collect()
}

fn check_package(package: &Package) -> Vec<String> {
    let name = short(&package.name);
    let Some(row) = find(name) else {
        return vec![format!("{name} has no row in the table of layers: add it to ARCHITECTURE.md and {}", file!())];
    };
    let normal = package.dependencies.iter().filter(|dependency| dependency.kind.as_deref() != Some("dev"));
    // Others have crates of the same short names.
    let breach = |dependency: &str| match dependency.strip_prefix(OURS).and_then(find) {
        Some(target) => ours(row, target),
        None => foreign(row, dependency),
    };
    normal.filter_map(|dependency| breach(&dependency.name)).collect()
}

/// Why `row` may not use `target`, if so.
fn ours(row: &Row, target: &Row) -> Option<String> {
    let (from, to) = (row.name, target.name);
    if row.only.is_some_and(|only| !only.contains(&to)) {
        return Some(format!("{from} depends on {to}: it may use only {}", row.only.unwrap_or_default().join(", ")));
    }
    if target.layer < row.layer || row.neighbours.contains(&to) {
        return None;
    }
    Some(format!(
        "{from} (layer {}) depends on {to} (layer {}): only lower layers are allowed",
        row.layer, target.layer
    ))
}

/// Why `row` may not use a crate that is not ours, if so.
fn foreign(row: &Row, dependency: &str) -> Option<String> {
    let belongs = |pattern: &str| match pattern.strip_suffix('*') {
        Some(prefix) => dependency.starts_with(prefix),
        None => dependency == pattern,
    };
    if let Some((_, owner)) = OWNED.iter().find(|(pattern, owner)| belongs(pattern) && *owner != row.name) {
        return Some(format!("{} depends on {dependency}: only {owner} may", row.name));
    }
    (row.layer < FIRST_PORT && IMPURE.contains(&dependency))
        .then(|| format!("{} is pure and depends on {dependency}", row.name))
}

fn find(name: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.name == name)
}

fn short(package: &str) -> &str {
    package.strip_prefix(OURS).unwrap_or(package)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Dependency;

    fn breaches(name: &str, dependencies: &[(&str, Option<&str>)]) -> Vec<String> {
        let dependencies = dependencies
            .iter()
            .map(|(name, kind)| Dependency { name: (*name).to_owned(), kind: kind.map(str::to_owned) })
            .collect();
        check(&[Package { name: name.to_owned(), version: String::new(), dependencies }])
    }

    #[test]
    fn lower_layers_and_named_neighbours_are_allowed() {
        assert!(breaches("runnel-wal", &[("runnel-runtime", None), ("tokio", None)]).is_empty());
        assert!(breaches("runnel-blob", &[("runnel-runtime", None), ("object_store", None)]).is_empty());
        assert!(breaches("runnel-record", &[("runnel-testkit", Some("dev"))]).is_empty());
        assert!(breaches("runnel-peer", &[("http", None)]).is_empty(), "not the crate of ours");
    }

    #[test]
    fn each_rule_is_kept() {
        for (name, dependency, says) in [
            ("runnel-wal", "runnel-broker", "only lower layers"),
            ("runnel-wal", "runnel-segment", "only lower layers"),
            ("runnel-runtime", "runnel-blob", "only lower layers"),
            ("runnel-wal", "runnel-testkit", "only lower layers"),
            ("runnel-kafka", "runnel-broker", "may use only"),
            ("runnel-api", "runnel-runtime", "may use only"),
            ("runnel-broker", "arrow-array", "only segment may"),
            ("runnel-partition", "tokio", "is pure"),
        ] {
            let found = breaches(name, &[(dependency, None)]);
            assert!(found.len() == 1 && found[0].contains(says), "{name} -> {dependency}: {found:?}");
        }
        assert_eq!(breaches("runnel-new", &[]).len(), 1);
    }
}
