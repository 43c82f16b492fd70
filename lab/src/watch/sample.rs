//! One sample of a watched tree, and the list of what is shown of it in every format.

use serde_json::{Map, Value, json};
use std::time::Duration;

use crate::measure::process::{Cpu, Reading, Traffic};
use crate::outcome::table::number;

/// What happened in one interval, and how things stood at its end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    /// Since the watch began.
    pub(super) at: Duration,
    /// How long the interval was.
    pub(super) interval: Duration,
    /// CPU time used in the interval.
    pub(super) cpu: Cpu,
    /// How things stood at its end.
    pub(super) reading: Reading,
    /// Proportional memory, as last measured.
    pub(super) proportional_kib: Option<u64>,
    /// Turns on a core in the interval.
    pub(super) turns: u64,
    /// Time that ready threads had no core in the interval, in nanoseconds.
    pub(super) waited_ns: u64,
    /// The network in the interval.
    pub(super) traffic: Traffic,
}

impl Sample {
    /// A number a second.
    fn rate(&self, count: u64) -> f64 {
        count as f64 / self.interval.as_secs_f64()
    }

    /// Nanoseconds as a share of one core's time, in percent.
    fn percent(&self, ns: u64) -> f64 {
        100.0 * ns as f64 / self.interval.as_nanos() as f64
    }
}

/// Something that is shown of a sample.
pub(super) struct Metric {
    /// Its name in JSON and CSV, with its unit.
    pub(super) key: &'static str,
    /// Its name for people.
    pub(super) heading: &'static str,
    /// Its unit for people.
    pub(super) unit: &'static str,
    /// Decimals for people.
    pub(super) decimals: usize,
    /// Its value; `None` where it cannot be known.
    pub(super) value: fn(&Sample) -> Option<f64>,
}

const KIB_PER_MIB: f64 = 1024.0;

/// Everything that is shown, in its order.
pub(super) const METRICS: &[Metric] = &[
    Metric { key: "time_s", heading: "time", unit: "s", decimals: 1, value: |s| Some(s.at.as_secs_f64()) },
    Metric {
        key: "user_percent",
        heading: "user",
        unit: "%",
        decimals: 1,
        value: |s| Some(s.percent(s.cpu.user_ns)),
    },
    Metric {
        key: "system_percent",
        heading: "system",
        unit: "%",
        decimals: 1,
        value: |s| Some(s.percent(s.cpu.system_ns)),
    },
    Metric {
        key: "waited_percent",
        heading: "waited",
        unit: "%",
        decimals: 1,
        value: |s| Some(s.percent(s.waited_ns)),
    },
    Metric {
        key: "rss_mib",
        heading: "rss",
        unit: "MiB",
        decimals: 1,
        value: |s| Some(s.reading.resident_kib as f64 / KIB_PER_MIB),
    },
    Metric {
        key: "pss_mib",
        heading: "pss",
        unit: "MiB",
        decimals: 1,
        value: |s| s.proportional_kib.map(|kib| kib as f64 / KIB_PER_MIB),
    },
    Metric {
        key: "processes",
        heading: "processes",
        unit: "",
        decimals: 0,
        value: |s| Some(s.reading.processes as f64),
    },
    Metric {
        key: "threads",
        heading: "threads",
        unit: "",
        decimals: 0,
        value: |s| Some(s.reading.threads as f64),
    },
    Metric {
        key: "descriptors",
        heading: "fds",
        unit: "",
        decimals: 0,
        value: |s| s.reading.descriptors.map(|count| count as f64),
    },
    Metric {
        key: "switches_per_s",
        heading: "switches",
        unit: "1/s",
        decimals: 0,
        value: |s| Some(s.rate(s.turns)),
    },
    Metric {
        key: "received_bytes_per_s",
        heading: "net in",
        unit: "MB/s",
        decimals: 2,
        value: |s| Some(s.rate(s.traffic.received_bytes) / 1e6),
    },
    Metric {
        key: "sent_bytes_per_s",
        heading: "net out",
        unit: "MB/s",
        decimals: 2,
        value: |s| Some(s.rate(s.traffic.sent_bytes) / 1e6),
    },
    Metric {
        key: "received_packets_per_s",
        heading: "packets in",
        unit: "1/s",
        decimals: 0,
        value: |s| Some(s.rate(s.traffic.received_packets)),
    },
    Metric {
        key: "sent_packets_per_s",
        heading: "packets out",
        unit: "1/s",
        decimals: 0,
        value: |s| Some(s.rate(s.traffic.sent_packets)),
    },
    Metric {
        key: "udp_drops_per_s",
        heading: "udp drops",
        unit: "1/s",
        decimals: 0,
        value: |s| Some(s.rate(s.traffic.udp_errors)),
    },
    Metric {
        key: "interface_drops_per_s",
        heading: "if drops",
        unit: "1/s",
        decimals: 0,
        value: |s| Some(s.rate(s.traffic.interface_drops)),
    },
];

