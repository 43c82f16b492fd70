//! A server from a configuration, given all it needs by its supervisor.

use super::{Made, Maker, Served};
use crate::assembly::{Provisions, Running, Started};
use crate::config::settings::{Config, Endpoint, EndpointProtocol, Sandbox};
#[cfg(feature = "console")]
use crate::console::{Answer, Request, execute::execute};
use crate::control::{Listeners, Reload, Secrets, Start};
use crate::engine::ring::Restrict;
use crate::engine::ring::socket::Address;
use crate::listen;
use crate::tls::TicketKeys;
use crate::voice::say;
use serde_json::Value;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long the other workers have when one has died.
const GRACE: Duration = Duration::from_secs(10);

/// How long blocking work of the tokio world is waited for at the end.
#[cfg(feature = "tower")]
const LAST_WORK: Duration = Duration::from_secs(1);

/// How long the end waits for the error log.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Makes servers from configurations.
#[derive(Clone, Copy, Debug)]
pub struct Configured;

/// A server that runs.
struct ConfiguredServer {
    running: Running,
    tickets: Arc<TicketKeys>,
    restrict: Restrict,
    generation: u64,
}

impl Maker for Configured {
    fn start(&self, start: Start, listeners: Listeners, starter: Option<OwnedFd>) -> Result<Made, String> {
        let config = config(start.settings)?;
        let restrict = match config.server.sandbox {
            Sandbox::On if start.rules.outward.upstreams => Restrict::ToConnecting,
            Sandbox::On => Restrict::ToServing,
            Sandbox::Off => Restrict::No,
        };
        let tickets = TicketKeys::new();
        // Empty for the first server process; what cannot be read is as good as none.
        let _were_there = tickets.import(&start.ticket_keys);
        let provisions = Provisions {
            read_secret: &|path| read(&start.secrets, path),
            listeners,
            workers: Some(start.workers),
            restrict,
            generation: start.generation,
            tickets: Arc::clone(&tickets),
            starter: starter.map(Arc::new),
            #[cfg(feature = "services")]
            services: crate::hosting::directory(),
        };
        let Started { server, running, notes } =
            Running::start(&config, &provisions).map_err(|error| error.to_string())?;
        let kept = running.kept().clone();
        Ok(Made {
            addresses: urls(&config, server.addresses(), server.udp_addresses()),
            report: server.report().clone(),
            served: Box::new(ConfiguredServer { running, tickets, restrict, generation: start.generation }),
            wait: Box::new(move || {
                let ended = server.wait(GRACE);
                #[cfg(feature = "tower")]
                crate::service::background::shut_down(LAST_WORK);
                // What was said last is what is wanted most.
                kept.flush_errors(LAST_WORDS);
                let totals = ended?;
                Ok(format!("Stopped: {} connections, {} bytes sent.", totals.accepted, totals.bytes_sent))
            }),
            notes,
        })
    }
}

impl Served for ConfiguredServer {
    fn reload(&mut self, reload: Reload, listeners: Listeners) -> Result<(), String> {
        let config = config(reload.settings)?;
        let provisions = Provisions {
            read_secret: &|path| read(&reload.secrets, path),
            listeners,
            workers: None,
            restrict: self.restrict,
            generation: self.generation,
            tickets: Arc::clone(&self.tickets),
            // As before: whoever needs another one is another process.
            starter: None,
            #[cfg(feature = "services")]
            services: crate::hosting::directory(),
        };
        let notes = self.running.reload(&config, &provisions).map_err(|error| error.to_string())?;
        notes.iter().for_each(|note| say!("ringway: {note}"));
        Ok(())
    }

    fn reopen_logs(&mut self) -> Vec<String> {
        self.running.reopen_logs()
    }

    fn drain(&mut self, within: Duration) {
        self.running.control().drain(within);
    }

    #[cfg(feature = "console")]
    fn console(&mut self, request: Value) -> Value {
        let answer = match serde_json::from_value::<Request>(request) {
            Ok(request) => execute(self.running.faces(), &request),
            Err(error) => Answer::refused(format!("this is no command: {error}.")),
        };
        serde_json::to_value(answer).unwrap_or_default()
    }

    #[cfg(not(feature = "console"))]
    fn console(&mut self, _request: Value) -> Value {
        serde_json::json!({ "ok": false, "text": "this program was built without console.\n" })
    }

    #[cfg(feature = "console")]
    fn apart(&mut self, figures: Value) {
        self.running.faces().note_apart(figures);
    }

    #[cfg(not(feature = "console"))]
    fn apart(&mut self, _figures: Value) {}

    fn renew_accepts(&self) {
        self.running.control().renew_accepts();
    }

    fn is_alive(&self, within: Duration) -> bool {
        self.running.control().is_alive(within)
    }

    fn ticket_keys(&self) -> Vec<u8> {
        self.tickets.export()
    }
}

/// The addresses as browsers take them. They have the order of the configuration.
fn urls(config: &Config, addresses: &[Address], of_datagrams: &[SocketAddr]) -> Vec<String> {
    let of_streams = config.endpoint.iter().filter(|endpoint| endpoint.spoken() != EndpointProtocol::Udp);
    let each = of_streams.flat_map(|endpoint| {
        let places = endpoint.listen.iter().map(|listen| listen.resolve().map_or(1, |all| all.len().max(1)));
        places.flat_map(move |count| std::iter::repeat_n(endpoint, count))
    });
    let shown = |(address, endpoint): (&Address, &Endpoint)| match (address, endpoint.is_http()) {
        (Address::Tcp(address), false) if endpoint.tls => format!("tls://{address}"),
        (Address::Tcp(address), false) => format!("tcp://{address}"),
        _ => listen::url(address, endpoint.tls),
    };
    let streams = addresses.iter().zip(each).map(shown);
    streams.chain(of_datagrams.iter().map(|address| format!("udp://{address}"))).collect()
}

fn config(settings: Value) -> Result<Config, String> {
    serde_json::from_value(settings).map_err(|error| format!("the settings cannot be understood: {error}"))
}

/// What the supervisor has read of a file.
fn read(secrets: &Secrets, path: &Path) -> io::Result<Vec<u8>> {
    let secret = secrets.get(&path.to_string_lossy());
    secret.map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::NotFound.into())
}
