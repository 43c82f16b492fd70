//! Signals that are put off while a program replaces itself: nothing handles them in between, and none is to be lost.

use std::io;

/// Signals a supervisor handles.
const HANDLED: [libc::c_int; 6] =
    [libc::SIGHUP, libc::SIGINT, libc::SIGTERM, libc::SIGUSR1, libc::SIGUSR2, libc::SIGCHLD];

/// Puts off the signals that end a process which does not handle them. The program that is executed next inherits that.
///
/// # Errors
/// What `sigprocmask(2)` says.
pub fn put_off() -> io::Result<()> {
    change(libc::SIG_BLOCK)
}

/// Lets them come, those first that came meanwhile.
///
/// # Errors
/// What `sigprocmask(2)` says.
pub fn let_come() -> io::Result<()> {
    change(libc::SIG_UNBLOCK)
}

/// Puts nothing off any more. Makes one system call, so that a new process may call it before it executes a program.
pub(crate) fn accept_all() -> io::Result<()> {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: I1: the set is initialised by the first call and read by the second.
    let result = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn change(how: libc::c_int) -> io::Result<()> {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: I1: the set is initialised by the first call and read by the others.
    let result = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in HANDLED {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(how, set.as_ptr(), std::ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(result)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_pending(signal: libc::c_int) -> bool {
        let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: I1: the first call initialises the set.
        unsafe { libc::sigpending(set.as_mut_ptr()) == 0 && libc::sigismember(set.as_ptr(), signal) == 1 }
    }

    #[test]
    fn a_signal_that_is_put_off_waits() {
        let outcome = std::thread::spawn(|| {
            put_off().expect("a valid set");
            // SAFETY: I1: no memory is passed; the signal is for this thread, which puts it off.
            unsafe { libc::raise(libc::SIGCHLD) };
            let waits = is_pending(libc::SIGCHLD);
            let_come().expect("a valid set");
            (waits, is_pending(libc::SIGCHLD))
        });
        assert_eq!(outcome.join().expect("nobody dies of it"), (true, false));
    }
}
