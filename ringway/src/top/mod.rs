//! `ringway top`: a running server's figures, second by second, on a terminal.

pub mod screen;
pub mod terminal;

use crate::console::Request;
use crate::console::client::Connection;
use crate::snapshot::{Rates, Snapshot};
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};
use terminal::{Key, Terminal};

/// From picture to picture.
const PERIOD: Duration = Duration::from_secs(1);

/// Shows the server whose console listens at `socket` until somebody presses `q`. Where standard output is no terminal, it
/// prints one picture, of one second.
///
/// # Errors
/// A sentence: there is no server, or it has gone.
pub fn run(socket: &Path) -> Result<(), String> {
    let mut server = Connection::open(socket)?;
    let mut before = ask(&mut server)?;
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        std::thread::sleep(PERIOD);
        let now = ask(&mut server)?;
        print(&screen::plain(&now, &Rates::between(&before, &now)));
        return Ok(());
    }
    let terminal = Terminal::open().map_err(|error| format!("this terminal cannot be used: {error}."))?;
    let mut now = before.clone();
    loop {
        let rates = Rates::between(&before, &now);
        print(&screen::picture(&now, &rates, terminal.size()));
        let next = Instant::now() + PERIOD;
        loop {
            match terminal.key(next.saturating_duration_since(Instant::now())) {
                Key::Quit => return Ok(()),
                // Another size, or a picture that something else has spoilt.
                Key::Redraw => print(&screen::picture(&now, &rates, terminal.size())),
                Key::Other => {}
                Key::None => break,
            }
        }
        let next = ask(&mut server)?;
        before = std::mem::replace(&mut now, next);
    }
}

fn ask(server: &mut Connection) -> Result<Snapshot, String> {
    let answer = server.ask(&Request { command: "snapshot".to_owned(), arguments: Vec::new() })?;
    if !answer.ok {
        return Err(answer.text.trim_end().to_owned());
    }
    serde_json::from_value(answer.data)
        .map_err(|error| format!("the server is of another version; its figures cannot be read: {error}."))
}

/// Prints; a reader that went away is no error.
fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _reader_gone = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
