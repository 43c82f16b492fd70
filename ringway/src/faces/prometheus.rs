//! The text that Prometheus reads: exposition format 0.0.4, and OpenMetrics 1.0 for those who ask for it.

mod handler;
mod service;
mod upstream;

use crate::snapshot::{GovernorFigures, SiteFigures, Snapshot, State};
use crate::web::site_counters::bucket_bound_us;
use std::fmt::Write;

/// How the text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Exposition format 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The format's media type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Counters of the engine that are levels, and those that have a series of their own by endpoint or worker.
const LEVELS: [&str; 3] = ["open", "operations", "memory_bytes"];
const TOLD_ELSEWHERE: [&str; 8] =
    ["open", "accepted", "refused", "busy_ns", "longest_turn_us", "draining", "bytes_received", "bytes_sent"];

const CLASSES: [&str; 6] = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// All figures as text.
#[must_use]
pub fn text(now: &Snapshot, format: Format) -> String {
    let mut page = Page { text: String::new(), current: String::new(), format };
    server(&mut page, now);
    sites(&mut page, &now.sites);
    endpoints(&mut page, now);
    workers(&mut page, now);
    upstream::write(&mut page, &now.upstreams);
    service::write(&mut page, &now.services);
    handler::write(&mut page, &now.handlers);
    governors(&mut page, now);
    engine(&mut page, now);
    if format == Format::OpenMetrics {
        page.text.push_str("# EOF\n");
    }
    page.text
}

fn server(page: &mut Page, now: &Snapshot) {
    page.family("ringway_build_info", Kind::Gauge, "What this server is; always 1.");
    page.sample("", &[("version", &now.version), ("driver", driver_name(now))], "1");
    page.family(
        "ringway_start_time_seconds",
        Kind::Gauge,
        "When the server process started, in seconds since 1970.",
    );
    page.sample("", &[], &now.started_unix_s.to_string());
    page.family(
        "ringway_generation",
        Kind::Gauge,
        "Which server process of its supervisor's this is; 0 without one.",
    );
    page.sample("", &[], &now.generation.to_string());
    page.family(
        "ringway_draining",
        Kind::Gauge,
        "1 while the server finishes what is under way and takes nothing new.",
    );
    page.sample("", &[], if now.state == State::Draining { "1" } else { "0" });
    page.family("ringway_received_bytes", Kind::Counter, "Bytes received.");
    page.sample("", &[], &now.total("bytes_received").to_string());
    page.family("ringway_sent_bytes", Kind::Counter, "Bytes handed to the kernel for sending.");
    page.sample("", &[], &now.total("bytes_sent").to_string());
    page.family(
        "ringway_log_lines_dropped",
        Kind::Counter,
        "Log lines that were lost because a file was too slow.",
    );
    page.sample("", &[], &now.log_lines_dropped.to_string());
}

fn sites(page: &mut Page, sites: &[SiteFigures]) {
    page.family("ringway_requests", Kind::Counter, "Answers by site and class of status.");
    for site in sites {
        for (class, count) in CLASSES.iter().zip(site.by_class) {
            page.sample("", &[("site", &site.name), ("code_class", class)], &count.to_string());
        }
    }
    page.family(
        "ringway_requests_active",
        Kind::Gauge,
        "Requests that wait or whose answer is in the making.",
    );
    for site in sites {
        page.sample("", &[("site", &site.name)], &site.active.to_string());
    }
    page.family("ringway_response_body_bytes", Kind::Counter, "Bytes of answers' bodies.");
    for site in sites {
        page.sample("", &[("site", &site.name)], &site.body_bytes.to_string());
    }
    let help = "Time from a request's arrival to the hand-over of its answer.";
    page.family("ringway_request_duration_seconds", Kind::Histogram, help);
    sites.iter().for_each(|site| durations(page, site));
}

/// A site's histogram, in steps of two octaves: dashboards need no finer ones, and a thousand sites have many.
fn durations(page: &mut Page, site: &SiteFigures) {
    let histogram = site.histogram();
    let mut count = 0;
    for (place, bucket) in histogram.iter().enumerate() {
        count += bucket;
        match bucket_bound_us(place) {
            Some(bound) if bound.is_power_of_two() && bound.trailing_zeros() % 2 == 0 => {
                let bound = seconds(bound);
                page.sample("_bucket", &[("site", &site.name), ("le", &bound)], &count.to_string());
            }
            _ => {}
        }
    }
    page.sample("_bucket", &[("site", &site.name), ("le", "+Inf")], &count.to_string());
    page.sample("_sum", &[("site", &site.name)], &seconds(site.latency_sum_us));
    page.sample("_count", &[("site", &site.name)], &count.to_string());
}

