//! What `ringway top` shows: a server's figures in so many columns and rows.

use crate::console::show::{bits, bytes, count, latency, plain as clean, span};
use crate::snapshot::{Rates, Snapshot, State};
use std::fmt::Write;
use std::time::Duration;

/// Narrowest and shortest that is drawn for; smaller terminals see a part.
const COLUMNS_MIN: usize = 40;
const ROWS_MIN: usize = 8;

/// Workers that have a line of their own; of more, the busiest.
const WORKERS_MAX: usize = 8;

/// Services that have a line of their own; of more, the busiest.
const SERVICES_MAX: usize = 8;

/// Endpoints with handlers that have a line of their own; of more, the busiest.
const HANDLERS_MAX: usize = 8;

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const REVERSE: &str = "\x1b[7m";
const RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const GREEN: &str = "\x1b[32m";
const PLAIN: &str = "\x1b[0m";

/// A line: its text, and how it is drawn.
struct Line {
    text: String,
    style: &'static str,
}

/// A picture for a terminal of `(columns, rows)`, from its corner on.
#[must_use]
pub fn picture(now: &Snapshot, rates: &Rates, (columns, rows): (usize, usize)) -> String {
    let (columns, rows) = (columns.max(COLUMNS_MIN), rows.max(ROWS_MIN));
    let mut lines = lines(now, rates, columns);
    lines.truncate(rows - 1);
    let mut text = String::from("\x1b[H");
    for line in &lines {
        let _infallible = write!(text, "{}{}{PLAIN}\x1b[K\r\n", line.style, cut(&line.text, columns));
    }
    let _infallible = write!(text, "\x1b[J\x1b[{rows};1H{DIM}{}{PLAIN}\x1b[K", cut("q quits", columns));
    text
}

/// The same without colours, all of it.
#[must_use]
pub fn plain(now: &Snapshot, rates: &Rates) -> String {
    lines(now, rates, 100).iter().fold(String::new(), |text, line| text + line.text.trim_end() + "\n")
}

fn lines(now: &Snapshot, rates: &Rates, columns: usize) -> Vec<Line> {
    let mut all = vec![title(now, columns)];
    all.extend(summary(now, rates));
    all.extend(governors(now, columns));
    all.push(empty());
    all.extend(workers(now, rates, columns));
    all.push(empty());
    all.extend(handlers(now, rates, columns));
    all.extend(services(now, rates, columns));
    all.extend(sites(rates, columns));
    all
}

fn title(now: &Snapshot, columns: usize) -> Line {
    let left = format!("Ringway {}  {}", clean(&now.version), now.state.as_str());
    let right = format!("running for {}", span(Duration::from_millis(now.uptime_ms)));
    let gap = columns.saturating_sub(left.chars().count() + right.chars().count()).max(2);
    let style = if now.state == State::Draining { YELLOW } else { BOLD };
    Line { text: format!("{left}{}{right}", " ".repeat(gap)), style }
}

fn summary(now: &Snapshot, rates: &Rates) -> Vec<Line> {
    let active: u64 = now.sites.iter().map(|site| site.active).sum();
    let [p50, p90, p99] = [rates.latency.p50_us, rates.latency.p90_us, rates.latency.p99_us].map(latency);
    let refused =
        if rates.refused > 0.0 { format!(", {}/s refused", count(rates.refused)) } else { String::new() };
    let failures = if rates.failures > 0.0 { RED } else { "" };
    let line = |name: &str, text: String, style| Line { text: format!("{name:<12}{text}"), style };
    vec![
        line(
            "requests",
            format!("{}/s, {active} under way, {} so far", count(rates.requests), now.requests()),
            "",
        ),
        line("failures", format!("{}/s answered 5xx", count(rates.failures)), failures),
        line("latency", format!("p50 {p50}   p90 {p90}   p99 {p99}"), ""),
        line(
            "bandwidth",
            format!("sent {}   received {}", bits(rates.bytes_sent * 8.0), bits(rates.bytes_received * 8.0)),
            "",
        ),
        line(
            "connections",
            format!("{} open, {}/s new{refused}", now.total("open"), count(rates.accepted)),
            "",
        ),
    ]
}

/// Each governed bandwidth against its figure M.
fn governors(now: &Snapshot, columns: usize) -> Vec<Line> {
    let lines = now.governors.iter().map(|governor| {
        let share = as_float(governor.used_bits_per_s) / as_float(governor.limit_bits_per_s.max(1));
        let (used, limit) = (as_float(governor.used_bits_per_s), as_float(governor.limit_bits_per_s));
        let name = format!("{}, {}", clean(&governor.name), clean(&governor.direction));
        let style = if share > 1.05 {
            RED
        } else if share > 0.9 {
            YELLOW
        } else {
            GREEN
        };
        let waiting =
            if governor.waiting > 0 { format!(", {} wait", governor.waiting) } else { String::new() };
        Line {
            text: format!("{name:<24}{} {} of {}{waiting}", bar(share, columns / 4), bits(used), bits(limit)),
            style,
        }
    });
    lines.collect()
}

