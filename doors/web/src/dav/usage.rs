//! How many bytes a root's files have, against what they may have.

use super::outcome::Failure;
use ringway_dav::multistatus::Precondition;
use ringway_http::status::Status;
use ringway_lock::Mutex;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// How old a count must be before it is made anew because something does not fit: files are also removed by others.
const RECOUNT_AGE: Duration = Duration::from_secs(10);

/// The count of a root; costs nothing where there is no quota. Clones are the same count.
#[derive(Clone, Debug)]
pub(super) struct Usage {
    quota_bytes: Option<u64>,
    counted: Arc<Mutex<Counted>>,
}

#[derive(Debug, Default)]
struct Counted {
    /// Of files that are in their place.
    bytes: u64,
    /// Set aside for those that are not yet.
    reserved: u64,
    at: Option<Instant>,
}

impl Usage {
    pub(super) fn new(quota_bytes: Option<u64>) -> Self {
        Self { quota_bytes, counted: Arc::default() }
    }

    pub(super) fn quota_bytes(&self) -> Option<u64> {
        self.quota_bytes
    }

    /// How many bytes are in use; `count` counts them where nobody has yet.
    pub(super) fn bytes(&self, count: impl FnOnce() -> u64) -> u64 {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.ensure(count);
        counted.bytes.saturating_add(counted.reserved)
    }

    /// Sets bytes aside for what is about to be written.
    pub(super) fn reserve(&self, bytes: u64, count: impl Fn() -> u64) -> Result<Reservation, Failure> {
        let mut reservation = Reservation { usage: self.clone(), bytes: 0 };
        reservation.grow(bytes, count)?;
        Ok(reservation)
    }

    /// So many are in use no longer.
    pub(super) fn free(&self, bytes: u64) {
        if self.quota_bytes.is_some() && bytes > 0 {
            let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
            counted.bytes = counted.bytes.saturating_sub(bytes);
        }
    }
}

impl Counted {
    fn ensure(&mut self, count: impl FnOnce() -> u64) {
        if self.at.is_none() {
            self.recount(count);
        }
    }

    fn recount(&mut self, count: impl FnOnce() -> u64) {
        self.bytes = count();
        self.at = Some(Instant::now());
    }
}

/// Bytes that are set aside; given back when this is dropped, unless they were used.
#[derive(Debug)]
pub(super) struct Reservation {
    usage: Usage,
    bytes: u64,
}

impl Reservation {
    /// Sets more aside.
    pub(super) fn grow(&mut self, bytes: u64, count: impl Fn() -> u64) -> Result<(), Failure> {
        let Some(quota) = self.usage.quota_bytes else { return Ok(()) };
        let mut counted = self.usage.counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.ensure(&count);
        let fits = |counted: &Counted| {
            let sum = counted.bytes.saturating_add(counted.reserved).checked_add(bytes);
            sum.is_some_and(|sum| sum <= quota)
        };
        if !fits(&counted) && counted.at.is_none_or(|at| at.elapsed() >= RECOUNT_AGE) {
            counted.recount(&count);
        }
        if !fits(&counted) {
            return Err(Failure::of(Status::INSUFFICIENT_STORAGE, Precondition::QuotaNotExceeded));
        }
        counted.reserved += bytes;
        self.bytes += bytes;
        Ok(())
    }

    /// How many are set aside.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The bytes are where they belong, and `used` of them are used.
    pub(super) fn settle(mut self, used: u64) {
        if self.usage.quota_bytes.is_some() {
            let mut counted = self.usage.counted.lock().unwrap_or_else(PoisonError::into_inner);
            counted.reserved = counted.reserved.saturating_sub(self.bytes);
            counted.bytes = counted.bytes.saturating_add(used);
            self.bytes = 0;
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.bytes > 0 {
            let mut counted = self.usage.counted.lock().unwrap_or_else(PoisonError::into_inner);
            counted.reserved = counted.reserved.saturating_sub(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_aside_is_not_given_twice_and_comes_back() {
        let usage = Usage::new(Some(100));
        let first = usage.reserve(30, || 50).unwrap();
        assert_eq!(usage.bytes(|| unreachable!("it is counted")), 80);
        let full = usage.reserve(21, || 50).unwrap_err();
        assert_eq!(full.status, Status::INSUFFICIENT_STORAGE);
        first.settle(25);
        assert_eq!(usage.bytes(|| 0), 75);
        drop(usage.reserve(25, || 50).unwrap());
        usage.free(70);
        assert_eq!(usage.bytes(|| 0), 5);
        assert!(usage.reserve(u64::MAX, || 5).is_err());
    }

    #[test]
    fn without_a_quota_nothing_is_counted() {
        let usage = Usage::new(None);
        let reservation = usage.reserve(u64::MAX, || unreachable!("nobody asks"));
        reservation.unwrap().settle(0);
    }
}
