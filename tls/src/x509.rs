//! What a certificate says of itself (RFC 5280): subject, names, time of validity. Nothing here decides about trust.

use std::fmt;
use std::net::IpAddr;

/// Tags of DER.
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT: u8 = 0x06;
const OCTETS: u8 = 0x04;
const BOOLEAN: u8 = 0x01;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const TELETEX_STRING: u8 = 0x14;
const IA5_STRING: u8 = 0x16;
const BMP_STRING: u8 = 0x1e;
/// `[0]`, constructed: the version.
const VERSION: u8 = 0xa0;
/// `[3]`, constructed: the extensions.
const EXTENSIONS: u8 = 0xa3;
/// `[2]` and `[7]` of a general name: a domain name, an address.
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

/// The extension of alternative names, 2.5.29.17.
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];

/// Attributes of names with the short names of RFC 4514 section 3 and RFC 4519.
const ATTRIBUTES: &[(&[u8], &str)] = &[
    (&[0x55, 0x04, 0x03], "CN"),
    (&[0x55, 0x04, 0x05], "serialNumber"),
    (&[0x55, 0x04, 0x06], "C"),
    (&[0x55, 0x04, 0x07], "L"),
    (&[0x55, 0x04, 0x08], "ST"),
    (&[0x55, 0x04, 0x09], "street"),
    (&[0x55, 0x04, 0x0a], "O"),
    (&[0x55, 0x04, 0x0b], "OU"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x01], "UID"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19], "DC"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x01], "emailAddress"),
];

/// What a certificate says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The subject in the notation of RFC 4514.
    pub(crate) subject: String,
    /// The first and the last second of its validity, since 1970.
    pub(crate) valid_from: i64,
    pub(crate) valid_to: i64,
    /// Names and addresses it is for, in lower case.
    pub(crate) names: Vec<String>,
    pub(crate) addresses: Vec<IpAddr>,
}

/// A certificate that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl Facts {
    /// Reads a certificate in DER.
    pub(crate) fn read(certificate: &[u8]) -> Result<Self, Malformed> {
        let mut outer = Der(Der(certificate).expect(SEQUENCE)?);
        let mut body = Der(outer.expect(SEQUENCE)?);
        if body.peek() == Some(VERSION) {
            body.take()?;
        }
        // Serial number, signature algorithm, issuer.
        body.take()?;
        body.expect(SEQUENCE)?;
        body.expect(SEQUENCE)?;
        let mut validity = Der(body.expect(SEQUENCE)?);
        let (valid_from, valid_to) = (time(validity.take()?)?, time(validity.take()?)?);
        let subject = subject(Der(body.expect(SEQUENCE)?))?;
        // The key.
        body.expect(SEQUENCE)?;
        let mut facts = Self { subject, valid_from, valid_to, ..Self::default() };
        while let Some(kind) = body.peek() {
            let (_, contents) = body.take()?;
            if kind == EXTENSIONS {
                facts.read_extensions(Der(Der(contents).expect(SEQUENCE)?))?;
            }
        }
        Ok(facts)
    }

    fn read_extensions(&mut self, mut extensions: Der<'_>) -> Result<(), Malformed> {
        while extensions.peek().is_some() {
            let mut extension = Der(extensions.expect(SEQUENCE)?);
            let object = extension.expect(OBJECT)?;
            if extension.peek() == Some(BOOLEAN) {
                extension.take()?;
            }
            let value = extension.expect(OCTETS)?;
            if object == ALTERNATIVE_NAMES {
                self.read_names(Der(Der(value).expect(SEQUENCE)?))?;
            }
        }
        Ok(())
    }

    fn read_names(&mut self, mut names: Der<'_>) -> Result<(), Malformed> {
        while names.peek().is_some() {
            match names.take()? {
                (DNS_NAME, name) => self.names.push(String::from_utf8_lossy(name).to_ascii_lowercase()),
                (IP_ADDRESS, bytes) => {
                    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
                    let v6 = <[u8; 16]>::try_from(bytes).map(IpAddr::from);
                    self.addresses.push(v4.or(v6).map_err(|_length| Malformed)?);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether the certificate is for a name or an address; a wildcard stands for one label (RFC 6125 section 6.4.3).
    pub(crate) fn covers(&self, name: &str) -> bool {
        if let Ok(address) = name.parse::<IpAddr>() {
            return self.addresses.contains(&address);
        }
        let name = name.to_ascii_lowercase();
        let parent = name.split_once('.').map(|(_, parent)| parent);
        self.names
            .iter()
            .any(|own| own == &name || own.strip_prefix("*.").is_some_and(|own| Some(own) == parent))
    }
}

/// A time as people write it, in UTC.
pub(crate) struct Moment(pub(crate) i64);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, second) = (self.0.div_euclid(86_400), self.0.rem_euclid(86_400));
        // From days to a date, with years that begin in March: Howard Hinnant's `civil_from_days`.
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let (hour, minute) = (second / 3_600, second / 60 % 60);
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
    }
}

