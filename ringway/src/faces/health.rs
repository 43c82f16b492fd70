//! Whether the server lives, and whether it takes new work: for load balancers and orchestrators.

use crate::faces::{Desk, refuse_method};
use crate::web::exchange::Exchange;
use crate::web::pipeline::{Handled, Handler};
use ringway_http::response::EncodeError;
use ringway_http::status::Status;
use std::fmt;

const LINES: &[u8] = b"Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n";
const LATER_LINES: &[u8] =
    b"Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\nRetry-After: 5\r\n";

/// Answers at two paths.
pub struct Health {
    desk: Desk,
    live: Box<[u8]>,
    ready: Box<[u8]>,
}

impl Health {
    /// `live` answers 200 as long as a worker answers at all; `ready` while the server takes new work, and 503 before and
    /// after.
    #[must_use]
    pub fn new(desk: Desk, live: &str, ready: &str) -> Self {
        Self { desk, live: live.as_bytes().into(), ready: ready.as_bytes().into() }
    }
}

impl Handler for Health {
    fn handle(&self, exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
        let is_ready = exchange.path == &*self.ready;
        if !is_ready && exchange.path != &*self.live {
            return Ok(Handled::NotMine);
        }
        if let Some(refused) = refuse_method(exchange) {
            return refused;
        }
        let (status, lines, body) = match (is_ready, self.desk.running()) {
            (false, _) => (Status::OK, LINES, "live\n"),
            (true, None) => (Status::SERVICE_UNAVAILABLE, LATER_LINES, "starting\n"),
            (true, Some(running)) if running.is_draining() => {
                (Status::SERVICE_UNAVAILABLE, LATER_LINES, "draining\n")
            }
            (true, Some(_)) => (Status::OK, LINES, "ready\n"),
        };
        exchange.text(status, lines, body.as_bytes().to_vec()).map(Handled::Answer)
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Health({}, {})", self.live.escape_ascii(), self.ready.escape_ascii())
    }
}
