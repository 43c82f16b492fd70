//! `watch`: runs a command or follows a process, and samples what it and all that descend from it use.

mod sample;
mod summary;
mod view;

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::process::{PidfdFlags, pidfd_open};

use crate::interrupt;
use crate::measure::clock;
use crate::measure::process::{Cpu, Network, Pid, Reading, Started, Traffic, Tree};
use crate::outcome::Outcome;
use crate::progress::Progress;
use crate::refusal::Refusal;
use sample::Sample;
use summary::Sums;
use view::{Format, View};

/// An interrupt is answered within this time.
const ATTENTION: Duration = Duration::from_millis(200);
/// The share of one core's time that measuring proportional memory may take; where it is dear it is measured less often.
const PROPORTIONAL_SHARE: f64 = 0.001;
/// Samples that are kept for the summary and the figures; a longer watch keeps every second one from then on.
const SAMPLES_MAX: usize = 20_000;

/// Flags of `watch`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Follow this running process instead of starting a command.
    #[arg(long, value_name = "PID", conflicts_with = "command")]
    pid: Option<Pid>,
    /// The time between samples in seconds, 0.01 to 3600.
    #[arg(long, short, default_value_t = 1.0, value_name = "SECONDS", value_parser = interval)]
    interval: f64,
    /// End after so many seconds; a command that was started is ended too.
    #[arg(long, short, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    seconds: Option<u64>,
    /// How samples are shown while they come.
    #[arg(long, short, value_enum)]
    format: Option<Format>,
    /// Run the command on these cores only.
    #[arg(long, value_delimiter = ',', value_name = "CORE,...", conflicts_with = "pid")]
    cores: Vec<usize>,
    /// Where the command's output goes; without it, to standard error, as standard output is for the samples.
    #[arg(long, value_name = "FILE", conflicts_with = "pid")]
    output: Option<PathBuf>,
    /// The command and its arguments, behind `--`.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Arguments {
    /// Leaves standard output to the JSON of the outcome.
    pub fn leave_stdout(&mut self) {
        self.format = Some(Format::None);
    }
}

/// Watches until the last process of the tree has ended, the time is up, or an interrupt comes.
///
/// # Errors
/// Refuses a command that cannot be started and a process that is not there.
pub fn run(arguments: Arguments, progress: &Progress) -> Result<Outcome, Refusal> {
    interrupt::be_patient();
    let mut watch = Watch::begin(&arguments)?;
    let mut outcome = Outcome::new(format!("watch: {}", watch.name));
    outcome.setting("interval", format!("{} s", arguments.interval));
    let mut view = View::new(arguments.format, &watch.name);
    outcome.text_to_stderr = view.is_for_programs();
    // A reader who has seen enough ends the watch; it is no mistake.
    let mut read = view.begin().is_ok();
    let mut end = None;
    while end.is_none() {
        end = if read { watch.wait() } else { Some(End::NobodyReads) };
        let early = end.is_some() && watch.since_last() < Duration::from_secs_f64(arguments.interval / 10.0);
        let sample = watch.sample();
        // The rates of a sliver of time say nothing; its sums are counted all the same.
        if !early || watch.samples.is_empty() {
            read = view.show(&sample).is_ok();
            watch.keep(sample);
        }
        progress.step("watching", watch.begun.elapsed().as_secs(), arguments.seconds.unwrap_or(u64::MAX));
    }
    if let Some(end) = end {
        outcome.note(end.sentence());
    }
    let sums = watch.sums();
    summary::add(&mut outcome, &watch.samples, &sums);
    if let Some(status) = watch.finish()? {
        outcome.note(format!("the command's {status}"));
    }
    Ok(outcome)
}

/// Why a watch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    TreeEnded,
    TimeUp,
    Interrupted,
    NobodyReads,
}

impl End {
    fn sentence(self) -> &'static str {
        match self {
            End::TreeEnded => "watched until the last process had ended",
            End::TimeUp => "watched until the time was up",
            End::Interrupted => "watched until it was interrupted",
            End::NobodyReads => "watched until nobody read the samples any more",
        }
    }
}

/// A watch that goes on.
#[derive(Debug)]
struct Watch {
    name: String,
    started: Option<Started>,
    tree: Tree,
    network: Network,
    root_end: Option<OwnedFd>,
    interval: Duration,
    until: Option<Instant>,
    begun: Instant,
    own_cpu_before: Duration,
    first: Cpu,
    last: (Instant, Reading, Traffic),
    high_water_kib: u64,
    proportional: Option<u64>,
    proportional_due: Instant,
    samples: Vec<Sample>,
    /// Only every so many samples are kept.
    keep_every: usize,
    seen: usize,
}

impl Watch {
    fn begin(arguments: &Arguments) -> Result<Watch, Refusal> {
        let (name, started, mut tree, pid) = match arguments.pid {
            Some(pid) => (name_of(pid), None, Tree::attach(pid)?, pid),
            None => {
                let started = start(arguments)?;
                let pid = started.pid();
                (arguments.command.join(" "), Some(started), Tree::of_child(pid)?, pid)
            }
        };
        let mut network = Network::of(pid);
        let (begun, own_cpu_before) = (Instant::now(), clock::thread_cpu());
        let reading = tree.read();
        // A command that we started owes us everything since its beginning.
        let first = if started.is_some() { Cpu::default() } else { reading.cpu };
        let last = (begun, Reading { cpu: first, ..reading }, network.read());
        Ok(Watch {
            name,
            started,
            tree,
            network,
            root_end: end_of(pid),
            interval: Duration::from_secs_f64(arguments.interval),
            until: arguments.seconds.map(|seconds| begun + Duration::from_secs(seconds)),
            begun,
            own_cpu_before,
            first,
            last,
            high_water_kib: 0,
            proportional: None,
            proportional_due: begun,
            samples: Vec::new(),
            keep_every: 1,
            seen: 0,
        })
    }

