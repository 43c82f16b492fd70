//! A request's field section becomes the head of an HTTP/1.1 request (RFC 9113 sections 8.2, 8.3 and 8.1.1).
//!
//! What is malformed by RFC 9113 is refused here. The text that comes out has exactly one reading: no field of it frames
//! anything but what the stream frames, no byte of it can end a line.

use std::marker::PhantomData;
use std::ops::Range;

use crate::hpack::{ENTRY_BYTES, FieldSink};

/// What a request may be and may not be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Most bytes as section 6.5.2 counts them: names, values, 32 for each field.
    pub(crate) list_bytes_max: usize,
    /// Whether `:protocol` is understood (RFC 8441).
    pub(crate) has_connect_protocol: bool,
}

/// Memory that heads are written with, for the next one to reuse.
#[derive(Debug, Default)]
pub(crate) struct HeadMemory {
    /// The text.
    pub(crate) text: Vec<u8>,
    /// Values of pseudo-header fields, in the order they came.
    pseudo: Vec<u8>,
    /// Cookies, joined.
    cookies: Vec<u8>,
}

/// What a field is to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Method,
    Scheme,
    Path,
    Authority,
    Protocol,
    Host,
    Cookie,
    ContentLength,
    /// Of answers only.
    Status,
    Plain,
    /// A field that makes the request malformed, by its name or value.
    Malformed,
}

/// Pseudo-header fields have a place each.
const PSEUDO_COUNT: usize = 5;

/// A request as its fields come.
#[derive(Debug)]
pub(crate) struct RequestHead<'m> {
    memory: &'m mut HeadMemory,
    rules: Rules,
    pseudo: [Range<u32>; PSEUDO_COUNT],
    /// A bit for each pseudo-header field that came.
    seen: u8,
    has_begun_fields: bool,
    has_host: bool,
    is_malformed: bool,
    is_over: bool,
    list_bytes: usize,
    length: Option<u64>,
}

/// What a whole section is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The text is a head; so long is the body to be, where that was said.
    Head(Option<u64>),
    /// Longer than announced to be taken.
    Over,
    /// Malformed: an error of the stream (section 8.1.1).
    Malformed,
}

impl<'m> RequestHead<'m> {
    pub(crate) fn new(memory: &'m mut HeadMemory, rules: Rules) -> Self {
        memory.text.clear();
        memory.pseudo.clear();
        memory.cookies.clear();
        Self {
            memory,
            rules,
            pseudo: [const { 0..0 }; PSEUDO_COUNT],
            seen: 0,
            has_begun_fields: false,
            has_host: false,
            is_malformed: false,
            is_over: false,
            list_bytes: 0,
            length: None,
        }
    }

