//! What can go wrong with a database, sorted by who must act.

use ringway_http::status::Status;
use std::fmt;

/// Why the database did not do what it was asked for.
#[derive(Debug)]
pub enum SqliteError {
    /// SQLite refused: wrong SQL, a constraint, a type that does not fit, a disk that is full.
    Database(rusqlite::Error),
    /// Another process held the database's lock for longer than [`crate::sqlite::SqliteOptions::busy_ms`].
    Busy,
    /// It was not done within [`crate::sqlite::SqliteOptions::timeout_ms`]. Nothing of it is in the database.
    TimedOut,
    /// [`crate::sqlite::SqliteOptions::queue_max`] others wait already.
    QueueFull,
    /// The answer has more rows than [`crate::sqlite::SqliteOptions::rows_max`].
    TooManyRows,
    /// The closure panicked. Nothing of it is in the database.
    Panicked,
    /// The database's threads are gone.
    Closed,
    /// A migration failed; the database is as the ones before it left it.
    Migration {
        /// Its place in the list, from 1.
        number: usize,
        /// What SQLite says.
        reason: rusqlite::Error,
    },
    /// The database was migrated by a newer program.
    Newer {
        /// How many migrations it has seen.
        found: usize,
        /// How many this program knows.
        known: usize,
    },
    /// The database's threads could not be started.
    Threads(std::io::Error),
}

impl SqliteError {
    /// What a request is answered whose handler fails with this.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            // It may be better a moment later.
            Self::Busy | Self::TimedOut | Self::QueueFull | Self::Closed => Status::SERVICE_UNAVAILABLE,
            _ => Status::INTERNAL_SERVER_ERROR,
        }
    }
}

/// How SQLite answers a transaction that was interrupted, a lock that is held.
impl From<rusqlite::Error> for SqliteError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            // The deadline's handler is the only one who interrupts.
            Some(rusqlite::ErrorCode::OperationInterrupted) => Self::TimedOut,
            // SQLITE_BUSY: somebody else's transaction; SQLITE_LOCKED: within a shared cache, which we do not use.
            Some(rusqlite::ErrorCode::DatabaseBusy) => Self::Busy,
            _ => Self::Database(error),
        }
    }
}

impl fmt::Display for SqliteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(error) => write!(f, "SQLite: {error}"),
            Self::Busy => f.write_str("another process has locked the database"),
            Self::TimedOut => f.write_str("the database did not answer in time"),
            Self::QueueFull => f.write_str("too much waits for the database"),
            Self::TooManyRows => f.write_str("the answer has too many rows"),
            Self::Panicked => f.write_str("the work on the database panicked"),
            Self::Closed => f.write_str("the database is closed"),
            Self::Migration { number, reason } => write!(f, "migration {number} failed: {reason}"),
            Self::Newer { found, known } => write!(
                f,
                "the database has seen {found} migrations and this program knows {known}: it is of a newer one"
            ),
            Self::Threads(error) => write!(f, "the database's threads cannot be started: {error}"),
        }
    }
}

impl std::error::Error for SqliteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Database(error) | Self::Migration { reason: error, .. } => Some(error),
            Self::Threads(error) => Some(error),
            _ => None,
        }
    }
}
