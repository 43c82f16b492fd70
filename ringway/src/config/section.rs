//! Somebody's own section of the configuration as the text of TOML, for services and handlers that are not written in Rust.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;

/// One setting a line; tables within are written in braces.
#[must_use]
pub fn text(section: &BTreeMap<String, Value>) -> String {
    let mut text = String::new();
    for (key, value) in section {
        put_key(&mut text, key);
        text.push_str(" = ");
        put(&mut text, value);
        text.push('\n');
    }
    text
}

fn put(text: &mut String, value: &Value) {
    match value {
        // TOML has none, so there is none here.
        Value::Null => text.push_str("\"\""),
        Value::Bool(_) | Value::Number(_) => {
            let _infallible = write!(text, "{value}");
        }
        Value::String(string) => put_string(text, string),
        Value::Array(values) => {
            text.push('[');
            for (at, value) in values.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { ", " });
                put(text, value);
            }
            text.push(']');
        }
        Value::Object(fields) => {
            text.push_str("{ ");
            for (at, (key, value)) in fields.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { ", " });
                put_key(text, key);
                text.push_str(" = ");
                put(text, value);
            }
            text.push_str(if fields.is_empty() { "}" } else { " }" });
        }
    }
}

fn put_key(text: &mut String, key: &str) {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    match !key.is_empty() && key.bytes().all(is_bare) {
        true => text.push_str(key),
        false => put_string(text, key),
    }
}

fn put_string(text: &mut String, string: &str) {
    text.push('"');
    for letter in string.chars() {
        match letter {
            '"' | '\\' => text.extend(['\\', letter]),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '\r' => text.push_str("\\r"),
            other if other.is_control() => {
                let _infallible = write!(text, "\\u{:04X}", u32::from(other));
            }
            other => text.push(other),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, json};

    #[test]
    fn a_section_is_read_as_it_was() {
        let section = json!({
            "greeting": "a \"b\" \\ \n\t\r\u{1}\u{7f}\u{85}é", "a key": [1, -2, 2.5, true], "": {}, "c-d_1": { "e": [{ "f g": "h" }] },
        });
        let Value::Object(fields) = section.clone() else { panic!("a table") };
        let text = text(&fields.into_iter().collect());
        let read: Map<String, Value> = toml::from_str(&text).expect("it is TOML");
        assert_eq!(Value::Object(read), section, "{text}");
        assert!(text.contains("\nc-d_1 = { e = [{ \"f g\" = \"h\" }] }\n"), "{text}");
    }
}
