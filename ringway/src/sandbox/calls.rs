//! The system calls a server process makes. Others fail with EPERM; those that only an intruder makes kill it.
//!
//! `clone3` is said not to exist: its flags lie in memory, where a filter cannot see them, and the C libraries then take
//! `clone`, of which only that for threads is allowed. Calls on the way of a request are allowed whatever their arguments,
//! so the kernel answers them from a bitmap without running the filter.

use super::Outward;
use libc::c_long;
use ringway_confine::filter::{Action, ArgumentBytes, Calls, Comparison, Condition, Rule, Threads, apply};
use std::io;

/// Memory, threads, time, and what the process learns of itself.
const PROCESS: &[c_long] = &[
    libc::SYS_brk,
    libc::SYS_capget,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_clone3,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_get_robust_list,
    libc::SYS_getcpu,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getgroups,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getrandom,
    libc::SYS_getresgid,
    libc::SYS_getresuid,
    libc::SYS_getrusage,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_getuid,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_prlimit64,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_sigaltstack,
    libc::SYS_sysinfo,
    libc::SYS_tgkill,
    libc::SYS_uname,
];

/// Files. Which of them is landlock's matter.
const FILES: &[c_long] = &[
    libc::SYS_close,
    libc::SYS_close_range,
    CACHESTAT,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fadvise64,
    libc::SYS_fallocate,
    libc::SYS_fcntl,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_lseek,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_read,
    libc::SYS_readahead,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_statx,
    libc::SYS_unlinkat,
    libc::SYS_write,
    libc::SYS_writev,
];

/// Sockets that are there, and waiting.
const SOCKETS: &[c_long] = &[
    libc::SYS_accept4,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_rm_watch,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_listen,
    libc::SYS_pipe2,
    libc::SYS_ppoll,
    libc::SYS_recvfrom,
    libc::SYS_recvmmsg,
    libc::SYS_recvmsg,
    libc::SYS_seccomp,
    libc::SYS_sendfile,
    libc::SYS_sendmmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
];

