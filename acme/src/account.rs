//! The account's key, and what is signed with it (RFC 7515, RFC 7638, RFC 8555 section 6.2).

use crate::failure::Failure;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::fmt;

/// Bytes of a coordinate of P-256.
const COORDINATE: usize = 32;

/// An account's key: ECDSA with P-256 and SHA-256.
pub(crate) struct AccountKey {
    pair: EcdsaKeyPair,
    pkcs8: Vec<u8>,
}

impl AccountKey {
    /// A new key.
    ///
    /// # Errors
    /// When there is no randomness.
    pub(crate) fn generate() -> Result<Self, Failure> {
        let unspecified = |_unspecified| Failure::Here("no key can be made for the account".to_owned());
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        Self::from_pkcs8(document.map_err(unspecified)?.as_ref())
    }

    /// The key that was kept.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, Failure> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8);
        let pair =
            pair.map_err(|rejected| Failure::Here(format!("the account's key is none: {rejected}")))?;
        Ok(Self { pair, pkcs8: pkcs8.to_vec() })
    }

    /// To be kept.
    pub(crate) fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The public key as the protocol names it.
    fn jwk(&self) -> Value {
        // Uncompressed: 4, then both coordinates.
        let point = self.pair.public_key().as_ref();
        let (x, y) = (&point[1..=COORDINATE], &point[1 + COORDINATE..]);
        json!({"crv": "P-256", "kty": "EC", "x": encode(x), "y": encode(y)})
    }

    /// The key's name (RFC 7638).
    pub(crate) fn thumbprint(&self) -> String {
        // The members are in the order of their names already, without blanks.
        encode(digest(&SHA256, self.jwk().to_string().as_bytes()).as_ref())
    }

    /// What is shown to prove a name: the token and the account's key (RFC 8555 section 8.1).
    pub(crate) fn authorization(&self, token: &str) -> String {
        format!("{token}.{}", self.thumbprint())
    }

    /// A signed request. `payload` is `None` for asking without saying anything. `account` is its URL once it has one.
    ///
    /// # Errors
    /// When there is no randomness.
    pub(crate) fn sign(
        &self,
        account: Option<&str>,
        nonce: &str,
        url: &str,
        payload: Option<&Value>,
    ) -> Result<String, Failure> {
        let mut header = json!({"alg": "ES256", "nonce": nonce, "url": url});
        match account {
            Some(account) => header["kid"] = account.into(),
            None => header["jwk"] = self.jwk(),
        }
        let protected = encode(header.to_string().as_bytes());
        let payload = payload.map_or_else(String::new, |payload| encode(payload.to_string().as_bytes()));
        let signed = format!("{protected}.{payload}");
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes());
        let signature =
            signature.map_err(|_unspecified| Failure::Here("nothing can be signed".to_owned()))?;
        let flat =
            json!({"protected": protected, "payload": payload, "signature": encode(signature.as_ref())});
        Ok(flat.to_string())
    }
}

impl fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccountKey")
    }
}

/// Bytes as the protocol writes them.
pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The SHA-256 of a key authorization, for proofs over TLS.
pub(crate) fn proof(authorization: &str) -> [u8; 32] {
    let mut proof = [0; 32];
    proof.copy_from_slice(digest(&SHA256, authorization.as_bytes()).as_ref());
    proof
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    fn decoded(value: &Value) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(value.as_str().expect("text")).expect("base64")
    }

    #[test]
    fn requests_are_signed_so_that_others_can_tell() {
        let key = AccountKey::generate().expect("a key");
        let text = key.sign(None, "n1", "https://ca/x", Some(&json!({"a": 1}))).expect("signed");
        let flat: Value = serde_json::from_str(&text).expect("JSON");
        let header: Value = serde_json::from_slice(&decoded(&flat["protected"])).expect("JSON");
        assert_eq!(
            (&header["alg"], &header["nonce"], &header["url"]),
            (&json!("ES256"), &json!("n1"), &json!("https://ca/x"))
        );
        assert_eq!(header["jwk"], key.jwk());
        assert_eq!(decoded(&flat["payload"]), br#"{"a":1}"#);
        let signed = format!("{}.{}", flat["protected"].as_str().unwrap(), flat["payload"].as_str().unwrap());
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.pair.public_key().as_ref());
        public.verify(signed.as_bytes(), &decoded(&flat["signature"])).expect("it is signed");

        let text = key.sign(Some("https://ca/acct/1"), "n2", "https://ca/y", None).expect("signed");
        let flat: Value = serde_json::from_str(&text).expect("JSON");
        let header: Value = serde_json::from_slice(&decoded(&flat["protected"])).expect("JSON");
        assert_eq!(header["kid"], "https://ca/acct/1");
        assert!(header["jwk"].is_null());
        assert_eq!(flat["payload"], "");
    }

    #[test]
    fn a_kept_key_is_the_same_key() {
        let key = AccountKey::generate().expect("a key");
        let again = AccountKey::from_pkcs8(key.pkcs8()).expect("the same");
        assert_eq!(key.thumbprint(), again.thumbprint());
        assert_eq!(key.thumbprint().len(), 43);
        assert!(key.authorization("t").starts_with("t."));
        assert!(AccountKey::from_pkcs8(b"nonsense").is_err());
        // RFC 8737 section 3 has the hash of what RFC 8555 shows.
        assert_eq!(proof("")[..4], [0xe3, 0xb0, 0xc4, 0x42]);
    }
}
