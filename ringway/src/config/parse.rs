//! Parsing: TOML text into a tree with places, all syntax errors at once, `${NAME}` replaced from the environment.

use crate::config::report::Finding;
use crate::config::source::Place;
use crate::config::tree::{Entry, Node, Value};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Looks up an environment variable.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Deepest nesting of tables and lists that is read.
const DEPTH_MAX: usize = 32;

/// Reads the text of file number `file`.
pub fn parse(text: &str, file: u32, environment: Environment<'_>, findings: &mut Vec<Finding>) -> Node {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut parser = Parser { file, environment, findings };
    for error in errors {
        let place = parser.place(error.span().unwrap_or(0..0));
        let message = format!("this is not TOML: {}", plain(error.message()));
        parser.findings.push(Finding { is_syntax: true, ..Finding::error(place, message) });
    }
    let place = parser.place(table.span());
    let value = parser.table(table.into_inner(), 0);
    Node::new(place, value)
}

/// The parser's words without their quotes' second meaning.
fn plain(message: &str) -> String {
    message.replace('`', "'").trim().to_owned()
}

struct Parser<'a> {
    file: u32,
    environment: Environment<'a>,
    findings: &'a mut Vec<Finding>,
}

impl Parser<'_> {
    fn place(&self, span: Range<usize>) -> Place {
        let number = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Place { file: self.file, start: number(span.start), end: number(span.end) }
    }

    fn table(&mut self, table: DeTable<'_>, depth: usize) -> Value {
        let mut entries: Vec<Entry> = Vec::with_capacity(table.len());
        for (key, value) in table {
            let key_place = self.place(key.span());
            let node = self.node(value, depth + 1);
            entries.push(Entry { key: key.into_inner().into_owned(), key_place, node });
        }
        entries.sort_by_key(|entry| entry.key_place.start);
        Value::Table(entries)
    }

    fn node(&mut self, value: Spanned<DeValue<'_>>, depth: usize) -> Node {
        let place = self.place(value.span());
        if depth > DEPTH_MAX {
            self.findings.push(Finding::error(place, format!("nested deeper than {DEPTH_MAX} levels")));
            return Node { is_damaged: true, ..Node::new(place, Value::Boolean(false)) };
        }
        let before = self.findings.len();
        let value = match value.into_inner() {
            DeValue::String(text) => self.text(&text, place),
            DeValue::Integer(integer) => self.integer(integer.as_str(), integer.radix(), place),
            DeValue::Float(float) => Value::Float(float.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(boolean) => Value::Boolean(boolean),
            DeValue::Datetime(moment) => Value::Moment(moment.to_string()),
            DeValue::Array(list) => {
                Value::List(list.into_iter().map(|value| self.node(value, depth + 1)).collect())
            }
            DeValue::Table(table) => self.table(table, depth),
        };
        Node { is_damaged: self.findings.len() > before, ..Node::new(place, value) }
    }

    fn integer(&mut self, digits: &str, radix: u32, place: Place) -> Value {
        match i64::from_str_radix(digits, radix) {
            Ok(number) => Value::Integer(number),
            Err(_too_large) => {
                self.findings.push(Finding::error(place, "this number is too large"));
                Value::Integer(0)
            }
        }
    }

    /// Replaces `${NAME}` and `${NAME:-default}`; `$${` stands for `${` itself.
    fn text(&mut self, written: &str, place: Place) -> Value {
        let mut text = String::with_capacity(written.len());
        let mut rest = written;
        let mut from_environment = false;
        while let Some(at) = rest.find("${") {
            if rest[..at].ends_with('$') {
                text.push_str(&rest[..at]);
                text.push('{');
                rest = &rest[at + 2..];
                continue;
            }
            text.push_str(&rest[..at]);
            let Some(end) = rest[at..].find('}') else {
                let finding = Finding::error(place, "`${` is not closed by `}`");
                self.findings.push(finding.hint("write `$${` where the text itself is meant"));
                rest = "";
                break;
            };
            let inside = &rest[at + 2..at + end];
            rest = &rest[at + end + 1..];
            from_environment = true;
            text.push_str(&self.variable(inside, place));
        }
        text.push_str(rest);
        Value::Text { text, from_environment }
    }

    fn variable(&mut self, inside: &str, place: Place) -> String {
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        let is_name =
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !is_name {
            let finding = Finding::error(place, format!("`{name}` is no name of an environment variable"));
            self.findings.push(finding.hint("write `${NAME}` or `${NAME:-default}`; `$${` is the text `${`"));
            return String::new();
        }
        // As a shell has it: `:-` also stands in for a variable that is empty.
        let found = (self.environment)(name).filter(|value| default.is_none() || !value.is_empty());
        match found.or_else(|| default.map(str::to_owned)) {
            Some(value) => value,
            None => {
                let finding = Finding::error(place, format!("the environment variable `{name}` is not set"));
                self.findings
                    .push(finding.hint(format!("set it, or give a default: `${{{name}:-default}}`")));
                String::new()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("example.org".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    fn read(text: &str) -> (Node, Vec<String>) {
        let mut findings = Vec::new();
        let node = parse(text, 0, &environment, &mut findings);
        (node, findings.into_iter().map(|finding| finding.message).collect())
    }

    #[test]
    fn the_environment_is_substituted_in_strings() {
        let (node, findings) = read(
            "a = \"x-${HOST}-${NONE:-y}\"\nb = '${EMPTY:-d}${EMPTY}'\nc = \"$${HOST}\"\nd = \"a$b$\"\ne = \"$$${HOST}\"",
        );
        assert_eq!(findings, Vec::<String>::new());
        let texts: Vec<_> = ["a", "b", "c", "d", "e"].iter().map(|key| node.text(key).expect(key)).collect();
        assert_eq!(texts, ["x-example.org-y", "d", "${HOST}", "a$b$", "$${HOST}"]);
    }

    #[test]
    fn unset_and_ill_written_variables_are_errors() {
        let (_, findings) = read("a = \"${NONE}\"\nb = \"${HOST\"\nc = \"${A B}\"");
        assert_eq!(
            findings,
            [
                "the environment variable `NONE` is not set",
                "`${` is not closed by `}`",
                "`A B` is no name of an environment variable"
            ]
        );
    }

    #[test]
    fn all_syntax_errors_are_told_and_the_rest_is_read() {
        let (node, findings) = read("a = \nb = 2\nc = 3 4\nd = \"x\"\n");
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert_eq!(node.text("d"), Some("x"));
    }

    #[test]
    fn nesting_has_an_end() {
        let (_, findings) = read(&format!("a = {}{}", "[".repeat(60), "]".repeat(60)));
        assert!(findings.iter().any(|finding| finding.contains("nested deeper")), "{findings:?}");
    }
}
