//! Whom a request came from before it met proxies: `X-Forwarded-For` and `Forwarded` (RFC 7239), believed as far as they were
//! written by somebody trusted.
//!
//! A proxy adds the address it was asked from behind those that were there, so a chain is walked from its end: as long as an
//! address is trusted, what it wrote before itself is believed. What a client wrote stands before that and is never reached.
//!
//! ```
//! use ringway_http::forwarded::{Chain, ChainField};
//! use ringway_http::head::{Limits, Request};
//!
//! let head = b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.9.9.9, 192.0.2.7, 10.0.0.2\r\n\r\n";
//! let request = Request::parse(head, &Limits::default())?;
//! let chain = Chain::read(&request, ChainField::XForwardedFor)?;
//! let is_ours = |address: std::net::IpAddr| address.to_string().starts_with("10.");
//! let peer = "10.0.0.1".parse().unwrap();
//! assert_eq!(chain.client(peer, is_ours).to_string(), "192.0.2.7");
//! # Ok::<(), ringway_http::refusal::Refusal>(())
//! ```

use std::fmt;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::head::Request;
use crate::list::elements;
use crate::octets::{is_token, trim};
use crate::refusal::Refusal;

/// Most nodes of a chain that are kept: the nearest ones. A longer way through trusted proxies ends at the last of them.
pub const NODES_MAX: usize = 32;

/// Which field the proxies before a server write. Only one can be believed: they pass on what a client wrote into the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ChainField {
    /// `X-Forwarded-For`: addresses, separated by commas.
    #[default]
    XForwardedFor,
    /// `Forwarded`: the `for` of its elements.
    Forwarded,
}

/// The nodes that a request is said to have come through, the farthest first.
#[derive(Clone, Copy, Debug)]
pub struct Chain {
    /// The last [`NODES_MAX`], each at its number modulo that; `None`: something that has no address.
    nodes: [Option<IpAddr>; NODES_MAX],
    count: usize,
}

impl Chain {
    /// Reads the field of a request. Without one the chain is empty.
    ///
    /// # Errors
    /// [`Refusal::Forwarded`] for a `Forwarded` that has no one reading: what was written behind an open quote would be lost.
    pub fn read(request: &Request<'_>, field: ChainField) -> Result<Self, Refusal> {
        let mut chain = Self { nodes: [None; NODES_MAX], count: 0 };
        match field {
            ChainField::XForwardedFor => {
                for line in request.fields().filter(|line| line.name.eq_ignore_ascii_case(b"x-forwarded-for"))
                {
                    elements(line.value).for_each(|node| chain.push(address(node)));
                }
            }
            ChainField::Forwarded => {
                for line in request.fields().filter(|line| line.name.eq_ignore_ascii_case(b"forwarded")) {
                    chain.read_forwarded(line.value)?;
                }
            }
        }
        Ok(chain)
    }

    /// Who has sent the request that came from `peer`: the first address from the end that is not trusted, or the last one
    /// that is known. An IPv4 address in its IPv6 form becomes the IPv4 address.
    pub fn client(&self, peer: IpAddr, is_trusted: impl Fn(IpAddr) -> bool) -> IpAddr {
        let mut client = peer.to_canonical();
        for number in (self.count.saturating_sub(NODES_MAX)..self.count).rev() {
            if !is_trusted(client) {
                break;
            }
            let Some(before) = self.nodes[number % NODES_MAX] else { break };
            client = before;
        }
        client
    }

    fn push(&mut self, node: Option<IpAddr>) {
        self.nodes[self.count % NODES_MAX] = node;
        self.count += 1;
    }

