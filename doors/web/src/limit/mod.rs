//! How many requests an address may make: so many in a time, and some at once; more are answered 429.
//!
//! The count is the process's, not a worker's: whoever opens more connections gets no more requests. It is kept in a table of
//! fixed size, behind a few locks that are held for some nanoseconds each. Of IPv6, who has an address has all of its /64,
//! so they count as one.

use crate::exchange::Exchange;
use crate::pipeline::{RequestStage, Verdict};
use crate::rules::addresses::AddressSet;
use ringway_http::response::EncodeError;
use ringway_http::status::Status;
use ringway_lock::Mutex;
use ringway_pace::{BucketTable, Taken, TokenRate};
use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

/// Addresses that are remembered unless told otherwise: two megabytes.
pub const ADDRESSES_DEFAULT: usize = 65_536;

/// Tables that addresses are spread over, so that workers seldom wait for each other.
const SHARDS: usize = 64;

/// What an address may do.
#[derive(Clone, Debug)]
pub struct RequestLimitOptions {
    /// Requests in a time, and at once.
    pub rate: TokenRate,
    /// Who may ask as often as they like.
    pub exempt: AddressSet,
    /// How many addresses are remembered; beyond them, those that have asked least are forgotten. Default
    /// [`ADDRESSES_DEFAULT`].
    pub addresses_max: usize,
}

impl RequestLimitOptions {
    /// This rate for everybody.
    #[must_use]
    pub fn new(rate: TokenRate) -> Self {
        Self { rate, exempt: AddressSet::default(), addresses_max: ADDRESSES_DEFAULT }
    }
}

/// The count of requests by address, for all workers of a process.
pub struct RequestLimit {
    options: RequestLimitOptions,
    started: Instant,
    shards: Box<[Mutex<BucketTable>]>,
    hasher: RandomState,
    refused: AtomicU64,
}

impl RequestLimit {
    /// Nobody has asked yet.
    #[must_use]
    pub fn new(options: RequestLimitOptions) -> Self {
        let hasher = RandomState::new();
        let shard_keys = options.addresses_max.div_ceil(SHARDS);
        let shards = (0..SHARDS).map(|_| Mutex::new(BucketTable::new(shard_keys, secret())));
        Self {
            shards: shards.collect(),
            options,
            started: Instant::now(),
            hasher,
            refused: AtomicU64::new(0),
        }
    }

    /// Counts a request of `address`; whether it may be served.
    pub fn take(&self, address: IpAddr) -> Taken {
        let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.take_at(address, now_ms)
    }

    /// Requests that were refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn take_at(&self, address: IpAddr, now_ms: u64) -> Taken {
        if !self.options.exempt.is_empty() && self.options.exempt.contains(address) {
            return Taken::Yes;
        }
        let key = client_key(address);
        let shard = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0);
        let mut table = self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner);
        let taken = table.take(key, &self.options.rate, now_ms);
        drop(table);
        if taken != Taken::Yes {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }
}

impl fmt::Debug for RequestLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestLimit({:?}, {} refused)", self.options.rate, self.refused())
    }
}

/// The stage that counts requests; a site's, or a route's. Clients on Unix sockets are not counted.
#[derive(Debug)]
pub struct RequestLimitStage {
    limit: Arc<RequestLimit>,
}

impl RequestLimitStage {
    /// A stage that counts in `limit`, which others may count in too.
    #[must_use]
    pub const fn new(limit: Arc<RequestLimit>) -> Self {
        Self { limit }
    }
}

impl RequestStage for RequestLimitStage {
    fn request(&self, exchange: &mut Exchange<'_>) -> Result<Verdict, EncodeError> {
        let Some(peer) = exchange.peer() else { return Ok(Verdict::Pass) };
        match self.limit.take(peer.ip()) {
            Taken::Yes => Ok(Verdict::Pass),
            Taken::Wait { ms } => {
                exchange.error_with(Status::TOO_MANY_REQUESTS, &retry_after(ms)).map(Verdict::Answer)
            }
        }
    }
}

/// `Retry-After` (RFC 9110 section 10.2.3) in whole seconds, rounded up.
pub(crate) fn retry_after(ms: u64) -> Vec<u8> {
    format!("Retry-After: {}\r\n", ms.div_ceil(1000).max(1)).into_bytes()
}

/// What stands for a client in counts: an address of IPv4, or the /64 of one of IPv6.
pub(crate) fn client_key(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits() >> 64 << 64,
    }
}

/// Bits nobody can foresee, to hash with.
pub(crate) fn secret() -> [u64; 2] {
    [RandomState::new().build_hasher().finish(), RandomState::new().build_hasher().finish()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_counted_whatever_form_it_comes_in_and_others_are_not() {
        let exempt = ["192.0.2.0/24".parse().unwrap()].into_iter().collect();
        let options = RequestLimitOptions { exempt, ..RequestLimitOptions::new(TokenRate::new(10, 1000, 2)) };
        let limit = RequestLimit::new(options);
        assert_eq!(limit.take_at(ip("198.51.100.1"), 0), Taken::Yes);
        assert_eq!(limit.take_at(ip("::ffff:198.51.100.1"), 0), Taken::Yes);
        assert_eq!(limit.take_at(ip("198.51.100.1"), 0), Taken::Wait { ms: 100 });
        assert_eq!(limit.take_at(ip("198.51.100.2"), 0), Taken::Yes);
        assert_eq!(limit.take_at(ip("198.51.100.1"), 100), Taken::Yes);
        assert_eq!(limit.take_at(ip("2001:db8::1"), 0), Taken::Yes);
        assert_eq!(limit.take_at(ip("2001:db8::ffff:1:2:3"), 0), Taken::Yes);
        assert_ne!(limit.take_at(ip("2001:db8::5"), 0), Taken::Yes, "a /64 is one client");
        assert_eq!(limit.take_at(ip("2001:db8:0:1::5"), 0), Taken::Yes);
        assert!((0..100).all(|_| limit.take_at(ip("192.0.2.77"), 0) == Taken::Yes));
        assert_eq!(limit.refused(), 2);
    }

    #[test]
    fn threads_together_get_no_more_than_one() {
        let limit = RequestLimit::new(RequestLimitOptions::new(TokenRate::new(1, 86_400_000, 100)));
        let got: usize = std::thread::scope(|scope| {
            let ask = || (0..1000).filter(|_| limit.take(ip("198.51.100.1")) == Taken::Yes).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(got, 100);
    }

    #[test]
    fn seconds_are_rounded_up() {
        for (ms, seconds) in [(1, "1"), (1000, "1"), (1001, "2"), (60_000, "60")] {
            assert_eq!(retry_after(ms), format!("Retry-After: {seconds}\r\n").into_bytes());
        }
    }
}
