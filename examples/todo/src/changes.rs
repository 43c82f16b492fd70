//! Pages that follow: each is told that something has changed, and asks for the list itself.

use ringway::service::{Event, EventSender, Response, Status, Worker};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most pages that follow.
const PAGES_MAX: usize = 10_000;

/// The pages of all workers. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Changes(Arc<Mutex<Vec<EventSender>>>);

impl Changes {
    /// One more page, which is told at once, so that what changed before it listened is not missed.
    pub(crate) fn follow(&self, worker: &Worker) -> Response {
        let mut pages = self.lock();
        pages.retain(|page| !page.is_gone());
        if pages.len() >= PAGES_MAX {
            return Response::page(Status::SERVICE_UNAVAILABLE);
        }
        let (sender, answer) = Response::events(worker);
        // It cannot fail: nothing waits yet.
        let _first = sender.send(&Event::data("changed"));
        pages.push(sender);
        answer
    }

    /// Something has changed.
    pub(crate) fn tell(&self) {
        let event = Event::data("changed").encode();
        self.lock().retain(|page| {
            // Who reads too slowly has been told enough times.
            let _slow = page.send_encoded(&event);
            !page.is_gone()
        });
    }

    fn lock(&self) -> MutexGuard<'_, Vec<EventSender>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
