//! What two ends agree on about compression (RFC 7692 section 7.1), offered, answered and checked.

use std::io::Write as _;

use crate::Role;
use crate::handshake::list::{Extension, Parameter};

/// The extension's name.
pub const NAME: &str = "permessage-deflate";

/// The widest window, in bits: 32 KiB.
pub const WINDOW_BITS_MAX: u8 = 15;

/// The narrowest window that is compressed for, in bits. For a peer that wants 8, messages are sent as they are.
pub const WINDOW_BITS_MIN: u8 = 9;

/// What this side is ready to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether the server may keep its context from one message to the next.
    pub server_takeover: bool,
    /// Whether the client may.
    pub client_takeover: bool,
    /// The server's widest window in bits, 9 to 15.
    pub server_window_bits_max: u8,
    /// The client's widest window in bits, 9 to 15; a client that cannot narrow its own uses 15.
    pub client_window_bits_max: u8,
    /// How hard to compress, 1 to 9.
    pub level: u8,
    /// Shorter messages are sent as they are, in bytes.
    pub message_bytes_min: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            server_takeover: false,
            client_takeover: false,
            server_window_bits_max: WINDOW_BITS_MAX,
            client_window_bits_max: WINDOW_BITS_MAX,
            level: 3,
            message_bytes_min: 64,
        }
    }
}

impl Options {
    /// The windows, brought into their range.
    fn windows(&self) -> (u8, u8) {
        let within = |bits: u8| bits.clamp(WINDOW_BITS_MIN, WINDOW_BITS_MAX);
        (within(self.server_window_bits_max), within(self.client_window_bits_max))
    }
}

/// What was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// Whether the server may refer to earlier messages in what it sends.
    pub server_takeover: bool,
    /// Whether the client may.
    pub client_takeover: bool,
    /// The server's window in bits, 8 to 15.
    pub server_window_bits: u8,
    /// The client's window in bits, 8 to 15.
    pub client_window_bits: u8,
    /// Whether the client said that it can narrow its window.
    client_bits_offered: bool,
}

/// The parameters of one offer or answer.
#[derive(Clone, Copy, Default)]
struct Parameters {
    server_no_takeover: bool,
    client_no_takeover: bool,
    server_bits: Option<u8>,
    /// `Some(None)` without a value.
    client_bits: Option<Option<u8>>,
}

impl Agreement {
    /// Answers an offer; `None` declines it, because it has a parameter that is unknown, repeated or has no valid value.
    pub(crate) fn answer(offer: &Extension<'_>, options: &Options) -> Option<Self> {
        let offered = Parameters::read(offer)?;
        let (server_max, client_max) = options.windows();
        Some(Self {
            server_takeover: options.server_takeover && !offered.server_no_takeover,
            client_takeover: options.client_takeover && !offered.client_no_takeover,
            server_window_bits: offered.server_bits.unwrap_or(WINDOW_BITS_MAX).min(server_max),
            client_window_bits: match offered.client_bits {
                Some(bits) => bits.unwrap_or(WINDOW_BITS_MAX).min(client_max),
                None => WINDOW_BITS_MAX,
            },
            client_bits_offered: offered.client_bits.is_some(),
        })
    }

    /// Writes the value of the server's `Sec-WebSocket-Extensions`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(NAME.as_bytes());
        if !self.server_takeover {
            out.extend_from_slice(b"; server_no_context_takeover");
        }
        if !self.client_takeover {
            out.extend_from_slice(b"; client_no_context_takeover");
        }
        if self.server_window_bits < WINDOW_BITS_MAX {
            write_bits(out, "server", self.server_window_bits);
        }
        if self.client_bits_offered && self.client_window_bits < WINDOW_BITS_MAX {
            write_bits(out, "client", self.client_window_bits);
        }
    }

    /// Writes what a client offers.
    pub(crate) fn offer(options: &Options, out: &mut Vec<u8>) {
        let (server_max, client_max) = options.windows();
        out.extend_from_slice(NAME.as_bytes());
        if !options.server_takeover {
            out.extend_from_slice(b"; server_no_context_takeover");
        }
        if !options.client_takeover {
            out.extend_from_slice(b"; client_no_context_takeover");
        }
        if server_max < WINDOW_BITS_MAX {
            write_bits(out, "server", server_max);
        }
        if client_max < WINDOW_BITS_MAX {
            write_bits(out, "client", client_max);
        } else {
            out.extend_from_slice(b"; client_max_window_bits");
        }
    }

    /// Checks a server's answer to what [`Agreement::offer`] wrote; `None` when it goes beyond that.
    pub(crate) fn check(answer: &Extension<'_>, options: &Options) -> Option<Self> {
        let answered = Parameters::read(answer)?;
        let (server_max, client_max) = options.windows();
        if !options.server_takeover && !answered.server_no_takeover {
            return None;
        }
        let server_window_bits = answered.server_bits.unwrap_or(WINDOW_BITS_MAX);
        if server_window_bits > server_max {
            return None;
        }
        // An answer without a value is none (section 7.1.2.2).
        let client_bits = match answered.client_bits {
            None => WINDOW_BITS_MAX,
            Some(bits) => bits?,
        };
        Some(Self {
            server_takeover: !answered.server_no_takeover,
            client_takeover: options.client_takeover && !answered.client_no_takeover,
            server_window_bits,
            client_window_bits: client_bits.min(client_max),
            client_bits_offered: true,
        })
    }

    /// Whether `role` may keep its context, and its window in bits.
    pub const fn of(&self, role: Role) -> (bool, u8) {
        match role {
            Role::Server => (self.server_takeover, self.server_window_bits),
            Role::Client => (self.client_takeover, self.client_window_bits),
        }
    }
}

impl Parameters {
    fn read(extension: &Extension<'_>) -> Option<Self> {
        let mut read = Self::default();
        for parameter in extension.parameters() {
            let Parameter { name, value } = parameter?;
            match name {
                b"server_no_context_takeover" => flag(&mut read.server_no_takeover, value)?,
                b"client_no_context_takeover" => flag(&mut read.client_no_takeover, value)?,
                b"server_max_window_bits" if read.server_bits.is_none() => {
                    read.server_bits = Some(bits(value?)?);
                }
                b"client_max_window_bits" if read.client_bits.is_none() => {
                    read.client_bits = Some(match value {
                        Some(value) => Some(bits(value)?),
                        None => None,
                    });
                }
                _ => return None,
            }
        }
        Some(read)
    }
}

/// A parameter that has no value and stands once.
fn flag(seen: &mut bool, value: Option<&[u8]>) -> Option<()> {
    if *seen || value.is_some() {
        return None;
    }
    *seen = true;
    Some(())
}

/// 8 to 15, without leading zeros.
fn bits(value: &[u8]) -> Option<u8> {
    match value {
        [digit @ b'8'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

fn write_bits(out: &mut Vec<u8>, side: &str, bits: u8) {
    // Writing to a vector cannot fail.
    let _ = write!(out, "; {side}_max_window_bits={bits}");
}
