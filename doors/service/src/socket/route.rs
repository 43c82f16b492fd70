//! Sockets as routes of a service.

use super::accept::Acceptor;
use super::handler::SocketHandler;
use super::options::SocketOptions;
use crate::app::App;
use crate::error::Error;
use crate::request::Request;
use crate::routes::Methods;
use ringway_web::pipeline::Handled;

/// What a route makes of a request for a socket: its handler, or why there is none.
pub trait IntoSocket {
    /// The handler.
    type Handler: SocketHandler + 'static;

    /// It, or the answer that is no socket.
    ///
    /// # Errors
    /// What the client is told.
    fn into_socket(self) -> Result<Self::Handler, Error>;
}

impl<H: SocketHandler + 'static> IntoSocket for H {
    type Handler = H;

    fn into_socket(self) -> Result<H, Error> {
        Ok(self)
    }
}

impl<H: SocketHandler + 'static> IntoSocket for Result<H, Error> {
    type Handler = H;

    fn into_socket(self) -> Self {
        self
    }
}

impl App {
    /// Has requests for the paths of this pattern become WebSockets. `make` gives each its handler, or an [`Error`] where there
    /// will be no socket; other requests are answered 426.
    ///
    /// ```
    /// # use ringway_service::{Request, Service};
    /// use ringway_service::socket::{Message, Socket, SocketOptions};
    ///
    /// let service = Service::new("echo", |app| {
    ///     app.socket("/ws", SocketOptions::default(), |_request: &Request<'_>| {
    ///         |socket: &mut Socket<'_>, message: Message<'_>| {
    ///             if socket.send(message).is_err() {
    ///                 // The peer does not read; its messages wait, too.
    ///             }
    ///         }
    ///     });
    ///     Ok(())
    /// });
    /// # drop(service);
    /// ```
    pub fn socket<S: IntoSocket>(
        &mut self,
        pattern: &str,
        options: SocketOptions,
        make: impl Fn(&Request<'_>) -> S + 'static,
    ) -> &mut Self {
        let log = self.log().clone();
        let worker = self.worker().handle().clone();
        let panicked = move || log.error("the handler of a socket panicked");
        let acceptor = Acceptor::with_panics_told(worker, options, panicked);
        self.raw(Methods::One("GET".into()), pattern, move |call| {
            let handshake = match acceptor.read(call.exchange()) {
                Ok(handshake) => handshake,
                Err(refusal) => return Acceptor::refuse(call.exchange(), refusal).map(Handled::Answer),
            };
            let made = make(&call.request()).into_socket();
            match made {
                Ok(handler) => acceptor.open(call.exchange(), &handshake, handler).map(Handled::Answer),
                Err(error) => call.answer(error),
            }
        })
    }
}
