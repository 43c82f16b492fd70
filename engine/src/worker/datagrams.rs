//! A worker's datagrams: batches to their handlers, answers to the kernel.

use super::Worker;
use crate::udp::{News, Next, Outgoing};
use ringway_ring::socket::{self, Refusal};
use std::panic::{AssertUnwindSafe, catch_unwind};

impl Worker {
    /// Hands the batches that have come to their handlers, outside of the core, and sends the answers.
    pub(super) fn give_datagrams(&self) {
        // What is new meanwhile is for the next turn.
        let count = self.local.core.borrow().udp.news();
        for _ in 0..count {
            let next = self.local.core.borrow_mut().udp.next();
            let Some(next) = next else { return };
            let Next { place, endpoint, mut news, mut out, socket: handle, may_send } = next;
            let mut refused = 0;
            let panicked = self.tell_handler(endpoint, &mut news, &mut Outgoing::new(&mut out, &mut refused));
            {
                let core = &mut *self.local.core.borrow_mut();
                core.counters.panics.add(u64::from(panicked));
                core.counters.datagrams_refused.add(refused);
                if let News::Batch(batch) = news {
                    core.ring.recycle(batch);
                }
            }
            let fd = handle.kernel().filter(|_| may_send && !out.is_empty());
            let Some(fd) = fd else {
                self.local.core.borrow_mut().udp.give_back(place, out);
                continue;
            };
            let sent = socket::send_datagrams(fd, &mut out);
            self.tell_refused(endpoint, out.refusals());
            self.local.core.borrow_mut().datagrams_flushed(place, out, &sent);
        }
    }

    /// Whether the handler panicked.
    fn tell_handler(&self, endpoint: usize, news: &mut News, out: &mut Outgoing<'_>) -> bool {
        let Some(handler) = self.parts.datagram_handlers.get(endpoint) else { return false };
        let told = catch_unwind(AssertUnwindSafe(|| match news {
            News::Batch(batch) => handler.datagrams(batch, out),
            News::Error(error) => handler.error(error),
            News::Flush => {}
        }));
        told.is_err()
    }

    fn tell_refused(&self, endpoint: usize, refusals: &[Refusal]) {
        let Some(handler) = self.parts.datagram_handlers.get(endpoint).filter(|_| !refusals.is_empty())
        else {
            return;
        };
        if catch_unwind(AssertUnwindSafe(|| handler.refused(refusals))).is_err() {
            self.parts.counters.panics.add(1);
        }
    }
}
