//! The locks below a root (RFC 4918 section 6 and 7): who holds what, what conflicts, and what may not be changed without a
//! token. Time is an argument, in seconds since 1970.

use crate::path::{is_below, is_within, split};
use std::fmt;

/// What kept locks begin with: what they are, and the version of their form.
const MARK: &str = "ringway-dav-locks 1\n";

/// A lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Its name, a URI.
    pub token: Box<str>,
    /// The resource that was locked.
    pub root: Box<[u8]>,
    /// Whether it is for everything below the resource too.
    pub is_deep: bool,
    /// Whether others may hold shared locks beside it.
    pub is_shared: bool,
    /// What the client says of its owner: XML that stands alone.
    pub owner: Box<[u8]>,
    /// The user who has proved to be that one when the lock was taken.
    pub user: Option<Box<str>>,
    /// For how long it was given, in seconds.
    pub timeout_s: u32,
    /// Until when it holds.
    pub expires_s: u64,
}

impl Lock {
    /// Whether the lock is for `path`.
    #[must_use]
    pub fn covers(&self, path: &[u8]) -> bool {
        if self.is_deep { is_within(path, &self.root) } else { *self.root == *path }
    }
}

/// What a method is about to change, and must have the tokens for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// The resource: its content or properties; of a collection which members it has.
    Resource(&'a [u8]),
    /// The resource and everything below it.
    Tree(&'a [u8]),
}

/// Who asks, and what tokens were sent along.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bearer<'a> {
    /// Tokens of the field `If`.
    pub tokens: &'a [&'a str],
    /// The user who has proved to be that one.
    pub user: Option<&'a str>,
}

impl Bearer<'_> {
    /// Whether the bearer may do what the lock is against: knows its token, and is who took it.
    fn holds(&self, lock: &Lock) -> bool {
        self.tokens.contains(&&*lock.token) && lock.user.as_deref() == self.user
    }
}

/// Why a lock is not given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockError {
    /// This lock is in the way: its root.
    Conflict(Box<[u8]>),
    /// There are as many as there may be.
    TooMany,
    /// What was kept is no list of locks.
    Damaged,
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict(root) => write!(f, "there is a lock on /{}", root.escape_ascii()),
            Self::TooMany => f.write_str("there are as many locks as there may be"),
            Self::Damaged => f.write_str("what was kept is no list of locks"),
        }
    }
}

impl std::error::Error for LockError {}

/// All locks below a root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locks(Vec<Lock>);

