//! Handlers that keep their worker from all other connections: told of while they do, and when they come back.

use crate::log::Level;
use crate::log::Log;
use crate::owner::{Owner, Terms};
use ringway_engine::stall::Note;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A worker that is in a handler for longer than this is told of.
pub const STALL_MAX: Duration = Duration::from_secs(1);

/// Whose handler it is, and who is told of it.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// The endpoint's name.
    pub endpoint: Arc<str>,
    /// What its handler is called.
    pub handler: Arc<str>,
    /// Who is told.
    pub log: Log,
}

/// Notes when the calling worker is in the handler of these terms.
pub(crate) fn note(terms: &Arc<Terms>) -> Arc<Note> {
    let Terms { name, handler, log, .. } = &**terms;
    watched(Watched { endpoint: Arc::clone(name), handler: Arc::clone(handler), log: log.clone() })
}

/// Notes when the calling worker is in this handler.
pub(crate) fn watched(watched: Watched) -> Arc<Note> {
    let worker = std::thread::current().name().unwrap_or("without name").to_owned();
    Note::new(STALL_MAX, move |_, took| {
        let told = || {
            let (handler, took_ms) = (called(&watched.handler), took.as_millis());
            format!(
                "{handler} has kept the worker {worker} from everything else for {took_ms} ms, and still does"
            )
        };
        watched.log.tell(Level::Error, &watched.endpoint, now_ms(), &told);
    })
}

/// Says that a handler that was told of is back.
#[cfg(feature = "datagrams")]
#[cold]
pub(crate) fn say_back(watched: &Watched, took: Duration) {
    let told = || format!("{} came back after {} ms", called(&watched.handler), took.as_millis());
    watched.log.tell(Level::Error, &watched.endpoint, now_ms(), &told);
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// The worker is back from the handler: told, if it was told that it was not.
#[inline]
pub(crate) fn leave(owner: &Owner, now_ms: impl FnOnce() -> u64) {
    if let Some(took) = owner.note.leave() {
        came_back(owner, took, now_ms());
    }
}

#[cold]
fn came_back(owner: &Owner, took: Duration, now_ms: u64) {
    let told = || format!("{} came back after {} ms", called(&owner.terms.handler), took.as_millis());
    owner.log(Level::Error, now_ms, &told);
}

fn called(handler: &str) -> String {
    if handler.is_empty() { "its handler".to_owned() } else { format!("handler {handler}") }
}
