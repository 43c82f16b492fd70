//! One call of a service: made, polled where its connection is, and what came of it.

use super::body::Body;
use super::inlet::Inlet;
use super::trouble::{Trouble, said_by};
use super::{BoxError, Side};
use bytes::{Buf, Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::response::Parts;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Body as HttpBody;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tower_service::Service;

/// Most bytes of an answer's body that are waited for to be sent with its head; a longer one follows as it is taken.
pub(super) const WHOLE_BYTES_MAX: usize = 64 * 1024;

/// How often a call is polled anew at once because part of its request's body was moved.
const ROUNDS_MAX: usize = 16;

/// A call under way.
pub(super) struct Call<S: Service<Request<Body>>, B> {
    side: Rc<Side<S>>,
    /// Until the service is ready.
    waiting: Option<(S, Request<Body>)>,
    /// Empty before and after.
    future: Option<Slot<S::Future>>,
    answer: PhantomData<B>,
    inlet: Option<Inlet>,
    has_body: bool,
}

/// Where a future lives while it is polled; kept for the next one.
pub(super) type Slot<F> = Pin<Box<Option<F>>>;

/// What came of a call.
pub(super) enum Outcome<B> {
    Answer(Parts, Content<B>),
    Failed(Trouble),
}

/// The body of an answer.
pub(super) enum Content<B> {
    /// None is sent, but this much is said of it.
    Absent(Option<u64>),
    Whole(Bytes),
    /// These bytes, then what the body makes, of so many bytes in all if that is known.
    Coming(Bytes, Option<Pin<Box<B>>>, Option<u64>),
}

impl<S, B> Call<S, B>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: HttpBody,
    B::Error: Into<BoxError>,
{
    /// A call of `service` that nobody has polled yet. `has_body`: the answer may have one.
    pub(super) fn new(
        side: Rc<Side<S>>,
        service: S,
        request: Request<Body>,
        inlet: Option<Inlet>,
        has_body: bool,
    ) -> Self {
        Self { side, waiting: Some((service, request)), future: None, answer: PhantomData, inlet, has_body }
    }

    /// What is left of the request's body.
    pub(super) fn take_inlet(&mut self) -> Option<Inlet> {
        self.inlet.take()
    }

    /// Polls it, and moves the request's body meanwhile.
    pub(super) fn poll_outcome(&mut self, context: &mut Context<'_>) -> Poll<Outcome<B>> {
        for _ in 0..ROUNDS_MAX {
            let side = Rc::clone(&self.side);
            let entered = side.background.enter();
            let polled = catch_unwind(AssertUnwindSafe(|| self.step(context)));
            drop(entered);
            match polled {
                Ok(Poll::Ready(Ok(outcome))) => return Poll::Ready(outcome),
                Ok(Poll::Ready(Err(error))) => {
                    return Poll::Ready(Outcome::Failed(Trouble::Service(error.to_string())));
                }
                Err(panic) => return Poll::Ready(Outcome::Failed(Trouble::Panic(said_by(&*panic)))),
                Ok(Poll::Pending) => {}
            }
            let has_moved = self.inlet.as_mut().is_some_and(|inlet| inlet.pump(context));
            if !has_moved {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn step(&mut self, context: &mut Context<'_>) -> Poll<Result<Outcome<B>, BoxError>> {
        if let Some((service, _)) = &mut self.waiting {
            ready!(service.poll_ready(context)).map_err(Into::into)?;
        }
        if let Some((mut service, request)) = self.waiting.take() {
            let future = service.call(request);
            let mut slot = self.side.take_slot();
            slot.set(Some(future));
            self.future = Some(slot);
        }
        if let Some(slot) = &mut self.future {
            let Some(future) = slot.as_mut().as_pin_mut() else { return Poll::Pending };
            let response = ready!(future.poll(context)).map_err(Into::into)?;
            slot.set(None);
            if let Some(slot) = self.future.take() {
                self.side.put_slot(slot);
            }
            return Poll::Ready(Ok(settle(response, self.has_body, context)));
        }
        Poll::Pending
    }
}

impl<S: Service<Request<Body>>, B> Drop for Call<S, B> {
    fn drop(&mut self) {
        // What is dropped here may want a runtime for the last time, and may not come back as it should.
        let side = Rc::clone(&self.side);
        let _entered = side.background.enter();
        let _panicked = catch_unwind(AssertUnwindSafe(|| {
            self.waiting = None;
            self.future = None;
        }));
    }
}

/// What is known of an answer before it is sent: whether its body is at hand, and how long it is.
fn settle<B>(response: Response<B>, has_body: bool, context: &mut Context<'_>) -> Outcome<B>
where
    B: HttpBody,
    B::Error: Into<BoxError>,
{
    let (parts, body) = response.into_parts();
    let Ok(said) = said_length(&parts.headers) else { return Outcome::Failed(Trouble::LengthField) };
    let exact = body.size_hint().exact();
    let is_bodiless = parts.status.is_informational()
        || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if !has_body || is_bodiless {
        let is_sayable = !is_bodiless || parts.status == StatusCode::NOT_MODIFIED;
        let exact = exact.filter(|length| *length > 0);
        return Outcome::Answer(parts, Content::Absent(said.or(exact).filter(|_| is_sayable)));
    }
    if let (Some(said), Some(exact)) = (said, exact)
        && said != exact
    {
        return Outcome::Failed(Trouble::Length { said, found: exact });
    }
    match read_ahead(body, context) {
        Err(error) => Outcome::Failed(Trouble::Body(error.to_string())),
        Ok((bytes, None)) => {
            let found = bytes.len() as u64;
            match said {
                Some(said) if said != found => Outcome::Failed(Trouble::Length { said, found }),
                _ if bytes.len() <= WHOLE_BYTES_MAX => Outcome::Answer(parts, Content::Whole(bytes)),
                _ => Outcome::Answer(parts, Content::Coming(bytes, None, Some(found))),
            }
        }
        Ok((bytes, Some(body))) => Outcome::Answer(parts, Content::Coming(bytes, Some(body), said.or(exact))),
    }
}

/// What is there of a body, and the body unless that was all.
#[expect(clippy::type_complexity, reason = "it is taken apart at once")]
pub(super) fn read_ahead<B>(
    body: B,
    context: &mut Context<'_>,
) -> Result<(Bytes, Option<Pin<Box<B>>>), BoxError>
where
    B: HttpBody,
    B::Error: Into<BoxError>,
{
    if body.is_end_stream() {
        return Ok((Bytes::new(), None));
    }
    let mut body = Box::pin(body);
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while first.len().max(all.len()) < WHOLE_BYTES_MAX {
        let data = match body.as_mut().poll_frame(context) {
            Poll::Pending => return Ok((join(first, all), Some(body))),
            Poll::Ready(None) => return Ok((join(first, all), None)),
            Poll::Ready(Some(Err(error))) => return Err(error.into()),
            // Trailers have no way from here.
            Poll::Ready(Some(Ok(frame))) => frame.into_data().ok(),
        };
        if let Some(mut data) = data {
            let data = data.copy_to_bytes(data.remaining());
            if first.is_empty() {
                first = data;
            } else {
                if all.is_empty() {
                    all.extend_from_slice(&first);
                }
                all.extend_from_slice(&data);
            }
        }
        if body.is_end_stream() {
            return Ok((join(first, all), None));
        }
    }
    Ok((join(first, all), Some(body)))
}

fn join(first: Bytes, all: BytesMut) -> Bytes {
    if all.is_empty() { first } else { all.freeze() }
}

/// The length that an answer announces.
fn said_length(fields: &HeaderMap) -> Result<Option<u64>, ()> {
    let mut said = None;
    for value in fields.get_all(CONTENT_LENGTH) {
        let digits = value.as_bytes();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return Err(());
        }
        let length = value.to_str().ok().and_then(|text| text.parse().ok()).ok_or(())?;
        if said.replace(length).is_some_and(|earlier| earlier != length) {
            return Err(());
        }
    }
    Ok(said)
}
