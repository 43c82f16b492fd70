//! Sockets that this side opens: a connection to another server, the handshake, and a task that sees to the socket.

use super::core::{Inlet, Outlet};
use super::handler::SocketHandler;
use super::link::Link;
use super::options::{SocketOptions, Terms};
use super::session::{After, News, Session};
use super::task::{AsyncSocket, pair};
use ringway_engine::ring::socket::Address;
use ringway_engine::ring::{Handle, Pool, Slice};
use ringway_engine::{Filter, Inbox, SendProgress, Stream, WorkerHandle};
use ringway_http::reply::{Limits, Reply, ReplyScan};
use ringway_ws::Role;
use ringway_ws::deflate::Agreement;
use ringway_ws::handshake::{Ask, ClientHandshake, Rejection};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

/// Bytes that are received ahead of a handler that does not take them.
const AHEAD_BYTES: usize = 64 * 1024;

/// Makes the layer of TLS for a connection to a server of this name.
pub type TlsFilter = dyn Fn(&str) -> io::Result<Box<dyn Filter>>;

/// Opens sockets to other servers, on one worker.
#[derive(Clone)]
pub struct Connector {
    worker: WorkerHandle,
    outbound: usize,
    terms: Rc<Terms>,
    tls: Option<Rc<TlsFilter>>,
    connect_ms_max: u64,
}

/// Why there is no socket.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// No URL of a WebSocket: `ws://` or `wss://`, a host, a path.
    Url,
    /// A URL of `wss` where there is no TLS.
    NoTls,
    /// No connection, or it ended before the handshake did.
    Io(io::Error),
    /// The server's answer cannot be read.
    Answer,
    /// The server does not want to.
    Rejected(Rejection),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url => f.write_str("no URL of a WebSocket"),
            Self::NoTls => f.write_str("no TLS for this URL"),
            Self::Io(error) => error.fmt(f),
            Self::Answer => f.write_str("the answer is no HTTP"),
            Self::Rejected(rejection) => rejection.fmt(f),
        }
    }
}

impl std::error::Error for ConnectError {}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Where a URL leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Target<'u> {
    is_secure: bool,
    /// As the field `Host` says it.
    host: &'u str,
    name: &'u str,
    port: u16,
    path: &'u str,
}

impl<'u> Target<'u> {
    fn read(url: &'u str) -> Option<Self> {
        let (is_secure, rest) = match url.split_once("://")? {
            (scheme, rest) if scheme.eq_ignore_ascii_case("ws") => (false, rest),
            (scheme, rest) if scheme.eq_ignore_ascii_case("wss") => (true, rest),
            _ => return None,
        };
        let rest = rest.split('#').next()?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(end);
        let path = match path {
            "" => "/",
            path if path.starts_with('?') => return None,
            path => path,
        };
        let own_port = if is_secure { 443 } else { 80 };
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => (name, port.parse().ok()?),
            _ => (host, own_port),
        };
        let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        let is_bare = name.is_empty() || host.contains('@');
        (!is_bare).then_some(Self { is_secure, host, name, port, path })
    }
}

impl Connector {
    /// Opens sockets from this worker; `outbound` is the place in [`ringway_engine::ServerOptions::outbound`] whose limits hold.
    /// [`SocketOptions::protocols`] and [`SocketOptions::deflate`] are what servers are asked for.
    #[must_use]
    pub fn new(worker: WorkerHandle, outbound: usize, options: SocketOptions) -> Self {
        Self { worker, outbound, terms: Rc::new(Terms::new(options)), tls: None, connect_ms_max: 10_000 }
    }

    /// What URLs of `wss` go through.
    #[must_use]
    pub fn with_tls(mut self, tls: Rc<TlsFilter>) -> Self {
        self.tls = Some(tls);
        self
    }

    /// How long connecting and the handshake may take together, in milliseconds; 10 s without.
    #[must_use]
    pub fn within(mut self, connect_ms_max: u64) -> Self {
        self.connect_ms_max = connect_ms_max;
        self
    }

    /// Opens a socket: it is `handler`'s from then on, and a task of this worker sees to it. `fields` are more fields for the
    /// request: names and values.
    ///
    /// # Errors
    /// [`ConnectError`].
    ///
    /// # Cancellation
    /// Dropping the future gives the connection up.
    pub async fn connect(
        &self,
        url: &str,
        fields: &[(&str, &str)],
        handler: impl SocketHandler + 'static,
    ) -> Result<(), ConnectError> {
        let (stream, inbox, agreement) = self.shake_hands(url, fields).await?;
        let session =
            Session::new(Rc::clone(&self.terms), Role::Client, agreement.as_ref(), Box::new(handler));
        self.worker.spawn(drive(TaskLink::new(stream, inbox), session));
        Ok(())
    }

