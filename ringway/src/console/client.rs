//! A connection to a console.

use crate::console::{ANSWER_BYTES_MAX, Answer, Request};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long an answer may take: a reload or a hand-over is done when it comes.
const ANSWER_WITHIN: Duration = Duration::from_mins(2);

/// A connection to a console.
#[derive(Debug)]
pub struct Connection {
    reader: BufReader<UnixStream>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// A sentence that says what to do.
    pub fn open(path: &Path) -> Result<Self, String> {
        let connected = UnixStream::connect(path).and_then(|stream| {
            stream.set_read_timeout(Some(ANSWER_WITHIN))?;
            stream.set_write_timeout(Some(ANSWER_WITHIN))?;
            Ok(stream)
        });
        match connected {
            Ok(stream) => Ok(Self { reader: BufReader::new(stream) }),
            Err(error) => Err(sentence(path, &error)),
        }
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// A sentence: the server has gone, or does not answer.
    pub fn ask(&mut self, request: &Request) -> Result<Answer, String> {
        let asked = serde_json::to_vec(request).map_err(io::Error::from).and_then(|mut line| {
            line.push(b'\n');
            self.reader.get_mut().write_all(&line)
        });
        // A server that refuses a client says why before it closes.
        let mut line = Vec::new();
        let read = (&mut self.reader).take(ANSWER_BYTES_MAX).read_until(b'\n', &mut line);
        match read {
            Ok(0) => Err("the server has closed the connection.".to_owned()),
            Ok(_) => {
                serde_json::from_slice(&line).map_err(|error| format!("the answer cannot be read: {error}."))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(format!("the server has not answered for {} s.", ANSWER_WITHIN.as_secs()))
            }
            Err(error) => Err(format!("the server has gone: {}.", asked.err().unwrap_or(error))),
        }
    }
}

fn sentence(path: &Path, error: &io::Error) -> String {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => format!(
            "no server listens at {path}: is one running, with a console, and is that its socket? (--socket PATH; \
             console.socket in its configuration; ringway serve --console PATH)"
        ),
        io::ErrorKind::PermissionDenied => {
            format!("this user may not open {path}: only the user who started the server, and root, may.")
        }
        _ => format!("cannot connect to {path}: {error}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_there_is_told_with_what_to_look_at() {
        let error = Connection::open(Path::new("/nowhere/console.sock")).expect_err("there is none");
        assert!(
            error.contains("no server listens at /nowhere/console.sock") && error.contains("--console"),
            "{error}"
        );
    }
}
