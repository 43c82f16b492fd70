//! The task of a connection: connects, sends what waits, gives replies to who asked, and begins again when it breaks.

use super::{LinkError, LinkOptions, Shared, Slot, Standing, StoreAddress, Wire, connect, pause_ms};
use ringway_engine::ring::SLICE_BYTES_MAX;
use ringway_engine::{Sleep, Stream, WorkerHandle};
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// A server whose oldest answer is so many times later than it may be is given up: the connection ends.
const STUCK_TIMEOUTS: u64 = 2;

/// Pieces of what a server says that are taken in at once, before others on the worker have their turn.
const READS_PER_POLL: usize = 16;

/// A connection that lived so many milliseconds was a good one.
const STEADY_MS: u64 = 1_000;

/// Works until the last handle is gone.
pub(super) async fn run<W: Wire>(worker: WorkerHandle, shared: Rc<Shared<W::Reply>>, mut wire: W) {
    let _end = End(Rc::clone(&shared));
    let mut failures: u32 = 0;
    while !shared.is_closed.get() {
        wire.begin();
        let reason = match begin(&worker, &shared.address, &shared.options, &mut wire).await {
            Ok(stream) => {
                shared.set_standing(Standing::Up);
                let since_ms = worker.now_ms();
                let reason = Drive::new(&worker, &shared, &mut wire, stream).run().await;
                shared.fail(&LinkError::Lost, None);
                let was_steady = worker.now_ms().saturating_sub(since_ms) >= STEADY_MS;
                failures = if was_steady { 0 } else { failures + 1 };
                if failures <= 1 {
                    // The next connection is tried at once, and what was not sent yet waits for it.
                    shared.set_standing(Standing::Connecting);
                    shared.say_lost(&reason);
                    continue;
                }
                reason
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                error.to_string()
            }
        };
        shared.degrade(&reason);
        pause(&worker, &shared, pause_ms(&shared.options, failures)).await;
    }
}

/// However the task ends, nobody waits for it any more.
struct End<R>(Rc<Shared<R>>);

impl<R> Drop for End<R> {
    fn drop(&mut self) {
        self.0.is_closed.set(true);
        drop(self.0.waker.take());
        self.0.fail(&LinkError::Closed, Some(&LinkError::Closed));
    }
}

/// Connects and says what is said first.
///
/// # Errors
/// As [`connect`]; what the server says against it.
pub(crate) async fn begin<W: Wire>(
    worker: &WorkerHandle,
    address: &StoreAddress,
    options: &LinkOptions,
    wire: &mut W,
) -> io::Result<Stream> {
    let until_ms = worker.now_ms().saturating_add(options.connect_ms.min(options.timeout_ms));
    let mut stream = connect(worker, address, options, until_ms).await?;
    let (greeting, mut replies) = wire.greeting();
    if !greeting.is_empty() {
        let greeting = stream.slice_of(&greeting)?;
        stream.send(greeting);
    }
    while replies > 0 {
        let Some(slice) = stream.read().await? else { return Err(io::ErrorKind::UnexpectedEof.into()) };
        let mut input = &slice[..];
        while let Some(reply) = wire.next(&mut input).map_err(io::Error::other)? {
            wire.welcome(reply).map_err(io::Error::other)?;
            replies =
                replies.checked_sub(1).ok_or_else(|| io::Error::other("it says more than it was asked"))?;
        }
    }
    stream.clear_deadline();
    Ok(stream)
}

/// Waits before the next try, unless nobody is left to try for.
async fn pause<R>(worker: &WorkerHandle, shared: &Shared<R>, ms: u64) {
    let mut sleep = worker.sleep_until(worker.now_ms().saturating_add(ms));
    poll_fn(|context| {
        shared.waker.replace(Some(context.waker().clone()));
        if shared.is_closed.get() { Poll::Ready(()) } else { Pin::new(&mut sleep).poll(context) }
    })
    .await;
}

/// A connection at work.
struct Drive<'a, W: Wire> {
    worker: &'a WorkerHandle,
    shared: &'a Shared<W::Reply>,
    wire: &'a mut W,
    stream: Stream,
    /// Bytes that were begun to be sent and found no room.
    rest: Vec<u8>,
    sleep: Option<(u64, Sleep)>,
    /// When something was last heard or sent.
    active_ms: u64,
    /// The question whether the server is there: nobody else waits for its answer.
    ping: Option<Rc<RefCell<Slot<W::Reply>>>>,
}

impl<'a, W: Wire> Drive<'a, W> {
    fn new(worker: &'a WorkerHandle, shared: &'a Shared<W::Reply>, wire: &'a mut W, stream: Stream) -> Self {
        let active_ms = worker.now_ms();
        Self { worker, shared, wire, stream, rest: Vec::new(), sleep: None, active_ms, ping: None }
    }

    /// Why it has ended.
    async fn run(mut self) -> String {
        poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<String> {
        {
            let waker = &mut *self.shared.waker.borrow_mut();
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                *waker = Some(context.waker().clone());
            }
        }
        if self.shared.is_closed.get() {
            return Poll::Ready("nobody needs it".to_owned());
        }
        let now_ms = self.worker.now_ms();
        let worked = self
            .receive(context, now_ms)
            .and_then(|()| self.send(context, now_ms).map_err(|error| error.to_string()))
            .and_then(|()| self.watch_time(context, now_ms));
        match worked {
            Ok(()) => Poll::Pending,
            Err(reason) => Poll::Ready(reason),
        }
    }

