//! The hot paths by themselves: `crates/bench`.

use std::process::Command;

use anyhow::Result;

use super::Bench;
use crate::process;

pub(super) fn run(bench: &Bench) -> Result<String> {
    println!("micro: the hot paths by themselves");
    let mut command = Command::new(&bench.micro);
    if bench.quick {
        command.args(["--seconds", "0.1"]);
    }
    process::output(&mut command)
}
