//! The little of YAML that printing needs: blocks, with every doubtful string quoted as JSON does it.

use std::fmt::Write;

use serde_json::Value;

/// `value` as a document.
pub(super) fn to_string(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Array(_) | Value::Object(_) if !is_empty(value) => block(&mut out, value, 0),
        scalar => out.push_str(&inline(scalar)),
    }
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

fn block(out: &mut String, value: &Value, indent: usize) {
    let pad = " ".repeat(indent);
    match value {
        Value::Object(map) => {
            for (n, (key, value)) in map.iter().enumerate() {
                // The first key of an item of a list stands behind its dash.
                let pad = if n == 0 && out.ends_with("- ") { "" } else { &pad };
                out.push_str(&format!("{pad}{}:", text(key)));
                entry(out, value, indent + 2);
            }
        }
        Value::Array(items) => {
            for item in items {
                out.push_str(&format!("{pad}-"));
                if !is_empty(item) && item.is_object() {
                    out.push(' ');
                    block(out, item, indent + 2);
                } else {
                    entry(out, item, indent + 2);
                }
            }
        }
        scalar => out.push_str(&inline(scalar)),
    }
}

/// What follows a key or a dash.
fn entry(out: &mut String, value: &Value, indent: usize) {
    if matches!(value, Value::Array(_) | Value::Object(_)) && !is_empty(value) {
        out.push('\n');
        block(out, value, indent);
    } else {
        // Writing to a string cannot fail.
        writeln!(out, " {}", inline(value)).unwrap_or_default();
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(serde_json::Map::is_empty)
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(string) => text(string),
        other => other.to_string(),
    }
}

/// Plain where no reader could take it for something else.
fn text(string: &str) -> String {
    const WORDS: [&str; 9] = ["true", "false", "yes", "no", "on", "off", "y", "n", "null"];
    let plain = string.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && string.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c))
        && !WORDS.contains(&string.to_ascii_lowercase().as_str());
    if plain { string.to_owned() } else { Value::from(string).to_string() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn blocks_nest_and_doubtful_strings_are_quoted() {
        let value = json!({
            "a": [{"name": "x-1", "k": 1}, {"name": "yes", "k": null}], "b": {}, "c": [[1, 2], []], "d": {"e": "1.5"},
            "f": "two\nlines", "g": "k: v", "h": "",
        });
        let expected = "a:\n  - k: 1\n    name: x-1\n  - k: null\n    name: \"yes\"\nb: {}\nc:\n  -\n    - 1\n    - 2\n  - []\n\
                        d:\n  e: \"1.5\"\nf: \"two\\nlines\"\ng: \"k: v\"\nh: \"\"\n";
        assert_eq!(to_string(&value), expected);
        assert_eq!(to_string(&json!([])), "[]\n");
        assert_eq!(to_string(&json!([{"aa": [1]}, "text"])), "- aa:\n    - 1\n- text\n");
    }
}