    /// One line of `Forwarded`: elements separated by commas, each of pairs separated by semicolons.
    fn read_forwarded(&mut self, line: &[u8]) -> Result<(), Refusal> {
        let mut rest = trim(line);
        let (mut node, mut has_for, mut has_pair) = (None, false, false);
        loop {
            if !matches!(rest, [] | [b',' | b';', ..]) {
                let Pair { name, value, behind } = pair(rest)?;
                if name.eq_ignore_ascii_case(b"for") {
                    if has_for {
                        return Err(Refusal::Forwarded);
                    }
                    (node, has_for) = (address(value), true);
                }
                has_pair = true;
                rest = trim(behind);
            }
            let ends_element = match rest {
                [b';', behind @ ..] => {
                    rest = trim(behind);
                    false
                }
                [b',', behind @ ..] => {
                    rest = trim(behind);
                    true
                }
                [] => {
                    if has_pair {
                        self.push(node);
                    }
                    return Ok(());
                }
                _ => return Err(Refusal::Forwarded),
            };
            if ends_element {
                if has_pair {
                    self.push(node);
                }
                (node, has_for, has_pair) = (None, false, false);
            }
        }
    }
}

/// A pair at the front of a text.
struct Pair<'b> {
    name: &'b [u8],
    /// Without its quotes.
    value: &'b [u8],
    behind: &'b [u8],
}

/// `token "=" ( token / quoted-string )` at the front. Values that need
/// quotes and have none, as `for=[::1]:80`, are read up to the next separator.
fn pair(text: &[u8]) -> Result<Pair<'_>, Refusal> {
    let name_end = text.iter().position(|byte| !is_token(*byte)).ok_or(Refusal::Forwarded)?;
    let value = match &text[name_end..] {
        [b'=', value @ ..] if name_end > 0 => value,
        _ => return Err(Refusal::Forwarded),
    };
    let Some(quoted) = value.strip_prefix(b"\"") else {
        let is_end = |byte: &u8| matches!(byte, b',' | b';' | b' ' | b'\t');
        let end = value.iter().position(is_end).unwrap_or(value.len());
        if end == 0 || value[..end].contains(&b'"') {
            return Err(Refusal::Forwarded);
        }
        return Ok(Pair { name: &text[..name_end], value: &value[..end], behind: &value[end..] });
    };
    let mut at = 0;
    loop {
        match quoted.get(at..).unwrap_or_default() {
            [] | [b'\\'] => return Err(Refusal::Forwarded),
            [b'"', ..] => {
                return Ok(Pair { name: &text[..name_end], value: &quoted[..at], behind: &quoted[at + 1..] });
            }
            // What is escaped stays escaped: no address has one.
            [b'\\', ..] => at += 2,
            [_, ..] => at += 1,
        }
    }
}

