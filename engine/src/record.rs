//! Connection records: all that an idle connection costs, found by every completion without a search.

use crate::filter::Filter;
use crate::governor::{ConnRate, Reading};
use crate::held::{self, Held, HeldSlot};
use crate::inbox::Inbox;
use crate::protocol::Events;
use crate::session::Session;
use crate::task::TaskId;
use ringway_heap::{Local, LocalBox};
use ringway_ring::{Handle, OpId, Slice, socket};
use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Waker;

/// Names one connection of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ConnId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// How a connection receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Not at all.
    Paused,
    /// Whatever arrives.
    Stream,
    /// This many bytes in one piece, those already arrived included.
    Exact(u32),
}

/// Something to send, in order.
pub(crate) enum Outgoing {
    Bytes(Slice),
    File { head: Option<Slice>, file: Handle, offset: u64, bytes: u64, is_warm: bool },
}

/// What is rarely there: kept apart so that idle connections stay small.
#[derive(Default)]
pub(crate) struct Extra {
    /// What goes out as it is, in order.
    pub(crate) queue: VecDeque<Outgoing>,
    /// What must go through the filter first, in order.
    pub(crate) plain: VecDeque<Outgoing>,
    pub(crate) filter: Option<Box<dyn Filter>>,
    /// Arrived records that are not whole yet.
    pub(crate) wire: Inbox,
    /// Nothing more is received before the filter has taken what came; the transport's end is only told then.
    #[cfg(feature = "filters")]
    pub(crate) is_dammed: bool,
    #[cfg(feature = "filters")]
    pub(crate) ends_late: bool,
    /// The read of the file at the front of `plain`.
    pub(crate) reading: Option<OpId>,
    pub(crate) peer: Option<SocketAddr>,
    /// Who waits on this connection when that is not its task itself but a future inside it with a waker of its own.
    pub(crate) waker: Option<Waker>,
    /// Bytes of the exact receive under way that had arrived before it.
    pub(crate) exact_prefix: u32,
    /// How far sending had come when the deadline of a closing connection was set, if the engine set it.
    pub(crate) closing: Option<(u64, u64, usize)>,
    /// Bytes discarded while lingering.
    pub(crate) discarded: u64,
    /// How the governor stands to what would begin new work.
    pub(crate) reading_began: Reading,
    /// Bytes of the governed scopes' lines that are taken for this connection already.
    pub(crate) reserved: u64,
    /// Bytes that may be sent now because it is this connection's turn.
    pub(crate) granted: u64,
    /// What is kept of a connection that a [`crate::Stream`] owns.
    pub(crate) held: HeldSlot,
    /// What a proxy in front has to say first has not been said.
    pub(crate) awaits_preface: bool,
    /// The end of what is sent follows when everything before is with the kernel.
    pub(crate) finishes: bool,
    /// Bytes that may still be queued when who waits for room is to be woken; 0: nobody waits so.
    pub(crate) room_at_bytes: usize,
    /// This side opened it for the protocol of an endpoint, which hears of its end even if it has not heard of its beginning.
    #[cfg(feature = "held")]
    pub(crate) is_outbound: bool,
    /// The connection's own rate, and whether the piece that is kept back waits for it.
    pub(crate) rate: Option<ConnRate>,
    pub(crate) is_paced: bool,
}

impl Extra {
    /// Whether the filter has plain bytes that are not on the wire.
    pub(crate) fn holds(&self) -> bool {
        cfg!(feature = "filters") && self.filter.as_ref().is_some_and(|filter| filter.holds())
    }
}

/// Facts about a connection, as bits.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Flags(u16);

