//! What a peer may make grow, and how fast it may do what costs more than it brings.

/// Limits of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most streams at a time; a server refuses more and announces that, a client opens no more. Default 100.
    pub streams_max: u32,
    /// Longest field section of a message, names and values and 32 for each field, in bytes; beyond, a server answers 431
    /// and a client gives the answer up. Announced. Default 16 KiB, of a client 32 KiB.
    pub header_list_bytes_max: u32,
    /// Most bytes of a field section as it is sent; beyond, the connection ends. Default 48 KiB, of a client 96 KiB: what
    /// is only too long costs its stream.
    pub block_bytes_max: u32,
    /// Most CONTINUATION frames of a field section; beyond, the connection ends. Default 8.
    pub continuations_max: u32,
    /// Bytes of a message's body that may be on their way to its reader, at least 65535. Announced. Default 65535.
    pub stream_window_bytes: u32,
    /// The same for all messages together, at least 65535. Default 256 KiB, of a client
    /// 8 MiB: one slow reader must not stop the others.
    pub connection_window_bytes: u32,
    /// Streams that may be reset by the peer, or because of what it sent, or refused, at once; beyond, the connection ends.
    /// Default 200, of a client 10,000.
    pub resets_burst: u32,
    /// How many of these are forgiven each second. Default 50, of a client 1,000.
    pub resets_per_s: u32,
    /// Frames without content (SETTINGS, PING, PRIORITY, WINDOW_UPDATE, empty DATA, unknown ones) that may come at once;
    /// beyond, the connection ends. Default 1,000, of a client 10,000.
    pub idle_frames_burst: u32,
    /// How many of these are forgiven each second; each DATA frame sent forgives
    /// [`Limits::IDLE_FRAMES_PER_DATA`] more. Default 100, of a client 1,000.
    pub idle_frames_per_s: u32,
    /// Most settings in one frame. Default 32.
    pub settings_max: u32,
    /// Whether extended CONNECT is announced and understood (RFC 8441). Default off.
    pub has_connect_protocol: bool,
}

impl Limits {
    /// Frames without content that a DATA frame makes up for: a client may well send two window updates for each.
    pub const IDLE_FRAMES_PER_DATA: u32 = 4;

    /// Limits of a client: it has chosen its server, which may refuse much and ask often whether the client is there, but
    /// not without end.
    #[must_use]
    pub fn client() -> Self {
        Self {
            header_list_bytes_max: 32 * 1024,
            block_bytes_max: 96 * 1024,
            connection_window_bytes: 8 * 1024 * 1024,
            resets_burst: 10_000,
            resets_per_s: 1_000,
            idle_frames_burst: 10_000,
            idle_frames_per_s: 1_000,
            ..Self::default()
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            streams_max: 100,
            header_list_bytes_max: 16 * 1024,
            block_bytes_max: 48 * 1024,
            continuations_max: 8,
            stream_window_bytes: 65_535,
            connection_window_bytes: 256 * 1024,
            resets_burst: 200,
            resets_per_s: 50,
            idle_frames_burst: 1_000,
            idle_frames_per_s: 100,
            settings_max: 32,
            has_connect_protocol: false,
        }
    }
}

/// What may be done at once and what is forgiven with time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    left: u32,
    burst: u32,
    per_s: u32,
    at_ms: u64,
}

impl Allowance {
    pub(crate) fn new(burst: u32, per_s: u32) -> Self {
        Self { left: burst, burst, per_s, at_ms: 0 }
    }

    /// Takes one; `false` when there is none.
    pub(crate) fn take(&mut self, now_ms: u64) -> bool {
        if self.left == 0 {
            self.forgive(now_ms);
        }
        let has_any = self.left > 0;
        self.left -= u32::from(has_any);
        if self.left == self.burst.saturating_sub(1) {
            // The first in a while: time counts from here.
            self.at_ms = now_ms;
        }
        has_any
    }

    /// Gives some back.
    pub(crate) fn give(&mut self, count: u32) {
        self.left = self.left.saturating_add(count).min(self.burst);
    }

    fn forgive(&mut self, now_ms: u64) {
        let earned = now_ms.saturating_sub(self.at_ms).saturating_mul(u64::from(self.per_s)) / 1000;
        if earned > 0 {
            self.give(u32::try_from(earned).unwrap_or(u32::MAX));
            self.at_ms = now_ms;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_allowed_and_time_forgives() {
        let mut allowance = Allowance::new(3, 10);
        assert_eq!([1_000; 4].map(|now| allowance.take(now)), [true, true, true, false]);
        assert!(!allowance.take(1_099), "not a tenth of a second yet");
        assert!(allowance.take(1_100) && !allowance.take(1_100));
        assert_eq!(
            [60_000; 4].map(|now| allowance.take(now)),
            [true, true, true, false],
            "never more than a burst"
        );
        allowance.give(1);
        assert!(allowance.take(60_000) && !allowance.take(60_000));
    }
}
