//! The supervisor's loop: it sleeps until a signal, a server process, a wish or a deadline wants something.

use super::apart::Ward;
use super::files::{Note, PidFile};
use super::generation::{Generation, Phase};
use super::grants::Stamps;
use super::notify::Notify;
use super::plan::{Plan, Source};
use super::signals::Signals;
use super::sockets::Sockets;
use super::tasks::{Awaited, Task};
use super::wish::{Handle, Outcome, Want, Wish};
use crate::control::{Order, Report};
use crate::sandbox::Layer;
use crate::voice::say;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// Most server processes at once. Each that drains keeps its memory until its last download has ended.
pub(super) const GENERATIONS_MAX: usize = 16;

/// How often the paths of the rules are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The first wait before a server process that ended is started again, and the longest: it doubles each time.
const BACK_OFF_FIRST: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(30);

/// A server process that served so long has not failed at its start.
const HEALTHY_AFTER: Duration = Duration::from_secs(30);

/// How long the keys of session tickets are waited for. Without them clients begin new sessions.
const KEYS_MAX: Duration = Duration::from_secs(1);

/// Most console requests that wait for the server process.
const QUESTIONS_MAX: usize = 64;

/// How a supervisor was started.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program's file, executed on an upgrade.
    pub program: PathBuf,
    /// Its arguments, without [`super::TAKE_OVER`].
    pub arguments: Vec<OsString>,
    /// Whether another program passes its state on in standard input.
    pub takes_over: bool,
}

/// Runs until it is asked to stop.
///
/// # Errors
/// A sentence: why nothing is served.
pub fn supervise(source: Box<dyn Source>, options: Options) -> Result<(), String> {
    let signals = Signals::new().map_err(|error| format!("cannot wait for signals: {error}"))?;
    let (handle, taken) = Handle::new(signals.waker());
    let wishes = Wishes { handle, taken };
    let mut supervisor = if options.takes_over {
        Supervisor::take_over(source, options, signals, wishes)?
    } else {
        Supervisor::start(source, options, signals, wishes)?
    };
    supervisor.run()
}

/// Where wishes come from.
pub(super) struct Wishes {
    #[cfg_attr(not(feature = "console"), allow(dead_code, reason = "nobody else talks to it"))]
    handle: Handle,
    taken: Receiver<Wish>,
}

pub(super) struct Supervisor {
    pub(super) source: Box<dyn Source>,
    pub(super) options: Options,
    pub(super) plan: Plan,
    pub(super) sockets: Sockets,
    pub(super) generations: Vec<Generation>,
    pub(super) generations_ever: u64,
    /// Endpoints with processes of their own.
    pub(super) wards: Vec<Ward>,
    /// When those are asked next what they have counted.
    pub(super) figures_at: Instant,
    /// The program was replaced, and its endpoints' processes have yet to be.
    pub(super) is_new_program: bool,
    /// Who started the scripts of server processes that have ended.
    #[cfg(feature = "cgi")]
    pub(super) leftover_starters: Vec<super::starters::Leftover>,
    pub(super) task: Option<Task>,
    /// What is to be done after that.
    pub(super) queue: VecDeque<Wish>,
    pub(super) ticket_keys: Vec<u8>,
    has_fresh_keys: bool,
    pub(super) pid_file: PidFile,
    pub(super) notes: u64,
    pub(super) last: Option<Note>,
    pub(super) started_at: u64,
    pub(super) notify: Notify,
    pub(super) ids: u64,
    signals: Signals,
    wishes: Wishes,
    /// The console, and where it is.
    #[cfg(feature = "console")]
    console: Option<(PathBuf, crate::console::listen::Console)>,
    /// What server processes were asked, by id: the number of each, and who waits.
    questions: BTreeMap<u64, (u64, Wish)>,
    restart_at: Option<Instant>,
    back_off: Duration,
    look_at: Instant,
    /// The files that the plan was read from.
    pub(super) stamps: Stamps,
    pulse_at: Option<Instant>,
    stops: usize,
    /// What was said of the last server process.
    announced: String,
    /// Why it ends, when that is an error.
    pub(super) fatal: Option<String>,
}

/// What a supervisor begins with.
pub(super) struct Beginning {
    pub(super) plan: Plan,
    pub(super) sockets: Sockets,
    pub(super) ticket_keys: Vec<u8>,
    pub(super) started_at: u64,
}

