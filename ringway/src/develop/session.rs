//! A session of `ringway dev`: from the command to Ctrl-C.

use super::answers::{self, Control, Listening};
use super::board::Board;
use super::course::{Build, Course, Deed, News, Phase};
use super::package::{Building, Package};
use super::program::{Program, Started, ending};
use super::tail::Tail;
use super::watch::{Changes, Watch};
use super::{Dev, VARIABLE};
use crate::engine::ring::socket::{Address, ListenOptions};
use crate::engine::{Endpoint, FilterFactory, Server};
use crate::listen;
use crate::tls::{CertificateOptions, Pem, TicketKeys, TlsOptions, TlsServer, self_signed};
use crate::voice::say;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{self as unix, UnixDatagram};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long a program that is not wanted any more may finish what is under way.
const FINISH_WITHIN: Duration = Duration::from_secs(5);

/// A certificate that was made is used by further sessions for so long: browsers ask about each new one.
const CERTIFICATE_KEPT: Duration = Duration::from_secs(60 * 24 * 3600);

/// How often it is looked whether a program that has not said that it serves is wanted still.
const EAR_LOOKS_UP_EVERY: Duration = Duration::from_millis(250);

/// What wakes a session.
enum Event {
    News(News),
    Changes(Changes),
    Stop,
}

struct Running {
    started: Started,
    said: Option<Tail>,
    /// Hears that it serves.
    _ear: Ear,
    /// When it is ended, if it was asked to end.
    until: Option<Instant>,
}

struct Session {
    dev: Dev,
    package: Option<Package>,
    course: Course,
    board: Board,
    control: Control,
    listening: Vec<Listening>,
    /// The same, as programs are given them.
    sockets: Vec<OwnedFd>,
    tls: Option<Tls>,
    stand_in: Option<Server>,
    building: Option<Building>,
    /// The program that was built last.
    file: Option<PathBuf>,
    programs: HashMap<u64, Running>,
    watch: Option<Watching>,
    began: Instant,
    /// Files that pages are made of have changed since the last build began.
    pages_changed: bool,
    sender: Sender<Event>,
}

struct Tls {
    filter: FilterFactory,
    arguments: Vec<String>,
}

/// Builds, runs, watches and reloads until a signal ends it.
///
/// # Errors
/// Why it cannot begin, as a sentence. What happens later is told on standard error, and in the browser.
pub fn develop(dev: Dev) -> Result<(), String> {
    let folder = fs::canonicalize(&dev.path).map_err(|error| format!("{}: {error}", dev.path.display()))?;
    let dev = Dev { path: folder, ..dev };
    if !dev.path.join("Cargo.toml").is_file() {
        return Err(format!("{} has no Cargo.toml: it is no package", dev.path.display()));
    }
    let (sender, events) = channel();
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP])
        .map_err(|error| format!("cannot wait for signals: {error}"))?;
    heed(signals, sender.clone())?;
    let mut session = Session::new(dev, sender)?;
    session.announce();
    session.run(&events);
    Ok(())
}

impl Session {
    fn new(dev: Dev, sender: Sender<Event>) -> Result<Self, String> {
        let name = dev.path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let board = Board::new(&name);
        let control = Control::start(&board)?;
        let listening = bind(&dev)?;
        let sockets = listening.iter().map(|listening| listening.socket.try_clone());
        let sockets = sockets.collect::<io::Result<_>>().map_err(|error| error.to_string())?;
        let package = Package::read(&dev.path);
        let tls = match dev.is_tls {
            true => Some(Tls::new(package.as_ref().map_or(&dev.path, |package| &package.target))?),
            false => None,
        };
        Ok(Self {
            package: package.ok(),
            course: Course::begin().0,
            board,
            control,
            listening,
            sockets,
            tls,
            stand_in: None,
            building: None,
            file: None,
            programs: HashMap::new(),
            watch: None,
            began: Instant::now(),
            pages_changed: false,
            sender,
            dev,
        })
    }

    fn announce(&self) {
        say!("Developing {}", self.dev.path.display());
        for listening in &self.listening {
            say!("        at {}", listen::url(&listening.address, self.tls.is_some()));
        }
        if self.tls.is_some() {
            say!("           TLS with a certificate made for development, which nobody trusts by himself");
        }
        say!("           built and reloaded when sources change; Ctrl-C stops");
    }

