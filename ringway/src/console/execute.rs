//! What a server process does with the console's commands.

mod endpoints;
mod services;
mod upstreams;

use crate::console::command::{self, Command};
use crate::console::show::{bits, bytes, count, latency, pairs, span, table};
use crate::console::{Answer, Request};
use crate::engine::ConnectionFacts;
use crate::running::Running;
use crate::snapshot::{GovernorFigures, Percentiles, SiteFigures, Snapshot};
use crate::web::site_counters::LATENCY_BUCKETS;
use serde_json::{Value, json};
use std::time::Duration;

/// Names of settings whose values are not told, whatever they are part of.
const SECRET: [&str; 6] = ["password", "passphrase", "secret", "token", "hash", "credential"];

/// Carries a request out. Not on a worker's thread: some commands wait for the workers.
#[must_use]
pub fn execute(running: &Running, request: &Request) -> Answer {
    match command::parse(request) {
        Ok(command) => carry_out(running, &command),
        Err(reason) => Answer::refused(reason),
    }
}

fn carry_out(running: &Running, command: &Command) -> Answer {
    match command {
        Command::Help => Answer::done(Value::Null, command::help()),
        Command::Status => status(&running.snapshot()),
        Command::Uptime => uptime(&running.snapshot()),
        Command::Workers => workers(&running.snapshot()),
        Command::Sites => sites(running),
        Command::Endpoints => endpoints::list(running),
        Command::Endpoint(name) => endpoints::one(&running.snapshot(), name),
        Command::Trace(name, level) => endpoints::trace(running, name, *level),
        Command::Replace(name) => endpoints::replace(running, name),
        Command::Connections(most) => connections(running, *most),
        Command::Upstreams => upstreams::list(&running.snapshot()),
        Command::DrainBackend(upstream, address, is_drained) => {
            upstreams::drain(running, upstream, address, *is_drained)
        }
        Command::Services => services::list(&running.snapshot()),
        Command::Service(name) => services::one(&running.snapshot(), name),
        Command::EnableService(name, is_enabled) => services::enable(running, name, *is_enabled),
        Command::Limits => limits(running),
        Command::Governors => governors(&running.snapshot().governors),
        Command::Govern(name, limit) => govern(running, name, *limit),
        Command::Config => config(&running.posts().config),
        Command::Modules => modules(running),
        Command::LogLevel => match running.log_level() {
            Some(level) => Answer::done(json!({ "level": level.as_str() }), level.as_str()),
            None => Answer::refused("this server has no error log."),
        },
        Command::SetLogLevel(level) => match running.set_log_level(*level) {
            Ok(()) => Answer::done(
                json!({ "level": level.as_str() }),
                format!("the error log takes {level} from now on."),
            ),
            Err(reason) => Answer::refused(format!("{reason}.")),
        },
        Command::Reopen => match running.reopen_logs() {
            Ok(files) => Answer::done(json!({ "files": files }), format!("{files} log files opened anew.")),
            Err(reason) => Answer::refused(format!("{reason}.")),
        },
        Command::Drain(seconds) => {
            running.drain(Duration::from_secs(*seconds));
            let text = format!("finishing what is under way, at most {seconds} s; then the server stops.");
            Answer::done(json!({ "within_s": seconds }), text)
        }
        Command::Snapshot => match serde_json::to_value(running.snapshot()) {
            Ok(data) => Answer { ok: true, text: format!("{data:#}\n"), data },
            Err(error) => Answer::refused(format!("the figures cannot be written: {error}.")),
        },
        Command::Reload | Command::Upgrade => Answer::refused(
            "this server runs without a supervisor, which does that: start it with ringway run, not ringway serve.",
        ),
        Command::Clear | Command::Quit => {
            Answer::refused("that is for the console's shell, not for the server.")
        }
    }
}

/// The table of services, for a server without console.
#[cfg(feature = "services")]
pub(crate) fn services(now: &Snapshot) -> String {
    services::list(now).text
}

