//! Legal topic names, as Kafka has them.

use runnel_api::{Error, ErrorKind};

/// Where the state of consumer groups is.
pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// Whether a topic belongs to the broker: clients may read it, and only the broker writes it.
pub(crate) fn is_internal(name: &str) -> bool {
    name == OFFSETS_TOPIC
}

/// Longest name.
const MAX_LEN: usize = 249;

/// Checks a topic name: 1 to 249 of `a-z A-Z 0-9 . _ -`, and neither `.` nor `..`.
pub(crate) fn check(name: &str) -> Result<(), Error> {
    let invalid = |why: &str| {
        Err(Error::new(ErrorKind::InvalidTopicName, format!("`{}` is not a topic name: {why}", name.escape_debug())))
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match name {
        "" => invalid("it is empty"),
        "." | ".." => invalid("`.` and `..` are not allowed"),
        _ if name.len() > MAX_LEN => invalid("it is longer than 249 characters"),
        _ if !name.chars().all(legal) => invalid("use ASCII letters, digits, `.`, `_` and `-` only"),
        _ => Ok(()),
    }
}

/// Names that differ only in `.` and `_` collide in Kafka's metric names; tools expect the second to be refused.
pub(crate) fn collides(a: &str, b: &str) -> bool {
    a != b && a.replace('.', "_") == b.replace('.', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legal_and_illegal_names() {
        for name in ["a", "042", "true", "a.b_c-d", "2024-01-01", "...", &"x".repeat(249)] {
            assert!(check(name).is_ok(), "{name}");
        }
        for name in ["", ".", "..", "a b", "a/b", "é", "a\0", &"x".repeat(250)] {
            assert_eq!(check(name).map_err(|e| e.kind), Err(ErrorKind::InvalidTopicName), "{name}");
        }
        assert!(collides("a.b", "a_b") && !collides("a.b", "a.b") && !collides("a.b", "a-b"));
    }
}
