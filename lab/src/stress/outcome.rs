//! What stressing clients found, as tables and figures.

use std::time::Duration;

use super::frame::Frame;
use super::plan::{FAILURES_KEPT, Length, Plan, Report, WHOLE};
use super::series::{Row, joined};
use crate::echo::pingpong::{latency_axis, latency_tail};
use crate::outcome::{Axis, Cell, Column, Figure, Outcome, Series, Table};

/// A client that is busier than this was the bottleneck.
const SATURATED: f64 = 0.95;

/// Rows of the table of what happened when; the figures have all.
const ROWS_SHOWN: usize = 20;

/// Everything that was found.
pub(super) fn outcome(plan: &Plan, is_udp: bool, report: &Report) -> Outcome {
    let mut outcome = Outcome::new(format!("Stress on {}", plan.address));
    describe(&mut outcome, plan, is_udp, report);
    outcome.tables.push(load(report));
    if is_udp {
        outcome.tables.push(datagrams(report));
    }
    if report.messages > 0 {
        outcome.tables.push(latencies(report));
    }
    outcome.tables.extend(server(report));
    outcome.tables.push(over_time(&report.rows));
    figures(&mut outcome, report);
    tell_failures(&mut outcome, report);
    if report.client_cpu.as_secs_f64() / report.elapsed.as_secs_f64().max(1e-9) > SATURATED {
        outcome.note(
            "the client was the bottleneck: the rate is a lower bound, and latencies include its own queue",
        );
    }
    outcome
}

fn describe(outcome: &mut Outcome, plan: &Plan, is_udp: bool, report: &Report) {
    outcome.setting("connections", plan.connections);
    let ramp = if plan.ramp_per_s == 0 { "at once".to_owned() } else { format!("{}/s", plan.ramp_per_s) };
    outcome.setting("ramp", ramp);
    let transport = match (is_udp, plan.shape.frame) {
        (true, _) => "datagrams".to_owned(),
        (false, frame @ Frame::WebSocket { .. }) => format!("{frame} at {}", plan.ask.path),
        (false, frame) => format!("frame {frame}"),
    };
    outcome.setting("messages", format!("{} bytes, {transport}", plan.shape.messages.sizes));
    let tls = plan.sealing.as_ref().map(|sealing| format!("1.3, {}", sealing.trust));
    outcome.setting("TLS", tls.as_deref().unwrap_or("none"));
    outcome.setting("window", plan.window);
    let rate = if plan.rate_per_s == 0 { "as answered".to_owned() } else { format!("{}/s", plan.rate_per_s) };
    outcome.setting("rate", rate);
    outcome.setting("pause", format!("{}-{} ms", plan.pause_ms.0, plan.pause_ms.1));
    let percent = 100.0 * f64::from(plan.disconnects.share) / f64::from(WHOLE);
    let [a, b, c] = plan.disconnects.ways;
    outcome.setting("disconnects", format!("{percent} % of answers, {a:?}, {b:?}, {c:?}").to_lowercase());
    let length = match plan.length {
        Length::Messages(count) => format!("{count} answers"),
        Length::Time { warm_up, measured } => {
            format!("{} s after {} ms", measured.as_secs(), warm_up.as_millis())
        }
    };
    outcome.setting("length", length);
    outcome.setting("seed", plan.shape.messages.seed);
    outcome.setting("patience", format!("{} s", plan.patience.as_secs()));
    outcome.setting("clients' driver", report.driver);
}

fn rate(count: u64, time: Duration) -> f64 {
    let seconds = time.as_secs_f64();
    if seconds > 0.0 { count as f64 / seconds } else { f64::NAN }
}

fn load(report: &Report) -> Table {
    let columns = vec![
        Column::number("answers", "", 0),
        Column::number("time", "s", 2),
        Column::number("rate", "msg/s", 0),
        Column::number("received", "MB/s", 1),
        Column::number("client CPU", "µs/msg", 3),
        Column::number("opened", "", 0),
        Column::number("closed", "", 0),
        Column::number("half-closed", "", 0),
        Column::number("reset", "", 0),
        Column::number("failures", "", 0),
    ];
    let mut table = Table::new("load", "What the clients saw", columns);
    let [closed, half, reset] = report.ended;
    table.row([
        report.messages.into(),
        report.elapsed.as_secs_f64().into(),
        rate(report.messages, report.elapsed).into(),
        (rate(report.bytes, report.elapsed) / 1e6).into(),
        (report.client_cpu.as_secs_f64() * 1e6 / report.messages as f64).into(),
        report.opened.into(),
        closed.into(),
        half.into(),
        reset.into(),
        report.failed.into(),
    ]);
    table
}

fn datagrams(report: &Report) -> Table {
    let count = |name: &str| Column::number(name, "", 0);
    let columns = vec![
        count("sent"),
        count("lost"),
        Column::number("loss", "%", 4),
        count("late"),
        count("twice"),
        count("overtaken"),
    ];
    let mut table = Table::new("datagrams", "What became of datagrams", columns);
    let found = report.datagrams;
    table.row([
        found.sent.into(),
        found.lost.into(),
        (100.0 * found.lost as f64 / found.sent.max(1) as f64).into(),
        found.late.into(),
        found.twice.into(),
        found.overtaken.into(),
    ]);
    table
}

