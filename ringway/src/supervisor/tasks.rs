//! What a supervisor does one after the other: starting, reloading, upgrading, and starting again what died.

use super::generation::{Generation, Phase};
use super::plan::{Plan, Source};
use super::signals::Signals;
use super::sockets::Sockets;
use super::supervise::{Beginning, GENERATIONS_MAX, Options, Supervisor, Wishes};
use super::takeover::{self, Errand, PassedGeneration, REHEARSE, Rehearsal, State};
use super::wish::{Outcome, Want, Wish};
use crate::control::Order;
use crate::voice::say;
use rustix::process::{Pid, RawPid};
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server process may take to read a new configuration.
const SWAP_MAX: Duration = Duration::from_secs(60);

/// How long a new program may take to say whether it can take over.
const REHEARSAL_MAX: Duration = Duration::from_secs(30);

/// How long server processes may take to stop accepting.
const SETTLE_MAX: Duration = Duration::from_secs(10);

/// How long an answer of the console takes on its way, at most: the threads that write it end with the program.
const ANSWER_TIME: Duration = Duration::from_millis(50);

/// Most bytes of what it says.
const REHEARSAL_BYTES_MAX: u64 = 64 * 1024;

/// The program before, should it have to go on.
pub(super) struct Old {
    file: OwnedFd,
    arguments: Vec<OsString>,
}

/// Something under way. There is one at a time.
pub(super) enum Task {
    /// The server process reads a new configuration.
    Swap { id: u64, plan: Box<Plan>, sockets: Sockets, wish: Wish, deadline: Instant },
    /// A new server process starts.
    Change { number: u64, plan: Box<Plan>, sockets: Sockets, purpose: Purpose },
    /// A new program is asked whether it can take over.
    Rehearse { child: Child, wish: Wish, deadline: Instant },
    /// The server processes before have still to say that they accept nothing any more: whoever connects after what was
    /// asked for is said to be done meets the new one.
    Settle {
        left: Vec<Awaited>,
        deadline: Instant,
        what: &'static str,
        wish: Option<Wish>,
        text: String,
        /// What did not come about of it.
        complaints: Vec<String>,
    },
    /// It can, and will in a moment: who asked for it is told so first.
    HandOver { deadline: Instant },
}

/// What a supervisor waits for before it calls something done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// The process of this number serves, accepts nothing any more, or has ended.
    Process(u64),
    /// The answer to this order.
    Answer(u64),
}

/// What a new server process is for.
pub(super) enum Purpose {
    /// To be the first.
    First,
    /// To replace one that died.
    Restart,
    /// A configuration beyond the restrictions of the one that serves.
    Reload(Wish, &'static str),
    /// Something else lies at this path now.
    Renew(String),
    /// A new program; the old one's file.
    Upgrade { from: String, old: Old },
}

impl Task {
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Swap { deadline, .. }
            | Self::Rehearse { deadline, .. }
            | Self::Settle { deadline, .. }
            | Self::HandOver { deadline } => Some(*deadline),
            // The server process has one of its own.
            Self::Change { .. } => None,
        }
    }
}

impl Supervisor {
    pub(super) fn begin_first(&mut self, plan: Plan, sockets: Sockets) {
        self.change(plan, sockets, Purpose::First);
    }

    pub(super) fn begin_restart(&mut self) {
        let (plan, sockets) = (self.plan.clone(), self.sockets.clone());
        self.change(plan, sockets, Purpose::Restart);
    }

    /// Begins what is next, when nothing is under way.
    pub(super) fn begin_next(&mut self) {
        self.watch_rehearsal();
        if self.task.is_some() || self.is_stopping() || self.fatal.is_some() {
            return;
        }
        let Some(wish) = self.queue.pop_front() else { return };
        match &wish.want {
            Want::Reload => self.begin_reload(wish),
            Want::Upgrade => self.begin_rehearsal(wish),
            Want::Renew(path) => {
                let (plan, sockets, path) = (self.plan.clone(), self.sockets.clone(), path.clone());
                self.change(plan, sockets, Purpose::Renew(path));
            }
            Want::ReopenLogs | Want::Stop | Want::Status | Want::Console(_) => {}
        }
    }

