//! What a load does: targets, connections, pace, how long, on which cores.

use super::url::Url;
use crate::refusal::Refusal;
use ringway_engine::WaitMode;
use ringway_engine::ring::DriverChoice;
use std::net::SocketAddr;
use std::time::Duration;

/// Most connections of one load.
pub const CONNECTIONS_MAX: usize = 100_000;

/// Deepest pipeline.
pub const PIPELINE_MAX: u32 = 1024;

/// Largest weight of a target, and largest sum of all weights.
pub const WEIGHT_MAX: u32 = 10_000;

/// Most targets of one load.
pub const TARGETS_MAX: usize = 10_000;

/// Longest request, in bytes.
pub const REQUEST_BYTES_MAX: usize = 16 * 1024;

/// Highest rate, in requests a second.
pub const RATE_MAX: f64 = 10_000_000.0;

/// What one answer must be like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expect {
    /// Its status; `None`: that of the answer to the first request.
    pub status: Option<u16>,
    /// Bytes of its body; `None`: as many as the first one had.
    pub length: Option<u64>,
}

/// One thing that is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Where and what.
    pub url: Url,
    /// Ask with `HEAD` instead of `GET`.
    pub is_head: bool,
    /// Its share among the targets of a load without rates of their own; 1 to [`WEIGHT_MAX`].
    pub weight: u32,
    /// Requests a second for this target; all targets have one or none.
    pub rate: Option<f64>,
    /// What the answer must be like.
    pub expect: Expect,
}

impl Target {
    /// A `GET` of a URL.
    ///
    /// # Errors
    /// As [`Url::parse`].
    pub fn get(url: &str) -> Result<Target, Refusal> {
        let url = Url::parse(url)?;
        Ok(Target { url, is_head: false, weight: 1, rate: None, expect: Expect::default() })
    }

    /// How it is called in messages: `GET /path`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} {}", if self.is_head { "HEAD" } else { "GET" }, self.url.target)
    }
}

/// A load.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is asked for; all at one address.
    pub targets: Vec<Target>,
    /// Field lines added to every request, without line ends: `Name: value`.
    pub headers: Vec<String>,
    /// Connections kept busy (closed loop) or at hand (open loop).
    pub connections: usize,
    /// Requests written together on a connection; the next ones follow when all are answered (closed loop), or requests
    /// that may be unanswered on one connection (open loop).
    pub pipeline: u32,
    /// Requests a second over all connections, sent at their times whether or not the server keeps up (open loop). `None`:
    /// each connection asks again as soon as it is answered (closed loop).
    pub rate: Option<f64>,
    /// Requests after which a connection is given up for a new one; 1: a connection a request.
    pub requests_per_connection: Option<u32>,
    /// How long is measured. With [`Plan::requests`] too, whichever is over first.
    pub duration: Option<Duration>,
    /// How many requests are measured.
    pub requests: Option<u64>,
    /// How long the load runs before it is measured.
    pub warm_up: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Worker threads.
    pub workers: usize,
    /// Cores that they are kept on, one each in turn; empty: any.
    pub cores: Vec<usize>,
    /// Which driver of the ring.
    pub driver: DriverChoice,
    /// How workers wait.
    pub wait: WaitMode,
}

impl Plan {
    /// A `GET` of one URL over 64 connections for 10 seconds after 1 second of warm-up, on one thread.
    ///
    /// # Errors
    /// As [`Url::parse`].
    pub fn get(url: &str) -> Result<Plan, Refusal> {
        Ok(Plan {
            targets: vec![Target::get(url)?],
            headers: Vec::new(),
            connections: 64,
            pipeline: 1,
            rate: None,
            requests_per_connection: None,
            duration: Some(Duration::from_secs(10)),
            requests: None,
            warm_up: Duration::from_secs(1),
            timeout: Duration::from_secs(10),
            workers: 1,
            cores: Vec::new(),
            driver: DriverChoice::Auto,
            wait: WaitMode::Event,
        })
    }

    /// Whether requests have times of their own.
    #[must_use]
    pub fn is_open_loop(&self) -> bool {
        self.rate.is_some() || self.targets.iter().any(|target| target.rate.is_some())
    }

    /// Checks everything that needs no network, and finds the server's address.
    ///
    /// # Errors
    /// Refuses a plan that cannot be carried out, in one sentence.
    pub fn check(&self) -> Result<SocketAddr, Refusal> {
        let refuse = |why: String| Err(Refusal::new(why));
        if self.connections == 0 || self.connections > CONNECTIONS_MAX {
            return refuse(format!(
                "a load has 1 to {CONNECTIONS_MAX} connections, not {}",
                self.connections
            ));
        }
        if self.workers == 0 || self.workers > self.connections {
            return refuse(format!("{} threads cannot share {} connections", self.workers, self.connections));
        }
        if self.pipeline == 0 || self.pipeline > PIPELINE_MAX {
            return refuse(format!("a pipeline is 1 to {PIPELINE_MAX} requests deep, not {}", self.pipeline));
        }
        if self.requests_per_connection == Some(0) || self.requests == Some(0) {
            return refuse("a load of no requests measures nothing".to_owned());
        }
        match (self.duration, self.requests) {
            (None, None) => return refuse("a load needs a duration or a number of requests".to_owned()),
            (Some(duration), _) if duration < Duration::from_millis(10) => {
                return refuse(format!("{duration:?} is too short to measure anything"));
            }
            _ => {}
        }
        if self.timeout < Duration::from_millis(1) {
            return refuse("a timeout is at least 1 ms".to_owned());
        }
        self.check_headers()?;
        self.check_targets()?;
        self.check_rates()?;
        self.address()
    }

