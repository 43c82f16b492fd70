//! The smallest service: a page, and a greeting for whoever says a name.

use ringway::Server;
use ringway::service::{Error, Html, Request, Service};
use std::process::ExitCode;

fn main() -> ExitCode {
    let hello = Service::new("hello", |app| {
        app.get("/", || Html(include_str!("page.html")));
        app.get("/greet/{name}", |request: &Request<'_>| {
            let name: String = request.param("name")?;
            Ok::<_, Error>(format!("Hello, {name}!\n"))
        });
        Ok(())
    });
    Server::new().service("/", hello).run()
}
