//! Groups of WebSockets across machines: what is sent to a group on one is published, and heard on the others. At most once.

use super::{Command, Redis};
use crate::cookie::{KeyError, random_bytes};
use crate::socket::{Groups, Relay};
use crate::worker::Worker;
use ringway_engine::{Post, WorkerHandle};
use ringway_lock::{Mutex, MutexGuard};
use ringway_ws::decoder::Message;
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

/// Most messages that wait to be published.
const WAITING_MAX: usize = 4_096;

/// Most bytes of them.
const WAITING_BYTES_MAX: usize = 8 * 1_024 * 1_024;

/// Bytes that tell processes apart.
const ORIGIN_BYTES: usize = 16;

const TEXT: u8 = b't';
const BINARY: u8 = b'b';

/// The groups of a service, shared with other machines through one channel. Clones are the same. What is sent while the server
/// cannot be reached, or faster than it takes it, is lost to the others; members here hear it anyway.
#[derive(Clone)]
pub struct RedisRelay {
    inner: Arc<Inner>,
}

struct Inner {
    redis: Redis,
    channel: String,
    groups: Groups,
    outgoing: Arc<Outgoing>,
    /// A worker has it.
    is_running: AtomicBool,
}

/// What groups see of it.
struct Outgoing {
    redis: Redis,
    channel: String,
    origin: [u8; ORIGIN_BYTES],
    waiting: Mutex<Waiting>,
    lost: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    messages: VecDeque<Vec<u8>>,
    bytes: usize,
    /// The worker that publishes.
    post: Option<Post>,
    /// It knows that something waits.
    is_told: bool,
}

