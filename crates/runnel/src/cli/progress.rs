//! How far long work is, on a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar that moves with what is done of `total`, clears itself, and shows nothing where stderr is no terminal.
pub(crate) fn bar(what: &'static str, total: u64) -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len}, {eta} left: {msg}")?;
    Ok(ProgressBar::new(total).with_style(style).with_message(what).with_finish(indicatif::ProgressFinish::AndClear))
}

/// The same where it is not known how much there is.
pub(crate) fn counter(what: &'static str) -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{spinner} {pos}: {msg}")?;
    Ok(ProgressBar::no_length().with_style(style).with_message(what).with_finish(indicatif::ProgressFinish::AndClear))
}
