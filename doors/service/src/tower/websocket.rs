//! WebSockets in axum's applications: an extractor that stands where axum's own does, and sockets of Ringway behind it.

use super::notes::Notes;
use super::trouble::{Trouble, said_by};
use crate::background::{self, Background};
use crate::socket::{Acceptor, AsyncSocket, Handshake, SocketHandler, SocketOptions, spawned};
use axum_core::body::Body;
use axum_core::extract::FromRequestParts;
use axum_core::response::IntoResponse;
use http::request;
use http::{Extensions, Response, StatusCode};
use ringway_engine::WorkerHandle;
use ringway_http::head::Known;
use ringway_http::response::EncodeError;
use ringway_lock::Mutex;
use ringway_web::exchange::Exchange;
use ringway_web::pipeline::Reply;
use ringway_ws::handshake::{Refusal, Upgrade};
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, PoisonError};
use std::task::Poll;

/// A request that may become a WebSocket. Where it is none the client is told so (426, or 400 where it asks in a way that
/// cannot be answered) and the handler is not called.
///
/// ```
/// use axum::{Router, response::Response, routing::get};
/// use ringway_service::tower::WebSocketUpgrade;
///
/// async fn echo(upgrade: WebSocketUpgrade) -> Response {
///     upgrade.on_upgrade(|mut socket| async move {
///         while let Some(message) = socket.next().await {
///             if socket.send(message.as_message()).await.is_err() {
///                 break;
///             }
///         }
///     })
/// }
/// let router: Router = Router::new().route("/echo", get(echo));
/// ```
///
/// Sockets live on their worker: the future that has one may use all of tokio, but the socket cannot be sent to another thread. What others
/// shall send comes by a channel, or through groups ([`crate::socket::Group`]) with [`WebSocketUpgrade::handled_by`].
#[derive(Debug)]
pub struct WebSocketUpgrade {
    options: SocketOptions,
}

/// Why a request becomes no WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebSocketRejection(Refusal);

/// What the bridge has found in a request that asks for a WebSocket.
#[derive(Clone, Copy)]
struct Asked(Result<(), Refusal>);

/// What a handler has decided, on its way back in the answer's extensions.
#[derive(Clone)]
enum Decision {
    Open(Arc<Mutex<Option<Opening>>>),
    Refuse(Refusal),
}

struct Opening {
    options: SocketOptions,
    open: Open,
}

/// Makes the socket's handler and gives it the connection.
type Open = Box<
    dyn FnOnce(&Acceptor, &mut Exchange<'_>, &Handshake, &Rc<Notes>) -> Result<Reply, EncodeError> + Send,
>;

impl WebSocketUpgrade {
    /// What the socket is allowed, in place of [`SocketOptions::default`].
    #[must_use]
    pub fn options(mut self, options: SocketOptions) -> Self {
        self.options = options;
        self
    }

    /// The subprotocols that are spoken. The client's first that is among them is agreed on.
    #[must_use]
    pub fn protocols<P: Into<String>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        self.options.protocols = protocols.into_iter().map(Into::into).collect();
        self
    }

    /// The answer behind which the socket is `run`'s: a task of the socket's worker, in which tokio's context is entered. The
    /// socket closes when it ends.
    pub fn on_upgrade<F, R>(self, run: R) -> Response<Body>
    where
        R: FnOnce(AsyncSocket) -> F + Send + 'static,
        F: Future<Output = ()> + 'static,
    {
        self.open(Box::new(move |acceptor, exchange, handshake, notes| {
            let notes = Rc::clone(notes);
            let handler = spawned(move |socket| with_tokio(run(socket), notes));
            acceptor.open(exchange, handshake, handler)
        }))
    }

    /// The answer behind which the socket is a [`SocketHandler`]'s, which `make` makes on the socket's worker: its callbacks run
    /// on the connection's turns, without a task.
    pub fn handled_by<H: SocketHandler + 'static>(
        self,
        make: impl FnOnce(&Handshake) -> H + Send + 'static,
    ) -> Response<Body> {
        self.open(Box::new(move |acceptor, exchange, handshake, _notes| {
            let handler = make(handshake);
            acceptor.open(exchange, handshake, handler)
        }))
    }

    fn open(self, open: Open) -> Response<Body> {
        let opening = Opening { options: self.options, open };
        let decision = Decision::Open(Arc::new(Mutex::new(Some(opening))));
        answer(StatusCode::SWITCHING_PROTOCOLS, decision)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for WebSocketUpgrade {
    type Rejection = WebSocketRejection;

    async fn from_request_parts(parts: &mut request::Parts, _state: &S) -> Result<Self, Self::Rejection> {
        match parts.extensions.get::<Asked>() {
            Some(Asked(Ok(()))) => Ok(Self { options: SocketOptions::default() }),
            Some(Asked(Err(refusal))) => Err(WebSocketRejection(*refusal)),
            None => Err(WebSocketRejection(Refusal::NotAsked)),
        }
    }
}

impl IntoResponse for WebSocketRejection {
    fn into_response(self) -> Response<Body> {
        let status = StatusCode::from_u16(self.0.status().code()).unwrap_or(StatusCode::BAD_REQUEST);
        answer(status, Decision::Refuse(self.0))
    }
}

impl fmt::Display for WebSocketRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl std::error::Error for WebSocketRejection {}

fn answer(status: StatusCode, decision: Decision) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.extensions_mut().insert(decision);
    response
}

