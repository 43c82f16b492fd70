//! What handlers fail with: a status and words for the client, and others for the log.

use crate::response::{IntoResponse, Response};
use ringway_engine::PoolError;
use ringway_http::status::Status;
use ringway_web::form::FormError;
use ringway_web::request_body::BodyError;
use ringway_web::spool::SpoolError;
use std::borrow::Cow;
use std::fmt;

/// Why a handler has no better answer. `?` makes one of any error of a library: the client is told 500 and no more, the log
/// all of it.
pub struct Error {
    status: Status,
    public: Cow<'static, str>,
    /// For the log.
    detail: Option<Box<dyn std::error::Error + 'static>>,
}

impl Error {
    /// An error that answers `status`, and tells the client `text`.
    #[must_use]
    pub fn new(status: Status, text: impl Into<Cow<'static, str>>) -> Self {
        Self { status, public: text.into(), detail: None }
    }

    /// What was asked makes no sense (400); the text says why.
    #[must_use]
    pub fn bad_request(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Status::BAD_REQUEST, text)
    }

    /// There is nothing of that name (404).
    #[must_use]
    pub fn not_found() -> Self {
        Self::of(Status::NOT_FOUND)
    }

    /// An error that is its status.
    #[must_use]
    pub fn of(status: Status) -> Self {
        Self::new(status, status.reason())
    }

    /// Adds what only the log is told.
    #[must_use]
    pub fn because(mut self, detail: impl Into<Box<dyn std::error::Error>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// What the client is told.
    #[must_use]
    pub fn public_text(&self) -> &str {
        &self.public
    }

    /// What the log is told, with all causes; `None` when that is no more than the client is told.
    #[must_use]
    pub fn log_text(&self) -> Option<String> {
        let first = self.detail.as_deref()?;
        let mut text = first.to_string();
        let mut cause = first.source();
        // Causes that go round in circles end somewhere.
        for _ in 0..16 {
            let Some(error) = cause else { break };
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        Some(text)
    }
}

impl<E: std::error::Error + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        let known: &dyn std::error::Error = &error;
        match status_of(known) {
            Some(status) if status.code() < 500 => Self::new(status, error.to_string()),
            Some(status) => Self::of(status).because(error),
            None => Self::of(Status::INTERNAL_SERVER_ERROR).because(error),
        }
    }
}

/// The status of an error of the server's own, which knows it.
fn status_of(error: &(dyn std::error::Error + 'static)) -> Option<Status> {
    if let Some(error) = error.downcast_ref::<BodyError>() {
        return Some(error.status());
    }
    if let Some(error) = error.downcast_ref::<FormError>() {
        return Some(error.status());
    }
    if let Some(error) = error.downcast_ref::<SpoolError>() {
        return Some(error.status());
    }
    #[cfg(feature = "sessions")]
    if let Some(error) = error.downcast_ref::<crate::session::SessionError>() {
        return Some(error.status());
    }
    #[cfg(feature = "sqlite")]
    if let Some(error) = error.downcast_ref::<crate::sqlite::SqliteError>() {
        return Some(error.status());
    }
    #[cfg(feature = "redis")]
    if let Some(error) = error.downcast_ref::<crate::redis::RedisError>() {
        return Some(error.status());
    }
    // Too much is under way already, or the work itself has failed.
    error.downcast_ref::<PoolError>().map(|error| match error {
        PoolError::Full | PoolError::NoThread => Status::SERVICE_UNAVAILABLE,
        PoolError::Panicked => Status::INTERNAL_SERVER_ERROR,
    })
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let note = self.log_text();
        let mut text = self.public.into_owned();
        text.push('\n');
        Response::text(text).with_status(self.status).with_note(note)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status.code(), self.public)?;
        match self.log_text() {
            Some(detail) => write!(f, " ({detail})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.public)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn what_a_library_says_is_for_the_log_alone() {
        let error = Error::from(io::Error::other("the table users is locked"));
        assert_eq!(error.status(), Status::INTERNAL_SERVER_ERROR);
        assert!(!error.public_text().contains("users"));
        assert!(error.log_text().is_some_and(|text| text.contains("users")));
        let error = Error::bad_request("no such colour");
        assert_eq!(
            (error.status().code(), error.public_text(), error.log_text()),
            (400, "no such colour", None)
        );
    }
}