    /// All fields have come. `ends`: the request has no body.
    pub(crate) fn finish(mut self, ends: bool) -> Outcome {
        if self.is_over {
            return Outcome::Over;
        }
        self.begin_fields();
        // Section 8.1.1: a content-length that the DATA frames do not add up to.
        // And a tunnel that is closed before it is there.
        let has_more = self.length.is_some_and(|length| length > 0) || self.has(Class::Protocol);
        let contradicts = ends && has_more;
        if self.is_malformed || contradicts {
            return Outcome::Malformed;
        }
        let text = &mut self.memory.text;
        if !self.memory.cookies.is_empty() {
            // Section 8.2.3: crumbs are joined before they leave HTTP/2.
            text.extend_from_slice(b"cookie: ");
            text.extend_from_slice(&self.memory.cookies);
            text.extend_from_slice(b"\r\n");
        }
        if !ends && self.length.is_none() {
            // What HTTP/1.1 says of a body whose length nobody knows yet.
            text.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
        text.extend_from_slice(b"\r\n");
        Outcome::Head(self.length)
    }

    fn pseudo_field(&mut self, class: Class, value: &[u8]) {
        let bit = 1 << class as u8;
        // Section 8.3: before all other fields, and not twice.
        if self.has_begun_fields || self.seen & bit != 0 {
            self.is_malformed = true;
            return;
        }
        self.seen |= bit;
        let start = self.memory.pseudo.len();
        self.memory.pseudo.extend_from_slice(value);
        // A list over its limit is not kept, so positions fit.
        let narrow = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        self.pseudo[class as usize] = narrow(start)..narrow(start + value.len());
    }

    fn pseudo(&self, class: Class) -> &[u8] {
        let range = &self.pseudo[class as usize];
        &self.memory.pseudo[range.start as usize..range.end as usize]
    }

    fn has(&self, class: Class) -> bool {
        self.seen & 1 << class as u8 != 0
    }

    /// The pseudo-header fields are all there: they become the first lines.
    fn begin_fields(&mut self) {
        if self.has_begun_fields {
            return;
        }
        self.has_begun_fields = true;
        if !self.is_complete() {
            self.is_malformed = true;
            return;
        }
        let mut text = std::mem::take(&mut self.memory.text);
        let is_extended = self.has(Class::Protocol);
        // An extended CONNECT (RFC 8441) says what GET says with an upgrade, which this version has no other way to ask for.
        text.extend_from_slice(if is_extended { b"GET" } else { self.pseudo(Class::Method) });
        text.push(b' ');
        // The target of CONNECT is the authority (section 8.5).
        let target = if self.has(Class::Path) { Class::Path } else { Class::Authority };
        text.extend_from_slice(self.pseudo(target));
        text.extend_from_slice(b" HTTP/1.1\r\n");
        if self.has(Class::Authority) {
            text.extend_from_slice(b"host: ");
            text.extend_from_slice(self.pseudo(Class::Authority));
            text.extend_from_slice(b"\r\n");
        }
        if is_extended {
            text.extend_from_slice(b"connection: upgrade\r\nupgrade: ");
            text.extend_from_slice(self.pseudo(Class::Protocol));
            text.extend_from_slice(b"\r\n");
        }
        self.memory.text = text;
    }

    /// Whether the pseudo-header fields that must be there are, and no others (sections 8.3.1 and 8.5; RFC 8441 section 4).
    fn is_complete(&self) -> bool {
        let has_target = self.has(Class::Scheme) && self.has(Class::Path);
        if self.pseudo(Class::Method) == b"CONNECT" {
            let is_extended = self.has(Class::Protocol);
            let has_parts = self.has(Class::Scheme) || self.has(Class::Path);
            return self.has(Class::Authority)
                && if is_extended { has_target && self.rules.has_connect_protocol } else { !has_parts };
        }
        // `*` is the whole of a server, which only OPTIONS can ask about.
        let is_asterisk = self.pseudo(Class::Path) == b"*" && self.pseudo(Class::Method) != b"OPTIONS";
        self.has(Class::Method) && has_target && !self.has(Class::Protocol) && !is_asterisk
    }

    fn plain(&mut self, name: &[u8], value: &[u8]) {
        let text = &mut self.memory.text;
        text.reserve(name.len() + value.len() + 4);
        text.extend_from_slice(name);
        text.extend_from_slice(b": ");
        text.extend_from_slice(value);
        text.extend_from_slice(b"\r\n");
    }

    /// Section 8.3.1: `Host` where there is no `:authority`, and otherwise nothing that differs from it.
    fn host(&mut self, name: &[u8], value: &[u8]) {
        if self.has(Class::Authority) {
            self.is_malformed |= !self.pseudo(Class::Authority).eq_ignore_ascii_case(value);
        } else if self.has_host {
            self.is_malformed = true;
        } else {
            self.plain(name, value);
        }
        self.has_host = true;
    }

    fn cookie(&mut self, value: &[u8]) {
        let cookies = &mut self.memory.cookies;
        if !cookies.is_empty() {
            cookies.extend_from_slice(b"; ");
        }
        cookies.extend_from_slice(value);
    }

    fn content_length(&mut self, name: &[u8], value: &[u8]) {
        if self.length.is_some() {
            self.is_malformed = true;
            return;
        }
        self.length = decimal(value);
        self.is_malformed |= self.length.is_none();
        self.plain(name, value);
    }
}

impl FieldSink for RequestHead<'_> {
    type Class = Class;

    fn classify(name: &[u8], value: &[u8]) -> Class {
        classify(name, value)
    }

    #[inline]
    fn classify_static(place: usize, name: &[u8], value: &[u8]) -> Class {
        match place {
            1 | 2 => Class::Method,
            3 | 4 => Class::Path,
            5 | 6 => Class::Scheme,
            _ => classify(name, value),
        }
    }

