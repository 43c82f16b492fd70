//! The types of `ringway.h`, one for one; a test compares their sizes and offsets with what a C compiler makes of the header.
//!
//! What they mean is said in the header, for both languages once.

use std::ffi::{c_char, c_int, c_void};

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
    /// The connection is closed without a word.
    pub const REFUSE: i32 = 3;
    /// The next piece of the body.
    pub const MORE: i32 = 0;
    /// The next piece when it is asked for.
    pub const PAUSE: i32 = 1;
    /// No more of the body.
    pub const STOP: i32 = 2;
    /// The connection goes on.
    pub const GO_ON: i32 = 0;
    /// The connection is closed when everything is sent.
    pub const CLOSE: i32 = 1;
    /// The size of a message cannot be known yet.
    pub const NEED_MORE: i64 = 0;
    /// No message begins like this.
    pub const WRONG: i64 = -1;
    /// What the SDK says of a handler that panicked.
    pub const PANICKED: i32 = -100;
}

/// Bits of flags.
pub mod flag {
    /// Bodies come by the body callback.
    pub const BODY_PIECES: u32 = 1;
    /// Answers are given up when the client leaves.
    pub const NEEDS_CLIENT: u32 = 2;
    /// The browser's session is found before the handler is asked.
    pub const SESSIONS: u32 = 4;
    /// A cookie goes without TLS too.
    pub const COOKIE_PLAIN: u32 = 1;
    /// Scripts may read it.
    pub const COOKIE_SCRIPTS: u32 = 2;
    /// It does not come with links of other sites.
    pub const COOKIE_STRICT: u32 = 4;
    /// Broadcasts reach the connections.
    pub const BROADCAST: u32 = 1;
    /// The connection is encrypted.
    pub const REQUEST_TLS: u32 = 1;
    /// A body came with the request, or comes.
    pub const REQUEST_HAS_BODY: u32 = 2;
}

/// Bits of a connection's flags, and of the order to make one.
pub mod conn {
    /// It is encrypted.
    pub const TLS: u32 = 1;
    /// It was made outward.
    pub const OUTBOUND: u32 = 2;
    /// The peer has finished sending.
    pub const ENDED: u32 = 4;
    /// It is made anew when it has ended.
    pub const CONNECT_MAINTAIN: u32 = 1;
    /// It is made with TLS.
    pub const CONNECT_TLS: u32 = 2;
}

/// What a stream filter wants, and what it is told of its connection.
pub mod filter {
    /// Bytes from below.
    pub const WANTS_READ: u32 = 1;
    /// Bytes from above.
    pub const WANTS_WRITE: u32 = 2;
    /// There is TLS below.
    pub const TLS: u32 = 1;
}

/// Why connections have ended.
pub mod closed {
    /// The peer has finished.
    pub const PEER: i32 = 0;
    /// The handler wanted it.
    pub const HANDLER: i32 = 1;
    /// It broke.
    pub const BROKEN: i32 = 2;
    /// The peer was too slow.
    pub const TIME: i32 = 3;
    /// The peer has sent what may not be.
    pub const LIMIT: i32 = 4;
    /// The server wanted it.
    pub const SERVER: i32 = 5;
    /// For a fault of the handler.
    pub const FAULT: i32 = 6;
    /// It never was.
    pub const UNREACHABLE: i32 = 7;
}

/// What can be asked of a connection's TLS session.
pub mod session {
    /// The version.
    pub const VERSION: u32 = 1;
    /// The name that the client asked for.
    pub const SERVER_NAME: u32 = 2;
    /// The application protocol.
    pub const PROTOCOL: u32 = 3;
    /// The subject of the client's certificate.
    pub const CLIENT: u32 = 4;
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

/// Some bytes that may be changed where they lie.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct BytesMut {
    /// Where.
    pub data: *mut u8,
    /// How many.
    pub len: usize,
}

/// A connection's name.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Zeros are none.
    pub words: [u64; 2],
}

/// A connection, while the callback lasts that was given it.
#[repr(C)]
#[derive(Debug)]
pub struct Conn {
    _opaque: [u8; 0],
}

/// A connection as a stream filter has it, while the callback lasts that was given it.
#[repr(C)]
#[derive(Debug)]
pub struct Filter {
    _opaque: [u8; 0],
}

