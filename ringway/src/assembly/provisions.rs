//! Provisions: what a server process is given and could not take itself: listening sockets, secrets, seeds.

use crate::engine::ring::Restrict;
use crate::tls::TicketKeys;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

/// Listening sockets by the address of their door, as [`super::Door::key`] has it.
pub type Listeners = BTreeMap<String, Vec<Arc<OwnedFd>>>;

/// Reads a file that only who provides may be able to read.
pub type ReadSecret<'a> = &'a dyn Fn(&Path) -> io::Result<Vec<u8>>;

/// What an assembly is given.
pub struct Provisions<'a> {
    /// Private keys, certificates, authorities.
    pub read_secret: ReadSecret<'a>,
    /// Sockets that listen already; a door that has none here is bound.
    pub listeners: Listeners,
    /// Worker threads, where that was decided before; else the configuration says it.
    pub workers: Option<usize>,
    /// Whether rings take only what serving needs.
    pub restrict: Restrict,
    /// How many processes have served for one supervisor, this one included.
    pub generation: u64,
    /// The keys of session tickets, shared by all endpoints.
    pub tickets: Arc<TicketKeys>,
    /// Whom to ask for scripts, by [`crate::starter`]'s rules in the order of the configuration; without one, where there are
    /// scripts, a thread starts them. Said once: later configurations go on with it as long as their rules are the same.
    pub starter: Option<Arc<OwnedFd>>,
    /// The services that are linked into the program.
    #[cfg(feature = "services")]
    pub services: crate::hosting::Directory,
}

impl Provisions<'static> {
    /// Those of a process that takes everything itself.
    #[must_use]
    pub fn own() -> Self {
        Self {
            read_secret: &|path| std::fs::read(path),
            listeners: Listeners::new(),
            workers: None,
            restrict: Restrict::No,
            generation: 1,
            tickets: TicketKeys::new(),
            starter: None,
            #[cfg(feature = "services")]
            services: crate::hosting::directory(),
        }
    }
}

impl fmt::Debug for Provisions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provisions").field("listeners", &self.listeners).finish_non_exhaustive()
    }
}
