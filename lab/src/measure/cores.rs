//! Cores: how many there are, which ones may be used, and keeping a thread on one of them.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::refusal::Refusal;

/// The cores that this thread may run on, ascending. Never empty.
#[must_use]
pub fn allowed() -> Vec<usize> {
    match sched_getaffinity(None) {
        Ok(set) => (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect(),
        // More cores than a set can name: the first ones then.
        Err(_) => (0..online()).collect(),
    }
}

/// How many cores are online.
#[must_use]
pub fn online() -> usize {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    ranges(text.trim()).unwrap_or(1).max(1)
}

/// The first `count` allowed cores.
///
/// # Errors
/// Refuses with `purpose` ("the server and the client need a core each") when there are not as many.
pub fn require(count: usize, purpose: &str) -> Result<Vec<usize>, Refusal> {
    let mut cores = allowed();
    if cores.len() < count {
        let here = cores.len();
        return Err(Refusal::new(format!(
            "{purpose}, which takes {count} cores, and only {here} may be used here"
        )));
    }
    cores.truncate(count);
    Ok(cores)
}

/// Keeps the calling thread, and the processes and threads that it starts from now on, on one core.
///
/// # Errors
/// Refuses a core that does not exist or is not allowed here.
pub fn pin(core: usize) -> Result<(), Refusal> {
    pin_to(&[core])
}

/// The same for several cores.
///
/// # Errors
/// Refuses when none of them exists and is allowed here.
pub fn pin_to(cores: &[usize]) -> Result<(), Refusal> {
    sched_setaffinity(None, &set(cores)?).map_err(|_errno| {
        Refusal::new(format!("none of the cores {cores:?} may be used here, but {:?}", allowed()))
    })
}

fn set(cores: &[usize]) -> Result<CpuSet, Refusal> {
    let mut set = CpuSet::new();
    for core in cores {
        if *core >= CpuSet::MAX_CPU {
            return Err(Refusal::new(format!("there is no core {core}")));
        }
        set.set(*core);
    }
    Ok(set)
}

/// How many numbers a list such as `0-3,6` names.
fn ranges(list: &str) -> Option<usize> {
    let parts = list.split(',').map(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        Some((last + 1).saturating_sub(first))
    });
    parts.sum()
}

#[test]
fn lists_of_cores_are_counted() {
    assert_eq!(ranges("0-3,6"), Some(5));
    assert_eq!(ranges("0"), Some(1));
    assert_eq!(ranges(""), None);
}

#[test]
fn a_pinned_thread_stays_on_its_core() {
    let last = allowed().pop().expect("a thread runs somewhere");
    let seen = std::thread::spawn(move || pin(last).map(|()| allowed())).join().expect("the thread ends");
    assert_eq!(seen, Ok(vec![last]));
}

#[test]
fn impossible_cores_are_refused() {
    assert!(pin(100_000).is_err_and(|refusal| refusal.to_string() == "there is no core 100000"));
    assert!(std::thread::spawn(|| pin(1000)).join().expect("the thread ends").is_err());
    let refusal = require(5000, "every client needs a core").expect_err("nobody has so many");
    assert!(refusal.to_string().starts_with("every client needs a core, which takes 5000 cores, and only "));
}
