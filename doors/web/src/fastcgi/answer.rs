//! What a program said, as an answer to the client.

use super::FastCgi;
use super::call::Outcome;
use super::passage::Passage;
use super::reading::Head;
use super::trouble::Trouble;
use crate::exchange::Exchange;
use crate::pipeline::{Finish, Handled};
use crate::request_body::BodyError;
use ringway_engine::heap::local_future;
use ringway_http::cgi::AnswerHead;
use ringway_http::method::Method;
use ringway_http::response::EncodeError;
use ringway_http::status::Status;
use ringway_http::target;

/// Fields that are said to this server, and to nobody behind it.
pub(super) const SAID_HERE: [&str; 7] = [
    "x-accel-redirect",
    "x-accel-buffering",
    "x-accel-charset",
    "x-accel-expires",
    "x-accel-limit-rate",
    "x-sendfile",
    "x-lighttpd-send-file",
];

impl FastCgi {
    /// Answers with what came of a call.
    pub(super) fn finish(
        &self,
        exchange: &mut Exchange<'_>,
        outcome: Outcome,
    ) -> Result<Handled, EncodeError> {
        // The program has run: whatever happens now, it does not run again.
        exchange.ask_once();
        if let Outcome::Answered(head, _) = &outcome
            && exchange.lacks_memory(head.len())
        {
            let this = self.clone();
            let finish: Finish = Box::new(move |exchange| this.finish(exchange, outcome));
            return Ok(Handled::Later(local_future(std::future::ready(finish))));
        }
        match outcome {
            Outcome::Answered(head, passage) => self.answered(exchange, &head, passage),
            Outcome::Failed { trouble: Trouble::Body(BodyError::Gone), .. } => Ok(Handled::Close),
            Outcome::Failed { trouble: Trouble::Body(error), .. } => {
                exchange.error(error.status()).map(Handled::Answer)
            }
            Outcome::Failed { backend, trouble } => self.failed(exchange, &backend, trouble),
            Outcome::Nobody(error) => {
                let status = error.status();
                let path = exchange.request.target().escape_ascii();
                self.0.terms.log.error(
                    "fastcgi",
                    format_args!("{}: {error}; {path} is answered {}", self.0.terms.upstream, status.code()),
                );
                exchange.error(status).map(Handled::Answer)
            }
        }
    }

    fn answered(
        &self,
        exchange: &mut Exchange<'_>,
        head: &Head,
        mut passage: Box<Passage>,
    ) -> Result<Handled, EncodeError> {
        let answer = match AnswerHead::parse(head, &self.0.options.answer) {
            Ok(answer) => answer,
            Err(fault) => return self.refused(exchange, passage, Trouble::Head(fault)),
        };
        let status = answer.status();
        let length = match (answer.content_length(), passage.whole_bytes()) {
            (Some(said), Some(sent)) if said != sent && !is_bodiless(exchange, status) => {
                return self.refused(exchange, passage, Trouble::Length { said, sent });
            }
            (said, whole) => said.or(whole),
        };
        let backend: Box<str> = match SentFile::of(&answer) {
            Some(_) => passage.backend().into(),
            None => Box::default(),
        };
        passage.settle(status);
        if let Some(decided) = self.elsewhere(exchange, &answer, &mut passage, &backend)? {
            return Ok(decided);
        }
        if is_bodiless(exchange, status) {
            passage.set_unwanted();
        } else if let Some(length) = length {
            passage.expect(length);
        }
        let Ok(lines) = lines(exchange, &answer) else {
            return exchange.error(Status::SERVICE_UNAVAILABLE).map(Handled::Answer);
        };
        // Only the program knows how long what HEAD leaves away would have been.
        let length = if is_bodiless(exchange, status) { answer.content_length() } else { length };
        exchange.stream_with(status, lines, length, *passage).map(Handled::Answer)
    }

