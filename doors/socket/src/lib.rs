//! Endpoints that speak protocols of their own: framing, handlers, datagrams, and handlers in libraries.
//!
//! A [`Handler`] gets whole messages of a connection, told apart by a [`Framing`], and answers in place; everything else (sockets,
//! TLS, limits, deadlines, counters) is the server's. [`SocketProtocol`] puts one on an endpoint of the engine's.

pub mod blocking;
mod builtin;
mod connection;
mod counters;
#[cfg(feature = "datagrams")]
pub mod datagrams;
mod dress;
#[cfg(feature = "filters")]
pub mod filters;
mod framing;
mod gateway;
mod groups;
mod handler;
#[cfg(feature = "libraries")]
pub mod library;
mod log;
mod message;
mod out;
pub mod outbound;
mod owner;
mod protocol;
mod reading;
mod remote;
mod stalls;
mod state;
mod trace;
mod urgent;
#[cfg(feature = "websockets")]
mod websocket;

pub use builtin::{BuiltinError, Settings, builtin, builtin_framing, builtin_names};
pub use connection::{Connection, ConnectionId, GROUPS_MAX};
pub use counters::{
    EndpointCounters, EndpointTotals, TIME_BUCKETS, TIMED_SHARE, WorkerCounters, time_bucket_end_ns,
};
pub use framing::{
    ByteOrder, DELIMITER_BYTES_MAX, Found, Framing, FramingError, FramingFault, FramingLimits, Measure,
};
pub use gateway::{GatewayOptions, TARGETS_MAX, gateway};
pub use groups::{Group, GroupOptions, Slow};
pub use handler::{Closed, Handler, HandlerFactory, Reason, SendError};
pub use log::{LINES_PER_S_MAX, Level, Log};
pub use message::Message;
pub use owner::{ConnectionLimits, IDLE_MS_MAX, Terms};
pub use protocol::SocketProtocol;
pub use remote::{RemoteError, Sender};
pub use stalls::{STALL_MAX, Watched};
pub use trace::{TRACED_BYTES_MAX, TRACED_PER_S_MAX, TraceLevel, Tracer};
pub use urgent::Urgent;
