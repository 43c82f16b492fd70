//! Running requests: what all connections of a worker share, whatever protocol carries the requests.

use crate::answer::{self, Common};
use crate::body_source::Streamed;
use crate::clock::{Clock, Persistence};
use crate::connection::State;
use crate::exchange::{Course, Exchange, Link, Rewritten};
use crate::field_edits::FieldEdits;
use crate::limits::WebLimits;
use crate::output::{NoMemory, Output, Sink};
use crate::pipeline::{Finish, Handled, Later, Plan, Reply, Served};
use crate::site::Site;
use crate::site_counters::{Active, SiteCounters};
use crate::sites::Sites;
use ringway_engine::ThreadPool;
use ringway_engine::heap::Arena;
use ringway_http::head::{Authority, Request, Version};
use ringway_http::refusal::Refusal;
use ringway_http::response::EncodeError;
use ringway_http::status::Status;
use ringway_http::target;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

/// What the connections of a worker share.
pub(crate) struct Shared {
    pub(crate) sites: Rc<Sites>,
    pub(crate) limits: WebLimits,
    pub(crate) pool: ThreadPool,
    pub(crate) clock: RefCell<Clock>,
    /// What a request needs until its answer's head is written.
    scratch: RefCell<Arena>,
    #[cfg(feature = "h2")]
    pub(crate) h2: RefCell<crate::h2::Memory>,
    wants_times: bool,
}

/// One request as it is being answered.
pub(crate) struct Asked<'a> {
    pub(crate) request: &'a Request<'a>,
    pub(crate) kept: Persistence,
    /// When it arrived, if anybody wants to know.
    pub(crate) started: Option<Instant>,
    /// What it came over, such as `HTTP/1.1`.
    pub(crate) protocol: &'static str,
}

impl Asked<'_> {
    /// How long ago it arrived, in microseconds; 0 when nobody wants to know.
    pub(crate) fn elapsed_us(&self) -> u64 {
        let elapsed_us = |started: Instant| u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.started.map_or(0, elapsed_us)
    }
}

/// What became of a request.
pub(crate) enum Decided {
    /// An answer, its head in the memory that was given.
    Answer(Reply),
    /// Await this, then decide again with what it gives and the same course.
    Later(Later),
    /// No answer: close.
    Close,
    /// The memory was too small for the head: decide again with the same course and more of it.
    Full,
}

/// How answering into an output ended.
pub(crate) enum Answered {
    /// The answer is in the output.
    Done,
    /// No answer: close.
    Close,
    /// Half an answer may be out: reset.
    Abort,
    /// Await this first.
    Later(Later),
    /// The head is in the output; this body follows it. Stages are told of the answer at its end.
    Stream(Streamed),
    /// This answer, once the request's body is out of the way; its head is in the output's room.
    #[cfg(feature = "bodies")]
    Held(Reply),
    /// The head is in the output; the connection is this guest's from there on.
    #[cfg(feature = "guests")]
    Guest(Box<dyn crate::guest::Guest>),
}

impl Shared {
    pub(crate) fn new(sites: Rc<Sites>, limits: WebLimits, pool: ThreadPool) -> Self {
        let wants_times = sites.iter().any(|site| site.wants_details() || site.counters.is_some());
        let (clock, scratch) = (RefCell::new(Clock::new()), RefCell::default());
        Self {
            sites,
            limits,
            pool,
            clock,
            scratch,
            #[cfg(feature = "h2")]
            h2: RefCell::default(),
            wants_times,
        }
    }

    /// The time, if anybody wants to know how long requests take.
    pub(crate) fn stopwatch(&self, arrived: impl FnOnce() -> Instant) -> Option<Instant> {
        self.wants_times.then(arrived)
    }

    /// Counts a request as active until the guard is dropped, for one that waits or whose body is long in the making.
    pub(crate) fn enter(&self, request: &Request<'_>) -> Option<Active> {
        let number = self.sites.find(request.host().map(|host| host.name()));
        self.sites.get(number).counters.as_ref().map(SiteCounters::enter)
    }

    /// Whether a connection has lived for as long as it may.
    pub(crate) fn is_old(&self, state: State, now_ms: u64) -> bool {
        let age_ms = now_ms.saturating_sub(u64::from(state.opened_s) * 1000);
        self.limits.lifetime_ms_max > 0 && age_ms > self.limits.lifetime_ms_max
    }

