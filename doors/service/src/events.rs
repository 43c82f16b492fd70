//! Server-sent events (HTML Living Standard, section 9.2): a body without end, of which each event is a few lines.

use crate::channel::{Queue, SendError, Shared};
use crate::response::Response;
use crate::worker::Worker;
use ringway_engine::{Sleep, WorkerHandle};
use ringway_web::body_source::BodySource;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// How often a client that hears nothing is told that the server is there still, in milliseconds: proxies on the way end what is
/// silent for long.
pub const KEEP_ALIVE_MS: u64 = 15_000;

/// Bytes of events that wait for a client that reads too slowly.
pub const EVENTS_BYTES_MAX: usize = 64 * 1024;

/// A comment, which clients pass over.
const KEEP_ALIVE: &[u8] = b":\n\n";

/// An event for clients of an `EventSource`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    text: String,
}

impl Event {
    /// An event with this data, which may have several lines.
    #[must_use]
    pub fn data(data: &str) -> Self {
        let mut event = Self::default();
        lines(data).for_each(|line| event.add("data", line));
        event
    }

    /// An event with a value as JSON.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn json(value: &impl serde::Serialize) -> Result<Self, serde_json::Error> {
        Ok(Self::data(&serde_json::to_string(value)?))
    }

    /// The same under a name, for those who listen for that; only its first line counts.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.add("event", lines(name).next().unwrap_or_default());
        self
    }

    /// The same with an id, which a client that comes back says in `Last-Event-ID`; only its first line counts.
    #[must_use]
    pub fn id(mut self, id: &str) -> Self {
        // One with a NUL is none to clients.
        self.add("id", &lines(id).next().unwrap_or_default().replace('\0', ""));
        self
    }

    /// The same with the time after which a client that was cut off comes back.
    #[must_use]
    pub fn retry(mut self, after: Duration) -> Self {
        self.add("retry", &after.as_millis().to_string());
        self
    }

    fn add(&mut self, field: &str, value: &str) {
        self.text.push_str(field);
        self.text.push_str(": ");
        self.text.push_str(value);
        self.text.push('\n');
    }

    /// As it is sent.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.text.len() + 1);
        bytes.extend_from_slice(self.text.as_bytes());
        bytes.push(b'\n');
        bytes
    }
}

/// The lines of a text, whichever of the three line ends it has.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
}

/// Sends events to one client, from any thread. When all its clones are dropped the body ends, and the client comes back after its
/// time.
#[derive(Clone)]
pub struct EventSender {
    inner: Arc<Ending>,
}

/// Ends the body with the last sender.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end(true);
    }
}

impl EventSender {
    /// Queues an event.
    ///
    /// # Errors
    /// [`SendError::Full`] when [`EVENTS_BYTES_MAX`] wait for the client: it reads too slowly, and the event is lost to it.
    /// [`SendError::Gone`] when it has left.
    pub fn send(&self, event: &Event) -> Result<(), SendError> {
        self.inner.0.push(&mut event.encode())
    }

    /// Queues what [`Event::encode`] gave, for several clients.
    ///
    /// # Errors
    /// As [`EventSender::send`].
    pub fn send_encoded(&self, event: &[u8]) -> Result<(), SendError> {
        self.inner.0.push(&mut event.to_vec())
    }

    /// Whether the client has left.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.inner.0.is_gone()
    }
}

impl fmt::Debug for EventSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSender").field("is_gone", &self.is_gone()).finish()
    }
}

impl Response {
    /// Server-sent events, and what sends them.
    #[must_use]
    pub fn events(worker: &Worker) -> (EventSender, Self) {
        let (shared, queue) = Queue::new(EVENTS_BYTES_MAX);
        let body = Events { queue, worker: worker.handle().clone(), silence: None };
        let answer = Self::stream(None, body)
            .with_type("text/event-stream")
            .with_field("Cache-Control", "no-cache")
            .with_field("X-Accel-Buffering", "no");
        (EventSender { inner: Arc::new(Ending(shared)) }, answer)
    }
}

/// The body.
struct Events {
    queue: Queue,
    worker: WorkerHandle,
    /// Until a comment is due.
    silence: Option<Sleep>,
}

impl BodySource for Events {
    fn poll_piece(&mut self, context: &mut Context<'_>, memory: &mut [u8]) -> Poll<io::Result<usize>> {
        let polled = self.queue.poll(context, memory);
        if polled.is_ready() {
            self.silence = None;
            return polled;
        }
        let worker = &self.worker;
        let silence = self.silence.get_or_insert_with(|| worker.sleep_until(worker.now_ms() + KEEP_ALIVE_MS));
        if Pin::new(silence).poll(context).is_pending() || memory.len() < KEEP_ALIVE.len() {
            return Poll::Pending;
        }
        self.silence = None;
        memory[..KEEP_ALIVE.len()].copy_from_slice(KEEP_ALIVE);
        Poll::Ready(Ok(KEEP_ALIVE.len()))
    }

    fn needs_reader(&self) -> bool {
        true
    }

    fn is_endless(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(event: &Event) -> String {
        String::from_utf8(event.encode()).expect("text")
    }

    #[test]
    fn an_event_is_what_it_says_whatever_is_in_it() {
        assert_eq!(text(&Event::data("a")), "data: a\n\n");
        assert_eq!(text(&Event::data("a\nb\r\nc\rd\n")), "data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n");
        let event =
            Event::data("x").named("news\ndata: forged").id("7\0\r\nevent: y").retry(Duration::from_secs(2));
        assert_eq!(text(&event), "data: x\nevent: news\nid: 7\nretry: 2000\n\n");
        assert_eq!(text(&Event::json(&[1, 2]).expect("JSON")), "data: [1,2]\n\n");
    }
}
