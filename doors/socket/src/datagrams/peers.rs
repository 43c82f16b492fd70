//! Peers of an endpoint of datagrams that are known for a while: found by address, limited, and expired in constant time.

use crate::datagrams::rules::{DatagramRules, PEERS_MAX};
use ringway_pace::Wheel;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

/// A peer that is not known any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired {
    /// Its address.
    pub address: SocketAddr,
    /// The handler's word for it.
    pub user: u64,
    /// Why.
    pub why: Why,
}

/// Why a peer is not known any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It has sent nothing for [`DatagramRules::peer_idle_ms`].
    Idle,
    /// The handler forgot it.
    Forgotten,
    /// The handler is at its end.
    Stopped,
}

/// The place of a known peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(u32);

/// All that a worker knows of an endpoint.
pub(super) struct Peers {
    max: usize,
    per_address_max: u32,
    idle_ms: u64,
    places: HashMap<SocketAddr, u32>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    per_address: HashMap<u128, u32>,
    deadlines: Wheel,
    /// Who sent last: often the next one too.
    last: Option<(SocketAddr, u32)>,
}

struct Entry {
    address: SocketAddr,
    user: u64,
    is_known: bool,
}

impl Peers {
    pub(super) fn new(rules: &DatagramRules, now_ms: u64) -> Self {
        Self {
            max: rules.peers_max.min(PEERS_MAX),
            per_address_max: rules.peers_per_address_max,
            idle_ms: rules.peer_idle_ms.max(1),
            places: HashMap::new(),
            entries: Vec::new(),
            free: Vec::new(),
            per_address: HashMap::new(),
            deadlines: Wheel::new(now_ms),
            last: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// A peer has sent something: its place, the handler's word, and whether it was not known before. `None` at a limit.
    pub(super) fn hear(&mut self, address: SocketAddr, now_ms: u64) -> Option<(Place, u64, bool)> {
        let known = match self.last {
            Some((last, index)) if last == address => Some(index),
            _ => self.places.get(&address).copied(),
        };
        let (index, is_new) = match known {
            Some(index) => (index, false),
            None => (self.enter(address)?, true),
        };
        self.last = Some((address, index));
        self.deadlines.arm(index, now_ms.saturating_add(self.idle_ms));
        Some((Place(index), self.entries[index as usize].user, is_new))
    }

    /// Keeps the handler's word.
    pub(super) fn set_user(&mut self, place: Place, user: u64) {
        self.entries[place.0 as usize].user = user;
    }

    /// Forgets a peer.
    pub(super) fn remove(&mut self, place: Place, why: Why) -> Expired {
        let Place(index) = place;
        let entry = &mut self.entries[index as usize];
        entry.is_known = false;
        let expired = Expired { address: entry.address, user: entry.user, why };
        self.deadlines.disarm(index);
        self.places.remove(&expired.address);
        self.free.push(index);
        self.last = self.last.filter(|&(_, last)| last != index);
        let key = address_key(expired.address.ip());
        if self.per_address_max > 0
            && let Some(count) = self.per_address.get_mut(&key)
        {
            *count -= 1;
            if *count == 0 {
                self.per_address.remove(&key);
            }
        }
        expired
    }

    /// One whose time is up.
    pub(super) fn expire(&mut self, now_ms: u64) -> Option<Expired> {
        let index = self.deadlines.expire(now_ms)?;
        Some(self.remove(Place(index), Why::Idle))
    }

    /// When to ask for that next; `None` when nobody is known.
    pub(super) fn next_expiry_ms(&self) -> Option<u64> {
        self.deadlines.next_wakeup()
    }

    /// Everybody, at the end.
    pub(super) fn take_any(&mut self) -> Option<Expired> {
        let index = self.places.values().next().copied()?;
        Some(self.remove(Place(index), Why::Stopped))
    }

    /// Known peers and the handler's words for them, in no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (SocketAddr, u64)> {
        self.entries.iter().filter(|entry| entry.is_known).map(|entry| (entry.address, entry.user))
    }

    fn enter(&mut self, address: SocketAddr) -> Option<u32> {
        if self.places.len() >= self.max {
            return None;
        }
        if self.per_address_max > 0 {
            let count = self.per_address.entry(address_key(address.ip())).or_insert(0);
            if *count >= self.per_address_max {
                return None;
            }
            *count += 1;
        }
        let entry = Entry { address, user: 0, is_known: true };
        let index = match self.free.pop() {
            Some(index) => {
                self.entries[index as usize] = entry;
                index
            }
            None => {
                self.entries.push(entry);
                // At most PEERS_MAX of them.
                u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
            }
        };
        self.places.insert(address, index);
        Some(index)
    }
}

/// What stands for an address in a limit; IPv6 by /64, because a host has all of that.
pub(super) fn address_key(ip: IpAddr) -> u128 {
    match ip.to_canonical() {
        IpAddr::V4(v4) => u128::from(v4.to_ipv6_mapped()),
        IpAddr::V6(v6) => u128::from(v6) & !u128::from(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn rules(peers_max: usize, peers_per_address_max: u32) -> DatagramRules {
        DatagramRules { peers_max, peers_per_address_max, peer_idle_ms: 100, ..DatagramRules::default() }
    }

    fn at(host: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, host], port))
    }

