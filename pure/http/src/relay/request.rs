//! A request's head as it is sent on.

use super::RelayError;
use super::hop::{Options, is, is_hop_by_hop};
use crate::forwarded::{AddressText, ChainField};
use crate::head::{Known, Request};
use crate::list::elements;
use crate::octets::{is_token, trim};
use crate::response::HeadWriter;
use memchr::{memchr, memchr2};

/// The name in `Via` that requests are known by which came through here.
pub const VIA_NAME: &str = "ringway";

/// How often a request may come through servers of this kind.
pub const LOOPS_MAX: usize = 8;

/// Longest request id that is taken over from a trusted peer, in bytes.
const ID_BYTES_MAX: usize = 128;

/// What is done to the heads of all requests of a kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestRules<'a> {
    /// Fields that are taken away, in lower case.
    pub removed: &'a [Box<[u8]>],
    /// Field lines that are added, each with its CRLF; they are trusted.
    pub lines: &'a [u8],
    /// Whether `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host` are written.
    pub x_forwarded: bool,
    /// Whether `Forwarded` is written.
    pub forwarded: bool,
    /// Whether `Via` is written.
    pub via: bool,
    /// The field that has the request id; empty: none is written.
    pub id_name: &'a [u8],
}

/// How the body behind the head is framed. It is never taken over from what the client sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// There is no body, and nothing is said of one.
    #[default]
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// One request, besides what its head says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asking<'a> {
    /// The path, in two pieces that are joined, escaped; empty: `/`.
    pub path: [&'a [u8]; 2],
    /// What follows the `?`, escaped.
    pub query: Option<&'a [u8]>,
    /// `Host`; none is written when it is empty.
    pub host: &'a [u8],
    /// How the body is framed.
    pub framing: Framing,
    /// What the connection is to be upgraded to.
    pub upgrade: Option<&'a [u8]>,
    /// Whether the server is asked to close the connection behind its answer.
    pub closes: bool,
    /// The address of whom the request came from directly, if it has one.
    pub peer: Option<AddressText>,
    /// The address of whom it came from at first, as far as that is known.
    pub client: Option<AddressText>,
    /// The chain that a trusted peer writes: it is added to. `None`: what the request says of where it came from is not
    /// believed, and stays behind.
    pub trusted: Option<ChainField>,
    /// Whether it came over TLS.
    pub is_secure: bool,
    /// The request id, unless a trusted peer gave it one.
    pub id: &'a [u8],
}

