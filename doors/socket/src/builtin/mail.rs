//! A maildrop that is read in lines, in the style of POP3 (RFC 1939): one user, messages that were read from files at the start.

use super::{BuiltinError, Settings};
use crate::connection::Connection;
use crate::handler::{Handler, HandlerFactory};
use crate::message::Message;
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

/// The settings it knows.
pub(super) const SETTINGS: &[&str] = &["user", "password", "directory"];

/// Most messages of the maildrop: a connection's word says which of them it has marked.
const MESSAGES_MAX: usize = 48;

/// Bytes of all of them.
const DROP_BYTES_MAX: u64 = 16 << 20;

/// Wrong passwords after which a connection is closed.
const FAILURES_MAX: u64 = 3;

/// Where a session's parts stand in its word: above the marks of deleted messages.
const STAGE_AT: u32 = 48;
const FAILURES_AT: u32 = 52;

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nobody has said who it is.
    Unknown,
    /// The right user was named, or a wrong one: only the password is told of.
    Named { is_known: bool },
    /// The maildrop is open.
    Open,
}

/// What a connection's word says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Session {
    /// The messages marked as deleted, as bits.
    deleted: u64,
    stage: Stage,
    failures: u64,
}

impl Session {
    fn from_word(word: u64) -> Self {
        let stage = match word >> STAGE_AT & 0xf {
            0 => Stage::Unknown,
            1 => Stage::Named { is_known: false },
            2 => Stage::Named { is_known: true },
            _ => Stage::Open,
        };
        Self { deleted: word & ((1 << STAGE_AT) - 1), stage, failures: word >> FAILURES_AT }
    }

    fn word(self) -> u64 {
        let stage = match self.stage {
            Stage::Unknown => 0,
            Stage::Named { is_known: false } => 1,
            Stage::Named { is_known: true } => 2,
            Stage::Open => 3,
        };
        self.deleted | stage << STAGE_AT | self.failures << FAILURES_AT
    }
}

/// The maildrop.
struct Drop {
    user: String,
    password: String,
    messages: Vec<Vec<u8>>,
}

/// What a command is answered with.
struct Answer {
    text: Vec<u8>,
    closes: bool,
}

impl Answer {
    fn good(text: &str) -> Self {
        Self { text: format!("+OK {text}\r\n").into(), closes: false }
    }

    fn bad(text: &str) -> Self {
        Self { text: format!("-ERR {text}\r\n").into(), closes: false }
    }
}

impl Drop {
    fn is_there(&self, session: Session, index: usize) -> bool {
        index < self.messages.len() && session.deleted >> index & 1 == 0
    }

    /// Those that are not marked: their numbers from 0, and their lengths.
    fn listed(&self, session: Session) -> impl Iterator<Item = (usize, usize)> {
        let all = self.messages.iter().map(Vec::len).enumerate();
        all.filter(move |(index, _)| self.is_there(session, *index))
    }

    fn total(&self, session: Session) -> String {
        let (count, bytes) =
            self.listed(session).fold((0, 0), |(count, sum), (_, bytes)| (count + 1, sum + bytes));
        format!("{count} {bytes}")
    }

    /// Carries out a line.
    fn command(&self, session: &mut Session, line: &str) -> Answer {
        let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
        let verb = verb.to_ascii_uppercase();
        match (verb.as_str(), session.stage) {
            ("QUIT", _) => Answer { closes: true, ..Answer::good("bye") },
            ("USER", Stage::Unknown | Stage::Named { .. }) => {
                session.stage = Stage::Named { is_known: argument == self.user };
                Answer::good("send the password")
            }
            ("PASS", Stage::Named { is_known }) => self.enter(session, is_known, argument),
            (_, Stage::Unknown | Stage::Named { .. }) => Answer::bad("USER and PASS come first"),
            ("STAT", Stage::Open) => Answer::good(&self.total(*session)),
            ("LIST", Stage::Open) if argument.is_empty() => self.list(*session),
            ("NOOP", Stage::Open) => Answer::good(""),
            ("RSET", Stage::Open) => {
                session.deleted = 0;
                Answer::good(&self.total(*session))
            }
            ("LIST" | "RETR" | "DELE", Stage::Open) => self.on_one(session, &verb, argument),
            _ => Answer::bad("no such command"),
        }
    }

    fn enter(&self, session: &mut Session, is_known: bool, password: &str) -> Answer {
        if is_known & is_same(password.as_bytes(), self.password.as_bytes()) {
            session.stage = Stage::Open;
            return Answer::good(&format!("maildrop has {}", self.total(*session)));
        }
        session.stage = Stage::Unknown;
        session.failures += 1;
        Answer { closes: session.failures >= FAILURES_MAX, ..Answer::bad("wrong user or password") }
    }

    fn list(&self, session: Session) -> Answer {
        let mut text = format!("+OK {}\r\n", self.total(session));
        for (index, bytes) in self.listed(session) {
            // Writing to a string does not fail.
            let _written = write!(text, "{} {bytes}\r\n", index + 1);
        }
        text.push_str(".\r\n");
        Answer { text: text.into(), closes: false }
    }