fn endpoints(page: &mut Page, now: &Snapshot) {
    page.family("ringway_connections_open", Kind::Gauge, "Connections open now.");
    for endpoint in &now.endpoints {
        page.sample("", &labels_of(&endpoint.name, &endpoint.address), &endpoint.open.to_string());
    }
    page.family("ringway_connections_accepted", Kind::Counter, "Connections accepted.");
    for endpoint in &now.endpoints {
        page.sample("", &labels_of(&endpoint.name, &endpoint.address), &endpoint.accepted.to_string());
    }
    page.family("ringway_connections_refused", Kind::Counter, "Connections refused at a limit.");
    for endpoint in &now.endpoints {
        page.sample("", &labels_of(&endpoint.name, &endpoint.address), &endpoint.refused.to_string());
    }
}

fn labels_of<'a>(name: &'a str, address: &'a str) -> [(&'static str, &'a str); 2] {
    [("endpoint", name), ("address", address)]
}

fn workers(page: &mut Page, now: &Snapshot) {
    let numbered = || now.workers.iter().enumerate().map(|(place, worker)| (place.to_string(), worker));
    page.family("ringway_worker_busy_seconds", Kind::Counter, "Time that a worker was at work.");
    for (place, worker) in numbered() {
        page.sample("", &[("worker", &place)], &seconds(worker.busy_ns / 1000));
    }
    page.family("ringway_worker_connections_open", Kind::Gauge, "Connections open on a worker.");
    for (place, worker) in numbered() {
        page.sample("", &[("worker", &place)], &worker.open.to_string());
    }
    page.family(
        "ringway_worker_longest_turn_seconds",
        Kind::Gauge,
        "The longest turn of a worker's loop so far.",
    );
    for (place, worker) in numbered() {
        page.sample("", &[("worker", &place)], &seconds(worker.longest_turn_us));
    }
}

fn governors(page: &mut Page, now: &Snapshot) {
    if now.governors.is_empty() {
        return;
    }
    page.family(
        "ringway_governor_limit_bytes_per_second",
        Kind::Gauge,
        "The figure that bandwidth is kept below.",
    );
    for governor in &now.governors {
        page.sample("", &labels_of_governor(governor), &(governor.limit_bits_per_s / 8).to_string());
    }
    page.family("ringway_governor_used_bytes_per_second", Kind::Gauge, "The estimated use of bandwidth.");
    for governor in &now.governors {
        page.sample("", &labels_of_governor(governor), &(governor.used_bits_per_s / 8).to_string());
    }
    page.family("ringway_governor_waiting", Kind::Gauge, "Operations that wait for bandwidth.");
    for governor in &now.governors {
        page.sample("", &labels_of_governor(governor), &governor.waiting.to_string());
    }
    page.family("ringway_governor_delayed", Kind::Counter, "Operations that had to wait for bandwidth.");
    for governor in &now.governors {
        page.sample("", &labels_of_governor(governor), &governor.delayed.to_string());
    }
    page.family(
        "ringway_governor_rejected",
        Kind::Counter,
        "Operations that were refused for want of bandwidth.",
    );
    for governor in &now.governors {
        page.sample("", &labels_of_governor(governor), &governor.rejected.to_string());
    }
}