/// How long is waited before a process that ended is started again, after so long a wait before.
pub(super) fn next_back_off(last: Option<Duration>) -> Duration {
    last.map_or(BACK_OFF_FIRST, |last| (last * 2).min(BACK_OFF_MAX))
}

impl Supervisor {
    fn start(
        mut source: Box<dyn Source>,
        options: Options,
        signals: Signals,
        wishes: Wishes,
    ) -> Result<Self, String> {
        let plan = source.load()?;
        let offered = Sockets::offered(super::activation::passed()?);
        let sockets = offered.with(&plan.places, plan.workers)?;
        for name in sockets.unclaimed() {
            say!("ringway: the passed socket {name:?} is not used: no endpoint listens there.");
        }
        super::takeover::forget_input();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let beginning = Beginning {
            plan: plan.clone(),
            sockets: sockets.clone(),
            ticket_keys: Vec::new(),
            started_at: now.map_or(0, |now| now.as_secs()),
        };
        let mut supervisor = Self::begin(source, options, signals, wishes, beginning);
        supervisor.pid_file.write(plan.pid_file.as_deref())?;
        supervisor.begin_first(plan, sockets);
        Ok(supervisor)
    }

    pub(super) fn begin(
        source: Box<dyn Source>,
        options: Options,
        signals: Signals,
        wishes: Wishes,
        beginning: Beginning,
    ) -> Self {
        let Beginning { plan, sockets, ticket_keys, started_at } = beginning;
        let notify = Notify::from_environment();
        Self {
            stamps: Stamps::of(&plan.watched),
            wards: Vec::new(),
            figures_at: Instant::now(),
            is_new_program: false,
            source,
            options,
            plan,
            sockets,
            generations: Vec::new(),
            generations_ever: 0,
            #[cfg(feature = "cgi")]
            leftover_starters: Vec::new(),
            task: None,
            queue: VecDeque::new(),
            ticket_keys,
            has_fresh_keys: false,
            pid_file: PidFile::default(),
            notes: 0,
            last: None,
            started_at,
            ids: 0,
            signals,
            wishes,
            #[cfg(feature = "console")]
            console: None,
            questions: BTreeMap::new(),
            restart_at: None,
            back_off: BACK_OFF_FIRST,
            look_at: Instant::now() + LOOK_EVERY,
            pulse_at: notify.watchdog_interval().map(|_| Instant::now()),
            notify,
            stops: 0,
            announced: String::new(),
            fatal: None,
        }
    }

    fn run(&mut self) -> Result<(), String> {
        while !self.is_over() {
            self.sleep();
            self.take_signals();
            self.take_wishes();
            self.hear();
            self.reap();
            self.keep_time();
            self.begin_next();
        }
        self.pid_file.remove();
        self.sockets.unlink();
        self.fatal.take().map_or(Ok(()), Err)
    }

    /// Opens the console where the plan has it.
    #[cfg(feature = "console")]
    pub(super) fn open_console(&mut self) {
        let wanted = self.plan.console.as_deref();
        if self.console.as_ref().map(|(path, _)| path.as_path()) == wanted {
            return;
        }
        self.console = None;
        let Some(path) = wanted else { return };
        match super::face::open(path, self.wishes.handle.clone()) {
            Ok(console) => self.console = Some((path.to_owned(), console)),
            Err(sentence) => say!("ringway: {sentence}."),
        }
    }

    /// There is none in this program.
    #[cfg(not(feature = "console"))]
    pub(super) fn open_console(&mut self) {}

    /// The server process that serves, when there is one.
    pub(super) fn current(&mut self) -> Option<&mut Generation> {
        self.generations.iter_mut().find(|generation| generation.is_current())
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stops > 0
    }

    fn is_over(&self) -> bool {
        #[cfg(feature = "cgi")]
        if !self.leftover_starters.is_empty() {
            return false;
        }
        (self.is_stopping() || self.fatal.is_some()) && self.generations.is_empty()
    }

    fn sleep(&self) {
        let now = Instant::now();
        let left = self.next_deadline().saturating_duration_since(now);
        // Rounded up, or it would wake just before the deadline.
        let timeout = Timespec::try_from(left + Duration::from_millis(1)).ok();
        let news: Vec<BorrowedFd<'_>> = std::iter::once(self.signals.descriptor())
            .chain(self.generations.iter().filter_map(Generation::descriptor))
            .collect();
        let mut polled: Vec<PollFd<'_>> = news.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        // EINTR: a signal, which is news as well.
        let _woken = poll(&mut polled, timeout.as_ref());
    }

