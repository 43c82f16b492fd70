//! Calls that run on the background runtime as a whole, their answers coming back by a channel.

use super::BoxError;
use super::call::read_ahead;
use crate::background;
use bytes::{Buf, Bytes};
use http::response::Parts;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinHandle};
use tower_layer::Layer;
use tower_service::Service;

/// Frames of an answer's body that may be on their way from the runtime.
const FRAMES_MAX: usize = 8;

/// A layer that runs calls, and makes the bodies of their answers, on the background runtime.
///
/// A handler that waits for a socket of tokio's is woken across threads each time, which costs more than tokio's own handlers pay.
/// One that does little else is cheaper there as a whole: it costs one way there and one way back, and another for bodies that do
/// not come at once.
///
/// ```
/// use axum::{Router, routing::get};
/// use ringway_service::tower::on_tokio;
///
/// let router: Router = Router::new()
///     .route("/hello", get(|| async { "made on the worker" }))
///     .route("/report", get(|| async { "made of many queries" }).layer(on_tokio()));
/// ```
#[must_use]
pub const fn on_tokio() -> OnTokio {
    OnTokio(())
}

/// See [`on_tokio`].
#[derive(Clone, Copy, Debug)]
pub struct OnTokio(());

impl<S> Layer<S> for OnTokio {
    type Service = OnTokioService<S>;

    fn layer(&self, service: S) -> Self::Service {
        OnTokioService { service }
    }
}

/// A service whose calls run on the background runtime. A call that is dropped ends there too.
#[derive(Clone, Debug)]
pub struct OnTokioService<S> {
    service: S,
}

impl<S, R, B> Service<Request<R>> for OnTokioService<S>
where
    S: Service<Request<R>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    R: Send + 'static,
    B: HttpBody + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Response = Response<OnTokioBody>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        // The one that is ready is called.
        let next = self.service.clone();
        let mut service = std::mem::replace(&mut self.service, next);
        // Nearly always the bridge has entered it.
        let runtime = Handle::try_current()
            .or_else(|_none| background::handle().map(|background| background.tokio().clone()));
        let Ok(runtime) = runtime else {
            // At the end of the program: whoever needs a runtime will say so.
            let here = service.call(request);
            return Box::pin(async move { Ok(here.await?.map(|body| OnTokioBody::here(Box::pin(body)))) });
        };
        let (said, heard) = oneshot::channel();
        let task = runtime.spawn(async move {
            match service.call(request).await {
                Ok(response) => answer(response, said).await,
                Err(error) => drop(said.send(Err(error))),
            }
        });
        Box::pin(receive(task, heard))
    }
}

/// An answer as it crosses: its head, what there was of its body, its length, and the rest.
struct Crossing {
    parts: Parts,
    ahead: Bytes,
    length: Option<u64>,
    frames: Option<mpsc::Receiver<Crossed>>,
}

/// Part of a body as it crosses.
enum Crossed {
    Frame(Frame<Bytes>),
    End,
    Error(BoxError),
}

/// Gives an answer back, and then its body as it is made.
async fn answer<B, E>(response: Response<B>, said: oneshot::Sender<Result<Crossing, E>>)
where
    B: HttpBody,
    B::Error: Into<BoxError>,
{
    let (parts, body) = response.into_parts();
    let length = body.size_hint().exact();
    let mut body = Some(body);
    let read = poll_fn(|context| Poll::Ready(body.take().map(|body| read_ahead(body, context)))).await;
    let (sender, frames) = mpsc::channel(FRAMES_MAX);
    let (ahead, rest) = match read {
        Some(Ok((ahead, rest))) => (ahead, rest),
        Some(Err(error)) => {
            // The first there is room for.
            let _heard = sender.try_send(Crossed::Error(error));
            let crossing = Crossing { parts, ahead: Bytes::new(), length: None, frames: Some(frames) };
            let _gone = said.send(Ok(crossing));
            return;
        }
        None => (Bytes::new(), None),
    };
    let crossing = Crossing { parts, ahead, length, frames: rest.is_some().then_some(frames) };
    if said.send(Ok(crossing)).is_err() {
        return;
    }
    let Some(mut body) = rest else { return };
    loop {
        let crossed = match poll_fn(|context| body.as_mut().poll_frame(context)).await {
            Some(Ok(frame)) => {
                Crossed::Frame(frame.map_data(|mut data| data.copy_to_bytes(data.remaining())))
            }
            Some(Err(error)) => Crossed::Error(error.into()),
            None => Crossed::End,
        };
        let is_last = !matches!(crossed, Crossed::Frame(_));
        if sender.send(crossed).await.is_err() || is_last {
            return;
        }
    }
}

