//! What a connection keeps in its record's first word, and where the rest is while there is any.

use crate::groups::Membership;
use crate::handler::Reason;
use crate::outbound::Link;
use crate::owner::Owner;
use crate::remote::Remote;
use ringway_engine::{ConnKey, SendProgress, Stream};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// What a connection speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Messages as they are framed.
    #[default]
    Raw,
    /// It is not known yet: what comes first says.
    Deciding,
    /// The request for a WebSocket is awaited.
    Upgrading,
    /// A WebSocket's messages.
    WebSocket,
}

/// Facts of a connection, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts(u16);

impl Facts {
    /// The handler has heard of the connection.
    pub(crate) const TOLD: Self = Self(1);
    /// The handler has heard that the peer has finished sending.
    pub(crate) const ENDED: Self = Self(2);
    /// A look at how sending gets on is due.
    pub(crate) const WATCHED: Self = Self(4);
    /// The handler takes no messages for now.
    pub(crate) const PAUSED: Self = Self(8);
    /// The handler has heard that the server drains.
    pub(crate) const DRAINED: Self = Self(16);
    /// Something was sent: the peer cannot ask for another protocol any more.
    pub(crate) const SPOKEN: Self = Self(32);
    /// This side has opened it.
    pub(crate) const OUTBOUND: Self = Self(64);
    /// No more is sent.
    pub(crate) const SHUT: Self = Self(128);
    /// It has had its first turn.
    pub(crate) const COUNTED: Self = Self(256);

    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn set(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(crate) fn clear(&mut self, other: Self) {
        self.0 &= !other.0;
    }
}

/// Time in units of 64 ms, of which the last three days are told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tick(u32);

impl Tick {
    const BITS: u32 = 22;
    const MASK: u32 = (1 << Self::BITS) - 1;
    /// Milliseconds of one.
    pub(crate) const MS: u64 = 64;

    pub(crate) fn at(now_ms: u64) -> Self {
        let low = (now_ms / Self::MS) & u64::from(Self::MASK);
        Self(u32::try_from(low).unwrap_or(0))
    }

    /// Milliseconds since, one unit more at most.
    pub(crate) fn age_ms(self, now_ms: u64) -> u64 {
        let units = Self::at(now_ms).0.wrapping_sub(self.0) & Self::MASK;
        u64::from(units) * Self::MS
    }
}

/// Most connections of a worker whose state is beyond their words at once.
pub(crate) const RARE_MAX: usize = (1 << 20) - 2;

/// Most handlers of a worker at once, those included that were replaced and still have connections.
pub(crate) const OWNERS_MAX: usize = 1 << 10;

/// A connection's first context word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Word {
    /// When anything was last heard of the peer.
    pub(crate) heard: Tick,
    /// Where the rest is, plus one; 0: there is none.
    pub(crate) rare: u32,
    /// Whose connection it is.
    pub(crate) owner: u16,
    pub(crate) phase: Phase,
    pub(crate) facts: Facts,
}

impl Word {
    const RARE_AT: u32 = 22;
    const OWNER_AT: u32 = 42;
    const PHASE_AT: u32 = 52;
    const FACTS_AT: u32 = 54;

    pub(crate) fn bits(self) -> u64 {
        let phase = match self.phase {
            Phase::Raw => 0,
            Phase::Deciding => 1,
            Phase::Upgrading => 2,
            Phase::WebSocket => 3,
        };
        u64::from(self.heard.0)
            | u64::from(self.rare) << Self::RARE_AT
            | u64::from(self.owner) << Self::OWNER_AT
            | phase << Self::PHASE_AT
            | u64::from(self.facts.0) << Self::FACTS_AT
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        let part = |at: u32, width: u32| u32::try_from((bits >> at) & ((1 << width) - 1)).unwrap_or(0);
        let narrow = |value: u32| u16::try_from(value).unwrap_or(0);
        let phase = match part(Self::PHASE_AT, 2) {
            0 => Phase::Raw,
            1 => Phase::Deciding,
            2 => Phase::Upgrading,
            _ => Phase::WebSocket,
        };
        Self {
            heard: Tick(part(0, Tick::BITS)),
            rare: part(Self::RARE_AT, 20),
            owner: narrow(part(Self::OWNER_AT, 10)),
            phase,
            facts: Facts(narrow(part(Self::FACTS_AT, 10))),
        }
    }
}