    /// What becomes of the connection after this request.
    pub(crate) fn persistence(&self, request: &Request<'_>, requests: u32, is_last: bool) -> Persistence {
        let has_had_its_share = self.limits.requests_max > 0 && requests >= self.limits.requests_max;
        // Who waits for "100 Continue" may send its body, or give it up, whatever it is told: nothing can follow.
        if !request.keep_alive() || is_last || has_had_its_share || request.expects_continue() {
            Persistence::Close
        } else if request.version() == Version::Http10 {
            Persistence::KeepSaid
        } else {
            Persistence::Keep
        }
    }

    /// Takes a request from where its `course` stands as far as it goes without waiting. `finish` is what it waited for.
    /// A new request has a new course.
    pub(crate) fn decide(
        &self,
        asked: &Asked<'_>,
        course: &mut Course,
        link: &mut dyn Link,
        memory: &mut [u8],
        finish: Option<Finish>,
    ) -> Decided {
        let request = asked.request;
        let is_new = course.site.is_none();
        let number = match course.site {
            Some(number) => number,
            None => self.sites.find(request.host().map(|host| host.name())),
        };
        course.site = Some(number);
        let site = self.sites.get(number);
        let clock = self.clock.borrow();
        let pages = if site.pages.is_empty() { None } else { Some(&*site.pages) };
        let common = Common {
            fields: clock.lines(site.server, asked.kept),
            closing: clock.lines(site.server, Persistence::Close),
            now_s: clock.unix_s(),
            pages,
        };
        // What the last request left is freed here, so that it is however that one ended.
        self.scratch.borrow_mut().reset();
        let scratch = &*self.scratch.borrow();
        let rewritten = course.rewritten.take();
        let path = match &rewritten {
            Some(rewritten) => Ok(&*rewritten.path),
            None => normal_path(request, scratch),
        };
        let query = rewritten.as_ref().map_or(request.query(), |rewritten| rewritten.query.as_deref());
        let mut exchange = Exchange {
            request,
            path: path.unwrap_or(b"*"),
            query,
            site,
            common,
            moment: clock.moment(),
            memory,
            pool: &self.pool,
            scratch,
            course,
            link,
        };
        let refused = match path {
            Err(status) => Some(status),
            Ok(_) if is_new && !self.knows_whence(&mut exchange) => Some(Status::BAD_REQUEST),
            Ok(_) if is_new && self.is_misdirected(&mut exchange, number) => {
                Some(Status::MISDIRECTED_REQUEST)
            }
            Ok(_) => None,
        };
        let handled = match refused {
            Some(status) => site.refuse(&mut exchange, status),
            None => site.run(&mut exchange, finish),
        };
        match handled {
            Ok(Handled::Answer(reply)) => Decided::Answer(reply),
            Ok(Handled::Later(later)) => {
                keep_path(exchange);
                Decided::Later(later)
            }
            Ok(Handled::Close | Handled::NotMine | Handled::Rewritten) => Decided::Close,
            Err(EncodeError::Full) => {
                exchange.course.back_to_mark();
                keep_path(exchange);
                Decided::Full
            }
            // A field that cannot be sent: a mistake of the handler's.
            Err(EncodeError::FieldName | EncodeError::FieldValue) => {
                match site.refuse(&mut exchange, Status::INTERNAL_SERVER_ERROR) {
                    Ok(Handled::Answer(reply)) => Decided::Answer(reply),
                    _ => Decided::Close,
                }
            }
        }
    }

    /// Takes note of whom a request came from, where that is a trusted proxy's to say. `false`: it says what cannot be read.
    #[cfg(feature = "proxy")]
    fn knows_whence(&self, exchange: &mut Exchange<'_>) -> bool {
        let Some(trust) = &self.sites.trust else { return true };
        let found = trust.look(exchange.request, exchange.neighbour());
        exchange.course.whence = found.unwrap_or_default();
        found.is_ok()
    }

    #[cfg(not(feature = "proxy"))]
    #[expect(clippy::unused_self, reason = "where nobody is trusted it is a constant")]
    fn knows_whence(&self, _exchange: &mut Exchange<'_>) -> bool {
        true
    }

    /// Whether the connection was made for another site, which shows other certificates.
    fn is_misdirected(&self, exchange: &mut Exchange<'_>, number: usize) -> bool {
        if self.sites.is_single() {
            return false;
        }
        let session = exchange.session();
        let Some(server_name) = session.as_deref().and_then(|session| session.server_name.as_deref()) else {
            return false;
        };
        // Nearly always it is the name that is asked for, and the site is found already.
        let is_asked_for = |host: Authority<'_>| host.name().eq_ignore_ascii_case(server_name.as_bytes());
        !exchange.request.host().is_some_and(is_asked_for) && self.sites.is_misdirected(server_name, number)
    }

