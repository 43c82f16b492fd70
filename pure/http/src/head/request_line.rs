//! The request line (RFC 9112 section 3): method, target in one of its forms, version.

use super::Limits;
use super::authority::Authority;
use super::field_lines::stray;
use super::request::{Request, Version};
use crate::method::{METHOD_BYTES_MAX, Method};
use crate::octets::{token_end, value_end, visible_end};
use crate::refusal::Refusal;

/// Reads the line at the front of the request's head into it.
pub(super) fn read(request: &mut Request<'_>, limits: &Limits) -> Result<(), Refusal> {
    let head = request.head;
    let (method, target_start) = method(head)?;
    let target_end = visible_end(head, target_start);
    if target_end == target_start || head.get(target_end) != Some(&b' ') {
        return Err(stray(head, target_end, Refusal::RequestLine));
    }
    let (version, end) = version(head, target_end + 1)?;
    request.method = method;
    request.version = version;
    request.target = &head[target_start..target_end];
    request.fields_at = end + 2;
    read_target(request)?;
    if end > limits.line_max() { Err(Refusal::LineLength) } else { Ok(()) }
}

/// The method and where the target begins.
fn method(head: &[u8]) -> Result<(Method<'_>, usize), Refusal> {
    if head.starts_with(b"GET ") {
        return Ok((Method::Get, 4));
    }
    let end = token_end(head, 0);
    if end == 0 || head.get(end) != Some(&b' ') {
        return Err(stray(head, end, Refusal::MethodToken));
    }
    if end > METHOD_BYTES_MAX {
        return Err(Refusal::MethodLength);
    }
    let token = str::from_utf8(&head[..end]).ok().ok_or(Refusal::MethodToken)?;
    Ok((Method::from_token(token), end + 1))
}

/// The version that begins at `start`, and where the line ends.
fn version(head: &[u8], start: usize) -> Result<(Version, usize), Refusal> {
    if head[start..].starts_with(b"HTTP/1.1\r\n") {
        return Ok((Version::Http11, start + 8));
    }
    let end = value_end(head, start);
    if !head[end..].starts_with(b"\r\n") {
        return Err(stray(head, end, Refusal::VersionForm));
    }
    match &head[start..end] {
        b"HTTP/1.0" => Ok((Version::Http10, end)),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => Err(Refusal::Version),
        _ => Err(Refusal::VersionForm),
    }
}

/// Path, query and authority of the target, whichever of the four forms of RFC 9112 section 3.2 it has.
fn read_target(request: &mut Request<'_>) -> Result<(), Refusal> {
    if request.method == Method::Connect {
        let authority = Authority::parse(request.target).ok().filter(|authority| authority.port().is_some());
        return Err(if authority.is_some() { Refusal::Connect } else { Refusal::TargetForm });
    }
    match request.target {
        [b'/', ..] => (request.path, request.query) = split_query(request.target),
        b"*" if request.method == Method::Options => request.path = request.target,
        _ => read_absolute(request)?,
    }
    Ok(())
}

fn read_absolute(request: &mut Request<'_>) -> Result<(), Refusal> {
    let target = request.target;
    let colon = target.iter().position(|byte| !byte.is_ascii_alphanumeric()).ok_or(Refusal::TargetForm)?;
    let scheme = &target[..colon];
    let rest = target[colon..].strip_prefix(b"://").ok_or(Refusal::TargetForm)?;
    if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
        return Err(Refusal::TargetScheme);
    }
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    request.host = Some(Authority::parse(&rest[..end])?);
    request.absolute = true;
    (request.path, request.query) = match split_query(&rest[end..]) {
        // RFC 9112 section 3.2.4: how OPTIONS * looks through a proxy.
        (b"", None) if request.method == Method::Options => (&b"*"[..], None),
        (b"", query) => (&b"/"[..], query),
        (path @ [b'/', ..], query) => (path, query),
        _ => return Err(Refusal::TargetForm),
    };
    Ok(())
}

fn split_query(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'?', target) {
        Some(at) => (&target[..at], Some(&target[at + 1..])),
        None => (target, None),
    }
}