/// What is rarely there: kept apart so that connections that wait stay small.
#[derive(Debug, Default)]
pub(crate) struct Rare {
    /// What has come of a message that is too long for one slice.
    pub(crate) assembly: Vec<u8>,
    /// Bytes at the beginning of what is unread in which the end of a message is not.
    pub(crate) seen: usize,
    /// Bytes of the message under way, where that is known.
    pub(crate) total: Option<usize>,
    /// When it began to come; 0: none is under way.
    pub(crate) began_ms: u64,
    /// When the handler wants to be called; 0: never.
    pub(crate) timeout_ms: u64,
    /// When it must be known what the connection speaks, or a WebSocket's close have come; 0: there is no such time.
    pub(crate) phase_until_ms: u64,
    /// How far sending had come when that was last seen to move, and when.
    pub(crate) progress: Option<(SendProgress, u64)>,
    /// Why the connection ends, if that was this side's wish or finding.
    pub(crate) reason: Option<Reason>,
    /// The handler wants to hear when everything is sent.
    pub(crate) wants_sent: bool,
    /// Who wants to reach the connection from elsewhere.
    pub(crate) remote: Option<Arc<Remote>>,
    pub(crate) memberships: Vec<Membership>,
    /// Who has asked for the connection, where this side has opened it.
    pub(crate) link: Option<Link>,
    /// The connection's name, for its groups.
    pub(crate) key: Option<ConnKey>,
    #[cfg(feature = "websockets")]
    pub(crate) socket: Option<Box<crate::websocket::Session>>,
}

impl Rare {
    /// Whether it says no more than nothing.
    pub(crate) fn is_idle(&self) -> bool {
        #[cfg(feature = "websockets")]
        let is_plain = self.socket.is_none();
        #[cfg(not(feature = "websockets"))]
        let is_plain = true;
        is_plain
            && self.assembly.is_empty()
            && self.began_ms == 0
            && self.timeout_ms == 0
            && self.phase_until_ms == 0
            && self.progress.is_none()
            && self.reason.is_none()
            && !self.wants_sent
            && self.remote.is_none()
            && self.memberships.is_empty()
            && self.link.is_none()
    }
}

/// Empty boxes that a worker keeps.
const SPARE_MAX: usize = 64;

/// A worker's room: who owns its connections, and what those keep beyond their words.
#[derive(Default)]
struct Room {
    owners: Vec<Option<Rc<Owner>>>,
    rares: Vec<Option<Box<Rare>>>,
    free: Vec<u32>,
    #[expect(clippy::vec_box, reason = "they are handed out as boxes again")]
    spare: Vec<Box<Rare>>,
}

thread_local! {
    static ROOM: RefCell<Room> = RefCell::default();
}

/// Gives an owner its number, which is never 0; `None`: there are [`OWNERS_MAX`] already.
pub(crate) fn enter(make: impl FnOnce(u16) -> Rc<Owner>) -> Option<Rc<Owner>> {
    let place = ROOM.with_borrow_mut(|room| {
        if room.owners.is_empty() {
            room.owners.push(None);
        }
        let free = (1..room.owners.len()).find(|place| room.owners[*place].is_none());
        let place = free.unwrap_or(room.owners.len());
        if place == room.owners.len() {
            room.owners.push(None);
        }
        (place < OWNERS_MAX).then_some(place)
    })?;
    let owner = make(u16::try_from(place).ok()?);
    ROOM.with_borrow_mut(|room| room.owners[place] = Some(Rc::clone(&owner)));
    Some(owner)
}

/// The owner of that number.
pub(crate) fn owner(place: u16) -> Option<Rc<Owner>> {
    ROOM.with_borrow(|room| room.owners.get(usize::from(place)).cloned().flatten())
}