    /// Runs a request through its site and puts the answer into the output.
    pub(crate) fn answer(
        &self,
        sink: &mut impl Sink,
        output: &mut Output,
        asked: &Asked<'_>,
        course: &mut Course,
        finish: Option<Finish>,
    ) -> Answered {
        let Ok(memory) = room_for(sink, output, finish.is_some(), course) else { return Answered::Abort };
        let mut decided = self.decide(asked, course, sink, memory, finish);
        if matches!(decided, Decided::Full) {
            // What made the head long is what the client sent: try again with the most memory there is.
            let Ok(memory) = output.large_room(sink) else { return Answered::Abort };
            if may_ask_again(course) {
                decided = self.decide(asked, course, sink, memory, None);
            }
            if matches!(decided, Decided::Full) {
                decided = match self.give_up(asked, course, memory) {
                    Ok(plan) => Decided::Answer(plan.into()),
                    Err(_full) => return Answered::Abort,
                };
            }
        }
        match decided {
            #[cfg(feature = "bodies")]
            Decided::Answer(reply) if course.upload.is_in_the_way() => Answered::Held(reply),
            Decided::Answer(reply) => self.give(sink, output, asked, course, reply),
            Decided::Later(later) => Answered::Later(later),
            Decided::Close => Answered::Close,
            Decided::Full => Answered::Abort,
        }
    }

    /// Puts an answer into the output whose head is in its room.
    pub(crate) fn give(
        &self,
        sink: &mut impl Sink,
        output: &mut Output,
        asked: &Asked<'_>,
        course: &Course,
        mut reply: Reply,
    ) -> Answered {
        let (status, body_bytes) = (reply.plan.status.code(), reply.plan.body_len);
        let streamed = reply.take_stream();
        #[cfg(feature = "guests")]
        let guest = reply.take_guest();
        if output.add(sink, reply).is_err() {
            return Answered::Abort;
        }
        if let Some(streamed) = streamed {
            return Answered::Stream(streamed);
        }
        #[cfg(feature = "guests")]
        if let Some(guest) = guest {
            return Answered::Guest(guest);
        }
        self.tell_served(Some(asked), course, sink, status, body_bytes);
        Answered::Done
    }

    /// The answer to a request whose answer's head fits nowhere: 500, without edits.
    pub(crate) fn give_up(
        &self,
        asked: &Asked<'_>,
        course: &Course,
        memory: &mut [u8],
    ) -> Result<Plan, EncodeError> {
        let site = self.sites.get(course.site.unwrap_or(usize::MAX));
        let clock = self.clock.borrow();
        let fields = clock.lines(site.server, asked.kept);
        let common = Common { fields, closing: fields, now_s: clock.unix_s(), pages: None };
        answer::error(Some(asked.request), Status::INTERNAL_SERVER_ERROR, common, memory)
    }

    /// Answers what could not be read, or not be read to its end; the connection's last answer.
    pub(crate) fn refuse(
        &self,
        sink: &mut impl Sink,
        output: &mut Output,
        status: Status,
        asked: Option<&Asked<'_>>,
    ) -> Result<(), NoMemory> {
        let memory = output.room(sink)?;
        let refusal = self.refusal(status, asked, Persistence::Close, memory);
        let (plan, course) = refusal.map_err(|_full| NoMemory)?;
        let body_bytes = plan.body_len;
        output.add(sink, plan.into())?;
        output.flush(sink);
        self.tell_served(asked, &course, sink, status.code(), body_bytes);
        Ok(())
    }

    /// The answer to what could not be read, its head in `memory`, and whose it is.
    pub(crate) fn refusal(
        &self,
        status: Status,
        asked: Option<&Asked<'_>>,
        kept: Persistence,
        memory: &mut [u8],
    ) -> Result<(Plan, Course), EncodeError> {
        let request = asked.map(|asked| asked.request);
        let number = self.sites.find(request.and_then(Request::host).map(|host| host.name()));
        let course = Course { site: Some(number), ..Course::default() };
        let site = self.sites.get(number);
        let clock = self.clock.borrow();
        let fields = clock.lines(site.server, kept);
        let common = Common { fields, closing: fields, now_s: clock.unix_s(), pages: Some(&site.pages) };
        let mut plan = answer::error(request, status, common, memory)?;
        // An edit that does not fit here is left out: what is refused gets one short answer.
        if let Ok(len) = edited(&site.edits, memory, plan.head_len) {
            plan.head_len = len;
        } else {
            plan = answer::error(request, status, common, memory)?;
        }
        Ok((plan, course))
    }

    /// Answers a head that could not be read. `false`: there was no memory, and the connection must be reset.
    #[must_use]
    pub(crate) fn refuse_head(&self, sink: &mut impl Sink, output: &mut Output, refusal: Refusal) -> bool {
        self.refuse(sink, output, refusal.status(), None).is_ok()
    }

