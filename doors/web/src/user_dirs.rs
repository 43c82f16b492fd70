//! Per-user directories: `/~ann/` is `public_html` in the home of the user ann, for users who are named or have an ordinary
//! number.
//!
//! Such a directory is its user's, not the operator's, so it is confined more than a site's root: it must belong to its user
//! and be no symbolic link, and nothing leads out of it.

use crate::exchange::Exchange;
use crate::file_store::FileStore;
use crate::load::LoadOptions;
use crate::pipeline::{Finish, Handled, Handler};
use crate::root::{OpenRoot, RootOptions};
use crate::static_files::{FilesOptions, StaticFiles};
use ringway_engine::heap::local_future;
use ringway_http::response::EncodeError;
use ringway_http::status::Status;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

/// Most users whose directories a worker has open at a time.
pub const OPEN_USERS_MAX: usize = 512;

/// The first number of an ordinary user on Linux systems (`UID_MIN` of login.defs).
pub const ORDINARY_UID_MIN: u32 = 1000;

/// The number of the user nobody, who is none.
const NOBODY_UID: u32 = 65_534;

/// How long it is remembered that a user has no directory, in milliseconds.
const ABSENT_MS: u64 = 1_000;

/// A user of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Login name.
    pub name: Box<str>,
    /// User number.
    pub uid: u32,
    /// Home directory, absolute.
    pub home: PathBuf,
}

/// The users that a text in the format of passwd(5) names. Lines that are no accounts, and accounts without a home of their
/// own, are left out.
#[must_use]
pub fn accounts(passwd: &str) -> Vec<Account> {
    passwd.lines().filter_map(account).collect()
}

fn account(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| is_name(name))?;
    let uid = fields.nth(1)?.parse().ok()?;
    let home = Path::new(fields.nth(2)?);
    // The shell is the seventh and last.
    (fields.count() == 1 && home.is_absolute() && home != Path::new("/")).then(|| Account {
        name: name.into(),
        uid,
        home: home.to_owned(),
    })
}

/// Whether a text can be a login name; one that could be more than a segment of a path cannot.
fn is_name(name: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'$');
    !name.is_empty() && !name.starts_with(['.', '-']) && name.bytes().all(is_good)
}

/// Whose directories are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Users {
    /// Of these login names.
    Named(Vec<String>),
    /// Of everybody with an ordinary number: from [`ORDINARY_UID_MIN`] on, without nobody.
    Ordinary,
}

/// What per-user directories are, resolved once for all workers.
#[derive(Clone, Debug)]
pub struct UserDirsOptions {
    users: BTreeMap<Box<str>, (u32, PathBuf)>,
    root: RootOptions,
    load: Arc<LoadOptions>,
}

/// Why per-user directories cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserDirsError {
    /// The directory is more or less than one name.
    Directory(String),
    /// There is no such user, or one without a home.
    User(String),
    /// The system's administrator has no public directory.
    Administrator(String),
}

impl fmt::Display for UserDirsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(name) => {
                write!(f, "{name:?} is no name of a directory in a home; write it as in \"public_html\"")
            }
            Self::User(name) => write!(f, "there is no user {name:?} with a home of its own"),
            Self::Administrator(name) => {
                write!(f, "{name:?} is the system's administrator, whose files are not served")
            }
        }
    }
}

impl std::error::Error for UserDirsError {}

impl UserDirsOptions {
    /// The directory called `directory` in the homes of those of `accounts` whom `users` means.
    ///
    /// # Errors
    /// [`UserDirsError`].
    pub fn new(
        accounts: &[Account],
        users: &Users,
        directory: &str,
        root: RootOptions,
        load: Arc<LoadOptions>,
    ) -> Result<Self, UserDirsError> {
        // Behind a further slash, a link of the user's could lead anywhere.
        if directory.is_empty() || directory.starts_with('.') || directory.contains(['/', '\0']) {
            return Err(UserDirsError::Directory(directory.to_owned()));
        }
        let mut meant = Vec::new();
        match users {
            Users::Ordinary => {
                let is_ordinary =
                    |account: &&Account| account.uid >= ORDINARY_UID_MIN && account.uid != NOBODY_UID;
                meant.extend(accounts.iter().filter(is_ordinary));
            }
            Users::Named(names) => {
                for name in names {
                    let found = accounts.iter().find(|account| *account.name == **name);
                    let account = found.ok_or_else(|| UserDirsError::User(name.clone()))?;
                    if account.uid == 0 {
                        return Err(UserDirsError::Administrator(name.clone()));
                    }
                    meant.push(account);
                }
            }
        }
        let user = |account: &Account| (account.name.clone(), (account.uid, account.home.join(directory)));
        Ok(Self { users: meant.into_iter().map(user).collect(), root, load })
    }

    /// The directories, by user, for whoever must know what is served.
    pub fn directories(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.users.iter().map(|(name, (_, path))| (&**name, &**path))
    }
}

/// Serves per-user directories; each is opened when it is first asked for. Clones are the same handler.
#[derive(Clone)]
pub struct UserDirs {
    shared: Rc<Shared>,
}

struct Shared {
    options: Arc<UserDirsOptions>,
    store: FileStore,
    open: RefCell<HashMap<Box<str>, Open>>,
}

struct Open {
    /// Nothing: there was no such directory.
    files: Option<StaticFiles>,
    used_ms: u64,
}

impl UserDirs {
    /// Serves these directories by way of the worker's `store`.
    #[must_use]
    pub fn new(options: Arc<UserDirsOptions>, store: &FileStore) -> Self {
        let shared = Shared { options, store: store.clone(), open: RefCell::default() };
        Self { shared: Rc::new(shared) }
    }
}

