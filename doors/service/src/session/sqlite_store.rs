//! Sessions in SQLite: what was acknowledged outlives the process.

use super::SessionError;
use super::options::SessionOptions;
use super::record::{Change, Key, Life, Record};
use crate::sqlite::rusqlite::{Connection, OptionalExtension, Row};
use crate::sqlite::{Sqlite, SqliteError, rusqlite};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Seconds between two clearings away of sessions whose time is over.
const CLEAR_S: u64 = 60;

/// The same where there are as many as there may be.
const CLEAR_FULL_S: u64 = 2;

/// Most of them that one clearing takes away.
const CLEARED_AT_ONCE: u32 = 10_000;

/// Sessions that make room together.
const EVICTED_AT_ONCE: u32 = 64;

/// The table, beside whatever the service keeps in the same database.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS ringway_session (
    hash BLOB PRIMARY KEY, user TEXT, created INTEGER NOT NULL, used INTEGER NOT NULL, data TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS ringway_session_used ON ringway_session (user IS NOT NULL, used)";

/// The sessions of a database.
#[derive(Debug)]
pub(super) struct SqliteStore {
    database: Sqlite,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    life: Life,
    sessions_max: usize,
    /// Sessions, as far as this process knows.
    count: AtomicUsize,
    /// When ended ones are cleared away again.
    clear_at_s: AtomicU64,
}

impl SqliteStore {
    /// Makes the table. Blocks.
    ///
    /// # Errors
    /// What SQLite says.
    pub(super) fn new(database: &Sqlite, options: &SessionOptions) -> Result<Self, SqliteError> {
        let count = database.at_once(|connection| {
            connection.execute_batch(TABLE)?;
            count(connection)
        })?;
        let shared = Shared {
            life: Life { idle_s: options.idle_s, absolute_s: options.absolute_s },
            sessions_max: options.sessions_max,
            count: AtomicUsize::new(count),
            clear_at_s: AtomicU64::new(0),
        };
        Ok(Self { database: database.clone(), shared: Arc::new(shared) })
    }

    pub(super) async fn load(&self, key: &Key, now_s: u64) -> Result<Option<Record>, SqliteError> {
        let sql = "SELECT user, created, used, data FROM ringway_session WHERE hash = ?1";
        let found = self.database.query_one(sql, (*key,), record).await?;
        Ok(found.filter(|record| record.is_alive(self.shared.life, now_s)))
    }

    pub(super) async fn apply(
        &self,
        from: Option<Key>,
        to: Key,
        change: Change,
        now_s: u64,
    ) -> Result<bool, SessionError> {
        let shared = Arc::clone(&self.shared);
        let work = move |connection: &Connection| shared.apply(connection, from, to, &change, now_s);
        match self.database.write(work).await? {
            Applied::Changed => Ok(true),
            Applied::Made { count } => {
                self.shared.count.store(count, Ordering::Relaxed);
                Ok(true)
            }
            Applied::Gone => Ok(false),
            Applied::Full => Err(SessionError::Full),
        }
    }

    pub(super) async fn remove(&self, key: Key) -> Result<(), SqliteError> {
        self.database.execute("DELETE FROM ringway_session WHERE hash = ?1", (key,)).await.map(drop)
    }
}

/// What became of a change.
enum Applied {
    Changed,
    /// There is one more; so many now.
    Made {
        count: usize,
    },
    Gone,
    Full,
}

impl Shared {
    /// May be done again from its beginning: nothing here but the database changes.
    fn apply(
        &self,
        connection: &Connection,
        from: Option<Key>,
        to: Key,
        change: &Change,
        now_s: u64,
    ) -> rusqlite::Result<Applied> {
        let found = match from {
            Some(from) => find(connection, &from)?.filter(|record| record.is_alive(self.life, now_s)),
            None => None,
        };
        if found.is_none() && from.is_some() && !change.is_log_in {
            return Ok(Applied::Gone);
        }
        let is_made = found.is_none();
        let new = || Record { created_s: now_s, used_s: now_s, ..Record::default() };
        let mut record = found.unwrap_or_else(new);
        record.apply(change, now_s);
        let mut count = self.count.load(Ordering::Relaxed);
        if is_made {
            count = self.make_room(connection, count, record.user.is_some(), now_s)?;
            if count >= self.sessions_max {
                return Ok(Applied::Full);
            }
        }
        if let Some(from) = from.filter(|from| *from != to) {
            connection.prepare_cached("DELETE FROM ringway_session WHERE hash = ?1")?.execute((from,))?;
        }
        write(connection, &to, &record)?;
        Ok(if is_made { Applied::Made { count: count + 1 } } else { Applied::Changed })
    }

    /// Clears ended sessions away now and then, and at the limit who was away longest, as sessions in memory do; how many
    /// are left.
    fn make_room(
        &self,
        connection: &Connection,
        mut count: usize,
        is_known: bool,
        now_s: u64,
    ) -> rusqlite::Result<usize> {
        if now_s >= self.clear_at_s.load(Ordering::Relaxed) {
            // Nobody uses one whose absolute end has come, so it is idle, too, before long.
            connection.execute(
                "DELETE FROM ringway_session WHERE hash IN (SELECT hash FROM ringway_session \
                 WHERE (user IS NOT NULL) IN (0, 1) AND used <= ?1 LIMIT ?2)",
                (signed(now_s.saturating_sub(self.life.idle_s)), CLEARED_AT_ONCE),
            )?;
            // Other processes have their own idea of the number.
            count = self::count(connection)?;
            let pause_s = if count >= self.sessions_max { CLEAR_FULL_S } else { CLEAR_S };
            self.clear_at_s.store(now_s + pause_s, Ordering::Relaxed);
        }
        if count >= self.sessions_max {
            count -= connection.execute(
                "DELETE FROM ringway_session WHERE hash IN (SELECT hash FROM ringway_session \
                 WHERE (user IS NOT NULL) <= ?1 ORDER BY user IS NOT NULL, used LIMIT ?2)",
                (is_known, EVICTED_AT_ONCE),
            )?;
        }
        Ok(count)
    }
}

