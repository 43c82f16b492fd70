//! Running a server: start, tell what is served where, stop on a signal.

use super::CANNOT_START;
#[cfg(feature = "console")]
use super::operate;
use crate::engine::{Drainer, Server};
use crate::listen;
use crate::serve::Serve;
use crate::web::log::files::{LogFile, LogFiles};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use std::process::ExitCode;
use std::time::Duration;

/// A worker failed while serving.
const FAILED: u8 = 1;

/// Serves until a signal stops it.
pub(crate) fn run(serve: &Serve) -> ExitCode {
    raise_descriptor_limit();
    let signals = match Signals::new(signals_for(serve)) {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("ringway: cannot wait for signals: {error}.");
            return ExitCode::from(CANNOT_START);
        }
    };
    let (server, renew) = match start(serve) {
        Ok(started) => started,
        Err(sentence) => {
            eprintln!("ringway: {sentence}");
            return ExitCode::from(CANNOT_START);
        }
    };
    #[cfg(feature = "console")]
    let console = match operate::open_console(serve, &server) {
        Ok(console) => console,
        Err(sentence) => {
            eprintln!("ringway: {sentence}");
            return ExitCode::from(CANNOT_START);
        }
    };
    announce(serve, &server, renew.is_some());
    let drain = Duration::from_millis(serve.drain_ms);
    // Kept until the end, so that what was dropped is known then.
    let log_files = serve.logs.living();
    heed_signals(signals, server.drainer(), drain, serve.logs.clone(), renew);
    let ended = server.wait(drain);
    #[cfg(feature = "console")]
    drop(console);
    match log_files.iter().map(LogFile::dropped).sum() {
        0_u64 => {}
        count => eprintln!(
            "ringway: {count} records are missing from the access log: its target was too slow, or failed."
        ),
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

/// What reads the certificate anew.
type Renew = Box<dyn Fn() + Send>;

#[cfg(feature = "tls")]
fn start(serve: &Serve) -> Result<(Server, Option<Renew>), String> {
    let Some((tls, told)) = serve.tls_server()? else { return Ok((serve.start()?, None)) };
    told.iter().for_each(|sentence| eprintln!("ringway: {sentence}"));
    let server = serve.start_behind(Some(tls.filters()))?;
    let serve = serve.clone();
    let renew = move || match serve.renew_certificate(&tls) {
        Ok(told) => {
            told.iter().for_each(|sentence| eprintln!("ringway: {sentence}"));
            eprintln!("The certificate was read anew.");
        }
        Err(sentence) => eprintln!("ringway: {sentence} The certificate stays as it was."),
    };
    Ok((server, Some(Box::new(renew))))
}

#[cfg(not(feature = "tls"))]
fn start(serve: &Serve) -> Result<(Server, Option<Renew>), String> {
    Ok((serve.start()?, None))
}

/// SIGHUP reads a certificate anew; where there is none to be read, it ends the process as it always has.
#[cfg(feature = "tls")]
fn signals_for(serve: &Serve) -> Vec<i32> {
    let mut signals = vec![SIGINT, SIGTERM, SIGUSR1];
    signals.extend(serve.tls.is_some().then_some(signal_hook::consts::SIGHUP));
    signals
}

#[cfg(not(feature = "tls"))]
fn signals_for(_serve: &Serve) -> Vec<i32> {
    vec![SIGINT, SIGTERM, SIGUSR1]
}

fn announce(serve: &Serve, server: &Server, is_tls: bool) {
    let root = serve.root.canonicalize().unwrap_or_else(|_gone| serve.root.clone());
    eprintln!("Serving {}", root.display());
    for address in server.addresses() {
        eprintln!("     at {}", listen::url(address, is_tls));
    }
    let workers = match server.workers() {
        1 => "1 worker".to_owned(),
        count => format!("{count} workers"),
    };
    let listing = if serve.listing { "directories are listed" } else { "directories are not listed" };
    eprintln!("   with {}, {workers}, wait mode {}", server.report(), serve.wait);
    #[cfg(feature = "tls")]
    if let Some(crate::serve::ServeTls::SelfSigned(_)) = &serve.tls {
        eprintln!("        TLS with a certificate made just now, which nobody trusts by himself");
    }
    eprintln!("        {listing}, names that begin with a dot are hidden; Ctrl-C stops");
    if let Some(note) = serve.fast_open_note() {
        eprintln!("ringway: {note}.");
    }
}

/// The first signal to stop drains, the second ends the process at once. `SIGUSR1` opens log files anew,
/// `SIGHUP` reads the certificate.
fn heed_signals(
    mut signals: Signals,
    drainer: Drainer,
    within: Duration,
    logs: LogFiles,
    renew: Option<Renew>,
) {
    let wait = move || {
        let mut is_draining = false;
        for signal in signals.forever() {
            if signal == SIGUSR1 {
                reopen(&logs);
                continue;
            }
            if ![SIGINT, SIGTERM].contains(&signal) {
                renew.iter().for_each(|renew| renew());
                continue;
            }
            if is_draining {
                let _never_returns = signal_hook::low_level::emulate_default_handler(signal);
            }
            is_draining = true;
            eprintln!("Stopping: finishing what is under way, at most {} s.", within.as_secs());
            drainer.drain(within);
        }
    };
    let started = std::thread::Builder::new().name("ringway-signals".to_owned()).spawn(wait);
    if let Err(error) = started {
        eprintln!("ringway: cannot wait for signals: {error}; a signal ends the process at once.");
    }
}

fn reopen(logs: &LogFiles) {
    for (path, error) in logs.reopen() {
        eprintln!(
            "ringway: cannot open the log {} anew: {error}; it is written to where it was.",
            path.display()
        );
    }
}

/// Every connection is a descriptor: take as many as this process may have.
pub(crate) fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _keeps_what_it_has = setrlimit(Resource::Nofile, raised);
}
