//! Where owners and pool threads of a port meet: the schedule under one lock, taken a few times a batch.

use super::schedule::{Job, Need, Schedule};
use ringway_lock::{Condvar, Mutex, MutexGuard};
use std::sync::PoisonError;

/// The schedule with its sleepers. What a sleeper waits for changes under the lock that it gives up when it falls asleep,
/// and it asks again when it wakes: no wake-up is lost, and none is taken for more than a hint.
#[derive(Debug)]
pub(super) struct Exchange<T, R> {
    schedule: Mutex<Schedule<T, R>>,
    owners: Vec<Condvar>,
    seats: Vec<Condvar>,
}

impl<T, R> Exchange<T, R> {
    pub(super) fn new(lanes: usize, threads: usize) -> Self {
        Self {
            schedule: Mutex::new(Schedule::new(lanes, threads)),
            owners: (0..lanes).map(|_| Condvar::new()).collect(),
            seats: (0..threads).map(|_| Condvar::new()).collect(),
        }
    }

    // The owner's side. A lane's calls come from its owner's thread only.

    /// See [`Schedule::claim`].
    pub(super) fn claim(&self, lane: usize) -> bool {
        self.lock().claim(lane)
    }

    /// See [`Schedule::release`].
    pub(super) fn release(&self, lane: usize) {
        let called = self.lock().release(lane);
        self.call(called);
    }

    /// Hands a batch over as soon as there is room.
    ///
    /// # Errors
    /// The batch, when the port was told to give up.
    pub(super) fn offer(&self, lane: usize, item: T) -> Result<(), T> {
        let called = self.wait(lane, Need::Room).offer(lane, item)?;
        self.call(called);
        Ok(())
    }

    /// Sleeps until a lane's owner has what it needs, or the port was told to give up; then moves what came back into
    /// `returned`.
    pub(super) fn collect(&self, lane: usize, need: Need, returned: &mut Vec<R>) {
        self.wait(lane, need).take_returned(lane, returned);
    }

    // The pool's side.

    /// Sleeps until there is work for a pool thread that starts; `None` when it shall end.
    pub(super) fn arrive(&self, seat: usize) -> Option<(usize, T)> {
        let mut schedule = self.lock();
        schedule.arrive();
        self.next(schedule, seat)
    }

    /// Gives back what a pool thread has handled and sleeps until there is more; `None` when the thread shall end.
    pub(super) fn finish(&self, seat: usize, lane: usize, returned: R) -> Option<(usize, T)> {
        let mut schedule = self.lock();
        if schedule.finish(lane, returned) {
            self.owners[lane].notify_one();
        }
        self.next(schedule, seat)
    }

    // The end.

    /// Refuses everything from now on and wakes the owners, which take back what waits.
    pub(super) fn abandon(&self) {
        self.lock().abandon();
        self.owners.iter().for_each(Condvar::notify_all);
    }

    /// See [`Schedule::withdraw`].
    pub(super) fn withdraw(&self, lane: usize) -> Option<T> {
        self.lock().withdraw(lane)
    }

    /// Ends the pool threads: no owner is left.
    pub(super) fn close(&self) {
        self.lock().close();
        self.seats.iter().for_each(Condvar::notify_all);
    }

    fn next(&self, mut schedule: MutexGuard<'_, Schedule<T, R>>, seat: usize) -> Option<(usize, T)> {
        loop {
            if let Some(Job { lane, item, wakes_owner }) = schedule.next() {
                drop(schedule);
                if wakes_owner {
                    self.owners[lane].notify_one();
                }
                return Some((lane, item));
            }
            if !schedule.sit(seat) {
                return None;
            }
            while schedule.is_sitting(seat) {
                schedule = self.seats[seat].wait(schedule).unwrap_or_else(PoisonError::into_inner);
            }
            schedule.arrive();
        }
    }

