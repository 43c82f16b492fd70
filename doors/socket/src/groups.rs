//! Groups: connections of all workers that hear the same messages.

use crate::connection::ConnectionId;
use crate::dress::Dress;
use crate::framing::FRAME_BYTES_MAX;
use crate::owner::Terms;
use ringway_engine::ring::{Pool, SLICE_BYTES_MAX, Slice};
use ringway_engine::{Conn, ConnKey, Delivery, Post, WorkerHandle};
use ringway_lock::{Mutex, MutexGuard};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::thread::{self, ThreadId};

/// Bytes that may wait in a connection while more of what its groups send follows.
const WAITING_BYTES_MAX: usize = 16 * 1024;

/// What becomes of members that read too slowly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Slow {
    /// The oldest messages that wait for it are dropped; what was begun is ended.
    #[default]
    DropOldest,
    /// Its connection is reset; [`crate::Reason::Full`].
    Disconnect,
}

/// What a group does for slow members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupOptions {
    /// Messages that wait for one member at most. 64.
    pub queue_messages_max: usize,
    /// Bytes that wait for one member at most. 1 MiB.
    pub queue_bytes_max: usize,
    /// What happens beyond that.
    pub slow: Slow,
}

impl Default for GroupOptions {
    fn default() -> Self {
        Self { queue_messages_max: 64, queue_bytes_max: 1 << 20, slow: Slow::DropOldest }
    }
}

/// Connections that hear the same messages, on all workers. Cheap to clone; for all threads.
#[derive(Clone, Default)]
pub struct Group {
    inside: Arc<Inside>,
}

struct Inside {
    number: u64,
    options: GroupOptions,
    /// Workers that members are on.
    workers: Mutex<Vec<(ThreadId, Post)>>,
    members: AtomicUsize,
}

impl Default for Inside {
    fn default() -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        Self {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            options: GroupOptions::default(),
            workers: Mutex::default(),
            members: AtomicUsize::new(0),
        }
    }
}

impl Group {
    /// A group without members.
    #[must_use]
    pub fn new(options: GroupOptions) -> Self {
        Self { inside: Arc::new(Inside { options, ..Inside::default() }) }
    }

    /// How many connections are members.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inside.members.load(Ordering::Relaxed)
    }

    /// Whether nobody is a member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sends a message to all members, to each in its own framing. Returns before it is sent. Messages of one thread reach a
    /// member in their order, if they do: see [`GroupOptions`].
    pub fn send(&self, payload: &[u8]) {
        self.send_except(payload, false, None);
    }

    /// Sends what is a text on WebSockets: see [`Group::send`].
    pub fn send_text(&self, text: &str) {
        self.send_except(text.as_bytes(), true, None);
    }

    /// The same without one of them, such as whose message it was.
    pub fn send_except(&self, payload: &[u8], is_text: bool, except: Option<ConnectionId>) {
        let workers = lock(&self.inside.workers);
        if workers.is_empty() {
            return;
        }
        let payload: Arc<[u8]> = payload.into();
        for (_, post) in workers.iter() {
            let (payload, number) = (Arc::clone(&payload), self.inside.number);
            // A worker that has stopped has no members.
            let _is_there = post.leave(move |worker| deliver(worker, number, &payload, is_text, except));
        }
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// How a member's messages are framed.
#[derive(Clone, Debug)]
pub(crate) struct MemberDress {
    pub(crate) terms: Arc<Terms>,
    pub(crate) is_socket: bool,
}

impl MemberDress {
    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.terms, &other.terms) && self.is_socket == other.is_socket
    }

    fn dress(&self, is_text: bool) -> Dress<'_> {
        let _for_websockets = is_text;
        #[cfg(feature = "websockets")]
        if self.is_socket {
            return Dress::Socket { is_text };
        }
        Dress::Raw(self.terms.framing.raw())
    }

    /// A message in slices; `None` without memory, or when it is longer than its frame can say.
    fn pieces(&self, payload: &[u8], is_text: bool, pool: &Pool) -> Option<Rc<[Slice]>> {
        let dress = self.dress(is_text);
        let mut head = [0; FRAME_BYTES_MAX];
        let written = dress.head(payload.len() as u64, &mut head)?;
        let whole = [&head[head.len() - written..], payload, dress.tail()].concat();
        whole.chunks(SLICE_BYTES_MAX).map(|piece| pool.copy_of(piece)).collect()
    }
}

/// A member of a group on this worker.
#[derive(Debug)]
struct Member {
    key: ConnKey,
    dress: MemberDress,
}

/// The members that a group has on this worker.
struct Local {
    members: Vec<Option<Member>>,
    free: Vec<u32>,
    options: GroupOptions,
}