    fn run(&mut self, events: &Receiver<Event>) {
        self.watch_sources();
        let (course, deeds) = Course::begin();
        self.course = course;
        self.carry_out(deeds);
        loop {
            let event = match self.due() {
                Some(due) => events.recv_timeout(due.saturating_duration_since(Instant::now())),
                None => events.recv().map_err(|_nobody| RecvTimeoutError::Disconnected),
            };
            match event {
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(Event::Changes(changes)) => self.changed(changes),
                Ok(Event::News(news)) => self.hear(&news),
                Err(RecvTimeoutError::Timeout) => {
                    self.end_overdue();
                    self.hear(&News::Time);
                }
            }
        }
        self.finish(events);
    }

    /// When something is due next.
    fn due(&self) -> Option<Instant> {
        let course = self.course.due_ms().map(|ms| self.began + Duration::from_millis(ms));
        let ends = self.programs.values().filter_map(|running| running.until);
        course.into_iter().chain(ends).min()
    }

    fn hear(&mut self, news: &News) {
        if let News::Gone(number, _) = *news {
            return self.is_gone(number);
        }
        if let News::Built(..) = news {
            return self.is_built(news);
        }
        let deeds = self.course.hear(news, self.now_ms());
        self.carry_out(deeds);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn changed(&mut self, changes: Changes) {
        self.pages_changed |= changes.page;
        if changes.manifest || self.package.is_none() {
            self.watch_sources();
        }
        self.hear(&News::Changed);
    }

    /// A build has come to its end; which one its number says.
    fn is_built(&mut self, news: &News) {
        let News::Built(number, _) = *news else { return };
        // One that was abandoned is not there any more.
        let Some(building) = self.building.take_if(|building| building.number == number) else { return };
        let outcome = building.outcome();
        let has_program = outcome.program.is_some();
        self.file = outcome.program.or(self.file.take());
        self.board.change(|status| status.text = outcome.text);
        let deeds = self.course.hear(&News::Built(number, outcome.build), self.now_ms());
        let starts = deeds.iter().any(|deed| matches!(deed, Deed::Start(_)));
        self.carry_out(deeds);
        if std::mem::take(&mut self.pages_changed) && has_program && !starts {
            // Nothing was built, but a page is made of something else: the program reads it when it is asked for.
            self.board.change(|status| status.pages += 1);
        }
    }

    fn is_gone(&mut self, number: u64) {
        let Some(mut running) = self.programs.remove(&number) else { return };
        let words = running.said.take().map(|said| said.last_words()).unwrap_or_default();
        let status = running.started.reap();
        let well = status.is_some_and(|status| status.success());
        if running.until.is_none() {
            let sentence = format!("The program {}.", ending(status));
            say!("{sentence}");
            self.board.change(|status| status.text = format!("{words}\n{sentence}\n"));
        }
        let deeds = self.course.hear(&News::Gone(number, well), self.now_ms());
        self.carry_out(deeds);
    }

    fn carry_out(&mut self, deeds: Vec<Deed>) {
        for deed in deeds {
            match deed {
                Deed::Abandon => self.building = None,
                Deed::Build(number) => self.build(number),
                Deed::Start(number) => self.start(number),
                Deed::Stop(number) => self.stop(number),
                Deed::Answer => self.answer(),
                Deed::Yield => self.stand_in.take().into_iter().for_each(answers::leave),
                Deed::Show(phase) => self.show(phase),
            }
        }
    }

    fn build(&mut self, number: u64) {
        let tell = self.tell(News::Built(number, Build::Broken));
        let package = Package::read(&self.dev.path).inspect(|package| self.package = Some(package.clone()));
        let building = package.and_then(|package| package.build(&self.dev, number, tell));
        match building {
            Ok(building) => self.building = Some(building),
            Err(sentence) => {
                say!("{}", sentence.trim_end());
                self.building = Some(Building::failed(number, sentence));
                let _going_on = self.sender.send(Event::News(News::Built(number, Build::Broken)));
            }
        }
    }

    fn start(&mut self, number: u64) {
        let Some(file) = self.file.clone() else { return };
        let name = format!("ringway-dev-{}-{number}", std::process::id());
        let mut arguments: Vec<String> = self.tls.iter().flat_map(|tls| tls.arguments.clone()).collect();
        arguments.extend(self.dev.arguments.iter().cloned());
        let program = Program {
            file,
            arguments: arguments.into_iter().map(Into::into).collect(),
            folder: self.dev.path.clone(),
            variables: vec![
                (VARIABLE.to_owned(), Some(self.control.base(number))),
                ("NOTIFY_SOCKET".to_owned(), Some(format!("@{name}"))),
                ("WATCHDOG_USEC".to_owned(), None),
            ],
        };
        let (ready, gone) = (self.tell(News::Ready(number)), self.tell(News::Gone(number, false)));
        let started = Ear::open(&name, ready).and_then(|ear| {
            let mut started = program.start(&self.sockets, false)?;
            let said = started.take_stderr().map(Tail::follow).transpose()?;
            started.on_end(gone)?;
            Ok(Running { started, said, _ear: ear, until: None })
        });
        match started {
            Ok(running) => drop(self.programs.insert(number, running)),
            Err(error) => {
                say!("ringway: the program cannot be started: {error}.");
                let _going_on = self.sender.send(Event::News(News::Gone(number, false)));
            }
        }
    }

    fn stop(&mut self, number: u64) {
        if let Some(running) = self.programs.get_mut(&number) {
            running.started.terminate();
            running.until = Some(Instant::now() + FINISH_WITHIN);
        }
    }

    /// Ends programs that do not end by themselves.
    fn end_overdue(&mut self) {
        let now = Instant::now();
        self.programs.retain(|_, running| running.until.is_none_or(|until| until > now));
    }

    fn answer(&mut self) {
        let filter = self.tls.as_ref().map(|tls| &tls.filter);
        match answers::stand_in(&self.board, &self.control, &self.listening, filter) {
            Ok(server) => self.stand_in = Some(server),
            Err(sentence) => say!("ringway: {sentence}."),
        }
    }

    fn show(&self, phase: Phase) {
        let running = self.course.running();
        match phase {
            Phase::Building => say!("Building"),
            Phase::Broken if running == 0 => say!("It does not compile"),
            Phase::Broken => say!("It does not compile; the program that was built before serves on"),
            Phase::Starting | Phase::Crashed | Phase::Ended => {}
            Phase::Running => say!("Serving"),
        }
        self.board.change(|status| {
            (status.phase, status.running) = (phase, running);
            if phase == Phase::Running {
                status.text.clear();
            }
        });
    }

    fn tell(&self, news: News) -> impl FnOnce() + Send + 'static {
        let sender = self.sender.clone();
        move || drop(sender.send(Event::News(news)))
    }

