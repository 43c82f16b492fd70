//! `http sweep`: one server or several, from few connections to many, round after round in turn.

use super::load;
use super::outcome::Server;
use super::plan::{CONNECTIONS_MAX, Plan};
use super::server::{Served, ServerSpec};
use super::sweep_outcome;
use crate::measure::cores;
use crate::outcome::Outcome;
use crate::progress::Progress;
use crate::refusal::Refusal;
use std::time::{Duration, Instant};

/// Most steps of a sweep.
const STEPS_MAX: usize = 1_000;

/// Most rounds.
const ROUNDS_MAX: u64 = 1_000;

/// Flags of `http sweep`.
#[derive(clap::Args, Clone, Debug)]
pub struct SweepArguments {
    /// A server: `NAME=URL@PID`, or `NAME=COMMAND` with `{port}` in it, which the lab starts and ends. The first one is
    /// compared with the others.
    #[arg(required = true, value_name = "SERVER")]
    pub servers: Vec<ServerSpec>,
    /// What started servers are asked for.
    #[arg(long, default_value = "/", value_name = "PATH")]
    pub path: String,
    /// Fewest connections.
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub from: usize,
    /// Most connections.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub to: usize,
    /// From one number of connections to the next; the seed went by 10.
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub step: usize,
    /// Requests measured at each step; the seed's test had 500000.
    #[arg(long, short = 'n', default_value_t = 20_000, value_name = "N")]
    pub requests: u64,
    /// How often the whole is done; tables show medians.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=ROUNDS_MAX))]
    pub rounds: u64,
    /// Run so many seconds at each step before measuring.
    #[arg(long, default_value_t = 0.3, value_name = "SECONDS")]
    pub warm_up: f64,
    /// Client threads.
    #[arg(long, short, default_value_t = 1, value_name = "N")]
    pub threads: usize,
    /// The client's cores [default: the last one that may be used].
    #[arg(long, value_name = "CORES", value_delimiter = ',')]
    pub client_cpu: Vec<usize>,
    /// The cores of servers that the lab starts [default: the first one that may be used].
    #[arg(long, value_name = "CORES", value_delimiter = ',')]
    pub server_cpu: Vec<usize>,
}

/// What one server did at one step in one round.
pub(super) struct Sample {
    pub(super) requests_per_s: f64,
    pub(super) user_ms: f64,
    pub(super) system_ms: f64,
    pub(super) cpu_us_per_request: f64,
    pub(super) resident_kib: u64,
    /// With pages that the server's processes share counted once; as resident where that is not known.
    pub(super) proportional_kib: u64,
    pub(super) high_water_kib: u64,
    /// p99 of the latencies, in µs.
    pub(super) p99_us: f64,
    pub(super) client_busy: f64,
    pub(super) server_busy: f64,
    pub(super) answers: u64,
}

/// Everything that was measured of one server.
pub(super) struct Swept {
    pub(super) name: String,
    /// By step, then by round.
    pub(super) steps: Vec<Vec<Sample>>,
    /// How long its part of the sweep took.
    pub(super) took: Duration,
    /// What was wrong, if anything.
    pub(super) wrong: Vec<String>,
}

impl SweepArguments {
    /// The numbers of connections.
    ///
    /// # Errors
    /// Refuses a range that goes nowhere or has too many steps.
    fn steps(&self) -> Result<Vec<usize>, Refusal> {
        if self.from == 0 || self.from > self.to || self.to > CONNECTIONS_MAX || self.step == 0 {
            return Err(Refusal::new(format!(
                "a sweep goes from at least 1 to at most {CONNECTIONS_MAX} connections in steps of at least 1, not from {} \
                 to {} by {}",
                self.from, self.to, self.step
            )));
        }
        let steps: Vec<usize> = (self.from..=self.to).step_by(self.step).collect();
        if steps.len() > STEPS_MAX {
            return Err(Refusal::new(format!("{} steps are more than {STEPS_MAX}", steps.len())));
        }
        Ok(steps)
    }

    fn plan(&self, url: &str, connections: usize, cores: &[usize]) -> Result<Plan, Refusal> {
        if !(0.0..=3600.0).contains(&self.warm_up) {
            return Err(Refusal::new(format!("a warm-up takes 0 to 3600 s, not {}", self.warm_up)));
        }
        Ok(Plan {
            connections,
            requests: Some(self.requests),
            duration: None,
            warm_up: Duration::from_secs_f64(self.warm_up),
            timeout: Duration::from_secs(30),
            workers: self.threads,
            cores: cores.to_vec(),
            ..Plan::get(url)?
        })
    }
}

