//! A worker's side of groups: who is a member, and what waits for members that read slowly.

use super::core::{Outlet, SocketId, WAITING_BYTES_READING};
use super::group::{Group, GroupOptions, Inside, Slow};
use super::link::Link;
use super::out::slices_of;
use ringway_engine::ring::Slice;
use ringway_engine::{ConnKey, Delivery, WorkerHandle};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

/// Groups and backlogs of this worker. Keys are numbers of our own, so a quick hash does.
#[derive(Default)]
struct Hub {
    groups: HashMap<u64, Local, foldhash::fast::RandomState>,
    backlogs: HashMap<ConnKey, Backlog, foldhash::fast::RandomState>,
}

/// The members that a group has on this worker.
struct Local {
    members: Vec<Option<Outlet>>,
    free: Vec<u32>,
    options: GroupOptions,
}

/// What waits for one member.
#[derive(Debug, Default)]
pub(super) struct Backlog {
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

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty() && !self.is_over
    }

    /// Gives on what there is room for. `false`: there was too much.
    fn send(&mut self, link: &mut dyn Link) -> bool {
        while !self.messages.is_empty() && link.queued_bytes() <= WAITING_BYTES_READING {
            let Some(message) = self.messages.pop_front() else { break };
            for slice in &*message {
                self.bytes -= slice.len();
                link.send(slice.clone());
            }
        }
        !self.is_over
    }
}

thread_local! {
    static HUB: RefCell<Hub> = RefCell::default();
    static BACKLOGS: Cell<usize> = const { Cell::new(0) };
}

/// A socket's place in a group; dropping it leaves the group.
pub(super) struct Membership {
    group: Arc<Inside>,
    place: u32,
}

impl Membership {
    pub(super) fn new(group: &Group, outlet: Outlet, worker: &WorkerHandle) -> Self {
        let group = Arc::clone(group.inside());
        let place = HUB.with_borrow_mut(|hub| {
            let local = hub.groups.entry(group.number).or_insert_with(|| {
                Group::enter(&group, worker);
                Local { members: Vec::new(), free: Vec::new(), options: group.options }
            });
            if let Some(place) = local.free.pop() {
                local.members[place as usize] = Some(outlet);
                return place;
            }
            local.members.push(Some(outlet));
            u32::try_from(local.members.len() - 1).expect("fewer sockets than 2^32")
        });
        Group::count(&group, true);
        Self { group, place }
    }

    pub(super) fn is_of(&self, group: &Group) -> bool {
        Arc::ptr_eq(&self.group, group.inside())
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        Group::count(&self.group, false);
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
                Group::exit(&self.group);
            }
        });
    }
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Membership({})", self.place)
    }
}

/// Sends a whole frame to a group's members on this worker. Not during a turn.
pub(super) fn deliver(worker: &WorkerHandle, number: u64, frame: &[u8], except: Option<SocketId>) {
    let except = except.filter(|except| except.is_here());
    let mut ill = Vec::new();
    HUB.with_borrow_mut(|hub| {
        let Hub { groups, backlogs } = hub;
        let Some(local) = groups.get(&number) else { return };
        // Without memory nobody hears of it, which is what at most once means.
        let Some(pieces) = slices_of(&worker.slices(), frame) else { return };
        let pieces: Rc<[Slice]> = pieces.into();
        let mut behind = Vec::new();
        let mut gone = Vec::new();
        let keys = local.members.iter().flatten().filter_map(|outlet| {
            if except.is_some_and(|except| except.is_at(outlet)) {
                return None;
            }
            match outlet {
                // What waits for it comes first.
                Outlet::Conn(key) if !backlogs.is_empty() && backlogs.contains_key(key) => {
                    behind.push(*key);
                    None
                }
                Outlet::Conn(key) => Some(*key),
                Outlet::Task(inlet) => {
                    inlet.backlog.borrow_mut().push(&pieces, &local.options);
                    inlet.wake();
                    None
                }
            }
        });
        worker.multicast(&pieces, keys, |key, delivery| match delivery {
            Delivery::Sent => {}
            Delivery::Busy | Delivery::Gone => gone.push((key, delivery)),
        });
        for (key, delivery) in gone {
            match delivery {
                Delivery::Busy => behind.push(key),
                _ => drop(backlogs.remove(&key)),
            }
        }
        for key in behind {
            let backlog = backlogs.entry(key).or_default();
            let is_first = backlog.messages.is_empty() && !backlog.is_over;
            if !backlog.push(&pieces, &local.options) || is_first {
                ill.push(key);
            }
        }
        BACKLOGS.set(backlogs.len());
    });
    // Each sees to its own time, and to its end.
    ill.into_iter().for_each(|key| worker.nudge(key));
}

/// Whether anything waits for anybody.
#[inline]
pub(super) fn has_backlogs() -> bool {
    BACKLOGS.get() > 0
}

/// Sends on what waits for a session, as far as there is room. `false`: there was too much.
pub(super) fn resume(link: &mut dyn Link) -> bool {
    let key = match link.outlet() {
        Outlet::Conn(key) => key,
        Outlet::Task(inlet) => return inlet.backlog.borrow_mut().send(link),
    };
    HUB.with_borrow_mut(|hub| {
        let Some(backlog) = hub.backlogs.get_mut(&key) else { return true };
        let is_well = backlog.send(link);
        if backlog.messages.is_empty() {
            hub.backlogs.remove(&key);
            BACKLOGS.set(hub.backlogs.len());
        }
        is_well
    })
}

/// A session has ended.
pub(super) fn forget(outlet: &Outlet) {
    let Outlet::Conn(key) = outlet else { return };
    let _gone = HUB.try_with(|hub| {
        let mut hub = hub.borrow_mut();
        hub.backlogs.remove(key);
        BACKLOGS.set(hub.backlogs.len());
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_engine::ring::Pool;

    fn message(pool: &Pool, bytes: usize) -> Rc<[Slice]> {
        slices_of(pool, &vec![7; bytes]).expect("memory").into()
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
