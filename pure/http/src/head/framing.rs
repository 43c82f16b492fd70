//! What the fields say about the length of the message and the life of the connection (RFC 9112 sections 6, 9).

use super::request::{Body, Version};
use crate::list::elements;
use crate::octets::{decimal, is_token, trim};
use crate::refusal::Refusal;

/// Gathers what matters for framing while the fields are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Framing {
    length: Option<u64>,
    has_coding: bool,
    chunked: bool,
    unknown_coding: bool,
    close: bool,
    keep_alive: bool,
    pub(super) upgrade: bool,
    pub(super) expect_continue: bool,
}

impl Framing {
    /// What no field has been said about.
    pub(crate) const NONE: Self = Self {
        length: None,
        has_coding: false,
        chunked: false,
        unknown_coding: false,
        close: false,
        keep_alive: false,
        upgrade: false,
        expect_continue: false,
    };

    /// `Content-Length`: one field with one plain number (RFC 9112 section 6.3 allows to refuse the rest).
    pub(crate) fn content_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.length.is_some() {
            return Err(Refusal::LengthRepeated);
        }
        self.length = Some(decimal(value).ok_or(Refusal::LengthForm)?);
        Ok(())
    }

    /// `Transfer-Encoding`: the elements of all its fields are one list, of which `chunked` must be the last.
    pub(crate) fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        self.has_coding = true;
        for element in value.split(|byte| *byte == b',') {
            let element = trim(element);
            let name = trim(element.split(|byte| *byte == b';').next().unwrap_or_default());
            if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
                return Err(Refusal::CodingForm);
            }
            if self.chunked {
                return Err(Refusal::CodingOrder);
            }
            self.chunked = name.eq_ignore_ascii_case(b"chunked");
            // `chunked` has no parameters (RFC 9112 section 7.1): with some it is a coding nobody defined.
            self.unknown_coding |= !self.chunked || name.len() != element.len();
        }
        Ok(())
    }

    /// `Connection`: unknown options are for others to know.
    pub(crate) fn connection(&mut self, value: &[u8]) {
        for option in elements(value) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            self.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
        }
    }

    /// `Expect`, which means nothing in HTTP/1.0 (RFC 9110 section 10.1.1).
    pub(super) fn expect(&mut self, value: &[u8], version: Version) -> Result<(), Refusal> {
        if version == Version::Http11 {
            if !value.eq_ignore_ascii_case(b"100-continue") {
                return Err(Refusal::Expectation);
            }
            self.expect_continue = true;
        }
        Ok(())
    }

    /// Whether the connection can take another request after this one.
    pub(crate) const fn keeps_alive(&self, version: Version) -> bool {
        !self.close && (self.keep_alive || matches!(version, Version::Http11))
    }

    /// The body that follows the head.
    pub(super) fn body(&self, version: Version) -> Result<Body, Refusal> {
        if !self.has_coding {
            return Ok(self.length.map_or(Body::None, Body::Length));
        }
        if self.length.is_some() {
            Err(Refusal::LengthAndCoding)
        } else if version == Version::Http10 {
            Err(Refusal::CodingVersion)
        } else if self.unknown_coding {
            Err(Refusal::CodingUnknown)
        } else {
            Ok(Body::Chunked)
        }
    }

    /// The body that follows the head of an answer that may have one (RFC 9112 section 6.3); `None`: it lasts until the
    /// connection ends.
    pub(crate) fn reply_body(&self, version: Version) -> Result<Option<Body>, Refusal> {
        if !self.has_coding {
            return Ok(self.length.map(Body::Length));
        }
        if self.length.is_some() {
            Err(Refusal::LengthAndCoding)
        } else if version == Version::Http10 {
            Err(Refusal::CodingVersion)
        } else {
            // Codings before the last change what the data means, not where it ends.
            Ok(self.chunked.then_some(Body::Chunked))
        }
    }

    /// What `Content-Length` said.
    pub(crate) const fn length(&self) -> Option<u64> {
        self.length
    }
}
