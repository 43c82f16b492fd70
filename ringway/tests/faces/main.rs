//! The faces over HTTP on real sockets: metrics, health, dashboard; and the dashboard in a real browser.
#![forbid(unsafe_code)]

mod browser;
mod stand;
mod upstreams;

use ringway_testkit::Client;
use serde_json::Value;
use stand::{CREDENTIALS, PATIENCE, ask, eventually, on_each_driver};
use std::io::Read;
use std::time::{Duration, Instant};

/// The value of one series in Prometheus' text.
fn series(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn metrics_count_what_was_answered() {
    on_each_driver(|stand| {
        for _ in 0..3 {
            assert_eq!(stand.get("/health/live").status, 200);
        }
        assert_eq!(stand.get("/nothing").status, 404);
        let answer = stand.get("/metrics");
        assert_eq!(answer.field("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        let text = String::from_utf8(answer.body).expect("UTF-8");
        let of_class = |class: &str| {
            series(&text, &format!("ringway_requests_total{{site=\"example.org\",code_class=\"{class}\"}}"))
        };
        assert_eq!((of_class("2xx"), of_class("4xx"), of_class("5xx")), (Some(3.0), Some(1.0), Some(0.0)));
        let count = series(&text, "ringway_request_duration_seconds_count{site=\"example.org\"}");
        assert_eq!(count, Some(4.0));
        assert_eq!(series(&text, "ringway_generation"), Some(3.0));
        assert!(text.contains("ringway_worker_busy_seconds_total{worker=\"1\"}"), "{text}");

        let answer =
            stand.ask("GET /metrics HTTP/1.1", "Accept: application/openmetrics-text;version=1.0.0\r\n");
        assert!(
            answer.field("content-type").is_some_and(|kind| kind.starts_with("application/openmetrics-text"))
        );
        assert!(answer.body.ends_with(b"# EOF\n"));
        assert_eq!(stand.get("/closed").status, 404, "only for another network");
        assert_eq!(stand.ask("POST /metrics HTTP/1.1", "Content-Length: 0\r\n").status, 405);
        let head = stand.ask("HEAD /metrics HTTP/1.1", "");
        assert!(head.field("content-length").is_some_and(|len| len != "0"));
        stand.stop();
    });
}

#[test]
fn a_server_that_drains_is_live_and_not_ready() {
    on_each_driver(|stand| {
        assert_eq!(
            (stand.get("/health/live").body, stand.get("/health/ready").body),
            (b"live\n".to_vec(), b"ready\n".to_vec())
        );
        let mut late: Vec<Client> = (0..2).map(|_| stand.client()).collect();
        for (client, path) in late.iter_mut().zip(["/health/ready", "/health/live"]) {
            // Whole enough that the server waits for the rest.
            client
                .send(format!("GET {path} HTTP/1.1\r\nHost: example.org\r\nX-Half:").as_bytes())
                .expect("open");
        }
        eventually("both are accepted", || stand.running.snapshot().total("open") == 2);
        stand.running.drain(PATIENCE);
        let answers: Vec<_> = late
            .iter_mut()
            .map(|client| {
                client.send(b" yes\r\n\r\n").expect("open");
                client.answer(false).expect("what was begun is answered")
            })
            .collect();
        assert_eq!((answers[0].status, answers[0].field("retry-after")), (503, Some("5")));
        assert_eq!(answers[0].body, b"draining\n");
        assert_eq!((answers[1].status, answers[1].field("connection")), (200, Some("close")));
        drop(late);
        stand.stop();
    });
}

#[test]
fn the_dashboard_is_for_those_who_prove_who_they_are() {
    on_each_driver(|stand| {
        for path in ["/ringway/", "/ringway/events", "/ringway"] {
            let answer = stand.get(path);
            assert_eq!((answer.status, answer.field("www-authenticate").is_some()), (401, true), "{path}");
        }
        for path in ["/open/", "/open/events"] {
            assert_eq!(stand.get(path).status, 403, "{path}: a dashboard that nobody guards is shut");
        }
        let page = stand.ask("GET /ringway/ HTTP/1.1", CREDENTIALS);
        assert_eq!(page.status, 200);
        let policy = page.field("content-security-policy").expect("a policy").to_owned();
        let nonce = policy.split("script-src 'nonce-").nth(1).and_then(|rest| rest.split('\'').next());
        let nonce = nonce.expect("script is obeyed by number only");
        let text = String::from_utf8(page.body).expect("UTF-8");
        assert_eq!(text.matches(&format!("nonce=\"{nonce}\"")).count(), 2);
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        let again = stand.ask("GET /ringway/ HTTP/1.1", CREDENTIALS);
        assert_ne!(again.field("content-security-policy"), Some(policy.as_str()), "a new number each time");
        let moved = stand.ask("GET /ringway HTTP/1.1", CREDENTIALS);
        assert_eq!((moved.status, moved.field("location")), (308, Some("/ringway/")));
        assert_eq!(stand.ask("GET /ringway/other HTTP/1.1", CREDENTIALS).status, 404);
        assert_eq!(stand.ask("DELETE /ringway/ HTTP/1.1", CREDENTIALS).status, 405);
        stand.stop();
    });
}

/// Frames as they come.
struct Frames(Vec<u8>);

impl Frames {
    /// The next frame; chunks' heads are not part of any line that begins with `data:`.
    fn next(&mut self, client: &Client) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(start) = self.0.windows(6).position(|part| part == b"data: ")
                && let Some(len) = self.0[start..].windows(2).position(|part| part == b"\n\n")
            {
                let frame = serde_json::from_slice(&self.0[start + 6..start + len]).expect("JSON");
                self.0.drain(..start + len);
                return frame;
            }
            assert!(Instant::now() < until, "no frame comes");
            let mut buffer = [0; 16 * 1024];
            let mut stream = client.stream();
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            let count = stream.read(&mut buffer).expect("it goes on");
            assert_ne!(count, 0, "it ended");
            self.0.extend_from_slice(&buffer[..count]);
        }
    }
}

#[test]
fn frames_follow_each_other_and_end_with_the_viewer_or_the_server() {
    on_each_driver(|stand| {
        let mut client = stand.client();
        ask(&mut client, "GET /ringway/events HTTP/1.1", CREDENTIALS);
        let mut frames = Frames(Vec::new());
        let first = frames.next(&client);
        assert_eq!(first["now"]["generation"], 3);
        let started = Instant::now();
        for _ in 0..5 {
            assert_eq!(stand.get("/health/live").status, 200);
        }
        let mut requests = first["now"]["requests"].as_u64().expect("a number");
        let mut rates = 0.0;
        for _ in 0..2 {
            let frame = frames.next(&client);
            requests = frame["now"]["requests"].as_u64().expect("a number");
            rates += frame["rates"]["requests"].as_f64().expect("a number");
            assert_eq!(frame["rates"]["sites"][0]["active"], 1, "the stream itself");
        }
        assert!(started.elapsed() > Duration::from_millis(1500), "a frame a second");
        assert!(requests >= 5 && rates > 1.0, "{requests} requests, {rates}/s");
        assert_eq!(stand.live.viewers(), 1);
        drop(client);
        eventually("who has gone is no viewer", || stand.live.viewers() == 0);

        let mut client = stand.client();
        ask(&mut client, "GET /ringway/events HTTP/1.1", CREDENTIALS);
        Frames(Vec::new()).next(&client);
        stand.running.drain(PATIENCE);
        let rest = client.until_end().expect("a clean end");
        assert!(rest.ends_with(b"0\r\n\r\n"), "{:?}", rest.escape_ascii().to_string());
        drop(client);
        stand.stop();
    });
}
