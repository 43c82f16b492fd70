//! How long a backend is waited for: one deadline of its connection, for whatever is waited for now.

use super::upload::Waits;
use crate::limits::deadline;
use crate::upstream::TryRules;
use ringway_engine::Stream;

/// The time that a request has at a backend.
#[derive(Debug)]
pub(super) struct Watch {
    read_ms: u64,
    send_ms: u64,
    /// For the head of the answer; 0: as for everything that is read.
    head_ms: u64,
    head_until_ms: u64,
    end_at_ms: u64,
    /// What the deadline that is set is for.
    set_for: Waits,
    is_set: bool,
    waited_ms: u64,
}

impl Watch {
    pub(super) fn new(tries: &TryRules) -> Self {
        Self {
            read_ms: tries.read_timeout_ms,
            send_ms: tries.send_timeout_ms,
            head_ms: tries.try_timeout_ms,
            head_until_ms: 0,
            end_at_ms: u64::MAX,
            set_for: Waits::No,
            is_set: false,
            waited_ms: 0,
        }
    }

    /// The head is there: what follows has only to go on.
    pub(super) fn begin_answer(&mut self) {
        (self.head_ms, self.head_until_ms) = (0, 0);
    }

    /// Whatever it does, it ends then.
    pub(super) fn end_at(&mut self, at_ms: u64) {
        self.end_at_ms = at_ms;
    }

    /// How long was waited when time ran out, in milliseconds.
    pub(super) fn waited_ms(&self) -> u64 {
        self.waited_ms
    }

    /// Something has come.
    pub(super) fn received(&mut self, stream: &mut Stream) {
        if std::mem::replace(&mut self.is_set, false) {
            stream.clear_deadline();
        }
    }

    /// Nothing has come; `upload` says what the body of the request waits for.
    pub(super) fn wait(&mut self, stream: &mut Stream, upload: Waits) {
        if self.is_set && self.set_for == upload {
            return;
        }
        let now_ms = stream.now_ms();
        if self.head_ms > 0 && self.head_until_ms == 0 && upload != Waits::Client {
            self.head_until_ms = deadline(now_ms, self.head_ms);
        }
        let span_ms = match upload {
            // The client has its own time.
            Waits::Client => {
                self.received(stream);
                return;
            }
            Waits::Backend => self.send_ms,
            Waits::No => self.read_ms,
        };
        let mut until_ms = deadline(now_ms, span_ms).min(self.end_at_ms);
        if self.head_until_ms > 0 {
            until_ms = until_ms.min(self.head_until_ms);
        }
        self.waited_ms = until_ms.saturating_sub(now_ms);
        (self.set_for, self.is_set) = (upload, true);
        stream.set_deadline(until_ms);
    }
}
