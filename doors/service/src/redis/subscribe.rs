//! Channels that a worker has subscribed to: one connection for all of them, which subscribes again whenever it is new.

use super::client::Speech;
use super::url::Target;
use crate::link::{LinkOptions, StoreAddress, Wire, begin, pause_ms};
use ringway_engine::ring::SLICE_BYTES_MAX;
use ringway_engine::{Sleep, Stream, WorkerHandle};
use ringway_kv::resp::{Command, Value};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Most messages that wait for who has subscribed; then the oldest one goes.
pub(super) const INBOX_MAX: usize = 1_024;

/// Most bytes of them.
const INBOX_BYTES_MAX: usize = 4 * 1_024 * 1_024;

/// A connection that lived so many milliseconds was a good one.
const STEADY_MS: u64 = 1_000;

/// Pieces of what the server says that are taken in at once.
const READS_PER_POLL: usize = 16;

/// A message of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What was published; shared by all who have subscribed.
    pub payload: Rc<[u8]>,
}

/// A channel that is heard until this value is dropped. It belongs to its worker.
pub struct Subscription {
    hub: Rc<Hub>,
    channel: String,
    inbox: Rc<RefCell<Inbox>>,
}

/// What makes subscriptions; with it their connection ends.
pub(super) struct Subscriber {
    worker: WorkerHandle,
    target: Target,
    options: LinkOptions,
    hub: Rc<Hub>,
}

/// What subscriptions and the connection's task share.
#[derive(Default)]
struct Hub {
    channels: RefCell<HashMap<String, Channel>>,
    /// Commands to be sent.
    out: RefCell<Vec<u8>>,
    waker: RefCell<Option<Waker>>,
    is_started: Cell<bool>,
    is_closed: Cell<bool>,
}

#[derive(Default)]
struct Channel {
    inboxes: Vec<Rc<RefCell<Inbox>>>,
    /// The server has confirmed it on this connection.
    is_heard: bool,
}

#[derive(Default)]
struct Inbox {
    messages: VecDeque<Message>,
    bytes: usize,
    missed: u64,
    waker: Option<Waker>,
}

impl Subscriber {
    pub(super) fn new(worker: &WorkerHandle, target: &Target, options: &LinkOptions) -> Self {
        let (worker, target, options) = (worker.clone(), target.clone(), options.clone());
        Self { worker, target, options, hub: Rc::default() }
    }

    pub(super) fn subscribe(&self, channel: &str) -> Subscription {
        let inbox = Rc::new(RefCell::new(Inbox::default()));
        let is_new = {
            let channels = &mut *self.hub.channels.borrow_mut();
            let entry = channels.entry(channel.to_owned()).or_default();
            entry.inboxes.push(Rc::clone(&inbox));
            entry.inboxes.len() == 1
        };
        if !self.hub.is_started.replace(true) {
            let speech = Speech::new(&self.target, self.options.answer_bytes_max);
            let (worker, hub) = (self.worker.clone(), Rc::clone(&self.hub));
            self.worker.spawn(run(worker, hub, self.target.address.clone(), self.options.clone(), speech));
        } else if is_new {
            self.hub.say("SUBSCRIBE", channel);
        }
        Subscription { hub: Rc::clone(&self.hub), channel: channel.to_owned(), inbox }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.hub.is_closed.set(true);
        self.hub.wake();
    }
}