impl Flags {
    /// In the list of connections that shall have a turn.
    pub(crate) const QUEUED: Self = Self(1);
    /// The peer has finished sending.
    pub(crate) const ENDED: Self = Self(2);
    /// Reading or writing failed; nothing can be sent any more.
    pub(crate) const BROKEN: Self = Self(4);
    /// To be closed once everything is sent.
    pub(crate) const CLOSING: Self = Self(8);
    /// FIN sent; what still arrives is discarded.
    pub(crate) const LINGERING: Self = Self(16);
    /// Becomes lingering once everything is sent.
    pub(crate) const LINGER_NEXT: Self = Self(32);
    /// The receive operation was asked to end.
    pub(crate) const SWITCHING: Self = Self(64);
    /// Counted against its address.
    pub(crate) const COUNTED: Self = Self(128);
    /// The protocol writes no more.
    pub(crate) const SHUT: Self = Self(256);
    /// Waits for a buffer or an operation to become free.
    pub(crate) const STARVED: Self = Self(512);
    /// The protocol wants no input for now.
    pub(crate) const HELD: Self = Self(1024);
    /// The filter has said its last words.
    pub(crate) const SAID: Self = Self(2048);
    /// Something was received since the receive operation was last started.
    pub(crate) const FED: Self = Self(4096);
    /// The handshake of the endpoint's filter is under way: the protocol has not heard of the connection yet.
    pub(crate) const SHAKING: Self = Self(8192);
    /// A [`crate::Stream`] owns it: there are no turns, and it receives when its owner asks.
    pub(crate) const OWNED: Self = Self(16_384);
    /// There may be something to receive.
    pub(crate) const READABLE: Self = Self(32_768);

    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn set(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Whether the protocol is done with the connection.
    pub(crate) fn is_closing(self) -> bool {
        self.has(Self(Self::CLOSING.0 | Self::LINGERING.0 | Self::LINGER_NEXT.0))
    }

    pub(crate) fn clear(&mut self, other: Self) {
        self.0 &= !other.0;
    }
}

/// One connection.
pub(crate) struct Record {
    pub(crate) socket: Handle,
    pub(crate) receiving: Option<OpId>,
    pub(crate) sending: Option<OpId>,
    pub(crate) inbox: Inbox,
    pub(crate) extra: Option<LocalBox<Extra>>,
    pub(crate) context: [u64; 2],
    pub(crate) task: Option<TaskId>,
    pub(crate) mode: Mode,
    pub(crate) address_key: u32,
    pub(crate) flags: Flags,
    pub(crate) endpoint: u16,
    /// What its protocol says that it works for: see [`crate::Scope::Site`]. 0: nothing.
    pub(crate) site: u16,
    pub(crate) events: Events,
    /// How much it receives at once.
    pub(crate) width: Width,
}

/// Whether a connection's receives fill large buffers: one whose peer sends much at once costs fewer receives so. Only where its
/// protocol says so, because what a protocol holds of them pins more memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Width(u8);

impl Width {
    /// The first state of those that may; each full buffer adds 1.
    const MAY: u8 = 1;
    /// Full buffers in a row after which a connection receives into large ones.
    const FULL_MAX: u8 = 3;
    /// The first state of those that do; each receive that fills little of one adds 1.
    const LARGE: u8 = 128;
    /// Part of a large buffer, as a divisor, that is little.
    const LITTLE_SHARE: usize = 8;
    /// Such receives in a row after which it is over.
    const LITTLE_MAX: u8 = 64;

    pub(crate) fn allow(&mut self) {
        self.0 = self.0.max(Self::MAY);
    }

    /// Goes back to ordinary buffers.
    pub(crate) fn reset(&mut self) {
        self.0 = self.0.min(Self::MAY);
    }

    pub(crate) fn is_large(self) -> bool {
        self.0 >= Self::LARGE
    }

    /// After a receive of `bytes` into a buffer of `capacity`: whether the width has changed.
    #[must_use]
    pub(crate) fn note(&mut self, bytes: usize, capacity: usize) -> bool {
        if self.0 < Self::MAY {
            return false;
        }
        let before = self.is_large();
        let is_much = if before { bytes * Self::LITTLE_SHARE > capacity } else { bytes == capacity };
        self.0 = match (before, is_much) {
            (false, true) if self.0 + 1 >= Self::MAY + Self::FULL_MAX => Self::LARGE,
            (true, false) if self.0 + 1 >= Self::LARGE + Self::LITTLE_MAX => Self::MAY,
            (false, true) | (true, false) => self.0 + 1,
            (false, false) => Self::MAY,
            (true, true) => Self::LARGE,
        };
        before != self.is_large()
    }
}

impl Record {
    pub(crate) fn new(socket: Handle, endpoint: u16) -> Self {
        Self {
            socket,
            receiving: None,
            sending: None,
            inbox: Inbox::default(),
            extra: None,
            context: [0; 2],
            task: None,
            mode: Mode::Stream,
            address_key: 0,
            flags: Flags::default(),
            endpoint,
            site: 0,
            events: Events::default(),
            width: Width::default(),
        }
    }

    pub(crate) fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_with(|| LocalBox::new_in(Extra::default(), Local::new()))
    }

    /// Whether a [`crate::Stream`] owns it.
    pub(crate) fn is_owned(&self) -> bool {
        // Without the feature all that owned connections need is dead code.
        cfg!(feature = "held") && self.flags.has(Flags::OWNED)
    }

    /// Whether what a proxy in front has to say first has not been said.
    pub(crate) fn awaits_preface(&self) -> bool {
        cfg!(feature = "preface") && self.extra.as_ref().is_some_and(|extra| extra.awaits_preface)
    }

    pub(crate) fn has_filter(&self) -> bool {
        // Without the feature all that filters need is dead code.
        cfg!(feature = "filters") && self.extra.as_ref().is_some_and(|extra| extra.filter.is_some())
    }

