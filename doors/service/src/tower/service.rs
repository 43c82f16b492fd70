//! Tower services in services of Ringway: as the whole of one, or below a path.

use super::body::Body;
use super::notes::Notes;
use super::{BoxError, Tower};
use crate::handler::Call;
use crate::log::Level;
use crate::routes::Methods;
use crate::{App, Service, SetupError};
use http::{Request, Response};
use ringway_http::response::EncodeError;
use ringway_web::pipeline::{Handled, Handler as _};
use std::rc::Rc;
use tower_service::Service as TowerService;

impl Service {
    /// A service of that name that is a service of tower, such as an axum router, and nothing else.
    ///
    /// ```
    /// use axum::{Router, routing::get};
    ///
    /// let router = Router::new().route("/", get(|| async { "hello" }));
    /// let service = ringway_service::Service::tower("greeter", router);
    /// # assert_eq!(service.name(), "greeter");
    /// ```
    pub fn tower(name: &str, application: impl IntoService) -> Self {
        application.into_service(name)
    }
}

impl App {
    /// Has a service of tower answer for all paths below `prefix` that no other route is for; it sees what follows that. An empty one:
    /// for all paths. Limits of bodies are its own ([`Tower::body_limit`]) or those set here.
    ///
    /// # Errors
    /// A prefix with parameters; what the kernel says when the background runtime cannot be started.
    pub fn tower<S, B>(&mut self, prefix: &str, tower: &Tower<S>) -> Result<&mut Self, SetupError>
    where
        S: TowerService<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        B: http_body::Body + 'static,
        B::Error: Into<BoxError>,
    {
        let prefix = prefix.trim_end_matches('/');
        let place = format!("{}{prefix}", self.group_prefix());
        if place.contains('{') {
            return Err(SetupError::new(format!(
                "a service of tower cannot stand below {place}, which has parameters"
            )));
        }
        let log = self.log().clone();
        let notes = Rc::new(Notes::new(move |trouble| log.write(Level::Error, trouble)));
        let whole = format!("{}{place}", self.placement().prefix.trim_end_matches('/'));
        let bridge = tower.bridge(self.worker().handle(), &whole, Rc::clone(&notes));
        let bridge = Rc::new(bridge.map_err(|error| {
            SetupError::new(format!("the background runtime cannot be started: {error}"))
        })?);
        let answer = move |call: &mut Call<'_, '_>| -> Result<Handled, EncodeError> {
            notes.count_with(call.stats());
            bridge.handle(call.exchange())
        };
        if place.is_empty() {
            return Ok(self.raw_fallback(answer));
        }
        let answer = Rc::new(answer);
        let again = Rc::clone(&answer);
        self.raw(Methods::Any, prefix, move |call| again(call));
        Ok(self.raw(Methods::Any, &format!("{prefix}/{{*rest}}"), move |call| answer(call)))
    }
}

/// What can be a service by itself: services of tower as they are, and with settings ([`Tower`]).
pub trait IntoService {
    /// The service of that name.
    fn into_service(self, name: &str) -> Service;
}

impl<S, B> IntoService for S
where
    S: TowerService<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body + 'static,
    B::Error: Into<BoxError>,
{
    fn into_service(self, name: &str) -> Service {
        Tower::new(self).into_service(name)
    }
}

impl<S, B> IntoService for Tower<S>
where
    S: TowerService<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body + 'static,
    B::Error: Into<BoxError>,
{
    fn into_service(self, name: &str) -> Service {
        Service::new(name, move |app| app.tower("", &self).map(|_| ()))
    }
}
