//! The bounded thread pool: blocking work off the workers.

use ringway_lock::Mutex;
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

type Job = Box<dyn FnOnce() + Send>;

/// Stack of a pool thread, in bytes.
const STACK_BYTES: usize = 256 * 1024;

/// Threads for blocking work, started when first needed, with a bounded queue.
#[derive(Clone)]
pub struct ThreadPool {
    inner: Arc<Inner>,
}

struct Inner {
    threads_max: usize,
    sender: SyncSender<Job>,
    receiver: Arc<Mutex<Receiver<Job>>>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    threads: usize,
    /// Threads without a job.
    idle: usize,
    /// Jobs that no thread has taken yet.
    queued: usize,
}

/// Why work was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolError {
    /// The queue is full.
    Full,
    /// No thread could be started.
    NoThread,
    /// The work panicked.
    Panicked,
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the thread pool's queue is full",
            Self::NoThread => "no thread could be started",
            Self::Panicked => "the work panicked",
        })
    }
}

impl std::error::Error for PoolError {}

impl ThreadPool {
    /// A pool of at most `threads_max` threads with room for `queue_max` waiting jobs.
    #[must_use]
    pub fn new(threads_max: usize, queue_max: usize) -> Self {
        let (sender, receiver) = sync_channel(queue_max);
        let inner = Inner {
            threads_max: threads_max.max(1),
            sender,
            receiver: Arc::new(Mutex::new(receiver)),
            state: Arc::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Runs `work` on a pool thread. Dropping the returned future lets the work finish unheard.
    ///
    /// # Errors
    /// At once, when the queue is full or no thread can be had.
    pub fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Pooled<T>, PoolError> {
        let slot = Arc::new(Mutex::new(Slot { value: None, waker: None }));
        let result = Arc::clone(&slot);
        let job = move || {
            let value = catch_unwind(AssertUnwindSafe(work)).map_err(|_panic| PoolError::Panicked);
            let waker = {
                let mut slot = result.lock().unwrap_or_else(PoisonError::into_inner);
                slot.value = Some(value);
                slot.waker.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        };
        // Counted before it can be taken. A thread per waiting job, as far as allowed: one job must not wait for another.
        let mut state = self.inner.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.ensure_thread(&mut state).map_err(|_os| PoolError::NoThread)?;
        match self.inner.sender.try_send(Box::new(job)) {
            Ok(()) => {
                state.queued += 1;
                Ok(Pooled { slot })
            }
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(PoolError::Full),
        }
    }

    /// Starts a thread when none is left for one more job and one more is allowed.
    fn ensure_thread(&self, state: &mut State) -> io::Result<()> {
        if state.idle > state.queued || state.threads >= self.inner.threads_max {
            return Ok(());
        }
        let (receiver, shared) = (Arc::clone(&self.inner.receiver), Arc::clone(&self.inner.state));
        let builder = std::thread::Builder::new().name("ringway-pool".to_owned()).stack_size(STACK_BYTES);
        match builder.spawn(move || work(&receiver, &shared)) {
            Ok(_detached) => {
                state.threads += 1;
                state.idle += 1;
                Ok(())
            }
            // Others will do the work, later.
            Err(_) if state.threads > 0 => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ThreadPool({} threads at most)", self.inner.threads_max)
    }
}

/// A pool thread: works until the pool is gone.
fn work(receiver: &Mutex<Receiver<Job>>, shared: &Mutex<State>) {
    loop {
        let job = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        {
            let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
            state.queued -= 1;
        }
        // The work's own panics are its result; this is for a result that nobody takes and whose drop panics.
        let _panicked = catch_unwind(AssertUnwindSafe(job));
        shared.lock().unwrap_or_else(PoisonError::into_inner).idle += 1;
    }
}

/// The result of pool work, to be awaited.
#[derive(Debug)]
pub struct Pooled<T> {
    slot: Arc<Mutex<Slot<T>>>,
}

#[derive(Debug)]
struct Slot<T> {
    value: Option<Result<T, PoolError>>,
    waker: Option<Waker>,
}

impl<T> Future for Pooled<T> {
    type Output = Result<T, PoolError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        match slot.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                slot.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn block_on<T>(mut future: Pooled<T>) -> Result<T, PoolError> {
        struct Unpark(std::thread::Thread);
        impl std::task::Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        loop {
            match Pin::new(&mut future).poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(value) => return value,
                Poll::Pending => std::thread::park(),
            }
        }
    }

    #[test]
    fn work_is_done_elsewhere_and_panics_stay_there() {
        let pool = ThreadPool::new(2, 8);
        let here = std::thread::current().id();
        let there = block_on(pool.run(|| std::thread::current().id()).expect("room"));
        assert!(there.is_ok_and(|there| there != here));
        let panicked = block_on(pool.run(|| -> () { panic!("on purpose") }).expect("room"));
        assert_eq!(panicked, Err(PoolError::Panicked));
        assert_eq!(block_on(pool.run(|| 7).expect("room")), Ok(7));
    }

    #[test]
    fn jobs_do_not_wait_for_each_other_while_threads_are_allowed() {
        let pool = ThreadPool::new(2, 8);
        assert_eq!(block_on(pool.run(|| 1).expect("room")), Ok(1), "one thread is there and idle");
        let (release, gate) = mpsc::channel::<()>();
        let first = pool.run(move || gate.recv().is_ok()).expect("room");
        let second = pool.run(move || release.send(()).is_ok()).expect("room");
        assert_eq!((block_on(first), block_on(second)), (Ok(true), Ok(true)));
    }

    #[test]
    fn a_full_queue_is_an_error_the_caller_sees() {
        let pool = ThreadPool::new(1, 1);
        let (release, gate) = mpsc::channel::<()>();
        let (started, is_running) = mpsc::channel();
        let busy = pool.run(move || {
            started.send(()).expect("the test waits");
            gate.recv().is_ok()
        });
        is_running.recv().expect("the first job runs");
        let queued = pool.run(|| ()).expect("one may wait");
        assert_eq!(pool.run(|| ()).err(), Some(PoolError::Full));
        release.send(()).expect("the job waits");
        assert_eq!(block_on(busy.expect("room")), Ok(true));
        assert_eq!(block_on(queued), Ok(()));
    }
}
