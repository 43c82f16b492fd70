//! Sessions of libraries: found before a library is asked, kept before its answer is sent.

use super::LibraryOptions;
pub(crate) use crate::session::Session as Browser;
use crate::session::SessionError;
use ringway_engine::WorkerHandle;
use ringway_engine::heap::{LocalFuture, local_future};
use ringway_http::head::Known;
use ringway_http::status::Status;
use ringway_plugin::Fault;
use ringway_web::exchange::Exchange;

/// Why there is no session, or it is not kept: what the client is told, and the words.
pub(crate) type Trouble = (Status, String);

/// A session on its way.
pub(crate) type Finding = LocalFuture<Result<Browser, Trouble>>;

/// Begins to find the session of a request, where the library has some.
pub(crate) fn find(
    options: &LibraryOptions,
    worker: &WorkerHandle,
    exchange: &Exchange<'_>,
) -> Option<Finding> {
    let sessions = options.sessions.as_ref()?;
    let fields: Vec<&[u8]> = exchange.request.values(Known::Cookie).collect();
    let loading = sessions.load(worker, &fields);
    Some(local_future(async move { loading.await.map_err(trouble) }))
}

/// Keeps what has changed; the value of the `Set-Cookie` field that says so.
pub(crate) fn keep(browser: Browser) -> LocalFuture<Result<Option<String>, Trouble>> {
    local_future(async move { browser.save().await.map_err(trouble) })
}

/// A value as text: what others have put there in another form is shown as JSON.
pub(crate) fn value(browser: &Browser, name: &[u8]) -> Option<String> {
    let name = str::from_utf8(name).ok()?;
    match browser.get::<serde_json::Value>(name).ok()?? {
        serde_json::Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

/// Sets a value, or takes it away.
pub(crate) fn set(browser: &Browser, name: &str, value: Option<&str>) -> Result<(), Fault> {
    if name.is_empty() || name.starts_with('_') {
        return Err(Fault::Invalid);
    }
    match value {
        Some(value) => browser.set(name, value).map_err(fault),
        None => {
            let _was_there = browser.remove(name);
            Ok(())
        }
    }
}

/// The session is a user's.
pub(crate) fn log_in(browser: &Browser, user: &str) -> Result<(), Fault> {
    browser.log_in(user).map_err(fault)
}

fn fault(error: SessionError) -> Fault {
    match error {
        SessionError::TooLarge | SessionError::Full => Fault::Limit,
        _ => Fault::Server,
    }
}

fn trouble(error: SessionError) -> Trouble {
    (error.status(), error.to_string())
}
