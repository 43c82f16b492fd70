//! Migrations: a list of SQL that only ever grows, of which a database has seen the first so many.

use super::SqliteError;
use rusqlite::{Connection, TransactionBehavior};

/// Runs what a database has not seen. Two processes that do so at once do it one after the other.
///
/// # Errors
/// [`SqliteError::Migration`], [`SqliteError::Newer`], what SQLite says.
pub(super) fn run(connection: &mut Connection, migrations: &[&str]) -> Result<(), SqliteError> {
    if migrations.is_empty() {
        // A database that is somebody else's: its count is not ours to judge.
        return Ok(());
    }
    loop {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let count: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let seen = usize::try_from(count).unwrap_or(usize::MAX);
        if seen > migrations.len() {
            return Err(SqliteError::Newer { found: seen, known: migrations.len() });
        }
        let Some(next) = migrations.get(seen) else { return Ok(()) };
        let failed = |reason| SqliteError::Migration { number: seen + 1, reason };
        transaction.execute_batch(next).map_err(failed)?;
        transaction.pragma_update(None, "user_version", count + 1).map_err(failed)?;
        transaction.commit().map_err(failed)?;
    }
}
