//! Client certificates as proof: whose, of those that TLS has verified, are good for a site.

use crate::auth::tokens::from_hex;
use ringway_engine::ClientCertificate;
use std::collections::HashSet;

/// Which certificates are good.
#[derive(Clone, Debug, Default)]
pub struct Certificates {
    any: bool,
    subjects: HashSet<Box<str>>,
    fingerprints: HashSet<[u8; 32]>,
}

impl Certificates {
    /// Every certificate that the endpoint's authorities have signed.
    #[must_use]
    pub fn any() -> Self {
        Self { any: true, ..Self::default() }
    }

    /// Those with one of these subjects (RFC 4514, such as `CN=alice,O=Example`, letter for letter) or one of these
    /// fingerprints.
    ///
    /// # Errors
    /// The fingerprint that is no SHA-256 in 64 hexadecimal digits (with or without colons).
    pub fn these<S: AsRef<str>>(subjects: &[S], fingerprints: &[S]) -> Result<Self, String> {
        let read = |text: &S| {
            let digits = text.as_ref().replace(':', "");
            from_hex(&digits).ok_or_else(|| {
                format!("{:?} is no fingerprint: a SHA-256 has 64 hexadecimal digits", text.as_ref())
            })
        };
        Ok(Self {
            any: false,
            subjects: subjects.iter().map(|subject| subject.as_ref().into()).collect(),
            fingerprints: fingerprints.iter().map(read).collect::<Result<_, _>>()?,
        })
    }

    /// Whether this one is good.
    #[must_use]
    pub fn allow(&self, certificate: &ClientCertificate) -> bool {
        self.any
            || self.fingerprints.contains(&certificate.fingerprint)
            || self.subjects.contains(&certificate.subject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(subject: &str, first: u8) -> ClientCertificate {
        let mut fingerprint = [0xab; 32];
        fingerprint[0] = first;
        ClientCertificate { subject: subject.into(), fingerprint }
    }

    #[test]
    fn subjects_and_fingerprints_are_good_by_themselves() {
        let fingerprint = format!("01:{}", vec!["AB"; 31].join(":"));
        let some = Certificates::these(&["CN=alice,O=Example"], &[&fingerprint]).unwrap();
        assert!(some.allow(&certificate("CN=alice,O=Example", 9)));
        assert!(some.allow(&certificate("CN=bob", 1)));
        for subject in
            ["CN=alice", "cn=alice,o=example", "CN=alice,O=Example,C=DE", "CN=x\\,CN=alice,O=Example"]
        {
            assert!(!some.allow(&certificate(subject, 9)), "{subject}");
        }
        assert!(Certificates::any().allow(&certificate("", 0)));
        assert!(!Certificates::default().allow(&certificate("", 0)));
        assert!(Certificates::these(&[], &["ab:cd"]).unwrap_err().contains("64 hexadecimal digits"));
    }
}
