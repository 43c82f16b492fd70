//! Sockets over a stream of HTTP/2 (RFC 8441): the session is the answer's body, and reads the request's.

use super::core::{Inlet, Outlet, WAITING_BYTES_READING};
use super::link::Link;
use super::session::{After, News, Session};
use ringway_engine::ring::{Pool, Slice};
use ringway_engine::{Inbox, SendProgress, Sleep, WorkerHandle};
use ringway_web::body_source::BodySource;
use ringway_web::request_body::RequestBody;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Bytes that are received ahead of a handler that does not take them.
const AHEAD_BYTES: usize = 64 * 1024;

/// A session on a stream.
pub(super) struct StreamSession {
    session: Session,
    link: StreamLink,
    body: RequestBody,
    sleep: Option<Pin<Box<Sleep>>>,
    after: After,
    has_begun: bool,
    /// So much waited that the session may have stopped taking what comes.
    was_full: bool,
}

/// Both directions of a stream under a session.
struct StreamLink {
    worker: WorkerHandle,
    inbox: Inbox,
    inlet: Rc<Inlet>,
    out: VecDeque<Slice>,
    out_bytes: usize,
    /// Bytes that have left.
    gone_bytes: u64,
    is_ended: bool,
    deadline_ms: u64,
}

impl Link for StreamLink {
    fn now_ms(&self) -> u64 {
        self.worker.now_ms()
    }

    fn pool(&self) -> Pool {
        self.worker.slices()
    }

    fn take(&mut self) -> Option<Slice> {
        self.inbox.take_first()
    }

    fn take_joined(&mut self, bytes: usize) -> Option<Slice> {
        self.inbox.next_joined_beyond(bytes, &self.worker.slices())
    }

    fn unread(&mut self, rest: Slice) {
        self.inbox.unread(rest);
    }

    fn is_ended(&mut self) -> bool {
        self.is_ended && self.inbox.is_empty()
    }

    fn is_draining(&mut self) -> bool {
        self.worker.is_draining()
    }

    fn send(&mut self, bytes: Slice) {
        self.out_bytes += bytes.len();
        self.out.push_back(bytes);
    }

    fn queued_bytes(&mut self) -> usize {
        self.out_bytes
    }

    fn progress(&mut self) -> SendProgress {
        SendProgress::from_bits(self.gone_bytes)
    }

    fn set_deadline(&mut self, at_ms: u64) {
        self.deadline_ms = at_ms;
    }

    fn outlet(&self) -> Outlet {
        Outlet::Task(Rc::clone(&self.inlet))
    }

    fn has_inlet(&self) -> bool {
        true
    }

    fn worker(&self) -> WorkerHandle {
        self.worker.clone()
    }
}

impl StreamSession {
    pub(super) fn new(session: Session, mut body: RequestBody, worker: WorkerHandle) -> Self {
        body.unframed();
        let link = StreamLink {
            worker,
            inbox: Inbox::default(),
            inlet: Rc::default(),
            out: VecDeque::new(),
            out_bytes: 0,
            gone_bytes: 0,
            is_ended: false,
            deadline_ms: 0,
        };
        Self { session, link, body, sleep: None, after: After::Stay, has_begun: false, was_full: false }
    }

    /// Has the session do what there is to do.
    fn advance(&mut self, context: &mut Context<'_>) {
        while self.after == After::Stay {
            let Some(news) = self.news(context) else { return };
            self.after = self.session.turn(&mut self.link, news);
            self.was_full = self.link.out_bytes > WAITING_BYTES_READING;
            self.set_alarm();
        }
    }

    /// What a turn is for; `None`: nothing now, and the waker is kept.
    fn news(&mut self, context: &mut Context<'_>) -> Option<News> {
        let link = &mut self.link;
        let has_room = self.was_full && link.out_bytes <= WAITING_BYTES_READING;
        let mut has_news = !std::mem::replace(&mut self.has_begun, true)
            || has_room
            || link.inlet.has_news()
            || link.is_draining() && !self.session.core.is_drained;
        link.inlet.listen(context.waker());
        while !link.is_ended && link.inbox.len() < AHEAD_BYTES {
            match self.body.poll_next(context) {
                Poll::Ready(Ok(Some(bytes))) => link.inbox.push(bytes),
                Poll::Ready(Ok(None) | Err(_)) => link.is_ended = true,
                Poll::Pending => break,
            }
            has_news = true;
        }
        let mut news = News { is_nudged: link.inlet.is_nudged.take(), is_timed_out: false };
        if let Some(sleep) = &mut self.sleep
            && sleep.as_mut().poll(context).is_ready()
        {
            self.sleep = None;
            news.is_timed_out = true;
        }
        (has_news || news.is_nudged || news.is_timed_out).then_some(news)
    }

    fn set_alarm(&mut self) {
        let at_ms = std::mem::take(&mut self.link.deadline_ms);
        if at_ms > 0 {
            self.sleep = Some(Box::pin(self.link.worker.sleep_until(at_ms)));
        }
    }
}

impl BodySource for StreamSession {
    fn poll_piece(&mut self, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
        // It gives slices.
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }

    fn gives_slices(&self) -> bool {
        true
    }

    fn poll_slice(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Slice>>> {
        loop {
            if let Some(slice) = self.link.out.pop_front() {
                self.link.out_bytes -= slice.len();
                self.link.gone_bytes += slice.len() as u64;
                return Poll::Ready(Ok(Some(slice)));
            }
            match self.after {
                After::End => return Poll::Ready(Ok(None)),
                After::Abort => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                After::Stay => {}
            }
            self.advance(context);
            if self.link.out.is_empty() && self.after == After::Stay {
                return Poll::Pending;
            }
        }
    }

    fn go_on(&mut self, context: &mut Context<'_>) {
        self.advance(context);
    }
}

impl Drop for StreamSession {
    fn drop(&mut self) {
        self.session.end();
    }
}
