//! A library's tables, read once and looked at.

use crate::abi::{self, Kind};
use crate::error::Problem;
use std::ffi::c_char;
use std::fmt;
use std::ptr;

/// Most bytes that any version of a table has.
const TABLE_BYTES_MAX: usize = 64 * 1024;

/// Longest text of a table, in bytes.
const TEXT_BYTES_MAX: usize = 64;

/// Longest pattern of a route, in bytes.
const PATTERN_BYTES_MAX: usize = 1024;

/// Most routes of a library.
const ROUTES_MAX: usize = 10_000;

/// Bytes of the first version of each table.
const PLUGIN_BYTES_MIN: usize = 80;
const REQUEST_BYTES_MIN: usize = 80;
const STAGE_BYTES_MIN: usize = 72;
const FILTER_BYTES_MIN: usize = 96;
const SOCKET_BYTES_MIN: usize = 32;
const CONNECTION_BYTES_MIN: usize = 144;

/// What a library is, by its own word.
pub(crate) struct Tables {
    pub(crate) plugin: abi::Plugin,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) connections: Option<ConnectionTable>,
    pub(crate) requests: Option<Requests>,
    pub(crate) stages: Option<abi::StageHook>,
    pub(crate) filters: Option<abi::StreamFilter>,
}

/// How a library speaks a protocol.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionTable {
    pub(crate) table: abi::ConnectionHandler,
}

impl ConnectionTable {
    /// Whether it serves connections.
    #[must_use]
    pub fn has_messages(&self) -> bool {
        self.table.message.is_some()
    }

    /// Whether it serves datagrams.
    #[must_use]
    pub fn has_datagrams(&self) -> bool {
        self.table.datagram.is_some()
    }

    /// Whether broadcasts reach its connections.
    #[must_use]
    pub fn hears_broadcasts(&self) -> bool {
        self.table.flags & abi::flag::BROADCAST != 0
    }

    /// Whether it says how long messages are.
    #[must_use]
    pub fn has_measure(&self) -> bool {
        self.table.measure.is_some()
    }

    /// The longest message in bytes; `None`: it does not say.
    #[must_use]
    pub fn message_bytes_max(&self) -> Option<u64> {
        (self.table.message_bytes_max > 0).then_some(self.table.message_bytes_max)
    }

    /// How often its worker's time comes, in milliseconds; `None`: never.
    #[must_use]
    pub fn tick_ms(&self) -> Option<u32> {
        (self.table.tick_ms > 0 && self.table.tick.is_some()).then_some(self.table.tick_ms)
    }
}

/// How a library answers requests.
pub struct Requests {
    pub(crate) table: abi::RequestHandler,
    pub(crate) sockets: Option<abi::SocketHandler>,
    pub(crate) routes: Vec<Route>,
}

/// A route that a library answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its method; `None`: any.
    pub method: Option<String>,
    /// Its pattern.
    pub pattern: String,
    /// What the library knows it by.
    pub number: u32,
}

impl Requests {
    /// Its routes; without any it wants every request.
    #[must_use]
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// Whether bodies of requests come to it in pieces.
    #[must_use]
    pub fn wants_pieces(&self) -> bool {
        self.table.flags & abi::flag::BODY_PIECES != 0
    }

    /// Whether answers are given up when the client leaves.
    #[must_use]
    pub fn needs_client(&self) -> bool {
        self.table.flags & abi::flag::NEEDS_CLIENT != 0
    }

    /// Whether the browser's session is found before it is asked.
    #[must_use]
    pub fn wants_sessions(&self) -> bool {
        self.table.flags & abi::flag::SESSIONS != 0
    }

    /// The longest message of a WebSocket in bytes, 0 where it does not say; `None`: it has nothing for sockets.
    #[must_use]
    pub fn socket_message_bytes_max(&self) -> Option<u32> {
        self.sockets.map(|sockets| sockets.message_bytes_max)
    }

    /// The longest body of a request, in bytes; `None`: it does not say.
    #[must_use]
    pub fn body_bytes_max(&self) -> Option<u64> {
        (self.table.body_bytes_max > 0).then_some(self.table.body_bytes_max)
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests").field("routes", &self.routes).finish_non_exhaustive()
    }
}

/// A `struct_size` and, in the library's own table, the number of the interface.
#[repr(C)]
struct Head {
    struct_size: u32,
    abi: u32,
}

