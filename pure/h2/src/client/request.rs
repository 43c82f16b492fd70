//! Requests go out: the text of an HTTP/1.1 head becomes a field section (RFC 9113 sections 8.2 and 8.3.1).

use memchr::memchr;

use super::{Buffers, Connection, Scheme, Unsent};
use crate::frame::{PAYLOAD_BYTES, write_headers};
use crate::hpack::Encoder;
use crate::lines::{is_of_http1, line_end};
use crate::streams::Stream;

/// The first line of a head, taken apart.
struct RequestLine<'t> {
    method: &'t [u8],
    path: &'t [u8],
    /// Field lines and the empty line.
    rest: &'t [u8],
}

impl Connection {
    /// Sends a request, given as the text of an HTTP/1.1 head: request line with a path or `*`, field lines, empty line.
    /// `Host` becomes `:authority`; fields that are about an HTTP/1.1 connection, `Transfer-Encoding` among them, are left
    /// out. `ends`: no body follows; otherwise it is sent as DATA, and what it must add up to `Content-Length` is the
    /// caller's to see to. Gives the stream's number.
    ///
    /// # Errors
    /// See [`Unsent`]; nothing is in the output then.
    pub fn request(&mut self, text: &[u8], ends: bool, buffers: &mut Buffers) -> Result<u32, Unsent> {
        if self.is_leaving() {
            return Err(Unsent::Leaving);
        }
        if self.vacancies() == 0 {
            return Err(Unsent::Full);
        }
        let line = request_line(text).ok_or(Unsent::Head)?;
        let stream = if self.link.highest == 0 { 1 } else { self.link.highest + 2 };
        self.link.highest = stream;
        let Buffers { out, block, .. } = buffers;
        block.clear();
        write_fields(&mut self.link.encoder, &line, self.scheme, block);
        write_headers(out, stream, ends, block, PAYLOAD_BYTES);
        self.link.streams.add(Stream {
            id: stream,
            receive_window: i64::from(self.link.limits.stream_window_bytes),
            send_window: self.link.peer_window,
            unread: 0,
            returned: 0,
            // No answer to HEAD has a body.
            length_left: (line.method == b"HEAD").then_some(0),
            is_head_due: true,
            is_remote_done: false,
            is_local_done: ends,
        });
        Ok(stream)
    }
}

fn request_line(text: &[u8]) -> Option<RequestLine<'_>> {
    let end = line_end(text)?;
    let (line, rest) = (&text[..end], text.get(end + 2..)?);
    let method_end = memchr(b' ', line)?;
    let (method, target) = (&line[..method_end], &line[method_end + 1..]);
    let path_end = memchr(b' ', target)?;
    let (path, version) = (&target[..path_end], &target[path_end + 1..]);
    let is_path = path.first() == Some(&b'/') || (path == b"*" && method == b"OPTIONS");
    let is_sound = !method.is_empty() && method != b"CONNECT" && is_path && version.starts_with(b"HTTP/1.");
    is_sound.then_some(RequestLine { method, path, rest })
}

/// The lines of a head up to the empty one.
fn lines(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let end = line_end(rest).filter(|end| *end > 0)?;
        let line = &rest[..end];
        rest = rest.get(end + 2..).unwrap_or_default();
        Some(line)
    })
}

fn write_fields(encoder: &mut Encoder, first: &RequestLine<'_>, scheme: Scheme, block: &mut Vec<u8>) {
    encoder.begin(block);
    encoder.method(first.method, block);
    encoder.scheme(scheme == Scheme::Https, block);
    encoder.path(first.path, block);
    // Section 8.3: before the other fields, wherever `Host` stood.
    if let Some((host, value)) = lines(first.rest).find_map(host) {
        encoder.field(host, b":authority", value, block);
    }
    for line in lines(first.rest) {
        if encoder.changing_line(line, block) {
            continue;
        }
        let Some(colon) = memchr(b':', line) else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        match role(name) {
            Role::LeftOut => {}
            // Section 8.2.2: the one word that may be said.
            Role::Te if !value.eq_ignore_ascii_case(b"trailers") => {}
            Role::Te => encoder.field(line, name, b"trailers", block),
            Role::Fresh => encoder.fresh(name, value, block),
            Role::Recurring => encoder.field(line, name, value, block),
        }
    }
}

/// The line and value of `Host`.
fn host(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, value) = line.split_first_chunk::<5>()?;
    name.eq_ignore_ascii_case(b"host:").then(|| (line, value.trim_ascii()))
}

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    LeftOut,
    Te,
    /// It has another value in nearly every request: it would push out of the table what recurs.
    Fresh,
    Recurring,
}

fn role(name: &[u8]) -> Role {
    let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
    let is_fresh = match name.len() {
        2 if is(b"te") => return Role::Te,
        4 if is(b"host") => return Role::LeftOut,
        14 if is(b"http2-settings") => return Role::LeftOut,
        5 => is(b"range"),
        7 => is(b"referer"),
        8 => is(b"if-range") || is(b"if-match"),
        9 => is(b"forwarded") || is(b"x-real-ip"),
        11 => is(b"traceparent"),
        12 => is(b"x-request-id"),
        13 => is(b"if-none-match"),
        15 => is(b"x-forwarded-for"),
        17 => is(b"if-modified-since"),
        19 => is(b"if-unmodified-since"),
        _ => false,
    };
    match is_fresh {
        true => Role::Fresh,
        false if is_of_http1(name) => Role::LeftOut,
        false => Role::Recurring,
    }
}
