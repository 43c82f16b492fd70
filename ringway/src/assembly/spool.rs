//! Where bodies wait that must be whole: one space for all workers, and for all configurations that say the same of it.

use super::AssemblyError;
use crate::config::settings::Spool;
use crate::web::spool::{SpoolOptions, SpoolSpace};
use ringway_lock::Mutex;
use std::sync::{Arc, PoisonError};

/// Longest body that waits where no directory is set, and most bytes of all of them.
const MEMORY_BODY_BYTES_MAX: usize = 1024 * 1024;
const MEMORY_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The space of the latest configuration.
#[derive(Clone, Default)]
pub(super) struct KeptSpool(Arc<Mutex<Option<(Spool, SpoolSpace)>>>);

impl KeptSpool {
    /// Opens the space of a configuration, unless it is the one that is open. To be called before [`KeptSpool::space`].
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn prepare(&self, spool: &Spool) -> Result<(), AssemblyError> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref().is_none_or(|(known, _)| known != spool) {
            *kept = Some((spool.clone(), open(spool)?));
        }
        Ok(())
    }

    /// The space.
    pub(super) fn space(&self) -> SpoolSpace {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().map_or_else(in_memory, |(_, space)| space.clone())
    }
}

fn open(spool: &Spool) -> Result<SpoolSpace, AssemblyError> {
    let Some(directory) = &spool.directory else { return Ok(in_memory()) };
    let options = SpoolOptions {
        directory: directory.as_path().to_owned(),
        memory_bytes_max: usize::try_from(spool.memory.bytes()).unwrap_or(usize::MAX),
        body_bytes_max: spool.body.bytes(),
        total_bytes_max: spool.total.bytes(),
        ..SpoolOptions::default()
    };
    SpoolSpace::open(options).map_err(|error| {
        AssemblyError::new(format_args!("bodies cannot wait in {}", directory.as_path().display()), error)
    })
}

fn in_memory() -> SpoolSpace {
    SpoolSpace::in_memory(MEMORY_BODY_BYTES_MAX, MEMORY_BYTES_MAX)
}
