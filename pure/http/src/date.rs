//! HTTP dates (RFC 9110 section 5.6.7) from and to Unix seconds; the time is always an argument.

use std::time::UNIX_EPOCH;

/// The last second that has an HTTP date: the end of the year 9999.
pub const SECOND_MAX: u64 = 253_402_300_799;

/// The date of a second as IMF-fixdate, `Sun, 06 Nov 1994 08:49:37 GMT`. Seconds beyond [`SECOND_MAX`] are taken
/// for it.
pub fn format(unix_s: u64) -> [u8; 29] {
    let unix_s = unix_s.min(SECOND_MAX);
    let (day, second) = (unix_s / 86_400, unix_s % 86_400);
    let (year, month, day_of_month) = civil(day.cast_signed());
    let year = year.unsigned_abs();
    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    text[..3].copy_from_slice(pick(b"ThuFriSatSunMonTueWed", day % 7));
    text[5..7].copy_from_slice(&two_digits(day_of_month.into()));
    text[8..11].copy_from_slice(pick(b"JanFebMarAprMayJunJulAugSepOctNovDec", u64::from(month) - 1));
    text[12..14].copy_from_slice(&two_digits(year / 100));
    text[14..16].copy_from_slice(&two_digits(year % 100));
    text[17..19].copy_from_slice(&two_digits(second / 3600));
    text[20..22].copy_from_slice(&two_digits(second / 60 % 60));
    text[23..25].copy_from_slice(&two_digits(second % 60));
    text
}

/// The second that a date names, in any of the three formats of RFC 9110; `None` for anything else, a wrong day of
/// the week and years before 1970 included.
pub fn parse(text: &[u8]) -> Option<u64> {
    let time = httpdate::parse_http_date(str::from_utf8(text).ok()?).ok()?;
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

/// The date of the current second, formatted once for it.
#[derive(Clone, Debug)]
pub struct DateCache {
    unix_s: u64,
    text: [u8; 29],
}

impl DateCache {
    /// A cache that holds the date of `unix_s`.
    pub fn new(unix_s: u64) -> Self {
        Self { unix_s, text: format(unix_s) }
    }

    /// The date of `unix_s`, formatted anew only when the second has changed.
    pub fn at(&mut self, unix_s: u64) -> &[u8; 29] {
        if unix_s != self.unix_s {
            *self = Self::new(unix_s);
        }
        &self.text
    }
}

/// Year, month (1 to 12) and day (1 to 31) of a day since 1970-01-01 in the proleptic Gregorian calendar, by counting from a
/// first of March, so that the leap day is the last of its year. Right for a million years around 1970.
pub const fn civil(day: i64) -> (i64, u8, u8) {
    // 719468 days lie between 0000-03-01 and 1970-01-01; an era is 400 years.
    let day = day + 719_468;
    let (era, of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day_of_month = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year + (month <= 2) as i64, small(month), small(day_of_month))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a month or a day of one")]
const fn small(value: i64) -> u8 {
    value as u8
}

/// The three-letter name of that index.
fn pick(names: &[u8], index: u64) -> &[u8] {
    let at = usize::try_from(index).unwrap_or(0) * 3;
    &names[at..at + 3]
}

#[expect(clippy::cast_possible_truncation, reason = "every part of a date that is passed is below 100")]
const fn two_digits(value: u64) -> [u8; 2] {
    [b'0' + (value / 10) as u8, b'0' + (value % 10) as u8]
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use proptest::prelude::*;

    use super::*;

    fn text(unix_s: u64) -> String {
        String::from_utf8(format(unix_s).to_vec()).unwrap()
    }

    #[test]
    fn known_seconds_have_their_dates() {
        assert_eq!(text(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(text(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(text(951_782_399), "Mon, 28 Feb 2000 23:59:59 GMT");
        assert_eq!(text(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(text(4_107_542_399), "Sun, 28 Feb 2100 23:59:59 GMT");
        assert_eq!(text(4_107_542_400), "Mon, 01 Mar 2100 00:00:00 GMT");
        assert_eq!(text(SECOND_MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(text(u64::MAX), text(SECOND_MAX));
    }

    #[test]
    fn all_three_formats_are_read() {
        for date in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            assert_eq!(parse(date.as_bytes()), Some(784_111_777), "{date}");
        }
    }

    #[test]
    fn anything_else_is_no_date() {
        let bad = [
            "",
            "0",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Wed, 31 Dec 1969 23:59:59 GMT",
            "\u{661}",
        ];
        for date in bad {
            assert_eq!(parse(date.as_bytes()), None, "{date}");
        }
        assert_eq!(parse(b"Sun, 06 Nov 1994 08:49:37 \xff"), None);
    }

    #[test]
    fn the_cache_follows_the_second_it_is_given() {
        let mut cache = DateCache::new(1);
        assert_eq!(cache.at(1), &format(1));
        assert_eq!(cache.at(2), &format(2));
        assert_eq!(cache.at(1), &format(1), "a clock may step back");
    }

    #[test]
    fn days_follow_each_other_without_gap() {
        let lengths = |year: i64| {
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        };
        // 1 January of the year 0, of the year 1600.
        for (mut year, first) in [(0, -719_528), (1600, -135_140)] {
            let (mut month, mut day) = (1_u8, 1_u8);
            for number in first..first + 300_000 {
                assert_eq!(civil(number), (year, month, day), "{number}");
                day += 1;
                if day > lengths(year)[usize::from(month - 1)] {
                    (day, month) = (1, month + 1);
                }
                if month > 12 {
                    (month, year) = (1, year + 1);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn dates_round_trip(unix_s in 0..=SECOND_MAX) {
            prop_assert_eq!(parse(&format(unix_s)), Some(unix_s));
            let theirs = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(unix_s));
            prop_assert_eq!(text(unix_s), theirs);
        }
    }
}
