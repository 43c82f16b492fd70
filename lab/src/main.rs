//! The lab's command line: reads it, runs one instrument, gives out what it found.

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use ringway_lab::{
    Outcome, Progress, Refusal, Sinks, ceiling, compare, echo, governor, heap, http, jitter, report, stress,
    udp, watch,
};
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

impl CommandLine {
    /// Where the outcome's JSON takes standard output, nothing else is printed there.
    fn settled(mut self) -> CommandLine {
        if let (Command::Watch(arguments), true) = (&mut self.command, self.sinks.json_takes_stdout()) {
            arguments.leave_stdout();
        }
        self
    }
}

/// The instruments.
#[derive(Debug, Subcommand)]
enum Command {
    /// Load an HTTP server and check every answer; or sweep over numbers of connections.
    Http(http::Arguments),
    /// The machine's limit: servers that give fixed answers without parsing, or say everything again.
    Ceiling(ceiling::Arguments),
    /// Compare servers under the same workloads: CPU time a request, rates, memory, with ratios to the first one.
    Compare(compare::Arguments),
    /// Echo servers, clients that stress them and check every byte, and latencies.
    Echo(echo::Arguments),
    /// How well the bandwidth governor keeps to its figure, at the receivers.
    Governor(governor::Arguments),
    /// One heap for all threads against a private heap a thread: HeapDemo, its figures, and what servers ask of heaps.
    Heap(heap::Arguments),
    /// How long the machine keeps a spinning thread from running.
    Jitter(jitter::Arguments),
    /// Seven ways to receive datagrams, a generator, what each way handles and what that costs.
    Udp(udp::Arguments),
    /// Run all instruments as the project's claims need it and write the document.
    Report(report::Arguments),
    /// Stress a server with thousands of clients over TCP, TLS, Unix sockets, WebSockets or UDP, and check every byte.
    Stress(stress::Arguments),
    /// Sample CPU, memory, descriptors and network of a command or a running process, children included.
    Watch(watch::Arguments),
}

impl Command {
    fn run(self, progress: &Progress) -> Result<Outcome, Refusal> {
        match self {
            Command::Http(arguments) => http::run(arguments, progress),
            Command::Ceiling(arguments) => ceiling::run(arguments, progress),
            Command::Compare(arguments) => compare::run(arguments, progress),
            Command::Echo(arguments) => echo::run(arguments, progress),
            Command::Governor(arguments) => governor::run(arguments, progress),
            Command::Heap(arguments) => heap::run(arguments, progress),
            Command::Jitter(arguments) => jitter::run(arguments, progress),
            Command::Udp(arguments) => udp::run(arguments, progress),
            Command::Report(arguments) => report::run(arguments, progress),
            Command::Stress(arguments) => stress::run(&arguments, progress),
            Command::Watch(arguments) => watch::run(arguments, progress),
        }
    }
}

fn main() -> ExitCode {
    let line = match CommandLine::try_parse() {
        Ok(line) => line.settled(),
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
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand
    ) {
        return refuse(&Refusal::new("an instrument is needed, and some need flags (see --help)"));
    }
    let rendered = error.render().to_string();
    let first = rendered.split("\n\n").next().unwrap_or_default();
    let sentence = first.trim_start_matches("error: ").split_whitespace().collect::<Vec<_>>().join(" ");
    refuse(&Refusal::new(format!("{sentence} (see --help)")))
}
