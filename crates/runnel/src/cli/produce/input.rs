//! Records from stdin.

use std::io::{BufRead, BufReader, Read};

use runnel_client::proto::record::v1::Record;

use super::Input;
use crate::cli::record_json;

/// A record to be, and the partition that its source names.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Row {
    pub(super) record: Record,
    pub(super) partition: Option<i32>,
}

/// Records one by one, until the first error.
pub(super) type Source = Box<dyn Iterator<Item = anyhow::Result<Row>> + Send>;

pub(super) fn stdin(input: Input, separator: Option<String>) -> Source {
    let lines = Lines { from: BufReader::new(std::io::stdin()), number: 0 };
    match input {
        Input::Lines => Box::new(lines.map(move |line| line.map(|(_, line)| of_line(&line, separator.as_deref())))),
        Input::Json => Box::new(lines.filter_map(|line| match line {
            Ok((_, line)) if line.trim_ascii().is_empty() => None,
            Ok((number, line)) => Some(match record_json::parse(&line) {
                Ok((record, partition)) => Ok(Row { record, partition }),
                Err(error) => Err(anyhow::anyhow!("line {number} is no record: {error}")),
            }),
            Err(error) => Some(Err(error)),
        })),
    }
}

/// The lines of a source, numbered from 1, without their ends.
pub(super) struct Lines<R> {
    pub(super) from: BufReader<R>,
    pub(super) number: u64,
}

impl<R: Read> Iterator for Lines<R> {
    type Item = anyhow::Result<(u64, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        match self.from.read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(_) => {
                self.number += 1;
                if line.last() == Some(&b'\n') {
                    line.pop();
                }
                Some(Ok((self.number, line)))
            }
            Err(error) => Some(Err(anyhow::Error::from(error).context("cannot read the input"))),
        }
    }
}

fn of_line(line: &[u8], separator: Option<&str>) -> Row {
    let at = separator.filter(|s| !s.is_empty()).and_then(|separator| {
        let at = line.windows(separator.len()).position(|window| window == separator.as_bytes())?;
        Some((at, at + separator.len()))
    });
    let (key, value) = match at {
        Some((end, start)) => (Some(line[..end].to_vec().into()), &line[start..]),
        None => (None, line),
    };
    Row { record: Record { key, value: Some(value.to_vec().into()), ..Record::default() }, partition: None }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_line_splits_at_the_first_separator() {
        let check = |line: &[u8], separator: Option<&str>, key: Option<&'static [u8]>, value: &'static [u8]| {
            let record = of_line(line, separator).record;
            assert_eq!((record.key.as_deref(), record.value.as_deref()), (key, Some(value)));
        };
        check(b"a:b:c", None, None, b"a:b:c");
        check(b"a:b:c", Some(":"), Some(b"a"), b"b:c");
        check(b"a => b", Some(" => "), Some(b"a"), b"b");
        check(b":", Some(":"), Some(b""), b"");
        check(b"abc", Some(":"), None, b"abc");
        check(b"\xff:\xfe", Some(":"), Some(b"\xff"), b"\xfe");
    }

    #[test]
    fn lines_lose_only_their_ends() {
        let lines = Lines { from: BufReader::new(&b"a\r\n\nlast"[..]), number: 0 };
        let lines: Vec<_> = lines.map(Result::unwrap).collect();
        assert_eq!(lines, [(1, b"a\r".to_vec()), (2, Vec::new()), (3, b"last".to_vec())]);
    }
}
