//! A promise of a library's, from the request to the last byte of its answer.

use super::hosted::Side;
use super::owed::{Owed, Piece};
use super::sessions::Browser;
use super::stats::count;
use crate::stats::Active;
use ringway_engine::Sleep;
use ringway_plugin::{Fault, OfBody, Over, Promise, User, Worker};
use ringway_web::body_source::BodySource;
use ringway_web::request_body::{BodyError, RequestBody};
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Pieces of a request's body that are given in one go: others have a turn then.
const PIECES_MAX: usize = 16;

/// A promise that a library made. With its end the library hears how it was over, and its number is nobody's.
pub(crate) struct Pledge {
    pub(crate) owed: Arc<Owed>,
    promise: Promise,
    user: User,
    worker: Rc<Worker>,
    side: Rc<Side>,
    over: Over,
    /// The session, to be kept before the answer is sent.
    pub(crate) browser: Option<Browser>,
}

impl Pledge {
    /// Takes note of a promise.
    pub(crate) fn new(side: &Rc<Side>, worker: &Rc<Worker>, user: User) -> Result<Self, Fault> {
        let owed: Arc<Owed> = Arc::default();
        let promise = Promise::new(Arc::<Owed>::clone(&owed))?;
        let (worker, side) = (Rc::clone(worker), Rc::clone(side));
        Ok(Self { owed, promise, user, worker, side, over: Over::Gone, browser: None })
    }

    /// Its number.
    pub(crate) fn number(&self) -> u64 {
        self.promise.number()
    }

    /// Whose it is.
    pub(crate) fn side(&self) -> &Rc<Side> {
        &self.side
    }

    /// How it will have been over; without a word the client is gone.
    pub(crate) fn settle(&mut self, over: Over) {
        self.over = over;
    }
}

impl Drop for Pledge {
    fn drop(&mut self) {
        self.owed.close();
        match self.over {
            Over::Gone => count(&self.side.shared.tally.gone),
            Over::Late => count(&self.side.shared.tally.late),
            Over::Answered | Over::Body | Over::Aborted => {}
        }
        self.worker.over(self.promise.number(), self.user, self.over);
    }
}

impl fmt::Debug for Pledge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pledge").field("number", &self.promise.number()).field("over", &self.over).finish()
    }
}

/// A promise, and the request's body on its way to whoever made it.
pub(crate) struct Flow {
    pub(crate) pledge: Pledge,
    /// `None`: it has all it wants.
    body: Option<RequestBody>,
    is_paused: bool,
    /// How long something may still be waited for; `None` when something came, before the next wait.
    patience: Option<Pin<Box<Sleep>>>,
    /// Counts it among what is under way.
    _active: Option<Active>,
    /// Bytes still to be sent, where that was said.
    left: Option<u64>,
}

/// Why a body does not go on to the library.
pub(crate) enum Stuck {
    /// It cannot be read.
    Body(BodyError),
    /// The library said what makes no sense.
    Fault,
}

impl Flow {
    /// `now_ms` is the worker's clock.
    pub(crate) fn new(pledge: Pledge, body: Option<RequestBody>, now_ms: u64) -> Self {
        let patience = Some(Box::pin(pledge.side.patience(now_ms)));
        let active = pledge.side.active();
        Self { pledge, body, is_paused: false, patience, _active: active, left: None }
    }

    /// The answer was begun, with a body of that length if it was said.
    pub(crate) fn begun(&mut self, length: Option<u64>, has_body: bool) {
        self.left = length;
        self.patience = None;
        if !has_body || length == Some(0) {
            self.pledge.settle(Over::Answered);
        }
    }

    /// Gives the library what has come of the body.
    pub(crate) fn pump(&mut self, context: &mut Context<'_>) -> Result<(), Stuck> {
        for _ in 0..PIECES_MAX {
            if self.is_paused {
                if !self.pledge.owed.take_resumed() {
                    return Ok(());
                }
                self.is_paused = false;
            }
            let Some(body) = &mut self.body else { return Ok(()) };
            let piece = match body.poll_next(context) {
                Poll::Pending => return Ok(()),
                Poll::Ready(piece) => piece.map_err(Stuck::Body)?,
            };
            // Whoever asks for the next piece while this one is looked at asks in time.
            self.pledge.owed.take_resumed();
            self.patience = None;
            let Pledge { worker, user, .. } = &self.pledge;
            let said = worker.body(self.pledge.number(), *user, piece.as_deref());
            match said {
                _ if piece.is_none() => self.body = None,
                OfBody::More => {}
                OfBody::Pause => self.is_paused = true,
                OfBody::Stop => self.body = None,
                OfBody::Unknown(code) => {
                    self.fault(format_args!("its body callback says {code}"));
                    return Err(Stuck::Fault);
                }
            }
        }
        context.waker().wake_by_ref();
        Ok(())
    }

    /// Whether nothing came of the library for too long. It is asked in vain when something did.
    pub(crate) fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        let side = &self.pledge.side;
        let patience = self.patience.get_or_insert_with(|| Box::pin(side.patience(side.now_ms())));
        patience.as_mut().poll(context).is_ready()
    }

    /// Takes note of what the library did wrong.
    pub(crate) fn fault(&mut self, what: fmt::Arguments<'_>) {
        self.pledge.side.fault(what);
        self.pledge.settle(Over::Aborted);
    }

    fn broken(&mut self, over: Over) -> Poll<io::Result<usize>> {
        self.pledge.settle(over);
        Poll::Ready(Err(io::Error::other("a library's answer is not complete")))
    }
}

impl BodySource for Flow {
    fn poll_piece(&mut self, context: &mut Context<'_>, memory: &mut [u8]) -> Poll<io::Result<usize>> {
        match self.pump(context) {
            Ok(()) => {}
            Err(Stuck::Body(BodyError::Gone)) => return self.broken(Over::Gone),
            Err(Stuck::Body(_)) => return self.broken(Over::Body),
            Err(Stuck::Fault) => return self.broken(Over::Aborted),
        }
        match self.pledge.owed.poll_piece(context, memory) {
            Poll::Ready(Piece::Bytes(count, has_room)) => {
                self.patience = None;
                if has_room {
                    self.pledge.worker.writable(self.pledge.number(), self.pledge.user);
                }
                if let Some(left) = &mut self.left {
                    *left = left.saturating_sub(count as u64);
                    if *left == 0 {
                        self.pledge.settle(Over::Answered);
                    }
                }
                Poll::Ready(Ok(count))
            }
            Poll::Ready(Piece::End) => {
                if self.left.is_some_and(|left| left > 0) {
                    self.fault(format_args!("its answer is shorter than it said"));
                } else {
                    self.pledge.settle(Over::Answered);
                }
                Poll::Ready(Ok(0))
            }
            Poll::Ready(Piece::Aborted) => self.broken(Over::Aborted),
            Poll::Pending if self.is_late(context) => {
                let ms = self.pledge.side.shared.options.answer_ms_max;
                self.pledge
                    .side
                    .complain(format_args!("it has begun an answer and sent nothing for {ms} ms"));
                self.broken(Over::Late)
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn go_on(&mut self, context: &mut Context<'_>) {
        // What is wrong shows when the next piece is asked for.
        let _stuck = self.pump(context);
    }

    fn needs_reader(&self) -> bool {
        self.pledge.side.needs_client(&self.pledge.worker)
    }
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow").field("pledge", &self.pledge).field("left", &self.left).finish_non_exhaustive()
    }
}
