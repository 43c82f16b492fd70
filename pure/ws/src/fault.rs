//! What a peer can do wrong behind the handshake, and the close code that answers it.

use std::fmt;

use crate::code::CloseCode;

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident $code:ident $reason:literal;)*) => {
        /// A reason to fail a connection (RFC 6455 section 7.1.7).
        ///
        /// One byte. After a fault nothing more of the connection can be read: send a close frame with [`Fault::code`]
        /// and [`Fault::reason`], and end the connection.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Fault {
            $($(#[$doc])* $name,)*
        }

        impl Fault {
            /// Every fault, for counters that are named at start.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The code of the close frame that answers it.
            pub const fn code(self) -> CloseCode {
                match self { $(Self::$name => CloseCode::$code,)* }
            }

            /// One phrase for the close frame and the log; it never contains bytes of the peer.
            pub const fn reason(self) -> &'static str {
                match self { $(Self::$name => $reason,)* }
            }
        }
    };
}

faults! {
    /// A reserved bit without an extension that gives it a meaning, or where it has none.
    ReservedBit PROTOCOL "reserved bit";
    /// An opcode that is reserved.
    ReservedOpcode PROTOCOL "reserved opcode";
    /// A control frame in fragments.
    ControlFragmented PROTOCOL "fragmented control frame";
    /// A control frame with more than 125 bytes.
    ControlLength PROTOCOL "control frame over 125 bytes";
    /// A client's frame without a mask.
    MaskMissing PROTOCOL "frame of a client is not masked";
    /// A server's frame with a mask.
    MaskPresent PROTOCOL "frame of a server is masked";
    /// A length that is not in its shortest form, or has its highest bit set.
    LengthForm PROTOCOL "malformed frame length";
    /// A continuation of no message.
    ContinuationAlone PROTOCOL "continuation without a message";
    /// A new message in the middle of another.
    MessageInMessage PROTOCOL "message inside another message";
    /// A close frame with one byte.
    CloseLength PROTOCOL "close frame with half a code";
    /// A close frame with a code that may not be in one.
    CloseCode PROTOCOL "invalid close code";
    /// A reason for closing that is no UTF-8.
    CloseReason INVALID_DATA "close reason is not UTF-8";
    /// Text that is no UTF-8.
    Utf8 INVALID_DATA "text is not UTF-8";
    /// Compressed data that cannot be decompressed.
    Deflate INVALID_DATA "malformed compressed data";
    /// A frame over its limit.
    FrameLength TOO_LARGE "frame over the limit";
    /// A message over its limit, before or after decompression.
    MessageLength TOO_LARGE "message over the limit";
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_words_of_its_own_that_fit_a_close_frame() {
        for (at, fault) in Fault::ALL.iter().enumerate() {
            assert!((1..=123).contains(&fault.reason().len()));
            assert!(Fault::ALL[at + 1..].iter().all(|other| other.reason() != fault.reason()));
        }
        assert_eq!(size_of::<Result<(), Fault>>(), 1);
    }
}
