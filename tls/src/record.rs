//! The record layer's ciphers: one direction's keys, sealing and opening records where they lie (RFC 8446 section 5, RFC 5246
//! section 6.2.3.3, RFC 5288, RFC 7905).

use crate::failure::{Alert, Failure};
use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use ringway_engine::Room;
use rustls::ConnectionTrafficSecrets;

/// Bytes of a record's header.
pub(crate) const HEAD_BYTES: usize = 5;

/// Most plain bytes of a record (RFC 8446 section 5.1).
pub(crate) const PLAIN_BYTES_MAX: usize = 16 * 1024;

/// Most bytes behind a record's header (RFC 8446 section 5.2). TLS 1.2 would allow more, but none of its ciphers that are
/// offered here adds as much.
pub(crate) const FRAGMENT_BYTES_MAX: usize = PLAIN_BYTES_MAX + 256;

/// Content types.
pub(crate) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(crate) const ALERT: u8 = 21;
pub(crate) const HANDSHAKE: u8 = 22;
pub(crate) const APPLICATION: u8 = 23;

const TAG_BYTES: usize = 16;
const EXPLICIT_BYTES: usize = 8;

/// Records that one key of AES-GCM may protect (RFC 8446 section 5.5, with a margin for records under way).
const GCM_RECORDS_MAX: u64 = 1 << 24;

/// How a record is laid out, its nonce made and its header protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// TLS 1.3: the type behind the plain bytes.
    Tls13,
    /// TLS 1.2 with eight bytes of the nonce before them.
    Tls12Gcm,
    /// TLS 1.2, RFC 7905.
    Tls12ChaCha,
}

/// One direction's keys, and how many records they have protected.
pub(crate) struct Keys {
    key: LessSafeKey,
    iv: [u8; aead::NONCE_LEN],
    sequence: u64,
    records_max: u64,
    form: Form,
}

/// What a record held: where its plain bytes lie in it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) kind: u8,
    pub(crate) begin: usize,
    pub(crate) end: usize,
}

