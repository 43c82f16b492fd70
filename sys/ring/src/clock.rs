//! The CPU clock of another process, for those who measure one.

use crate::socket::check;
use std::io;
use std::time::Duration;

/// CPU time, user and system, that all threads of a process have used, ended ones included, to the nanosecond. It can be
/// read of any process that one can see, and of one that has ended until it is waited for.
///
/// # Errors
/// `InvalidInput` when there is no such process.
pub fn process_cpu_time(pid: u32) -> io::Result<Duration> {
    let pid = libc::pid_t::try_from(pid).map_err(|_too_large| io::ErrorKind::InvalidInput)?;
    let mut clock: libc::clockid_t = 0;
    // SAFETY: I6: the library writes one number into `clock` during the call.
    if unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) } != 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: I6: the kernel writes one time into `time` during the call.
    check(unsafe { libc::clock_gettime(clock, &raw mut time) })?;
    Ok(Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0)))
}

#[test]
fn our_own_clock_runs_and_a_strangers_is_refused() {
    let before = process_cpu_time(std::process::id()).expect("we can be seen");
    let spun = std::thread::spawn(move || {
        while process_cpu_time(std::process::id()).expect("still") < before + Duration::from_millis(2) {
            std::hint::spin_loop();
        }
    });
    spun.join().expect("it ends");
    assert!(process_cpu_time(std::process::id()).expect("still") >= before + Duration::from_millis(2));
    assert_eq!(process_cpu_time(u32::MAX).map_err(|error| error.kind()), Err(io::ErrorKind::InvalidInput));
    assert!(process_cpu_time(4_194_305).is_err(), "no process has a number above the kernel's highest");
}

#[test]
fn the_clock_of_an_ended_process_can_be_read_until_it_is_waited_for() {
    let mut child =
        std::process::Command::new("true").stdin(std::process::Stdio::piped()).spawn().expect("it starts");
    let stat = format!("/proc/{}/stat", child.id());
    while !std::fs::read_to_string(&stat).expect("a zombie has a stat").contains(") Z ") {
        std::thread::yield_now();
    }
    assert!(process_cpu_time(child.id()).expect("a zombie has a clock") > Duration::ZERO);
    child.wait().expect("it is ours");
}
