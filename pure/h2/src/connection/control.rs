//! Pings and farewells of a server (RFC 9113 sections 6.7 and 6.8).

use super::{Buffers, Connection, Leaving};
use crate::code::{Code, Fault};
use crate::frame::{Head, WINDOW_MAX, write_goaway, write_ping};

/// What the PING behind the announcement of leaving carries.
const LEAVING_PING: [u8; 8] = *b"leaving!";

impl Connection {
    /// Tells the peer that the connection will end, without losing what it has asked by then (section 6.8). Which
    /// request is the last is settled when it has heard, or by [`Connection::leave_now`].
    pub fn leave(&mut self, buffers: &mut Buffers) {
        if self.leaving == Leaving::No {
            self.leaving = Leaving::Announced;
            write_goaway(&mut buffers.out, WINDOW_MAX, Code::NO_ERROR);
            write_ping(&mut buffers.out, false, LEAVING_PING);
        }
    }

    /// Takes no further request from here on.
    pub fn leave_now(&mut self, buffers: &mut Buffers) {
        if self.leaving != Leaving::Settled {
            self.settle(buffers);
        }
    }

    /// Says why the connection ends, for a reason of the caller's.
    pub fn end(&mut self, code: Code, buffers: &mut Buffers) {
        self.fail(code, buffers);
    }

    /// Section 6.7.
    pub(super) fn ping(
        &mut self,
        head: Head,
        payload: &[u8],
        now_ms: u64,
        buffers: &mut Buffers,
    ) -> Result<(), Fault> {
        let acknowledged = self.link.ping(head, payload, now_ms, buffers)?;
        if acknowledged == Some(LEAVING_PING) && self.leaving == Leaving::Announced {
            self.settle(buffers);
        }
        Ok(())
    }

    /// The peer has heard: the streams it has opened by now are the last.
    fn settle(&mut self, buffers: &mut Buffers) {
        self.leaving = Leaving::Settled;
        self.link.served = self.link.highest;
        write_goaway(&mut buffers.out, self.link.served, Code::NO_ERROR);
    }
}
