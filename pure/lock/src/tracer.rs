//! What each thread holds, and the end of a program whose threads contradict each other.

use crate::order::Orders;
use std::backtrace::Backtrace;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

/// How many times locks are taken between two words about how it goes.
const PROGRESS_EVERY: u64 = 1 << 20;

/// What a lock is known by.
#[derive(Debug)]
pub(crate) struct Tag {
    made_at: &'static Location<'static>,
    /// Which of all, counted from 1; 0 until it is first taken.
    lock: AtomicU64,
    /// Its kind, plus 1.
    kind: AtomicU64,
}

/// A lock that a thread has.
#[derive(Clone, Copy)]
struct Held {
    lock: u64,
    kind: u64,
    at: &'static Location<'static>,
}

/// Locks made at one place count as one, except among each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Name {
    Kind(u64),
    Lock(u64),
}

/// Where and what of.
type Made = (&'static str, u32, u32, &'static str);

struct Seen {
    kinds: HashMap<Made, u64>,
    orders: Orders<Name, String>,
}

static SEEN: LazyLock<Mutex<Seen>> =
    LazyLock::new(|| Mutex::new(Seen { kinds: HashMap::new(), orders: Orders::new() }));
static LOCKS: AtomicU64 = AtomicU64::new(0);
static TAKEN: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static HELD: RefCell<Vec<Held>> = const { RefCell::new(Vec::new()) };
    /// Orders that this thread knows to be noted: looking here costs no lock.
    static KNOWN: RefCell<HashSet<(Name, Name)>> = RefCell::new(HashSet::new());
}

/// Most orders that a thread knows by itself.
const KNOWN_MAX: usize = 1 << 16;

impl Tag {
    #[track_caller]
    pub(crate) const fn new() -> Self {
        Self { made_at: Location::caller(), lock: AtomicU64::new(0), kind: AtomicU64::new(0) }
    }

    /// Before a lock of `what` is waited for.
    pub(crate) fn wanted(&self, what: &'static str, at: &'static Location<'static>) {
        let (lock, kind) = (self.lock(), self.kind(what));
        let wanted = Held { lock, kind, at };
        // A thread that ends has nothing left to be compared with.
        let held = HELD.try_with(|held| held.borrow().clone()).unwrap_or_default();
        for before in &held {
            if before.lock == lock {
                fail(&again(*before, wanted, self.made_at, what));
            }
            let names = if before.kind == kind {
                (Name::Lock(before.lock), Name::Lock(lock))
            } else {
                (Name::Kind(before.kind), Name::Kind(kind))
            };
            if is_news(names) {
                compare(names, *before, wanted);
            }
        }
        count();
    }

    /// Once it is had, however it was come by.
    pub(crate) fn taken(&self, what: &'static str, at: &'static Location<'static>) {
        let held = Held { lock: self.lock(), kind: self.kind(what), at };
        let _thread_ends = HELD.try_with(|all| all.borrow_mut().push(held));
    }

    /// Once it is let go of.
    pub(crate) fn left(&self) {
        let lock = self.lock.load(Ordering::Relaxed);
        let _thread_ends = HELD.try_with(|held| {
            let mut held = held.borrow_mut();
            if let Some(place) = held.iter().rposition(|held| held.lock == lock) {
                held.remove(place);
            }
        });
    }

    fn lock(&self) -> u64 {
        match self.lock.load(Ordering::Relaxed) {
            0 => {
                let next = LOCKS.fetch_add(1, Ordering::Relaxed) + 1;
                let was = self.lock.compare_exchange(0, next, Ordering::Relaxed, Ordering::Relaxed);
                was.map_or_else(|other| other, |_| next)
            }
            lock => lock,
        }
    }

    fn kind(&self, what: &'static str) -> u64 {
        match self.kind.load(Ordering::Relaxed) {
            0 => {
                let place = self.made_at;
                let made = (place.file(), place.line(), place.column(), what);
                let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
                let next = seen.kinds.len() as u64 + 1;
                let kind = *seen.kinds.entry(made).or_insert(next);
                self.kind.store(kind, Ordering::Relaxed);
                kind
            }
            kind => kind,
        }
    }
}

/// Whether this thread has yet to have an order compared.
fn is_news(names: (Name, Name)) -> bool {
    let first = KNOWN.try_with(|known| {
        let mut known = known.borrow_mut();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(names)
    });
    first.unwrap_or(true)
}

fn compare(names: (Name, Name), before: Held, wanted: Held) {
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let Seen { kinds, orders } = &mut *seen;
    let text = || evidence(kinds, before, wanted);
    let contradiction = match orders.note(names.0, names.1, text) {
        Ok(()) => return,
        Err(contradiction) => contradiction.into_iter().cloned().collect::<Vec<_>>(),
    };
    let mut report = format!("Locks are taken in contradictory orders.\nNow {}", text());
    for step in contradiction {
        let _cannot_fail = write!(report, "\nbut before {step}");
    }
    drop(seen);
    fail(&report);
}

/// What is said of an order, with the stack of the thread.
fn evidence(kinds: &HashMap<Made, u64>, before: Held, wanted: Held) -> String {
    let thread = std::thread::current();
    let (name, stack) = (thread.name().unwrap_or("without name").to_owned(), Backtrace::force_capture());
    let (first, second) = (named(kinds, before.kind), named(kinds, wanted.kind));
    format!(
        "thread {name} takes lock {} at {},\n  which is {second},\nwhile it holds lock {}, taken at {},\n  which is {first}:\n{stack}",
        wanted.lock, wanted.at, before.lock, before.at
    )
}

fn named(kinds: &HashMap<Made, u64>, kind: u64) -> String {
    let found = kinds.iter().find(|(_, number)| **number == kind);
    found.map_or_else(
        || "unknown".to_owned(),
        |((file, line, column, what), _)| format!("of {what}, made at {file}:{line}:{column}"),
    )
}

fn again(before: Held, wanted: Held, made_at: &Location<'_>, what: &str) -> String {
    let stack = Backtrace::force_capture();
    format!(
        "A thread waits for itself: at {} it takes a lock that it has since {},\n  which is of {what}, made at {made_at}:\n{stack}",
        wanted.at, before.at
    )
}

/// Counts, and says now and then how it goes.
fn count() {
    let taken = TAKEN.fetch_add(1, Ordering::Relaxed) + 1;
    if taken.is_multiple_of(PROGRESS_EVERY) {
        let seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
        let (kinds, orders) = (seen.kinds.len(), seen.orders.count());
        drop(seen);
        say(&format!(
            "lock order: taken {taken} times; {kinds} kinds of locks in {orders} orders, none contradicts another\n"
        ));
    }
}

/// Says why and ends the program: a thread that panics might be one whose panic nobody hears of.
fn fail(report: &str) -> ! {
    say(&format!("\nlock order: {report}\n"));
    std::process::abort();
}

/// Past what a test harness keeps for itself: it would be lost with the program.
fn say(text: &str) {
    let _nobody_reads = std::io::stderr().lock().write_all(text.as_bytes());
}
