//! The bandwidth governor on a server: whom it governs, how it is set and looked at from any thread.

mod reading;
mod scope;
mod sending;
mod side;

pub(crate) use sending::{ConnRate, WAITING};
pub(crate) use side::{Reading, Side};

use crate::mailbox::{Mailbox, Message, Visit};
use crate::worker::Worker;
use ringway_lock::{Mutex, MutexGuard};
use ringway_pace::governor::{Policy, Rules, SMALL_BYTES_MAX, Verdicts};
use scope::{Entry, Table, Words};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

/// Least M, in bytes a second.
pub const BANDWIDTH_MIN: u64 = 1_000;

/// Most scopes with an M at once.
pub const SCOPES_MAX: usize = 4_096;

/// Whose traffic is governed. A connection is under every scope it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Everything.
    Server,
    /// The connections of the endpoint at this place.
    Endpoint(usize),
    /// What a protocol says that a request is for ([`crate::Conn::set_scope`]): a site, an export. From 1 on.
    Site(u16),
}

/// Which bytes count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// What is sent.
    #[default]
    Sent,
    /// What is received. Only what begins new work waits for it, not the rest of a request.
    Received,
    /// Both.
    Both,
}

/// How the current use is estimated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EstimateBy {
    /// A histogram over half a second; some worker adds up all workers' bytes every [`SAMPLE_MS`].
    #[default]
    Histogram,
    /// A running average of each operation's own duration; nobody samples.
    RunningAverage,
}

/// How often the histogram is fed, in milliseconds.
pub const SAMPLE_MS: u64 = 10;

/// A scope's M and its rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bandwidth {
    /// M, in bytes a second; at least [`BANDWIDTH_MIN`].
    pub bytes_per_s: u64,
    /// Which bytes count.
    pub direction: Direction,
    /// Which table of verdicts.
    pub policy: Policy,
    /// Half the width of the band around M, in thousandths of M.
    pub delta_permille: u32,
    /// Largest small write, in bytes; see [`SMALL_BYTES_MAX`].
    pub small_bytes_max: u64,
    /// How the current use is estimated.
    pub estimate: EstimateBy,
    /// Most reads that wait on a worker; further ones are rejected.
    pub reads_waiting_max: usize,
    /// Waiting operations of all workers from which on the queue is long: above M, reads are rejected then.
    pub long_queue: usize,
    /// How long a read waits before it is rejected, in milliseconds. Writes wait for as long as it takes: their work is paid
    /// for already.
    pub read_wait_ms_max: u64,
}

impl Bandwidth {
    /// The ordinary rules for an M: sent bytes, a band of 5 % to both sides, 10,000 waiting reads for at most 10 s.
    #[must_use]
    pub fn new(bytes_per_s: u64) -> Self {
        Self {
            bytes_per_s: bytes_per_s.max(BANDWIDTH_MIN),
            direction: Direction::default(),
            policy: Policy::default(),
            delta_permille: 50,
            small_bytes_max: SMALL_BYTES_MAX,
            estimate: EstimateBy::default(),
            reads_waiting_max: 10_000,
            long_queue: 1_000,
            read_wait_ms_max: 10_000,
        }
    }

    fn rules(&self) -> Rules {
        Rules {
            bytes_per_s: self.bytes_per_s.max(BANDWIDTH_MIN),
            delta_permille: self.delta_permille,
            policy: self.policy,
            small_bytes_max: self.small_bytes_max,
        }
    }
}

/// How a scope stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScopeStatus {
    /// Which one.
    pub scope: Scope,
    /// Its M and rules.
    pub bandwidth: Bandwidth,
    /// B, the current use in bytes a second.
    pub used_bytes_per_s: u64,
    /// The verdicts as of the last look.
    pub verdicts: Verdicts,
    /// Operations that wait.
    pub waiting: u64,
    /// Operations that had to wait so far.
    pub blocked: u64,
    /// Reads that were rejected so far.
    pub rejected: u64,
    /// Bytes sent since an M was first set.
    pub bytes_sent: u64,
    /// Bytes received since an M was first set.
    pub bytes_received: u64,
}

/// What a read that begins new work may do: see [`crate::Conn::governed_read`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GovernedRead {
    /// Go on.
    Allow,
    /// Leave it unread; there is a turn when it may be asked for again, in any case after
    /// [`Bandwidth::read_wait_ms_max`].
    Block,
    /// Do not begin it: answer that there is no room, where the protocol can.
    Reject {
        /// When it may be worth trying again, in seconds from now; at least 1.
        retry_after_s: u32,
    },
}

