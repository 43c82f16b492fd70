//! Amounts with units: spans of time, sizes, rates.

use super::written_as_text;
use std::fmt;
use std::str::FromStr;

/// A span of time, in whole milliseconds; `off` is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(u64);

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

/// Bits a second; `off` is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(u64);

/// Requests in a stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestRate {
    /// How many.
    pub requests: u32,
    /// In how many seconds: 1, 60 or 3600.
    pub seconds: u32,
}

const SPAN_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1000),
    ("B", 1),
];

const RATE_UNITS: [(&str, u64); 10] = [
    ("Gbit/s", 1_000_000_000),
    ("Mbit/s", 1_000_000),
    ("kbit/s", 1000),
    ("GiB/s", 8 << 30),
    ("MiB/s", 8 << 20),
    ("KiB/s", 8 << 10),
    ("GB/s", 8_000_000_000),
    ("MB/s", 8_000_000),
    ("kB/s", 8000),
    ("bit/s", 1),
];

const RATE_PERIODS: [(&str, u32); 3] = [("s", 1), ("m", 60), ("h", 3600)];

impl Span {
    /// So many milliseconds.
    #[must_use]
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// So many seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds * 1000)
    }

    /// Milliseconds; 0: off.
    #[must_use]
    pub const fn ms(self) -> u64 {
        self.0
    }
}

impl Size {
    /// So many bytes.
    #[must_use]
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// So many KiB.
    #[must_use]
    pub const fn from_kib(kib: u64) -> Self {
        Self(kib * 1024)
    }

    /// Bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl Rate {
    /// No limit.
    pub const OFF: Self = Self(0);

    /// Bits a second.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Bytes a second.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0 / 8
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(0));
        }
        let mut total = 0_u64;
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let letters = rest[digits..].len()
                - rest[digits..].trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
            let (number, unit) = (&rest[..digits], &rest[digits..digits + letters]);
            rest = &rest[digits + letters..];
            let factor = SPAN_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
            let part = number
                .parse::<u64>()
                .ok()
                .zip(factor)
                .and_then(|(number, factor)| number.checked_mul(factor));
            let sum = part.and_then(|part| total.checked_add(part));
            total = sum.ok_or_else(|| no_span(text))?;
        }
        if text.is_empty() { Err(no_span(text)) } else { Ok(Self(total)) }
    }
}

fn no_span(text: &str) -> String {
    format!(
        "{text:?} is no span of time; write a number and a unit (ms, s, m, h, d), such as \"30s\", \"1h30m\", or \"off\""
    )
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("off");
        }
        let mut rest = self.0;
        for (unit, factor) in SPAN_UNITS {
            if rest >= factor {
                write!(f, "{}{unit}", rest / factor)?;
                rest %= factor;
            }
        }
        Ok(())
    }
}

/// A whole number and one of `units`, with or without a space between.
fn number_and_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number: u64 = text[..digits].parse().ok()?;
    let unit = text[digits..].strip_prefix(' ').unwrap_or(&text[digits..]);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*factor)
}

/// The largest unit of which `amount` is a whole number.
fn write_amount(f: &mut fmt::Formatter<'_>, amount: u64, units: &[(&str, u64)]) -> fmt::Result {
    let fits = |factor: u64| amount >= factor && amount.is_multiple_of(factor);
    match units.iter().find(|(_, factor)| fits(*factor)).or(units.last()) {
        Some((unit, factor)) => write!(f, "{} {unit}", amount / factor),
        None => write!(f, "{amount}"),
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        number_and_unit(text, &SIZE_UNITS).map(Self).ok_or_else(|| {
            format!("{text:?} is no size; write a whole number and a unit (B, kB, KiB, MB, MiB, GB, GiB), such as \"16 KiB\"")
        })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_amount(f, self.0, &SIZE_UNITS)
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::OFF);
        }
        number_and_unit(text, &RATE_UNITS).map(Self).ok_or_else(|| {
            format!(
                "{text:?} is no rate; write a whole number and a unit (kbit/s, Mbit/s, Gbit/s, kB/s, KiB/s, MB/s, MiB/s), \
                 such as \"100 Mbit/s\""
            )
        })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::OFF { f.write_str("off") } else { write_amount(f, self.0, &RATE_UNITS) }
    }
}

impl FromStr for RequestRate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (number, period) = text.split_once('/')?;
            let requests = number.trim_end().parse::<u32>().ok().filter(|number| *number > 0)?;
            let (_, seconds) = RATE_PERIODS.iter().find(|(name, _)| *name == period)?;
            Some(Self { requests, seconds: *seconds })
        };
        read().ok_or_else(|| {
            format!("{text:?} is no rate of requests; write a whole number per s, m or h, such as \"10/s\"")
        })
    }
}

impl fmt::Display for RequestRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let period =
            RATE_PERIODS.iter().find(|(_, seconds)| *seconds == self.seconds).map_or("s", |(name, _)| name);
        write!(f, "{}/{period}", self.requests)
    }
}

written_as_text!(
    Span,
    "span",
    "A span of time: numbers with units `ms`, `s`, `m`, `h`, `d`, or `off`.",
    ["30s", "1h30m", "off"]
);
written_as_text!(
    Size,
    "size",
    "A number of bytes with its unit: `B`, `kB`, `KiB`, `MB`, `MiB`, `GB`, `GiB`, `TB`, `TiB`.",
    ["16 KiB", "1 MB"]
);
written_as_text!(
    Rate,
    "rate",
    "A bandwidth with its unit: `bit/s`, `kbit/s`, `Mbit/s`, `Gbit/s`, `kB/s`, `KiB/s`, `MB/s`, `MiB/s`, `GB/s`, `GiB/s`.",
    ["100 Mbit/s", "2 MiB/s"]
);
written_as_text!(RequestRate, "request-rate", "Requests per second, minute or hour.", ["10/s", "600/m"]);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn same<T: FromStr<Err = String> + fmt::Display>(text: &str, canonical: &str) {
        let read: T = text.parse().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(read.to_string(), canonical);
        let again: T = canonical.parse().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(again.to_string(), canonical);
    }

    #[test]
    fn amounts_are_read_and_written() {
        same::<Span>("90s", "1m30s");
        same::<Span>("1h30m", "1h30m");
        same::<Span>("off", "off");
        same::<Span>("0s", "off");
        same::<Span>("1500ms", "1s500ms");
        same::<Size>("16KiB", "16 KiB");
        same::<Size>("1024 B", "1 KiB");
        same::<Size>("1500 B", "1500 B");
        same::<Size>("0 B", "0 B");
        same::<Size>("2 MB", "2 MB");
        same::<Rate>("100 Mbit/s", "100 Mbit/s");
        same::<Rate>("1 MB/s", "8 Mbit/s");
        same::<Rate>("off", "off");
        same::<RequestRate>("600/m", "600/m");
        assert_eq!("1 KiB/s".parse::<Rate>().map(Rate::bytes), Ok(1024));
    }

    #[test]
    fn amounts_without_sense_are_refused() {
        for text in ["", "30", "s", "-1s", "1.5s", "1 s", "30sec", "99999999999999d", "1h30", "é"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        for text in ["", "16", "16 kb", "KiB", "1.5 MiB", "-1 B", "16  KiB", "99999999999 TiB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
        for text in ["", "100", "100 Mbps", "1 Mbit", "1 mbit/s"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
        for text in ["", "0/s", "10", "10/d", "/s", "x/s"] {
            assert!(text.parse::<RequestRate>().is_err(), "{text}");
        }
    }
}