fn status(now: &Snapshot) -> Answer {
    let latencies = Percentiles::of(&all_latencies(&now.sites));
    let classes = now.sites.iter().fold([0; 6], |mut all, site| {
        all.iter_mut().zip(site.by_class).for_each(|(total, more)| *total += more);
        all
    });
    let active: u64 = now.sites.iter().map(|site| site.active).sum();
    let open = now.total("open");
    let data = json!({
        "version": now.version, "state": now.state, "generation": now.generation, "uptime_ms": now.uptime_ms,
        "driver": now.driver, "workers": now.workers.len(), "sites": now.sites.len(), "requests": now.requests(),
        "requests_by_class": classes, "requests_active": active, "connections_open": open,
        "connections_accepted": now.total("accepted"), "connections_refused": now.total("refused"),
        "bytes_received": now.total("bytes_received"), "bytes_sent": now.total("bytes_sent"),
        "latency": latencies, "panics": now.total("panics"), "log_lines_dropped": now.log_lines_dropped,
    });
    let [_, _, good, moved, refused, failed] = classes.map(|number| count(as_float(number)));
    let figures = [
        ("version", format!("Ringway {}", now.version)),
        ("state", now.state.as_str().to_owned()),
        ("running for", span(Duration::from_millis(now.uptime_ms))),
        ("driver", now.driver.clone()),
        ("workers", now.workers.len().to_string()),
        ("sites", now.sites.len().to_string()),
        ("requests", format!("{}, {active} under way", now.requests())),
        (
            "answers",
            format!("{good} good, {moved} redirected or not modified, {refused} refused, {failed} failed"),
        ),
        ("latency", percentiles(latencies)),
        (
            "connections",
            format!("{open} open, {} accepted, {} refused", now.total("accepted"), now.total("refused")),
        ),
        ("received", bytes(as_float(now.total("bytes_received")))),
        ("sent", bytes(as_float(now.total("bytes_sent")))),
        ("memory for I/O", bytes(as_float(now.total("memory_bytes")))),
        ("panics", now.total("panics").to_string()),
        ("log lines lost", now.log_lines_dropped.to_string()),
    ];
    Answer::done(data, pairs(figures))
}

fn uptime(now: &Snapshot) -> Answer {
    let data = json!({ "uptime_ms": now.uptime_ms, "started_unix_s": now.started_unix_s });
    Answer::done(data, format!("running for {}", span(Duration::from_millis(now.uptime_ms))))
}