    /// Watches what belongs to the package as it is now.
    fn watch_sources(&mut self) {
        if let Ok(package) = Package::read(&self.dev.path) {
            self.package = Some(package);
        }
        let roots = match &self.package {
            Some(package) => package.sources.clone(),
            None => vec![self.dev.path.clone()],
        };
        if self.watch.as_ref().is_some_and(|watch| watch.roots == roots) {
            return;
        }
        match Watching::start(roots, self.sender.clone()) {
            Ok(watch) => self.watch = Some(watch),
            Err(sentence) => say!("ringway: {sentence}."),
        }
    }

    /// Ends everything that was started.
    fn finish(&mut self, events: &Receiver<Event>) {
        self.building = None;
        self.watch = None;
        self.stand_in.take().into_iter().for_each(answers::leave);
        let until = Instant::now() + FINISH_WITHIN;
        let numbers: Vec<u64> = self.programs.keys().copied().collect();
        numbers.into_iter().for_each(|number| self.stop(number));
        while !self.programs.is_empty() {
            match events.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Event::News(News::Gone(number, _))) => drop(self.programs.remove(&number)),
                Ok(Event::News(_) | Event::Changes(_)) => {}
                // Asked a second time, or waited for long enough.
                Ok(Event::Stop) | Err(_) => break,
            }
        }
        self.programs.clear();
    }
}

/// The watch on the sources, on a thread of its own.
struct Watching {
    roots: Vec<PathBuf>,
    is_over: Arc<AtomicBool>,
}

