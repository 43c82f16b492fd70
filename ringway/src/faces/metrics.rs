//! Figures for Prometheus over HTTP.

use crate::faces::prometheus::{Format, text};
use crate::faces::{Desk, made_on_pool, refuse_method};
use crate::web::accept;
use crate::web::exchange::Exchange;
use crate::web::pipeline::{Handled, Handler};
use crate::web::rules::addresses::AddressSet;
use ringway_http::response::EncodeError;
use ringway_http::status::Status;
use std::fmt;

const TEXT_LINES: &[u8] =
    b"Content-Type: text/plain; version=0.0.4; charset=utf-8\r\nCache-Control: no-store\r\n";
const OPEN_LINES: &[u8] =
    b"Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\nCache-Control: no-store\r\n";

/// Answers at one path, to some networks. Others are told that there is nothing.
pub struct Metrics {
    desk: Desk,
    path: Box<[u8]>,
    allow: AddressSet,
}

impl Metrics {
    /// At `path`, for `allow` and for local clients of Unix sockets.
    #[must_use]
    pub fn new(desk: Desk, path: &str, allow: AddressSet) -> Self {
        Self { desk, path: path.as_bytes().into(), allow }
    }
}

impl Handler for Metrics {
    fn handle(&self, exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
        if exchange.path != &*self.path {
            return Ok(Handled::NotMine);
        }
        if exchange.peer().is_some_and(|peer| !self.allow.contains(peer.ip())) {
            return exchange.error(Status::NOT_FOUND).map(Handled::Answer);
        }
        if let Some(refused) = refuse_method(exchange) {
            return refused;
        }
        let wanted = accept::names(exchange.request.accept(), "application/openmetrics-text");
        let (format, lines) =
            if wanted { (Format::OpenMetrics, OPEN_LINES) } else { (Format::Text, TEXT_LINES) };
        made_on_pool(exchange, &self.desk, lines, move |running| {
            text(&running.snapshot(), format).into_bytes()
        })
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Metrics({})", self.path.escape_ascii())
    }
}
