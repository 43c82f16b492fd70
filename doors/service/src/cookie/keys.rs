//! Values that only this service can make: signed ones, which the browser may read, and sealed ones, which it may not.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fmt;

/// Least bytes of a secret.
pub const KEY_BYTES: usize = 32;

/// Most secrets that are tried: the current one and those before it.
const SECRETS_MAX: usize = 8;

/// Bytes of a signature, and of each derived key.
const DERIVED_BYTES: usize = 32;

/// Bytes of the time that a value is good until.
const TIME_BYTES: usize = 8;

/// The keys of a service's cookies. What they make is bound to the cookie's name and to a time, so a value cannot be carried
/// to another cookie, nor used for ever by who has once seen it.
pub struct CookieKeys {
    /// The current one first.
    secrets: Vec<Derived>,
}

/// Why there are no keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// A secret has fewer than [`KEY_BYTES`] bytes.
    Short,
    /// There are more than eight of them.
    Many,
    /// The library refuses; no random numbers, for one.
    Refused,
}

/// What is derived from one secret.
struct Derived {
    signing: hmac::Key,
    sealing: LessSafeKey,
}

impl CookieKeys {
    /// Keys from a secret of at least [`KEY_BYTES`] random bytes, which all processes of the service share and which outlives
    /// them.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn new(secret: &[u8]) -> Result<Self, KeyError> {
        Ok(Self { secrets: vec![Derived::new(secret)?] })
    }

    /// Keys that end with the process.
    ///
    /// # Errors
    /// [`KeyError::Refused`] without random numbers.
    pub fn random() -> Result<Self, KeyError> {
        Self::new(&random_bytes::<KEY_BYTES>()?)
    }

    /// Believes what an earlier secret has made, too; nothing new is made with it.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn and_earlier(mut self, secret: &[u8]) -> Result<Self, KeyError> {
        if self.secrets.len() >= SECRETS_MAX {
            return Err(KeyError::Many);
        }
        self.secrets.push(Derived::new(secret)?);
        Ok(self)
    }

    /// A value for cookie `name` that cannot be changed and is good until `until_s` (seconds of the Unix clock).
    #[must_use]
    pub fn sign(&self, name: &str, value: &[u8], until_s: u64) -> String {
        let payload = [&until_s.to_be_bytes(), value].concat();
        let tag = hmac::sign(&self.secrets[0].signing, &bound(name, &payload));
        URL_SAFE_NO_PAD.encode([tag.as_ref(), &payload].concat())
    }

    /// What was signed, if this is such a value of cookie `name` and it is good at `now_s`.
    #[must_use]
    pub fn verify(&self, name: &str, text: &str, now_s: u64) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (tag, payload) = bytes.split_at_checked(DERIVED_BYTES)?;
        let bound = bound(name, payload);
        let is_ours = |secret: &Derived| hmac::verify(&secret.signing, &bound, tag).is_ok();
        if !self.secrets.iter().any(is_ours) {
            return None;
        }
        in_time(payload, now_s)
    }

    /// A value for cookie `name` that can neither be read nor changed and is good until `until_s` (seconds of the Unix clock).
    /// Its length tells the length of what is in it.
    ///
    /// # Errors
    /// [`KeyError::Refused`] without random numbers.
    pub fn seal(&self, name: &str, value: &[u8], until_s: u64) -> Result<String, KeyError> {
        let nonce = random_bytes::<NONCE_LEN>()?;
        let mut payload = [&until_s.to_be_bytes(), value].concat();
        self.secrets[0]
            .sealing
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(name), &mut payload)
            .map_err(|_unspecified| KeyError::Refused)?;
        Ok(URL_SAFE_NO_PAD.encode([&nonce[..], &payload].concat()))
    }

    /// What was sealed, if this is such a value of cookie `name` and it is good at `now_s`.
    #[must_use]
    pub fn open(&self, name: &str, text: &str, now_s: u64) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_LEN>()?;
        self.secrets.iter().find_map(|secret| {
            let mut sealed = sealed.to_vec();
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let payload = secret.sealing.open_in_place(nonce, Aad::from(name), &mut sealed).ok()?;
            in_time(payload, now_s)
        })
    }
}

impl Derived {
    fn new(secret: &[u8]) -> Result<Self, KeyError> {
        if secret.len() < KEY_BYTES {
            return Err(KeyError::Short);
        }
        let derive = |purpose: &[u8]| -> Result<[u8; DERIVED_BYTES], KeyError> {
            let mut key = [0; DERIVED_BYTES];
            Salt::new(HKDF_SHA256, b"ringway cookies")
                .extract(secret)
                .expand(&[purpose], Length)
                .and_then(|material| material.fill(&mut key))
                .map_err(|_unspecified| KeyError::Refused)?;
            Ok(key)
        };
        let sealing =
            UnboundKey::new(&AES_256_GCM, &derive(b"seal")?).map_err(|_refused| KeyError::Refused)?;
        Ok(Self {
            signing: hmac::Key::new(hmac::HMAC_SHA256, &derive(b"sign")?),
            sealing: LessSafeKey::new(sealing),
        })
    }
}

