//! Timer wheel: one deadline per key, constant cost to arm, move and disarm, silence while nothing is due.
//!
//! Eleven levels of 64 slots cover every `u64` millisecond. A key is filed by the highest bit in which its due tick
//! differs from the current one, so within a level every occupied slot lies ahead and any slot of a lower level comes
//! before any of a higher one: the next event is the lowest set bit of the lowest occupied level. A slot that comes up
//! is moved whole to the *due* list; its keys either expire from there or are filed again nearer, at most once per
//! level.

/// The granularity of the wheel: a key expires at its deadline rounded up to a multiple of this many milliseconds.
pub const RESOLUTION_MS: u64 = 1 << RESOLUTION_BITS;

/// The highest key a wheel takes.
pub const KEY_MAX: u32 = LIST_FLAG - 1;

const RESOLUTION_BITS: u32 = 3;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
/// Enough levels for all `64 - RESOLUTION_BITS` bits of a tick.
const LEVELS: usize = (64 - RESOLUTION_BITS).div_ceil(SLOT_BITS) as usize;
/// The list of keys whose slot has come up; it sits behind the lists of the slots.
const DUE: usize = LEVELS * SLOTS;

/// `Link::next` of the last key of a list, and the head of an empty one.
const NIL: u32 = u32::MAX;
/// `Link::prev` of a key that is not armed.
const UNARMED: u32 = u32::MAX;
/// Set in `Link::prev` of the first key of a list; the other bits then name the list.
const LIST_FLAG: u32 = 1 << 31;

/// What the wheel keeps of a key: 16 bytes.
#[derive(Clone, Copy, Debug)]
struct Link {
    deadline_ms: u64,
    prev: u32,
    next: u32,
}

const UNUSED: Link = Link { deadline_ms: 0, prev: UNARMED, next: NIL };

/// One deadline for each of the caller's keys.
///
/// Keys are indices into the caller's own table (a slab of connections): the wheel keeps 16 bytes for every key up to
/// the highest one ever armed and never gives that table back, so keys should be dense.
///
/// Deadlines are never early and at most `RESOLUTION_MS - 1` milliseconds late, plus however late
/// [`expire`](Wheel::expire) is called.
///
/// ```
/// use ringway_pace::Wheel;
///
/// let mut wheel = Wheel::new(0);
/// wheel.arm(7, 100);
/// assert_eq!(wheel.next_wakeup(), Some(104));
/// assert_eq!(wheel.expire(99), None);
/// assert_eq!(wheel.expire(104), Some(7));
/// assert_eq!(wheel.expire(104), None);
/// assert_eq!(wheel.next_wakeup(), None);
/// ```
#[derive(Debug)]
pub struct Wheel {
    links: Vec<Link>,
    /// First key of each slot's list, then of the due list.
    heads: Box<[u32]>,
    /// A bit for every slot that holds a key.
    occupied: [u64; LEVELS],
    /// All slots up to and including this tick have been moved to the due list.
    tick: u64,
    armed: usize,
}

impl Wheel {
    /// An empty wheel whose time is `now_ms`. Allocates a fixed 3 KiB; each key costs 16 bytes more.
    pub fn new(now_ms: u64) -> Self {
        Wheel {
            links: Vec::new(),
            heads: vec![NIL; DUE + 1].into_boxed_slice(),
            occupied: [0; LEVELS],
            tick: now_ms >> RESOLUTION_BITS,
            armed: 0,
        }
    }

    /// Sets the deadline of `key`, whether or not it has one already.
    ///
    /// Moving a deadline away, which every request on a kept-alive connection does, only records it: the key is filed
    /// again when its old slot comes up. A deadline that has passed is reported by the next
    /// [`expire`](Wheel::expire); `u64::MAX` never passes.
    ///
    /// # Panics
    /// When `key` is above [`KEY_MAX`].
    pub fn arm(&mut self, key: u32, deadline_ms: u64) {
        assert!(key <= KEY_MAX, "wheel key {key} is above {KEY_MAX}");
        let index = key as usize;
        if index >= self.links.len() {
            self.links.resize(index + 1, UNUSED);
        }
        let link = &mut self.links[index];
        let old_ms = std::mem::replace(&mut link.deadline_ms, deadline_ms);
        if link.prev == UNARMED {
            self.armed += 1;
        } else if deadline_ms >= old_ms {
            return;
        } else {
            self.unlink(key);
        }
        self.file(key);
    }