/// Older forms of some of them, which one processor has.
#[cfg(target_arch = "x86_64")]
const OLDER: &[c_long] = &[
    libc::SYS_access,
    libc::SYS_arch_prctl,
    libc::SYS_dup2,
    libc::SYS_epoll_wait,
    libc::SYS_getrlimit,
    libc::SYS_lstat,
    libc::SYS_open,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_select,
    libc::SYS_stat,
    libc::SYS_time,
    libc::SYS_unlink,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[c_long] = &[];

/// What a server also does that keeps certificates.
#[cfg(target_arch = "x86_64")]
const KEEPING: &[c_long] =
    &[libc::SYS_chmod, libc::SYS_fchmod, libc::SYS_fchmodat, libc::SYS_mkdir, libc::SYS_mkdirat];
#[cfg(not(target_arch = "x86_64"))]
const KEEPING: &[c_long] = &[libc::SYS_fchmod, libc::SYS_fchmodat, libc::SYS_mkdirat];

/// What a server also does whose clients change files, or whose services keep data.
#[cfg(target_arch = "x86_64")]
const CHANGING: &[c_long] =
    &[libc::SYS_copy_file_range, libc::SYS_fchmod, libc::SYS_mkdir, libc::SYS_mkdirat, libc::SYS_rmdir];
#[cfg(not(target_arch = "x86_64"))]
const CHANGING: &[c_long] = &[libc::SYS_copy_file_range, libc::SYS_fchmod, libc::SYS_mkdirat];

/// What no server does: running programs, looking into other processes, changing the machine.
const HOSTILE: &[c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_delete_module,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_finit_module,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_init_module,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_mount,
    libc::SYS_move_mount,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setns,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
];

/// `cachestat(2)`, Linux 6.5, of the same number everywhere.
const CACHESTAT: c_long = 451;

/// What `ioctl(2)` may be asked: `FIONBIO`, `FIONREAD`, `TIOCOUTQ`, and `TCGETS`, by which a terminal is known.
const CONTROLS: [u64; 4] = [0x5421, 0x541b, 0x5411, 0x5401];

/// What `prctl(2)` may be asked: `PR_SET_NAME` of threads, `PR_SET_VMA`, by which C libraries name their memory, and
/// `PR_SET_NO_NEW_PRIVS` before one filter more.
const PROCESS_CONTROLS: [u64; 3] = [15, 0x5356_4d41, 38];

/// Puts the filters in front of every call of this thread and those it starts.
///
/// # Errors
/// A kernel without filters, or another filter that refuses them.
pub(super) fn filter(outward: Outward, changes: bool) -> io::Result<String> {
    let missing = Action::Errno(libc::ENOSYS.unsigned_abs());
    apply(plain(&[libc::SYS_clone3]), missing, Action::Allow, Threads::Own)?;
    apply(plain(HOSTILE), Action::KillProcess, Action::Allow, Threads::Own)?;
    let allowed = allowed(outward, changes)?;
    let count = allowed.len();
    apply(allowed, Action::Allow, refused(), Threads::Own)?;
    Ok(format!("{count} system calls allowed"))
}

/// Refuses, on every thread, what only a start needs: another ring would not be restricted, and other filters could lie.
///
/// # Errors
/// As [`filter`].
pub(super) fn seal() -> io::Result<String> {
    let calls = plain(&[libc::SYS_io_uring_setup, libc::SYS_seccomp]);
    apply(calls, refused(), Action::Allow, Threads::All).map(|()| "no more rings".to_owned())
}

fn refused() -> Action {
    Action::Errno(libc::EPERM.unsigned_abs())
}

fn plain(calls: &[c_long]) -> Calls {
    calls.iter().map(|call| (*call, Vec::new())).collect()
}

fn allowed(outward: Outward, changes: bool) -> io::Result<Calls> {
    let mut calls = plain(PROCESS);
    for list in [FILES, SOCKETS, OLDER] {
        calls.extend(plain(list));
    }
    // A thread, not a process.
    let threads = flag_set(0, libc::CLONE_THREAD.unsigned_abs().into())?;
    // Memory that is written is not executed, and what is executed was mapped at the start.
    let not_executable = |argument| flag_clear(argument, libc::PROT_EXEC.unsigned_abs().into());
    calls.insert(libc::SYS_clone, vec![threads]);
    let mut mapped = vec![not_executable(2)?];
    if outward.libraries {
        // What is executed comes from a file and is never written; which files are read is landlock's matter.
        mapped.push(flag_clear(2, libc::PROT_WRITE.unsigned_abs().into())?);
        // A library is loaded from a copy of its own.
        calls.extend(plain(&[libc::SYS_memfd_create]));
    }
    calls.insert(libc::SYS_mmap, mapped);
    calls.insert(libc::SYS_mprotect, vec![not_executable(2)?]);
    calls.insert(libc::SYS_prctl, one_of(0, &PROCESS_CONTROLS)?);
    calls.insert(libc::SYS_ioctl, one_of(1, &CONTROLS)?);
    calls.insert(libc::SYS_socketpair, one_of(0, &[libc::AF_UNIX.unsigned_abs().into()])?);
    if changes {
        calls.extend(plain(CHANGING));
    }
    let Outward { authority, upstreams, names, libraries: _ } = outward;
    if authority {
        calls.extend(plain(KEEPING));
    }
    if authority || upstreams || names {
        // TCP ports are landlock's matter.
        let mut families = vec![libc::AF_INET, libc::AF_INET6, libc::AF_UNIX];
        if names {
            // C libraries look names up through a daemon's Unix socket and ask by netlink, on a socket they bind, which address
            // is the nearest.
            families.push(libc::AF_NETLINK);
            calls.extend(plain(&[libc::SYS_bind]));
        }
        let families: Vec<u64> = families.into_iter().map(|family| family.unsigned_abs().into()).collect();
        calls.insert(libc::SYS_socket, one_of(0, &families)?);
        calls.extend(plain(&[libc::SYS_connect]));
    }
    Ok(calls)
}

fn one_of(argument: u8, values: &[u64]) -> io::Result<Vec<Rule>> {
    values.iter().map(|value| rule(argument, Comparison::Eq, *value)).collect()
}

fn flag_set(argument: u8, flag: u64) -> io::Result<Rule> {
    rule(argument, Comparison::MaskedEq(flag), flag)
}

fn flag_clear(argument: u8, flag: u64) -> io::Result<Rule> {
    rule(argument, Comparison::MaskedEq(flag), 0)
}

fn rule(argument: u8, comparison: Comparison, value: u64) -> io::Result<Rule> {
    let condition = Condition::new(argument, ArgumentBytes::Dword, comparison, value);
    condition.and_then(|condition| Rule::new(vec![condition])).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_is_both_allowed_and_hostile_and_none_is_listed_twice() {
        let everything = Outward { authority: true, upstreams: true, names: true, libraries: true };
        let allowed = allowed(everything, true).expect("sound rules");
        assert!(HOSTILE.iter().all(|call| !allowed.contains_key(call)));
        let lists = [PROCESS, FILES, SOCKETS, OLDER, KEEPING];
        let listed: usize = lists.iter().map(|list| list.len()).sum();
        let mut all: Vec<_> = lists.concat();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), listed);
    }
    #[test]
    fn what_is_not_reached_for_is_not_allowed() {
        let allows = |outward: Outward, call: c_long| {
            allowed(outward, false).expect("sound rules").contains_key(&call)
        };
        let nothing = Outward::default();
        let (upstreams, names) = (Outward { upstreams: true, ..nothing }, Outward { names: true, ..nothing });
        let authority = Outward { authority: true, ..nothing };
        for (call, by) in [
            (libc::SYS_connect, [false, true, true, true]),
            (libc::SYS_socket, [false, true, true, true]),
            (libc::SYS_bind, [false, false, true, false]),
            (libc::SYS_mkdirat, [false, false, false, true]),
        ] {
            let found = [nothing, upstreams, names, authority].map(|outward| allows(outward, call));
            assert_eq!(found, by, "{call}");
        }
    }
}
