//! The types of `ringway.h`, one for one; a test compares their sizes and offsets with what a C compiler makes of the header.
//!
//! What they mean is said in the header, for both languages once.

use std::ffi::{c_char, c_void};

/// The number of the interface.
pub const ABI: u32 = 1;

/// The one symbol of a library.
pub const ENTRY: &str = "ringway_plugin_entry";

/// What functions of the server say.
pub mod code {
    /// Done.
    pub const OK: i32 = 0;
    /// Nobody waits for it any more.
    pub const GONE: i32 = -1;
    /// Not now.
    pub const STATE: i32 = -2;
    /// An argument makes no sense.
    pub const INVALID: i32 = -3;
    /// More than the server takes.
    pub const LIMIT: i32 = -4;
    /// No room now.
    pub const FULL: i32 = -5;
    /// Not on this thread.
    pub const THREAD: i32 = -6;
    /// The time is up.
    pub const TIME: i32 = -7;
    /// The server failed.
    pub const SERVER: i32 = -8;
}

/// What callbacks say.
pub mod said {
    /// The request is answered.
    pub const DONE: i32 = 0;
    /// It is answered later.
    pub const LATER: i32 = 1;
    /// It is somebody else's.
    pub const PASS: i32 = 2;
    /// The next piece of the body.
    pub const MORE: i32 = 0;
    /// The next piece when it is asked for.
    pub const PAUSE: i32 = 1;
    /// No more of the body.
    pub const STOP: i32 = 2;
    /// What the SDK says of a handler that panicked.
    pub const PANICKED: i32 = -100;
}

/// Bits of flags.
pub mod flag {
    /// Bodies come by the body callback.
    pub const BODY_PIECES: u32 = 1;
    /// Answers are given up when the client leaves.
    pub const NEEDS_CLIENT: u32 = 2;
    /// The connection is encrypted.
    pub const REQUEST_TLS: u32 = 1;
    /// A body came with the request, or comes.
    pub const REQUEST_HAS_BODY: u32 = 2;
}

/// Kinds of message of a WebSocket.
pub mod message {
    /// UTF-8.
    pub const TEXT: u32 = 1;
    /// Bytes.
    pub const BINARY: u32 = 2;
}

/// A length that nobody knows yet.
pub const LENGTH_UNKNOWN: u64 = u64::MAX;

/// Some bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Bytes {
    /// Null where there are none.
    pub data: *const u8,
    /// How many.
    pub len: usize,
}

impl Bytes {
    /// None.
    pub const NONE: Self = Self { data: std::ptr::null(), len: 0 };

    /// The bytes of a slice. They are valid as long as it is.
    #[must_use]
    pub const fn of(bytes: &[u8]) -> Self {
        Self { data: bytes.as_ptr(), len: bytes.len() }
    }
}

/// A request, while the callback lasts that was given it.
#[repr(C)]
#[derive(Debug)]
pub struct Request {
    _opaque: [u8; 0],
}

/// A WebSocket, while the callback lasts that was given it.
#[repr(C)]
#[derive(Debug)]
pub struct Socket {
    _opaque: [u8; 0],
}

/// A field line of an answer.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name.
    pub name: Bytes,
    /// Its value.
    pub value: Bytes,
}

/// An answer, or the beginning of one.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// Bytes of this struct.
    pub struct_size: u32,
    /// 200 to 599.
    pub status: u32,
    /// Field lines.
    pub fields: *const Field,
    /// How many.
    pub fields_len: usize,
    /// The body, or the first piece.
    pub body: Bytes,
    /// Bytes of a body that comes in pieces, or [`LENGTH_UNKNOWN`].
    pub length: u64,
}

/// What asks for some bytes of a request.
pub type Ask = unsafe extern "C" fn(*const Request) -> Bytes;
/// What asks for some bytes of a request by their name.
pub type AskNamed = unsafe extern "C" fn(*const Request, Bytes) -> Bytes;
/// What asks for a number about a request.
pub type AskNumber = unsafe extern "C" fn(*const Request) -> u32;
/// What is done with an answer that is owed.
pub type WithLater = unsafe extern "C" fn(u64) -> i32;
/// What is answered by an answer that is owed.
pub type AnswerLater = unsafe extern "C" fn(u64, *const Answer) -> i32;

