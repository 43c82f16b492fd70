//! The service door: applications on the web door, with routes, WebSockets, stores, and the tower world beside them.
//!
//! A [`Service`] is set up on each worker of a server: its routes, the handlers behind them, timers, and what it keeps there.
//!
//! ```
//! use ringway_service::{Error, OwnedRequest, Request, Service};
//!
//! let service = Service::new("greeter", |app| {
//!     app.get("/", || "hello");
//!     app.get("/greet/{name}", |request: &Request<'_>| {
//!         let name: String = request.param("name")?;
//!         let times = request.query_opt::<usize>("times")?.unwrap_or(1);
//!         Ok::<_, Error>(format!("Hello, {name}! ").repeat(times.min(10)))
//!     });
//!     app.post("/shout", |mut request: OwnedRequest| async move {
//!         let text = request.text(4096).await?;
//!         Ok::<_, Error>(text.to_uppercase())
//!     });
//!     Ok(())
//! });
//! assert_eq!(service.name(), "greeter");
//! ```
#![forbid(unsafe_code)]

mod app;
mod blocked;
mod channel;
mod error;
mod events;
mod extract;
mod files;
#[cfg(feature = "sessions")]
mod form_token;
mod handler;
pub mod inbox;
mod later;
pub mod log;
mod multipart;
mod origin;
mod owned;
mod request;
mod response;
pub mod routes;
mod running;
mod saving;
mod service;
mod stats;
mod values;
mod worker;

#[cfg(feature = "tower")]
pub mod background;
pub mod cookie;
#[cfg(feature = "libraries")]
pub mod hooks;
#[cfg(feature = "libraries")]
pub mod library;
#[cfg(any(feature = "memcached", feature = "redis"))]
pub mod link;
#[cfg(feature = "memcached")]
pub mod memcached;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "sessions")]
pub mod session;
#[cfg(feature = "websockets")]
pub mod socket;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(feature = "tower")]
pub mod tower;

pub use app::App;
pub use blocked::BLOCKED_MS;
pub use channel::{BodySender, QUEUE_BYTES, SendError};
pub use error::Error;
pub use events::{EVENTS_BYTES_MAX, Event, EventSender, KEEP_ALIVE_MS};
pub use files::Directory;
#[cfg(feature = "sessions")]
pub use form_token::TOKEN_FIELD;
pub use handler::{Asynchronous, Call, Constant, Endpoint, Handler, Synchronous};
pub use later::{Later, NobodyWaits};
pub use multipart::{FormLimits, FormPart, Multipart};
pub use origin::same_origin;
pub use owned::OwnedRequest;
pub use request::{Head, Request};
pub use response::{BadField, Html, IntoResponse, Json, LINES_BYTES_MAX, Response};
pub use ringway_engine::ring::Interest;
pub use ringway_http::method::Method;
pub use ringway_http::status::Status;
pub use service::{
    ANSWER_MS_MAX, BODY_BYTES_MAX, ConfigMistake, ConfigSection, Explain, Placement, Service, SetupError,
};
pub use stats::{RouteTotals, ServiceStats, ServiceTotals};
pub use values::Fields;
pub use worker::{Watched, Worker};
