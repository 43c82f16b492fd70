//! Echo on our engine: bytes as they come, or messages that announce their length.

use crate::echo::script::{PAYLOAD_BYTES_MAX, PREFIX_BYTES};
use ringway_engine::{Conn, Events, Protocol, Turn};
use std::io::ErrorKind;

/// Says every byte again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bytes;

/// Says every message again, but a message only when it is whole and as long as it may be. What follows a length that may
/// not be is unknown, so it resets the connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Messages;

impl Protocol for Bytes {
    fn turn(&self, conn: &mut Conn<'_>, _events: Events) -> Turn {
        if conn.is_broken() {
            return Turn::Close;
        }
        while conn.can_send() {
            match conn.take() {
                Some(bytes) => conn.send(bytes),
                None => break,
            }
        }
        let is_over = conn.is_ended() || conn.is_draining();
        if is_over && !conn.has_input() { Turn::Close } else { Turn::Idle }
    }
}

impl Protocol for Messages {
    fn turn(&self, conn: &mut Conn<'_>, _events: Events) -> Turn {
        if conn.is_broken() {
            return Turn::Close;
        }
        while conn.can_send()
            && let Some(mut bytes) = conn.take_joined()
        {
            let Some(count) = whole_messages(&bytes) else { return Turn::Abort };
            let whole = bytes.split_to(count);
            let next = message_bytes(&bytes);
            conn.unread(bytes);
            conn.send(whole);
            match next {
                // It would never be in the inbox at once: a task collects it.
                Some(bytes) if bytes > LARGE_BYTES => return say_again(conn, bytes),
                _ if count == 0 => break,
                _ => {}
            }
        }
        let is_over = conn.is_ended() || conn.is_draining();
        // Nobody completes a message whose sender has finished; what could not be sent yet has its turn later.
        if is_over && (!conn.has_input() || conn.is_ended() && conn.can_send()) {
            Turn::Close
        } else {
            Turn::Idle
        }
    }
}

/// Collects the message of so many bytes that comes next and says it again.
fn say_again(conn: &mut Conn<'_>, bytes: usize) -> Turn {
    let mut stream = conn.detach();
    Turn::task(async move {
        match stream.read_exact(bytes).await {
            Ok(message) => match stream.write(message).await {
                Ok(()) => Turn::Idle,
                Err(_broken) => Turn::Abort,
            },
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Turn::Close,
            Err(_broken) => Turn::Abort,
        }
    })
}

/// Messages up to this many bytes are collected in the connection's inbox.
const LARGE_BYTES: usize = 8 * 1024;

/// Longest payload that the server of messages takes: with its prefix it fits into one slice.
pub const MESSAGE_PAYLOAD_BYTES_MAX: u32 = 64 * 1024 - PREFIX_BYTES;

const _: () = assert!(MESSAGE_PAYLOAD_BYTES_MAX < PAYLOAD_BYTES_MAX);

/// Bytes of the whole messages that `bytes` begins with; `None` at a length that may not be.
fn whole_messages(bytes: &[u8]) -> Option<usize> {
    let mut whole = 0;
    while let Some(next) = message_bytes(&bytes[whole..]) {
        if next > (PREFIX_BYTES + MESSAGE_PAYLOAD_BYTES_MAX) as usize {
            return None;
        }
        if next > bytes.len() - whole {
            break;
        }
        whole += next;
    }
    Some(whole)
}

/// Bytes of the message that `bytes` begins with, prefix included, if the prefix is there.
fn message_bytes(bytes: &[u8]) -> Option<usize> {
    let prefix = bytes.first_chunk()?;
    Some(u32::from_be_bytes(*prefix) as usize + PREFIX_BYTES as usize)
}

#[test]
fn only_whole_messages_count() {
    let text = b"\0\0\0\x02ab\0\0\0\0\0\0\0\x01c\0\0";
    let expected = [0, 0, 0, 0, 0, 0, 6, 6, 6, 6, 10, 10, 10, 10, 10, 15, 15, 15];
    for (bytes, whole) in expected.into_iter().enumerate() {
        assert_eq!(whole_messages(&text[..bytes]), Some(whole), "of {bytes} bytes");
    }
    assert_eq!(whole_messages(&[0, 1, 0, 0]), None, "a message of 65,536 bytes");
    assert_eq!(whole_messages(b"\0\0\0\x01x\xff\xff\xff\xff"), None);
}
