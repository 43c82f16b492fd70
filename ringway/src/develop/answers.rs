//! What `ringway dev` answers itself: pages while no program serves, and on an address of its own what pages follow.

use super::board::{Board, Viewer};
use crate::engine::ring::RingOptions;
use crate::engine::ring::socket::Address;
use crate::engine::{
    Endpoint, FilterFactory, Protocol, ProtocolFactory, Server, ServerOptions, WorkerHandle,
};
use crate::web::body_source::BodySource;
use crate::web::exchange::Exchange;
use crate::web::limits::WebLimits;
use crate::web::pipeline::{Handled, Handler};
use crate::web::protocol::Http;
use crate::web::site::Site;
use crate::web::sites::Sites;
use ringway_http::method::Method;
use ringway_http::response::EncodeError;
use ringway_http::status::Status;
use rustix::rand::{GetRandomFlags, getrandom};
use std::fmt::{self, Write};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// How long answers that are under way may take when a program takes over.
const FINISH_WITHIN: Duration = Duration::from_secs(2);

const SCRIPT: &str = include_str!("reload.js");

const SCRIPT_LINES: &[u8] = b"Content-Type: text/javascript; charset=utf-8\r\nCache-Control: no-store\r\n\
    X-Content-Type-Options: nosniff\r\nCross-Origin-Resource-Policy: cross-origin\r\n";

const EVENT_LINES: &[u8] = b"Content-Type: text/event-stream\r\nCache-Control: no-store\r\n\
    Access-Control-Allow-Origin: *\r\nX-Content-Type-Options: nosniff\r\n";

const PLAIN_LINES: &[u8] =
    b"Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\nRetry-After: 1\r\n";

/// The address of our own, which only who knows its secret is answered at.
#[derive(Clone, Debug)]
pub(super) struct Control {
    origin: String,
    secret: String,
}

/// A socket that clients connect to, and where it listens.
#[derive(Debug)]
pub(super) struct Listening {
    /// Where.
    pub(super) address: Address,
    /// It.
    pub(super) socket: Arc<OwnedFd>,
}

impl Control {
    /// Begins to answer pages that follow `board`.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn start(board: &Board) -> Result<Self, String> {
        let secret = secret()?;
        let told = (board.clone(), secret.clone());
        // Where it listens is part of what it answers, and known only then.
        let address = Address::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let (address, sockets) = Endpoint::new(address, protocol(|| Refusing))
            .listen_for(1)
            .map_err(|error| format!("cannot listen for pages that follow: {error}"))?;
        let control = Self { origin: format!("http://{address}"), secret };
        let own = control.clone();
        let protocol = protocol(move || Following { board: told.0.clone(), control: own.clone() });
        let sockets = sockets.into_iter().map(Arc::new).collect();
        let server = start(vec![Endpoint { listeners: sockets, ..Endpoint::new(address, protocol) }])?;
        // It answers as long as this process lives; the threads of its worker are its own.
        std::thread::Builder::new()
            .name("ringway-dev-follow".to_owned())
            .spawn(move || server.wait(FINISH_WITHIN))
            .map_err(|error| format!("cannot listen for pages that follow: {error}"))?;
        Ok(control)
    }

    /// The base address of the script for pages of the program of this number; 0: for our own.
    pub(super) fn base(&self, program: u64) -> String {
        format!("{}/{}/{program}/", self.origin, self.secret)
    }
}

/// Answers everything on these sockets with the page of `board`, until it is stopped.
///
/// # Errors
/// A sentence.
pub(super) fn stand_in(
    board: &Board,
    control: &Control,
    listening: &[Listening],
    filter: Option<&FilterFactory>,
) -> Result<Server, String> {
    let endpoint = |listening: &Listening| {
        let (board, control) = (board.clone(), control.clone());
        let protocol = protocol(move || StandIn { board: board.clone(), control: control.clone() });
        Endpoint {
            listeners: vec![Arc::clone(&listening.socket)],
            filter: filter.cloned(),
            ..Endpoint::new(listening.address.clone(), protocol)
        }
    };
    start(listening.iter().map(endpoint).collect())
}

/// Has a server leave its sockets to others at once, and finish what is under way behind our back.
pub(super) fn leave(server: Server) {
    server.drain(FINISH_WITHIN);
    let waits = std::thread::Builder::new().name("ringway-dev-leaves".to_owned());
    // Without a thread for it nobody waits for the end; it comes all the same.
    let _ended = waits.spawn(move || server.wait(FINISH_WITHIN));
}

