//! Field lines (RFC 9112 section 5): read in one pass, byte classes checked eight at a time.

use super::Limits;
use super::authority::Authority;
use super::fields::{Known, Span};
use super::request::Request;
use crate::octets::{token_end, value_end};
use crate::refusal::Refusal;

/// Reads the lines behind the request line into the request, up to the empty line, which must end its head.
pub(super) fn read(request: &mut Request<'_>, limits: &Limits) -> Result<(), Refusal> {
    let head = request.head;
    let mut at = request.fields_at;
    let mut count = 0;
    while !head[at..].starts_with(b"\r\n") {
        let line = field_line(head, at)?;
        count += 1;
        if count > limits.fields_max {
            return Err(Refusal::FieldCount);
        }
        at = line.end;
        note(request, &line)?;
    }
    if at + 2 == head.len() { Ok(()) } else { Err(Refusal::HeadEnd) }
}

/// Where the parts of a field line lie; its name begins at the offset that was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FieldLine {
    pub(crate) name_start: usize,
    pub(crate) name_end: usize,
    pub(crate) value_start: usize,
    pub(crate) value_end: usize,
    /// Behind the CRLF.
    pub(crate) end: usize,
}

/// Reads the field line at `at`: `token ":" OWS value OWS CRLF` and nothing else.
pub(crate) fn field_line(bytes: &[u8], at: usize) -> Result<FieldLine, Refusal> {
    let name_end = token_end(bytes, at);
    if name_end == at || bytes.get(name_end) != Some(&b':') {
        return Err(bad_name(bytes, at, name_end));
    }
    let mut value_start = name_end + 1;
    while matches!(bytes.get(value_start), Some(b' ' | b'\t')) {
        value_start += 1;
    }
    let stop = value_end(bytes, value_start);
    if !bytes[stop..].starts_with(b"\r\n") {
        return Err(stray(bytes, stop, Refusal::HeadEnd));
    }
    let mut value_end = stop;
    while value_end > value_start && matches!(bytes[value_end - 1], b' ' | b'\t') {
        value_end -= 1;
    }
    Ok(FieldLine { name_start: at, name_end, value_start, value_end, end: stop + 2 })
}

/// Why a field name that begins at `at` cannot go on at `end`.
fn bad_name(bytes: &[u8], at: usize, end: usize) -> Refusal {
    match bytes.get(end) {
        Some(b' ' | b'\t') if end == at => Refusal::FoldedField,
        Some(b' ' | b'\t') => Refusal::SpaceBeforeColon,
        None => Refusal::HeadEnd,
        Some(_) => stray(bytes, end, Refusal::FieldName),
    }
}

/// The refusal for a byte at `at` that ends a run too early: line ends and control bytes have their own.
pub(crate) fn stray(bytes: &[u8], at: usize, otherwise: Refusal) -> Refusal {
    match bytes.get(at..).unwrap_or_default() {
        [b'\r', b'\n', ..] => otherwise,
        [b'\r', ..] => Refusal::BareCr,
        [b'\n', ..] => Refusal::BareLf,
        [byte, ..] if byte.is_ascii_control() => Refusal::ControlByte,
        _ => otherwise,
    }
}

/// Keeps what the line says, if it is one that anybody here asks for.
fn note(request: &mut Request<'_>, line: &FieldLine) -> Result<(), Refusal> {
    let name = &request.head[line.name_start..line.name_end];
    let Some(known) = Known::from_name(name) else {
        return if is_disguised(name) { Err(Refusal::DisguisedField) } else { Ok(()) };
    };
    let value = &request.head[line.value_start..line.value_end];
    let is_first = !request.has(known);
    if is_first {
        request.seen |= known.bit();
        request.places[known as usize] = Span::new(line.value_start, line.value_end);
    } else {
        request.repeated |= known.bit();
    }
    match known {
        Known::Host if !is_first => return Err(Refusal::HostRepeated),
        Known::Host => {
            let host = Authority::parse(value)?;
            if !request.absolute {
                request.host = Some(host);
            }
        }
        Known::ContentLength => request.framing.content_length(value)?,
        Known::TransferEncoding => request.framing.transfer_encoding(value)?,
        Known::Connection => request.framing.connection(value),
        Known::Expect => request.framing.expect(value, request.version)?,
        _ => {}
    }
    Ok(())
}

/// CGI and its kin turn `-` into `_`, so these would frame a message behind this server but not in it.
fn is_disguised(name: &[u8]) -> bool {
    let real: &[u8] = match name.len() {
        14 => b"content-length",
        17 => b"transfer-encoding",
        _ => return false,
    };
    name.iter().zip(real).all(|(sent, real)| {
        let sent = if *sent == b'_' { b'-' } else { sent.to_ascii_lowercase() };
        sent == *real
    })
}
