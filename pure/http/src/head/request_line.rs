//! The request line (RFC 9112 section 3): method, target in one of its forms, version.

use super::authority::Authority;
use super::parse::stray;
use super::request::Version;
use crate::method::{METHOD_BYTES_MAX, Method};
use crate::octets::{token_end, value_end, visible_end};
use crate::refusal::Refusal;

/// A read request line.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestLine<'b> {
    pub(super) method: Method<'b>,
    pub(super) target: &'b [u8],
    pub(super) path: &'b [u8],
    pub(super) query: Option<&'b [u8]>,
    pub(super) authority: Option<Authority<'b>>,
    pub(super) version: Version,
    /// Where the line ends, before its CRLF.
    pub(super) end: usize,
}

impl<'b> RequestLine<'b> {
    pub(super) fn parse(head: &'b [u8]) -> Result<Self, Refusal> {
        let (method, target_start) = method(head)?;
        let target_end = visible_end(head, target_start);
        if target_end == target_start || head.get(target_end) != Some(&b' ') {
            return Err(stray(head, target_end, Refusal::RequestLine));
        }
        let (version, end) = version(head, target_end + 1)?;
        let target = &head[target_start..target_end];
        let (path, query, authority) = forms(target, &method)?;
        Ok(Self { method, target, path, query, authority, version, end })
    }
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
    let end = value_end(head, start);
    if !head[end..].starts_with(b"\r\n") {
        return Err(stray(head, end, Refusal::VersionForm));
    }
    match &head[start..end] {
        b"HTTP/1.1" => Ok((Version::Http11, end)),
        b"HTTP/1.0" => Ok((Version::Http10, end)),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => Err(Refusal::Version),
        _ => Err(Refusal::VersionForm),
    }
}

type Parts<'b> = (&'b [u8], Option<&'b [u8]>, Option<Authority<'b>>);

/// Path, query and authority of a target, whichever of the four forms of RFC 9112 section 3.2 it has.
fn forms<'b>(target: &'b [u8], method: &Method<'_>) -> Result<Parts<'b>, Refusal> {
    if *method == Method::Connect {
        let authority = Authority::parse(target).ok().filter(|authority| authority.port().is_some());
        return Err(if authority.is_some() { Refusal::Connect } else { Refusal::TargetForm });
    }
    match target {
        [b'/', ..] => {
            let (path, query) = split_query(target);
            Ok((path, query, None))
        }
        b"*" if *method == Method::Options => Ok((target, None, None)),
        _ => absolute(target, method),
    }
}

fn absolute<'b>(target: &'b [u8], method: &Method<'_>) -> Result<Parts<'b>, Refusal> {
    let colon = target.iter().position(|byte| !byte.is_ascii_alphanumeric()).ok_or(Refusal::TargetForm)?;
    let scheme = &target[..colon];
    let rest = target[colon..].strip_prefix(b"://").ok_or(Refusal::TargetForm)?;
    if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
        return Err(Refusal::TargetScheme);
    }
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let authority = Authority::parse(&rest[..end])?;
    let (path, query) = match split_query(&rest[end..]) {
        // RFC 9112 section 3.2.4: how OPTIONS * looks through a proxy.
        (b"", None) if *method == Method::Options => (&b"*"[..], None),
        (b"", query) => (&b"/"[..], query),
        ([b'/', ..], _) => split_query(&rest[end..]),
        _ => return Err(Refusal::TargetForm),
    };
    Ok((path, query, Some(authority)))
}

fn split_query(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'?', target) {
        Some(at) => (&target[..at], Some(&target[at + 1..])),
        None => (target, None),
    }
}
