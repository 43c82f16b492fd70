//! Close codes (RFC 6455 section 7.4 and its registry): which may be sent, which may be received.

use std::fmt;

/// A close code that may stand in a close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// The purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// The server goes down, or the page was left.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL: Self = Self(1002);
    /// A kind of message that is not taken here.
    pub const UNSUPPORTED: Self = Self(1003);
    /// Data that is not what it says it is, such as text that is no UTF-8.
    pub const INVALID_DATA: Self = Self(1007);
    /// The message breaks a rule of the application.
    pub const POLICY: Self = Self(1008);
    /// The message is over a limit.
    pub const TOO_LARGE: Self = Self(1009);
    /// A client that needs an extension the server did not agree to.
    pub const EXTENSION: Self = Self(1010);
    /// The server met a condition it did not expect.
    pub const INTERNAL: Self = Self(1011);
    /// The service is restarted; come again.
    pub const RESTART: Self = Self(1012);
    /// The service is overloaded; come again later.
    pub const TRY_LATER: Self = Self(1013);
    /// The server is a gateway and its upstream answered wrongly.
    pub const BAD_GATEWAY: Self = Self(1014);

    /// The code, if it may stand in a close frame: 1000 to 1003, 1007 to 1014, 3000 to 4999. So 1005, 1006 and 1015,
    /// which only mean that there was no code, no frame and no TLS, are never on the wire, in neither direction.
    pub const fn new(code: u16) -> Option<Self> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self(code)),
            _ => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_only_mean_something_here_are_not_on_the_wire() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, u16::MAX] {
            assert_eq!(CloseCode::new(code), None, "{code}");
        }
        for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999] {
            assert_eq!(CloseCode::new(code).map(CloseCode::get), Some(code));
        }
    }
}
