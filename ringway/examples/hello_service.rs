//! A service of one's own: `cargo run --example hello_service -- --port 8080 --set greeting=Servus`.

use ringway::Server;
use ringway::service::{Error, Request, Service};
use serde::Deserialize;
use std::process::ExitCode;

/// What `--set greeting=Servus`, or the table `config` of its `[[service]]`, may say.
#[derive(Clone, Debug, Deserialize)]
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

fn main() -> ExitCode {
    let hello = Service::with_config("hello", |app, settings: Settings| {
        app.get("/", || "Ask for /greet/ and a name.\n");
        app.get("/greet/{name}", move |request: &Request<'_>| {
            let name: String = request.param("name")?;
            let times = request.query_opt("times")?.unwrap_or(1).min(settings.times_max);
            Ok::<_, Error>(format!("{}, {name}!\n", settings.greeting).repeat(times))
        });
        Ok(())
    });
    Server::new().service("/", hello).run()
}
