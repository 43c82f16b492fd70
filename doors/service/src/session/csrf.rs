//! Tokens that a session's own forms carry and no other site knows.

use crate::cookie::{KeyError, random_bytes};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Random bytes of a session's secret.
const SECRET_BYTES: usize = 32;

/// A new secret, as it is kept in the session.
pub(super) fn secret() -> Result<String, KeyError> {
    Ok(URL_SAFE_NO_PAD.encode(random_bytes::<SECRET_BYTES>()?))
}

/// The secret as a form shows it: under a mask that is another one each time, so that a compressed page does not tell it
/// (BREACH). `None` if this is no secret.
pub(super) fn token(secret: &str) -> Result<Option<String>, KeyError> {
    let Some(secret) = decode::<SECRET_BYTES>(secret) else { return Ok(None) };
    let mask = random_bytes::<SECRET_BYTES>()?;
    Ok(Some(URL_SAFE_NO_PAD.encode([mask, mixed(secret, mask)].concat())))
}

/// Whether a token is of this secret.
pub(super) fn is_of(token: &str, secret: &str) -> bool {
    let (Some(token), Some(secret)) = (decode::<{ 2 * SECRET_BYTES }>(token), decode::<SECRET_BYTES>(secret))
    else {
        return false;
    };
    let (mut mask, mut masked) = ([0; SECRET_BYTES], [0; SECRET_BYTES]);
    mask.copy_from_slice(&token[..SECRET_BYTES]);
    masked.copy_from_slice(&token[SECRET_BYTES..]);
    verify_slices_are_equal(&mixed(masked, mask), &secret).is_ok()
}

fn decode<const COUNT: usize>(text: &str) -> Option<[u8; COUNT]> {
    let mut bytes = [0; COUNT];
    let count = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
    (count == COUNT).then_some(bytes)
}

fn mixed(bytes: [u8; SECRET_BYTES], mask: [u8; SECRET_BYTES]) -> [u8; SECRET_BYTES] {
    std::array::from_fn(|at| bytes[at] ^ mask[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_are_of_their_secret_only() {
        let (ours, theirs) = (secret().expect("random"), secret().expect("random"));
        let fresh = |secret: &str| token(secret).expect("random").expect("a secret");
        let (first, second) = (fresh(&ours), fresh(&ours));
        assert_ne!(first, second);
        assert!(is_of(&first, &ours) && is_of(&second, &ours));
        assert!(!is_of(&first, &theirs) && !is_of(&fresh(&theirs), &ours));
        for wrong in ["", "x", &first[1..], &ours, &format!("{first}A")] {
            assert!(!is_of(wrong, &ours), "{wrong:?}");
        }
        assert_eq!(token("no secret"), Ok(None));
    }
}
