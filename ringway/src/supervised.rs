//! Commands of supervisors and server processes: `run`, `reload`, `upgrade`, and the hidden one of a server process.

use crate::CANNOT_START;
use crate::arguments::{CONFIGURATION, Command, sentence};
use lexopt::prelude::{Long, Short};
use ringway::config::load;
use ringway::supervisor::{self, Configured, Note, Options, Rehearsal, Source};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// It was asked for, and has not come about.
const NOT_DONE: u8 = 1;

/// How long a reload or upgrade may take: as long as the supervisor gives it, and a little more.
const OUTCOME_MAX: Duration = Duration::from_secs(130);

/// How often the note of the supervisor is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

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

const RELOAD_HELP: &str = "\
Usage: ringway reload [-c FILE]

Has the server that runs under this configuration read it anew, and tells what came of it. Connections and downloads go on.
A configuration that cannot be used changes nothing.

  -c, --config FILE       the configuration (default: ringway.toml)
  -h, --help              this text

Exit codes: 0 reloaded, 1 not reloaded, 2 wrong use, or no server was found.
";

const UPGRADE_HELP: &str = "\
Usage: ringway upgrade [-c FILE]

Has the server that runs under this configuration replaced by the program that lies at its file now, and tells what came of
it. Connections and downloads go on, under the old program, until they end. When the new program does not serve, the old one
goes on.

  -c, --config FILE       the configuration (default: ringway.toml)
  -h, --help              this text

Exit codes: 0 upgraded, 1 not upgraded, 2 wrong use, or no server was found.
";

/// A command of this file.
#[derive(Debug)]
pub(crate) enum Supervised {
    /// Serve what a configuration says.
    Run(Run),
    /// Ask a server that runs for something.
    Ask(Ask, PathBuf),
    /// Serve what a supervisor says.
    ServerProcess,
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

/// What a supervisor is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// The configuration read anew.
    Reload,
    /// The program's new file executed.
    Upgrade,
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

/// Reads the arguments of `reload` and `upgrade`.
pub(crate) fn parse_ask(parser: &mut lexopt::Parser, ask: Ask) -> Result<Command, String> {
    let mut file = PathBuf::from(CONFIGURATION);
    while let Some(argument) = parser.next().map_err(sentence)? {
        match argument {
            Short('h') | Long("help") => {
                return Ok(Command::Help(if ask == Ask::Reload { RELOAD_HELP } else { UPGRADE_HELP }));
            }
            Short('c') | Long("config") => file = parser.value().map_err(sentence)?.into(),
            other => return Err(sentence(other.unexpected())),
        }
    }
    Ok(Command::Supervised(Supervised::Ask(ask, file)))
}

/// Does it.
pub(crate) fn execute(command: &Supervised) -> ExitCode {
    match command {
        Supervised::Run(how) => run(how),
        Supervised::Ask(what, file) => ask(file, *what),
        Supervised::ServerProcess => serve(),
    }
}

/// Serves what the configuration says, until a signal ends it.
fn run(run: &Run) -> ExitCode {
    // Server processes inherit it.
    crate::run::raise_descriptor_limit();
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
    match ringway::process::serve(&ringway::process::Configured) {
        Ok(()) => ExitCode::SUCCESS,
        // The supervisor was told, and tells it.
        Err(_told) => ExitCode::from(NOT_DONE),
    }
}

/// Asks the supervisor that runs under this configuration for something and tells what came of it.
fn ask(file: &Path, what: Ask) -> ExitCode {
    match outcome(file, what) {
        Ok(note) if note.outcome.ok => {
            let _reader_gone = writeln!(std::io::stdout(), "{}", note.outcome.shown());
            ExitCode::SUCCESS
        }
        Ok(note) => {
            eprintln!("ringway: {}", note.outcome.shown());
            ExitCode::from(NOT_DONE)
        }
        Err(sentence) => {
            eprintln!("ringway: {sentence}.");
            ExitCode::from(CANNOT_START)
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

/// Sends the signal and waits for the supervisor's note.
fn outcome(file: &Path, what: Ask) -> Result<Note, String> {
    // A configuration that is broken by now still says where the pid file is, mostly.
    let loaded = load::load(file, &|name| std::env::var(name).ok())?;
    let Some(pid_file) = loaded.config.server.pid_file else {
        return Err(format!("{} names no server.pid_file, so the server cannot be found", file.display()));
    };
    let pid_file = pid_file.as_path();
    let shown = pid_file.display();
    let process =
        supervisor::read_process(pid_file).map_err(|error| format!("no server runs: {shown}: {error}"))?;
    let before = supervisor::read_note(pid_file).map_or(0, |note| note.number);
    let signal = match what {
        Ask::Reload => Signal::HUP,
        Ask::Upgrade => Signal::USR2,
    };
    let target = i32::try_from(process).ok().and_then(Pid::from_raw);
    let target = target.ok_or_else(|| format!("{shown} holds no process's number"))?;
    kill_process(target, signal).map_err(|error| format!("no server runs: process {process}: {error}"))?;
    let deadline = Instant::now() + OUTCOME_MAX;
    let name = match what {
        Ask::Reload => "reload",
        Ask::Upgrade => "upgrade",
    };
    while Instant::now() < deadline {
        if let Ok(note) = supervisor::read_note(pid_file)
            && note.number > before
            && note.what == name
        {
            return Ok(note);
        }
        if rustix::process::test_kill_process(target).is_err() {
            return Err("the server has ended meanwhile".to_owned());
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Err("the server does not say what came of it".to_owned())
}
