//! A service that says hello: `hello [--port N] [--workers N]`. For a first look, and for measuring what a handler costs.

use ringway_engine::ring::socket::{Address, ListenOptions};
use ringway_engine::{Balance, Endpoint, EndpointLimits, Protocol, Server, ServerOptions, WorkerHandle};
use ringway_service::{Error, OwnedRequest, Placement, Request, Service};
use ringway_web::limits::WebLimits;
use ringway_web::protocol::Http;
use ringway_web::site::Site;
use ringway_web::sites::Sites;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

fn service() -> Service {
    Service::new("hello", |app| {
        app.get("/", || "Hello, World!");
        app.get("/greet/{name}", |request: &Request<'_>| {
            let name: String = request.param("name")?;
            Ok::<_, Error>(format!("Hello, {name}!"))
        });
        app.get("/async", |_: OwnedRequest| async { "Hello, World!" });
        Ok(())
    })
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hello: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The value of an option, or what holds without it.
fn option(name: &str, otherwise: u16) -> Result<u16, Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name).skip(1);
    Ok(arguments.next().map_or(Ok(otherwise), |value| value.parse())?)
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let (port, workers) = (option("--port", 8080)?, option("--workers", 1)?);
    let service = service();
    let protocol = move |worker: &WorkerHandle| {
        let handler = service.handler(worker, &Placement::default()).map_err(std::io::Error::other)?;
        let mut site = Site::new("hello");
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
    let options = ServerOptions { workers: workers.into(), ..ServerOptions::default() };
    let server = Server::start(&[endpoint], &options)?;
    eprintln!("listening on {:?}", server.addresses());
    loop {
        // It serves until the process is ended.
        std::thread::park_timeout(Duration::from_secs(3600));
    }
}
