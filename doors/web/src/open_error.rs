//! Why a file could not be opened, sorted by who must act.

use std::fmt;

use rustix::io::Errno;

/// Why a file could not be opened. Small and `Copy`; the public words are the status' own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OpenError {
    /// There is no such file.
    NotFound,
    /// It is there and not to be served: no permission, a link that leads out of the root, not a file or directory.
    Forbidden,
    /// The process or the machine has no descriptor left; a later try may succeed.
    TooManyFiles,
    /// Only waiting for the disk would tell: ask again from the thread pool.
    WouldBlock,
    /// Anything else the kernel said, by error number.
    Other(i32),
}

impl OpenError {
    /// The status that tells the client: 404, 403, 503 or 500.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::NotFound => 404,
            Self::Forbidden => 403,
            Self::TooManyFiles | Self::WouldBlock => 503,
            Self::Other(_) => 500,
        }
    }

    /// Whether the answer holds for a while and may be remembered.
    #[must_use]
    pub fn is_lasting(self) -> bool {
        matches!(self, Self::NotFound | Self::Forbidden)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("no such file"),
            Self::Forbidden => f.write_str("not allowed to be served"),
            Self::TooManyFiles => f.write_str("too many open files"),
            Self::WouldBlock => f.write_str("needs the disk"),
            Self::Other(errno) => write!(f, "{}", std::io::Error::from_raw_os_error(*errno)),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<Errno> for OpenError {
    fn from(errno: Errno) -> Self {
        match errno {
            // NOTDIR: a file used as a directory. NAMETOOLONG, INVAL: no file can have such a name.
            Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::INVAL => Self::NotFound,
            // ACCESS, PERM: permissions. LOOP: a link where none is allowed, or links in a circle. XDEV: the way leads out
            // of the root. NXIO, NODEV: a socket, or a device nobody answers for.
            Errno::ACCESS | Errno::PERM | Errno::LOOP | Errno::XDEV | Errno::NXIO | Errno::NODEV => {
                Self::Forbidden
            }
            // MFILE: this process' limit. NFILE: the machine's.
            Errno::MFILE | Errno::NFILE => Self::TooManyFiles,
            // From the cache-only variants: not cached. Also a lease that another process must give up first.
            Errno::AGAIN => Self::WouldBlock,
            other => Self::Other(other.raw_os_error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_sorted() {
        for (errno, wanted, status) in [
            (Errno::NOENT, OpenError::NotFound, 404),
            (Errno::NAMETOOLONG, OpenError::NotFound, 404),
            (Errno::ACCESS, OpenError::Forbidden, 403),
            (Errno::XDEV, OpenError::Forbidden, 403),
            (Errno::MFILE, OpenError::TooManyFiles, 503),
            (Errno::NFILE, OpenError::TooManyFiles, 503),
            (Errno::AGAIN, OpenError::WouldBlock, 503),
            (Errno::IO, OpenError::Other(5), 500),
        ] {
            let error = OpenError::from(errno);
            assert_eq!((error, error.status()), (wanted, status));
            assert_eq!(error.is_lasting(), matches!(status, 404 | 403));
            assert!(!error.to_string().is_empty());
        }
    }
}
