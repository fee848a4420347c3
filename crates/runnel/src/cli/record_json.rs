//! A record as one line of JSON: `consume -o json` writes what `produce -i json` reads.
//!
//! Bytes that are text stand in `key` and `value`; other bytes stand in base64 in `key_base64` and `value_base64`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use runnel_client::proto::record::v1::{Header, Record, StoredRecord, TimestampType};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A stored record and where it stands.
#[derive(Debug, Serialize)]
pub(crate) struct Line<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    /// Milliseconds since the Unix epoch.
    timestamp: Option<i64>,
    timestamp_type: Option<&'static str>,
    #[serde(flatten)]
    key: Key<'a>,
    #[serde(flatten)]
    value: Val<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    headers: Vec<HeaderLine<'a>>,
}

#[derive(Debug, Serialize)]
enum Key<'a> {
    #[serde(rename = "key")]
    Text(Option<&'a str>),
    #[serde(rename = "key_base64")]
    Bytes(String),
}

#[derive(Debug, Serialize)]
enum Val<'a> {
    #[serde(rename = "value")]
    Text(Option<&'a str>),
    #[serde(rename = "value_base64")]
    Bytes(String),
}

#[derive(Debug, Serialize)]
struct HeaderLine<'a> {
    key: &'a str,
    #[serde(flatten)]
    value: Val<'a>,
}

impl<'a> Line<'a> {
    pub(crate) fn new(topic: &'a str, partition: i32, record: &'a StoredRecord) -> Self {
        let header = |h: &'a Header| HeaderLine { key: &h.key, value: value(h.value.as_deref()) };
        Self {
            topic,
            partition,
            offset: record.offset,
            timestamp: (record.timestamp_ms >= 0).then_some(record.timestamp_ms),
            timestamp_type: match record.timestamp_type() {
                TimestampType::Create => Some("create"),
                TimestampType::Append => Some("append"),
                TimestampType::Unspecified => None,
            },
            key: match text(record.key.as_deref()) {
                Ok(text) => Key::Text(text),
                Err(bytes) => Key::Bytes(STANDARD.encode(bytes)),
            },
            value: value(record.value.as_deref()),
            headers: record.headers.iter().map(header).collect(),
        }
    }
}

fn value(bytes: Option<&[u8]>) -> Val<'_> {
    match text(bytes) {
        Ok(text) => Val::Text(text),
        Err(bytes) => Val::Bytes(STANDARD.encode(bytes)),
    }
}

/// As text, if it is; nothing is text too.
fn text(bytes: Option<&[u8]>) -> Result<Option<&str>, &[u8]> {
    bytes.map_or(Ok(None), |bytes| std::str::from_utf8(bytes).map(Some).map_err(|_| bytes))
}

/// What a line may say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    key: Option<Value>,
    key_base64: Option<String>,
    value: Option<Value>,
    value_base64: Option<String>,
    #[serde(default)]
    headers: Vec<HeaderInput>,
    timestamp: Option<i64>,
    partition: Option<i32>,
    // Where the record stood before; of no concern to where it goes.
    #[serde(rename = "topic")]
    _topic: Option<Value>,
    #[serde(rename = "offset")]
    _offset: Option<Value>,
    #[serde(rename = "timestamp_type")]
    _timestamp_type: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderInput {
    key: String,
    value: Option<Value>,
    value_base64: Option<String>,
}

/// Reads a line: the record, and the partition that it names.
pub(crate) fn parse(line: &[u8]) -> Result<(Record, Option<i32>), String> {
    let input: Input = serde_json::from_slice(line).map_err(|e| e.to_string())?;
    let mut headers = Vec::new();
    for header in input.headers {
        headers.push(Header { key: header.key, value: bytes("value", header.value, header.value_base64)? });
    }
    let record = Record {
        key: bytes("key", input.key, input.key_base64)?,
        value: bytes("value", input.value, input.value_base64)?,
        headers,
        timestamp_ms: input.timestamp,
    };
    Ok((record, input.partition))
}

/// A string is its text, null is nothing, any other JSON is written as JSON.
fn bytes<B: From<Vec<u8>>>(name: &str, json: Option<Value>, base64: Option<String>) -> Result<Option<B>, String> {
    match (json, base64) {
        (Some(_), Some(_)) => Err(format!("both {name} and {name}_base64 are given")),
        (None | Some(Value::Null), None) => Ok(None),
        (Some(Value::String(text)), None) => Ok(Some(text.into_bytes().into())),
        (Some(other), None) => Ok(Some(other.to_string().into_bytes().into())),
        (None, Some(text)) => match STANDARD.decode(text) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) => Err(format!("{name}_base64 is not base64: {error}")),
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let stored = StoredRecord {
            offset: 7,
            timestamp_ms: 1_700_000_000_123,
            timestamp_type: TimestampType::Create.into(),
            key: Some(vec![0xff, 0].into()),
            value: Some("caf\u{e9} \"x\"\n".into()),
            headers: vec![
                Header { key: "a".to_owned(), value: None },
                Header { key: "a".to_owned(), value: Some(vec![0xc3].into()) },
                Header { key: String::new(), value: Some("".into()) },
            ],
        };
        let line = serde_json::to_string(&Line::new("t", 3, &stored)).unwrap();
        assert!(line.starts_with(r#"{"topic":"t","partition":3,"offset":7,"timestamp":1700000000123,"#), "{line}");
        let (record, partition) = parse(line.as_bytes()).unwrap();
        assert_eq!((record.key, record.value, record.headers), (stored.key, stored.value, stored.headers));
        assert_eq!((record.timestamp_ms, partition), (Some(stored.timestamp_ms), Some(3)));
    }

    #[test]
    fn null_is_not_empty() {
        let stored = StoredRecord { timestamp_ms: -1, key: Some("".into()), ..StoredRecord::default() };
        let line = serde_json::to_string(&Line::new("t", 0, &stored)).unwrap();
        assert!(line.contains(r#""timestamp":null,"#) && line.contains(r#""key":"","value":null"#), "{line}");
        let (record, _) = parse(line.as_bytes()).unwrap();
        assert_eq!((record.key, record.value, record.timestamp_ms), (Some("".into()), None, None));
    }

    #[test]
    fn json_values_stay_json_and_mistakes_are_named() {
        let (record, partition) = parse(br#"{"value": {"a": [1, 2.50]}}"#).unwrap();
        assert_eq!((record.value, partition), (Some(r#"{"a":[1,2.5]}"#.into()), None));
        for (bad, part) in [
            (&br#"{"carrier": "UA"}"#[..], "unknown field `carrier`"),
            (br#"{"key": "a", "key_base64": "YQ=="}"#, "both key and key_base64"),
            (br#"{"value_base64": "?"}"#, "value_base64 is not base64"),
            (b"[1]", "invalid"),
            (b"", "EOF"),
        ] {
            let error = parse(bad).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
