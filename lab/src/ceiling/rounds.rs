//! Rounds: every contestant once in each, in rotated order, each with a fresh server; and what they come to.

use crate::ceiling::child::ServerProcess;
use crate::echo::plan::{Moment, Plan, Report};
use crate::measure::{Latency, Spread};
use crate::outcome::{Cell, Column, Outcome, Table};
use crate::progress::Progress;
use crate::refusal::Refusal;
use std::time::Duration;

/// A client that is busier than this, while its server is not, was the bottleneck.
const SATURATED: f64 = 0.95;

/// Where client and server were both less busy than this, though the client asks as fast as it is answered, something else
/// ran on their cores.
const DISTURBED: f64 = 0.6;

/// What one contestant did in one round.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Requests answered a second.
    pub per_s: f64,
    /// The server's CPU time a request, in µs.
    pub server_us: f64,
    /// The share of a core that the server used.
    pub server_busy: f64,
    /// The share of a core that the client used.
    pub client_busy: f64,
    /// Latencies.
    pub latency: Latency,
    /// What went wrong first, if anything.
    pub failure: Option<String>,
}

/// All samples of one contestant.
#[derive(Clone, Debug)]
pub struct Contest {
    /// Its name.
    pub name: String,
    /// Its rounds.
    pub samples: Vec<Sample>,
}

/// Measures every contestant once a round; each round begins with another one.
///
/// # Errors
/// The first that cannot be measured.
pub fn rotate<T>(
    contestants: &[(String, T)],
    rounds: u32,
    progress: &Progress,
    what: &str,
    measure: &mut dyn FnMut(&T) -> Result<Sample, Refusal>,
) -> Result<Vec<Contest>, Refusal> {
    let mut contests: Vec<Contest> =
        contestants.iter().map(|(name, _)| Contest { name: name.clone(), samples: Vec::new() }).collect();
    for round in 0..rounds {
        for place in 0..contestants.len() {
            let index = (place + round as usize) % contestants.len();
            let (name, contestant) = &contestants[index];
            progress.stage(&format!("{what}: round {} of {rounds}, {name}", round + 1));
            contests[index].samples.push(measure(contestant)?);
        }
    }
    Ok(contests)
}

/// Clients of an echo server: of TCP or of UDP.
pub type RunClients = fn(&Plan, &mut dyn FnMut(Moment)) -> Result<Report, Refusal>;

/// Measures one round of echo: starts the server with `arguments` on `server_core`, runs the plan's clients on this
/// thread, ends the server.
///
/// # Errors
/// When either cannot run.
pub fn echo_round(
    arguments: &[&str],
    server_core: usize,
    plan: &Plan,
    clients: RunClients,
) -> Result<Sample, Refusal> {
    let mut server = ServerProcess::start(arguments, server_core)?;
    let plan = Plan { address: server.address(), ..plan.clone() };
    let mut clocks = [Ok(Duration::ZERO), Ok(Duration::ZERO)];
    let report = clients(&plan, &mut |moment| match moment {
        Moment::Begin => clocks[0] = server.cpu(),
        Moment::End => clocks[1] = server.cpu(),
        Moment::Underway(..) => {}
    })?;
    let [begin, end] = clocks;
    let server_cpu = end?.saturating_sub(begin?).as_secs_f64();
    let seconds = report.elapsed.as_secs_f64();
    let failure = report.failures.first().map(|failure| failure.to_string());
    if report.messages == 0 {
        return Err(Refusal::failed(format!(
            "nothing was answered by `{}`{}",
            arguments.join(" "),
            failure.map(|failure| format!(": {failure}")).unwrap_or_default()
        )));
    }
    Ok(Sample {
        per_s: report.messages as f64 / seconds,
        server_us: server_cpu * 1e6 / report.messages as f64,
        server_busy: server_cpu / seconds,
        client_busy: report.client_cpu.as_secs_f64() / seconds,
        latency: report.latency,
        failure,
    })
}

impl Contest {
    /// One value of every round.
    #[must_use]
    pub fn values(&self, of: impl Fn(&Sample) -> f64) -> Vec<f64> {
        self.samples.iter().map(of).collect()
    }

    /// The median of a value.
    #[must_use]
    pub fn median(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        Spread::of(&self.values(of)).map_or(f64::NAN, |spread| spread.median)
    }
}

/// A table of contests: medians, and the ratio of the server's CPU time to the contest named `base`, round by round.
#[must_use]
pub fn table(name: &str, title: &str, contests: &[Contest], base: &str) -> Table {
    let columns = vec![
        Column::text("server"),
        Column::number("rate", "req/s", 0),
        Column::number("server CPU", "µs/req", 3),
        Column::number("lowest", "µs/req", 3),
        Column::number("highest", "µs/req", 3),
        Column::ratio(format!("CPU to {base}")),
        Column::number("server busy", "%", 0),
        Column::number("client busy", "%", 0),
    ];
    let mut table = Table::new(name, title, columns);
    let cost = |sample: &Sample| sample.server_us;
    let base = contests.iter().find(|contest| contest.name == base).map(|contest| contest.values(cost));
    for contest in contests {
        let costs = contest.values(cost);
        let spread = Spread::of(&costs);
        let ratio = base.as_ref().and_then(|base| Spread::of_ratios(&costs, base));
        table.row([
            contest.name.as_str().into(),
            contest.median(|sample| sample.per_s).into(),
            spread.map(|spread| spread.median).into(),
            spread.map(|spread| spread.low).into(),
            spread.map(|spread| spread.high).into(),
            ratio.map_or(Cell::Missing, Spread::as_ratio),
            (contest.median(|sample| sample.server_busy) * 100.0).into(),
            (contest.median(|sample| sample.client_busy) * 100.0).into(),
        ]);
    }
    table
}

/// Says what a reader must know of the contests: wrong answers, clients that were the bottleneck, and a machine that was busy
/// with other things.
pub fn judge(outcome: &mut Outcome, what: &str, contests: &[Contest]) {
    for contest in contests {
        let failure = contest.samples.iter().find_map(|sample| sample.failure.as_ref());
        if let Some(failure) = failure {
            outcome.fail(format!("{what}, {}: {failure}", contest.name));
        }
        let client = contest.median(|sample| sample.client_busy);
        if client > SATURATED && contest.median(|sample| sample.server_busy) < SATURATED {
            outcome.note(format!(
                "{what}, {}: the client was the bottleneck, so the rate is a lower bound; the server's CPU time a request \
                 counts all the same, though a server that waits more batches less",
                contest.name
            ));
        }
    }
    let is_disturbed =
        |contest: &&Contest| contest.median(|sample| sample.client_busy.max(sample.server_busy)) < DISTURBED;
    let disturbed: Vec<&str> =
        contests.iter().filter(is_disturbed).map(|contest| contest.name.as_str()).collect();
    if !disturbed.is_empty() {
        outcome.note(format!(
            "{what}, {}: neither server nor client was busy, though one always had something to do: other programs ran on \
             their cores (or they waited for each other's threads), so rates say nothing and CPU times are too high",
            disturbed.join(", ")
        ));
    }
}
