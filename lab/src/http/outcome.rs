//! What a load found, in tables and sentences.

use super::arguments::LoadArguments;
use super::load::{self, Load};
use super::plan::Plan;
use super::tally::FaultKind;
use crate::measure::process::{Reading, Tree};
use crate::measure::{Jitter, cores};
use crate::outcome::{Axis, Cell, Column, Figure, Outcome, Series, Table};
use crate::progress::Progress;
use crate::refusal::Refusal;
use std::time::Duration;

/// How long the machine's own jitter is watched before a load.
const JITTER: Duration = Duration::from_millis(500);

/// The percentiles that are shown.
const PERCENTILES: [f64; 5] = [50.0, 90.0, 99.0, 99.9, 99.99];

/// Runs `http load`.
pub(super) fn load(arguments: &LoadArguments, progress: &Progress) -> Result<Outcome, Refusal> {
    let plan = arguments.plan()?;
    plan.check()?;
    let mut tree = arguments.pid.map(Tree::attach).transpose()?;
    progress.stage("watching the machine's own jitter");
    let jitter = jitter(plan.cores.first().copied())?;
    progress.stage(&stage(&plan));
    let (load, before, after) = load::run_sampled(&plan, progress, || tree.as_mut().map(|tree| tree.read()))?;
    let mut outcome = Outcome::new(title(&plan));
    describe(&mut outcome, &plan, &load);
    outcome.tables.push(rates(&load));
    outcome.tables.push(latencies(&plan, &load, &jitter));
    outcome.tables.push(faults(&load));
    let server = before.zip(after).map(|(before, after)| Server::between(&before, &after, &load));
    outcome.tables.extend(server.as_ref().map(|server| server.table(&load)));
    outcome.figures.push(tail(&plan, &load));
    notes(&mut outcome, &plan, &load, server.as_ref());
    outcome.note(jitter.sentence());
    Ok(outcome)
}

/// The jitter of a core, or of wherever this thread runs.
fn jitter(core: Option<usize>) -> Result<Jitter, Refusal> {
    let watching = std::thread::spawn(move || {
        core.map_or(Ok(()), cores::pin)?;
        Ok(Jitter::measure(JITTER))
    });
    watching.join().map_err(|_panic| Refusal::failed("the watch of the jitter died"))?
}

fn title(plan: &Plan) -> String {
    match &plan.targets[..] {
        [one] => format!("HTTP load on {} ({})", one.url.authority, one.name()),
        several => format!("HTTP load on {} ({} URLs)", several[0].url.authority, several.len()),
    }
}

fn stage(plan: &Plan) -> String {
    let pace = match (plan.rate, plan.is_open_loop()) {
        (Some(rate), _) => format!("{rate} requests a second"),
        (None, true) => "each URL at its rate".to_owned(),
        (None, false) => "as fast as it answers".to_owned(),
    };
    format!("asking {} over {} connections, {pace}", plan.targets[0].url.authority, plan.connections)
}

fn describe(outcome: &mut Outcome, plan: &Plan, load: &Load) {
    outcome.setting("connections", plan.connections);
    outcome.setting("pipeline depth", plan.pipeline);
    let pace = match plan.rate {
        Some(rate) => format!("open loop, {rate} requests/s"),
        None if plan.is_open_loop() => "open loop, a rate for each URL".to_owned(),
        None => "closed loop".to_owned(),
    };
    outcome.setting("pace", pace);
    let per_connection =
        plan.requests_per_connection.map_or("no limit".to_owned(), |limit| limit.to_string());
    outcome.setting("requests a connection", per_connection);
    outcome.setting("duration", plan.duration.map_or("until done".to_owned(), |time| format!("{time:?}")));
    if let Some(requests) = plan.requests {
        outcome.setting("requests", requests);
    }
    outcome.setting("warm-up", format!("{:?}", plan.warm_up));
    outcome.setting("timeout", format!("{:?}", plan.timeout));
    outcome.setting("client threads", plan.workers);
    let cores = if plan.cores.is_empty() { "any".to_owned() } else { format!("{:?}", plan.cores) };
    outcome.setting("client cores", cores);
    outcome.setting("client driver", format!("{}, waits {}", load.driver, plan.wait));
}