fn count(connection: &Connection) -> rusqlite::Result<usize> {
    let count: i64 = connection.query_row("SELECT count(*) FROM ringway_session", (), |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(0))
}

fn find(connection: &Connection, key: &Key) -> rusqlite::Result<Option<Record>> {
    connection
        .prepare_cached("SELECT user, created, used, data FROM ringway_session WHERE hash = ?1")?
        .query_row((key,), record)
        .optional()
}

fn write(connection: &Connection, key: &Key, record: &Record) -> rusqlite::Result<()> {
    let data = serde_json::to_string(&record.values)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    connection
        .prepare_cached("INSERT OR REPLACE INTO ringway_session (hash, user, created, used, data) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute((key, &record.user, signed(record.created_s), signed(record.used_s), data))?;
    Ok(())
}

fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    let data: String = row.get(3)?;
    let values = serde_json::from_str(&data).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(3, rusqlite::types::Type::Text, error.into())
    })?;
    let time = |column: usize| row.get(column).map(|time: i64| u64::try_from(time).unwrap_or(0));
    Ok(Record { user: row.get(0)?, created_s: time(1)?, used_s: time(2)?, values })
}

/// SQLite's numbers have a sign.
fn signed(time_s: u64) -> i64 {
    i64::try_from(time_s).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::record::Id;
    use crate::sqlite::SqliteOptions;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn wait<T>(future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return value;
            }
            std::thread::yield_now();
        }
    }

    fn store(sessions_max: usize) -> (Sqlite, SqliteStore) {
        let database = Sqlite::in_memory(&SqliteOptions::default(), &[]).expect("it opens");
        let options =
            SessionOptions { idle_s: 100, absolute_s: 1_000, sessions_max, ..SessionOptions::default() };
        let store = SqliteStore::new(&database, &options).expect("a table");
        (database, store)
    }

    fn key(number: u8) -> Key {
        [number; 32]
    }

    fn log_in(name: &str) -> Change {
        Change { user: Some(Some(name.to_owned())), is_log_in: true, ..Change::default() }
    }

    fn value(text: &str) -> Change {
        Change { values: [("v".to_owned(), Some(text.to_owned()))].into(), ..Change::default() }
    }

    fn is_there(store: &SqliteStore, number: u8, now_s: u64) -> bool {
        wait(store.load(&key(number), now_s)).expect("it answers").is_some()
    }

    #[test]
    fn sessions_end_and_are_cleared_away() {
        let (database, store) = store(100);
        assert_eq!(wait(store.apply(None, key(1), value("a"), 0)), Ok(true));
        for now_s in (90..1_000).step_by(90) {
            assert_eq!(wait(store.apply(Some(key(1)), key(1), Change::default(), now_s)), Ok(true));
            assert!(is_there(&store, 1, now_s + 99) || now_s + 99 >= 1_000);
        }
        assert!(!is_there(&store, 1, 1_000), "however busy it is");
        assert_eq!(wait(store.apply(None, key(2), value("b"), 2_000)), Ok(true));
        let count =
            wait(database.query_one("SELECT count(*) FROM ringway_session", (), |row| row.get::<_, u32>(0)));
        assert_eq!(count.expect("it answers"), Some(1), "the other is cleared away");
        assert!(!is_there(&store, 2, 2_100));
        assert_eq!(wait(store.apply(Some(key(2)), key(2), value("c"), 2_100)), Ok(false));
    }

    #[test]
    fn at_the_limit_strangers_go_before_those_who_are_logged_in() {
        let (_database, store) = store(4);
        for number in 0..2 {
            assert_eq!(wait(store.apply(None, key(number), log_in("ada"), 0)), Ok(true));
        }
        for number in 2..9 {
            assert_eq!(wait(store.apply(None, key(number), value("x"), u64::from(number))), Ok(true));
        }
        assert!(is_there(&store, 0, 9) && is_there(&store, 1, 9) && is_there(&store, 8, 9));
        for number in 9..13 {
            assert_eq!(wait(store.apply(None, key(number), log_in("bob"), 9)), Ok(true));
        }
        assert!((9..13).filter(|number| is_there(&store, *number, 9)).count() <= 4);
    }

    #[test]
    fn who_reads_the_database_learns_no_id() {
        let (database, store) = store(4);
        let id = Id::random().expect("random");
        assert_eq!(wait(store.apply(None, id.key(), log_in("ada"), 0)), Ok(true));
        let hash = database.query_one("SELECT hash FROM ringway_session", (), |row| row.get::<_, Vec<u8>>(0));
        let hash = wait(hash).expect("it answers").expect("a row");
        assert_eq!(hash, id.key());
        assert_eq!(Id::parse(&id.text()).map(|id| id.key()), Some(id.key()));
        assert!(!hash.windows(8).any(|bytes| id.text().as_bytes().windows(8).any(|text| text == bytes)));
    }
}
