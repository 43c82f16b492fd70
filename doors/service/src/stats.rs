//! What a service has done: counters with one writer each, added up for whoever looks.

use crate::log::Log;
use crate::routes::Table;
use ringway_engine::Counter;
use ringway_lock::Mutex;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError};

macro_rules! totals {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// What one worker has done. Only that worker writes, with plain stores.
        #[derive(Debug, Default)]
        pub(crate) struct WorkerStats {
            $(pub(crate) $name: Counter,)*
            /// Requests under way: waited for, or with a body in the making.
            pub(crate) in_flight: Counter,
            pub(crate) routes: Box<[RouteCounters]>,
            names: Box<[(Box<str>, Box<str>)]>,
        }

        /// What a service has done on all workers, since the process began.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct ServiceTotals {
            $($(#[$doc])* pub $name: u64,)*
            /// Requests under way: waited for, or with a body in the making.
            pub in_flight: u64,
            /// Workers that run it.
            pub workers: usize,
            /// By method and pattern, in the order of these.
            pub routes: Vec<RouteTotals>,
        }

        impl ServiceTotals {
            fn add(&mut self, worker: &WorkerStats) {
                $(self.$name += worker.$name.get();)*
                self.in_flight += worker.in_flight.get();
            }

            /// Names and values of what only grows, for machine-readable faces.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }
        }
    };
}

totals! {
    /// Requests that a route, or the service's own answer to a wrong method, was for.
    requests,
    /// Of them those that were the client's fault (4xx).
    refused,
    /// Of them those that were not (5xx).
    errors,
    /// Handlers that panicked.
    panics,
    /// Handlers that had no answer in their time.
    late,
    /// Answers promised for later whose handle was dropped.
    dropped,
    /// Handlers that kept their worker from everything else for too long.
    blocked,
}

/// What one route has done on one worker.
#[derive(Debug, Default)]
pub(crate) struct RouteCounters {
    pub(crate) requests: Counter,
    pub(crate) errors: Counter,
}

/// What one route has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteTotals {
    /// Its method; `*` for any.
    pub method: Box<str>,
    /// Its pattern.
    pub pattern: Box<str>,
    /// Requests it was for.
    pub requests: u64,
    /// Of them those with an answer from 500 on.
    pub errors: u64,
}

/// What a service has done and says, however many workers run it. It outlives reloads as long as the service does.
pub struct ServiceStats {
    book: Mutex<Book>,
    log: Log,
}

/// Requests and errors by method and pattern.
type RouteRows = BTreeMap<(Box<str>, Box<str>), (u64, u64)>;

#[derive(Default)]
struct Book {
    workers: Vec<Arc<WorkerStats>>,
    /// What workers did that run it no more.
    past: ServiceTotals,
    past_routes: RouteRows,
}

impl ServiceStats {
    pub(crate) fn new(service: &str) -> Self {
        Self { book: Mutex::default(), log: Log::new(service) }
    }

    /// The service's log.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Counters for one more worker.
    pub(crate) fn open(&self, table: &Table) -> Arc<WorkerStats> {
        let names = table.iter().map(|(methods, pattern)| (methods.as_str().into(), pattern.as_str().into()));
        let names: Box<[_]> = names.collect();
        let routes = names.iter().map(|_| RouteCounters::default()).collect();
        let stats = Arc::new(WorkerStats { routes, names, ..WorkerStats::default() });
        self.book.lock().unwrap_or_else(PoisonError::into_inner).workers.push(Arc::clone(&stats));
        stats
    }

    /// A worker runs it no more.
    pub(crate) fn close(&self, stats: &Arc<WorkerStats>) {
        let book = &mut *self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.workers.retain(|other| !Arc::ptr_eq(other, stats));
        book.past.add(stats);
        book.past.in_flight = 0;
        add_routes(&mut book.past_routes, stats);
    }

    /// What it has done so far.
    #[must_use]
    pub fn totals(&self) -> ServiceTotals {
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut totals, mut routes) = (book.past.clone(), book.past_routes.clone());
        for worker in &book.workers {
            totals.add(worker);
            add_routes(&mut routes, worker);
        }
        totals.workers = book.workers.len();
        let row = |((method, pattern), (requests, errors))| RouteTotals { method, pattern, requests, errors };
        totals.routes = routes.into_iter().map(row).collect();
        totals
    }
}

fn add_routes(routes: &mut RouteRows, stats: &WorkerStats) {
    for (name, counters) in stats.names.iter().zip(&stats.routes) {
        let row = routes.entry(name.clone()).or_default();
        row.0 += counters.requests.get();
        row.1 += counters.errors.get();
    }
}

impl WorkerStats {
    /// What a route is called in the log.
    pub(crate) fn name(&self, route: usize) -> String {
        match self.names.get(route) {
            Some((method, pattern)) => format!("{method} {pattern}"),
            None => "the fallback".to_owned(),
        }
    }
}

/// A request under way; dropped on its worker when it is not any more.
pub(crate) struct Active(Arc<WorkerStats>);

impl Active {
    pub(crate) fn new(stats: &Arc<WorkerStats>) -> Self {
        stats.in_flight.add(1);
        Self(Arc::clone(stats))
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get().saturating_sub(1));
    }
}

impl fmt::Debug for ServiceStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceStats").field("totals", &self.totals()).finish_non_exhaustive()
    }
}
