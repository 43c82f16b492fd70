//! One trial of a receiver: begins with the first datagram, ends with the first short one, adds up what the threads counted.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::stamp::Order;
use super::work::Work;
use crate::measure::clock;

/// How often a trial that takes too long is told to end; what tells it may find a full receive buffer.
const EXPIRY_CALLS_EVERY: Duration = Duration::from_millis(5);

/// CPU time is divided between user space and kernel when at least so many of the kernel's ticks were sampled.
const TICKS_MIN: u64 = 10;

/// What all threads of a receiver share: when the trial began and ended, and what was counted.
#[derive(Debug)]
pub(super) struct Trial {
    size_bytes: usize,
    iterations: u32,
    began: OnceLock<Mark>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// Short datagrams that must still be seen.
    ends_missing: usize,
    ended: Option<Mark>,
    expired: bool,
    counts: Counts,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Datagrams of the expected size.
    pub(super) datagrams: u64,
    /// Longer ones, which were not counted above.
    pub(super) longer: u64,
    /// Datagrams of the expected size that came out of their flow's order.
    pub(super) disordered: u64,
}

/// A moment on the clock on the wall and on the process's CPU clocks.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Instant,
    cpu: Duration,
    user_ticks: u64,
    kernel_ticks: u64,
}

/// How long something took: on the wall, of CPU time, and how CPU time was divided.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    /// On the wall.
    pub(super) wall: Duration,
    /// CPU time of all threads.
    pub(super) cpu: Duration,
    /// The share of it that was spent in the kernel, 0 to 1. The kernel samples it with its tick, so short spans have none.
    pub(super) kernel_share: Option<f64>,
}

impl Trial {
    /// A trial of datagrams of `size_bytes` with `iterations` of work each, which ends when `ends` short datagrams were seen,
    /// one on each socket.
    pub(super) fn new(size_bytes: usize, iterations: u32, ends: usize) -> Arc<Trial> {
        let state =
            State { ends_missing: ends.max(1), ended: None, expired: false, counts: Counts::default() };
        let (began, state) = (OnceLock::new(), Mutex::new(state));
        Arc::new(Trial { size_bytes, iterations, began, state, changed: Condvar::new() })
    }

    /// A new count for one thread or ring.
    pub(super) fn tally(self: &Arc<Trial>) -> Tally {
        Tally {
            expected: self.size_bytes,
            counts: Counts::default(),
            order: Order::new(),
            work: Work::new(self.iterations),
            over: false,
            trial: Arc::clone(self),
        }
    }

    /// Sleeps until the trial has ended, but no longer than `at_most`; says whether it has.
    pub(super) fn wait(&self, at_most: Duration) -> bool {
        let state = self.lock();
        let waited = self.changed.wait_timeout_while(state, at_most, |state| state.ended.is_none());
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.ended.is_some()
    }

    /// Ends a trial that takes longer than `at_most` by sending empty datagrams to its own sockets, which every receiver
    /// understands; returns when the trial has ended.
    pub(super) fn guard(&self, addresses: &[SocketAddr], at_most: Duration) {
        if self.wait(at_most) {
            return;
        }
        self.lock().expired = true;
        loop {
            for address in addresses {
                call_end(*address);
            }
            if self.wait(EXPIRY_CALLS_EVERY) {
                return;
            }
        }
    }

    /// Whether nobody ended the trial in time.
    pub(super) fn expired(&self) -> bool {
        self.lock().expired
    }

    /// All that the tallies counted. Complete when they are gone.
    pub(super) fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// From the first datagram to the end; nothing when there was no datagram.
    pub(super) fn span(&self) -> Span {
        let ended = self.lock().ended;
        self.began.get().zip(ended).map_or(Span::default(), |(began, ended)| ended.since(began))
    }

    #[cold]
    fn begin(&self) {
        let _first = self.began.get_or_init(Mark::now);
    }

