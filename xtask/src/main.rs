//! Developer commands: `cargo xtask test` and what else building Ringway takes.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a command's business is to print")]

mod cli;
mod needs;
mod step;
mod suite;
mod tools;

use std::path::Path;
use std::process::ExitCode;

use cli::Command;

/// Why a command did not succeed.
enum Failure {
    /// The command line is wrong, or the machine lacks something: exit code 2.
    Setup(String),
    /// What was asked for ran and failed: exit code 1.
    Failed(String),
    /// The same, and it has been printed already.
    Reported,
}

fn main() -> ExitCode {
    match cli::parse(lexopt::Parser::from_env()).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Reported) => ExitCode::from(1),
        Err(Failure::Failed(why)) => {
            eprintln!("xtask: {why}");
            ExitCode::from(1)
        }
        Err(Failure::Setup(why)) => {
            eprintln!("xtask: {why}");
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Help(text) => {
            print!("{text}");
            Ok(())
        }
        Command::Test { install, slow } => {
            needs::provide(needs::Purpose::Test, install)?;
            suite::run(slow)
        }
        Command::Asan => tools::asan(),
        Command::Fuzz { minutes } => {
            needs::provide(needs::Purpose::Fuzz, false)?;
            tools::fuzz(minutes)
        }
        Command::Embedded => {
            needs::provide(needs::Purpose::Embedded, false)?;
            tools::embedded()
        }
        Command::Docs => tools::docs(),
    }
}

/// The repository's root: the folder that holds this package's folder.
fn repository_root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}
