//! The console of a supervisor: what is the supervisor's it does, the rest it passes on to the server process.

use super::wish::{Handle, Outcome};
use crate::console::command::{self, Command};
use crate::console::listen::{Console, Executor, listen};
use crate::console::{Answer, Request};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// What the supervisor itself knows, for other programs of ours.
pub const STATUS: &str = "supervisor";

/// Opens it.
///
/// # Errors
/// A sentence.
pub(super) fn open(path: &Path, handle: Handle) -> Result<Console, String> {
    let executor: Executor = Arc::new(move |request: &Request| execute(&handle, request));
    listen(path, executor).map_err(|error| {
        let reason = match error.kind() {
            io::ErrorKind::AddrInUse => "another server's is there".to_owned(),
            _ => error.to_string(),
        };
        format!("there is no console: cannot open {}: {reason}", path.display())
    })
}

fn execute(handle: &Handle, request: &Request) -> Answer {
    if request.command == STATUS {
        let outcome = handle.status();
        let text = format!("{:#}", outcome.data);
        return Answer::done(outcome.data, text);
    }
    match command::parse(request) {
        Ok(Command::Reload) => answer(handle.reload()),
        Ok(Command::Upgrade) => answer(handle.upgrade()),
        Ok(Command::Reopen) => answer(handle.reopen_logs()),
        Ok(Command::Drain(_)) => answer(handle.stop()),
        Ok(_) => forward(handle, request),
        Err(reason) => Answer::refused(reason),
    }
}

fn forward(handle: &Handle, request: &Request) -> Answer {
    let request = match serde_json::to_value(request) {
        Ok(request) => request,
        Err(error) => return Answer::refused(format!("the request cannot be passed on: {error}.")),
    };
    let outcome = handle.ask_server(request);
    if !outcome.ok {
        return answer(outcome);
    }
    serde_json::from_value(outcome.data)
        .unwrap_or_else(|error| Answer::refused(format!("the server process answers nonsense: {error}.")))
}

fn answer(outcome: Outcome) -> Answer {
    let text = outcome.shown();
    if outcome.ok { Answer::done(outcome.data, text) } else { Answer::refused(text) }
}
