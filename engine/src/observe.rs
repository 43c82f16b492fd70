//! Looking at a running server from any thread: its workers' counters, and a bounded list of its connections.

use crate::core::Core;
use crate::counters::{Counters, DoorTotals, Totals};
use crate::mailbox::{Mailbox, Message};
use crate::protocol::Protocol;
use crate::record::{ConnId, Flags};
use crate::server::Server;
use ringway_ring::socket;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// Looks at a server. Cheap to clone, and for any thread.
#[derive(Clone)]
pub struct Observer {
    workers: Arc<[Watched]>,
}

/// A worker as it is looked at.
pub(crate) struct Watched {
    pub(crate) mailbox: Mailbox,
    pub(crate) counters: Arc<Counters>,
}

/// What a worker is asked for.
pub(crate) struct Survey {
    worker: usize,
    most: usize,
    found: Sender<Vec<ConnectionFacts>>,
}

/// One connection as it was a moment ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionFacts {
    /// The worker it lives on.
    pub worker: usize,
    /// Its name on that worker: place and generation.
    pub id: u64,
    /// The endpoint's place among the server's, outbound kinds behind them.
    pub endpoint: usize,
    /// Who is at the other end; `None` for Unix sockets.
    pub peer: Option<SocketAddr>,
    /// What its protocol says of it; nothing while that cannot be asked.
    pub description: Description,
    /// Whether a task holds it.
    pub has_task: bool,
    /// Whether a filter (TLS) stands between transport and protocol.
    pub is_filtered: bool,
    /// Whether its protocol is done with it.
    pub is_closing: bool,
    /// Bytes that arrived and are not read.
    pub unread_bytes: usize,
    /// Pieces that wait to be sent behind the one under way.
    pub queued: usize,
    /// Bytes received since the connection began, as the kernel counts them; `None` where it does not.
    pub bytes_received: Option<u64>,
    /// Bytes of it that the peer has acknowledged.
    pub bytes_acknowledged: Option<u64>,
}

/// What a protocol says of one of its connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// What it waits for, in a word.
    pub state: &'static str,
    /// Requests or messages so far.
    pub requests: u64,
    /// The worker's clock when the connection was opened, in milliseconds; `None` where nobody took note.
    pub opened_ms: Option<u64>,
    /// Its age in milliseconds; set by the engine from `opened_ms`.
    pub age_ms: Option<u64>,
}

impl Observer {
    pub(crate) fn new(workers: impl Iterator<Item = Watched>) -> Self {
        Self { workers: workers.collect() }
    }

    /// All workers' counters added up.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        self.workers.iter().for_each(|worker| totals.add(&worker.counters));
        totals
    }

    /// Each worker's counters, in their order.
    #[must_use]
    pub fn workers(&self) -> Vec<Totals> {
        let of = |worker: &Watched| {
            let mut totals = Totals::default();
            totals.add(&worker.counters);
            totals
        };
        self.workers.iter().map(of).collect()
    }

    /// What came through each endpoint, in the endpoints' order.
    #[must_use]
    pub fn endpoints(&self) -> Vec<DoorTotals> {
        let mut totals = Vec::new();
        self.workers.iter().for_each(|worker| worker.counters.doors.add_endpoints(&mut totals));
        totals
    }

    /// At most `most` of the open connections, taken from the workers in turn, and of those that answer within `within`.
    /// A worker looks at its own between two turns of its loop.
    #[must_use]
    pub fn connections(&self, most: usize, within: Duration) -> Vec<ConnectionFacts> {
        let until = Instant::now() + within;
        let mut asked = Vec::new();
        for (index, worker) in self.workers.iter().enumerate() {
            let (found, answer) = channel();
            // One that has stopped has no connections.
            if worker.mailbox.send(Message::Survey(Survey { worker: index, most, found })) {
                asked.push(answer);
            }
        }
        let answer = |answer: Receiver<Vec<ConnectionFacts>>| {
            let left = until.saturating_duration_since(Instant::now());
            answer.recv_timeout(left).unwrap_or_default().into_iter()
        };
        in_turn(asked.into_iter().map(answer).collect(), most)
    }
}

/// At most `most` of all, one of each in turn.
fn in_turn<T>(mut lists: Vec<impl Iterator<Item = T>>, most: usize) -> Vec<T> {
    let mut all = Vec::new();
    loop {
        let before = all.len();
        for list in &mut lists {
            all.extend(list.next().filter(|_| all.len() < most));
        }
        if all.len() == before {
            return all;
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Observer({} workers)", self.workers.len())
    }
}

impl fmt::Debug for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Survey({})", self.most)
    }
}

impl Server {
    /// What looks at this server from any thread, also after it has stopped.
    #[must_use]
    pub fn observer(&self) -> Observer {
        Observer::new(self.watched())
    }
}

impl Survey {
    /// Looks at a worker's connections and tells.
    pub(crate) fn carry_out(self, core: &mut Core, protocols: &[Option<Rc<dyn Protocol>>]) {
        let ids = core.conns.first_ids(self.most);
        let facts = ids.into_iter().filter_map(|id| facts(core, protocols, id));
        let facts = facts.map(|facts| ConnectionFacts { worker: self.worker, ..facts }).collect();
        let _asker_gave_up = self.found.send(facts);
    }
}

fn facts(core: &mut Core, protocols: &[Option<Rc<dyn Protocol>>], id: ConnId) -> Option<ConnectionFacts> {
    let now_ms = core.now_ms;
    let record = core.conns.get(id)?;
    let door = usize::from(record.endpoint);
    let mut description = protocols
        .get(door)
        .and_then(Option::as_ref)
        .map(|one| one.describe(record.context))
        .unwrap_or_default();
    description.age_ms = description.opened_ms.map(|at_ms| now_ms.saturating_sub(at_ms));
    // Asked of the kernel, not of the record: that would keep it for good.
    let kernel = record.socket.kernel();
    let carried = kernel.and_then(|fd| socket::carried_bytes(fd).ok());
    Some(ConnectionFacts {
        worker: 0,
        id: u64::from(id.generation) << 32 | u64::from(id.index),
        endpoint: place(door, core.doors.len(), core.outbound),
        peer: record
            .extra
            .as_ref()
            .and_then(|extra| extra.peer)
            .or_else(|| kernel.and_then(socket::peer_address)),
        description,
        has_task: record.task.is_some(),
        is_filtered: record.has_filter(),
        is_closing: record.flags.is_closing() || record.flags.has(Flags::BROKEN),
        unread_bytes: record.inbox.len(),
        queued: record.queued(),
        bytes_received: carried.map(|carried| carried.received),
        bytes_acknowledged: carried.map(|carried| carried.acknowledged),
    })
}

/// A door's place as it is told: the endpoints', and the kinds of outbound connections behind them.
fn place(door: usize, doors: usize, outbound: usize) -> usize {
    if door < outbound { doors - outbound + door } else { door - outbound }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_taken_from_in_turn_and_never_too_much() {
        let lists = || vec![vec![1, 2, 3].into_iter(), vec![].into_iter(), vec![10].into_iter()];
        assert_eq!(in_turn(lists(), 9), [1, 10, 2, 3]);
        assert_eq!(in_turn(lists(), 3), [1, 10, 2]);
        assert_eq!(in_turn(lists(), 0), []);
    }
}
