//! The program under test.

use ringway::Server;
use ringway::service::socket::{Message, Socket, SocketOptions};
use ringway::service::{App, Error, Html, Request, Service, SetupError};
use serde::Deserialize;
use std::cell::Cell;
use std::process::ExitCode;
use std::rc::Rc;

/// What its first service takes.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    greeting: String,
    times_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { greeting: "Hello".to_owned(), times_max: 10 }
    }
}

/// Does what the command line says.
pub(crate) fn serve() -> ExitCode {
    let hello = Service::with_config("hello", hello);
    let echo = Service::new("echo", |app| {
        app.socket("/", SocketOptions::default(), |_request: &Request<'_>| {
            |socket: &mut Socket<'_>, message: Message<'_>| {
                let _peer_does_not_read = socket.send(message);
            }
        });
        Ok(())
    });
    Server::new().service("/", hello).service("/echo", echo).run()
}

fn hello(app: &mut App, settings: Settings) -> Result<(), SetupError> {
    let log = app.log().clone();
    let (count, data) = (Rc::new(Cell::new(0)), app.placement().data.clone());
    // Made when it is asked for the first time.
    let kept = match &data {
        Some(_) => Some(app.data()?.join("kept")),
        None => None,
    };
    app.get("/greet/{name}", move |request: &Request<'_>| {
        let name: String = request.param("name")?;
        let times = request.query_opt("times")?.unwrap_or(1).min(settings.times_max);
        Ok::<_, Error>(format!("{}, {name}!\n", settings.greeting).repeat(times))
    });
    app.get("/count", move || {
        count.set(count.get() + 1);
        count.get().to_string()
    });
    app.get("/page", || Html("<!doctype html><title>A page</title><p>It is one.</p>\n"));
    app.get("/panic", || -> &'static str { panic!("as it was asked to") });
    app.get("/log", move || {
        log.info("somebody looks at the log");
        "logged"
    });
    app.get("/keep", move || -> Result<String, Error> {
        let kept = kept.as_ref().ok_or_else(|| Error::bad_request("nothing is kept"))?;
        std::fs::write(kept, b"kept")?;
        let elsewhere =
            std::fs::write(std::env::temp_dir().join("ringway-services-elsewhere"), b"x").is_err();
        Ok(format!("{} {elsewhere}", std::fs::read_to_string(kept)?))
    });
    Ok(())
}
