//! SQLite off the workers: one thread that writes, some that read, and answers that come back to whoever awaits them.
//!
//! The database is in write-ahead mode, so readers never wait for the writer. Small writes that wait at the same time share
//! one commit, so the disk is waited for once for all of them. Every job has a deadline that interrupts it. Nothing here needs
//! a worker: the futures are `Send` and may be awaited in a task of the tokio world too.

mod answer;
mod connection;
mod error;
mod migrate;
mod queue;
mod work;

pub use error::SqliteError;
pub use rusqlite;
pub use rusqlite::{Params, Row, Transaction};

use answer::pair;
use connection::Timed;
use queue::Queue;
use ringway_lock::Mutex;
use rusqlite::{Connection, TransactionBehavior};
use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};
use work::{Job, Queued, Write};

/// Stack of a database thread, in bytes.
const STACK_BYTES: usize = 1024 * 1024;

/// SQL as its author has it: a literal, or made for the occasion.
pub type Sql = Cow<'static, str>;

/// How a database is used.
#[derive(Clone, Copy, Debug)]
pub struct SqliteOptions {
    /// Threads that read; a database in memory has none beside the one that writes.
    pub readers: usize,
    /// Milliseconds from asking to the answer; a job that takes longer is interrupted and has changed nothing. A closure that
    /// does other things than SQL is not interrupted.
    pub timeout_ms: u64,
    /// Milliseconds that a lock of another process is waited for.
    pub busy_ms: u64,
    /// Most jobs that wait for the threads of a kind.
    pub queue_max: usize,
    /// Most rows of an answer.
    pub rows_max: usize,
    /// Prepared statements that each connection keeps.
    pub statements_max: usize,
    /// What a write that was acknowledged survives.
    pub durability: Durability,
}

/// What a write that was acknowledged survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The machine's sudden end: the disk is waited for.
    PowerLoss,
    /// The process's sudden end.
    Kill,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            readers: 2,
            timeout_ms: 10_000,
            busy_ms: 5_000,
            queue_max: 4_096,
            rows_max: 100_000,
            statements_max: 128,
            durability: Durability::PowerLoss,
        }
    }
}

/// A database, to be shared by all workers: clones are the same database. Its threads end with the last of them.
#[derive(Clone)]
pub struct Sqlite {
    inner: Arc<Inner>,
}

struct Inner {
    writes: Arc<Queue<Queued>>,
    /// The same as `writes` for a database in memory.
    reads: Arc<Queue<Queued>>,
    timeout: Duration,
    rows_max: usize,
}

impl Sqlite {
    /// Opens or makes the database at `path` and brings it to the state that `migrations` describe: each is run once and in
    /// order, in a transaction of its own, and a list only ever grows at its end (`PRAGMA user_version` counts them). Blocks:
    /// to be called before workers run, or on the pool.
    ///
    /// # Errors
    /// What SQLite says of the file; [`SqliteError::Migration`], [`SqliteError::Newer`], [`SqliteError::Threads`].
    pub fn open(
        path: impl AsRef<Path>,
        options: &SqliteOptions,
        migrations: &[&str],
    ) -> Result<Self, SqliteError> {
        Self::start(Some(path.as_ref()), options, migrations)
    }