    fn since_last(&self) -> Duration {
        self.last.0.elapsed()
    }

    /// Waits for the next sample's time, or an end.
    fn wait(&mut self) -> Option<End> {
        // Samples stay on the beat of the first one, however long one takes.
        let beats = self.begun.elapsed().as_nanos() / self.interval.as_nanos() + 1;
        let next = self.begun + self.interval.saturating_mul(u32::try_from(beats).unwrap_or(u32::MAX));
        loop {
            if interrupt::interrupted() {
                return Some(End::Interrupted);
            }
            if !self.tree.is_alive() {
                return Some(End::TreeEnded);
            }
            let now = Instant::now();
            if self.until.is_some_and(|until| now >= until) {
                return Some(End::TimeUp);
            }
            if now >= next {
                return None;
            }
            let wake = self.until.map_or(next, |until| until.min(next));
            if self.sleep((wake - now).min(ATTENTION)) {
                // The process that all grew from has ended: a reading tells whether others go on.
                self.root_end = None;
                self.tree.read();
            }
        }
    }

    /// Sleeps; whether the root ended meanwhile.
    fn sleep(&self, time: Duration) -> bool {
        let Some(root_end) = &self.root_end else {
            std::thread::sleep(time);
            return false;
        };
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(time.subsec_nanos()) };
        let mut descriptors = [PollFd::new(root_end, PollFlags::IN)];
        // A signal that ends the sleep early does no harm.
        matches!(poll(&mut descriptors, Some(&timeout)), Ok(1))
    }

    fn sample(&mut self) -> Sample {
        let (reading, traffic, now) = (self.tree.read(), self.network.read(), Instant::now());
        self.measure_proportional(now);
        let (then, before, traffic_before) = self.last;
        self.last = (now, reading, traffic);
        self.high_water_kib = self.high_water_kib.max(reading.high_water_kib);
        Sample {
            at: now - self.begun,
            interval: now - then,
            cpu: reading.cpu.since(before.cpu),
            reading,
            proportional_kib: self.proportional,
            turns: reading.turns.saturating_sub(before.turns),
            waited_ns: reading.waited_ns.saturating_sub(before.waited_ns),
            traffic: traffic.since(traffic_before),
        }
    }

    /// Measures proportional memory where that is due, and sets when it is due again by what it cost.
    fn measure_proportional(&mut self, now: Instant) {
        if now < self.proportional_due || !self.tree.is_alive() {
            return;
        }
        let before = clock::thread_cpu();
        self.proportional = self.tree.proportional_kib();
        let cost = clock::thread_cpu() - before;
        self.proportional_due = now + cost.div_f64(PROPORTIONAL_SHARE);
    }

    /// Keeps a sample for the summary, in bounded memory.
    fn keep(&mut self, sample: Sample) {
        self.seen += 1;
        if self.samples.len() == SAMPLES_MAX {
            let mut index = 0;
            self.samples.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.keep_every *= 2;
        }
        if (self.seen - 1).is_multiple_of(self.keep_every) {
            self.samples.push(sample);
        }
    }

    fn sums(&self) -> Sums {
        Sums {
            lasted: self.last.0 - self.begun,
            cpu: self.last.1.cpu.since(self.first),
            high_water_kib: self.high_water_kib,
            own_cpu: clock::thread_cpu() - self.own_cpu_before,
        }
    }

    /// Ends what was started.
    fn finish(mut self) -> Result<Option<String>, Refusal> {
        let Some(started) = self.started else { return Ok(None) };
        let ended = started.end();
        // What made itself a group of its own was not asked with the others.
        self.tree.kill();
        ended.map(|ended| Some(ended.status.to_string()))
    }
}

/// The process's own name for itself.
fn name_of(pid: Pid) -> String {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("{} (process {pid})", name.trim())
}

/// A descriptor that becomes readable when the process ends; without it, its end is seen with the next sample.
fn end_of(pid: Pid) -> Option<OwnedFd> {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).ok()?)?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

fn start(arguments: &Arguments) -> Result<Started, Refusal> {
    let [program, rest @ ..] = &arguments.command[..] else {
        return Err(Refusal::new("a command behind -- or a --pid is needed"));
    };
    let mut command = Command::new(program);
    command.args(rest);
    if let Some(path) = &arguments.output {
        let doing = format!("cannot write {}", path.display());
        let file = File::create(path).map_err(Refusal::because(doing.clone()))?;
        command.stdout(file.try_clone().map_err(Refusal::because(doing))?).stderr(file);
    } else {
        command.stdout(Stdio::from(std::io::stderr()));
    }
    Started::launch(command, &arguments.cores)
}

fn interval(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_error| "it is not a number of seconds".to_owned())?;
    if (0.01..=3600.0).contains(&seconds) {
        Ok(seconds)
    } else {
        Err("it lies outside of 0.01 to 3600".to_owned())
    }
}

#[test]
fn intervals_have_bounds() {
    assert_eq!(interval("0.5"), Ok(0.5));
    for wrong in ["0", "-1", "NaN", "inf", "4000", "x"] {
        assert!(interval(wrong).is_err(), "{wrong}");
    }
}