fn rates(load: &Load) -> Table {
    let columns = vec![
        Column::number("rate", "requests/s", 0),
        Column::number("right answers", "", 0),
        Column::number("failed", "", 0),
        Column::number("bodies", "MiB/s", 1),
        Column::number("measured", "s", 2),
        Column::number("new connections", "", 0),
        Column::number("client CPU", "µs/request", 2),
        Column::number("client busy", "%", 1),
    ];
    let mut table = Table::new("load", "The load", columns);
    let seconds = load.elapsed.as_secs_f64();
    table.row([
        load.rate().into(),
        load.tally.answers.into(),
        load.tally.faults.total().into(),
        (load.tally.body_bytes as f64 / (1024.0 * 1024.0) / seconds.max(1e-9)).into(),
        seconds.into(),
        load.tally.connections.into(),
        load.cpu_us_per_request().into(),
        (100.0 * load.busy).into(),
    ]);
    table
}

/// Columns for [`latency_cells`].
fn latency_columns() -> Vec<Column> {
    let percentile = |percent: &f64| Column::number(format!("p{percent}"), "µs", 1);
    let mean = std::iter::once(Column::number("mean", "µs", 1));
    mean.chain(PERCENTILES.iter().map(percentile)).chain([Column::number("max", "µs", 1)]).collect()
}

/// Mean, p50, p90, p99, p99.9, p99.99 and max of a load's latencies, in µs.
#[must_use]
pub fn latency_cells(load: &Load) -> Vec<Cell> {
    let latency = &load.tally.latency;
    let us = |ns: f64| Cell::Number(ns / 1000.0);
    let percentiles = PERCENTILES.iter().map(|percent| us(latency.percentile(*percent) as f64));
    std::iter::once(us(latency.mean())).chain(percentiles).chain([us(latency.max() as f64)]).collect()
}

fn latencies(plan: &Plan, load: &Load, jitter: &Jitter) -> Table {
    let from = match plan.is_open_loop() {
        true => "from the moment when each request was due",
        false if plan.requests_per_connection == Some(1) => "from the beginning of each connection",
        false => "from the sending of each request",
    };
    let mut columns = vec![Column::text("of")];
    columns.extend(latency_columns());
    let mut table = Table::new("latency", format!("Latency of right answers, {from}"), columns);
    let mut row = vec![Cell::from("answers")];
    row.extend(latency_cells(load));
    table.row_of(row);
    let mut row = vec![Cell::from("the machine's own gaps"), Cell::Missing];
    row.extend(PERCENTILES.iter().map(|percent| Cell::Number(jitter.percentile(*percent) as f64 / 1000.0)));
    row.push(Cell::Number(jitter.longest() as f64 / 1000.0));
    table.row_of(row);
    table
}

fn faults(load: &Load) -> Table {
    let columns = FaultKind::ALL.iter().map(|kind| Column::number(kind.words(), "", 0)).collect();
    let mut table = Table::new("faults", "Failed requests", columns);
    table.row_of(FaultKind::ALL.iter().map(|kind| load.tally.faults.of(*kind).into()).collect());
    table
}

fn tail(plan: &Plan, load: &Load) -> Figure {
    let x = Axis::log("share of requests that took longer", "");
    let y = Axis::log("latency", "µs");
    let series = vec![Series::new("answers", load.tally.latency.tail())];
    Figure::lines("http-latency", "Latency of right answers", x, y, series).subtitled(stage(plan))
}