/// Who has sent a datagram, while the callback lasts that was given it.
#[repr(C)]
#[derive(Debug)]
pub struct Peer {
    _opaque: [u8; 0],
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

/// What is done with a connection.
pub type WithConn = unsafe extern "C" fn(*mut Conn) -> i32;
/// What is done with a connection and some bytes.
pub type ConnBytes = unsafe extern "C" fn(*mut Conn, Bytes) -> i32;
/// What is done by a connection's name.
pub type ByKey = unsafe extern "C" fn(u64, Key) -> i32;

/// What is done with a filter and some bytes.
pub type FilterBytes = unsafe extern "C" fn(*mut Filter, Bytes) -> i32;

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
    pub conn_send: Option<ConnBytes>,
    pub conn_send_as: Option<unsafe extern "C" fn(*mut Conn, u32, Bytes) -> i32>,
    pub conn_send_in_place: Option<ConnBytes>,
    pub conn_send_raw: Option<ConnBytes>,
    pub conn_send_file: Option<unsafe extern "C" fn(*mut Conn, c_int, u64, u64) -> i32>,
    pub conn_when_sent: Option<WithConn>,
    pub conn_shut: Option<WithConn>,
    pub conn_close: Option<WithConn>,
    pub conn_abort: Option<WithConn>,
    pub conn_pause: Option<WithConn>,
    pub conn_resume: Option<WithConn>,
    pub conn_set_timeout: Option<unsafe extern "C" fn(*mut Conn, u32) -> i32>,
    pub conn_queued: Option<unsafe extern "C" fn(*const Conn) -> u64>,
    pub conn_flags: Option<unsafe extern "C" fn(*const Conn) -> u32>,
    pub conn_kind: Option<unsafe extern "C" fn(*const Conn) -> u32>,
    pub conn_peer: Option<unsafe extern "C" fn(*const Conn) -> Bytes>,
    pub conn_session: Option<unsafe extern "C" fn(*const Conn, u32) -> Bytes>,
    pub conn_key: Option<unsafe extern "C" fn(*const Conn) -> Key>,
    pub conn_join: Option<ConnBytes>,
    pub conn_leave: Option<ConnBytes>,
    pub post_send: Option<unsafe extern "C" fn(u64, Key, u32, Bytes) -> i32>,
    pub post_shut: Option<ByKey>,
    pub post_close: Option<ByKey>,
    pub post_nudge: Option<ByKey>,
    pub broadcast: Option<unsafe extern "C" fn(u64, u32, Bytes) -> i32>,
    pub connect: Option<unsafe extern "C" fn(u64, Bytes, u32, *mut c_void) -> i32>,
    pub peer_address: Option<unsafe extern "C" fn(*const Peer) -> Bytes>,
    pub peer_send: Option<unsafe extern "C" fn(*mut Peer, Bytes) -> i32>,
    pub peer_send_to: Option<unsafe extern "C" fn(*mut Peer, Bytes, Bytes) -> i32>,
    pub add_field: Option<unsafe extern "C" fn(*const Request, Bytes, Bytes) -> i32>,
    pub remove_field: Option<unsafe extern "C" fn(*const Request, Bytes) -> i32>,
    pub set_user: Option<unsafe extern "C" fn(*const Request, Bytes) -> i32>,
    pub answer_status: Option<AskNumber>,
    pub answer_field: Option<AskNamed>,
    pub pass_later: Option<unsafe extern "C" fn(u64, Bytes, *const Field, usize) -> i32>,
    pub filter_up: Option<FilterBytes>,
    pub filter_down: Option<FilterBytes>,
    pub filter_peer: Option<unsafe extern "C" fn(*const Filter) -> Bytes>,
    pub filter_flags: Option<unsafe extern "C" fn(*const Filter) -> u32>,
    pub cookie: Option<unsafe extern "C" fn(*const Request, Bytes) -> Bytes>,
    pub set_cookie: Option<unsafe extern "C" fn(*const Request, Bytes, Bytes, i64, u32) -> i32>,
    pub session_value: Option<unsafe extern "C" fn(*const Request, Bytes) -> Bytes>,
    pub session_set: Option<unsafe extern "C" fn(*const Request, Bytes, Bytes) -> i32>,
    pub session_user: Option<unsafe extern "C" fn(*const Request) -> Bytes>,
    pub session_log_in: Option<unsafe extern "C" fn(*const Request, Bytes) -> i32>,
    pub session_log_out: Option<unsafe extern "C" fn(*const Request) -> i32>,
    pub answer_file: Option<unsafe extern "C" fn(*const Request, Bytes) -> i32>,
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

/// An event of a connection, with instance, worker's state, connection, and the place of its word.
pub type Event = unsafe extern "C" fn(*mut c_void, *mut c_void, *mut Conn, *mut *mut c_void) -> i32;

/// Kind 1.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the header says what each does")]
pub struct ConnectionHandler {
    pub struct_size: u32,
    pub flags: u32,
    pub tick_ms: u32,
    pub reserved: u32,
    pub message_bytes_max: u64,
    pub worker_start: Option<unsafe extern "C" fn(*mut c_void, *mut *mut c_void) -> i32>,
    pub worker_stop: Option<unsafe extern "C" fn(*mut c_void, *mut c_void)>,
    pub opened: Option<Event>,
    pub message:
        Option<unsafe extern "C" fn(*mut c_void, *mut c_void, *mut Conn, *mut *mut c_void, BytesMut) -> i32>,
    pub ended: Option<Event>,
    pub written: Option<Event>,
    pub timeout: Option<Event>,
    pub nudged: Option<Event>,
    pub draining: Option<Event>,
    pub urgent:
        Option<unsafe extern "C" fn(*mut c_void, *mut c_void, *mut Conn, *mut *mut c_void, u32) -> i32>,
    pub closed: Option<unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_void, i32)>,
    pub tick: Option<unsafe extern "C" fn(*mut c_void, *mut c_void)>,
    pub measure: Option<unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_void, Bytes) -> i64>,
    pub datagram:
        Option<unsafe extern "C" fn(*mut c_void, *mut c_void, *mut Peer, *mut *mut c_void, BytesMut) -> i32>,
    pub expired: Option<unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_void)>,
}

