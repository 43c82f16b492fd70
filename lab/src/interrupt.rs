//! Ctrl-C and its kin: nothing that the lab started outlives it.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::measure::process::kill_all;

/// What shells say of a program that Ctrl-C ended.
const EXIT_INTERRUPTED: i32 = 130;

static LISTENING: Once = Once::new();
static PATIENT: AtomicBool = AtomicBool::new(false);
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on an interrupt kills what was started and ends the process. Repeating it changes nothing.
pub fn listen() {
    LISTENING.call_once(|| match Signals::new([SIGINT, SIGTERM, SIGHUP]) {
        Ok(signals) => drop(std::thread::spawn(move || answer(signals))),
        // Then an interrupt ends the process as if nobody listened, and the commands see their own Ctrl-C only.
        Err(error) => eprintln!("ringway-lab: interrupts are not heard: {error}"),
    });
}

/// From now on the first interrupt is only noted, for a run that asks [`interrupted`] often and has something to tell at
/// its end; the second one ends the process.
pub fn be_patient() {
    listen();
    PATIENT.store(true, Ordering::Relaxed);
}

/// Whether an interrupt was noted.
#[must_use]
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

fn answer(mut signals: Signals) {
    for _signal in signals.forever() {
        if PATIENT.load(Ordering::Relaxed) && !INTERRUPTED.swap(true, Ordering::Relaxed) {
            continue;
        }
        kill_all();
        std::process::exit(EXIT_INTERRUPTED);
    }
}
