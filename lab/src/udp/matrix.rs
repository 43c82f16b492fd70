//! `udp matrix`: seven receivers, one generator, growing work; what share each handles and what that costs.

use std::collections::HashSet;

use super::bars::{self, Bar, Limit};
use super::children::{Bench, Case, Round, Traffic};
use super::receiver::Receiver;
use super::settings::{DATAGRAM_BYTES_MAX, within};
use super::{kernel, seeds, work};
use crate::measure::{Spread, cores, median};
use crate::outcome::table::number;
use crate::outcome::{Axis, Cell, Column, Figure, Outcome, Series, Table};
use crate::progress::Progress;
use crate::refusal::Refusal;

/// Rounds at most.
const ROUNDS_MAX: usize = 99;
/// A generator of which so much is handled was the bottleneck, in percent.
const ALL_PERCENT: f64 = 99.0;

/// A quiet machine's generator is not so many times faster in one round of a case than in another.
const UNEVEN: f64 = 1.5;

/// Flags of `udp matrix`.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Arguments {
    /// The receivers
    #[arg(long, value_enum, value_name = "NAMES", value_delimiter = ',', default_values_t = Receiver::ALL)]
    pub(super) servers: Vec<Receiver>,
    /// Iterations of work for every datagram
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_values_t = [0, 100, 300, 500, 700, 1000, 2000])]
    pub(super) work: Vec<u32>,
    /// Size of a datagram in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1024)]
    pub(super) size: usize,
    /// How long is sent in every trial
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    pub(super) seconds: f64,
    /// Rounds over all trials; medians are shown
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(super) rounds: usize,
    /// The receivers' core [default: the first that is allowed]
    #[arg(long, value_name = "CORE")]
    pub(super) receiver_cpu: Option<usize>,
    /// The generator's core [default: the second that is allowed]
    #[arg(long, value_name = "CORE")]
    pub(super) sender_cpu: Option<usize>,
    /// The generator sends trains (GSO) and the rings' receivers let the kernel coalesce (GRO)
    #[arg(long)]
    pub(super) gso: bool,
    /// Datagrams of a train
    #[arg(long, value_name = "N", default_value_t = 60)]
    pub(super) segments: usize,
    /// Use readiness instead of io_uring under the rings
    #[arg(long)]
    pub(super) epoll: bool,
}

/// What all rounds of all cases brought.
struct Results {
    rounds: Vec<(Case, Vec<Round>)>,
}

/// Runs the matrix.
pub(super) fn run(arguments: &Arguments, progress: &Progress) -> Result<Outcome, Refusal> {
    let arguments = &without_twins(arguments);
    let bench = bench(arguments)?;
    let load_before = kernel::load_average();
    let iteration_ns = work::calibrate_ns();
    let cases = cases(arguments);
    let mut rounds: Vec<(Case, Vec<Round>)> = cases.into_iter().map(|case| (case, Vec::new())).collect();
    let count = rounds.len();
    for round in 0..arguments.rounds {
        progress.stage(&format!("round {} of {}: {count} trials", round + 1, arguments.rounds));
        // Every round begins elsewhere, so that no case always follows the same moment of the machine.
        let offset = round * count / arguments.rounds;
        for step in 0..count {
            let (case, results) = &mut rounds[(step + offset) % count];
            progress.step(
                &format!("round {}: {} at work {}", round + 1, case.server, case.work),
                step as u64,
                count as u64,
            );
            results.push(bench.run(case)?);
        }
    }
    let results = Results { rounds };
    let mut outcome = Outcome::new("UDP: seven receivers, one generator");
    outcome.setting("load average before", load_before);
    describe(&mut outcome, arguments, &bench, iteration_ns);
    outcome.tables.push(results.handled_table(arguments));
    outcome.tables.push(results.cpu_table(arguments));
    outcome.tables.push(results.detail_table());
    outcome.tables.push(bars::table(&results.bars()));
    outcome.tables.push(seeds::table());
    outcome.figures.push(results.handled_figure(arguments));
    outcome.figures.push(results.cpu_figure(arguments));
    results.notes(&mut outcome, iteration_ns);
    Ok(outcome)
}

/// The same with every receiver and every work once.
fn without_twins(arguments: &Arguments) -> Arguments {
    let mut arguments = arguments.clone();
    let (mut servers, mut work) = (HashSet::new(), HashSet::new());
    arguments.servers.retain(|server| servers.insert(*server));
    arguments.work.retain(|iterations| work.insert(*iterations));
    arguments
}

