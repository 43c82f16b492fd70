//! What owners and pool threads of a port share, and the handling of one batch.

use super::control::Control;
use super::counters::{Begun, Counters, PortTotals};
use super::exchange::Exchange;
use super::outlet::Outlet;
use super::{PortError, PortHandler, PortOptions, PortSocket};
use crate::udp::Outgoing;
use ringway_ring::socket::SendBatch;
use ringway_ring::{Batch, Waker};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// A batch on its way to a pool thread.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) socket: usize,
    pub(super) batch: Batch,
}

/// A batch on its way back to its ring.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) batch: Batch,
    /// How long it was handled.
    pub(super) busy: Duration,
}

/// Everything that a port's threads share.
pub(super) struct Inside {
    pub(super) exchange: Exchange<Task, Done>,
    pub(super) control: Control,
    pub(super) rings: Vec<RingSide>,
    pub(super) handler: Arc<dyn PortHandler>,
    epoch: Instant,
    stall_after: Duration,
}

/// What is shared of one ring.
#[derive(Debug)]
pub(super) struct RingSide {
    pub(super) counters: Counters,
    /// When the present batch was begun.
    begun: Begun,
    /// The ways out of its sockets.
    pub(super) outlets: Vec<Outlet>,
    /// One of them has become full; the owner waits for room.
    pub(super) has_full: AtomicBool,
    /// Ends the owner's wait; set when the ring is made.
    pub(super) waker: OnceLock<Waker>,
}

impl Inside {
    pub(super) fn new(
        rings: &[Vec<OwnedFd>],
        owners: usize,
        options: &PortOptions,
        handler: Arc<dyn PortHandler>,
    ) -> Result<Self, PortError> {
        let sides = rings.iter().enumerate().map(|(ring, sockets)| RingSide::new(ring, sockets, options));
        Ok(Self {
            exchange: Exchange::new(rings.len(), options.threads),
            control: Control::new(owners, options.threads),
            rings: sides.collect::<Result<_, _>>()?,
            handler,
            epoch: Instant::now(),
            stall_after: options.stall_after,
        })
    }

    /// Handles a batch on this thread; says how long that took. The exchange has seen to it that no other thread handles
    /// one of this ring.
    pub(super) fn handle(&self, from: PortSocket, batch: &Batch) -> Duration {
        let side = &self.rings[from.ring];
        let outlet = &side.outlets[from.socket];
        let mut queue = outlet.queue();
        let started = Instant::now();
        side.begun.set(started.saturating_duration_since(self.epoch));
        let mut refused = 0;
        let mut out = Outgoing::new(&mut queue, &mut refused);
        let outcome = catch_unwind(AssertUnwindSafe(|| self.handler.batch(from, batch, &mut out)));
        outlet.refused.add(refused);
        if outlet.flush(&mut queue) {
            side.has_full.store(true, Ordering::Release);
        }
        side.begun.clear();
        let busy = started.elapsed();
        let counters = &side.counters;
        counters.batches.add(1);
        counters.datagrams.add(batch.len() as u64);
        counters.bytes.add(batch.payload_bytes() as u64);
        counters.truncated.add(batch.truncated() as u64);
        counters.handling_us.add(u64::try_from(busy.as_micros()).unwrap_or(u64::MAX));
        counters.panics.add(u64::from(outcome.is_err()));
        counters.stalls.add(u64::from(busy > self.stall_after));
        busy
    }

    pub(super) fn totals(&self) -> PortTotals {
        let mut totals = PortTotals::default();
        self.rings.iter().for_each(|side| side.add_to(&mut totals));
        totals
    }

    pub(super) fn totals_of(&self, ring: usize) -> PortTotals {
        let mut totals = PortTotals::default();
        if let Some(side) = self.rings.get(ring) {
            side.add_to(&mut totals);
        }
        totals
    }

    pub(super) fn handling_for(&self, ring: usize) -> Option<Duration> {
        let begun = self.rings.get(ring)?.begun.get()?;
        Some(self.epoch.elapsed().saturating_sub(begun))
    }

    /// Rings whose handler is at work.
    pub(super) fn handled_rings(&self) -> Vec<usize> {
        (0..self.rings.len()).filter(|&ring| self.rings[ring].begun.get().is_some()).collect()
    }

    /// Ends the waits of owners for their rings.
    pub(super) fn wake_owners(&self) {
        self.rings.iter().filter_map(|side| side.waker.get()).for_each(Waker::wake);
    }

    /// Gives up what waits to be handled; owners end at once, except those in a handler.
    pub(super) fn give_up(&self) {
        self.exchange.abandon();
        self.control.give_up();
        self.wake_owners();
    }

    pub(super) fn close_sockets(&self) {
        self.rings.iter().flat_map(|side| &side.outlets).for_each(Outlet::close);
    }
}

impl RingSide {
    fn new(ring: usize, sockets: &[OwnedFd], options: &PortOptions) -> Result<Self, PortError> {
        let outlet = |(socket, fd): (usize, &OwnedFd)| {
            let queue = SendBatch::new(options.queue_messages_max, options.queue_bytes_max);
            let clone = fd.try_clone().map_err(|error| PortError::Socket(PortSocket { ring, socket }, error));
            clone.map(|fd| Outlet::new(fd, queue))
        };
        Ok(Self {
            counters: Counters::default(),
            begun: Begun::default(),
            has_full: AtomicBool::new(false),
            outlets: sockets.iter().enumerate().map(outlet).collect::<Result<_, _>>()?,
            waker: OnceLock::new(),
        })
    }

    fn add_to(&self, totals: &mut PortTotals) {
        totals.add(&self.counters);
        for outlet in &self.outlets {
            totals.sent += outlet.sent.get();
            totals.sent_bytes += outlet.sent_bytes.get();
            totals.refused_sends += outlet.refused.get();
            totals.dropped += outlet.dropped();
        }
    }
}

/// A pool thread's work, until the port ends.
pub(super) fn work(inside: &Inside, seat: usize) {
    let mut job = inside.exchange.arrive(seat);
    while let Some((ring, Task { socket, batch })) = job {
        let busy = inside.handle(PortSocket { ring, socket }, &batch);
        let side = &inside.rings[ring];
        if side.has_full.load(Ordering::Relaxed) {
            side.waker.get().into_iter().for_each(Waker::wake);
        }
        job = inside.exchange.finish(seat, ring, Done { batch, busy });
    }
    inside.control.seat_ended(seat);
}
