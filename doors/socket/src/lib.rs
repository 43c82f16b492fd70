//! Endpoints that speak protocols of their own: framing, handlers, datagrams, and handlers in libraries.

mod counters;
#[cfg(feature = "datagrams")]
pub mod datagrams;

pub use counters::{
    EndpointCounters, EndpointTotals, TIME_BUCKETS, TIMED_SHARE, WorkerCounters, time_bucket_end_ns,
};
