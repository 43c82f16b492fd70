//! How the kernel's scheduler sees a thread.

use std::io;

/// Marks the calling thread as one that need not run the moment it is woken (`SCHED_BATCH`, sched(7)): where it shares a core, who
/// wakes it goes on until it sleeps itself, and what is asked of the thread comes in batches. On a core of its own nothing
/// changes. Threads that it starts later inherit it.
///
/// # Errors
/// What `sched_setscheduler(2)` says, such as that a sandbox does not allow it; nothing changes then.
pub fn wait_for_who_wakes() -> io::Result<()> {
    // The kernel's `struct sched_param` is this one number. C libraries differ in theirs, and musl's function refuses.
    let priority: libc::c_int = 0;
    // SAFETY: I6: the kernel reads the number during the call.
    let result =
        unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, libc::SCHED_BATCH, &raw const priority) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_says_that_it_can_wait() {
        let policy = std::thread::spawn(|| {
            wait_for_who_wakes().expect("any thread may");
            let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("proc is there");
            // proc(5): the 41st field; the second one, in brackets, may have blanks.
            let behind_name = stat.rsplit_once(')').expect("a name").1;
            behind_name.split_whitespace().nth(38).map(str::to_owned)
        });
        assert_eq!(policy.join().expect("no panic").as_deref(), Some("3"), "SCHED_BATCH");
    }
}
