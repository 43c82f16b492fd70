//! Where a handler comes from: this program, or a shared library.

use crate::config::settings::{self, EndpointProtocol};
use crate::config::values::HandlerSource;
use crate::socket::datagrams::{self, DatagramHandlerFactory};
use crate::socket::{HandlerFactory, Settings, builtin};
use serde_json::Value;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What makes a handler on each worker.
pub(super) enum Makes {
    Streams(HandlerFactory),
    Datagrams(DatagramHandlerFactory),
}

/// What a handler was made from: another one is made where this is another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Device, inode, bytes of a library, and when it was changed: of the content and of the entry.
    library: Option<[i64; 7]>,
}

impl Stamp {
    pub(super) fn of(endpoint: &settings::Endpoint) -> Self {
        let library = endpoint.handler.as_ref().and_then(HandlerSource::library);
        Self { library: library.and_then(stamp) }
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

/// What makes the endpoint's handler.
///
/// # Errors
/// Why there is none, as words.
pub(super) fn makes(endpoint: &settings::Endpoint) -> Result<Makes, String> {
    let is_udp = endpoint.spoken() == EndpointProtocol::Udp;
    match &endpoint.handler {
        Some(HandlerSource::Builtin(name)) if is_udp => {
            let made = datagrams::builtin(name, &own_settings(endpoint));
            made.map(Makes::Datagrams).map_err(|error| error.to_string())
        }
        Some(HandlerSource::Builtin(name)) => {
            builtin(name, &own_settings(endpoint)).map(Makes::Streams).map_err(|error| error.to_string())
        }
        Some(HandlerSource::Library(path)) => {
            Err(format!("{}: this program was built without handlers in libraries", path.display()))
        }
        None => Err("it has no handler".to_owned()),
    }
}