    fn begin_reload(&mut self, wish: Wish) {
        self.notify.reloading();
        let plan = match self.source.load() {
            Ok(plan) => plan,
            Err(report) => {
                let text = format!(
                    "not reloaded, everything is as it was: {}",
                    report.trim_end().trim_end_matches('.')
                );
                return self.conclude("reload", Some(&wish), Outcome::failed(text));
            }
        };
        let sockets = match self.sockets.with(&plan.places, plan.workers) {
            Ok(sockets) => sockets,
            Err(sentence) => {
                let text = format!("not reloaded, everything is as it was: {sentence}");
                return self.conclude("reload", Some(&wish), Outcome::failed(text));
            }
        };
        match self.reason_for_another(&plan) {
            Some(reason) => self.change(plan, sockets, Purpose::Reload(wish, reason)),
            None => self.swap(plan, sockets, wish),
        }
    }

    /// Why the server process that serves cannot serve this plan.
    fn reason_for_another(&mut self, plan: &Plan) -> Option<&'static str> {
        if plan.fixed != self.plan.fixed || plan.workers != self.plan.workers {
            return Some("what a server process keeps all its life has changed");
        }
        if let Some(reason) = self.plan.differs_in_sockets(plan) {
            return Some(reason);
        }
        if plan.rules.identity != self.plan.rules.identity {
            return Some("the user has changed");
        }
        match self.current() {
            Some(current) if current.grants.cover(&plan.rules) => None,
            Some(_) => Some("it needs files beyond the sandbox of the one before"),
            None => Some("the one before has died"),
        }
    }

    fn swap(&mut self, plan: Plan, sockets: Sockets, wish: Wish) {
        let id = self.next_id();
        let before = self.sockets.only(&self.plan.own_keys());
        let added = sockets.only(&plan.own_keys()).without(&before);
        let order = Order::Reload(Box::new(plan.reload(id, added.counts())));
        if let Some(current) = self.current() {
            current.tell_with(&order, &added.descriptors());
        }
        let deadline = Instant::now() + SWAP_MAX;
        self.task = Some(Task::Swap { id, plan: Box::new(plan), sockets, wish, deadline });
    }

    /// The server process says what came of a new configuration.
    pub(super) fn reloaded(&mut self, its_id: u64, error: Option<String>) {
        match self.task.take() {
            Some(Task::Swap { id, plan, sockets, wish, .. }) if id == its_id => match error {
                None => {
                    let left = self.adopt(*plan, sockets, true);
                    let text = "Reloaded, by the same server process".to_owned();
                    self.settle("reload", Some(wish), text, left);
                }
                Some(error) => {
                    let text = format!("not reloaded, everything is as it was: {error}");
                    self.conclude("reload", Some(&wish), Outcome::failed(text));
                }
            },
            other => self.task = other,
        }
    }

    /// Starts a server process.
    fn change(&mut self, plan: Plan, sockets: Sockets, purpose: Purpose) {
        self.fetch_ticket_keys();
        let number = self.generations_ever + 1;
        let count = self.generations.iter().filter(|generation| generation.endpoint.is_none()).count();
        let started = if count < GENERATIONS_MAX {
            Generation::start(number, &plan, &sockets.only(&plan.own_keys()), &self.ticket_keys)
        } else {
            Err(format!("{GENERATIONS_MAX} server processes still finish what is under way"))
        };
        self.task = Some(Task::Change { number, plan: Box::new(plan), sockets, purpose });
        match started {
            Ok(generation) => {
                self.generations_ever = number;
                self.generations.push(generation);
            }
            Err(sentence) => self.did_not_start(number, sentence),
        }
    }

    /// A server process has come to serve: it is the one now, and those before it finish what they have.
    pub(super) fn serves(&mut self, index: usize) {
        let number = self.generations[index].number;
        let (plan, sockets, purpose) = match self.task.take() {
            Some(Task::Change { number: expected, plan, sockets, purpose }) if expected == number => {
                (plan, sockets, purpose)
            }
            other => {
                // Nobody waits for it any more.
                self.task = other;
                return self.generations[index].drain(Duration::ZERO);
            }
        };
        let drain = self.plan.drain;
        let mut left = Vec::new();
        for (other, generation) in self.generations.iter_mut().enumerate() {
            if other == index {
                generation.phase = Phase::Serving;
                generation.since = Instant::now();
                generation.deadline = None;
            } else if generation.phase != Phase::Draining && generation.endpoint.is_none() {
                generation.drain(drain);
                left.push(Awaited::Process(generation.number));
            }
        }
        let is_asked = !matches!(purpose, Purpose::Restart | Purpose::Renew(_));
        left.extend(self.adopt(*plan, sockets, is_asked));
        self.forget_restart();
        self.fulfilled(number, purpose, left);
    }

    /// `left` are the server processes that accept still.
    fn fulfilled(&mut self, number: u64, purpose: Purpose, left: Vec<Awaited>) {
        let (what, wish, text) = match purpose {
            Purpose::First => ("start", None, "Ready".to_owned()),
            Purpose::Restart => ("restart", None, format!("Serving again, by server process {number}")),
            Purpose::Reload(wish, reason) => {
                ("reload", Some(wish), format!("Reloaded, by server process {number}, because {reason}"))
            }
            Purpose::Renew(path) => {
                ("renew", None, format!("{path} was replaced, and is served by server process {number}"))
            }
            Purpose::Upgrade { from, .. } => {
                let version = env!("CARGO_PKG_VERSION");
                ("upgrade", None, format!("Upgraded from {from} to {version}, by server process {number}"))
            }
        };
        self.settle(what, wish, text, left);
    }

    /// Calls it done as soon as nobody is left to be waited for.
    fn settle(&mut self, what: &'static str, wish: Option<Wish>, text: String, left: Vec<Awaited>) {
        let deadline = Instant::now() + SETTLE_MAX;
        self.task = Some(Task::Settle { left, deadline, what, wish, text, complaints: Vec::new() });
        self.conclude_settled();
    }

    /// What was waited for has come, or something instead of it that is to be complained of.
    pub(super) fn came(&mut self, awaited: Awaited, complaint: Option<String>) {
        if let Some(Task::Settle { left, complaints, .. }) = &mut self.task {
            left.retain(|other| *other != awaited);
            complaints.extend(complaint);
            self.conclude_settled();
        } else if let Some(complaint) = complaint {
            say!("ringway: {}.", complaint.trim_end_matches('.'));
        }
    }

    fn conclude_settled(&mut self) {
        match self.task.take() {
            Some(Task::Settle { left, what, wish, text, complaints, .. }) if left.is_empty() => {
                self.conclude(what, wish.as_ref(), settled(text, &complaints));
            }
            other => self.task = other,
        }
    }

    /// A server process does not come to serve.
    pub(super) fn did_not_start(&mut self, number: u64, reason: String) {
        let reason = reason.trim_end_matches('.').to_owned();
        let purpose = match self.task.take() {
            Some(Task::Change { number: expected, purpose, .. }) if expected == number => purpose,
            other => {
                self.task = other;
                return;
            }
        };
        match purpose {
            Purpose::First => self.fatal = Some(reason),
            Purpose::Restart => {
                say!("ringway: the server process does not start: {reason}.");
                self.restart_later();
            }
            Purpose::Reload(wish, _) => {
                let text = format!("not reloaded, everything is as it was: {reason}");
                self.conclude("reload", Some(&wish), Outcome::failed(text));
                self.restart_if_nobody_serves();
            }
            Purpose::Renew(path) => {
                let text =
                    format!("{path} was replaced, but the server process for it does not start: {reason}");
                // What was allowed is what is there now, as far as anybody will ask again.
                if let Some(rules) = Some(self.plan.rules.clone())
                    && let Some(current) = self.current()
                {
                    current.grants = super::grants::Grants::of(&rules);
                }
                self.conclude("renew", None, Outcome::failed(text));
                self.restart_if_nobody_serves();
            }
            Purpose::Upgrade { from, old } => self.go_back(&from, &old, &reason),
        }
    }

    fn restart_if_nobody_serves(&mut self) {
        if self.current().is_none() {
            self.restart_later();
        }
    }

    /// The server process that served has died: what it was asked to do is not done.
    pub(super) fn died(&mut self) {
        match self.task.take() {
            Some(Task::Swap { wish, .. }) => {
                let text = "not reloaded: the server process died, and the one that was served before is started again";
                self.conclude("reload", Some(&wish), Outcome::failed(text));
            }
            other => self.task = other,
        }
    }

    /// What is under way will not be done.
    pub(super) fn abandon(&mut self, reason: &str) {
        for wish in self.queue.drain(..) {
            wish.end(Outcome::failed(reason));
        }
        match self.task.take() {
            Some(Task::Swap { wish, .. } | Task::Change { purpose: Purpose::Reload(wish, _), .. }) => {
                wish.end(Outcome::failed(reason));
            }
            Some(Task::Rehearse { mut child, wish, .. }) => {
                end(&mut child);
                wish.end(Outcome::failed(reason));
            }
            Some(Task::Settle { what, wish, text, complaints, .. }) => {
                self.conclude(what, wish.as_ref(), settled(text, &complaints));
            }
            Some(Task::Change { .. } | Task::HandOver { .. }) | None => {}
        }
    }

    /// Something took too long.
    pub(super) fn overdue(&mut self) {
        match self.task.take() {
            Some(Task::Swap { wish, .. }) => {
                // Which configuration it serves is not known any more: another process knows.
                if let Some(current) = self.current() {
                    current.failure = Some("it takes too long to read a configuration".to_owned());
                    current.kill();
                }
                self.conclude(
                    "reload",
                    Some(&wish),
                    Outcome::failed("not reloaded: the server process hangs"),
                );
            }
            Some(Task::Rehearse { mut child, wish, .. }) => {
                end(&mut child);
                self.conclude("upgrade", Some(&wish), Outcome::failed("not upgraded: the new program hangs"));
            }
            Some(Task::Settle { what, wish, text, complaints, .. }) => {
                self.conclude(what, wish.as_ref(), settled(text, &complaints));
            }
            Some(Task::HandOver { .. }) => self.hand_over(),
            other => self.task = other,
        }
    }

    /// Puts a plan in force; `is_asked`: it may be another than before, or read from other files. Whom to wait for.
    fn adopt(&mut self, plan: Plan, sockets: Sockets, is_asked: bool) -> Vec<Awaited> {
        if let Err(sentence) = self.pid_file.write(plan.pid_file.as_deref()) {
            say!("ringway: {sentence}.");
        }
        if let Some(current) = self.current().filter(|current| !current.grants.cover(&plan.rules)) {
            // Cannot be: a plan beyond its rules is given to another one. Should the files have changed meanwhile, they
            // are looked at again.
            current.grants = super::grants::Grants::of(&plan.rules);
        }
        self.sockets.without(&sockets).unlink();
        self.stamps = super::grants::Stamps::of(&plan.watched);
        let before = std::mem::replace(&mut self.plan, plan);
        self.sockets = sockets;
        self.open_console();
        let is_new_program = std::mem::take(&mut self.is_new_program);
        if !is_asked {
            return Vec::new();
        }
        self.keep_apart(&before, is_new_program)
    }
}

