//! Requests of streams: run through their site, kept while they wait, their answers begun.

use super::body::Body;
use super::making::Making;
use super::wait::Waiting;
use super::{Memory, Session};
use crate::clock::Persistence;
use crate::exchange::Course;
use crate::execution::{Asked, Decided, Shared, may_ask_again};
use crate::limits::deadline;
use crate::pipeline::{Finish, Plan, Reply};
use crate::site_counters::Active;
use ringway_engine::GovernedRead;
use ringway_engine::ring::SLICE_BYTES_MAX;
use ringway_h2::code::Code;
use ringway_h2::connection::Buffers;
use ringway_h2::frame::PAYLOAD_BYTES;
use ringway_http::head::{Body as Framing, Request};
use ringway_http::response::EncodeError;
use ringway_http::status::Status;
use std::task::{Context, Poll};
use std::time::Instant;

/// The protocol's name in logs.
const PROTOCOL: &str = "HTTP/2.0";

/// How often one request may wait for something before it is given up.
const WAITS_MAX: u32 = 24;

/// How long a client may go on sending what is not wanted after it has its answer, in milliseconds. Its windows are not
/// opened meanwhile.
const UNWANTED_MS: u64 = 1_000;

/// Memory that heads of answers find at first, in bytes.
const TEXT_BYTES: usize = 4096;

/// The same for answers that were waited for.
const AMPLE_TEXT_BYTES: usize = 16 * 1024;

/// An answer under way.
pub(super) struct Answering {
    pub(super) stream: u32,
    pub(super) work: Work,
    /// What was asked, as long as somebody will want to know.
    pub(super) kept: Option<Box<Kept>>,
    /// Bytes sent since the last look at slow readers.
    pub(super) moved: u64,
    /// The site counts it as active until it is dropped.
    _active: Option<Active>,
}

/// What an answer needs next.
pub(super) enum Work {
    /// What its handler waits for.
    Waiting(Waiting),
    /// Windows, for the bytes of its body.
    Sending(Body),
    /// The next piece of a body that is made while it is sent.
    Making(Making),
}

/// A request while its answer is made.
pub(super) struct Kept {
    head: Vec<u8>,
    pub(super) course: Course,
    started: Option<Instant>,
    waits: u32,
}

/// A request that the governor keeps back.
#[derive(Debug)]
pub(super) struct Held {
    stream: u32,
    head: Vec<u8>,
}

/// A request whose body is still to come.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) stream: u32,
    /// When it must be whole, or is looked at.
    pub(super) until_ms: u64,
    /// Bytes it may have yet.
    pub(super) left: u64,
    /// Nothing of it is wanted: when the answer is out, so is the stream.
    pub(super) is_unwanted: bool,
    /// What a handler reads, or may yet ask for.
    #[cfg(feature = "bodies")]
    pub(super) body: Option<std::rc::Rc<crate::request_body::arriving::Arriving>>,
}

impl Session {
    /// A request has come; its head is in the buffers.
    pub(super) fn begin(&mut self, stream: u32, ends: bool, memory: &mut Memory) {
        self.count_request(memory);
        let head = memory.buffers.take_head();
        let shared = std::rc::Rc::clone(&self.shared);
        let refused = match Request::parse(&head, &shared.limits.head) {
            Err(refusal) => Some(refusal.status()),
            // Where a handler may take it, it says how long it may be.
            #[cfg(not(feature = "bodies"))]
            Ok(request) if is_too_long(&shared, &request) => Some(Status::CONTENT_TOO_LARGE),
            Ok(request) => {
                self.expect_body(stream, ends, &request);
                None
            }
        };
        match refused {
            Some(status) => {
                self.refuse(stream, ends, status, &head, memory);
                memory.buffers.put_head(head);
            }
            None if self.held.is_empty() => self.begin_if_allowed(stream, head, memory),
            // In the order they came.
            None => self.held.push_back(Held { stream, head }),
        }
    }