async fn receive<E>(
    task: JoinHandle<()>,
    heard: oneshot::Receiver<Result<Crossing, E>>,
) -> Result<Response<OnTokioBody>, E> {
    let guard = AbortOnDrop(task.abort_handle());
    match heard.await {
        Ok(Err(error)) => Err(error),
        Ok(Ok(Crossing { parts, ahead, length, frames })) => {
            let rest = frames.map(|frames| Rest::Crossing { frames, _guard: guard });
            Ok(Response::from_parts(parts, OnTokioBody { ahead, left: length, rest }))
        }
        Err(_unsaid) => match task.await {
            Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
            // The runtime ends, and the program with it.
            _ => std::future::pending().await,
        },
    }
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

type Here = Pin<Box<dyn HttpBody<Data = Bytes, Error = BoxError> + Send>>;

/// The body of an answer that was made on the background runtime. Dropping it ends its making.
pub struct OnTokioBody {
    ahead: Bytes,
    /// Bytes still to come, where that is known.
    left: Option<u64>,
    rest: Option<Rest>,
}

enum Rest {
    Crossing { frames: mpsc::Receiver<Crossed>, _guard: AbortOnDrop },
    Here(Here),
}

impl OnTokioBody {
    fn here<B>(body: Pin<Box<B>>) -> Self
    where
        B: HttpBody + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let left = body.size_hint().exact();
        Self { ahead: Bytes::new(), left, rest: Some(Rest::Here(Box::pin(Copied(body)))) }
    }
}

impl HttpBody for OnTokioBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let frame = if this.ahead.is_empty() {
            match &mut this.rest {
                None => return Poll::Ready(None),
                Some(Rest::Here(body)) => match ready!(body.as_mut().poll_frame(context)) {
                    Some(Ok(frame)) => frame,
                    ended => {
                        this.rest = None;
                        return Poll::Ready(ended);
                    }
                },
                Some(Rest::Crossing { frames, .. }) => match ready!(frames.poll_recv(context)) {
                    Some(Crossed::Frame(frame)) => frame,
                    ended => {
                        this.rest = None;
                        return Poll::Ready(match ended {
                            Some(Crossed::Error(error)) => Some(Err(error)),
                            Some(_) => None,
                            // Its task has panicked.
                            None => Some(Err("the body's task has ended before it".into())),
                        });
                    }
                },
            }
        } else {
            Frame::data(std::mem::take(&mut this.ahead))
        };
        if let (Some(left), Some(data)) = (&mut this.left, frame.data_ref()) {
            *left = left.saturating_sub(data.len() as u64);
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_empty() && self.rest.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let known = self.left.or_else(|| self.rest.is_none().then_some(self.ahead.len() as u64));
        known.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl fmt::Debug for OnTokioBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OnTokioBody({} bytes at hand)", self.ahead.len())
    }
}

/// A body with other data and errors.
struct Copied<B>(Pin<Box<B>>);

impl<B> HttpBody for Copied<B>
where
    B: HttpBody,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = ready!(self.0.as_mut().poll_frame(context));
        let copied = |frame: Frame<B::Data>| frame.map_data(|mut data| data.copy_to_bytes(data.remaining()));
        Poll::Ready(polled.map(|frame| frame.map(copied).map_err(Into::into)))
    }
}
