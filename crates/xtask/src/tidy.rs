//! The rules of the house that the compiler does not know.

mod layers;
mod record_path;
mod sizes;
mod sources;

use anyhow::{Result, bail};

use crate::workspace;

/// Prints every breach; an error if there is one.
pub(crate) fn run() -> Result<()> {
    let root = workspace::root();
    let sources = sources::read(&root)?;
    let mut breaches = layers::check(&workspace::metadata()?.packages);
    breaches.extend(sizes::check(&root, &sources)?);
    breaches.extend(record_path::check(&root, &sources)?);
    for breach in &breaches {
        println!("tidy: {breach}");
    }
    match breaches.len() {
        0 => Ok(()),
        n => bail!("{n} breach(es) of the rules of the house"),
    }
}
