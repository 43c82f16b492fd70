//! The gate before passwords are verified: few at a time, some waiting, and none for an address that was wrong too often.
//!
//! Verifying costs time and memory on purpose. Whoever sends wrong passwords should pay for that, and not the server: what
//! is verified at once is bounded for the process, what waits is, what one address may have of both is, and an address
//! that has been wrong is let in at a slow rate only.

use crate::limit::{client_key, secret};
use ringway_lock::{Mutex, MutexGuard};
use ringway_pace::{BucketTable, Taken, TokenRate};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// Milliseconds after which somebody is told to come again whom the gate has no room for.
const FULL_RETRY_MS: u64 = 1000;

/// What the gate lets through.
#[derive(Clone, Debug)]
pub struct GateLimits {
    /// Passwords that are verified at once. Default: half of the cores, at least 1.
    pub running_max: usize,
    /// Passwords that wait. Default 256.
    pub waiting_max: usize,
    /// Of both together for one address (a /64 of IPv6). Default 8.
    pub per_address_max: usize,
    /// Wrong passwords of one address. Default 10 at once, and 10 a minute.
    pub failures: TokenRate,
    /// How many addresses that were wrong are remembered. Default 16,384: half a megabyte.
    pub addresses_max: usize,
}

impl Default for GateLimits {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            running_max: (cores / 2).max(1),
            waiting_max: 256,
            per_address_max: 8,
            failures: TokenRate::new(10, 60_000, 10),
            addresses_max: 16_384,
        }
    }
}

/// Why the gate does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shut {
    /// The address has too many passwords under way, or was wrong too often: 429.
    Address {
        /// When it may come again, in milliseconds.
        retry_ms: u64,
    },
    /// Too many wait, whoever they are: 503.
    Full {
        /// When there may be room, in milliseconds.
        retry_ms: u64,
    },
}

/// The gate of a process. Clones are the same gate.
#[derive(Clone)]
pub struct Gate(Arc<Inner>);

struct Inner {
    limits: GateLimits,
    started: Instant,
    state: Mutex<State>,
}

struct State {
    /// Includes those whose turn has come and who have not looked yet.
    running: usize,
    /// The next one's number. Who has one and does not wait is running.
    next: u64,
    waiting: VecDeque<(u64, Option<Waker>)>,
    by_address: HashMap<u128, usize>,
    failures: BucketTable,
}

impl Gate {
    /// A gate with these limits.
    #[must_use]
    pub fn new(limits: GateLimits) -> Self {
        let state = State {
            running: 0,
            next: 0,
            waiting: VecDeque::new(),
            by_address: HashMap::new(),
            failures: BucketTable::new(limits.addresses_max, secret()),
        };
        Self(Arc::new(Inner { limits, started: Instant::now(), state: Mutex::new(state) }))
    }

    /// Queues up. Clients on Unix sockets have no address and are bounded together only.
    ///
    /// # Errors
    /// [`Shut`]: answer with that.
    pub fn queue(&self, address: Option<IpAddr>) -> Result<Turn, Shut> {
        self.queue_at(address, self.now_ms())
    }

    /// Takes note of a wrong password.
    pub fn note_failure(&self, address: Option<IpAddr>) {
        let now_ms = self.now_ms();
        if let Some(address) = address {
            let _none_left = self.lock().failures.take(client_key(address), &self.0.limits.failures, now_ms);
        }
    }

    fn queue_at(&self, address: Option<IpAddr>, now_ms: u64) -> Result<Turn, Shut> {
        let limits = &self.0.limits;
        let key = address.map(client_key);
        let state = &mut *self.lock();
        if let Some(key) = key {
            if let Taken::Wait { ms } = state.failures.peek(key, &limits.failures, now_ms) {
                return Err(Shut::Address { retry_ms: ms });
            }
            if state.by_address.get(&key).is_some_and(|&count| count >= limits.per_address_max) {
                return Err(Shut::Address { retry_ms: FULL_RETRY_MS });
            }
        }
        let is_called = state.running < limits.running_max;
        if !is_called && state.waiting.len() >= limits.waiting_max {
            return Err(Shut::Full { retry_ms: FULL_RETRY_MS });
        }
        let number = state.next;
        state.next += 1;
        if is_called {
            state.running += 1;
        } else {
            state.waiting.push_back((number, None));
        }
        if let Some(key) = key {
            *state.by_address.entry(key).or_insert(0) += 1;
        }
        Ok(Turn { place: Some(Place { gate: self.clone(), number, key }) })
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.0.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        write!(f, "Gate({} running, {} waiting)", state.running, state.waiting.len())
    }
}

impl State {
    /// Somebody is done: the next one may go.
    fn call_next(&mut self) {
        match self.waiting.pop_front() {
            Some((_, Some(waker))) => waker.wake(),
            Some((_, None)) => {}
            None => self.running -= 1,
        }
    }

    fn leave_address(&mut self, key: u128) {
        let Some(count) = self.by_address.get_mut(&key) else { return };
        *count -= 1;
        if *count == 0 {
            self.by_address.remove(&key);
        }
    }
}

