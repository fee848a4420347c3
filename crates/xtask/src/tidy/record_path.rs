//! `docs/record-path.md`: the path of a record as a table, kept true.
//!
//! The document has the sections `## Produce`, `## Fetch` and `## Ship`, each with one table whose header is [`HEADER`].
//! What stands in backticks in a cell is checked, by column; other text is free, and `-` means none:
//!
//! | column | each name in backticks |
//! |---|---|
//! | file | exists |
//! | function | is defined (`fn name`) in a file of the row; `Type::name` is looked up as `name` |
//! | span, metric, fail point | stands as a string literal, `"name"`, in production code |
//! | test | is a function of a Rust test (`fn name`) or of a test in `tests/` (`def name`) |
//!
//! Every fail point in production code (`hit("name")`, `pass("name")`) must be named by the document or by a test.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::sources::{Sources, is_test_file, production_lines};

const DOCUMENT: &str = "docs/record-path.md";
const HEADER: &str = "| step | file | function | span | metric | durable now | fail point | test |";
const SECTIONS: [&str; 3] = ["Produce", "Fetch", "Ship"];

/// Breaches of the table.
pub(crate) fn check(root: &Path, sources: &Sources) -> Result<Vec<String>> {
    let document = root.join(DOCUMENT);
    if !document.is_file() {
        return Ok(vec![format!("{DOCUMENT} does not exist; its form: {HEADER}, under ## {}", SECTIONS.join(", ## "))]);
    }
    let text = fs::read_to_string(document).with_context(|| format!("cannot read {DOCUMENT}"))?;
    Ok(compare(&text, &Code::of(sources)))
}

/// What the checks look things up in.
struct Code<'a> {
    sources: &'a Sources,
    production: String,
}

impl<'a> Code<'a> {
    fn of(sources: &'a Sources) -> Self {
        let rust = sources.iter().filter(|(path, _)| path.ends_with(".rs") && !is_test_file(path));
        let outside = rust.filter(|(path, _)| !path.starts_with("crates/xtask/"));
        let production = outside.flat_map(|(_, text)| production_lines(text)).collect::<Vec<_>>().join("\n");
        Self { sources, production }
    }

    fn has_literal(&self, name: &str) -> bool {
        self.production.contains(&format!("\"{name}\""))
    }

    fn has_test(&self, name: &str) -> bool {
        self.sources.iter().any(|(path, text)| {
            let word = if path.ends_with(".rs") { "fn" } else { "def" };
            defines(text, word, name)
        })
    }

    fn fail_points(&self) -> BTreeSet<&str> {
        let after = ["hit(\"", "pass(\""].into_iter().flat_map(|call| self.production.split(call).skip(1));
        after.filter_map(|rest| rest.split('"').next()).collect()
    }

    /// Whether a test names the fail point: in code that is not production, or in the black-box tests.
    fn is_tested(&self, point: &str) -> bool {
        self.sources.iter().any(|(path, text)| {
            let production = if path.ends_with(".rs") && !is_test_file(path) {
                production_lines(text).iter().filter(|line| line.contains(point)).count()
            } else {
                0
            };
            text.lines().filter(|line| line.contains(point)).count() > production
        })
    }
}

fn compare(document: &str, code: &Code<'_>) -> Vec<String> {
    let mut breaches = Vec::new();
    for section in SECTIONS {
        let rows = rows(document, section);
        if rows.is_empty() {
            breaches.push(format!("{DOCUMENT}: no table under `## {section}` with the header {HEADER}"));
        }
        breaches.extend(rows.iter().flat_map(|row| check_row(row, code)));
    }
    let untested = code.fail_points().into_iter().filter(|point| !document.contains(*point) && !code.is_tested(point));
    breaches.extend(untested.map(|point| format!("fail point `{point}` is named by no test and not in {DOCUMENT}")));
    breaches
}