    fn receive(&mut self, context: &mut Context<'_>, now_ms: u64) -> Result<(), String> {
        for _ in 0..READS_PER_POLL {
            match self.stream.poll_read(context) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(error)) => return Err(error.to_string()),
                Poll::Ready(Ok(None)) => return Err("it has ended the connection".to_owned()),
                Poll::Ready(Ok(Some(slice))) => {
                    self.active_ms = now_ms;
                    let mut input = &slice[..];
                    while let Some(reply) = self.wire.next(&mut input)? {
                        self.deliver(reply)?;
                    }
                }
            }
        }
        // There may be more; others first.
        context.waker().wake_by_ref();
        Ok(())
    }

    /// Gives a reply to the request that was sent first.
    fn deliver(&self, reply: W::Reply) -> Result<(), String> {
        let answered = {
            let queue = &mut *self.shared.queue.borrow_mut();
            let first = queue.sent.front().ok_or("it says what nobody has asked")?;
            {
                let slot = &mut *first.slot.borrow_mut();
                slot.wanted = slot.wanted.saturating_sub(1);
                slot.replies.push(reply);
                if slot.wanted > 0 {
                    return Ok(());
                }
            }
            queue.bytes -= first.cost;
            queue.sent.pop_front()
        };
        answered.into_iter().for_each(|request| request.finish(Ok(())));
        Ok(())
    }

    /// Sends what waits, as few large pieces.
    fn send(&mut self, context: &mut Context<'_>, now_ms: u64) -> io::Result<()> {
        loop {
            if self.rest.is_empty() {
                self.gather(now_ms);
            }
            if self.rest.is_empty() {
                return Ok(());
            }
            // Who waits for room is woken when there is.
            match self.stream.poll_room(context) {
                Poll::Pending => return Ok(()),
                Poll::Ready(room) => room?,
            }
            let count = self.rest.len().min(SLICE_BYTES_MAX);
            let slice = self.stream.slice_of(&self.rest[..count])?;
            self.stream.send(slice);
            self.rest.drain(..count);
            self.active_ms = now_ms;
        }
    }

    /// Takes requests that wait, as many as fill a piece.
    fn gather(&mut self, now_ms: u64) {
        let queue = &mut *self.shared.queue.borrow_mut();
        while self.rest.len() < SLICE_BYTES_MAX {
            let Some(mut request) = queue.waiting.pop_front() else { return };
            if !request.is_wanted() || request.is_over() {
                queue.bytes -= request.cost;
                continue;
            }
            if request.since_ms == 0 {
                request.since_ms = now_ms.max(1);
            }
            self.rest.extend_from_slice(&std::mem::take(&mut request.bytes));
            queue.sent.push_back(request);
        }
    }

    /// Fails what is late, gives a server up that is stuck, asks a quiet one whether it is there, and sees to being woken.
    fn watch_time(&mut self, context: &mut Context<'_>, now_ms: u64) -> Result<(), String> {
        let timeout_ms = self.shared.options.timeout_ms.max(1);
        let mut next_ms = self.active_ms.saturating_add(self.shared.options.ping_ms.max(1));
        {
            let queue = &mut *self.shared.queue.borrow_mut();
            // Those that have come since the last look.
            let new = queue.waiting.iter_mut().rev().take_while(|request| request.since_ms == 0);
            new.for_each(|request| request.since_ms = now_ms.max(1));
            if queue.sent.front().is_some_and(|first| first.since_ms + STUCK_TIMEOUTS * timeout_ms <= now_ms)
            {
                return Err("it does not answer".to_owned());
            }
            // In the order of their time.
            for request in queue.sent.iter().chain(&queue.waiting) {
                if request.since_ms + timeout_ms > now_ms {
                    next_ms = next_ms.min(request.since_ms + timeout_ms);
                    break;
                }
                request.finish(Err(LinkError::TimedOut));
            }
            if let Some(first) = queue.sent.front() {
                next_ms = next_ms.min(first.since_ms + STUCK_TIMEOUTS * timeout_ms);
            }
        }
        if next_ms <= now_ms {
            // Its turn comes with the next poll, which handing it over causes.
            self.active_ms = now_ms;
            self.ping = self.shared.push(self.wire.ping(), 1, false).ok();
            next_ms = now_ms.saturating_add(timeout_ms);
        }
        self.wake_at(context, next_ms);
        Ok(())
    }

    fn wake_at(&mut self, context: &mut Context<'_>, at_ms: u64) {
        if self.sleep.as_ref().is_none_or(|(until_ms, _)| *until_ms != at_ms) {
            self.sleep = Some((at_ms, self.worker.sleep_until(at_ms)));
        }
        if let Some((_, sleep)) = &mut self.sleep
            && Pin::new(sleep).poll(context).is_ready()
        {
            self.sleep = None;
            context.waker().wake_by_ref();
        }
    }
}