fn bench(arguments: &Arguments) -> Result<Bench, Refusal> {
    within("--size", arguments.size, 1..=DATAGRAM_BYTES_MAX)?;
    within("--rounds", arguments.rounds, 1..=ROUNDS_MAX)?;
    within("--segments", arguments.segments, 2..=64)?;
    if !(0.05..=3600.0).contains(&arguments.seconds) {
        return Err(Refusal::new("--seconds must be within 0.05 and 3600"));
    }
    if arguments.size * arguments.segments > DATAGRAM_BYTES_MAX && arguments.gso {
        let (segments, size) = (arguments.segments, arguments.size);
        return Err(Refusal::new(format!(
            "a train of {segments} datagrams of {size} bytes is too long; see --segments"
        )));
    }
    let allowed = cores::require(2, "the receiver and the generator need a core each")?;
    let receiver_cpu = arguments.receiver_cpu.unwrap_or(allowed[0]);
    let spare = allowed.iter().copied().find(|core| *core != receiver_cpu).unwrap_or(allowed[1]);
    let sender_cpu = arguments.sender_cpu.unwrap_or(spare);
    if sender_cpu == receiver_cpu {
        let sentence = format!(
            "receiver and generator cannot share core {sender_cpu}: each would measure the other's leftovers"
        );
        return Err(Refusal::new(sentence));
    }
    let ring_flags = if arguments.epoll { vec!["--epoll".to_owned()] } else { Vec::new() };
    let Arguments { size, seconds, segments, .. } = *arguments;
    Ok(Bench { receiver_cpu, sender_cpu, size, seconds, segments, ring_flags })
}

/// The matrix, and the two cases that the bar for trains needs beside it.
fn cases(arguments: &Arguments) -> Vec<Case> {
    let traffic = if arguments.gso { Traffic::Gso } else { Traffic::Tight };
    let mut cases = Vec::new();
    for work in &arguments.work {
        for server in &arguments.servers {
            let case = Case { server: *server, work: *work, traffic, gro: false };
            cases.push(Case { gro: arguments.gso && server.is_ring(), ..case });
        }
    }
    let trains_fit = arguments.size * arguments.segments <= DATAGRAM_BYTES_MAX;
    let pair = [Receiver::RingEvent, Receiver::PlainPolled];
    if !arguments.gso && trains_fit && pair.iter().all(|server| arguments.servers.contains(server)) {
        let train = |server: Receiver| Case { server, work: 0, traffic: Traffic::Gso, gro: server.is_ring() };
        cases.extend(pair.map(train));
    }
    cases
}

fn describe(outcome: &mut Outcome, arguments: &Arguments, bench: &Bench, iteration_ns: f64) {
    outcome.setting("datagram", format!("{} bytes", bench.size));
    outcome.setting(
        "traffic",
        if arguments.gso {
            format!("trains of {} datagrams (GSO), as fast as possible; rings coalesce (GRO)", bench.segments)
        } else {
            "a tight loop around sendto, as fast as possible".to_owned()
        },
    );
    outcome.setting("a trial", format!("{} s of sending, then short datagrams", bench.seconds));
    outcome.setting("rounds", format!("{}, rotated; medians", arguments.rounds));
    outcome
        .setting("cores", format!("receiver on {}, generator on {}", bench.receiver_cpu, bench.sender_cpu));
    outcome.setting("work", format!("{iteration_ns:.2} ns an iteration"));
    outcome.setting(
        "ports",
        "ring-port-N: 2 threads, 2 rings, 2 port numbers in turn; plain-port-N: 2 threads, one socket",
    );
}

/// Matrices of single datagrams and of trains can stand beside each other.
fn figure_name(arguments: &Arguments, what: &str) -> String {
    if arguments.gso { format!("udp-trains-{what}") } else { format!("udp-{what}") }
}

/// What a figure says of the traffic when it is not the usual one.
fn traffic(arguments: &Arguments) -> &'static str {
    if arguments.gso { " with trains (GSO), rings coalesce (GRO)" } else { "" }
}

impl Results {
    /// One figure of every round of a case.
    fn values(&self, case: &Case, of: impl Fn(&Round) -> f64) -> Vec<f64> {
        let found = self.rounds.iter().find(|(other, _)| other == case);
        found.map(|(_, rounds)| rounds.iter().map(of).collect()).unwrap_or_default()
    }

