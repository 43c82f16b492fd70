//! Tasks: `!Send` futures of one worker, with wakers that any thread may use.

use crate::mailbox::{Mailbox, Message};
use crate::protocol::{ConnTask, Turn};
use crate::record::ConnId;
use ringway_heap::LocalFuture;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::ThreadId;

/// Tasks that start tasks when they are dropped are dropped this often.
const CLEAR_ROUNDS_MAX: usize = 8;

/// Names one task of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskId {
    index: u32,
    generation: u32,
}

impl TaskId {
    pub(crate) fn bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        let half = |bits: u64| u32::try_from(bits & 0xffff_ffff).unwrap_or(0);
        Self { index: half(bits), generation: half(bits >> 32) }
    }
}

/// What a task works for, and what its end means.
pub(crate) enum Work {
    /// A connection; the output is its next turn.
    Connection(ConnId, ConnTask),
    /// Itself.
    Free(LocalFuture<()>),
}

/// How a poll of a task ended.
pub(crate) enum Polled {
    Pending,
    Done,
    /// A connection's task is done.
    Turn(ConnId, Turn),
    /// The task panicked; its connection, if it had one, must close.
    Panicked(Option<ConnId>),
}

/// The tasks of a worker.
pub(crate) struct Tasks {
    entries: RefCell<Vec<Entry>>,
    free: RefCell<Vec<u32>>,
    mailbox: Mailbox,
    thread: ThreadId,
    /// The task that is being polled.
    current: Cell<Option<TaskId>>,
}

struct Entry {
    generation: u32,
    work: Option<Work>,
    waker: Waker,
    shared: Option<Arc<TaskWaker>>,
}

thread_local! {
    /// Tasks of this thread's worker to poll next.
    static RUN_QUEUE: RefCell<Vec<TaskId>> = const { RefCell::new(Vec::new()) };
}

impl Tasks {
    pub(crate) fn new(mailbox: Mailbox) -> Self {
        let thread = std::thread::current().id();
        Self {
            entries: RefCell::default(),
            free: RefCell::default(),
            mailbox,
            thread,
            current: Cell::new(None),
        }
    }

    /// What the worker is reached by from other threads.
    #[cfg(feature = "members")]
    pub(crate) fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// Adds a task and schedules its first poll.
    pub(crate) fn spawn(&self, work: Work) -> TaskId {
        let mut entries = self.entries.borrow_mut();
        let index = self.free.borrow_mut().pop().unwrap_or_else(|| {
            entries.push(Entry { generation: 1, work: None, waker: Waker::noop().clone(), shared: None });
            u32::try_from(entries.len() - 1).expect("fewer tasks than 2^32")
        });
        let entry = &mut entries[index as usize];
        let id = TaskId { index, generation: entry.generation };
        let shared = Arc::new(TaskWaker {
            id,
            thread: self.thread,
            mailbox: self.mailbox.clone(),
            is_mailed: AtomicBool::new(false),
        });
        entry.waker = Waker::from(Arc::clone(&shared));
        entry.shared = Some(shared);
        entry.work = Some(work);
        schedule(id);
        id
    }

    /// Polls a task once; a stale id is nothing.
    pub(crate) fn poll(&self, id: TaskId) -> Polled {
        // The task is outside the table while it runs, so that it may spawn others.
        let taken = {
            let mut entries = self.entries.borrow_mut();
            let entry = entries.get_mut(id.index as usize).filter(|entry| entry.generation == id.generation);
            entry.and_then(|entry| entry.work.take().map(|work| (work, entry.waker.clone())))
        };
        let Some((mut work, waker)) = taken else { return Polled::Done };
        let mut context = Context::from_waker(&waker);
        self.current.set(Some(id));
        let polled = catch_unwind(AssertUnwindSafe(|| match &mut work {
            Work::Connection(conn, future) => {
                future.as_mut().poll(&mut context).map(|turn| Polled::Turn(*conn, turn))
            }
            Work::Free(future) => future.as_mut().poll(&mut context).map(|()| Polled::Done),
        }));
        self.current.set(None);
        match polled {
            Ok(Poll::Pending) => match self.put_back(id, work) {
                None => Polled::Pending,
                Some(work) => {
                    discard(work);
                    Polled::Done
                }
            },
            Ok(Poll::Ready(outcome)) => {
                self.remove(id);
                discard(work);
                outcome
            }
            Err(_panic) => {
                let conn = match &work {
                    Work::Connection(conn, _) => Some(*conn),
                    Work::Free(_) => None,
                };
                self.remove(id);
                discard(work);
                Polled::Panicked(conn)
            }
        }
    }