/// An owner without connections that gets no new ones is forgotten.
pub(crate) fn leave(place: u16) {
    // Dropped outside of the room: what it holds may reach for it. At the end of a worker's thread there is none any more.
    let _dropped =
        ROOM.try_with(|room| room.borrow_mut().owners.get_mut(usize::from(place)).and_then(Option::take));
}

/// Takes what a connection keeps out of the room, for its turn.
pub(crate) fn take(place: u32) -> Option<Box<Rare>> {
    let index = usize::try_from(place.checked_sub(1)?).ok()?;
    ROOM.with_borrow_mut(|room| room.rares.get_mut(index)?.take())
}

/// A new one; what it is to be kept at is said when it is put back.
pub(crate) fn fresh() -> Box<Rare> {
    ROOM.with_borrow_mut(|room| room.spare.pop()).unwrap_or_default()
}

/// Keeps it until the next turn, at `place` if it had one. `None`: there are [`RARE_MAX`] already.
pub(crate) fn keep(place: u32, rare: Box<Rare>) -> Option<u32> {
    ROOM.with_borrow_mut(|room| {
        let index = match place.checked_sub(1) {
            Some(index) => index,
            None => room.free.pop().unwrap_or_else(|| u32::try_from(room.rares.len()).unwrap_or(u32::MAX)),
        };
        let at = usize::try_from(index).ok()?;
        if at >= RARE_MAX {
            return None;
        }
        if at == room.rares.len() {
            room.rares.push(None);
        }
        *room.rares.get_mut(at)? = Some(rare);
        index.checked_add(1)
    })
}

/// Notes why a connection ends that a task has, between its turns.
pub(crate) fn note_reason(stream: &mut Stream, reason: Reason) {
    let [bits, user] = stream.context();
    let mut word = Word::from_bits(bits);
    let mut rare = take(word.rare).unwrap_or_else(fresh);
    rare.reason.get_or_insert(reason);
    if let Some(place) = keep(word.rare, rare) {
        word.rare = place;
        stream.set_context([word.bits(), user]);
    }
}

/// Nothing is kept at `place` any more; `rare`, if there is one, is for the next who needs one.
pub(crate) fn release(place: u32, rare: Option<Box<Rare>>) {
    let rare = rare.map(|mut rare| {
        // Outside of the room: leaving groups reaches for more.
        *rare = Rare::default();
        rare
    });
    let _gone = ROOM.try_with(|room| {
        let mut room = room.borrow_mut();
        if let Some(index) = place.checked_sub(1) {
            room.free.push(index);
        }
        if let Some(rare) = rare
            && room.spare.len() < SPARE_MAX
        {
            room.spare.push(rare);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_keeps_its_parts() {
        let mut facts = Facts::default();
        facts.set(Facts::SHUT);
        facts.set(Facts::TOLD);
        for phase in [Phase::Raw, Phase::Deciding, Phase::Upgrading, Phase::WebSocket] {
            let word = Word { heard: Tick::at(123_456_789), rare: 0xf_fffe, owner: 1023, phase, facts };
            assert_eq!(Word::from_bits(word.bits()), word);
        }
        assert_eq!(Word::from_bits(0), Word::default());
    }

    #[test]
    fn ages_are_told_beyond_the_wrap() {
        let wrap = u64::from(Tick::MASK) * Tick::MS;
        for now in [1_000, wrap - 10, wrap + 1_000_000] {
            let age = Tick::at(now).age_ms(now + 600_000);
            assert!(age.abs_diff(600_000) <= Tick::MS, "{age}");
        }
    }

    #[test]
    fn what_was_kept_is_found_and_its_place_used_again() {
        let mut rare = fresh();
        rare.timeout_ms = 7;
        let place = keep(0, rare).expect("room");
        let rare = take(place).expect("kept");
        assert_eq!(rare.timeout_ms, 7);
        assert!(take(place).is_none());
        release(place, Some(rare));
        assert!(fresh().is_idle());
        assert_eq!(keep(0, fresh()), Some(place));
    }
}