    fn case(arguments: &Arguments, server: Receiver, work: u32) -> Case {
        let traffic = if arguments.gso { Traffic::Gso } else { Traffic::Tight };
        Case { server, work, traffic, gro: arguments.gso && server.is_ring() }
    }

    fn grid(
        &self,
        arguments: &Arguments,
        name: &str,
        title: &str,
        column: (&str, usize),
        of: fn(&Round) -> f64,
    ) -> Table {
        let mut columns = vec![Column::number("work", "", 0)];
        let (unit, decimals) = column;
        columns.extend(
            arguments.servers.iter().map(|server| Column::number(server.to_string(), unit, decimals)),
        );
        let with_seeds = unit == "%";
        if with_seeds {
            columns.extend(
                ["seed: Registered I/O", "seed: traditional"].map(|seed| Column::number(seed, unit, 1)),
            );
        }
        let mut table = Table::new(name, title, columns);
        for work in &arguments.work {
            let mut row = vec![Cell::Number(f64::from(*work))];
            for server in &arguments.servers {
                row.push(median(&self.values(&Self::case(arguments, *server, *work), of)).into());
            }
            if with_seeds {
                row.extend([seeds::registered(*work).into(), seeds::traditional(*work).into()]);
            }
            table.row_of(row);
        }
        table
    }

    fn handled_table(&self, arguments: &Arguments) -> Table {
        let title = "Handled, in percent of what was sent";
        self.grid(arguments, "handled", title, ("%", 1), Round::handled_percent)
    }

    fn cpu_table(&self, arguments: &Arguments) -> Table {
        let title = "CPU time of the receiver for every datagram handled, its work included";
        self.grid(arguments, "cpu", title, ("µs", 3), |round| round.served.cpu_ns / 1000.0)
    }

    fn detail_table(&self) -> Table {
        let columns = vec![
            Column::text("receiver"),
            Column::text("traffic"),
            Column::number("work", "", 0),
            Column::number("offered", "/s", 0),
            Column::number("handled per second", "/s", 0),
            Column::number("handled", "%", 1),
            Column::number("CPU", "µs", 3),
            Column::number("user", "µs", 3),
            Column::number("kernel", "µs", 3),
            Column::number("dropped at the sockets", "", 0),
            Column::number("RcvbufErrors", "", 0),
            Column::number("locked", "KiB", 0),
            Column::number("memory", "KiB", 0),
        ];
        let mut table = Table::new("detail", "Every receiver at every work, medians of the rounds", columns);
        for (case, rounds) in &self.rounds {
            let of = |figure: fn(&Round) -> Option<f64>| -> Cell {
                median(&rounds.iter().filter_map(figure).collect::<Vec<f64>>()).into()
            };
            table.row([
                case.server.to_string().into(),
                if case.traffic == Traffic::Gso { "trains" } else { "sendto" }.into(),
                f64::from(case.work).into(),
                of(|round| Some(round.sent.rate())),
                of(|round| Some(round.served.rate())),
                of(|round| Some(round.handled_percent())),
                of(|round| Some(round.served.cpu_ns / 1000.0)),
                of(|round| Some(round.served.user_ns? / 1000.0)),
                of(|round| Some(round.served.kernel_ns? / 1000.0)),
                of(|round| round.served.dropped),
                of(|round| round.served.dropped_by_host),
                of(|round| round.served.locked_kib),
                of(|round| round.served.resident_kib),
            ]);
        }
        table
    }

    /// The figure of one case over that of another, round by round.
    fn ratio(&self, one: &Case, other: &Case, of: fn(&Round) -> f64) -> Option<Spread> {
        Spread::of_ratios(&self.values(one, of), &self.values(other, of))
    }

