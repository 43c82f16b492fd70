//! Connections that a library has made outward: on the worker that asks for them, with the handler's own events.

use super::serving::Serving;
use crate::outbound::{ConnectError, Maintained, Origin, Target};
use ringway_plugin::abi::conn;
use ringway_plugin::{Fault, User};
use std::cell::RefCell;
use std::rc::{Rc, Weak};

/// Connections that a library may ask for before its worker has begun.
const WAITING_MAX: usize = 1024;

thread_local! {
    /// Libraries that are served on this worker, by their numbers.
    static HERE: RefCell<Vec<(u64, Weak<Outward>)>> = const { RefCell::new(Vec::new()) };
}

/// Where a library's wishes for connections go on a worker.
pub(super) struct Outward {
    serving: RefCell<Weak<Serving>>,
    waiting: RefCell<Vec<Wanted>>,
}

/// A connection that is wanted.
pub(super) struct Wanted {
    /// Which instance wants it.
    pub(super) instance: u64,
    pub(super) to: Origin,
    pub(super) flags: u32,
    pub(super) user: User,
}

impl Outward {
    /// A library begins on this worker.
    pub(super) fn new(id: u64) -> Rc<Self> {
        let own = Rc::new(Self { serving: RefCell::new(Weak::new()), waiting: RefCell::default() });
        HERE.with_borrow_mut(|here| {
            here.retain(|(_, outward)| outward.strong_count() > 0);
            here.push((id, Rc::downgrade(&own)));
        });
        own
    }

    /// Who makes them from now on.
    pub(super) fn begin(&self, serving: &Rc<Serving>) {
        *self.serving.borrow_mut() = Rc::downgrade(serving);
    }

    /// What was wanted before it could be.
    pub(super) fn take_waiting(&self) -> Vec<Wanted> {
        self.waiting.take()
    }

    fn want(&self, wanted: Wanted) -> Result<(), Fault> {
        let serving = self.serving.borrow().upgrade();
        match serving.filter(|serving| serving.may_connect(wanted.instance)) {
            Some(serving) => serving.connect(wanted),
            None => {
                let mut waiting = self.waiting.borrow_mut();
                if waiting.len() >= WAITING_MAX {
                    return Err(Fault::Limit);
                }
                waiting.push(wanted);
                Ok(())
            }
        }
    }
}

/// Has a connection made for an instance.
pub(super) fn connect(id: u64, instance: u64, to: &str, flags: u32, user: User) -> Result<(), Fault> {
    let find = |here: &RefCell<Vec<(u64, Weak<Outward>)>>| {
        let here = here.borrow();
        let found = here.iter().rev().find(|(of, outward)| *of == id && outward.strong_count() > 0);
        found.and_then(|(_, outward)| outward.upgrade())
    };
    let outward = HERE.try_with(find).ok().flatten().ok_or(Fault::Thread)?;
    let to = to.parse().map_err(|_no_place| Fault::Invalid)?;
    outward.want(Wanted { instance, to, flags, user })
}

impl Serving {
    /// Has a connection made.
    pub(super) fn connect(&self, wanted: Wanted) -> Result<(), Fault> {
        let connector = self.connector().ok_or(Fault::State)?;
        let version = self.versions().of_instance(wanted.instance).ok_or(Fault::Gone)?;
        let mut target = Target::new(wanted.to);
        if wanted.flags & conn::CONNECT_TLS != 0 {
            target.tls = Some(connector.client_tls().ok_or(Fault::State)?);
        }
        let is_maintained = wanted.flags & conn::CONNECT_MAINTAIN != 0;
        let word = self.prepare(Rc::clone(&version), wanted.user, is_maintained).ok_or(Fault::Limit)?;
        let made = if is_maintained {
            connector.maintain(&target, word).map(|maintained| version.keep(maintained))
        } else {
            connector.connect(&target, word)
        };
        made.map_err(|error| {
            self.forget(word);
            match error {
                ConnectError::TooMany => Fault::Limit,
                ConnectError::Ending => Fault::Gone,
            }
        })
    }
}

/// Connections that a version has maintained: no more when it goes.
#[derive(Default)]
pub(super) struct Kept(RefCell<Vec<Maintained>>);

impl Kept {
    pub(super) fn push(&self, maintained: Maintained) {
        self.0.borrow_mut().push(maintained);
    }

    /// None of them is made anew.
    pub(super) fn stop(&self) {
        self.0.take().iter().for_each(Maintained::stop);
    }
}
