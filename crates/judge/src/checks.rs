//! The checks, a file for each family. Each anomaly is found by one of them.

mod commits;
mod groups;
mod offsets;
mod order;
mod polls;
mod values;
mod watermarks;

use crate::anomaly::Anomaly;
use crate::history::{Error, History};
use crate::index::Index;

/// Everything that is wrong with a history, by partition and group.
pub fn judge(history: &History) -> Result<Vec<Anomaly>, Error> {
    let index = Index::new(history)?;
    let mut found = Vec::new();
    for log in index.logs.values() {
        offsets::check(log, &mut found);
        let jumps = polls::check(log, &mut found);
        values::check(log, &jumps, &mut found);
        order::check(log, &mut found);
        watermarks::check(log, &mut found);
    }
    commits::check(&index, &mut found);
    groups::check(&index, &mut found);
    Ok(found)
}
