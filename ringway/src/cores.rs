//! How many cores this process may use.

/// Cores that this process may use, as far as its control group pays for them; at least 1.
#[cfg(feature = "quotas")]
#[must_use]
pub fn count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Cores that this process may use; at least 1. Control groups are not asked: that takes 10 KiB of code.
#[cfg(not(feature = "quotas"))]
#[must_use]
pub fn count() -> usize {
    let allowed = rustix::thread::sched_getaffinity(None);
    allowed.map_or(1, |set| usize::try_from(set.count()).unwrap_or(1)).max(1)
}
