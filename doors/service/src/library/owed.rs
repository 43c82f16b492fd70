//! An answer that a library owes: what comes of it from any thread, until whoever waits takes it.

use super::written::Written;
use ringway_lock::{Condvar, Mutex, MutexGuard};
use ringway_plugin::{Answer, Deferred, Fault};
use std::collections::VecDeque;
use std::io::Read;
use std::sync::PoisonError;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Bytes of an answer in pieces that wait to be sent. A piece that does not fit waits outside.
pub(crate) const QUEUED_BYTES_MAX: usize = 256 * 1024;

/// With no more than so many bytes waiting, there is room again.
const ROOM_BYTES: usize = QUEUED_BYTES_MAX / 2;

/// An answer that is owed.
#[derive(Debug, Default)]
pub(crate) struct Owed {
    state: Mutex<State>,
    room: Condvar,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    /// Pieces that wait.
    queue: VecDeque<u8>,
    /// The library found no room and wants to hear of it.
    wants_room: bool,
    /// The next piece of the request's body was asked for.
    is_resumed: bool,
    waker: Option<Waker>,
}

#[derive(Debug, Default)]
enum Phase {
    #[default]
    Waiting,
    /// All of it, or its beginning.
    Made { written: Written, is_whole: bool },
    /// The beginning was taken.
    Taken,
    /// It was all taken, or there are no more pieces.
    Ended,
    /// It will not come, or not to its end.
    Aborted,
    /// Nobody waits any more.
    Over,
}

/// What came of an answer.
#[derive(Debug)]
pub(crate) enum Came {
    /// All of it.
    Whole(Written),
    /// Its beginning.
    Begun(Written),
    /// It will not come.
    Aborted,
}

/// What the next piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// So many bytes; and whether the library is to hear that there is room.
    Bytes(usize, bool),
    End,
    Aborted,
}

impl Owed {
    /// The answer, once it is there.
    pub(crate) fn poll_came(&self, context: &Context<'_>) -> Poll<Came> {
        let state = &mut *self.state();
        match std::mem::replace(&mut state.phase, Phase::Taken) {
            Phase::Made { written, is_whole: true } => {
                state.phase = Phase::Ended;
                Poll::Ready(Came::Whole(written))
            }
            Phase::Made { written, is_whole: false } => Poll::Ready(Came::Begun(written)),
            Phase::Aborted => {
                state.phase = Phase::Aborted;
                Poll::Ready(Came::Aborted)
            }
            other => {
                state.phase = other;
                state.wait(context);
                Poll::Pending
            }
        }
    }

    /// The next piece of an answer that was begun, into `memory`.
    pub(crate) fn poll_piece(&self, context: &Context<'_>, memory: &mut [u8]) -> Poll<Piece> {
        let mut state = self.state();
        // Reading from memory does not fail.
        let count = state.queue.read(memory).unwrap_or(0);
        if count > 0 {
            let is_roomy = state.queue.len() <= ROOM_BYTES;
            if is_roomy {
                self.room.notify_all();
            }
            let has_room = is_roomy && std::mem::take(&mut state.wants_room);
            if state.queue.is_empty() {
                // What waits for hours keeps no memory meanwhile.
                state.queue = VecDeque::new();
            }
            return Poll::Ready(Piece::Bytes(count, has_room));
        }
        match state.phase {
            Phase::Ended => Poll::Ready(Piece::End),
            Phase::Aborted => Poll::Ready(Piece::Aborted),
            _ => {
                state.wait(context);
                Poll::Pending
            }
        }
    }

    /// Whether the next piece of the request's body was asked for since the last time.
    pub(crate) fn take_resumed(&self) -> bool {
        std::mem::take(&mut self.state().is_resumed)
    }

    /// Nobody waits any more: what comes now comes too late.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        *state = State { phase: Phase::Over, ..State::default() };
        self.room.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and wakes whoever waits for that.
    fn change(&self, with: impl FnOnce(&mut State) -> Result<(), Fault>) -> Result<(), Fault> {
        let (changed, waker) = {
            let mut state = self.state();
            if matches!(state.phase, Phase::Over) {
                return Err(Fault::Gone);
            }
            let changed = with(&mut state);
            let waker = if changed.is_ok() { state.waker.take() } else { None };
            (changed, waker)
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        changed
    }

    fn make(&self, answer: &Answer<'_>, is_whole: bool) -> Result<(), Fault> {
        // Copied before the lock: it may be long.
        let mut written = Written::new(answer)?;
        let first = if is_whole { Vec::new() } else { std::mem::take(&mut written.body) };
        if first.len() > QUEUED_BYTES_MAX {
            return Err(Fault::Limit);
        }
        if !is_whole && written.status.is_bodiless() {
            return Err(Fault::Invalid);
        }
        self.change(|state| {
            if !matches!(state.phase, Phase::Waiting) {
                return Err(Fault::State);
            }
            state.queue.extend(first);
            state.phase = Phase::Made { written, is_whole };
            Ok(())
        })
    }
}

impl Deferred for Owed {
    fn answer(&self, answer: &Answer<'_>) -> Result<(), Fault> {
        self.make(answer, true)
    }

    fn begin(&self, head: &Answer<'_>) -> Result<(), Fault> {
        self.make(head, false)
    }

    fn write(&self, piece: &[u8]) -> Result<(), Fault> {
        if piece.len() > QUEUED_BYTES_MAX {
            return Err(Fault::Limit);
        }
        self.change(|state| {
            if !state.is_open() {
                return Err(Fault::State);
            }
            if state.queue.len() + piece.len() > QUEUED_BYTES_MAX {
                state.wants_room = true;
                return Err(Fault::Full);
            }
            state.queue.extend(piece);
            Ok(())
        })
    }

    fn end(&self) -> Result<(), Fault> {
        self.change(|state| match &mut state.phase {
            Phase::Taken => {
                state.phase = Phase::Ended;
                Ok(())
            }
            Phase::Made { written, is_whole } if !*is_whole => {
                if written.length.is_some_and(|length| length != state.queue.len() as u64) {
                    return Err(Fault::Invalid);
                }
                // Nothing was sent yet: it is an answer like others, and its length is known.
                written.body = std::mem::take(&mut state.queue).into();
                *is_whole = true;
                Ok(())
            }
            _ => Err(Fault::State),
        })
    }

    fn abort(&self) -> Result<(), Fault> {
        self.change(|state| {
            if matches!(state.phase, Phase::Ended | Phase::Aborted | Phase::Made { is_whole: true, .. }) {
                return Err(Fault::State);
            }
            state.phase = Phase::Aborted;
            state.queue.clear();
            Ok(())
        })
    }

    fn wait(&self, within: Duration) -> Result<(), Fault> {
        let until = Instant::now() + within;
        let mut state = self.state();
        loop {
            match state.phase {
                Phase::Over => return Err(Fault::Gone),
                _ if !state.is_open() => return Err(Fault::State),
                _ if state.queue.len() <= ROOM_BYTES => return Ok(()),
                _ => {}
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Fault::Time);
            }
            state = self.room.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn resume_body(&self) -> Result<(), Fault> {
        self.change(|state| {
            state.is_resumed = true;
            Ok(())
        })
    }
}

impl State {
    fn wait(&mut self, context: &Context<'_>) {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            self.waker = Some(context.waker().clone());
        }
    }

    /// Whether pieces may come.
    fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Taken | Phase::Made { is_whole: false, .. })
    }
}