impl Locks {
    /// Forgets locks whose time is up; whether there was one.
    pub fn expire(&mut self, now_s: u64) -> bool {
        let before = self.0.len();
        self.0.retain(|lock| lock.expires_s > now_s);
        self.0.len() != before
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The locks that are for `path`: its own, and deep ones of what it lies in.
    pub fn covering(&self, path: &[u8]) -> impl Iterator<Item = &Lock> {
        self.0.iter().filter(move |lock| lock.covers(path))
    }

    /// The lock of that name that is for `path`.
    #[must_use]
    pub fn find(&self, path: &[u8], token: &str) -> Option<&Lock> {
        self.covering(path).find(|lock| *lock.token == *token)
    }

    /// Takes a lock, beside at most `locks_max - 1` others.
    ///
    /// # Errors
    /// [`LockError::Conflict`], [`LockError::TooMany`].
    pub fn add(&mut self, lock: Lock, locks_max: usize) -> Result<(), LockError> {
        let meets =
            |other: &&Lock| other.covers(&lock.root) || (lock.is_deep && is_below(&other.root, &lock.root));
        let conflict = self.0.iter().filter(meets).find(|other| !(other.is_shared && lock.is_shared));
        if let Some(conflict) = conflict {
            return Err(LockError::Conflict(conflict.root.clone()));
        }
        if self.0.len() >= locks_max {
            return Err(LockError::TooMany);
        }
        self.0.push(lock);
        Ok(())
    }

    /// Has the lock of that name that is for `path`, and is the user's, hold for another `timeout_s` seconds.
    pub fn refresh(&mut self, path: &[u8], bearer: Bearer<'_>, timeout_s: u32, now_s: u64) -> Option<&Lock> {
        let lock = self.0.iter_mut().find(|lock| lock.covers(path) && bearer.holds(lock))?;
        lock.timeout_s = timeout_s;
        lock.expires_s = now_s.saturating_add(timeout_s.into());
        Some(lock)
    }

    /// Gives up the lock of that name that is for `path`, and is the user's.
    pub fn remove(&mut self, path: &[u8], bearer: Bearer<'_>) -> bool {
        let place = self.0.iter().position(|lock| lock.covers(path) && bearer.holds(lock));
        place.map(|place| self.0.swap_remove(place)).is_some()
    }

    /// Forgets the locks of what is gone: `path` and everything below it; whether there was one.
    pub fn forget(&mut self, path: &[u8]) -> bool {
        let before = self.0.len();
        self.0.retain(|lock| !is_within(&lock.root, path));
        self.0.len() != before
    }

    /// Forgets the locks of what lies below `path`, but not its own; whether there was one.
    pub fn forget_below(&mut self, path: &[u8]) -> bool {
        let before = self.0.len();
        self.0.retain(|lock| !is_below(&lock.root, path));
        self.0.len() != before
    }

    /// The first lock that forbids `change` to who asks: an exclusive one whose token was not sent along, or a shared one
    /// where none of those beside it was.
    #[must_use]
    pub fn forbidding(&self, change: Change<'_>, bearer: Bearer<'_>) -> Option<&Lock> {
        let (Change::Resource(path) | Change::Tree(path)) = change;
        let below = |lock: &&Lock| matches!(change, Change::Tree(_)) && is_below(&lock.root, path);
        let mut concerned = self.0.iter().filter(|lock| lock.covers(path) || below(lock));
        let may = |lock: &Lock| bearer.holds(lock) || (lock.is_shared && self.is_shared_with(lock, bearer));
        concerned.find(|lock| !may(lock))
    }

    /// Whether the bearer holds a shared lock for the same resource.
    fn is_shared_with(&self, lock: &Lock, bearer: Bearer<'_>) -> bool {
        self.covering(&lock.root).any(|other| other.is_shared && bearer.holds(other))
    }

    /// What must not be forbidden when `path` becomes, or stops being, a member of its collection.
    #[must_use]
    pub fn forbidding_membership(&self, path: &[u8], bearer: Bearer<'_>) -> Option<&Lock> {
        let (collection, _) = split(path)?;
        self.forbidding(Change::Resource(collection), bearer)
    }

    /// The form they are kept in.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = String::from(MARK);
        for lock in &self.0 {
            let flags = [if lock.is_deep { 'd' } else { 'f' }, if lock.is_shared { 's' } else { 'x' }];
            out.extend(flags);
            out.push_str(&format!(" {} {} ", lock.timeout_s, lock.expires_s));
            write_hex(&mut out, lock.token.as_bytes());
            write_hex(&mut out, &lock.root);
            write_hex(&mut out, &lock.owner);
            match &lock.user {
                Some(user) => write_hex(&mut out, user.as_bytes()),
                None => out.push_str("* "),
            }
            out.push('\n');
        }
        out.into_bytes()
    }

    /// Reads what was kept.
    ///
    /// # Errors
    /// [`LockError::Damaged`].
    pub fn decode(bytes: &[u8]) -> Result<Self, LockError> {
        let text = str::from_utf8(bytes).map_err(|_no_text| LockError::Damaged)?;
        let lines = text.strip_prefix(MARK).filter(|lines| lines.is_empty() || lines.ends_with('\n'));
        let locks = lines.ok_or(LockError::Damaged)?.lines().map(read_line).collect::<Option<_>>();
        locks.map(Self).ok_or(LockError::Damaged)
    }
}

