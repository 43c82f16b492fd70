//! `ringway console`: one command from the command line, or line after line from standard input.

use crate::console::client::Connection;
use crate::console::command::{self, Command};
use crate::console::{Answer, Request};
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;

/// Clears a terminal and puts the cursor into its corner.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// What the shell is asked to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shell {
    /// Answers as JSON, a line each.
    pub as_json: bool,
    /// The one command to carry out; empty: read them from standard input.
    pub words: Vec<String>,
}

/// Why the shell ended otherwise than well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There is no server to talk to, or it has gone: a sentence.
    NoServer(String),
    /// What was typed is no command: a sentence.
    Wrong(String),
    /// A command was refused; that was told.
    Refused,
}

/// Runs the shell on a server's socket.
///
/// # Errors
/// [`Failure`]. Of several lines from a file or pipe the first failure ends it; a person may try again.
pub fn run(shell: &Shell, socket: &Path) -> Result<(), Failure> {
    if let Some((first, arguments)) = shell.words.split_first() {
        let request = Request { command: first.clone(), arguments: arguments.to_vec() };
        let command = command::parse(&request).map_err(Failure::Wrong)?;
        let mut server = Lazy { socket, connection: None };
        return carry_out(shell, &mut server, &request, &command).map(|_goes_on| ());
    }
    let mut server = Lazy { socket, connection: None };
    server.connection().map_err(Failure::NoServer)?;
    let is_person = io::stdin().is_terminal() && io::stdout().is_terminal();
    if is_person {
        print("Ringway's console: help lists the commands, quit leaves.\n");
    }
    let mut lines = io::stdin().lock().lines();
    loop {
        if is_person {
            print("ringway> ");
        }
        let Some(Ok(line)) = lines.next() else { return Ok(()) };
        let outcome = match command::parse_line(&line) {
            Ok(None) => continue,
            Ok(Some((request, command))) => carry_out(shell, &mut server, &request, &command),
            Err(reason) => Err(Failure::Wrong(reason)),
        };
        match outcome {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(failure) if !is_person => return Err(failure),
            Err(Failure::Refused) => {}
            // The next command connects again: the server may have been restarted.
            Err(Failure::NoServer(reason) | Failure::Wrong(reason)) => print(&format!("{reason}\n")),
        }
    }
}

/// A connection that is made when first wanted, and again after it broke.
struct Lazy<'a> {
    socket: &'a Path,
    connection: Option<Connection>,
}

impl Lazy<'_> {
    fn connection(&mut self) -> Result<&mut Connection, String> {
        if self.connection.is_none() {
            self.connection = Some(Connection::open(self.socket)?);
        }
        self.connection.as_mut().ok_or_else(String::new)
    }

    fn ask(&mut self, request: &Request) -> Result<Answer, String> {
        let answer = self.connection()?.ask(request);
        if answer.is_err() {
            self.connection = None;
        }
        answer
    }
}

/// Whether the shell goes on.
fn carry_out(
    shell: &Shell,
    server: &mut Lazy<'_>,
    request: &Request,
    command: &Command,
) -> Result<bool, Failure> {
    match command {
        Command::Quit => return Ok(false),
        Command::Clear => print(CLEAR),
        Command::Help if !shell.as_json => print(&command::help()),
        _ => {
            let answer = server.ask(request).map_err(Failure::NoServer)?;
            match shell.as_json {
                true => print(&format!("{}\n", answer.data)),
                false => print(&answer.text),
            }
            if !answer.ok {
                return Err(Failure::Refused);
            }
        }
    }
    Ok(true)
}

/// Prints; a reader that went away is no error.
fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _reader_gone = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
