//! `ringway console`, `ringway top`, and the console of a server that is one process.

use super::CANNOT_START;
use super::arguments::{Command, sentence};
use crate::config::load;
use crate::console::listen::{Console, listen};
use crate::console::shell::{self, Failure, Shell};
use crate::console::{self, Request, execute};
use crate::engine::Server;
use crate::running::Running;
use crate::serve::Serve;
use crate::top;
use lexopt::prelude::{Long, Short, Value};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// A command was refused.
const REFUSED: u8 = 1;

const CONSOLE_HELP: &str = "\
Usage: ringway console [--socket PATH | -c FILE] [--json] [COMMAND...]

Asks a running server, or tells it what to do. Without COMMAND it reads commands line by line: help lists them.

  -s, --socket PATH       the server's socket (default: /run/ringway/console.sock)
  -c, --config FILE       the server's configuration, which says where its socket is
  -j, --json              answers as JSON, a line each
  -h, --help              this text

Exit codes: 0 done, 1 refused, 2 wrong use or no server.
";

const TOP_HELP: &str = "\
Usage: ringway top [--socket PATH | -c FILE]

Shows a running server's figures every second: requests, latencies, bandwidth, connections, workers, sites. q quits. Where
standard output is no terminal, it prints one second's figures.

  -s, --socket PATH       the server's socket (default: /run/ringway/console.sock)
  -c, --config FILE       the server's configuration, which says where its socket is
  -h, --help              this text

Exit codes: 0 done, 2 wrong use or no server.
";

/// Reads the rest of `ringway top`.
///
/// # Errors
/// One sentence.
pub(crate) fn parse_top(parser: &mut lexopt::Parser) -> Result<Command, String> {
    let mut socket = PathBuf::from(console::SOCKET);
    while let Some(argument) = parser.next().map_err(sentence)? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Help(TOP_HELP)),
            Short('s') | Long("socket") => socket = parser.value().map_err(sentence)?.into(),
            Short('c') | Long("config") => socket = socket_of(Path::new(&parser.value().map_err(sentence)?))?,
            other => return Err(sentence(other.unexpected())),
        }
    }
    Ok(Command::Top(socket))
}

/// Runs `ringway top`.
pub(crate) fn top(socket: &Path) -> ExitCode {
    match top::run(socket) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("ringway: {reason}");
            ExitCode::from(CANNOT_START)
        }
    }
}

/// Reads the rest of `ringway console`.
///
/// # Errors
/// One sentence.
pub(crate) fn parse_console(parser: &mut lexopt::Parser) -> Result<Command, String> {
    let mut shell = Shell::default();
    let mut socket = None;
    while let Some(argument) = parser.next().map_err(sentence)? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Help(CONSOLE_HELP)),
            Short('j') | Long("json") => shell.as_json = true,
            Short('s') | Long("socket") => socket = Some(PathBuf::from(parser.value().map_err(sentence)?)),
            Short('c') | Long("config") => {
                socket = Some(socket_of(Path::new(&parser.value().map_err(sentence)?))?);
            }
            Value(word) => shell.words.push(text(word)?),
            other => return Err(sentence(other.unexpected())),
        }
    }
    Ok(Command::Console(shell, socket.unwrap_or_else(|| console::SOCKET.into())))
}

/// Runs `ringway console`.
pub(crate) fn console(shell: &Shell, socket: &Path) -> ExitCode {
    match shell::run(shell, socket) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Refused) => ExitCode::from(REFUSED),
        Err(Failure::NoServer(reason) | Failure::Wrong(reason)) => {
            eprintln!("ringway: {reason}");
            ExitCode::from(CANNOT_START)
        }
    }
}

/// Opens the console of a server that was just started, if it shall have one.
///
/// # Errors
/// One sentence.
pub(crate) fn open_console(serve: &Serve, server: &Server) -> Result<Option<Console>, String> {
    let Some(path) = &serve.console else { return Ok(None) };
    let running = Arc::new(Running::new(server, 0, serve.posts(server)));
    let executor = Arc::new(move |request: &Request| execute::execute(&running, request));
    let opened = listen(path, executor).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("cannot open the console at {}: another server's is there.", path.display())
        }
        _ => format!("cannot open the console at {}: {error}.", path.display()),
    });
    opened.map(Some)
}

/// Where the console of a server with this configuration listens.
fn socket_of(file: &Path) -> Result<PathBuf, String> {
    let shown = file.display();
    let loaded = load::load(file, &|name| std::env::var(name).ok())?;
    let console = &loaded.config.console;
    match (loaded.report.has_errors(), console.enabled) {
        (true, _) => Err(format!("{shown} has errors; ringway check -c {shown} tells them.")),
        (false, false) => Err(format!("{shown} says that its server has no console.")),
        (false, true) => Ok(console.socket.as_path().to_owned()),
    }
}

fn text(word: OsString) -> Result<String, String> {
    word.into_string().map_err(|word| format!("{word:?} is not UTF-8."))
}