fn read_line(line: &str) -> Option<Lock> {
    let mut words = line.strip_suffix(' ')?.split(' ');
    let (is_deep, is_shared) = match words.next()? {
        "dx" => (true, false),
        "ds" => (true, true),
        "fx" => (false, false),
        "fs" => (false, true),
        _ => return None,
    };
    let (timeout_s, expires_s) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let token = String::from_utf8(read_hex(words.next()?)?).ok()?.into();
    let (root, owner) = (read_hex(words.next()?)?.into(), read_hex(words.next()?)?.into());
    let user = match words.next()? {
        "*" => None,
        user => Some(String::from_utf8(read_hex(user)?).ok()?.into()),
    };
    words.next().is_none().then_some(Lock {
        token,
        root,
        is_deep,
        is_shared,
        owner,
        user,
        timeout_s,
        expires_s,
    })
}

/// In hexadecimal and between `.` and a space, so that nothing at all is a word too.
fn write_hex(out: &mut String, bytes: &[u8]) {
    out.push('.');
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            out.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
        }
    }
    out.push(' ');
}

fn read_hex(word: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = word.strip_prefix('.')?.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes =
        pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect::<Option<_>>();
    bytes.filter(|_| rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOBODY: Bearer<'static> = Bearer { tokens: &[], user: None };

    fn lock(token: &str, root: &str, is_deep: bool, is_shared: bool) -> Lock {
        Lock {
            token: token.into(),
            root: root.as_bytes().into(),
            is_deep,
            is_shared,
            owner: Box::default(),
            user: None,
            timeout_s: 10,
            expires_s: 100,
        }
    }

    fn locks(all: &[Lock]) -> Locks {
        let mut locks = Locks::default();
        for lock in all {
            locks.add(lock.clone(), 100).unwrap();
        }
        locks
    }

    fn bearer<'a>(tokens: &'a [&'a str]) -> Bearer<'a> {
        Bearer { tokens, user: None }
    }

    #[test]
    fn exclusive_locks_meet_nothing_and_shared_ones_only_each_other() {
        let mut held = locks(&[lock("1", "a/b", false, false), lock("2", "s", true, true)]);
        for (root, is_deep, is_shared, wanted) in [
            ("a/b", false, true, Some("a/b")),
            ("a", true, false, Some("a/b")),
            ("a", false, false, None),
            ("", true, true, Some("a/b")),
            ("a/b/c", true, false, None),
            ("s/x", false, false, Some("s")),
            ("s/x", false, true, None),
            ("sx", false, false, None),
        ] {
            let mut held = held.clone();
            let added = held.add(lock("3", root, is_deep, is_shared), 100);
            let wanted = wanted.map(|root| LockError::Conflict(root.as_bytes().into()));
            assert_eq!(added.err(), wanted, "{root} {is_deep} {is_shared}");
        }
        assert_eq!(held.add(lock("3", "z", false, false), 2), Err(LockError::TooMany));
    }

    #[test]
    fn a_change_needs_the_tokens_of_what_it_changes() {
        let held = locks(&[
            lock("1", "a", true, false),
            lock("2", "b/c", false, false),
            lock("3", "d", false, false),
        ]);
        let forbids = |change, tokens: &[&str]| {
            held.forbidding(change, bearer(tokens)).map(|lock| lock.token.to_string())
        };
        assert_eq!(forbids(Change::Resource(b"a/x/y"), &[]).as_deref(), Some("1"));
        assert_eq!(forbids(Change::Resource(b"a/x/y"), &["1"]), None);
        assert_eq!(forbids(Change::Resource(b"b"), &[]), None);
        assert_eq!(forbids(Change::Tree(b"b"), &["1"]).as_deref(), Some("2"));
        assert_eq!(forbids(Change::Tree(b"b"), &["2"]), None);
        assert_eq!(forbids(Change::Resource(b"d/x"), &[]), None, "not deep");
        assert_eq!(held.forbidding_membership(b"d/x", NOBODY).map(|lock| &*lock.token), Some("3"));
        assert_eq!(held.forbidding_membership(b"e", NOBODY), None);
        assert_eq!(held.forbidding_membership(b"", NOBODY), None);
    }

    #[test]
    fn one_of_the_shared_locks_is_enough() {
        let held = locks(&[lock("1", "a", false, true), lock("2", "a", false, true)]);
        assert!(held.forbidding(Change::Resource(b"a"), bearer(&["2"])).is_none());
        assert!(held.forbidding(Change::Resource(b"a"), bearer(&["3"])).is_some());
    }

    #[test]
    fn a_token_in_other_hands_is_worth_nothing() {
        let mut held = locks(&[Lock { user: Some("ann".into()), ..lock("1", "a", false, false) }]);
        let of = |user| Bearer { tokens: &["1"], user };
        assert!(held.forbidding(Change::Resource(b"a"), of(Some("bob"))).is_some());
        assert!(held.forbidding(Change::Resource(b"a"), of(None)).is_some());
        assert!(held.forbidding(Change::Resource(b"a"), of(Some("ann"))).is_none());
        assert!(!held.remove(b"a", of(Some("bob"))) && held.refresh(b"a", of(None), 9, 9).is_none());
        assert!(held.remove(b"a", of(Some("ann"))) && held.is_empty());
    }

    #[test]
    fn locks_end_by_time_by_unlocking_and_with_their_resource() {
        let mut held = locks(&[
            lock("1", "a", true, false),
            lock("2", "b", false, false),
            lock("3", "b/c", false, false),
        ]);
        assert!(!held.expire(99));
        assert_eq!(held.refresh(b"a/x", bearer(&["1"]), 50, 90).map(|lock| lock.expires_s), Some(140));
        assert!(held.forget(b"b") && !held.forget(b"b") && held.len() == 1);
        assert!(held.expire(140) && held.is_empty());
        let mut held = locks(&[lock("1", "a", true, false)]);
        assert!(!held.remove(b"b", bearer(&["1"])) && !held.remove(b"a", bearer(&["2"])));
        assert!(held.find(b"a/x", "1").is_some() && held.remove(b"a/x", bearer(&["1"])));
    }

    #[test]
    fn damage_is_seen() {
        let kept = locks(&[lock("urn:1", "a b\n", true, false)]).encode();
        for end in [0, 5, kept.len() - 1, kept.len() - 2, kept.len() - 5] {
            assert_eq!(Locks::decode(&kept[..end]), Err(LockError::Damaged), "{end}");
        }
        assert_eq!(Locks::decode(MARK.as_bytes()), Ok(Locks::default()));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

        #[test]
        fn what_is_kept_comes_back(
            roots in proptest::collection::vec(("[a-c/ é]{0,6}", any::<bool>(), proptest::option::of("[a-z é]{0,4}")), 0..6),
        ) {
            let mut held = Locks::default();
            for (number, (root, is_deep, user)) in roots.into_iter().enumerate() {
                let user = user.map(Into::into);
                let _ = held.add(Lock { user, ..lock(&format!("urn:{number}"), &root, is_deep, true) }, 100);
            }
            prop_assert_eq!(Locks::decode(&held.encode()), Ok(held));
        }

        #[test]
        fn no_two_locks_ever_conflict(
            wishes in proptest::collection::vec(("(a|b)(/(a|b)){0,2}", any::<bool>(), any::<bool>()), 0..12),
        ) {
            let mut held = Locks::default();
            for (number, (root, is_deep, is_shared)) in wishes.iter().enumerate() {
                let _ = held.add(lock(&number.to_string(), root, *is_deep, *is_shared), 100);
            }
            for path in ["a", "b", "a/a", "a/b", "b/a", "b/b", "a/a/a", "a/b/a", "b/b/b"] {
                let covering: Vec<&Lock> = held.covering(path.as_bytes()).collect();
                prop_assert!(covering.len() < 2 || covering.iter().all(|lock| lock.is_shared), "{path}: {covering:?}");
            }
        }

        #[test]
        fn any_bytes_are_survived(text in "[dfxs0-9 .*a-f\\n]{0,60}") {
            let _ = Locks::decode(format!("{MARK}{text}").as_bytes());
        }
    }
}
