//! The PROXY protocol, versions 1 and 2: whom a proxy in front speaks for, said before the connection's first byte.
//!
//! What HAProxy's specification leaves to receivers is decided strictly here: one form of each number, no datagrams on a
//! connection, sums that must match, and a header that is short.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Longest header of version 1, its line end included.
pub const V1_BYTES_MAX: usize = 107;

/// Longest header of version 2 that is read; the format would allow 65,551 bytes.
pub const V2_BYTES_MAX: usize = 4096;

/// Longest header that is written.
pub const WRITTEN_BYTES_MAX: usize = V1_BYTES_MAX;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const V1_BEGIN: &[u8] = b"PROXY ";

/// Bytes of version 2 before the addresses.
const FIXED_BYTES: usize = 16;

/// Bytes of the addresses of version 2, by family.
const IPV4_BYTES: usize = 12;
const IPV6_BYTES: usize = 36;
const UNIX_BYTES: usize = 216;

/// Type of the value that is a sum over the header.
const TLV_CRC32C: u8 = 3;

/// Which form a header has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The proxy's own (a health check), or one that it does not say more about: the addresses of the connection count.
    Own,
    /// A client's.
    Client {
        /// Where it comes from.
        client: SocketAddr,
        /// What it connected to.
        server: SocketAddr,
    },
}

/// A header as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its form.
    pub version: Version,
    /// Its length in bytes; what follows belongs to the connection's own protocol.
    pub bytes: usize,
    /// Whose connection it is.
    pub source: Source,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// They do not begin as one.
    NotOne,
    /// It is longer than [`V1_BYTES_MAX`] or [`V2_BYTES_MAX`].
    TooLong,
    /// Its line cannot be read.
    BadLine,
    /// Version or command are unknown.
    BadCommand,
    /// The family is unknown, or one of datagrams.
    BadFamily,
    /// Its addresses or values do not fit into its length.
    BadLength,
    /// Its sum is another one.
    BadSum,
}

impl HeaderError {
    /// What is wrong, for a log.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::NotOne => "there is no PROXY protocol header",
            Self::TooLong => "the PROXY protocol header is too long",
            Self::BadLine => "the line of the PROXY protocol header cannot be read",
            Self::BadCommand => "the PROXY protocol header has an unknown version or command",
            Self::BadFamily => "the PROXY protocol header has an unknown family of addresses",
            Self::BadLength => "the PROXY protocol header has a wrong length",
            Self::BadSum => "the PROXY protocol header has a wrong sum",
        }
    }
}

/// Reads the header at the front of what has arrived; `None` while it is not whole. What makes a header impossible is said
/// with the first byte that shows it, and more bytes never change that.
///
/// # Errors
/// Why it is none.
pub fn parse(bytes: &[u8]) -> Result<Option<Header>, HeaderError> {
    match bytes.first() {
        None => Ok(None),
        Some(b'P') => parse_v1(bytes),
        Some(_) => parse_v2(bytes),
    }
}

/// Writes a header: how many bytes of `target` it takes. Addresses of two families are both written as IPv6.
pub fn write(version: Version, source: &Source, target: &mut [u8; WRITTEN_BYTES_MAX]) -> usize {
    match version {
        Version::V1 => write_v1(source, target),
        Version::V2 => write_v2(source, target),
    }
}

fn parse_v1(bytes: &[u8]) -> Result<Option<Header>, HeaderError> {
    let known = bytes.len().min(V1_BEGIN.len());
    if bytes[..known] != V1_BEGIN[..known] {
        return Err(HeaderError::NotOne);
    }
    let window = &bytes[..bytes.len().min(V1_BYTES_MAX)];
    // A line feed needs its carriage return, and none stands alone.
    let Some(end) = window.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        return if window.len() == V1_BYTES_MAX { Err(HeaderError::TooLong) } else { Ok(None) };
    };
    match (window[end], window.get(end + 1)) {
        (b'\r', Some(b'\n')) => {}
        (b'\r', None) if window.len() < V1_BYTES_MAX => return Ok(None),
        (b'\r', None) => return Err(HeaderError::TooLong),
        _ => return Err(HeaderError::BadLine),
    }
    let line = bytes.get(V1_BEGIN.len()..end).ok_or(HeaderError::BadLine)?;
    let line = std::str::from_utf8(line).map_err(|_not_text| HeaderError::BadLine)?;
    let source = source_of_line(line).ok_or(HeaderError::BadLine)?;
    Ok(Some(Header { version: Version::V1, bytes: end + 2, source }))
}

