//! `report`: runs every instrument as the project's claims need it and writes what they found into one document.

mod chapters;
mod stand;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::outcome::{Cell, Column, Environment, Outcome, Table};
use crate::progress::Progress;
use crate::refusal::Refusal;
use chapters::{CHAPTERS, Chapter, Step};
use stand::Stand;

/// Flags of `report`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// The document to write; figures go into a folder beside it that has its name.
    #[arg(long, default_value = "docs/measurements.md", value_name = "FILE")]
    out: PathBuf,
    /// Where each instrument's part is kept, so that a report can be made in several goes.
    #[arg(long, default_value = "target/lab-report", value_name = "DIR")]
    parts: PathBuf,
    /// Measure only this step again and take the others from their parts; may be given several times.
    #[arg(long, value_name = "STEP")]
    only: Vec<String>,
    /// Measure only what has no part yet.
    #[arg(long, conflicts_with = "only")]
    missing: bool,
    /// Measure nothing: write the document from the parts.
    #[arg(long, conflicts_with_all = ["only", "missing"])]
    assemble: bool,
    /// The server to measure; otherwise the `ringway` beside this program.
    #[arg(long, value_name = "FILE")]
    ringway: Option<PathBuf>,
    /// A plain C loop that receives datagrams, to stand beside `udp drain`.
    #[arg(long, value_name = "PROGRAM")]
    yardstick: Option<PathBuf>,
}

/// Measures what was asked for and writes the document.
///
/// # Errors
/// Refuses steps that do not exist and a server that is not there; fails when a file cannot be written. A step that fails
/// does not end the report: the document says what it said.
pub fn run(arguments: Arguments, progress: &Progress) -> Result<Outcome, Refusal> {
    let steps: Vec<&Step> = CHAPTERS.iter().flat_map(|chapter| chapter.steps).collect();
    let names: Vec<&str> = steps.iter().map(|step| step.name).collect();
    if let Some(unknown) = arguments.only.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(Refusal::new(format!(
            "there is no step {unknown:?}; the steps are {}",
            names.join(", ")
        )));
    }
    let figures = arguments.out.with_extension("");
    fs::create_dir_all(&arguments.parts)
        .map_err(Refusal::because(format!("cannot make {}", arguments.parts.display())))?;
    let bench = Bench { parts: arguments.parts.clone(), figures: figures.clone() };
    let wanted: Vec<&Step> =
        steps.iter().copied().filter(|step| is_wanted(&arguments, &bench, step)).collect();
    let mut results =
        Table::new("steps", "What was measured now", vec![Column::text("step"), Column::text("result")]);
    let stand = match wanted.is_empty() {
        true => None,
        false => {
            let ringway = server(arguments.ringway.as_deref())?;
            Some(Stand::set(&arguments.parts.join("stand"), ringway, arguments.yardstick.clone())?)
        }
    };
    for (index, (step, stand)) in wanted.iter().zip(stand.iter().cycle()).enumerate() {
        progress.stage(&format!("step {} of {}: {}", index + 1, wanted.len(), step.name));
        let result =
            bench.measure(step, stand).err().map_or_else(|| "measured".to_owned(), |error| error.to_string());
        results.row([Cell::from(step.name), result.into()]);
    }
    let document = bench.document();
    fs::write(&arguments.out, document)
        .map_err(Refusal::because(format!("cannot write {}", arguments.out.display())))?;
    let mut outcome = Outcome::new("The report");
    outcome.setting("document", arguments.out.display());
    outcome.setting("figures", figures.display());
    outcome.tables.push(results);
    Ok(outcome)
}

fn is_wanted(arguments: &Arguments, bench: &Bench, step: &Step) -> bool {
    if arguments.assemble {
        return false;
    }
    let is_named = arguments.only.iter().any(|name| name == step.name);
    is_named || (arguments.only.is_empty() && !(arguments.missing && bench.part(step, "md").exists()))
}