/// Upgrades.
impl Supervisor {
    /// Asks the new program whether it can take over, before anything depends on it.
    fn begin_rehearsal(&mut self, wish: Wish) {
        self.notify.reloading();
        if self.current().is_none() {
            let text = "not upgraded: no server process serves right now";
            return self.conclude("upgrade", Some(&wish), Outcome::failed(text));
        }
        let mut command = Command::new(&self.options.program);
        command.args(&self.options.arguments).arg(REHEARSE);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        match command.spawn() {
            Ok(child) => {
                let deadline = Instant::now() + REHEARSAL_MAX;
                self.task = Some(Task::Rehearse { child, wish, deadline });
            }
            Err(error) => {
                let program = self.options.program.display();
                let text =
                    format!("not upgraded, the old program goes on: cannot execute {program}: {error}");
                self.conclude("upgrade", Some(&wish), Outcome::failed(text));
            }
        }
    }

    fn watch_rehearsal(&mut self) {
        let Some(Task::Rehearse { child, .. }) = &mut self.task else { return };
        let Ok(Some(status)) = child.try_wait() else { return };
        let said = child.stdout.take().map(|mut out| all_of(&mut out)).unwrap_or_default();
        let complaint = child.stderr.take().map(|mut out| all_of(&mut out)).unwrap_or_default();
        let Some(Task::Rehearse { wish, .. }) = self.task.take() else { return };
        let refusal = match serde_json::from_str::<Rehearsal>(said.trim()) {
            Ok(rehearsal) if status.success() && rehearsal.fits() => None,
            Ok(rehearsal) if status.success() => {
                Some(format!("ringway {} cannot take over from this version; restart it", rehearsal.program))
            }
            _ => Some(format!("the new program says: {}", complaint.trim().trim_end_matches('.'))),
        };
        match refusal {
            None => {
                let data = serde_json::json!({ "notes": self.notes });
                wish.end(Outcome { data, ..Outcome::done("The new program starts") });
                self.task = Some(Task::HandOver { deadline: Instant::now() + ANSWER_TIME });
            }
            Some(reason) => {
                let text = format!("not upgraded, the old program goes on: {reason}");
                self.conclude("upgrade", Some(&wish), Outcome::failed(text));
            }
        }
    }

