//! Session tickets: keys that change with time, shared by all workers, and handed on to the next process.

use aws_lc_rs::aead::{self, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rand;
use ringway_lock::RwLock;
use rustls::server::ProducesTickets;
use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a key seals tickets.
const ROTATION: Duration = Duration::from_secs(6 * 3_600);

/// How long a ticket may be used: a key opens tickets for so long after it sealed its last one.
const LIFETIME: Duration = Duration::from_secs(24 * 3_600);

/// Most keys that are kept: those of a lifetime, and some that another process had.
const KEYS_MAX: usize = 16;

/// Largest ticket that is opened, in bytes: certificates of a client are in it.
const TICKET_BYTES_MAX: usize = 64 * 1024;

const NAME_BYTES: usize = 16;
const KEY_BYTES: usize = 32;
const TAG_BYTES: usize = 16;

/// The keys' first byte when they are handed on.
const FORMAT: u8 = 1;
const EXPORTED_BYTES: usize = NAME_BYTES + KEY_BYTES + 8;

/// The keys that seal session tickets. Whoever has them can read what sessions resumed with them said before: they are kept
/// in memory only, and change every six hours.
pub struct TicketKeys {
    /// The newest first.
    keys: RwLock<Vec<Key>>,
}

#[derive(Clone)]
struct Key {
    name: [u8; NAME_BYTES],
    secret: [u8; KEY_BYTES],
    made: SystemTime,
}

impl TicketKeys {
    /// Keys of their own; the first is made when it is needed.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self { keys: RwLock::default() })
    }

    /// The keys for the process that takes over, so that clients' tickets stay good. A secret: for a pipe, not for a file.
    #[must_use]
    pub fn export(&self) -> Vec<u8> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = vec![FORMAT];
        for key in keys.iter() {
            bytes.extend_from_slice(&key.name);
            bytes.extend_from_slice(&key.secret);
            let made = key.made.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
            bytes.extend_from_slice(&made.to_be_bytes());
        }
        bytes
    }

    /// Takes keys over that another process has exported; says whether they could be read.
    pub fn import(&self, bytes: &[u8]) -> bool {
        let Some((&FORMAT, bytes)) = bytes.split_first() else { return false };
        let (parts, rest) = bytes.as_chunks::<EXPORTED_BYTES>();
        if !rest.is_empty() {
            return false;
        }
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        for part in parts {
            if let Some(key) = Key::imported(part)
                && !keys.iter().any(|own| own.name == key.name)
            {
                keys.push(key);
            }
        }
        keys.sort_by_key(|key| std::cmp::Reverse(key.made));
        keys.truncate(KEYS_MAX);
        true
    }

    /// The key that seals now; made when there is none, or the last has served its time.
    fn current(&self, now: SystemTime) -> Option<Key> {
        let is_good = |key: &&Key| now.duration_since(key.made).is_ok_and(|age| age < ROTATION);
        if let Some(key) = self.keys.read().unwrap_or_else(PoisonError::into_inner).first().filter(is_good) {
            return Some(key.clone());
        }
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        // Another worker may have been faster.
        if let Some(key) = keys.first().filter(is_good) {
            return Some(key.clone());
        }
        let key = Key::made(now)?;
        keys.retain(|key| !key.is_over(now));
        keys.insert(0, key.clone());
        keys.truncate(KEYS_MAX);
        Some(key)
    }

    fn named(&self, name: &[u8], now: SystemTime) -> Option<Key> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.iter().find(|key| key.name == name && !key.is_over(now)).cloned()
    }

    fn seal(&self, plain: &[u8], context: &[u8], now: SystemTime) -> Option<Vec<u8>> {
        let key = self.current(now)?;
        let mut nonce = [0; aead::NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut ticket = Vec::with_capacity(NAME_BYTES + nonce.len() + plain.len() + TAG_BYTES);
        ticket.extend_from_slice(&key.name);
        ticket.extend_from_slice(&nonce);
        ticket.extend_from_slice(plain);
        let body = &mut ticket[NAME_BYTES + nonce.len()..];
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = key.cipher()?.seal_in_place_separate_tag(nonce, Aad::from(context), body).ok()?;
        ticket.extend_from_slice(tag.as_ref());
        Some(ticket)
    }

    fn open(&self, ticket: &[u8], context: &[u8], now: SystemTime) -> Option<Vec<u8>> {
        if ticket.len() > TICKET_BYTES_MAX {
            return None;
        }
        let (name, rest) = ticket.split_first_chunk::<NAME_BYTES>()?;
        let (nonce, body) = rest.split_first_chunk::<{ aead::NONCE_LEN }>()?;
        let key = self.named(name, now)?;
        let mut body = body.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = key.cipher()?.open_in_place(nonce, Aad::from(context), &mut body).ok()?.len();
        body.truncate(plain);
        Some(body)
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKeys")
    }
}

