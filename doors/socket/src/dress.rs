//! What stands around a payload on its way out.

use crate::framing::{FRAME_BYTES_MAX, Framing};

/// How a connection frames what it sends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Dress<'f> {
    /// As its endpoint does.
    Raw(&'f Framing),
    /// As a WebSocket's messages: texts or bytes.
    #[cfg(feature = "websockets")]
    Socket { is_text: bool },
}

impl<'f> Dress<'f> {
    /// What stands before a payload of so many bytes, written to the end of `out`; its length. `None`: the payload is longer
    /// than that can say.
    pub(crate) fn head(self, payload: u64, out: &mut [u8; FRAME_BYTES_MAX]) -> Option<usize> {
        match self {
            Self::Raw(framing) => framing.head(payload, out),
            #[cfg(feature = "websockets")]
            Self::Socket { is_text } => Some(crate::websocket::head(payload, is_text, out)),
        }
    }

    /// What stands behind it.
    pub(crate) fn tail(self) -> &'f [u8] {
        match self {
            Self::Raw(framing) => framing.tail(),
            #[cfg(feature = "websockets")]
            Self::Socket { .. } => &[],
        }
    }
}
