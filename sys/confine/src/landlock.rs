//! Landlock: the calling thread, and all it starts later, reach only the files and ports of a list.
//!
//! The numbers are those of the kernel's `include/uapi/linux/landlock.h`, which never change their meaning.

use crate::check;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

const EXECUTE: u64 = 1 << 0;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const REMOVE_DIR: u64 = 1 << 4;
const REMOVE_FILE: u64 = 1 << 5;
const MAKE_DIR: u64 = 1 << 7;
const MAKE_REG: u64 = 1 << 8;
const REFER: u64 = 1 << 13;
const TRUNCATE: u64 = 1 << 14;
const IOCTL_DEV: u64 = 1 << 15;
/// Reading, and all that is done with ordinary files.
const WRITING: u64 = READ_FILE | READ_DIR | WRITE_FILE | TRUNCATE | MAKE_REG | REMOVE_FILE | REFER;
/// What may be allowed on something that is no directory.
const OF_FILES: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV;

const BIND_TCP: u64 = 1 << 0;
const CONNECT_TCP: u64 = 1 << 1;

const ABSTRACT_UNIX_SOCKETS: u64 = 1 << 0;
const SIGNALS: u64 = 1 << 1;

const RULE_PATH_BENEATH: libc::c_int = 1;
const RULE_NET_PORT: libc::c_int = 2;
const CREATE_RULESET_VERSION: libc::c_uint = 1;

/// The newest version of the interface that this room knows. What later ones add is not used.
const ABI_MAX: u32 = 7;

/// What may be done with a file, or with everything below a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading files and directories.
    Read,
    /// That, and writing, making, renaming and removing ordinary files.
    Write,
    /// That, and making, renaming and removing directories.
    Tree,
}

/// A list of what is allowed, under construction. What it does not name is refused once it is enforced.
#[derive(Debug)]
pub struct Ruleset {
    fd: OwnedFd,
    abi: u32,
}

#[repr(C)]
struct RulesetAttributes {
    handled_access_fs: u64,
    handled_access_net: u64,
    scoped: u64,
}

#[repr(C, packed)]
struct PathBeneath {
    allowed_access: u64,
    parent_fd: RawFd,
}

#[repr(C)]
struct NetPort {
    allowed_access: u64,
    port: u64,
}

/// The version of the interface that the kernel offers, of those this room knows.
///
/// # Errors
/// `ENOSYS`: a kernel without landlock. `EOPNOTSUPP`: one that was started without it. `EPERM`: a filter refuses it.
pub fn abi() -> io::Result<u32> {
    let nothing = std::ptr::null::<RulesetAttributes>();
    // SAFETY: I1: no memory is passed.
    let version = check(unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0usize, CREATE_RULESET_VERSION)
    })?;
    Ok(u32::try_from(version).unwrap_or(0).min(ABI_MAX))
}

impl Ruleset {
    /// An empty list, for everything the kernel's version can refuse.
    ///
    /// # Errors
    /// As [`abi`], or what `landlock_create_ruleset(2)` says.
    pub fn new() -> io::Result<Self> {
        let abi = abi()?;
        let attributes = RulesetAttributes {
            handled_access_fs: handled_files(abi),
            handled_access_net: if abi >= 4 { BIND_TCP | CONNECT_TCP } else { 0 },
            scoped: if abi >= 6 { ABSTRACT_UNIX_SOCKETS | SIGNALS } else { 0 },
        };
        // Older kernels take the longer structure as long as what they do not know is zero.
        let bytes = size_of::<RulesetAttributes>();
        // SAFETY: I1: the kernel reads so many bytes of the structure during the call.
        let fd = check(unsafe {
            libc::syscall(libc::SYS_landlock_create_ruleset, &raw const attributes, bytes, 0)
        })?;
        let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
        // SAFETY: I3: the kernel has just made it.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) }, abi })
    }

    /// The version that is used.
    #[must_use]
    pub fn abi(&self) -> u32 {
        self.abi
    }

    /// Allows `access` to the file at `path`, or to everything below the directory there. What is there now is meant, not
    /// the name: a file that later takes its place is not allowed.
    ///
    /// # Errors
    /// What `open(2)` of the path says, or `landlock_add_rule(2)`.
    pub fn allow(&mut self, path: &Path, access: Access) -> io::Result<()> {
        let file = File::options().read(true).custom_flags(libc::O_PATH).open(path)?;
        let wanted = match access {
            Access::Read => READ_FILE | READ_DIR,
            Access::Write => WRITING,
            Access::Tree => WRITING | MAKE_DIR | REMOVE_DIR,
        };
        let possible = if file.metadata()?.is_dir() { u64::MAX } else { OF_FILES };
        let rule = PathBeneath {
            allowed_access: wanted & possible & handled_files(self.abi),
            parent_fd: file.as_raw_fd(),
        };
        // SAFETY: I1: the kernel reads the rule during the call, and takes its own reference to the file.
        unsafe { self.add(RULE_PATH_BENEATH, (&raw const rule).cast()) }
    }

    /// Allows to connect to a TCP port. Does nothing where the kernel's version refuses no ports.
    ///
    /// # Errors
    /// What `landlock_add_rule(2)` says.
    pub fn allow_connect(&mut self, port: u16) -> io::Result<()> {
        if self.abi < 4 {
            return Ok(());
        }
        let rule = NetPort { allowed_access: CONNECT_TCP, port: u64::from(port) };
        // SAFETY: I1: the kernel reads the rule during the call.
        unsafe { self.add(RULE_NET_PORT, (&raw const rule).cast()) }
    }