fn workers(now: &Snapshot, rates: &Rates, columns: usize) -> Vec<Line> {
    let mut all: Vec<_> = now.workers.iter().zip(&rates.busy).enumerate().collect();
    if all.len() > WORKERS_MAX {
        all.sort_by(|(_, (_, one)), (_, (_, other))| other.total_cmp(one));
        all.truncate(WORKERS_MAX);
    }
    let mut lines = vec![heading("WORKER  AT WORK", columns)];
    lines.extend(all.into_iter().map(|(place, (worker, busy))| Line {
        text: format!(
            "{place:>6}  {} {:>4.0} %  {} connections",
            bar(*busy, columns / 4),
            busy * 100.0,
            worker.open
        ),
        style: if *busy > 0.9 { RED } else { "" },
    }));
    lines
}

/// The busiest first.
fn sites(rates: &Rates, columns: usize) -> Vec<Line> {
    let mut all: Vec<_> = rates.sites.iter().collect();
    all.sort_by(|one, other| other.requests.total_cmp(&one.requests).then_with(|| one.name.cmp(&other.name)));
    let width = columns.saturating_sub(52).clamp(10, 40);
    let row = |name: &str, cells: [&str; 6]| {
        let [requests, refused, failed, sent, p50, p99] = cells;
        format!(
            "{:<width$} {requests:>8} {refused:>6} {failed:>6} {sent:>11} {p50:>7} {p99:>7}",
            cut(name, width)
        )
    };
    let mut lines = vec![heading(&row("SITE", ["REQ/S", "4XX/S", "5XX/S", "BODIES", "P50", "P99"]), columns)];
    lines.extend(all.into_iter().map(|site| {
        let text = row(
            &clean(&site.name),
            [
                &count(site.requests),
                &count(site.refusals),
                &count(site.failures),
                &format!("{}/s", bytes(site.bytes)),
                &latency(site.latency.p50_us),
                &latency(site.latency.p99_us),
            ],
        );
        Line { text, style: if site.failures > 0.0 { RED } else { "" } }
    }));
    lines
}

/// Services, when there are any: the busiest.
fn services(now: &Snapshot, rates: &Rates, columns: usize) -> Vec<Line> {
    let mut all: Vec<_> = now.services.iter().zip(&rates.services).collect();
    if all.is_empty() {
        return Vec::new();
    }
    all.sort_by(|one, other| other.1.requests.total_cmp(&one.1.requests));
    let width = columns.saturating_sub(52).clamp(10, 40);
    let row = |name: &str, cells: [&str; 5]| {
        let [state, requests, failed, panics, active] = cells;
        format!("{:<width$} {state:>5} {requests:>8} {failed:>6} {panics:>7} {active:>10}", cut(name, width))
    };
    let names = ["STATE", "REQ/S", "5XX/S", "PANICS", "UNDER WAY"];
    let mut lines = vec![heading(&row("SERVICE", names), columns)];
    lines.extend(all.into_iter().take(SERVICES_MAX).map(|(service, rates)| {
        let cells = [
            if service.is_enabled { "on" } else { "off" },
            &count(rates.requests),
            &count(rates.errors),
            &service.panics.to_string(),
            &service.in_flight.to_string(),
        ];
        let style = match (service.is_enabled, rates.errors > 0.0) {
            (_, true) => RED,
            (false, false) => DIM,
            (true, false) => "",
        };
        Line { text: row(&clean(&service.name), cells), style }
    }));
    lines.push(empty());
    lines
}

/// Endpoints with handlers, when there are any: the busiest.
fn handlers(now: &Snapshot, rates: &Rates, columns: usize) -> Vec<Line> {
    let mut all: Vec<_> = now.handlers.iter().zip(&rates.handlers).collect();
    if all.is_empty() {
        return Vec::new();
    }
    all.sort_by(|one, other| other.1.messages_in.total_cmp(&one.1.messages_in));
    let width = columns.saturating_sub(64).clamp(10, 40);
    let row = |name: &str, cells: [&str; 6]| {
        let [open, came, went, sent, errors, time] = cells;
        format!("{:<width$} {open:>7} {came:>8} {went:>8} {sent:>11} {errors:>8} {time:>8}", cut(name, width))
    };
    let names = ["OPEN", "MSG IN/S", "OUT/S", "SENT", "ERRORS/S", "P99"];
    let mut lines = vec![heading(&row("ENDPOINT", names), columns)];
    lines.extend(all.into_iter().take(HANDLERS_MAX).map(|(handler, rates)| {
        let cells = [
            &count(as_float(handler.open)),
            &count(rates.messages_in),
            &count(rates.messages_out),
            &format!("{}/s", bytes(rates.bytes_out)),
            &count(rates.errors),
            &latency(rates.time.p99_us),
        ];
        let style = if rates.errors > 0.0 { RED } else { "" };
        Line { text: row(&clean(&handler.name), cells.map(String::as_str)), style }
    }));
    lines.push(empty());
    lines
}