/// What waits for one member.
#[derive(Debug, Default)]
struct Backlog {
    messages: VecDeque<Rc<[Slice]>>,
    bytes: usize,
    /// There was too much: the connection is to end.
    is_over: bool,
}

impl Backlog {
    /// Adds a message. `false`: that is too much, and the member is to go.
    fn push(&mut self, message: &Rc<[Slice]>, options: &GroupOptions) -> bool {
        let len = |message: &Rc<[Slice]>| message.iter().map(|slice| slice.len()).sum::<usize>();
        self.messages.push_back(Rc::clone(message));
        self.bytes += len(message);
        while self.messages.len() > options.queue_messages_max || self.bytes > options.queue_bytes_max {
            if options.slow == Slow::Disconnect {
                self.messages.clear();
                self.is_over = true;
                return false;
            }
            let Some(oldest) = self.messages.pop_front() else { break };
            self.bytes -= len(&oldest);
        }
        true
    }

    /// Gives on what there is room for. `false`: there was too much.
    fn send(&mut self, conn: &mut Conn<'_>) -> bool {
        while !self.messages.is_empty() && (conn.is_flushed() || conn.queued_bytes() <= WAITING_BYTES_MAX) {
            let Some(message) = self.messages.pop_front() else { break };
            for slice in &*message {
                self.bytes -= slice.len();
                conn.send(slice.clone());
            }
        }
        !self.is_over
    }
}

/// Groups and backlogs of this worker.
#[derive(Default)]
struct Hub {
    groups: HashMap<u64, Local>,
    backlogs: HashMap<ConnKey, Backlog>,
}

thread_local! {
    static HUB: RefCell<Hub> = RefCell::default();
    static BACKLOGS: Cell<usize> = const { Cell::new(0) };
}

/// A connection's place in a group; dropping it leaves the group.
pub(crate) struct Membership {
    group: Arc<Inside>,
    place: u32,
}

impl Membership {
    pub(crate) fn new(group: &Group, key: ConnKey, dress: MemberDress, worker: &WorkerHandle) -> Self {
        let group = Arc::clone(&group.inside);
        let member = Member { key, dress };
        let place = HUB.with_borrow_mut(|hub| {
            let local = hub.groups.entry(group.number).or_insert_with(|| {
                lock(&group.workers).push((thread::current().id(), worker.post()));
                Local { members: Vec::new(), free: Vec::new(), options: group.options }
            });
            if let Some(place) = local.free.pop() {
                local.members[place as usize] = Some(member);
                return place;
            }
            local.members.push(Some(member));
            u32::try_from(local.members.len() - 1).expect("fewer connections than 2^32")
        });
        group.members.fetch_add(1, Ordering::Relaxed);
        Self { group, place }
    }

    pub(crate) fn is_of(&self, group: &Group) -> bool {
        Arc::ptr_eq(&self.group, &group.inside)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.group.members.fetch_sub(1, Ordering::Relaxed);
        // At the end of a worker's thread there is no hub any more, and nobody to be sent to.
        let _gone = HUB.try_with(|hub| {
            let mut hub = hub.borrow_mut();
            let Some(local) = hub.groups.get_mut(&self.group.number) else { return };
            if let Some(member) = local.members.get_mut(self.place as usize) {
                *member = None;
                local.free.push(self.place);
            }
            if local.free.len() == local.members.len() {
                hub.groups.remove(&self.group.number);
                let thread = thread::current().id();
                lock(&self.group.workers).retain(|(of, _)| *of != thread);
            }
        });
    }
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Membership({})", self.place)
    }
}

/// A message for all members of one framing.
struct Batch {
    dress: MemberDress,
    pieces: Option<Rc<[Slice]>>,
    keys: Vec<ConnKey>,
}

/// Sends a message to a group's members on this worker. Not during a turn.
fn deliver(worker: &WorkerHandle, number: u64, payload: &[u8], is_text: bool, except: Option<ConnectionId>) {
    let except = except.and_then(ConnectionId::here);
    let mut ill = Vec::new();
    HUB.with_borrow_mut(|hub| {
        let Hub { groups, backlogs } = hub;
        let Some(local) = groups.get(&number) else { return };
        let pool = worker.slices();
        for batch in batches(local, except, |dress| dress.pieces(payload, is_text, &pool)) {
            // Without memory nobody hears of it, which is what at most once means.
            let Some(pieces) = batch.pieces else { continue };
            let sent = send_batch(worker, backlogs, &pieces, &batch.keys, &local.options, &mut ill) as u64;
            let counters = batch.dress.terms.counters.here();
            counters.messages_out.add(sent);
            counters.bytes_out.add(sent * pieces.iter().map(|piece| piece.len() as u64).sum::<u64>());
        }
        BACKLOGS.set(backlogs.len());
    });
    // Each sees to its own time, and to its end.
    ill.into_iter().for_each(|key| worker.nudge(key));
}

