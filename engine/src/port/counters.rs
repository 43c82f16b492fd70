//! What a port's rings did: numbers with one writer at a time, read from anywhere.

use crate::counters::Counter;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// One ring's counters. Its owner and whoever handles its batch write different ones, with plain stores.
        #[derive(Debug, Default)]
        pub(super) struct Counters { $(pub(super) $name: Counter),* }

        /// What one ring did since the port was started, or several rings added up.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct PortTotals {
            $($(#[$doc])* pub $name: u64,)*
            /// Datagrams sent for the handler.
            pub sent: u64,
            /// Bytes of their payloads.
            pub sent_bytes: u64,
            /// Datagrams of the handler's that were not sent: the queue was full, or the kernel refused them.
            pub refused_sends: u64,
            /// Datagrams that the kernel dropped at the sockets, for want of room in their receive buffers.
            pub dropped: u64,
        }

        impl PortTotals {
            pub(super) fn add(&mut self, counters: &Counters) {
                $(self.$name += counters.$name.get();)*
            }

            /// Names and values, for machine-readable faces.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                let sent = [
                    ("sent", self.sent),
                    ("sent_bytes", self.sent_bytes),
                    ("refused_sends", self.refused_sends),
                    ("dropped", self.dropped),
                ];
                [$((stringify!($name), self.$name)),*].into_iter().chain(sent)
            }
        }
    };
}

counters! {
    /// Datagrams received: handled, being handled, waiting for it, or abandoned. A train that the kernel joined (GRO) counts as
    /// one, here and below.
    received,
    /// Batches that were handled, those in which the handler panicked included.
    batches,
    /// Datagrams in them.
    datagrams,
    /// Bytes of payload in them.
    bytes,
    /// Datagrams among them that were longer than their buffer and cut.
    truncated,
    /// Batches that the ring's owner handled itself.
    handled_by_owner,
    /// Batches in which the handler panicked.
    panics,
    /// Batches that took longer than [`PortOptions::stall_after`](super::PortOptions::stall_after).
    stalls,
    /// Time spent in the handler and in sending what it asked for, in microseconds.
    handling_us,
    /// Times the owner returned from waiting. Where rings share an owner, the first one counts.
    wakes,
    /// Errors that sockets reported (ICMP, interface down); reception went on.
    errors,
    /// Errors at whose telling the handler panicked.
    error_panics,
    /// Sockets that stopped receiving for good.
    ended_sockets,
    /// Datagrams in batches that were given up because the port was stopped and its time was up.
    abandoned,
    /// Times a socket had to wait because all its buffers were out. Where rings share an owner, the first one counts.
    out_of_buffers,
}

/// The time at which a ring's present batch was begun, for those who watch for stalls.
#[derive(Debug, Default)]
pub(super) struct Begun(AtomicU64);

impl Begun {
    /// Notes the time, in microseconds since the port was started; from 1 on.
    pub(super) fn set(&self, at: Duration) {
        let at_us = u64::try_from(at.as_micros()).unwrap_or(u64::MAX).max(1);
        self.0.store(at_us, Ordering::Relaxed);
    }

    pub(super) fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Option<Duration> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            at_us => Some(Duration::from_micros(at_us)),
        }
    }
}