impl Tables {
    /// Asks a library for its tables.
    pub(crate) fn of(entry: abi::Entry) -> Result<Self, Problem> {
        let server = crate::functions::server();
        // SAFETY: the function that the header says this is, with a table that stays (I2, I3).
        let table = unsafe { entry(server) };
        if table.is_null() {
            return Err(Problem::NoTable);
        }
        if !table.is_aligned() {
            return Err(Problem::TablePlace("ringway_plugin"));
        }
        // SAFETY: the beginning of the table, which all versions have; the library is loaded (I2, I3).
        let head = unsafe { &*table.cast::<Head>() };
        if head.abi != abi::ABI {
            return Err(Problem::Abi(head.abi));
        }
        // SAFETY: a table of the library's, whose size its head says (I2, I3).
        let plugin = unsafe { read(table, "ringway_plugin", PLUGIN_BYTES_MIN) }?;
        let name = text(plugin.name, TEXT_BYTES_MAX).ok_or(Problem::Text("ringway_plugin.name"))?;
        let version = text(plugin.version, TEXT_BYTES_MAX).ok_or(Problem::Text("ringway_plugin.version"))?;
        let requests = if plugin.request.is_null() { None } else { Some(requests(plugin.request)?) };
        let connections =
            if plugin.connection.is_null() { None } else { Some(connections(plugin.connection)?) };
        let stages = if plugin.stage.is_null() { None } else { Some(stages(plugin.stage)?) };
        let filters = if plugin.filter.is_null() { None } else { Some(filters(plugin.filter)?) };
        Ok(Self { plugin, name, version, connections, requests, stages, filters })
    }

    /// The tables of a program that has one of them only.
    pub(crate) fn of_handler(handler: *const abi::RequestHandler, name: &str) -> Result<Self, Problem> {
        if handler.is_null() {
            return Err(Problem::NoTable);
        }
        let requests = requests(handler)?;
        let plugin = abi::Plugin {
            #[expect(clippy::cast_possible_truncation, reason = "a table has some hundred bytes")]
            struct_size: size_of::<abi::Plugin>() as u32,
            abi: abi::ABI,
            name: ptr::null(),
            version: ptr::null(),
            create: None,
            destroy: None,
            health: None,
            connection: ptr::null(),
            request: handler,
            stage: ptr::null(),
            filter: ptr::null(),
        };
        let (name, version) = (name.to_owned(), String::new());
        Ok(Self {
            plugin,
            name,
            version,
            requests: Some(requests),
            connections: None,
            stages: None,
            filters: None,
        })
    }

    /// The kinds that it is of.
    pub(crate) fn kinds(&self) -> Vec<Kind> {
        let plugin = &self.plugin;
        let is_there = [
            !plugin.connection.is_null(),
            !plugin.request.is_null(),
            !plugin.stage.is_null(),
            !plugin.filter.is_null(),
        ];
        Kind::ALL.into_iter().zip(is_there).filter_map(|(kind, is_there)| is_there.then_some(kind)).collect()
    }
}

fn connections(table: *const abi::ConnectionHandler) -> Result<ConnectionTable, Problem> {
    if !table.is_aligned() {
        return Err(Problem::TablePlace("ringway_connection_handler"));
    }
    // SAFETY: a table of the library's, whose size its first member says (I2, I3).
    let table = unsafe { read(table, "ringway_connection_handler", CONNECTION_BYTES_MIN) }?;
    if table.message.is_none() && table.datagram.is_none() {
        return Err(Problem::NoFunction("ringway_connection_handler.message"));
    }
    Ok(ConnectionTable { table })
}

fn stages(table: *const abi::StageHook) -> Result<abi::StageHook, Problem> {
    if !table.is_aligned() {
        return Err(Problem::TablePlace("ringway_stage_hook"));
    }
    // SAFETY: a table of the library's, whose size its first member says (I2, I3).
    unsafe { read(table, "ringway_stage_hook", STAGE_BYTES_MIN) }
}

fn filters(table: *const abi::StreamFilter) -> Result<abi::StreamFilter, Problem> {
    if !table.is_aligned() {
        return Err(Problem::TablePlace("ringway_stream_filter"));
    }
    // SAFETY: a table of the library's, whose size its first member says (I2, I3).
    let table = unsafe { read(table, "ringway_stream_filter", FILTER_BYTES_MIN) }?;
    match (table.read, table.write) {
        (None, _) => Err(Problem::NoFunction("ringway_stream_filter.read")),
        (_, None) => Err(Problem::NoFunction("ringway_stream_filter.write")),
        _ => Ok(table),
    }
}

