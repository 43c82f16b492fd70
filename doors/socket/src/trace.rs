//! What an endpoint tells of its traffic while somebody wants to know: message by message, and not without bound.

use std::fmt::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// Lines that are told of an endpoint in a second at most, on all workers.
pub const TRACED_PER_S_MAX: u32 = 200;

/// Bytes of a message that are shown.
pub const TRACED_BYTES_MAX: usize = 48;

/// How much is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TraceLevel {
    /// Nothing.
    #[default]
    Off,
    /// How long messages are.
    Sizes,
    /// What they begin with, too; behind TLS only how long they are.
    Bytes,
}

/// What is done with a line.
type Tell = dyn Fn(&str) + Send + Sync;

/// Tells of an endpoint's messages; may be switched at any time. Clones are the same.
#[derive(Clone, Default)]
pub struct Tracer {
    inside: Option<Arc<Inside>>,
}

struct Inside {
    level: AtomicU8,
    /// The second that is counted, and the lines in it.
    told: AtomicU64,
    tell: Box<Tell>,
}

/// A message on its way.
pub(crate) struct Traced<'a> {
    pub(crate) endpoint: &'a str,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) is_received: bool,
    pub(crate) payload: &'a [u8],
    /// Nobody else may see it.
    pub(crate) is_secret: bool,
}

impl Tracer {
    /// Gives lines to `tell`, which must not block; none until [`Tracer::set`].
    #[must_use]
    pub fn new(tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        let inside = Inside { level: AtomicU8::new(0), told: AtomicU64::new(0), tell: Box::new(tell) };
        Self { inside: Some(Arc::new(inside)) }
    }

    /// Has so much told from now on, of connections that are open, too.
    pub fn set(&self, level: TraceLevel) {
        let number = match level {
            TraceLevel::Off => 0,
            TraceLevel::Sizes => 1,
            TraceLevel::Bytes => 2,
        };
        self.inside.iter().for_each(|inside| inside.level.store(number, Ordering::Relaxed));
    }

    /// How much is told now.
    #[must_use]
    pub fn level(&self) -> TraceLevel {
        match self.inside.as_ref().map_or(0, |inside| inside.level.load(Ordering::Relaxed)) {
            0 => TraceLevel::Off,
            1 => TraceLevel::Sizes,
            _ => TraceLevel::Bytes,
        }
    }

    /// Whether anything is told.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.inside.as_ref().is_some_and(|inside| inside.level.load(Ordering::Relaxed) != 0)
    }

    /// Tells of a message.
    #[cold]
    pub(crate) fn tell(&self, now_ms: u64, message: &Traced<'_>) {
        let Some(inside) = &self.inside else { return };
        let shows_bytes = self.level() == TraceLevel::Bytes && !message.is_secret;
        match inside.room(now_ms / 1_000) {
            Room::Some => (inside.tell)(&line(message, shows_bytes)),
            Room::Last => (inside.tell)(&format!(
                "{}: more than {TRACED_PER_S_MAX} messages in this second are not told of",
                message.endpoint
            )),
            Room::None => {}
        }
    }
}

/// Whether a line may be told.
enum Room {
    Some,
    /// One that says that no more are.
    Last,
    None,
}

impl Inside {
    fn room(&self, second: u64) -> Room {
        let most = u64::from(TRACED_PER_S_MAX);
        let next = |told: u64| {
            let (of, lines) = (told >> 16, told & 0xffff);
            match of == (second & (u64::MAX >> 16)) {
                true if lines > most => None,
                true => Some(told + 1),
                false => Some(second << 16 | 1),
            }
        };
        match self.told.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) {
            Ok(before) if before >> 16 == (second & (u64::MAX >> 16)) && before & 0xffff == most => {
                Room::Last
            }
            Ok(_) => Room::Some,
            Err(_) => Room::None,
        }
    }
}

fn line(message: &Traced<'_>, shows_bytes: bool) -> String {
    let Traced { endpoint, peer, is_received, payload, .. } = message;
    let mut line = format!("{endpoint}: ");
    let way = if *is_received { "from" } else { "to" };
    let _infallible = match peer {
        Some(peer) => write!(line, "{way} {peer}: {} bytes", payload.len()),
        None => write!(line, "{way} a peer: {} bytes", payload.len()),
    };
    if shows_bytes {
        let shown = &payload[..payload.len().min(TRACED_BYTES_MAX)];
        let _infallible = write!(line, ": {}", shown.escape_ascii());
        line.push_str(if shown.len() < payload.len() { " ..." } else { "" });
    }
    line
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracer").field("level", &self.level()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_lock::Mutex;

    fn tracer() -> (Tracer, Arc<Mutex<Vec<String>>>) {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        (Tracer::new(move |line| kept.lock().expect("no panic").push(line.to_owned())), lines)
    }

    fn message(payload: &[u8], is_secret: bool) -> Traced<'_> {
        let peer = Some(SocketAddr::from(([192, 0, 2, 1], 7)));
        Traced { endpoint: "a", peer, is_received: true, payload, is_secret }
    }

    #[test]
    fn it_tells_as_much_as_is_wanted_and_no_secrets() {
        let (tracer, lines) = tracer();
        assert!(!tracer.is_on() && !Tracer::default().is_on());
        for level in [TraceLevel::Sizes, TraceLevel::Bytes] {
            tracer.set(level);
            assert_eq!((tracer.is_on(), tracer.level()), (true, level));
            tracer.tell(0, &message(b"x\n\xff", false));
            tracer.tell(0, &message(b"x\n\xff", true));
        }
        tracer.tell(0, &message(&[b'y'; 100], false));
        let lines = lines.lock().expect("no panic");
        let size = "a: from 192.0.2.1:7: 3 bytes";
        assert_eq!(lines[..4], [size, size, &format!("{size}: x\\n\\xff"), size]);
        assert!(lines[4].ends_with("yyyy ..."), "{}", lines[4]);
    }

    #[test]
    fn a_flood_is_told_of_once() {
        let (tracer, lines) = tracer();
        tracer.set(TraceLevel::Sizes);
        (0..1000).for_each(|_| tracer.tell(5_000, &message(b"x", false)));
        assert_eq!(lines.lock().expect("no panic").len(), TRACED_PER_S_MAX as usize + 1);
        tracer.tell(6_000, &message(b"x", false));
        let lines = lines.lock().expect("no panic");
        assert!(lines[lines.len() - 2].contains("more than 200 messages"), "{:?}", lines.last());
    }
}