/// Runs a sweep.
///
/// # Errors
/// Refuses servers that are not there, and a machine without a core each for the server and the client.
pub(super) fn run(arguments: &SweepArguments, progress: &Progress) -> Result<Outcome, Refusal> {
    let steps = arguments.steps()?;
    let allowed = cores::require(2, "the server and the client need a core each")?;
    let or = |given: &[usize], other: usize| if given.is_empty() { vec![other] } else { given.to_vec() };
    let last = cores::allowed().pop().unwrap_or(allowed[1]);
    let client = or(&arguments.client_cpu, last);
    let server = or(&arguments.server_cpu, allowed[0]);
    // Before servers are started, which inherit the limit.
    load::raise_descriptors(arguments.to)?;
    let begin = |spec: &ServerSpec| Served::begin(spec, &arguments.path, &server);
    let mut servers = arguments.servers.iter().map(begin).collect::<Result<Vec<Served>, Refusal>>()?;
    let mut swept: Vec<Swept> = servers.iter().map(|server| Swept::new(server, steps.len())).collect();
    for round in 0..arguments.rounds {
        for (step, connections) in steps.iter().enumerate() {
            for turn in 0..servers.len() {
                // Each server is as often the first as the others.
                let turning = usize::try_from(round).unwrap_or(0) + step + turn;
                let index = turning % servers.len();
                let name = &servers[index].name;
                progress.stage(&format!(
                    "round {} of {}, {connections} connections (to {}): {name}",
                    round + 1,
                    arguments.rounds,
                    arguments.to
                ));
                let plan = arguments.plan(&servers[index].url, *connections, &client)?;
                swept[index].measure(step, &plan, &mut servers[index], progress)?;
            }
        }
    }
    Ok(sweep_outcome::show(arguments, &steps, &swept, &client, &server))
}

impl Swept {
    fn new(server: &Served, steps: usize) -> Swept {
        let steps = (0..steps).map(|_| Vec::new()).collect();
        Swept { name: server.name.clone(), steps, took: Duration::ZERO, wrong: Vec::new() }
    }

    fn measure(
        &mut self,
        step: usize,
        plan: &Plan,
        server: &mut Served,
        progress: &Progress,
    ) -> Result<(), Refusal> {
        let begun = Instant::now();
        let measured = load::run_sampled(plan, progress, || server.read());
        let (load, before, after) =
            measured.map_err(|refusal| Refusal::new(format!("{}: {refusal}", self.name)))?;
        self.took += begun.elapsed();
        if let Some(failure) = load.failure()
            && !self.wrong.contains(&failure)
        {
            self.wrong.push(failure);
        }
        let used = Server::between(&before, &after, &load);
        self.steps[step].push(Sample {
            requests_per_s: load.rate(),
            user_ms: used.user.as_secs_f64() * 1000.0,
            system_ms: used.system.as_secs_f64() * 1000.0,
            cpu_us_per_request: used.cpu_us_per_request(&load),
            resident_kib: used.resident_kib,
            proportional_kib: server.proportional_kib().unwrap_or(used.resident_kib),
            high_water_kib: used.high_water_kib,
            p99_us: load.tally.latency.percentile(99.0) as f64 / 1000.0,
            client_busy: load.busy,
            server_busy: used.busy,
            answers: load.tally.answers,
        });
        Ok(())
    }

    /// The median over the rounds of a step.
    pub(super) fn median(&self, step: usize, of: impl Fn(&Sample) -> f64) -> Option<f64> {
        crate::measure::median(&self.rounds(step, of))
    }

    /// All rounds of a step.
    pub(super) fn rounds(&self, step: usize, of: impl Fn(&Sample) -> f64) -> Vec<f64> {
        self.steps.get(step).into_iter().flatten().map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        sweep: SweepArguments,
    }

    fn steps(flags: &str) -> Result<Vec<usize>, String> {
        let words = ["sweep", "a=server {port}"].into_iter().chain(flags.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        line.sweep.steps().map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn steps_go_from_few_to_many() {
        assert_eq!(steps(""), Ok((1..=10).map(|step| step * 100).collect()));
        assert_eq!(steps("--step 10").map(|steps| steps.len()), Ok(91));
        assert_eq!(steps("--from 3 --to 3"), Ok(vec![3]));
        for bad in [
            "--from 0",
            "--step 0",
            "--from 5 --to 4",
            "--to 1000000",
            "--from 1 --to 5000 --step 1",
            "--rounds 0",
        ] {
            assert!(steps(bad).is_err(), "{bad}");
        }
    }
}
