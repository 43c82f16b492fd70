//! What a client may take of time and memory.

use ringway_http::{body, head};

/// Limits of HTTP connections. Times in milliseconds; 0 switches a time limit off.
#[derive(Clone, Copy, Debug)]
pub struct WebLimits {
    /// From a request's first byte to its head's last. Default 15 s.
    pub head_ms_max: u64,
    /// Between requests. Default 60 s.
    pub idle_ms_max: u64,
    /// For a request's body as a whole. Default 60 s.
    pub body_ms_max: u64,
    /// How often an answer's progress is looked at, and how many bytes must have moved since. Default 30 s.
    pub send_window_ms: u64,
    /// See `send_window_ms`. Default 16 KiB: about 550 bytes a second.
    pub send_window_bytes_min: u64,
    /// Requests on one connection; 0: no limit. Default 0.
    pub requests_max: u32,
    /// For a connection as a whole: the first answer after it is the last; never early, up to a
    /// second late. Default 0, off.
    pub lifetime_ms_max: u64,
    /// Sizes of heads. Default: a line of 8 KiB, a head of 16 KiB, 100 fields.
    pub head: head::Limits,
    /// Sizes of bodies. Default 1 MiB: files are not sent here, a body is only read and dropped.
    pub body: body::Limits,
    /// Of HTTP/2: streams, windows, floods.
    #[cfg(feature = "h2")]
    pub h2: ringway_h2::limits::Limits,
    /// Whether a client may begin HTTP/2 on a connection without TLS, knowing that the server speaks it (RFC 9113 section
    /// 3.3). Default on.
    #[cfg(feature = "h2")]
    pub h2_prior_knowledge: bool,
}

impl Default for WebLimits {
    fn default() -> Self {
        Self {
            head_ms_max: 15_000,
            idle_ms_max: 60_000,
            body_ms_max: 60_000,
            send_window_ms: 30_000,
            send_window_bytes_min: 16 * 1024,
            requests_max: 0,
            lifetime_ms_max: 0,
            head: head::Limits::default(),
            body: body::Limits { body_bytes_max: 1024 * 1024, ..body::Limits::default() },
            #[cfg(feature = "h2")]
            h2: ringway_h2::limits::Limits::default(),
            #[cfg(feature = "h2")]
            h2_prior_knowledge: true,
        }
    }
}

/// The worker's time after a limit; never, when the limit is off.
pub(crate) fn deadline(now_ms: u64, limit_ms: u64) -> u64 {
    if limit_ms == 0 { u64::MAX } else { now_ms.saturating_add(limit_ms) }
}