/// What was served.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the header says what each is")]
pub struct Served {
    pub struct_size: u32,
    pub status: u32,
    pub body_bytes: u64,
    pub duration_us: u64,
    pub method: Bytes,
    pub target: Bytes,
    pub peer: Bytes,
    pub user: Bytes,
    pub site: Bytes,
}

/// A stage at which a request is shown, with instance and worker's state.
pub type Stage = unsafe extern "C" fn(*mut c_void, *mut c_void, *const Request) -> i32;

/// Kind 3.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the header says what each does")]
pub struct StageHook {
    pub struct_size: u32,
    pub flags: u32,
    pub worker_start: Option<unsafe extern "C" fn(*mut c_void, *mut *mut c_void) -> i32>,
    pub worker_stop: Option<unsafe extern "C" fn(*mut c_void, *mut c_void)>,
    pub accepted: Option<unsafe extern "C" fn(*mut c_void, *mut c_void, Bytes) -> i32>,
    pub request: Option<Stage>,
    pub answer: Option<Stage>,
    pub over: Option<unsafe extern "C" fn(*mut c_void, *mut c_void, u64, *mut c_void, i32)>,
    pub served: Option<unsafe extern "C" fn(*mut c_void, *mut c_void, *const Served)>,
    pub closed: Option<unsafe extern "C" fn(*mut c_void, *mut c_void, u32)>,
}

/// An event of a filter's connection, with instance, worker's state, filter, and the place of its word.
pub type FilterEvent = unsafe extern "C" fn(*mut c_void, *mut c_void, *mut Filter, *mut *mut c_void) -> i32;

/// Bytes for a filter, with the same.
pub type FilterTakes =
    unsafe extern "C" fn(*mut c_void, *mut c_void, *mut Filter, *mut *mut c_void, BytesMut) -> i64;

/// Kind 4.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the header says what each does")]
pub struct StreamFilter {
    pub struct_size: u32,
    pub flags: u32,
    pub worker_start: Option<unsafe extern "C" fn(*mut c_void, *mut *mut c_void) -> i32>,
    pub worker_stop: Option<unsafe extern "C" fn(*mut c_void, *mut c_void)>,
    pub accept: Option<FilterEvent>,
    pub read: Option<FilterTakes>,
    pub write: Option<FilterTakes>,
    pub writev: Option<
        unsafe extern "C" fn(
            *mut c_void,
            *mut c_void,
            *mut Filter,
            *mut *mut c_void,
            *const BytesMut,
            usize,
        ) -> i64,
    >,
    pub send_file: Option<
        unsafe extern "C" fn(*mut c_void, *mut c_void, *mut Filter, *mut *mut c_void, c_int, u64, u64) -> i64,
    >,
    pub ended: Option<FilterEvent>,
    pub finish: Option<FilterEvent>,
    pub interest: Option<unsafe extern "C" fn(*mut c_void, *mut c_void, *mut *mut c_void, *mut u32) -> u32>,
    pub close: Option<unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_void)>,
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
    pub connection: *const ConnectionHandler,
    pub request: *const RequestHandler,
    pub stage: *const StageHook,
    pub filter: *const StreamFilter,
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
