//! Why a request does not become a WebSocket, and the status that says so.

use std::fmt;

use ringway_http::status::Status;

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident $status:ident $reason:literal;)*) => {
        /// A reason to refuse a handshake. The request was sound HTTP, so the connection may go on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Refusal {
            $($(#[$doc])* $name,)*
        }

        impl Refusal {
            /// Every refusal.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The status to answer with.
            pub const fn status(self) -> Status {
                match self { $(Self::$name => Status::$status,)* }
            }

            /// One phrase for the log and the error page; it never contains bytes of the peer.
            pub const fn reason(self) -> &'static str {
                match self { $(Self::$name => $reason,)* }
            }
        }
    };
}

refusals! {
    /// No upgrade was asked for where nothing else is served. The answer needs `Upgrade: websocket`.
    NotAsked UPGRADE_REQUIRED "this is a WebSocket";
    /// Another method than `GET`.
    Method BAD_REQUEST "WebSocket handshake is not a GET";
    /// A body, which would be taken for frames or the other way round.
    Body BAD_REQUEST "WebSocket handshake with a body";
    /// No `Sec-WebSocket-Key`, or more than one.
    KeyCount BAD_REQUEST "not one Sec-WebSocket-Key";
    /// A key that is not sixteen bytes in base64.
    KeyForm BAD_REQUEST "malformed Sec-WebSocket-Key";
    /// No version, several, or another than 13. The answer needs [`super::VERSION_LINE`].
    Version UPGRADE_REQUIRED "WebSocket version is not supported";
    /// More than one `Origin`.
    OriginCount BAD_REQUEST "more than one Origin";
    /// A subprotocol that is no token, or is named twice.
    Protocols BAD_REQUEST "malformed Sec-WebSocket-Protocol";
    /// Extensions that are no list of names with parameters.
    Extensions BAD_REQUEST "malformed Sec-WebSocket-Extensions";
    /// The origin is not one that is let in; whom to let in is for the caller to say.
    Origin FORBIDDEN "origin is not allowed";
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for Refusal {}
