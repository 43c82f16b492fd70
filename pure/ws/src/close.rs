//! Closing (RFC 6455 section 7): what close frames say, and who sends which when.

use crate::code::CloseCode;
use crate::fault::Fault;
use crate::frame::{CONTROL_BYTES_MAX, HEAD_BYTES_MAX, Head, Opcode};
use crate::mask;

/// The longest reason that fits a close frame, in bytes.
pub const REASON_BYTES_MAX: usize = CONTROL_BYTES_MAX - 2;

/// The longest control frame, in bytes: what [`write()`] and [`control`] need at most.
pub const CONTROL_FRAME_BYTES_MAX: usize = HEAD_BYTES_MAX + CONTROL_BYTES_MAX;

/// What a close frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close<'a> {
    /// The code; `None` when the frame is empty, which applications are told as 1005.
    pub code: Option<CloseCode>,
    /// Why, for people; empty without a code.
    pub reason: &'a str,
}

impl<'a> Close<'a> {
    /// Reads the payload of a close frame.
    ///
    /// # Errors
    /// [`Fault::CloseLength`], [`Fault::CloseCode`], [`Fault::CloseReason`].
    pub fn read(payload: &'a [u8]) -> Result<Self, Fault> {
        let Some((code, reason)) = payload.split_first_chunk() else {
            return if payload.is_empty() {
                Ok(Self { code: None, reason: "" })
            } else {
                Err(Fault::CloseLength)
            };
        };
        let code = CloseCode::new(u16::from_be_bytes(*code)).ok_or(Fault::CloseCode)?;
        let reason = std::str::from_utf8(reason).map_err(|_error| Fault::CloseReason)?;
        Ok(Self { code: Some(code), reason })
    }
}

/// Writes a whole close frame to `out` and returns its length. A reason is cut at [`REASON_BYTES_MAX`], between
/// characters; without a code there is none.
pub fn write(out: &mut [u8; CONTROL_FRAME_BYTES_MAX], close: &Close<'_>, key: Option<[u8; 4]>) -> usize {
    let mut payload = [0; CONTROL_BYTES_MAX];
    let mut length = 0;
    if let Some(code) = close.code {
        let reason = cut(close.reason);
        length = 2 + reason.len();
        payload[..2].copy_from_slice(&code.get().to_be_bytes());
        payload[2..length].copy_from_slice(reason.as_bytes());
    }
    control(out, Opcode::Close, &payload[..length], key)
}

/// Writes a whole control frame to `out` and returns its length. What is over [`CONTROL_BYTES_MAX`] is left away.
pub fn control(
    out: &mut [u8; CONTROL_FRAME_BYTES_MAX],
    opcode: Opcode,
    payload: &[u8],
    key: Option<[u8; 4]>,
) -> usize {
    let payload = &payload[..payload.len().min(CONTROL_BYTES_MAX)];
    let head = Head { key, ..Head::of_server(opcode, payload.len()) };
    let mut written = [0; HEAD_BYTES_MAX];
    let at = head.write(&mut written);
    out[..HEAD_BYTES_MAX].copy_from_slice(&written);
    let end = at + payload.len();
    out[at..end].copy_from_slice(payload);
    if let Some(key) = key {
        mask::apply(key, &mut out[at..end]);
    }
    end
}

/// `reason`, cut between characters so that it fits a close frame.
pub fn cut(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)]
}

/// Who has closed so far. One byte.
///
/// Each side sends one close frame and nothing behind it. Who closes waits for the other's frame, which is the caller's to
/// limit; the connection is over when both have been sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CloseState {
    /// Nobody has.
    #[default]
    Open,
    /// A close frame was sent, and the peer's is waited for. Its messages are still received.
    Sent,
    /// The peer's close frame was received and not yet answered.
    Received,
    /// Both were sent, or the connection was failed: the server ends the connection below, the client waits that it does.
    Over,
}

impl CloseState {
    /// Whether messages, pings and pongs may be sent.
    pub const fn may_send(self) -> bool {
        matches!(self, Self::Open)
    }

