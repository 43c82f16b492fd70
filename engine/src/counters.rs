//! Counters of one worker: written by its thread alone, with plain stores; readers add the workers up.

use ringway_lock::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// One worker's counters. Only the owning worker writes; anybody may read, slightly stale.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: Counter,)*
            /// What came through each door.
            pub(crate) doors: Doors,
        }

        /// Counters of all workers added up at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Totals { $($(#[$doc])* pub $name: u64),* }

        impl Totals {
            /// Adds one worker's counters.
            pub fn add(&mut self, counters: &Counters) {
                $(self.$name += counters.$name.get();)*
            }

            /// Names and values, for machine-readable faces.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }
        }
    };
}

counters! {
    /// Connections accepted.
    accepted,
    /// Connections that this side opened.
    connected,
    /// Connections open now.
    open,
    /// Connections taken over from the worker that accepted them.
    adopted,
    /// Connections refused at a limit.
    refused,
    /// Connections closed.
    closed,
    /// Accepts that failed for want of descriptors or memory.
    accept_failures,
    /// Handshakes of endpoints' filters that were done.
    handshakes,
    /// Those that failed, were given up or took too long.
    handshakes_failed,
    /// Turns of protocols.
    turns,
    /// Tasks started.
    tasks,
    /// Turns and tasks that panicked.
    panics,
    /// Deadlines that passed.
    timeouts,
    /// Bytes received.
    bytes_received,
    /// Bytes handed to the kernel for sending.
    bytes_sent,
    /// Datagrams received; a train counts as one.
    datagrams_received,
    /// Bytes of their payloads.
    datagram_bytes_received,
    /// Datagrams that were longer than their buffer and cut.
    datagrams_truncated,
    /// Datagrams that the kernel dropped at a socket for want of room, as far as later datagrams have told, and at the end.
    datagrams_dropped,
    /// Times a UDP socket's reception had to wait for a free buffer.
    datagram_buffers_out,
    /// Errors that UDP sockets reported.
    datagram_errors,
    /// Datagrams sent.
    datagrams_sent,
    /// Bytes of their payloads.
    datagram_bytes_sent,
    /// Datagrams that were not sent: the queue was full, or the kernel refused them.
    datagrams_refused,
    /// Streams that had to wait for a free buffer.
    starved,
    /// Times the accept queue was seen nearly full.
    backlog_alarms,
    /// Connections in the fullest accept queue seen.
    backlog_high,
    /// Operations in flight now.
    operations,
    /// I/O memory mapped now, in bytes.
    memory_bytes,
    /// Whether the worker was asked to finish: 1 from then on.
    draining,
    /// Longest turn of the loop, in microseconds.
    longest_turn_us,
    /// Time spent in turns of the loop, waits excluded, in nanoseconds.
    busy_ns,
}

/// What came through an endpoint on one worker.
#[derive(Debug, Default)]
pub struct DoorCounters {
    /// Connections open now.
    pub open: Counter,
    /// Connections accepted.
    pub accepted: Counter,
    /// Of them those refused at a limit.
    pub refused: Counter,
}

/// What came through an endpoint on all workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DoorTotals {
    /// As in [`DoorCounters`].
    pub open: u64,
    /// As in [`DoorCounters`].
    pub accepted: u64,
    /// As in [`DoorCounters`].
    pub refused: u64,
}

/// The counters of a worker's doors: its kinds of outbound connections, and then its endpoints. The list grows as endpoints
/// are added, which is rare; the counters themselves are written without it.
#[derive(Debug, Default)]
pub(crate) struct Doors {
    outbound: AtomicU64,
    list: Mutex<Vec<Arc<DoorCounters>>>,
}

impl Doors {
    /// Takes the next door in.
    pub(crate) fn push(&self, door: &Arc<DoorCounters>, is_outbound: bool) {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(door));
        if is_outbound {
            self.outbound.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many connections of a door are open.
    pub(crate) fn open_of(&self, door: u16) -> u64 {
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.get(usize::from(door)).map_or(0, |door| door.open.get())
    }

    /// Adds what came through the endpoints to `totals`, one place an endpoint.
    pub(crate) fn add_endpoints(&self, totals: &mut Vec<DoorTotals>) {
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let outbound = usize::try_from(self.outbound.load(Ordering::Relaxed)).unwrap_or(0);
        let endpoints = list.get(outbound..).unwrap_or_default();
        totals.resize(totals.len().max(endpoints.len()), DoorTotals::default());
        for (total, door) in totals.iter_mut().zip(endpoints) {
            total.open += door.open.get();
            total.accepted += door.accepted.get();
            total.refused += door.refused.get();
        }
    }
}

/// A number with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Zero.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// The value, as of a moment ago.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets the value. By the owning worker only.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Adds without a read-modify-write instruction. By the owning worker only.
    pub fn add(&self, more: u64) {
        self.set(self.get().wrapping_add(more));
    }

    /// Raises to `value` if that is more. By the owning worker only.
    pub fn raise(&self, value: u64) {
        if value > self.get() {
            self.set(value);
        }
    }
}
