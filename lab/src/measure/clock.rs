//! CPU clocks of this thread and this process, in nanoseconds.

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// CPU time, user and system, that the calling thread has used.
#[must_use]
pub fn thread_cpu() -> Duration {
    read(ClockId::ThreadCPUTime)
}

/// CPU time, user and system, that all threads of this process have used.
#[must_use]
pub fn process_cpu() -> Duration {
    read(ClockId::ProcessCPUTime)
}

fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[test]
fn work_takes_cpu_time_and_the_process_counts_its_threads() {
    // The process first: what is between the two counts for it.
    let process = process_cpu();
    let thread = thread_cpu();
    while thread_cpu() - thread < Duration::from_millis(2) {
        std::hint::spin_loop();
    }
    assert!(process_cpu() - process >= Duration::from_millis(2));
}