    /// Enforces the list on the calling thread and what it starts from now on, for good. The thread must have given up
    /// new privileges.
    ///
    /// # Errors
    /// What `landlock_restrict_self(2)` says.
    pub fn enforce(self) -> io::Result<()> {
        // SAFETY: I1: no memory is passed.
        check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, self.fd.as_raw_fd(), 0) }).map(drop)
    }

    /// # Safety
    /// `rule` points to a rule of this kind for the duration of the call.
    unsafe fn add(&self, kind: libc::c_int, rule: *const libc::c_void) -> io::Result<()> {
        let fd = self.fd.as_raw_fd();
        // SAFETY: I1: the caller vouches for the rule.
        check(unsafe { libc::syscall(libc::SYS_landlock_add_rule, fd, kind, rule, 0) }).map(drop)
    }
}

/// Every access to files that the version can refuse.
fn handled_files(abi: u32) -> u64 {
    let first = (1 << 13) - 1;
    let refer = if abi >= 2 { REFER } else { 0 };
    let truncate = if abi >= 3 { TRUNCATE } else { 0 };
    let ioctl = if abi >= 5 { IOCTL_DEV } else { 0 };
    first | refer | truncate | ioctl
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind::PermissionDenied;
    use std::net::{TcpListener, TcpStream};
    use std::path::PathBuf;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("ringway-confine-{name}-{}", std::process::id()));
            for part in ["read", "write", "other"] {
                std::fs::create_dir_all(path.join(part)).expect("a temporary folder");
                std::fs::write(path.join(part).join("file"), part).expect("a temporary file");
            }
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _gone_already = std::fs::remove_dir_all(&self.0);
        }
    }

    /// Runs on a thread of its own, which alone is restricted.
    fn restricted(prepare: impl FnOnce(&mut Ruleset) + Send, test: impl FnOnce() + Send) {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut rules = match Ruleset::new() {
                    Ok(rules) => rules,
                    Err(error) => return eprintln!("SKIPPED: no landlock: {error}"),
                };
                prepare(&mut rules);
                crate::filter::give_up_new_privileges().expect("every kernel has it");
                rules.enforce().expect("a sound list");
                test();
            });
        });
    }

    #[test]
    fn only_what_is_listed_is_reached_and_only_as_listed() {
        let folder = Folder::new("files");
        let at = |name: &str| folder.0.join(name);
        restricted(
            |rules| {
                rules.allow(&at("read"), Access::Read).expect("it is there");
                rules.allow(&at("write"), Access::Write).expect("it is there");
                rules.allow(&at("other/file"), Access::Read).expect("it is there");
            },
            || {
                let kind = |result: io::Result<()>| result.map_err(|error| error.kind());
                assert_eq!(std::fs::read_to_string(at("read/file")).expect("allowed"), "read");
                assert_eq!(kind(std::fs::write(at("read/file"), "x")), Err(PermissionDenied));
                assert_eq!(kind(std::fs::write(at("read/new"), "x")), Err(PermissionDenied));
                assert_eq!(kind(std::fs::remove_file(at("read/file"))), Err(PermissionDenied));
                std::fs::write(at("write/log"), "a line").expect("allowed");
                std::fs::rename(at("write/log"), at("write/log.1")).expect("allowed");
                std::fs::remove_file(at("write/log.1")).expect("allowed");
                assert_eq!(kind(std::os::unix::fs::symlink("x", at("write/link"))), Err(PermissionDenied));
                assert_eq!(kind(std::fs::create_dir(at("write/folder"))), Err(PermissionDenied));
                assert_eq!(std::fs::read_to_string(at("other/file")).expect("allowed"), "other");
                assert_eq!(kind(std::fs::read_dir(at("other")).map(drop)), Err(PermissionDenied));
                assert_eq!(kind(std::fs::read("/etc/passwd").map(drop)), Err(PermissionDenied));
            },
        );
    }

    #[test]
    fn ports_are_refused_where_the_kernel_can() {
        if !abi().is_ok_and(|abi| abi >= 4) {
            return eprintln!("SKIPPED: this landlock refuses no ports");
        }
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let other = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = |listener: &TcpListener| listener.local_addr().expect("it is bound").port();
        restricted(
            |rules| rules.allow_connect(port(&listener)).expect("a port"),
            || {
                assert!(TcpStream::connect(("127.0.0.1", port(&listener))).is_ok());
                let refused = TcpStream::connect(("127.0.0.1", port(&other))).map_err(|error| error.kind());
                assert_eq!(refused.map(drop), Err(PermissionDenied));
                let bound = TcpListener::bind("127.0.0.1:0").map_err(|error| error.kind());
                assert_eq!(bound.map(drop), Err(PermissionDenied));
            },
        );
    }

    #[test]
    fn older_versions_are_asked_for_what_they_know() {
        assert_eq!(handled_files(1), 0x1fff);
        assert_eq!(handled_files(2), 0x3fff);
        assert_eq!(handled_files(4), 0x7fff);
        assert_eq!(handled_files(7), 0xffff);
    }
}
