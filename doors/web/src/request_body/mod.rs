//! Bodies of requests for handlers that want them: pieces as they arrive, no faster than they are taken.
//!
//! A handler takes the body with [`crate::exchange::Exchange::take_body`] and reads it while it makes its answer, or while
//! its answer is sent. Nothing is read ahead of it beyond what the connection (over HTTP/2, the stream's window) holds
//! anyway. Over HTTP/1 pieces lie where they were received.

#[cfg(feature = "h2")]
pub(crate) mod arriving;
pub(crate) mod incoming;

#[cfg(feature = "h2")]
use arriving::Arriving;
use incoming::Incoming;
use ringway_engine::Stream;
use ringway_engine::ring::Slice;
use ringway_http::refusal::Refusal;
use ringway_http::status::Status;
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

/// What a client is told that waits for it before it sends its body (RFC 9110 section 10.1.1).
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Why a body cannot be read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// Its framing is broken.
    Malformed(Refusal),
    /// It is longer than its limit.
    TooLarge,
    /// It does not come, or too slowly.
    Late,
    /// The client is gone, or the connection took the body back because the answer was over.
    Gone,
}

impl BodyError {
    /// The status to answer with. Nobody sees the answer to [`BodyError::Gone`].
    #[must_use]
    pub const fn status(self) -> Status {
        match self {
            Self::Malformed(refusal) => refusal.status(),
            Self::TooLarge => Status::CONTENT_TOO_LARGE,
            Self::Late => Status::REQUEST_TIMEOUT,
            Self::Gone => Status::BAD_REQUEST,
        }
    }
}

impl From<Refusal> for BodyError {
    fn from(refusal: Refusal) -> Self {
        if refusal == Refusal::BodyLength { Self::TooLarge } else { Self::Malformed(refusal) }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(refusal) => write!(f, "the request's body is malformed: {refusal}"),
            Self::TooLarge => f.write_str("the request's body is longer than its limit"),
            Self::Late => f.write_str("the request's body did not come in time"),
            Self::Gone => f.write_str("the client is gone"),
        }
    }
}

impl std::error::Error for BodyError {}

/// The body of a request. Who drops it before its end leaves the rest to the connection, which discards it within limits or
/// closes behind the answer.
pub struct RequestBody {
    inner: Inner,
    length: Option<u64>,
}

enum Inner {
    Empty,
    Http1(Rc<Incoming>),
    #[cfg(feature = "h2")]
    Http2(Rc<Arriving>),
}

impl RequestBody {
    /// Its length in bytes, where the client said it; `None`: it is known at its end.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == Some(0)
    }

    /// What is wrong with it, as far as that shows already: a client may announce more than the limit.
    #[must_use]
    pub fn error(&self) -> Option<BodyError> {
        match &self.inner {
            Inner::Empty => None,
            Inner::Http1(incoming) => incoming.error(),
            #[cfg(feature = "h2")]
            Inner::Http2(arriving) => arriving.error(),
        }
    }

    /// The next piece, never an empty one; `None` at the end. A client that waits for "100 Continue" is told so at the first
    /// call, unless the answer has begun.
    ///
    /// While there is nothing to read the waker is kept and used when there is. Dropping whoever waits loses nothing.
    ///
    /// # Errors
    /// [`BodyError`]; every later call says the same.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Slice>, BodyError>> {
        match &self.inner {
            Inner::Empty => Poll::Ready(Ok(None)),
            Inner::Http1(incoming) => incoming.poll_next(context),
            #[cfg(feature = "h2")]
            Inner::Http2(arriving) => arriving.poll_next(context),
        }
    }

    /// Waits for the next piece: see [`RequestBody::poll_next`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancellation
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<Slice>, BodyError> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// What follows the request itself is to be read too, as it comes, until the client ends its sending: the connection
    /// has switched to another protocol ([`crate::exchange::Exchange::switch_protocols`]). Nothing limits its length and no
    /// time is set for it. Without effect where protocols cannot be switched.
    pub fn unframed(&mut self) {
        match &self.inner {
            Inner::Empty => return,
            Inner::Http1(incoming) => incoming.set_unframed(),
            #[cfg(feature = "h2")]
            Inner::Http2(arriving) => arriving.set_unframed(),
        }
        self.length = None;
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        match &self.inner {
            Inner::Empty | Inner::Http1(_) => {}
            #[cfg(feature = "h2")]
            Inner::Http2(arriving) => arriving.let_go(),
        }
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody").field("length", &self.length).finish_non_exhaustive()
    }
}