impl Watching {
    fn start(roots: Vec<PathBuf>, sender: Sender<Event>) -> Result<Self, String> {
        let mut watch = Watch::new(&roots)?;
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        thread::Builder::new()
            .name("ringway-dev-watches".to_owned())
            .spawn(move || {
                while let Some(changes) = watch.wait(|| over.load(Ordering::Relaxed)) {
                    if sender.send(Event::Changes(changes)).is_err() {
                        return;
                    }
                }
            })
            .map_err(|error| format!("changes cannot be watched: {error}"))?;
        Ok(Self { roots, is_over })
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// Hears a program say that it serves, as a service manager does (`sd_notify(3)`).
struct Ear(Arc<AtomicBool>);

impl Ear {
    /// Listens under an abstract name; `tell` is called once.
    fn open(name: &str, tell: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let socket = UnixDatagram::bind_addr(&unix::SocketAddr::from_abstract_name(name)?)?;
        socket.set_read_timeout(Some(EAR_LOOKS_UP_EVERY))?;
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        thread::Builder::new().name("ringway-dev-hears".to_owned()).spawn(move || {
            let mut message = [0; 4096];
            while !over.load(Ordering::Relaxed) {
                // WouldBlock: nothing was said meanwhile.
                let Ok(count) = socket.recv(&mut message) else { continue };
                if message[..count].split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
                    return tell();
                }
            }
        })?;
        Ok(Self(is_over))
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Tls {
    /// With the certificate that a session before has left below `target`, or a new one.
    fn new(target: &Path) -> Result<Self, String> {
        let folder = target.join("ringway-dev");
        let (chain, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
        let age =
            fs::metadata(&chain).and_then(|file| file.modified()).ok().and_then(|time| time.elapsed().ok());
        if age.is_none_or(|age| age > CERTIFICATE_KEPT) || !key.exists() {
            let made =
                self_signed(&[], std::time::SystemTime::now()).map_err(|problem| problem.to_string())?;
            write_certificate(&folder, (&chain, &made.chain.bytes), (&key, &made.key.bytes))
                .map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        let pem = |path: &Path| Pem::read(path).map_err(|problem| problem.to_string());
        let certificate =
            CertificateOptions { chain: pem(&chain)?, key: pem(&key)?, staple: None, names: Vec::new() };
        let options = TlsOptions { alpn: vec![b"http/1.1".to_vec()], ..TlsOptions::new(vec![certificate]) };
        let made = TlsServer::new(&options, TicketKeys::new(), std::time::SystemTime::now());
        let (server, _self_signed) =
            made.map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let arguments = vec!["--cert".to_owned(), path(&chain), "--key".to_owned(), path(&key)];
        Ok(Self { filter: server.filters(), arguments })
    }
}

fn write_certificate(folder: &Path, chain: (&Path, &[u8]), key: (&Path, &[u8])) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let _not_there = fs::remove_file(key.0);
    // Nobody else reads the key.
    let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(key.0)?;
    file.write_all(key.1)?;
    fs::write(chain.0, chain.1)
}

/// Binds what is to be listened on.
fn bind(dev: &Dev) -> Result<Vec<Listening>, String> {
    let mut bound = Vec::new();
    for address in &dev.listen {
        let mut endpoint =
            Endpoint::new(address.clone(), Arc::new(|_| Err(io::ErrorKind::Unsupported.into())));
        endpoint.listen = ListenOptions::default();
        match endpoint.listen_for(1) {
            Ok((address, sockets)) => {
                bound.extend(
                    sockets
                        .into_iter()
                        .map(|socket| Listening { address: address.clone(), socket: Arc::new(socket) }),
                );
            }
            Err(error)
                if dev.is_listen_optional && is_ipv6(address) && error.kind() != io::ErrorKind::AddrInUse => {
            }
            Err(error) => return Err(format!("cannot listen on {address}: {error}")),
        }
    }
    Ok(bound)
}

fn is_ipv6(address: &Address) -> bool {
    matches!(address, Address::Tcp(SocketAddr::V6(_)))
}

fn heed(mut signals: Signals, sender: Sender<Event>) -> Result<(), String> {
    thread::Builder::new()
        .name("ringway-signals".to_owned())
        .spawn(move || {
            for _ in signals.forever() {
                if sender.send(Event::Stop).is_err() {
                    return;
                }
            }
        })
        .map(|_thread| ())
        .map_err(|error| format!("cannot wait for signals: {error}"))
}
