//! Handlers that keep their worker from all other connections: told of while they do, and when they come back.

use crate::log::Level;
use crate::owner::{Owner, Terms};
use ringway_engine::stall::Note;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A worker that is in a handler for longer than this is told of.
pub const STALL_MAX: Duration = Duration::from_secs(1);

/// Notes when the calling worker is in the handler of these terms.
pub(crate) fn note(terms: &Arc<Terms>) -> Arc<Note> {
    let terms = Arc::clone(terms);
    let worker = std::thread::current().name().unwrap_or("without name").to_owned();
    Note::new(STALL_MAX, move |_, took| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let told = || {
            let (handler, took_ms) = (called(&terms), took.as_millis());
            format!(
                "{handler} has kept the worker {worker} from everything else for {took_ms} ms, and still does"
            )
        };
        terms.log.tell(Level::Error, &terms.name, now_ms, &told);
    })
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
    let told = || format!("{} came back after {} ms", called(&owner.terms), took.as_millis());
    owner.log(Level::Error, now_ms, &told);
}

fn called(terms: &Terms) -> String {
    if terms.handler.is_empty() { "its handler".to_owned() } else { format!("handler {}", terms.handler) }
}
