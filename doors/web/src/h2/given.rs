//! Bodies of requests that handlers may read: brought to them as they come, their windows opened as they are read.

use super::answer::{Upload, Work, is_too_long};
use super::{Memory, Session};
use crate::exchange::Course;
use crate::limits::deadline;
use crate::request_body::arriving::{self, Arriving};
use crate::request_body::{self, BodyError, CONTINUE, Carrier};
use ringway_engine::ring::Slice;
use ringway_http::head::Request;
use std::ops::Range;
use std::rc::Rc;
use std::task::Context;

/// How long a client may go on sending after it was too slow, in milliseconds: time to hear of it.
const LATE_MS: u64 = 1_000;

impl Upload {
    /// Nobody reads it.
    pub(super) fn let_go(&self) {
        if let Some(body) = &self.body {
            body.let_go();
        }
    }
}

impl Session {
    /// Whether the connection sees to everything anyway just now, and who wakes it when not.
    pub(super) fn note_work(&self, is_at_work: bool, context: &Context<'_>) {
        let Some(bodies) = &self.bodies else { return };
        bodies.is_at_work.set(is_at_work);
        let waker = &mut *bodies.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
    }

    /// The last of the uploads is of a request whose body handlers may have.
    pub(super) fn open_body(&mut self, request: &Request<'_>) {
        let bodies = Rc::clone(self.bodies.get_or_insert_with(arriving::Session::new));
        bodies.is_at_work.set(true);
        let bytes_max = self.shared.limits.body.body_bytes_max;
        let body = Arriving::new(request, bytes_max, bodies);
        if let Some(upload) = self.uploads.last_mut() {
            upload.body = Some(body);
        }
    }

    /// Handlers are about to be asked who may have the body.
    pub(super) fn offer_body(&self, stream: u32, course: &mut Course) {
        let upload = self.uploads.iter().find(|upload| upload.stream == stream);
        if let Some(body) = upload.and_then(|upload| upload.body.as_ref()) {
            course.upload = request_body::Upload::of(Carrier::Http2(Rc::clone(body)));
        }
    }

    /// Who reads the body of a stream that is gone hears of it.
    pub(super) fn fail_bodies(&self, stream: u32) {
        let uploads = self.uploads.iter().filter(|upload| upload.stream == stream);
        uploads.filter_map(|upload| upload.body.as_ref()).for_each(|body| body.fail(BodyError::Gone));
    }

    /// Whether a request that nobody took the body of announces one that is too long to be discarded.
    pub(super) fn is_body_too_long(&self, request: &Request<'_>, course: &Course) -> bool {
        !course.upload.is_taken && is_too_long(&self.shared, request)
    }

    /// The answer begins: a body that nobody has taken is nobody's now.
    pub(super) fn note_answer(&mut self, stream: u32, course: &Course) {
        let upload = self.uploads.iter_mut().find(|upload| upload.stream == stream);
        let Some(body) = upload.and_then(|upload| upload.body.as_ref()) else { return };
        body.note_answer();
        if !course.upload.is_taken {
            body.let_go();
        }
    }

    /// Part of a request's body has come.
    pub(super) fn take_data(
        &mut self,
        stream: u32,
        input: &Slice,
        at: Range<usize>,
        ends: bool,
        memory: &mut Memory,
    ) {
        let pool = self.stream.pool();
        let upload = self.uploads.iter_mut().find(|upload| upload.stream == stream);
        let open = upload.and_then(|upload| upload.body.clone().map(|body| (upload, body)));
        let Some((upload, body)) = open.filter(|(_, body)| !body.is_let_go() && body.error().is_none())
        else {
            self.discard(stream, at.len(), ends, memory);
            return;
        };
        let fits = body.push(input.clone(), at, ends, &pool);
        if ends {
            // It is forgotten when it was read.
            upload.until_ms = u64::MAX;
        }
        if !fits {
            upload.is_unwanted = true;
        }
    }

    /// Opens windows for what was read, tells who waits for it to go on, and forgets bodies that are done with.
    pub(super) fn settle_uploads(&mut self, memory: &mut Memory) {
        let mut at = 0;
        while let Some(upload) = self.uploads.get_mut(at) {
            at += 1;
            let Some(body) = upload.body.clone() else { continue };
            let stream = upload.stream;
            let is_over = body.is_let_go() || body.error().is_some();
            let mut read = body.take_taken();
            if is_over {
                read = read.saturating_add(body.empty());
            }
            if is_over && body.is_let_go() {
                self.let_go(at - 1, &body);
            }
            if read > 0 {
                self.machine.consume(stream, read, &mut memory.buffers);
            }
            if body.take_expectation() && self.is_waiting(stream) {
                // That the stream may be gone shows soon enough.
                let _lives = self.machine.respond(stream, CONTINUE, false, &mut memory.buffers);
                if let Some(upload) = self.uploads.get_mut(at - 1) {
                    upload.is_unwanted = false;
                }
            }
            if body.is_drained() {
                at -= 1;
                self.uploads.swap_remove(at);
            }
        }
    }

    /// What is left of a body is discarded from here on.
    fn let_go(&mut self, at: usize, body: &Arriving) {
        let is_answered = self.uploads.get(at).is_some_and(|upload| !self.is_answering(upload.stream));
        let Some(upload) = self.uploads.get_mut(at) else { return };
        upload.body = None;
        let had = body.bytes();
        upload.left = self.shared.limits.body.body_bytes_max.saturating_sub(had);
        upload.is_unwanted |= upload.left == 0;
        let stream = upload.stream;
        if upload.until_ms == u64::MAX {
            return;
        }
        upload.until_ms = deadline(self.stream.now_ms(), self.shared.limits.body_ms_max);
        if is_answered {
            self.finished(stream);
        }
    }

    /// Windows of bodies are over: those that were too slow are given up, the others have another one.
    pub(super) fn look_at_bodies(&mut self) {
        let now_ms = self.stream.now_ms();
        let limits = &self.shared.limits;
        let next_ms = deadline(now_ms, limits.body_ms_max);
        let is_due = |upload: &&mut Upload| upload.until_ms <= now_ms;
        for upload in self.uploads.iter_mut().filter(is_due) {
            let Some(body) = &upload.body else { continue };
            if body.error().is_some() {
                continue;
            }
            upload.until_ms = next_ms;
            if body.is_late(limits.send_window_bytes_min) {
                body.fail(BodyError::Late);
                upload.is_unwanted = true;
                upload.until_ms = now_ms + LATE_MS;
            }
        }
    }

    /// Whether a stream's answer has not begun.
    fn is_waiting(&self, stream: u32) -> bool {
        let waits = |work: &Work| matches!(work, Work::Waiting(_));
        self.answers.iter().any(|answer| answer.stream == stream && waits(&answer.work))
    }

    fn is_answering(&self, stream: u32) -> bool {
        self.answers.iter().any(|answer| answer.stream == stream)
    }
}
