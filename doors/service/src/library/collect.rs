//! Bodies of requests that are collected before a library is asked.

use super::hosted::Side;
use super::sessions::{Browser, Finding};
use ringway_engine::heap::local_future;
use ringway_http::response::EncodeError;
use ringway_http::status::Status;
use ringway_web::exchange::Exchange;
use ringway_web::pipeline::{Finish, Handled};
use ringway_web::request_body::{BodyError, RequestBody};
use std::rc::Rc;

/// Bytes of bodies that a library has collected on a worker at once; whoever comes then is told to come again.
pub(crate) const COLLECTED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A body, counted among what its worker has collected.
#[derive(Debug)]
pub(crate) struct Collected {
    bytes: Vec<u8>,
    side: Rc<Side>,
}

/// Why a body is not collected.
#[derive(Clone, Copy, Debug)]
enum Uncollected {
    Body(BodyError),
    /// There are too many bytes already.
    Full,
}

impl Collected {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn add(&mut self, piece: &[u8]) -> Result<(), Uncollected> {
        let collected = self.side.collected_bytes.get() + piece.len();
        if collected > COLLECTED_BYTES_MAX {
            return Err(Uncollected::Full);
        }
        self.bytes.extend_from_slice(piece);
        self.side.collected_bytes.set(collected);
        Ok(())
    }
}

impl Drop for Collected {
    fn drop(&mut self) {
        self.side.collected_bytes.update(|bytes| bytes - self.bytes.len());
    }
}

/// Collects the request's body and finds its session, as far as they are wanted and not there, then asks the library.
pub(crate) fn first(
    side: Rc<Side>,
    body: Option<RequestBody>,
    finding: Option<Finding>,
    found: Option<Browser>,
) -> Handled {
    Handled::Later(local_future(async move {
        let has_body = body.is_some();
        let mut collected = Collected { bytes: Vec::new(), side: Rc::clone(&side) };
        let mut outcome = Ok(());
        if let Some(mut body) = body {
            outcome = read(&mut body, &mut collected).await;
        }
        let browser = match finding {
            Some(finding) if outcome.is_ok() => finding.await.map(Some),
            _ => Ok(found),
        };
        let finish: Finish = Box::new(move |exchange| {
            let collected = has_body.then_some(&collected);
            side.note(match (outcome, browser) {
                (Ok(()), Ok(browser)) => side.ask(exchange, collected, browser),
                (Ok(()), Err(trouble)) => side.troubled(exchange, trouble),
                (Err(error), _) => refuse(exchange, error),
            })
        });
        finish
    }))
}

async fn read(body: &mut RequestBody, collected: &mut Collected) -> Result<(), Uncollected> {
    while let Some(piece) = body.next().await.map_err(Uncollected::Body)? {
        collected.add(&piece)?;
    }
    Ok(())
}

fn refuse(exchange: &mut Exchange<'_>, error: Uncollected) -> Result<Handled, EncodeError> {
    match error {
        Uncollected::Body(BodyError::Gone) => Ok(Handled::Close),
        Uncollected::Body(error) => exchange.error(error.status()).map(Handled::Answer),
        Uncollected::Full => {
            exchange.error_with(Status::SERVICE_UNAVAILABLE, b"Retry-After: 1\r\n").map(Handled::Answer)
        }
    }
}