/// What is to be done with a field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It goes on as it is.
    Plain,
    /// It stays behind.
    Dropped,
    /// `Via`.
    Via,
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded`.
    Forwarded,
    /// `X-Forwarded-Proto`.
    Proto,
    /// `X-Forwarded-Host`.
    Host,
    /// Other fields of this kind.
    ByProxy,
}

/// Writes the head for the next server to the front of `memory`; tells its length.
///
/// # Errors
/// [`RelayError`]; what is in `memory` then is not to be sent.
pub fn write_request(
    request: &Request<'_>,
    rules: &RequestRules<'_>,
    asking: &Asking<'_>,
    memory: &mut [u8],
) -> Result<usize, RelayError> {
    let mut head = HeadWriter::new(memory);
    request_line(&mut head, request, asking)?;
    if !asking.host.is_empty() {
        line(&mut head, &[b"Host: ", asking.host])?;
    }
    let kept = fields(&mut head, request, rules, asking)?;
    head.raw(rules.lines)?;
    whence(&mut head, request, rules, asking, kept)?;
    if rules.via {
        line(&mut head, &[b"Via: 1.1 ", VIA_NAME.as_bytes()])?;
    }
    match asking.framing {
        Framing::None => {}
        Framing::Length(length) => head.content_length(length)?,
        Framing::Chunked => head.raw(b"Transfer-Encoding: chunked\r\n")?,
    }
    match asking.upgrade {
        Some(protocol) => {
            head.field(b"Upgrade", protocol)?;
            head.raw(b"Connection: Upgrade\r\n")?;
        }
        None if asking.closes => head.raw(b"Connection: close\r\n")?,
        None => {}
    }
    Ok(head.finish()?)
}

fn request_line(
    head: &mut HeadWriter<'_>,
    request: &Request<'_>,
    asking: &Asking<'_>,
) -> Result<(), RelayError> {
    head.raw(request.method().as_str().as_bytes())?;
    head.raw(b" ")?;
    let [front, rest] = asking.path;
    // Also what is left of a path whose prefix was taken away begins with a slash.
    if front.is_empty() && !rest.starts_with(b"/") && rest != b"*" {
        head.raw(b"/")?;
    }
    head.raw(front)?;
    head.raw(rest)?;
    if let Some(query) = asking.query {
        head.raw(b"?")?;
        head.raw(query)?;
    }
    Ok(head.raw(b" HTTP/1.1\r\n")?)
}

/// What was found among the fields that went on.
#[derive(Clone, Copy, Default)]
struct Kept {
    has_proto: bool,
    has_host: bool,
    has_id: bool,
}

/// Copies the fields that go on, as many lines at once as stand together.
fn fields(
    head: &mut HeadWriter<'_>,
    request: &Request<'_>,
    rules: &RequestRules<'_>,
    asking: &Asking<'_>,
) -> Result<Kept, RelayError> {
    let options = Options::read(request.values(Known::Connection))?;
    let lines = &request.as_bytes()[request.line().len() + 2..];
    let (mut kept, mut loops) = (Kept::default(), 0);
    let (mut run, mut at) = (0, 0);
    while let Some(length) = memchr(b'\n', &lines[at..]) {
        let end = at + length + 1;
        let Some(colon) = memchr(b':', &lines[at..end]) else { break };
        let (name, value) = (&lines[at..at + colon], trim(&lines[at + colon + 1..end - 2]));
        let mut kind = kind_of(name);
        if kind == Kind::Plain && (options.names(name) || is_among(rules.removed, name)) {
            kind = Kind::Dropped;
        }
        if !rules.id_name.is_empty() && name.eq_ignore_ascii_case(rules.id_name) {
            let is_kept = asking.trusted.is_some() && !kept.has_id && is_id(value);
            kept.has_id |= is_kept;
            kind = if is_kept { Kind::Plain } else { Kind::Dropped };
        }
        if kind == Kind::Via {
            loops += elements(value).filter(|element| element.ends_with(VIA_NAME.as_bytes())).count();
        }
        if !goes_on(kind, asking, &mut kept) {
            head.raw(&lines[run..at])?;
            run = end;
        }
        at = end;
    }
    if loops >= LOOPS_MAX {
        return Err(RelayError::Loop);
    }
    head.raw(&lines[run..at])?;
    Ok(kept)
}

fn goes_on(kind: Kind, asking: &Asking<'_>, kept: &mut Kept) -> bool {
    // Of whom does not write it, or writes the other one, it may be the client's own.
    let is_believed = asking.trusted == Some(ChainField::XForwardedFor);
    match kind {
        Kind::Plain | Kind::Via => true,
        Kind::Dropped | Kind::XForwardedFor | Kind::Forwarded => false,
        Kind::Proto => {
            let is_first = is_believed && !kept.has_proto;
            kept.has_proto |= is_believed;
            is_first
        }
        Kind::Host => {
            let is_first = is_believed && !kept.has_host;
            kept.has_host |= is_believed;
            is_first
        }
        Kind::ByProxy => is_believed,
    }
}

fn kind_of(name: &[u8]) -> Kind {
    let kind = match name.len() {
        3 if is(name, b"via") => Kind::Via,
        4 if is(name, b"host") => Kind::Dropped,
        // No field of HTTP, but programs take it for the address of a proxy (httpoxy).
        5 if is(name, b"proxy") => Kind::Dropped,
        // "100 Continue" is this server's to say.
        6 if is(name, b"expect") => Kind::Dropped,
        9 if is(name, b"forwarded") => Kind::Forwarded,
        9 if is(name, b"x-real-ip") => Kind::ByProxy,
        14 if is(name, b"content-length") => Kind::Dropped,
        15 if is(name, b"x-forwarded-for") => Kind::XForwardedFor,
        16 if is(name, b"x-forwarded-host") => Kind::Host,
        17 if is(name, b"x-forwarded-proto") => Kind::Proto,
        12.. if is(&name[..12], b"x-forwarded-") => Kind::ByProxy,
        _ if is_hop_by_hop(name) => Kind::Dropped,
        _ => return Kind::Plain,
    };
    // With an underscore it is not the field, but some would take it for that.
    if memchr(b'_', name).is_some() { Kind::Dropped } else { kind }
}

fn is_among(names: &[Box<[u8]>], name: &[u8]) -> bool {
    names.iter().any(|removed| name.eq_ignore_ascii_case(removed))
}

/// Whether an id is one to go on with: visible bytes, not too many.
fn is_id(value: &[u8]) -> bool {
    (1..=ID_BYTES_MAX).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic)
}

/// Who asked, over what, for whom.
fn whence(
    head: &mut HeadWriter<'_>,
    request: &Request<'_>,
    rules: &RequestRules<'_>,
    asking: &Asking<'_>,
    kept: Kept,
) -> Result<(), RelayError> {
    let scheme: &[u8] = if asking.is_secure { b"https" } else { b"http" };
    let host = request.host().map_or(&b""[..], |host| host.as_bytes());
    if rules.x_forwarded {
        let adds = asking.trusted == Some(ChainField::XForwardedFor);
        head.raw(b"X-Forwarded-For: ")?;
        if adds {
            chain(head, request, b"x-forwarded-for")?;
        }
        let nearest = if adds { asking.peer } else { asking.client };
        head.raw(nearest.as_ref().map_or(b"unknown", AddressText::as_bytes))?;
        head.raw(b"\r\n")?;
        if !kept.has_proto {
            line(head, &[b"X-Forwarded-Proto: ", scheme])?;
        }
        if !kept.has_host && !host.is_empty() {
            line(head, &[b"X-Forwarded-Host: ", host])?;
        }
    }
    if rules.forwarded {
        let adds = asking.trusted == Some(ChainField::Forwarded);
        head.raw(b"Forwarded: ")?;
        if adds {
            chain(head, request, b"forwarded")?;
        }
        let nearest = if adds { asking.peer } else { asking.client };
        element(head, nearest.as_ref(), host, scheme)?;
    }
    if !rules.id_name.is_empty() && !kept.has_id && !asking.id.is_empty() {
        head.field(rules.id_name, asking.id)?;
    }
    Ok(())
}

/// What the lines of a list say, in one, with a comma behind it.
fn chain(head: &mut HeadWriter<'_>, request: &Request<'_>, name: &[u8]) -> Result<(), RelayError> {
    for field in
        request.fields().filter(|field| field.name.eq_ignore_ascii_case(name) && !field.value.is_empty())
    {
        head.raw(field.value)?;
        head.raw(b", ")?;
    }
    Ok(())
}

/// One element of `Forwarded` (RFC 7239 section 4).
fn element(
    head: &mut HeadWriter<'_>,
    nearest: Option<&AddressText>,
    host: &[u8],
    scheme: &[u8],
) -> Result<(), RelayError> {
    match nearest {
        None => head.raw(b"for=unknown")?,
        Some(address) if address.is_v6() => {
            head.raw(b"for=\"[")?;
            head.raw(address.as_bytes())?;
            head.raw(b"]\"")?;
        }
        Some(address) => {
            head.raw(b"for=")?;
            head.raw(address.as_bytes())?;
        }
    }
    // What is no token needs quotes. No authority has a quote or a backslash; one that had would end them.
    if !host.is_empty() && memchr2(b'"', b'\\', host).is_none() {
        let quote: &[u8] = if host.iter().all(|byte| is_token(*byte)) { b"" } else { b"\"" };
        for piece in [&b";host="[..], quote, host, quote] {
            head.raw(piece)?;
        }
    }
    line(head, &[b";proto=", scheme])
}

/// A line of checked pieces.
fn line(head: &mut HeadWriter<'_>, pieces: &[&[u8]]) -> Result<(), RelayError> {
    for piece in pieces {
        head.raw(piece)?;
    }
    Ok(head.raw(b"\r\n")?)
}

#[cfg(test)]
mod tests;