/// What the server does for plug-ins.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the header says what each does")]
pub struct Server {
    pub struct_size: u32,
    pub abi: u32,
    pub version: *const c_char,
    pub log: Option<unsafe extern "C" fn(u64, u32, Bytes)>,
    pub method: Option<Ask>,
    pub target: Option<Ask>,
    pub path: Option<Ask>,
    pub query: Option<Ask>,
    pub field: Option<AskNamed>,
    pub field_at: Option<unsafe extern "C" fn(*const Request, usize, *mut Bytes, *mut Bytes) -> i32>,
    pub peer: Option<Ask>,
    pub user: Option<Ask>,
    pub flags: Option<AskNumber>,
    pub route: Option<AskNumber>,
    pub param: Option<AskNamed>,
    pub query_value: Option<AskNamed>,
    pub form_value: Option<AskNamed>,
    pub body: Option<Ask>,
    pub answer: Option<unsafe extern "C" fn(*const Request, *const Answer) -> i32>,
    pub later: Option<unsafe extern "C" fn(*const Request, *mut c_void) -> u64>,
    pub answer_later: Option<AnswerLater>,
    pub begin: Option<AnswerLater>,
    pub write: Option<unsafe extern "C" fn(u64, Bytes) -> i32>,
    pub end: Option<WithLater>,
    pub abort: Option<WithLater>,
    pub wait: Option<unsafe extern "C" fn(u64, u32) -> i32>,
    pub resume_body: Option<WithLater>,
    pub open_socket: Option<unsafe extern "C" fn(*const Request, *mut c_void) -> i32>,
    pub socket_send: Option<unsafe extern "C" fn(*const Socket, u32, Bytes) -> i32>,
    pub socket_close: Option<unsafe extern "C" fn(*const Socket, u32, Bytes) -> i32>,
    pub socket_join: Option<unsafe extern "C" fn(*const Socket, Bytes) -> i32>,
    pub socket_leave: Option<unsafe extern "C" fn(*const Socket, Bytes) -> i32>,
    pub group_send: Option<unsafe extern "C" fn(u64, Bytes, u32, Bytes) -> i32>,
}

/// What an instance is made of.
#[repr(C)]
#[derive(Debug)]
pub struct Setup {
    /// Bytes of this struct.
    pub struct_size: u32,
    /// Where it is used.
    pub kind: u32,
    /// Its number.
    pub service: u64,
    /// Its name.
    pub name: Bytes,
    /// Its configuration.
    pub config: Bytes,
    /// Room for the reason why it cannot be made.
    pub error: *mut c_char,
    /// How much room.
    pub error_bytes: usize,
}

/// A route of a request handler.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Null: any method.
    pub method: *const c_char,
    /// Its pattern.
    pub pattern: *const c_char,
    /// What the plug-in knows it by.
    pub number: u32,
    /// 0.
    pub reserved: u32,
}

/// Kind 2.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the header says what each does")]
pub struct RequestHandler {
    pub struct_size: u32,
    pub flags: u32,
    pub body_bytes_max: u64,
    pub routes: *const Route,
    pub routes_len: usize,
    pub worker_start: Option<unsafe extern "C" fn(*mut c_void, *mut *mut c_void) -> i32>,
    pub worker_stop: Option<unsafe extern "C" fn(*mut c_void, *mut c_void)>,
    pub request: Option<unsafe extern "C" fn(*mut c_void, *mut c_void, *const Request) -> i32>,
    pub body: Option<unsafe extern "C" fn(*mut c_void, *mut c_void, u64, *mut c_void, Bytes) -> i32>,
    pub writable: Option<unsafe extern "C" fn(*mut c_void, *mut c_void, u64, *mut c_void)>,
    pub over: Option<unsafe extern "C" fn(*mut c_void, *mut c_void, u64, *mut c_void, i32)>,
    pub socket: *const SocketHandler,
}

/// The events of WebSockets.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the header says what each does")]
pub struct SocketHandler {
    pub struct_size: u32,
    pub message_bytes_max: u32,
    pub opened: Option<unsafe extern "C" fn(*mut c_void, *mut c_void, *const Socket, *mut c_void)>,
    pub message:
        Option<unsafe extern "C" fn(*mut c_void, *mut c_void, *const Socket, *mut c_void, u32, Bytes)>,
    pub closed: Option<unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_void, u32, Bytes)>,
}

/// What a library is.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the header says what each does")]
pub struct Plugin {
    pub struct_size: u32,
    pub abi: u32,
    pub name: *const c_char,
    pub version: *const c_char,
    pub create: Option<unsafe extern "C" fn(*const Setup, *mut *mut c_void) -> i32>,
    pub destroy: Option<unsafe extern "C" fn(*mut c_void)>,
    pub health: Option<unsafe extern "C" fn(*mut c_void, *mut c_char, usize) -> i32>,
    pub connection: *const c_void,
    pub request: *const RequestHandler,
    pub stage: *const c_void,
    pub filter: *const c_void,
}

/// The symbol's type.
pub type Entry = unsafe extern "C" fn(*const Server) -> *const Plugin;

/// What a plug-in does, as configurations and messages call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// A protocol of its own on a connection.
    Connection = 1,
    /// Answers HTTP requests.
    Request = 2,
    /// Is asked before or told after HTTP requests are answered.
    Stage = 3,
    /// Stands between a connection's transport and its protocol.
    Filter = 4,
}

impl Kind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Connection, Self::Request, Self::Stage, Self::Filter];

    /// Its name for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "connection handler",
            Self::Request => "request handler",
            Self::Stage => "stage hook",
            Self::Filter => "stream filter",
        }
    }
}
