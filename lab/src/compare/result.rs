//! What was measured, round by round, and the tables, figures and sentences made of it.

use std::collections::BTreeMap;

use super::idle::Idle;
use super::made::Made;
use super::{Arguments, Clocks, Load};
use crate::measure::Spread;
use crate::outcome::table::number;
use crate::outcome::{Axis, Cell, Column, Figure, Outcome, Series, Table};
use crate::refusal::Refusal;

/// A busier core is fully busy: it was the bottleneck.
const BOTTLENECK: f64 = 0.95;
/// Other processes that took more of the machine than this, as a share of one core, disturbed the measurement.
const DISTURBED: f64 = 0.05;

/// One server under one case in one round.
#[derive(Clone, Debug)]
pub(super) enum Sample {
    /// Under load.
    Load(Measured),
    /// With waiting connections.
    Idle(Idle),
}

impl Sample {
    fn load(&self) -> Option<&Measured> {
        if let Sample::Load(measured) = self { Some(measured) } else { None }
    }

    fn idle(&self) -> Option<Idle> {
        if let Sample::Idle(idle) = self { Some(*idle) } else { None }
    }
}

/// A load and what the server used for it.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    rate: f64,
    cpu_us: f64,
    user_us: f64,
    system_us: f64,
    client_us: f64,
    server_busy: f64,
    client_busy: f64,
    others_busy: f64,
    /// `None` where the generator does not tell.
    p50_us: Option<f64>,
    p99_us: Option<f64>,
    high_water_kib: u64,
    wrong: Option<String>,
}

impl Measured {
    /// Sums a load up; `server_cores` is how many cores the server might have used.
    pub(super) fn new(load: &Load, before: &Clocks, after: &Clocks, server_cores: usize) -> Measured {
        let cpu = after.server.cpu.since(before.server.cpu);
        let seconds = (after.at - before.at).as_secs_f64().max(1e-9);
        let answers = load.tally.answers.max(1) as f64;
        let us_each = |ns: u64| ns as f64 / 1e3 / answers;
        let latency_us = |percent| load.tally.latency.percentile(percent) as f64 / 1e3;
        let machine = (after.machine.saturating_sub(before.machine)).as_secs_f64();
        let others = machine - cpu.total().as_secs_f64() - load.cpu.as_secs_f64();
        Measured {
            rate: load.rate(),
            cpu_us: us_each(cpu.total_ns()),
            user_us: us_each(cpu.user_ns),
            system_us: us_each(cpu.system_ns),
            client_us: load.cpu_us_per_request(),
            server_busy: cpu.total().as_secs_f64() / seconds / server_cores as f64,
            client_busy: load.busy,
            others_busy: others.max(0.0) / seconds,
            p50_us: Some(latency_us(50.0)),
            p99_us: Some(latency_us(99.0)),
            high_water_kib: after.server.high_water_kib,
            wrong: load.failure(),
        }
    }
}

impl Measured {
    /// Sums up a load that another program made.
    pub(super) fn of_made(made: &Made, before: &Clocks, after: &Clocks, server_cores: usize) -> Measured {
        let cpu = after.server.cpu.since(before.server.cpu);
        let seconds = (after.at - before.at).as_secs_f64().max(1e-9);
        let us_each = |ns: u64| ns as f64 / 1e3 / made.answers.max(1) as f64;
        let machine = (after.machine.saturating_sub(before.machine)).as_secs_f64();
        let others = machine - cpu.total().as_secs_f64() - made.cpu.as_secs_f64();
        Measured {
            rate: made.answers as f64 / seconds,
            cpu_us: us_each(cpu.total_ns()),
            user_us: us_each(cpu.user_ns),
            system_us: us_each(cpu.system_ns),
            client_us: made.cpu.as_secs_f64() * 1e6 / made.answers.max(1) as f64,
            server_busy: cpu.total().as_secs_f64() / seconds / server_cores as f64,
            client_busy: made.cpu.as_secs_f64() / seconds,
            others_busy: others.max(0.0) / seconds,
            p50_us: None,
            p99_us: None,
            high_water_kib: after.server.high_water_kib,
            wrong: made.wrong(),
        }
    }
}

/// Everything that was measured, by case and server.
#[derive(Debug, Default)]
pub(super) struct Results {
    samples: BTreeMap<(String, String), Vec<Sample>>,
    refused: Vec<String>,
}

impl Results {
    /// Adds a round.
    pub(super) fn add(&mut self, case: &str, server: &str, sample: Sample) {
        if let Sample::Load(Measured { wrong: Some(wrong), .. }) = &sample {
            self.refused.push(format!("{server}, case {case}: {wrong}"));
        }
        self.samples.entry((case.to_owned(), server.to_owned())).or_default().push(sample);
    }

