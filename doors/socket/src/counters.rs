//! What is counted of an endpoint: written by its workers alone, with plain stores; readers add the workers up.

use ringway_engine::Counter;
use ringway_lock::{Mutex, MutexGuard};
use std::sync::{Arc, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

/// Buckets of the histogram of handler times: the first is below 1 µs, each next one below twice as much, the last is open.
pub const TIME_BUCKETS: usize = 24;

/// One message in so many is timed.
pub const TIMED_SHARE: u32 = 16;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// One worker's counters of an endpoint. Only that worker writes.
        #[derive(Debug, Default)]
        pub struct WorkerCounters {
            $($(#[$doc])* pub $name: Counter,)*
            /// Sampled times of the handler's work on a message, by power of two of microseconds.
            pub handler_time: [Counter; TIME_BUCKETS],
        }

        /// Counters of all workers added up at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct EndpointTotals {
            $($(#[$doc])* pub $name: u64,)*
            /// As in [`WorkerCounters`].
            pub handler_time: [u64; TIME_BUCKETS],
        }

        impl EndpointTotals {
            /// Adds one worker's counters.
            pub fn add(&mut self, counters: &WorkerCounters) {
                $(self.$name += counters.$name.get();)*
                for (total, bucket) in self.handler_time.iter_mut().zip(&counters.handler_time) {
                    *total += bucket.get();
                }
            }

            /// Names and values without the histogram, for machine-readable faces.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }
        }
    };
}

counters! {
    /// Connections that were opened.
    opened,
    /// Of them those that have ended.
    closed,
    /// Connections refused because there were too many.
    refused,
    /// Messages received.
    messages_in,
    /// Messages sent.
    messages_out,
    /// Bytes received.
    bytes_in,
    /// Bytes sent.
    bytes_out,
    /// Connections that ended because something went wrong: see [`crate::Reason::is_error`].
    errors,
    /// Of them those that broke the framing, and datagrams that were refused.
    faults,
    /// Timeouts: the limits' and those that handlers have set.
    timeouts,
    /// Calls of handlers that panicked.
    panics,
    /// Bytes of urgent data.
    urgent,
    /// Log lines that were left out because there were too many.
    lines_dropped,
    /// Messages that were timed: one in [`TIMED_SHARE`].
    timed,
    /// Time that those took, in nanoseconds.
    timed_ns,
}

impl EndpointTotals {
    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.opened.saturating_sub(self.closed)
    }
}

impl WorkerCounters {
    /// Counts how long a handler took for a message.
    pub fn time(&self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.timed.add(1);
        self.timed_ns.add(ns);
        self.handler_time[bucket(ns)].add(1);
    }
}

/// Where the bucket ends that follows `bucket` others, in nanoseconds; `None` for the last one.
#[must_use]
pub fn time_bucket_end_ns(bucket: usize) -> Option<u64> {
    (bucket + 1 < TIME_BUCKETS).then(|| 1_000 << bucket)
}

fn bucket(ns: u64) -> usize {
    let bits = u64::BITS - (ns / 1_000).leading_zeros();
    usize::try_from(bits).unwrap_or(TIME_BUCKETS).min(TIME_BUCKETS - 1)
}

/// The counters of an endpoint. Cheap to clone; for all threads. A replaced handler goes on with those of the one before.
#[derive(Clone, Debug, Default)]
pub struct EndpointCounters {
    workers: Arc<Mutex<Workers>>,
}

/// The counters of each worker, by its thread.
type Workers = Vec<(ThreadId, Arc<WorkerCounters>)>;

impl EndpointCounters {
    /// Those of the calling thread's worker.
    #[must_use]
    pub fn here(&self) -> Arc<WorkerCounters> {
        let thread = thread::current().id();
        let mut workers = self.lock();
        if let Some((_, counters)) = workers.iter().find(|(of, _)| *of == thread) {
            return Arc::clone(counters);
        }
        let counters = Arc::<WorkerCounters>::default();
        workers.push((thread, Arc::clone(&counters)));
        counters
    }

    /// All workers added up.
    #[must_use]
    pub fn totals(&self) -> EndpointTotals {
        let mut totals = EndpointTotals::default();
        self.lock().iter().for_each(|(_, counters)| totals.add(counters));
        totals
    }

    fn lock(&self) -> MutexGuard<'_, Workers> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_fall_into_their_buckets() {
        assert_eq!([0, 999, 1_000, 1_999, 2_000, 4_000].map(bucket), [0, 0, 1, 1, 2, 3]);
        assert_eq!(bucket(u64::MAX), TIME_BUCKETS - 1);
        for at in 0..TIME_BUCKETS - 1 {
            let end = time_bucket_end_ns(at).expect("not the last");
            assert_eq!((bucket(end - 1), bucket(end)), (at, at + 1));
        }
    }

    #[test]
    fn a_thread_finds_its_counters_again() {
        let counters = EndpointCounters::default();
        counters.here().messages_in.add(2);
        counters.here().messages_in.add(1);
        let other = counters.clone();
        thread::spawn(move || other.here().messages_in.add(4)).join().expect("no panic");
        assert_eq!(counters.totals().messages_in, 7);
    }
}
