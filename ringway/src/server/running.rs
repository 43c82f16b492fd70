//! Serving what was put together in code, in one process: start, tell what is served where, stop on a signal.

use super::arrangement::{self, MADE_CERTIFICATE, MADE_KEY, configuration, has_tls};
use super::options::Options;
use super::{Server, refuse};
use crate::assembly::{self, Listeners, Provisions};
use crate::command::raise_descriptor_limit;
use crate::console::listen::{Console, listen as open_console};
use crate::console::{Request, execute, show};
use crate::engine::ring::socket::Address;
use crate::engine::{Drainer, Totals};
use crate::listen;
use crate::running::Running as Faces;
use crate::supervisor::{Notify, passed};
use crate::tls::self_signed;
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A worker failed while serving.
const FAILED: u8 = 1;

/// Seconds to finish what is under way unless somebody says how many.
const DRAIN_S: u64 = 10;

/// How long blocking work of the tokio world is waited for at the end.
#[cfg(feature = "tower")]
const LAST_WORK: Duration = Duration::from_secs(1);

/// How long what was said to the error log may take to be written at the end.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// What sockets are called that a service manager passed without a name.
const NAMELESS: &str = "passed";

/// A server that serves.
pub struct Started {
    server: crate::engine::Server,
    running: assembly::Running,
    notes: Vec<String>,
    is_tls: bool,
}

impl Started {
    /// Where it can be reached, as browsers take it.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.addresses().iter().map(|address| listen::url(address, self.is_tls)).collect()
    }

    /// Where it listens, with the ports that it got.
    #[must_use]
    pub fn addresses(&self) -> Vec<Address> {
        self.server.addresses().to_vec()
    }

    /// What it is made of, for those who reload it, ask for its figures, switch services off and on.
    #[must_use]
    pub fn running(&self) -> &assembly::Running {
        &self.running
    }

    /// Stops when what is under way is finished, at the latest after `within`; what it did.
    ///
    /// # Errors
    /// A sentence: a worker died.
    pub fn stop(self, within: Duration) -> Result<Totals, String> {
        self.server.drain(within);
        self.wait(within)
    }

    /// Waits until it was stopped by somebody else; what it did.
    ///
    /// # Errors
    /// A sentence: a worker died.
    pub fn wait(self, within: Duration) -> Result<Totals, String> {
        let ended = self.server.wait(within);
        self.running.kept().flush_errors(FLUSH_MAX);
        ended
    }
}

impl fmt::Debug for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Started").field("addresses", &self.addresses()).finish_non_exhaustive()
    }
}

/// Starts serving.
///
/// # Errors
/// A sentence.
pub(super) fn start(server: &Server, options: &Options, passed: Listeners) -> Result<Started, String> {
    let names: Vec<String> = passed.keys().cloned().collect();
    let config = configuration(server, options, &names)?;
    let made = if options.tls && options.certificate.is_none() { certificate()? } else { BTreeMap::new() };
    let read = |path: &Path| match made.get(path) {
        Some(pem) => Ok(pem.clone()),
        None => std::fs::read(path),
    };
    let services = server.directory()?;
    let provisions = Provisions { read_secret: &read, listeners: passed, services, ..Provisions::own() };
    let started = assembly::Running::start(&config, &provisions);
    let assembly::Started { server, running, notes } = started.map_err(|error| error.to_string())?;
    Ok(Started { server, running, notes, is_tls: has_tls(options) })
}

/// A certificate for this machine under its own names, made now.
fn certificate() -> Result<BTreeMap<PathBuf, Vec<u8>>, String> {
    let made = self_signed(&[], SystemTime::now()).map_err(|problem| format!("{problem}."))?;
    Ok(BTreeMap::from([(MADE_CERTIFICATE.into(), made.chain.bytes), (MADE_KEY.into(), made.key.bytes)]))
}

