//! What is kept of a session, what changes of it, and the hash that it is kept under.

use crate::cookie::{KeyError, random_bytes};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::collections::BTreeMap;

/// Random bytes of an id: 192 bits.
pub(super) const ID_BYTES: usize = 24;

/// Bytes that are counted for a session beside its names and values.
pub(super) const OVERHEAD_BYTES: usize = 256;

/// Under what a session is kept: its id's hash. Who reads the store learns no id.
pub(super) type Key = [u8; 32];

/// Names and values, which are JSON.
pub(super) type Values = BTreeMap<String, String>;

/// What is kept of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// Seconds of the Unix clock, as all times here.
    pub(super) created_s: u64,
    pub(super) used_s: u64,
    /// Who has logged in.
    pub(super) user: Option<String>,
    pub(super) values: Values,
}

/// What is to be changed of a session. What is not named stays as somebody else may have left it meanwhile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) user: Option<Option<String>>,
    /// `None` removes.
    pub(super) values: BTreeMap<String, Option<String>>,
    /// Somebody logs in: the time until the absolute end begins anew, and a session that is gone meanwhile is made.
    pub(super) is_log_in: bool,
}

/// How long sessions live.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    pub(super) idle_s: u64,
    pub(super) absolute_s: u64,
}

/// A session's id, which only its browser knows.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Id([u8; ID_BYTES]);

impl Id {
    pub(super) fn random() -> Result<Self, KeyError> {
        Ok(Self(random_bytes()?))
    }

    /// The id of a cookie's value, if it is one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; ID_BYTES];
        let count = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        (count == ID_BYTES).then_some(Self(bytes))
    }

    pub(super) fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    pub(super) fn key(&self) -> Key {
        let mut key = Key::default();
        key.copy_from_slice(digest(&SHA256, &self.0).as_ref());
        key
    }
}

impl Record {
    /// Whether its time has not come.
    pub(super) fn is_alive(&self, life: Life, now_s: u64) -> bool {
        now_s.saturating_sub(self.used_s) < life.idle_s
            && now_s.saturating_sub(self.created_s) < life.absolute_s
    }

    pub(super) fn apply(&mut self, change: &Change, now_s: u64) {
        self.used_s = self.used_s.max(now_s);
        if change.is_log_in {
            self.created_s = now_s;
        }
        if let Some(user) = &change.user {
            self.user.clone_from(user);
        }
        for (name, value) in &change.values {
            match value {
                Some(value) => self.values.insert(name.clone(), value.clone()),
                None => self.values.remove(name),
            };
        }
    }

    /// Bytes of memory that are counted for it.
    pub(super) fn bytes(&self) -> usize {
        let values: usize = self.values.iter().map(|(name, value)| name.len() + value.len()).sum();
        OVERHEAD_BYTES + values + self.user.as_ref().map_or(0, String::len)
    }
}

impl Change {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