/// One who has queued up; gives the place once it is their turn.
#[derive(Debug)]
pub struct Turn {
    place: Option<Place>,
}

impl Future for Turn {
    type Output = Place;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Place> {
        let Some(place) = self.place.take() else { return Poll::Pending };
        let number = place.number;
        let is_waiting = match place.gate.lock().waiting.iter_mut().find(|(waiting, _)| *waiting == number) {
            Some((_, waker)) => {
                *waker = Some(context.waker().clone());
                true
            }
            None => false,
        };
        if is_waiting {
            self.place = Some(place);
            return Poll::Pending;
        }
        Poll::Ready(place)
    }
}

/// A place in the gate; left when it is dropped, wherever that happens.
#[derive(Debug)]
pub struct Place {
    gate: Gate,
    number: u64,
    key: Option<u128>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let state = &mut *self.gate.lock();
        match state.waiting.iter().position(|(waiting, _)| *waiting == self.number) {
            Some(at) => drop(state.waiting.remove(at)),
            None => state.call_next(),
        }
        if let Some(key) = self.key {
            state.leave_address(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    fn gate(running_max: usize, waiting_max: usize, per_address_max: usize) -> Gate {
        let failures = TokenRate::new(2, 10_000, 2);
        Gate::new(GateLimits { running_max, waiting_max, per_address_max, failures, addresses_max: 64 })
    }

    fn poll(turn: &mut Turn) -> Option<Place> {
        match Pin::new(turn).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(place) => Some(place),
            Poll::Pending => None,
        }
    }

    #[test]
    fn some_go_some_wait_in_order_and_the_rest_come_again() {
        let gate = gate(1, 2, 100);
        let mut turns: Vec<Turn> = (0..3).map(|_| gate.queue(None).unwrap()).collect();
        assert_eq!(gate.queue(None).err(), Some(Shut::Full { retry_ms: FULL_RETRY_MS }));
        let first = poll(&mut turns[0]).unwrap();
        assert!(poll(&mut turns[2]).is_none() && poll(&mut turns[1]).is_none());
        drop(first);
        assert!(poll(&mut turns[2]).is_none(), "the one before is next");
        let second = poll(&mut turns[1]).unwrap();
        let _later = gate.queue(None).unwrap();
        drop(second);
        assert!(poll(&mut turns[2]).is_some());
    }

    #[test]
    fn who_goes_away_leaves_the_place_to_others() {
        let gate = gate(1, 5, 100);
        let running = gate.queue(ip("192.0.2.1")).unwrap();
        let waiting = gate.queue(ip("192.0.2.2")).unwrap();
        let mut last = gate.queue(ip("192.0.2.3")).unwrap();
        drop(waiting);
        assert!(poll(&mut last).is_none());
        // Never polled: its turn had come all the same.
        drop(running);
        drop(poll(&mut last).unwrap());
        drop(last);
        let state = gate.lock();
        assert_eq!((state.running, state.waiting.len(), state.by_address.len()), (0, 0, 0));
    }

    #[test]
    fn one_who_waits_is_woken_from_another_thread() {
        let gate = gate(1, 5, 100);
        let mut running = gate.queue(None).unwrap();
        let place = poll(&mut running).unwrap();
        let mut waiting = gate.queue(None).unwrap();
        let (woken, is_woken) = std::sync::mpsc::channel();
        struct Tell(std::sync::mpsc::Sender<()>);
        impl std::task::Wake for Tell {
            fn wake(self: Arc<Self>) {
                self.0.send(()).unwrap();
            }
        }
        let waker = Waker::from(Arc::new(Tell(woken)));
        assert!(Pin::new(&mut waiting).poll(&mut Context::from_waker(&waker)).is_pending());
        std::thread::spawn(move || drop(place)).join().unwrap();
        assert_eq!(is_woken.try_recv(), Ok(()));
        assert!(poll(&mut waiting).is_some());
    }

    #[test]
    fn one_address_cannot_take_all_places() {
        let gate = gate(1, 100, 2);
        let _two = [gate.queue(ip("2001:db8::1")).unwrap(), gate.queue(ip("2001:db8::2")).unwrap()];
        assert_eq!(gate.queue(ip("2001:db8::3")).err(), Some(Shut::Address { retry_ms: FULL_RETRY_MS }));
        assert!(gate.queue(ip("192.0.2.1")).is_ok());
    }

    #[test]
    fn an_address_that_was_wrong_too_often_waits() {
        let gate = gate(5, 5, 5);
        let attacker = ip("192.0.2.1");
        gate.note_failure(attacker);
        assert!(gate.queue(attacker).is_ok());
        gate.note_failure(attacker);
        let Err(Shut::Address { retry_ms }) = gate.queue(attacker) else { panic!("it may go on") };
        assert!((4000..=5000).contains(&retry_ms), "{retry_ms}");
        assert!(gate.queue(ip("192.0.2.2")).is_ok() && gate.queue(None).is_ok());
        assert!(gate.queue_at(attacker, gate.now_ms() + 5000).is_ok());
    }
}
