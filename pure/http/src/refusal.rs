//! Why a message is refused, and the status that says so to the peer.

use std::fmt;

use crate::status::Status;

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident $status:ident $reason:literal;)*) => {
        /// A reason to refuse what a peer sent.
        ///
        /// One byte, so that hot paths return it for free. After a refusal nothing more of the connection can be
        /// read as HTTP: answer [`Refusal::status`] once, with `Connection: close`, and close.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Refusal {
            $($(#[$doc])* $name,)*
        }

        impl Refusal {
            /// Every refusal, for counters that are named at start.
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
    /// A line feed without the carriage return before it.
    BareLf BAD_REQUEST "line feed without carriage return";
    /// A carriage return without the line feed after it.
    BareCr BAD_REQUEST "carriage return without line feed";
    /// A control byte (NUL included) where none may be.
    ControlByte BAD_REQUEST "control byte in the head";
    /// More empty lines before a request line than are tolerated.
    EmptyLines BAD_REQUEST "too many empty lines before the request line";
    /// The head does not end with its empty line: the caller handed in a part of one.
    HeadEnd BAD_REQUEST "head is cut short";
    /// The request line is not `method SP target SP version`.
    RequestLine BAD_REQUEST "malformed request line";
    /// The method is no token.
    MethodToken BAD_REQUEST "malformed method";
    /// The method is longer than any that is implemented.
    MethodLength NOT_IMPLEMENTED "method too long";
    /// `CONNECT`: this server is no tunnel.
    Connect NOT_IMPLEMENTED "CONNECT is not implemented";
    /// The target has none of the four forms of RFC 9112 section 3.2, or not the one its method needs.
    TargetForm BAD_REQUEST "malformed request target";
    /// The scheme of an absolute target is neither `http` nor `https`.
    TargetScheme BAD_REQUEST "request target has a scheme that is not served";
    /// The version is not `HTTP/` digit `.` digit.
    VersionForm BAD_REQUEST "malformed HTTP version";
    /// A well-formed version that is neither 1.0 nor 1.1.
    Version HTTP_VERSION_NOT_SUPPORTED "HTTP version is not supported";
    /// The request line is over its limit.
    LineLength URI_TOO_LONG "request line over the limit";
    /// The head is over its limit.
    HeadLength REQUEST_HEADER_FIELDS_TOO_LARGE "request head over the limit";
    /// More fields than the limit.
    FieldCount REQUEST_HEADER_FIELDS_TOO_LARGE "too many header fields";
    /// A field line that begins with whitespace (obs-fold, RFC 9112 section 5.2).
    FoldedField BAD_REQUEST "folded header field";
    /// Whitespace between field name and colon (RFC 9112 section 5.1).
    SpaceBeforeColon BAD_REQUEST "whitespace before the colon of a header field";
    /// An empty field name, one that is no token, or a line without colon.
    FieldName BAD_REQUEST "malformed header field name";
    /// A framing field spelt with `_`, which CGI-like backends read as the real one.
    DisguisedField BAD_REQUEST "framing header field spelt with underscores";
    /// An HTTP/1.1 request without `Host`.
    HostMissing BAD_REQUEST "no Host header field";
    /// More than one `Host`.
    HostRepeated BAD_REQUEST "more than one Host header field";
    /// A `Host`, or an authority in the target, that is not `host[:port]`.
    HostForm BAD_REQUEST "malformed host";
    /// A `Content-Length` that is not one plain number: signed, listed, empty, beyond 64 bits.
    LengthForm BAD_REQUEST "malformed Content-Length";
    /// More than one `Content-Length`, equal or not.
    LengthRepeated BAD_REQUEST "more than one Content-Length header field";
    /// Both `Content-Length` and `Transfer-Encoding`.
    LengthAndCoding BAD_REQUEST "both Content-Length and Transfer-Encoding";
    /// `Transfer-Encoding` in HTTP/1.0.
    CodingVersion BAD_REQUEST "Transfer-Encoding in HTTP/1.0";
    /// A `Transfer-Encoding` that is no list of codings.
    CodingForm BAD_REQUEST "malformed Transfer-Encoding";
    /// `chunked` repeated, or not the last coding.
    CodingOrder BAD_REQUEST "chunked is repeated or not the last transfer coding";
    /// A transfer coding other than plain `chunked`.
    CodingUnknown NOT_IMPLEMENTED "transfer coding is not implemented";
    /// An `Expect` other than `100-continue`.
    Expectation EXPECTATION_FAILED "unknown expectation";
    /// A chunk size that is not 1 to 16 hexadecimal digits, or whitespace around it.
    ChunkSize BAD_REQUEST "malformed chunk size";
    /// Chunk extensions over their limit.
    ChunkExtensionLength BAD_REQUEST "chunk extensions over the limit";
    /// A control byte in a chunk extension.
    ChunkExtension BAD_REQUEST "malformed chunk extension";
    /// Chunk data is not followed by CRLF.
    ChunkEnd BAD_REQUEST "chunk data is not followed by a line end";
    /// The trailer section is over its limit.
    TrailerLength REQUEST_HEADER_FIELDS_TOO_LARGE "trailer section over the limit";
    /// A trailer field that frames or routes the message (RFC 9110 section 6.5.1).
    TrailerField BAD_REQUEST "forbidden trailer field";
    /// The body is over its limit.
    BodyLength CONTENT_TOO_LARGE "request body over the limit";
    /// A `Forwarded` that has no one reading, from somebody who is trusted to write it.
    Forwarded BAD_REQUEST "malformed Forwarded";
    /// `Connection` names more fields than anybody has a reason to.
    ConnectionOptions BAD_REQUEST "too many connection options";
    /// The path has an escape that is not `%` and two hexadecimal digits.
    PathEscape BAD_REQUEST "malformed escape in the path";
    /// The path has an escaped slash, or a backslash, plain or escaped.
    PathSlash BAD_REQUEST "encoded slash or backslash in the path";
    /// The path has NUL or another control byte, plain or escaped, or a plain `#`.
    PathByte BAD_REQUEST "forbidden byte in the path";
    /// An escaped control byte other than NUL: a sound request, for what no path here can name.
    PathControl NOT_FOUND "control byte in the path";
    /// The path climbs above its root.
    PathAboveRoot BAD_REQUEST "path climbs above the root";
    /// The decoded path does not fit the caller's buffer.
    PathLength URI_TOO_LONG "path over the limit";
    /// Head or body came too slowly; timers belong to the caller, the words are here.
    TooSlow REQUEST_TIMEOUT "request came too slowly";
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_is_a_client_or_server_error_with_words_of_its_own() {
        for (i, refusal) in Refusal::ALL.iter().enumerate() {
            assert!((400..600).contains(&refusal.status().code()), "{refusal:?}");
            assert!(!refusal.reason().is_empty());
            for other in &Refusal::ALL[i + 1..] {
                assert_ne!(refusal.reason(), other.reason());
            }
        }
        assert_eq!(size_of::<Refusal>(), 1);
        assert_eq!(size_of::<Result<(), Refusal>>(), 1);
    }
}
