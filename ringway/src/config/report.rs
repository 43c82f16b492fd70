//! The report: everything that is wrong with a configuration, shown for people or as JSON for editors.

use crate::config::source::{Place, Sources};
use serde::Serialize;
use std::collections::HashSet;
use std::fmt::Write;

/// Most findings that are shown; a file of another kind altogether shall not flood a terminal.
pub const FINDINGS_SHOWN_MAX: usize = 100;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can, but probably does not do what was meant.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Where.
    pub place: Place,
    /// Whether the text is no TOML there: what else is found in that line follows from it.
    pub is_syntax: bool,
    /// What is wrong, without a full stop.
    pub message: String,
    /// What to do, without a full stop.
    pub hint: Option<String>,
    /// Another place that matters, and what is there.
    pub other: Option<(Place, String)>,
}

impl Finding {
    /// An error at `place`.
    #[must_use]
    pub fn error(place: Place, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { severity: Severity::Error, place, is_syntax: false, message, hint: None, other: None }
    }

    /// A warning at `place`.
    #[must_use]
    pub fn warning(place: Place, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(place, message) }
    }

    /// The same with advice.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The same with advice, where there is some.
    #[must_use]
    pub fn maybe_hint(self, hint: Option<String>) -> Self {
        Self { hint, ..self }
    }

    /// The same with a second place.
    #[must_use]
    pub fn other(self, place: Place, message: impl Into<String>) -> Self {
        Self { other: Some((place, message.into())), ..self }
    }
}

/// Findings with the text they are about.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The files.
    pub sources: Sources,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// A finding as editors read it.
#[derive(Serialize)]
struct Record<'a> {
    severity: Severity,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    #[serde(flatten)]
    place: Option<RecordPlace<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    other: Option<RecordOther<'a>>,
}

#[derive(Serialize)]
struct RecordPlace<'a> {
    file: std::borrow::Cow<'a, str>,
    line: usize,
    column: usize,
    width: usize,
}

#[derive(Serialize)]
struct RecordOther<'a> {
    message: &'a str,
    #[serde(flatten)]
    place: Option<RecordPlace<'a>>,
}

impl Report {
    /// Notes a finding.
    pub fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Whether the configuration cannot be used.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// Findings of a severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    /// Puts findings in the order of files and lines; each is there once, and none follows from a line that is no TOML.
    pub fn sort(&mut self) {
        let line =
            |finding: &Finding| (finding.place.file, self.sources.position(finding.place).map(|at| at.line));
        let broken: HashSet<_> = self.findings.iter().filter(|finding| finding.is_syntax).map(line).collect();
        if !broken.is_empty() {
            let keep: Vec<bool> = self
                .findings
                .iter()
                .map(|finding| finding.is_syntax || !broken.contains(&line(finding)))
                .collect();
            let mut keep = keep.into_iter();
            self.findings.retain(|_| keep.next().unwrap_or(true));
        }
        self.findings.sort_by_key(|finding| (finding.place.file, finding.place.start, finding.severity));
        self.findings.dedup();
    }

    /// The report as text, with colours if wanted.
    #[must_use]
    pub fn text(&self, coloured: bool) -> String {
        let paint = Paint { coloured };
        let mut out = String::new();
        for finding in self.findings.iter().take(FINDINGS_SHOWN_MAX) {
            self.write_finding(&mut out, finding, paint);
            out.push('\n');
        }
        if self.findings.len() > FINDINGS_SHOWN_MAX {
            add(
                &mut out,
                format_args!("{} more are not shown.\n\n", self.findings.len() - FINDINGS_SHOWN_MAX),
            );
        }
        out
    }

    /// One JSON object a line.
    #[must_use]
    pub fn json(&self) -> String {
        let mut out = String::new();
        for finding in &self.findings {
            let record = Record {
                severity: finding.severity,
                message: &finding.message,
                hint: finding.hint.as_deref(),
                place: self.record_place(finding.place),
                other: finding
                    .other
                    .as_ref()
                    .map(|(place, message)| RecordOther { message, place: self.record_place(*place) }),
            };
            // A value of strings and numbers always has a JSON form.
            out.push_str(&serde_json::to_string(&record).unwrap_or_default());
            out.push('\n');
        }
        out
    }

