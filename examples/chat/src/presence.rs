//! Who is in which room.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Rooms that every page is shown, whoever is there.
const ROOMS: [&str; 3] = ["lobby", "help", "off-topic"];

/// Names that are shown; in larger crowds nobody reads them.
const SHOWN_MAX: usize = 200;

/// The names in each room, with how many sockets each has: somebody may have two windows.
#[derive(Debug, Default)]
pub(crate) struct Presence(Mutex<BTreeMap<String, BTreeMap<String, usize>>>);

impl Presence {
    /// Somebody comes.
    pub(crate) fn enter(&self, room: &str, name: &str) {
        *self.lock().entry(room.to_owned()).or_default().entry(name.to_owned()).or_default() += 1;
    }

    /// Somebody goes.
    pub(crate) fn leave(&self, room: &str, name: &str) {
        let mut rooms = self.lock();
        let Some(people) = rooms.get_mut(room) else { return };
        if let Some(sockets) = people.get_mut(name) {
            *sockets -= 1;
            if *sockets == 0 {
                people.remove(name);
            }
        }
        if people.is_empty() {
            rooms.remove(room);
        }
    }

    /// Who is in a room.
    pub(crate) fn people(&self, room: &str) -> Vec<String> {
        let rooms = self.lock();
        rooms.get(room).into_iter().flat_map(BTreeMap::keys).take(SHOWN_MAX).cloned().collect()
    }

    /// The rooms, with how many people are there.
    pub(crate) fn rooms(&self) -> Vec<(String, usize)> {
        let rooms = self.lock();
        let count = |name: &str| rooms.get(name).map_or(0, BTreeMap::len);
        let always = ROOMS.iter().map(|name| ((*name).to_owned(), count(name)));
        let others = rooms.iter().filter(|(name, _)| !ROOMS.contains(&name.as_str()));
        always.chain(others.map(|(name, people)| (name.clone(), people.len()))).take(SHOWN_MAX).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<String, usize>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_with_two_windows_is_there_once_until_the_last_closes() {
        let presence = Presence::default();
        presence.enter("lobby", "Ada");
        presence.enter("lobby", "Ada");
        presence.enter("den", "Bob");
        assert_eq!(presence.people("lobby"), ["Ada"]);
        let rooms = presence.rooms();
        assert_eq!(rooms.first(), Some(&("lobby".to_owned(), 1)));
        assert_eq!(rooms.last(), Some(&("den".to_owned(), 1)));
        presence.leave("lobby", "Ada");
        assert_eq!(presence.people("lobby"), ["Ada"]);
        presence.leave("lobby", "Ada");
        presence.leave("den", "Bob");
        assert!(presence.people("lobby").is_empty());
        assert_eq!(presence.rooms().len(), ROOMS.len());
        presence.leave("nowhere", "Ada");
    }
}
