//! A process that burns known amounts of CPU time by its own CPU clock, in threads, children and orphans.
//!
//! The plan is in `BURN`: a ledger's path, then parts such as `self=300`, `threads=4x50`, `children=3x200`, `orphans=2x100`
//! in milliseconds. Every process writes what it used, all in all, into the ledger before it ends.

use rustix::time::{ClockId, clock_gettime};
use std::fs::OpenOptions;
use std::io::Write;
use std::process::Command;
use std::time::Duration;

/// Does nothing as a test; burns in the process that the tests have watched.
#[test]
fn burn_as_told() {
    let Ok(plan) = std::env::var("BURN") else { return };
    let mut parts = plan.split(';');
    let ledger = parts.next().expect("the plan begins with a ledger").to_owned();
    for part in parts {
        let (what, amount) = part.split_once('=').expect("a part is a name and an amount");
        let (count, each) = amount.split_once('x').unwrap_or(("1", amount));
        let (count, each): (u64, u64) =
            (count.parse().expect("a count"), each.parse().expect("milliseconds"));
        match what {
            "self" => burn(each),
            "threads" => {
                (0..count).for_each(|_| std::thread::spawn(move || burn(each)).join().expect("it burns"))
            }
            "children" => (0..count).for_each(|_| child(&format!("{ledger};self={each}"), true)),
            // Its parent ends at once, so it goes on as an orphan.
            "orphans" => (0..count).for_each(|_| child(&format!("{ledger};leave={each}"), true)),
            "leave" => child(&format!("{ledger};self={each}"), false),
            other => panic!("a plan cannot have {other}"),
        }
    }
    let used = clock(ClockId::ProcessCPUTime);
    let mut file = OpenOptions::new().append(true).open(ledger).expect("the ledger is there");
    file.write_all(format!("{}\n", used.as_secs_f64() * 1e3).as_bytes()).expect("it takes a line");
    // What the harness does at its end would not be in the ledger.
    std::process::exit(0);
}

fn burn(milliseconds: u64) {
    let end = clock(ClockId::ThreadCPUTime) + Duration::from_millis(milliseconds);
    while clock(ClockId::ThreadCPUTime) < end {
        std::hint::spin_loop();
    }
}

fn clock(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).expect("nanoseconds are fewer"))
}

#[allow(clippy::zombie_processes, reason = "an orphan is what the tests are about")]
fn child(plan: &str, wait: bool) {
    let mut child = Command::new(std::env::current_exe().expect("this is a file"))
        .args(["--exact", "burner::burn_as_told", "--test-threads=1"])
        .env("BURN", plan)
        .spawn()
        .expect("a child can be started");
    if wait {
        match child.wait() {
            Ok(status) => assert!(status.success()),
            // The plan is carried out by a process that ignores its children's ends: then there is nothing to be had.
            Err(error) => assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::CHILD.raw_os_error())),
        }
    }
}
