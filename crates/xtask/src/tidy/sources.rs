//! The text of every source and test file, read once.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Files by their path from the root of the checkout, with `/`.
pub(crate) type Sources = BTreeMap<String, String>;

/// Reads the `.rs` files of `crates/` and the `.py` files of `tests/`.
pub(crate) fn read(root: &Path) -> Result<Sources> {
    let mut sources = Sources::new();
    for dir in ["crates", "tests"] {
        if root.join(dir).is_dir() {
            walk(root, dir, &mut sources)?;
        }
    }
    Ok(sources)
}

fn walk(root: &Path, dir: &str, sources: &mut Sources) -> Result<()> {
    let entries = fs::read_dir(root.join(dir)).with_context(|| format!("cannot list {dir}"))?;
    for entry in entries {
        let entry = entry?;
        let path = format!("{dir}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            walk(root, &path, sources)?;
        } else if path.ends_with(".rs") || path.ends_with(".py") {
            let text = fs::read_to_string(entry.path()).with_context(|| format!("cannot read {path}"))?;
            sources.insert(path, text);
        }
    }
    Ok(())
}

/// Whether a Rust file holds only tests.
pub(crate) fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/") || path.contains("/benches/")
}

/// The lines of a Rust file outside of its `#[cfg(test)]` modules.
///
/// Relies on rustfmt: such a module ends with a brace at the indentation of its attribute.
pub(crate) fn production_lines(text: &str) -> Vec<&str> {
    let mut kept = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let indent = &line[..line.len() - line.trim_start().len()];
        let opens_module = |next: &&str| next.contains("mod ") && next.trim_end().ends_with('{');
        if line.trim() == "#[cfg(test)]" && lines.peek().is_some_and(opens_module) {
            let end = format!("{indent}}}");
            lines.by_ref().find(|line| line.trim_end() == end);
        } else {
            kept.push(line);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_modules_are_not_production() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {\n    }\n}\nfn c() {}\n";
        assert_eq!(production_lines(text), ["fn a() {}", "fn c() {}"]);
    }

    #[test]
    fn a_declared_test_module_hides_nothing() {
        let text = "#[cfg(test)]\nmod tests;\nfn c() {}\n";
        assert_eq!(production_lines(text), ["#[cfg(test)]", "mod tests;", "fn c() {}"]);
    }
}
