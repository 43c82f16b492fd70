//! Passwords as they are kept: hashes by argon2id (RFC 9106), and by bcrypt for users who come from elsewhere.

use argon2::password_hash::phc;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use std::fmt;

/// Longest password that is looked at, in bytes; longer ones are wrong.
pub const PASSWORD_LEN_MAX: usize = 1024;

/// Most memory that verifying one hash may take, in KiB. Hashes made by `ringway passwd` take 19 MiB.
pub const MEMORY_KIB_MAX: u32 = 256 * 1024;

/// Most passes over that memory.
const PASSES_MAX: u32 = 32;

/// Most lanes.
const LANES_MAX: u32 = 16;

/// Highest cost of bcrypt: a step more is twice the time.
const BCRYPT_COST_MAX: u32 = 16;

/// A password's hash.
#[derive(Clone, PartialEq, Eq)]
pub enum PasswordHash {
    /// By argon2id, argon2i or argon2d.
    Argon2(Box<phc::PasswordHash>),
    /// By bcrypt, as text.
    Bcrypt(Box<str>),
}

impl PasswordHash {
    /// Reads a hash: a PHC string (`$argon2id$v=19$m=...`), or one of bcrypt (`$2b$`, `$2y$`, `$2a$`).
    ///
    /// # Errors
    /// Why it is none, or none that this server would verify.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.starts_with("$argon2") {
            let hash = phc::PasswordHash::new(text).map_err(|_invalid| "this hash of argon2 is damaged")?;
            if hash.salt.is_none() || hash.hash.is_none() {
                return Err("this hash of argon2 lacks its salt or its end");
            }
            let params = argon2::Params::try_from(&hash)
                .map_err(|_invalid| "this hash of argon2 has parameters that make no sense")?;
            let is_too_dear = params.m_cost() > MEMORY_KIB_MAX
                || params.t_cost() > PASSES_MAX
                || params.p_cost() > LANES_MAX;
            if is_too_dear {
                return Err("this hash of argon2 takes more than 256 MiB, 32 passes or 16 lanes to verify");
            }
            return Ok(Self::Argon2(Box::new(hash)));
        }
        if ["$2a$", "$2b$", "$2y$"].iter().any(|start| text.starts_with(start)) {
            let parts: bcrypt::HashParts =
                text.parse().map_err(|_invalid| "this hash of bcrypt is damaged")?;
            return match parts.get_cost() {
                4..=BCRYPT_COST_MAX => Ok(Self::Bcrypt(text.into())),
                _ => Err("this hash of bcrypt has a cost below 4 or above 16"),
            };
        }
        Err("this is no hash of argon2 or bcrypt; `ringway passwd` makes one")
    }

    /// A new hash of `password` by argon2id with a random salt, as text. Takes tens of milliseconds.
    ///
    /// # Errors
    /// When the system has no random bits or no memory, as a sentence.
    pub fn create(password: &[u8]) -> Result<String, String> {
        let hashed = Argon2::default().hash_password(password);
        hashed.map(|hash| hash.to_string()).map_err(|error| format!("the password cannot be hashed: {error}"))
    }

    /// Whether `password` is the one that was hashed. Takes tens of milliseconds, and as long when it is not.
    #[must_use]
    pub fn verify(&self, password: &[u8]) -> bool {
        if password.len() > PASSWORD_LEN_MAX {
            return false;
        }
        match self {
            Self::Argon2(hash) => Argon2::default().verify_password(password, &**hash).is_ok(),
            Self::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
        }
    }

    /// What decides how long verifying takes; the same for hashes that take the same time.
    pub(crate) fn effort(&self) -> String {
        match self {
            Self::Argon2(hash) => format!("{} {}", hash.algorithm, hash.params),
            // The version and the cost.
            Self::Bcrypt(hash) => hash.split('$').take(3).collect::<Vec<_>>().join("$"),
        }
    }
}

impl fmt::Debug for PasswordHash {
    /// Without the hash: it has no business in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PasswordHash({})", self.effort())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hash that takes little time, for tests.
    pub(crate) fn quick(password: &str) -> String {
        let params = argon2::Params::new(64, 1, 1, None).unwrap();
        Argon2::from(params).hash_password(password.as_bytes()).unwrap().to_string()
    }

    #[test]
    fn hashes_of_others_are_verified() {
        // From the reference implementation's tests (argon2id, version 0x13).
        let argon2id = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        // From the crypt_blowfish package's tests.
        let bcrypt = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
        for (hash, password) in [(argon2id, "password"), (bcrypt, "U*U")] {
            let hash = PasswordHash::parse(hash).unwrap();
            assert!(hash.verify(password.as_bytes()), "{hash:?}");
            for wrong in ["", "Password", "password ", "U*U*"] {
                assert!(!hash.verify(wrong.as_bytes()), "{hash:?} {wrong}");
            }
            assert!(!hash.verify(&[b'x'; PASSWORD_LEN_MAX + 1]));
        }
    }

    #[test]
    fn a_new_hash_is_its_password_s_and_never_the_same() {
        let one = quick("gr\u{fc}n");
        assert_ne!(one, quick("gr\u{fc}n"));
        let hash = PasswordHash::parse(&one).unwrap();
        assert!(hash.verify("gr\u{fc}n".as_bytes()) && !hash.verify(b"grun"));
        let made = PasswordHash::create(b"x").unwrap();
        assert!(made.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{made}");
        assert!(PasswordHash::parse(&made).unwrap().verify(b"x"));
    }

    #[test]
    fn what_is_no_hash_or_too_dear_is_refused_with_a_reason() {
        for (text, reason) in [
            ("secret", "ringway passwd"),
            ("", "ringway passwd"),
            ("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "ringway passwd"),
            ("$apr1$x$y", "ringway passwd"),
            ("$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "ringway passwd"),
            ("$2b$05$CCCC", "damaged"),
            ("$2b$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "cost"),
            ("$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ", "lacks"),
            (
                "$argon2id$v=19$m=9999999,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
                "256 MiB",
            ),
            ("$argon2id$v=19$m=256$!", "damaged"),
        ] {
            let error = PasswordHash::parse(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn nobody_reads_a_hash_in_a_log() {
        let text = quick("x");
        let shown = format!("{:?}", PasswordHash::parse(&text).unwrap());
        assert_eq!(shown, "PasswordHash(argon2id m=64,t=1,p=1)");
    }
}