    /// Whether `waker` is the task's own, which the engine uses at every event of its connection.
    pub(crate) fn owns(&self, id: TaskId, waker: &Waker) -> bool {
        let entries = self.entries.borrow();
        let entry = entries.get(id.index as usize).filter(|entry| entry.generation == id.generation);
        entry.is_some_and(|entry| entry.waker.will_wake(waker))
    }

    /// The task that is being polled, when `waker` is its own.
    pub(crate) fn current(&self, waker: &Waker) -> Option<TaskId> {
        self.current.get().filter(|id| self.owns(*id, waker))
    }

    /// A wake-up from another thread has arrived; the next one is to be mailed again.
    pub(crate) fn mailed(&self, bits: u64) {
        let id = TaskId::from_bits(bits);
        let entries = self.entries.borrow();
        let entry = entries.get(id.index as usize).filter(|entry| entry.generation == id.generation);
        if let Some(shared) = entry.and_then(|entry| entry.shared.as_ref()) {
            shared.is_mailed.store(false, Ordering::Release);
            schedule(id);
        }
    }

    /// Drops a task, wherever it waits; its operations are orphaned.
    pub(crate) fn remove(&self, id: TaskId) {
        let work = {
            let mut entries = self.entries.borrow_mut();
            let Some(entry) = entries.get_mut(id.index as usize) else { return };
            if entry.generation != id.generation {
                return;
            }
            entry.generation = entry.generation.wrapping_add(1).max(1);
            entry.waker = Waker::noop().clone();
            entry.shared = None;
            self.free.borrow_mut().push(id.index);
            entry.work.take()
        };
        // With the table released: a future's drop may reach it again.
        if let Some(work) = work {
            discard(work);
        }
    }

    /// Tasks that are not done.
    pub(crate) fn len(&self) -> usize {
        self.entries.borrow().len() - self.free.borrow().len()
    }

    /// Drops all tasks, and those that they start while they are dropped.
    pub(crate) fn clear(&self) {
        for _round in 0..CLEAR_ROUNDS_MAX {
            let ids: Vec<TaskId> = {
                let entries = self.entries.borrow();
                let id = |(index, entry): (usize, &Entry)| {
                    let index = u32::try_from(index).unwrap_or(0);
                    entry.work.as_ref().map(|_| TaskId { index, generation: entry.generation })
                };
                entries.iter().enumerate().filter_map(id).collect()
            };
            if ids.is_empty() {
                return;
            }
            ids.into_iter().for_each(|id| self.remove(id));
        }
    }

    /// Puts a task that is not done back into the table; returns it when it was removed while it ran.
    fn put_back(&self, id: TaskId, work: Work) -> Option<Work> {
        let mut entries = self.entries.borrow_mut();
        match entries.get_mut(id.index as usize) {
            Some(entry) if entry.generation == id.generation => entry.work.replace(work),
            _ => Some(work),
        }
    }
}

/// Drops a future; a drop that panics is contained.
fn discard(work: Work) {
    let _panicked = catch_unwind(AssertUnwindSafe(|| drop(work)));
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tasks({})", self.len())
    }
}

/// Puts a task of this thread's worker into the queue.
pub(crate) fn schedule(id: TaskId) {
    RUN_QUEUE.with_borrow_mut(|queue| {
        if queue.last() != Some(&id) {
            queue.push(id);
        }
    });
}

/// Takes the queue, swapping `empty` in.
pub(crate) fn take_scheduled(empty: &mut Vec<TaskId>) {
    RUN_QUEUE.with_borrow_mut(|queue| std::mem::swap(queue, empty));
}

/// Whether any task is to be polled.
pub(crate) fn any_scheduled() -> bool {
    RUN_QUEUE.with_borrow(|queue| !queue.is_empty())
}

struct TaskWaker {
    id: TaskId,
    thread: ThreadId,
    mailbox: Mailbox,
    /// A wake-up of this task is in the mailbox: another one would say nothing new.
    is_mailed: AtomicBool,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if std::thread::current().id() == self.thread {
            schedule(self.id);
        } else if !self.is_mailed.swap(true, Ordering::AcqRel) {
            self.mailbox.send(Message::Wake(self.id.bits()));
        }
    }
}