    #[inline]
    fn field(&mut self, class: Class, name: &[u8], value: &[u8]) {
        self.list_bytes += name.len() + value.len() + ENTRY_BYTES;
        // What is over is decoded for the sake of the table and not kept: a byte can stand for kilobytes.
        if self.list_bytes > self.rules.list_bytes_max {
            self.is_over = true;
            return;
        }
        match class {
            Class::Method | Class::Scheme | Class::Path | Class::Authority | Class::Protocol => {
                self.pseudo_field(class, value);
            }
            Class::Malformed | Class::Status => self.is_malformed = true,
            _ => {
                self.begin_fields();
                match class {
                    Class::Host => self.host(name, value),
                    Class::Cookie => self.cookie(value),
                    Class::ContentLength => self.content_length(name, value),
                    _ => self.plain(name, value),
                }
            }
        }
    }
}

/// A section behind a body (section 8.1). Nobody asks for trailer fields yet: they are checked and dropped. `H` is the
/// kind of head before it, whose fields the connection's table knows.
#[derive(Debug)]
pub(crate) struct TrailerSection<H> {
    is_malformed: bool,
    head: PhantomData<H>,
}

impl<H> TrailerSection<H> {
    pub(crate) fn new() -> Self {
        Self { is_malformed: false, head: PhantomData }
    }

    pub(crate) fn is_malformed(&self) -> bool {
        self.is_malformed
    }
}

impl<H: FieldSink<Class = Class>> FieldSink for TrailerSection<H> {
    type Class = Class;

    fn classify(name: &[u8], value: &[u8]) -> Class {
        H::classify(name, value)
    }

    fn field(&mut self, class: Class, _name: &[u8], _value: &[u8]) {
        // Section 8.1: no pseudo-header fields. RFC 9110 section 6.5.1: nothing that frames or routes.
        let is_harmless = matches!(class, Class::Plain | Class::Cookie);
        self.is_malformed |= !is_harmless;
    }
}

/// What the field is; checks name and value (section 8.2.1).
fn classify(name: &[u8], value: &[u8]) -> Class {
    let class = match name {
        b":method" if !value.is_empty() && value.iter().all(|byte| is_token(*byte)) => Class::Method,
        b":path" if is_path(value) => Class::Path,
        b":scheme" if is_scheme(value) => Class::Scheme,
        // Section 8.3.1: without user information.
        b":authority" if value.iter().all(|byte| *byte > b' ' && *byte < 0x7f && *byte != b'@') => {
            Class::Authority
        }
        b":protocol" if !value.is_empty() && value.iter().all(|byte| is_token(*byte)) => Class::Protocol,
        // Section 8.2.2: fields of one connection have no meaning here.
        b"connection" | b"proxy-connection" | b"keep-alive" | b"transfer-encoding" | b"upgrade" => {
            return Class::Malformed;
        }
        b"te" if value != b"trailers" => return Class::Malformed,
        b"host" => Class::Host,
        b"cookie" => Class::Cookie,
        b"content-length" => Class::ContentLength,
        _ if is_name(name) => Class::Plain,
        _ => return Class::Malformed,
    };
    if is_value(value) { class } else { Class::Malformed }
}

fn is_path(value: &[u8]) -> bool {
    let is_rooted = value.first() == Some(&b'/') || value == b"*";
    is_rooted && value.iter().all(|byte| *byte > b' ' && *byte != 0x7f)
}

fn is_scheme(value: &[u8]) -> bool {
    let is_inner = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    value.first().is_some_and(u8::is_ascii_alphabetic) && value.iter().all(is_inner)
}

/// Section 8.2: a token without capital letters.
pub(crate) fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| is_token(*byte) && !byte.is_ascii_uppercase())
}

/// Section 8.2.1: no CR, LF, NUL and no space at the ends; other control bytes are no field values by RFC 9110 section 5.5.
pub(crate) fn is_value(value: &[u8]) -> bool {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let is_allowed = value.iter().all(|byte| (*byte >= b' ' && *byte != 0x7f) || *byte == b'\t');
    is_allowed && !is_space(value.first()) && !is_space(value.last())
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A number of 1 to 20 digits and nothing else that fits 64 bits.
pub(crate) fn decimal(value: &[u8]) -> Option<u64> {
    let is_plain = !value.is_empty() && value.len() <= 20 && value.iter().all(u8::is_ascii_digit);
    if is_plain { str::from_utf8(value).ok()?.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hpack::STATIC_ENTRIES;

    #[test]
    fn what_is_known_of_the_static_table_is_true() {
        for (place, (name, value)) in STATIC_ENTRIES.iter().enumerate() {
            assert_eq!(RequestHead::classify_static(place, name, value), classify(name, value), "{place}");
        }
    }
}