    /// Opens a socket for a task: see [`Connector::connect`].
    ///
    /// # Errors
    /// [`ConnectError`].
    ///
    /// # Cancellation
    /// As there.
    pub async fn open(&self, url: &str, fields: &[(&str, &str)]) -> Result<AsyncSocket, ConnectError> {
        let (handler, socket) = pair();
        self.connect(url, fields, handler).await?;
        Ok(socket)
    }

    async fn shake_hands(
        &self,
        url: &str,
        fields: &[(&str, &str)],
    ) -> Result<(Stream, Inbox, Option<Agreement>), ConnectError> {
        let target = Target::read(url).ok_or(ConnectError::Url)?;
        // A handler of requests is polled first on its connection's turn.
        self.worker.off_turn().await;
        let until_ms = self.worker.now_ms().saturating_add(self.connect_ms_max.max(1));
        let filter = match (&self.tls, target.is_secure) {
            (_, false) => None,
            (Some(tls), true) => Some(tls(target.name)?),
            (None, true) => return Err(ConnectError::NoTls),
        };
        let is_filtered = filter.is_some();
        let socket = self.reach(target, until_ms).await?;
        let mut stream = self.worker.hold(self.outbound, socket, filter)?;
        stream.set_deadline(until_ms);
        if is_filtered {
            stream.handshake().await?;
        }
        let options = &self.terms.options;
        let protocols: Vec<&str> = options.protocols.iter().map(String::as_str).collect();
        let ask = Ask {
            host: target.host,
            target: target.path,
            origin: None,
            protocols: &protocols,
            deflate: options.deflate.as_ref(),
            fields,
        };
        let mut random = [0; 16];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
            .map_err(io::Error::from)?;
        let handshake = ClientHandshake::new(random);
        let mut head = Vec::new();
        handshake.write(&ask, &mut head).map_err(ConnectError::Rejected)?;
        let head = stream.slice_of(&head)?;
        stream.write(head).await?;
        let (reply, mut rest) = read_head(&mut stream).await?;
        let parsed =
            Reply::parse(&reply, false, &Limits::default()).map_err(|_fault| ConnectError::Answer)?;
        let accepted = handshake.check(&parsed, &ask).map_err(ConnectError::Rejected)?;
        stream.clear_deadline();
        let mut inbox = Inbox::default();
        rest.take().into_iter().for_each(|rest| inbox.push(rest));
        Ok((stream, inbox, accepted.deflate))
    }

    /// A connected socket; the addresses of a name are tried in turn, each for its part of the time.
    async fn reach(&self, target: Target<'_>, until_ms: u64) -> io::Result<Handle> {
        let mut looking = pin!(self.worker.resolve(target.name, target.port));
        let mut sleep = pin!(self.worker.sleep_until(until_ms));
        let addresses = poll_fn(|context| {
            if let Poll::Ready(found) = looking.as_mut().poll(context) {
                return Poll::Ready(found);
            }
            sleep.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
        })
        .await?;
        let mut latest = io::Error::from(io::ErrorKind::NotFound);
        let count = addresses.len();
        for (place, address) in addresses.into_iter().enumerate() {
            let now_ms = self.worker.now_ms();
            let part_ms = until_ms.saturating_sub(now_ms) / (count - place) as u64;
            match self.worker.connect(&Address::Tcp(address), now_ms + part_ms, false).await {
                Ok(socket) => return Ok(socket),
                Err(error) => latest = error,
            }
        }
        Err(latest)
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("outbound", &self.outbound).finish_non_exhaustive()
    }
}

/// The head of an answer, and what came behind it.
async fn read_head(stream: &mut Stream) -> Result<(Slice, Option<Slice>), ConnectError> {
    let limits = Limits::default();
    let mut kept = 0;
    loop {
        let Some(mut input) = stream.read_beyond(kept).await? else {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        };
        match ReplyScan::new().find(&input, &limits).map_err(|_fault| ConnectError::Answer)? {
            Some(end) => {
                let head = input.split_to(end);
                return Ok((head, (!input.is_empty()).then_some(input)));
            }
            None => {
                kept = input.len();
                stream.unread(input);
            }
        }
    }
}

/// A held connection under a session.
struct TaskLink {
    stream: Stream,
    inbox: Inbox,
    inlet: Rc<Inlet>,
    is_ended: bool,
    /// Something waited to be sent behind the last turn.
    was_queued: bool,
    deadline_ms: u64,
}