    /// What is about one message.
    fn on_one(&self, session: &mut Session, verb: &str, argument: &str) -> Answer {
        let number = argument.trim().parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        let Some(index) = number.filter(|index| self.is_there(*session, *index)) else {
            return Answer::bad("no such message");
        };
        let message = &self.messages[index];
        match verb {
            "LIST" => Answer::good(&format!("{} {}", index + 1, message.len())),
            "DELE" => {
                session.deleted |= 1 << index;
                Answer::good("marked")
            }
            _ => {
                let mut text = format!("+OK {} bytes\r\n", message.len()).into_bytes();
                stuff(message, &mut text);
                Answer { text, closes: false }
            }
        }
    }
}

/// A message as it stands in an answer of several lines: those that begin with a dot have another one before it, and a dot alone
/// ends it (RFC 1939 section 3).
fn stuff(message: &[u8], out: &mut Vec<u8>) {
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        let end = line.strip_suffix(b"\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        out.extend_from_slice(end.unwrap_or(line));
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
}

/// Whether both are the same, in a time that says nothing of where they differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let differ = one.iter().zip(other).fold(0, |differ, (one, other)| differ | (one ^ other));
    std::hint::black_box(differ) == 0 && one.len() == other.len()
}

struct Mail {
    drop: Arc<Drop>,
}

impl Handler for Mail {
    fn opened(&self, conn: &mut Connection<'_>) {
        // Where no more can be sent, the connection ends for a reason of its own.
        let _closed = conn.send_raw(b"+OK maildrop ready\r\n");
    }

    fn message(&self, conn: &mut Connection<'_>, message: Message<'_>) {
        let line = String::from_utf8_lossy(message.payload().trim_ascii_end());
        let mut session = Session::from_word(conn.user());
        let answer = self.drop.command(&mut session, &line);
        conn.set_user(session.word());
        if conn.send_raw(&answer.text).is_err() || answer.closes {
            conn.close();
        }
    }
}

pub(super) fn make(settings: &Settings) -> Result<HandlerFactory, BuiltinError> {
    let missing = |name: &str| BuiltinError::Value { name: name.into(), wanted: "set".into() };
    let messages = match settings.text("directory") {
        None => vec![b"Subject: welcome\r\n\r\nThis maildrop has no directory yet.\r\n".to_vec()],
        Some(directory) => read_all(Path::new(directory)).map_err(|error| BuiltinError::Value {
            name: "directory".into(),
            wanted: format!("one of up to {MESSAGES_MAX} messages and {DROP_BYTES_MAX} bytes: {error}")
                .into(),
        })?,
    };
    let drop = Arc::new(Drop {
        user: settings.text("user").ok_or_else(|| missing("user"))?.to_owned(),
        password: settings.text("password").ok_or_else(|| missing("password"))?.to_owned(),
        messages,
    });
    Ok(Arc::new(move |_worker| Ok(Rc::new(Mail { drop: Arc::clone(&drop) }) as Rc<dyn Handler>)))
}

/// All files of a directory by their names, each a message.
fn read_all(directory: &Path) -> io::Result<Vec<Vec<u8>>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            paths.push(entry.path());
        }
    }
    paths.sort();
    let mut bytes = 0;
    if paths.len() > MESSAGES_MAX {
        return Err(io::Error::other(format!("it has {}", paths.len())));
    }
    let read = |path: &std::path::PathBuf| {
        bytes += fs::metadata(path)?.len();
        if bytes > DROP_BYTES_MAX { Err(io::Error::other("it has more bytes")) } else { fs::read(path) }
    };
    paths.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(drop: &Drop, session: &mut Session, line: &str) -> String {
        String::from_utf8(drop.command(session, line).text).expect("text")
    }

    fn full() -> Drop {
        let messages = vec![b"one\r\n".to_vec(), b".two\nend".to_vec()];
        Drop { user: "ada".to_owned(), password: "secret".to_owned(), messages }
    }

    #[test]
    fn a_session_reads_and_marks() {
        let (drop, mut session) = (full(), Session::from_word(0));
        assert!(said(&drop, &mut session, "STAT").starts_with("-ERR USER"));
        assert!(said(&drop, &mut session, "user ada").starts_with("+OK"));
        assert!(said(&drop, &mut session, "PASS secret").starts_with("+OK maildrop has 2 13"));
        assert_eq!(said(&drop, &mut session, "LIST"), "+OK 2 13\r\n1 5\r\n2 8\r\n.\r\n");
        assert_eq!(said(&drop, &mut session, "RETR 2"), "+OK 8 bytes\r\n..two\r\nend\r\n.\r\n");
        assert_eq!(said(&drop, &mut session, "DELE 1"), "+OK marked\r\n");
        assert_eq!(said(&drop, &mut session, "RETR 1"), "-ERR no such message\r\n");
        session = Session::from_word(session.word());
        assert_eq!(said(&drop, &mut session, "STAT"), "+OK 1 8\r\n");
        assert_eq!(said(&drop, &mut session, "RSET"), "+OK 2 13\r\n");
        assert!(drop.command(&mut session, "QUIT").closes);
    }

    #[test]
    fn wrong_passwords_end_the_connection() {
        let (drop, mut session) = (full(), Session::from_word(0));
        for (attempt, (user, password)) in
            [("ada", "secre"), ("bob", "secret"), ("ada", "secret!")].into_iter().enumerate()
        {
            said(&drop, &mut session, &format!("USER {user}"));
            let answer = drop.command(&mut session, &format!("PASS {password}"));
            assert!(answer.text.starts_with(b"-ERR wrong"));
            assert_eq!(answer.closes, attempt == 2);
            session = Session::from_word(session.word());
        }
    }
}