impl Keys {
    /// Keys from what a handshake, or a key update, came to.
    pub(crate) fn new(
        (sequence, secrets): (u64, ConnectionTrafficSecrets),
        is_tls13: bool,
    ) -> Result<Self, Failure> {
        let (algorithm, key, iv, is_gcm) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&aead::AES_128_GCM, key, iv, true),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&aead::AES_256_GCM, key, iv, true),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
                (&aead::CHACHA20_POLY1305, key, iv, false)
            }
            _ => return Err(Failure::internal("a cipher that is not offered was agreed on")),
        };
        let form = match (is_tls13, is_gcm) {
            (true, _) => Form::Tls13,
            (false, true) => Form::Tls12Gcm,
            (false, false) => Form::Tls12ChaCha,
        };
        let refused = |_| Failure::internal("keys of a wrong length");
        let key = UnboundKey::new(algorithm, key.as_ref()).map_err(refused)?;
        let iv =
            iv.as_ref().try_into().map_err(|_unspecified| Failure::internal("a nonce of a wrong length"))?;
        let records_max = if is_gcm { GCM_RECORDS_MAX } else { u64::MAX - 1 };
        Ok(Self { key: LessSafeKey::new(key), iv, sequence, records_max, form })
    }

    /// What a record takes besides its plain bytes.
    pub(crate) fn room(&self) -> Room {
        let (head, tail) = match self.form {
            Form::Tls13 => (HEAD_BYTES, 1 + TAG_BYTES),
            Form::Tls12Gcm => (HEAD_BYTES + EXPLICIT_BYTES, TAG_BYTES),
            Form::Tls12ChaCha => (HEAD_BYTES, TAG_BYTES),
        };
        Room { head, tail, plain_max: PLAIN_BYTES_MAX }
    }

    /// Whether the keys are TLS 1.3's, which can be changed.
    pub(crate) fn is_tls13(&self) -> bool {
        self.form == Form::Tls13
    }

    /// Whether half of the records that the keys may protect are through, so that it is time for new ones.
    pub(crate) fn is_worn(&self) -> bool {
        self.sequence >= self.records_max / 2
    }

    /// Protects the plain bytes of a record that lies in place: see [`Keys::room`].
    pub(crate) fn seal(&mut self, kind: u8, record: &mut [u8]) -> Result<(), Failure> {
        if self.sequence >= self.records_max {
            return Err(Failure::internal("the keys are worn out"));
        }
        let sequence = self.sequence;
        self.sequence += 1;
        let nonce = self.nonce(sequence);
        let room = self.room();
        let length = record.len() - HEAD_BYTES;
        let plain = record.len() - room.head - room.tail;
        record[1..3].copy_from_slice(&[3, 3]);
        record[3..HEAD_BYTES].copy_from_slice(&short(length));
        let tag_at = record.len() - TAG_BYTES;
        let sealed = if self.form == Form::Tls13 {
            record[0] = APPLICATION;
            record[tag_at - 1] = kind;
            let aad = Aad::from([APPLICATION, 3, 3, record[3], record[4]]);
            let body = &mut record[HEAD_BYTES..tag_at];
            self.key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), aad, body)
        } else {
            record[0] = kind;
            if self.form == Form::Tls12Gcm {
                record[HEAD_BYTES..room.head].copy_from_slice(&nonce[4..]);
            }
            let aad = Aad::from(tls12_aad(sequence, kind, plain));
            let body = &mut record[room.head..tag_at];
            self.key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), aad, body)
        };
        let tag = sealed.map_err(|_unspecified| Failure::internal("a record cannot be sealed"))?;
        record[tag_at..].copy_from_slice(tag.as_ref());
        Ok(())
    }

    /// Opens a whole record in place.
    pub(crate) fn open(&mut self, record: &mut [u8]) -> Result<Opened, Failure> {
        let sequence = self.sequence;
        self.sequence = sequence.checked_add(1).ok_or_else(|| Failure::internal("too many records"))?;
        let opened = match self.form {
            Form::Tls13 => self.open_tls13(sequence, record)?,
            Form::Tls12Gcm | Form::Tls12ChaCha => self.open_tls12(sequence, record)?,
        };
        if opened.end - opened.begin > PLAIN_BYTES_MAX {
            return Err(Failure::new(Alert::RecordOverflow, "a record with too many plain bytes"));
        }
        Ok(opened)
    }

    fn open_tls13(&self, sequence: u64, record: &mut [u8]) -> Result<Opened, Failure> {
        if record[0] != APPLICATION {
            return Err(Failure::new(Alert::UnexpectedMessage, "an unprotected record"));
        }
        let aad = Aad::from([record[0], record[1], record[2], record[3], record[4]]);
        let nonce = Nonce::assume_unique_for_key(self.nonce(sequence));
        let body = &mut record[HEAD_BYTES..];
        let plain = self.key.open_in_place(nonce, aad, body).map_err(|_unspecified| bad_record())?;
        // The type stands before the padding.
        let last = plain.iter().rposition(|&byte| byte != 0);
        let last = last.ok_or_else(|| Failure::new(Alert::UnexpectedMessage, "a record without a type"))?;
        Ok(Opened { kind: plain[last], begin: HEAD_BYTES, end: HEAD_BYTES + last })
    }

    fn open_tls12(&self, sequence: u64, record: &mut [u8]) -> Result<Opened, Failure> {
        let (kind, room) = (record[0], self.room());
        let plain = record.len().checked_sub(room.head + room.tail).ok_or_else(bad_record)?;
        let nonce = match self.form {
            Form::Tls12Gcm => {
                let mut nonce = self.iv;
                nonce[4..].copy_from_slice(&record[HEAD_BYTES..room.head]);
                nonce
            }
            _ => self.nonce(sequence),
        };
        let aad = Aad::from(tls12_aad(sequence, kind, plain));
        let body = &mut record[room.head..];
        let opened = self.key.open_in_place(Nonce::assume_unique_for_key(nonce), aad, body);
        opened.map_err(|_unspecified| bad_record())?;
        Ok(Opened { kind, begin: room.head, end: room.head + plain })
    }

    /// The starting point, combined with the record's number: no two records of a key share it. In TLS 1.2 with AES-GCM,
    /// where the nonce is sent, any such sequence will do.
    fn nonce(&self, sequence: u64) -> [u8; aead::NONCE_LEN] {
        let mut nonce = self.iv;
        for (byte, part) in nonce[4..].iter_mut().zip(sequence.to_be_bytes()) {
            *byte ^= part;
        }
        nonce
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({:?}, record {})", self.form, self.sequence)
    }
}

/// What stands behind a record's header, from that header.
pub(crate) fn fragment_bytes(head: [u8; HEAD_BYTES]) -> Result<usize, Failure> {
    let length = usize::from(u16::from_be_bytes([head[3], head[4]]));
    if !(CHANGE_CIPHER_SPEC..=APPLICATION).contains(&head[0]) || head[1] != 3 {
        return Err(Failure::new(Alert::UnexpectedMessage, "not a record of TLS"));
    }
    if length > FRAGMENT_BYTES_MAX {
        return Err(Failure::new(Alert::RecordOverflow, "a record that is too long"));
    }
    Ok(length)
}

fn tls12_aad(sequence: u64, kind: u8, plain: usize) -> [u8; 13] {
    let mut aad = [0; 13];
    aad[..8].copy_from_slice(&sequence.to_be_bytes());
    aad[8..11].copy_from_slice(&[kind, 3, 3]);
    aad[11..].copy_from_slice(&short(plain));
    aad
}

fn short(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}

