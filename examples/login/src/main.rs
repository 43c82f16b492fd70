//! Sessions in SQLite: who has logged in stays so until he logs out, over restarts of the server.

use ringway::Server;
use ringway::service::session::{SessionOptions, Sessions};
use ringway::service::sqlite::{Sqlite, SqliteOptions};
use ringway::service::{App, Error, OwnedRequest, Response, Service, SetupError, Status};
use serde::Deserialize;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

/// Most bytes of a form.
const FORM_BYTES_MAX: usize = 4 * 1024;

const PAGE: &str = include_str!("page.html");

/// Who may log in. A service of one's own keeps its users' passwords as hashes (argon2), and where nobody else reads them.
const USERS: [(&str, &str); 2] = [("ada", "lovelace"), ("grace", "hopper")];

/// What this service is told in its configuration, or by `--set`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Whether the session's cookie is sent over TLS only. Browsers make an exception for localhost, other programs do not.
    #[serde(default)]
    secure: bool,
}

#[derive(Deserialize)]
struct LogIn {
    user: String,
    password: String,
    token: String,
}

#[derive(Deserialize)]
struct LogOut {
    token: String,
}

fn main() -> ExitCode {
    let shared = Mutex::new(None);
    let login = Service::new("login", move |app| set_up(app, &shared));
    Server::new().service("/", login).run()
}

/// Runs once on each worker; the first one opens the database.
fn set_up(app: &mut App, shared: &Mutex<Option<Sessions>>) -> Result<(), SetupError> {
    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
    if shared.is_none() {
        let settings: Settings = app.config()?;
        let options = SessionOptions { is_secure: settings.secure, ..SessionOptions::default() };
        let database = Sqlite::open(app.data()?.join("login.db"), &SqliteOptions::default(), &[])?;
        *shared = Some(Sessions::sqlite(&database, options)?);
    }
    if let Some(sessions) = &*shared {
        app.sessions(sessions);
    }
    app.get("/", |request: OwnedRequest| async move { page(&request, "").await });
    app.post("/login", log_in);
    app.post("/logout", log_out);
    Ok(())
}

async fn log_in(mut request: OwnedRequest) -> Result<Response, Error> {
    let form: LogIn = request.form(FORM_BYTES_MAX).await?;
    let session = request.session().await?;
    check(&session, &form.token)?;
    let is_known = USERS.iter().any(|(user, password)| *user == form.user && *password == form.password);
    if !is_known {
        // Which of the two is wrong is nobody's business.
        return Ok(page(&request, "There is no such user, or that is not the password.")
            .await?
            .with_status(Status::FORBIDDEN));
    }
    // The session gets a new id: whoever knew the old one does not know this one.
    session.log_in(&form.user)?;
    session.set("visits", &0)?;
    Ok(Response::redirect("/"))
}

async fn log_out(mut request: OwnedRequest) -> Result<Response, Error> {
    let form: LogOut = request.form(FORM_BYTES_MAX).await?;
    let session = request.session().await?;
    check(&session, &form.token)?;
    session.log_out();
    Ok(Response::redirect("/"))
}

/// Whether the form is one of this session's own pages.
fn check(session: &ringway::service::session::Session, token: &str) -> Result<(), Error> {
    if session.is_csrf_token(token) {
        return Ok(());
    }
    Err(Error::new(Status::FORBIDDEN, "this form is not valid any more: load its page again"))
}

async fn page(request: &OwnedRequest, wrong: &str) -> Result<Response, Error> {
    let session = request.session().await?;
    let token = session.csrf_token()?;
    let body = match session.user() {
        Some(user) => {
            let visits = session.get::<u64>("visits")?.unwrap_or(0) + 1;
            session.set("visits", &visits)?;
            // The names are our own (see USERS), and so is the number.
            format!(
                "<h1>Welcome, {user}!</h1>\n<p>You have looked at this page {visits} times since you logged in.</p>\n\
                 <form method=\"post\" action=\"logout\"><input type=\"hidden\" name=\"token\" value=\"{token}\">\
                 <button>Log out</button></form>"
            )
        }
        None => format!(
            "<h1>Log in</h1>\n<p role=\"alert\">{wrong}</p>\n<form method=\"post\" action=\"login\">\n\
             <label>User <input name=\"user\" autocomplete=\"username\" required></label>\n\
             <label>Password <input name=\"password\" type=\"password\" autocomplete=\"current-password\" required></label>\n\
             <input type=\"hidden\" name=\"token\" value=\"{token}\"><button>Log in</button></form>\n\
             <p><small>Try ada and lovelace.</small></p>"
        ),
    };
    Ok(Response::html(PAGE.replacen("@BODY@", &body, 1)).with_field("Cache-Control", "no-store"))
}