impl TaskLink {
    fn new(stream: Stream, inbox: Inbox) -> Self {
        Self { stream, inbox, inlet: Rc::default(), is_ended: false, was_queued: false, deadline_ms: 0 }
    }
}

impl Link for TaskLink {
    fn now_ms(&self) -> u64 {
        self.stream.now_ms()
    }

    fn pool(&self) -> Pool {
        self.stream.pool()
    }

    fn take(&mut self) -> Option<Slice> {
        self.inbox.take_first()
    }

    fn take_joined(&mut self, bytes: usize) -> Option<Slice> {
        self.inbox.next_joined_beyond(bytes, &self.stream.pool())
    }

    fn unread(&mut self, rest: Slice) {
        self.inbox.unread(rest);
    }

    fn is_ended(&mut self) -> bool {
        self.is_ended && self.inbox.is_empty()
    }

    fn is_draining(&mut self) -> bool {
        self.stream.is_draining()
    }

    fn send(&mut self, bytes: Slice) {
        self.stream.send(bytes);
    }

    fn queued_bytes(&mut self) -> usize {
        self.stream.queued_bytes()
    }

    fn progress(&mut self) -> SendProgress {
        self.stream.send_progress()
    }

    fn set_deadline(&mut self, at_ms: u64) {
        self.deadline_ms = at_ms;
    }

    fn outlet(&self) -> Outlet {
        Outlet::Task(Rc::clone(&self.inlet))
    }

    fn has_inlet(&self) -> bool {
        true
    }

    fn worker(&self) -> WorkerHandle {
        self.stream.worker()
    }
}

/// Sees to a socket until it has ended.
async fn drive(mut link: TaskLink, mut session: Session) {
    let worker = link.stream.worker();
    let mut news = News::default();
    loop {
        match session.turn(&mut link, news) {
            After::Stay => {}
            After::End => break,
            After::Abort => {
                session.end();
                return;
            }
        }
        link.was_queued = link.stream.queued_bytes() > 0;
        let until_ms = if link.deadline_ms == 0 { u64::MAX } else { link.deadline_ms };
        let mut sleep = pin!(worker.sleep_until(until_ms));
        news = poll_fn(|context| wait(&mut link, sleep.as_mut(), context)).await;
    }
    // The server ends the connection below, for a limited time; so does who was told to.
    let close_ms = session.core.close_ms();
    link.stream.set_deadline(worker.now_ms().saturating_add(close_ms));
    if link.stream.flush().await.is_ok() {
        link.stream.shutdown_write();
        while let Ok(Some(_ignored)) = link.stream.read().await {}
    }
    session.end();
}

/// Waits for anything that a turn is for.
fn wait(
    link: &mut TaskLink,
    sleep: Pin<&mut impl Future<Output = ()>>,
    context: &mut Context<'_>,
) -> Poll<News> {
    let mut news = News::default();
    let mut has_news = link.inlet.has_news();
    link.inlet.listen(context.waker());
    while !link.is_ended && link.inbox.len() < AHEAD_BYTES {
        match link.stream.poll_read(context) {
            Poll::Ready(Ok(Some(bytes))) => link.inbox.push(bytes),
            Poll::Ready(Ok(None) | Err(_)) => link.is_ended = true,
            Poll::Pending => break,
        }
        has_news = true;
    }
    if link.was_queued && link.stream.poll_flush(context).is_ready() {
        link.was_queued = false;
        has_news = true;
    }
    if sleep.poll(context).is_ready() {
        news.is_timed_out = true;
        has_news = true;
    }
    news.is_nudged = link.inlet.is_nudged.take();
    if has_news || news.is_nudged { Poll::Ready(news) } else { Poll::Pending }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lead_somewhere_or_are_refused() {
        let target = |is_secure, host, name, port, path| Some(Target { is_secure, host, name, port, path });
        assert_eq!(Target::read("ws://a.example"), target(false, "a.example", "a.example", 80, "/"));
        assert_eq!(
            Target::read("WSS://a.example:8443/x?y=z#part"),
            target(true, "a.example:8443", "a.example", 8443, "/x?y=z")
        );
        assert_eq!(Target::read("ws://[::1]:9001/"), target(false, "[::1]:9001", "::1", 9001, "/"));
        assert_eq!(Target::read("wss://[::1]/"), target(true, "[::1]", "::1", 443, "/"));
        for bad in [
            "",
            "http://a/",
            "ws:a",
            "ws://",
            "ws://:80/",
            "ws://a:b/",
            "ws://a:70000/",
            "ws://u@a/",
            "ws://a?b",
        ] {
            assert_eq!(Target::read(bad), None, "{bad}");
        }
    }
}