    /// Executes the new program.
    fn hand_over(&mut self) {
        let errand = Errand::Upgrade { from: env!("CARGO_PKG_VERSION").to_owned() };
        let program = self.options.program.clone();
        let arguments = self.options.arguments.clone();
        let reason = self.execute(&program, &arguments, errand);
        let text = format!("not upgraded, the old program goes on: {reason}");
        self.conclude("upgrade", None, Outcome::failed(text));
    }

    /// Executes the old program again: the new one's server process does not serve.
    fn go_back(&mut self, from: &str, old: &Old, reason: &str) {
        say!("ringway: the server process of the new program does not start: {reason}.");
        // The kernel opens it before it closes what shall not be passed on.
        let number = std::os::fd::AsRawFd::as_raw_fd(&old.file);
        let program = PathBuf::from(format!("/proc/self/fd/{number}"));
        let failure = self.execute(&program, &old.arguments, Errand::Return { reason: reason.to_owned() });
        let text = format!("upgraded by half: this program runs, ringway {from} still serves ({failure})");
        self.conclude("upgrade", None, Outcome::failed(text));
    }

    /// Returns only when it is not possible, with the reason.
    fn execute(&self, program: &Path, arguments: &[OsString], errand: Errand) -> String {
        let own = match File::options().read(true).open("/proc/self/exe") {
            Ok(own) => own,
            Err(error) => return format!("cannot open this program's own file: {error}"),
        };
        let state = self.state(errand);
        let mut descriptors = vec![own.as_fd()];
        descriptors.extend(self.generations.iter().map(|generation| generation.channel().as_fd()));
        descriptors.extend(self.sockets.descriptors());
        descriptors.extend(self.sockets.unclaimed_descriptors());
        let error = takeover::execute(program, arguments, &state, &descriptors);
        format!("cannot execute {}: {error}", program.display())
    }