    /// The same for who asks on each worker, as a service's set-up does: the first one opens the database, and the others get
    /// that one as long as anybody has it. Options and migrations are the first one's.
    ///
    /// # Errors
    /// As [`Sqlite::open`].
    pub fn open_shared(
        path: impl AsRef<Path>,
        options: &SqliteOptions,
        migrations: &[&str],
    ) -> Result<Self, SqliteError> {
        static OPEN: Mutex<Vec<(PathBuf, Weak<Inner>)>> = Mutex::new(Vec::new());
        let path = path.as_ref();
        // Whoever comes meanwhile waits for the migrations, as it must.
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(_, inner)| inner.strong_count() > 0);
        let known = open.iter().find(|(known, _)| known == path);
        if let Some(inner) = known.and_then(|(_, inner)| inner.upgrade()) {
            return Ok(Self { inner });
        }
        let this = Self::open(path, options, migrations)?;
        open.push((path.to_owned(), Arc::downgrade(&this.inner)));
        Ok(this)
    }

    /// A database in memory: gone with the process.
    ///
    /// # Errors
    /// As [`Sqlite::open`].
    pub fn in_memory(options: &SqliteOptions, migrations: &[&str]) -> Result<Self, SqliteError> {
        Self::start(None, options, migrations)
    }

    /// All rows of a query, each as `row` makes it: `|row| row.get(0)`, or `|row| row.try_into()` for a tuple.
    ///
    /// # Errors
    /// [`SqliteError`]; [`SqliteError::TooManyRows`] instead of a part of the answer.
    ///
    /// # Cancellation
    /// A dropped future is not begun, or its answer is not heard.
    pub async fn query<T, P, F>(
        &self,
        sql: impl Into<Sql>,
        params: P,
        mut row: F,
    ) -> Result<Vec<T>, SqliteError>
    where
        T: Send + 'static,
        P: Params + Send + 'static,
        F: FnMut(&Row<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        let (sql, rows_max) = (sql.into(), self.inner.rows_max);
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query(params)?;
            let mut found = Vec::new();
            while let Some(next) = rows.next()? {
                if found.len() >= rows_max {
                    return Err(SqliteError::TooManyRows);
                }
                found.push(row(next)?);
            }
            Ok(found)
        })
        .await
    }

    /// The first row of a query, if it has one.
    ///
    /// # Errors
    /// [`SqliteError`].
    ///
    /// # Cancellation
    /// As [`Sqlite::query`].
    pub async fn query_one<T, P, F>(
        &self,
        sql: impl Into<Sql>,
        params: P,
        row: F,
    ) -> Result<Option<T>, SqliteError>
    where
        T: Send + 'static,
        P: Params + Send + 'static,
        F: FnOnce(&Row<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        let sql = sql.into();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query(params)?;
            Ok(rows.next()?.map(row).transpose()?)
        })
        .await
    }

    /// Several queries that see one state of the database.
    ///
    /// # Errors
    /// [`SqliteError`], or the closure's own.
    ///
    /// # Cancellation
    /// As [`Sqlite::query`].
    pub async fn read<T, E>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<SqliteError> + Send + 'static,
    {
        self.alone(&self.inner.reads, move |timed| {
            work::in_transaction(timed, TransactionBehavior::Deferred, work)
        })
        .await
    }

    /// Carries one statement out and says how many rows it has changed.
    ///
    /// # Errors
    /// [`SqliteError`]: nothing has changed then.
    ///
    /// # Cancellation
    /// A dropped future has changed nothing, or everything.
    pub async fn execute<P>(&self, sql: impl Into<Sql>, params: P) -> Result<usize, SqliteError>
    where
        P: Params + Clone + Send + 'static,
    {
        let sql = sql.into();
        self.write(move |connection| connection.prepare_cached(&sql)?.execute(params.clone())).await
    }

    /// A small write of several statements, done whole or not at all. It shares a commit with others that wait, and may be
    /// done again from its beginning where SQLite has rolled all of them back: it must not end the transaction, nor count.
    ///
    /// # Errors
    /// [`SqliteError`]: nothing has changed then.
    ///
    /// # Cancellation
    /// As [`Sqlite::execute`].
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, SqliteError> {
        let (teller, answer) = pair();
        let job = Job::Shared(Box::new(Write::new(work, teller)));
        self.inner.writes.push(self.queued(job))?;
        answer.await
    }

    /// A transaction: what the closure returns as an error rolls it back. It has the database for itself from its beginning
    /// (`BEGIN IMMEDIATE`), and is done once.
    ///
    /// # Errors
    /// [`SqliteError`], or the closure's own: nothing has changed then.
    ///
    /// # Cancellation
    /// As [`Sqlite::execute`].
    pub async fn transaction<T, E>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<SqliteError> + Send + 'static,
    {
        self.alone(&self.inner.writes, move |timed| {
            work::in_transaction(timed, TransactionBehavior::Immediate, work)
        })
        .await
    }

    /// Work outside of a transaction, such as `VACUUM`. A transaction that it leaves open is rolled back.
    ///
    /// # Errors
    /// [`SqliteError`], or the closure's own.
    ///
    /// # Cancellation
    /// A dropped future is not begun, or goes on unheard.
    pub async fn exclusive<T, E>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<SqliteError> + Send + 'static,
    {
        self.alone(&self.inner.writes, move |timed| work(&timed.connection)).await
    }

    /// Work that is waited for with the thread: for what is set up before workers run.
    #[cfg(feature = "sessions")]
    pub(crate) fn at_once<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, SqliteError> {
        let (sender, receiver) = std::sync::mpsc::channel();
        let job = move |timed: Result<&mut Timed, SqliteError>| {
            let done = timed.and_then(|timed| work::guard(|| Ok(work(&timed.connection)?)));
            // Who asked waits below.
            let _heard = sender.send(done);
        };
        self.inner.writes.push(self.queued(Job::Alone(Box::new(job))))?;
        receiver.recv().unwrap_or(Err(SqliteError::Closed))
    }

    fn start(path: Option<&Path>, options: &SqliteOptions, migrations: &[&str]) -> Result<Self, SqliteError> {
        let mut writer = connection::writer(path, options)?;
        migrate::run(&mut writer.connection, migrations)?;
        let writes = Arc::new(Queue::new(options.queue_max.max(1)));
        let reads = match path {
            Some(_) => Arc::new(Queue::new(options.queue_max.max(1))),
            None => Arc::clone(&writes),
        };
        // Whoever fails on the way closes the queues and so ends the threads that run.
        let inner = Inner {
            writes,
            reads,
            timeout: Duration::from_millis(options.timeout_ms),
            rows_max: options.rows_max,
        };
        let this = Self { inner: Arc::new(inner) };
        let queue = Arc::clone(&this.inner.writes);
        spawn("sqlite-write", move || work::write(writer, &queue))?;
        if let Some(path) = path {
            for _ in 0..options.readers.max(1) {
                let reader = connection::reader(path, options)?;
                let queue = Arc::clone(&this.inner.reads);
                spawn("sqlite-read", move || work::read(reader, &queue))?;
            }
        }
        Ok(this)
    }

    /// Has a thread of `queue` do `work` with its connection.
    async fn alone<T, E>(
        &self,
        queue: &Queue<Queued>,
        work: impl FnOnce(&mut Timed) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<SqliteError> + Send + 'static,
    {
        let (teller, answer) = pair();
        let job = move |timed: Result<&mut Timed, SqliteError>| {
            if teller.is_wanted() {
                let work = |timed: &mut Timed| work::guard(|| work(timed));
                teller.tell(timed.map_err(E::from).and_then(work));
            }
        };
        queue.push(self.queued(Job::Alone(Box::new(job))))?;
        answer.await
    }

    fn queued(&self, job: Job) -> Queued {
        Queued { job, until: Instant::now() + self.inner.timeout }
    }
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sqlite")
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.writes.close();
        self.reads.close();
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), SqliteError> {
    let builder = std::thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES);
    builder.spawn(run).map(drop).map_err(SqliteError::Threads)
}

#[cfg(test)]
mod tests;
