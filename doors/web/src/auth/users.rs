//! Users with passwords: a table in memory, from the configuration or from a file that may change while it is used.

use crate::auth::lines::{LineError, LineReason, entries};
use crate::auth::password::PasswordHash;
use ringway_lock::Mutex;
use rustix::fs::{Mode, OFlags};
use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

/// Largest file of users, in bytes: some hundred thousand.
pub const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Names with their passwords' hashes.
#[derive(Debug, Default)]
pub struct UserTable {
    users: HashMap<Box<str>, PasswordHash>,
    /// What the password of somebody unknown is compared with, so that it takes as long as anybody's.
    decoy: Option<PasswordHash>,
}

impl UserTable {
    /// Reads lines `name:hash`.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the lines.
    pub fn parse(text: &str) -> Result<Self, Vec<LineError>> {
        let mut users = HashMap::new();
        let mut first_lines = HashMap::new();
        let mut errors = Vec::new();
        for entry in entries(text) {
            match entry.and_then(|(line, name, hash)| Ok((line, name, parse_hash(line, hash)?))) {
                Err(error) => errors.push(error),
                Ok((line, name, hash)) => match first_lines.insert(name, line) {
                    Some(first) => errors.push(LineError { line, reason: LineReason::Twice { first } }),
                    None => drop(users.insert(name.into(), hash)),
                },
            }
        }
        if errors.is_empty() { Ok(Self::new(users)) } else { Err(errors) }
    }

    /// A table of these users.
    #[must_use]
    pub fn new(users: HashMap<Box<str>, PasswordHash>) -> Self {
        let decoy = most_usual(users.values()).cloned();
        Self { users, decoy }
    }

    /// How many users there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Whether `name` is known.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.users.contains_key(name)
    }

    /// Whether `name` is known and `password` is its password. Takes tens of milliseconds, for somebody unknown too.
    #[must_use]
    pub fn verify(&self, name: &str, password: &[u8]) -> bool {
        match (self.users.get(name), &self.decoy) {
            (Some(hash), _) => hash.verify(password),
            (None, Some(decoy)) => {
                let _as_if = std::hint::black_box(decoy.verify(password));
                false
            }
            (None, None) => false,
        }
    }
}

fn parse_hash(line: usize, text: &str) -> Result<PasswordHash, LineError> {
    PasswordHash::parse(text).map_err(|why| LineError { line, reason: LineReason::Secret(why) })
}

/// A hash of the kind that most users have.
fn most_usual<'a>(hashes: impl Iterator<Item = &'a PasswordHash>) -> Option<&'a PasswordHash> {
    let mut kinds: HashMap<String, (usize, &PasswordHash)> = HashMap::new();
    hashes.for_each(|hash| kinds.entry(hash.effort()).or_insert((0, hash)).0 += 1);
    kinds
        .into_iter()
        .max_by(|one, other| (one.1.0, &one.0).cmp(&(other.1.0, &other.0)))
        .map(|(_, (_, hash))| hash)
}

/// Why users cannot be had.
#[derive(Debug)]
pub enum UsersError {
    /// The file cannot be read.
    Read(PathBuf, io::Error),
    /// It is larger than [`FILE_BYTES_MAX`].
    TooLarge(PathBuf),
    /// It is not UTF-8.
    NotText(PathBuf),
    /// Lines of it are wrong.
    Lines(PathBuf, Vec<LineError>),
}

impl fmt::Display for UsersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, error) => {
                write!(f, "cannot read the users in {}: {error}", path.display())?;
                match error.kind() {
                    io::ErrorKind::PermissionDenied => {
                        f.write_str("; the user that the server runs as must be able to read the file")
                    }
                    _ => Ok(()),
                }
            }
            Self::TooLarge(path) => {
                write!(f, "the users in {} take more than {FILE_BYTES_MAX} bytes", path.display())
            }
            Self::NotText(path) => write!(f, "the users in {} are not UTF-8", path.display()),
            Self::Lines(path, errors) => {
                write!(f, "the users in {} cannot be understood", path.display())?;
                errors.iter().try_for_each(|error| write!(f, "; {error}"))
            }
        }
    }
}

impl std::error::Error for UsersError {}

/// Which state of a file was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    len: i64,
    modified: (i64, u64),
}

/// Users, for all workers of a process. Clones are the same users.
#[derive(Clone)]
pub struct Users(Arc<Inner>);

struct Inner {
    path: Option<PathBuf>,
    /// Held for moments only.
    current: Mutex<(Arc<UserTable>, Option<Stamp>)>,
    /// Held while the file is read; no worker takes it.
    work: Mutex<()>,
    /// Counts changes, so that what was remembered before one is no longer believed.
    generation: AtomicU64,
}

impl Users {
    /// Users that do not change.
    #[must_use]
    pub fn fixed(table: UserTable) -> Self {
        Self::of(None, table, None)
    }

    /// The users in the file at `path`, lines `name:hash`.
    ///
    /// # Errors
    /// [`UsersError`]
    pub fn open(path: &Path) -> Result<Self, UsersError> {
        let (text, stamp) = read(path)?;
        let table = UserTable::parse(&text).map_err(|errors| UsersError::Lines(path.to_owned(), errors))?;
        Ok(Self::of(Some(path.to_owned()), table, Some(stamp)))
    }

