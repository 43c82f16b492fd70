//! A worker's side of the governor: who waits there, in which order they go on, and when.

use super::scope::{Seat, Table, Under};
use super::sending::WAITING;
use super::{Direction, EstimateBy};
use crate::core::Core;
use crate::protocol::Events;
use crate::record::{ConnId, Flags};
use ringway_pace::governor::{Estimate, Round, RunningAverage};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

const NS_PER_MS: u64 = 1_000_000;

/// What a worker keeps of the governor.
pub(crate) struct Side {
    pub(crate) worker: usize,
    epoch: Instant,
    pub(crate) now_ns: u64,
    pub(crate) table: Rc<Table>,
    /// Of each scope.
    pub(crate) queues: Vec<Queue>,
    /// The scopes where somebody waits.
    active: Vec<usize>,
    /// Numbers of waits so far.
    pub(crate) numbers: u32,
}

/// A scope's waiters on this worker.
#[derive(Default)]
pub(crate) struct Queue {
    pub(crate) round: Round<Waiter>,
    /// Reads in the order in which they began to wait, with the end of their patience.
    reads: VecDeque<(u64, ConnId, u32)>,
    average: RunningAverage,
    /// Reads that were let go, and bytes sent, since the last look; and what a read came to.
    begun: u64,
    sent: u64,
    answer_bytes: u64,
    looked_at_ns: u64,
    /// It is in the list of those where somebody waits.
    is_active: bool,
}

/// Who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiter {
    /// A read, with the number of its wait.
    Read(ConnId, u32),
    /// The piece at the front of the connection's queue.
    Send(ConnId),
}

/// How a connection's read that begins new work stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Reading {
    /// None waits.
    #[default]
    None,
    /// One waits, with the number of its wait.
    Waits(u32),
    /// One may go on.
    Granted,
    /// One has waited for too long.
    Expired,
}

impl Queue {
    /// What a read is expected to send, at most a piece.
    fn read_cost(&self, piece: u64) -> u64 {
        if self.answer_bytes == 0 { piece } else { self.answer_bytes.min(piece) }
    }

    /// A look at what reads came to, now and then.
    fn look(&mut self, now_ns: u64) {
        if now_ns < self.looked_at_ns + 100 * NS_PER_MS || self.begun == 0 {
            return;
        }
        let each = (self.sent / self.begun).max(1);
        self.answer_bytes =
            if self.answer_bytes == 0 { each } else { self.answer_bytes / 2 + each / 2 }.max(1);
        (self.begun, self.sent, self.looked_at_ns) = (0, 0, now_ns);
    }
}

impl Side {
    pub(crate) fn new(worker: usize, epoch: Instant, table: Table) -> Self {
        let queues = table.entries.iter().map(|_| Queue::default()).collect();
        let mut side =
            Self { worker, epoch, now_ns: 0, table: Rc::new(table), queues, active: Vec::new(), numbers: 0 };
        side.update_clock();
        side
    }

