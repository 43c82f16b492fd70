//! What the database's threads do: jobs, groups of writes that are committed together, and the two loops.

use super::SqliteError;
use super::answer::Teller;
use super::connection::Timed;
use super::queue::Queue;
use rusqlite::{Connection, TransactionBehavior};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// Most writes that are committed together.
const GROUP_MAX: usize = 256;

/// Something to be done on a connection.
pub(super) enum Job {
    /// A small write that may be done again, so that it can share a commit with others.
    Shared(Box<dyn Shared>),
    /// Something that has the connection for itself, or is told why it does not get it.
    Alone(Alone),
}

/// See [`Job::Alone`].
pub(super) type Alone = Box<dyn FnOnce(Result<&mut Timed, SqliteError>) + Send>;

/// A job and the time until which somebody waits for it.
pub(super) struct Queued {
    pub(super) job: Job,
    pub(super) until: Instant,
}

/// A write of a group.
pub(super) trait Shared: Send {
    /// Whether somebody still waits for it.
    fn is_wanted(&self) -> bool;
    /// Does it and keeps what came of it; true when it is to be committed.
    fn attempt(&mut self, connection: &Connection) -> bool;
    /// Tells what came of it.
    fn tell(self: Box<Self>);
    /// Tells that it was not done.
    fn refuse(self: Box<Self>, error: SqliteError);
}

/// A write as its author gave it.
pub(super) struct Write<T, F> {
    work: F,
    outcome: Option<Result<T, SqliteError>>,
    teller: Teller<T, SqliteError>,
}

impl<T, F> Write<T, F> {
    pub(super) fn new(work: F, teller: Teller<T, SqliteError>) -> Self {
        Self { work, outcome: None, teller }
    }
}

impl<T, F> Shared for Write<T, F>
where
    T: Send,
    F: FnMut(&Connection) -> rusqlite::Result<T> + Send,
{
    fn is_wanted(&self) -> bool {
        self.teller.is_wanted()
    }

    fn attempt(&mut self, connection: &Connection) -> bool {
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.work)(connection)));
        let outcome = outcome.map_or(Err(SqliteError::Panicked), |done| done.map_err(SqliteError::from));
        let is_done = outcome.is_ok();
        self.outcome = Some(outcome);
        is_done
    }

    fn tell(self: Box<Self>) {
        let this = *self;
        this.teller.tell(this.outcome.unwrap_or(Err(SqliteError::Closed)));
    }

    fn refuse(self: Box<Self>, error: SqliteError) {
        self.teller.tell(Err(error));
    }
}

/// The writer's loop.
pub(super) fn write(mut timed: Timed, queue: &Queue<Queued>) {
    let mut jobs = VecDeque::new();
    while queue.take(&mut jobs, GROUP_MAX) {
        while !jobs.is_empty() {
            let group = leading_group(&mut jobs);
            if group.is_empty() {
                jobs.pop_front().into_iter().for_each(|queued| single(&mut timed, queued));
            } else {
                together(&mut timed, group);
            }
        }
    }
    // SQLite's advice for connections that lived long; it is a matter of speed only.
    let _statistics = timed.connection.execute_batch("PRAGMA optimize");
}

/// A reader's loop.
pub(super) fn read(mut timed: Timed, queue: &Queue<Queued>) {
    let mut jobs = VecDeque::new();
    while queue.take(&mut jobs, 1) {
        jobs.drain(..).for_each(|queued| single(&mut timed, queued));
    }
}

/// Work of an author in a transaction of its own; what it leaves open is rolled back.
pub(super) fn in_transaction<T, E: From<SqliteError>>(
    timed: &mut Timed,
    behavior: TransactionBehavior,
    work: impl FnOnce(&rusqlite::Transaction<'_>) -> Result<T, E>,
) -> Result<T, E> {
    let begun = timed.connection.transaction_with_behavior(behavior);
    let transaction = begun.map_err(|error| E::from(SqliteError::from(error)))?;
    // One that is dropped rolls back.
    let value = guard(|| work(&transaction))?;
    transaction.commit().map_err(|error| E::from(SqliteError::from(error)))?;
    Ok(value)
}

/// A panic of `work` is its error.
pub(super) fn guard<T, E: From<SqliteError>>(work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_panic| Err(SqliteError::Panicked.into()))
}