    /// Begins what the governor has kept back and does not any more; says whether there was any.
    pub(super) fn begin_held(&mut self, memory: &mut Memory) -> bool {
        let mut has_moved = false;
        while let Some(Held { stream, head }) = self.held.pop_front() {
            let waiting = self.held.len();
            self.begin_if_allowed(stream, head, memory);
            if self.held.len() > waiting {
                // Kept back again: it is the last now and was the first.
                self.held.rotate_right(1);
                break;
            }
            has_moved = true;
        }
        has_moved
    }

    fn begin_if_allowed(&mut self, stream: u32, head: Vec<u8>, memory: &mut Memory) {
        let shared = std::rc::Rc::clone(&self.shared);
        let Ok(request) = Request::parse(&head, &shared.limits.head) else { return };
        let started = shared.stopwatch(|| self.stream.arrived());
        let asked = Asked { request: &request, kept: Persistence::Keep, started, protocol: PROTOCOL };
        let may_begin = shared.may_begin(&mut self.stream, &request);
        let mut answer = match may_begin {
            GovernedRead::Block => {
                self.held.push_back(Held { stream, head });
                return;
            }
            GovernedRead::Reject { retry_after_s } => {
                self.come_back(stream, &asked, retry_after_s, memory);
                None
            }
            GovernedRead::Allow => {
                let mut course = Course::default();
                #[cfg(feature = "bodies")]
                self.offer_body(stream, &mut course);
                let decided = self.decide(&asked, &mut course, memory, None);
                let kept = Kept { head: Vec::new(), course, started, waits: 0 };
                self.decided(stream, &asked, decided, kept, memory)
            }
        };
        match answer.as_mut().and_then(|answer| answer.kept.as_mut()) {
            Some(kept) => kept.head = head,
            None => memory.buffers.put_head(head),
        }
        self.answers.extend(answer);
    }

    /// Goes on with what was waited for; says whether there was any.
    pub(super) fn go_on(&mut self, context: &Context<'_>, memory: &mut Memory) -> bool {
        let mut has_moved = false;
        let mut at = 0;
        while let Some(answer) = self.answers.get_mut(at) {
            let Work::Waiting(waiting) = &mut answer.work else {
                at += 1;
                continue;
            };
            let Poll::Ready(finish) = waiting.poll(context) else {
                at += 1;
                continue;
            };
            has_moved = true;
            let answer = self.answers.swap_remove(at);
            self.resume(answer, finish, memory);
        }
        has_moved
    }

    fn resume(&mut self, answer: Answering, finish: Finish, memory: &mut Memory) {
        let Answering { stream, kept, .. } = answer;
        let shared = std::rc::Rc::clone(&self.shared);
        let Some(mut kept) = kept else { return };
        let head = std::mem::take(&mut kept.head);
        let parsed = Request::parse(&head, &shared.limits.head);
        let (Ok(request), true) = (parsed, kept.waits < WAITS_MAX) else {
            self.give_up(stream, Code::INTERNAL_ERROR, &mut memory.buffers);
            return;
        };
        kept.waits += 1;
        let asked =
            Asked { request: &request, kept: Persistence::Keep, started: kept.started, protocol: PROTOCOL };
        let decided = self.decide(&asked, &mut kept.course, memory, Some(finish));
        let mut answer = self.decided(stream, &asked, decided, *kept, memory);
        if let Some(kept) = answer.as_mut().and_then(|answer| answer.kept.as_mut()) {
            kept.head = head;
        }
        self.answers.extend(answer);
    }