    pub(crate) fn update_clock(&mut self) {
        self.now_ns = u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX);
    }

    pub(crate) fn seat(&self, place: usize) -> &Seat {
        self.table.entries[place].seat(self.worker)
    }

    /// Takes the lines of all scopes that count what is sent.
    pub(crate) fn charge_sent(&mut self, under: Under, bytes: u64, paid: u64, took_us: u64) {
        for place in under.places() {
            let entry = &self.table.entries[place];
            // Before they are counted: what was sent earlier belongs to earlier.
            entry.sample(self.now_ns);
            let seat = entry.seat(self.worker);
            seat.sent.add(bytes);
            let queue = &mut self.queues[place];
            queue.sent += bytes;
            if !entry.counts_sent() {
                continue;
            }
            entry.charge(self.now_ns, bytes - paid.min(bytes));
            if entry.bandwidth.estimate == EstimateBy::RunningAverage {
                queue.average.add(self.now_ns / 1_000, bytes, took_us);
                entry.averaged(self.worker, self.now_ns, queue.average.bytes_per_s(self.now_ns / 1_000));
            }
        }
    }

    pub(crate) fn charge_received(&self, under: Under, bytes: u64) {
        for place in under.places() {
            let entry = &self.table.entries[place];
            entry.sample(self.now_ns);
            entry.seat(self.worker).received.add(bytes);
            if entry.counts_received() {
                entry.charge(self.now_ns, bytes);
            }
        }
    }

    /// A read goes on that need not wait.
    pub(crate) fn note_read(&mut self, under: Under) {
        under.places().for_each(|place| self.queues[place].begun += 1);
    }

    /// Reserves what a read is expected to send; returns how much that is.
    pub(crate) fn charge_read(&mut self, under: Under) -> u64 {
        let mut most = 0;
        for place in under.places() {
            let (entry, queue) = (&self.table.entries[place], &mut self.queues[place]);
            queue.begun += 1;
            queue.look(self.now_ns);
            if entry.bandwidth.direction != Direction::Received {
                most = most.max(queue.read_cost(entry.rules.line().piece_bytes()));
            }
        }
        let counting =
            under.places().map(|place| &self.table.entries[place]).filter(|entry| entry.counts_sent());
        counting.for_each(|entry| entry.charge(self.now_ns, most));
        most
    }

    /// Gives back what was reserved for a read whose answer was shorter: kept until the connection's next turn, it would be
    /// missed by the others now and be too much for them then.
    pub(crate) fn refund_read(&self, under: Under, left: u64) {
        let counting = under.places().map(|place| &self.table.entries[place]);
        counting.filter(|entry| entry.counts_sent()).for_each(|entry| entry.refund(left));
    }

    /// The first scope under which nothing may go on now.
    pub(crate) fn first_taken(&self, under: Under) -> Option<usize> {
        under.places().find(|&place| !self.table.entries[place].is_free(self.now_ns))
    }

    pub(crate) fn wait(&mut self, place: usize, waiter: Waiter, cost: u64) {
        self.push(place, waiter, cost);
        self.seat(place).blocked.add(1);
    }

    fn push(&mut self, place: usize, waiter: Waiter, cost: u64) {
        let queue = &mut self.queues[place];
        queue.round.push(waiter, cost);
        if !std::mem::replace(&mut queue.is_active, true) {
            self.active.push(place);
        }
        self.seat(place).waiting.set(self.queues[place].round.len() as u64);
    }

    /// The scopes where somebody waits, to be looked at; those where somebody still does come back with [`Side::settle`].
    fn take_active(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.active)
    }

    fn settle(&mut self, place: usize) {
        let queue = &mut self.queues[place];
        queue.is_active = !queue.round.is_empty() || !queue.reads.is_empty();
        if queue.is_active {
            self.active.push(place);
        }
        self.seat(place).waiting.set(self.queues[place].round.len() as u64);
    }

    pub(crate) fn wait_to_read(&mut self, place: usize, id: ConnId, number: u32) {
        let entry = &self.table.entries[place];
        let until_ns = self.now_ns.saturating_add(entry.bandwidth.read_wait_ms_max.saturating_mul(NS_PER_MS));
        let cost = self.queues[place].read_cost(entry.rules.line().piece_bytes());
        self.queues[place].reads.push_back((until_ns, id, number));
        self.wait(place, Waiter::Read(id, number), cost);
    }

    /// When somebody is to be let go next, in nanoseconds from now.
    fn next_in_ns(&self) -> Option<u64> {
        let mut next = None;
        for &place in &self.active {
            let (entry, queue) = (&self.table.entries[place], &self.queues[place]);
            let free = (!queue.round.is_empty()).then(|| entry.free_in_ns(self.now_ns));
            let expiry = queue.reads.front().map(|(until_ns, ..)| until_ns.saturating_sub(self.now_ns));
            next = [next, free, expiry].into_iter().flatten().min();
        }
        next
    }
}

