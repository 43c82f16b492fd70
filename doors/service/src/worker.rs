//! The worker of a service: tasks, time, descriptors and blocking work that end with the service.

use crate::log::Log;
use ringway_engine::heap::{LocalFuture, local_future};
use ringway_engine::ring::{Handle, Interest, Op};
use ringway_engine::{PoolError, Sleep, WorkerHandle};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// The worker that a service runs on, as the service may use it. Clones are the same; it cannot leave its thread.
#[derive(Clone)]
pub struct Worker {
    handle: WorkerHandle,
    life: Rc<Life>,
    log: Log,
}

/// How long a service's tasks go on: until it is taken out of the server on this worker.
#[derive(Default)]
struct Life {
    is_over: Cell<bool>,
    wakers: RefCell<Vec<Option<Waker>>>,
    free: RefCell<Vec<usize>>,
}

impl Worker {
    pub(crate) fn new(handle: WorkerHandle, log: Log) -> Self {
        Self { handle, life: Rc::default(), log }
    }

    /// The engine's worker. Some of what it offers is not for a connection's turn, on which handlers begin: wait for
    /// [`Worker::off_turn`] first.
    #[must_use]
    pub fn handle(&self) -> &WorkerHandle {
        &self.handle
    }

    /// Runs a future beside everything else, until it is done or the service is taken out of the server. A panic ends this
    /// future only, and is logged.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        let place = self.life.place();
        let (life, log) = (Rc::clone(&self.life), self.log.clone());
        self.handle.spawn(Living { future: local_future(future), life, place, log });
    }

    /// Waits until this is no connection's turn any more: at once in a task.
    ///
    /// # Cancellation
    /// Dropping it loses nothing.
    pub fn off_turn(&self) -> impl Future<Output = ()> + use<> {
        self.handle.off_turn()
    }

    /// Sleeps for that long: never shorter, and longer by milliseconds at most.
    ///
    /// # Cancellation
    /// Dropping it drops the timer.
    pub async fn sleep(&self, duration: Duration) {
        let until = self.deadline(duration).await;
        until.await;
    }

    async fn deadline(&self, duration: Duration) -> Sleep {
        self.off_turn().await;
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.handle.sleep_until(self.handle.now_ms().saturating_add(duration_ms).saturating_add(1))
    }

    /// Awaits `future` for that long at most; `None` when the time was up.
    ///
    /// # Cancellation
    /// Dropping it drops `future`.
    pub async fn timeout<T>(&self, duration: Duration, future: impl Future<Output = T>) -> Option<T> {
        let mut future = std::pin::pin!(future);
        let mut sleep = std::pin::pin!(self.sleep(duration));
        poll_fn(|context| {
            if let Poll::Ready(value) = future.as_mut().poll(context) {
                return Poll::Ready(Some(value));
            }
            sleep.as_mut().poll(context).map(|()| None)
        })
        .await
    }

    /// Calls `action` after that long, unless the service is taken out before.
    pub fn after(&self, duration: Duration, action: impl FnOnce() + 'static) {
        let this = self.clone();
        self.spawn(async move {
            this.sleep(duration).await;
            action();
        });
    }

    /// Calls `action` every so often until the service is taken out. A call that comes late does not make others follow it at
    /// once. A panic ends the calls.
    pub fn every(&self, period: Duration, mut action: impl FnMut() + 'static) {
        let this = self.clone();
        self.spawn(async move {
            loop {
                this.sleep(period).await;
                action();
            }
        });
    }

    /// Does what may block on a thread of the server's pool.
    ///
    /// # Errors
    /// [`PoolError`]: too much waits there already, or the work has panicked.
    ///
    /// # Cancellation
    /// Dropping it lets the work finish unheard.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PoolError> {
        self.handle.pool().run(work)?.await
    }

    /// Waits until a descriptor can be read from, or written to.
    ///
    /// # Errors
    /// What the kernel says; `WouldBlock` at the ring's limit of operations.
    ///
    /// # Cancellation
    /// Dropping it ends the watch.
    pub async fn ready(&self, watched: &Watched, interest: Interest) -> io::Result<()> {
        self.off_turn().await;
        let ready = self.handle.operation(Op::Ready { socket: watched.handle.clone(), interest })?;
        ready.await.result.map(|_events| ())
    }

    /// Notes the time, where it can be asked for.
    pub(crate) fn note_time(&self, place: &Cell<u64>) {
        if !self.handle.is_in_turn() {
            place.set(self.handle.now_ms());
        }
    }

    /// Ends all tasks; those that are spawned later end at once.
    pub(crate) fn end(&self) {
        self.life.is_over.set(true);
        let wakers = std::mem::take(&mut *self.life.wakers.borrow_mut());
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Worker")
    }
}

/// A descriptor that is watched: see [`Worker::ready`]. Who reads from it keeps a duplicate of its own.
#[derive(Clone, Debug)]
pub struct Watched {
    handle: Handle,
}

impl From<OwnedFd> for Watched {
    fn from(descriptor: OwnedFd) -> Self {
        Self { handle: Handle::new(descriptor) }
    }
}

impl Life {
    fn place(&self) -> usize {
        self.free.borrow_mut().pop().unwrap_or_else(|| {
            let mut wakers = self.wakers.borrow_mut();
            wakers.push(None);
            wakers.len() - 1
        })
    }
}

/// A task that ends with its service.
struct Living {
    future: LocalFuture<()>,
    life: Rc<Life>,
    place: usize,
    log: Log,
}

impl Future for Living {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.life.is_over.get() {
            return Poll::Ready(());
        }
        let place = self.place;
        if let Some(waker) = self.life.wakers.borrow_mut().get_mut(place)
            && !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker()))
        {
            *waker = Some(context.waker().clone());
        }
        let future = &mut self.future;
        catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))).unwrap_or_else(|panic| {
            self.log.error(format_args!("a task panicked: {}", words(&*panic)));
            Poll::Ready(())
        })
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        if let Some(waker) = self.life.wakers.borrow_mut().get_mut(self.place) {
            *waker = None;
            self.life.free.borrow_mut().push(self.place);
        }
    }
}

/// What a panic says.
pub(crate) fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
