//! Answers that are owed, by numbers: what a library has of them may be old, or was never one, and does no harm.

use crate::answer::Answer;
use crate::error::Fault;
use ringway_lock::{Mutex, MutexGuard};
use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// Most answers that are owed at once, by all libraries.
pub const PROMISES_MAX: usize = SHARDS * SHARD_MAX;

/// Tables, each behind a lock of its own: workers do not meet at them.
const SHARDS: usize = 16;

/// Promises of a table.
const SHARD_MAX: usize = 64 * 1024;

/// An answer that is owed. Any thread may come; nothing may wait but [`Deferred::wait`].
pub trait Deferred: Send + Sync {
    /// Takes the answer.
    ///
    /// # Errors
    /// Nobody waits any more, there is one already, or it cannot be sent.
    fn answer(&self, answer: &Answer<'_>) -> Result<(), Fault>;

    /// Takes the head of an answer that comes in pieces.
    ///
    /// # Errors
    /// As above.
    fn begin(&self, head: &Answer<'_>) -> Result<(), Fault>;

    /// Takes a piece.
    ///
    /// # Errors
    /// [`Fault::Full`]: not now. Else as above.
    fn write(&self, piece: &[u8]) -> Result<(), Fault>;

    /// There are no more pieces.
    ///
    /// # Errors
    /// As above.
    fn end(&self) -> Result<(), Fault>;

    /// There will be no answer, or no more of it.
    ///
    /// # Errors
    /// As above.
    fn abort(&self) -> Result<(), Fault>;

    /// Waits until there is room for a piece.
    ///
    /// # Errors
    /// [`Fault::Time`]. Else as above.
    fn wait(&self, within: Duration) -> Result<(), Fault>;

    /// Has the next piece of the request's body come.
    ///
    /// # Errors
    /// As above.
    fn resume_body(&self) -> Result<(), Fault>;

    /// Has the request go on: it was a hook's promise, who says who the client is (if it has bytes), and what is added to the
    /// answer.
    ///
    /// # Errors
    /// [`Fault::State`] where it is no hook's. Else as above.
    fn pass(&self, user: &[u8], fields: &[(&[u8], &[u8])]) -> Result<(), Fault> {
        let _no_hook = (user, fields);
        Err(Fault::State)
    }
}

/// An answer that is owed and has a number, until it is dropped.
pub struct Promise {
    number: u64,
}

impl Promise {
    /// Gives it a number.
    ///
    /// # Errors
    /// There are [`PROMISES_MAX`] already, or nearly.
    pub fn new(deferred: Arc<dyn Deferred>) -> Result<Self, Fault> {
        let index = own_shard();
        let mut shard = lock(index);
        let slot = match shard.free.pop() {
            Some(slot) => slot,
            None if shard.entries.len() < SHARD_MAX => {
                shard.entries.push(Entry { generation: 0, deferred: None });
                shard.entries.len() - 1
            }
            None => return Err(Fault::Limit),
        };
        let entry = &mut shard.entries[slot];
        // Never 0, so that no number is.
        entry.generation = entry.generation.wrapping_add(1).max(1);
        entry.deferred = Some(deferred);
        Ok(Self { number: u64::from(entry.generation) << 32 | (slot * SHARDS + index) as u64 })
    }

    /// Its number, never 0.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        let (index, slot, _) = place(self.number);
        let mut shard = lock(index);
        let deferred = shard.entries.get_mut(slot).and_then(|entry| entry.deferred.take());
        shard.free.push(slot);
        drop(shard);
        // Whatever its end does, it does without the lock.
        drop(deferred);
    }
}

impl fmt::Debug for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Promise").field("number", &self.number).finish()
    }
}

/// Does something with the answer of that number.
pub(crate) fn with(number: u64, act: impl FnOnce(&dyn Deferred) -> Result<(), Fault>) -> Result<(), Fault> {
    let (index, slot, generation) = place(number);
    let found = {
        let shard = lock(index);
        let entry = shard.entries.get(slot).filter(|entry| entry.generation == generation);
        entry.and_then(|entry| entry.deferred.clone())
    };
    act(&*found.ok_or(Fault::Gone)?)
}

struct Shard {
    entries: Vec<Entry>,
    free: Vec<usize>,
}

struct Entry {
    generation: u32,
    deferred: Option<Arc<dyn Deferred>>,
}

static TABLE: [Mutex<Shard>; SHARDS] =
    [const { Mutex::new(Shard { entries: Vec::new(), free: Vec::new() }) }; SHARDS];

fn lock(index: usize) -> MutexGuard<'static, Shard> {
    TABLE[index].lock().unwrap_or_else(PoisonError::into_inner)
}

/// Table, place in it and generation of a number.
fn place(number: u64) -> (usize, usize, u32) {
    let half = |bits: u64| u32::try_from(bits & 0xffff_ffff).unwrap_or(0);
    let low = half(number) as usize;
    (low % SHARDS, low / SHARDS, half(number >> 32))
}

/// The table that this thread's promises are in.
fn own_shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: Cell<Option<usize>> = const { Cell::new(None) };
    }
    let fresh = || NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
    OWN.with(|own| {
        let index = own.get().unwrap_or_else(fresh);
        own.set(Some(index));
        index
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Ends(AtomicUsize);

    impl Deferred for Ends {
        fn answer(&self, _answer: &Answer<'_>) -> Result<(), Fault> {
            Err(Fault::Server)
        }
        fn begin(&self, _head: &Answer<'_>) -> Result<(), Fault> {
            Err(Fault::Server)
        }
        fn write(&self, _piece: &[u8]) -> Result<(), Fault> {
            Err(Fault::Server)
        }
        fn end(&self) -> Result<(), Fault> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
        fn abort(&self) -> Result<(), Fault> {
            Err(Fault::Server)
        }
        fn wait(&self, _within: Duration) -> Result<(), Fault> {
            Err(Fault::Time)
        }
        fn resume_body(&self) -> Result<(), Fault> {
            Err(Fault::State)
        }
    }

    #[test]
    fn numbers_are_good_as_long_as_their_promise_and_never_again() {
        let ends: Arc<Ends> = Arc::default();
        let mut old = Vec::new();
        for round in 0..100 {
            let promise = Promise::new(Arc::<Ends>::clone(&ends)).expect("room");
            assert_eq!(with(promise.number(), |deferred| deferred.end()), Ok(()));
            assert_eq!(ends.0.load(Ordering::Relaxed), round + 1);
            old.push(promise.number());
            drop(promise);
            for number in &old {
                assert_eq!(with(*number, |deferred| deferred.end()), Err(Fault::Gone));
            }
        }
        for number in [0, 1, u64::MAX, 1 << 32, 0xffff_ffff] {
            assert_eq!(with(number, |deferred| deferred.end()), Err(Fault::Gone), "{number}");
        }
        assert_eq!(Arc::strong_count(&ends), 1, "nothing is kept");
    }
}
