//! File sizes as a ratchet: nothing new above the limit, and what is above it may only shrink.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::sources::{Sources, is_test_file, production_lines};

/// Production lines past which a file must be split.
const LIMIT: usize = 600;

/// Names the files that are above the limit, with their size.
const EXCEPTIONS: &str = "crates/xtask/tidy.toml";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exceptions {
    /// Production lines by path.
    sizes: BTreeMap<String, usize>,
}

/// Breaches of the limit.
pub(crate) fn check(root: &Path, sources: &Sources) -> Result<Vec<String>> {
    let text = fs::read_to_string(root.join(EXCEPTIONS)).with_context(|| format!("cannot read {EXCEPTIONS}"))?;
    let exceptions: Exceptions = toml::from_str(&text).with_context(|| format!("cannot parse {EXCEPTIONS}"))?;
    let sizes = sources
        .iter()
        .filter(|(path, _)| path.ends_with(".rs") && !is_test_file(path))
        .map(|(path, text)| (path.clone(), production_lines(text).len()))
        .collect();
    Ok(compare(&sizes, &exceptions.sizes))
}

fn compare(sizes: &BTreeMap<String, usize>, exceptions: &BTreeMap<String, usize>) -> Vec<String> {
    let mut breaches = Vec::new();
    for (path, &lines) in sizes {
        match exceptions.get(path) {
            None if lines > LIMIT => {
                breaches.push(format!("{path} has {lines} production lines (limit {LIMIT}): split it"))
            }
            Some(_) if lines <= LIMIT => {
                breaches.push(format!("{path} is within the limit: take it out of {EXCEPTIONS}"))
            }
            Some(&listed) if lines > listed => {
                breaches.push(format!("{path} grew from {listed} to {lines} production lines: it may only shrink"));
            }
            Some(&listed) if lines < listed => {
                breaches.push(format!("{path} shrank to {lines} production lines: say so in {EXCEPTIONS}"));
            }
            _ => {}
        }
    }
    let gone = exceptions.keys().filter(|path| !sizes.contains_key(*path));
    breaches.extend(gone.map(|path| format!("{path} is named in {EXCEPTIONS} and does not exist")));
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratchet_only_tightens() {
        let listed = |size| BTreeMap::from([("a.rs".to_owned(), size)]);
        let check = |lines, exceptions| compare(&BTreeMap::from([("a.rs".to_owned(), lines)]), &exceptions).len();
        assert_eq!(check(600, BTreeMap::new()), 0);
        assert_eq!(check(601, BTreeMap::new()), 1);
        assert_eq!(check(700, listed(700)), 0);
        assert_eq!(check(701, listed(700)), 1);
        assert_eq!(check(699, listed(700)), 1);
        assert_eq!(check(600, listed(700)), 1);
        assert_eq!(compare(&BTreeMap::new(), &listed(700)).len(), 1);
    }
}