impl Core {
    /// Looks at the clock and the use, and lets go on whoever may, in turn.
    pub(crate) fn let_go_on(&mut self) {
        self.update_clock();
        while let Some(index) = self.paced.expire(self.now_ms) {
            self.pace_again(index);
        }
        let Some(side) = &mut self.governor else { return };
        let (table, now_ns) = (Rc::clone(&side.table), side.now_ns);
        for place in side.take_active() {
            let entry = &table.entries[place];
            entry.sample(now_ns);
            self.expire_reads(place, now_ns);
            let piece = entry.rules.line().piece_bytes();
            while entry.is_free(now_ns) {
                let Some(side) = &mut self.governor else { return };
                let Some((waiter, cost)) = side.queues[place].round.pop(piece) else { break };
                self.let_one_go(place, waiter, cost);
            }
            if let Some(side) = &mut self.governor {
                side.settle(place);
            }
        }
    }

    /// When [`Core::let_go_on`] has something to do, by the worker's clock.
    pub(crate) fn next_to_go_on_ms(&self) -> Option<u64> {
        let governed = self.governor.as_ref().and_then(|side| side.next_in_ns());
        let governed = governed.map(|ns| self.now_ms.saturating_add(ns.div_ceil(NS_PER_MS)));
        [governed, self.paced.next_wakeup()].into_iter().flatten().min()
    }

    fn let_one_go(&mut self, place: usize, waiter: Waiter, cost: u64) {
        let (Waiter::Read(id, _) | Waiter::Send(id)) = waiter;
        let (Some(side), Some(record)) = (&mut self.governor, self.conns.get(id)) else { return };
        let waits = match waiter {
            Waiter::Read(_, number) => record.reading() == Reading::Waits(number),
            Waiter::Send(_) => record.sending == Some(WAITING),
        };
        if !waits || record.flags.has(Flags::BROKEN) {
            return;
        }
        let under = side.table.under(record.endpoint, record.site);
        // Another scope may have been taken meanwhile: then it waits there.
        if let Some(other) = side.first_taken(under).filter(|&other| other != place) {
            side.push(other, waiter, cost);
            return;
        }
        match waiter {
            Waiter::Read(..) => {
                let extra = record.extra();
                extra.reading_began = Reading::Granted;
                extra.reserved = side.charge_read(under);
                self.notify(id, Events::DATA);
            }
            Waiter::Send(_) => self.send_granted(id, cost),
        }
    }

    fn expire_reads(&mut self, place: usize, now_ns: u64) {
        loop {
            let Some(side) = &mut self.governor else { return };
            let queue = &mut side.queues[place];
            let Some(&(until_ns, id, number)) = queue.reads.front() else { return };
            let is_over = until_ns <= now_ns;
            let waits = self.conns.get(id).is_some_and(|record| record.reading() == Reading::Waits(number));
            if waits && !is_over {
                return;
            }
            queue.reads.pop_front();
            if let Some(record) = self.conns.get(id).filter(|_| waits) {
                record.extra().reading_began = Reading::Expired;
                self.notify(id, Events::DATA);
            }
        }
    }

    /// Puts another governor in place, or none. Who waits is asked again, in its order.
    pub(crate) fn govern(&mut self, side: Option<Side>) {
        let old = std::mem::replace(&mut self.governor, side.map(Box::new));
        self.is_governed = self.governor.is_some() || self.has_rates;
        let Some(mut old) = old else { return };
        for (place, queue) in old.queues.iter_mut().enumerate() {
            old.table.entries[place].seat(old.worker).waiting.set(0);
            for waiter in queue.round.drain() {
                self.ask_again(waiter);
            }
        }
    }

    fn ask_again(&mut self, waiter: Waiter) {
        let (Waiter::Read(id, _) | Waiter::Send(id)) = waiter;
        let Some(record) = self.conns.get(id) else { return };
        match waiter {
            Waiter::Read(_, number) if record.reading() == Reading::Waits(number) => {
                record.extra().reading_began = Reading::None;
                self.notify(id, Events::DATA);
            }
            Waiter::Send(_) if record.sending == Some(WAITING) => {
                record.sending = None;
                self.continue_sending(id);
            }
            _ => {}
        }
    }
}