/// Elements of DER, one after the other.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next element's tag and contents.
    fn take(&mut self) -> Result<(u8, &'a [u8]), Malformed> {
        let (&[tag, first], rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f)).ok_or(Malformed)?;
                (bytes.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)), rest)
            }
            _ => return Err(Malformed),
        };
        let (contents, rest) = rest.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok((tag, contents))
    }

    fn expect(&mut self, wanted: u8) -> Result<&'a [u8], Malformed> {
        let (tag, contents) = self.take()?;
        if tag == wanted { Ok(contents) } else { Err(Malformed) }
    }
}

/// Seconds since 1970 (RFC 5280 section 4.1.2.5: whole seconds, UTC).
fn time((tag, text): (u8, &[u8])) -> Result<i64, Malformed> {
    let text = text.strip_suffix(b"Z").ok_or(Malformed)?;
    let number = |at: usize, digits: usize| {
        let part = text.get(at..at + digits).ok_or(Malformed)?;
        let digit = |number: i64, byte: &u8| match byte {
            b'0'..=b'9' => Ok(number * 10 + i64::from(byte - b'0')),
            _ => Err(Malformed),
        };
        part.iter().try_fold(0, digit)
    };
    let (year, rest) = match (tag, text.len()) {
        (UTC_TIME, 12) => {
            let year = number(0, 2)?;
            (if year < 50 { 2_000 + year } else { 1_900 + year }, 2)
        }
        (GENERALIZED_TIME, 14) => (number(0, 4)?, 4),
        _ => return Err(Malformed),
    };
    let (month, day) = (number(rest, 2)?, number(rest + 2, 2)?);
    let (hour, minute, second) = (number(rest + 4, 2)?, number(rest + 6, 2)?, number(rest + 8, 2)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return Err(Malformed);
    }
    // Howard Hinnant's `days_from_civil`.
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let days =
        era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
    Ok(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// A name in the notation of RFC 4514: the last part first.
fn subject(mut parts: Der<'_>) -> Result<String, Malformed> {
    let mut written = Vec::new();
    while parts.peek().is_some() {
        let mut attributes = Der(parts.expect(SET)?);
        let mut together = Vec::new();
        while attributes.peek().is_some() {
            let mut attribute = Der(attributes.expect(SEQUENCE)?);
            let object = attribute.expect(OBJECT)?;
            let (tag, value) = attribute.take()?;
            let name = ATTRIBUTES.iter().find(|(known, _)| *known == object);
            let name = name.map_or_else(|| dotted(object), |(_, name)| (*name).to_owned());
            together.push(format!("{name}={}", value_text(tag, value)));
        }
        written.push(together.join("+"));
    }
    written.reverse();
    Ok(written.join(","))
}

fn value_text(tag: u8, value: &[u8]) -> String {
    match tag {
        UTF8_STRING | PRINTABLE_STRING | IA5_STRING | TELETEX_STRING => {
            escaped(&String::from_utf8_lossy(value))
        }
        BMP_STRING => {
            let units = value.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            escaped(&char::decode_utf16(units).map(|found| found.unwrap_or('\u{fffd}')).collect::<String>())
        }
        _ => value.iter().fold("#".to_owned(), |text, byte| text + &format!("{byte:02x}")),
    }
}

/// RFC 4514 section 2.4; control characters too, because the text goes to logs and to programs behind.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    let last = text.chars().count().saturating_sub(1);
    for (place, character) in text.chars().enumerate() {
        let is_at_edge = character == ' ' && (place == 0 || place == last) || character == '#' && place == 0;
        match character {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => escaped.extend(['\\', character]),
            _ if is_at_edge => escaped.extend(['\\', character]),
            _ if character.is_control() => {
                let mut bytes = [0; 4];
                for byte in character.encode_utf8(&mut bytes).bytes() {
                    escaped += &format!("\\{byte:02x}");
                }
            }
            _ => escaped.push(character),
        }
    }
    escaped
}

fn dotted(object: &[u8]) -> String {
    let mut numbers = Vec::new();
    let mut number = 0_u64;
    for &byte in object {
        number = number.wrapping_shl(7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            numbers.push(number);
            number = 0;
        }
    }
    // The first two numbers are in one.
    let (first, second) =
        numbers.first().map_or((0, 0), |&both| (both.min(80) / 40, both - both.min(80) / 40 * 40));
    let rest = numbers.iter().skip(1);
    [first, second].iter().chain(rest).map(ToString::to_string).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    fn certificate() -> Vec<u8> {
        let names = vec![
            "Example.org".to_owned(),
            "*.example.net".to_owned(),
            "192.0.2.7".to_owned(),
            "::1".to_owned(),
        ];
        let mut params = CertificateParams::new(names).expect("good names");
        params.not_before = rcgen::date_time_ymd(1999, 12, 31);
        params.not_after = rcgen::date_time_ymd(2051, 2, 28);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Ex, \"ample\"");
        params.distinguished_name.push(DnType::CommonName, "#alice\u{1}");
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("a certificate").der().to_vec()
    }

    #[test]
    fn a_certificate_is_read() {
        let facts = Facts::read(&certificate()).expect("ours");
        assert_eq!(facts.subject, "CN=\\#alice\\01,O=Ex\\, \\\"ample\\\"");
        assert_eq!(facts.names, ["example.org", "*.example.net"]);
        assert_eq!(
            facts.addresses,
            ["192.0.2.7".parse::<IpAddr>().expect("one"), "::1".parse().expect("one")]
        );
        assert_eq!(Moment(facts.valid_from).to_string(), "1999-12-31 00:00 UTC");
        assert_eq!(Moment(facts.valid_to).to_string(), "2051-02-28 00:00 UTC");
    }

    #[test]
    fn names_are_covered_exactly_or_by_one_label() {
        let facts = Facts::read(&certificate()).expect("ours");
        for name in ["example.org", "EXAMPLE.org", "a.example.net", "192.0.2.7", "::1"] {
            assert!(facts.covers(name), "{name}");
        }
        for name in ["www.example.org", "example.net", "a.b.example.net", "192.0.2.8", "", "net"] {
            assert!(!facts.covers(name), "{name}");
        }
    }

    #[test]
    fn a_certificate_that_is_cut_or_damaged_does_no_harm() {
        let whole = certificate();
        for length in 0..whole.len() {
            assert_eq!(Facts::read(&whole[..length]), Err(Malformed), "{length}");
        }
        for place in 0..whole.len() {
            for value in [0, 0x7f, 0x80, 0x84, 0xff] {
                let mut damaged = whole.clone();
                damaged[place] = value;
                let _anything_but_a_panic = Facts::read(&damaged);
            }
        }
    }

    #[test]
    fn moments_are_dates() {
        for (second, text) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_399, "2000-02-28 23:59 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (-1, "1969-12-31 23:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00 UTC"),
        ] {
            assert_eq!(Moment(second).to_string(), text);
        }
        assert_eq!(time((GENERALIZED_TIME, b"21000301000000Z")), Ok(4_107_542_400));
        assert_eq!(time((UTC_TIME, b"000229000000Z")), Ok(951_782_400));
        assert_eq!(time((UTC_TIME, b"000229000000")), Err(Malformed));
    }

    #[test]
    fn objects_are_dotted() {
        assert_eq!(dotted(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d]), "1.2.840.113549");
        assert_eq!(dotted(&[0x88, 0x37, 0x03]), "2.999.3");
    }
}