    fn record_place(&self, place: Place) -> Option<RecordPlace<'_>> {
        let source = self.sources.get(place.file)?;
        let at = self.sources.position(place)?;
        let file = source.path.to_string_lossy();
        Some(RecordPlace { file, line: at.line, column: at.column, width: at.width })
    }

    fn write_finding(&self, out: &mut String, finding: &Finding, paint: Paint) {
        let word = match finding.severity {
            Severity::Error => paint.red("error"),
            Severity::Warning => paint.yellow("warning"),
        };
        add(out, format_args!("{word}: {}\n", paint.bold(&finding.message)));
        self.write_place(out, finding.place, "", paint);
        if let Some((place, message)) = &finding.other {
            self.write_place(out, *place, message, paint);
        }
        if let Some(hint) = &finding.hint {
            add(out, format_args!("  {} {hint}\n", paint.blue("= hint:")));
        }
    }

    /// The line with carets below what is meant.
    fn write_place(&self, out: &mut String, place: Place, message: &str, paint: Paint) {
        let (Some(source), Some(at)) = (self.sources.get(place.file), self.sources.position(place)) else {
            return;
        };
        let number = at.line.to_string();
        let gutter = " ".repeat(number.len());
        let shown = at.text.replace('\t', " ");
        let indent = " ".repeat(at.column - 1);
        let carets = if message.is_empty() { "^" } else { "-" }.repeat(at.width);
        let bar = paint.blue("|");
        let arrow = paint.blue("-->");
        add(out, format_args!("{gutter} {arrow} {}:{}:{}\n", source.path.display(), at.line, at.column));
        add(out, format_args!("{gutter} {bar}\n{} {bar} {}\n", paint.blue(&number), shown.trim_end()));
        let carets = if message.is_empty() { paint.red(&carets) } else { paint.blue(&carets) };
        let space = if message.is_empty() { "" } else { " " };
        add(out, format_args!("{gutter} {bar} {indent}{carets}{space}{message}\n"));
    }
}

/// Writing to a string cannot fail.
fn add(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _infallible = out.write_fmt(text);
}

/// Colours, or none.
#[derive(Clone, Copy)]
struct Paint {
    coloured: bool,
}

impl Paint {
    fn with(self, code: &str, text: &str) -> String {
        if self.coloured { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn red(self, text: &str) -> String {
        self.with("1;31", text)
    }

    fn yellow(self, text: &str) -> String {
        self.with("1;33", text)
    }

    fn blue(self, text: &str) -> String {
        self.with("1;34", text)
    }

    fn bold(self, text: &str) -> String {
        self.with("1", text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn report() -> Report {
        let mut report = Report::default();
        let file = report.sources.add(Path::new("a.toml"), "one = 1\ntwo = 22\n".to_owned());
        let at = |start, end| Place { file, start, end };
        report.add(Finding::error(at(14, 16), "22 is too much").hint("write 2").other(at(6, 7), "as here"));
        report.add(Finding::warning(at(0, 3), "one is little"));
        report.sort();
        report
    }

    #[test]
    fn findings_show_their_line() {
        let text = report().text(false);
        assert_eq!(
            text,
            "warning: one is little\n  --> a.toml:1:1\n  |\n1 | one = 1\n  | ^^^\n\nerror: 22 is too much\n  --> \
             a.toml:2:7\n  |\n2 | two = 22\n  |       ^^\n  --> a.toml:1:7\n  |\n1 | one = 1\n  |       - as here\n  \
             = hint: write 2\n\n"
        );
        assert!(report().text(true).contains("\x1b[1;31merror\x1b[0m: \x1b[1m22 is too much\x1b[0m"));
    }

    #[test]
    fn editors_read_one_object_a_line() {
        let lines: Vec<serde_json::Value> =
            report().json().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(lines[1]["line"], 2);
        assert_eq!((&lines[1]["column"], &lines[1]["width"]), (&7.into(), &2.into()));
        assert_eq!(lines[1]["other"]["column"], 7);
        assert_eq!((&lines[0]["severity"], &lines[0]["file"]), (&"warning".into(), &"a.toml".into()));
    }

    #[test]
    fn a_flood_of_findings_is_cut() {
        let mut report = Report::default();
        (0..150).for_each(|at| report.add(Finding::error(Place { start: at, ..Place::default() }, "x")));
        assert!(report.text(false).ends_with("50 more are not shown.\n\n"));
    }
}