    fn state(&self, errand: Errand) -> State {
        let passed = |generation: &Generation| PassedGeneration {
            number: generation.number,
            endpoint: generation.endpoint.clone(),
            process: generation.process.as_raw_nonzero().get(),
            is_serving: generation.phase == Phase::Serving,
            left_ms: generation.deadline.map(|deadline| {
                let left = deadline.saturating_duration_since(Instant::now());
                u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
            }),
            program: generation.program.clone(),
            unread: generation.channel().unread().to_vec(),
            #[cfg(feature = "cgi")]
            starter: generation.starter.as_ref().map(crate::starter::Process::number),
            #[cfg(not(feature = "cgi"))]
            starter: None,
        };
        State {
            generations_ever: self.generations_ever,
            generations: self.generations.iter().map(passed).collect(),
            sockets: self.sockets.counts(),
            unclaimed: self.sockets.unclaimed(),
            ticket_keys: self.ticket_keys.clone(),
            notes: self.notes,
            started_at: self.started_at,
            errand,
            arguments: takeover::passed_arguments(&self.options.arguments),
            settings: self.plan.settings.clone(),
            secrets: self.plan.secrets.clone(),
            pid_file: self.pid_file.path().map(Path::to_owned),
        }
    }

    /// Goes on where another program has stopped.
    ///
    /// # Errors
    /// A sentence. Nobody holds the listening sockets any more then.
    pub(super) fn take_over(
        mut source: Box<dyn Source>,
        options: Options,
        signals: Signals,
        wishes: Wishes,
    ) -> Result<Self, String> {
        let sentence = |error: std::io::Error| format!("cannot take over: {error}");
        let (state, descriptors) = takeover::receive().map_err(sentence)?;
        ringway_confine::signals::let_come().map_err(sentence)?;
        let mut descriptors = descriptors.into_iter();
        let old = descriptors.next().ok_or("cannot take over: the old program is missing")?;
        let old = Old { file: old, arguments: takeover::arguments(&state.arguments) };
        let channels: Vec<OwnedFd> = descriptors.by_ref().take(state.generations.len()).collect();
        let sockets = Sockets::passed(&state.sockets, &state.unclaimed, descriptors.collect());
        let sockets = sockets.ok_or("cannot take over: listening sockets are missing")?;
        let revived = source.revive(state.settings.clone(), state.secrets.clone());
        let loaded = match state.errand {
            Errand::Upgrade { .. } => source.load(),
            Errand::Return { .. } => revived.clone(),
        };
        let plan = revived.or_else(|_other_language| loaded.clone())?;
        let beginning =
            Beginning { plan, sockets, ticket_keys: state.ticket_keys.clone(), started_at: state.started_at };
        let mut supervisor = Self::begin(source, options, signals, wishes, beginning);
        supervisor.generations_ever = state.generations_ever;
        supervisor.notes = state.notes;
        supervisor.pid_file = super::files::PidFile::inherited(state.pid_file);
        for (passed, channel) in state.generations.into_iter().zip(channels) {
            supervisor.generations.extend(supervisor.resumed(passed, channel));
        }
        supervisor.wards = supervisor.plan.apart.iter().cloned().map(super::apart::Ward::new).collect();
        supervisor.resume_apart();
        supervisor.go_on(state.errand, old, loaded);
        Ok(supervisor)
    }