/// Serves until a signal ends it.
pub(super) fn run(server: &Server, options: &Options) -> ExitCode {
    raise_descriptor_limit();
    let signals = match Signals::new([SIGINT, SIGTERM, SIGUSR1]) {
        Ok(signals) => signals,
        Err(error) => return refuse(&format!("cannot wait for signals: {error}.")),
    };
    let notify = Notify::from_environment();
    let started = sockets().and_then(|passed| start(server, options, passed));
    let started = match started {
        Ok(started) => started,
        Err(sentence) => return refuse(&sentence),
    };
    let console = match options.console.as_deref().map(|path| console(path, &started)).transpose() {
        Ok(console) => console,
        Err(sentence) => return refuse(&sentence),
    };
    announce(server, &started);
    notify.ready("Serving");
    let drain = Duration::from_secs(options.drain_s.unwrap_or(DRAIN_S));
    let faces = Arc::clone(started.running.faces());
    let logs = started.running.kept().logs.clone();
    heed(signals, started.server.drainer(), drain, notify, move || {
        logs.reopen()
            .into_iter()
            .map(|(path, error)| format!("cannot open {} anew: {error}", path.display()))
            .collect()
    });
    let ended = started.wait(drain);
    drop(console);
    #[cfg(feature = "tower")]
    crate::service::background::shut_down(LAST_WORK);
    if options.stats {
        eprint!("{}", statistics(&faces));
    }
    match ended {
        Ok(totals) => {
            eprintln!("Stopped: {} connections, {} bytes sent.", totals.accepted, totals.bytes_sent);
            ExitCode::SUCCESS
        }
        Err(reason) => {
            eprintln!("ringway: {reason}");
            ExitCode::from(FAILED)
        }
    }
}

/// The sockets that a service manager (or `ringway dev`) has passed, by their keys.
fn sockets() -> Result<Listeners, String> {
    let mut listeners = Listeners::new();
    for (name, socket) in passed()? {
        let name = if name.is_empty() { NAMELESS } else { &name };
        listeners.entry(format!("systemd:{name}")).or_default().push(Arc::<OwnedFd>::new(socket));
    }
    Ok(listeners)
}

fn console(path: &Path, started: &Started) -> Result<Console, String> {
    let faces = Arc::clone(started.running.faces());
    let executor = Arc::new(move |request: &Request| execute::execute(&faces, request));
    open_console(path, executor).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("cannot open the console at {}: another server's is there.", path.display())
        }
        _ => format!("cannot open the console at {}: {error}.", path.display()),
    })
}

fn announce(server: &Server, started: &Started) {
    eprintln!("Serving {}", arrangement::told(server));
    started.urls().iter().for_each(|url| eprintln!("     at {url}"));
    let workers = match started.server.workers() {
        1 => "1 worker".to_owned(),
        count => format!("{count} workers"),
    };
    eprintln!("   with {}, {workers}; Ctrl-C stops", started.server.report());
    started.notes.iter().for_each(|note| eprintln!("ringway: {note}"));
}

/// The first signal to stop drains, the second ends the process at once. `SIGUSR1` opens log files anew.
fn heed(
    mut signals: Signals,
    drainer: Drainer,
    within: Duration,
    notify: Notify,
    reopen: impl Fn() -> Vec<String> + Send + 'static,
) {
    let wait = move || {
        let mut is_draining = false;
        for signal in signals.forever() {
            if signal == SIGUSR1 {
                reopen().iter().for_each(|wrong| eprintln!("ringway: {wrong}."));
                continue;
            }
            if is_draining {
                let _never_returns = signal_hook::low_level::emulate_default_handler(signal);
            }
            is_draining = true;
            notify.stopping();
            eprintln!("Stopping: finishing what is under way, at most {} s.", within.as_secs());
            drainer.drain(within);
        }
    };
    let started = std::thread::Builder::new().name("ringway-signals".to_owned()).spawn(wait);
    if let Err(error) = started {
        eprintln!("ringway: cannot wait for signals: {error}; a signal ends the process at once.");
    }
}

/// What the services did and what that took, for the end.
fn statistics(faces: &Faces) -> String {
    let now = faces.snapshot();
    let mut text = execute::services(&now);
    text.push_str(&format!(
        "{} requests, {} connections, {} of I/O memory mapped",
        now.requests(),
        now.total("accepted"),
        bytes(now.total("memory_bytes")),
    ));
    // What the process had in memory at its height; the kernel knows.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    if let Some(peak_kib) = peak.and_then(|text| text.trim().parse::<u64>().ok()) {
        text.push_str(&format!(", {} of process memory", bytes(peak_kib * 1024)));
    }
    text.push_str(".\n");
    text
}

#[allow(clippy::cast_precision_loss, reason = "a figure for people: 53 bits are enough")]
fn bytes(count: u64) -> String {
    show::bytes(count as f64)
}