impl Metric {
    fn title(&self) -> String {
        if self.unit.is_empty() { self.heading.to_owned() } else { format!("{} {}", self.heading, self.unit) }
    }

    fn width(&self) -> usize {
        self.title().len().max(8)
    }
}

/// The headings of lines.
pub(super) fn line_heading() -> String {
    let titles = METRICS.iter().map(|metric| format!("{:>width$}", metric.title(), width = metric.width()));
    titles.collect::<Vec<_>>().join("  ")
}

/// A sample as a line under the headings.
pub(super) fn line(sample: &Sample) -> String {
    let cells = METRICS.iter().map(|metric| {
        let text =
            (metric.value)(sample).map_or_else(|| "–".to_owned(), |value| number(value, metric.decimals));
        format!("{text:>width$}", width = metric.width())
    });
    cells.collect::<Vec<_>>().join("  ")
}

/// The first line of CSV.
pub(super) fn csv_heading() -> String {
    METRICS.iter().map(|metric| metric.key).collect::<Vec<_>>().join(",")
}

/// A sample as a line of CSV; what is not known is empty.
pub(super) fn csv(sample: &Sample) -> String {
    let cell = |metric: &Metric| (metric.value)(sample).map(|value| format!("{:.3}", value * scale(metric)));
    METRICS.iter().map(|metric| cell(metric).unwrap_or_default()).collect::<Vec<_>>().join(",")
}

/// A sample as a line of JSON.
pub(super) fn json(sample: &Sample) -> String {
    let value = |metric: &Metric| (metric.value)(sample).map(|value| value * scale(metric));
    let map: Map<String, Value> =
        METRICS.iter().map(|metric| (metric.key.to_owned(), json!(value(metric)))).collect();
    Value::Object(map).to_string()
}

/// People read megabytes, programs bytes.
fn scale(metric: &Metric) -> f64 {
    if metric.unit == "MB/s" { 1e6 } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Sample {
        Sample {
            at: Duration::from_millis(2500),
            interval: Duration::from_millis(500),
            cpu: Cpu { user_ns: 250_000_000, system_ns: 50_000_000 },
            reading: Reading { resident_kib: 2048, threads: 3, ..Reading::default() },
            turns: 40,
            traffic: Traffic { sent_bytes: 1_000_000, ..Traffic::default() },
            ..Sample::default()
        }
    }

    #[test]
    fn shares_and_rates_are_of_the_interval() {
        let value: Value = serde_json::from_str(&json(&sample())).expect("it is JSON");
        for (key, expected) in [
            ("time_s", 2.5),
            ("user_percent", 50.0),
            ("system_percent", 10.0),
            ("rss_mib", 2.0),
            ("threads", 3.0),
            ("switches_per_s", 80.0),
            ("sent_bytes_per_s", 2_000_000.0),
        ] {
            assert_eq!(value[key], json!(expected), "{key}");
        }
        assert_eq!(value["pss_mib"], Value::Null);
    }

    #[test]
    fn csv_has_a_field_a_heading() {
        let fields = csv(&sample());
        assert_eq!(fields.split(',').count(), csv_heading().split(',').count());
        assert!(fields.starts_with("2.500,50.000,10.000,"), "{fields}");
        assert!(fields.contains(",2.000,,0.000,"), "what is not known is empty: {fields}");
    }

    #[test]
    fn lines_stand_under_their_headings() {
        assert_eq!(line(&sample()).chars().count(), line_heading().chars().count());
    }
}