    /// Notes a round that could not be measured.
    pub(super) fn refused(&mut self, case: &str, server: &str, refusal: &Refusal) {
        let sentence = format!("{server}, case {case}: {refusal}");
        if !self.refused.contains(&sentence) {
            self.refused.push(sentence);
        }
    }

    /// Adds tables, figures and notes to the outcome. Wrong answers and refused cases fail it.
    ///
    /// # Errors
    /// When nothing at all was measured.
    pub(super) fn give(
        &self,
        outcome: &mut Outcome,
        servers: &[String],
        arguments: &Arguments,
    ) -> Result<(), Refusal> {
        if self.samples.is_empty() {
            let why = self.refused.first().map_or("nothing was measured", String::as_str);
            return Err(Refusal::new(why));
        }
        let cases: Vec<&str> = arguments.cases.iter().map(|case| case.name.as_str()).collect();
        outcome.tables.push(self.cpu_table(&cases, servers));
        outcome.tables.push(self.rate_table(&cases, servers));
        if self.samples.values().flatten().any(|sample| matches!(sample, Sample::Idle(_))) {
            outcome.tables.push(self.idle_table(&cases, servers));
        }
        outcome.figures.extend(self.figures(&cases, servers));
        for case in &cases {
            for server in servers {
                self.judge(case, server).into_iter().for_each(|sentence| outcome.note(sentence));
            }
        }
        self.disturbance().into_iter().for_each(|sentence| outcome.note(sentence));
        self.refused.iter().for_each(|sentence| outcome.note(sentence.as_str()));
        if let Some(first) = self.refused.first() {
            outcome.fail(first.as_str());
        }
        Ok(())
    }

    fn samples(&self, case: &str, server: &str) -> &[Sample] {
        self.samples.get(&(case.to_owned(), server.to_owned())).map_or(&[], Vec::as_slice)
    }

    fn loads(&self, case: &str, server: &str) -> Vec<&Measured> {
        self.samples(case, server).iter().filter_map(Sample::load).collect()
    }

    fn values(&self, case: &str, server: &str, value: fn(&Measured) -> f64) -> Vec<f64> {
        // What was not told is no value.
        self.loads(case, server).into_iter().map(value).filter(|value| !value.is_nan()).collect()
    }

    fn median(&self, case: &str, server: &str, value: fn(&Measured) -> f64) -> Cell {
        Spread::of(&self.values(case, server, value)).map(|spread| spread.median).into()
    }

    /// The ratio to the first server, which has none to itself.
    fn ratio(&self, case: &str, server: &str, first: &str, value: fn(&Measured) -> f64) -> Option<Spread> {
        let (rounds, base) = (self.values(case, server, value), self.values(case, first, value));
        if server == first { None } else { Spread::of_ratios(&rounds, &base) }
    }

    fn cpu_table(&self, cases: &[&str], servers: &[String]) -> Table {
        let us = |heading: &str| Column::number(heading, "µs/request", 2);
        let columns = vec![
            Column::text("case"),
            Column::text("server"),
            us("CPU"),
            us("user"),
            us("system"),
            Column::ratio("CPU to the first"),
            Column::number("memory high-water", "MiB", 2),
            us("client CPU"),
        ];
        let title =
            "What the server used for a right answer: medians of the rounds, ratios with their spread";
        let mut table = Table::new("cpu", title, columns);
        self.each(cases, servers, |case, server, first| {
            let memory = self.loads(case, server).iter().map(|load| load.high_water_kib).max();
            table.row([
                case.into(),
                server.into(),
                self.median(case, server, |load| load.cpu_us),
                self.median(case, server, |load| load.user_us),
                self.median(case, server, |load| load.system_us),
                self.ratio(case, server, first, |load| load.cpu_us).map(Spread::as_ratio).into(),
                memory.map(|kib| kib as f64 / 1024.0).into(),
                self.median(case, server, |load| load.client_us),
            ]);
        });
        table
    }

