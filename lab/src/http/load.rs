//! Runs a load: workers started, measured, brought to an end.

use super::client::{Client, Report, Task, nanoseconds};
use super::plan::Plan;
use super::probe;
use super::tally::Tally;
use crate::measure::cores;
use crate::progress::Progress;
use crate::refusal::Refusal;
use ringway_engine::ring::RingOptions;
use ringway_engine::{EndpointLimits, Outbound, Protocol, Server, ServerOptions, WorkerHandle};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// A worker that is busier than this cannot ask faster: the client was the bottleneck.
pub const SATURATED: f64 = 0.97;

/// How long workers have to start before the load begins.
const START: Duration = Duration::from_millis(20);

/// How often the progress is told.
const TELLING: Duration = Duration::from_millis(50);

/// How long the end of a load may take beyond its plan before it is given up.
const END_MAX: Duration = Duration::from_secs(20);

/// Unread memory of a connection before it is paused: bodies are dropped as soon as they are seen, so a turn's worth.
const INBOX_BYTES_MAX: usize = 4 << 20;

/// Descriptors of a load beside its connections.
const DESCRIPTORS: u64 = 256;

/// What a load found.
#[derive(Clone, Debug)]
pub struct Load {
    /// Everything that was counted, all workers together.
    pub tally: Tally,
    /// How long was measured (the longest worker).
    pub elapsed: Duration,
    /// CPU time of all workers while they were measured.
    pub cpu: Duration,
    /// The share of its time that the busiest worker was busy, 0 to 1.
    pub busy: f64,
    /// Which driver the workers used.
    pub driver: &'static str,
    /// Why it ended before its time, if it did.
    pub gave_up: Option<String>,
}

impl Load {
    /// Right answers a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.tally.answers as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// The client's CPU time for a right answer, in microseconds; 0 without one.
    #[must_use]
    pub fn cpu_us_per_request(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / (self.tally.answers.max(1) as f64)
    }

    /// Whether the client could not ask faster.
    #[must_use]
    pub fn is_saturated(&self) -> bool {
        self.busy >= SATURATED
    }

    /// What was wrong, in a sentence; `None` when every answer was right.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        if let Some(reason) = &self.gave_up {
            return Some(reason.clone());
        }
        let faults = self.tally.faults.total();
        let example = self.tally.examples.first().map(|example| format!("; {example}")).unwrap_or_default();
        (faults > 0).then(|| format!("{faults} requests failed{example}"))
    }
}

/// Carries a plan out.
///
/// # Errors
/// Refuses a plan that cannot be carried out here, or whose server is not there or does not answer as it should.
pub fn run(plan: &Plan, progress: &Progress) -> Result<Load, Refusal> {
    run_sampled(plan, progress, || ()).map(|(load, (), ())| load)
}

/// The same, and takes a sample when the measurement begins and when it has ended: the server's clocks, for example.
///
/// # Errors
/// As [`run`].
pub fn run_sampled<T>(
    plan: &Plan,
    progress: &Progress,
    mut sample: impl FnMut() -> T,
) -> Result<(Load, T, T), Refusal> {
    let address = plan.check()?;
    raise_descriptors(plan.connections)?;
    let learnt = probe::learn(plan, address)?;
    let answered: Vec<Arc<AtomicU64>> = (0..plan.workers).map(|_| Arc::default()).collect();
    let epoch = Instant::now() + START;
    let begin = epoch + plan.warm_up;
    let (sender, reports) = channel();
    let shared = Shared {
        plan: Arc::new(plan.clone()),
        facts: learnt.facts.into(),
        address,
        epoch,
        answered: answered.clone(),
        started: AtomicUsize::new(0),
    };
    let limits = EndpointLimits { inbox_bytes_max: INBOX_BYTES_MAX, ..EndpointLimits::default() };
    let make = move |worker: &WorkerHandle| shared.client(worker, sender.clone());
    let options = ServerOptions {
        workers: plan.workers,
        wait: plan.wait,
        ring: ring_options(plan, learnt.largest_bytes),
        outbound: vec![Outbound { limits, protocol: Arc::new(make) }],
        ..ServerOptions::default()
    };
    let server = Server::start(&[], &options).map_err(Refusal::because("the load cannot be started"))?;
    let driver = server.report().driver;
    std::thread::sleep(begin.saturating_duration_since(Instant::now()));
    let before = sample();
    let collected = collect(plan, &reports, begin, &answered, progress);
    let after = sample();
    server.drain(Duration::from_secs(1));
    server.wait(Duration::ZERO).map_err(Refusal::failed)?;
    let load = sum(&collected?, driver);
    Ok((load, before, after))
}

