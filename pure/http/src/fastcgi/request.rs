//! What a web server writes: a request with its parameters in one piece of memory, and the records behind it.

use super::pairs::write_pair;
use super::record::{CONTENT_BYTES_MAX, HEAD_BYTES, Head, Kind};

/// What a responder is asked to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Role(pub u16);

impl Role {
    /// `FCGI_RESPONDER`
    pub const RESPONDER: Self = Self(1);
    /// `FCGI_AUTHORIZER`
    pub const AUTHORIZER: Self = Self(2);
    /// `FCGI_FILTER`
    pub const FILTER: Self = Self(3);
}

/// The flag of a request that says that the connection is kept behind it.
pub(super) const KEEP: u8 = 1;

/// Bytes of content of a beginning.
pub(super) const BEGIN_BYTES: u16 = 8;

/// The memory is too small for the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl std::fmt::Display for Full {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no room for the request")
    }
}

impl std::error::Error for Full {}

/// Writes a request into memory: its beginning, its parameters, and as much of its body as is at hand. Running out of
/// memory is told at the end.
#[derive(Debug)]
pub struct RequestWriter<'m> {
    memory: &'m mut [u8],
    len: usize,
    request: u16,
    /// Where the head of the record lies whose parameters are being written.
    params_at: Option<usize>,
    is_full: bool,
}

impl<'m> RequestWriter<'m> {
    /// Begins request number `request`, which is not 0; `keep` asks for the connection to stay open behind its answer.
    #[must_use]
    pub fn new(memory: &'m mut [u8], request: u16, role: Role, keep: bool) -> Self {
        let mut writer = Self { memory, len: 0, request, params_at: None, is_full: false };
        let [r0, r1] = role.0.to_be_bytes();
        writer.put(&Head::new(Kind::BEGIN_REQUEST, request, BEGIN_BYTES).bytes());
        writer.put(&[r0, r1, if keep { KEEP } else { 0 }, 0, 0, 0, 0, 0]);
        writer
    }

    /// Writes a parameter. One that is longer than a record can be counts as out of memory.
    pub fn param(&mut self, name: &[u8], value: &[u8]) {
        if self.is_full {
            return;
        }
        let at = match self.params_at {
            Some(at) => at,
            None => self.open_params(),
        };
        let record_len = self.len.saturating_sub(at + HEAD_BYTES);
        let end = self.memory.len().min(self.len.saturating_add(CONTENT_BYTES_MAX - record_len));
        let room = self.memory.get_mut(self.len..end).unwrap_or_default();
        match write_pair(room, name, value) {
            Some(bytes) => self.len += bytes,
            // The record is full and the memory is not: it goes on in another record.
            None if record_len > 0 && end < self.memory.len() => {
                self.close_params();
                self.param(name, value);
            }
            None => self.is_full = true,
        }
    }

    /// Ends the parameters.
    pub fn end_params(&mut self) {
        self.close_params();
        self.put(&Head::new(Kind::PARAMS, self.request, 0).bytes());
    }

    /// Writes bytes of the body, as one record; nothing when there are none.
    ///
    /// At most [`CONTENT_BYTES_MAX`]; more counts as out of memory.
    pub fn stdin(&mut self, data: &[u8]) {
        let Ok(len) = u16::try_from(data.len()) else {
            self.is_full = true;
            return;
        };
        if len > 0 {
            self.put(&stdin_head(self.request, len));
            self.put(data);
        }
    }

    /// Ends the body.
    pub fn end_stdin(&mut self) {
        self.put(&stdin_head(self.request, 0));
    }

    /// How much may still be written.
    #[must_use]
    pub const fn room(&self) -> usize {
        self.memory.len() - self.len
    }

    /// How many bytes were written.
    ///
    /// # Errors
    /// [`Full`] when something did not fit.
    pub const fn finish(self) -> Result<usize, Full> {
        if self.is_full { Err(Full) } else { Ok(self.len) }
    }

    fn open_params(&mut self) -> usize {
        let at = self.len;
        // Its length is written when it is closed.
        self.put(&Head::new(Kind::PARAMS, self.request, 0).bytes());
        self.params_at = Some(at);
        at
    }

    fn close_params(&mut self) {
        let Some(at) = self.params_at.take() else { return };
        let content = self.len.saturating_sub(at + HEAD_BYTES);
        let (Ok(content), false) = (u16::try_from(content), self.is_full) else { return };
        if content == 0 {
            // Empty it would be the end of all parameters.
            self.len = at;
            return;
        }
        let head = Head::new(Kind::PARAMS, self.request, content).bytes();
        self.memory[at..at + HEAD_BYTES].copy_from_slice(&head);
    }

    fn put(&mut self, bytes: &[u8]) {
        let end = self.len.saturating_add(bytes.len());
        match self.memory.get_mut(self.len..end) {
            Some(room) if !self.is_full => {
                room.copy_from_slice(bytes);
                self.len = end;
            }
            _ => self.is_full = true,
        }
    }
}

/// The head of a record that `len` bytes of a request's body follow; with none it ends the body.
#[must_use]
pub const fn stdin_head(request: u16, len: u16) -> [u8; HEAD_BYTES] {
    Head::new(Kind::STDIN, request, len).bytes()
}

/// The record that has a request given up.
#[must_use]
pub const fn abort(request: u16) -> [u8; HEAD_BYTES] {
    Head::new(Kind::ABORT_REQUEST, request, 0).bytes()
}