    fn bars(&self) -> Vec<Bar> {
        let tight = |server, work| Case { server, work, traffic: Traffic::Tight, gro: false };
        let train = |server: Receiver| Case { server, work: 0, traffic: Traffic::Gso, gro: server.is_ring() };
        let cpu = |round: &Round| round.served.cpu_ns;
        let rate = |round: &Round| round.served.rate();
        let (event, plain) = (Receiver::RingEvent, Receiver::PlainPolled);
        let bar = |what: &str, limit, unit, measured| Bar { what: what.to_owned(), limit, unit, measured };
        let mut bars = vec![
            bar(
                "work 0: ring-event, datagrams/s of plain-polled",
                Limit::AtLeast(1.5),
                "×",
                self.ratio(&tight(event, 0), &tight(plain, 0), rate),
            ),
            bar(
                "work 0: ring-event, CPU per datagram of plain-polled",
                Limit::AtMost(0.4),
                "×",
                self.ratio(&tight(event, 0), &tight(plain, 0), cpu),
            ),
            bar(
                "work 100: ring-event, handled of what was sent",
                Limit::AtLeast(ALL_PERCENT),
                "%",
                Spread::of(&self.values(&tight(event, 100), Round::handled_percent)),
            ),
        ];
        for other in [Receiver::PlainPolled, Receiver::PlainPort1, Receiver::PlainPortN] {
            let what = format!("work 100: ring-event, CPU per datagram of {other}");
            bars.push(bar(
                &what,
                Limit::AtMost(1.0),
                "×",
                self.ratio(&tight(event, 100), &tight(other, 100), cpu),
            ));
        }
        bars.extend([
            bar(
                "work 0: ring-port-1, CPU per datagram of ring-event",
                Limit::AtMost(1.1),
                "×",
                self.ratio(&tight(Receiver::RingPort1, 0), &tight(event, 0), cpu),
            ),
            bar(
                "trains: ring-event with GRO, datagrams/s of plain-polled",
                Limit::AtLeast(5.0),
                "×",
                self.ratio(&train(event), &train(plain), rate),
            ),
            bar(
                "trains: ring-event with GRO, CPU per datagram",
                Limit::AtMost(0.15),
                "µs",
                Spread::of(&self.values(&train(event), |round| round.served.cpu_ns / 1000.0)),
            ),
        ]);
        bars
    }

    fn lines(&self, arguments: &Arguments, of: fn(&Round) -> f64) -> Vec<Series> {
        let line = |server: &Receiver| {
            let point = |work: &u32| {
                Some((f64::from(*work), median(&self.values(&Self::case(arguments, *server, *work), of))?))
            };
            Series::new(server.to_string(), arguments.work.iter().filter_map(point).collect())
        };
        arguments.servers.iter().map(line).collect()
    }

    fn handled_figure(&self, arguments: &Arguments) -> Figure {
        let mut series = self.lines(arguments, Round::handled_percent);
        let points = |of: fn(u32) -> Option<f64>| {
            seeds::HANDLED_PERCENT
                .iter()
                .filter_map(move |row| Some((f64::from(row.0), of(row.0)?)))
                .collect()
        };
        for (name, of, like) in [
            ("seed: Registered I/O", seeds::registered as fn(u32) -> Option<f64>, Receiver::RingPolled),
            ("seed: traditional", seeds::traditional, Receiver::PlainPolled),
        ] {
            // In the colour of what does the same here.
            let twin = arguments.servers.iter().position(|server| *server == like);
            let seed = Series::seed(name, points(of));
            series.push(twin.map_or(seed.clone(), |twin| seed.coloured_as(twin)));
        }
        let (x, y) = (
            Axis::linear("work for every datagram", "iterations"),
            Axis::linear("handled", "% of sent").ending(100.0),
        );
        Figure::lines(
            figure_name(arguments, "handled"),
            "What share of the datagrams each receiver handles",
            x,
            y,
            series,
        )
        .subtitled(format!(
            "generator at full speed{}, one core each; dashed: 2012, {}",
            traffic(arguments),
            seeds::SOURCE
        ))
    }

    fn cpu_figure(&self, arguments: &Arguments) -> Figure {
        let series = self.lines(arguments, |round| round.served.cpu_ns / 1000.0);
        let (x, y) = (
            Axis::linear("work for every datagram", "iterations"),
            Axis::linear("CPU time of the receiver", "µs/datagram"),
        );
        Figure::lines(figure_name(arguments, "cpu"), "What a datagram costs each receiver", x, y, series)
            .subtitled(format!(
                "its work included{}; a polling receiver uses its core whether datagrams come or not",
                traffic(arguments)
            ))
    }

    /// How many times faster the generator was in the fastest round of a case than in its slowest, at worst.
    fn unevenness(&self) -> f64 {
        let spreads = self.rounds.iter().filter_map(|(_, rounds)| {
            Spread::of(&rounds.iter().map(|round| round.sent.rate()).collect::<Vec<f64>>())
        });
        spreads.map(|spread| spread.high / spread.low.max(1.0)).fold(1.0, f64::max)
    }