    /// Tells the stages of the site that answered.
    #[inline]
    pub(crate) fn tell_served(
        &self,
        asked: Option<&Asked<'_>>,
        course: &Course,
        link: &mut dyn Link,
        status: u16,
        body_bytes: u64,
    ) {
        let site = self.sites.get(course.site.unwrap_or(usize::MAX));
        if !site.served.is_empty() || site.counters.is_some() {
            self.tell(site, asked, course, link, status, body_bytes);
        }
    }

    fn tell(
        &self,
        site: &Site,
        asked: Option<&Asked<'_>>,
        course: &Course,
        link: &mut dyn Link,
        status: u16,
        body_bytes: u64,
    ) {
        if let Some(counters) = &site.counters {
            counters.served(status, body_bytes, asked.map_or(0, Asked::elapsed_us));
        }
        self.tell_stages(site, asked, course, link, status, body_bytes);
    }

    /// Tells the stages of the site that answered, and leaves its counters as they are.
    pub(crate) fn tell_stages(
        &self,
        site: &Site,
        asked: Option<&Asked<'_>>,
        course: &Course,
        link: &mut dyn Link,
        status: u16,
        body_bytes: u64,
    ) {
        let duration_us = asked.map_or(0, Asked::elapsed_us);
        let served = Served {
            request: asked.map(|asked| asked.request),
            site,
            peer: if site.wants_details() { client_of(course, link) } else { None },
            user: course.user.as_deref(),
            rule: course.refused.as_deref().map(|refused| &*refused.rule),
            protocol: asked.map_or("HTTP/1.1", |asked| asked.protocol),
            status,
            body_bytes,
            duration_us,
            unix_ms: self.clock.borrow().unix_ms(),
        };
        site.served.iter().for_each(|stage| stage.served(&served));
    }
}

/// Memory for the head of an answer: more of it for one that was waited for, because it may be another server's, and nobody
/// can be asked for it again.
#[cfg(feature = "bodies")]
fn room_for<'o>(
    sink: &mut impl Sink,
    output: &'o mut Output,
    was_waited_for: bool,
    course: &Course,
) -> Result<&'o mut [u8], NoMemory> {
    match (was_waited_for, course.upload.has_long_answer) {
        (_, true) => output.large_room(sink),
        (true, false) => output.ample_room(sink),
        (false, false) => output.room(sink),
    }
}

#[cfg(not(feature = "bodies"))]
fn room_for<'o>(
    sink: &mut impl Sink,
    output: &'o mut Output,
    _was_waited_for: bool,
    _course: &Course,
) -> Result<&'o mut [u8], NoMemory> {
    output.room(sink)
}

/// Whether a handler may be asked anew that had too little memory.
#[cfg(feature = "bodies")]
pub(crate) fn may_ask_again(course: &Course) -> bool {
    !course.upload.is_once
}

#[cfg(not(feature = "bodies"))]
pub(crate) fn may_ask_again(_course: &Course) -> bool {
    true
}

/// The one form of the request's path that everything is matched against, or the status that refuses it.
fn normal_path<'a>(request: &Request<'a>, scratch: &'a Arena) -> Result<&'a [u8], Status> {
    let raw = request.path();
    if raw == b"*" {
        return Ok(raw);
    }
    // Most paths are normal as they are sent and need no memory.
    match target::normalise(raw, &mut []) {
        Err(Refusal::PathLength) => {}
        settled => return settled.map_err(Refusal::status),
    }
    let Ok(memory) = scratch.alloc_slice_with(raw.len(), |_| 0) else {
        return Err(Status::SERVICE_UNAVAILABLE);
    };
    target::normalise(raw, memory).map_err(Refusal::status)
}

/// The client's address, for logs.
pub(crate) fn client_of(course: &Course, link: &mut dyn Link) -> Option<SocketAddr> {
    #[cfg(feature = "proxy")]
    if let Some(whence) = course.whence {
        return Some(whence.client);
    }
    #[cfg(not(feature = "proxy"))]
    let _ = course;
    link.peer()
}

/// Keeps what a rewrite made, which lies in memory that is about to be freed.
fn keep_path(exchange: Exchange<'_>) {
    if exchange.course.is_rewritten {
        let kept = Rewritten { path: exchange.path.into(), query: exchange.query.map(Into::into) };
        exchange.course.rewritten = Some(Box::new(kept));
    }
}

fn edited(edits: &FieldEdits, memory: &mut [u8], len: usize) -> Result<usize, EncodeError> {
    if edits.is_empty() { Ok(len) } else { edits.apply(memory, len) }
}