/// Takes note of a request that asks for a WebSocket, for the extractor.
pub(super) fn note(exchange: &Exchange<'_>, extensions: &mut Extensions) {
    if !exchange.request.has(Known::Upgrade) {
        return;
    }
    let asked = if exchange.is_extended_connect() {
        Upgrade::read_connect(exchange.request).map(Some)
    } else {
        Upgrade::read(exchange.request)
    };
    if let Some(asked) = asked.map(|upgrade| upgrade.map(|_| ())).transpose() {
        extensions.insert(Asked(asked));
    }
}

/// Answers as the extractor or its handler has decided; `None` where nobody has. Called once for an answer.
pub(super) fn decide(
    extensions: &Extensions,
    exchange: &mut Exchange<'_>,
    worker: &WorkerHandle,
    notes: &Rc<Notes>,
) -> Option<Result<Reply, EncodeError>> {
    let opening = match extensions.get::<Decision>()? {
        Decision::Refuse(refusal) => return Some(Acceptor::refuse(exchange, *refusal)),
        Decision::Open(opening) => opening.lock().unwrap_or_else(PoisonError::into_inner).take()?,
    };
    let told = Rc::clone(notes);
    let acceptor = Acceptor::with_panics_told(worker.clone(), opening.options, move || {
        told.trouble(&Trouble::Panic("in a callback of a socket".to_owned()));
    });
    Some(match acceptor.read(exchange) {
        Ok(handshake) => (opening.open)(&acceptor, exchange, &handshake, notes),
        Err(refusal) => Acceptor::refuse(exchange, refusal),
    })
}

/// A future with tokio's context entered whenever it runs, and when it ends; its panics are noted.
async fn with_tokio<F: Future<Output = ()>>(future: F, notes: Rc<Notes>) {
    // At the end of the program there is none: then it may do without, or panic.
    let Ok(background) = background::handle() else { return future.await };
    let mut within = Within { future: Some(Box::pin(future)), background };
    poll_fn(|context| {
        let Some(future) = &mut within.future else { return Poll::Ready(()) };
        let _entered = within.background.enter();
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(polled) => polled,
            Err(panic) => {
                notes.trouble(&Trouble::Panic(said_by(&*panic)));
                Poll::Ready(())
            }
        }
    })
    .await;
}

struct Within<F> {
    future: Option<Pin<Box<F>>>,
    background: Background,
}

impl<F> Drop for Within<F> {
    fn drop(&mut self) {
        let _entered = self.background.enter();
        let _panicked = catch_unwind(AssertUnwindSafe(|| self.future = None));
    }
}
