//! The bounds of an open-file cache.

use crate::watch::WATCHES_MAX;

/// The bounds of a cache.
#[derive(Clone, Copy, Debug)]
pub struct CacheLimits {
    /// Most entries. 0 keeps nothing. Default 1024.
    pub entries_max: usize,
    /// Most descriptors that entries hold: those of files larger than what is kept in memory. Default 1024; a process
    /// that may have few should give the cache a part of them only, or connections find none.
    pub descriptors_max: usize,
    /// Most bytes of content, heads and paths. Default 8 MiB.
    pub bytes_max: usize,
    /// Most addresses remembered to name nothing. Default 512.
    pub absent_max: usize,
    /// How long, in milliseconds, an entry is fresh whose directory is not watched. Default 1000.
    pub age_ms_max: u64,
    /// How long, in milliseconds, one is whose directory is; for what the kernel does not tell. Default 10,000.
    pub watched_age_ms_max: u64,
    /// How long, in milliseconds, an absence is remembered. Default 1000.
    pub absent_age_ms_max: u64,
    /// Most directories that are watched; 0 watches none. Default [`WATCHES_MAX`].
    pub watches_max: usize,
}

impl Default for CacheLimits {
    fn default() -> Self {
        Self {
            entries_max: 1024,
            descriptors_max: 1024,
            bytes_max: 8 * 1024 * 1024,
            absent_max: 512,
            age_ms_max: 1000,
            watched_age_ms_max: 10_000,
            absent_age_ms_max: 1000,
            watches_max: WATCHES_MAX,
        }
    }
}