    fn rate_table(&self, cases: &[&str], servers: &[String]) -> Table {
        let busy = |heading: &str| Column::number(heading, "%", 0);
        let columns = vec![
            Column::text("case"),
            Column::text("server"),
            Column::number("rate", "req/s", 0),
            Column::ratio("rate to the first"),
            Column::number("p50", "µs", 0),
            Column::number("p99", "µs", 0),
            busy("server busy"),
            busy("client busy"),
            busy("others busy"),
            Column::text("bottleneck"),
        ];
        let title = "How fast it was, and who was the bottleneck (others: everything else on the machine, in % of a core)";
        let mut table = Table::new("rate", title, columns);
        self.each(cases, servers, |case, server, first| {
            table.row([
                case.into(),
                server.into(),
                self.median(case, server, |load| load.rate),
                self.ratio(case, server, first, |load| load.rate).map(Spread::as_ratio).into(),
                self.median(case, server, |load| load.p50_us.unwrap_or(f64::NAN)),
                self.median(case, server, |load| load.p99_us.unwrap_or(f64::NAN)),
                self.median(case, server, |load| 100.0 * load.server_busy),
                self.median(case, server, |load| 100.0 * load.client_busy),
                self.median(case, server, |load| 100.0 * load.others_busy),
                self.bottleneck(case, server).map(Bottleneck::word).into(),
            ]);
        });
        table
    }

    fn idle_table(&self, cases: &[&str], servers: &[String]) -> Table {
        let columns = vec![
            Column::text("case"),
            Column::text("server"),
            Column::number("connections", "", 0),
            Column::number("memory a connection", "bytes", 0),
            Column::number("memory before", "MiB", 2),
            Column::number("memory with them", "MiB", 2),
        ];
        let mut table =
            Table::new("idle", "Connections that asked once and wait: medians of the rounds", columns);
        for case in cases {
            for server in servers {
                let idle: Vec<Idle> = self.samples(case, server).iter().filter_map(Sample::idle).collect();
                if idle.is_empty() {
                    continue;
                }
                let median = |value: fn(&Idle) -> f64| -> Cell {
                    Spread::of(&idle.iter().map(value).collect::<Vec<_>>()).map(|spread| spread.median).into()
                };
                table.row([
                    (*case).into(),
                    server.as_str().into(),
                    median(|idle| idle.connections as f64),
                    median(Idle::bytes_per_connection),
                    median(|idle| idle.before_kib as f64 / 1024.0),
                    median(|idle| idle.with_kib as f64 / 1024.0),
                ]);
            }
        }
        table
    }

    /// Calls `row` for each case and server that was measured under load, with the first server's name.
    fn each(&self, cases: &[&str], servers: &[String], mut row: impl FnMut(&str, &str, &str)) {
        let Some(first) = servers.first() else { return };
        for case in cases {
            for server in servers.iter().filter(|server| !self.loads(case, server).is_empty()) {
                row(case, server, first);
            }
        }
    }

    fn bottleneck(&self, case: &str, server: &str) -> Option<Bottleneck> {
        let share = |value| Spread::of(&self.values(case, server, value)).map(|spread| spread.median);
        let (server_busy, client_busy) = (share(|load| load.server_busy)?, share(|load| load.client_busy)?);
        Some(match (server_busy >= BOTTLENECK, client_busy >= BOTTLENECK) {
            (true, true) => Bottleneck::Both,
            (true, false) => Bottleneck::Server,
            (false, true) => Bottleneck::Client,
            (false, false) => Bottleneck::Neither,
        })
    }

    /// What the rates of a case cannot say.
    fn judge(&self, case: &str, server: &str) -> Option<String> {
        (self.bottleneck(case, server) == Some(Bottleneck::Client)).then(|| {
            format!(
                "case {case}: the client was the bottleneck with {server}; its requests a second are a lower bound, its CPU time \
                 a request is right"
            )
        })
    }

    /// Whether other processes took time that somebody here could have used.
    fn disturbance(&self) -> Option<String> {
        let loads = self.samples.values().flatten().filter_map(Sample::load);
        let most = loads.map(|load| load.others_busy).fold(0.0, f64::max);
        (most > DISTURBED).then(|| {
            format!(
                "other processes of the machine took up to {} % of a core; rates and latencies are disturbed, CPU time a \
                 request less so",
                number(100.0 * most, 0)
            )
        })
    }

