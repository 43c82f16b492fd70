//! The engine: workers, connections, tasks and deadlines on a ring; what carries every door of Ringway.

mod accepting;
mod change;
mod closing;
mod connection;
mod core;
mod counters;
mod endpoint;
mod filter;
mod filtering;
mod governor;
mod held;
mod inbox;
mod mailbox;
#[cfg(feature = "members")]
mod members;
mod observe;
mod operation;
mod outbound;
mod pool;
mod port;
mod preface;
mod protocol;
mod receiving;
mod record;
mod resolving;
mod sealing;
mod sending;
mod server;
mod session;
#[cfg(feature = "stalls")]
pub mod stall;
mod stream;
mod task;
mod timer;
mod token;
mod udp;
mod wait;
mod worker;

pub use change::{ChangeError, Control, ENDPOINTS_MAX, Listeners};
pub use connection::{Conn, SendProgress};
pub use counters::{Counter, Counters, DoorCounters, DoorTotals, Totals};
pub use endpoint::{BUSY_MAX, Balance, Endpoint, EndpointLimits, OverCapacity, ProtocolFactory};
pub use filter::{Filter, FilterFactory, FilterSource, Room};
pub use governor::{
    BANDWIDTH_MIN, Bandwidth, Direction, EstimateBy, GovernedRead, GovernorHandle, SAMPLE_MS, SCOPES_MAX,
    Scope, ScopeStatus,
};
pub use inbox::Inbox;
#[cfg(feature = "members")]
pub use members::{ConnKey, Delivery, Post};
pub use observe::{ConnectionFacts, Description, Observer};
pub use operation::Operation;
#[cfg(feature = "held")]
pub use outbound::DoorKey;
pub use outbound::Outbound;
pub use pool::{PoolError, Pooled, ThreadPool};
pub use port::{
    Handover, PORT_RINGS_MAX, PORT_THREADS_MAX, Port, PortEnd, PortError, PortHandler, PortOptions,
    PortSocket, PortTotals,
};
pub use preface::{Expected, Preface, Said};
pub use protocol::{ConnTask, Events, Protocol, Turn};
pub use receiving::INBOX_BYTES_MAX;
pub use ringway_heap as heap;
pub use ringway_pace::governor::{Policy, Verdict, Verdicts};
pub use ringway_ring as ring;
pub use sending::QUEUE_PIECES_MAX;
pub use server::{Drainer, Server, ServerEvent, ServerOptions, StartError, WorkerStart};
pub use session::{ClientCertificate, Session};
pub use stream::Stream;
pub use timer::Sleep;
pub use udp::{DatagramHandler, DatagramHandlerFactory, Outgoing, UdpEndpoint};
pub use wait::WaitMode;
pub use worker::{Unfinished, WorkerHandle};
