//! Who asks, and what was tried for them: what a choice among backends depends on besides the backends.

use crate::limit::client_key;
use crate::upstream::balance::{Balance, hash_of};
use std::net::SocketAddr;

/// For whom a backend is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Key {
    client: Option<SocketAddr>,
    server: Option<SocketAddr>,
}

impl Key {
    /// A client, and the address of ours that it came to; `None` for Unix sockets, and where the latter does not matter.
    #[must_use]
    pub const fn new(client: Option<SocketAddr>, server: Option<SocketAddr>) -> Self {
        Self { client, server }
    }

    /// The client's address.
    #[must_use]
    pub const fn client(&self) -> Option<SocketAddr> {
        self.client
    }

    /// The address that it came to.
    #[must_use]
    pub const fn server(&self) -> Option<SocketAddr> {
        self.server
    }

    /// What `balance` wants to know of the client.
    pub(super) fn source_for(&self, balance: Balance) -> Option<u64> {
        if balance == Balance::SourceHash { self.source() } else { None }
    }

    /// What stands for the client in hashes: its address, of IPv6 its /64, whatever the port.
    fn source(&self) -> Option<u64> {
        let client = self.client?;
        Some(hash_of(&client_key(client.ip()).to_be_bytes()))
    }
}

/// What was tried for one request. A backend is tried once; one that was tried over a kept connection, which may have been
/// closed meanwhile without anybody's fault, once more over a new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    /// By place.
    tried: u64,
    /// Over a kept connection only.
    kept: u64,
    count: u32,
}

impl Tried {
    /// How many tries there were.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Whether a backend may not be tried again.
    pub(super) const fn has(&self, place: usize) -> bool {
        self.tried & (1 << place) != 0
    }

    /// Whether a kept connection may be used.
    pub(super) const fn may_reuse(&self, place: usize) -> bool {
        self.kept & (1 << place) == 0
    }

    pub(super) const fn note(&mut self, place: usize, is_reused: bool) {
        self.count += 1;
        if is_reused {
            self.kept |= 1 << place;
        } else {
            self.tried |= 1 << place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_its_address_whatever_its_port_and_form() {
        let source = |text: &str| Key::new(text.parse().ok(), None).source();
        assert_eq!(source("192.0.2.1:5"), source("[::ffff:192.0.2.1]:6"));
        assert_eq!(source("[2001:db8::1]:5"), source("[2001:db8::2]:5"));
        assert_ne!(source("192.0.2.1:5"), source("192.0.2.2:5"));
        assert_eq!(Key::default().source(), None);
    }

    #[test]
    fn over_a_kept_connection_a_try_counts_half() {
        let mut tried = Tried::default();
        tried.note(63, true);
        assert!(!tried.has(63) && !tried.may_reuse(63) && tried.may_reuse(0));
        tried.note(63, false);
        assert!(tried.has(63) && !tried.has(0));
        assert_eq!(tried.count(), 2);
    }
}
