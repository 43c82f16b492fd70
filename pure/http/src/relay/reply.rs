//! An answer's fields as they are given back.

use super::RelayError;
use super::hop::{Options, is, is_hop_by_hop};
use crate::octets::trim;
use crate::reply::Reply;
use crate::response::HeadWriter;
use memchr::memchr;

/// What an answer tells the gateway itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told<'b> {
    /// Bytes of the lines that were written.
    pub len: usize,
    /// `X-Accel-Redirect`: the local path of what is to be sent instead.
    pub accel_redirect: Option<&'b [u8]>,
    /// `Upgrade`: what the connection is upgraded to, in an answer with 101.
    pub upgrade: Option<&'b [u8]>,
}

/// Writes the field lines of an answer that are given back, each with its CRLF, to the front of `memory`. What frames the
/// body, `Date` and `Server` are the gateway's own to say; fields of one connection and those in `removed` (in lower case)
/// stay behind, and so does what is told to the gateway (`X-Accel-…`).
///
/// # Errors
/// [`RelayError::Full`], [`RelayError::Options`].
pub fn write_reply<'b>(
    reply: &Reply<'b>,
    removed: &[Box<[u8]>],
    memory: &mut [u8],
) -> Result<Told<'b>, RelayError> {
    let named = reply.fields().filter(|field| field.name.eq_ignore_ascii_case(b"connection"));
    let options = Options::read(named.map(|field| field.value))?;
    let mut head = HeadWriter::new(memory);
    let mut told = Told::default();
    let lines = reply.field_lines();
    let (mut run, mut at) = (0, 0);
    while let Some(length) = memchr(b'\n', &lines[at..]) {
        let end = at + length + 1;
        let Some(colon) = memchr(b':', &lines[at..end]) else { break };
        let name = &lines[at..at + colon];
        note(&mut told, name, trim(&lines[at + colon + 1..end - 2]));
        let stays = is_own(name)
            || options.names(name)
            || removed.iter().any(|removed| name.eq_ignore_ascii_case(removed));
        if stays {
            head.raw(&lines[run..at])?;
            run = end;
        }
        at = end;
    }
    head.raw(&lines[run..at])?;
    told.len = head.len();
    Ok(told)
}

fn note<'b>(told: &mut Told<'b>, name: &[u8], value: &'b [u8]) {
    let place = match name.len() {
        7 if is(name, b"upgrade") => &mut told.upgrade,
        16 if is(name, b"x-accel-redirect") => &mut told.accel_redirect,
        _ => return,
    };
    *place = Some(value);
}

/// Whether the field is the gateway's own to write, or to read.
fn is_own(name: &[u8]) -> bool {
    match name.len() {
        4 => is(name, b"date"),
        6 => is(name, b"server"),
        14 if is(name, b"content-length") => true,
        8.. if is(&name[..8], b"x-accel-") => true,
        _ => is_hop_by_hop(name),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::reply::{Limits, ReplyScan};

    fn with_reply<T>(head: &str, act: impl FnOnce(&Reply<'_>) -> T) -> Option<T> {
        let end = ReplyScan::new().find(head.as_bytes(), &Limits::default()).ok()??;
        let reply = Reply::parse(&head.as_bytes()[..end], false, &Limits::default()).ok()?;
        Some(act(&reply))
    }

    fn passed(lines: &str, removed: &[Box<[u8]>]) -> Result<String, RelayError> {
        let head = format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
        with_reply(&head, |reply| {
            let mut memory = [0; 2048];
            let told = write_reply(reply, removed, &mut memory)?;
            Ok(String::from_utf8_lossy(&memory[..told.len]).into_owned())
        })
        .expect("an answer")
    }

    #[test]
    fn fields_are_given_back_but_for_those_of_one_connection() {
        let lines = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nServer: x\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\
            Connection: keep-alive, X-Mine\r\nKeep-Alive: timeout=5\r\nSet-Cookie: a=b\r\nX-Mine: 1\r\nSet-Cookie: c=d\r\n\
            X-Accel-Buffering: no\r\nUpgrade: h2c\r\nTrailer: a\r\nETag: \"x\"\r\nX-Secret: 1\r\n";
        let removed = [Box::from(&b"x-secret"[..])];
        let expected = "Content-Type: text/html\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\nETag: \"x\"\r\n";
        assert_eq!(passed(lines, &removed), Ok(expected.to_owned()));
        assert_eq!(passed("Transfer-Encoding: chunked\r\n", &[]), Ok(String::new()));
        assert_eq!(passed("", &[]), Ok(String::new()));
    }

    #[test]
    fn what_is_told_to_the_gateway_is_told() {
        let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Accel-Redirect:  /f \r\n\r\n";
        with_reply(head, |reply| {
            let told = write_reply(reply, &[], &mut [0; 100]).unwrap();
            assert_eq!((told.upgrade, told.accel_redirect), (Some(&b"websocket"[..]), Some(&b"/f"[..])));
            assert_eq!(told.len, 0);
        })
        .expect("an answer");
    }

    #[test]
    fn too_little_memory_and_too_many_options_are_said() {
        let head = "HTTP/1.1 200 OK\r\nA: b\r\nConnection: c\r\nC: d\r\nE: f\r\n\r\n";
        for len in 0..12 {
            let full = with_reply(head, |reply| write_reply(reply, &[], &mut vec![0; len]).err());
            assert_eq!(full.unwrap(), Some(RelayError::Full), "{len}");
        }
        assert_eq!(
            with_reply(head, |reply| write_reply(reply, &[], &mut [0; 12]).map(|told| told.len)),
            Some(Ok(12))
        );
        let options: Vec<String> =
            (0..=super::super::CONNECTION_OPTIONS_MAX).map(|n| format!("x{n}")).collect();
        assert_eq!(passed(&format!("Connection: {}\r\n", options.join(",")), &[]), Err(RelayError::Options));
    }

    proptest! {
        #[test]
        fn what_goes_on_are_lines_of_the_answer_in_their_order(
            lines in proptest::collection::vec("(Connection|X-A|Date|Content-Type|TE):[ \\t]?[ -~]{0,9}\r\n", 0..6),
        ) {
            let head = format!("HTTP/1.1 200 OK\r\n{}\r\n", lines.concat());
            let Some(passed) = with_reply(&head, |reply| {
                let mut memory = [0; 256];
                write_reply(reply, &[], &mut memory).map(|told| memory[..told.len].to_vec())
            }) else { return Ok(()) };
            let passed = String::from_utf8(passed.unwrap()).unwrap();
            let mut left = passed.as_str();
            for line in &lines {
                left = left.strip_prefix(line.as_str()).unwrap_or(left);
            }
            prop_assert_eq!(left, "");
            prop_assert!(!passed.contains("Connection:") && !passed.contains("Date:"));
        }
    }
}
