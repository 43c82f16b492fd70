//! A request's way through the upstream: which backends it is tried at, and what comes of it.

use super::attempt::{Head, Request, attempt};
use super::pump::{Pump, Stop};
use super::relayed::Relayed;
use super::tunnel::Tunnel;
use super::why::{Stage, Why};
use crate::exchange::Exchange;
use crate::log::errors::ErrorLog;
use crate::pipeline::{Finish, Handled};
use crate::request_body::RequestBody;
use crate::upstream::{Key, Lease, LeaseError, Tried, TryRules, Upstream};
use ringway_engine::heap::local_future;
use ringway_http::response::EncodeError;
use ringway_http::status::Status;

/// A request to be answered by an upstream.
pub(super) struct Job {
    pub(super) upstream: Upstream,
    pub(super) log: Option<ErrorLog>,
    pub(super) key: Key,
    pub(super) request: Request,
    /// Whether it may be done twice.
    pub(super) is_idempotent: bool,
    /// What the client sends when it goes over to another protocol.
    pub(super) client: Option<RequestBody>,
    pub(super) upgrade_idle_ms: u64,
}

/// What came of it.
pub(super) enum Outcome {
    /// The head of an answer; its body follows.
    Answer(Head, Relayed),
    /// The same over a connection that requests share.
    #[cfg(feature = "h2")]
    Shared(Head, super::h2::Relayed),
    /// The backend goes over to another protocol.
    Switch(Head, Tunnel),
    /// The client is answered with this.
    Refuse(Status),
}

impl Job {
    /// Tries backends until one answers, or none is left that may be tried.
    pub(super) async fn run(mut self) -> Outcome {
        let rules = self.upstream.group().tries();
        let mut tried = Tried::default();
        let mut latest = None;
        loop {
            let mut lease = match self.upstream.lease(&self.key, &mut tried).await {
                Ok(lease) => lease,
                Err(error) => {
                    self.note(&error);
                    return Outcome::Refuse(latest.map_or(error.status(), Why::status));
                }
            };
            let why = match attempt(&mut self.request, &mut lease.stream, &rules).await {
                Ok(head) => return self.answered(lease, head, rules),
                // The client's own fault, or it is gone.
                Err(Stop::Client(error)) => return Outcome::Refuse(error.status()),
                Err(Stop::Upstream(why)) => why,
            };
            let is_late = lease.stream.now_ms() >= self.request.until_ms;
            // A kept connection may have been closed without anybody's fault, at the very moment it was used.
            let is_free = lease.is_reused() && why.is_end();
            why.tell(lease, Stage::Before);
            let has_given = self.request.pump.as_ref().is_some_and(|pump| pump.has_given);
            let is_worn_out = !is_free && tried.count() >= rules.attempts;
            if is_late || has_given || is_worn_out || !self.is_idempotent || why == Why::NoMemory {
                return Outcome::Refuse(why.status());
            }
            latest = Some(why);
        }
    }

    /// Tells the error log why there is no connection.
    pub(super) fn note(&self, error: &LeaseError) {
        if let Some(log) = &self.log {
            log.error("proxy", format_args!("{error}"));
        }
    }

    fn answered(self, mut lease: Lease, head: Head, rules: TryRules) -> Outcome {
        lease.answered(head.status.code());
        match self.client {
            Some(client) if head.status == Status::SWITCHING_PROTOCOLS => {
                let tunnel = Tunnel::new(lease, client, head.rest.clone(), self.upgrade_idle_ms);
                Outcome::Switch(head, tunnel)
            }
            _ => {
                let pump = self.request.pump.filter(|pump| !Pump::is_over(pump));
                let relayed = Relayed::new(lease, &head, pump, rules);
                Outcome::Answer(head, relayed)
            }
        }
    }
}

impl Outcome {
    /// What answers the client.
    pub(super) fn finish(self) -> Finish {
        Box::new(move |exchange: &mut Exchange<'_>| self.give(exchange))
    }

    /// What of the backend's head is given back.
    fn head(&self) -> Option<&Head> {
        match self {
            Self::Answer(head, _) | Self::Switch(head, _) => Some(head),
            #[cfg(feature = "h2")]
            Self::Shared(head, _) => Some(head),
            Self::Refuse(_) => None,
        }
    }

    /// Answers the client.
    pub(super) fn give(self, exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
        if self.head().is_some_and(|head| exchange.lacks_memory(head.lines.len())) {
            return Ok(Handled::Later(local_future(std::future::ready(self.finish()))));
        }
        let reply = match self {
            Self::Refuse(status) => exchange.error(status),
            Self::Switch(head, tunnel) => exchange.switch_protocols(&head.lines, tunnel),
            Self::Answer(head, relayed) => {
                exchange.stream_with(head.status, &head.lines, head.length(), relayed)
            }
            #[cfg(feature = "h2")]
            Self::Shared(head, relayed) => {
                exchange.stream_with(head.status, &head.lines, head.length(), relayed)
            }
        };
        reply.map(Handled::Answer)
    }
}
