//! Operation slots: every operation in flight, found by index and generation.

use crate::op::Op;
use std::num::NonZeroU64;

/// Names one operation: the kernel returns it with each completion, and it is believed only when index and generation
/// both match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OpId(NonZeroU64);

impl OpId {
    /// Names no operation, ever: for those who keep something else in the place of one.
    pub const NONE: Self = Self(NonZeroU64::MAX);

    /// The id as the kernel carries it: generation in the upper half, index in the lower.
    #[must_use]
    pub fn bits(self) -> u64 {
        self.0.get()
    }

    /// An id from what the kernel returned; an allegation until [`Slots`] has checked it. Zero is no id.
    #[must_use]
    pub fn from_bits(bits: u64) -> Option<Self> {
        NonZeroU64::new(bits).map(Self)
    }

    fn new(generation: u32, index: u32) -> Self {
        let bits = u64::from(generation) << 32 | u64::from(index);
        Self(NonZeroU64::new(bits).expect("generations begin at 1"))
    }

    fn index(self) -> usize {
        (self.bits() & 0xffff_ffff) as usize
    }

    fn generation(self) -> u32 {
        u32::try_from(self.bits() >> 32).unwrap_or(0)
    }
}

/// All operations of one ring. A slot is taken from submission to last completion, waited for or not.
#[derive(Debug, Default)]
pub struct Slots {
    entries: Vec<Entry>,
    free: Vec<u32>,
    live: usize,
    orphans: usize,
}

#[derive(Debug)]
struct Entry {
    generation: u32,
    state: State,
    token: u64,
    is_cancelled: bool,
    op: Option<Op>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    Live,
    /// Nobody waits any more; buffers and descriptors stay until the last completion.
    Orphaned,
}

impl Slots {
    /// Puts an operation in. `token` comes back with each completion.
    pub(crate) fn insert(&mut self, op: Op, token: u64) -> OpId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry {
                generation: 1,
                state: State::Free,
                token: 0,
                is_cancelled: false,
                op: None,
            });
            u32::try_from(self.entries.len() - 1).expect("fewer than 2^32 operations in flight")
        });
        let entry = &mut self.entries[index as usize];
        debug_assert_eq!(entry.state, State::Free);
        entry.state = State::Live;
        entry.token = token;
        entry.is_cancelled = false;
        entry.op = Some(op);
        self.live += 1;
        OpId::new(entry.generation, index)
    }

    /// The operation, if the id is current.
    #[must_use]
    pub fn get(&self, id: OpId) -> Option<&Op> {
        self.entry(id)?.op.as_ref()
    }

    /// The operation for its driver, if the id is current.
    #[must_use]
    pub fn get_mut(&mut self, id: OpId) -> Option<&mut Op> {
        self.entry_mut(id)?.op.as_mut()
    }

    /// Operations in flight, orphans included.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live
    }

    /// Operations that nobody waits for and that the kernel has not given back yet.
    #[must_use]
    pub fn orphans(&self) -> usize {
        self.orphans
    }

    pub(crate) fn token(&self, id: OpId) -> Option<u64> {
        self.entry(id).map(|entry| entry.token)
    }

    pub(crate) fn is_orphan(&self, id: OpId) -> bool {
        self.entry(id).is_some_and(|entry| entry.state == State::Orphaned)
    }

    /// Marks an operation as not waited for; false when it is gone or was orphaned before.
    pub(crate) fn orphan(&mut self, id: OpId) -> bool {
        match self.entry_mut(id) {
            Some(entry) if entry.state == State::Live => entry.state = State::Orphaned,
            _ => return false,
        }
        self.orphans += 1;
        true
    }

    /// Notes that an operation's end is asked for; false when it is gone or was asked for before.
    pub(crate) fn cancel(&mut self, id: OpId) -> bool {
        self.entry_mut(id).is_some_and(|entry| !std::mem::replace(&mut entry.is_cancelled, true))
    }

    /// Whether an operation's end was asked for.
    pub(crate) fn is_cancelled(&self, id: OpId) -> bool {
        self.entry(id).is_some_and(|entry| entry.is_cancelled)
    }

    /// Takes an operation out after its last completion; later completions with this id are strangers.
    pub(crate) fn retire(&mut self, id: OpId) -> Option<Op> {
        let entry = self.entry_mut(id)?;
        let was_orphan = entry.state == State::Orphaned;
        entry.state = State::Free;
        // Generation 0 is never used, so an all-zero id is never current.
        entry.generation = entry.generation.wrapping_add(1).max(1);
        let op = entry.op.take();
        self.free.push(u32::try_from(id.index()).unwrap_or(u32::MAX));
        self.live -= 1;
        self.orphans -= usize::from(was_orphan);
        op
    }

    /// Ids of all operations in flight.
    pub(crate) fn ids(&self) -> Vec<OpId> {
        let in_flight = |(index, entry): (usize, &Entry)| {
            (entry.state != State::Free)
                .then(|| OpId::new(entry.generation, u32::try_from(index).unwrap_or(u32::MAX)))
        };
        self.entries.iter().enumerate().filter_map(in_flight).collect()
    }

    fn entry(&self, id: OpId) -> Option<&Entry> {
        let entry = self.entries.get(id.index())?;
        (entry.generation == id.generation() && entry.state != State::Free).then_some(entry)
    }

    fn entry_mut(&mut self, id: OpId) -> Option<&mut Entry> {
        let entry = self.entries.get_mut(id.index())?;
        (entry.generation == id.generation() && entry.state != State::Free).then_some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handle::Handle;

    fn op() -> Op {
        Op::Stream { socket: Handle::simulated(3) }
    }

    #[test]
    fn stale_ids_reach_nothing() {
        let mut slots = Slots::default();
        let first = slots.insert(op(), 7);
        assert_eq!(slots.token(first), Some(7));
        assert!(slots.retire(first).is_some());
        let second = slots.insert(op(), 8);
        assert_ne!(first, second);
        assert_eq!(first.index(), second.index(), "the slot is used again");
        assert!(slots.get(first).is_none());
        assert!(slots.retire(first).is_none());
        assert_eq!(slots.token(second), Some(8));
        assert!(OpId::from_bits(0).is_none());
        assert!(OpId::from_bits(u64::MAX).is_some_and(|stranger| slots.get(stranger).is_none()));
    }

    #[test]
    fn orphans_stay_until_retired() {
        let mut slots = Slots::default();
        let id = slots.insert(op(), 1);
        assert!(slots.orphan(id));
        assert!(!slots.orphan(id), "only once");
        assert_eq!((slots.live(), slots.orphans()), (1, 1));
        assert!(slots.get(id).is_some(), "descriptor and buffers are kept");
        assert!(slots.retire(id).is_some());
        assert_eq!((slots.live(), slots.orphans()), (0, 0));
    }
}