    /// Takes the request as far as it goes; the head of its answer is in the memory then.
    fn decide(
        &mut self,
        asked: &Asked<'_>,
        course: &mut Course,
        memory: &mut Memory,
        finish: Option<Finish>,
    ) -> Decided {
        if memory.text.len() != TEXT_BYTES {
            memory.text.resize(TEXT_BYTES, 0);
            memory.text.shrink_to_fit();
        }
        if cfg!(feature = "bodies") && finish.is_some() {
            // It may be another server's, which cannot be asked again.
            memory.text.resize(ample_bytes(course), 0);
        }
        let shared = &self.shared;
        let mut decided = shared.decide(asked, course, &mut self.stream, &mut memory.text, finish);
        if !matches!(decided, Decided::Full) {
            return decided;
        }
        // What made the head long is what the client sent: try again with the most memory there is.
        memory.text.resize(SLICE_BYTES_MAX, 0);
        if may_ask_again(course) {
            decided = shared.decide(asked, course, &mut self.stream, &mut memory.text, None);
        }
        match decided {
            Decided::Full => match shared.give_up(asked, course, &mut memory.text) {
                Ok(plan) => Decided::Answer(plan.into()),
                Err(_full) => Decided::Close,
            },
            decided => decided,
        }
    }

    /// Begins the answer; gives back what is left to do.
    fn decided(
        &mut self,
        stream: u32,
        asked: &Asked<'_>,
        decided: Decided,
        kept: Kept,
        memory: &mut Memory,
    ) -> Option<Answering> {
        let reply = match decided {
            #[cfg(feature = "bodies")]
            Decided::Answer(_) if self.is_body_too_long(asked.request, &kept.course) => {
                let ends = self.uploads.iter().all(|upload| upload.stream != stream);
                self.uploads.retain(|upload| upload.stream != stream);
                self.refuse(stream, ends, Status::CONTENT_TOO_LARGE, asked.request.as_bytes(), memory);
                return None;
            }
            Decided::Answer(reply) => reply,
            Decided::Later(later) => {
                let work = Work::Waiting(Waiting::new(later));
                let active = self.shared.enter(asked.request);
                return Some(Answering {
                    stream,
                    work,
                    kept: Some(Box::new(kept)),
                    moved: 0,
                    _active: active,
                });
            }
            // A handler wants nothing to do with this client.
            Decided::Close | Decided::Full => {
                self.give_up(stream, Code::CANCEL, &mut memory.buffers);
                return None;
            }
        };
        #[cfg(feature = "bodies")]
        self.note_answer(stream, &kept.course);
        let (status, body_bytes) = (reply.plan.status.code(), reply.plan.body_len);
        let work = self.start(stream, reply, memory);
        if matches!(work, Some(Work::Making(_))) {
            let active = self.shared.enter(asked.request);
            let kept = Some(Box::new(kept));
            return work.map(|work| Answering { stream, work, kept, moved: 0, _active: active });
        }
        self.shared.tell_served(Some(asked), &kept.course, &mut self.stream, status, body_bytes);
        work.map(|work| Answering { stream, work, kept: None, moved: 0, _active: None })
    }

    /// Sends the head of an answer, and its body if it is short and at hand.
    fn start(&mut self, stream: u32, mut reply: Reply, memory: &mut Memory) -> Option<Work> {
        let Memory { buffers, text, .. } = memory;
        let head_len = reply.plan.head_len;
        let text = text.get(..head_len).unwrap_or_default();
        if let Some(streamed) = reply.take_stream() {
            let lives = self.machine.respond(stream, text, false, buffers);
            return lives.then(|| Work::Making(Making::new(streamed)));
        }
        let Ok(body) = Body::of(reply) else {
            self.give_up(stream, Code::INTERNAL_ERROR, buffers);
            return None;
        };
        if !self.machine.respond(stream, text, body.is_none(), buffers) {
            return None;
        }
        if let Some(body) = body {
            let whole = body.whole().filter(|bytes| bytes.len() <= PAYLOAD_BYTES);
            match whole {
                Some(bytes) if self.machine.data(stream, bytes.len(), true, buffers) => {
                    buffers.out.extend_from_slice(bytes);
                }
                _ => return Some(Work::Sending(body)),
            }
        }
        self.finished(stream);
        None
    }

