//! Tests of the database on its threads: what is done, what is undone, who waits and who is told.

use super::{Durability, Row, Sqlite, SqliteError, SqliteOptions};
use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

const NOTES: &[&str] = &[
    "CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE)",
    "ALTER TABLE note ADD COLUMN seen INTEGER NOT NULL DEFAULT 0",
];

/// A directory that is gone with the test.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringway-sqlite-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn open(&self, options: &SqliteOptions) -> Sqlite {
        Sqlite::open(self.0.join("notes.db"), options, NOTES).expect("it opens")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _gone_already = std::fs::remove_dir_all(&self.0);
    }
}

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

fn add(notes: &Sqlite, text: &str) -> Result<usize, SqliteError> {
    wait(notes.execute("INSERT INTO note (text) VALUES (?1)", (text.to_owned(),)))
}

fn texts(notes: &Sqlite) -> Vec<String> {
    wait(notes.query("SELECT text FROM note ORDER BY id", (), |row| row.get(0))).expect("it answers")
}

/// Polls a future once, so that its job waits.
fn begin<F: Future>(future: &mut std::pin::Pin<Box<F>>) {
    assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

/// Keeps the writer busy until the returned sender is dropped.
fn busy_writer(notes: &Sqlite) -> std::sync::mpsc::Sender<()> {
    let (release, gate) = channel::<()>();
    let (started, is_running) = channel();
    let notes = notes.clone();
    std::thread::spawn(move || {
        let held = notes.exclusive(move |_| -> Result<(), SqliteError> {
            started.send(()).expect("the test waits");
            let _released = gate.recv();
            Ok(())
        });
        wait(held).expect("it has all its time");
    });
    is_running.recv().expect("it runs");
    release
}

#[test]
fn rows_are_typed_and_what_is_written_is_read() {
    let place = Place::new("rows");
    let notes = place.open(&SqliteOptions::default());
    assert_eq!(add(&notes, "one").expect("written"), 1);
    assert_eq!(add(&notes, "two").expect("written"), 1);
    assert_eq!(texts(&notes), ["one", "two"]);
    let pair = |row: &Row<'_>| -> rusqlite::Result<(i64, String)> { row.try_into() };
    let second = notes.query_one("SELECT id, text FROM note WHERE text = ?1", ("two",), pair);
    assert_eq!(wait(second).expect("it answers"), Some((2, "two".to_owned())));
    let none = notes.query_one("SELECT id, text FROM note WHERE id = ?1", (9,), pair);
    assert_eq!(wait(none).expect("it answers"), None);
    let wrong = wait(notes.query("SELECT text FROM note", (), |row| row.get::<_, i64>(0)));
    assert!(matches!(wrong, Err(SqliteError::Database(_))), "{wrong:?}");
    let read_only = wait(notes.query("DELETE FROM note RETURNING id", (), |row| row.get::<_, i64>(0)));
    assert!(matches!(read_only, Err(SqliteError::Database(_))), "a reader writes: {read_only:?}");
    assert_eq!(texts(&notes).len(), 2);
}

#[test]
fn a_database_in_memory_does_what_one_on_the_disk_does() {
    let notes = Sqlite::in_memory(&SqliteOptions::default(), NOTES).expect("it opens");
    add(&notes, "one").expect("written");
    assert_eq!(texts(&notes), ["one"]);
}

#[test]
fn migrations_run_once_and_newer_databases_are_left_alone() {
    let place = Place::new("migrations");
    let path = place.0.join("notes.db");
    let options = SqliteOptions::default();
    drop(Sqlite::open(&path, &options, &NOTES[..1]).expect("it opens"));
    let notes = place.open(&options);
    add(&notes, "kept").expect("written");
    let seen = wait(notes.query_one("SELECT seen FROM note", (), |row| row.get::<_, i64>(0)));
    assert_eq!(seen.expect("the second one ran"), Some(0));
    assert_eq!(texts(&place.open(&options)), ["kept"]);
    let older = Sqlite::open(&path, &options, &NOTES[..1]);
    assert!(matches!(older, Err(SqliteError::Newer { found: 2, known: 1 })), "{older:?}");
    let broken = [NOTES[0], NOTES[1], "CREATE TABLE other (id); CREATE TABEL x (id)"];
    let failed = Sqlite::open(&path, &options, &broken);
    assert!(matches!(failed, Err(SqliteError::Migration { number: 3, .. })), "{failed:?}");
    let half = wait(place.open(&options).query("SELECT id FROM other", (), |row| row.get::<_, i64>(0)));
    assert!(matches!(half, Err(SqliteError::Database(_))), "half a migration stayed: {half:?}");
}

#[test]
fn who_opens_a_database_on_each_worker_shares_it() {
    let place = Place::new("shared");
    let open = || Sqlite::open_shared(place.0.join("notes.db"), &SqliteOptions::default(), NOTES);
    let (first, second) = (open().expect("it opens"), open().expect("it is open"));
    assert!(Arc::ptr_eq(&first.inner, &second.inner));
    let other = Sqlite::open_shared(place.0.join("other.db"), &SqliteOptions::default(), NOTES);
    assert!(!Arc::ptr_eq(&first.inner, &other.expect("it opens").inner));
    add(&first, "one").expect("written");
    drop((first, second));
    assert_eq!(texts(&open().expect("it opens again")), ["one"]);
}

#[test]
fn what_fails_in_a_transaction_leaves_nothing() {
    #[derive(Debug)]
    enum Refusal {
        Poor,
        Database,
    }
    impl From<SqliteError> for Refusal {
        fn from(_: SqliteError) -> Self {
            Self::Database
        }
    }
    impl From<rusqlite::Error> for Refusal {
        fn from(_: rusqlite::Error) -> Self {
            Self::Database
        }
    }
    let place = Place::new("transaction");
    let notes = place.open(&SqliteOptions::default());
    let refused = wait(notes.transaction(|transaction| {
        transaction.execute("INSERT INTO note (text) VALUES ('half')", ())?;
        Err::<(), _>(Refusal::Poor)
    }));
    assert!(matches!(refused, Err(Refusal::Poor)));
    let panicked = wait(notes.transaction(|transaction| -> Result<(), SqliteError> {
        transaction.execute("INSERT INTO note (text) VALUES ('half')", ())?;
        panic!("on purpose")
    }));
    assert!(matches!(panicked, Err(SqliteError::Panicked)));
    assert_eq!(texts(&notes), [""; 0]);
    let done = wait(notes.transaction(|transaction| -> Result<i64, SqliteError> {
        transaction.execute("INSERT INTO note (text) VALUES ('whole')", ())?;
        Ok(transaction.last_insert_rowid())
    }));
    assert_eq!((done.expect("committed"), texts(&notes)), (1, vec!["whole".to_owned()]));
}

#[test]
fn writes_that_wait_together_stand_and_fall_each_by_itself() {
    let place = Place::new("group");
    let notes = place.open(&SqliteOptions::default());
    add(&notes, "taken").expect("written");
    let commits = |notes: &Sqlite| {
        // Counts how often the file's content changed for other connections: once a commit.
        let count = notes.query_one("PRAGMA data_version", (), |row| row.get::<_, i64>(0));
        wait(count).expect("it answers").expect("a row")
    };
    let one_reader = SqliteOptions { readers: 1, ..SqliteOptions::default() };
    let observer = place.open(&one_reader);
    let before = commits(&observer);
    let release = busy_writer(&notes);
    let mut waiting: Vec<_> = (0..100)
        .map(|number| {
            let text = if number % 10 == 3 { "taken".to_owned() } else { format!("note {number}") };
            let mut write = Box::pin(notes.write(move |connection| {
                let added = connection.execute("INSERT INTO note (text) VALUES (?1)", (&text,))?;
                assert!(!text.ends_with(" 57"), "on purpose");
                Ok(added)
            }));
            begin(&mut write);
            (number, write)
        })
        .collect();
    // Nobody waits for this one any more.
    drop(waiting.remove(20));
    drop(release);
    for (number, write) in waiting {
        let outcome = wait(write);
        match number {
            57 => assert!(matches!(outcome, Err(SqliteError::Panicked)), "{outcome:?}"),
            _ if number % 10 == 3 => assert!(matches!(outcome, Err(SqliteError::Database(_)))),
            _ => assert_eq!(outcome.expect("written"), 1),
        }
    }
    let texts = texts(&notes);
    assert_eq!(texts.len(), 1 + 100 - 10 - 2);
    assert!(!texts.iter().any(|text| text == "note 57" || text == "note 20"));
    assert_eq!(commits(&observer) - before, 1, "the disk is waited for once");
}

#[test]
fn a_write_that_takes_too_long_takes_nobody_with_it() {
    let place = Place::new("interrupt");
    let notes = place.open(&SqliteOptions { timeout_ms: 800, ..SqliteOptions::default() });
    let endless = "INSERT INTO note (text) WITH RECURSIVE number(n) AS \
         (SELECT 1 UNION ALL SELECT n + 1 FROM number) SELECT 'n' || n FROM number";
    let release = busy_writer(&notes);
    let mut first = Box::pin(notes.execute("INSERT INTO note (text) VALUES ('first')", ()));
    let mut long = Box::pin(notes.execute(endless, ()));
    begin(&mut first);
    begin(&mut long);
    drop(release);
    assert!(matches!(wait(long), Err(SqliteError::TimedOut)));
    // It had its answer ready when SQLite undid it; done again it may come too late, but never half.
    let outcome = wait(first);
    let expected = if outcome.is_ok() { vec!["first".to_owned()] } else { Vec::new() };
    assert!(outcome.is_ok() || matches!(outcome, Err(SqliteError::TimedOut)), "{outcome:?}");
    // Who has more time sees what is there.
    let patient = place.open(&SqliteOptions::default());
    assert_eq!(texts(&patient), expected);
    while let Err(error) = add(&notes, "after") {
        // A machine with much to do may be late by itself; the writer goes on.
        assert!(matches!(error, SqliteError::TimedOut), "{error}");
    }
    let started = Instant::now();
    let read = wait(notes.query(
        "WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number) SELECT max(n) FROM number",
        (),
        |row| row.get::<_, i64>(0),
    ));
    assert!(matches!(read, Err(SqliteError::TimedOut)), "{read:?}");
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(texts(&patient).last().map(String::as_str), Some("after"));
}

#[test]
fn limits_are_errors_that_say_so() {
    let place = Place::new("limits");
    let notes = place.open(&SqliteOptions { queue_max: 2, rows_max: 3, ..SqliteOptions::default() });
    let numbers = "WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number LIMIT ?1) SELECT n FROM number";
    let three = wait(notes.query(numbers, (3,), |row| row.get::<_, i64>(0)));
    assert_eq!(three.expect("as many as allowed"), [1, 2, 3]);
    let four = wait(notes.query(numbers, (4,), |row| row.get::<_, i64>(0)));
    assert!(matches!(four, Err(SqliteError::TooManyRows)));
    let release = busy_writer(&notes);
    let mut waiting: Vec<_> = (0..2).map(|n| Box::pin(notes.write(move |_| Ok(n)))).collect();
    waiting.iter_mut().for_each(begin);
    assert!(matches!(wait(notes.write(|_| Ok(()))), Err(SqliteError::QueueFull)));
    drop(release);
    assert_eq!(waiting.into_iter().map(|job| wait(job).expect("done")).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn what_nobody_waits_for_is_not_begun() {
    let place = Place::new("dropped");
    let notes = place.open(&SqliteOptions::default());
    let begun = Arc::new(AtomicUsize::new(0));
    let release = busy_writer(&notes);
    for _ in 0..3 {
        let begun = Arc::clone(&begun);
        let mut job = Box::pin(notes.transaction(move |_| -> Result<(), SqliteError> {
            begun.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }));
        begin(&mut job);
    }
    drop(release);
    // Behind those.
    add(&notes, "after").expect("written");
    assert_eq!(begun.load(Ordering::SeqCst), 0);
}

#[test]
fn a_lock_of_somebody_else_is_waited_for_and_then_named() {
    let place = Place::new("busy");
    let notes = place.open(&SqliteOptions { busy_ms: 50, ..SqliteOptions::default() });
    let other = rusqlite::Connection::open(place.0.join("notes.db")).expect("it opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("nobody writes");
    let outcome = add(&notes, "late");
    assert!(matches!(outcome, Err(SqliteError::Busy)), "{outcome:?}");
    assert_eq!(texts(&notes), [""; 0], "readers do not wait");
    other.execute_batch("COMMIT").expect("it commits");
    add(&notes, "in time").expect("written");
}

#[test]
fn jobs_that_wait_are_done_before_the_threads_end() {
    let place = Place::new("end");
    let notes = place.open(&SqliteOptions { durability: Durability::Kill, ..SqliteOptions::default() });
    let release = busy_writer(&notes);
    let (done, is_done) = channel();
    let copy = notes.clone();
    let waiter = std::thread::spawn(move || {
        let write =
            copy.write(|connection| connection.execute("INSERT INTO note (text) VALUES ('last')", ()));
        let mut write = Box::pin(write);
        begin(&mut write);
        done.send(()).expect("the test waits");
        wait(write)
    });
    is_done.recv().expect("it waits");
    drop(notes);
    drop(release);
    assert_eq!(waiter.join().expect("no panic").expect("written"), 1);
    assert_eq!(texts(&place.open(&SqliteOptions::default())), ["last"]);
}
