//! Rates in windows of one second, from a count that was read at times.

/// Length of a window, and how far the next one begins behind it, in seconds.
const WINDOW_S: f64 = 1.0;
const STEP_S: f64 = 0.1;

/// Shares of M by window.
pub(super) struct Windows {
    /// The window's end, in seconds, and the share.
    shares: Vec<(f64, f64)>,
}

/// The shares of several windows.
#[derive(Debug, PartialEq)]
pub(super) struct Summary {
    pub(super) mean: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

impl Windows {
    /// From readings of (seconds, bytes so far), of what was to be `bytes_per_s`.
    pub(super) fn of(readings: &[(f64, u64)], bytes_per_s: u64) -> Self {
        let end = readings.last().map_or(0.0, |reading| reading.0);
        let mut shares = Vec::new();
        let mut step = 0_u32;
        loop {
            let at = WINDOW_S + f64::from(step) * STEP_S;
            if at > end + 1e-9 {
                return Self { shares };
            }
            let bytes = count_at(readings, at) - count_at(readings, at - WINDOW_S);
            shares.push((at, bytes / (bytes_per_s as f64 * WINDOW_S)));
            step += 1;
        }
    }

    pub(super) fn points(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.shares.iter().copied()
    }

    /// The first second's share.
    pub(super) fn first(&self) -> f64 {
        self.shares.first().map_or(0.0, |window| window.1)
    }

    /// The windows that begin after so many seconds.
    pub(super) fn after(&self, settle_s: f64) -> Summary {
        let is_late = |window: &&(f64, f64)| window.0 - WINDOW_S >= settle_s - 1e-9;
        let shares: Vec<f64> = self.shares.iter().filter(is_late).map(|window| window.1).collect();
        let mean = shares.iter().sum::<f64>() / shares.len().max(1) as f64;
        let least = shares.iter().copied().fold(f64::INFINITY, f64::min);
        Summary { mean, least: least.min(mean), most: shares.iter().copied().fold(0.0, f64::max) }
    }
}

/// The count at a time, on the straight line between the readings around it.
fn count_at(readings: &[(f64, u64)], at: f64) -> f64 {
    let place = readings.partition_point(|reading| reading.0 < at);
    let (Some(before), Some(after)) = (readings.get(place.saturating_sub(1)), readings.get(place)) else {
        return readings.last().map_or(0.0, |reading| reading.1 as f64);
    };
    let span = after.0 - before.0;
    if span <= 0.0 {
        return after.1 as f64;
    }
    before.1 as f64 + (after.1 - before.1) as f64 * (at - before.0) / span
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_rate_is_all_of_m_and_a_burst_is_in_its_windows_only() {
        let mut readings: Vec<(f64, u64)> =
            (0..=60_u32).map(|tenth| (f64::from(tenth) / 10.0, 100 * u64::from(tenth))).collect();
        let steady = Windows::of(&readings, 1_000);
        assert_eq!(steady.points().count(), 51);
        let summary = steady.after(2.0);
        assert!((summary.least - 1.0).abs() < 1e-9 && (summary.most - 1.0).abs() < 1e-9, "{summary:?}");
        // Half a second's bytes more, 3.0 s after the beginning.
        readings.iter_mut().filter(|reading| reading.0 > 3.05).for_each(|reading| reading.1 += 500);
        let summary = Windows::of(&readings, 1_000).after(2.0);
        assert!((summary.most - 1.5).abs() < 1e-9 && (summary.least - 1.0).abs() < 1e-9, "{summary:?}");
        assert!((Windows::of(&readings, 1_000).after(4.0).most - 1.0).abs() < 1e-9);
    }

    #[test]
    fn the_first_second_is_told_apart() {
        let windows = Windows::of(&[(0.0, 0), (0.5, 3_000), (1.0, 3_000), (2.0, 4_000)], 1_000);
        assert!((windows.first() - 3.0).abs() < 1e-9);
        assert_eq!(windows.points().count(), 11);
        assert!((windows.after(1.0).mean - 1.0).abs() < 1e-9);
    }
}