fn labels_of_governor(governor: &GovernorFigures) -> [(&'static str, &str); 2] {
    [("governor", &governor.name), ("direction", &governor.direction)]
}

/// The engine's other counters, under their own names.
fn engine(page: &mut Page, now: &Snapshot) {
    for (name, value) in &now.totals {
        let is_level = LEVELS.contains(&name.as_str()) || name.ends_with("_high");
        if TOLD_ELSEWHERE.contains(&name.as_str()) {
            continue;
        }
        let kind = if is_level { Kind::Gauge } else { Kind::Counter };
        page.family(&format!("ringway_engine_{name}"), kind, "A counter of the engine's.");
        page.sample("", &[], &value.to_string());
    }
}

/// The first word of what the driver says of itself.
fn driver_name(now: &Snapshot) -> &str {
    now.driver.split(' ').next().unwrap_or_default()
}

/// Microseconds as seconds, exactly.
fn seconds(us: u64) -> String {
    let text = format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
    let text = text.trim_end_matches('0');
    if text.ends_with('.') { format!("{text}0") } else { text.to_owned() }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

struct Page {
    text: String,
    /// What the current family's samples are called.
    current: String,
    format: Format,
}

impl Page {
    /// Begins a family; the samples that follow are its own. A counter is named without its `_total`.
    fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind_name = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // The older format calls a family what its samples are called.
        let suffix = if kind == Kind::Counter && self.format == Format::Text { "_total" } else { "" };
        let _infallible =
            write!(self.text, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind_name}\n");
        self.current = format!("{name}{}", if kind == Kind::Counter { "_total" } else { "" });
    }

    fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], value: &str) {
        self.text.push_str(&self.current);
        self.text.push_str(suffix);
        for (place, (name, value)) in labels.iter().enumerate() {
            self.text.push(if place == 0 { '{' } else { ',' });
            let _infallible = write!(self.text, "{name}=\"{}\"", escaped(value));
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _infallible = writeln!(self.text, " {value}");
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{EndpointFigures, WorkerFigures};
    use std::collections::{BTreeMap, BTreeSet};

    fn snapshot() -> Snapshot {
        let site = |name: &str, latencies: &[(usize, u64)]| SiteFigures {
            name: name.to_owned(),
            by_class: [0, 0, 5, 1, 2, 3],
            body_bytes: 77,
            active: 1,
            latency_sum_us: 1_250_000,
            latencies: latencies.to_vec(),
        };
        let endpoint = EndpointFigures {
            name: "web".to_owned(),
            address: "[::1]:80".to_owned(),
            open: 2,
            accepted: 9,
            refused: 1,
        };
        let governor = GovernorFigures {
            name: "server".to_owned(),
            direction: "sent".to_owned(),
            limit_bits_per_s: 8_000_000,
            used_bits_per_s: 4_000_000,
            ..GovernorFigures::default()
        };
        Snapshot {
            version: "1.2.3".to_owned(),
            driver: "uring (much)".to_owned(),
            started_unix_s: 1_700_000_000,
            totals: BTreeMap::from([
                ("turns".to_owned(), 5),
                ("memory_bytes".to_owned(), 9),
                ("open".to_owned(), 2),
            ]),
            workers: vec![WorkerFigures { busy_ns: 1_500_000_000, ..WorkerFigures::default() }],
            endpoints: vec![endpoint],
            sites: vec![site("a", &[(0, 4), (20, 5), (89, 2)]), site("we\"ird\\\n", &[])],
            governors: vec![governor],
            ..Snapshot::default()
        }
    }

    /// A family as a strict reader sees it.
    struct Family {
        kind: String,
        samples: Vec<(String, BTreeMap<String, String>, f64)>,
    }

    fn is_name(name: &str) -> bool {
        let first = name.chars().next().is_some_and(|letter| letter.is_ascii_lowercase());
        first && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    }

    /// Labels up to the closing brace, and what follows it.
    fn labels(mut text: &str) -> (BTreeMap<String, String>, &str) {
        let mut found = BTreeMap::new();
        loop {
            let (name, rest) = text.split_once("=\"").expect("a label has a value");
            assert!(is_name(name), "{name}");
            let mut value = String::new();
            let mut letters = rest.char_indices();
            let end = loop {
                match letters.next().expect("a value ends") {
                    (_, '\\') => value.push(match letters.next().expect("an escape").1 {
                        'n' => '\n',
                        letter @ ('\\' | '"') => letter,
                        other => panic!("no escape: {other}"),
                    }),
                    (at, '"') => break at,
                    (_, letter) => value.push(letter),
                }
            };
            assert!(found.insert(name.to_owned(), value).is_none(), "{name} twice");
            text = &rest[end + 1..];
            match text.split_at(1) {
                ("}", rest) => return (found, rest),
                (",", rest) => text = rest,
                other => panic!("{other:?}"),
            }
        }
    }

    /// Reads as strictly as the format's text allows; `is_open` is OpenMetrics.
    fn read(text: &str, is_open: bool) -> BTreeMap<String, Family> {
        assert!(text.ends_with('\n'));
        let mut families: BTreeMap<String, Family> = BTreeMap::new();
        let (mut current, mut helped) = (String::new(), String::new());
        let mut series = BTreeSet::new();
        let mut has_ended = false;
        for line in text.lines() {
            assert!(!has_ended, "nothing comes behind the end");
            if line == "# EOF" {
                assert!(is_open);
                has_ended = true;
            } else if let Some(help) = line.strip_prefix("# HELP ") {
                helped = help.split_once(' ').expect("a name and a text").0.to_owned();
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a name and a kind");
                assert!(is_name(name) && name == helped, "{line}");
                assert_eq!(name.ends_with("_total"), kind == "counter" && !is_open, "{line}");
                let family = Family { kind: kind.to_owned(), samples: Vec::new() };
                assert!(families.insert(name.to_owned(), family).is_none(), "{name} twice");
                name.clone_into(&mut current);
            } else {
                let end = line.find(['{', ' ']).expect("a value");
                let name = &line[..end];
                let (labels, value) = match line[end..].strip_prefix('{') {
                    Some(rest) => labels(rest),
                    None => (BTreeMap::new(), &line[end..]),
                };
                let family = families.get_mut(&current).expect("a family before its samples");
                let suffix = name.strip_prefix(current.as_str()).expect("a family's samples stand together");
                let allowed: &[&str] = match (family.kind.as_str(), is_open) {
                    ("counter", true) => &["_total"],
                    ("counter" | "gauge", _) => &[""],
                    ("histogram", _) => &["_bucket", "_sum", "_count"],
                    other => panic!("{other:?}"),
                };
                assert!(allowed.contains(&suffix), "{line}");
                let value: f64 = value.strip_prefix(' ').expect("one space").parse().expect("a number");
                assert!(series.insert((name.to_owned(), labels.clone())), "{line} twice");
                family.samples.push((name.to_owned(), labels, value));
            }
        }
        assert_eq!(has_ended, is_open);
        families
    }

    /// Histograms never fall, and end with their count.
    fn check_histogram(family: &Family, site: &str) {
        let of_site = |sample: &&(String, BTreeMap<String, String>, f64)| sample.1["site"] == site;
        let samples: Vec<_> = family.samples.iter().filter(of_site).collect();
        let (mut bound, mut count) = (0.0, 0.0);
        for (_, labels, value) in samples.iter().filter(|sample| sample.0.ends_with("_bucket")) {
            let le =
                if labels["le"] == "+Inf" { f64::INFINITY } else { labels["le"].parse().expect("a bound") };
            assert!(le > bound && *value >= count, "{labels:?}");
            (bound, count) = (le, *value);
        }
        assert_eq!(bound, f64::INFINITY);
        let last = samples.iter().find(|sample| sample.0.ends_with("_count")).expect("a count");
        assert_eq!(last.2, count);
    }

    #[test]
    fn both_formats_are_read_by_a_strict_reader() {
        for (format, is_open) in [(Format::Text, false), (Format::OpenMetrics, true)] {
            let text = text(&snapshot(), format);
            let families = read(&text, is_open);
            let requests = &families[if is_open { "ringway_requests" } else { "ringway_requests_total" }];
            let found = requests.samples.iter().find(|(_, labels, _)| labels["code_class"] == "5xx");
            assert_eq!(found.map(|sample| (sample.1["site"].as_str(), sample.2)), Some(("a", 3.0)));
            assert!(requests.samples.iter().any(|(_, labels, _)| labels["site"] == "we\"ird\\\n"));
            let durations = &families["ringway_request_duration_seconds"];
            check_histogram(durations, "a");
            check_histogram(durations, "we\"ird\\\n");
            let busy = &families
                [if is_open { "ringway_worker_busy_seconds" } else { "ringway_worker_busy_seconds_total" }];
            assert_eq!(busy.samples[0].2, 1.5);
            assert_eq!(families["ringway_engine_memory_bytes"].kind, "gauge");
            assert!(!families.contains_key("ringway_engine_open"), "told by endpoint");
            assert_eq!(families["ringway_governor_limit_bytes_per_second"].samples[0].2, 1e6);
        }
    }

    #[test]
    fn seconds_are_exact() {
        assert_eq!([seconds(0), seconds(16), seconds(1_250_000)], ["0.0", "0.000016", "1.25"]);
    }
}