    /// Whether the connection is over.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Over)
    }

    /// This side wants to close. Returns whether a close frame is to be sent now: only the first time.
    #[must_use]
    pub const fn close(&mut self) -> bool {
        match self {
            Self::Open => *self = Self::Sent,
            Self::Received => *self = Self::Over,
            Self::Sent | Self::Over => return false,
        }
        true
    }

    /// The peer's close frame came. Returns whether it is to be answered: it then names the frame, which says the same
    /// code, and [`CloseState::close`] is to be called when it is sent.
    #[must_use]
    pub const fn received<'a>(&mut self, close: &Close<'a>) -> Option<Close<'a>> {
        match self {
            Self::Open => {
                *self = Self::Received;
                Some(Close { code: close.code, reason: "" })
            }
            Self::Sent => {
                *self = Self::Over;
                None
            }
            Self::Received | Self::Over => None,
        }
    }

    /// The peer broke the protocol. Returns the close frame to send, if one may still be sent; nothing is waited for
    /// behind it.
    #[must_use]
    pub const fn fail(&mut self, fault: Fault) -> Option<Close<'static>> {
        let may = matches!(self, Self::Open);
        *self = Self::Over;
        if may { Some(Close { code: Some(fault.code()), reason: fault.reason() }) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_read_or_refused() {
        assert_eq!(Close::read(b""), Ok(Close { code: None, reason: "" }));
        assert_eq!(Close::read(b"\x03"), Err(Fault::CloseLength));
        assert_eq!(Close::read(b"\x03\xe8"), Ok(Close { code: Some(CloseCode::NORMAL), reason: "" }));
        assert_eq!(
            Close::read(b"\x03\xe9bye"),
            Ok(Close { code: Some(CloseCode::GOING_AWAY), reason: "bye" })
        );
        assert_eq!(Close::read(b"\x03\xed"), Err(Fault::CloseCode));
        assert_eq!(Close::read(b"\x03\xe8\xff"), Err(Fault::CloseReason));
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        for length in 0..50 {
            let reason = "x".repeat(length) + &"é😀".repeat(40);
            let cut = cut(&reason);
            assert!(reason.starts_with(cut) && (120..=123).contains(&cut.len()), "{}", cut.len());
            let mut out = [0; CONTROL_FRAME_BYTES_MAX];
            let end = write(&mut out, &Close { code: Some(CloseCode::INTERNAL), reason: &reason }, None);
            assert_eq!(usize::from(out[1]), end - 2);
            assert_eq!(Close::read(&out[2..end]), Ok(Close { code: Some(CloseCode::INTERNAL), reason: cut }));
        }
        assert_eq!(cut("short"), "short");
    }

    #[test]
    fn a_close_frame_is_sent_once_and_answered_once() {
        let theirs = Close { code: Some(CloseCode::NORMAL), reason: "done" };
        let mut state = CloseState::Open;
        assert!(state.may_send() && state.close() && !state.may_send());
        assert!(!state.close(), "the second one is not sent");
        assert_eq!(state.received(&theirs), None);
        assert!(state.is_over() && !state.close());

        let mut state = CloseState::Open;
        assert_eq!(state.received(&theirs), Some(Close { code: Some(CloseCode::NORMAL), reason: "" }));
        assert!(!state.is_over() && !state.may_send());
        assert!(state.close() && state.is_over() && !state.close());
        assert_eq!(state.received(&theirs), None);
    }

    #[test]
    fn a_fault_is_told_unless_a_close_frame_was_sent() {
        let mut state = CloseState::Open;
        assert_eq!(state.fail(Fault::Utf8).and_then(|close| close.code), Some(CloseCode::INVALID_DATA));
        assert!(state.is_over());
        assert_eq!(state.fail(Fault::Utf8), None);
        let mut state = CloseState::Open;
        assert!(state.close());
        assert_eq!(state.fail(Fault::ReservedBit), None);
        assert!(state.is_over());
    }
}
