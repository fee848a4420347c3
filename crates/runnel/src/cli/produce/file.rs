//! Records from a file: rows of CSV, lines of JSON.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use runnel_client::proto::record::v1::Record;
use serde_json::Value;

use super::input::{Lines, Row, Source};
use crate::cli::Failure;

/// Digits that every reader of JSON numbers keeps.
const EXACT_DIGITS: usize = 15;

pub(super) fn open(path: &Path, key: Option<String>, progress: bool) -> anyhow::Result<Source> {
    let name = path.display().to_string();
    let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
    let from = bar(&file, progress)?.wrap_read(file);
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    match extension.as_deref() {
        Some("csv") => csv_rows(from, &name, key.as_deref()),
        Some("ndjson" | "jsonl") => Ok(json_lines(from, name, key)),
        _ => Err(Failure::Usage(format!("{name}: the name of the file ends in .csv, .ndjson or .jsonl")).into()),
    }
}

/// Moves with what is read of the file; it clears itself, and shows nothing if not wanted.
fn bar(file: &File, shown: bool) -> anyhow::Result<ProgressBar> {
    if !shown {
        return Ok(ProgressBar::hidden());
    }
    let style = "{bar:40} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left";
    let style = ProgressStyle::with_template(style)?;
    Ok(ProgressBar::new(file.metadata()?.len()).with_style(style).with_finish(indicatif::ProgressFinish::AndClear))
}

fn csv_rows(from: impl Read + Send + 'static, name: &str, key: Option<&str>) -> anyhow::Result<Source> {
    let mut reader = csv::ReaderBuilder::new().from_reader(from);
    let columns = reader.headers().with_context(|| format!("cannot read the first line of {name}"))?.clone();
    let key = match key.map(|key| (key, columns.iter().position(|column| column == key))) {
        None => None,
        Some((_, Some(at))) => Some(at),
        Some((key, None)) => {
            let known: Vec<_> = columns.iter().collect();
            let text = format!("{name} has no column `{key}`, only {}", known.join(", "));
            return Err(Failure::Usage(text).into());
        }
    };
    // The reader says which line is wrong.
    let context = format!("cannot read {name}");
    Ok(Box::new(reader.into_records().map(move |row| {
        let row = row.context(context.clone())?;
        let key = key.and_then(|at| row.get(at)).filter(|text| !text.is_empty());
        let record = Record {
            key: key.map(|text| text.to_owned().into()),
            value: Some(object(&columns, &row).into()),
            ..Record::default()
        };
        Ok(Row { record, partition: None })
    })))
}

/// A row as a JSON object, in the order of the columns.
fn object(columns: &csv::StringRecord, row: &csv::StringRecord) -> String {
    let fields = columns.iter().zip(row).map(|(column, text)| format!("{}:{}", Value::from(column), field(text)));
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

/// Nothing is null, what is written as JSON writes numbers is a number, all the rest is text.
fn field(text: &str) -> String {
    if text.is_empty() {
        return "null".to_owned();
    }
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let number = |text| matches!(serde_json::from_str(text), Ok(Value::Number(_)));
    if text == text.trim() && digits <= EXACT_DIGITS && number(text) {
        return text.to_owned();
    }
    Value::from(text).to_string()
}

fn json_lines(from: impl Read + Send + 'static, name: String, key: Option<String>) -> Source {
    let lines = Lines { from: BufReader::new(from), number: 0 };
    Box::new(lines.filter_map(move |line| match line {
        Ok((_, line)) if line.trim_ascii().is_empty() => None,
        Ok((number, line)) => Some(json_line(line, key.as_deref()).with_context(|| format!("{name}, line {number}"))),
        Err(error) => Some(Err(error.context(name.clone()))),
    }))
}

/// The line as it is, once it is known to be JSON.
fn json_line(line: Vec<u8>, key: Option<&str>) -> anyhow::Result<Row> {
    let value: Value = serde_json::from_slice(&line).context("not JSON")?;
    let key = match key.map(|key| (key, value.get(key))) {
        None | Some((_, Some(Value::Null))) => None,
        Some((_, Some(Value::String(text)))) => Some(text.clone().into()),
        Some((_, Some(other))) => Some(other.to_string().into()),
        Some((key, None)) => bail!("there is no field `{key}`"),
    };
    let line = line.trim_ascii().to_vec();
    Ok(Row { record: Record { key, value: Some(line.into()), ..Record::default() }, partition: None })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn text(bytes: Option<&[u8]>) -> Option<&str> {
        bytes.map(|bytes| std::str::from_utf8(bytes).unwrap())
    }

    #[test]
    fn a_row_becomes_an_object_and_a_column_the_key() {
        let csv = "carrier,delay,\"odd \"\"name\"\"\"\nUA,-4,\"a,\n\"\"b\"\"\"\n,007,\n";
        let rows: Vec<_> = csv_rows(csv.as_bytes(), "f.csv", Some("carrier")).unwrap().map(Result::unwrap).collect();
        let records: Vec<_> =
            rows.iter().map(|r| (text(r.record.key.as_deref()), text(r.record.value.as_deref()))).collect();
        let first = r#"{"carrier":"UA","delay":-4,"odd \"name\"":"a,\n\"b\""}"#;
        let second = r#"{"carrier":null,"delay":"007","odd \"name\"":null}"#;
        assert_eq!(records, [(Some("UA"), Some(first)), (None, Some(second))]);
        let error = csv_rows(csv.as_bytes(), "f.csv", Some("tail")).err().unwrap().to_string();
        assert!(error.contains("no column `tail`") && error.contains("carrier, delay"), "{error}");
    }

    #[test]
    fn a_ragged_row_is_an_error_that_names_its_line() {
        let rows: Vec<_> = csv_rows(&b"a,b\n1,2\n3\n"[..], "f.csv", None).unwrap().collect();
        let error = format!("{:#}", rows[1].as_ref().unwrap_err());
        assert!(rows[0].is_ok() && error.contains("f.csv") && error.contains("line: 3"), "{error}");
    }

    #[test]
    fn fields_are_numbers_only_where_nothing_is_lost() {
        let check = |text: &str, json: &str| assert_eq!(field(text), json);
        check("", "null");
        check("-1.50", "-1.50");
        check("2e3", "2e3");
        check("01", "\"01\"");
        check(" 1", "\" 1\"");
        check("1234567890123456", "\"1234567890123456\"");
        check("true", "\"true\"");
        check("NaN", "\"NaN\"");
        check("N14228", "\"N14228\"");
    }

    #[test]
    fn a_line_of_json_is_the_value_and_a_field_the_key() {
        let check = |line: &str, key: Option<&str>| {
            let row = json_line(line.into(), Some("k")).unwrap();
            assert_eq!((text(row.record.key.as_deref()), text(row.record.value.as_deref())), (key, Some(line.trim())));
        };
        check(r#"{"k": "a", "n": 1.50}"#, Some("a"));
        check(" {\"k\": 7}\r", Some("7"));
        check(r#"{"k": null}"#, None);
        assert!(json_line("{}".into(), Some("k")).unwrap_err().to_string().contains("`k`"));
        assert!(json_line("{".into(), None).is_err());
    }
}