    fn resumed(&self, passed: PassedGeneration, channel: OwnedFd) -> Option<Generation> {
        let process = Pid::from_raw(RawPid::from(passed.process))?;
        let phase = if passed.is_serving { Phase::Serving } else { Phase::Draining };
        let resumed = Generation::resume(passed.number, process, phase, channel, passed.unread);
        let mut generation = resumed.ok()?;
        generation.program = passed.program;
        generation.endpoint = passed.endpoint;
        #[cfg(feature = "cgi")]
        {
            generation.starter = passed.starter.and_then(crate::starter::Process::passed);
        }
        let part = self.plan.apart.iter().find(|part| Some(&part.name) == generation.endpoint.as_ref());
        generation.grants = super::grants::Grants::of(part.map_or(&self.plan.rules, |part| &part.rules));
        generation.deadline = passed.left_ms.map(|left_ms| Instant::now() + Duration::from_millis(left_ms));
        Some(generation)
    }

    /// Does what it was executed for.
    fn go_on(&mut self, errand: Errand, old: Old, loaded: Result<Plan, String>) {
        match errand {
            Errand::Return { reason } => {
                let text = format!("not upgraded, the old program goes on: {reason}");
                self.conclude("upgrade", None, Outcome::failed(text));
            }
            Errand::Upgrade { from } => {
                self.is_new_program = true;
                let ready = loaded.and_then(|plan| {
                    self.sockets.with(&plan.places, plan.workers).map(|sockets| (plan, sockets))
                });
                match ready {
                    Ok((plan, sockets)) => self.change(plan, sockets, Purpose::Upgrade { from, old }),
                    Err(reason) => self.go_back(&from, &old, &reason),
                }
            }
        }
    }
}

/// What came of something, with what did not come about.
fn settled(text: String, complaints: &[String]) -> Outcome {
    match complaints {
        [] => Outcome::done(text),
        _ => Outcome::failed(format!("{text}; but {}", complaints.join("; "))),
    }
}

/// Ends a program that was only asked something.
fn end(child: &mut Child) {
    let _ended_already = child.kill();
    let _reaped = child.wait();
}

fn all_of(out: &mut impl Read) -> String {
    let mut text = Vec::new();
    let _as_much_as_there_is = out.take(REHEARSAL_BYTES_MAX).read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}