    fn of(path: Option<PathBuf>, table: UserTable, stamp: Option<Stamp>) -> Self {
        let current = Mutex::new((Arc::new(table), stamp));
        Self(Arc::new(Inner { path, current, work: Mutex::default(), generation: AtomicU64::new(0) }))
    }

    /// Reads the file again if it has changed; says whether it had. Waits for the disk.
    ///
    /// # Errors
    /// [`UsersError`]; the users are those of before then.
    pub fn reload(&self) -> Result<bool, UsersError> {
        let Some(path) = &self.0.path else { return Ok(false) };
        let _one_at_a_time = self.0.work.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.lock().1;
        if rustix::fs::stat(path).ok().map(|stat| stamp(&stat)) == before {
            return Ok(false);
        }
        let (text, stamp) = read(path)?;
        let table = UserTable::parse(&text).map_err(|errors| UsersError::Lines(path.clone(), errors))?;
        *self.lock() = (Arc::new(table), Some(stamp));
        self.0.generation.fetch_add(1, Ordering::Release);
        Ok(true)
    }

    /// The users as they are now.
    #[must_use]
    pub fn table(&self) -> Arc<UserTable> {
        Arc::clone(&self.lock().0)
    }

    /// How often the users have changed.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Acquire)
    }

    fn lock(&self) -> ringway_lock::MutexGuard<'_, (Arc<UserTable>, Option<Stamp>)> {
        self.0.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Users({} of {:?})", self.table().len(), self.0.path)
    }
}

fn read(path: &Path) -> Result<(String, Stamp), UsersError> {
    let error = |error| UsersError::Read(path.to_owned(), error);
    // Not waiting for the other end, should it be a pipe.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| error(errno.into()))?;
    let stamp = stamp(&rustix::fs::fstat(&file).map_err(|errno| error(errno.into()))?);
    let mut bytes = Vec::new();
    std::fs::File::from(file).take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(error)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(UsersError::TooLarge(path.to_owned()));
    }
    let text = String::from_utf8(bytes).map_err(|_no_text| UsersError::NotText(path.to_owned()))?;
    Ok((text, stamp))
}

fn stamp(stat: &rustix::fs::Stat) -> Stamp {
    Stamp {
        device: stat.st_dev,
        inode: stat.st_ino,
        len: stat.st_size,
        modified: (stat.st_mtime, stat.st_mtime_nsec),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_dir::TestDir;

    const ALICE: &str =
        "alice:$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
    const BOB: &str = "bob:$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

    #[test]
    fn users_are_known_by_their_own_password_only() {
        let table = UserTable::parse(&format!("# all\n{ALICE}\n{BOB}\n")).unwrap();
        assert!(table.verify("alice", b"password") && table.verify("bob", b"U*U"));
        for (name, password) in
            [("alice", "U*U"), ("bob", "password"), ("carol", "password"), ("", ""), ("Alice", "password")]
        {
            assert!(!table.verify(name, password.as_bytes()), "{name}");
        }
        assert!(!UserTable::default().verify("alice", b"password"));
        assert_eq!((table.len(), table.has("alice"), table.has("carol")), (2, true, false));
    }

    #[test]
    fn somebody_unknown_takes_as_long_as_most() {
        let more = "carol:$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
        let table = UserTable::parse(&format!("{ALICE}\n{BOB}\n{more}\n")).unwrap();
        assert_eq!(table.decoy.as_ref().unwrap().effort(), "$2a$05");
        assert!(UserTable::parse("").unwrap().decoy.is_none());
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let text = format!("{ALICE}\nbob\nx:plain\n{ALICE}\n");
        let errors = UserTable::parse(&text).unwrap_err();
        let lines: Vec<usize> = errors.iter().map(|error| error.line).collect();
        assert_eq!(lines, [2, 3, 4]);
        assert_eq!(errors[2].to_string(), "line 4: the name stands on line 1 already");
    }

    #[test]
    fn a_file_that_changes_is_read_again_and_a_broken_one_changes_nothing() {
        let dir = TestDir::new();
        let path = dir.write("users", ALICE);
        let users = Users::open(&path).unwrap();
        let remembered = users.clone();
        assert!(!users.reload().unwrap());
        // As `ringway passwd` does: another file of that name.
        std::fs::rename(dir.write("new", format!("{BOB}\n")), &path).unwrap();
        assert!(users.reload().unwrap());
        assert_eq!((remembered.generation(), remembered.table().has("alice")), (1, false));
        dir.write("users", "broken");
        let error = users.reload().unwrap_err().to_string();
        assert!(error.contains("line 1: there is no colon"), "{error}");
        std::fs::remove_file(&path).unwrap();
        assert!(users.reload().unwrap_err().to_string().starts_with("cannot read the users in "));
        assert!(users.table().has("bob") && users.generation() == 1);
    }

    #[test]
    fn what_cannot_be_users_is_said() {
        let dir = TestDir::new();
        assert!(matches!(Users::open(&dir.path().join("none")), Err(UsersError::Read(..))));
        assert!(matches!(Users::open(&dir.write("bytes", [0xff, 0xfe])), Err(UsersError::NotText(_))));
        let large = vec![b'#'; usize::try_from(FILE_BYTES_MAX).unwrap() + 1];
        assert!(matches!(Users::open(&dir.write("large", large)), Err(UsersError::TooLarge(_))));
        assert!(matches!(Users::open(dir.path()), Err(UsersError::Read(..))));
    }
}
