//! Commands of supervisors and server processes: `run`, and the hidden one of a server process.

use super::CANNOT_START;
use super::arguments::{CONFIGURATION, Command, sentence};
use super::asking::{self, Asking};
use crate::supervisor::{self, Configured, Options, Rehearsal, Source};
use lexopt::prelude::{Long, Short};
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// It was asked for, and has not come about.
pub(crate) const NOT_DONE: u8 = 1;

const RUN_HELP: &str = "\
Usage: ringway run [-c FILE]

Serves what the configuration says. A small supervisor holds the listening sockets and reads keys; a server process that is
confined to what the configuration needs meets the clients, and is started again should it die.

  -c, --config FILE       the configuration (default: ringway.toml)
  -h, --help              this text

Signals: SIGHUP reads the configuration anew, SIGUSR1 opens the log files anew, SIGUSR2 executes the program's new file,
SIGTERM and SIGINT stop when what is under way is finished, at the latest after server.drain; at once the second time.

Exit codes: 0 stopped as asked, 2 wrong use, cannot start, or the configuration cannot be used.
";

/// A command of this file.
#[derive(Debug)]
pub(crate) enum Supervised {
    /// Serve what a configuration says.
    Run(Run),
    /// Ask a server that runs for something.
    Ask(Asking),
    /// Serve what a supervisor says.
    ServerProcess,
    /// Start scripts for a server process.
    #[cfg(feature = "cgi")]
    Starter,
}

/// How `run` was called.
#[derive(Debug)]
pub(crate) struct Run {
    /// The configuration.
    pub(crate) file: PathBuf,
    /// Another program passes its state on.
    pub(crate) takes_over: bool,
    /// It is only asked whether it could.
    pub(crate) rehearses: bool,
}

/// Reads the arguments of `run`.
pub(crate) fn parse_run(parser: &mut lexopt::Parser) -> Result<Command, String> {
    let mut run = Run { file: CONFIGURATION.into(), takes_over: false, rehearses: false };
    while let Some(argument) = parser.next().map_err(sentence)? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Help(RUN_HELP)),
            Short('c') | Long("config") => run.file = parser.value().map_err(sentence)?.into(),
            // Said by another program of ours.
            Long("take-over") => run.takes_over = true,
            Long("rehearse") => run.rehearses = true,
            other => return Err(sentence(other.unexpected())),
        }
    }
    Ok(Command::Supervised(Supervised::Run(run)))
}

/// Does it.
pub(crate) fn execute(command: &Supervised) -> ExitCode {
    match command {
        Supervised::Run(how) => run(how),
        Supervised::Ask(asking) => asking::ask(asking),
        Supervised::ServerProcess => serve(),
        #[cfg(feature = "cgi")]
        Supervised::Starter => start_scripts(),
    }
}

/// Serves what the configuration says, until a signal ends it.
fn run(run: &Run) -> ExitCode {
    // Server processes inherit it.
    super::run::raise_descriptor_limit();
    let mut source = Configured::new(run.file.clone());
    if run.rehearses {
        return rehearse(&mut source);
    }
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => {
            eprintln!("ringway: this program's own file is not known: {error}.");
            return ExitCode::from(CANNOT_START);
        }
    };
    let arguments: Vec<OsString> =
        std::env::args_os().skip(1).filter(|argument| argument != supervisor::TAKE_OVER).collect();
    let options = Options { program: undeleted(program), arguments, takes_over: run.takes_over };
    match supervisor::supervise(Box::new(source), options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            complain(&sentence);
            ExitCode::from(CANNOT_START)
        }
    }
}

/// The hidden command: serves what a supervisor says.
fn serve() -> ExitCode {
    match crate::process::serve(&crate::process::Configured) {
        Ok(()) => ExitCode::SUCCESS,
        // The supervisor was told, and tells it.
        Err(_told) => ExitCode::from(NOT_DONE),
    }
}

/// The hidden command: starts scripts for a server process.
#[cfg(feature = "cgi")]
fn start_scripts() -> ExitCode {
    match crate::starter::run_process() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("scripts cannot be started: {error}"));
            ExitCode::from(NOT_DONE)
        }
    }
}

/// A sentence, or several lines as they are.
fn complain(sentence: &str) {
    let text = sentence.trim_end();
    let end = if text.contains('\n') || text.ends_with('.') { "" } else { "." };
    eprintln!("ringway: {text}{end}");
}

/// Says whether this program could take over, without doing anything.
fn rehearse(source: &mut dyn Source) -> ExitCode {
    if let Err(sentence) = source.load() {
        complain(&sentence);
        return ExitCode::from(CANNOT_START);
    }
    let text = serde_json::to_string(&Rehearsal::of_this_program()).unwrap_or_default();
    let _reader_gone = writeln!(std::io::stdout(), "{text}");
    ExitCode::SUCCESS
}

/// The kernel marks the name of a program whose file was replaced; what lies there now is the one to execute.
fn undeleted(program: PathBuf) -> PathBuf {
    match program.to_str().and_then(|text| text.strip_suffix(" (deleted)")) {
        Some(name) => name.into(),
        None => program,
    }
}
