//! The stage that puts every served request into an access log.

use crate::access_log::{Format, LINE_LEN_MAX, LineWriter, Peer, Record};
use crate::log::sink::LogSink;
use crate::pipeline::{Served, ServedStage};
use std::cell::RefCell;

/// A worker's access log of a site, or of many that share it.
#[derive(Clone, Debug)]
pub struct AccessLog {
    sink: LogSink,
    writer: RefCell<LineWriter>,
}

impl AccessLog {
    /// A log in `format` by way of `sink`.
    #[must_use]
    pub fn new(format: Format, sink: LogSink) -> Self {
        Self { sink, writer: RefCell::new(LineWriter::new(format)) }
    }
}

impl ServedStage for AccessLog {
    fn served(&self, served: &Served<'_>) {
        self.sink.add(LINE_LEN_MAX, |lines| self.writer.borrow_mut().write(&record(served), lines));
    }

    fn wants_details(&self) -> bool {
        true
    }
}

fn record<'a>(served: &'a Served<'a>) -> Record<'a> {
    let request = served.request;
    Record {
        unix_ms: served.unix_ms,
        peer: served.peer.map_or(Peer::Text(b"unix"), |peer| Peer::Ip(peer.ip().to_canonical())),
        user: served.user.map(str::as_bytes),
        method: request.map(|request| request.method().as_str().as_bytes()),
        target: request.map_or(b"", |request| request.target()),
        protocol: served.protocol,
        host: request.and_then(|request| request.host()).map(|host| host.as_bytes()),
        status: served.status,
        bytes: served.body_bytes,
        duration_us: served.duration_us,
        referer: request.and_then(|request| request.referer()),
        user_agent: request.and_then(|request| request.user_agent()),
        rule: served.rule.map(str::as_bytes),
    }
}
