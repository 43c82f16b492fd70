//! Records: their heads, and the walk over them however their bytes arrive.

use super::Fault;
use std::ops::Range;

/// The one version there is.
pub const VERSION: u8 = 1;

/// Bytes of a record's head.
pub const HEAD_BYTES: usize = 8;

/// Most bytes of a record's content.
pub const CONTENT_BYTES_MAX: usize = 65_535;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kind(pub u8);

impl Kind {
    /// `FCGI_BEGIN_REQUEST`
    pub const BEGIN_REQUEST: Self = Self(1);
    /// `FCGI_ABORT_REQUEST`
    pub const ABORT_REQUEST: Self = Self(2);
    /// `FCGI_END_REQUEST`
    pub const END_REQUEST: Self = Self(3);
    /// `FCGI_PARAMS`
    pub const PARAMS: Self = Self(4);
    /// `FCGI_STDIN`
    pub const STDIN: Self = Self(5);
    /// `FCGI_STDOUT`
    pub const STDOUT: Self = Self(6);
    /// `FCGI_STDERR`
    pub const STDERR: Self = Self(7);
    /// `FCGI_DATA`, for filters.
    pub const DATA: Self = Self(8);
    /// `FCGI_GET_VALUES`
    pub const GET_VALUES: Self = Self(9);
    /// `FCGI_GET_VALUES_RESULT`
    pub const GET_VALUES_RESULT: Self = Self(10);
    /// `FCGI_UNKNOWN_TYPE`
    pub const UNKNOWN_TYPE: Self = Self(11);
}

/// The head of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What it is.
    pub kind: Kind,
    /// Which request it is about; 0 for the connection.
    pub request: u16,
    /// Bytes of content.
    pub content_len: u16,
    /// Bytes behind the content that mean nothing.
    pub padding_len: u8,
}

impl Head {
    /// A head without padding.
    #[must_use]
    pub const fn new(kind: Kind, request: u16, content_len: u16) -> Self {
        Self { kind, request, content_len, padding_len: 0 }
    }

    /// Reads a head. The reserved byte is ignored.
    ///
    /// # Errors
    /// [`Fault::Version`].
    pub const fn read(bytes: [u8; HEAD_BYTES]) -> Result<Self, Fault> {
        let [version, kind, r0, r1, l0, l1, padding_len, _reserved] = bytes;
        if version != VERSION {
            return Err(Fault::Version(version));
        }
        Ok(Self {
            kind: Kind(kind),
            request: u16::from_be_bytes([r0, r1]),
            content_len: u16::from_be_bytes([l0, l1]),
            padding_len,
        })
    }

    /// As it stands on the wire.
    #[must_use]
    pub const fn bytes(self) -> [u8; HEAD_BYTES] {
        let [r0, r1] = self.request.to_be_bytes();
        let [l0, l1] = self.content_len.to_be_bytes();
        [VERSION, self.kind.0, r0, r1, l0, l1, self.padding_len, 0]
    }
}

/// What comes next of the records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A record begins.
    Begins(Head),
    /// Bytes of its content, never none.
    Content(Range<usize>),
    /// Content and padding have been walked over.
    Ends,
    /// All of the input has been walked over.
    NeedMore,
}

/// Walks records. What it says does not depend on how the input is split, except that content comes in more pieces.
#[derive(Clone, Debug)]
pub(super) struct Records {
    head: [u8; HEAD_BYTES],
    have: u8,
    content_left: u16,
    padding_left: u8,
}

impl Records {
    pub(super) const fn new() -> Self {
        Self { head: [0; HEAD_BYTES], have: 0, content_left: 0, padding_left: 0 }
    }

    /// Takes the next step behind the first `at` bytes of `input`, which grows by what is walked over.
    pub(super) fn next(&mut self, input: &[u8], at: &mut usize) -> Result<Part, Fault> {
        let unread = input.get(*at..).unwrap_or_default();
        if usize::from(self.have) < HEAD_BYTES {
            return self.collect_head(unread, at);
        }
        if self.content_left > 0 {
            let taken = smaller(self.content_left, unread.len());
            if taken == 0 {
                return Ok(Part::NeedMore);
            }
            self.content_left -= taken;
            let start = *at;
            *at += usize::from(taken);
            return Ok(Part::Content(start..*at));
        }
        let padding = smaller(u16::from(self.padding_left), unread.len());
        *at += usize::from(padding);
        // It is no more than what was left, which fits.
        self.padding_left -= u8::try_from(padding).unwrap_or(self.padding_left);
        if self.padding_left > 0 {
            return Ok(Part::NeedMore);
        }
        self.have = 0;
        Ok(Part::Ends)
    }

    fn collect_head(&mut self, unread: &[u8], at: &mut usize) -> Result<Part, Fault> {
        let have = usize::from(self.have);
        let taken = (HEAD_BYTES - have).min(unread.len());
        self.head[have..have + taken].copy_from_slice(&unread[..taken]);
        *at += taken;
        // What is no record is known by its first byte.
        if have == 0 && taken > 0 && self.head[0] != VERSION {
            return Err(Fault::Version(self.head[0]));
        }
        self.have += u8::try_from(taken).unwrap_or(0);
        if usize::from(self.have) < HEAD_BYTES {
            return Ok(Part::NeedMore);
        }
        let head = Head::read(self.head)?;
        (self.content_left, self.padding_left) = (head.content_len, head.padding_len);
        Ok(Part::Begins(head))
    }
}

/// The smaller of a length that is left and one that is there.
fn smaller(left: u16, there: usize) -> u16 {
    u16::try_from(there).unwrap_or(u16::MAX).min(left)
}
