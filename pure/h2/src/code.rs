//! Error codes (RFC 9113 section 7), and the reasons for which a connection is ended.

use std::fmt;

/// An error code as it stands in RST_STREAM and GOAWAY; codes nobody has named are kept as they came.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code(pub u32);

macro_rules! codes {
    ($($name:ident $value:literal;)*) => {
        impl Code {
            $(#[doc = concat!("`", stringify!($name), "`")] pub const $name: Self = Self($value);)*

            /// The name, where it has one.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    NO_ERROR 0x0;
    PROTOCOL_ERROR 0x1;
    INTERNAL_ERROR 0x2;
    FLOW_CONTROL_ERROR 0x3;
    SETTINGS_TIMEOUT 0x4;
    STREAM_CLOSED 0x5;
    FRAME_SIZE_ERROR 0x6;
    REFUSED_STREAM 0x7;
    CANCEL 0x8;
    COMPRESSION_ERROR 0x9;
    CONNECT_ERROR 0xa;
    ENHANCE_YOUR_CALM 0xb;
    INADEQUATE_SECURITY 0xc;
    HTTP_1_1_REQUIRED 0xd;
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "Code({:#x})", self.0),
        }
    }
}

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident $code:ident $reason:literal;)*) => {
        /// Why a connection is ended (RFC 9113 section 5.4.1).
        ///
        /// One byte. GOAWAY with [`Fault::code`] is in the output by then: send that, and close.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Fault {
            $($(#[$doc])* $name,)*
        }

        impl Fault {
            /// Every fault, for counters that are named at start.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The code that GOAWAY carries.
            pub const fn code(self) -> Code {
                match self { $(Self::$name => Code::$code,)* }
            }

            /// One phrase for the log; it never contains bytes of the peer.
            pub const fn reason(self) -> &'static str {
                match self { $(Self::$name => $reason,)* }
            }
        }
    };
}

faults! {
    /// The first bytes are not the client's preface (section 3.4), or the server answers in HTTP/1.1.
    Preface PROTOCOL_ERROR "the connection does not begin as HTTP/2 does";
    /// The first frame is not SETTINGS (section 3.4).
    FirstFrame PROTOCOL_ERROR "the first frame is not SETTINGS";
    /// A frame longer than was allowed (section 4.2).
    FrameLength FRAME_SIZE_ERROR "frame over the limit";
    /// A frame of fixed layout that has another length (section 4.2).
    FrameForm FRAME_SIZE_ERROR "frame of the wrong length";
    /// Padding as long as what it pads or longer (sections 6.1 and 6.2).
    Padding PROTOCOL_ERROR "padding longer than its frame";
    /// A frame of a stream on stream 0 (sections 6.1 to 6.4 and 6.10).
    NeedsStream PROTOCOL_ERROR "frame of a stream without a stream";
    /// A frame of the connection on a stream (sections 6.5, 6.7 and 6.8).
    NeedsConnection PROTOCOL_ERROR "frame of the connection on a stream";
    /// A stream identifier that a client must not use: even, or below one used before (section 5.1.1).
    StreamNumber PROTOCOL_ERROR "stream identifier out of order";
    /// A frame other than HEADERS or PRIORITY on an idle stream (section 5.1).
    IdleStream PROTOCOL_ERROR "frame on an idle stream";
    /// HEADERS or DATA on a stream that the peer had ended (section 5.1).
    ClosedStream STREAM_CLOSED "frame on a closed stream";
    /// A field section is interrupted, or CONTINUATION continues none (sections 4.3 and 6.10).
    BlockOrder PROTOCOL_ERROR "field section out of sequence";
    /// PUSH_PROMISE, which no client may send, and no server where it was told not to (section 8.4).
    Push PROTOCOL_ERROR "PUSH_PROMISE where none may be";
    /// A setting with a value it cannot have (section 6.5.2).
    SettingValue PROTOCOL_ERROR "setting with a forbidden value";
    /// An initial window beyond 2^31-1 (section 6.5.2).
    SettingWindow FLOW_CONTROL_ERROR "initial window over the maximum";
    /// A window update by 0 for the connection (section 6.9).
    WindowStep PROTOCOL_ERROR "window update by nothing";
    /// A window grew beyond 2^31-1 (sections 6.9.1 and 6.9.2).
    WindowSize FLOW_CONTROL_ERROR "window over the maximum";
    /// More data than the connection's window allowed (section 6.9.1).
    WindowExceeded FLOW_CONTROL_ERROR "more data than the window allows";
    /// A field section that cannot be decoded (section 4.3).
    Compression COMPRESSION_ERROR "field section cannot be decoded";
    /// More CONTINUATION frames, or bytes of one field section, than are tolerated.
    BlockLength ENHANCE_YOUR_CALM "field section without end";
    /// Streams are reset faster than tolerated, by the peer or because of it.
    ResetFlood ENHANCE_YOUR_CALM "too many resets";
    /// Frames that carry nothing come faster than tolerated.
    FrameFlood ENHANCE_YOUR_CALM "too many frames without content";
    /// More settings in one frame than are tolerated.
    SettingsLength ENHANCE_YOUR_CALM "too many settings";
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
    fn faults_are_small_and_have_words_of_their_own() {
        for (i, fault) in Fault::ALL.iter().enumerate() {
            assert_ne!(fault.code(), Code::NO_ERROR);
            assert!(Fault::ALL[i + 1..].iter().all(|other| other.reason() != fault.reason()));
        }
        assert_eq!(size_of::<Result<(), Fault>>(), 1);
        assert_eq!(format!("{:?} {:?}", Code::CANCEL, Code(99)), "CANCEL Code(0x63)");
    }
}
