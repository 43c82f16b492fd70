//! What an answer at once allocates: nothing. Allocations are counted for the process, so this test has one of its own.

#[path = "service/stand.rs"]
#[allow(dead_code, reason = "other tests use the rest of it")]
mod stand;

use ringway_service::{Request, Service};
use stand::on_each_driver;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::io::{Read, Write};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Requests before counting: by then tables have their size.
const WARM: usize = 200;

/// Requests that are counted.
const COUNTED: usize = 2_000;

fn service() -> Service {
    Service::new("hello", |app| {
        app.get("/", || "Hello, World!");
        app.get("/users/{id}/{*rest}", |request: &Request<'_>| {
            let is_good =
                request.param::<u32>("id").is_ok_and(|id| id == 7) && request.query::<u8>("a").is_ok();
            if is_good { "seven" } else { "another" }
        });
        Ok(())
    })
}

#[test]
fn answers_at_once_allocate_nothing() {
    on_each_driver(service, |stand| {
        for (path, body) in [("/", "Hello, World!"), ("/users/7/a/b?a=1", "seven")] {
            let client = stand.client();
            let mut stream = client.stream();
            let question = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
            let mut memory = [0; 1024];
            let mut exchange = || {
                stream.write_all(question.as_bytes()).expect("it reads");
                let mut len = 0;
                while !memory[..len].ends_with(body.as_bytes()) {
                    len += stream.read(&mut memory[len..]).expect("the answer comes");
                }
            };
            (0..WARM).for_each(|_| exchange());
            let region = Region::new(ALLOCATOR);
            (0..COUNTED).for_each(|_| exchange());
            let allocations = region.change().allocations;
            // Once a second the date is written anew, and a table may grow once more.
            assert!(allocations < 60, "{allocations} in {COUNTED} requests for {path}");
        }
        stand.stop();
    });
}