/// The address of a node, which may have a port; `None` for `unknown`, names, and whatever else there may be.
fn address(node: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(node).ok()?;
    let host = match text.strip_prefix('[') {
        Some(literal) => {
            let (host, port) = literal.split_once(']')?;
            if !port.is_empty() && !port.starts_with(':') {
                return None;
            }
            return host.parse::<Ipv6Addr>().ok().map(|v6| IpAddr::V6(v6).to_canonical());
        }
        // One colon: a port behind an IPv4 address. More: IPv6 without its brackets.
        None if text.bytes().filter(|byte| *byte == b':').count() == 1 => {
            return text.split_once(':')?.0.parse::<Ipv4Addr>().ok().map(IpAddr::V4);
        }
        None => text,
    };
    host.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// The bytes of the longest [`AddressText`].
const TEXT_BYTES_MAX: usize = 45;

/// An address as text, in memory of its own.
#[derive(Clone, Copy)]
pub struct AddressText {
    bytes: [u8; TEXT_BYTES_MAX],
    len: u8,
    is_v6: bool,
}

impl AddressText {
    /// The text of an address; that of an IPv4 address where it has its IPv6 form.
    pub fn new(address: IpAddr) -> Self {
        let mut text = Self { bytes: [0; TEXT_BYTES_MAX], len: 0, is_v6: false };
        match address.to_canonical() {
            IpAddr::V4(v4) => v4.octets().into_iter().enumerate().for_each(|(place, octet)| {
                if place > 0 {
                    text.push(b'.');
                }
                text.decimal(octet);
            }),
            IpAddr::V6(v6) => {
                let mut rest = &mut text.bytes[..];
                // The longest has 39 bytes.
                let _fits = write!(rest, "{v6}");
                text.len = u8::try_from(TEXT_BYTES_MAX - rest.len()).unwrap_or(0);
                text.is_v6 = true;
            }
        }
        text
    }

    /// The text, as `X-Forwarded-For` has it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Whether it is an IPv6 address: `Forwarded` puts it in brackets and quotes.
    pub const fn is_v6(&self) -> bool {
        self.is_v6
    }

    fn push(&mut self, byte: u8) {
        self.bytes[usize::from(self.len)] = byte;
        self.len += 1;
    }

    fn decimal(&mut self, octet: u8) {
        if octet >= 100 {
            self.push(b'0' + octet / 100);
        }
        if octet >= 10 {
            self.push(b'0' + octet / 10 % 10);
        }
        self.push(b'0' + octet % 10);
    }
}

impl fmt::Debug for AddressText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_bytes().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::head::Limits;

    fn with_chain<T>(lines: &str, field: ChainField, act: impl FnOnce(Result<Chain, Refusal>) -> T) -> T {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let request = Request::parse(head.as_bytes(), &Limits::default()).expect("a request");
        act(Chain::read(&request, field))
    }

    /// Trusts 10/8 and fd00::/8.
    fn is_ours(address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => v4.octets()[0] == 10,
            IpAddr::V6(v6) => v6.octets()[0] == 0xfd,
        }
    }

    fn client(lines: &str, field: ChainField, peer: &str) -> String {
        with_chain(lines, field, |chain| {
            chain.expect("a chain").client(peer.parse().unwrap(), is_ours).to_string()
        })
    }

    #[test]
    fn addresses_are_believed_from_the_end_as_far_as_their_writers_are_trusted() {
        let cases = [
            ("", "10.0.0.1", "10.0.0.1"),
            ("X-Forwarded-For: 192.0.2.1\r\n", "10.0.0.1", "192.0.2.1"),
            ("X-Forwarded-For: 192.0.2.1\r\n", "198.51.100.1", "198.51.100.1"),
            ("X-Forwarded-For: 9.9.9.9, 192.0.2.1\r\n", "10.0.0.1", "192.0.2.1"),
            ("X-Forwarded-For: 9.9.9.9\r\nx-forwarded-for: 192.0.2.1, 10.0.0.2\r\n", "10.0.0.1", "192.0.2.1"),
            ("X-Forwarded-For: 10.0.0.3, 10.0.0.2\r\n", "10.0.0.1", "10.0.0.3"),
            ("X-Forwarded-For: 9.9.9.9, unknown\r\n", "10.0.0.1", "10.0.0.1"),
            ("X-Forwarded-For: 9.9.9.9, unknown, 10.0.0.2\r\n", "10.0.0.1", "10.0.0.2"),
            ("X-Forwarded-For: 192.0.2.1:4711\r\n", "10.0.0.1", "192.0.2.1"),
            ("X-Forwarded-For: [2001:db8::1]:4711, fd00::1\r\n", "fd00::2", "2001:db8::1"),
            ("X-Forwarded-For: ::ffff:192.0.2.1\r\n", "::ffff:10.0.0.1", "192.0.2.1"),
            ("X-Forwarded-For: , ,\r\n", "10.0.0.1", "10.0.0.1"),
        ];
        for (lines, peer, expected) in cases {
            assert_eq!(client(lines, ChainField::XForwardedFor, peer), expected, "{lines}");
        }
    }

    #[test]
    fn forwarded_is_read_with_its_quotes() {
        let cases = [
            ("Forwarded: for=192.0.2.1\r\n", "192.0.2.1"),
            ("Forwarded: For=\"192.0.2.1:80\";proto=https, host=a;for=10.0.0.2;by=10.0.0.1\r\n", "192.0.2.1"),
            ("Forwarded: for=\"[2001:db8::1]:80\"\r\n", "2001:db8::1"),
            ("Forwarded: for=[2001:db8::1]:80\r\n", "2001:db8::1"),
            ("Forwarded: for=9.9.9.9, for=192.0.2.1\r\nForwarded: for=10.0.0.2\r\n", "192.0.2.1"),
            ("Forwarded: for=9.9.9.9, for=_hidden\r\n", "10.0.0.1"),
            ("Forwarded: for=9.9.9.9, proto=https\r\n", "10.0.0.1"),
            ("Forwarded: for=9.9.9.9;secret=\"a, for=1.1.1.1;\\\"\", for=192.0.2.1\r\n", "192.0.2.1"),
            ("Forwarded: ,; for=192.0.2.1 ; , ,\r\n", "192.0.2.1"),
            ("X-Forwarded-For: 192.0.2.1\r\n", "10.0.0.1"),
        ];
        for (lines, expected) in cases {
            assert_eq!(client(lines, ChainField::Forwarded, "10.0.0.1"), expected, "{lines}");
        }
        assert_eq!(client("Forwarded: for=1.1.1.1\r\n", ChainField::XForwardedFor, "10.0.0.1"), "10.0.0.1");
    }

    #[test]
    fn a_forwarded_without_one_reading_is_refused() {
        let bad = [
            "for=\"192.0.2.1",
            "for=\"192.0.2.1\\",
            "for=\", for=192.0.2.1",
            "for",
            "=a",
            "for=",
            "for=;a=b",
            "for=1.1.1.1 for=2.2.2.2",
            "for=1.1.1.1;for=2.2.2.2",
            "a\"b=c",
            "for=a\"b\"",
            "for=\"a\"b",
        ];
        for value in bad {
            let refused =
                with_chain(&format!("Forwarded: {value}\r\n"), ChainField::Forwarded, |chain| chain.err());
            assert_eq!(refused, Some(Refusal::Forwarded), "{value}");
        }
    }

    #[test]
    fn a_chain_that_is_too_long_ends_at_the_last_trusted_node_that_is_kept() {
        let far = "192.0.2.1, ".to_owned() + &"10.0.0.3, ".repeat(NODES_MAX - 1) + "10.0.0.2";
        let at = |list: &str| {
            client(&format!("X-Forwarded-For: {list}\r\n"), ChainField::XForwardedFor, "10.0.0.1")
        };
        assert_eq!(at(&far), "10.0.0.3");
        assert_eq!(at(&far.replacen("10.0.0.3, ", "", 1)), "192.0.2.1");
    }

    #[test]
    fn nodes_without_address_are_told_from_those_with_one() {
        for bad in [
            "",
            "a",
            "unknown",
            "_x",
            "1.2.3",
            "1.2.3.4:5:6",
            "[1.2.3.4]",
            "[::1",
            "[::1]x",
            "::1]",
            "1.2.3.4 5",
        ] {
            assert_eq!(address(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn texts_of_addresses_are_those_of_the_standard_library(v4 in any::<u32>(), v6 in any::<u128>()) {
            for address in [IpAddr::V4(v4.into()), IpAddr::V6(v6.into())] {
                let text = AddressText::new(address);
                prop_assert_eq!(str::from_utf8(text.as_bytes()).unwrap(), address.to_canonical().to_string());
                prop_assert_eq!(text.is_v6(), address.to_canonical().is_ipv6());
            }
        }

        #[test]
        fn what_a_client_writes_changes_nothing(own in "[ -~]{0,40}") {
            // A proxy of ours has added the client's address behind whatever the client wrote itself.
            let lines = format!("X-Forwarded-For: {own}, 192.0.2.1\r\n");
            prop_assert_eq!(client(&lines, ChainField::XForwardedFor, "10.0.0.1"), "192.0.2.1");
            let lines = format!("Forwarded: {own}, for=192.0.2.1\r\n");
            with_chain(&lines, ChainField::Forwarded, |chain| if let Ok(chain) = chain {
                let found = chain.client("10.0.0.1".parse().unwrap(), is_ours).to_string();
                assert!(found == "192.0.2.1", "{lines}: {found}");
            });
        }
    }
}
