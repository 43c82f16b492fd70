//! What all processes of the machine used together, to tell how much of it was neither the server nor the client.

use crate::measure::process::tick;
use std::time::Duration;

/// CPU time of everything on the machine since it was started; interrupts included, idling not.
pub(super) fn busy() -> Duration {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    tick().saturating_mul(u32::try_from(busy_ticks(&text)).unwrap_or(u32::MAX))
}

/// The line is `cpu user nice system idle iowait irq softirq steal guest guest_nice`; guests are in user already.
fn busy_ticks(text: &str) -> u64 {
    let Some(line) = text.lines().next().and_then(|line| line.strip_prefix("cpu ")) else { return 0 };
    let ticks = line.split_ascii_whitespace().map(|field| field.parse::<u64>().unwrap_or(0)).take(8);
    ticks.enumerate().filter(|(index, _)| *index != 3 && *index != 4).map(|(_, ticks)| ticks).sum()
}

#[test]
fn idling_and_guests_do_not_count() {
    assert_eq!(busy_ticks("cpu  1 2 4 1000 1000 8 16 32 1000 1000\ncpu0 9\n"), 63);
    assert_eq!(busy_ticks(""), 0);
    assert!(busy() > Duration::ZERO);
}
