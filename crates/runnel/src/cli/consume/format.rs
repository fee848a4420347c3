//! `-f FORMAT`: what kcat's users know.

use std::io::{self, Write};

use runnel_client::proto::record::v1::StoredRecord;

/// A format, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Format(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Vec<u8>),
    Topic,
    Partition,
    Offset,
    Key,
    Value,
    Headers,
    Timestamp,
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            let token = match (c, if c == '%' || c == '\\' { chars.next() } else { None }) {
                ('%', Some('t')) => Part::Topic,
                ('%', Some('p')) => Part::Partition,
                ('%', Some('o')) => Part::Offset,
                ('%', Some('k')) => Part::Key,
                ('%', Some('v')) => Part::Value,
                ('%', Some('h')) => Part::Headers,
                ('%', Some('T')) => Part::Timestamp,
                ('%', Some('%')) => Part::Text(b"%".to_vec()),
                ('\\', Some('n')) => Part::Text(b"\n".to_vec()),
                ('\\', Some('t')) => Part::Text(b"\t".to_vec()),
                ('\\', Some('r')) => Part::Text(b"\r".to_vec()),
                ('\\', Some('0')) => Part::Text(b"\0".to_vec()),
                ('\\', Some('\\')) => Part::Text(b"\\".to_vec()),
                ('%' | '\\', other) => {
                    let other = other.map(String::from).unwrap_or_default();
                    return Err(format!(
                        "`{c}{other}` means nothing: there are %t %p %o %k %v %h %T %% \\n \\t \\r \\0 \\\\"
                    ));
                }
                _ => Part::Text(c.to_string().into_bytes()),
            };
            match token {
                Part::Text(bytes) => literal.extend(bytes),
                token => {
                    parts.extend(literal_part(&mut literal));
                    parts.push(token);
                }
            }
        }
        parts.extend(literal_part(&mut literal));
        Ok(Self(parts))
    }
}

fn literal_part(literal: &mut Vec<u8>) -> Option<Part> {
    (!literal.is_empty()).then(|| Part::Text(std::mem::take(literal)))
}

impl Format {
    /// Writes a record. Nothing prints as nothing; headers as `a=1,b=2`.
    pub(super) fn write(
        &self,
        out: &mut impl Write,
        topic: &str,
        partition: i32,
        record: &StoredRecord,
    ) -> io::Result<()> {
        for part in &self.0 {
            match part {
                Part::Text(text) => out.write_all(text)?,
                Part::Topic => out.write_all(topic.as_bytes())?,
                Part::Partition => write!(out, "{partition}")?,
                Part::Offset => write!(out, "{}", record.offset)?,
                Part::Key => out.write_all(record.key.as_deref().unwrap_or_default())?,
                Part::Value => out.write_all(record.value.as_deref().unwrap_or_default())?,
                Part::Timestamp => write!(out, "{}", record.timestamp_ms)?,
                Part::Headers => {
                    for (n, header) in record.headers.iter().enumerate() {
                        write!(out, "{}{}=", if n > 0 { "," } else { "" }, header.key)?;
                        out.write_all(header.value.as_deref().unwrap_or_default())?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use runnel_client::proto::record::v1::Header;

    use super::*;

    #[test]
    fn a_record_prints_as_its_format_says() {
        let header =
            |key: &str, value: Option<&'static str>| Header { key: key.to_owned(), value: value.map(Into::into) };
        let record = StoredRecord {
            offset: 5,
            timestamp_ms: 9,
            key: Some(vec![0xff].into()),
            value: Some("v".into()),
            headers: vec![header("a", Some("1")), header("b", None)],
            ..StoredRecord::default()
        };
        let check = |format: &str, expected: &[u8]| {
            let mut out = Vec::new();
            format.parse::<Format>().unwrap().write(&mut out, "t", 2, &record).unwrap();
            assert_eq!(out, expected, "{format}");
        };
        check(r"%t-%p@%o %T [%h]\n", b"t-2@5 9 [a=1,b=]\n");
        check(r"%k\t%v\\%%\0", b"\xff\tv\\%\0");
        check("é", "é".as_bytes());
        check("", b"");
        for bad in ["%x", "%", r"\q", r"\"] {
            assert!(bad.parse::<Format>().is_err(), "{bad}");
        }
    }
}
