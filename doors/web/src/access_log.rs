//! The access log's lines: one served request as text, in combined format or as a JSON object.
//!
//! A line is one line whatever the peer sent: quotes, backslashes and control bytes are escaped, and what a peer can make
//! long is cut at [`FIELD_LEN_MAX`], so that a line has at most [`LINE_LEN_MAX`] bytes. Nothing is allocated when the
//! caller's buffer has that much room. Times are UTC.

use std::io::Write as _;
use std::net::IpAddr;

use crate::civil::{CLF_LEN, Civil, ISO_LEN};
use crate::escape;

/// How many bytes of a target, referer, user agent, host or user are logged before `...` stands for the rest.
pub const FIELD_LEN_MAX: usize = 1024;

/// The longest line in bytes: eight fields in which every byte became six (`\u00XX`), and everything of fixed length.
pub const LINE_LEN_MAX: usize = 8 * (FIELD_LEN_MAX * 6 + 3) + 512;

/// How a line is written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Format {
    /// Common log format with referer and user agent, as Apache's `combined`.
    #[default]
    Combined,
    /// One JSON object a line, with duration and host too.
    Json,
}

/// Who asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Peer<'a> {
    /// Over IP.
    Ip(IpAddr),
    /// Over a Unix socket, or an address that another party vouched for: logged as this text.
    Text(&'a [u8]),
}

/// One served request. What the request lacked is `None`, logged as `-` or `null`.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// When the answer ended, in milliseconds since 1970 UTC.
    pub unix_ms: u64,
    /// Who asked.
    pub peer: Peer<'a>,
    /// The authenticated user.
    pub user: Option<&'a [u8]>,
    /// Method, as received; `None` when no request line could be read.
    pub method: Option<&'a [u8]>,
    /// Request target, as received.
    pub target: &'a [u8],
    /// Protocol, for example `HTTP/1.1`.
    pub protocol: &'a str,
    /// The `Host` asked for.
    pub host: Option<&'a [u8]>,
    /// Status of the answer.
    pub status: u16,
    /// Bytes of body that were sent.
    pub bytes: u64,
    /// From the first byte of the request to the last byte of the answer, in microseconds.
    pub duration_us: u64,
    /// `Referer` field.
    pub referer: Option<&'a [u8]>,
    /// `User-Agent` field.
    pub user_agent: Option<&'a [u8]>,
    /// The rule that has refused the request; in JSON only.
    pub rule: Option<&'a [u8]>,
}

/// Writes records as lines; keeps the text of the current second.
#[derive(Clone, Debug)]
pub struct LineWriter {
    format: Format,
    second: Option<u64>,
    clf: [u8; CLF_LEN],
    iso: [u8; ISO_LEN],
}