    /// Whether its filter has to take what came before more is received.
    #[cfg(feature = "filters")]
    pub(crate) fn is_dammed(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| extra.is_dammed)
    }

    #[cfg(not(feature = "filters"))]
    #[expect(clippy::unused_self, reason = "without filters it is a constant")]
    pub(crate) fn is_dammed(&self) -> bool {
        false
    }

    pub(crate) fn session(&self) -> Option<Rc<Session>> {
        self.extra.as_ref()?.filter.as_ref()?.session()
    }

    /// Whether everything given to the connection is with the kernel.
    pub(crate) fn is_flushed(&self) -> bool {
        let waits = |extra: &Extra| {
            !extra.queue.is_empty() || !extra.plain.is_empty() || extra.reading.is_some() || extra.holds()
        };
        self.sending.is_none() && !self.extra.as_ref().is_some_and(|extra| waits(extra))
    }

    /// The peer's address; asked of the kernel once, when first wanted.
    pub(crate) fn peer(&mut self) -> Option<SocketAddr> {
        if let Some(peer) = self.extra.as_ref().and_then(|extra| extra.peer) {
            return Some(peer);
        }
        let peer = self.kernel_peer()?;
        self.extra().peer = Some(peer);
        Some(peer)
    }

    /// What is kept of an owned connection.
    pub(crate) fn held(&mut self) -> Option<&mut Held> {
        if !self.is_owned() {
            return None;
        }
        held::of(&mut self.extra.as_mut()?.held)
    }

    /// Who is at the other end of the socket, whoever that speaks for; asked of the kernel.
    pub(crate) fn kernel_peer(&self) -> Option<SocketAddr> {
        self.socket.kernel().and_then(socket::peer_address)
    }

    /// How many pieces wait behind the one under way.
    pub(crate) fn queued(&self) -> usize {
        self.extra.as_ref().map_or(0, |extra| extra.queue.len() + extra.plain.len())
    }
}

/// All connections of a worker, by index.
#[derive(Default)]
pub(crate) struct Records {
    entries: Vec<Entry>,
    free: Vec<u32>,
    len: usize,
}

struct Entry {
    generation: u32,
    record: Option<Record>,
}

/// Generations wrap here so that they fit into an operation's token beside the index.
const GENERATION_MASK: u32 = (1 << 28) - 1;

impl Records {
    pub(crate) fn insert(&mut self, record: Record) -> ConnId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry { generation: 1, record: None });
            u32::try_from(self.entries.len() - 1).expect("fewer connections than 2^32")
        });
        let entry = &mut self.entries[index as usize];
        entry.record = Some(record);
        self.len += 1;
        ConnId { index, generation: entry.generation }
    }

    pub(crate) fn get(&mut self, id: ConnId) -> Option<&mut Record> {
        let entry = self.entries.get_mut(id.index as usize)?;
        if entry.generation == id.generation { entry.record.as_mut() } else { None }
    }

    pub(crate) fn remove(&mut self, id: ConnId) -> Option<Record> {
        let entry = self.entries.get_mut(id.index as usize)?;
        if entry.generation != id.generation {
            return None;
        }
        let record = entry.record.take()?;
        entry.generation = (entry.generation + 1) & GENERATION_MASK;
        self.free.push(id.index);
        self.len -= 1;
        Some(record)
    }

    /// The connection that has this index now.
    pub(crate) fn current(&self, index: u32) -> Option<ConnId> {
        let entry = self.entries.get(index as usize)?;
        entry.record.as_ref().map(|_| ConnId { index, generation: entry.generation })
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn ids(&self) -> Vec<ConnId> {
        self.first_ids(usize::MAX)
    }

    /// At most `most` of them.
    pub(crate) fn first_ids(&self, most: usize) -> Vec<ConnId> {
        let indices = 0..u32::try_from(self.entries.len()).unwrap_or(0);
        indices.filter_map(|index| self.current(index)).take(most).collect()
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Records({})", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_ids_reach_nothing() {
        let mut records = Records::default();
        let first = records.insert(Record::new(Handle::simulated(1), 0));
        assert!(records.remove(first).is_some());
        let second = records.insert(Record::new(Handle::simulated(2), 0));
        assert_eq!(first.index, second.index);
        assert!(records.get(first).is_none());
        assert!(records.remove(first).is_none());
        assert_eq!(records.current(second.index), Some(second));
    }

    #[test]
    fn a_connection_receives_much_at_once_only_while_its_peer_sends_much() {
        let mut never = Width::default();
        assert!((0..10).all(|_| !never.note(2048, 2048)), "nobody has allowed it");
        let mut width = Width::default();
        width.allow();
        assert!(!width.note(2048, 2048) && !width.note(2048, 2048) && !width.note(100, 2048), "begins anew");
        assert!(
            !width.note(2048, 2048) && !width.note(2048, 2048) && width.note(2048, 2048),
            "three in a row"
        );
        width.allow();
        assert!(width.is_large());
        for _ in 0..3 {
            assert!((0..60).all(|_| !width.note(100, 65_536)));
            assert!(!width.note(10_000, 65_536), "a large one begins anew");
        }
        let changes = (1..100).find(|_| width.note(2048, 65_536));
        assert_eq!((changes, width.is_large()), (Some(usize::from(Width::LITTLE_MAX)), false));
    }

    #[test]
    fn a_record_stays_small() {
        // 10,000 idle connections at 256 bytes each, all told: the record is the largest part of it.
        assert!(size_of::<Option<Record>>() <= 112, "{}", size_of::<Option<Record>>());
    }
}
