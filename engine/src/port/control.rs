//! How a port's threads are told to end, and tell that they have.

use ringway_lock::{Condvar, Mutex, MutexGuard};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Orders to all threads, and who is left.
#[derive(Debug)]
pub(super) struct Control {
    is_stopping: AtomicBool,
    is_given_up: AtomicBool,
    left: Mutex<Left>,
    changed: Condvar,
}

/// Threads that have not ended, and how the others did.
#[derive(Debug)]
pub(super) struct Left {
    /// Owners at work.
    pub(super) owners: Vec<usize>,
    /// Pool threads at work.
    pub(super) seats: Vec<usize>,
    /// Rings whose owners died, and of what.
    pub(super) deaths: Vec<(usize, String)>,
}

impl Control {
    pub(super) fn new(owners: usize, threads: usize) -> Self {
        Self {
            is_stopping: AtomicBool::new(false),
            is_given_up: AtomicBool::new(false),
            left: Mutex::new(Left {
                owners: (0..owners).collect(),
                seats: (0..threads).collect(),
                deaths: Vec::new(),
            }),
            changed: Condvar::new(),
        }
    }

    /// Owners shall receive nothing more and end when all is handled.
    pub(super) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    /// Owners shall end at once.
    pub(super) fn give_up(&self) {
        self.is_given_up.store(true, Ordering::Release);
        self.stop();
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::Acquire)
    }

    pub(super) fn owner_ended(&self, owner: usize, rings: &[usize], death: Option<&str>) {
        let mut left = self.left();
        left.owners.retain(|other| *other != owner);
        for (death, ring) in death.into_iter().flat_map(|death| rings.iter().map(move |ring| (death, *ring)))
        {
            left.deaths.push((ring, death.to_owned()));
        }
        self.changed.notify_all();
    }

    pub(super) fn seat_ended(&self, seat: usize) {
        self.left().seats.retain(|other| *other != seat);
        self.changed.notify_all();
    }

    /// Only so many owners and pool threads could be started.
    pub(super) fn started(&self, owners: usize, threads: usize) {
        let mut left = self.left();
        left.owners.retain(|owner| *owner < owners);
        left.seats.retain(|seat| *seat < threads);
    }

    pub(super) fn left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps until `is_enough`, or `deadline`; says whether it is.
    pub(super) fn wait_until(&self, deadline: Instant, is_enough: impl Fn(&Left) -> bool) -> bool {
        let mut left = self.left();
        while !is_enough(&left) {
            let Some(time) = deadline.checked_duration_since(Instant::now()).filter(|time| !time.is_zero())
            else {
                return false;
            };
            left = self.changed.wait_timeout(left, time).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}
