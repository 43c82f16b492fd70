//! Where a handler comes from: this program, or a shared library.

use super::work::Known;
use crate::config::section;
use crate::config::settings::{self, EndpointProtocol, FramingKind};
use crate::config::values::HandlerSource;
use crate::socket::datagrams::{self, DatagramHandlerFactory};
use crate::socket::library::{Asked, Level as LineLevel, Library, LibraryOptions, Listener};
use crate::socket::{HandlerFactory, Settings, builtin};
use crate::web::log::errors::Level;
use serde_json::Value;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

/// Most threads of a handler that may wait.
const THREADS_MAX: usize = 16;

/// What makes a handler on each worker.
pub(super) enum Makes {
    Streams(HandlerFactory),
    Datagrams(DatagramHandlerFactory),
}

/// What a handler was made from: another one is made where this is another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Device, inode, bytes of its libraries, and when it was changed: of the content and of the entry.
    libraries: Vec<Option<[i64; 7]>>,
}

impl Stamp {
    pub(super) fn of(endpoint: &settings::Endpoint) -> Self {
        Self { libraries: endpoint.libraries().map(stamp).collect() }
    }
}

/// Whether a handler that is built in takes the endpoint's settings.
///
/// # Errors
/// What it does not take.
pub(crate) fn check(endpoint: &settings::Endpoint) -> Result<(), String> {
    let Some(HandlerSource::Builtin(name)) = &endpoint.handler else { return Ok(()) };
    let own = own_settings(endpoint);
    let checked = match endpoint.spoken() {
        EndpointProtocol::Udp => datagrams::builtin(name, &own).map(drop),
        _ => builtin(name, &own).map(drop),
    };
    checked.map_err(|error| error.to_string())
}

/// The handler in a shared library, and what the library calls itself.
fn library(
    endpoint: &settings::Endpoint,
    path: &Path,
    known: &Arc<Known>,
) -> Result<(Makes, String), String> {
    let is_udp = endpoint.spoken() == EndpointProtocol::Udp;
    let is_measured = endpoint.framing.as_ref().is_some_and(|framing| framing.kind == FramingKind::Handler);
    let asked = match (is_udp, is_measured) {
        (true, _) => Asked::Datagrams,
        (false, true) => Asked::Framing,
        (false, false) => Asked::Connections,
    };
    let options = LibraryOptions { name: endpoint.name.to_string(), asked, listener: listener(known) };
    let library = Library::load(path, &section::text(&endpoint.config), options);
    let library = library.map_err(|error| error.to_string())?;
    let (name, version) = library.identity();
    let makes = match (is_udp, endpoint.blocking) {
        (true, _) => Makes::Datagrams(library.datagrams(true)),
        (false, true) => Makes::Streams(library.blocking(THREADS_MAX)),
        (false, false) => Makes::Streams(library.handler()),
    };
    Ok((makes, format!("{name} {version}")))
}

/// What a library says goes into the log.
fn listener(known: &Arc<Known>) -> Listener {
    let known = Arc::clone(known);
    Arc::new(move |level, line| known.say(level_of(level), format_args!("{}: {line}", known.name)))
}

/// How the log calls what libraries say.
pub(super) fn level_of(level: LineLevel) -> Level {
    match level {
        LineLevel::Error => Level::Error,
        LineLevel::Warn => Level::Warn,
        LineLevel::Notice => Level::Notice,
        LineLevel::Info => Level::Info,
        LineLevel::Debug => Level::Debug,
    }
}

fn stamp(path: &Path) -> Option<[i64; 7]> {
    let found = path.metadata().ok()?;
    let number = |value: u64| i64::from_ne_bytes(value.to_ne_bytes());
    Some([
        number(found.dev()),
        number(found.ino()),
        number(found.size()),
        found.mtime(),
        found.mtime_nsec(),
        found.ctime(),
        found.ctime_nsec(),
    ])
}

/// The handler's own settings as text; lists with commas between their values.
fn own_settings(endpoint: &settings::Endpoint) -> Settings {
    fn text(value: &Value) -> String {
        match value {
            Value::String(text) => text.clone(),
            Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(","),
            other => other.to_string(),
        }
    }
    endpoint.config.iter().map(|(name, value)| (name.clone(), text(value))).collect()
}

/// What makes the endpoint's handler, and what more there is to say of it.
///
/// # Errors
/// Why there is none, as words.
pub(super) fn makes(endpoint: &settings::Endpoint, known: &Arc<Known>) -> Result<(Makes, String), String> {
    let nothing_more = |makes| (makes, String::new());
    let is_udp = endpoint.spoken() == EndpointProtocol::Udp;
    match &endpoint.handler {
        Some(HandlerSource::Builtin(name)) if is_udp => {
            let made = datagrams::builtin(name, &own_settings(endpoint));
            made.map(Makes::Datagrams).map(nothing_more).map_err(|error| error.to_string())
        }
        Some(HandlerSource::Builtin(name)) => {
            let made = builtin(name, &own_settings(endpoint));
            made.map(Makes::Streams).map(nothing_more).map_err(|error| error.to_string())
        }
        Some(HandlerSource::Library(path)) => library(endpoint, path, known),
        None => Err("it has no handler".to_owned()),
    }
}
