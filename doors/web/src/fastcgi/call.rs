//! A request at the backends: the next one is asked where one has failed, as long as that is safe.

use super::passage::{Passage, Terms};
use super::reading::{Head, HeadFinder};
use super::trouble::Trouble;
use super::upload::Upload;
use crate::upstream::{Key, LeaseError, Tried, Upstream};
use ringway_engine::ring::Slice;
use ringway_http::reply::Limits;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

/// A request that is written.
pub(super) struct Call {
    pub(super) request: Slice,
    pub(super) upload: Upload,
    /// Doing it twice is as good as doing it once (RFC 9110 section 9.2.2).
    pub(super) is_idempotent: bool,
    pub(super) key: Key,
}

/// What came of it.
pub(super) enum Outcome {
    /// The answer's head, and what follows it.
    Answered(Head, Box<Passage>),
    /// No answer of this backend.
    Failed { backend: Box<str>, trouble: Trouble },
    /// No backend to ask.
    Nobody(LeaseError),
}

/// Asks backends until one answers or it is no use.
pub(super) async fn call(upstream: &Upstream, terms: &Rc<Terms>, limits: Limits, call: Call) -> Outcome {
    let Call { mut request, mut upload, is_idempotent, key } = call;
    let packed = poll_fn(|context| Poll::Ready(upload.pack(context, &mut request))).await;
    if let Err(trouble) = packed {
        return Outcome::Failed { backend: Box::default(), trouble };
    }
    let mut tried = Tried::default();
    let mut latest = None;
    loop {
        let lease = match (upstream.lease(&key, &mut tried).await, latest.take()) {
            (Ok(lease), _) => lease,
            (Err(LeaseError::AllTried(_)), Some((backend, trouble))) => {
                return Outcome::Failed { backend, trouble };
            }
            (Err(error), _) => return Outcome::Nobody(error),
        };
        let is_reused = lease.is_reused();
        let mut passage = Passage::begin(terms, lease, request.clone(), upload);
        let trouble = match passage.head(HeadFinder::new(limits)).await {
            Ok(head) => return Outcome::Answered(head, Box::new(passage)),
            Err(trouble) => trouble,
        };
        let is_unheard = passage.is_unheard();
        let backend: Box<str> = passage.backend().into();
        // A kept connection may have been closed by its other end at the very moment it was used again.
        passage.give_up(trouble, is_unheard && is_reused && trouble.is_end());
        upload = passage.into_upload();
        let is_safe = trouble.is_refusal() || is_unheard && is_idempotent;
        let may_retry = trouble.is_backends() && is_safe && !upload.has_given;
        if !may_retry || tried.count() >= terms.tries.attempts.max(1) {
            return Outcome::Failed { backend, trouble };
        }
        latest = Some((backend, trouble));
    }
}