    fn wait(&self, lane: usize, need: Need) -> MutexGuard<'_, Schedule<T, R>> {
        let mut schedule = self.lock();
        while !schedule.has(lane, need) {
            schedule = self.owners[lane].wait(schedule).unwrap_or_else(PoisonError::into_inner);
        }
        schedule
    }

    fn call(&self, seat: Option<usize>) {
        if let Some(seat) = seat {
            self.seats[seat].notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Schedule<T, R>> {
        // A panic under the lock would be a mistake of the schedule's; its state is whole between any two statements that
        // could panic, and the port must still be able to stop.
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::thread;

    const LANES: usize = 4;
    const THREADS: usize = 3;
    const ITEMS: u64 = 250_000;

    /// What a lane's handler has seen. Not a lock: two threads in it at once are the mistake to be found, and counted,
    /// because a panic on a pool thread would leave the others waiting.
    #[derive(Default)]
    struct Seen {
        is_in: AtomicBool,
        next: AtomicU64,
        mistakes: AtomicU64,
    }

    impl Seen {
        fn handle(&self, item: u64) {
            let is_shared = self.is_in.swap(true, Ordering::Relaxed);
            if is_shared || self.next.load(Ordering::Relaxed) != item {
                self.mistakes.fetch_add(1, Ordering::Relaxed);
            }
            self.next.store(item + 1, Ordering::Relaxed);
            self.is_in.store(false, Ordering::Relaxed);
        }
    }

    /// Hands all items of a lane over, some to its own thread, some to the pool; counts what comes back.
    fn own(exchange: &Exchange<u64, u64>, seen: &Seen, lane: usize) -> u64 {
        let mut random = 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(lane as u64 + 1);
        let mut returned = Vec::new();
        let mut back = 0;
        for item in 0..ITEMS {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            if random.is_multiple_of(4) && exchange.claim(lane) {
                seen.handle(item);
                exchange.release(lane);
                back += 1;
            } else {
                exchange.offer(lane, item).expect("nobody gives up");
            }
            if random.is_multiple_of(64) {
                let need = if random.is_multiple_of(128) { Need::Rest } else { Need::Room };
                exchange.collect(lane, need, &mut returned);
                back += returned.drain(..).len() as u64;
            }
        }
        exchange.collect(lane, Need::Rest, &mut returned);
        back + returned.len() as u64
    }

    #[test]
    fn a_million_items_are_handled_once_and_in_the_order_of_their_lane() {
        let exchange: Exchange<u64, u64> = Exchange::new(LANES, THREADS);
        let seen: [Seen; LANES] = Default::default();
        thread::scope(|scope| {
            for seat in 0..THREADS {
                let (exchange, seen) = (&exchange, &seen);
                scope.spawn(move || {
                    let mut job = exchange.arrive(seat);
                    while let Some((lane, item)) = job {
                        seen[lane].handle(item);
                        job = exchange.finish(seat, lane, item);
                    }
                });
            }
            let owner = |lane| {
                let (exchange, seen) = (&exchange, &seen);
                scope.spawn(move || own(exchange, &seen[lane], lane))
            };
            let owners: Vec<_> = (0..LANES).map(owner).collect();
            let back: Vec<u64> = owners.into_iter().map(|owner| owner.join().expect("no panic")).collect();
            exchange.close();
            assert_eq!(back, [ITEMS; LANES], "everything comes back to its owner");
        });
        for seen in seen {
            assert_eq!(seen.mistakes.into_inner(), 0, "two threads in one lane, or out of order");
            assert_eq!(seen.next.into_inner(), ITEMS);
        }
    }

    #[test]
    fn owners_asleep_wake_when_the_port_gives_up() {
        let exchange: Exchange<u64, ()> = Exchange::new(1, 1);
        thread::scope(|scope| {
            // No pool thread arrives, so nothing is ever taken.
            exchange.offer(0, 0).expect("room");
            let asleep = scope.spawn(|| exchange.offer(0, 1));
            exchange.abandon();
            assert_eq!((exchange.withdraw(0), exchange.withdraw(0)), (Some(0), None));
            assert_eq!(asleep.join().expect("no panic"), Err(1));
            exchange.collect(0, Need::Rest, &mut Vec::new());
        });
    }
}
