//! Deadlines of a connection whose directions have one each; the engine keeps one for both.

use ringway_engine::Stream;
use std::cell::Cell;

/// Never.
const NEVER: u64 = u64::MAX;

/// When reading and sending have taken too long: the worker's milliseconds.
#[derive(Debug)]
pub(crate) struct Timing {
    reading_until: Cell<u64>,
    sending_until: Cell<u64>,
    armed: Cell<u64>,
    is_reading_late: Cell<bool>,
    is_sending_late: Cell<bool>,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            reading_until: Cell::new(NEVER),
            sending_until: Cell::new(NEVER),
            armed: Cell::new(NEVER),
            is_reading_late: Cell::new(false),
            is_sending_late: Cell::new(false),
        }
    }
}

impl Timing {
    /// Reading is late at `until_ms`.
    #[cfg(feature = "bodies")]
    pub(crate) fn set_reading(&self, stream: &mut Stream, until_ms: u64) {
        self.reading_until.set(until_ms);
        self.arm(stream);
    }

    /// Sending is late at `until_ms`.
    pub(crate) fn set_sending(&self, stream: &mut Stream, until_ms: u64) {
        self.sending_until.set(until_ms);
        self.arm(stream);
    }

    /// Whether a time is set for reading.
    #[cfg(feature = "bodies")]
    pub(crate) fn is_reading_timed(&self) -> bool {
        self.reading_until.get() != NEVER
    }

    /// Whether a time is set for sending.
    pub(crate) fn is_sending_timed(&self) -> bool {
        self.sending_until.get() != NEVER
    }

    /// No time is set for sending any more. The engine's deadline is left as it is: it costs less to look once too often.
    pub(crate) fn forget_sending(&self) {
        self.sending_until.set(NEVER);
    }

    /// Whether reading has become late since the last call.
    #[cfg(feature = "bodies")]
    pub(crate) fn is_reading_late(&self) -> bool {
        self.is_reading_late.replace(false)
    }

    /// Whether sending has become late since the last call.
    pub(crate) fn is_sending_late(&self) -> bool {
        self.is_sending_late.replace(false)
    }

    /// The engine's deadline has passed: whose was it?
    pub(crate) fn expire(&self, stream: &mut Stream) {
        let now_ms = stream.now_ms();
        let take_late = |until: &Cell<u64>, late: &Cell<bool>| {
            if until.get() <= now_ms {
                until.set(NEVER);
                late.set(true);
            }
        };
        take_late(&self.reading_until, &self.is_reading_late);
        take_late(&self.sending_until, &self.is_sending_late);
        stream.clear_deadline();
        self.armed.set(NEVER);
        self.arm(stream);
    }

    /// Drops all times.
    pub(crate) fn clear(&self, stream: &mut Stream) {
        self.reading_until.set(NEVER);
        self.sending_until.set(NEVER);
        self.armed.set(NEVER);
        stream.clear_deadline();
    }

    /// A deadline that is too early is left: it is looked at when it passes.
    fn arm(&self, stream: &mut Stream) {
        let first = self.reading_until.get().min(self.sending_until.get());
        if first < self.armed.get() {
            stream.set_deadline(first);
            self.armed.set(first);
        }
    }
}
