//! The page that shows the results: everything between two marks is ours, the rest is written by people.

use std::fs;

use anyhow::{Context, Result};

use crate::workspace;

const PAGE: &str = "docs/performance.md";

/// Replaces the sections of the page.
pub(super) fn write(sections: &[(&str, String)]) -> Result<()> {
    let path = workspace::root().join(PAGE);
    let mut page = fs::read_to_string(&path).with_context(|| format!("cannot read {PAGE}"))?;
    for (name, text) in sections {
        page = replace(&page, name, text).with_context(|| format!("{PAGE} has no marks for `{name}`"))?;
    }
    fs::write(&path, page).with_context(|| format!("cannot write {PAGE}"))?;
    println!("wrote {PAGE}");
    Ok(())
}

fn replace(page: &str, name: &str, text: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- measured: {name} -->\n"), format!("<!-- end of {name} -->"));
    let start = page.find(&begin)? + begin.len();
    let stop = start + page[start..].find(&end)?;
    Some(format!("{}{}\n{}", &page[..start], text.trim_end(), &page[stop..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let page = "before\n<!-- measured: a -->\nold\n<!-- end of a -->\nafter\n";
        let changed = replace(page, "a", "| new |\n").unwrap_or_default();
        assert_eq!(changed, "before\n<!-- measured: a -->\n| new |\n<!-- end of a -->\nafter\n");
        assert_eq!(replace(&changed, "a", "| new |"), Some(changed.clone()));
        assert_eq!(replace(page, "b", "x"), None);
    }
}