impl LineWriter {
    /// A writer of `format`.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self { format, second: None, clf: [b'0'; CLF_LEN], iso: [b'0'; ISO_LEN] }
    }

    /// Appends `record` as one line with its line feed, at most [`LINE_LEN_MAX`] bytes.
    pub fn write(&mut self, record: &Record<'_>, out: &mut Vec<u8>) {
        self.turn_to(record.unix_ms / 1000);
        match self.format {
            Format::Combined => self.combined(record, out),
            Format::Json => self.json(record, out),
        }
        out.push(b'\n');
    }

    fn turn_to(&mut self, second: u64) {
        if self.second != Some(second) {
            let civil = Civil::from_unix(i64::try_from(second).unwrap_or(i64::MAX));
            self.clf = civil.clf();
            self.iso = civil.iso();
            self.second = Some(second);
        }
    }

    fn combined(&self, record: &Record<'_>, out: &mut Vec<u8>) {
        match record.peer {
            Peer::Ip(ip) => ip_text(out, ip),
            Peer::Text(text) => bare(out, text),
        }
        out.extend_from_slice(b" - ");
        bare(out, record.user.unwrap_or_default());
        out.extend_from_slice(b" [");
        out.extend_from_slice(&self.clf);
        out.extend_from_slice(b"] \"");
        match record.method {
            Some(method) => {
                cut(out, method, escape::log_field);
                out.push(b' ');
                cut(out, record.target, escape::log_field);
                out.push(b' ');
                out.extend_from_slice(record.protocol.as_bytes());
            }
            None => out.push(b'-'),
        }
        out.extend_from_slice(b"\" ");
        escape::decimal(out, record.status.into());
        out.push(b' ');
        escape::decimal(out, record.bytes);
        quoted(out, record.referer);
        quoted(out, record.user_agent);
    }

    fn json(&self, record: &Record<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"time\":\"");
        out.extend_from_slice(&self.iso[..ISO_LEN - 1]);
        let ms = record.unix_ms % 1000;
        out.extend_from_slice(&[b'.', digit(ms / 100), digit(ms / 10), digit(ms)]);
        out.extend_from_slice(b"Z\",\"remote\":\"");
        match record.peer {
            Peer::Ip(ip) => ip_text(out, ip),
            Peer::Text(text) => cut(out, text, escape::json),
        }
        out.push(b'"');
        text_member(out, "user", record.user);
        text_member(out, "method", record.method);
        text_member(out, "host", record.host);
        text_member(out, "target", record.method.map(|_| record.target));
        text_member(out, "protocol", record.method.map(|_| record.protocol.as_bytes()));
        number_member(out, "status", record.status.into());
        number_member(out, "bytes", record.bytes);
        number_member(out, "duration_us", record.duration_us);
        text_member(out, "referer", record.referer);
        text_member(out, "user_agent", record.user_agent);
        text_member(out, "rule", record.rule);
        out.push(b'}');
    }
}

/// Appends an address without allocating.
fn ip_text(out: &mut Vec<u8>, ip: IpAddr) {
    if let IpAddr::V4(v4) = ip {
        let [a, b, c, d] = v4.octets();
        escape::decimal(out, a.into());
        for part in [b, c, d] {
            out.push(b'.');
            escape::decimal(out, part.into());
        }
        return;
    }
    let written = write!(out, "{ip}");
    debug_assert!(written.is_ok(), "a Vec takes all it is given");
}

fn digit(number: u64) -> u8 {
    b"0123456789"[(number % 10) as usize]
}

/// Appends `value` escaped, cut at [`FIELD_LEN_MAX`].
fn cut(out: &mut Vec<u8>, value: &[u8], escape: fn(&mut Vec<u8>, &[u8])) {
    if value.len() <= FIELD_LEN_MAX {
        return escape(out, value);
    }
    escape(out, &value[..FIELD_LEN_MAX]);
    out.extend_from_slice(b"...");
}

/// Appends a field that stands without quotes: `-` when empty, and spaces within it escaped so that columns stay columns.
fn bare(out: &mut Vec<u8>, value: &[u8]) {
    if value.is_empty() {
        out.push(b'-');
    }
    let shown = &value[..value.len().min(FIELD_LEN_MAX)];
    for (place, word) in shown.split(|&byte| byte == b' ').enumerate() {
        if place > 0 {
            out.extend_from_slice(b"\\x20");
        }
        escape::log_field(out, word);
    }
    if shown.len() < value.len() {
        out.extend_from_slice(b"...");
    }
}

fn quoted(out: &mut Vec<u8>, value: Option<&[u8]>) {
    out.extend_from_slice(b" \"");
    match value {
        Some(value) => cut(out, value, escape::log_field),
        None => out.push(b'-'),
    }
    out.push(b'"');
}

fn text_member(out: &mut Vec<u8>, name: &str, value: Option<&[u8]>) {
    member_name(out, name);
    match value {
        Some(value) => {
            out.push(b'"');
            cut(out, value, escape::json);
            out.push(b'"');
        }
        None => out.extend_from_slice(b"null"),
    }
}

fn number_member(out: &mut Vec<u8>, name: &str, value: u64) {
    member_name(out, name);
    escape::decimal(out, value);
}

