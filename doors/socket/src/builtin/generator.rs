//! What sends without being asked (RFC 864): lines of a known pattern, as fast as the peer takes them.

use super::{BuiltinError, Settings};
use crate::connection::Connection;
use crate::handler::{Handler, HandlerFactory, SendError};
use crate::message::Message;
use std::rc::Rc;
use std::sync::Arc;

/// The settings it knows.
pub(super) const SETTINGS: &[&str] = &["line_bytes", "bytes_max"];

/// Bytes that are made ready at once.
const BATCH_BYTES: usize = 32 * 1024;

/// Printable characters, beginning with the space.
const CHARACTERS: u64 = 95;

struct Generator {
    line_bytes: u64,
    /// 0: no end.
    bytes_max: u64,
}

/// The byte at a place of the endless text: line for line the characters stand one further on, each line ends with CRLF.
fn byte_at(place: u64, line_bytes: u64) -> u8 {
    let (line, column) = (place / line_bytes, place % line_bytes);
    match line_bytes - column {
        2 => b'\r',
        1 => b'\n',
        _ => u8::try_from((line + column) % CHARACTERS).unwrap_or(0) + b' ',
    }
}

impl Generator {
    /// Sends on from where the connection is.
    fn send(&self, conn: &mut Connection<'_>) {
        let from = conn.user();
        let left = if self.bytes_max == 0 { u64::MAX } else { self.bytes_max - from.min(self.bytes_max) };
        if left == 0 {
            return conn.close();
        }
        let count = left.min(BATCH_BYTES as u64);
        let bytes: Vec<u8> = (from..from + count).map(|place| byte_at(place, self.line_bytes)).collect();
        match conn.send(&bytes) {
            Ok(()) => conn.set_user(from + count),
            // Later.
            Err(SendError::Full) => {}
            Err(_) => return conn.close(),
        }
        conn.call_when_sent();
    }
}

impl Handler for Generator {
    fn opened(&self, conn: &mut Connection<'_>) {
        self.send(conn);
    }

    fn written(&self, conn: &mut Connection<'_>) {
        self.send(conn);
    }

    /// What the peer says is not listened to.
    fn message(&self, _conn: &mut Connection<'_>, _message: Message<'_>) {}

    /// Who has nothing to say may listen on; it ends when the peer closes.
    fn ended(&self, conn: &mut Connection<'_>) {
        let _goes_on = conn;
    }
}

pub(super) fn make(settings: &Settings) -> Result<HandlerFactory, BuiltinError> {
    let line_bytes = settings.number("line_bytes", 74, 3..=65_536)?;
    let bytes_max = settings.number("bytes_max", 0, 0..=u64::MAX)?;
    Ok(Arc::new(move |_worker| Ok(Rc::new(Generator { line_bytes, bytes_max }) as Rc<dyn Handler>)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_the_rfc() {
        let text: Vec<u8> = (0..2 * 74).map(|place| byte_at(place, 74)).collect();
        assert!(text.starts_with(b" !\"#$%&'()*+"));
        assert_eq!(&text[70..78], b"fg\r\n!\"#$");
        assert_eq!(&text[146..], b"\r\n");
    }
}
