//! `udp serve`: one receiver, from its command line to what it counted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::receiver::Receiver;
use super::served::{Closing, Served};
use super::settings::{Arguments, Settings};
use super::trial::Trial;
use super::{kernel, plain, rings, work};
use crate::measure::cores;
use crate::outcome::Outcome;
use crate::progress::Progress;
use crate::refusal::Refusal;

/// How the line begins that says where a receiver listens.
pub(super) const LISTENING: &str = "listening on ";

/// Receives until the trial has ended.
pub(super) type Serve = Box<dyn FnOnce() -> Result<Closing, Refusal>>;

/// A receiver whose sockets are bound.
pub(super) struct Bound {
    /// Where to send, a ring's address each.
    pub(super) addresses: Vec<SocketAddr>,
    /// What the kernel gave, with its own overhead.
    pub(super) receive_buffer_bytes: usize,
    /// More settings that only the receiver knows.
    pub(super) facts: Vec<(String, String)>,
    /// Receives until the trial has ended.
    pub(super) serve: Serve,
}

/// Runs one receiver.
pub(super) fn run(arguments: &Arguments, progress: &Progress) -> Result<Outcome, Refusal> {
    let settings = Settings::decide(arguments)?;
    if !arguments.cpus.is_empty() {
        cores::pin_to(&arguments.cpus)?;
    }
    let iteration_ns = work::calibrate_ns();
    let errors_before = kernel::receive_buffer_errors();
    let trial = Trial::new(settings.size, settings.work, settings.rings);
    let bound = bind(&settings, &trial)?;
    let mut outcome = describe(arguments, &settings, &bound, iteration_ns);
    let guard = {
        let (trial, addresses) = (Arc::clone(&trial), bound.addresses.clone());
        let at_most = Duration::from_secs(arguments.timeout);
        thread::spawn(move || trial.guard(&addresses, at_most))
    };
    progress.stage(&listening(&settings, &bound.addresses));
    let closing = (bound.serve)()?;
    guard.join().map_err(|_panic| Refusal::failed("the thread that watches the time panicked"))?;
    let errors = kernel::receive_buffer_errors()
        .zip(errors_before)
        .map(|(after, before)| after.saturating_sub(before));
    outcome.tables.push(Served::of(&trial, &closing, errors).table(&closing.counters));
    judge(&trial, &mut outcome);
    Ok(outcome)
}

fn bind(settings: &Settings, trial: &Arc<Trial>) -> Result<Bound, Refusal> {
    match settings.server {
        Receiver::PlainPolled => plain::bind_polled(settings, trial),
        Receiver::PlainPort1 | Receiver::PlainPortN => plain::bind_port(settings, trial),
        Receiver::RingPolled | Receiver::RingEvent => rings::bind_worker(settings, trial),
        Receiver::RingPort1 | Receiver::RingPortN => rings::bind_port(settings, trial),
    }
}

/// The line that programs wait for: `listening on ADDRESS[ ADDRESS…] (RECEIVER)`.
fn listening(settings: &Settings, addresses: &[SocketAddr]) -> String {
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    format!("{LISTENING}{} ({})", addresses.join(" "), settings.server)
}

fn judge(trial: &Trial, outcome: &mut Outcome) {
    if trial.expired() {
        outcome.note("nobody ended the trial with a short datagram; it ended when its time was up");
    }
    let disordered = trial.counts().disordered;
    if disordered > 0 {
        outcome.fail(format!("{disordered} datagrams came out of their flow's order"));
    }
}

fn describe(arguments: &Arguments, settings: &Settings, bound: &Bound, iteration_ns: f64) -> Outcome {
    let mut outcome = Outcome::new(format!("UDP: what {} handles", settings.server));
    let work_ns = f64::from(settings.work) * iteration_ns;
    outcome.setting("datagram", format!("{} bytes", settings.size));
    outcome.setting(
        "work",
        format!("{} iterations of {iteration_ns:.2} ns = {work_ns:.0} ns a datagram", settings.work),
    );
    outcome.setting("receive buffer", format!("{} bytes a socket", bound.receive_buffer_bytes));
    outcome.setting("buffer", format!("{} bytes", settings.buffer_bytes));
    if settings.server.is_ring() {
        outcome.setting("pending receives", format!("{} a ring", settings.buffers));
        outcome.setting("rings", settings.rings.to_string());
        outcome.setting("wait", settings.wait.to_string());
        outcome.setting("huge pages", if settings.huge_pages { "asked for" } else { "not asked for" });
        outcome.setting("coalescing (GRO)", if settings.gro { "on" } else { "off" });
    }
    if settings.server != Receiver::PlainPolled {
        outcome.setting("results a dequeue", format!("{} at most", settings.results));
    }
    outcome.setting("threads", settings.threads.to_string());
    let pinned = if arguments.cpus.is_empty() { "any".to_owned() } else { format!("{:?}", arguments.cpus) };
    outcome.setting("pinned to cores", pinned);
    for (name, value) in &bound.facts {
        outcome.setting(name.clone(), value.clone());
    }
    outcome
}
