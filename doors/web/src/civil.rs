//! The civil calendar in UTC: seconds since 1970 as year, month, day and time of day, and the texts made of them.

use ringway_http::date::civil;

/// The English month names of the common log format, January first.
const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

const SECONDS_PER_DAY: i64 = 86_400;

/// Seconds of 0000-01-01 and of 9999-12-31T23:59:59 in Unix time: what four digits of year can show. Times outside are
/// shown as the nearer end (a file's mtime can be anything).
const UNIX_SECONDS: std::ops::RangeInclusive<i64> = -62_167_219_200..=253_402_300_799;

/// Length of [`Civil::iso`]'s text in bytes.
pub const ISO_LEN: usize = 20;
/// Length of [`Civil::clf`]'s text in bytes.
pub const CLF_LEN: usize = 26;

/// A moment in UTC to the second, in the proleptic Gregorian calendar, years 0 to 9999.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Civil {
    year: u16,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
}

impl Civil {
    /// The moment `unix_seconds` after 1970-01-01T00:00:00Z, held within the years 0 to 9999.
    #[must_use]
    pub fn from_unix(unix_seconds: i64) -> Self {
        let seconds = unix_seconds.clamp(*UNIX_SECONDS.start(), *UNIX_SECONDS.end());
        let of_day = seconds.rem_euclid(SECONDS_PER_DAY);
        let days = seconds.div_euclid(SECONDS_PER_DAY);
        let (year, month, day) = civil(days);
        let year = u16::try_from(year).unwrap_or(0);
        let (minutes, second) = (of_day / 60, of_day % 60);
        Self {
            year,
            month,
            day,
            hour: small(minutes / 60),
            minute: small(minutes % 60),
            second: small(second),
        }
    }

    /// `2025-11-21T13:14:15Z` (RFC 3339).
    #[must_use]
    pub fn iso(&self) -> [u8; ISO_LEN] {
        let mut text = *b"0000-00-00T00:00:00Z";
        self.put_year(&mut text[0..4]);
        put_two(&mut text[5..7], self.month);
        put_two(&mut text[8..10], self.day);
        self.put_time(&mut text[11..19]);
        text
    }

    /// `21/Nov/2025:13:14:15 +0000`, as common log format has it between its brackets.
    #[must_use]
    pub fn clf(&self) -> [u8; CLF_LEN] {
        let mut text = *b"00/Jan/0000:00:00:00 +0000";
        put_two(&mut text[0..2], self.day);
        text[3..6].copy_from_slice(MONTHS[usize::from(self.month - 1)]);
        self.put_year(&mut text[7..11]);
        self.put_time(&mut text[12..20]);
        text
    }

    fn put_year(&self, into: &mut [u8]) {
        put_two(&mut into[0..2], small(i64::from(self.year / 100)));
        put_two(&mut into[2..4], small(i64::from(self.year % 100)));
    }

    fn put_time(&self, into: &mut [u8]) {
        put_two(&mut into[0..2], self.hour);
        put_two(&mut into[3..5], self.minute);
        put_two(&mut into[6..8], self.second);
    }
}

/// A number known to be under 100.
fn small(number: i64) -> u8 {
    debug_assert!((0..100).contains(&number));
    u8::try_from(number).unwrap_or(0)
}

fn put_two(into: &mut [u8], number: u8) {
    into[0] = b'0' + number / 10;
    into[1] = b'0' + number % 10;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn iso(unix: i64) -> String {
        String::from_utf8(Civil::from_unix(unix).iso().to_vec()).unwrap()
    }

    #[test]
    fn known_moments() {
        for (unix, wanted) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (1_763_730_855, "2025-11-21T13:14:15Z"),
            (i64::MAX, "9999-12-31T23:59:59Z"),
            (i64::MIN, "0000-01-01T00:00:00Z"),
        ] {
            assert_eq!(iso(unix), wanted, "{unix}");
        }
        assert_eq!(&Civil::from_unix(1_763_730_855).clf(), b"21/Nov/2025:13:14:15 +0000");
    }
}
