//! The footer keys `runnel.*`.

use std::str::FromStr;

use parquet::file::metadata::KeyValue;
use runnel_record::{Offset, TopicId};

use super::RunTable;
use crate::Error;
use crate::exceptions::Exceptions;
use crate::schema::FORMAT;

const FORMAT_KEY: &str = "runnel.format";
const TOPIC_ID: &str = "runnel.topic_id";
const PARTITION: &str = "runnel.partition";
const BASE_OFFSET: &str = "runnel.base_offset";
const NEXT_OFFSET: &str = "runnel.next_offset";
const RUNS: &str = "runnel.runs";
const EXCEPTIONS: &str = "runnel.exceptions";

/// What a segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keys {
    pub(crate) topic: TopicId,
    pub(crate) partition: i32,
    pub(crate) base: Offset,
    pub(crate) next: Offset,
}

/// The entries of a footer.
pub(crate) fn entries(keys: &Keys, runs: &RunTable, exceptions: &Exceptions) -> Vec<KeyValue> {
    let mut entries = vec![
        (FORMAT_KEY, FORMAT.to_string()),
        (TOPIC_ID, keys.topic.to_string()),
        (PARTITION, keys.partition.to_string()),
        (BASE_OFFSET, keys.base.to_string()),
        (NEXT_OFFSET, keys.next.to_string()),
        (RUNS, runs.encode()),
    ];
    if !exceptions.is_empty() {
        entries.push((EXCEPTIONS, exceptions.encode()));
    }
    entries.into_iter().map(|(key, value)| KeyValue::new(key.to_owned(), value)).collect()
}

/// Reads the entries of a footer; keys that this release does not know are left alone.
pub(super) fn read(entries: Option<&Vec<KeyValue>>) -> Result<(Keys, RunTable, Exceptions), Error> {
    let entries = entries.map_or(&[][..], Vec::as_slice);
    let find = |key: &str| entries.iter().find(|entry| entry.key == key).and_then(|entry| entry.value.as_deref());
    let need = |key: &str| find(key).ok_or_else(|| Error::corrupt(format!("no footer key {key}")));
    let found = parse(FORMAT_KEY, need(FORMAT_KEY)?)?;
    if found != FORMAT {
        return Err(Error::NewerFormat { found, newest: FORMAT });
    }
    let keys = Keys {
        topic: parse(TOPIC_ID, need(TOPIC_ID)?)?,
        partition: parse(PARTITION, need(PARTITION)?)?,
        base: Offset(parse(BASE_OFFSET, need(BASE_OFFSET)?)?),
        next: Offset(parse(NEXT_OFFSET, need(NEXT_OFFSET)?)?),
    };
    let exceptions = find(EXCEPTIONS).map(Exceptions::decode).transpose()?.unwrap_or_default();
    Ok((keys, RunTable::decode(need(RUNS)?)?, exceptions))
}

fn parse<T: FromStr>(key: &str, value: &str) -> Result<T, Error> {
    value.parse().map_err(|_| Error::corrupt(format!("footer key {key} reads `{value}`")))
}
