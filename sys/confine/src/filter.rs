//! Filters of system calls (seccomp): programs the kernel runs before each, which cannot be taken away again.

use crate::check;
use seccompiler::{BpfProgram, SeccompFilter, apply_filter, apply_filter_all_threads};
pub use seccompiler::{
    SeccompAction as Action, SeccompCmpArgLen as ArgumentBytes, SeccompCmpOp as Comparison,
    SeccompCondition as Condition, SeccompRule as Rule,
};
use std::collections::BTreeMap;
use std::io;

/// A list of system calls by number. One with rules is meant only when one of them holds.
pub type Calls = BTreeMap<i64, Vec<Rule>>;

/// Which threads a filter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// The calling one, and those it starts from now on.
    Own,
    /// Every thread of the process.
    All,
}

/// Puts a filter in front of system calls: those in `calls` meet `action`, the others `otherwise`. Where several filters
/// are in place the strictest answer counts. New privileges are given up on the way, as the kernel wants it.
///
/// # Errors
/// A processor or kernel that has no filters; `EPERM` or `EACCES` where another filter refuses it; a list that the kernel
/// finds too long.
pub fn apply(calls: Calls, action: Action, otherwise: Action, threads: Threads) -> io::Result<()> {
    let architecture = std::env::consts::ARCH.try_into().map_err(io::Error::other)?;
    let filter = SeccompFilter::new(calls, otherwise, action, architecture).map_err(io::Error::other)?;
    let program: BpfProgram = filter.try_into().map_err(io::Error::other)?;
    match threads {
        Threads::Own => apply_filter(&program),
        Threads::All => apply_filter_all_threads(&program),
    }
    .map_err(|error| match error {
        seccompiler::Error::Prctl(error) | seccompiler::Error::Seccomp(error) => error,
        other => io::Error::other(other),
    })
}

/// Gives up that any program this thread executes gets privileges that it has not (set-user-ID files). For good.
///
/// # Errors
/// A filter that refuses it.
pub fn give_up_new_privileges() -> io::Result<()> {
    // SAFETY: I1: no memory is passed.
    check(libc::c_long::from(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listed_call_fails_as_it_shall_and_others_go_on() {
        let refused = std::thread::spawn(|| {
            let calls = Calls::from([(libc::SYS_getppid, Vec::new())]);
            let errno = Action::Errno(libc::EPERM.unsigned_abs());
            if let Err(error) = apply(calls, errno, Action::Allow, Threads::Own) {
                eprintln!("SKIPPED: {error}");
                return None;
            }
            // SAFETY: I1: no memory is passed.
            let refused = check(unsafe { libc::syscall(libc::SYS_getppid) });
            // SAFETY: I1: no memory is passed.
            assert!(check(unsafe { libc::syscall(libc::SYS_getpid) }).is_ok());
            Some(refused.map_err(|error| error.raw_os_error()))
        });
        let refused = refused.join().expect("the thread lives");
        assert!(refused.is_none_or(|refused| refused == Err(Some(libc::EPERM))));
        // SAFETY: I1: no memory is passed.
        assert!(check(unsafe { libc::syscall(libc::SYS_getppid) }).is_ok(), "other threads are not filtered");
    }
}
