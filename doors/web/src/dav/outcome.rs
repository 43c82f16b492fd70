//! What comes of a request: its status, more lines of its head, its body; and what it can fail with.

use crate::open_error::OpenError;
use ringway_dav::body::BodyError;
use ringway_dav::fields::Invalid;
use ringway_dav::multistatus::{CONTENT_TYPE, Precondition, error_body};
use ringway_http::status::Status;
use rustix::io::Errno;
use std::io;
use std::sync::Arc;

/// An answer but for what every answer has; made on the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) status: Status,
    /// Field lines, each with its CR LF.
    pub(crate) lines: Vec<u8>,
    /// Nothing: an error page where the status is one.
    pub(crate) body: Vec<u8>,
    /// What the operator should know.
    pub(crate) trouble: Option<Arc<str>>,
}

impl Outcome {
    pub(crate) fn new(status: Status) -> Self {
        Self { status, lines: Vec::new(), body: Vec::new(), trouble: None }
    }

    /// One with an XML body.
    pub(crate) fn xml(status: Status, body: Vec<u8>) -> Self {
        let mut outcome = Self { body, ..Self::new(status) };
        outcome.line("Content-Type", CONTENT_TYPE);
        outcome
    }

    /// Adds a field line; `value` has no control characters.
    pub(crate) fn line(&mut self, name: &str, value: &str) {
        self.lines.extend_from_slice(name.as_bytes());
        self.lines.extend_from_slice(b": ");
        self.lines.extend(value.bytes().filter(|byte| !byte.is_ascii_control()));
        self.lines.extend_from_slice(b"\r\n");
    }
}

/// Why something is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) status: Status,
    /// The condition that was not met, and by what resource: its path as clients know it.
    pub(crate) condition: Option<(Precondition, Option<Vec<u8>>)>,
    pub(crate) trouble: Option<Arc<str>>,
}

impl Failure {
    pub(crate) const fn new(status: Status) -> Self {
        Self { status, condition: None, trouble: None }
    }

    pub(crate) const fn of(status: Status, condition: Precondition) -> Self {
        Self { status, condition: Some((condition, None)), trouble: None }
    }

    /// Something that the operator must see to.
    pub(crate) fn trouble(what: &str, errno: Errno) -> Self {
        let trouble = format!("{what}: {}", io::Error::from(errno));
        Self { trouble: Some(trouble.into()), ..Self::from(errno) }
    }
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        let mut outcome = match failure.condition {
            Some((condition, path)) => Self::xml(failure.status, error_body(condition, path.as_deref())),
            None => Self::new(failure.status),
        };
        outcome.trouble = failure.trouble;
        outcome
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        let other = |status| Self::new(status);
        match errno {
            // NAMETOOLONG, INVAL, ILSEQ: no file can have such a name.
            Errno::NOENT | Errno::NAMETOOLONG | Errno::INVAL | Errno::ILSEQ => other(Status::NOT_FOUND),
            // What lies on the way is no directory, or there is something already.
            Errno::NOTDIR | Errno::EXIST | Errno::ISDIR | Errno::NOTEMPTY => other(Status::CONFLICT),
            // XDEV: another file system begins there. ROFS: nobody writes there. LOOP: a link. TXTBSY, BUSY: in use.
            Errno::ACCESS
            | Errno::PERM
            | Errno::LOOP
            | Errno::XDEV
            | Errno::ROFS
            | Errno::BUSY
            | Errno::TXTBSY => other(Status::FORBIDDEN),
            Errno::NOSPC => Self::of(Status::INSUFFICIENT_STORAGE, Precondition::SufficientDiskSpace),
            Errno::DQUOT => Self::of(Status::INSUFFICIENT_STORAGE, Precondition::QuotaNotExceeded),
            // Larger than this file system, or this process' limit, has files.
            Errno::FBIG => other(Status::CONTENT_TOO_LARGE),
            Errno::MFILE | Errno::NFILE | Errno::NOMEM => other(Status::SERVICE_UNAVAILABLE),
            other => Self {
                trouble: Some(io::Error::from(other).to_string().into()),
                ..Self::new(Status::INTERNAL_SERVER_ERROR)
            },
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(errno) => errno.into(),
            None => {
                Self { trouble: Some(error.to_string().into()), ..Self::new(Status::INTERNAL_SERVER_ERROR) }
            }
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self::new(Status::new(error.status()).unwrap_or(Status::INTERNAL_SERVER_ERROR))
    }
}

impl From<Invalid> for Failure {
    fn from(_: Invalid) -> Self {
        Self::new(Status::BAD_REQUEST)
    }
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Self {
        Self::new(match error {
            BodyError::Malformed => Status::BAD_REQUEST,
            BodyError::Meaningless => Status::UNPROCESSABLE_CONTENT,
        })
    }
}
