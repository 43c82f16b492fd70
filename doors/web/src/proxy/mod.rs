//! Requests answered by servers behind this one: passed on with heads made anew, bodies streamed both ways, tried elsewhere
//! only where that is safe.

mod attempt;
#[cfg(feature = "h2")]
mod h2;
mod ids;
mod job;
mod options;
mod outgoing;
mod patience;
mod pump;
mod relayed;
mod tunnel;
mod why;

use crate::exchange::Exchange;
use crate::limits::deadline;
use crate::log::errors::ErrorLog;
use crate::pipeline::{Handled, Handler};
use crate::request_body::RequestBody;
#[cfg(feature = "h2")]
use crate::upstream::Speaks;
use crate::upstream::{Key, Upstream};
use attempt::Request;
use ids::Ids;
use job::Job;
use pump::Pump;
use ringway_engine::WorkerHandle;
use ringway_engine::heap::local_future;
use ringway_engine::ring::Pool;
use ringway_http::method::Method;
use ringway_http::response::EncodeError;
use ringway_http::status::Status;
use std::fmt;
use std::sync::Arc;

pub use options::{INTERIM_MAX, ProxyOptions};

/// Has an upstream answer.
pub struct Proxy {
    options: Arc<ProxyOptions>,
    upstream: Upstream,
    pool: Pool,
    #[cfg(feature = "h2")]
    worker: WorkerHandle,
    ids: Ids,
    log: Option<ErrorLog>,
}

impl Proxy {
    /// A proxy for the calling worker. Not during a turn.
    #[must_use]
    pub fn new(
        options: Arc<ProxyOptions>,
        upstream: Upstream,
        worker: &WorkerHandle,
        log: Option<ErrorLog>,
    ) -> Self {
        Self {
            options,
            upstream,
            pool: worker.slices(),
            #[cfg(feature = "h2")]
            worker: worker.clone(),
            ids: Ids::new(),
            log,
        }
    }

    /// What is to be done for a request.
    ///
    /// # Errors
    /// The status to refuse with.
    fn job(&self, exchange: &mut Exchange<'_>) -> Result<Job, Status> {
        let options = &*self.options;
        if let Some(bytes_max) = options.body_bytes_max {
            exchange.set_body_limit(bytes_max);
        }
        let body = exchange.take_body();
        if let Some(error) = body.as_ref().and_then(RequestBody::error) {
            return Err(error.status());
        }
        let upgrade = outgoing::upgrade(exchange, options);
        let id = if options.id_field.is_empty() { None } else { Some(self.ids.next()) };
        let id = id.as_ref().map_or(&b""[..], |id| &id[..]);
        let framing = outgoing::framing(exchange.request.method(), body.as_ref());
        let head = outgoing::head(exchange, options, &self.pool, framing, id)?;
        let (pump, client) = match body {
            Some(body) if !body.is_empty() => (Some(Pump::new(body)), None),
            body => (None, body.filter(|_| upgrade.is_some())),
        };
        let now_ms = exchange.moment.ms;
        let method = exchange.request.method();
        Ok(Job {
            upstream: self.upstream.clone(),
            log: self.log.clone(),
            key: Key::new(exchange.peer(), None),
            request: Request {
                head,
                pump,
                is_head: method == Method::Head,
                is_upgrade: client.is_some(),
                until_ms: deadline(now_ms, options.total_ms),
                limits: options.reply,
            },
            is_idempotent: method.is_idempotent(),
            client,
            upgrade_idle_ms: options.upgrade_idle_ms,
        })
    }
}

impl Handler for Proxy {
    fn handle(&self, exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
        let job = match self.job(exchange) {
            Ok(job) => job,
            Err(status) => return exchange.error(status).map(Handled::Answer),
        };
        exchange.ask_once();
        // One that goes over to another protocol has its ends told on, each on its side.
        if job.client.is_none() {
            exchange.needs_client();
        }
        #[cfg(feature = "h2")]
        if self.upstream.group().speaks() == Speaks::Http2 {
            let worker = self.worker.clone();
            return Ok(Handled::Later(local_future(async move { h2::run(job, &worker).await.finish() })));
        }
        Ok(Handled::Later(local_future(async move { job.run().await.finish() })))
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("upstream", &self.upstream).finish_non_exhaustive()
    }
}
