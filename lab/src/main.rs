//! The lab's command line: reads it, runs one instrument, gives out what it found.

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use ringway_lab::{Outcome, Progress, Refusal, Sinks, ceiling, echo, jitter};
use std::process::ExitCode;

/// Instruments that measure servers, and the machine under them.
#[derive(Debug, Parser)]
#[command(name = "ringway-lab", version, propagate_version = true, max_term_width = 110)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    sinks: Sinks,
}

/// The instruments.
#[derive(Debug, Subcommand)]
enum Command {
    /// The machine's limit: servers that give fixed answers without parsing, or say everything again.
    Ceiling(ceiling::Arguments),
    /// Echo servers, clients that stress them and check every byte, and latencies.
    Echo(echo::Arguments),
    /// How long the machine keeps a spinning thread from running.
    Jitter(jitter::Arguments),
}

impl Command {
    fn run(self, progress: &Progress) -> Result<Outcome, Refusal> {
        match self {
            Command::Ceiling(arguments) => ceiling::run(arguments, progress),
            Command::Echo(arguments) => echo::run(arguments, progress),
            Command::Jitter(arguments) => jitter::run(arguments, progress),
        }
    }
}

fn main() -> ExitCode {
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) => return unreadable(&error),
    };
    let progress = if line.sinks.quiet { Progress::silent() } else { Progress::on_stderr() };
    let result = line.command.run(&progress);
    progress.finish();
    let given = result.and_then(|outcome| outcome.give(&line.sinks).map(|()| outcome));
    match given {
        Ok(outcome) => {
            outcome.failure().map_or(ExitCode::SUCCESS, |sentence| refuse(&Refusal::failed(sentence)))
        }
        Err(refusal) => refuse(&refusal),
    }
}

fn refuse(refusal: &Refusal) -> ExitCode {
    eprintln!("ringway-lab: {refusal}");
    refusal.code()
}

/// What clap says when it was asked for help or the version, and one sentence of it when it could not read a command.
fn unreadable(error: &clap::Error) -> ExitCode {
    if error.exit_code() == 0 {
        error.exit();
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return refuse(&Refusal::new("an instrument is needed, and some need flags (see --help)"));
    }
    let rendered = error.render().to_string();
    let first = rendered.split("\n\n").next().unwrap_or_default();
    let sentence = first.trim_start_matches("error: ").split_whitespace().collect::<Vec<_>>().join(" ");
    refuse(&Refusal::new(format!("{sentence} (see --help)")))
}