/// What the server used while a load was measured.
pub(super) struct Server {
    pub(super) user: Duration,
    pub(super) system: Duration,
    /// The share of one core.
    pub(super) busy: f64,
    pub(super) resident_kib: u64,
    pub(super) high_water_kib: u64,
}

impl Server {
    pub(super) fn between(before: &Reading, after: &Reading, load: &Load) -> Server {
        let cpu = after.cpu.since(before.cpu);
        Server {
            user: Duration::from_nanos(cpu.user_ns),
            system: Duration::from_nanos(cpu.system_ns),
            busy: cpu.total().as_secs_f64() / load.elapsed.as_secs_f64().max(1e-9),
            resident_kib: after.resident_kib,
            high_water_kib: after.high_water_kib,
        }
    }

    pub(super) fn cpu_us_per_request(&self, load: &Load) -> f64 {
        (self.user + self.system).as_secs_f64() * 1e6 / (load.tally.answers.max(1) as f64)
    }

    fn table(&self, load: &Load) -> Table {
        let columns = vec![
            Column::number("CPU", "µs/request", 2),
            Column::number("user", "ms", 0),
            Column::number("system", "ms", 0),
            Column::number("busy", "% of a core", 1),
            Column::number("resident", "KiB", 0),
            Column::number("high water", "KiB", 0),
        ];
        let mut table = Table::new("server", "The server, its children included", columns);
        table.row([
            self.cpu_us_per_request(load).into(),
            (self.user.as_secs_f64() * 1000.0).into(),
            (self.system.as_secs_f64() * 1000.0).into(),
            (100.0 * self.busy).into(),
            self.resident_kib.into(),
            self.high_water_kib.into(),
        ]);
        table
    }
}

fn notes(outcome: &mut Outcome, plan: &Plan, load: &Load, server: Option<&Server>) {
    outcome.note(bottleneck(plan, load, server));
    let tally = &load.tally;
    for example in &tally.examples {
        outcome.note(format!("wrong: {example}"));
    }
    if tally.unsent > 0 {
        // A few that found every connection busy at the very end say nothing.
        let kept_up = tally.unsent.saturating_mul(1000) < tally.answers;
        let judgement = if kept_up { "the end came first" } else { "the server did not keep up" };
        outcome.note(format!(
            "{judgement}: requests that were due and never sent: {}; the time that each had waited at the end is among the \
             latencies, which are lower bounds there",
            tally.unsent
        ));
    }
    if tally.unanswered > 0 && tally.answers < tally.unanswered {
        outcome.note(format!("{} requests were still without an answer at the end", tally.unanswered));
    }
    if tally.resent > 0 {
        outcome.note(format!(
            "{} requests were sent again because the server closed the connection before them, as it may",
            tally.resent
        ));
    }
    if let Some(failure) = load.failure() {
        outcome.fail(failure);
    } else if tally.answers == 0 {
        outcome.fail("no request was answered while it was measured");
    }
}

/// Who was the bottleneck, in a sentence.
fn bottleneck(plan: &Plan, load: &Load, server: Option<&Server>) -> String {
    let client = 100.0 * load.busy;
    let of_server = server.map(|server| 100.0 * server.busy);
    match (load.is_saturated(), of_server) {
        (true, Some(server)) if server < 97.0 => format!(
            "client saturated: the client was the bottleneck (busy {client:.0} %, the server {server:.0} % of a core); the \
             rate says nothing of the server, its CPU time a request does"
        ),
        (true, _) => format!(
            "client saturated (busy {client:.0} %): the rate may be the client's; more --threads on free cores would tell"
        ),
        (false, Some(server)) if plan.is_open_loop() => {
            format!("the rate was given: client busy {client:.0} %, server {server:.0} % of a core")
        }
        (false, Some(server)) => {
            format!(
                "the client was not the bottleneck: busy {client:.0} %, the server {server:.0} % of a core"
            )
        }
        (false, None) => format!("the client was not the bottleneck: busy {client:.0} %"),
    }
}
