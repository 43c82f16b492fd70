//! A library that speaks by datagrams, on a worker: each datagram is the newest version's, and so is what is kept of its peer.

use super::Shared;
use super::slab::Slab;
use super::version::{Version, Versions};
use crate::datagrams::{DatagramHandler, Expired, Peer, Replies, Train};
use ringway_engine::WorkerHandle;
use ringway_plugin::{Fault, LoadError, PeerView, User, Verdict};
use std::cell::{OnceCell, RefCell};
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

/// The handler of a worker.
pub(super) struct Datagrams {
    versions: Rc<Versions>,
    entries: Rc<RefCell<Slab<Entry>>>,
    keeps_peers: bool,
}

/// What is kept of a peer of whom the library keeps something.
struct Entry {
    version: Rc<Version>,
    user: User,
}

impl Entry {
    fn expire(self) {
        self.version.worker.expired(self.user);
    }
}

impl Datagrams {
    pub(super) fn new(
        shared: Arc<Shared>,
        handle: &WorkerHandle,
        keeps_peers: bool,
    ) -> Result<Rc<Self>, LoadError> {
        let versions = Versions::new(shared, handle)?;
        let entries: Rc<RefCell<Slab<Entry>>> = Rc::new(RefCell::new(Slab::new()));
        let theirs = Rc::downgrade(&entries);
        versions.tell(move |version| {
            // What an older version has kept is its own to end.
            let Some(entries) = theirs.upgrade() else { return };
            let old = entries.borrow_mut().drain(|entry| !Rc::ptr_eq(&entry.version, version));
            old.into_iter().for_each(Entry::expire);
        });
        Ok(Rc::new(Self { versions, entries, keeps_peers }))
    }

    /// Keeps what the library wants to keep of a peer.
    fn keep(&self, peer: &mut Peer<'_>, word: u64, version: Rc<Version>, user: User) {
        let mut entries = self.entries.borrow_mut();
        match entries.get_mut(word) {
            Some(entry) => entry.user = user,
            None if user.is_none() => {}
            None => {
                let entry = Entry { version, user };
                if self.keeps_peers {
                    peer.set_user(entries.insert(entry).unwrap_or(0));
                } else {
                    drop(entries);
                    entry.expire();
                }
            }
        }
    }

    /// What the library keeps of a peer, as long as it is known.
    fn user(&self, peer: &Peer<'_>) -> User {
        self.entries.borrow().get(peer.user()).map_or(User::NONE, |entry| entry.user)
    }

    /// Does what the library says of a datagram.
    fn judge(&self, peer: &mut Peer<'_>, version: &Version, verdict: Verdict) {
        match verdict {
            Verdict::GoOn => {}
            Verdict::Close => {
                let word = peer.user();
                peer.set_user(0);
                peer.forget();
                self.forget(word);
            }
            Verdict::Panicked => self.versions.complain(format_args!(
                "library {}: its `datagram` panicked at a datagram of {}",
                version.file(),
                peer.address()
            )),
            Verdict::Unknown(code) => self.versions.complain(format_args!(
                "library {}: its `datagram` says {code} of a datagram of {}, which means nothing",
                version.file(),
                peer.address()
            )),
        }
    }

    fn forget(&self, word: u64) {
        // Whatever its end calls finds the table free.
        let entry = self.entries.borrow_mut().remove(word);
        if let Some(entry) = entry {
            entry.expire();
        }
    }
}

impl DatagramHandler for Datagrams {
    fn datagram(&self, peer: &mut Peer<'_>, payload: &mut [u8], out: &mut Replies<'_>) {
        let version = self.versions.current();
        let (word, mut user) = (peer.user(), self.user(peer));
        let verdict = {
            let shown = Shown::new(peer, out);
            version.worker.datagram(&shown, &mut user, payload)
        };
        self.keep(peer, word, Rc::clone(&version), user);
        self.judge(peer, &version, verdict);
    }

    fn train(&self, peer: &mut Peer<'_>, mut train: Train<'_>, out: &mut Replies<'_>) {
        let version = self.versions.current();
        let (word, mut user) = (peer.user(), self.user(peer));
        let mut verdict = Verdict::GoOn;
        {
            let shown = Shown::new(peer, out);
            while verdict == Verdict::GoOn
                && let Some(payload) = train.next_mut()
            {
                verdict = version.worker.datagram(&shown, &mut user, payload);
            }
        }
        self.keep(peer, word, Rc::clone(&version), user);
        self.judge(peer, &version, verdict);
        // What came behind one of which something else was said.
        while let Some(payload) = train.next_mut() {
            self.datagram(peer, payload, out);
        }
    }

    fn expired(&self, peer: &Expired, _out: &mut Replies<'_>) {
        self.forget(peer.user);
    }
}

impl Drop for Datagrams {
    fn drop(&mut self) {
        let all = self.entries.borrow_mut().drain(|_| true);
        all.into_iter().for_each(Entry::expire);
    }
}

impl fmt::Debug for Datagrams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Datagrams").field("versions", &self.versions).finish_non_exhaustive()
    }
}

/// A peer as a library sees it.
struct Shown<'v, 'o> {
    from: SocketAddr,
    text: OnceCell<String>,
    out: RefCell<&'v mut Replies<'o>>,
}

impl<'v, 'o> Shown<'v, 'o> {
    fn new(peer: &Peer<'_>, out: &'v mut Replies<'o>) -> Self {
        Self { from: peer.address(), text: OnceCell::new(), out: RefCell::new(out) }
    }
}

impl PeerView for Shown<'_, '_> {
    fn address(&self) -> &[u8] {
        self.text.get_or_init(|| self.from.to_string()).as_bytes()
    }

    fn send(&self, payload: &[u8]) -> Result<(), Fault> {
        self.out.borrow_mut().reply(payload).map_err(|_full| Fault::Full)
    }

    fn send_to(&self, address: &str, payload: &[u8]) -> Result<(), Fault> {
        let address = address.parse().map_err(|_no_address| Fault::Invalid)?;
        self.out.borrow_mut().send(address, payload).map_err(|_full| Fault::Full)
    }
}