    /// Says what is wrong with an answer that came, and answers in its place.
    pub(super) fn refused(
        &self,
        exchange: &mut Exchange<'_>,
        mut passage: Box<Passage>,
        trouble: Trouble,
    ) -> Result<Handled, EncodeError> {
        let backend: Box<str> = passage.backend().into();
        passage.give_up(trouble, false);
        self.failed(exchange, &backend, trouble)
    }

    fn failed(
        &self,
        exchange: &mut Exchange<'_>,
        backend: &str,
        trouble: Trouble,
    ) -> Result<Handled, EncodeError> {
        let status = trouble.status();
        let path = exchange.request.target().escape_ascii();
        let name = &self.0.terms.upstream;
        self.0.terms.log.error(
            "fastcgi",
            format_args!("backend {backend} of {name} {trouble}; {path} is answered {}", status.code()),
        );
        exchange.error(status).map(Handled::Answer)
    }

    /// What another part of this server answers instead.
    fn elsewhere(
        &self,
        exchange: &mut Exchange<'_>,
        answer: &AnswerHead<'_>,
        passage: &mut Passage,
        backend: &str,
    ) -> Result<Option<Handled>, EncodeError> {
        let sent_file = SentFile::of(answer);
        if let Some(wanted) = sent_file {
            passage.set_unwanted();
            return self.send_file(exchange, answer, wanted, backend).map(Some);
        }
        // What follows is a GET: nothing else is sent elsewhere without the client's knowing.
        let is_get = matches!(exchange.request.method(), Method::Get | Method::Head);
        let Some(location) = answer.local_redirect().filter(|_| is_get) else { return Ok(None) };
        passage.set_unwanted();
        go_on_at(exchange, location).map(Some)
    }
}

/// What a program wants sent in the place of its own answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SentFile<'a> {
    /// By a path of this server, escapes in it.
    Path(&'a [u8]),
    /// By its name on disk.
    Name(&'a [u8]),
}

impl<'a> SentFile<'a> {
    fn of(answer: &AnswerHead<'a>) -> Option<Self> {
        if let Some(path) = answer.field("x-accel-redirect") {
            return Some(Self::Path(path));
        }
        answer.field("x-sendfile").or_else(|| answer.field("x-lighttpd-send-file")).map(Self::Name)
    }
}

/// The request goes on at another path of this server, as if it had been asked for.
fn go_on_at(exchange: &mut Exchange<'_>, location: &[u8]) -> Result<Handled, EncodeError> {
    let location = location.split(|byte| *byte == b'#').next().unwrap_or_default();
    let (path, query) = match memchr::memchr(b'?', location) {
        Some(at) => (&location[..at], Some(&location[at + 1..])),
        None => (location, None),
    };
    let mut memory = vec![0; path.len()];
    let rewritten = match target::normalise(path, &mut memory) {
        Ok(path) => exchange.rewrite(path, query),
        Err(_no_path) => Err(Status::BAD_GATEWAY),
    };
    match rewritten {
        Ok(()) => Ok(Handled::Rewritten),
        Err(status) => exchange.error(status).map(Handled::Answer),
    }
}

/// Whether the client gets no body, whatever the program wrote.
fn is_bodiless(exchange: &Exchange<'_>, status: Status) -> bool {
    status.is_bodiless() || exchange.request.method() == Method::Head
}

/// The field lines that go on to the client.
fn lines<'a>(exchange: &Exchange<'a>, answer: &AnswerHead<'_>) -> Result<&'a [u8], ()> {
    let fields = || answer.fields().filter(|field| !is_said_here(field.name));
    let len = fields().map(|field| field.name.len() + field.value.len() + b": \r\n".len()).sum();
    let memory = exchange.scratch.alloc_slice_with(len, |_| 0_u8).map_err(|_at_limit| ())?;
    let mut at = 0;
    for field in fields() {
        for part in [field.name, b": ", field.value, b"\r\n"] {
            memory[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
    }
    Ok(memory)
}

pub(super) fn is_said_here(name: &[u8]) -> bool {
    matches!(name.first(), Some(b'x' | b'X'))
        && SAID_HERE.iter().any(|said| name.eq_ignore_ascii_case(said.as_bytes()))
}
