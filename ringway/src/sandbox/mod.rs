//! The sandbox: what a server process gives up for good before its first thread or ring exists.
//!
//! Each layer holds by itself, and each is announced. Where the machine does not offer one (an old kernel, a container's
//! filter) the server runs without it and says so; only a user that was asked for and cannot be had is an error.

mod calls;
mod capabilities;
mod identity;

pub use identity::Identity;

use ringway_confine::landlock::{self, Access, Ruleset};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What a server process needs. It gets that and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// Whether anything but the user is given up.
    pub is_off: bool,
    /// Files, and directories with all that is in them, that are read. What is not there is passed over.
    pub read: Vec<PathBuf>,
    /// Directories (or files) in which files are written, made, renamed and removed.
    pub write: Vec<PathBuf>,
    /// Directories in which that is done with directories too, as clients ask.
    #[serde(default)]
    pub trees: Vec<PathBuf>,
    /// TCP ports that are connected to.
    pub connect: Vec<u16>,
    /// What it reaches out for.
    #[serde(default)]
    pub outward: Outward,
    /// Who serves, when that is somebody else than who starts.
    pub identity: Option<Identity>,
}

/// What a server process reaches out for. Which TCP ports that may be is said in [`Rules::connect`]; no kernel that is known here
/// can say which Unix sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Outward {
    /// An authority is asked for certificates, which are kept.
    pub authority: bool,
    /// Workers connect to servers behind this one.
    pub upstreams: bool,
    /// Names are looked up.
    pub names: bool,
    /// Shared libraries are loaded.
    pub libraries: bool,
}

impl Outward {
    /// Whether all that `other` reaches for is reached for by this too.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        (self.authority || !other.authority)
            && (self.upstreams || !other.upstreams)
            && (self.names || !other.names)
            && (self.libraries || !other.libraries)
    }
}

/// A layer of the sandbox, and whether it is in place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Its name.
    pub name: String,
    /// Whether it is in place.
    pub state: State,
}

/// Whether a layer is in place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// In place, with these particulars.
    Active(String),
    /// Not possible here, for this reason.
    Unavailable(String),
    /// Not wanted.
    Off,
}

impl Layer {
    /// A layer in this state.
    #[must_use]
    pub fn new(name: &str, state: State) -> Self {
        Self { name: name.to_owned(), state }
    }

    fn tried(name: &str, outcome: io::Result<String>) -> Self {
        Self::new(name, outcome.map_or_else(|error| State::Unavailable(reason(&error)), State::Active))
    }

    /// Whether it is in place.
    #[must_use]
    pub fn is_active(&self) -> bool {
        matches!(self.state, State::Active(_))
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            State::Active(what) => write!(f, "{}: active ({what})", self.name),
            State::Unavailable(why) => write!(f, "{}: unavailable ({why})", self.name),
            State::Off => write!(f, "{}: off", self.name),
        }
    }
}

/// Restricts this process for good. It must have one thread: what other threads may do would not change.
///
/// # Errors
/// A sentence: the user that was asked for cannot be had.
pub fn restrict(rules: &Rules) -> Result<Vec<Layer>, String> {
    if rules.is_off {
        let user = identity::assume(rules.identity.as_ref())?;
        let off = ["no new privileges", "landlock", "capabilities", "seccomp"];
        return Ok(off.map(|name| Layer::new(name, State::Off)).into_iter().chain([user]).collect());
    }
    let privileges = ringway_confine::filter::give_up_new_privileges().map(|()| "set".to_owned());
    // While this is still the user who may look into every directory.
    let files = confine_files(rules);
    // Who is nobody in particular may not take capabilities from the bounding set.
    let bounding = capabilities::empty_bounding_set();
    let user = identity::assume(rules.identity.as_ref())?;
    let capabilities = capabilities::give_up(bounding);
    let filter = calls::filter(rules.outward, !rules.trees.is_empty());
    Ok(vec![
        Layer::tried("no new privileges", privileges),
        Layer::tried("landlock", files),
        user,
        Layer::tried("capabilities", capabilities),
        Layer::tried("seccomp", filter),
    ])
}

/// Refuses what is needed only while a server starts: to be called once its threads and rings are there.
#[must_use]
pub fn seal() -> Layer {
    Layer::tried("seccomp of the running server", calls::seal())
}

/// What this machine offers, for people.
#[must_use]
pub fn offers() -> String {
    let landlock = match landlock::abi() {
        Ok(abi) => format!("landlock version {abi}"),
        Err(error) => format!("no landlock ({})", reason(&error)),
    };
    let seccomp = match rustix::thread::secure_computing_mode() {
        Ok(_) => "seccomp".to_owned(),
        Err(error) => format!("no seccomp ({})", reason(&error.into())),
    };
    format!("{landlock}, {seccomp}")
}

fn confine_files(rules: &Rules) -> io::Result<String> {
    let mut ruleset = Ruleset::new()?;
    let read = allow_all(&mut ruleset, &rules.read, Access::Read)?;
    let written = allow_all(&mut ruleset, &rules.write, Access::Write)?
        + allow_all(&mut ruleset, &rules.trees, Access::Tree)?;
    for port in &rules.connect {
        ruleset.allow_connect(*port)?;
    }
    let abi = ruleset.abi();
    ruleset.enforce()?;
    let ports = match (abi, rules.connect.len()) {
        (..4, _) => "TCP ports not covered".to_owned(),
        (_, 0) => "no TCP port".to_owned(),
        (_, count) => format!("{count} TCP ports"),
    };
    Ok(format!("version {abi}: {read} paths to read, {written} to write, {ports}"))
}

/// Allows what is there; how many that was.
fn allow_all(ruleset: &mut Ruleset, paths: &[PathBuf], access: Access) -> io::Result<usize> {
    let mut count = 0;
    for path in paths {
        match ruleset.allow(path, access) {
            Ok(()) => count += 1,
            // Serving will say what is missing; the sandbox must not be the reason that nothing is served.
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(at_path(path, &error)),
        }
    }
    Ok(count)
}

fn is_missing(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), NotFound | NotADirectory | PermissionDenied)
}

fn at_path(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Why a layer is not possible, in words for the operator.
fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        // A kernel that was built or started without it.
        Some(libc::ENOSYS | libc::EOPNOTSUPP) => "this kernel does not have it".to_owned(),
        // A container's own filter, mostly.
        Some(libc::EPERM | libc::EACCES) => "it is refused here, as containers do".to_owned(),
        _ => error.to_string(),
    }
}