impl fmt::Debug for UserDirs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserDirs({} users)", self.shared.options.users.len())
    }
}

impl Handler for UserDirs {
    fn handle(&self, exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
        let Some(name) = user_of(exchange.path) else { return Ok(Handled::NotMine) };
        let Some((uid, path)) = self.shared.options.users.get(name) else { return Ok(Handled::NotMine) };
        let now_ms = exchange.moment.ms;
        match self.opened(name, now_ms) {
            Some(Some(files)) => return files.handle(exchange),
            Some(None) => return exchange.error(Status::NOT_FOUND).map(Handled::Answer),
            None => {}
        }
        let options = RootOptions { owner: Some(*uid), ..self.shared.options.root };
        let path = path.clone();
        let pooled = exchange.pool.run(move || OpenRoot::open(&path, options));
        let (this, name) = (self.clone(), Box::from(name));
        Ok(Handled::Later(local_future(async move {
            let opened = match pooled {
                Ok(pooled) => pooled.await,
                Err(busy) => Err(busy),
            };
            let finish: Finish = Box::new(move |exchange| {
                let Ok(opened) = opened else {
                    return exchange.error(Status::SERVICE_UNAVAILABLE).map(Handled::Answer);
                };
                this.keep(name, opened, exchange.moment.ms);
                this.handle(exchange)
            });
            finish
        })))
    }
}

impl UserDirs {
    /// What is known of a user's directory: that it is open, that there is none, or nothing.
    fn opened(&self, name: &str, now_ms: u64) -> Option<Option<StaticFiles>> {
        let mut open = self.shared.open.borrow_mut();
        let known = open.get_mut(name)?;
        if known.files.is_none() && now_ms.saturating_sub(known.used_ms) >= ABSENT_MS {
            return None;
        }
        if known.files.is_some() {
            known.used_ms = now_ms;
        }
        Some(known.files.clone())
    }

    fn keep(&self, name: Box<str>, opened: io::Result<OpenRoot>, now_ms: u64) {
        let prefix = [b"/~", name.as_bytes()].concat().into();
        let files = opened.and_then(|root| {
            let options = FilesOptions { prefix, ..FilesOptions::default() };
            StaticFiles::new(&root, Arc::clone(&self.shared.options.load), options, &self.shared.store)
        });
        let mut open = self.shared.open.borrow_mut();
        if open.len() >= OPEN_USERS_MAX && !open.contains_key(&name) {
            let oldest = open.iter().min_by_key(|(_, open)| open.used_ms).map(|(name, _)| name.clone());
            if let Some(oldest) = oldest {
                open.remove(&oldest);
            }
        }
        open.insert(name, Open { files: files.ok(), used_ms: now_ms });
    }
}

/// The user whose directory a path lies in.
fn user_of(path: &[u8]) -> Option<&str> {
    let rest = path.strip_prefix(b"/~")?;
    let name = &rest[..memchr::memchr(b'/', rest).unwrap_or(rest.len())];
    str::from_utf8(name).ok().filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n\
        daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n\
        ann:x:1000:1000:Ann,,,:/home/ann:/bin/bash\n\
        bob:x:1001:1001::/home/bob:\n\
        nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n\
        rootless:x:1002:1002::/:/bin/sh\n\
        relative:x:1003:1003::home:/bin/sh\n\
        ../up:x:1004:1004::/home/up:/bin/sh\n\
        short:x:1005:1005::/home/short\n\
        +nis\n\
        \n\
        number:x:-1:1::/home/number:/bin/sh\n";

    fn new(users: &Users, directory: &str) -> Result<Vec<String>, UserDirsError> {
        let load = Arc::new(LoadOptions::default());
        let options =
            UserDirsOptions::new(&accounts(PASSWD), users, directory, RootOptions::default(), load)?;
        Ok(options.directories().map(|(name, path)| format!("{name} {}", path.display())).collect())
    }

    #[test]
    fn accounts_are_read() {
        let names: Vec<_> = accounts(PASSWD).into_iter().map(|account| account.name).collect();
        assert_eq!(names, ["root".into(), "daemon".into(), "ann".into(), "bob".into(), Box::from("nobody")]);
        let ann = Account { name: "ann".into(), uid: 1000, home: "/home/ann".into() };
        assert_eq!(accounts(PASSWD)[2], ann);
    }

    #[test]
    fn users_are_named_or_ordinary() {
        let both = ["ann /home/ann/public_html", "bob /home/bob/public_html"];
        assert_eq!(new(&Users::Ordinary, "public_html").unwrap(), both);
        let named = |name: &str| new(&Users::Named(vec![name.to_owned()]), "www");
        assert_eq!(named("daemon").unwrap(), ["daemon /usr/sbin/www"]);
        assert_eq!(named("eve"), Err(UserDirsError::User("eve".into())));
        assert_eq!(named("root"), Err(UserDirsError::Administrator("root".into())));
        for directory in ["", ".", "..", ".ssh", "a/b", "/etc"] {
            assert_eq!(new(&Users::Ordinary, directory), Err(UserDirsError::Directory(directory.into())));
        }
    }

    #[test]
    fn paths_name_users() {
        for (path, user) in [
            ("/~ann", Some("ann")),
            ("/~ann/", Some("ann")),
            ("/~ann/x/~bob", Some("ann")),
            ("/~/", None),
            ("/ann", None),
        ] {
            assert_eq!(user_of(path.as_bytes()), user, "{path}");
        }
    }
}
