//! Why a connection cannot go on, and what its peer is told.

use std::borrow::Cow;
use std::io;

/// Alerts that this side sends (RFC 8446 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alert {
    CloseNotify = 0,
    UnexpectedMessage = 10,
    BadRecordMac = 20,
    RecordOverflow = 22,
    HandshakeFailure = 40,
    InternalError = 80,
}

impl Alert {
    /// The alert's two bytes. All but the notice of the end are fatal.
    pub(crate) fn message(self) -> [u8; 2] {
        [if self == Self::CloseNotify { 1 } else { 2 }, self as u8]
    }
}

/// A connection's end for a reason.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What the peer is told.
    pub(crate) alert: Alert,
    kind: io::ErrorKind,
    reason: Cow<'static, str>,
}

impl Failure {
    /// The peer's mistake.
    pub(crate) fn new(alert: Alert, reason: &'static str) -> Self {
        Self { alert, kind: io::ErrorKind::InvalidData, reason: reason.into() }
    }

    /// The handshake went wrong, for a reason of rustls's: a certificate that is not believed, say.
    pub(crate) fn handshake(error: &rustls::Error) -> Self {
        let reason = format!("the handshake failed: {error}").into();
        Self { alert: Alert::HandshakeFailure, kind: io::ErrorKind::InvalidData, reason }
    }

    /// This side's.
    pub(crate) fn internal(reason: &'static str) -> Self {
        Self { alert: Alert::InternalError, kind: io::ErrorKind::Other, reason: reason.into() }
    }

    /// No slice was to be had.
    pub(crate) fn memory() -> Self {
        let reason = "the pool of slices is at its limit";
        Self { alert: Alert::InternalError, kind: io::ErrorKind::OutOfMemory, reason: reason.into() }
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        Self::new(failure.kind, failure.reason)
    }
}
