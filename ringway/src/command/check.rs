//! `ringway check` and `ringway schema`.

use super::CANNOT_START;
use crate::config::load::{self, Loaded};
use crate::config::report::{Report, Severity};
use crate::config::surroundings::{self, Questions};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

/// Tells all that is wrong with the configuration in `file`.
pub(crate) fn check(file: &Path, json: bool) -> ExitCode {
    let questions = Questions { hosts: true, ports: true, expiry: true };
    let loaded = match load(file, questions) {
        Ok(loaded) => loaded,
        Err(sentence) => {
            eprintln!("ringway: {sentence}");
            return ExitCode::from(CANNOT_START);
        }
    };
    let report = &loaded.report;
    let text = if json { report.json() } else { text(&loaded, file) };
    let _reader_gone = std::io::stdout().write_all(text.as_bytes());
    if report.has_errors() { ExitCode::from(CANNOT_START) } else { ExitCode::SUCCESS }
}

/// The JSON schema, as text.
pub(crate) fn schema() -> String {
    // A value of strings and numbers always has a JSON form.
    let mut text = serde_json::to_string_pretty(load::schema()).unwrap_or_default();
    text.push('\n');
    text
}

/// Reads a configuration and asks the machine about it.
fn load(file: &Path, questions: Questions) -> Result<Loaded, String> {
    let mut loaded = load::load(file, &|name| std::env::var(name).ok())?;
    surroundings::check(&mut loaded, questions);
    Ok(loaded)
}

fn text(loaded: &Loaded, file: &Path) -> String {
    let may_colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut text = loaded.report.text(may_colour);
    text.push_str(&verdict(&loaded.report, file));
    if !loaded.report.has_errors() {
        let (sites, endpoints) = (loaded.config.site.len(), loaded.config.endpoint.len());
        text.push_str(&format!(" ({}, {})", counted(sites, "site"), counted(endpoints, "endpoint")));
    }
    text.push_str(".\n");
    text
}

fn verdict(report: &Report, file: &Path) -> String {
    let file = file.display();
    let (errors, warnings) = (report.count(Severity::Error), report.count(Severity::Warning));
    match (errors, warnings) {
        (0, 0) => format!("{file} is in order"),
        (0, warnings) => format!("{file} can be used, with {}", counted(warnings, "warning")),
        (errors, 0) => format!("{file} cannot be used: {}", counted(errors, "error")),
        (errors, warnings) => {
            format!(
                "{file} cannot be used: {} and {}",
                counted(errors, "error"),
                counted(warnings, "warning")
            )
        }
    }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
