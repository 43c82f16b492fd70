//! Descriptors that this process was started with, by number.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::Mutex;

/// The first number that a service manager passes (`SD_LISTEN_FDS_START`).
pub const FIRST: RawFd = 3;

/// Most descriptors that are adopted.
pub const COUNT_MAX: RawFd = 1024;

/// Numbers below this, from [`FIRST`], are adopted already.
static ADOPTED: Mutex<RawFd> = Mutex::new(FIRST);

/// Makes `count` descriptors, which whoever executed this program passed as numbers 3 and up, this process's own, and
/// keeps them from programs it executes itself. Can be done once, and before the process opens anything.
///
/// # Errors
/// `InvalidInput` for more than [`COUNT_MAX`], `AlreadyExists` the second time, `EBADF` for a number that is not open.
pub fn adopt(count: RawFd) -> io::Result<Vec<OwnedFd>> {
    if !(0..=COUNT_MAX).contains(&count) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut adopted = ADOPTED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if *adopted != FIRST {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let numbers = FIRST..FIRST + count;
    for number in numbers.clone() {
        // SAFETY: I1: no memory is passed; the flag of a descriptor that is not open cannot be set.
        if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    *adopted = numbers.end;
    // SAFETY: I2: each is open, was passed to this process, and the table above lets nobody adopt it again.
    Ok(numbers.map(|number| unsafe { OwnedFd::from_raw_fd(number) }).collect())
}
