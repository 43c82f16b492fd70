//! One try at a backend: the request goes there, the head of an answer comes back.

use super::options::INTERIM_MAX;
use super::patience::{Patience, Wait};
use super::pump::{Pump, Stop};
use super::why::Why;
use crate::limits::deadline;
use crate::upstream::TryRules;
use ringway_engine::Stream;
use ringway_engine::ring::Slice;
use ringway_http::refusal::Refusal;
use ringway_http::relay::{self, RelayError};
use ringway_http::reply::{Delivery, Fault, Limits, Reply, ReplyScan};
use ringway_http::status::Status;
use std::future::poll_fn;
use std::task::{Context, Poll};

/// What is asked of a backend.
pub(super) struct Request {
    /// The head as it is sent.
    pub(super) head: Slice,
    /// The body, unless there is none.
    pub(super) pump: Option<Pump>,
    /// Whether it is `HEAD`.
    pub(super) is_head: bool,
    /// Whether it asks for another protocol.
    pub(super) is_upgrade: bool,
    /// The worker's time at which nobody waits for a head any more.
    pub(super) until_ms: u64,
    pub(super) limits: Limits,
}

/// The head of an answer, and what came with it.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: Status,
    /// Field lines that are given back.
    pub(super) lines: Slice,
    pub(super) delivery: Delivery,
    /// What `Content-Length` says, also where no body follows.
    pub(super) announced: Option<u64>,
    /// Whether the backend takes another request on this connection.
    pub(super) keeps: bool,
    /// Whether it took not all of the request's body.
    pub(super) is_refused: bool,
    /// What came behind the head.
    pub(super) rest: Slice,
}

impl Head {
    /// What the client is told of the body's length.
    pub(super) fn length(&self) -> Option<u64> {
        match self.delivery {
            Delivery::None => self.announced,
            Delivery::Length(length) => Some(length),
            Delivery::Chunked | Delivery::UntilClose => None,
        }
    }
}

/// The state of a try.
struct Trying<'a> {
    /// The head was sent.
    is_begun: bool,
    request: &'a mut Request,
    rules: &'a TryRules,
    scan: ReplyScan,
    /// Bytes of a head that is incomplete.
    kept_bytes: usize,
    interims: u32,
    patience: Patience,
}

/// Sends the request and waits for the head of its answer.
pub(super) async fn attempt(
    request: &mut Request,
    stream: &mut Stream,
    rules: &TryRules,
) -> Result<Head, Stop> {
    let mut trying = Trying {
        is_begun: false,
        request,
        rules,
        scan: ReplyScan::new(),
        kept_bytes: 0,
        interims: 0,
        patience: Patience::default(),
    };
    // The deadline stays: whoever reads on sets another, and a connection that is kept has none.
    poll_fn(|context| trying.poll(context, stream)).await
}

