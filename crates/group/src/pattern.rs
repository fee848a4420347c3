//! Regular expressions of topics. Kafka's are RE2's, of which `regex` has the syntax and the linear time.

use std::collections::BTreeSet;

use regex::RegexBuilder;

use crate::error::Error;
use crate::topics::Topics;

/// Longest expression, bytes.
const MAX_BYTES: usize = 4096;

/// Memory that a compiled one may take; it lives for as long as topics are looked through.
const MAX_COMPILED: usize = 1 << 20;

/// The topics whose whole name is such.
pub(crate) fn matching(pattern: &str, topics: &Topics) -> Result<BTreeSet<String>, Error> {
    if pattern.len() > MAX_BYTES {
        return Err(Error::InvalidRegularExpression);
    }
    // Both by itself and between the anchors it must be one: `a)|(b` is none.
    let compile = |text: &str| {
        let built = RegexBuilder::new(text).size_limit(MAX_COMPILED).dfa_size_limit(MAX_COMPILED).build();
        built.map_err(|_| Error::InvalidRegularExpression)
    };
    compile(pattern)?;
    let whole = compile(&format!("^(?:{pattern})$"))?;
    Ok(topics.names().filter(|name| whole.is_match(name)).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use runnel_record::TopicId;

    use super::*;

    fn check(pattern: &str, expected: &[&str]) {
        let names = ["a", "ab", "b", "orders.eu", "orders.us", "orders"];
        let topics = Topics::new(1, names.map(|name| (name.to_owned(), TopicId::ZERO, 1)));
        let found: Vec<_> = matching(pattern, &topics).unwrap().into_iter().collect();
        assert_eq!(found, expected, "{pattern}");
    }

    #[test]
    fn the_whole_name_must_match() {
        check("a", &["a"]);
        check("a|b", &["a", "b"]);
        check("orders\\..*", &["orders.eu", "orders.us"]);
        check("(?i)ORDERS", &["orders"]);
        check("x*", &[]);
    }

    #[test]
    fn what_is_none_is_refused() {
        let topics = Topics::default();
        for pattern in ["[", "a)|(b", "(?=a)", "a{1000}{1000}", &"a".repeat(MAX_BYTES + 1)] {
            assert_eq!(matching(pattern, &topics), Err(Error::InvalidRegularExpression), "{pattern:.20}");
        }
    }
}
