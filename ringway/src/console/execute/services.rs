//! What the console says of services, and how they are switched off and on.

use super::as_float;
use crate::console::Answer;
use crate::console::show::{bytes, count, pairs, plain, table};
use crate::running::Running;
use crate::snapshot::{ServiceFigures, Snapshot};
use serde_json::json;

/// All services.
pub(super) fn list(now: &Snapshot) -> Answer {
    if now.services.is_empty() {
        return Answer::done(json!([]), "there are no services.");
    }
    let heading = ["SERVICE", "STATE", ">REQUESTS", ">5XX", ">PANICS", ">UNDER WAY", ">MEMORY", "WHERE"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(now.services.iter().map(|service| {
        vec![
            service.name.clone(),
            state(service).to_owned(),
            count(as_float(service.requests)),
            count(as_float(service.errors)),
            service.panics.to_string(),
            service.in_flight.to_string(),
            memory(service),
            service.places.join(" "),
        ]
    }));
    Answer::done(json!(now.services), table(&rows))
}

/// One service, with its routes and what it has logged last.
pub(super) fn one(now: &Snapshot, name: &str) -> Answer {
    let Some(service) = now.services.iter().find(|service| service.name == name) else {
        return Answer::refused(unknown(now, name));
    };
    let figures = [
        ("service", service.name.clone()),
        ("what", service.kind.clone()),
        ("state", state(service).to_owned()),
        ("where", service.places.join(" ")),
        ("requests", format!("{}, {} under way", service.requests, service.in_flight)),
        ("failures", format!("{} answered 5xx, {} panics", service.errors, service.panics)),
        ("turned away", service.turned_away.to_string()),
        ("memory", memory(service)),
    ];
    let mut text = pairs(figures);
    let mut list = |title: &str, lines: &[String]| {
        if !lines.is_empty() {
            text += &format!("\n{title}\n");
            lines.iter().for_each(|line| text += &format!("  {}\n", plain(line)));
        }
    };
    list("routes", &service.routes);
    list("log", &service.log);
    Answer::done(json!(service), text)
}

/// Switches a service on or off.
pub(super) fn enable(running: &Running, name: &str, is_enabled: bool) -> Answer {
    match running.enable_service(name, is_enabled) {
        Ok(()) => {
            let told = if is_enabled { "answers" } else { "answers 503; what is under way is finished" };
            let data = json!({ "service": name, "enabled": is_enabled });
            Answer::done(data, format!("{name} {told}, until the next reload."))
        }
        Err(_unknown) => Answer::refused(unknown(&running.snapshot(), name)),
    }
}

fn unknown(now: &Snapshot, name: &str) -> String {
    let known: Vec<&str> = now.services.iter().map(|service| service.name.as_str()).collect();
    match known.is_empty() {
        true => "there are no services.".to_owned(),
        false => format!("there is no service {name:?}; there are {}.", known.join(", ")),
    }
}

fn state(service: &ServiceFigures) -> &'static str {
    if service.is_enabled { "on" } else { "off" }
}

fn memory(service: &ServiceFigures) -> String {
    service.memory_bytes.map_or_else(|| "-".to_owned(), |known| bytes(as_float(known)))
}
