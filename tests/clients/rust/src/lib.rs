//! The driver's side of the contract of `../README.md`.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserializer, Error};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// One line of stdin.
#[derive(Deserialize)]
#[serde(tag = "verb", rename_all = "lowercase")]
pub enum Request {
    Produce {
        bootstrap: String,
        topic: String,
        records: Vec<Record>,
        codec: Option<String>,
        java_keys: bool,
        idempotent: bool,
    },
    Consume {
        bootstrap: String,
        topic: String,
        partitions: Vec<i32>,
        offset: Option<i64>,
        time: Option<i64>,
        count: usize,
    },
    Create {
        bootstrap: String,
        topic: String,
        partitions: i32,
        config: BTreeMap<String, String>,
    },
    Alter {
        bootstrap: String,
        topic: String,
        config: BTreeMap<String, String>,
    },
    Describe {
        bootstrap: String,
        topic: String,
    },
    Delete {
        bootstrap: String,
        topic: String,
    },
}

/// A record to produce, or, with its offset, one that was read.
#[derive(Deserialize, Serialize)]
pub struct Record {
    pub partition: Option<i32>,
    #[serde(default)]
    pub offset: i64,
    pub timestamp: Option<i64>,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<(String, Option<Bytes>)>,
}

/// Base64 in JSON.
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Bytes).map_err(Error::custom)
    }
}

/// Answers every request on stdin.
pub fn serve(answer: impl AsyncFn(Request) -> Result<()>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    for line in io::stdin().lock().lines() {
        let request = serde_json::from_str(&line?).context("not a request")?;
        match runtime.block_on(answer(request)) {
            Ok(()) => say(&json!({"done": true}))?,
            Err(error) => say(&json!({"error": format!("{error:#}")}))?,
        }
    }
    Ok(())
}

/// Writes one line.
pub fn say(line: &impl Serialize) -> Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, line)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}
