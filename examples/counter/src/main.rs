//! A counter in Redis, which all servers of a fleet share. While Redis is away, the service says so and goes on.

use ringway::Server;
use ringway::service::redis::{Redis, RedisOptions};
use ringway::service::{App, OwnedRequest, Response, Service, SetupError, Status};
use serde::Deserialize;
use std::process::ExitCode;

/// Where the count is.
const KEY: &str = "ringway:example:visits";

/// What this service is told in its configuration, or by `--set`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    #[serde(default = "local")]
    redis: String,
}

fn local() -> String {
    "redis://127.0.0.1:6379".to_owned()
}

fn main() -> ExitCode {
    Server::new().service("/", Service::new("counter", set_up)).run()
}

/// Runs once on each worker, which has a connection of its own: what many requests ask at once goes out together.
fn set_up(app: &mut App) -> Result<(), SetupError> {
    let settings: Settings = app.config()?;
    let redis = Redis::new(&settings.redis, RedisOptions::default()).map_err(|error| error.to_string())?;
    let client = redis.client(app.worker().handle());
    app.get("/", move |_: OwnedRequest| {
        let client = client.clone();
        async move {
            match client.add(KEY, 1).await {
                Ok(visits) => page(Status::OK, &format!("{visits}"), "visits, on all servers together."),
                Err(_away) => {
                    page(Status::SERVICE_UNAVAILABLE, "?", "Redis is away just now. It is tried again.")
                }
            }
        }
    });
    Ok(())
}

fn page(status: Status, count: &str, words: &str) -> Response {
    let page = include_str!("page.html").replacen("@COUNT@", count, 1).replacen("@WORDS@", words, 1);
    Response::html(page).with_status(status).with_field("Cache-Control", "no-store")
}