fn heading(text: &str, columns: usize) -> Line {
    Line { text: format!("{text:<columns$}"), style: REVERSE }
}

fn empty() -> Line {
    Line { text: String::new(), style: "" }
}

/// A share of 0 to 1 as a bar.
fn bar(share: f64, width: usize) -> String {
    let filled =
        (1..=width).filter(|place| as_float(*place as u64) <= share * as_float(width as u64) + 0.5).count();
    format!("[{}{}]", "|".repeat(filled), " ".repeat(width - filled))
}

/// So much of a text as fits.
fn cut(text: &str, columns: usize) -> String {
    text.chars().take(columns).collect()
}

#[allow(clippy::cast_precision_loss, reason = "figures for people: 53 bits are enough")]
fn as_float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{GovernorFigures, SiteFigures, WorkerFigures};

    fn figures(sites: usize, workers: usize) -> (Snapshot, Rates) {
        let site = |number: usize| SiteFigures {
            name: format!("site-{number}\u{1b}[2J.example.org"),
            by_class: [0, 0, number as u64, 0, 0, 0],
            ..SiteFigures::default()
        };
        let governor = GovernorFigures {
            name: "server".to_owned(),
            direction: "sent".to_owned(),
            limit_bits_per_s: 10_000_000,
            used_bits_per_s: 5_000_000,
            ..GovernorFigures::default()
        };
        let now = Snapshot {
            version: "1.0".to_owned(),
            uptime_ms: 1000,
            workers: vec![WorkerFigures { busy_ns: 500_000_000, ..WorkerFigures::default() }; workers],
            sites: (0..sites).map(site).collect(),
            governors: vec![governor],
            ..Snapshot::default()
        };
        let rates = Rates::between(&Snapshot::default(), &now);
        (now, rates)
    }

    /// The picture's rows as a terminal would show them.
    fn rows(picture: &str) -> Vec<String> {
        let mut text = String::new();
        let mut rest = picture;
        while let Some((before, behind)) = rest.split_once('\u{1b}') {
            text.push_str(before);
            let end = behind.find(|letter: char| letter.is_ascii_alphabetic()).expect("a whole sequence");
            rest = &behind[end + 1..];
        }
        text.push_str(rest);
        text.split("\r\n").map(str::to_owned).collect()
    }

    #[test]
    fn a_picture_fits_its_terminal() {
        let (now, rates) = figures(300, 64);
        for (columns, height) in [(80, 24), (40, 8), (200, 60), (1, 1)] {
            let rows = rows(&picture(&now, &rates, (columns, height)));
            assert!(rows.len() <= height.max(ROWS_MIN), "{} rows in {height}", rows.len());
            let widest = rows.iter().map(|row| row.chars().count()).max();
            assert!(widest <= Some(columns.max(COLUMNS_MIN)), "{widest:?} columns in {columns}");
        }
    }

    #[test]
    fn the_busiest_sites_come_first_and_nothing_commands_the_terminal() {
        let (now, rates) = figures(300, 2);
        let rows = rows(&picture(&now, &rates, (80, 24)));
        let first = rows.iter().position(|row| row.starts_with("SITE")).expect("a heading") + 1;
        assert!(rows[first].starts_with("site-299\u{fffd}[2J"), "{:?}", rows[first]);
        assert!(rows.iter().any(|row| row.contains("5.0 Mbit/s of 10.0 Mbit/s")), "{rows:?}");
        assert!(rows.iter().any(|row| row.contains("50 %")), "{rows:?}");
        let text = plain(&now, &rates);
        assert!(!text.contains('\u{1b}') && text.lines().count() > 300, "all sites, no colours");
    }

    #[test]
    fn bars_are_as_long_as_their_share() {
        assert_eq!(
            [bar(0.0, 4), bar(0.5, 4), bar(1.0, 4), bar(7.0, 4)],
            ["[    ]", "[||  ]", "[||||]", "[||||]"]
        );
    }
}