fn requests(table: *const abi::RequestHandler) -> Result<Requests, Problem> {
    if !table.is_aligned() {
        return Err(Problem::TablePlace("ringway_request_handler"));
    }
    // SAFETY: a table of the library's, whose size its first member says (I2, I3).
    let table = unsafe { read(table, "ringway_request_handler", REQUEST_BYTES_MIN) }?;
    if table.request.is_none() {
        return Err(Problem::NoFunction("ringway_request_handler.request"));
    }
    if table.flags & abi::flag::BODY_PIECES != 0 && table.body.is_none() {
        return Err(Problem::NoFunction("ringway_request_handler.body"));
    }
    let sockets = if table.socket.is_null() { None } else { Some(sockets(table.socket)?) };
    Ok(Requests { routes: routes(&table)?, table, sockets })
}

fn sockets(table: *const abi::SocketHandler) -> Result<abi::SocketHandler, Problem> {
    if !table.is_aligned() {
        return Err(Problem::TablePlace("ringway_socket_handler"));
    }
    // SAFETY: a table of the library's, whose size its first member says (I2, I3).
    let table = unsafe { read(table, "ringway_socket_handler", SOCKET_BYTES_MIN) }?;
    match table.message {
        Some(_) => Ok(table),
        None => Err(Problem::NoFunction("ringway_socket_handler.message")),
    }
}

fn routes(table: &abi::RequestHandler) -> Result<Vec<Route>, Problem> {
    if table.routes_len == 0 {
        return Ok(Vec::new());
    }
    if table.routes.is_null() || !table.routes.is_aligned() {
        return Err(Problem::TablePlace("ringway_request_handler.routes"));
    }
    if table.routes_len > ROUTES_MAX {
        return Err(Problem::Route(ROUTES_MAX, "is one too many".to_owned()));
    }
    // SAFETY: so many routes, says the library, and stay as long as it is loaded; the number is limited (I2, I3).
    let routes = unsafe { std::slice::from_raw_parts(table.routes, table.routes_len) };
    let read = |(index, route): (usize, &abi::Route)| {
        let method = match text(route.method, TEXT_BYTES_MAX) {
            None if route.method.is_null() => None,
            None => return Err(Problem::Route(index, "has a method that is no text".to_owned())),
            some => some,
        };
        let pattern = text(route.pattern, PATTERN_BYTES_MAX);
        let pattern = pattern.ok_or(Problem::Route(index, "has a pattern that is no text".to_owned()))?;
        if !pattern.starts_with('/') {
            return Err(Problem::Route(index, "has a pattern that does not begin with a slash".to_owned()));
        }
        Ok(Route { method, pattern, number: route.number })
    };
    routes.iter().enumerate().map(read).collect()
}

/// A copy of a table, zeros where it is of an older version.
///
/// # Safety
/// `T` is a table of [`abi`], which begins with a `u32`, its size. The table is as the header asks.
unsafe fn read<T>(table: *const T, name: &'static str, least: usize) -> Result<T, Problem> {
    // SAFETY: every table begins with its size (I2).
    let bytes = unsafe { *table.cast::<u32>() };
    let size = bytes as usize;
    if size < least || size > TABLE_BYTES_MAX {
        return Err(Problem::TableSize { table: name, bytes, least });
    }
    // SAFETY: zeros are a value of it (I4).
    let mut copy: T = unsafe { std::mem::zeroed() };
    let size = size.min(size_of::<T>());
    // SAFETY: it has so many bytes, as it says, and no more fit than the copy has (I2, I4).
    unsafe { ptr::copy_nonoverlapping(table.cast::<u8>(), (&raw mut copy).cast::<u8>(), size) };
    Ok(copy)
}

/// A text of printable characters, if it is one.
fn text(start: *const c_char, bytes_max: usize) -> Option<String> {
    if start.is_null() {
        return None;
    }
    let mut bytes = Vec::new();
    loop {
        // SAFETY: up to its NUL it is the library's text, which stays as long as it is loaded; the length is limited (I2, I3).
        let byte = unsafe { *start.add(bytes.len()) }.to_ne_bytes()[0];
        if byte == 0 {
            break;
        }
        if bytes.len() == bytes_max {
            return None;
        }
        bytes.push(byte);
    }
    let text = String::from_utf8(bytes).ok()?;
    (!text.is_empty() && !text.chars().any(char::is_control)).then_some(text)
}
