//! Descriptors that this process was started with, by number, and those that the program has that is executed in its place.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
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

/// Executes a program in the place of this one, as a service manager does: with `passed` as its descriptors 3 and up, and the
/// variables that say so (`sd_listen_fds(3)`). `complain` hears why, when that cannot be; the process ends then, because it has lost
/// descriptors of its own.
pub fn execute(mut command: Command, passed: Vec<OwnedFd>, complain: impl FnOnce(&io::Error)) -> ! {
    for variable in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
        command.env_remove(variable);
    }
    if !passed.is_empty() {
        let count = passed.len().to_string();
        command.env("LISTEN_PID", std::process::id().to_string()).env("LISTEN_FDS", count);
    }
    let error = match out_of_the_way(passed) {
        Ok(passed) => {
            let targets: Vec<(RawFd, RawFd)> = passed.iter().map(AsRawFd::as_raw_fd).zip(FIRST..).collect();
            let place = move || targets.iter().try_for_each(|(from, to)| renumber(*from, *to));
            // SAFETY: I5: what is done makes system calls, with what was allocated before. I7: it is done in this process, which
            // becomes the program, or ends below.
            unsafe { command.pre_exec(place) };
            command.exec()
        }
        Err(error) => error,
    };
    complain(&error);
    std::process::exit(127)
}

/// The same descriptors with numbers that none of them shall have.
fn out_of_the_way(passed: Vec<OwnedFd>) -> io::Result<Vec<OwnedFd>> {
    let count = RawFd::try_from(passed.len()).ok().filter(|count| *count <= COUNT_MAX);
    let least = FIRST + count.ok_or(io::ErrorKind::InvalidInput)?;
    passed.iter().map(|from| Ok(rustix::io::fcntl_dupfd_cloexec(from, least)?)).collect()
}

/// Gives a descriptor a number, whatever has it, under which programs inherit it.
fn renumber(from: RawFd, to: RawFd) -> io::Result<()> {
    // SAFETY: I1: no memory is passed. I7: who owned the number is gone or goes with this process.
    match unsafe { libc::dup2(from, to) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
