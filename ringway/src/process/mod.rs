//! A server process: it restricts itself, learns from its supervisor what to serve, and serves that.

mod configured;

pub use configured::Configured;

use crate::control::{Channel, Listeners, Order, Reload, Report, Start, VERSION, sorted};
use crate::engine::ring;
use crate::sandbox::{self, Layer, State};
use crate::voice::say;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::fmt;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::Duration;

/// How long the first orders may take: the supervisor has them ready.
const GREETING_MAX: Duration = Duration::from_secs(30);

/// How long a report may take to be read.
const REPORT_MAX: Duration = Duration::from_secs(30);

/// How long a worker may take to answer before it counts as dead.
const PULSE_MAX: Duration = Duration::from_secs(5);

/// How often, and how many times, a process that has just started looks at the queues it may have inherited from one that was
/// killed: the kernel needs a moment to clear up behind that.
const RENEW_EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };
const RENEWALS: u32 = 8;

/// How often the supervisor hears of new keys of tickets.
const KEYS_EVERY: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

/// Makes a server from what a supervisor says.
pub trait Maker {
    /// Starts serving. The process is restricted already. `starter` is asked for scripts.
    ///
    /// # Errors
    /// A sentence.
    fn start(&self, start: Start, listeners: Listeners, starter: Option<OwnedFd>) -> Result<Made, String>;
}

/// A server that was made.
pub struct Made {
    /// To be told what to do.
    pub served: Box<dyn Served>,
    /// Blocks until it has ended; what it did, or what it died of: sentences.
    pub wait: Box<dyn FnOnce() -> Result<String, String> + Send>,
    /// Where it can be reached, as its users write it.
    pub addresses: Vec<String>,
    /// Its driver.
    pub report: ring::Report,
    /// What else an operator should know: sentences.
    pub notes: Vec<String>,
}

/// A server that runs.
pub trait Served {
    /// Serves something else from now on. `listeners` are those of new addresses.
    ///
    /// # Errors
    /// A sentence; everything is as it was then.
    fn reload(&mut self, reload: Reload, listeners: Listeners) -> Result<(), String>;

    /// Opens log files anew; what went wrong.
    fn reopen_logs(&mut self) -> Vec<String>;

    /// Stops accepting, finishes what is under way, and ends.
    fn drain(&mut self, within: Duration);

    /// Answers a request of the console.
    fn console(&mut self, request: Value) -> Value;

    /// What is known of the endpoints that have processes of their own.
    fn apart(&mut self, figures: Value);

    /// Looks at the queues of the listening sockets, whatever the kernel says of them.
    fn renew_accepts(&self);

    /// Whether every worker answers within a time.
    fn is_alive(&self, within: Duration) -> bool;

    /// The keys of session tickets, for the server process that comes next; empty when there are none.
    fn ticket_keys(&self) -> Vec<u8>;
}

impl fmt::Debug for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Made").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// Serves what the supervisor at the other end of standard input wants, until it wants nothing any more. Must be called
/// while the process has one thread.
///
/// # Errors
/// A sentence, which the supervisor was told as well.
pub fn serve(maker: &dyn Maker) -> Result<(), String> {
    let mut channel = greet().map_err(|error| format!("no supervisor: {error}"))?;
    let outcome = restricted(maker, &mut channel);
    if let Err(sentence) = &outcome {
        let _supervisor_gone = channel.send(&Report::Failed { sentence: sentence.clone() }, &[], REPORT_MAX);
    }
    let (mut process, summary) = (outcome?, channel);
    process.run(summary)
}

/// A server process that serves.
struct Process {
    served: Box<dyn Served>,
    keys_told: Vec<u8>,
    /// Readable when the server has ended.
    ended: UnixStream,
    end: Option<JoinHandle<Result<String, String>>>,
    /// Readable when a signal asks for the end.
    stop: UnixStream,
    drain: Duration,
}