fn member_name(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record<'static> {
        Record {
            unix_ms: 1_763_730_855_042,
            peer: Peer::Ip(IpAddr::from([192, 0, 2, 7])),
            user: None,
            method: Some(b"GET"),
            target: b"/a?b",
            protocol: "HTTP/1.1",
            host: Some(b"example.org"),
            status: 200,
            bytes: 2326,
            duration_us: 87,
            referer: None,
            user_agent: Some(b"curl/8"),
            rule: None,
        }
    }

    fn line(format: Format, record: &Record<'_>) -> String {
        let mut out = Vec::new();
        LineWriter::new(format).write(record, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn combined_is_what_log_readers_know() {
        assert_eq!(
            line(Format::Combined, &record()),
            "192.0.2.7 - - [21/Nov/2025:13:14:15 +0000] \"GET /a?b HTTP/1.1\" 200 2326 \"-\" \"curl/8\"\n"
        );
        let other = Record {
            peer: Peer::Text(b"unix:"),
            user: Some(b"an na"),
            method: None,
            referer: Some(b"http://x/"),
            ..record()
        };
        assert_eq!(
            line(Format::Combined, &other),
            "unix: - an\\x20na [21/Nov/2025:13:14:15 +0000] \"-\" 200 2326 \"http://x/\" \"curl/8\"\n"
        );
    }

    #[test]
    fn json_has_every_member() {
        let v6 = Record { peer: Peer::Ip(std::net::Ipv6Addr::LOCALHOST.into()), ..record() };
        assert_eq!(
            line(Format::Json, &v6),
            concat!(
                r#"{"time":"2025-11-21T13:14:15.042Z","remote":"::1","user":null,"method":"GET","#,
                r#""host":"example.org","target":"/a?b","protocol":"HTTP/1.1","status":200,"bytes":2326,"#,
                r#""duration_us":87,"referer":null,"user_agent":"curl/8","rule":null}"#,
                "\n"
            )
        );
        let unread = Record { method: None, ..record() };
        assert!(
            line(Format::Json, &unread)
                .contains(r#""method":null,"host":"example.org","target":null,"protocol":null"#)
        );
    }

    #[test]
    fn nothing_a_peer_sends_forges_a_line() {
        let evil = b"x\" 200 0\r\n127.0.0.1 - - \x1b[2J\\";
        for format in [Format::Combined, Format::Json] {
            let record = Record {
                target: evil,
                referer: Some(evil),
                user_agent: Some(evil),
                rule: Some(evil),
                user: Some(evil),
                host: Some(evil),
                peer: Peer::Text(evil),
                method: Some(evil),
                ..record()
            };
            let text = line(format, &record);
            assert_eq!(text.matches('\n').count(), 1, "{text}");
            assert!(text.trim_end().bytes().all(|b| (0x20..=0x7e).contains(&b)), "{text}");
            assert!(text.contains("x\\\""), "{text}");
        }
    }

    #[test]
    fn the_longest_line_fits_and_allocates_nothing() {
        let long = vec![1_u8; 100_000];
        for format in [Format::Combined, Format::Json] {
            let mut out = Vec::with_capacity(LINE_LEN_MAX);
            let before = out.as_ptr();
            let record = Record {
                target: &long,
                referer: Some(&long),
                user_agent: Some(&long),
                rule: Some(&long),
                user: Some(&long),
                host: Some(&long),
                method: Some(&long),
                status: u16::MAX,
                bytes: u64::MAX,
                duration_us: u64::MAX,
                peer: Peer::Text(&long),
                ..record()
            };
            LineWriter::new(format).write(&record, &mut out);
            assert!(out.len() <= LINE_LEN_MAX, "{}", out.len());
            assert_eq!(out.as_ptr(), before);
        }
    }

    #[test]
    fn the_second_turns() {
        let mut writer = LineWriter::new(Format::Combined);
        let mut out = Vec::new();
        writer.write(&record(), &mut out);
        writer.write(&Record { unix_ms: record().unix_ms + 1000, ..record() }, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains(":15 +0000]") && text.contains(":16 +0000]"), "{text}");
    }
}
