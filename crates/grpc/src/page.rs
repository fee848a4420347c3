//! Answers that come a page at a time.

use prost::Message;

use crate::error::Failure;

/// Entries on a page.
pub(crate) const MAX_PAGE: usize = 1000;

/// A page is closed when it is larger; stock clients refuse messages over 4 MiB.
const MAX_PAGE_BYTES: usize = 1 << 20;

/// The size that a client asks for: `most` by default and at most.
pub(crate) fn size(wanted: i32, most: usize) -> Result<usize, Failure> {
    match usize::try_from(wanted) {
        Ok(0) => Ok(most),
        Ok(size) => Ok(size.min(most)),
        Err(_) => Err(Failure::invalid("page_size is negative")),
    }
}

/// The first of `entries`, and whether there are more.
pub(crate) fn fill<T: Message>(entries: impl IntoIterator<Item = T>, size: usize) -> (Vec<T>, bool) {
    let (mut page, mut bytes) = (Vec::new(), 0);
    for entry in entries {
        bytes += entry.encoded_len();
        if page.len() == size || (bytes > MAX_PAGE_BYTES && !page.is_empty()) {
            return (page, true);
        }
        page.push(entry);
    }
    (page, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_end_by_count_and_by_bytes() {
        let texts = |length: usize, count: usize| vec!["x".repeat(length); count];
        let filled = |texts: Vec<String>, size| {
            let (page, more) = fill(texts, size);
            (page.len(), more)
        };
        assert_eq!(filled(texts(1, 3), 3), (3, false));
        assert_eq!(filled(texts(1, 4), 3), (3, true));
        assert_eq!(filled(texts(400_000, 3), 9), (2, true));
        assert_eq!(filled(texts(2 << 20, 2), 9), (1, true), "one entry is given whatever its size");
        assert_eq!(filled(texts(1, 0), 9), (0, false));
        assert_eq!([size(0, 10), size(3, 10), size(11, 10)].map(Result::ok), [Some(10), Some(3), Some(10)]);
        assert!(size(-1, 10).is_err());
    }
}