/// The writes at the queue's front that may share a commit.
fn leading_group(jobs: &mut VecDeque<Queued>) -> Vec<(Box<dyn Shared>, Instant)> {
    let mut group = Vec::new();
    while let Some(queued) = jobs.pop_front() {
        match queued.job {
            Job::Shared(job) => group.push((job, queued.until)),
            Job::Alone(_) => {
                jobs.push_front(queued);
                break;
            }
        }
    }
    group
}

/// Does one job by itself.
fn single(timed: &mut Timed, queued: Queued) {
    let is_late = Instant::now() >= queued.until;
    match queued.job {
        Job::Shared(job) if !job.is_wanted() => {}
        Job::Shared(job) if is_late => job.refuse(SqliteError::TimedOut),
        Job::Shared(job) => by_itself(timed, job, queued.until),
        Job::Alone(job) if is_late => job(Err(SqliteError::TimedOut)),
        Job::Alone(job) => {
            timed.limit(queued.until);
            job(Ok(timed));
        }
    }
    timed.clean();
}

fn by_itself(timed: &mut Timed, mut job: Box<dyn Shared>, until: Instant) {
    timed.limit(until);
    let mut has_failed = false;
    let committed = in_transaction(timed, TransactionBehavior::Immediate, |transaction| {
        has_failed = !job.attempt(transaction);
        if has_failed { Err(SqliteError::Closed) } else { Ok(()) }
    });
    match committed {
        // What failed has its own reason.
        Err(_) if has_failed => job.tell(),
        Err(error) => job.refuse(error),
        Ok(()) => job.tell(),
    }
}

/// Does writes in one transaction, so that the disk is waited for once. Each stands or falls by itself; where SQLite rolls all
/// of them back, they are done again one by one.
fn together(timed: &mut Timed, group: Vec<(Box<dyn Shared>, Instant)>) {
    if group.len() == 1 || timed.connection.execute_batch("BEGIN IMMEDIATE").is_err() {
        return one_by_one(timed, group);
    }
    let mut pending = Vec::with_capacity(group.len());
    let mut group = group.into_iter();
    while let Some((mut job, until)) = group.next() {
        if !job.is_wanted() {
            continue;
        }
        if Instant::now() >= until {
            job.refuse(SqliteError::TimedOut);
            continue;
        }
        timed.limit(until);
        let outcome = guarded(&timed.connection, &mut *job);
        timed.unlimited();
        match outcome {
            Guarded::Kept => pending.push((job, until)),
            Guarded::Failed => job.tell(),
            Guarded::Lost(error) => job.refuse(error.into()),
            Guarded::Undone { has_failed } => {
                if has_failed {
                    job.tell();
                } else {
                    pending.push((job, until));
                }
                pending.extend(group);
                return one_by_one(timed, pending);
            }
        }
    }
    if timed.connection.execute_batch("COMMIT").is_ok() {
        pending.into_iter().for_each(|(job, _)| job.tell());
    } else {
        timed.clean();
        one_by_one(timed, pending);
    }
}

fn one_by_one(timed: &mut Timed, jobs: Vec<(Box<dyn Shared>, Instant)>) {
    for (job, until) in jobs {
        single(timed, Queued { job: Job::Shared(job), until });
    }
}

/// What became of a write within a group.
enum Guarded {
    /// It stands, if the group is committed.
    Kept,
    /// It failed, has changed nothing, and has its reason.
    Failed,
    /// It could not be fenced off.
    Lost(rusqlite::Error),
    /// SQLite has rolled back the whole group: an interrupt, a full disk.
    Undone { has_failed: bool },
}

/// Attempts a write such that its failure leaves what others have done.
fn guarded(connection: &Connection, job: &mut dyn Shared) -> Guarded {
    let run = |sql| connection.prepare_cached(sql).and_then(|mut statement| statement.execute(()));
    if let Err(error) = run("SAVEPOINT one") {
        return Guarded::Lost(error);
    }
    let has_failed = !job.attempt(connection);
    if connection.is_autocommit() {
        return Guarded::Undone { has_failed };
    }
    if !has_failed {
        return match run("RELEASE one") {
            Ok(_) => Guarded::Kept,
            Err(error) => {
                let _undone = run("ROLLBACK TO one");
                Guarded::Lost(error)
            }
        };
    }
    match run("ROLLBACK TO one").and_then(|_| run("RELEASE one")) {
        Ok(_) => Guarded::Failed,
        Err(_) => {
            // What it has done must not be committed with the others.
            let _rolled_back_already = connection.execute_batch("ROLLBACK");
            Guarded::Undone { has_failed }
        }
    }
}
