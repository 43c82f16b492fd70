//! The client's side: what it asks for, and whether the answer is one to that.

use std::fmt;

use ringway_http::reply::Reply;
use ringway_http::status::Status;

use super::{KEY_BYTES, VERSION_LINE, accept_key, line, list};
use crate::base64;
use crate::deflate::{Agreement, Options, agreement};

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Host and, unless it is the scheme's own, port.
    pub host: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// `Origin`, which no program needs but browsers.
    pub origin: Option<&'a str>,
    /// Subprotocols, the one that is liked best first.
    pub protocols: &'a [&'a str],
    /// Compression that is offered.
    pub deflate: Option<&'a Options>,
    /// More fields, such as `Authorization` or `Cookie`: names and values.
    pub fields: &'a [(&'a str, &'a str)],
}

/// What a server has agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted<'b> {
    /// The subprotocol, one of those asked for.
    pub protocol: Option<&'b str>,
    /// The compression.
    pub deflate: Option<Agreement>,
}

/// Why an answer makes no WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection {
    /// A value of the request cannot be in one: a line end or another control byte.
    Ask,
    /// The server answers with another status.
    Status(Status),
    /// The answer does not say that the protocol changes to WebSocket.
    Upgrade,
    /// `Sec-WebSocket-Accept` does not answer this request.
    Accept,
    /// A subprotocol that was not asked for, or several.
    Protocol,
    /// An extension that was not offered, or not like that.
    Extensions,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ask => "a value that cannot be in a request",
            Self::Status(status) => return write!(f, "answered with status {}", status.code()),
            Self::Upgrade => "the answer does not change to WebSocket",
            Self::Accept => "Sec-WebSocket-Accept does not answer this request",
            Self::Protocol => "a subprotocol that was not asked for",
            Self::Extensions => "an extension that was not offered",
        })
    }
}

impl std::error::Error for Rejection {}

/// A client's handshake: its key, which the answer has to know.
#[derive(Clone, Copy, Debug)]
pub struct ClientHandshake {
    key: [u8; KEY_BYTES],
}

impl ClientHandshake {
    /// A handshake with a key of `random` bytes, fresh for each.
    pub fn new(random: [u8; 16]) -> Self {
        Self { key: base64::encode(&random) }
    }

    /// Appends the request's whole head to `out`.
    ///
    /// # Errors
    /// [`Rejection::Ask`] when a value cannot be in it; `out` is then as it was.
    pub fn write(&self, ask: &Ask<'_>, out: &mut Vec<u8>) -> Result<(), Rejection> {
        let start = out.len();
        out.extend_from_slice(b"GET ");
        out.extend_from_slice(ask.target.as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        line("Host", ask.host.as_bytes(), out);
        out.extend_from_slice(b"Upgrade: websocket\r\nConnection: Upgrade\r\n");
        line("Sec-WebSocket-Key", &self.key, out);
        let bare = |text: &str| text.is_empty() || text.bytes().any(|byte| byte <= b' ' || byte == 0x7f);
        let written = if bare(ask.target) || bare(ask.host) { Err(Rejection::Ask) } else { ask.write(out) };
        match written {
            Ok(()) => out.extend_from_slice(b"\r\n"),
            Err(_) => out.truncate(start),
        }
        written
    }

    /// Checks a server's answer. The bytes behind its head are frames.
    ///
    /// # Errors
    /// A [`Rejection`]; the connection is of no use then, except that [`Rejection::Status`] is an ordinary answer.
    pub fn check<'b>(&self, reply: &Reply<'b>, ask: &Ask<'_>) -> Result<Accepted<'b>, Rejection> {
        if reply.status() != Status::SWITCHING_PROTOCOLS {
            return Err(Rejection::Status(reply.status()));
        }
        let connection = values(reply, "connection").flat_map(list::tokens).flatten();
        let mut upgrade = values(reply, "upgrade");
        let changes = upgrade.next().is_some_and(|value| value.eq_ignore_ascii_case(b"websocket"));
        if !changes
            || upgrade.next().is_some()
            || !connection.into_iter().any(|token| token.eq_ignore_ascii_case("upgrade"))
        {
            return Err(Rejection::Upgrade);
        }
        let mut accept = values(reply, "sec-websocket-accept");
        if accept.next() != Some(&accept_key(&self.key)[..]) || accept.next().is_some() {
            return Err(Rejection::Accept);
        }
        ask.agreed(reply)
    }
}

impl Ask<'_> {
    /// Appends the field lines that both versions of HTTP have; an extended CONNECT (RFC 8441) has no others.
    ///
    /// # Errors
    /// [`Rejection::Ask`] when a value cannot be in a field.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), Rejection> {
        let plain = |text: &str| !text.bytes().any(|byte| (byte < b' ' && byte != b'\t') || byte == 0x7f);
        let sound = self.origin.is_none_or(plain)
            && self.protocols.iter().all(|protocol| list::is_token(protocol.as_bytes()))
            && self.fields.iter().all(|(name, value)| list::is_token(name.as_bytes()) && plain(value));
        if !sound {
            return Err(Rejection::Ask);
        }
        out.extend_from_slice(VERSION_LINE.as_bytes());
        if let Some(origin) = self.origin {
            line("Origin", origin.as_bytes(), out);
        }
        if !self.protocols.is_empty() {
            line("Sec-WebSocket-Protocol", self.protocols.join(", ").as_bytes(), out);
        }
        if let Some(options) = self.deflate {
            out.extend_from_slice(b"Sec-WebSocket-Extensions: ");
            Agreement::offer(options, out);
            out.extend_from_slice(b"\r\n");
        }
        for (name, value) in self.fields {
            line(name, value.as_bytes(), out);
        }
        Ok(())
    }

    /// Checks the answer to an extended CONNECT (RFC 8441).
    ///
    /// # Errors
    /// A [`Rejection`], as of [`ClientHandshake::check`].
    pub fn check_connect<'b>(&self, reply: &Reply<'b>) -> Result<Accepted<'b>, Rejection> {
        if reply.status() != Status::OK {
            return Err(Rejection::Status(reply.status()));
        }
        self.agreed(reply)
    }

    fn agreed<'b>(&self, reply: &Reply<'b>) -> Result<Accepted<'b>, Rejection> {
        let mut protocol = None;
        for named in values(reply, "sec-websocket-protocol").flat_map(list::tokens) {
            let named = named.ok_or(Rejection::Protocol)?;
            if protocol.is_some() || !self.protocols.contains(&named) {
                return Err(Rejection::Protocol);
            }
            protocol = Some(named);
        }
        let mut deflate = None;
        for extension in values(reply, "sec-websocket-extensions").flat_map(list::extensions) {
            let extension = extension.ok_or(Rejection::Extensions)?;
            let options = self.deflate.ok_or(Rejection::Extensions)?;
            if deflate.is_some() || extension.name != agreement::NAME.as_bytes() {
                return Err(Rejection::Extensions);
            }
            deflate = Some(Agreement::check(&extension, options).ok_or(Rejection::Extensions)?);
        }
        Ok(Accepted { protocol, deflate })
    }
}

fn values<'b>(reply: &Reply<'b>, name: &'static str) -> impl Iterator<Item = &'b [u8]> + use<'b> {
    let fields = reply.fields();
    fields.filter(move |field| field.name.eq_ignore_ascii_case(name.as_bytes())).map(|field| field.value)
}