/// The members by their framing, which are few: each frames the message once.
fn batches(
    local: &Local,
    except: Option<ConnKey>,
    make: impl Fn(&MemberDress) -> Option<Rc<[Slice]>>,
) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    let members = local.members.iter().flatten().filter(|member| except != Some(member.key));
    for member in members {
        match batches.iter_mut().find(|batch| batch.dress.is_same(&member.dress)) {
            Some(batch) => batch.keys.push(member.key),
            None => {
                let (dress, pieces) = (member.dress.clone(), make(&member.dress));
                batches.push(Batch { dress, pieces, keys: vec![member.key] });
            }
        }
    }
    batches
}

/// How many it is sent to, at once or later.
fn send_batch(
    worker: &WorkerHandle,
    backlogs: &mut HashMap<ConnKey, Backlog>,
    pieces: &Rc<[Slice]>,
    keys: &[ConnKey],
    options: &GroupOptions,
    ill: &mut Vec<ConnKey>,
) -> usize {
    let mut behind = Vec::new();
    let mut gone = Vec::new();
    // What waits for a member comes first.
    let free = keys.iter().copied().filter(|key| {
        let waits = !backlogs.is_empty() && backlogs.contains_key(key);
        if waits {
            behind.push(*key);
        }
        !waits
    });
    let mut told = Vec::new();
    worker.multicast(pieces, free, |key, delivery| told.push((key, delivery)));
    for (key, delivery) in told {
        if delivery == Delivery::Busy { behind.push(key) } else { gone.push(key) }
    }
    let sent = keys.len() - gone.len();
    for key in gone {
        backlogs.remove(&key);
    }
    for key in behind {
        let backlog = backlogs.entry(key).or_default();
        let is_first = backlog.messages.is_empty() && !backlog.is_over;
        if !backlog.push(pieces, options) || is_first {
            ill.push(key);
        }
    }
    sent
}

/// Whether anything waits for anybody.
#[inline]
pub(crate) fn has_backlogs() -> bool {
    BACKLOGS.get() > 0
}

/// Sends on what waits for a connection, as far as there is room. `false`: there was too much.
pub(crate) fn resume(conn: &mut Conn<'_>) -> bool {
    let key = conn.key();
    HUB.with_borrow_mut(|hub| {
        let Some(backlog) = hub.backlogs.get_mut(&key) else { return true };
        let is_well = backlog.send(conn);
        if backlog.messages.is_empty() {
            hub.backlogs.remove(&key);
            BACKLOGS.set(hub.backlogs.len());
        }
        is_well
    })
}

/// A connection has ended.
pub(crate) fn forget(key: ConnKey) {
    let _gone = HUB.try_with(|hub| {
        let mut hub = hub.borrow_mut();
        hub.backlogs.remove(&key);
        BACKLOGS.set(hub.backlogs.len());
    });
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(pool: &Pool, bytes: usize) -> Rc<[Slice]> {
        [pool.copy_of(&vec![7; bytes]).expect("memory")].into()
    }

    #[test]
    fn a_slow_member_keeps_the_newest_messages() {
        let pool = Pool::new(1 << 20);
        let options = GroupOptions { queue_messages_max: 3, queue_bytes_max: 1000, slow: Slow::DropOldest };
        let mut backlog = Backlog::default();
        for bytes in [1, 2, 3, 4] {
            assert!(backlog.push(&message(&pool, bytes), &options));
        }
        let kept: Vec<usize> = backlog.messages.iter().map(|message| message[0].len()).collect();
        assert_eq!((kept, backlog.bytes), (vec![2, 3, 4], 9));
        assert!(backlog.push(&message(&pool, 995), &options));
        assert_eq!((backlog.messages.len(), backlog.bytes), (2, 999), "bytes count, too");
    }

    #[test]
    fn or_it_goes() {
        let pool = Pool::new(1 << 20);
        let options =
            GroupOptions { queue_messages_max: 1, slow: Slow::Disconnect, ..GroupOptions::default() };
        let mut backlog = Backlog::default();
        assert!(backlog.push(&message(&pool, 1), &options));
        assert!(!backlog.push(&message(&pool, 1), &options));
        assert!(backlog.is_over && backlog.messages.is_empty(), "nothing is kept for it");
    }
}
