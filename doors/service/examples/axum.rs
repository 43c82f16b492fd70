//! An application of axum on Ringway: `axum [--port N] [--workers N] [--redis URL]`, on the loopback. Plain routes, JSON, one call
//! of Redis, and the same below `/tokio` with the whole call on the background runtime. For a first look, and for measuring it
//! against the same application on hyper (`lab/peers/axum-hyper`).

#[path = "../../../lab/peers/axum-hyper/src/app.rs"]
mod app;

use ringway_engine::ring::socket::{Address, ListenOptions};
use ringway_engine::{Balance, Endpoint, EndpointLimits, Protocol, Server, ServerOptions, WorkerHandle};
use ringway_service::tower::on_tokio;
use ringway_service::{Placement, Service};
use ringway_web::limits::WebLimits;
use ringway_web::protocol::Http;
use ringway_web::site::Site;
use ringway_web::sites::Sites;
use std::error::Error;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("axum: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let port: u16 = option("--port", "8080").parse()?;
    let workers: usize = option("--workers", "1").parse()?;
    let redis = option("--redis", "redis://127.0.0.1:6379/");
    let shipped = app::counting(&redis)?.layer(on_tokio());
    let router = app::plain().merge(app::counting(&redis)?).nest("/tokio", shipped);
    let service = Service::tower("axum", router);
    let protocol = move |worker: &WorkerHandle| {
        let handler = service.handler(worker, &Placement::default()).map_err(std::io::Error::other)?;
        let mut site = Site::new("axum");
        site.handlers.push(handler);
        let http = Http::new(Rc::new(Sites::new(site)), WebLimits::default(), worker.pool().clone());
        Ok(Rc::new(http) as Rc<dyn Protocol>)
    };
    let endpoint = Endpoint {
        address: Address::Tcp(([127, 0, 0, 1], port).into()),
        balance: Balance::default(),
        listen: ListenOptions::default(),
        limits: EndpointLimits::default(),
        protocol: Arc::new(protocol),
        filter: None,
        preface: None,
        listeners: Vec::new(),
        urgent_inline: false,
    };
    let server = Server::start(&[endpoint], &ServerOptions { workers, ..ServerOptions::default() })?;
    eprintln!("listening on {:?}", server.addresses());
    loop {
        // It serves until the process is ended.
        std::thread::park_timeout(Duration::from_secs(3600));
    }
}

/// The value of an option, or what holds without it.
fn option(name: &str, otherwise: &str) -> String {
    let mut arguments = std::env::args().skip_while(|argument| argument != name).skip(1);
    arguments.next().unwrap_or_else(|| otherwise.to_owned())
}
