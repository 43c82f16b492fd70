//! Content codings and what `Accept-Encoding` says about them (RFC 9110 section 12.5.3).

use crate::list::elements;
use crate::octets::trim;

/// A content coding this server can send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    /// As it is.
    Identity,
    /// `br`
    Brotli,
    /// `zstd`
    Zstd,
    /// `gzip`
    Gzip,
}

const CODING_COUNT: usize = 4;

/// Elements of `Accept-Encoding` that are looked at; the rest is ignored.
pub const ELEMENTS_MAX: usize = 32;

impl Coding {
    /// The name in `Content-Encoding`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    /// What a file's name ends with when it holds another in this coding; empty for [`Coding::Identity`].
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Identity => "",
            Self::Brotli => ".br",
            Self::Zstd => ".zst",
            Self::Gzip => ".gz",
        }
    }

    fn from_name(name: &[u8]) -> Option<Self> {
        match name {
            _ if name.eq_ignore_ascii_case(b"br") => Some(Self::Brotli),
            _ if name.eq_ignore_ascii_case(b"zstd") => Some(Self::Zstd),
            // RFC 9110 section 8.4.1.3: `x-gzip` is the same coding.
            _ if name.eq_ignore_ascii_case(b"gzip") || name.eq_ignore_ascii_case(b"x-gzip") => {
                Some(Self::Gzip)
            }
            _ if name.eq_ignore_ascii_case(b"identity") => Some(Self::Identity),
            _ => None,
        }
    }
}

/// How much each coding is wanted, in thousandths; 0 is not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    weights: [u16; CODING_COUNT],
}

impl Accepted {
    /// Reads the fields as they were sent. None at all means identity; elements that make no sense are skipped.
    pub fn parse<'v>(values: impl Iterator<Item = &'v [u8]>) -> Self {
        let mut named = [None; CODING_COUNT];
        let mut others = None;
        for element in values.flat_map(elements).take(ELEMENTS_MAX) {
            let Some((name, weight)) = weighted(element) else { continue };
            if name == b"*" {
                others = Some(weight);
            } else if let Some(coding) = Coding::from_name(name) {
                named[coding as usize] = Some(weight);
            }
        }
        let mut weights = named.map(|weight| weight.or(others).unwrap_or(0));
        // Identity is acceptable unless ruled out, but any coding that was asked for is liked better.
        weights[Coding::Identity as usize] = match (named[Coding::Identity as usize], others) {
            (Some(weight), _) => weight,
            (None, Some(0)) => 0,
            (None, _) => 1,
        };
        Self { weights }
    }

    /// The weight of one coding, 0..=1000.
    pub const fn weight(&self, coding: Coding) -> u16 {
        self.weights[coding as usize]
    }

    /// The coding to send out of those that are at hand besides identity: the one wanted most, among equals the
    /// first of `at_hand`. When nothing fits it is identity, even if that was ruled out: RFC 9110 lets a server
    /// answer so rather than not at all.
    pub fn choose(&self, at_hand: &[Coding]) -> Coding {
        let mut best = Coding::Identity;
        for coding in at_hand {
            let (weight, best_weight) = (self.weight(*coding), self.weight(best));
            let is_first = best == Coding::Identity && weight == best_weight;
            if weight > 0 && (weight > best_weight || is_first) {
                best = *coding;
            }
        }
        best
    }
}

/// `name [;q=weight]`; any other parameter makes it nothing.
fn weighted(element: &[u8]) -> Option<(&[u8], u16)> {
    let mut parts = element.splitn(2, |byte| *byte == b';');
    let name = trim(parts.next()?);
    let weight = match parts.next().map(trim) {
        None => 1000,
        Some([b'q' | b'Q', b'=', number @ ..]) => thousandths(number)?,
        Some(_) => return None,
    };
    Some((name, weight))
}