impl Subscription {
    /// The next message; `None` when the client is gone.
    ///
    /// # Cancellation
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Message> {
        poll_fn(|context| {
            let inbox = &mut *self.inbox.borrow_mut();
            match inbox.messages.pop_front() {
                Some(message) => {
                    inbox.bytes -= message.payload.len();
                    Poll::Ready(Some(message))
                }
                None if self.hub.is_closed.get() => Poll::Ready(None),
                None => {
                    inbox.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Waits until the server has confirmed the subscription on the present connection; false when the client is gone. What is
    /// published afterwards is heard.
    ///
    /// # Cancellation
    /// Dropping the future loses nothing.
    pub async fn heard(&self) -> bool {
        poll_fn(|context| {
            if self.hub.channels.borrow().get(&self.channel).is_some_and(|channel| channel.is_heard) {
                return Poll::Ready(true);
            }
            if self.hub.is_closed.get() {
                return Poll::Ready(false);
            }
            self.inbox.borrow_mut().waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// How many messages were dropped because nobody took them, and how often the connection broke, when any number may have
    /// been lost.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.inbox.borrow().missed
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let is_last = {
            let channels = &mut *self.hub.channels.borrow_mut();
            let Some(channel) = channels.get_mut(&self.channel) else { return };
            channel.inboxes.retain(|inbox| !Rc::ptr_eq(inbox, &self.inbox));
            let is_last = channel.inboxes.is_empty();
            if is_last {
                channels.remove(&self.channel);
            }
            is_last
        };
        if is_last {
            self.hub.say("UNSUBSCRIBE", &self.channel);
        }
    }
}

impl Hub {
    fn say(&self, command: &str, channel: &str) {
        Command::new(command).arg(channel).encode(&mut self.out.borrow_mut());
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// A new connection: everything is subscribed to again.
    fn renew(&self) {
        let out = &mut *self.out.borrow_mut();
        out.clear();
        let channels = self.channels.borrow();
        channels.keys().for_each(|channel| Command::new("SUBSCRIBE").arg(channel).encode(out));
    }

    /// Takes in what the server says.
    fn hear(&self, value: Value) {
        let (Value::Array(parts) | Value::Push(parts)) = value else { return };
        let mut parts = parts.into_iter();
        let (Some(Value::Bytes(kind)), Some(Value::Bytes(channel))) = (parts.next(), parts.next()) else {
            return;
        };
        let channels = &mut *self.channels.borrow_mut();
        let channel = std::str::from_utf8(&channel).ok().and_then(|channel| channels.get_mut(channel));
        let Some(channel) = channel else { return };
        match (&*kind, parts.next()) {
            (b"subscribe", _) => {
                channel.is_heard = true;
                channel.inboxes.iter().for_each(|inbox| inbox.borrow_mut().wake());
            }
            (b"message", Some(Value::Bytes(payload))) => {
                let message = Message { payload: payload.into() };
                channel.inboxes.iter().for_each(|inbox| inbox.borrow_mut().put(&message));
            }
            _ => {}
        }
    }

    /// The connection broke: nobody knows what was said meanwhile.
    fn lose(&self) {
        for channel in self.channels.borrow_mut().values_mut() {
            if std::mem::take(&mut channel.is_heard) {
                channel.inboxes.iter().for_each(|inbox| inbox.borrow_mut().missed += 1);
            }
        }
    }

    fn close(&self) {
        self.is_closed.set(true);
        for channel in self.channels.borrow().values() {
            channel.inboxes.iter().for_each(|inbox| inbox.borrow_mut().wake());
        }
    }
}

impl Inbox {
    fn put(&mut self, message: &Message) {
        self.bytes += message.payload.len();
        self.messages.push_back(message.clone());
        while self.messages.len() > INBOX_MAX || (self.bytes > INBOX_BYTES_MAX && self.messages.len() > 1) {
            self.missed += 1;
            self.bytes -= self.messages.pop_front().map_or(0, |message| message.payload.len());
        }
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// However the task ends, nobody waits for it any more.
struct End(Rc<Hub>);

impl Drop for End {
    fn drop(&mut self) {
        drop(self.0.waker.take());
        self.0.close();
    }
}

async fn run(
    worker: WorkerHandle,
    hub: Rc<Hub>,
    address: StoreAddress,
    options: LinkOptions,
    mut speech: Speech,
) {
    let _end = End(Rc::clone(&hub));
    let mut failures: u32 = 0;
    while !hub.is_closed.get() {
        speech.begin();
        // The worker's other connection says in the log how the server stands.
        failures = match begin(&worker, &address, &options, &mut speech).await {
            Ok(stream) => {
                hub.renew();
                let since_ms = worker.now_ms();
                let mut hearing = Hearing {
                    heard_ms: since_ms,
                    is_asked: false,
                    worker: &worker,
                    hub: &hub,
                    options: &options,
                    speech: &mut speech,
                    stream,
                    sleep: None,
                };
                poll_fn(|context| hearing.poll(context)).await;
                hub.lose();
                let was_steady = worker.now_ms().saturating_sub(since_ms) >= STEADY_MS;
                if was_steady { 0 } else { failures.saturating_add(1) }
            }
            Err(_) => failures.saturating_add(1),
        };
        if failures > 0 {
            let mut sleep = worker.sleep_until(worker.now_ms().saturating_add(pause_ms(&options, failures)));
            poll_fn(|context| {
                hub.waker.replace(Some(context.waker().clone()));
                if hub.is_closed.get() { Poll::Ready(()) } else { Pin::new(&mut sleep).poll(context) }
            })
            .await;
        }
    }
}

/// A connection that hears.
struct Hearing<'a> {
    worker: &'a WorkerHandle,
    hub: &'a Hub,
    options: &'a LinkOptions,
    speech: &'a mut Speech,
    stream: Stream,
    sleep: Option<(u64, Sleep)>,
    /// When the server last said something.
    heard_ms: u64,
    /// It was asked whether it is there.
    is_asked: bool,
}

impl Hearing<'_> {
    /// Ready when the connection is over.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.hub.waker.replace(Some(context.waker().clone()));
        if self.hub.is_closed.get() {
            return Poll::Ready(());
        }
        for read in 0.. {
            if read == READS_PER_POLL {
                // There may be more; others first.
                context.waker().wake_by_ref();
                break;
            }
            match self.stream.poll_read(context) {
                Poll::Pending => break,
                Poll::Ready(Ok(Some(slice))) => {
                    (self.heard_ms, self.is_asked) = (self.worker.now_ms(), false);
                    let mut input = &slice[..];
                    loop {
                        match self.speech.next(&mut input) {
                            Ok(Some(value)) => self.hub.hear(value),
                            Ok(None) => break,
                            Err(_fault) => return Poll::Ready(()),
                        }
                    }
                }
                Poll::Ready(_over) => return Poll::Ready(()),
            }
        }
        if self.send(context).is_err() || !self.watch_time(context) {
            return Poll::Ready(());
        }
        Poll::Pending
    }

    fn send(&mut self, context: &mut Context<'_>) -> std::io::Result<()> {
        let out = &mut *self.hub.out.borrow_mut();
        while !out.is_empty() {
            match self.stream.poll_room(context) {
                Poll::Pending => return Ok(()),
                Poll::Ready(room) => room?,
            }
            let count = out.len().min(SLICE_BYTES_MAX);
            let slice = self.stream.slice_of(&out[..count])?;
            self.stream.send(slice);
            out.drain(..count);
        }
        Ok(())
    }

    /// A silent server is asked whether it is there, and given up when it stays silent.
    fn watch_time(&mut self, context: &mut Context<'_>) -> bool {
        loop {
            let wait_ms = if self.is_asked { self.options.timeout_ms } else { self.options.ping_ms };
            let at_ms = if self.is_asked {
                self.heard_ms.saturating_add(self.options.ping_ms).saturating_add(wait_ms)
            } else {
                self.heard_ms.saturating_add(wait_ms)
            };
            if self.sleep.as_ref().is_none_or(|(until_ms, _)| *until_ms != at_ms) {
                self.sleep = Some((at_ms, self.worker.sleep_until(at_ms)));
            }
            let Some((_, sleep)) = &mut self.sleep else { return true };
            if Pin::new(sleep).poll(context).is_pending() {
                return true;
            }
            self.sleep = None;
            if self.is_asked {
                return false;
            }
            self.is_asked = true;
            Command::new("PING").encode(&mut self.hub.out.borrow_mut());
            if self.send(context).is_err() {
                return false;
            }
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subscription({:?})", self.channel)
    }
}