impl Key {
    fn made(now: SystemTime) -> Option<Self> {
        let mut key = Self { name: [0; NAME_BYTES], secret: [0; KEY_BYTES], made: now };
        rand::fill(&mut key.name).ok()?;
        rand::fill(&mut key.secret).ok()?;
        Some(key)
    }

    fn imported(bytes: &[u8; EXPORTED_BYTES]) -> Option<Self> {
        let (name, rest) = bytes.split_first_chunk()?;
        let (secret, made) = rest.split_first_chunk()?;
        let seconds = u64::from_be_bytes(made.try_into().ok()?);
        let made = UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
        Some(Self { name: *name, secret: *secret, made })
    }

    fn cipher(&self) -> Option<LessSafeKey> {
        Some(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &self.secret).ok()?))
    }

    /// No ticket of this key may be used any more.
    fn is_over(&self, now: SystemTime) -> bool {
        now.duration_since(self.made).is_ok_and(|age| age >= ROTATION + LIFETIME)
    }
}

/// Tickets that are good where they were given out only: what a client has proved to one endpoint it has not proved to an
/// endpoint with other authorities.
pub(crate) struct BoundTickets {
    pub(crate) keys: Arc<TicketKeys>,
    pub(crate) context: [u8; 32],
}

impl ProducesTickets for BoundTickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(LIFETIME.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.keys.seal(plain, &self.context, SystemTime::now())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.keys.open(cipher, &self.context, SystemTime::now())
    }
}

impl fmt::Debug for BoundTickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoundTickets")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(hours: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_000_000 * 3_600 + hours * 3_600)
    }

    #[test]
    fn a_ticket_opens_where_it_was_sealed_and_unchanged() {
        let keys = TicketKeys::new();
        let ticket = keys.seal(b"state", b"here", hours(0)).expect("random numbers");
        assert_eq!(keys.open(&ticket, b"here", hours(0)).as_deref(), Some(&b"state"[..]));
        assert_eq!(keys.open(&ticket, b"there", hours(0)), None);
        assert_eq!(TicketKeys::new().open(&ticket, b"here", hours(0)), None);
        for place in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[place] ^= 1;
            assert_eq!(keys.open(&changed, b"here", hours(0)), None, "{place}");
            assert_eq!(keys.open(&ticket[..place], b"here", hours(0)), None, "{place}");
        }
    }

    #[test]
    fn keys_change_and_old_tickets_end() {
        let keys = TicketKeys::new();
        let first = keys.seal(b"first", b"", hours(0)).expect("random numbers");
        let same = keys.seal(b"same", b"", hours(5)).expect("random numbers");
        assert_eq!(first[..NAME_BYTES], same[..NAME_BYTES]);
        let next = keys.seal(b"next", b"", hours(6)).expect("random numbers");
        assert_ne!(first[..NAME_BYTES], next[..NAME_BYTES]);
        assert!(keys.open(&first, b"", hours(29)).is_some());
        assert!(keys.open(&first, b"", hours(30)).is_none());
        assert!(keys.open(&next, b"", hours(30)).is_some());
        for more in 1..100 {
            let _ticket = keys.seal(b"", b"", hours(more * 6));
        }
        assert!(keys.export().len() <= 1 + 5 * EXPORTED_BYTES, "what is over is forgotten");
    }

    #[test]
    fn the_next_process_opens_what_this_one_sealed() {
        let (old, new) = (TicketKeys::new(), TicketKeys::new());
        let ticket = old.seal(b"state", b"", hours(0)).expect("random numbers");
        let own = new.seal(b"own", b"", hours(1)).expect("random numbers");
        let exported = old.export();
        assert!(new.import(&exported) && new.import(&exported));
        assert_eq!(new.open(&ticket, b"", hours(1)).as_deref(), Some(&b"state"[..]));
        assert_eq!(new.open(&own, b"", hours(1)).as_deref(), Some(&b"own"[..]));
        assert_eq!(new.export().len(), 1 + 2 * EXPORTED_BYTES);
        assert!(!new.import(&exported[..10]) && !new.import(&[]) && !new.import(&[9]));
    }
}