fn bad_record() -> Failure {
    Failure::new(Alert::BadRecordMac, "a record that does not open")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use rustls::crypto::cipher::{AeadKey, Iv};

    /// Secrets of a made-up handshake: 16 or 32 bytes of key, and whether the cipher is ChaCha20-Poly1305.
    pub(crate) fn secrets(byte: u8, is_chacha: bool) -> (u64, ConnectionTrafficSecrets) {
        let (key, iv) = (AeadKey::from([byte; 32]), Iv::new([byte ^ 0x5a; 12]));
        let secrets = match is_chacha {
            true => ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv },
            false => ConnectionTrafficSecrets::Aes256Gcm { key, iv },
        };
        (0, secrets)
    }

    /// A record of `plain` as the other side would send it.
    pub(crate) fn sealed(keys: &mut Keys, kind: u8, plain: &[u8]) -> Vec<u8> {
        let room = keys.room();
        let mut record = vec![0xee; room.head + plain.len() + room.tail];
        record[room.head..room.head + plain.len()].copy_from_slice(plain);
        keys.seal(kind, &mut record).expect("fresh keys");
        record
    }

    fn forms(test: impl Fn(Keys, Keys)) {
        for (is_tls13, is_chacha) in [(true, false), (true, true), (false, false), (false, true)] {
            let keys = || Keys::new(secrets(7, is_chacha), is_tls13).expect("keys");
            test(keys(), keys());
        }
    }

    #[test]
    fn what_is_sealed_opens_in_order_and_in_no_other() {
        forms(|mut sealing, mut opening| {
            for plain in [&b""[..], b"a", b"hello, world", &[9; PLAIN_BYTES_MAX]] {
                let mut record = sealed(&mut sealing, APPLICATION, plain);
                let length = fragment_bytes(record[..5].try_into().expect("five")).expect("a good header");
                assert_eq!(length + HEAD_BYTES, record.len());
                let opened = opening.open(&mut record).expect("it opens");
                assert_eq!(opened.kind, APPLICATION);
                assert_eq!(&record[opened.begin..opened.end], plain);
            }
            let mut skipped = sealed(&mut sealing, APPLICATION, b"one");
            let mut next = sealed(&mut sealing, APPLICATION, b"two");
            assert_eq!(opening.open(&mut next).expect_err("out of order").alert, Alert::BadRecordMac);
            assert!(opening.open(&mut skipped).is_err());
        });
    }

    #[test]
    fn no_bit_of_a_record_can_be_changed() {
        forms(|mut sealing, _| {
            let record = sealed(&mut sealing, HANDSHAKE, b"abc");
            for bit in 0..record.len() * 8 {
                let mut bad = record.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                // The version of a TLS 1.2 record is not its own, but the protocol's.
                if !sealing.is_tls13() && (8..40).contains(&bit) {
                    continue;
                }
                let is_chacha = sealing.records_max != GCM_RECORDS_MAX;
                let mut opening = Keys::new(secrets(7, is_chacha), sealing.is_tls13()).expect("keys");
                assert!(opening.open(&mut bad).is_err(), "bit {bit}");
            }
        });
    }

    #[test]
    fn short_records_and_records_of_padding_are_refused() {
        forms(|mut sealing, mut opening| {
            for length in 0..16 {
                let mut record = vec![APPLICATION, 3, 3, 0, length];
                record.resize(HEAD_BYTES + usize::from(length), 0);
                assert!(opening.open(&mut record).is_err());
            }
            if sealing.is_tls13() {
                let mut record = sealed(&mut sealing, 0, &[0; 40]);
                let mut opening =
                    Keys::new(secrets(7, sealing.records_max != GCM_RECORDS_MAX), true).expect("keys");
                assert_eq!(opening.open(&mut record).expect_err("no type").alert, Alert::UnexpectedMessage);
            }
        });
    }

    #[test]
    fn worn_keys_say_so_and_then_refuse() {
        let (_, secret) = secrets(1, false);
        let mut keys = Keys::new((GCM_RECORDS_MAX / 2 - 1, secret), true).expect("keys");
        assert!(!keys.is_worn());
        let _record = sealed(&mut keys, APPLICATION, b"x");
        assert!(keys.is_worn());
        keys.sequence = GCM_RECORDS_MAX;
        assert!(keys.seal(APPLICATION, &mut [0; 40]).is_err());
    }

    #[test]
    fn headers_that_no_tls_has_are_refused() {
        assert_eq!(fragment_bytes([23, 3, 3, 0x41, 0]).expect("the largest"), FRAGMENT_BYTES_MAX);
        for head in [[23, 3, 3, 0x41, 1], [24, 3, 3, 0, 1], [b'G', b'E', b'T', b' ', b'/'], [22, 2, 0, 0, 1]]
        {
            assert!(fragment_bytes(head).is_err(), "{head:?}");
        }
    }
}
