//! `host[:port]` as it stands in `Host` and in absolute targets (RFC 9110 section 7.2, RFC 3986 section 3.2).

use std::net::Ipv6Addr;

use crate::octets::{decimal, is_reg_name};
use crate::refusal::Refusal;

/// A checked authority without user information.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority<'b> {
    raw: &'b [u8],
    /// The host's length: within a head, so 16 bits hold it.
    name_bytes: u16,
    port: Option<u16>,
}

impl<'b> Authority<'b> {
    /// Reads `name`, `name:port`, `v4:port`, `[v6]` or `[v6]:port`; an empty port (`name:`) counts as none.
    ///
    /// # Errors
    /// [`Refusal::HostForm`] for anything else: an empty name, a user, a zone, a port above 65535, a name longer than a head can be.
    pub fn parse(raw: &'b [u8]) -> Result<Self, Refusal> {
        let name_bytes = if raw.first() == Some(&b'[') { literal_bytes(raw)? } else { reg_name_bytes(raw) };
        let port = match &raw[name_bytes..] {
            [] | [b':'] => None,
            [b':', digits @ ..] => Some(port(digits)?),
            _ => return Err(Refusal::HostForm),
        };
        match u16::try_from(name_bytes) {
            Ok(name_bytes @ 1..) => Ok(Self { raw, name_bytes, port }),
            _ => Err(Refusal::HostForm),
        }
    }

    /// All of it, as sent.
    pub const fn as_bytes(&self) -> &'b [u8] {
        self.raw
    }

    /// The host without port, as sent: compare it ignoring ASCII case. IPv6 keeps its brackets.
    pub fn name(&self) -> &'b [u8] {
        &self.raw[..usize::from(self.name_bytes)]
    }

    /// The port, if one was sent.
    pub const fn port(&self) -> Option<u16> {
        self.port
    }
}

fn port(digits: &[u8]) -> Result<u16, Refusal> {
    decimal(digits).and_then(|port| u16::try_from(port).ok()).ok_or(Refusal::HostForm)
}

fn reg_name_bytes(raw: &[u8]) -> usize {
    raw.iter().position(|byte| !is_reg_name(*byte)).unwrap_or(raw.len())
}

fn literal_bytes(raw: &[u8]) -> Result<usize, Refusal> {
    let close = raw.iter().position(|byte| *byte == b']').ok_or(Refusal::HostForm)?;
    let address = str::from_utf8(&raw[1..close]).ok().and_then(|text| text.parse::<Ipv6Addr>().ok());
    if address.is_some() { Ok(close + 1) } else { Err(Refusal::HostForm) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(raw: &str) -> Option<(String, Option<u16>)> {
        let host = Authority::parse(raw.as_bytes()).ok()?;
        assert_eq!(host.as_bytes(), raw.as_bytes());
        Some((String::from_utf8(host.name().to_vec()).unwrap(), host.port()))
    }

    #[test]
    fn names_addresses_and_ports_are_told_apart() {
        assert_eq!(parts("example.org"), Some(("example.org".into(), None)));
        assert_eq!(parts("a_b-c:8080"), Some(("a_b-c".into(), Some(8080))));
        assert_eq!(parts("127.0.0.1:65535"), Some(("127.0.0.1".into(), Some(65535))));
        assert_eq!(parts("[::1]:80"), Some(("[::1]".into(), Some(80))));
        assert_eq!(parts("[2001:db8::1]"), Some(("[2001:db8::1]".into(), None)));
        assert_eq!(parts("a:"), Some(("a".into(), None)));
    }

    #[test]
    fn anything_else_is_refused() {
        let bad = [
            "",
            ":80",
            "a:65536",
            "a:+1",
            "a:b",
            "a b",
            "u@a",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            "[::1",
            "[]",
            "[::1]a",
            "[fe80::1%eth0]",
            "[1.2.3.4]",
            "::1",
            "a,b:1:2",
            "\u{e9}",
            "a\"",
            "<a>",
        ];
        for raw in bad {
            assert_eq!(Authority::parse(raw.as_bytes()), Err(Refusal::HostForm), "{raw}");
        }
    }
}
