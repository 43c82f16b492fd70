//! `ringway reload` and `ringway upgrade`: asking a server that runs, by its console or by a signal, and telling what came of
//! it.

use super::CANNOT_START;
use super::arguments::{CONFIGURATION, Command, sentence};
use super::supervised::{NOT_DONE, Supervised};
use crate::config::load;
use crate::supervisor::{self, Note, Outcome};
use lexopt::prelude::{Long, Short};
use rustix::process::{Pid, Signal, kill_process};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long a reload or upgrade may take: as long as the supervisor gives it, and a little more.
const OUTCOME_MAX: Duration = Duration::from_secs(130);

/// How often it is looked whether something has come of it.
const LOOK_EVERY: Duration = Duration::from_millis(20);

const RELOAD_HELP: &str = "\
Usage: ringway reload [-c FILE | --socket PATH]

Has the server that runs under this configuration read it anew, and tells what came of it. Connections and downloads go on.
A configuration that cannot be used changes nothing.

  -c, --config FILE       the configuration (default: ringway.toml), which says where the console and the pid file are
  -s, --socket PATH       the console of the server
  -h, --help              this text

Exit codes: 0 reloaded, 1 not reloaded, 2 wrong use, or no server was found.
";

const UPGRADE_HELP: &str = "\
Usage: ringway upgrade [-c FILE | --socket PATH]

Has the server that runs under this configuration replaced by the program that lies at its file now, and tells what came of
it. Connections and downloads go on, under the old program, until they end. When the new program does not serve, the old one
goes on.

  -c, --config FILE       the configuration (default: ringway.toml), which says where the console and the pid file are
  -s, --socket PATH       the console of the server
  -h, --help              this text

Exit codes: 0 upgraded, 1 not upgraded, 2 wrong use, or no server was found.
";

/// What a supervisor is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// The configuration read anew.
    Reload,
    /// The program's new file executed.
    Upgrade,
}

impl Ask {
    fn name(self) -> &'static str {
        match self {
            Self::Reload => "reload",
            Self::Upgrade => "upgrade",
        }
    }
}

/// What is asked of whom.
#[derive(Debug)]
pub(crate) struct Asking {
    what: Ask,
    file: PathBuf,
    socket: Option<PathBuf>,
}

/// Reads the arguments of `reload` and `upgrade`.
pub(crate) fn parse(parser: &mut lexopt::Parser, what: Ask) -> Result<Command, String> {
    let mut asking = Asking { what, file: CONFIGURATION.into(), socket: None };
    while let Some(argument) = parser.next().map_err(sentence)? {
        match argument {
            Short('h') | Long("help") => {
                return Ok(Command::Help(if what == Ask::Reload { RELOAD_HELP } else { UPGRADE_HELP }));
            }
            Short('c') | Long("config") => asking.file = parser.value().map_err(sentence)?.into(),
            Short('s') | Long("socket") => asking.socket = Some(parser.value().map_err(sentence)?.into()),
            other => return Err(sentence(other.unexpected())),
        }
    }
    Ok(Command::Supervised(Supervised::Ask(asking)))
}

/// Asks, and tells what came of it.
pub(crate) fn ask(asking: &Asking) -> ExitCode {
    match outcome(asking) {
        Ok(outcome) if outcome.ok => {
            let _reader_gone = writeln!(std::io::stdout(), "{}", outcome.shown());
            ExitCode::SUCCESS
        }
        Ok(outcome) => {
            eprintln!("ringway: {}", outcome.shown());
            ExitCode::from(NOT_DONE)
        }
        Err(sentence) => {
            eprintln!("ringway: {}.", sentence.trim_end_matches('.'));
            ExitCode::from(CANNOT_START)
        }
    }
}

fn outcome(asking: &Asking) -> Result<Outcome, String> {
    if let Some(socket) = &asking.socket {
        return by_console(socket, asking.what);
    }
    // A configuration that is broken by now still says where these are, mostly.
    let file = &asking.file;
    let config = load::load(file, &|name| std::env::var(name).ok())?.config;
    let socket =
        Some(config.console.socket.as_path()).filter(|socket| config.console.enabled && socket.exists());
    let pid_file = config.server.pid_file.as_ref().map(|path| path.as_path());
    match (socket, pid_file) {
        (Some(socket), pid_file) => by_console(socket, asking.what).or_else(|why| {
            // Somebody else's console, perhaps, or one that this user may not open.
            pid_file.map_or(Err(why), |pid_file| by_signal(pid_file, asking.what))
        }),
        (None, Some(pid_file)) => by_signal(pid_file, asking.what),
        (None, None) => Err(format!(
            "no server runs: {} has no console that is open, and no server.pid_file",
            file.display()
        )),
    }
}

#[cfg(not(feature = "console"))]
fn by_console(_socket: &Path, _what: Ask) -> Result<Outcome, String> {
    Err("this program was built without console".to_owned())
}

/// Asks the console. A new program has one of its own, which knows what came of an upgrade.
#[cfg(feature = "console")]
fn by_console(socket: &Path, what: Ask) -> Result<Outcome, String> {
    let ask = |command: &str| {
        let request = crate::console::Request { command: command.to_owned(), arguments: Vec::new() };
        crate::console::client::Connection::open(socket)?.ask(&request)
    };
    let last = || -> Result<Option<Note>, String> {
        let known = ask(supervisor::STATUS)?;
        Ok(serde_json::from_value(known.data["last"].clone()).unwrap_or_default())
    };
    let before = last()?.map_or(0, |note| note.number);
    let answer = ask(what.name())?;
    if what == Ask::Reload || !answer.ok {
        return Ok(Outcome { ok: answer.ok, text: answer.text, data: answer.data });
    }
    wait_for_note(what, before, || last().ok().flatten(), || true)
}

/// Sends the signal and waits for the note that the supervisor leaves beside its pid file.
fn by_signal(pid_file: &Path, what: Ask) -> Result<Outcome, String> {
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
    let lives = || rustix::process::test_kill_process(target).is_ok();
    wait_for_note(what, before, || supervisor::read_note(pid_file).ok(), lives)
}

/// Waits until there is a note of this that was not there before.
fn wait_for_note(
    what: Ask,
    before: u64,
    last: impl Fn() -> Option<Note>,
    lives: impl Fn() -> bool,
) -> Result<Outcome, String> {
    let deadline = Instant::now() + OUTCOME_MAX;
    while Instant::now() < deadline {
        if let Some(note) = last().filter(|note| note.number > before && note.what == what.name()) {
            return Ok(note.outcome);
        }
        if !lives() {
            return Err("the server has ended meanwhile".to_owned());
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Err("the server does not say what came of it".to_owned())
}