    /// Takes the deadline of `key` away and says whether it had one. A key never armed is no error.
    pub fn disarm(&mut self, key: u32) -> bool {
        if self.deadline(key).is_none() {
            return false;
        }
        self.unlink(key);
        self.armed -= 1;
        true
    }

    /// The deadline of `key` in milliseconds, as it was last armed; `None` once it expired or was disarmed.
    pub fn deadline(&self, key: u32) -> Option<u64> {
        self.links.get(key as usize).filter(|link| link.prev != UNARMED).map(|link| link.deadline_ms)
    }

    /// How many keys have a deadline.
    pub fn len(&self) -> usize {
        self.armed
    }

    /// Whether no key has a deadline.
    pub fn is_empty(&self) -> bool {
        self.armed == 0
    }

    /// How long the caller may sleep: the time of the next event, `None` when nothing is armed.
    ///
    /// Never later than the moment at which the earliest deadline can expire (that deadline rounded up to
    /// [`RESOLUTION_MS`]). It may be earlier, when a slot of a higher level has to be spread out or a deadline was
    /// moved away, but only a bounded number of times per armed key. A time at or before the last `expire` means that
    /// keys are waiting now.
    pub fn next_wakeup(&self) -> Option<u64> {
        if self.heads[DUE] != NIL {
            return Some(self.tick << RESOLUTION_BITS);
        }
        self.next_slot().map(|(_, tick)| tick.saturating_mul(RESOLUTION_MS))
    }

    /// Moves time on to `now_ms` and returns one key whose deadline has passed; the key is then no longer armed.
    ///
    /// Call it until it returns `None`, or fewer times to bound a turn: what is left is still there at the next call
    /// and [`next_wakeup`](Wheel::next_wakeup) says so. Between two calls any key may be armed and disarmed; a key that
    /// is disarmed is not reported. Keys come in the order of their due ticks, in no particular order within one. A
    /// `now_ms` that runs backwards is taken as no movement.
    pub fn expire(&mut self, now_ms: u64) -> Option<u32> {
        let now_tick = now_ms >> RESOLUTION_BITS;
        loop {
            while let Some(key) = self.pop_due() {
                if due_tick(self.links[key as usize].deadline_ms) <= self.tick {
                    self.armed -= 1;
                    return Some(key);
                }
                self.file(key);
            }
            match self.next_slot() {
                Some((list, tick)) if tick <= now_tick => self.bring_up(list, tick),
                _ => {
                    // Every occupied slot lies beyond `now_tick`, so all stay filed where they are.
                    self.tick = self.tick.max(now_tick);
                    return None;
                }
            }
        }
    }

    /// The occupied slot that comes up first, and the tick at which it does.
    fn next_slot(&self) -> Option<(usize, u64)> {
        let level = self.occupied.iter().position(|&slots| slots != 0)?;
        let slot = self.occupied[level].trailing_zeros() as usize;
        Some((level * SLOTS + slot, slot_tick(self.tick, level, slot)))
    }

    /// Makes the whole list of a slot the due list, which is empty, and moves time to the slot's tick.
    fn bring_up(&mut self, list: usize, tick: u64) {
        debug_assert!(self.heads[DUE] == NIL && tick > self.tick);
        let first = std::mem::replace(&mut self.heads[list], NIL);
        self.occupied[list / SLOTS] &= !(1 << (list % SLOTS));
        self.links[first as usize].prev = list_name(DUE);
        self.heads[DUE] = first;
        self.tick = tick;
    }

    fn pop_due(&mut self) -> Option<u32> {
        let key = self.heads[DUE];
        (key != NIL).then(|| {
            self.unlink(key);
            key
        })
    }

