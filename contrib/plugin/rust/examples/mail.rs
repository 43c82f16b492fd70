//! A mailbox by lines, as POP3 has it (RFC 1939), with framing = "lines". The configuration has its mails:
//! `mails = ["The first", "And the second"]`. Everybody who says a name and a password sees them all, as this is an example.

use ringway_sdk::{Connection, ConnectionHandler, Endpoint, Fault, Message, Setup};
use std::time::Duration;

/// How long a client may say nothing (RFC 1939 section 3).
const PATIENCE: Duration = Duration::from_secs(600);

struct Mail {
    mails: Vec<String>,
}

#[derive(Default)]
enum Stage {
    #[default]
    Nobody,
    Named,
    In {
        deleted: Vec<usize>,
    },
}

impl ConnectionHandler for Mail {
    type Worker = ();
    type State = Stage;

    const MESSAGE_BYTES_MAX: u64 = 255;

    fn create(setup: &Setup<'_>, _endpoint: Endpoint<Stage>) -> Result<Self, String> {
        // Every second part between quotes is a mail.
        let mails: Vec<String> = setup.config().split('"').skip(1).step_by(2).map(str::to_owned).collect();
        if mails.is_empty() {
            return Err("the mailbox is empty: give it mails = [\"...\"]".to_owned());
        }
        Ok(Self { mails })
    }

    fn worker(&self) -> Self::Worker {}

    fn opened(&self, (): &(), conn: &mut Connection<'_>, _stage: &mut Stage) {
        conn.set_timeout(Some(PATIENCE));
        let _closed = say(conn, "+OK a mailbox of Ringway's");
    }

    fn message(&self, (): &(), conn: &mut Connection<'_>, stage: &mut Stage, message: Message<'_>) {
        conn.set_timeout(Some(PATIENCE));
        let line = String::from_utf8_lossy(&message);
        let mut words = line.split_ascii_whitespace();
        let command = words.next().unwrap_or_default().to_ascii_uppercase();
        let number = words.next().and_then(|word| word.parse::<usize>().ok());
        let answered = match (stage, command.as_str()) {
            (_, "QUIT") => {
                let said = say(conn, "+OK until next time");
                conn.close();
                said
            }
            (_, "NOOP") => say(conn, "+OK"),
            (stage @ Stage::Nobody, "USER") => {
                *stage = Stage::Named;
                say(conn, "+OK and the password?")
            }
            (stage @ Stage::Named, "PASS") => {
                *stage = Stage::In { deleted: Vec::new() };
                say(conn, "+OK you are in")
            }
            (Stage::In { deleted }, command) => self.read(conn, deleted, command, number),
            _ => say(conn, "-ERR not now"),
        };
        if answered.is_err() {
            conn.close();
        }
    }
}

impl Mail {
    /// A command of somebody who is in.
    fn read(
        &self,
        conn: &mut Connection<'_>,
        deleted: &mut Vec<usize>,
        command: &str,
        number: Option<usize>,
    ) -> Result<(), Fault> {
        let there = |number: &usize| !deleted.contains(number);
        let mails = || (1..).zip(&self.mails).filter(|(number, _)| there(number));
        let chosen = number.and_then(|wanted| mails().find(|(number, _)| *number == wanted));
        match (command, chosen) {
            ("STAT", _) => {
                let bytes: usize = mails().map(|(_, mail)| mail.len()).sum();
                say(conn, &format!("+OK {} {bytes}", mails().count()))
            }
            ("LIST", _) => {
                say(conn, &format!("+OK {} mails", mails().count()))?;
                mails().try_for_each(|(number, mail)| say(conn, &format!("{number} {}", mail.len())))?;
                say(conn, ".")
            }
            ("RETR", Some((_, mail))) => {
                say(conn, &format!("+OK {} bytes", mail.len()))?;
                // A line that begins with a dot gets another one (section 3).
                mail.lines().try_for_each(|line| {
                    say(conn, &if line.starts_with('.') { format!(".{line}") } else { line.to_owned() })
                })?;
                say(conn, ".")
            }
            ("DELE", Some((number, _))) => {
                deleted.push(number);
                say(conn, "+OK it is gone")
            }
            ("RSET", _) => {
                deleted.clear();
                say(conn, "+OK they are back")
            }
            ("RETR" | "DELE", None) => say(conn, "-ERR there is no such mail"),
            _ => say(conn, "-ERR what is that?"),
        }
    }
}

/// The endpoint's framing adds the line feed.
fn say(conn: &mut Connection<'_>, line: &str) -> Result<(), Fault> {
    conn.send(format!("{line}\r").as_bytes())
}

ringway_sdk::export!("mail"; connection: Mail);
