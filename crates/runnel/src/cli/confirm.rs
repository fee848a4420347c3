//! Asking before something is done that cannot be undone.

use std::io::{IsTerminal, Write};

/// Goes on with `yes`, or if somebody at a terminal says so.
pub(crate) fn confirm(yes: bool) -> anyhow::Result<()> {
    if yes || asked()? {
        return Ok(());
    }
    anyhow::bail!("nothing was changed (use --yes to go on without being asked)")
}

fn asked() -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    eprint!("Type `yes` to go on: ");
    std::io::stderr().flush()?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(line.trim() == "yes")
}
