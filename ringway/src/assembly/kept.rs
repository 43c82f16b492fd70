//! What lives longer than a configuration: open logs, counters, certificates that were issued, the gate behind which passwords
//! are verified, and how much is compressed at once.

use super::AssemblyError;
use super::authority::Shelf;
use super::governor::ScopeNumbers;
use super::spool::KeptSpool;
use super::upstream::KeptUpstreams;
#[cfg(feature = "console")]
use crate::faces::{Desk, dashboard::Live};
use crate::web::auth::gate::{Gate, GateLimits};
use crate::web::compress::CompressionLimit;
use crate::web::log::errors::ErrorLog;
use crate::web::log::files::LogFiles;
use crate::web::site_counters::SiteBook;
use ringway_lock::Mutex;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// What a new configuration takes over from the one before.
#[derive(Clone)]
pub struct Kept {
    /// The log files that are open, for those who reopen them.
    pub logs: LogFiles,
    pub(super) gate: Gate,
    pub(super) compressing: CompressionLimit,
    pub(super) shelf: Arc<Shelf>,
    #[cfg(feature = "cgi")]
    pub(super) starter: super::cgi::Starter,
    /// The error log of the configuration that is served.
    errors: Arc<Mutex<Option<ErrorLog>>>,
    /// What the requests of each site are counted in, by its name.
    books: Arc<Mutex<BTreeMap<String, Arc<SiteBook>>>>,
    numbers: Arc<Mutex<ScopeNumbers>>,
    /// Where bodies wait that must be whole.
    pub(super) spool: KeptSpool,
    /// Applications, with what they have done.
    #[cfg(feature = "services")]
    pub(super) services: crate::hosting::KeptServices,
    /// Handlers of endpoints, with what they have done.
    #[cfg(feature = "endpoints")]
    pub(super) handlers: crate::handlers::KeptHandlers,
    /// Hooks into the stages of requests.
    #[cfg(feature = "libraries")]
    pub(super) hooks: super::hooks::KeptHooks,
    /// Filters of endpoints.
    #[cfg(feature = "endpoints")]
    pub(super) filters: crate::handlers::KeptFilters,
    /// Servers behind this one, with what is known of them.
    pub(super) upstreams: KeptUpstreams,
    /// Where the faces over HTTP find the server they are part of.
    #[cfg(feature = "console")]
    pub(super) desk: Desk,
    /// What all who look at the dashboard share.
    #[cfg(feature = "console")]
    pub(super) live: Live,
}

impl Kept {
    /// For the first configuration of a process.
    #[must_use]
    pub fn new() -> Self {
        #[cfg(feature = "console")]
        let desk = Desk::default();
        Self {
            logs: LogFiles::new(),
            gate: Gate::new(GateLimits::default()),
            compressing: CompressionLimit::default(),
            errors: Arc::default(),
            shelf: Arc::default(),
            #[cfg(feature = "cgi")]
            starter: super::cgi::Starter::default(),
            books: Arc::default(),
            numbers: Arc::default(),
            spool: KeptSpool::default(),
            #[cfg(feature = "services")]
            services: crate::hosting::KeptServices::default(),
            #[cfg(feature = "endpoints")]
            handlers: crate::handlers::KeptHandlers::default(),
            #[cfg(feature = "libraries")]
            hooks: super::hooks::KeptHooks::default(),
            #[cfg(feature = "endpoints")]
            filters: crate::handlers::KeptFilters::default(),
            upstreams: KeptUpstreams::default(),
            #[cfg(feature = "console")]
            live: Live::new(desk.clone()),
            #[cfg(feature = "console")]
            desk,
        }
    }

    /// What the requests of the site of that name are counted in.
    pub(super) fn book(&self, name: &str) -> Arc<SiteBook> {
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(books.entry(name.to_owned()).or_default())
    }

    /// The number of the site of that name for the governor.
    pub(super) fn number(&self, name: &str) -> Result<u16, AssemblyError> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner).of(name)
    }
}

impl Kept {
    /// `errors` is the error log from now on.
    pub(super) fn note_errors(&self, errors: &ErrorLog) {
        *self.errors.lock().unwrap_or_else(PoisonError::into_inner) = Some(errors.clone());
    }

    /// Waits until what the error log was told is written, at most `within`. For the end of a process.
    pub fn flush_errors(&self, within: Duration) {
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner).clone();
        errors.iter().for_each(|errors| errors.flush(within));
    }
}

impl Default for Kept {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}