/// The cells of each row of a section's table.
fn rows<'a>(document: &'a str, section: &str) -> Vec<Vec<&'a str>> {
    let in_section = document
        .lines()
        .skip_while(|line| line.trim() != format!("## {section}"))
        .skip(1)
        .take_while(|line| !line.starts_with("## "));
    let table = in_section.skip_while(|line| line.trim() != HEADER).skip(2).take_while(|line| line.starts_with('|'));
    table.map(|line| line.trim().trim_matches('|').split('|').map(str::trim).collect()).collect()
}

fn check_row(row: &[&str], code: &Code<'_>) -> Vec<String> {
    let &[step, file, function, span, metric, _, fail_point, test] = row else {
        return vec![format!("{DOCUMENT}: a row has {} cells, the header 8: {}", row.len(), row.join(" | "))];
    };
    let files = names(file);
    let mut wrong = Vec::new();
    let mut expect = |what: &str, name: &str, holds: bool| {
        if !holds {
            wrong.push(format!("{DOCUMENT}: step `{step}`: {what} `{name}` does not exist"));
        }
    };
    for name in &files {
        expect("file", name, code.sources.contains_key(*name));
    }
    for name in names(function) {
        let last = name.rsplit("::").next().unwrap_or(name);
        let found = files.iter().filter_map(|file| code.sources.get(*file)).any(|text| defines(text, "fn", last));
        expect("function", name, found);
    }
    for (what, cell) in [("span", span), ("metric", metric), ("fail point", fail_point)] {
        for name in names(cell) {
            expect(what, name, code.has_literal(name));
        }
    }
    for name in names(test) {
        expect("test", name, code.has_test(name));
    }
    wrong
}

/// What stands in backticks.
fn names(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Whether `word name` is followed by what can follow a function's name.
fn defines(text: &str, word: &str, name: &str) -> bool {
    let definition = format!("{word} {name}");
    text.match_indices(&definition).any(|(at, _)| text[at + definition.len()..].starts_with(['(', '<']))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str =
        "| accept | `crates/a/src/a.rs` | `A::take` | `produce` | `runnel_a_total` | nothing | `a.step` | `it_works` |";

    fn breaches(row: &str, extra: &str) -> Vec<String> {
        let code = "fn take() { span(\"produce\"); count(\"runnel_a_total\"); fail.hit(\"a.step\") }\n";
        let sources = Sources::from([
            ("crates/a/src/a.rs".to_owned(), format!("{code}{extra}")),
            ("tests/test_a.py".to_owned(), "def it_works():\n".to_owned()),
        ]);
        let table = format!("{HEADER}\n|---|\n{row}\n");
        let document = SECTIONS.map(|section| format!("## {section}\n\n{table}\n")).concat();
        compare(&document, &Code::of(&sources))
    }

    #[test]
    fn a_true_table_passes() {
        assert_eq!(breaches(ROW, ""), Vec::<String>::new());
    }

    #[test]
    fn each_column_is_checked() {
        for (old, new) in [
            ("a/src/a.rs", "a/src/b.rs"),
            ("take", "give"),
            ("`produce`", "`consume`"),
            ("runnel_a_total", "runnel_b_total"),
            ("`a.step`", "`b.step`"),
            ("it_works", "it_work"),
            ("nothing |", ""),
        ] {
            assert!(!breaches(&ROW.replace(old, new), "").is_empty(), "{old} -> {new}");
        }
    }

    #[test]
    fn a_fail_point_needs_a_test() {
        assert_eq!(breaches(ROW, "fn x() { fail.hit(\"x.y\") }\n").len(), 1);
        let tested = "fn x() { fail.hit(\"x.y\") }\n#[cfg(test)]\nmod tests {\n    fn t() { arm(\"x.y\") }\n}\n";
        assert!(breaches(ROW, tested).is_empty());
    }

    #[test]
    fn a_missing_table_is_a_breach() {
        let sources = Sources::new();
        assert_eq!(compare("## Produce\n", &Code::of(&sources)).len(), 3);
    }
}
