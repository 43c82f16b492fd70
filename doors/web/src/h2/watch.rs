//! How long an HTTP/2 connection may take for what: one deadline of the engine's for all of it.

use crate::limits::{WebLimits, deadline};
use ringway_engine::{SendProgress, Stream};

/// How long a peer has to hear that the server leaves before its last request is settled, in milliseconds.
const LEAVE_MS: u64 = 1_000;

/// Never.
const NEVER: u64 = u64::MAX;

/// What the connection is doing, as far as time is concerned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doing {
    /// Part of a message is there whose rest must come.
    pub(super) is_within_head: bool,
    /// Bytes wait for the peer to take them.
    pub(super) is_sending: bool,
    /// No stream lives.
    pub(super) is_idle: bool,
    /// When the first of the requests must be whole; never, when all are.
    pub(super) uploads_until_ms: u64,
    /// Bytes of bodies sent so far.
    pub(super) sent: u64,
}

/// What time has run out for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Late {
    /// The rest of a message.
    pub(super) head: bool,
    /// The peer takes nothing.
    pub(super) reader: bool,
    /// A window of sending is over; it was slow, or not.
    pub(super) window: bool,
    /// A request's body.
    pub(super) upload: bool,
    /// The next request.
    pub(super) idle: bool,
    /// The connection as a whole.
    pub(super) lifetime: bool,
    /// To hear that the server leaves.
    pub(super) leaving: bool,
}

/// The deadlines of a connection; the worker's milliseconds.
#[derive(Debug)]
pub(super) struct Watch {
    head_until: u64,
    idle_until: u64,
    uploads_until: u64,
    life_until: u64,
    leave_until: u64,
    window_until: u64,
    /// How far sending had come when the window began.
    progress: SendProgress,
    sent: u64,
    armed: u64,
}

impl Watch {
    pub(super) fn new(opened_s: u32, limits: &WebLimits) -> Self {
        let life_until = deadline(u64::from(opened_s) * 1000, limits.lifetime_ms_max);
        Self {
            head_until: NEVER,
            idle_until: NEVER,
            uploads_until: NEVER,
            life_until,
            leave_until: NEVER,
            window_until: NEVER,
            progress: SendProgress::default(),
            sent: 0,
            armed: NEVER,
        }
    }

    /// A request has come: what was idle is not.
    pub(super) fn note_request(&mut self) {
        self.idle_until = NEVER;
    }

    /// The server has said that it leaves.
    pub(super) fn note_leaving(&mut self, now_ms: u64) {
        self.leave_until = self.leave_until.min(now_ms + LEAVE_MS);
        self.life_until = NEVER;
    }

    /// Sets the engine's deadline to the first of all.
    pub(super) fn arm(&mut self, stream: &mut Stream, doing: Doing, limits: &WebLimits) {
        let now_ms = stream.now_ms();
        begin(&mut self.head_until, doing.is_within_head, now_ms, limits.head_ms_max);
        let is_idle = doing.is_idle && !doing.is_sending && !doing.is_within_head;
        begin(&mut self.idle_until, is_idle, now_ms, limits.idle_ms_max);
        if doing.is_sending && self.window_until == NEVER {
            // Where sending stands is asked at the first look: asking costs a system call, and most answers never see one.
            self.progress = SendProgress::default();
            self.sent = doing.sent;
        }
        begin(&mut self.window_until, doing.is_sending, now_ms, limits.send_window_ms);
        self.uploads_until = doing.uploads_until_ms;
        let all = [self.idle_until, self.uploads_until, self.life_until, self.leave_until, self.window_until];
        let first = all.into_iter().fold(self.head_until, u64::min);
        if first != self.armed {
            self.armed = first;
            if first == NEVER {
                stream.clear_deadline();
            } else {
                stream.set_deadline(first);
            }
        }
    }

    /// The engine's deadline has passed: what was it?
    pub(super) fn expire(&mut self, stream: &Stream, sent: u64, limits: &WebLimits) -> Late {
        let now_ms = stream.now_ms();
        let is_over = |until: &mut u64| {
            let is_over = *until <= now_ms;
            if is_over {
                *until = NEVER;
            }
            is_over
        };
        let mut late = Late {
            head: is_over(&mut self.head_until),
            upload: self.uploads_until <= now_ms,
            idle: is_over(&mut self.idle_until),
            lifetime: is_over(&mut self.life_until),
            leaving: is_over(&mut self.leave_until),
            window: self.window_until <= now_ms,
            reader: false,
        };
        if late.window {
            let progress = stream.send_progress();
            let least = limits.send_window_bytes_min;
            late.reader = !progress.has_moved(self.progress, least) && sent < self.sent.saturating_add(least);
            self.progress = progress;
            self.sent = sent;
            self.window_until = deadline(now_ms, limits.send_window_ms);
        }
        // It has fired: whatever comes next is set anew.
        self.armed = 0;
        late
    }
}

/// Starts a time that is to run and does not, and stops one that is not to.
fn begin(until: &mut u64, runs: bool, now_ms: u64, limit_ms: u64) {
    if !runs {
        *until = NEVER;
    } else if *until == NEVER {
        *until = deadline(now_ms, limit_ms);
    }
}