    fn notes(&self, outcome: &mut Outcome, iteration_ns: f64) {
        let tight = |server, work| Case { server, work, traffic: Traffic::Tight, gro: false };
        let handled = |case: &Case| median(&self.values(case, Round::handled_percent));
        if let Some(percent) = handled(&tight(Receiver::PlainPolled, 100)) {
            let verdict = if percent >= ALL_PERCENT { "does not reproduce" } else { "reproduces in part" };
            outcome.note(format!(
                "the seeds' gap at work 100 (63 % against 99 %) {verdict}: a plain receive loop handles {percent:.1} % here, because \
                 a system call costs tens of nanoseconds on this kernel and loopback has no driver and no interrupts; what \
                 rings gain here is CPU time, not survival"
            ));
        }
        let servers = [Receiver::RingEvent, Receiver::PlainPolled].map(|server| tight(server, 0));
        let bottleneck = |case: &Case| handled(case).is_some_and(|percent| percent >= ALL_PERCENT);
        for case in servers.iter().filter(|case| bottleneck(case)) {
            let rate = median(&self.values(case, |round| round.sent.rate())).unwrap_or(0.0);
            let server = case.server;
            outcome.note(format!(
                "at work 0 the generator was the bottleneck beside {server}: it sent {} datagrams/s and all were handled",
                number(rate, 0)
            ));
        }
        if servers.iter().all(bottleneck) {
            outcome.note(
                "on loopback the sender does the receiver's share of the network stack and wakes it when it sleeps; a receiver \
                 that sleeps for a batch is woken seldom, so the same generator sends faster to it",
            );
        }
        let (low, high) = seeds::ITERATION_NS;
        outcome.note(format!(
            "equal numbers of iterations are not equal loads: one took the seeds' machine about {low} to {high} ns (from the \
             rates of their table), here {iteration_ns:.1} ns, and their link brought 114,000 datagrams/s; ten times the iterations come near their load"
        ));
        let uneven = self.unevenness();
        if uneven >= UNEVEN {
            outcome.note(format!(
                "the machine was busy: the generator was up to {uneven:.1} times as fast in one round of a case as in another, \
                 so measure again when nothing else runs"
            ));
        }
        outcome.note(
            "percentages compare within one table only: each receiver meets the generator at the speed that the generator \
             reaches beside it, and what waits in the receive buffer when sending ends is handled too",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::udp::send::Sent;
    use crate::udp::served::Served;

    fn round(sent: f64, served: f64, cpu_ns: f64) -> Round {
        Round {
            sent: Sent { datagrams: sent, seconds: 1.0, ..Sent::default() },
            served: Served { datagrams: served, seconds: 1.0, cpu_ns, ..Served::default() },
        }
    }

    fn results(server: Receiver, rounds: Vec<Round>) -> (Case, Vec<Round>) {
        (Case { server, work: 0, traffic: Traffic::Tight, gro: false }, rounds)
    }

    #[test]
    fn bars_compare_round_by_round() {
        let event = results(Receiver::RingEvent, vec![round(300.0, 300.0, 40.0), round(200.0, 200.0, 30.0)]);
        let plain =
            results(Receiver::PlainPolled, vec![round(100.0, 100.0, 100.0), round(100.0, 100.0, 100.0)]);
        let bars = Results { rounds: vec![event, plain] }.bars();
        assert_eq!(bars[0].measured, Some(Spread { median: 2.5, low: 2.0, high: 3.0 }));
        assert_eq!((bars[0].holds(), bars[1].holds()), (Some(true), Some(true)));
        assert_eq!(bars[1].measured.map(|spread| spread.high), Some(0.4));
        assert_eq!(bars[2].holds(), None, "nothing was measured at work 100");
    }

    #[test]
    fn a_busy_machine_is_noticed() {
        let even = results(Receiver::RingEvent, vec![round(100.0, 50.0, 1.0), round(120.0, 60.0, 1.0)]);
        assert!(Results { rounds: vec![even.clone()] }.unevenness() < UNEVEN);
        let torn = results(Receiver::PlainPolled, vec![round(100.0, 50.0, 1.0), round(400.0, 60.0, 1.0)]);
        assert_eq!(Results { rounds: vec![even, torn] }.unevenness(), 4.0);
        assert_eq!(round(100.0, 50.0, 1.0).handled_percent(), 50.0);
    }
}
