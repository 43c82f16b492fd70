//! Server-sent events: a clock that goes on as long as the page is open.

use ringway::Server;
use ringway::service::{App, Event, EventSender, Html, Request, Response, Service};
use std::cell::RefCell;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How often it ticks.
const TICK: Duration = Duration::from_millis(250);

/// Most pages that one worker keeps the time for.
const PAGES_MAX: usize = 10_000;

fn main() -> ExitCode {
    let clock = Service::new("clock", |app| {
        set_up(app);
        Ok(())
    });
    Server::new().service("/", clock).run()
}

/// Runs once on each worker, which knows its own pages and no others: nothing is locked.
fn set_up(app: &mut App) {
    let pages: Rc<RefCell<Vec<EventSender>>> = Rc::default();
    app.get("/", || Html(include_str!("page.html")));
    let opened = Rc::clone(&pages);
    app.get("/time", move |request: &Request<'_>| {
        let (sender, answer) = Response::events(request.worker());
        let mut pages = opened.borrow_mut();
        if pages.len() >= PAGES_MAX {
            return Response::page(ringway::service::Status::SERVICE_UNAVAILABLE);
        }
        // The first tick comes at once. It cannot fail: nothing waits yet.
        let _first = sender.send(&now());
        pages.push(sender);
        answer
    });
    let mut shown = 0;
    app.every(TICK, move || {
        let second = unix_ms() / 1000;
        if second == shown {
            return;
        }
        shown = second;
        let tick = now().encode();
        pages.borrow_mut().retain(|page| {
            // A page that reads too slowly misses a tick, and sees the next one.
            let _slow = page.send_encoded(&tick);
            !page.is_gone()
        });
    });
}

fn now() -> Event {
    Event::data(&unix_ms().to_string())
}

/// Milliseconds since 1970.
fn unix_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
}