impl RedisRelay {
    /// Has `groups` heard on all machines that use the same channel. A worker carries the messages once
    /// [`RedisRelay::run_on`] was called on one.
    ///
    /// # Errors
    /// When the machine gives no random numbers.
    pub fn new(redis: &Redis, channel: &str, groups: &Groups) -> Result<Self, KeyError> {
        let outgoing = Arc::new(Outgoing {
            redis: redis.clone(),
            channel: channel.to_owned(),
            origin: random_bytes()?,
            waiting: Mutex::default(),
            lost: AtomicU64::new(0),
        });
        groups.set_relay(Arc::new(Sender(Arc::clone(&outgoing))));
        let (redis, channel, groups) = (redis.clone(), channel.to_owned(), groups.clone());
        let inner = Inner { redis, channel, groups, outgoing, is_running: AtomicBool::new(false) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Carries messages on this worker, unless another one does: to be called in a service's set-up, which runs on each. It
    /// ends with the service there.
    pub fn run_on(&self, worker: &Worker) {
        if self.inner.is_running.swap(true, Ordering::AcqRel) {
            return;
        }
        let running = Running { inner: Arc::clone(&self.inner) };
        let handle = worker.handle().clone();
        worker.spawn(async move { running.run(&handle).await });
    }

    /// How many messages were not published because too many waited.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.inner.outgoing.lost.load(Ordering::Relaxed)
    }
}

/// The worker's task; however it ends, another worker may have its place.
struct Running {
    inner: Arc<Inner>,
}

impl Running {
    async fn run(&self, worker: &WorkerHandle) {
        let Inner { redis, channel, groups, outgoing, .. } = &*self.inner;
        let mut heard = redis.client(worker).subscribe(channel);
        {
            let mut waiting = outgoing.lock();
            waiting.post = Some(worker.post());
            waiting.is_told = true;
        }
        outgoing.publish_all(worker);
        while let Some(message) = heard.next().await {
            if let Some((group, message)) = decode(&message.payload, &outgoing.origin) {
                groups.deliver(group, message);
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        {
            let mut waiting = self.inner.outgoing.lock();
            (waiting.post, waiting.is_told) = (None, false);
        }
        self.inner.is_running.store(false, Ordering::Release);
    }
}

impl Outgoing {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// On the worker, and not on a connection's turn.
    fn publish_all(&self, worker: &WorkerHandle) {
        let messages = {
            let mut waiting = self.lock();
            (waiting.is_told, waiting.bytes) = (false, 0);
            std::mem::take(&mut waiting.messages)
        };
        let client = self.redis.client(worker);
        for message in messages {
            client.tell(&Command::new("PUBLISH").arg(&self.channel).arg(message));
        }
    }
}

/// What groups give their messages to, on whichever thread sends.
struct Sender(Arc<Outgoing>);

impl Relay for Sender {
    fn publish(&self, group: &str, message: Message<'_>) {
        let Some(bytes) = encode(&self.0.origin, group, message) else { return };
        let post = {
            let mut waiting = self.0.lock();
            let bytes_then = waiting.bytes + bytes.len();
            if waiting.messages.len() >= WAITING_MAX || bytes_then > WAITING_BYTES_MAX {
                self.0.lost.fetch_add(1, Ordering::Relaxed);
                return;
            }
            waiting.messages.push_back(bytes);
            waiting.bytes = bytes_then;
            // Where no worker carries messages yet they wait for one.
            let post = waiting.post.clone().filter(|_| !waiting.is_told);
            waiting.is_told |= post.is_some();
            post
        };
        if let Some(post) = post {
            let outgoing = Arc::clone(&self.0);
            // A worker that has stopped has ended its task, too.
            let _is_there = post.leave(move |worker| outgoing.publish_all(worker));
        }
    }
}

/// A message as it is published; `None` for a group with a name of more than 64 KiB.
fn encode(origin: &[u8; ORIGIN_BYTES], group: &str, message: Message<'_>) -> Option<Vec<u8>> {
    let length = u16::try_from(group.len()).ok()?;
    let (kind, payload) = match message {
        Message::Text(text) => (TEXT, text.as_bytes()),
        Message::Binary(bytes) => (BINARY, bytes),
    };
    Some([&origin[..], &[kind], &length.to_be_bytes(), group.as_bytes(), payload].concat())
}

/// The group and message of what was heard; `None` for what this process has said itself, and what is none.
fn decode<'a>(bytes: &'a [u8], own: &[u8; ORIGIN_BYTES]) -> Option<(&'a str, Message<'a>)> {
    let (origin, rest) = bytes.split_first_chunk::<ORIGIN_BYTES>()?;
    if origin == own {
        return None;
    }
    let (kind, rest) = rest.split_first()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (group, payload) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    let message = match *kind {
        TEXT => Message::Text(std::str::from_utf8(payload).ok()?),
        BINARY => Message::Binary(payload),
        _ => return None,
    };
    Some((std::str::from_utf8(group).ok()?, message))
}

impl fmt::Debug for RedisRelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisRelay({:?})", self.inner.channel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_is_read_by_others_and_no_noise_is() {
        let (mine, yours) = ([1; ORIGIN_BYTES], [2; ORIGIN_BYTES]);
        for message in [Message::Text("h\u{e9}"), Message::Binary(b"\xff\0"), Message::Text("")] {
            let bytes = encode(&mine, "room", message).expect("a short name");
            assert_eq!(decode(&bytes, &yours), Some(("room", message)));
            assert_eq!(decode(&bytes, &mine), None, "its own");
        }
        let whole = encode(&mine, "room", Message::Text("")).expect("a short name");
        for end in 0..whole.len() {
            assert_eq!(decode(&whole[..end], &yours), None);
        }
        let mut wrong = encode(&mine, "room", Message::Binary(b"\xff")).expect("a short name");
        wrong[ORIGIN_BYTES] = TEXT;
        assert_eq!(decode(&wrong, &yours), None, "no text");
        wrong[ORIGIN_BYTES] = b'?';
        assert_eq!(decode(&wrong, &yours), None);
        assert_eq!(encode(&mine, &"x".repeat(70_000), Message::Text("")), None);
    }
}
