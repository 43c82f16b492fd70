//! What a run found, and the three ways to give it out: on the terminal, as JSON, as figures.

mod draw;
pub mod environment;
pub mod figure;
mod scale;
pub mod table;

use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

pub use environment::Environment;
pub use figure::{Axis, Bars, Figure, Lines, Scale, Series};
pub use table::{Cell, Column, Table};

use crate::refusal::Refusal;

/// All that a run found.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was measured.
    pub title: String,
    /// Every setting that the result depends on, with its unit.
    pub settings: Vec<(String, String)>,
    /// Where it was measured; read when the outcome was made.
    pub environment: Environment,
    /// The tables.
    pub tables: Vec<Table>,
    /// The figures.
    pub figures: Vec<Figure>,
    /// Sentences that a reader needs to judge the numbers: who was the bottleneck, what loopback cannot show.
    pub notes: Vec<String>,
    /// The tables go to standard error, as a program reads something else on standard output.
    pub text_to_stderr: bool,
    failure: Option<String>,
}

impl Outcome {
    /// An empty outcome with this machine's environment.
    #[must_use]
    pub fn new(title: impl Into<String>) -> Outcome {
        Outcome {
            title: title.into(),
            settings: Vec::new(),
            environment: Environment::read(),
            tables: Vec::new(),
            figures: Vec::new(),
            notes: Vec::new(),
            text_to_stderr: false,
            failure: None,
        }
    }

    /// Records a setting.
    pub fn setting(&mut self, name: impl Into<String>, value: impl ToString) {
        self.settings.push((name.into(), value.to_string()));
    }

    /// Adds a sentence for the reader.
    pub fn note(&mut self, sentence: impl Into<String>) {
        self.notes.push(sentence.into());
    }

    /// The measured thing did wrong (a reply was not as expected): the outcome is still given out, and the process ends
    /// with exit code 1.
    pub fn fail(&mut self, sentence: impl Into<String>) {
        self.failure = Some(sentence.into());
    }

    /// What was wrong, if anything.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// For a terminal.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("{}\n\n", self.title);
        let settings = self.settings.iter().map(|(name, value)| (name.as_str(), value.clone()));
        let lines: Vec<(&str, String)> = self.environment.lines().into_iter().chain(settings).collect();
        let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (name, value) in lines {
            text.push_str(&format!("  {name}{}  {value}\n", " ".repeat(width - name.chars().count())));
        }
        for table in &self.tables {
            text.push('\n');
            text.push_str(&table.to_text());
        }
        if !self.notes.is_empty() {
            text.push('\n');
        }
        for note in &self.notes {
            text.push_str(&format!("  note: {note}\n"));
        }
        text
    }

    /// For a document: settings, tables, figures as `figures` holds them, notes. Headings are the reader's to add.
    #[must_use]
    pub fn to_markdown(&self, figures: Option<&Path>) -> String {
        let settings: Vec<String> =
            self.settings.iter().map(|(name, value)| format!("{name} {value}")).collect();
        let mut blocks = Vec::new();
        if !settings.is_empty() {
            blocks.push(format!("Settings: {}.", settings.join("; ")));
        }
        let tables =
            self.tables.iter().map(|table| format!("**{}**\n\n{}", table.title, table.to_markdown()));
        blocks.extend(tables);
        if let Some(folder) = figures {
            let picture = |figure: &Figure| {
                format!("![{}]({})", figure.title, folder.join(format!("{}.svg", figure.name)).display())
            };
            blocks.extend(self.figures.iter().map(picture));
        }
        blocks.extend(self.notes.iter().map(|note| format!("- {note}")));
        blocks.extend(self.failure.iter().map(|failure| format!("**Failed:** {failure}")));
        blocks.iter().map(|block| format!("{}\n\n", block.trim_end())).collect()
    }

    /// For programs: everything, numbers in full precision.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let settings: serde_json::Map<String, Value> =
            self.settings.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        json!({
            "title": self.title,
            "environment": self.environment.to_json(),
            "settings": settings,
            "tables": self.tables.iter().map(Table::to_json).collect::<Vec<_>>(),
            "figures": self.figures.iter().map(Figure::to_json).collect::<Vec<_>>(),
            "notes": self.notes,
            "failure": self.failure,
        })
    }

    /// Gives the outcome out to everybody who asked for it.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn give(&self, sinks: &Sinks) -> Result<(), Refusal> {
        let json = sinks.json.as_deref().map(|path| (path, format!("{:#}\n", self.to_json())));
        if let Some((path, text)) = &json
            && !sinks.json_takes_stdout()
        {
            fs::write(path, text).map_err(Refusal::because(format!("cannot write {}", path.display())))?;
        }
        if let Some(folder) = &sinks.svg {
            self.draw_into(folder)?;
        }
        if let Some(path) = &sinks.markdown {
            let text = self.to_markdown(sinks.svg.as_deref());
            fs::write(path, text).map_err(Refusal::because(format!("cannot write {}", path.display())))?;
        }
        match json {
            Some((_, text)) if sinks.json_takes_stdout() => print(&text),
            _ if self.text_to_stderr => {
                eprint!("{}", self.to_text());
                Ok(())
            }
            _ => print(&self.to_text()),
        }
    }

    fn draw_into(&self, folder: &Path) -> Result<(), Refusal> {
        fs::create_dir_all(folder).map_err(Refusal::because(format!("cannot make {}", folder.display())))?;
        for figure in &self.figures {
            let path = folder.join(format!("{}.svg", figure.name));
            fs::write(&path, figure.to_svg())
                .map_err(Refusal::because(format!("cannot write {}", path.display())))?;
        }
        Ok(())
    }
}

/// Where outcomes go besides the terminal; flags of every subcommand.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Sinks {
    /// Write all results as JSON into FILE; `-` is standard output, which then has no tables.
    #[arg(long, global = true, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Draw the figures as SVG into DIR, which is made if need be.
    #[arg(long, global = true, value_name = "DIR")]
    pub svg: Option<PathBuf>,
    /// Write settings, tables and notes as Markdown into FILE, with the figures where --svg draws them.
    #[arg(long, global = true, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Say nothing of the progress.
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

impl Sinks {
    /// Whether standard output is for the JSON alone.
    #[must_use]
    pub fn json_takes_stdout(&self) -> bool {
        self.json.as_deref() == Some(Path::new("-"))
    }
}

/// Standard output, where a reader who has seen enough is no mistake.
fn print(text: &str) -> Result<(), Refusal> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Refusal::failed(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_terminal_shows_settings_tables_and_notes() {
        let mut outcome = Outcome::new("A run");
        outcome.setting("datagram size", "1024 bytes");
        outcome.tables.push(Table::new("empty", "Nothing yet", vec![Column::text("what")]));
        outcome.note("the client was the bottleneck");
        let text = outcome.to_text();
        for part in
            ["A run\n", "datagram size  1024 bytes", "Nothing yet\n", "note: the client was the bottleneck"]
        {
            assert!(text.contains(part), "{part:?} in {text}");
        }
    }

    #[test]
    fn json_says_what_failed() {
        let mut outcome = Outcome::new("A run");
        assert_eq!(outcome.to_json()["failure"], Value::Null);
        outcome.fail("byte 7 of reply 3 was 0x41, not 0x42");
        assert_eq!(outcome.to_json()["failure"], "byte 7 of reply 3 was 0x41, not 0x42");
    }
}
