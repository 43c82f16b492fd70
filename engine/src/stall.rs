//! Handlers that keep their worker from everything else: told of while they do.
//!
//! A worker notes what it is in before it calls a handler, and that it has come back: a store each, no clock and no system
//! call. One thread of the process looks at these notes now and then, as long as there are any; it is the one that has a clock.

use ringway_lock::Mutex;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How often the notes are looked at. Who is in a handler for longer than its limit and twice this is told of.
pub const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Bits of a note that say what the worker is in: one bit that it is in something, and the number.
const WHAT_BITS: u32 = 16;
const IS_IN: u64 = 1 << (WHAT_BITS - 1);

/// Tells that a worker is in this, and for how long so far.
type Tell = dyn Fn(usize, Duration) + Send + Sync;

/// What one worker is in. Only that worker's thread enters and leaves.
pub struct Note {
    /// How often it has entered or left, above what it is in.
    at: AtomicU64,
    limit: Duration,
    tell: Box<Tell>,
    /// Since when the thread that looks has seen it in the same.
    seen: Mutex<(u64, Instant)>,
    is_told: AtomicBool,
}

static NOTES: Mutex<Vec<Weak<Note>>> = Mutex::new(Vec::new());

impl Note {
    /// A note that is looked at as long as it is kept. `tell` is called, once each time and on another thread, when the worker
    /// is in the same for longer than `limit`.
    #[must_use]
    pub fn new(limit: Duration, tell: impl Fn(usize, Duration) + Send + Sync + 'static) -> Arc<Self> {
        let note = Arc::new(Self {
            at: AtomicU64::new(0),
            limit,
            tell: Box::new(tell),
            seen: Mutex::new((0, Instant::now())),
            is_told: AtomicBool::new(false),
        });
        let mut notes = NOTES.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = notes.is_empty();
        notes.push(Arc::downgrade(&note));
        if is_first {
            let watcher = std::thread::Builder::new().name("ringway-watch".to_owned());
            // Without a thread nobody is told of before it comes back.
            let _optional = watcher.stack_size(64 * 1024).spawn(watch);
        }
        note
    }

    /// The worker enters something: its number, of which 15 bits are kept.
    #[inline]
    pub fn enter(&self, what: usize) {
        // Only this thread writes.
        let next = (self.at.load(Ordering::Relaxed) >> WHAT_BITS).wrapping_add(1);
        self.at.store(next << WHAT_BITS | IS_IN | (what as u64 & (IS_IN - 1)), Ordering::Relaxed);
    }

    /// It has come back. For about how long it was in there, if it was told of.
    #[inline]
    pub fn leave(&self) -> Option<Duration> {
        let at = self.at.load(Ordering::Relaxed);
        self.at.store(at & !(IS_IN | (IS_IN - 1)), Ordering::Relaxed);
        if self.is_told.load(Ordering::Relaxed) { self.came_back() } else { None }
    }

    #[cold]
    fn came_back(&self) -> Option<Duration> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_told.swap(false, Ordering::Relaxed).then(|| seen.1.elapsed())
    }

    /// Tells of something that has not come back.
    fn look(&self) {
        let at = self.at.load(Ordering::Relaxed);
        let took = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.0 != at || at & IS_IN == 0 {
                *seen = (at, Instant::now());
                return;
            }
            let took = seen.1.elapsed();
            let is_over = took >= self.limit && self.at.load(Ordering::Relaxed) == at;
            if !is_over || self.is_told.swap(true, Ordering::Relaxed) {
                return;
            }
            took
        };
        let what = usize::try_from(at & (IS_IN - 1)).unwrap_or(usize::MAX);
        (self.tell)(what, took);
    }
}

impl fmt::Debug for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Note").field("at", &self.at).field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// Looks at all notes until there is none.
fn watch() {
    loop {
        std::thread::sleep(LOOK_EVERY);
        let kept: Vec<Arc<Note>> = {
            let mut notes = NOTES.lock().unwrap_or_else(PoisonError::into_inner);
            notes.retain(|note| note.strong_count() > 0);
            if notes.is_empty() {
                return;
            }
            notes.iter().filter_map(Weak::upgrade).collect()
        };
        kept.iter().for_each(|note| note.look());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn who_stays_too_long_is_told_of_once_and_again_when_it_is_back() {
        let (told, tellings) = mpsc::channel();
        let note = Note::new(Duration::from_millis(10), move |what, took| {
            let _test_ended = told.send((what, took));
        });
        note.enter(7);
        let (what, took) = tellings.recv().expect("the test keeps the note");
        assert_eq!(what, 7);
        assert!(took >= Duration::from_millis(10));
        assert!(note.leave().is_some_and(|all| all >= took));
        note.enter(8);
        assert_eq!(note.leave(), None, "soon back");
        note.enter(9);
        assert_eq!(tellings.recv().expect("the note is there").0, 9, "nothing of 8, and 9 anew");
        drop(note);
        assert!(tellings.recv().is_err(), "nobody tells any more");
    }

    #[test]
    fn who_comes_and_goes_is_left_alone() {
        let note = Note::new(Duration::ZERO, |_, _| {});
        note.enter(1);
        note.look();
        note.leave();
        note.enter(1);
        note.look();
        assert_eq!(note.leave(), None, "seen twice, but not in the same");
    }
}
