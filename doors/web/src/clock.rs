//! The field lines every answer carries, made once a second.

use crate::file_cache::Moment;
use crate::root::Timestamp;
use ringway_http::date;
use std::time::{SystemTime, UNIX_EPOCH};

/// What the answer says about its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// It stays open, as HTTP/1.1 assumes.
    Keep,
    /// It stays open, and HTTP/1.0 must be told.
    KeepSaid,
    /// It will be closed.
    Close,
}

/// What answers say about the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServerField {
    /// Its name.
    #[default]
    Name,
    /// Its name and version.
    Version,
    /// Nothing.
    Absent,
}

impl ServerField {
    const ALL: [Self; 3] = [Self::Name, Self::Version, Self::Absent];

    const fn line(self) -> &'static [u8] {
        match self {
            Self::Name => b"Server: Ringway\r\n",
            Self::Version => concat!("Server: Ringway/", env!("CARGO_PKG_VERSION"), "\r\n").as_bytes(),
            Self::Absent => b"",
        }
    }
}

/// The wall clock as of the worker's last look, and the lines that depend on it.
#[derive(Debug)]
pub struct Clock {
    moment: Moment,
    second: i64,
    lines: [[Vec<u8>; 3]; 3],
}

impl Clock {
    /// A clock that has not been looked at.
    #[must_use]
    pub fn new() -> Self {
        let never = Timestamp { seconds: i64::MIN, nanoseconds: 0 };
        let moment = Moment { ms: u64::MAX, wall: never };
        Self { moment, second: i64::MIN, lines: Default::default() }
    }

    /// Brings the clock to the worker's time; looks at the wall at most once a millisecond.
    pub fn advance(&mut self, now_ms: u64) {
        if self.moment.ms == now_ms {
            return;
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        self.moment = Moment { ms: now_ms, wall: Timestamp { seconds, nanoseconds: since.subsec_nanos() } };
        if seconds != self.second {
            self.second = seconds;
            self.write_lines();
        }
    }

    /// The clocks.
    #[must_use]
    pub fn moment(&self) -> Moment {
        self.moment
    }

    /// Seconds since 1970.
    #[must_use]
    pub fn unix_s(&self) -> u64 {
        u64::try_from(self.moment.wall.seconds).unwrap_or(0)
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn unix_ms(&self) -> u64 {
        self.unix_s() * 1000 + u64::from(self.moment.wall.nanoseconds / 1_000_000)
    }

    /// `Date`, `Server` and, where it must be said, `Connection`.
    #[must_use]
    pub fn lines(&self, server: ServerField, persistence: Persistence) -> &[u8] {
        &self.lines[server as usize][persistence as usize]
    }

    fn write_lines(&mut self) {
        let date = date::format(self.unix_s());
        let connection: [&[u8]; 3] = [b"", b"Connection: keep-alive\r\n", b"Connection: close\r\n"];
        for (server, lines) in ServerField::ALL.into_iter().zip(&mut self.lines) {
            for (lines, connection) in lines.iter_mut().zip(connection) {
                lines.clear();
                lines.extend_from_slice(b"Date: ");
                lines.extend_from_slice(&date);
                lines.extend_from_slice(b"\r\n");
                lines.extend_from_slice(server.line());
                lines.extend_from_slice(connection);
            }
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_carry_date_and_connection() {
        let mut clock = Clock::new();
        clock.advance(5);
        let of = |server, persistence| {
            String::from_utf8(clock.lines(server, persistence).to_vec()).expect("ASCII")
        };
        let text = |persistence| of(ServerField::Name, persistence);
        assert!(text(Persistence::Keep).starts_with("Date: "));
        assert!(text(Persistence::Keep).ends_with(" GMT\r\nServer: Ringway\r\n"));
        assert!(text(Persistence::Close).ends_with("Connection: close\r\n"));
        assert!(text(Persistence::KeepSaid).ends_with("Connection: keep-alive\r\n"));
        assert!(of(ServerField::Version, Persistence::Keep).contains("\r\nServer: Ringway/"));
        assert!(of(ServerField::Absent, Persistence::Keep).ends_with(" GMT\r\n"));
        assert!(clock.unix_s() > 1_700_000_000);
    }
}