    fn next_deadline(&self) -> Instant {
        let task = self.task.as_ref().and_then(Task::deadline);
        let own = [self.restart_at, self.pulse_at, task, self.deadline_apart()];
        let theirs = self.generations.iter().map(|generation| generation.deadline);
        #[cfg(feature = "cgi")]
        let theirs = theirs.chain([self.starters_deadline()]);
        own.into_iter().chain(theirs).flatten().fold(self.look_at, Instant::min)
    }

    fn take_signals(&mut self) {
        self.signals.clear();
        if self.signals.take_stop() {
            self.stop();
        }
        let asked = [
            (self.signals.take_reload(), Want::Reload),
            (self.signals.take_upgrade(), Want::Upgrade),
            (self.signals.take_reopen(), Want::ReopenLogs),
        ];
        for (_, want) in asked.into_iter().filter(|(is_asked, _)| *is_asked) {
            self.wish(Wish::of_nobody(want));
        }
    }

    fn take_wishes(&mut self) {
        while let Ok(wish) = self.wishes.taken.try_recv() {
            self.wish(wish);
        }
    }

    fn wish(&mut self, wish: Wish) {
        match &wish.want {
            Want::Reload | Want::Upgrade | Want::Renew(_) if self.is_stopping() => {
                wish.end(Outcome::failed("the server is stopping"));
            }
            Want::Reload | Want::Upgrade | Want::Renew(_) => {
                if self.queue.len() < super::wish::WISHES_MAX {
                    self.queue.push_back(wish);
                } else {
                    wish.end(Outcome::failed("too much is asked at once"));
                }
            }
            Want::ReopenLogs => {
                self.generations.iter_mut().for_each(|generation| generation.tell(&Order::ReopenLogs));
                wish.end(Outcome::done("the log files are opened anew"));
            }
            Want::Stop => {
                self.stop();
                wish.end(Outcome::done("the server stops"));
            }
            Want::Status => wish.end(Outcome { data: self.status(), ..Outcome::done("") }),
            Want::Console(request) => {
                let request = request.clone();
                self.ask(wish, request);
            }
        }
    }

    /// Passes a console request on.
    fn ask(&mut self, wish: Wish, request: Value) {
        let id = self.next_id();
        let has_room = self.questions.len() < QUESTIONS_MAX;
        let asked = match self.asked_for(&request).map(|asked| asked.number) {
            Some(number) => self.generations.iter_mut().find(|generation| generation.number == number),
            None => self.current(),
        };
        match asked {
            Some(current) if has_room => {
                current.tell(&Order::Console { id, request });
                let number = current.number;
                self.questions.insert(id, (number, wish));
            }
            Some(_) => wish.end(Outcome::failed("too much is asked at once")),
            None => wish.end(Outcome::failed("no server process serves right now")),
        }
    }

    fn hear(&mut self) {
        for index in 0..self.generations.len() {
            for report in self.generations[index].reports() {
                self.heard(index, report);
            }
        }
    }

