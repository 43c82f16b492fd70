//! An answer's field section becomes the head of an HTTP/1.1 answer (RFC 9113 sections 8.2 and 8.3.2).
//!
//! What is malformed by RFC 9113 is refused here. The text that comes out has exactly one reading: no field of it frames
//! anything but what the stream frames, no byte of it can end a line.

use crate::head::{Class, decimal, is_name, is_value};
use crate::hpack::{ENTRY_BYTES, FieldSink};

/// An answer as its fields come.
#[derive(Debug)]
pub(super) struct AnswerHead<'m> {
    text: &'m mut Vec<u8>,
    /// Most bytes as section 6.5.2 counts them: names, values, 32 for each field.
    list_bytes_max: usize,
    list_bytes: usize,
    status: Option<[u8; 3]>,
    has_begun_fields: bool,
    is_malformed: bool,
    is_over: bool,
    length: Option<u64>,
}

/// What a whole section is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The text is a head; so long is the body to be, where that is known.
    Head(Option<u64>),
    /// The text is a head that another one follows.
    Interim,
    /// Longer than announced to be taken.
    Over,
    /// Malformed: an error of the stream (section 8.1.1).
    Malformed,
}

impl<'m> AnswerHead<'m> {
    pub(super) fn new(text: &'m mut Vec<u8>, list_bytes_max: usize) -> Self {
        text.clear();
        Self {
            text,
            list_bytes_max,
            list_bytes: 0,
            status: None,
            has_begun_fields: false,
            is_malformed: false,
            is_over: false,
            length: None,
        }
    }

    /// All fields have come. `ends`: nothing follows. `has_no_body`: whatever the fields say, none can, because `HEAD`
    /// was asked.
    pub(super) fn finish(mut self, ends: bool, has_no_body: bool) -> Outcome {
        if self.is_over {
            return Outcome::Over;
        }
        self.begin_fields();
        let Some(status) = self.status.filter(|_| !self.is_malformed) else { return Outcome::Malformed };
        if status[0] == b'1' {
            // Section 8.6: there is no switching; section 8.1: an interim head ends nothing.
            let is_sound = status != *b"101" && !ends && self.length.is_none();
            self.text.extend_from_slice(b"\r\n");
            return if is_sound { Outcome::Interim } else { Outcome::Malformed };
        }
        let has_no_body = has_no_body || matches!(&status, b"204" | b"304");
        let contradicts = !has_no_body && ends && self.length.is_some_and(|length| length > 0);
        if contradicts {
            return Outcome::Malformed;
        }
        if !has_no_body && self.length.is_none() {
            // What HTTP/1.1 says of no body, and of one whose length nobody knows yet.
            let line: &[u8] = if ends { b"content-length: 0\r\n" } else { b"transfer-encoding: chunked\r\n" };
            self.text.extend_from_slice(line);
        }
        self.text.extend_from_slice(b"\r\n");
        Outcome::Head(if has_no_body { Some(0) } else { self.length })
    }

    /// The status is known, or will never be.
    fn begin_fields(&mut self) {
        if self.has_begun_fields {
            return;
        }
        self.has_begun_fields = true;
        match self.status {
            Some(digits) => {
                self.text.extend_from_slice(b"HTTP/1.1 ");
                self.text.extend_from_slice(&digits);
                self.text.extend_from_slice(b" \r\n");
            }
            None => self.is_malformed = true,
        }
    }

    fn plain(&mut self, name: &[u8], value: &[u8]) {
        self.text.reserve(name.len() + value.len() + 4);
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(b": ");
        self.text.extend_from_slice(value);
        self.text.extend_from_slice(b"\r\n");
    }
}

impl FieldSink for AnswerHead<'_> {
    type Class = Class;

    fn classify(name: &[u8], value: &[u8]) -> Class {
        classify(name, value)
    }

    #[inline]
    fn field(&mut self, class: Class, name: &[u8], value: &[u8]) {
        self.list_bytes += name.len() + value.len() + ENTRY_BYTES;
        // What is over is decoded for the sake of the table and not kept: a byte can stand for kilobytes.
        if self.list_bytes > self.list_bytes_max {
            self.is_over = true;
            return;
        }
        match class {
            Class::Status => {
                // Section 8.3: before all other fields, and not twice.
                self.is_malformed |= self.has_begun_fields || self.status.is_some();
                self.status = value.try_into().ok();
            }
            Class::Plain => {
                self.begin_fields();
                self.plain(name, value);
            }
            Class::ContentLength => {
                self.begin_fields();
                self.is_malformed |= self.length.is_some();
                self.length = decimal(value);
                self.is_malformed |= self.length.is_none();
                self.plain(name, value);
            }
            _ => self.is_malformed = true,
        }
    }
}

/// What the field is to an answer; checks name and value (section 8.2.1).
fn classify(name: &[u8], value: &[u8]) -> Class {
    let class = match name {
        b":status" => {
            let is_status = matches!(value, [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9']);
            return if is_status { Class::Status } else { Class::Malformed };
        }
        // Section 8.2.2: fields of one connection have no meaning here.
        b"connection" | b"proxy-connection" | b"keep-alive" | b"transfer-encoding" | b"upgrade" => {
            return Class::Malformed;
        }
        b"content-length" => Class::ContentLength,
        _ if is_name(name) => Class::Plain,
        _ => return Class::Malformed,
    };
    if is_value(value) { class } else { Class::Malformed }
}
