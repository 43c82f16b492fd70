//! Pages under `ringway dev`: the script that reloads them is put at their end, and nobody keeps them.

use crate::web::body_source::BodySource;
use crate::web::entry::Entry;
use crate::web::exchange::Exchange;
use crate::web::pipeline::{AnswerStage, Handled, PlanBody, Reply, Source};
use ringway_http::response::EncodeError;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Fields that say of a page what is not true any more with the script in it.
const UNTRUE: [&[u8]; 6] =
    [b"content-length", b"etag", b"last-modified", b"cache-control", b"expires", b"accept-ranges"];

/// Puts a tag at the end of every HTML page that is sent whole and as it is: not of parts, nor of what is compressed.
#[derive(Clone, Debug)]
pub(crate) struct ReloadedPages {
    tag: Arc<str>,
}

impl ReloadedPages {
    /// With what `ringway dev` wants at the end of pages.
    pub(crate) fn new(tag: Arc<str>) -> Self {
        Self { tag }
    }
}

impl AnswerStage for ReloadedPages {
    fn answer(&self, exchange: &mut Exchange<'_>, mut reply: Reply) -> Result<Handled, EncodeError> {
        let head = &exchange.memory[..reply.plan.head_len];
        let is_whole = reply.plan.status.code() != 206 && !matches!(reply.plan.body, PlanBody::Empty);
        if !is_whole || !is_page(head) {
            return Ok(Handled::Answer(reply));
        }
        let had_length = field(head, b"content-length").is_some();
        let length = match &mut reply.plan.body {
            PlanBody::Stream => None,
            PlanBody::Sized => Some(reply.plan.body_len + self.tag.len() as u64),
            PlanBody::Empty | PlanBody::File { .. } | PlanBody::Raw | PlanBody::Parts(_) => {
                return Ok(Handled::Answer(reply));
            }
            PlanBody::Memory(_) | PlanBody::Static(_) | PlanBody::Shared(_) => {
                let Some(mut page) = taken(&reply) else { return Ok(Handled::Answer(reply)) };
                page.extend_from_slice(self.tag.as_bytes());
                let length = page.len();
                reply.plan.body = PlanBody::Memory(0..length);
                reply.source = Source::Bytes(page);
                Some(length as u64)
            }
        };
        if let Source::Stream(inner) = reply.source {
            reply.source = Source::Stream(Box::new(Tagged::new(inner, Arc::clone(&self.tag))));
        }
        reply.plan.body_len = length.unwrap_or(0);
        let lines = match length.filter(|_| had_length) {
            Some(length) => format!("Content-Length: {length}\r\nCache-Control: no-store\r\n"),
            None => "Cache-Control: no-store\r\n".to_owned(),
        };
        reply.plan.head_len = rewritten(exchange.memory, reply.plan.head_len, lines.as_bytes())?;
        Ok(Handled::Answer(reply))
    }
}

/// Whether a head is one of a page that can be added to.
fn is_page(head: &[u8]) -> bool {
    let is_html = field(head, b"content-type").is_some_and(|value| {
        let kind = value.split(|byte| *byte == b';').next().unwrap_or_default();
        kind.trim_ascii().eq_ignore_ascii_case(b"text/html")
    });
    is_html && field(head, b"content-encoding").is_none()
}

/// The lines of a head but for the first and the empty one, with their places.
fn lines(head: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut at = 0;
    let all = std::iter::from_fn(move || {
        let rest = head.get(at..).filter(|rest| !rest.is_empty())?;
        let end = rest.iter().position(|byte| *byte == b'\n').map_or(head.len(), |found| at + found + 1);
        let line = at..end;
        at = end;
        Some(line)
    });
    all.skip(1).filter(|line| line.len() > 2)
}

/// The value of the first field of that name, which is in lower case.
fn field<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    lines(head).find_map(|line| {
        let line = &head[line];
        let colon = line.iter().position(|byte| *byte == b':')?;
        line[..colon].eq_ignore_ascii_case(name).then(|| line[colon + 1..].trim_ascii())
    })
}

