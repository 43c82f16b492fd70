//! What happened when: a row for every stretch of a run, for plots of connections, rates and latencies over time.

use std::time::Duration;

use crate::measure::Latency;
use crate::measure::process::Reading;

/// Rows of a run at most; when there are more, two become one.
const ROWS_MAX: usize = 1200;

/// One stretch of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Row {
    /// When it ended, in seconds from the beginning of the run.
    pub at_s: f64,
    /// How long it was, in seconds.
    pub seconds: f64,
    /// Connections that were open at its end.
    pub open: u32,
    /// Answers in it.
    pub answers: u64,
    /// Bytes of answers in it.
    pub bytes: u64,
    /// Failures in it.
    pub failed: u64,
    /// Half of its answers came within this time, in µs; not a number without answers.
    pub p50_us: f64,
    /// 99 of 100.
    pub p99_us: f64,
    /// 999 of 1000.
    pub p999_us: f64,
    /// The slowest.
    pub longest_us: f64,
    /// CPU time of the server in it, in seconds.
    pub server_cpu_s: Option<f64>,
    /// Resident memory of the server at its end, in KiB.
    pub server_kib: Option<u64>,
}

/// Makes rows of what is counted.
#[derive(Debug)]
pub struct Series {
    rows: Vec<Row>,
    interval: Duration,
    begin: Duration,
    latency: Latency,
    answers: u64,
    bytes: u64,
    failed: u64,
    server: Option<Reading>,
}

impl Series {
    /// Rows of `interval`.
    #[must_use]
    pub fn new(interval: Duration) -> Series {
        Series {
            rows: Vec::new(),
            interval,
            begin: Duration::ZERO,
            latency: Latency::new(),
            answers: 0,
            bytes: 0,
            failed: 0,
            server: None,
        }
    }

    /// When the next row is due.
    #[must_use]
    pub fn due(&self) -> Duration {
        self.begin + self.interval
    }

    /// An answer that took so long.
    pub fn answered(&mut self, ns: u64) {
        self.answers += 1;
        self.latency.record(ns);
    }

    /// Bytes of answers.
    pub fn received(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// A row ends.
    pub fn close(&mut self, now: Duration, open: u32, failed: u64, server: Option<Reading>) {
        let us = |percent: f64| {
            if self.latency.count() == 0 { f64::NAN } else { self.latency.percentile(percent) as f64 / 1e3 }
        };
        let cpu =
            server.zip(self.server).map(|(now, before)| now.cpu.since(before.cpu).total().as_secs_f64());
        self.rows.push(Row {
            at_s: now.as_secs_f64(),
            seconds: now.saturating_sub(self.begin).as_secs_f64(),
            open,
            answers: self.answers,
            bytes: self.bytes,
            failed: failed - self.failed,
            p50_us: us(50.0),
            p99_us: us(99.0),
            p999_us: us(99.9),
            longest_us: us(100.0),
            server_cpu_s: cpu,
            server_kib: server.map(|reading| reading.resident_kib),
        });
        (self.begin, self.answers, self.bytes, self.failed, self.server) = (now, 0, 0, failed, server);
        self.latency = Latency::new();
        if self.rows.len() >= ROWS_MAX {
            self.rows = self.rows.chunks(2).map(joined).collect();
            self.interval *= 2;
        }
    }

    /// What the server had used when the first row began.
    pub fn begin(&mut self, server: Option<Reading>) {
        self.server = server;
    }

    /// All rows.
    #[must_use]
    pub fn finish(self) -> Vec<Row> {
        self.rows
    }
}

/// Two rows as one. Percentiles of two cannot be joined, so the slower one stands.
pub(super) fn joined(rows: &[Row]) -> Row {
    let [first, second] = rows else { return rows.first().copied().unwrap_or_default() };
    Row {
        seconds: first.seconds + second.seconds,
        answers: first.answers + second.answers,
        bytes: first.bytes + second.bytes,
        failed: first.failed + second.failed,
        p50_us: first.p50_us.max(second.p50_us),
        p99_us: first.p99_us.max(second.p99_us),
        p999_us: first.p999_us.max(second.p999_us),
        longest_us: first.longest_us.max(second.longest_us),
        server_cpu_s: second.server_cpu_s.map(|cpu| cpu + first.server_cpu_s.unwrap_or(0.0)),
        ..*second
    }
}

#[test]
fn a_long_run_has_no_more_rows_than_a_plot_can_show() {
    let mut series = Series::new(Duration::from_secs(1));
    for second in 1..=5000 {
        series.answered(1_000 * second);
        series.close(Duration::from_secs(second), 7, second, None);
    }
    let rows = series.finish();
    assert!((ROWS_MAX / 4..ROWS_MAX).contains(&rows.len()), "{}", rows.len());
    assert_eq!(rows.iter().map(|row| row.answers).sum::<u64>(), 5000);
    assert_eq!(rows.iter().map(|row| row.failed).sum::<u64>(), 5000);
    assert!((rows.iter().map(|row| row.seconds).sum::<f64>() - 5000.0).abs() < 1e-6);
    assert!(rows.windows(2).all(|pair| pair[0].at_s < pair[1].at_s));
}