fn start(endpoints: Vec<Endpoint>) -> Result<Server, String> {
    let options = ServerOptions { workers: 1, ring: RingOptions::default(), ..ServerOptions::default() };
    Server::start(&endpoints, &options).map_err(|error| error.to_string())
}

fn protocol<H: Handler + 'static>(make: impl Fn() -> H + Send + Sync + 'static) -> ProtocolFactory {
    Arc::new(move |worker: &WorkerHandle| {
        let sites = Sites::new(Site::with_handler("develop", make()));
        let http: Rc<dyn Protocol> =
            Rc::new(Http::new(Rc::new(sites), WebLimits::default(), worker.pool().clone()));
        Ok(http)
    })
}

fn secret() -> Result<String, String> {
    let mut random = [0; 16];
    match getrandom(&mut random, GetRandomFlags::empty()) {
        Ok(count) if count == random.len() => {}
        _ => return Err("the kernel has no random numbers".to_owned()),
    }
    Ok(random.iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    }))
}

/// Nothing: the handler of an endpoint that is only bound.
struct Refusing;

impl Handler for Refusing {
    fn handle(&self, exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
        exchange.error(Status::NOT_FOUND).map(Handled::Answer)
    }
}

/// The page in place of the program's.
struct StandIn {
    board: Board,
    control: Control,
}

impl Handler for StandIn {
    fn handle(&self, exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
        let accept = exchange.request.accept();
        let wants_page = accept.clone().any(|value| memchr_text(value, b"text/html"));
        if !wants_page {
            let text = self.board.plain().into_bytes();
            return exchange.text(Status::SERVICE_UNAVAILABLE, PLAIN_LINES, text).map(Handled::Answer);
        }
        page(exchange, &self.board, &self.control, Status::SERVICE_UNAVAILABLE)
    }
}

/// What pages follow.
struct Following {
    board: Board,
    control: Control,
}

impl Handler for Following {
    fn handle(&self, exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
        let path = std::str::from_utf8(exchange.path).unwrap_or_default();
        let mut parts = path.split('/').skip(1);
        let knows = parts.next() == Some(self.control.secret.as_str());
        let is_read = matches!(exchange.request.method(), Method::Get | Method::Head);
        match (parts.nth(1), parts.next()) {
            (Some("reload.js"), None) if knows && is_read => {
                exchange.text(Status::OK, SCRIPT_LINES, SCRIPT.into()).map(Handled::Answer)
            }
            (Some("page"), None) if knows && is_read => {
                page(exchange, &self.board, &self.control, Status::OK)
            }
            (Some("events"), None) if knows && is_read => {
                let Some(viewer) = self.board.enter() else {
                    return exchange.error(Status::SERVICE_UNAVAILABLE).map(Handled::Answer);
                };
                let events = Events { viewer, event: "retry: 1000\n\n".to_owned(), sent: 0 };
                exchange.stream(Status::OK, EVENT_LINES, events).map(Handled::Answer)
            }
            _ => exchange.error(Status::NOT_FOUND).map(Handled::Answer),
        }
    }
}

impl fmt::Debug for Following {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Following({})", self.control.origin)
    }
}

fn page(
    exchange: &mut Exchange<'_>,
    board: &Board,
    control: &Control,
    status: Status,
) -> Result<Handled, EncodeError> {
    let origin = &control.origin;
    let lines = format!(
        "Content-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\nRetry-After: 1\r\n\
         X-Content-Type-Options: nosniff\r\nContent-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; \
         script-src {origin}; connect-src {origin}; base-uri 'none'; form-action 'none'\r\n"
    );
    let body = board.page(&control.base(0)).into_bytes();
    exchange.text(status, lines.as_bytes(), body).map(Handled::Answer)
}

fn memchr_text(value: &[u8], text: &[u8]) -> bool {
    value.windows(text.len()).any(|part| part.eq_ignore_ascii_case(text))
}

/// The stream of one page that follows.
struct Events {
    viewer: Viewer,
    event: String,
    /// Bytes of it that were taken.
    sent: usize,
}

impl BodySource for Events {
    fn poll_piece(&mut self, context: &mut Context<'_>, memory: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.sent == self.event.len() {
            let Some(event) = self.viewer.event(context.waker()) else { return Poll::Pending };
            (self.event, self.sent) = (event, 0);
        }
        let rest = &self.event.as_bytes()[self.sent..];
        let count = rest.len().min(memory.len());
        memory[..count].copy_from_slice(&rest[..count]);
        self.sent += count;
        Poll::Ready(Ok(count))
    }

    fn is_endless(&self) -> bool {
        true
    }
}