impl Trying<'_> {
    fn poll(&mut self, context: &mut Context<'_>, stream: &mut Stream) -> Poll<Result<Head, Stop>> {
        if !std::mem::replace(&mut self.is_begun, true) {
            self.begin(context, stream)?;
        }
        // A backend that takes no more of the body may have answered already: that is looked at first.
        loop {
            let polled = match self.kept_bytes {
                0 => stream.poll_read(context),
                kept => stream.poll_read_beyond(context, kept),
            };
            match polled {
                Poll::Pending => break,
                Poll::Ready(Ok(Some(input))) => {
                    if let Some(head) = self.read(stream, input).map_err(Stop::Upstream)? {
                        return Poll::Ready(Ok(head));
                    }
                }
                Poll::Ready(Ok(None)) => return Poll::Ready(Err(Stop::Upstream(self.ended()))),
                Poll::Ready(Err(error)) => {
                    if let Some(why) = self.patience.judge(stream, &error) {
                        return Poll::Ready(Err(Stop::Upstream(self.broke(why))));
                    }
                }
            }
        }
        if let Some(pump) = &mut self.request.pump
            && let Poll::Ready(Err(stop)) = pump.poll(context, stream, &self.patience)
        {
            return Poll::Ready(Err(stop));
        }
        self.arm(stream);
        Poll::Pending
    }

    /// Sends the head, and with it what there is of a short body.
    fn begin(&mut self, context: &mut Context<'_>, stream: &mut Stream) -> Result<(), Stop> {
        let Request { head, pump, .. } = &mut *self.request;
        if let Some(pump) = pump {
            pump.begin(context, head)?;
        }
        stream.send(head.clone());
        Ok(())
    }

    /// What the connection has brought: a head, or nothing that settles the matter.
    fn read(&mut self, stream: &mut Stream, mut input: Slice) -> Result<Option<Head>, Why> {
        loop {
            let Some(end) = self.scan.find(&input, &self.request.limits)? else {
                // At the pool's limit there is no memory to put what came behind what was there.
                if self.kept_bytes > 0 && input.len() <= self.kept_bytes {
                    return Err(Why::NoMemory);
                }
                self.kept_bytes = input.len();
                stream.unread(input);
                return Ok(None);
            };
            let reply = Reply::parse(&input[..end], self.request.is_head, &self.request.limits)?;
            if !reply.is_interim() {
                return self.head(stream, &reply, &input, end).map(Some);
            }
            self.interims += 1;
            if self.interims > INTERIM_MAX {
                return Err(Why::Interims);
            }
            // They are for whoever asked: "100 Continue" was this server's to say, and others are hints.
            (self.scan, self.kept_bytes) = (ReplyScan::new(), 0);
            input.advance(end);
            if input.is_empty() {
                return Ok(None);
            }
        }
    }

    fn head(&self, stream: &Stream, reply: &Reply<'_>, input: &Slice, end: usize) -> Result<Head, Why> {
        let status = reply.status();
        if status == Status::SWITCHING_PROTOCOLS && !self.request.is_upgrade {
            return Err(Why::Switched);
        }
        // The body would be given back without the word that says how it is coded; nobody asked for any coding.
        if !matches!(reply.delivery(), Delivery::None | Delivery::Length(_)) && has_other_coding(reply) {
            return Err(Why::Invalid(Fault::Head(Refusal::CodingUnknown)));
        }
        let mut lines = stream.pool().get(end).ok_or(Why::NoMemory)?;
        let told = relay::write_reply(reply, &[], &mut lines).map_err(|error| match error {
            RelayError::Options => Why::Options,
            RelayError::Full | RelayError::Loop | RelayError::Value => Why::NoMemory,
        })?;
        let mut len = told.len;
        if let (Status::SWITCHING_PROTOCOLS, Some(protocol)) = (status, told.upgrade) {
            // Both lines are shorter than what stood there in their place.
            let mut head = ringway_http::response::HeadWriter::new(&mut lines[len..]);
            let written =
                head.field(b"Upgrade", protocol).and_then(|()| head.raw(b"Connection: Upgrade\r\n"));
            written.map_err(|_unfit| Why::Switched)?;
            len += head.len();
        }
        let mut rest = input.clone();
        rest.advance(end);
        Ok(Head {
            status,
            lines: lines.freeze(len),
            delivery: reply.delivery(),
            announced: reply.announced_length(),
            keeps: reply.keep_alive(),
            is_refused: self.request.pump.as_ref().is_some_and(Pump::is_refused),
            rest,
        })
    }

    /// The backend ended the connection before a head was whole.
    fn ended(&self) -> Why {
        if self.kept_bytes == 0 && self.interims == 0 { Why::Closed } else { Why::Invalid(Fault::Cut) }
    }

    fn broke(&self, why: Why) -> Why {
        match why {
            // What came before shows that the request was seen.
            Why::Reset if self.kept_bytes > 0 || self.interims > 0 => Why::Invalid(Fault::Cut),
            why => why,
        }
    }

    /// Sets the time for what is waited for now.
    fn arm(&mut self, stream: &mut Stream) {
        let rules = self.rules;
        match self.request.pump.as_ref().map_or(Wait::Answering, Pump::wait) {
            Wait::Answering => {
                let own_ms = match rules.try_timeout_ms {
                    0 => rules.read_timeout_ms,
                    own_ms => own_ms,
                };
                let own_ms = deadline(stream.now_ms(), own_ms);
                // How long a client takes to send its body is not the backend's time.
                let is_plain = self.request.pump.is_none();
                let until_ms = if is_plain { own_ms.min(self.request.until_ms) } else { own_ms };
                self.patience.wait_until(stream, Wait::Answering, until_ms);
            }
            wait => self.patience.wait(stream, wait, rules.send_timeout_ms),
        }
    }
}

/// Whether an answer's body has a transfer coding besides `chunked`.
fn has_other_coding(reply: &Reply<'_>) -> bool {
    let is_coding = |name: &[u8]| name.eq_ignore_ascii_case(b"transfer-encoding");
    reply.fields().any(|field| is_coding(field.name) && !field.value.eq_ignore_ascii_case(b"chunked"))
}