    /// Puts an unlinked key at the front of the list its deadline belongs to.
    fn file(&mut self, key: u32) {
        let list = list_for(self.tick, due_tick(self.links[key as usize].deadline_ms));
        let first = std::mem::replace(&mut self.heads[list], key);
        if first != NIL {
            self.links[first as usize].prev = key;
        }
        let link = &mut self.links[key as usize];
        link.prev = list_name(list);
        link.next = first;
        if list != DUE {
            self.occupied[list / SLOTS] |= 1 << (list % SLOTS);
        }
    }

    /// Takes an armed key out of its list.
    fn unlink(&mut self, key: u32) {
        let Link { prev, next, .. } = self.links[key as usize];
        debug_assert!(prev != UNARMED);
        self.links[key as usize].prev = UNARMED;
        if next != NIL {
            self.links[next as usize].prev = prev;
        }
        if prev & LIST_FLAG == 0 {
            self.links[prev as usize].next = next;
            return;
        }
        let list = (prev & !LIST_FLAG) as usize;
        self.heads[list] = next;
        if next == NIL && list != DUE {
            self.occupied[list / SLOTS] &= !(1 << (list % SLOTS));
        }
    }
}

/// The first tick at which a deadline has passed.
fn due_tick(deadline_ms: u64) -> u64 {
    deadline_ms.div_ceil(RESOLUTION_MS)
}

/// Where a key that is due at tick `due` belongs when the wheel stands at tick `now`.
fn list_for(now: u64, due: u64) -> usize {
    if due <= now {
        return DUE;
    }
    let level = (now ^ due).ilog2() / SLOT_BITS;
    let slot = (due >> (level * SLOT_BITS)) & (SLOTS as u64 - 1);
    #[expect(clippy::cast_possible_truncation, reason = "masked to the six bits of a slot")]
    let slot = slot as usize;
    level as usize * SLOTS + slot
}

/// The tick at which a slot ahead of `now` comes up: `now` with the slot in place of its level's bits, zeros below.
fn slot_tick(now: u64, level: usize, slot: usize) -> u64 {
    let shift = level * SLOT_BITS as usize;
    let above = now >> shift & !(SLOTS as u64 - 1);
    (above | slot as u64) << shift
}

