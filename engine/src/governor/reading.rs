//! How governed connections begin new work: at once, in their turn, or not at all.

use super::GovernedRead;
use super::side::Reading;
use crate::core::Core;
use crate::record::{ConnId, Record};
use ringway_pace::governor::Verdict;
use std::rc::Rc;

/// Longest time a rejected peer is told to stay away, in seconds.
const RETRY_AFTER_S_MAX: u64 = 120;

impl Record {
    pub(super) fn reading(&self) -> Reading {
        self.extra.as_ref().map_or(Reading::None, |extra| extra.reading_began)
    }
}

impl Core {
    /// What a connection that is to begin new work may do.
    pub(crate) fn govern_read(&mut self, id: ConnId) -> GovernedRead {
        let (Some(side), Some(record)) = (&mut self.governor, self.conns.get(id)) else {
            return GovernedRead::Allow;
        };
        let under = side.table.under(record.endpoint, record.site);
        match record.reading() {
            Reading::None => {
                let left = record.extra.as_mut().map_or(0, |extra| std::mem::take(&mut extra.reserved));
                if left > 0 {
                    side.refund_read(under, left);
                }
            }
            Reading::Granted => {
                record.extra().reading_began = Reading::None;
                return GovernedRead::Allow;
            }
            Reading::Waits(_) => return GovernedRead::Block,
            Reading::Expired => {
                record.extra().reading_began = Reading::None;
                return self.reject(id);
            }
        }
        let mut waits = None;
        let table = Rc::clone(&side.table);
        for place in under.places() {
            let entry = &table.entries[place];
            // The last look may be of long ago.
            entry.sample(side.now_ns);
            match entry.rules.read(entry.verdicts(), entry.is_free(side.now_ns)) {
                Verdict::Allow => {}
                Verdict::Block => drop(waits.get_or_insert(place)),
                Verdict::Reject => return self.reject(id),
            }
        }
        let Some(place) = waits else {
            side.note_read(under);
            return GovernedRead::Allow;
        };
        if side.queues[place].round.len() >= table.entries[place].bandwidth.reads_waiting_max {
            return self.reject(id);
        }
        side.numbers = side.numbers.wrapping_add(1);
        record.extra().reading_began = Reading::Waits(side.numbers);
        let number = side.numbers;
        side.wait_to_read(place, id, number);
        GovernedRead::Block
    }

    /// Forgets what a connection has asked for; its place in a queue is passed over.
    pub(crate) fn withdraw_read(&mut self, id: ConnId) {
        if let Some(record) = self.conns.get(id).filter(|record| record.reading() != Reading::None) {
            record.extra().reading_began = Reading::None;
        }
    }

    /// Counts bytes that arrived.
    pub(crate) fn govern_received(&mut self, id: ConnId, bytes: u64) {
        let (Some(side), Some(record)) = (&self.governor, self.conns.get(id)) else { return };
        side.charge_received(side.table.under(record.endpoint, record.site), bytes);
    }

    fn reject(&mut self, id: ConnId) -> GovernedRead {
        let (Some(side), Some(record)) = (&self.governor, self.conns.get(id)) else {
            return GovernedRead::Allow;
        };
        let mut longest_ns = 0;
        for place in side.table.under(record.endpoint, record.site).places() {
            side.seat(place).rejected.add(1);
            longest_ns = longest_ns.max(side.table.entries[place].free_in_ns(side.now_ns));
        }
        let seconds = longest_ns.div_ceil(1_000_000_000).clamp(1, RETRY_AFTER_S_MAX);
        GovernedRead::Reject { retry_after_s: u32::try_from(seconds).unwrap_or(1) }
    }
}