fn latencies(report: &Report) -> Table {
    let us = |name: &str| Column::number(name, "µs", 1);
    let columns = vec![us("mean"), us("p50"), us("p90"), us("p99"), us("p99.9"), us("longest")];
    let mut table = Table::new("latency", "Time from sending a message to its whole answer", columns);
    let percentile = |percent: f64| (report.latency.percentile(percent) as f64 / 1000.0).into();
    table.row([
        (report.latency.mean() / 1000.0).into(),
        percentile(50.0),
        percentile(90.0),
        percentile(99.0),
        percentile(99.9),
        (report.latency.max() as f64 / 1000.0).into(),
    ]);
    table
}

fn server(report: &Report) -> Option<Table> {
    let used = report.server?;
    let columns = vec![
        Column::number("CPU", "µs/msg", 3),
        Column::number("user", "µs/msg", 3),
        Column::number("system", "µs/msg", 3),
        Column::number("busy", "% of a core", 0),
        Column::number("memory before", "MiB", 2),
        Column::number("memory after", "MiB", 2),
        Column::number("memory high-water", "MiB", 2),
    ];
    let mut table = Table::new("server", "What the server used", columns);
    let each = |ns: u64| -> Cell { (ns as f64 / 1e3 / report.messages.max(1) as f64).into() };
    let mib = |kib: u64| -> Cell { (kib as f64 / 1024.0).into() };
    let busy = used.cpu.total().as_secs_f64() / report.elapsed.as_secs_f64().max(1e-9);
    table.row([
        each(used.cpu.total_ns()),
        each(used.cpu.user_ns),
        each(used.cpu.system_ns),
        (100.0 * busy).into(),
        mib(used.before.resident_kib),
        mib(used.after.resident_kib),
        mib(used.after.high_water_kib),
    ]);
    Some(table)
}

fn over_time(rows: &[Row]) -> Table {
    let us = |name: &str| Column::number(name, "µs", 0);
    let columns = vec![
        Column::number("until", "s", 1),
        Column::number("connections", "", 0),
        Column::number("rate", "msg/s", 0),
        us("p50"),
        us("p99"),
        us("p99.9"),
        us("longest"),
        Column::number("failures", "", 0),
        Column::number("server CPU", "µs/msg", 3),
        Column::number("server memory", "MiB", 2),
    ];
    let title = "What happened when (of several stretches, the slowest percentiles)";
    let mut table = Table::new("over-time", title, columns);
    let together = rows.len().div_ceil(ROWS_SHOWN).max(1);
    for row in rows.chunks(together).filter_map(|rows| rows.iter().copied().reduce(|a, b| joined(&[a, b]))) {
        let cpu = row.server_cpu_s.filter(|_| row.answers > 0).map(|cpu| cpu * 1e6 / row.answers as f64);
        table.row([
            row.at_s.into(),
            u64::from(row.open).into(),
            (row.answers as f64 / row.seconds.max(1e-9)).into(),
            shown(row.p50_us),
            shown(row.p99_us),
            shown(row.p999_us),
            shown(row.longest_us),
            row.failed.into(),
            cpu.into(),
            row.server_kib.map(|kib| kib as f64 / 1024.0).into(),
        ]);
    }
    table
}

/// What is no number was not measured.
fn shown(value: f64) -> Cell {
    if value.is_nan() { Cell::Missing } else { value.into() }
}

fn figures(outcome: &mut Outcome, report: &Report) {
    let time = || Axis::linear("time", "s").starting(0.0);
    let line = |name: &str, of: &dyn Fn(&Row) -> f64| {
        Series::new(name, report.rows.iter().map(|row| (row.at_s, of(row))).collect())
    };
    let connections = vec![line("open", &|row| f64::from(row.open))];
    outcome.figures.push(Figure::lines(
        "stress-connections",
        "Connections that are open",
        time(),
        Axis::linear("connections", ""),
        connections,
    ));
    let rates = vec![line("answers", &|row| row.answers as f64 / row.seconds.max(1e-9))];
    let axis = Axis::linear("answers", "msg/s");
    outcome.figures.push(Figure::lines("stress-rate", "Answers a second", time(), axis, rates));
    if report.messages == 0 {
        return;
    }
    let latencies = vec![
        line("p50", &|row| row.p50_us),
        line("p99", &|row| row.p99_us),
        line("p99.9", &|row| row.p999_us),
        line("longest", &|row| row.longest_us),
    ];
    let axis = Axis::log("time there and back", "µs");
    outcome.figures.push(Figure::lines("stress-latency", "Latency over time", time(), axis, latencies));
    let y = Axis::log("time there and back", "µs");
    let series = vec![Series::new("clients", latency_tail(&report.latency))];
    outcome.figures.push(Figure::lines("stress-tail", "Latency of all answers", latency_axis(), y, series));
    if report.server.is_some() {
        let memory = |row: &Row| row.server_kib.map_or(f64::NAN, |kib| kib as f64 / 1024.0);
        let axis = Axis::linear("resident memory", "MiB");
        let series = vec![line("server", &memory)];
        outcome.figures.push(Figure::lines("stress-memory", "The server's memory", time(), axis, series));
    }
}

fn tell_failures(outcome: &mut Outcome, report: &Report) {
    let Some(first) = report.failures.first() else { return };
    let columns = vec![Column::text("what"), Column::number("at", "s", 2), Column::text("where and how")];
    let title = if report.failed > report.failures.len() as u64 {
        format!("The first {FAILURES_KEPT} of {} failures", report.failed)
    } else {
        "Failures".to_owned()
    };
    let mut table = Table::new("failures", title, columns);
    for failure in &report.failures {
        table.row([failure.what.name().into(), failure.at.as_secs_f64().into(), failure.to_string().into()]);
    }
    outcome.tables.push(table);
    outcome.fail(format!("{} failures; the first: {first}", report.failed));
}
