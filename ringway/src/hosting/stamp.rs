//! What tells a library's file from another one in the same place.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Device, inode, bytes, and when it was changed: of the content and of the entry. `None`: it is not there.
pub(crate) fn of(path: &Path) -> Option<[i64; 7]> {
    let number = |value: u64| i64::from_ne_bytes(value.to_ne_bytes());
    let found = path.metadata().ok()?;
    Some([
        number(found.dev()),
        number(found.ino()),
        number(found.size()),
        found.mtime(),
        found.mtime_nsec(),
        found.ctime(),
        found.ctime_nsec(),
    ])
}
