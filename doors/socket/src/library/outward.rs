//! Connections that a library has made outward: on the worker that asks for them, with the handler's own events.

use super::serving::Serving;
use ringway_plugin::{Fault, User};
use std::cell::RefCell;
use std::rc::{Rc, Weak};

thread_local! {
    /// Libraries that are served on this worker, by their numbers.
    static HERE: RefCell<Vec<(u64, Weak<Serving>)>> = const { RefCell::new(Vec::new()) };
}

/// A library is served on this worker.
pub(super) fn enter(id: u64, serving: &Rc<Serving>) {
    HERE.with_borrow_mut(|here| {
        here.retain(|(_, serving)| serving.strong_count() > 0);
        here.push((id, Rc::downgrade(serving)));
    });
}

/// Has a connection made.
pub(super) fn connect(id: u64, to: &str, flags: u32, user: User) -> Result<(), Fault> {
    let find = |here: &RefCell<Vec<(u64, Weak<Serving>)>>| {
        let here = here.borrow();
        let found = here.iter().rev().find(|(of, serving)| *of == id && serving.strong_count() > 0);
        found.and_then(|(_, serving)| serving.upgrade())
    };
    let serving = HERE.try_with(find).ok().flatten().ok_or(Fault::Thread)?;
    serving.connect(to, flags, user)
}
