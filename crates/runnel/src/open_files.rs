//! How many files the process may open: as many as the system lets it, and some are kept from connections.
//!
//! A connection is a file too. Clients that could take the last one would make the log unable to begin a new file, and
//! that ends the log.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that connections of clients may not take: log, metadata store, cache, connections to the bucket, the other
/// ports.
const RESERVED: u64 = 1024;

/// Raises the limit of open files to what an unprivileged process may have.
pub(crate) fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        // macOS has a lower ceiling than it tells. What counts is the limit in force, which `leave_room` asks for.
        tracing::debug!(%error, "the limit of open files could not be raised");
    }
}

/// At most so many of `connections` that enough files are left for everything else.
pub(crate) fn leave_room(connections: usize) -> usize {
    let Some(limit) = getrlimit(Resource::Nofile).current else { return connections };
    let allowed = allowed(limit, connections);
    if allowed < connections {
        tracing::warn!(
            limit,
            connections = allowed,
            "the process may open too few files for kafka.max_connections = {connections}: it serves fewer. Raise the \
             limit (`ulimit -Hn`, or LimitNOFILE of the systemd unit)"
        );
    }
    allowed
}

fn allowed(limit: u64, connections: usize) -> usize {
    // Of a tiny limit, half.
    let allowed = limit.saturating_sub(RESERVED).max(limit / 2);
    connections.min(usize::try_from(allowed).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_left_for_the_log() {
        for (limit, wanted, allowed_connections) in
            [(1 << 20, 20_000, 20_000), (20_000, 20_000, 18_976), (1024, 20_000, 512), (20_000, 10, 10)]
        {
            assert_eq!(allowed(limit, wanted), allowed_connections, "{limit}");
        }
    }
}
