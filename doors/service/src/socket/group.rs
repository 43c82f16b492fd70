//! Groups: sockets of all workers that hear the same messages.

use super::core::SocketId;
use super::hub;
use ringway_engine::{Post, WorkerHandle};
use ringway_lock::{Mutex, MutexGuard};
use ringway_ws::decoder::Message;
use ringway_ws::encoder;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, Weak};
use std::thread::{self, ThreadId};

/// What becomes of members that read too slowly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Slow {
    /// The oldest messages that wait for it are dropped; what was begun is ended.
    #[default]
    DropOldest,
    /// Its connection is reset; [`super::Closed`] says 1006.
    Disconnect,
}

/// What groups do for slow members.
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

/// Carries messages of groups to other machines, such as by Redis. At most once: a message that it cannot carry is lost
/// there.
///
/// What comes from other machines it gives to [`Groups::deliver`], and not what it has itself been given.
pub trait Relay: Send + Sync {
    /// A message was sent to a group on this machine. Must not block.
    fn publish(&self, group: &str, message: Message<'_>);
}

/// The groups of a service, by name. Cheap to clone; for all threads.
#[derive(Clone, Default)]
pub struct Groups {
    inside: Arc<GroupsInside>,
}

#[derive(Default)]
struct GroupsInside {
    options: GroupOptions,
    names: Mutex<HashMap<Box<str>, Weak<Inside>>>,
    relay: Mutex<Option<Arc<dyn Relay>>>,
}

impl Groups {
    /// No groups yet; all will have these options.
    #[must_use]
    pub fn new(options: GroupOptions) -> Self {
        Self { inside: Arc::new(GroupsInside { options, ..GroupsInside::default() }) }
    }

    /// The group of that name. It exists as long as somebody has it or is a member.
    #[must_use]
    pub fn group(&self, name: &str) -> Group {
        let mut names = lock(&self.inside.names);
        if let Some(inside) = names.get(name).and_then(Weak::upgrade) {
            return Group { inside };
        }
        let inside = Arc::new(Inside::new(name, Arc::downgrade(&self.inside), self.inside.options));
        names.insert(name.into(), Arc::downgrade(&inside));
        Group { inside }
    }

    /// The group of that name if it exists.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Group> {
        let inside = lock(&self.inside.names).get(name).and_then(Weak::upgrade)?;
        Some(Group { inside })
    }

    /// The names of all groups that exist, in no order.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        lock(&self.inside.names).keys().map(|name| name.to_string()).collect()
    }

    /// What carries messages to other machines from now on.
    pub fn set_relay(&self, relay: Arc<dyn Relay>) {
        *lock(&self.inside.relay) = Some(relay);
    }

    /// A message of another machine's: sent to the members here, and not relayed. `false`: there is no such group here.
    pub fn deliver(&self, name: &str, message: Message<'_>) -> bool {
        let group = self.find(name);
        group.map(|group| group.send_here(message, None)).is_some()
    }
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Groups").field("options", &self.inside.options).finish_non_exhaustive()
    }
}

/// Sockets that hear the same messages, on all workers. Cheap to clone; for all threads.
#[derive(Clone)]
pub struct Group {
    inside: Arc<Inside>,
}

pub(super) struct Inside {
    pub(super) number: u64,
    pub(super) options: GroupOptions,
    name: Box<str>,
    /// Workers that members are on.
    workers: Mutex<Vec<(ThreadId, Post)>>,
    members: AtomicUsize,
    groups: Weak<GroupsInside>,
}

impl Inside {
    fn new(name: &str, groups: Weak<GroupsInside>, options: GroupOptions) -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        Self {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            options,
            name: name.into(),
            workers: Mutex::default(),
            members: AtomicUsize::new(0),
            groups,
        }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let Some(groups) = self.groups.upgrade() else { return };
        let mut names = lock(&groups.names);
        // Another one of the name may have been made since.
        if names.get(&self.name).is_some_and(|inside| inside.strong_count() == 0) {
            names.remove(&self.name);
        }
    }
}