fn workers(now: &Snapshot) -> Answer {
    let heading =
        ["WORKER", ">BUSY", ">OPEN", ">ACCEPTED", ">TURNS", ">TASKS", ">RECEIVED", ">SENT", ">LONGEST TURN"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for (place, worker) in now.workers.iter().enumerate() {
        let busy = as_float(worker.busy_ns) / 1e4 / as_float(now.uptime_ms.max(1));
        rows.push(vec![
            place.to_string(),
            format!("{busy:.1} %"),
            worker.open.to_string(),
            worker.accepted.to_string(),
            count(as_float(worker.turns)),
            count(as_float(worker.tasks)),
            bytes(as_float(worker.bytes_received)),
            bytes(as_float(worker.bytes_sent)),
            latency(Some(worker.longest_turn_us)),
        ]);
    }
    Answer::done(json!(now.workers), table(&rows))
}

fn sites(running: &Running) -> Answer {
    let (posts, now) = (running.posts(), running.snapshot());
    let heading = ["SITE", "NAMES", "ROOT", ">REQUESTS", ">4XX", ">5XX", ">SENT", ">P50", ">P99"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    let mut data = Vec::new();
    for (post, site) in posts.sites.iter().zip(&now.sites) {
        let latencies = Percentiles::of(&site.histogram());
        rows.push(vec![
            post.name.clone(),
            post.hosts.join(" "),
            post.root.clone().unwrap_or_else(|| "-".to_owned()),
            site.requests().to_string(),
            site.by_class[4].to_string(),
            site.by_class[5].to_string(),
            bytes(as_float(site.body_bytes)),
            latency(latencies.p50_us),
            latency(latencies.p99_us),
        ]);
        data.push(json!({
            "name": post.name, "names": post.hosts, "root": post.root, "requests_by_class": site.by_class,
            "active": site.active, "body_bytes": site.body_bytes, "latency": latencies,
        }));
    }
    Answer::done(Value::Array(data), table(&rows))
}

fn connections(running: &Running, most: usize) -> Answer {
    let found = running.connections(most);
    let open = running.snapshot().total("open");
    let heading = ["WORKER", "PEER", "ENDPOINT", "STATE", ">AGE", ">REQUESTS", ">RECEIVED", ">ACKNOWLEDGED"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    let mut data = Vec::new();
    for facts in &found {
        let endpoint = running.endpoint_name(facts.endpoint);
        let peer = facts.peer.map_or_else(|| "local".to_owned(), |peer| peer.to_string());
        let or_dash =
            |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| bytes(as_float(value)));
        let age = facts.description.age_ms;
        rows.push(vec![
            facts.worker.to_string(),
            peer.clone(),
            endpoint.clone(),
            state(facts).to_owned(),
            age.map_or_else(|| "-".to_owned(), |ms| span(Duration::from_millis(ms))),
            facts.description.requests.to_string(),
            or_dash(facts.bytes_received),
            or_dash(facts.bytes_acknowledged),
        ]);
        data.push(json!({
            "worker": facts.worker, "id": facts.id, "peer": peer, "endpoint": endpoint, "state": state(facts),
            "age_ms": age, "requests": facts.description.requests, "tls": facts.is_filtered,
            "unread_bytes": facts.unread_bytes, "queued": facts.queued, "bytes_received": facts.bytes_received,
            "bytes_acknowledged": facts.bytes_acknowledged,
        }));
    }
    let mut text = table(&rows);
    if open > found.len() as u64 {
        text += &format!("{} of {open}; connections {open} lists more.\n", found.len());
    }
    Answer::done(json!({ "open": open, "connections": data }), text)
}

/// What a connection does, in a word.
fn state(facts: &ConnectionFacts) -> &'static str {
    match (facts.is_closing, facts.has_task, facts.description.state) {
        (true, ..) => "closing",
        (false, true, _) => "working",
        (false, false, "") => "open",
        (false, false, state) => state,
    }
}

fn limits(running: &Running) -> Answer {
    let posts = running.posts();
    let known = posts.limits.iter().map(|(name, value)| (name.as_str(), value.clone()));
    let data: serde_json::Map<String, Value> =
        posts.limits.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    Answer::done(Value::Object(data), pairs(known))
}

fn governors(governors: &[GovernorFigures]) -> Answer {
    if governors.is_empty() {
        return Answer::done(json!([]), "no bandwidth is governed.");
    }
    let heading = [
        "GOVERNOR", "BYTES", ">LIMIT", ">USED", "READ", "WRITE", "TRANSMIT", ">WAITING", ">DELAYED",
        ">REFUSED",
    ];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for figures in governors {
        rows.push(vec![
            figures.name.clone(),
            figures.direction.clone(),
            bits(as_float(figures.limit_bits_per_s)),
            bits(as_float(figures.used_bits_per_s)),
            figures.read.clone(),
            figures.write.clone(),
            figures.transmit.clone(),
            figures.waiting.to_string(),
            figures.delayed.to_string(),
            figures.rejected.to_string(),
        ]);
    }
    Answer::done(json!(governors), table(&rows))
}

fn govern(running: &Running, name: &str, limit: Option<u64>) -> Answer {
    match running.govern(name, limit) {
        Ok(()) => {
            let told = limit.map_or_else(|| "no limit".to_owned(), |limit| bits(as_float(limit)));
            let data = json!({ "name": name, "limit_bits_per_s": limit });
            Answer::done(data, format!("{name}: {told} from now on, until the next reload."))
        }
        Err(reason) => Answer::refused(reason),
    }
}

fn config(config: &Value) -> Answer {
    let mut told = config.clone();
    redact(&mut told);
    let mut rows = Vec::new();
    flatten("", &told, &mut rows);
    if rows.is_empty() {
        return Answer::done(told, "this server was started without a configuration.");
    }
    Answer::done(told, pairs(rows.iter().map(|(name, value)| (name.as_str(), value.clone()))))
}

/// Takes out what looks like a secret.
fn redact(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = name.to_ascii_lowercase();
                let is_secret = SECRET.iter().any(|secret| name.contains(secret));
                match value {
                    // A path to a secret is none.
                    Value::String(_) if is_secret && !name.contains("file") => {
                        *value = Value::from("(not told)")
                    }
                    Value::Array(values) if is_secret && values.iter().any(Value::is_string) => {
                        *value = Value::from("(not told)");
                    }
                    value => redact(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(redact),
        _ => {}
    }
}

/// A line for each value, by the names on the way to it.
fn flatten(name: &str, value: &Value, rows: &mut Vec<(String, String)>) {
    let is_plain = |value: &Value| !value.is_object() && !value.is_array();
    match value {
        Value::Null => {}
        Value::Object(fields) => {
            for (field, value) in fields {
                let name = if name.is_empty() { field.clone() } else { format!("{name}.{field}") };
                flatten(&name, value, rows);
            }
        }
        Value::Array(values) if values.iter().all(is_plain) => {
            let words =
                values.iter().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            rows.push((name.to_owned(), words.collect::<Vec<_>>().join(" ")));
        }
        Value::Array(values) => {
            values
                .iter()
                .enumerate()
                .for_each(|(place, value)| flatten(&format!("{name}[{place}]"), value, rows));
        }
        Value::String(text) => rows.push((name.to_owned(), text.clone())),
        other => rows.push((name.to_owned(), other.to_string())),
    }
}

fn modules(running: &Running) -> Answer {
    let posts = running.posts();
    let mut rows = vec![["MODULE", "STAGE", ">USES"].map(str::to_owned).to_vec()];
    let mut data = Vec::new();
    for module in &posts.modules {
        rows.push(vec![module.name.clone(), module.stage.to_owned(), module.uses.to_string()]);
        data.push(json!({ "name": module.name, "stage": module.stage, "uses": module.uses }));
    }
    Answer::done(Value::Array(data), table(&rows))
}

fn percentiles(latencies: Percentiles) -> String {
    let [p50, p90, p99] = [latencies.p50_us, latencies.p90_us, latencies.p99_us].map(latency);
    format!("half below {p50}, nine of ten below {p90}, 99 of 100 below {p99}")
}

fn all_latencies(sites: &[SiteFigures]) -> [u64; LATENCY_BUCKETS] {
    let mut all = [0; LATENCY_BUCKETS];
    for (place, count) in sites.iter().flat_map(|site| &site.latencies) {
        if let Some(bucket) = all.get_mut(*place) {
            *bucket += count;
        }
    }
    all
}

#[allow(clippy::cast_precision_loss, reason = "figures for people: 53 bits are enough")]
fn as_float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_told_line_by_line_and_without_secrets() {
        let answer = config(&json!({
            "workers": { "count": 4, "cpus": null },
            "site": [{ "names": ["a", "b"], "auth": { "token": "abc", "tokens": ["x"], "users_file": "/etc/u" } }],
        }));
        assert!(!answer.text.contains("abc") && !answer.data.to_string().contains("abc"), "{}", answer.text);
        let lines: Vec<String> =
            answer.text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(
            lines,
            [
                "workers.count 4",
                "site[0].names a b",
                "site[0].auth.token (not told)",
                "site[0].auth.tokens (not told)",
                "site[0].auth.users_file /etc/u"
            ]
        );
        assert!(config(&Value::Null).text.contains("without a configuration"));
    }
}
