//! The connections of an endpoint as its library reaches them from any thread: by keys, by groups, and outward.

use super::outward;
use crate::groups::{Group, GroupOptions};
use crate::remote::{RemoteError, Sender};
use ringway_lock::{Mutex, MutexGuard};
use ringway_plugin::{Connections, Fault, Key, Message, User};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::thread::{self, ThreadId};

use super::slab::Slab;

/// Tables of keys, each behind a lock of its own: workers do not meet at them.
const SHARDS: usize = 16;

/// Most groups of an endpoint that have members.
const GROUP_NAMES_MAX: usize = 64 * 1024;

/// What a library of an endpoint reaches, whatever version of it.
pub(super) struct Reach {
    /// Tells keys of this endpoint from those of others.
    id: u64,
    shards: [Mutex<Slab<Sender>>; SHARDS],
    groups: Mutex<Groups>,
    /// All connections, where the library wants to broadcast.
    all: Group,
    /// Whether it does.
    pub(super) is_broadcasting: std::sync::atomic::AtomicBool,
}

#[derive(Default)]
struct Groups {
    by_name: HashMap<Box<str>, Group>,
    /// With so many it is looked for empty ones.
    sweep_at: usize,
}

impl Reach {
    pub(super) fn new() -> Self {
        static IDS: AtomicU64 = AtomicU64::new(1);
        Self {
            id: IDS.fetch_add(1, Ordering::Relaxed),
            shards: [const { Mutex::new(Slab::new()) }; SHARDS],
            groups: Mutex::default(),
            all: Group::new(GroupOptions::default()),
            is_broadcasting: false.into(),
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn all(&self) -> &Group {
        &self.all
    }

    /// Has a connection be reached by a key.
    pub(super) fn enter(&self, sender: Sender) -> Option<Key> {
        let shard = shard_of(thread::current().id());
        let number = lock(&self.shards[shard]).insert(sender)?;
        Some([number, self.id << 8 | shard as u64])
    }

    /// The connection is no more.
    pub(super) fn leave(&self, key: Key) {
        let gone = self.shard(key).and_then(|shard| lock(shard).remove(key[0]));
        drop(gone);
    }

    /// Does something with a group, which nobody sweeps away meanwhile.
    pub(super) fn with_group<R>(&self, name: &str, act: impl FnOnce(&Group) -> R) -> Result<R, Fault> {
        let groups = &mut *lock(&self.groups);
        if let Some(group) = groups.by_name.get(name) {
            return Ok(act(group));
        }
        if groups.by_name.len() >= groups.sweep_at {
            groups.by_name.retain(|_, group| !group.is_empty());
            groups.sweep_at = (groups.by_name.len() * 2).max(64);
        }
        if groups.by_name.len() >= GROUP_NAMES_MAX {
            return Err(Fault::Limit);
        }
        let group = groups.by_name.entry(name.into()).or_insert_with(|| Group::new(GroupOptions::default()));
        Ok(act(group))
    }

    /// A group that somebody may be in.
    pub(super) fn find_group(&self, name: &str) -> Option<Group> {
        lock(&self.groups).by_name.get(name).cloned()
    }

    fn shard(&self, key: Key) -> Option<&Mutex<Slab<Sender>>> {
        let [_, place] = key;
        let shard = usize::try_from(place & 0xff).ok()?;
        self.shards.get(shard).filter(|_| place >> 8 == self.id)
    }

    fn with(&self, key: Key, act: impl FnOnce(&Sender) -> Result<(), RemoteError>) -> Result<(), Fault> {
        let shard = self.shard(key).ok_or(Fault::Gone)?;
        let sender = lock(shard).get(key[0]).cloned().ok_or(Fault::Gone)?;
        act(&sender).map_err(|error| match error {
            RemoteError::Closed => Fault::Gone,
            RemoteError::Full => Fault::Full,
        })
    }
}

/// The same, for one instance of the library.
pub(super) struct OfInstance {
    pub(super) reach: Arc<Reach>,
    pub(super) instance: u64,
}

impl Connections for OfInstance {
    fn send(&self, key: Key, message: Message<'_>) -> Result<(), Fault> {
        self.reach.with(key, |sender| match message {
            Message::Text(text) => sender.send_text(text),
            Message::Binary(bytes) => sender.send(bytes),
        })
    }

    fn shut(&self, key: Key) -> Result<(), Fault> {
        self.reach.with(key, Sender::shut_down_write)
    }

    fn close(&self, key: Key) -> Result<(), Fault> {
        self.reach.with(key, Sender::close)
    }

    fn nudge(&self, key: Key) -> Result<(), Fault> {
        self.reach.with(key, Sender::nudge)
    }

    fn group_send(&self, group: &str, message: Message<'_>) -> Result<(), Fault> {
        // Where nobody is, nobody hears it.
        if let Some(group) = self.reach.find_group(group) {
            send(&group, message);
        }
        Ok(())
    }

    fn broadcast(&self, message: Message<'_>) -> Result<(), Fault> {
        if !self.reach.is_broadcasting.load(Ordering::Relaxed) {
            return Err(Fault::State);
        }
        send(&self.reach.all, message);
        Ok(())
    }

    fn connect(&self, to: &str, flags: u32, user: User) -> Result<(), Fault> {
        outward::connect(self.reach.id, self.instance, to, flags, user)
    }
}

fn send(group: &Group, message: Message<'_>) {
    match message {
        Message::Text(text) => group.send_text(text),
        Message::Binary(bytes) => group.send(bytes),
    }
}

/// The table that a thread's keys are in.
fn shard_of(thread: ThreadId) -> usize {
    use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(thread);
    usize::try_from(hash % SHARDS as u64).unwrap_or(0)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