impl Group {
    /// A group without a name, of nobody else's.
    #[must_use]
    pub fn new(options: GroupOptions) -> Self {
        Self { inside: Arc::new(Inside::new("", Weak::new(), options)) }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inside.name
    }

    /// How many sockets are members on this machine.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inside.members.load(Ordering::Relaxed)
    }

    /// Whether nobody is a member on this machine.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sends a message to all members, here and, with a [`Relay`], on other machines. Returns before it is sent. Messages of one
    /// thread reach a member in their order, if they do: see [`GroupOptions`].
    pub fn send(&self, message: Message<'_>) {
        self.send_except(message, None);
    }

    /// The same without one of them, such as whose message it was.
    pub fn send_except(&self, message: Message<'_>, except: Option<SocketId>) {
        let relay = self.inside.groups.upgrade().and_then(|groups| lock(&groups.relay).clone());
        if let Some(relay) = relay {
            relay.publish(&self.inside.name, message);
        }
        self.send_here(message, except);
    }

    /// Sends a text: see [`Group::send`].
    pub fn send_text(&self, text: &str) {
        self.send(Message::Text(text));
    }

    /// Sends bytes: see [`Group::send`].
    pub fn send_binary(&self, bytes: &[u8]) {
        self.send(Message::Binary(bytes));
    }

    /// One message to each worker that members are on, with the frame as it will be sent.
    fn send_here(&self, message: Message<'_>, except: Option<SocketId>) {
        let workers = lock(&self.inside.workers);
        if workers.is_empty() {
            return;
        }
        let mut frame = Vec::new();
        encoder::frame(message.kind().into(), message.as_bytes(), None, &mut frame);
        let frame: Arc<[u8]> = frame.into();
        for (_, post) in workers.iter() {
            let (frame, number) = (Arc::clone(&frame), self.inside.number);
            // A worker that has stopped has no members.
            let _is_there = post.leave(move |worker| hub::deliver(worker, number, &frame, except));
        }
    }

    pub(super) fn inside(&self) -> &Arc<Inside> {
        &self.inside
    }

    /// A first member is on this worker.
    pub(super) fn enter(inside: &Inside, worker: &WorkerHandle) {
        lock(&inside.workers).push((thread::current().id(), worker.post()));
    }

    /// The last member on this worker has left.
    pub(super) fn exit(inside: &Inside) {
        let thread = thread::current().id();
        lock(&inside.workers).retain(|(of, _)| *of != thread);
    }

    pub(super) fn count(inside: &Inside, is_more: bool) {
        if is_more {
            inside.members.fetch_add(1, Ordering::Relaxed);
        } else {
            inside.members.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("name", &self.inside.name)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_live_as_long_as_somebody_has_them() {
        let groups = Groups::default();
        let first = groups.group("a");
        assert!(Arc::ptr_eq(&first.inside, &groups.group("a").inside));
        assert_eq!(groups.names(), ["a"]);
        drop(first);
        assert!(groups.find("a").is_none() && groups.names().is_empty());
        assert_eq!(groups.group("a").len(), 0);
    }

    #[test]
    fn a_relay_is_given_what_is_sent_here_and_not_what_it_brings() {
        #[derive(Default)]
        struct Kept(Mutex<Vec<String>>);
        impl Relay for Kept {
            fn publish(&self, group: &str, message: Message<'_>) {
                lock(&self.0).push(format!("{group} {message:?}"));
            }
        }
        let (groups, relay) = (Groups::default(), Arc::new(Kept::default()));
        groups.set_relay(Arc::clone(&relay) as Arc<dyn Relay>);
        let group = groups.group("room");
        group.send_text("hello");
        assert!(groups.deliver("room", Message::Text("from elsewhere")));
        assert!(!groups.deliver("other", Message::Text("nobody")));
        assert_eq!(*lock(&relay.0), ["room Text(\"hello\")"]);
    }
}