    #[test]
    fn a_word_lives_as_long_as_its_peer_sends() {
        let mut peers = Peers::new(&rules(10, 0), 0);
        let (place, user, is_new) = peers.hear(at(1, 1), 0).expect("room");
        assert_eq!((user, is_new), (0, true));
        peers.set_user(place, 7);
        for now_ms in (50..500).step_by(50) {
            assert_eq!(peers.expire(now_ms), None);
            assert_eq!(peers.hear(at(1, 1), now_ms), Some((place, 7, false)));
        }
        assert!(peers.next_expiry_ms().is_some_and(|at_ms| at_ms <= 560));
        let expired = Expired { address: at(1, 1), user: 7, why: Why::Idle };
        assert_eq!((peers.expire(560), peers.expire(560)), (Some(expired), None));
        assert_eq!((peers.len(), peers.next_expiry_ms()), (0, None));
        assert_eq!(peers.hear(at(1, 1), 600).map(|(_, user, is_new)| (user, is_new)), Some((0, true)));
    }

    #[test]
    fn there_are_no_more_peers_than_may_be_and_no_more_of_an_address() {
        let mut peers = Peers::new(&rules(3, 2), 0);
        assert!(peers.hear(at(1, 1), 0).is_some() && peers.hear(at(1, 2), 0).is_some());
        assert!(peers.hear(at(1, 3), 0).is_none(), "two of an address");
        let (place, ..) = peers.hear(at(2, 1), 0).expect("another address");
        assert!(peers.hear(at(3, 1), 0).is_none(), "three in all");
        assert!(
            peers.hear(at(1, 1), 0).is_some_and(|(_, _, is_new)| !is_new),
            "those that are known are heard"
        );
        assert_eq!(peers.remove(place, Why::Forgotten).address, at(2, 1));
        assert!(peers.hear(at(3, 1), 0).is_some());
        let v6 = |text: &str| address_key(text.parse().expect("an address"));
        assert_eq!(v6("2001:db8::1"), v6("2001:db8::2:3"));
        assert_ne!(v6("2001:db8::1"), v6("2001:db8:0:1::1"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever is heard and forgotten: exactly those that were heard within the time are known, with their words.
        #[test]
        fn peers_are_those_of_a_plain_map(steps in prop::collection::vec((0..4_u8, 0..12_u16, 0..60_u64), 1..200)) {
            let (mut peers, mut plain) = (Peers::new(&rules(8, 0), 0), BTreeMap::new());
            let mut now_ms = 0;
            for (number, (what, port, later_ms)) in steps.into_iter().enumerate() {
                now_ms += later_ms;
                while let Some(expired) = peers.expire(now_ms) {
                    let (user, heard_ms) = plain.remove(&expired.address).expect("it was known");
                    prop_assert_eq!(expired.user, user);
                    prop_assert!(heard_ms + 100 <= now_ms);
                }
                // A wheel is as exact as its resolution.
                let limit_ms = now_ms.saturating_sub(100 + ringway_pace::RESOLUTION_MS);
                prop_assert!(plain.values().all(|&(_, heard_ms)| heard_ms >= limit_ms));
                let address = at(1, port);
                match peers.hear(address, now_ms) {
                    None => prop_assert!(plain.len() == 8 && !plain.contains_key(&address)),
                    Some((place, user, is_new)) => {
                        prop_assert_eq!(plain.get(&address).map_or((0, true), |&(user, _)| (user, false)), (user, is_new));
                        let word = number as u64 + 1;
                        peers.set_user(place, word);
                        plain.insert(address, (word, now_ms));
                        if what == 0 {
                            peers.remove(place, Why::Forgotten);
                            plain.remove(&address);
                        }
                    }
                }
                let mut known: Vec<_> = peers.iter().collect();
                known.sort_unstable();
                let expected: Vec<_> = plain.iter().map(|(address, &(user, _))| (*address, user)).collect();
                prop_assert_eq!(&known, &expected);
                prop_assert_eq!(peers.len(), expected.len());
            }
        }
    }
}