/// Puts `added` in the place of fields that are not true any more; the head's new length.
fn rewritten(memory: &mut [u8], len: usize, added: &[u8]) -> Result<usize, EncodeError> {
    let head = memory[..len].to_vec();
    let first = head.iter().position(|byte| *byte == b'\n').map_or(len, |at| at + 1);
    let kept = lines(&head).filter(|line| {
        let line = &head[line.clone()];
        let name = &line[..line.iter().position(|byte| *byte == b':').unwrap_or(0)];
        !UNTRUE.iter().any(|one| name.eq_ignore_ascii_case(one))
    });
    let mut new = head[..first].to_vec();
    kept.for_each(|line| new.extend_from_slice(&head[line]));
    new.extend_from_slice(added);
    new.extend_from_slice(b"\r\n");
    memory.get_mut(..new.len()).ok_or(EncodeError::Full)?.copy_from_slice(&new);
    Ok(new.len())
}

/// The body of an answer that lies in memory.
fn taken(reply: &Reply) -> Option<Vec<u8>> {
    match (&reply.plan.body, &reply.source) {
        (PlanBody::Static(bytes), _) => Some(bytes.to_vec()),
        (PlanBody::Shared(bytes), _) => Some(bytes.to_vec()),
        (PlanBody::Memory(range), Source::Bytes(bytes)) => bytes.get(range.clone()).map(<[u8]>::to_vec),
        (PlanBody::Memory(range), Source::Entry(entry)) => {
            let Entry::File(file) = &**entry else { return None };
            file.memory()?.get(range.clone()).map(<[u8]>::to_vec)
        }
        _ => None,
    }
}

/// A body with the tag behind it.
struct Tagged {
    inner: Box<dyn BodySource>,
    tag: Arc<str>,
    /// What is still to be sent of a piece that lies elsewhere.
    pending: Vec<u8>,
    /// Bytes of it that were taken.
    taken: usize,
    has_ended: bool,
}

impl Tagged {
    fn new(inner: Box<dyn BodySource>, tag: Arc<str>) -> Self {
        Self { inner, tag, pending: Vec::new(), taken: 0, has_ended: false }
    }

    fn give(&mut self, memory: &mut [u8]) -> usize {
        let rest = &self.pending[self.taken..];
        let count = rest.len().min(memory.len());
        memory[..count].copy_from_slice(&rest[..count]);
        self.taken += count;
        count
    }
}

impl BodySource for Tagged {
    fn poll_piece(&mut self, context: &mut Context<'_>, memory: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            if self.taken < self.pending.len() {
                return Poll::Ready(Ok(self.give(memory)));
            }
            if self.has_ended {
                return Poll::Ready(Ok(0));
            }
            let piece = if self.inner.gives_slices() {
                match ready!(self.inner.poll_slice(context))? {
                    Some(slice) => {
                        (self.pending, self.taken) = (slice.to_vec(), 0);
                        continue;
                    }
                    None => 0,
                }
            } else {
                ready!(self.inner.poll_piece(context, memory))?
            };
            if piece > 0 {
                return Poll::Ready(Ok(piece));
            }
            self.has_ended = true;
            (self.pending, self.taken) = (self.tag.as_bytes().to_vec(), 0);
        }
    }

    fn go_on(&mut self, context: &mut Context<'_>) {
        self.inner.go_on(context);
    }

    fn needs_reader(&self) -> bool {
        self.inner.needs_reader()
    }

    fn is_endless(&self) -> bool {
        self.inner.is_endless()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nETag: \"x\"\r\nX: y\r\ncontent-length: 3\r\n\r\n";

    #[test]
    fn pages_are_told_from_what_is_none() {
        assert!(is_page(HEAD));
        assert_eq!(field(HEAD, b"content-length"), Some(b"3".as_slice()));
        for other in [
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n\r\n",
        ] {
            assert!(!is_page(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn heads_say_what_is_true_of_the_new_page() {
        let mut memory = [0; 256];
        memory[..HEAD.len()].copy_from_slice(HEAD);
        let len = rewritten(&mut memory, HEAD.len(), b"Content-Length: 9\r\n").expect("there is room");
        assert_eq!(
            String::from_utf8_lossy(&memory[..len]),
            "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nX: y\r\nContent-Length: 9\r\n\r\n"
        );
        let long = [b'x'; 300];
        assert!(rewritten(&mut memory, len, &long).is_err());
    }
}
