//! The handler that always says the same.

use crate::answer::{self, PlanBody};
use crate::exchange::Exchange;
use crate::mime;
use crate::pipeline::{Handled, Handler};
use ringway_http::response::EncodeError;
use ringway_http::status::Status;
use std::fmt;
use std::sync::Arc;

/// Longest body, in bytes.
pub const RESPOND_BYTES_MAX: usize = 256 * 1024;

/// Why an answer is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RespondError {
    /// The status is none of a final answer.
    Status(u16),
    /// The status has no body, and one was given.
    Body(u16),
    /// The body has more than [`RESPOND_BYTES_MAX`] bytes.
    Length,
    /// The type cannot be sent.
    Type(String),
}

impl fmt::Display for RespondError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{status} is no status of an answer; there are 200 to 599"),
            Self::Body(status) => write!(f, "an answer with status {status} has no body"),
            Self::Length => write!(f, "a body has at most {RESPOND_BYTES_MAX} bytes"),
            Self::Type(text) => write!(f, "{text:?} is no media type; write it as in \"text/plain\""),
        }
    }
}

impl std::error::Error for RespondError {}

/// Answers with a status and a body, whatever the method.
#[derive(Clone, Debug)]
pub struct Respond {
    status: Status,
    content_type: Box<str>,
    body: Arc<[u8]>,
}

impl Respond {
    /// An answer with that status, type and body.
    ///
    /// # Errors
    /// [`RespondError`].
    pub fn new(status: u16, content_type: &str, body: Arc<[u8]>) -> Result<Self, RespondError> {
        let known = (200..600).contains(&status).then(|| Status::new(status)).flatten();
        let known = known.ok_or(RespondError::Status(status))?;
        if known.is_bodiless() && !body.is_empty() {
            return Err(RespondError::Body(status));
        }
        if body.len() > RESPOND_BYTES_MAX {
            return Err(RespondError::Length);
        }
        if !mime::is_sendable(content_type) {
            return Err(RespondError::Type(content_type.to_owned()));
        }
        Ok(Self { status: known, content_type: content_type.into(), body })
    }
}

impl Handler for Respond {
    fn handle(&self, exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
        if self.status.is_bodiless() {
            let plan = answer::head_only(self.status, &[], exchange.common, exchange.memory)?;
            return Ok(Handled::Answer(plan.into()));
        }
        let len = self.body.len() as u64;
        let mut head = answer::start(self.status, exchange.common, exchange.memory)?;
        head.content_length(len)?;
        head.field(b"Content-Type", self.content_type.as_bytes())?;
        let head_len = head.finish()?;
        let body = if len == 0 { PlanBody::Empty } else { PlanBody::Shared(Arc::clone(&self.body)) };
        let plan = answer::with_body(self.status, head_len, exchange.request.method(), body, len);
        Ok(Handled::Answer(plan.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_sent_is_an_answer() {
        let new = |status, content_type, body: &[u8]| Respond::new(status, content_type, body.into());
        assert!(new(200, "text/plain", b"x").is_ok());
        assert!(new(204, "text/plain", b"").is_ok());
        assert_eq!(new(204, "text/plain", b"x").unwrap_err(), RespondError::Body(204));
        assert_eq!(new(304, "text/plain", b"x").unwrap_err(), RespondError::Body(304));
        for status in [0, 100, 101, 199, 600] {
            assert_eq!(new(status, "text/plain", b"").unwrap_err(), RespondError::Status(status));
        }
        assert_eq!(new(200, "x", b"").unwrap_err(), RespondError::Type("x".into()));
        let long = vec![0; RESPOND_BYTES_MAX + 1];
        assert_eq!(new(200, "text/plain", &long).unwrap_err(), RespondError::Length);
    }
}