    fn figures(&self, cases: &[&str], servers: &[String]) -> Vec<Figure> {
        let loaded: Vec<&str> = cases
            .iter()
            .copied()
            .filter(|case| servers.iter().any(|server| !self.loads(case, server).is_empty()))
            .collect();
        let (Some(first), false) = (servers.first(), loaded.is_empty()) else { return Vec::new() };
        let ratio_bars = |value: fn(&Measured) -> f64| -> Vec<Series> {
            let others = servers.iter().skip(1);
            let bars = |server: &String| {
                let ratio = |case: &&str| self.ratio(case, server, first, value).map(|spread| spread.median);
                Series::bars(server.as_str(), loaded.iter().map(ratio))
            };
            others.map(bars).collect()
        };
        let groups = || loaded.iter().map(|case| format!("case {case}")).collect::<Vec<_>>();
        let axis = |what: &str| Axis::linear(format!("{what}, {first} = 1"), "×");
        let mut figures = Vec::new();
        if servers.len() > 1 {
            let title = "CPU time a request (less is better)";
            figures.push(Figure::bars(
                "compare-cpu",
                title,
                axis("CPU time"),
                groups(),
                ratio_bars(|load| load.cpu_us),
            ));
            let title = "Requests a second (more is better)";
            figures.push(Figure::bars(
                "compare-rate",
                title,
                axis("rate"),
                groups(),
                ratio_bars(|load| load.rate),
            ));
        }
        for case in &loaded {
            let median = |value: fn(&Measured) -> f64| {
                servers.iter().map(move |server| {
                    Spread::of(&self.values(case, server, value)).map(|spread| spread.median)
                })
            };
            let series = vec![
                Series::bars("user", median(|load| load.user_us)),
                Series::bars("system", median(|load| load.system_us)),
            ];
            let (name, title) = (format!("compare-{case}"), format!("CPU time a request, case {case}"));
            let axis = Axis::linear("CPU time a request", "µs");
            figures.push(Figure::bars(name, title, axis, servers.to_vec(), series));
        }
        figures
    }
}

/// Whose core had no time left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bottleneck {
    Server,
    Client,
    Both,
    Neither,
}

impl Bottleneck {
    fn word(self) -> &'static str {
        match self {
            Bottleneck::Server => "server",
            Bottleneck::Client => "client",
            Bottleneck::Both => "both",
            Bottleneck::Neither => "neither",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(cpu_us: f64, server_busy: f64, client_busy: f64) -> Sample {
        Sample::Load(Measured {
            rate: 1e6 / cpu_us,
            cpu_us,
            user_us: cpu_us / 4.0,
            system_us: cpu_us * 0.75,
            client_us: 1.0,
            server_busy,
            client_busy,
            others_busy: 0.0,
            p50_us: Some(10.0),
            p99_us: Some(20.0),
            high_water_kib: 2048,
            wrong: None,
        })
    }

    fn results() -> Results {
        let mut results = Results::default();
        for (ours, theirs) in [(2.0, 4.0), (3.0, 6.0), (2.0, 5.0)] {
            results.add("a", "ours", measured(ours, 0.7, 0.99));
            results.add("a", "theirs", measured(theirs, 0.99, 0.5));
        }
        results
    }

    fn servers() -> Vec<String> {
        vec!["ours".to_owned(), "theirs".to_owned()]
    }

    #[test]
    fn ratios_are_of_rounds() {
        let table = results().cpu_table(&["a", "never"], &servers());
        assert_eq!(table.rows().len(), 2);
        assert_eq!(table.rows()[0][2], Cell::Number(2.0));
        assert_eq!(table.rows()[0][5], Cell::Missing);
        assert_eq!(table.rows()[1][5], Cell::Ratio { value: 2.0, low: 2.0, high: 2.5 });
    }

    #[test]
    fn the_bottleneck_is_named() {
        let table = results().rate_table(&["a"], &servers());
        assert_eq!(table.rows()[0][9], Cell::from("client"));
        assert_eq!(table.rows()[1][9], Cell::from("server"));
        let sentence = results().judge("a", "ours").expect("the client was busy");
        assert!(sentence.contains("the client was the bottleneck with ours"), "{sentence}");
        assert_eq!(results().judge("a", "theirs"), None);
    }

    #[test]
    fn others_are_told_of_once() {
        let mut results = results();
        assert_eq!(results.disturbance(), None);
        for others_busy in [0.5, 1.75] {
            let Sample::Load(measured) = measured(2.0, 0.9, 0.9) else { panic!("it is a load") };
            results.add("b", "ours", Sample::Load(Measured { others_busy, ..measured }));
        }
        let sentence = results.disturbance().expect("others were busy");
        assert!(sentence.contains("up to 175 % of a core"), "{sentence}");
    }

    #[test]
    fn a_case_that_one_server_refuses_is_told_once() {
        let mut results = results();
        for _round in 0..3 {
            results.refused("e", "theirs", &Refusal::new("GET /f1m.bin is answered with status 404"));
        }
        assert_eq!(results.refused, ["theirs, case e: GET /f1m.bin is answered with status 404"]);
    }

    #[test]
    fn figures_compare_with_the_first() {
        let figures = results().figures(&["a"], &servers());
        let names: Vec<&str> = figures.iter().map(|figure| figure.name.as_str()).collect();
        assert_eq!(names, ["compare-cpu", "compare-rate", "compare-a"]);
        assert!(figures[0].to_svg().contains("CPU time, ours = 1 [×]"));
    }
}
