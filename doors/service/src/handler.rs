//! What may handle a request: plain functions on the connection's turn, and those that wait.

use crate::owned::{Behind, OwnedRequest};
use crate::request::Request;
use crate::response::{IntoResponse, Response};
use crate::running::Built;
use ringway_engine::heap::{LocalFuture, local_future};
use ringway_http::response::EncodeError;
use ringway_web::exchange::Exchange;
use ringway_web::pipeline::Handled;
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// What handles requests of a route. These are handlers, told apart by the marker `M`, which nobody has to name:
///
/// - `Fn() -> impl IntoResponse` and `Fn(&Request<'_>) -> impl IntoResponse`: run on the connection's turn, must not wait, cost
///   nothing beside themselves. A closure spells its argument's type out: `|request: &Request<'_>| ..`.
/// - `async Fn(OwnedRequest) -> impl IntoResponse`: polled once on the turn; one that is not ready then goes on as a task.
///
/// A handler of a safe method (GET, HEAD) may be called again for the same request when fields that the site adds do not fit
/// behind its answer's head. Others are called once.
pub trait Handler<M>: 'static {
    /// The handler as a route keeps it.
    fn into_endpoint(self) -> Endpoint;
}

/// A handler as a route keeps it.
pub struct Endpoint(pub(crate) Box<dyn Serve>);

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Endpoint")
    }
}

/// A request at its route, for who works on the exchange itself: see [`crate::App::raw`].
pub struct Call<'c, 'x> {
    pub(crate) built: &'c Rc<Built>,
    pub(crate) route: usize,
    pub(crate) exchange: &'c mut Exchange<'x>,
    pub(crate) path: &'x [u8],
}

impl<'x> Call<'_, 'x> {
    /// The request as other handlers see it.
    pub fn request(&mut self) -> Request<'_> {
        Request {
            head: self.exchange.request,
            path: self.path,
            query: self.exchange.query,
            route: self.route,
            table: &self.built.table,
            worker: &self.built.worker,
            now_ms: self.exchange.moment.ms,
            unix_s: self.exchange.common.now_s,
            ask: RefCell::new(&mut *self.exchange),
        }
    }

    /// The same with a head of its own, to be kept; it takes the body.
    pub fn to_owned(&mut self) -> OwnedRequest {
        OwnedRequest::new(self.exchange, self.built, self.route, self.path)
    }

    /// The exchange.
    pub fn exchange(&mut self) -> &mut Exchange<'x> {
        self.exchange
    }

    /// What this worker counts of the service.
    #[cfg(feature = "tower")]
    pub(crate) fn stats(&self) -> &std::sync::Arc<crate::stats::WorkerStats> {
        &self.built.stats
    }

    /// Answers as a handler's return value would.
    ///
    /// # Errors
    /// When the exchange's memory is too small for the answer's head.
    pub fn answer(&mut self, answer: impl IntoResponse) -> Result<Handled, EncodeError> {
        self.built.finish(self.route, answer.into_response(), self.exchange)
    }
}

impl fmt::Debug for Call<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("exchange", &self.exchange).finish_non_exhaustive()
    }
}

/// What a handler came to.
pub(crate) enum Served {
    Answer(Response),
    /// Its future waits.
    Pending(LocalFuture<Response>, Rc<Behind>),
    /// It has answered by itself.
    Handled(Result<Handled, EncodeError>),
}

/// A handler, whatever kind it is of.
pub(crate) trait Serve {
    fn serve(&self, call: Call<'_, '_>) -> Served;
}

/// Marks handlers without an argument.
#[derive(Debug)]
pub enum Constant {}

/// Marks handlers of borrowed requests.
#[derive(Debug)]
pub enum Synchronous {}

/// Marks handlers that may wait.
#[derive(Debug)]
pub enum Asynchronous {}

struct OfNothing<F>(F);
struct OfBorrowed<F>(F);
struct OfOwned<F>(F);
struct OfCall<F>(F);

impl<F, R> Handler<Constant> for F
where
    F: Fn() -> R + 'static,
    R: IntoResponse,
{
    fn into_endpoint(self) -> Endpoint {
        Endpoint(Box::new(OfNothing(self)))
    }
}

impl<F, R> Serve for OfNothing<F>
where
    F: Fn() -> R,
    R: IntoResponse,
{
    fn serve(&self, _call: Call<'_, '_>) -> Served {
        Served::Answer((self.0)().into_response())
    }
}

impl<F, R> Handler<Synchronous> for F
where
    F: Fn(&Request<'_>) -> R + 'static,
    R: IntoResponse,
{
    fn into_endpoint(self) -> Endpoint {
        Endpoint(Box::new(OfBorrowed(self)))
    }
}

impl<F, R> Serve for OfBorrowed<F>
where
    F: Fn(&Request<'_>) -> R,
    R: IntoResponse,
{
    fn serve(&self, mut call: Call<'_, '_>) -> Served {
        Served::Answer((self.0)(&call.request()).into_response())
    }
}

impl<F, W> Handler<Asynchronous> for F
where
    F: Fn(OwnedRequest) -> W + 'static,
    W: Future<Output: IntoResponse> + 'static,
{
    fn into_endpoint(self) -> Endpoint {
        Endpoint(Box::new(OfOwned(self)))
    }
}

impl<F, W> Serve for OfOwned<F>
where
    F: Fn(OwnedRequest) -> W,
    W: Future<Output: IntoResponse> + 'static,
{
    fn serve(&self, mut call: Call<'_, '_>) -> Served {
        let request = call.to_owned();
        let (behind, left) = (Rc::clone(&request.behind), Rc::clone(&request.behind));
        let work = (self.0)(request);
        let mut future = local_future(async move {
            let mut response = work.await.into_response();
            #[cfg(feature = "sessions")]
            if let Some(session) = behind.session.take() {
                response = session.acknowledge(response).await;
            }
            response.lines.append(&mut behind.lines.borrow_mut());
            response
        });
        // Most that wait for nothing are done here, without a task. One that is not is polled again by its task, whose waker counts.
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(response) => Served::Answer(response),
            Poll::Pending => Served::Pending(future, left),
        }
    }
}

impl<F> Serve for OfCall<F>
where
    F: Fn(&mut Call<'_, '_>) -> Result<Handled, EncodeError>,
{
    fn serve(&self, mut call: Call<'_, '_>) -> Served {
        Served::Handled((self.0)(&mut call))
    }
}

impl Endpoint {
    /// A handler that works on the exchange itself.
    pub fn raw(handler: impl Fn(&mut Call<'_, '_>) -> Result<Handled, EncodeError> + 'static) -> Self {
        Self(Box::new(OfCall(handler)))
    }
}
