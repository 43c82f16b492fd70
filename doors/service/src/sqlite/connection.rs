//! One connection to a database on its thread: how it is opened, and the deadline that interrupts what takes too long.

use super::{Durability, SqliteError, SqliteOptions};
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Steps of SQLite's machine between two looks at the clock: some tens of microseconds.
const STEPS_BETWEEN_LOOKS: i32 = 1_000;

/// Bytes of the log that are kept after it was emptied.
const LOG_BYTES_KEPT: i64 = 16 * 1024 * 1024;

/// No deadline.
const NEVER: u64 = u64::MAX;

/// A connection that gives up what takes too long.
pub(super) struct Timed {
    pub(super) connection: Connection,
    base: Instant,
    /// Milliseconds after `base`.
    until_ms: Arc<AtomicU64>,
}

/// Opens the connection that writes. The database is in write-ahead mode afterwards.
///
/// # Errors
/// What SQLite says.
pub(super) fn writer(path: Option<&Path>, options: &SqliteOptions) -> Result<Timed, SqliteError> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let timed = match path {
        Some(path) => Timed::new(Connection::open_with_flags(path, flags)?, options)?,
        None => Timed::new(Connection::open_in_memory_with_flags(flags)?, options)?,
    };
    let synchronous = match options.durability {
        Durability::PowerLoss => "FULL",
        Durability::Kill => "NORMAL",
    };
    let connection = &timed.connection;
    // Readers do not wait for the writer, nor it for them.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES_KEPT)?;
    Ok(timed)
}

/// Opens a connection that only reads.
///
/// # Errors
/// What SQLite says.
pub(super) fn reader(path: &Path, options: &SqliteOptions) -> Result<Timed, SqliteError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Timed::new(Connection::open_with_flags(path, flags)?, options)
}

impl Timed {
    fn new(mut connection: Connection, options: &SqliteOptions) -> Result<Self, SqliteError> {
        connection.busy_timeout(Duration::from_millis(options.busy_ms))?;
        connection.set_prepared_statement_cache_capacity(options.statements_max);
        connection.pragma_update(None, "foreign_keys", true)?;
        let (base, until_ms) = (Instant::now(), Arc::new(AtomicU64::new(NEVER)));
        let until = Arc::clone(&until_ms);
        let is_late = move || {
            let until_ms = until.load(Ordering::Relaxed);
            until_ms != NEVER && since(base, Instant::now()) >= until_ms
        };
        connection.progress_handler(STEPS_BETWEEN_LOOKS, Some(is_late))?;
        Ok(Self { connection, base, until_ms })
    }

    /// From now on SQL is interrupted at `until`.
    pub(super) fn limit(&self, until: Instant) {
        self.until_ms.store(since(self.base, until), Ordering::Relaxed);
    }

    /// Nothing is interrupted any more.
    pub(super) fn unlimited(&self) {
        self.until_ms.store(NEVER, Ordering::Relaxed);
    }

    /// Ends a transaction that somebody began and did not end.
    pub(super) fn clean(&self) {
        self.unlimited();
        if !self.connection.is_autocommit() {
            // It fails only where SQLite has rolled back by itself meanwhile.
            let _rolled_back_already = self.connection.execute_batch("ROLLBACK");
        }
    }
}

fn since(base: Instant, at: Instant) -> u64 {
    u64::try_from(at.saturating_duration_since(base).as_millis()).unwrap_or(NEVER - 1)
}