/// `0` or `1` with at most three decimals, at most 1.
fn thousandths(number: &[u8]) -> Option<u16> {
    let (whole, decimals) = match number {
        [whole] => (*whole, &[][..]),
        [whole, b'.', decimals @ ..] if decimals.len() <= 3 => (*whole, decimals),
        _ => return None,
    };
    let mut value = match whole {
        b'0' => 0,
        b'1' => 1,
        _ => return None,
    };
    for at in 0..3 {
        let digit = decimals.get(at).copied().unwrap_or(b'0');
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + u16::from(digit - b'0');
    }
    (value <= 1000).then_some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Coding; 3] = [Coding::Brotli, Coding::Zstd, Coding::Gzip];

    fn accepted(values: &[&str]) -> Accepted {
        Accepted::parse(values.iter().map(|value| value.as_bytes()))
    }

    fn chosen(value: &str, at_hand: &[Coding]) -> Coding {
        accepted(&[value]).choose(at_hand)
    }

    #[test]
    fn the_most_wanted_coding_at_hand_is_chosen() {
        assert_eq!(chosen("gzip, deflate, br, zstd", &ALL), Coding::Brotli);
        assert_eq!(chosen("gzip, deflate, br, zstd", &[Coding::Gzip, Coding::Zstd]), Coding::Gzip);
        assert_eq!(chosen("gzip;q=1.0, br;q=0.9", &ALL), Coding::Gzip);
        assert_eq!(chosen("GZIP", &ALL), Coding::Gzip);
        assert_eq!(chosen("x-gzip", &ALL), Coding::Gzip);
        assert_eq!(chosen("deflate", &ALL), Coding::Identity);
        assert_eq!(chosen("br", &[Coding::Gzip]), Coding::Identity);
        assert_eq!(chosen("br", &[]), Coding::Identity);
        assert_eq!(chosen("br;q=0.001", &ALL), Coding::Brotli);
        assert_eq!(accepted(&["gzip", "br"]).choose(&ALL), Coding::Brotli);
    }

    #[test]
    fn zero_the_star_and_identity_have_their_meaning() {
        assert_eq!(chosen("", &ALL), Coding::Identity);
        assert_eq!(accepted(&[]).choose(&ALL), Coding::Identity);
        assert_eq!(chosen("br;q=0, gzip", &ALL), Coding::Gzip);
        assert_eq!(chosen("*", &ALL), Coding::Brotli);
        assert_eq!(chosen("*;q=0, gzip", &ALL), Coding::Gzip);
        assert_eq!(chosen("br;q=0, *", &ALL), Coding::Zstd);
        assert_eq!(chosen("identity, gzip;q=0.5", &ALL), Coding::Identity);
        assert_eq!(chosen("identity, gzip", &ALL), Coding::Gzip, "smaller at equal weight");
        assert_eq!(chosen("identity;q=0", &ALL), Coding::Identity, "better than nothing");
        assert_eq!(accepted(&["identity;q=0"]).weight(Coding::Identity), 0);
        assert_eq!(accepted(&["*;q=0"]).weight(Coding::Identity), 0);
        assert_eq!(accepted(&["gzip"]).weight(Coding::Identity), 1);
    }

    #[test]
    fn weights_are_read_exactly_and_bad_elements_are_nothing() {
        let weight = |text: &str| accepted(&[&format!("br{text}")]).weight(Coding::Brotli);
        for (text, expected) in [
            ("", 1000),
            (";q=1", 1000),
            ("; Q=0.5", 500),
            (" ;q=0.", 0),
            (";q=0.123", 123),
            (";q=1.000", 1000),
        ] {
            assert_eq!(weight(text), expected, "{text}");
        }
        for bad in
            [";q=2", ";q=1.001", ";q=0.1234", ";q=.5", ";q=", ";q", ";x=1", ";q=-1", ";q=0,5", ";q=0.5;x"]
        {
            assert_eq!(weight(bad), 0, "{bad}");
        }
    }

    #[test]
    fn long_lists_are_read_up_to_their_bound() {
        let many = "a,".repeat(ELEMENTS_MAX - 1);
        assert_eq!(chosen(&format!("{many}br"), &ALL), Coding::Brotli);
        assert_eq!(chosen(&format!("{many}a,br"), &ALL), Coding::Identity);
    }

    #[test]
    fn names_and_suffixes_belong_together() {
        for coding in ALL {
            assert_eq!(Coding::from_name(coding.as_str().as_bytes()), Some(coding));
            assert!(coding.suffix().starts_with('.'));
        }
        assert_eq!(Coding::Identity.suffix(), "");
    }

    proptest! {
        #[test]
        fn a_coding_is_only_sent_when_it_is_wanted(value in "[a-z0-9,;=.* -]{0,60}|(br|gzip|zstd|[*]|identity)(;q=[01](.[0-9]{1,3})?)?(, (br|gzip|[*]))?") {
            let accepted = accepted(&[&value]);
            let coding = accepted.choose(&ALL);
            prop_assert!(coding == Coding::Identity || accepted.weight(coding) > 0);
            prop_assert!(ALL.iter().all(|other| accepted.weight(*other) <= accepted.weight(coding)));
        }
    }
}