fn server(given: Option<&Path>) -> Result<PathBuf, Refusal> {
    let own = std::env::current_exe().map_err(Refusal::because("cannot find this program"))?;
    let path = given.map_or_else(|| own.with_file_name("ringway"), Path::to_owned);
    let hint = "build it with cargo build --release, or name it with --ringway";
    fs::canonicalize(&path)
        .map_err(|_absent| Refusal::new(format!("there is no server at {}: {hint}", path.display())))
}

/// Where the results are.
struct Bench {
    parts: PathBuf,
    figures: PathBuf,
}

impl Bench {
    fn part(&self, step: &Step, extension: &str) -> PathBuf {
        self.parts.join(format!("{}.{extension}", step.name))
    }

    /// Runs a step in a process of its own: what one instrument does to its memory and cores is no affair of the next.
    fn measure(&self, step: &Step, stand: &Stand) -> Result<(), Refusal> {
        let own = std::env::current_exe().map_err(Refusal::because("cannot find this program"))?;
        let scratch = self.parts.join(format!("{}.new.md", step.name));
        let mut command = Command::new(own);
        command.args(stand.arguments(step));
        command.arg("--json").arg(self.part(step, "json")).arg("--markdown").arg(&scratch);
        command.arg("--svg").arg(&self.figures).stdout(Stdio::null());
        let status =
            command.status().map_err(Refusal::because(format!("cannot start step {}", step.name)))?;
        // A part that says what failed is a part; none at all means that the old one stays.
        if let Ok(part) = fs::read_to_string(&scratch) {
            let kept = fs::write(self.part(step, "md"), stand.without_places(&part));
            kept.and_then(|()| fs::remove_file(&scratch))
                .map_err(Refusal::because("cannot keep the part"))?;
        }
        if status.success() { Ok(()) } else { Err(Refusal::failed(format!("the step ended with {status}"))) }
    }

    fn document(&self) -> String {
        let environment = Environment::read();
        let mut text = format!("{}\n\n", chapters::OPENING.trim());
        text.push_str("| this machine | |\n| --- | --- |\n");
        for (name, value) in
            environment.lines().into_iter().filter(|(name, _)| !["date", "revision"].contains(name))
        {
            text.push_str(&format!("| {name} | {value} |\n"));
        }
        for chapter in CHAPTERS {
            self.write_chapter(chapter, &mut text);
        }
        text
    }

    fn write_chapter(&self, chapter: &Chapter, text: &mut String) {
        text.push_str(&format!("\n## {}\n\n{}\n", chapter.title, chapter.introduction.trim()));
        for step in chapter.steps {
            text.push_str(&format!("\n### {}\n\n", step.title));
            text.push_str(&format!("`ringway-lab {}`{}\n\n", stand::shown(step), self.stamp(step)));
            match fs::read_to_string(self.part(step, "md")) {
                Ok(part) => text.push_str(&self.beside_the_document(&part)),
                Err(_not_measured) => text.push_str("Not measured yet.\n"),
            }
        }
    }

    /// When a part was measured, and what.
    fn stamp(&self, step: &Step) -> String {
        let json = fs::read_to_string(self.part(step, "json")).ok();
        let json: Option<Value> = json.and_then(|text| serde_json::from_str(&text).ok());
        let said = |json: &Value, name: &str| json["environment"][name].as_str().map(str::to_owned);
        let Some(json) = json else { return String::new() };
        match (said(&json, "date"), said(&json, "revision")) {
            (Some(date), Some(revision)) => format!(", {date}, revision {revision}"),
            (Some(date), None) => format!(", {date}"),
            _ => String::new(),
        }
    }

    /// The figures' paths as seen from the document.
    fn beside_the_document(&self, part: &str) -> String {
        let folder = self.figures.file_name().unwrap_or_default().to_string_lossy();
        format!(
            "{}\n",
            part.replace(&format!("]({}/", self.figures.display()), &format!("]({folder}/")).trim_end()
        )
    }
}