    #[cold]
    fn end(&self) {
        let mark = Mark::now();
        let mut state = self.lock();
        state.ends_missing = state.ends_missing.saturating_sub(1);
        if state.ends_missing == 0 && state.ended.is_none() {
            state.ended = Some(mark);
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The count of one thread or ring; it is added to the trial's when it is dropped.
#[derive(Debug)]
pub(super) struct Tally {
    expected: usize,
    counts: Counts,
    order: Order,
    work: Work,
    over: bool,
    trial: Arc<Trial>,
}

impl Tally {
    /// Takes one datagram; says whether to go on.
    #[inline]
    pub(super) fn take(&mut self, datagram: &[u8]) -> bool {
        if datagram.len() != self.expected || self.over {
            return self.take_other(datagram.len());
        }
        if self.counts.datagrams == 0 {
            self.trial.begin();
        }
        self.counts.datagrams += 1;
        self.order.see(datagram);
        self.work.step();
        true
    }

    #[cold]
    fn take_other(&mut self, length: usize) -> bool {
        if self.over {
            return false;
        }
        if length > self.expected {
            self.counts.longer += 1;
            return true;
        }
        self.over = true;
        self.trial.end();
        false
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        let mut state = self.trial.lock();
        state.counts.datagrams += self.counts.datagrams;
        state.counts.longer += self.counts.longer;
        state.counts.disordered += self.order.violations();
    }
}

impl Mark {
    fn now() -> Mark {
        let (user_ticks, kernel_ticks) = ticks().unwrap_or((0, 0));
        Mark { at: Instant::now(), cpu: clock::process_cpu(), user_ticks, kernel_ticks }
    }

    fn since(&self, earlier: &Mark) -> Span {
        let user = self.user_ticks.saturating_sub(earlier.user_ticks);
        let kernel = self.kernel_ticks.saturating_sub(earlier.kernel_ticks);
        let enough = user + kernel >= TICKS_MIN;
        Span {
            wall: self.at.saturating_duration_since(earlier.at),
            cpu: self.cpu.saturating_sub(earlier.cpu),
            kernel_share: enough.then(|| kernel as f64 / (user + kernel) as f64),
        }
    }
}

/// CPU time of this process in user space and in the kernel, in clock ticks.
fn ticks() -> Option<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name in parentheses may contain anything; user and system time are the 12th and 13th fields behind it.
    let mut fields = text[text.rfind(')')? + 1..].split_ascii_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// Sends an empty datagram to one of our own sockets.
fn call_end(address: SocketAddr) {
    let (any, own): (IpAddr, IpAddr) = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::LOCALHOST.into()),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::LOCALHOST.into()),
    };
    let target = if address.ip().is_unspecified() { own } else { address.ip() };
    let sent = UdpSocket::bind((any, 0)).and_then(|socket| socket.send_to(&[], (target, address.port())));
    // What fails is tried again in a moment, for as long as the trial lasts.
    black_box(sent.is_ok());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_counts_what_has_the_size_and_ends_with_a_short_one() {
        let trial = Trial::new(8, 3, 1);
        let mut tally = trial.tally();
        assert!(tally.take(&[0; 8]) && tally.take(&[0; 9]) && tally.take(&[0; 8]));
        assert!(!trial.wait(Duration::ZERO));
        assert!(!tally.take(&[0; 7]));
        assert!(!tally.take(&[0; 8]), "what comes behind the end does not count");
        drop(tally);
        assert!(trial.wait(Duration::ZERO) && !trial.expired());
        assert_eq!(trial.counts(), Counts { datagrams: 2, longer: 1, disordered: 0 });
    }

    #[test]
    fn every_socket_has_its_end() {
        let trial = Trial::new(8, 0, 2);
        let (mut first, mut second) = (trial.tally(), trial.tally());
        assert!(!first.take(&[]) && !first.take(&[]));
        assert!(!trial.wait(Duration::ZERO), "the same ring's second short datagram is no other ring's end");
        assert!(second.take(&[0; 8]) && !second.take(&[]));
        assert!(trial.wait(Duration::ZERO));
        drop((first, second));
        assert_eq!(trial.counts().datagrams, 1);
    }

    #[test]
    fn a_trial_that_nobody_ends_is_ended() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let address = socket.local_addr().expect("an address");
        let trial = Trial::new(8, 0, 1);
        std::thread::scope(|scope| {
            scope.spawn(|| trial.guard(&[address], Duration::ZERO));
            let mut tally = trial.tally();
            let mut buffer = [0; 64];
            let length = socket.recv(&mut buffer).expect("the guard's datagram");
            assert!(!tally.take(&buffer[..length]));
        });
        assert!(trial.expired() && trial.wait(Duration::ZERO));
        assert_eq!(trial.span().wall, Duration::ZERO, "nothing began");
    }

    #[test]
    fn this_process_has_ticks() {
        assert!(ticks().is_some());
    }
}