/// Sets and shows the governor's figures from any thread, a worker's too. Clones are the same.
#[derive(Clone)]
pub struct GovernorHandle {
    shared: Arc<Shared>,
}

struct Shared {
    epoch: Instant,
    mailboxes: Vec<Mailbox>,
    /// How many doors come before the endpoints.
    outbound: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: Vec<Entry>,
    /// Endpoints that are governed as others.
    alike: HashMap<usize, usize>,
}

impl State {
    /// The scope that a scope is governed as.
    fn meant(&self, scope: Scope) -> Scope {
        match scope {
            Scope::Endpoint(place) => Scope::Endpoint(self.alike.get(&place).copied().unwrap_or(place)),
            other => other,
        }
    }
}

impl GovernorHandle {
    pub(crate) fn new(mailboxes: Vec<Mailbox>, outbound: usize) -> Self {
        let shared = Shared { epoch: Instant::now(), mailboxes, outbound, state: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    /// Sets a scope's M for the direction it has, or takes all of the scope's away. Open connections go on under the new
    /// figure; while no scope has one, nothing is governed and nothing costs anything. False, and nothing is changed, when
    /// there are [`SCOPES_MAX`] figures already, or when this was built without the feature `governor`.
    pub fn set(&self, scope: Scope, bandwidth: Option<Bandwidth>) -> bool {
        if !cfg!(feature = "governor") && bandwidth.is_some() {
            return false;
        }
        let state = &mut *self.state();
        let scope = state.meant(scope);
        let Some(bandwidth) = bandwidth else {
            state.entries.retain(|entry| entry.scope != scope);
            self.tell(state);
            return true;
        };
        if let Some(entry) = state.entries.iter_mut().find(|entry| entry.is(scope, bandwidth.direction)) {
            entry.set(bandwidth);
        } else if state.entries.len() < SCOPES_MAX {
            let words = Arc::new(Words::new(self.shared.mailboxes.len()));
            state.entries.push(Entry::new(scope, bandwidth, words));
        } else {
            return false;
        }
        self.tell(state);
        true
    }

    /// Sets all figures at once, as a configuration has them, and takes all others away; of one scope and direction the last
    /// counts. What a scope has counted goes on. `alike` has pairs of endpoints' places, of which the first is governed as
    /// the second and shares its figure: the addresses of what a user calls one endpoint. False, and nothing is changed, for
    /// more than [`SCOPES_MAX`].
    pub fn replace(&self, figures: &[(Scope, Bandwidth)], alike: &[(usize, usize)]) -> bool {
        if figures.len() > SCOPES_MAX {
            return false;
        }
        let state = &mut *self.state();
        state.alike = alike.iter().copied().collect();
        let mut next: Vec<Entry> = Vec::new();
        for &(scope, bandwidth) in figures {
            let scope = state.meant(scope);
            next.retain(|entry| !entry.is(scope, bandwidth.direction));
            let known = state.entries.iter().find(|entry| entry.is(scope, bandwidth.direction));
            let words = known.map_or_else(
                || Arc::new(Words::new(self.shared.mailboxes.len())),
                |entry| Arc::clone(&entry.words),
            );
            next.push(Entry::new(scope, bandwidth, words));
        }
        let was_any = !std::mem::replace(&mut state.entries, next).is_empty();
        if was_any || !state.entries.is_empty() {
            self.tell(state);
        }
        true
    }

    /// A scope's figures, if it has an M; the one that was set first.
    #[must_use]
    pub fn get(&self, scope: Scope) -> Option<Bandwidth> {
        let state = self.state();
        let scope = state.meant(scope);
        state.entries.iter().find(|entry| entry.scope == scope).map(|entry| entry.bandwidth)
    }

    /// How all scopes stand that have an M, in the order in which they got one.
    #[must_use]
    pub fn status(&self) -> Vec<ScopeStatus> {
        let now_ns = u64::try_from(self.shared.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.state().entries.iter().map(|entry| entry.status(now_ns)).collect()
    }

    /// Tells the workers what holds from now on; under the lock, so that they see changes in their order.
    fn tell(&self, state: &State) {
        for (index, mailbox) in self.shared.mailboxes.iter().enumerate() {
            let (entries, alike) = (state.entries.clone(), state.alike.clone());
            let (epoch, outbound) = (self.shared.epoch, self.shared.outbound);
            let visit = move |worker: &mut Worker| {
                let is_any = !entries.is_empty();
                worker.govern(is_any.then(|| Side::new(index, epoch, Table::new(entries, outbound, &alike))));
            };
            // One that has stopped has nothing to govern.
            mailbox.send(Message::Visit(Visit(Box::new(visit))));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for GovernorHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GovernorHandle({} scopes)", self.state().entries.len())
    }
}
