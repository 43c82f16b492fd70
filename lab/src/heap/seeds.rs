//! What the seed found: an article of 1999 on thread-private heaps, Windows NT 4, HeapAlloc and HeapFree.

/// Where its figures come from, for tables and figures.
pub(super) const SOURCE: &str = "Windows NT 4, 1999";

/// Above so many bytes a private heap gained nothing there.
pub(super) const CROSSOVER_BYTES: usize = 61_432;
/// Below so many neither.
const GAINING_BYTES_MIN: usize = 1024;
/// In between, how many times faster four private heaps were than one.
pub(super) const GAIN: (f64, f64) = (9.0, 43.0);

/// Allocations a thread of its first figure.
pub(super) const ALLOCATIONS: usize = 200_000;
/// Threads of its third figure and of its second program.
pub(super) const THREADS: usize = 4;
/// Objects a thread of its second program, and the bytes of each.
pub(super) const TYPED_OBJECTS: usize = 20_000;
pub(super) const TYPED_BYTES: usize = 1_024;

/// What it says of blocks of so many bytes.
pub(super) fn gain(bytes: usize) -> String {
    if bytes < GAINING_BYTES_MIN {
        "none to speak of".to_owned()
    } else if bytes <= CROSSOVER_BYTES {
        format!("{}–{} ×", GAIN.0, GAIN.1)
    } else {
        "hardly any".to_owned()
    }
}

#[test]
fn the_gain_is_between_the_ends() {
    let told = [512, 1024, CROSSOVER_BYTES, 65_536].map(gain);
    assert_eq!(told, ["none to speak of", "9–43 ×", "9–43 ×", "hardly any"]);
}
