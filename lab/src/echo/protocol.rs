//! Echo on our engine: bytes as they come, or messages that announce their length.

use crate::echo::script::{PAYLOAD_BYTES_MAX, PREFIX_BYTES};
use ringway_engine::{Conn, Events, Protocol, Turn};

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
        let is_over = conn.is_ended() || conn.is_draining();
        while conn.can_send()
            && let Some(mut bytes) = conn.take_joined()
        {
            match whole_messages(&bytes) {
                Some(0) => {
                    conn.unread(bytes);
                    // Nobody will complete it.
                    return if is_over { Turn::Close } else { Turn::Idle };
                }
                Some(count) => {
                    let whole = bytes.split_to(count);
                    conn.unread(bytes);
                    conn.send(whole);
                }
                None => return Turn::Abort,
            }
        }
        if is_over && !conn.has_input() { Turn::Close } else { Turn::Idle }
    }
}

/// Longest payload that the server of messages takes: with its prefix it fits into one slice.
pub const MESSAGE_PAYLOAD_BYTES_MAX: u32 = 64 * 1024 - PREFIX_BYTES;

const _: () = assert!(MESSAGE_PAYLOAD_BYTES_MAX < PAYLOAD_BYTES_MAX);

/// Bytes of the whole messages that `bytes` begins with; `None` at a length that may not be.
fn whole_messages(bytes: &[u8]) -> Option<usize> {
    let mut whole = 0;
    while let Some(prefix) = bytes[whole..].first_chunk() {
        let payload = u32::from_be_bytes(*prefix);
        if payload > MESSAGE_PAYLOAD_BYTES_MAX {
            return None;
        }
        let end = whole + (PREFIX_BYTES + payload) as usize;
        if end > bytes.len() {
            break;
        }
        whole = end;
    }
    Some(whole)
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
