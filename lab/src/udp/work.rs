//! Work per datagram: a chain of dependent arithmetic that a compiler can neither drop nor shorten.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Iterations of one calibration, about two milliseconds.
const CALIBRATION_ITERATIONS: u32 = 1_000_000;
/// Calibrations, of which the fastest counts: the others were disturbed.
const CALIBRATIONS: usize = 9;

/// The value that the chain carries from datagram to datagram, so that no step can begin before the last one ended.
#[derive(Debug)]
pub(super) struct Work {
    value: u64,
    mask: u64,
    factor: u64,
    iterations: u32,
}

impl Work {
    /// A chain of `iterations` steps a datagram; 0 is none.
    pub(super) fn new(iterations: u32) -> Work {
        // What the compiler cannot know it cannot fold into the steps.
        let (mask, factor) = black_box((0x9e37_79b9_7f4a_7c15, 6_364_136_223_846_793_005));
        Work { value: 1, mask, factor, iterations }
    }

    /// The work of one datagram.
    #[inline]
    pub(super) fn step(&mut self) {
        let mut value = self.value;
        for _ in 0..self.iterations {
            value = (value ^ self.mask).wrapping_mul(self.factor);
        }
        self.value = value;
    }

    /// Iterations that take `time` on this machine when nothing disturbs them.
    pub(super) fn iterations_for(time: Duration) -> u32 {
        let iterations = time.as_nanos() as f64 / calibrate_ns();
        // Saturates, and what is asked for lies far below that.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and saturates")]
        let iterations = iterations.round() as u32;
        iterations.max(1)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // Somebody looks at the result, as far as the compiler knows.
        black_box(self.value);
    }
}

/// Nanoseconds an iteration takes here.
pub(super) fn calibrate_ns() -> f64 {
    let once = || {
        let mut work = Work::new(CALIBRATION_ITERATIONS);
        let started = Instant::now();
        work.step();
        black_box(work.value);
        started.elapsed().as_nanos() as f64 / f64::from(CALIBRATION_ITERATIONS)
    };
    (0..CALIBRATIONS).map(|_| once()).fold(f64::INFINITY, f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_iteration_is_computed() {
        let mut twice = Work::new(50);
        twice.step();
        twice.step();
        let mut once = Work::new(100);
        once.step();
        assert_eq!(twice.value, once.value, "the chain goes on where the last datagram left it");
        let expected = (0..100).fold(1_u64, |value, _| (value ^ once.mask).wrapping_mul(once.factor));
        assert_eq!(once.value, expected);
    }

    #[test]
    fn an_iteration_takes_cycles() {
        let ns = calibrate_ns();
        assert!(ns > 0.3, "a multiplication and an exclusive or take more than {ns} ns");
    }
}