/// What a line of version 1 says behind its first word.
fn source_of_line(line: &str) -> Option<Source> {
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Some(Source::Own);
    }
    let mut words = line.split(' ');
    let family = words.next()?;
    let mut ip = || -> Option<IpAddr> {
        let word = words.next()?;
        match family {
            "TCP4" => word.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => word.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let (client, server) = (ip()?, ip()?);
    let mut port = || words.next().and_then(port);
    let (client, server) = (SocketAddr::new(client, port()?), SocketAddr::new(server, port()?));
    words.next().is_none().then_some(Source::Client { client, server })
}

/// A port in its only form: digits without a sign or zeros in front.
fn port(word: &str) -> Option<u16> {
    let is_plain =
        word.bytes().all(|byte| byte.is_ascii_digit()) && (word.len() == 1 || !word.starts_with('0'));
    if is_plain { word.parse().ok() } else { None }
}

fn parse_v2(bytes: &[u8]) -> Result<Option<Header>, HeaderError> {
    let known = bytes.len().min(SIGNATURE.len());
    if bytes[..known] != SIGNATURE[..known] {
        return Err(HeaderError::NotOne);
    }
    let is_command = |byte: &u8| matches!(byte, 0x20 | 0x21);
    if bytes.get(12).is_some_and(|byte| !is_command(byte)) {
        return Err(HeaderError::BadCommand);
    }
    let addresses = bytes.get(13).map(|family| address_bytes(*family).ok_or(HeaderError::BadFamily));
    let addresses = addresses.transpose()?;
    let (Some(addresses), Some(length)) = (addresses, bytes.get(14..FIXED_BYTES)) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
    if FIXED_BYTES + length > V2_BYTES_MAX {
        return Err(HeaderError::TooLong);
    }
    let is_local = bytes[12] == 0x20;
    // What a proxy says of itself need not be there.
    if !is_local && length < addresses {
        return Err(HeaderError::BadLength);
    }
    let Some(header) = bytes.get(..FIXED_BYTES + length) else { return Ok(None) };
    let source = if is_local {
        Source::Own
    } else {
        check_values(header, FIXED_BYTES + addresses)?;
        source_of_block(header[13], &header[FIXED_BYTES..]).ok_or(HeaderError::BadLength)?
    };
    Ok(Some(Header { version: Version::V2, bytes: header.len(), source }))
}

/// Bytes that the addresses of a family of streams take; `None`: a family that must not come here.
fn address_bytes(family: u8) -> Option<usize> {
    match family {
        0x00 => Some(0),
        0x11 => Some(IPV4_BYTES),
        0x21 => Some(IPV6_BYTES),
        0x31 => Some(UNIX_BYTES),
        _ => None,
    }
}

fn source_of_block(family: u8, block: &[u8]) -> Option<Source> {
    let port = |at: usize| Some(u16::from_be_bytes(block.get(at..at + 2)?.try_into().ok()?));
    let ipv4 = |at: usize| Some(IpAddr::from(<[u8; 4]>::try_from(block.get(at..at + 4)?).ok()?));
    let ipv6 = |at: usize| Some(IpAddr::from(<[u8; 16]>::try_from(block.get(at..at + 16)?).ok()?));
    let (client, server) = match family {
        0x11 => (SocketAddr::new(ipv4(0)?, port(8)?), SocketAddr::new(ipv4(4)?, port(10)?)),
        0x21 => (SocketAddr::new(ipv6(0)?, port(32)?), SocketAddr::new(ipv6(16)?, port(34)?)),
        // The paths of Unix sockets are nobody's address.
        _ => return Some(Source::Own),
    };
    Some(Source::Client { client, server })
}

/// Walks the values behind the addresses: they fill the header exactly, and a sum must be right.
fn check_values(header: &[u8], begin: usize) -> Result<(), HeaderError> {
    let mut at = begin;
    while at < header.len() {
        let Some(&[kind, high, low]) = header.get(at..at + 3).and_then(|head| head.first_chunk()) else {
            return Err(HeaderError::BadLength);
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let value = header.get(at + 3..at + 3 + length).ok_or(HeaderError::BadLength)?;
        if kind == TLV_CRC32C {
            let said = <[u8; 4]>::try_from(value).map_err(|_other_length| HeaderError::BadLength)?;
            if crc32c_without(header, at + 3) != u32::from_be_bytes(said) {
                return Err(HeaderError::BadSum);
            }
        }
        at += 3 + length;
    }
    Ok(())
}

/// The sum over a header whose four bytes at `hole` count as zero. Headers are short and sums rare: no table is worth it.
fn crc32c_without(header: &[u8], hole: usize) -> u32 {
    let byte = |(at, byte): (usize, &u8)| if (hole..hole + 4).contains(&at) { 0 } else { *byte };
    let sum = header.iter().enumerate().map(byte).fold(u32::MAX, |sum, byte| {
        (0..8).fold(
            sum ^ u32::from(byte),
            |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0x82f6_3b78 } else { sum >> 1 },
        )
    });
    !sum
}

fn write_v1(source: &Source, target: &mut [u8; WRITTEN_BYTES_MAX]) -> usize {
    use std::io::Write;
    let mut left = &mut target[..];
    let written = match source {
        Source::Own => left.write_all(b"PROXY UNKNOWN\r\n"),
        Source::Client { client, server } => {
            let (client_ip, server_ip) = same_family(client.ip(), server.ip());
            let family = if client_ip.is_ipv4() { "TCP4" } else { "TCP6" };
            let (client_port, server_port) = (client.port(), server.port());
            write!(left, "PROXY {family} {client_ip} {server_ip} {client_port} {server_port}\r\n")
        }
    };
    debug_assert!(written.is_ok(), "the longest line fits");
    let left = left.len();
    WRITTEN_BYTES_MAX - left
}

fn write_v2(source: &Source, target: &mut [u8; WRITTEN_BYTES_MAX]) -> usize {
    let mut bytes = 0;
    let mut put = |part: &[u8]| {
        target[bytes..bytes + part.len()].copy_from_slice(part);
        bytes += part.len();
    };
    put(SIGNATURE);
    match source {
        Source::Own => put(&[0x20, 0, 0, 0]),
        Source::Client { client, server } => {
            let (client_ip, server_ip) = same_family(client.ip(), server.ip());
            put(if client_ip.is_ipv4() { &[0x21, 0x11, 0, 12] } else { &[0x21, 0x21, 0, 36] });
            for ip in [client_ip, server_ip] {
                match ip {
                    IpAddr::V4(ip) => put(&ip.octets()),
                    IpAddr::V6(ip) => put(&ip.octets()),
                }
            }
            put(&client.port().to_be_bytes());
            put(&server.port().to_be_bytes());
        }
    }
    bytes
}

/// Both addresses as IPv4, or both as IPv6.
fn same_family(one: IpAddr, other: IpAddr) -> (IpAddr, IpAddr) {
    let wide = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => IpAddr::V6(ip.to_ipv6_mapped()),
        IpAddr::V6(_) => ip,
    };
    match (one.to_canonical(), other.to_canonical()) {
        (one @ IpAddr::V4(_), other @ IpAddr::V4(_)) => (one, other),
        (one, other) => (wide(one), wide(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn client(client: &str, server: &str) -> Source {
        let address = |text: &str| text.parse().expect("an address");
        Source::Client { client: address(client), server: address(server) }
    }

    /// What comes of the whole, having seen that every prefix is either waited for or refused the same.
    fn at_every_split(bytes: &[u8]) -> Result<Option<Header>, HeaderError> {
        let whole = parse(bytes);
        let mut refused = None;
        for end in 0..bytes.len() {
            let part = parse(&bytes[..end]);
            match (refused, part) {
                (Some(before), now) => assert_eq!(now, Err(before), "{end}: a refusal is for good"),
                (None, Err(error)) => refused = Some(error),
                (None, Ok(Some(header))) => {
                    assert_eq!(Ok(Some(header)), whole, "{end}: what follows changes nothing");
                    assert_eq!(header.bytes, end);
                    return whole;
                }
                (None, Ok(None)) => {}
            }
        }
        if let Some(error) = refused {
            assert_eq!(whole, Err(error));
        }
        whole
    }

    fn source(bytes: &[u8]) -> Source {
        at_every_split(bytes).expect("a header").expect("a whole one").source
    }

    fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend(u16::try_from(block.len()).expect("short").to_be_bytes());
        bytes.extend(block);
        bytes
    }

    /// Addresses of IPv4 with one value behind them.
    fn with_value(kind: u8, value: &[u8]) -> Vec<u8> {
        let mut block = vec![192, 0, 2, 1, 198, 51, 100, 7, 0x1f, 0x90, 1, 0xbb, kind];
        block.extend(u16::try_from(value.len()).expect("short").to_be_bytes());
        block.extend(value);
        v2(0x21, 0x11, &block)
    }

    #[test]
    fn lines_are_read() {
        let four = source(b"PROXY TCP4 192.0.2.1 198.51.100.7 8080 443\r\nGET / HTTP/1.1\r\n");
        assert_eq!(four, client("192.0.2.1:8080", "198.51.100.7:443"));
        let six = source(b"PROXY TCP6 2001:db8::1 ::ffff:192.0.2.1 0 65535\r\n");
        assert_eq!(six, client("[2001:db8::1]:0", "[::ffff:192.0.2.1]:65535"));
        assert_eq!(source(b"PROXY UNKNOWN\r\n"), Source::Own);
        assert_eq!(source(b"PROXY UNKNOWN whatever they say 1 2\r\n\r\n"), Source::Own);
        let longest = "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
                       ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
        assert_eq!(longest.len(), V1_BYTES_MAX);
        assert_eq!(source(longest.as_bytes()), Source::Own);
    }

    #[test]
    fn lines_that_can_be_read_two_ways_are_refused() {
        let lines: [&[u8]; 14] = [
            b"PROXY TCP4 192.0.2.1 198.51.100.7 8080 443\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.7 8080 443\rX",
            b"PROXY TCP4 192.0.2.1  198.51.100.7 8080 443\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.7 8080 443 \r\n",
            b"PROXY TCP4 192.0.2.01 198.51.100.7 8080 443\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.7 08080 443\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.7 +808 443\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.7 65536 443\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.7 8080\r\n",
            b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
            b"PROXY TCP6 192.0.2.1 198.51.100.7 1 2\r\n",
            b"PROXY UDP4 192.0.2.1 198.51.100.7 1 2\r\n",
            b"PROXY UNKNOWNS\r\n",
            b"PROXY \r\n",
        ];
        for line in lines {
            assert_eq!(at_every_split(line), Err(HeaderError::BadLine), "{}", line.escape_ascii());
        }
        assert_eq!(at_every_split(b"PROXY TCP4 \xff"), Ok(None));
        assert_eq!(at_every_split(b"PROXY TCP4 \xff\r\n"), Err(HeaderError::BadLine));
        assert_eq!(at_every_split(b"GET / HTTP/1.1\r\n"), Err(HeaderError::NotOne));
        assert_eq!(at_every_split(b"POST / HTTP/1.1\r\n"), Err(HeaderError::NotOne));
        let mut long = b"PROXY UNKNOWN ".to_vec();
        long.resize(V1_BYTES_MAX - 1, b'x');
        assert_eq!(at_every_split(&long), Ok(None));
        long.push(b'\r');
        assert_eq!(at_every_split(&long), Err(HeaderError::TooLong));
    }

    #[test]
    fn binary_headers_are_read() {
        let mut four = v2(0x21, 0x11, &[192, 0, 2, 1, 198, 51, 100, 7, 0x1f, 0x90, 1, 0xbb]);
        four.extend(b"\x16\x03\x01");
        assert_eq!(source(&four), client("192.0.2.1:8080", "198.51.100.7:443"));
        let mut block = [0; 36];
        (block[0], block[15], block[31], block[33], block[35]) = (0x20, 1, 2, 80, 90);
        assert_eq!(source(&v2(0x21, 0x21, &block)), client("[2000::1]:80", "[::2]:90"));
        assert_eq!(source(&v2(0x21, 0x31, &[b'x'; 216])), Source::Own);
        assert_eq!(source(&v2(0x21, 0x00, &[])), Source::Own);
        assert_eq!(source(&v2(0x20, 0x00, &[])), Source::Own);
        assert_eq!(source(&v2(0x20, 0x11, b"skipped")), Source::Own);
        assert_eq!(source(&with_value(1, b"h2")), client("192.0.2.1:8080", "198.51.100.7:443"));
        assert_ne!(source(&with_value(4, &[0; V2_BYTES_MAX - 31])), Source::Own, "the longest");
    }

    #[test]
    fn binary_headers_that_do_not_hold_together_are_refused() {
        let refused = |bytes: &[u8]| at_every_split(bytes).expect_err("no header");
        assert_eq!(refused(&v2(0x11, 0x11, &[0; 12])), HeaderError::BadCommand);
        assert_eq!(refused(&v2(0x22, 0x11, &[0; 12])), HeaderError::BadCommand);
        for family in [0x01, 0x10, 0x12, 0x22, 0x32, 0x41, 0xff] {
            assert_eq!(refused(&v2(0x21, family, &[0; 216])), HeaderError::BadFamily, "{family:x}");
        }
        assert_eq!(refused(&v2(0x21, 0x11, &[0; 11])), HeaderError::BadLength);
        assert_eq!(refused(&v2(0x21, 0x21, &[0; 35])), HeaderError::BadLength);
        assert_eq!(refused(&v2(0x21, 0x11, &[0; 14])), HeaderError::BadLength, "half a value");
        assert_eq!(refused(&v2(0x21, 0x00, &[1, 0, 5, 1])), HeaderError::BadLength, "a value too long");
        assert_eq!(refused(&with_value(4, &[0; V2_BYTES_MAX - 30])), HeaderError::TooLong);
        assert_eq!(refused(&with_value(TLV_CRC32C, &[0; 3])), HeaderError::BadLength);
        assert_eq!(refused(b"\r\n\r\n\0\r\nQUIX\n"), HeaderError::NotOne);
    }

    #[test]
    fn sums_are_looked_at() {
        // The check value of the sum's own definition.
        assert_eq!(crc32c_without(b"123456789", 100), 0xe306_9283);
        let mut bytes = with_value(TLV_CRC32C, &[0; 4]);
        let hole = bytes.len() - 4;
        let sum = crc32c_without(&bytes, hole);
        bytes[hole..].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(source(&bytes), client("192.0.2.1:8080", "198.51.100.7:443"));
        bytes[hole] ^= 1;
        assert_eq!(at_every_split(&bytes), Err(HeaderError::BadSum));
    }

    #[test]
    fn families_are_not_mixed() {
        let mut target = [0; WRITTEN_BYTES_MAX];
        let mixed = client("192.0.2.1:80", "[2001:db8::1]:90");
        let length = write(Version::V1, &mixed, &mut target);
        assert_eq!(&target[..length], b"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::1 80 90\r\n");
        let mapped = client("[::ffff:192.0.2.1]:80", "192.0.2.2:90");
        let length = write(Version::V1, &mapped, &mut target);
        assert_eq!(&target[..length], b"PROXY TCP4 192.0.2.1 192.0.2.2 80 90\r\n");
    }

    fn address() -> impl Strategy<Value = SocketAddr> {
        let four = any::<[u8; 4]>().prop_map(IpAddr::from);
        let six = any::<[u8; 16]>().prop_map(IpAddr::from).prop_map(|ip| ip.to_canonical());
        (prop_oneof![four, six], any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(one in address(), other in address(), is_own in any::<bool>()) {
            let source = if is_own { Source::Own } else { Source::Client { client: one, server: other } };
            for version in [Version::V1, Version::V2] {
                let mut target = [0; WRITTEN_BYTES_MAX];
                let length = write(version, &source, &mut target);
                let header = at_every_split(&target[..length]).expect("a header").expect("a whole one");
                prop_assert_eq!((header.version, header.bytes), (version, length));
                match (header.source, source) {
                    (Source::Client { client, server }, Source::Client { client: one, server: other }) => {
                        let canonical = |address: SocketAddr| (address.ip().to_canonical(), address.port());
                        prop_assert_eq!((canonical(client), canonical(server)), (canonical(one), canonical(other)));
                    }
                    (found, wanted) => prop_assert_eq!(found, wanted),
                }
            }
        }

        #[test]
        fn nothing_is_read_two_ways(
            begin in prop_oneof![Just(&b"PROXY TCP4 "[..]), Just(&SIGNATURE[..]), Just(&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x14"[..])],
            rest in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let _outcome = at_every_split(&[begin, &rest].concat());
        }
    }
}