/// How the first key of a list refers to it.
#[expect(clippy::cast_possible_truncation, reason = "there are 705 lists")]
fn list_name(list: usize) -> u32 {
    LIST_FLAG | list as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(wheel: &mut Wheel, now_ms: u64) -> Vec<u32> {
        let mut keys: Vec<u32> = std::iter::from_fn(|| wheel.expire(now_ms)).collect();
        keys.sort_unstable();
        keys
    }

    /// Sleeps as told until nothing is armed; returns (time, key) in order and the number of wake-ups.
    fn run(wheel: &mut Wheel) -> (Vec<(u64, u32)>, usize) {
        let (mut seen, mut wakeups) = (Vec::new(), 0);
        while let Some(now_ms) = wheel.next_wakeup() {
            wakeups += 1;
            seen.extend(std::iter::from_fn(|| wheel.expire(now_ms)).map(|key| (now_ms, key)));
        }
        (seen, wakeups)
    }

    #[test]
    fn a_link_is_sixteen_bytes() {
        assert_eq!(size_of::<Link>(), 16);
    }

    #[test]
    fn ten_thousand_deadlines_at_one_instant_all_fire() {
        let mut wheel = Wheel::new(12_345);
        (0..10_000).for_each(|key| wheel.arm(key, 72_345));
        assert_eq!(wheel.len(), 10_000);
        assert_eq!(drain(&mut wheel, 72_344), []);
        assert_eq!(drain(&mut wheel, 72_352), (0..10_000).collect::<Vec<_>>());
        assert!(wheel.is_empty());
        assert_eq!(wheel.next_wakeup(), None);
    }

    #[test]
    fn a_bounded_turn_leaves_the_rest_due_now() {
        let mut wheel = Wheel::new(0);
        (0..100).for_each(|key| wheel.arm(key, 1_000));
        for left in (0..100).rev() {
            assert!(wheel.next_wakeup().unwrap() <= 1_000);
            assert!(wheel.expire(1_000).is_some());
            assert_eq!(wheel.len(), left);
        }
        assert_eq!(wheel.expire(1_000), None);
    }

    #[test]
    fn idle_keys_cost_no_scan() {
        let mut wheel = Wheel::new(5);
        (0..10_000).for_each(|key| wheel.arm(key, 60_000 + u64::from(key % 7)));
        let (seen, wakeups) = run(&mut wheel);
        assert_eq!(seen.len(), 10_000);
        assert!(seen.iter().all(|&(at, key)| at >= 60_000 + u64::from(key % 7) && at <= 60_008));
        assert!(wakeups <= 2 * LEVELS, "{wakeups} wake-ups for one minute");
    }

    #[test]
    fn moving_a_deadline_away_does_not_file_again() {
        let mut wheel = Wheel::new(0);
        wheel.arm(0, 1_000);
        let filed_under = wheel.links[0].prev;
        for now_ms in 0..900 {
            wheel.arm(0, now_ms + 1_000);
            assert_eq!(wheel.links[0].prev, filed_under);
        }
        assert_eq!(wheel.deadline(0), Some(1_899));
        let (seen, _) = run(&mut wheel);
        assert_eq!(seen, [(1_904, 0)]);
    }

    #[test]
    fn a_deadline_in_the_past_is_due_at_once_and_can_be_taken_back() {
        let mut wheel = Wheel::new(10_000);
        (0..3).for_each(|key| wheel.arm(key, 9_000));
        assert!(wheel.next_wakeup().unwrap() <= 10_000);
        assert!(wheel.disarm(1));
        assert!(!wheel.disarm(1));
        wheel.arm(2, 11_000);
        assert_eq!(drain(&mut wheel, 10_000), [0]);
        assert_eq!(drain(&mut wheel, 11_000), [2]);
    }

    #[test]
    fn a_key_due_but_not_yet_reported_can_be_disarmed_or_moved() {
        let mut wheel = Wheel::new(0);
        (0..4).for_each(|key| wheel.arm(key, 100));
        let first = wheel.expire(104).unwrap();
        let others: Vec<u32> = (0..4).filter(|&key| key != first).collect();
        assert!(wheel.disarm(others[0]));
        wheel.arm(others[1], 500);
        assert_eq!(drain(&mut wheel, 104), [others[2]]);
        assert_eq!(drain(&mut wheel, 504), [others[1]]);
    }

    #[test]
    fn time_that_runs_backwards_is_no_movement() {
        let mut wheel = Wheel::new(1_000);
        wheel.arm(0, 2_000);
        assert_eq!(wheel.expire(1_900), None);
        assert_eq!(wheel.expire(10), None);
        assert_eq!(wheel.next_wakeup(), Some(2_000));
        assert_eq!(wheel.expire(2_000), Some(0));
    }

    #[test]
    fn the_ends_of_time_hold() {
        let mut wheel = Wheel::new(0);
        wheel.arm(0, u64::MAX);
        wheel.arm(1, u64::MAX - 100);
        wheel.arm(2, 0);
        assert_eq!(drain(&mut wheel, 0), [2]);
        assert_eq!(drain(&mut wheel, u64::MAX), [1]);
        assert_eq!(wheel.deadline(0), Some(u64::MAX));
        assert_eq!(wheel.next_wakeup(), Some(u64::MAX));
    }

    #[test]
    fn unknown_keys_are_unarmed() {
        let mut wheel = Wheel::new(0);
        wheel.arm(3, 50);
        assert_eq!(wheel.deadline(2), None);
        assert_eq!(wheel.deadline(u32::MAX), None);
        assert!(!wheel.disarm(2));
        assert!(!wheel.disarm(1_000_000));
        assert_eq!(wheel.len(), 1);
    }

    #[test]
    #[should_panic(expected = "wheel key")]
    fn a_key_that_looks_like_a_list_is_refused() {
        Wheel::new(0).arm(KEY_MAX + 1, 0);
    }
}
