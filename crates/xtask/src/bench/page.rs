//! The pages that show the results: everything between two marks is ours, the rest is written by people. Each
//! table that compares is drawn too, for the page to show.

use std::fs;

use anyhow::{Context, Result};

use super::plot;
use crate::workspace;

/// Of the pictures, below that of the page.
const PICTURES: &str = "docs/performance";

const PAGE: &str = "docs/performance.md";

/// The one that is about money.
const COST_PAGE: &str = "docs/operations/cost.md";

/// Replaces sections, each in the page that has it.
pub(super) fn write(sections: &[(&str, String)]) -> Result<()> {
    let (cost, others): (Vec<_>, Vec<_>) = sections.iter().partition(|(name, _)| *name == "cost");
    write_page(PAGE, &others)?;
    write_page(COST_PAGE, &cost)?;
    draw_pictures(&fs::read_to_string(workspace::root().join(PAGE)).with_context(|| format!("cannot read {PAGE}"))?)
}

fn write_page(name: &str, sections: &[&(&str, String)]) -> Result<()> {
    if sections.is_empty() {
        return Ok(());
    }
    let path = workspace::root().join(name);
    let mut page = fs::read_to_string(&path).with_context(|| format!("cannot read {name}"))?;
    for (section, text) in sections {
        page = replace(&page, section, text).with_context(|| format!("{name} has no marks for `{section}`"))?;
    }
    fs::write(&path, page).with_context(|| format!("cannot write {name}"))?;
    println!("wrote {name}");
    Ok(())
}

/// A picture for each table that compares, measured now or earlier.
fn draw_pictures(page: &str) -> Result<()> {
    for (section, text) in measured(page) {
        if let Some(picture) = plot::draw(text) {
            write_picture(section, picture.as_bytes())?;
        }
    }
    Ok(())
}

/// Writes an SVG for the page to show.
pub(super) fn write_picture(name: &str, picture: &[u8]) -> Result<()> {
    let folder = workspace::root().join(PICTURES);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {PICTURES}"))?;
    fs::write(folder.join(name).with_extension("svg"), picture)
        .with_context(|| format!("cannot write the picture {name}"))
}

/// What is between marks, by name.
fn measured(page: &str) -> impl Iterator<Item = (&str, &str)> {
    page.split("<!-- measured: ").skip(1).filter_map(|rest| {
        let (name, rest) = rest.split_once(" -->\n")?;
        Some((name, rest.split_once("<!-- end of ")?.0))
    })
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
        assert_eq!(measured(&changed).collect::<Vec<_>>(), [("a", "| new |\n")]);
    }
}
