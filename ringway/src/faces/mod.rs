//! The faces over HTTP: figures for Prometheus, health, and the dashboard. Each is a handler for the path it is given.

pub mod dashboard;
pub mod health;
pub mod metrics;
pub mod prometheus;

use crate::engine::heap::local_future;
use crate::running::Running;
use crate::web::answer;
use crate::web::exchange::Exchange;
use crate::web::pipeline::{Finish, Handled, Handler, RequestStage, Verdict};
use ringway_http::response::EncodeError;
use ringway_http::status::Status;

use std::sync::{Arc, OnceLock};

/// Where handlers find the server that they are part of: they are made before it has started. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Desk(Arc<OnceLock<Arc<Running>>>);

impl Desk {
    /// Tells the handlers of their server, once it has started. Only the first call counts.
    pub fn open(&self, running: Arc<Running>) {
        let _is_open = self.0.set(running);
    }

    /// The server; `None` while it starts.
    #[must_use]
    pub fn running(&self) -> Option<&Arc<Running>> {
        self.0.get()
    }
}

/// A face that is asked before a site's own stages, for its paths only.
#[derive(Debug)]
pub struct FaceStage<H>(
    /// The face.
    pub H,
);

impl<H: Handler> RequestStage for FaceStage<H> {
    fn request(&self, exchange: &mut Exchange<'_>) -> Result<Verdict, EncodeError> {
        Ok(match self.0.handle(exchange)? {
            Handled::Answer(reply) => Verdict::Answer(reply),
            Handled::Later(later) => Verdict::Later(later),
            Handled::Close => Verdict::Close,
            Handled::NotMine | Handled::Rewritten => Verdict::Pass,
        })
    }
}

/// Refuses what is neither GET nor HEAD.
fn refuse_method(exchange: &mut Exchange<'_>) -> Option<Result<Handled, EncodeError>> {
    let refused = answer::refuse_method(exchange.request, exchange.common, exchange.memory)?;
    Some(refused.map(|plan| Handled::Answer(plan.into())))
}

/// Answers with what `make` says of the server. It is made on a pool thread: with a thousand sites it takes milliseconds,
/// which no other connection shall wait for.
fn made_on_pool(
    exchange: &mut Exchange<'_>,
    desk: &Desk,
    lines: &'static [u8],
    make: impl FnOnce(&Running) -> Vec<u8> + Send + 'static,
) -> Result<Handled, EncodeError> {
    let Some(running) = desk.running().cloned() else {
        return exchange.error(Status::SERVICE_UNAVAILABLE).map(Handled::Answer);
    };
    let pooled = exchange.pool.run(move || make(&running));
    Ok(Handled::Later(local_future(async move {
        let made = match pooled {
            Ok(pooled) => pooled.await,
            Err(busy) => Err(busy),
        };
        let finish: Finish = Box::new(move |exchange| match made {
            Ok(body) => exchange.text(Status::OK, lines, body).map(Handled::Answer),
            Err(_busy) => exchange.error(Status::SERVICE_UNAVAILABLE).map(Handled::Answer),
        });
        finish
    })))
}