    /// Answers with an error page, and takes no more of the request, of which `head` is what can be read.
    fn refuse(&mut self, stream: u32, ends: bool, status: Status, head: &[u8], memory: &mut Memory) {
        let shared = std::rc::Rc::clone(&self.shared);
        let request = Request::parse(head, &shared.limits.head).ok();
        let asked = request.as_ref().map(|request| {
            let started = shared.stopwatch(|| self.stream.arrived());
            Asked { request, kept: Persistence::Keep, started, protocol: PROTOCOL }
        });
        if !ends {
            self.push_upload(stream, 0, true);
        }
        memory.text.resize(TEXT_BYTES.max(memory.text.len()), 0);
        let refusal = shared.refusal(status, asked.as_ref(), Persistence::Keep, &mut memory.text);
        self.send_refusal(stream, asked.as_ref(), refusal, memory);
    }

    /// Answers a request that the governor rejects; its body is taken and dropped.
    fn come_back(&mut self, stream: u32, asked: &Asked<'_>, retry_after_s: u32, memory: &mut Memory) {
        if let Some(upload) = self.uploads.iter_mut().find(|upload| upload.stream == stream) {
            upload.is_unwanted = true;
            #[cfg(feature = "bodies")]
            upload.let_go();
        }
        memory.text.resize(TEXT_BYTES.max(memory.text.len()), 0);
        let shared = std::rc::Rc::clone(&self.shared);
        let refusal = shared.refusal_for_now(Some(asked), Persistence::Keep, retry_after_s, &mut memory.text);
        self.send_refusal(stream, Some(asked), refusal, memory);
    }

    fn send_refusal(
        &mut self,
        stream: u32,
        asked: Option<&Asked<'_>>,
        refusal: Result<(Plan, Course), EncodeError>,
        memory: &mut Memory,
    ) {
        let Ok((plan, course)) = refusal else {
            self.give_up(stream, Code::INTERNAL_ERROR, &mut memory.buffers);
            return;
        };
        let (status, body_bytes) = (plan.status.code(), plan.body_len);
        let work = self.start(stream, plan.into(), memory);
        self.shared.tell_served(asked, &course, &mut self.stream, status, body_bytes);
        if let Some(work) = work {
            self.answers.push(Answering { stream, work, kept: None, moved: 0, _active: None });
        }
    }

    pub(super) fn refuse_oversized(&mut self, stream: u32, ends: bool, memory: &mut Memory) {
        self.count_request(memory);
        self.refuse(stream, ends, Status::REQUEST_HEADER_FIELDS_TOO_LARGE, b"", memory);
    }

    /// Part of a request's body has come: files want none.
    pub(super) fn discard(&mut self, stream: u32, len: usize, ends: bool, memory: &mut Memory) {
        let Some(at) = self.uploads.iter().position(|upload| upload.stream == stream) else { return };
        if ends {
            self.uploads.swap_remove(at);
            return;
        }
        let is_answered = self.answers.iter().all(|answer| answer.stream != stream);
        let upload = &mut self.uploads[at];
        let bytes = len as u64;
        upload.is_unwanted |= bytes > upload.left;
        upload.left = upload.left.saturating_sub(bytes);
        if !upload.is_unwanted {
            self.machine.consume(stream, u32::try_from(len).unwrap_or(u32::MAX), &mut memory.buffers);
        } else if is_answered {
            self.finished(stream);
        }
    }

    /// The stream is gone.
    pub(super) fn forget(&mut self, stream: u32) {
        if self.held.front().is_some_and(|held| held.stream == stream) {
            // The question was this one's; the next of the held asks its own.
            self.stream.withdraw_read();
        }
        self.held.retain(|held| held.stream != stream);
        while let Some(at) = self.answers.iter().position(|answer| answer.stream == stream) {
            let answer = self.answers.remove(at);
            self.tell_made(&answer);
        }
        self.drop_uploads(stream);
    }

    /// The connection is over.
    pub(super) fn drop_answers(&mut self) {
        self.held.clear();
        for answer in std::mem::take(&mut self.answers) {
            self.tell_made(&answer);
        }
    }

