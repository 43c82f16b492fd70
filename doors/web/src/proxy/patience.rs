//! How long a backend is waited for, and with what: a connection has one deadline.

use super::why::Why;
use crate::limits::deadline;
use ringway_engine::Stream;
use std::io;

/// What is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Wait {
    /// Nothing that is the backend's to do.
    #[default]
    Nothing,
    /// It is to take what is sent, so many bytes of which were given on.
    Taking(u64),
    /// It is to say something.
    Answering,
}

/// What a connection's deadline is about.
#[derive(Debug, Default)]
pub(super) struct Patience {
    wait: Wait,
}

impl Patience {
    /// Waits for `wait` from now on, at most `ms_max`. A wait for the same goes on.
    pub(super) fn wait(&mut self, stream: &mut Stream, wait: Wait, ms_max: u64) {
        if self.wait != wait {
            self.wait_until(stream, wait, deadline(stream.now_ms(), ms_max));
        }
    }

    /// The same, until the worker's clock says `until_ms`.
    pub(super) fn wait_until(&mut self, stream: &mut Stream, wait: Wait, until_ms: u64) {
        if self.wait == wait {
            return;
        }
        self.wait = wait;
        match wait {
            Wait::Nothing => stream.clear_deadline(),
            Wait::Taking(_) | Wait::Answering => stream.set_deadline(until_ms),
        }
    }

    /// What was waited for has come. The deadline stays for now, because setting the next one costs as much as clearing this.
    pub(super) fn forget(&mut self) {
        self.wait = Wait::Nothing;
    }

    /// What an error of the connection means; `None`: a deadline has passed that nobody waits for any more, and is gone now.
    pub(super) fn judge(&self, stream: &mut Stream, error: &io::Error) -> Option<Why> {
        match (error.kind(), self.wait) {
            (io::ErrorKind::TimedOut, Wait::Nothing) => {
                stream.clear_deadline();
                None
            }
            (io::ErrorKind::TimedOut, Wait::Taking(_)) => Some(Why::Stuck),
            (io::ErrorKind::TimedOut, Wait::Answering) => Some(Why::Silent),
            (io::ErrorKind::OutOfMemory, _) => Some(Why::NoMemory),
            _ => Some(Why::Reset),
        }
    }
}