    /// Asks the server process for the keys of session tickets, which the next one shall have, and waits a little.
    pub(super) fn fetch_ticket_keys(&mut self) {
        self.has_fresh_keys = false;
        let deadline = Instant::now() + KEYS_MAX;
        let Some(index) = self.generations.iter().position(Generation::is_current) else { return };
        self.generations[index].tell(&Order::TicketKeys);
        while !self.has_fresh_keys && Instant::now() < deadline {
            let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).ok();
            let Some(descriptor) = self.generations[index].descriptor() else { return };
            let _woken = poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], left.as_ref());
            for report in self.generations[index].reports() {
                self.heard(index, report);
            }
        }
    }

    fn heard(&mut self, index: usize, report: Report) {
        match report {
            Report::Hello { version, program } => {
                let generation = &mut self.generations[index];
                if version != crate::control::VERSION {
                    generation.failure = Some(format!("ringway {program} speaks another language"));
                    generation.kill();
                }
                generation.program = program;
            }
            Report::Ready { addresses, driver, notes, layers } => {
                let number = self.generations[index].number;
                let is_starting = self.generations[index].phase == Phase::Starting;
                if let Some(name) = self.generations[index].endpoint.clone().filter(|_| is_starting) {
                    notes.iter().for_each(|note| say!("ringway: endpoint \"{name}\": {note}."));
                    self.serves_apart(index, &name, &addresses);
                } else if is_starting {
                    self.announce(number, &addresses, &driver, &notes, &layers);
                    self.serves(index);
                    // From now on little is done here, and little of the program is wanted.
                    let _let_go = ringway_confine::program::let_go();
                }
            }
            Report::Failed { sentence } => self.generations[index].failure = Some(sentence),
            Report::Reloaded { id, error } => match &self.generations[index].endpoint {
                Some(name) => self.reloaded_apart(&name.clone(), id, error.as_deref()),
                None => self.reloaded(id, error),
            },
            Report::Draining => {
                let number = self.generations[index].number;
                self.came(Awaited::Process(number), None);
            }
            Report::LogsReopened { errors } => errors.iter().for_each(|error| say!("ringway: {error}.")),
            Report::Answer { id, answer } => {
                if self.answered_apart(id, &answer) {
                    return;
                }
                if let Some((_, wish)) = self.questions.remove(&id) {
                    wish.end(Outcome { data: answer, ..Outcome::done("") });
                }
            }
            Report::TicketKeys { keys } => {
                if let Some(name) = self.generations[index].endpoint.clone() {
                    return self.keep_keys_apart(&name, keys);
                }
                self.ticket_keys = keys;
                self.has_fresh_keys = true;
            }
            Report::Pulse { is_alive, .. } => {
                if is_alive {
                    self.notify.alive();
                } else {
                    say!(
                        "ringway: a worker of server process {} does not answer.",
                        self.generations[index].number
                    );
                }
            }
            Report::Stopped { summary } => say!("{summary}"),
        }
    }

    fn announce(
        &mut self,
        number: u64,
        addresses: &[String],
        driver: &str,
        notes: &[String],
        layers: &[Layer],
    ) {
        let mut text = String::new();
        addresses.iter().for_each(|address| text += &format!("     at {address}\n"));
        text += &format!("   with {driver}\n");
        layers.iter().for_each(|layer| text += &format!("sandbox {layer}\n"));
        notes.iter().chain(&self.plan.notes).for_each(|note| text += &format!("ringway: {note}.\n"));
        // What is as it was need not be said again.
        let is_known = text == self.announced;
        let more = if is_known { "" } else { text.trim_end() };
        let gap = if more.is_empty() { "" } else { "\n" };
        say!("Serving, server process {number}{gap}{more}");
        self.announced = text;
    }

    /// Server processes that have ended.
    fn reap(&mut self) {
        for index in (0..self.generations.len()).rev() {
            let Some(ending) = self.generations[index].ended() else { continue };
            for report in self.generations[index].reports() {
                self.heard(index, report);
            }
            #[cfg_attr(not(feature = "cgi"), allow(unused_mut, reason = "nobody starts scripts for it"))]
            let mut generation = self.generations.remove(index);
            #[cfg(feature = "cgi")]
            self.leave_starter(&mut generation);
            self.ended(&generation, &ending);
        }
        #[cfg(feature = "cgi")]
        self.look_after_starters();
    }

    fn ended(&mut self, generation: &Generation, ending: &str) {
        let reason = generation.failure.clone().unwrap_or_else(|| format!("the server process {ending}"));
        let is_asked = |(number, _): &(u64, Wish)| *number == generation.number;
        for (_, (_, wish)) in self.questions.extract_if(.., |_, question| is_asked(question)) {
            wish.end(Outcome::failed("the server process died"));
        }
        if let Some(name) = &generation.endpoint {
            return self.ended_apart(generation, name, &reason);
        }
        match generation.phase {
            Phase::Starting => self.did_not_start(generation.number, reason),
            Phase::Draining => self.came(Awaited::Process(generation.number), None),
            Phase::Serving => {
                say!("ringway: server process {} died: {reason}.", generation.number);
                self.notify.status("A server process died and is started again");
                self.died();
                if generation.since.elapsed() > HEALTHY_AFTER {
                    self.back_off = BACK_OFF_FIRST;
                }
                self.restart_later();
            }
        }
    }

    pub(super) fn restart_later(&mut self) {
        if self.is_stopping() {
            return;
        }
        self.restart_at = Some(Instant::now() + self.back_off);
        self.back_off = next_back_off(Some(self.back_off));
    }

    fn keep_time(&mut self) {
        let now = Instant::now();
        for generation in &mut self.generations {
            if generation.deadline.is_some_and(|deadline| deadline <= now) {
                generation.deadline = None;
                if generation.phase == Phase::Starting {
                    generation.failure.get_or_insert("the server process takes too long to start".to_owned());
                }
                generation.kill();
            }
        }
        if self.task.as_ref().and_then(Task::deadline).is_some_and(|deadline| deadline <= now) {
            self.overdue();
        }
        if self.restart_at.is_some_and(|at| at <= now) && self.task.is_none() {
            self.restart_at = None;
            self.begin_restart();
        }
        self.keep_time_apart(now);
        if self.pulse_at.is_some_and(|at| at <= now) {
            self.pulse();
        }
        if self.look_at <= now {
            self.look_at = now + LOOK_EVERY;
            self.look();
        }
    }

    fn pulse(&mut self) {
        // Twice in the half of the time after which the service manager acts, so that one answer may be late.
        self.pulse_at = self.notify.watchdog_interval().map(|interval| Instant::now() + interval / 2);
        let id = self.next_id();
        match self.current() {
            Some(current) => current.tell(&Order::Pulse { id }),
            // Between two server processes the supervisor does its work, and says so.
            None => self.notify.alive(),
        }
    }

    /// Looks whether something else lies now where the server process was allowed to look.
    fn look(&mut self) {
        if self.task.is_some() || !self.queue.is_empty() || self.is_stopping() {
            return;
        }
        let outdated = self
            .current()
            .and_then(|current| current.grants.outdated().map(|path| path.display().to_string()));
        if let Some(path) = outdated {
            self.queue.push_back(Wish::of_nobody(Want::Renew(path)));
        }
        if let Some(path) = self.stamps.changed() {
            say!("{} has changed.", path.display());
            // Tried once, whatever comes of it; the next change is tried again.
            self.stamps = Stamps::of(&self.plan.watched);
            self.queue.push_back(Wish::of_nobody(Want::Reload));
        }
    }

    fn stop(&mut self) {
        self.stops += 1;
        if self.stops > 1 {
            self.generations.iter().for_each(Generation::kill);
            return;
        }
        say!("Stopping: finishing what is under way, at most {} s.", self.plan.drain.as_secs());
        self.notify.stopping();
        self.restart_at = None;
        self.stop_apart();
        self.abandon("the server is stopping");
        let drain = self.plan.drain;
        for generation in &mut self.generations {
            if generation.phase == Phase::Draining {
                continue;
            }
            generation.drain(drain);
        }
    }

    pub(super) fn next_id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    /// Leaves a note of what came of something, and tells who waits.
    pub(super) fn conclude(&mut self, what: &str, wish: Option<&Wish>, outcome: Outcome) {
        say!("{}{}", if outcome.ok { "" } else { "ringway: " }, outcome.shown());
        self.notes += 1;
        let note = Note {
            process: std::process::id(),
            number: self.notes,
            what: what.to_owned(),
            outcome: outcome.clone(),
        };
        self.pid_file.note(&note);
        self.last = Some(note);
        self.notify.ready(&outcome.text);
        if let Some(wish) = wish {
            wish.end(outcome);
        }
    }

    /// The server process that serves is well: the next death is not the last one's fault.
    pub(super) fn forget_restart(&mut self) {
        self.restart_at = None;
    }

    fn status(&self) -> Value {
        let phase = |phase| match phase {
            Phase::Starting => "starting",
            Phase::Serving => "serving",
            Phase::Draining => "draining",
        };
        let generations: Vec<Value> = self
            .generations
            .iter()
            .map(|generation| {
                json!({
                    "number": generation.number,
                    "endpoint": generation.endpoint,
                    "process": generation.process.as_raw_nonzero().get(),
                    "phase": phase(generation.phase),
                    "program": generation.program,
                    "seconds": generation.since.elapsed().as_secs(),
                })
            })
            .collect();
        json!({
            "process": std::process::id(),
            "program": env!("CARGO_PKG_VERSION"),
            "started_at": self.started_at,
            "generations": generations,
            "apart": self.figures_apart(),
            "last": self.last,
        })
    }
}