fn greet() -> io::Result<Channel> {
    // A socket of its own, and nothing in the place of standard input.
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let nothing = std::fs::File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(nothing.as_fd())?;
    let mut channel = Channel::inherited(socket)?;
    let program = env!("CARGO_PKG_VERSION").to_owned();
    channel.send(&Report::Hello { version: VERSION, program }, &[], REPORT_MAX)?;
    match channel.wait::<Order>(Some(GREETING_MAX))?.map(|received| received.message) {
        Some(Order::Hello { version: VERSION, .. }) => Ok(channel),
        Some(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "it speaks another language")),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn restricted(maker: &dyn Maker, channel: &mut Channel) -> Result<Process, String> {
    let sentence = |error: io::Error| format!("the supervisor cannot be understood: {error}");
    let received = channel.wait::<Order>(Some(GREETING_MAX)).map_err(sentence)?;
    let received = received.ok_or("the supervisor has gone")?;
    let Order::Start(start) = received.message else {
        return Err("the supervisor begins with nonsense".to_owned());
    };
    let mut descriptors = received.descriptors;
    let starter = if start.has_starter { descriptors.pop() } else { None };
    let listeners = sorted(&start.listeners, descriptors).ok_or("listening sockets are missing")?;
    let (is_off, drain) = (start.rules.is_off, Duration::from_millis(start.drain_ms));
    let mut layers = sandbox::restrict(&start.rules)?;
    let (stopped, stop) = UnixStream::pair().map_err(|error| format!("cannot wait for signals: {error}"))?;
    for signal in [SIGTERM, SIGINT] {
        let stop = stop.try_clone().map_err(sentence)?;
        signal_hook::low_level::pipe::register(signal, stop).map_err(sentence)?;
    }
    let made = maker.start(*start, listeners, starter)?;
    layers.push(rings(&made.report, is_off));
    if !is_off {
        layers.push(sandbox::seal());
    }
    let (ended, end) = UnixStream::pair().map_err(|error| format!("cannot wait for the server: {error}"))?;
    let Made { served, wait, addresses, report, notes } = made;
    let waiter = std::thread::Builder::new().name("ringway-waiter".to_owned()).spawn(move || {
        let outcome = wait();
        drop(end);
        outcome
    });
    let waiter = waiter.map_err(|error| format!("cannot wait for the server: {error}"))?;
    let driver = report.to_string();
    channel.send(&Report::Ready { addresses, driver, notes, layers }, &[], REPORT_MAX).map_err(sentence)?;
    // Half of the program is there for starting. Where it cannot be let go of, it stays.
    let _let_go = ringway_confine::program::let_go();
    Ok(Process { served, keys_told: Vec::new(), ended, end: Some(waiter), stop: stopped, drain })
}

/// Whether the rings take only what this program does with them.
fn rings(report: &ring::Report, is_off: bool) -> Layer {
    let state = match &report.restriction {
        ring::Restriction::Active => State::Active("a list of operations".to_owned()),
        ring::Restriction::Refused(why) => State::Unavailable(why.clone()),
        ring::Restriction::NotAsked if is_off => State::Off,
        ring::Restriction::NotAsked => State::Active("the epoll driver has none".to_owned()),
    };
    Layer::new("rings", state)
}

impl Process {
    fn run(&mut self, mut channel: Channel) -> Result<(), String> {
        let (mut is_led, mut renewals) = (true, RENEWALS);
        loop {
            let mut polled =
                vec![PollFd::new(&self.ended, PollFlags::IN), PollFd::new(&self.stop, PollFlags::IN)];
            if is_led {
                polled.push(PollFd::new(&channel, PollFlags::IN));
            }
            // EINTR: a signal, which the next round sees.
            let timeout = if renewals > 0 { RENEW_EVERY } else { KEYS_EVERY };
            let woken = poll(&mut polled, Some(&timeout));
            let has_news =
                |index: usize| polled.get(index).is_some_and(|polled| !polled.revents().is_empty());
            let (has_ended, is_stopped, is_told) = (has_news(0), has_news(1), has_news(2));
            if woken == Ok(0) && renewals > 0 {
                renewals -= 1;
                self.served.renew_accepts();
            }
            if woken == Ok(0) && is_led {
                self.hand_on_keys(&mut channel);
            }
            if has_ended {
                return self.finish(&mut channel);
            }
            if is_stopped && (&self.stop).read(&mut [0; 64]).is_ok() {
                self.served.drain(self.drain);
            }
            if is_told && !self.obey(&mut channel) {
                // Nobody is left who could start another one: what is under way is finished, and then this ends.
                is_led = false;
                self.served.drain(self.drain);
            }
        }
    }

    /// Does what was ordered; false when nobody orders any more.
    fn obey(&mut self, channel: &mut Channel) -> bool {
        let is_there = channel.fill().unwrap_or(false);
        loop {
            match channel.take::<Order>() {
                Ok(Some(received)) => {
                    let answer = self.order(received.message, received.descriptors);
                    if answer.is_some_and(|answer| channel.send(&answer, &[], REPORT_MAX).is_err()) {
                        return false;
                    }
                }
                Ok(None) => return is_there,
                Err(error) => {
                    say!("ringway: the supervisor cannot be understood: {error}.");
                    return false;
                }
            }
        }
    }

    fn order(&mut self, order: Order, descriptors: Vec<OwnedFd>) -> Option<Report> {
        match order {
            // Said once, at the start.
            Order::Hello { .. } | Order::Start(_) => None,
            Order::Reload(reload) => {
                let (id, drain) = (reload.id, Duration::from_millis(reload.drain_ms));
                let listeners =
                    sorted(&reload.listeners, descriptors).ok_or("listening sockets are missing".to_owned());
                let error = listeners.and_then(|listeners| self.served.reload(*reload, listeners)).err();
                if error.is_none() {
                    self.drain = drain;
                }
                Some(Report::Reloaded { id, error })
            }
            Order::ReopenLogs => Some(Report::LogsReopened { errors: self.served.reopen_logs() }),
            Order::Drain { within_ms } => {
                self.served.drain(Duration::from_millis(within_ms));
                // The workers read what they are told in order: once they have heard of it, and once its accepts have ended.
                let _one_may_be_dead = self.served.is_alive(PULSE_MAX) && self.served.is_alive(PULSE_MAX);
                Some(Report::Draining)
            }
            Order::Console { id, request } => {
                Some(Report::Answer { id, answer: self.served.console(request) })
            }
            Order::Apart { figures } => {
                self.served.apart(figures);
                None
            }
            Order::TicketKeys => Some(Report::TicketKeys { keys: self.keys() }),
            Order::Pulse { id } => Some(Report::Pulse { id, is_alive: self.served.is_alive(PULSE_MAX) }),
        }
    }

    /// Tells the supervisor the keys of tickets when they have changed, so that they outlive this process.
    fn hand_on_keys(&mut self, channel: &mut Channel) {
        if self.served.ticket_keys() != self.keys_told {
            let keys = self.keys();
            let _supervisor_gone = channel.send(&Report::TicketKeys { keys }, &[], REPORT_MAX);
        }
    }

    fn keys(&mut self) -> Vec<u8> {
        self.keys_told = self.served.ticket_keys();
        self.keys_told.clone()
    }

    fn finish(&mut self, channel: &mut Channel) -> Result<(), String> {
        let died = |_panic| Err("the thread that waits for the server died".to_owned());
        let outcome = self.end.take().map_or(Ok(String::new()), |end| end.join().unwrap_or_else(died));
        let report = match &outcome {
            Ok(summary) => Report::Stopped { summary: summary.clone() },
            Err(sentence) => Report::Failed { sentence: sentence.clone() },
        };
        let _supervisor_gone = channel.send(&report, &[], REPORT_MAX);
        outcome.map(drop)
    }
}