    /// Nothing more comes, or is wanted, of a request.
    fn drop_uploads(&mut self, stream: u32) {
        #[cfg(feature = "bodies")]
        self.fail_bodies(stream);
        self.uploads.retain(|upload| upload.stream != stream);
    }

    /// An answer is out. What is still to come of its request may be unwanted: the stream is reset then (RFC 9113 section
    /// 8.1), but not at once, because there are clients that would take that for the answer.
    pub(super) fn finished(&mut self, stream: u32) {
        let until_ms = self.stream.now_ms() + UNWANTED_MS;
        let unwanted = self.uploads.iter_mut().find(|upload| upload.stream == stream && upload.is_unwanted);
        if let Some(upload) = unwanted {
            upload.until_ms = upload.until_ms.min(until_ms);
        }
    }

    /// No answer, or no more of it.
    pub(super) fn give_up(&mut self, stream: u32, code: Code, buffers: &mut Buffers) {
        self.drop_uploads(stream);
        self.machine.reset(stream, code, buffers);
    }

    /// Ends streams whose requests did not come in time.
    pub(super) fn drop_late_uploads(&mut self, buffers: &mut Buffers) {
        #[cfg(feature = "bodies")]
        self.look_at_bodies();
        let now_ms = self.stream.now_ms();
        while let Some(late) = self.uploads.iter().find(|upload| upload.until_ms <= now_ms) {
            let stream = late.stream;
            let is_answered = self.answers.iter().all(|answer| answer.stream != stream);
            let code = if is_answered { Code::NO_ERROR } else { Code::CANCEL };
            self.give_up(stream, code, buffers);
            self.forget(stream);
        }
    }

    fn count_request(&mut self, memory: &mut Memory) {
        self.state.requests = self.state.requests.saturating_add(1);
        self.watch.note_request();
        let most = self.shared.limits.requests_max;
        if most > 0 && self.state.requests >= most {
            self.leave(memory);
        }
    }

    /// A body that was made while it was sent is out, or broken off: now its length is known.
    pub(super) fn tell_made(&mut self, answer: &Answering) {
        let (Some(kept), Work::Making(making)) = (&answer.kept, &answer.work) else { return };
        let shared = std::rc::Rc::clone(&self.shared);
        if let Ok(request) = Request::parse(&kept.head, &shared.limits.head) {
            let asked = Asked {
                request: &request,
                kept: Persistence::Keep,
                started: kept.started,
                protocol: PROTOCOL,
            };
            shared.tell_served(Some(&asked), &kept.course, &mut self.stream, making.status, making.sent);
        }
    }

    /// A request's body is still to come, of at most `left` bytes.
    pub(super) fn push_upload(&mut self, stream: u32, left: u64, is_unwanted: bool) {
        let until_ms = deadline(self.stream.now_ms(), self.shared.limits.body_ms_max);
        self.uploads.push(Upload {
            stream,
            until_ms,
            left,
            is_unwanted,
            #[cfg(feature = "bodies")]
            body: None,
        });
    }

    /// A request has come: what follows is its body.
    fn expect_body(&mut self, stream: u32, ends: bool, request: &Request<'_>) {
        if !ends {
            let bytes_max = self.shared.limits.body.body_bytes_max;
            self.push_upload(stream, bytes_max, request.expects_continue());
            #[cfg(feature = "bodies")]
            self.open_body(request);
        }
    }
}

/// Whether a request announces a body that is longer than one that nobody wants may be.
pub(super) fn is_too_long(shared: &Shared, request: &Request<'_>) -> bool {
    let bytes_max = shared.limits.body.body_bytes_max;
    matches!(request.body(), Framing::Length(length) if length > bytes_max)
}

/// Memory for the head of an answer that was waited for, in bytes.
#[cfg(feature = "bodies")]
fn ample_bytes(course: &Course) -> usize {
    if course.upload.has_long_answer { SLICE_BYTES_MAX } else { AMPLE_TEXT_BYTES }
}

#[cfg(not(feature = "bodies"))]
fn ample_bytes(_course: &Course) -> usize {
    AMPLE_TEXT_BYTES
}