/// What a request's course keeps of its body.
#[derive(Default)]
pub(crate) struct Upload {
    pub(crate) carrier: Option<Carrier>,
    /// A handler has it.
    pub(crate) is_taken: bool,
    /// What a handler will have of it at most, in bytes.
    bytes_max: Option<u64>,
    /// Who was asked once must not be asked again.
    pub(crate) is_once: bool,
    /// The answer is given up when the client has ended its sending.
    pub(crate) needs_client: bool,
    /// The head of the answer needs the most memory there is.
    pub(crate) has_long_answer: bool,
}

/// Where a body comes from.
pub(crate) enum Carrier {
    Http1(Rc<Incoming>),
    #[cfg(feature = "h2")]
    Http2(Rc<Arriving>),
}

impl Upload {
    pub(crate) fn of(carrier: Carrier) -> Self {
        Self { carrier: Some(carrier), ..Self::default() }
    }

    /// Whether it comes over a stream of HTTP/2.
    pub(crate) fn is_of_stream(&self) -> bool {
        #[cfg(feature = "h2")]
        return matches!(self.carrier, Some(Carrier::Http2(_)));
        #[cfg(not(feature = "h2"))]
        false
    }

    pub(crate) fn set_limit(&mut self, bytes_max: u64) {
        self.bytes_max = Some(bytes_max);
    }

    /// Gives the body away, once. `may_switch`: the client asks for another protocol.
    pub(crate) fn take(&mut self, may_switch: bool) -> Option<RequestBody> {
        if std::mem::replace(&mut self.is_taken, true) {
            return None;
        }
        if self.carrier.is_none() && may_switch {
            self.carrier = Some(Carrier::Http1(Incoming::of_upgrade()));
        }
        let body = match &self.carrier {
            None => RequestBody { inner: Inner::Empty, length: Some(0) },
            Some(Carrier::Http1(incoming)) => {
                incoming.open(self.bytes_max);
                RequestBody { length: incoming.length(), inner: Inner::Http1(Rc::clone(incoming)) }
            }
            #[cfg(feature = "h2")]
            Some(Carrier::Http2(arriving)) => {
                arriving.open(self.bytes_max);
                RequestBody { length: arriving.length(), inner: Inner::Http2(Rc::clone(arriving)) }
            }
        };
        Some(body)
    }

    /// Who took the body had no memory for the head of the answer and is asked again.
    pub(crate) fn take_back(&mut self) {
        let is_untouched = match &self.carrier {
            None => true,
            Some(Carrier::Http1(incoming)) => incoming.is_untouched(),
            #[cfg(feature = "h2")]
            Some(Carrier::Http2(arriving)) => arriving.is_untouched(),
        };
        if is_untouched {
            self.is_taken = false;
        } else {
            self.is_once = true;
        }
    }

    /// The HTTP/1 body, bound to its connection.
    pub(crate) fn bind(&self, stream: &Stream) -> Option<&Rc<Incoming>> {
        match &self.carrier {
            Some(Carrier::Http1(incoming)) => {
                incoming.bind(stream);
                Some(incoming)
            }
            _ => None,
        }
    }

    /// Whether there is a body that the answer must wait for because nobody took it.
    pub(crate) fn is_in_the_way(&self) -> bool {
        match &self.carrier {
            Some(Carrier::Http1(incoming)) => !self.is_taken && !incoming.expects_continue(),
            _ => false,
        }
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload")
            .field("has_body", &self.carrier.is_some())
            .field("is_taken", &self.is_taken)
            .finish_non_exhaustive()
    }
}
