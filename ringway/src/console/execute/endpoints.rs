//! What the console says of endpoints, and what it does with their handlers.

use super::{as_float, percentiles};
use crate::config::settings::Trace;
use crate::console::Answer;
use crate::console::show::{bytes, count, latency, pairs, table};
use crate::running::Running;
use crate::snapshot::{HandlerFigures, Snapshot};
use serde_json::json;

/// All endpoints; then those with handlers, with what came and went.
pub(super) fn list(running: &Running) -> Answer {
    let (posts, now) = (running.posts(), running.snapshot());
    let heading = ["ENDPOINT", "ADDRESS", "SPEAKS", ">OPEN", ">ACCEPTED", ">REFUSED"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    let known = posts.endpoints.iter().flatten().chain(&posts.others);
    for (post, figures) in known.zip(&now.endpoints) {
        rows.push(vec![
            post.name.clone(),
            post.address.clone(),
            post.speaks.clone(),
            figures.open.to_string(),
            figures.accepted.to_string(),
            figures.refused.to_string(),
        ]);
    }
    let mut text = table(&rows);
    if !now.handlers.is_empty() {
        text += "\n";
        text += &handlers(&now.handlers);
    }
    Answer::done(json!(now.endpoints), text)
}

fn handlers(handlers: &[HandlerFigures]) -> String {
    let heading = [
        "ENDPOINT",
        "HANDLER",
        ">OPEN",
        ">MESSAGES IN",
        ">OUT",
        ">RECEIVED",
        ">SENT",
        ">ERRORS",
        ">TIMEOUTS",
        ">P99",
        "TRACE",
    ];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(handlers.iter().map(|of| {
        vec![
            of.name.clone(),
            of.handler.clone(),
            of.open.to_string(),
            count(as_float(of.messages_in)),
            count(as_float(of.messages_out)),
            bytes(as_float(of.bytes_in)),
            bytes(as_float(of.bytes_out)),
            of.errors.to_string(),
            of.timeouts.to_string(),
            latency(of.time().p99_us),
            of.trace.clone(),
        ]
    }));
    table(&rows)
}

/// One endpoint with a handler.
pub(super) fn one(now: &Snapshot, name: &str) -> Answer {
    let Some(of) = now.handlers.iter().find(|handler| handler.name == name) else {
        return Answer::refused(unknown(now, name));
    };
    let addresses = now.endpoints.iter().filter(|endpoint| endpoint.name == name);
    let addresses: Vec<&str> = addresses.map(|endpoint| endpoint.address.as_str()).collect();
    let who = if of.protocol == "udp" { "peers" } else { "connections" };
    let figures = [
        ("endpoint", of.name.clone()),
        ("addresses", addresses.join(" ")),
        ("handler", of.handler.clone()),
        ("about", of.about.clone()),
        ("protocol", of.protocol.clone()),
        (who, format!("{} open, {} so far, {} refused", of.open, of.opened, of.refused)),
        ("messages", format!("{} received, {} sent", of.messages_in, of.messages_out)),
        ("received", bytes(as_float(of.bytes_in))),
        ("sent", bytes(as_float(of.bytes_out))),
        ("errors", format!("{}, and {} messages that broke the framing", of.errors, of.faults)),
        ("timeouts", of.timeouts.to_string()),
        ("panics", of.panics.to_string()),
        ("a message takes", percentiles(of.time())),
        ("replaced", format!("{} times", of.replaced)),
        ("trace", of.trace.clone()),
    ];
    Answer::done(json!(of), pairs(figures))
}

/// Another level of tracing.
pub(super) fn trace(running: &Running, name: &str, level: Trace) -> Answer {
    match running.trace(name, level) {
        Ok(told) => Answer::done(json!({ "endpoint": name, "trace": level }), told),
        Err(Some(reason)) => Answer::refused(reason),
        Err(None) => Answer::refused(unknown(&running.snapshot(), name)),
    }
}

/// The handler's library, taken anew.
pub(super) fn replace(running: &Running, name: &str) -> Answer {
    match running.replace_handler(name) {
        Ok(told) => Answer::done(json!({ "endpoint": name, "now": told }), told),
        Err(Some(reason)) => Answer::refused(reason),
        Err(None) => Answer::refused(unknown(&running.snapshot(), name)),
    }
}

fn unknown(now: &Snapshot, name: &str) -> String {
    let known: Vec<&str> = now.handlers.iter().map(|handler| handler.name.as_str()).collect();
    match known.is_empty() {
        true => "no endpoint has a handler of its own.".to_owned(),
        false => format!("no endpoint {name:?} has a handler; there are {}.", known.join(", ")),
    }
}
