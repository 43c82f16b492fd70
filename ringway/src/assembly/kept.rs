//! What lives longer than a configuration: open logs, certificates that were issued, the gate behind which passwords are
//! verified, and how much is compressed at once.

use super::authority::Shelf;
use crate::web::auth::gate::{Gate, GateLimits};
use crate::web::compress::CompressionLimit;
use crate::web::log::files::LogFiles;
use std::fmt;
use std::sync::Arc;

/// What a new configuration takes over from the one before.
#[derive(Clone)]
pub struct Kept {
    /// The log files that are open, for those who reopen them.
    pub logs: LogFiles,
    pub(super) gate: Gate,
    pub(super) compressing: CompressionLimit,
    pub(super) shelf: Arc<Shelf>,
}

impl Kept {
    /// For the first configuration of a process.
    #[must_use]
    pub fn new() -> Self {
        Self {
            logs: LogFiles::new(),
            gate: Gate::new(GateLimits::default()),
            compressing: CompressionLimit::default(),
            shelf: Arc::default(),
        }
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