/// How much is derived.
struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        DERIVED_BYTES
    }
}

/// Random bytes for keys, ids and tokens.
///
/// # Errors
/// [`KeyError::Refused`] when the machine gives none.
pub(crate) fn random_bytes<const COUNT: usize>() -> Result<[u8; COUNT], KeyError> {
    let mut bytes = [0; COUNT];
    SystemRandom::new().fill(&mut bytes).map_err(|_unspecified| KeyError::Refused)?;
    Ok(bytes)
}

/// What is signed: a name has no zero byte, so nothing else reads the same.
fn bound(name: &str, payload: &[u8]) -> Vec<u8> {
    [name.as_bytes(), &[0], payload].concat()
}

/// The value behind a time that has not passed.
fn in_time(payload: &[u8], now_s: u64) -> Option<Vec<u8>> {
    let (until_s, value) = payload.split_first_chunk::<TIME_BYTES>()?;
    (now_s < u64::from_be_bytes(*until_s)).then(|| value.to_vec())
}

impl fmt::Debug for CookieKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CookieKeys({})", self.secrets.len())
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Short => "a secret has at least 32 bytes",
            Self::Many => "at most eight secrets are tried",
            Self::Refused => "the machine gives no random numbers",
        })
    }
}

impl std::error::Error for KeyError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(byte: u8) -> CookieKeys {
        CookieKeys::new(&[byte; KEY_BYTES]).expect("long enough")
    }

    /// Every byte of `text` changed in turn.
    fn changed(text: &str) -> impl Iterator<Item = String> {
        (0..text.len()).map(|at| {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            String::from_utf8(bytes).expect("ASCII")
        })
    }

    #[test]
    fn what_was_made_is_believed_for_its_name_and_time_only() {
        let keys = keys(1);
        let signed = keys.sign("id", b"user 7", 100);
        let sealed = keys.seal("id", b"user 7", 100).expect("random numbers");
        assert!(super::super::SetCookie::new("id", &signed).encode().is_ok());
        assert_eq!(keys.verify("id", &signed, 99).as_deref(), Some(&b"user 7"[..]));
        assert_eq!(keys.open("id", &sealed, 99).as_deref(), Some(&b"user 7"[..]));
        assert_eq!((keys.verify("id", &signed, 100), keys.open("id", &sealed, 100)), (None, None));
        assert_eq!((keys.verify("di", &signed, 0), keys.open("di", &sealed, 0)), (None, None));
        assert_eq!((keys.verify("id", &sealed, 0), keys.open("id", &signed, 0)), (None, None));
        let raw = URL_SAFE_NO_PAD.decode(&sealed).expect("ours");
        assert!(!raw.windows(4).any(|bytes| bytes == b"user"), "it cannot be read");
        assert_ne!(sealed, keys.seal("id", b"user 7", 100).expect("random numbers"));
    }

    #[test]
    fn a_changed_or_cut_value_is_nobodys() {
        let keys = keys(1);
        let signed = keys.sign("id", b"user 7", 100);
        let sealed = keys.seal("id", b"user 7", 100).expect("random numbers");
        for forged in changed(&signed) {
            // The last character's spare bits must be zero, so a change of them is refused as well.
            assert_eq!(keys.verify("id", &forged, 0), None, "{forged}");
        }
        for forged in changed(&sealed) {
            assert_eq!(keys.open("id", &forged, 0), None, "{forged}");
        }
        for end in 0..signed.len() {
            assert_eq!(keys.verify("id", &signed[..end], 0), None);
        }
        for end in 0..sealed.len() {
            assert_eq!(keys.open("id", &sealed[..end], 0), None);
        }
    }

    #[test]
    fn earlier_secrets_are_believed_until_they_are_dropped() {
        let (signed, sealed) = (keys(1).sign("id", b"x", 9), keys(1).seal("id", b"x", 9).expect("random"));
        let both = keys(2).and_earlier(&[1; KEY_BYTES]).expect("room");
        assert!(both.verify("id", &signed, 0).is_some() && both.open("id", &sealed, 0).is_some());
        assert!(keys(2).verify("id", &signed, 0).is_none() && keys(2).open("id", &sealed, 0).is_none());
        assert!(keys(2).verify("id", &both.sign("id", b"x", 9), 0).is_some(), "new ones are of the new one");
        assert_eq!(CookieKeys::new(&[1; KEY_BYTES - 1]).err(), Some(KeyError::Short));
        let many = (0..SECRETS_MAX).try_fold(keys(0), |keys, _| keys.and_earlier(&[1; KEY_BYTES]));
        assert_eq!(many.err(), Some(KeyError::Many));
    }
}
