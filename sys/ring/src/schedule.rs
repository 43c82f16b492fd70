//! How the kernel's scheduler sees a thread.

use crate::socket::check;
use std::io;

/// Marks the calling thread as one that need not run the moment it is woken (`SCHED_BATCH`, sched(7)): where it shares a core, who
/// wakes it goes on until it sleeps itself, and what is asked of the thread comes in batches. On a core of its own nothing
/// changes. Threads that it starts later inherit it.
///
/// # Errors
/// What `sched_setscheduler(2)` says, such as that a sandbox does not allow it; nothing changes then.
pub fn wait_for_who_wakes() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: I6: the kernel reads the parameters during the call.
    check(unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters) }).map(drop)
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
