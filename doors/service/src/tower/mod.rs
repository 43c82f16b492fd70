//! Services of tower, such as axum's routers, on Ringway's workers.
//!
//! A [`Tower`] makes a handler of the web door out of any [`tower_service::Service`] of requests with a [`Body`] and answers with
//! any [`http_body::Body`]. Each worker has a clone of the service, and each call one of that. A call's future is polled at once
//! where its connection is, with the background runtime's context entered; only one that must wait becomes a task, which any thread may
//! wake. So a handler that answers at once costs a call, and one that uses `tokio::spawn`, timers, sockets, `spawn_blocking` or crates that
//! stand on them finds [the runtime](crate::background). Work that is all sockets can be sent
//! there as a whole: [`on_tokio`].
//!
//! What a handler must know that comes from hyper: a client that ends its sending before it has its answer is taken to have left,
//! so the handler's future is dropped; trailer fields are left away in both directions; `Date`, `Server` and what concerns the
//! connection are the server's own to say; an answer whose `Content-Length` is not that of its body is an error (500), or, where
//! that shows only on the way, breaks the connection.

mod body;
mod bridge;
mod call;
mod inlet;
mod notes;
mod on_tokio;
mod outlet;
mod request;
mod service;
mod trouble;
#[cfg(feature = "axum")]
mod websocket;

pub use body::{Body, QUEUE_BYTES_MAX};
use bridge::{Bridge, Side};
use http::{Extensions, Request, Response};
use notes::Notes;
pub use on_tokio::{OnTokio, OnTokioBody, OnTokioService, on_tokio};
use ringway_engine::{Session, WorkerHandle};
use ringway_lock::Mutex;
use ringway_web::exchange::Exchange;
use ringway_web::pipeline::Handler;
pub use service::IntoService;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tower_service::Service;
#[cfg(feature = "axum")]
pub use websocket::{WebSocketRejection, WebSocketUpgrade};

/// How long a service may take for the head of an answer when nobody says otherwise, in milliseconds.
pub const ANSWER_MS_MAX: u64 = 120_000;

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What adds to a request's extensions.
type Extend = dyn Fn(&mut Facts<'_, '_>, &mut Extensions) + Send + Sync;

/// A service of tower and how it is called.
pub struct Tower<S> {
    /// Behind a lock, because a service need not be `Sync`; it is cloned once for each worker.
    service: Arc<Mutex<S>>,
    settings: Settings,
}

#[derive(Clone)]
struct Settings {
    body_bytes_max: Option<u64>,
    answer_ms_max: u64,
    extend: Option<Arc<Extend>>,
}

/// What the server knows of a request besides what was sent.
pub struct Facts<'e, 'x> {
    exchange: &'e mut Exchange<'x>,
}

impl Facts<'_, '_> {
    /// The client's address: the peer's, or what a proxy that is trusted says of it (without a port then); `None` for Unix
    /// sockets.
    pub fn address(&mut self) -> Option<SocketAddr> {
        self.exchange.peer()
    }

    /// What the TLS handshake agreed on; `None` without TLS.
    pub fn session(&mut self) -> Option<Rc<Session>> {
        self.exchange.session()
    }

    /// Who the client has proved to be to the site that the service is in.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.exchange.user().map(|user| &**user)
    }
}

impl fmt::Debug for Facts<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Facts")
    }
}

impl<S, B> Tower<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body + 'static,
    B::Error: Into<BoxError>,
{
    /// That service, as it is.
    pub fn new(service: S) -> Self {
        let settings = Settings { body_bytes_max: None, answer_ms_max: ANSWER_MS_MAX, extend: None };
        Self { service: Arc::new(Mutex::new(service)), settings }
    }

    /// How long a request's body may be, in bytes, in place of the server's limit. A longer one is answered 413 where its client says
    /// so, and otherwise breaks off with an error. Limits of the service's own, such as axum's `DefaultBodyLimit`, hold
    /// besides.
    #[must_use]
    pub fn body_limit(mut self, bytes_max: u64) -> Self {
        self.settings.body_bytes_max = Some(bytes_max);
        self
    }

    /// How long the service may take for the head of an answer, in place of [`ANSWER_MS_MAX`]. Who takes longer is dropped, and
    /// the client answered 503.
    #[must_use]
    pub fn answer_limit(mut self, longest: Duration) -> Self {
        self.settings.answer_ms_max = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
        self
    }

    /// Adds to the extensions of each request what the server knows of it. Nothing is added by itself, because looking for the client's
    /// address costs a system call for each connection, and extensions cost allocations for each request.
    ///
    /// For axum's `ConnectInfo`:
    /// ```
    /// # fn of(router: axum::Router) -> ringway_service::tower::Tower<axum::Router> {
    /// use axum::extract::connect_info::ConnectInfo;
    /// ringway_service::tower::Tower::new(router).extend(|facts, extensions| {
    ///     if let Some(address) = facts.address() {
    ///         extensions.insert(ConnectInfo(address));
    ///     }
    /// })
    /// # }
    /// ```
    #[must_use]
    pub fn extend(
        mut self,
        extend: impl Fn(&mut Facts<'_, '_>, &mut Extensions) + Send + Sync + 'static,
    ) -> Self {
        self.settings.extend = Some(Arc::new(extend));
        self
    }

    /// The handler of one worker. Of paths below `prefix` (`/a/b`, or nothing) the service sees what follows it. `report` is given what
    /// the service does wrong, in words for the log.
    ///
    /// # Errors
    /// What the kernel says when the background runtime cannot be started.
    pub fn handler(
        &self,
        worker: &WorkerHandle,
        prefix: &str,
        report: impl Fn(&dyn fmt::Display) + 'static,
    ) -> io::Result<Box<dyn Handler>> {
        let notes = Rc::new(Notes::new(report));
        Ok(Box::new(self.bridge(worker, prefix, notes)?))
    }

    fn bridge(&self, worker: &WorkerHandle, prefix: &str, notes: Rc<Notes>) -> io::Result<Bridge<S>> {
        let service = self.service.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Bridge::new(service, prefix, self.settings.clone(), worker.clone(), notes)
    }
}

impl<S> fmt::Debug for Tower<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tower").field("body_bytes_max", &self.settings.body_bytes_max).finish_non_exhaustive()
    }
}
