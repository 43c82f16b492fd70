//! What a library has beside its settings: sessions, and files to answer with.

use crate::config::settings::{self, ServiceSessions, SessionStore};
use crate::service::library::LibraryOptions;
use crate::service::session::{SessionOptions, Sessions};
use std::path::Path;

/// The file in a service's directory for data that has its sessions.
const SESSIONS_FILE: &str = "sessions.sqlite";

/// How a library is used that these settings describe. Blocks: a database may be opened.
///
/// # Errors
/// Words: its sessions cannot be had.
pub fn library_options(settings: &settings::Service) -> Result<LibraryOptions, String> {
    let data = settings.data.as_ref().map(|data| data.as_path());
    let open = |sessions| open(sessions, settings.name.as_str(), data);
    let sessions = settings.sessions.as_ref().map(open).transpose();
    Ok(LibraryOptions {
        name: settings.name.to_string(),
        sessions: sessions.map_err(|error| format!("its sessions: {error}"))?,
        files: settings.files.as_ref().map(|files| files.as_path().to_owned()),
        ..LibraryOptions::default()
    })
}

fn open(settings: &ServiceSessions, name: &str, data: Option<&Path>) -> Result<Sessions, String> {
    let options = SessionOptions {
        cookie: settings.cookie.to_string(),
        is_secure: settings.secure,
        idle_s: settings.idle.ms() / 1000,
        absolute_s: settings.lifetime.ms() / 1000,
        ..SessionOptions::default()
    };
    match settings.store {
        SessionStore::Memory => Ok(Sessions::memory(options)),
        SessionStore::Sqlite => in_sqlite(data, options),
        SessionStore::Redis => in_redis(settings.url.as_deref(), name, options),
    }
}

#[cfg(feature = "sqlite")]
fn in_sqlite(data: Option<&Path>, options: SessionOptions) -> Result<Sessions, String> {
    use crate::service::sqlite::{Sqlite, SqliteOptions};
    let data = data.ok_or("they have no place for their file: write `data`")?;
    std::fs::create_dir_all(data).map_err(|error| format!("{}: {error}", data.display()))?;
    let file = data.join(SESSIONS_FILE);
    let explain = |error| format!("{}: {error}", file.display());
    let database = Sqlite::open_shared(&file, &SqliteOptions::default(), &[]).map_err(explain)?;
    Sessions::sqlite(&database, options).map_err(explain)
}

#[cfg(not(feature = "sqlite"))]
fn in_sqlite(_data: Option<&Path>, _options: SessionOptions) -> Result<Sessions, String> {
    Err(format!("this program was built without SQLite, which {SESSIONS_FILE} would be"))
}

#[cfg(feature = "redis")]
fn in_redis(url: Option<&str>, name: &str, options: SessionOptions) -> Result<Sessions, String> {
    use crate::service::redis::{Redis, RedisOptions};
    let url = url.ok_or("they have no server: write `url`")?;
    let redis = Redis::new(url, RedisOptions::default()).map_err(|error| format!("{url:?}: {error}"))?;
    Ok(Sessions::redis(&redis, &format!("{name}:session:"), options))
}

#[cfg(not(feature = "redis"))]
fn in_redis(_url: Option<&str>, _name: &str, _options: SessionOptions) -> Result<Sessions, String> {
    Err("this program was built without Redis".to_owned())
}
