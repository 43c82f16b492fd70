//! What a plain route of an axum application costs in allocations, beyond what axum itself does with the request.
#![cfg(feature = "tower")]

use axum::Router;
use axum::routing::get;
use ringway_engine::ring::DriverChoice;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use tower::ServiceExt;

#[path = "tower/stand.rs"]
#[allow(dead_code, reason = "the other tests use all of it")]
mod stand;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const REQUESTS: usize = 200;

const HEAD: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n";

fn router() -> Router {
    Router::new().route("/", get(|| async { "Hello, World!" }))
}

/// Allocations of axum for a request that is there already, and an answer that nobody sends.
fn alone() -> usize {
    let router = router();
    let call = || {
        let mut request = http::Request::new(axum::body::Body::empty());
        for (name, value) in [("host", "localhost"), ("user-agent", "test"), ("accept", "*/*")] {
            request.headers_mut().insert(name, http::HeaderValue::from_static(value));
        }
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let answered = std::pin::pin!(router.clone().oneshot(request)).poll(&mut context);
        assert!(answered.is_ready());
    };
    call();
    let region = Region::new(ALLOCATOR);
    (0..REQUESTS).for_each(|_| call());
    region.change().allocations
}

/// Allocations of the whole process for as many requests over a connection.
fn served() -> usize {
    let tower = ringway_service::tower::Tower::new(router());
    let stand = stand::Stand::start(DriverChoice::Epoll, tower, "", 1);
    let client = stand.client();
    let mut stream = client.stream();
    let mut answer = [0; 1024];
    let mut ask = || {
        use std::io::{Read, Write};
        stream.write_all(HEAD.as_bytes()).expect("it is open");
        let mut len = 0;
        while !answer[..len].ends_with(b"Hello, World!") {
            len += stream.read(&mut answer[len..]).expect("an answer");
        }
    };
    (0..REQUESTS).for_each(|_| ask());
    let region = Region::new(ALLOCATOR);
    (0..REQUESTS).for_each(|_| ask());
    let allocations = region.change().allocations;
    stand.stop();
    allocations
}

#[test]
fn a_plain_route_costs_little_more_than_axum_does() {
    let (alone, served) = (alone(), served());
    eprintln!("{alone} allocations of axum alone, {served} served, for {REQUESTS} requests");
    // The answer's body as it is sent, the request's body in axum's box. Axum alone has to make the map of fields besides, which
    // is used again here.
    assert!(served <= alone + 2 * REQUESTS, "{served} allocations for {alone} of axum's");
}