    fn check_headers(&self) -> Result<(), Refusal> {
        for header in &self.headers {
            let name = header.split_once(':').map(|(name, _)| name).unwrap_or_default();
            let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            let is_sound = !name.is_empty() && name.bytes().all(is_token);
            if !is_sound || header.bytes().any(|byte| byte != b'\t' && byte < b' ' || byte == 0x7f) {
                return Err(Refusal::new(format!("{header:?} is no header: it must read `Name: value`")));
            }
            let own = ["host", "connection", "content-length", "transfer-encoding", "expect", "upgrade"];
            if own.contains(&name.to_ascii_lowercase().as_str()) && !name.eq_ignore_ascii_case("host") {
                return Err(Refusal::new(format!("the header {name:?} is the lab's own affair")));
            }
        }
        Ok(())
    }

    fn check_targets(&self) -> Result<(), Refusal> {
        if self.targets.is_empty() || self.targets.len() > TARGETS_MAX {
            return Err(Refusal::new(format!(
                "a load has 1 to {TARGETS_MAX} URLs, not {}",
                self.targets.len()
            )));
        }
        let weights: u64 = self.targets.iter().map(|target| u64::from(target.weight)).sum();
        if self.targets.iter().any(|target| target.weight == 0) || weights > u64::from(WEIGHT_MAX) {
            return Err(Refusal::new(format!(
                "weights are at least 1 and together at most {WEIGHT_MAX}, not {weights}"
            )));
        }
        Ok(())
    }

    fn check_rates(&self) -> Result<(), Refusal> {
        let with_rate = self.targets.iter().filter(|target| target.rate.is_some()).count();
        if with_rate > 0 && self.rate.is_some() {
            return Err(Refusal::new("a rate for all and rates of single URLs exclude each other"));
        }
        if with_rate > 0 && with_rate < self.targets.len() {
            return Err(Refusal::new("either all URLs have a rate or none has"));
        }
        let rates = self.targets.iter().filter_map(|target| target.rate).chain(self.rate);
        for rate in rates {
            if !(0.001..=RATE_MAX).contains(&rate) {
                return Err(Refusal::new(format!(
                    "a rate is 0.001 to {RATE_MAX} requests a second, not {rate}"
                )));
            }
        }
        Ok(())
    }

    fn address(&self) -> Result<SocketAddr, Refusal> {
        let mut addresses = self.targets.iter().map(|target| &target.url);
        let first = addresses.next().ok_or_else(|| Refusal::new("a load needs a URL"))?;
        match addresses.find(|url| url.authority != first.authority) {
            Some(other) => Err(Refusal::new(format!(
                "one load asks one server: {} and {} are two",
                first.authority, other.authority
            ))),
            None => first.address(),
        }
    }

    /// The bytes of a request; `is_last`: the connection shall close after the answer.
    #[must_use]
    pub fn request(&self, target: &Target, is_last: bool) -> Vec<u8> {
        let method = if target.is_head { "HEAD" } else { "GET" };
        let is_host = |header: &&String| header.to_ascii_lowercase().starts_with("host:");
        let mut text = format!("{method} {} HTTP/1.1\r\n", target.url.target);
        if !self.headers.iter().any(|header| is_host(&header)) {
            text.push_str(&format!("Host: {}\r\n", target.url.authority));
        }
        for header in &self.headers {
            text.push_str(header);
            text.push_str("\r\n");
        }
        if is_last {
            text.push_str("Connection: close\r\n");
        }
        text.push_str("\r\n");
        text.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan::get("http://127.0.0.1:8080/a").expect("a URL")
    }

    #[test]
    fn requests_are_plain_http() {
        let mut plan = plan();
        let request =
            |plan: &Plan, is_last| String::from_utf8(plan.request(&plan.targets[0], is_last)).expect("ASCII");
        assert_eq!(request(&plan, false), "GET /a HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n");
        plan.headers = vec!["host: x".to_owned(), "A: b".to_owned()];
        plan.targets[0].is_head = true;
        assert_eq!(request(&plan, true), "HEAD /a HTTP/1.1\r\nhost: x\r\nA: b\r\nConnection: close\r\n\r\n");
    }

    #[test]
    fn what_cannot_be_carried_out_is_refused_in_one_sentence() {
        assert_eq!(plan().check(), Ok(SocketAddr::from(([127, 0, 0, 1], 8080))));
        type Change = fn(&mut Plan);
        let changes: [(&str, Change); 14] = [
            ("connections", |plan| plan.connections = 0),
            ("connections", |plan| plan.connections = CONNECTIONS_MAX + 1),
            ("threads", |plan| plan.workers = 65),
            ("pipeline", |plan| plan.pipeline = 0),
            ("no requests", |plan| plan.requests_per_connection = Some(0)),
            ("a duration or a number", |plan| plan.duration = None),
            ("too short", |plan| plan.duration = Some(Duration::from_millis(1))),
            ("timeout", |plan| plan.timeout = Duration::ZERO),
            ("no header", |plan| plan.headers.push("A b: c".to_owned())),
            ("no header", |plan| plan.headers.push("A: b\r\nC: d".to_owned())),
            ("own affair", |plan| plan.headers.push("connection: close".to_owned())),
            ("weights", |plan| plan.targets[0].weight = 0),
            ("two", |plan| plan.targets.push(Target::get("http://127.0.0.1:81/").expect("a URL"))),
            ("exclude", |plan| (plan.rate, plan.targets[0].rate) = (Some(1.0), Some(1.0))),
        ];
        for (words, change) in changes {
            let mut plan = plan();
            change(&mut plan);
            let refusal = plan.check().expect_err(words).to_string();
            assert!(refusal.contains(words), "{refusal}");
            assert!(!refusal.contains('\n'));
        }
        let mut slow = plan();
        slow.rate = Some(0.0);
        assert!(slow.check().is_err());
    }
}
