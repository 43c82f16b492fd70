//! A decision that a hook has promised: what comes of it from any thread, until whoever waits takes it.

use super::Side;
use crate::library::Written;
use ringway_http::response::HeadWriter;
use ringway_lock::{Mutex, MutexGuard};
use ringway_plugin::{Answer, Deferred, Fault, Over, Promise, User};
use ringway_web::exchange::ADDED_FIELDS_BYTES_MAX;
use std::fmt;
use std::rc::Rc;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// The longest name of a user that a hook may say, in bytes.
pub(crate) const USER_BYTES_MAX: usize = 1024;

/// What was decided.
#[derive(Debug)]
pub(crate) enum Decided {
    Answer(Written),
    /// The request goes on, as somebody's, with these fields for the answer.
    Pass {
        user: Option<String>,
        fields: Vec<(Vec<u8>, Vec<u8>)>,
    },
    Aborted,
}

/// A decision that is waited for.
#[derive(Debug, Default)]
pub(crate) struct Owed(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    decided: Option<Decided>,
    /// It was decided, or nobody waits any more.
    is_over: bool,
    is_gone: bool,
    waker: Option<Waker>,
}

impl Owed {
    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<Decided> {
        let mut state = self.state();
        if let Some(decided) = state.decided.take() {
            return Poll::Ready(decided);
        }
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            state.waker = Some(context.waker().clone());
        }
        Poll::Pending
    }

    fn close(&self) {
        let waker = {
            let mut state = self.state();
            state.is_over = true;
            state.is_gone = true;
            state.decided = None;
            state.waker.take()
        };
        drop(waker);
    }

    fn decide(&self, decided: Decided) -> Result<(), Fault> {
        let waker = {
            let mut state = self.state();
            if state.is_gone {
                return Err(Fault::Gone);
            }
            if std::mem::replace(&mut state.is_over, true) {
                return Err(Fault::State);
            }
            state.decided = Some(decided);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deferred for Owed {
    fn answer(&self, answer: &Answer<'_>) -> Result<(), Fault> {
        self.decide(Decided::Answer(Written::new(answer)?))
    }

    fn begin(&self, _head: &Answer<'_>) -> Result<(), Fault> {
        // A hook answers whole or not at all.
        Err(Fault::State)
    }

    fn write(&self, _piece: &[u8]) -> Result<(), Fault> {
        Err(Fault::State)
    }

    fn end(&self) -> Result<(), Fault> {
        Err(Fault::State)
    }

    fn abort(&self) -> Result<(), Fault> {
        self.decide(Decided::Aborted)
    }

    fn wait(&self, _within: Duration) -> Result<(), Fault> {
        Err(Fault::State)
    }

    fn resume_body(&self) -> Result<(), Fault> {
        Err(Fault::State)
    }

    fn pass(&self, user: &[u8], fields: &[(&[u8], &[u8])]) -> Result<(), Fault> {
        let user = match user {
            [] => None,
            user => Some(user_of(user)?),
        };
        let mut bytes = 0;
        let mut kept = Vec::with_capacity(fields.len());
        for (name, value) in fields {
            bytes += name.len() + value.len() + b": \r\n".len();
            if bytes > ADDED_FIELDS_BYTES_MAX {
                return Err(Fault::Limit);
            }
            check_field(name, value)?;
            kept.push((name.to_vec(), value.to_vec()));
        }
        self.decide(Decided::Pass { user, fields: kept })
    }
}

/// Whether a field may be a hook's to add.
pub(crate) fn check_field(name: &[u8], value: &[u8]) -> Result<(), Fault> {
    if Written::is_servers_own(name) {
        return Err(Fault::Invalid);
    }
    let bytes = name.len() + value.len() + b": \r\n".len();
    if bytes > ADDED_FIELDS_BYTES_MAX {
        return Err(Fault::Limit);
    }
    let mut room = vec![0; bytes];
    HeadWriter::new(&mut room).field(name, value).map_err(|_unsendable| Fault::Invalid)
}

/// A user's name, if it can be one: it is written into logs.
pub(crate) fn user_of(user: &[u8]) -> Result<String, Fault> {
    if user.len() > USER_BYTES_MAX {
        return Err(Fault::Limit);
    }
    let user = str::from_utf8(user).map_err(|_no_text| Fault::Invalid)?;
    let is_name = !user.is_empty() && !user.chars().any(char::is_control);
    if is_name { Ok(user.to_owned()) } else { Err(Fault::Invalid) }
}

/// A promise of a hook's. With its end the library hears how it was over, and its number is nobody's.
pub(crate) struct Pledge {
    pub(crate) owed: Arc<Owed>,
    promise: Promise,
    user: User,
    pub(crate) side: Rc<Side>,
    over: Over,
}

impl Pledge {
    pub(crate) fn new(side: &Rc<Side>, user: User) -> Result<Self, Fault> {
        let owed: Arc<Owed> = Arc::default();
        let promise = Promise::new(Arc::<Owed>::clone(&owed))?;
        Ok(Self { owed, promise, user, side: Rc::clone(side), over: Over::Gone })
    }

    pub(crate) fn number(&self) -> u64 {
        self.promise.number()
    }

    /// How it will have been over; without a word the client is gone.
    pub(crate) fn settle(&mut self, over: Over) {
        self.over = over;
    }
}

impl Drop for Pledge {
    fn drop(&mut self) {
        self.owed.close();
        self.side.stage.over(self.promise.number(), self.user, self.over);
    }
}

impl fmt::Debug for Pledge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pledge").field("number", &self.promise.number()).field("over", &self.over).finish()
    }
}