/// What the workers are made from.
struct Shared {
    plan: Arc<Plan>,
    facts: Arc<[super::client::Fact]>,
    address: SocketAddr,
    epoch: Instant,
    answered: Vec<Arc<AtomicU64>>,
    started: AtomicUsize,
}

impl Shared {
    /// A worker's protocol, made on its thread.
    fn client(
        &self,
        worker: &WorkerHandle,
        report: std::sync::mpsc::Sender<Report>,
    ) -> io::Result<Rc<dyn Protocol>> {
        let index = self.started.fetch_add(1, Ordering::Relaxed);
        let plan = &self.plan;
        if !plan.cores.is_empty() {
            cores::pin(plan.cores[index % plan.cores.len()])
                .map_err(|refusal| io::Error::other(refusal.to_string()))?;
        }
        let task = Task {
            plan: Arc::clone(plan),
            facts: Arc::clone(&self.facts),
            index,
            epoch: self.epoch,
            answered: Arc::clone(&self.answered[index]),
            report,
        };
        let client = Client::new(task, worker)?;
        let begin_ns = nanoseconds(plan.warm_up);
        let end_ns = plan.duration.map(|duration| begin_ns.saturating_add(nanoseconds(duration)));
        client.start(self.address, begin_ns, end_ns);
        Ok(Rc::new(client))
    }
}

/// Buffers that take what a pipeline's answers bring in few pieces, and few enough of them to stay in the cache.
fn ring_options(plan: &Plan, largest_bytes: u64) -> RingOptions {
    let together = largest_bytes.saturating_mul(u64::from(plan.pipeline));
    let (stream_buffer_bytes, stream_buffers) =
        if together <= 2048 { (2048, 1024) } else { (16 * 1024, 256) };
    RingOptions {
        driver: plan.driver,
        stream_buffer_bytes,
        stream_buffers,
        pool_bytes_max: 1 << 30,
        ..RingOptions::default()
    }
}

/// Waits for every worker's report.
fn collect(
    plan: &Plan,
    reports: &Receiver<Report>,
    begin: Instant,
    answered: &[Arc<AtomicU64>],
    progress: &Progress,
) -> Result<Vec<Report>, Refusal> {
    let mut collected = Vec::new();
    let last = plan.duration.map(|duration| begin + duration + plan.timeout + END_MAX);
    while collected.len() < plan.workers {
        match reports.recv_timeout(TELLING) {
            Ok(report) => collected.push(report),
            Err(RecvTimeoutError::Timeout) if last.is_none_or(|last| Instant::now() < last) => {}
            Err(_) => return Err(Refusal::failed("the load did not come to its end")),
        }
        tell(plan, begin, answered, progress);
    }
    Ok(collected)
}

fn tell(plan: &Plan, begin: Instant, answered: &[Arc<AtomicU64>], progress: &Progress) {
    let requests: u64 = answered.iter().map(|count| count.load(Ordering::Relaxed)).sum();
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let (done, total) = match (plan.duration, plan.requests) {
        (Some(duration), _) => (milliseconds(begin.elapsed()), milliseconds(duration)),
        (None, total) => (requests, total.unwrap_or(0)),
    };
    progress.step(&format!("{requests} answers"), done, total);
}

fn sum(reports: &[Report], driver: &'static str) -> Load {
    let mut load = Load {
        tally: Tally::default(),
        elapsed: Duration::ZERO,
        cpu: Duration::ZERO,
        busy: 0.0,
        driver,
        gave_up: None,
    };
    for report in reports {
        load.tally.merge(&report.tally);
        load.elapsed = load.elapsed.max(report.elapsed);
        load.cpu += report.cpu;
        load.busy = load.busy.max(report.cpu.as_secs_f64() / report.elapsed.as_secs_f64().max(1e-9));
        load.gave_up = load.gave_up.or_else(|| report.gave_up.clone());
    }
    load
}

/// Every connection is a descriptor: the soft limit is raised as far as it must be.
///
/// # Errors
/// Refuses when the hard limit is lower.
pub fn raise_descriptors(connections: usize) -> Result<(), Refusal> {
    let needed = connections as u64 + DESCRIPTORS;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if maximum.is_some_and(|maximum| maximum < needed) {
        return Err(Refusal::new(format!(
            "{connections} connections take {needed} descriptors, and this process may have {} (ulimit -n)",
            maximum.unwrap_or(0)
        )));
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum })
        .map_err(Refusal::because("the limit of descriptors cannot be raised"))
}
