//! The workloads that servers are compared by.

use std::str::FromStr;
use std::time::Duration;

use super::socket::Talk;
use crate::http::Plan;
use crate::refusal::Refusal;

/// A workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Case {
    /// Its name on the command line and in tables.
    pub(super) name: String,
    /// What is asked for; `None`: what the flag `--path` says.
    pub(super) path: Option<String>,
    /// What is measured.
    pub(super) kind: Kind,
}

/// What is measured of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// CPU time and rate under load.
    Load {
        /// Connections at the same time.
        connections: usize,
        /// Requests sent together.
        pipeline: u32,
        /// A connection for each request.
        close: bool,
    },
    /// CPU time and rate under a load over TLS, which `h2load` makes.
    Secure {
        /// Connections at the same time.
        connections: usize,
        /// Requests under way on each of them: streams of HTTP/2; `None` for HTTP/1.1 with one.
        streams: Option<u32>,
    },
    /// CPU time and rate of messages over WebSockets.
    Socket {
        /// Sockets at the same time.
        connections: usize,
        /// Bytes of a message.
        bytes: usize,
        /// What is said.
        talk: Talk,
    },
    /// CPU time and rate of echoes over TCP.
    Echo {
        /// Connections at the same time.
        connections: u32,
        /// Bytes of a message.
        bytes: u32,
        /// Messages under way on each connection.
        window: u32,
    },
    /// CPU time and rate of echoes by datagrams.
    Datagrams {
        /// Sockets at the same time.
        connections: u32,
        /// Bytes of a datagram.
        bytes: u32,
        /// Datagrams under way on each socket.
        window: u32,
    },
    /// Memory a connection that had one echo over TCP and waits.
    EchoIdle,
    /// Memory a WebSocket that waits.
    SocketIdle,
    /// Memory a connection that waits for its next request.
    Idle,
    /// The same over TLS.
    SecureIdle,
}

/// Name, path, connections, pipeline, close.
const KNOWN: [(&str, Option<&str>, usize, u32, bool); 11] = [
    ("a", Some("/f100.txt"), 64, 1, false),
    ("b", Some("/f100.txt"), 64, 16, false),
    ("c", Some("/f100.txt"), 64, 1, true),
    ("d100", Some("/f200k.bin"), 100, 1, false),
    ("d1000", Some("/f200k.bin"), 1000, 1, false),
    ("e", Some("/f1m.bin"), 10, 1, false),
    ("fa", None, 64, 1, false),
    ("fb", None, 64, 16, false),
    ("p100", Some("/f100.txt"), 64, 1, false),
    ("p200k", Some("/f200k.bin"), 64, 1, false),
    ("php", Some("/hello.php"), 32, 1, false),
];

/// Name, path, connections, streams of HTTP/2.
const KNOWN_SECURE: [(&str, &str, usize, Option<u32>); 5] = [
    ("s100", "/f100.txt", 64, None),
    ("s200k", "/f200k.bin", 64, None),
    ("h100", "/f100.txt", 64, Some(1)),
    ("h100x16", "/f100.txt", 64, Some(16)),
    ("h200k", "/f200k.bin", 64, Some(1)),
];

/// Name, path, sockets, bytes of a message, what is said.
const KNOWN_SOCKETS: [(&str, &str, usize, usize, Talk); 5] = [
    ("w64", "/echo", 64, 64, Talk::Echo { window: 1 }),
    ("w64x16", "/echo", 64, 64, Talk::Echo { window: 16 }),
    ("w16k", "/echo", 64, 16 * 1024, Talk::Echo { window: 1 }),
    ("wcast", "/all", 10_000, 100, Talk::Cast { stalled_of: 0 }),
    ("wstall", "/all", 10_000, 100, Talk::Cast { stalled_of: 100 }),
];

/// Name, connections, bytes of a message, messages under way on each.
const KNOWN_ECHOES: [(&str, u32, u32, u32); 3] =
    [("e64c64", 64, 64, 1), ("e64c64x16", 64, 64, 16), ("e64c1000", 1000, 64, 1)];

/// Name, sockets, bytes of a datagram, datagrams under way on each.
const KNOWN_DATAGRAMS: [(&str, u32, u32, u32); 2] = [("u64c64", 64, 64, 1), ("u64c64x16", 64, 64, 16)];

/// The files that the cases ask for, and their sizes in bytes.
pub(super) const FILES: [(&str, usize); 3] =
    [("f100.txt", 100), ("f200k.bin", 204_800), ("f1m.bin", 1_048_576)];

/// A program among the files, and what it is.
pub(super) const SCRIPT: (&str, &str) = ("hello.php", "<?php\necho 'Hello, world!', PHP_EOL;\n");

impl Case {
    /// For people: what the case does.
    pub(super) fn describe(&self, default_path: &str, idle_connections: usize) -> String {
        let path = self.path(default_path);
        match self.kind {
            Kind::Idle => {
                format!("memory of {idle_connections} connections that asked for {path} once and wait")
            }
            Kind::SecureIdle => {
                format!("memory of {idle_connections} TLS connections that asked for {path} once and wait")
            }
            Kind::SocketIdle => {
                format!("memory of {idle_connections} WebSockets at {path} that had one echo and wait")
            }
            Kind::Echo { connections, bytes, window } => {
                format!(
                    "echoes of {bytes} bytes over {connections} TCP connections, {window} under way on each"
                )
            }
            Kind::Datagrams { connections, bytes, window } => {
                format!(
                    "echoes of {bytes} bytes by datagrams from {connections} sockets, {window} under way on each"
                )
            }
            Kind::EchoIdle => {
                format!("memory of {idle_connections} TCP connections that had one echo and wait")
            }
            Kind::Socket { connections, bytes, talk: Talk::Echo { window } } => {
                format!(
                    "echoes of {bytes} bytes over {connections} WebSockets at {path}, {window} under way on each"
                )
            }
            Kind::Socket { connections, bytes, talk: Talk::Cast { stalled_of: 0 } } => {
                format!(
                    "{bytes} bytes from one of {connections} WebSockets at {path} to all, again and again"
                )
            }
            Kind::Socket { connections, bytes, talk: Talk::Cast { stalled_of } } => format!(
                "{bytes} bytes from one of {connections} WebSockets at {path} to all, one of {stalled_of} of which never reads"
            ),
            Kind::Secure { connections, streams: None } => {
                format!("{path} over {connections} kept TLS 1.3 connections (AES-128-GCM), HTTP/1.1")
            }
            Kind::Secure { connections, streams: Some(streams) } => {
                format!(
                    "{path} over {connections} TLS 1.3 connections (AES-128-GCM), HTTP/2, {streams} streams each"
                )
            }
            Kind::Load { connections, close: true, .. } => {
                format!("{path} over {connections} connections, each for one request")
            }
            Kind::Load { connections, pipeline: 1, .. } => {
                format!("{path} over {connections} kept connections")
            }
            Kind::Load { connections, pipeline, .. } => {
                format!("{path} over {connections} kept connections, {pipeline} requests together")
            }
        }
    }

    /// What is asked for.
    pub(super) fn path<'a>(&'a self, default_path: &'a str) -> &'a str {
        self.path.as_deref().unwrap_or(default_path)
    }

    /// The plan of a load; `None` for cases without one.
    pub(super) fn plan(
        &self,
        url: &str,
        warm_up: Duration,
        time: Duration,
        core: usize,
    ) -> Result<Option<Plan>, Refusal> {
        let Kind::Load { connections, pipeline, close } = self.kind else { return Ok(None) };
        Ok(Some(Plan {
            connections,
            pipeline,
            requests_per_connection: close.then_some(1),
            duration: Some(time),
            warm_up,
            cores: vec![core],
            ..Plan::get(url)?
        }))
    }
}

impl FromStr for Case {
    type Err = String;

    /// A known name, or `NAME:PATH:CONNECTIONS[:PIPELINE][:close]`.
    fn from_str(text: &str) -> Result<Case, String> {
        let idle = match text {
            "idle" => Some(Kind::Idle),
            "sidle" => Some(Kind::SecureIdle),
            _ => None,
        };
        if text == "widle" {
            return Ok(Case {
                name: text.to_owned(),
                path: Some("/echo".to_owned()),
                kind: Kind::SocketIdle,
            });
        }
        if let Some(kind) = echo(text) {
            return Ok(Case { name: text.to_owned(), path: Some("/".to_owned()), kind });
        }
        if let Some((name, path, connections, bytes, talk)) =
            KNOWN_SOCKETS.into_iter().find(|known| known.0 == text)
        {
            let kind = Kind::Socket { connections, bytes, talk };
            return Ok(Case { name: name.to_owned(), path: Some(path.to_owned()), kind });
        }
        if let Some(kind) = idle {
            return Ok(Case { name: text.to_owned(), path: Some("/f100.txt".to_owned()), kind });
        }
        if let Some((name, path, connections, streams)) =
            KNOWN_SECURE.into_iter().find(|known| known.0 == text)
        {
            let kind = Kind::Secure { connections, streams };
            return Ok(Case { name: name.to_owned(), path: Some(path.to_owned()), kind });
        }
        if let Some((name, path, connections, pipeline, close)) =
            KNOWN.into_iter().find(|known| known.0 == text)
        {
            let kind = Kind::Load { connections, pipeline, close };
            return Ok(Case { name: name.to_owned(), path: path.map(str::to_owned), kind });
        }
        own(text).ok_or_else(|| {
            let secure = KNOWN_SECURE.iter().map(|known| known.0);
            let sockets = KNOWN_SOCKETS.iter().map(|known| known.0);
            let echoes = KNOWN_ECHOES.iter().chain(&KNOWN_DATAGRAMS).map(|known| known.0);
            let known = KNOWN.iter().map(|known| known.0).chain(secure).chain(sockets).chain(echoes);
            let known: Vec<&str> = known.collect();
            format!(
                "a case is one of {}, idle, sidle, widle, tidle, or NAME:PATH:CONNECTIONS[:PIPELINE][:close]",
                known.join(", ")
            )
        })
    }
}

/// A case of echoes over TCP or by datagrams.
fn echo(text: &str) -> Option<Kind> {
    if text == "tidle" {
        return Some(Kind::EchoIdle);
    }
    if let Some((_, connections, bytes, window)) = KNOWN_DATAGRAMS.into_iter().find(|known| known.0 == text) {
        return Some(Kind::Datagrams { connections, bytes, window });
    }
    let (_, connections, bytes, window) = KNOWN_ECHOES.into_iter().find(|known| known.0 == text)?;
    Some(Kind::Echo { connections, bytes, window })
}

/// A case that was spelt out.
fn own(text: &str) -> Option<Case> {
    let mut parts: Vec<&str> = text.split(':').collect();
    let close = parts.last() == Some(&"close");
    if close {
        parts.pop();
    }
    let (name, path, connections, pipeline) = match parts[..] {
        [name, path, connections] => (name, path, connections, "1"),
        [name, path, connections, pipeline] => (name, path, connections, pipeline),
        _ => return None,
    };
    let kind = Kind::Load { connections: connections.parse().ok()?, pipeline: pipeline.parse().ok()?, close };
    let sound =
        !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-');
    (sound && path.starts_with('/')).then(|| Case {
        name: name.to_owned(),
        path: Some(path.to_owned()),
        kind,
    })
}

#[test]
fn known_cases_are_those_of_the_yardstick() {
    let kind = |name: &str| name.parse::<Case>().expect("it is known").kind;
    assert_eq!(kind("b"), Kind::Load { connections: 64, pipeline: 16, close: false });
    assert_eq!(kind("c"), Kind::Load { connections: 64, pipeline: 1, close: true });
    assert_eq!(kind("d1000"), Kind::Load { connections: 1000, pipeline: 1, close: false });
    assert_eq!(kind("php"), Kind::Load { connections: 32, pipeline: 1, close: false });
    assert_eq!(kind("idle"), Kind::Idle);
    assert_eq!(kind("widle"), Kind::SocketIdle);
    assert_eq!(kind("w64x16"), Kind::Socket { connections: 64, bytes: 64, talk: Talk::Echo { window: 16 } });
    assert_eq!(kind("sidle"), Kind::SecureIdle);
    assert_eq!(kind("tidle"), Kind::EchoIdle);
    assert_eq!(kind("u64c64x16"), Kind::Datagrams { connections: 64, bytes: 64, window: 16 });
    assert_eq!(kind("e64c1000"), Kind::Echo { connections: 1000, bytes: 64, window: 1 });
    assert_eq!(kind("s200k"), Kind::Secure { connections: 64, streams: None });
    assert_eq!(kind("h100x16"), Kind::Secure { connections: 64, streams: Some(16) });
    assert_eq!("fa".parse::<Case>().expect("it is known").path("/hello"), "/hello");
}

#[test]
fn cases_can_be_spelt_out() {
    let case: Case = "mine:/x?y=z:8:4".parse().expect("it is sound");
    assert_eq!(
        (case.path("/"), case.kind),
        ("/x?y=z", Kind::Load { connections: 8, pipeline: 4, close: false })
    );
    let case: Case = "mine:/x:8:close".parse().expect("it is sound");
    assert_eq!(case.kind, Kind::Load { connections: 8, pipeline: 1, close: true });
    for wrong in ["", "z", "mine:x:8", "mine:/x", "mine:/x:many", "m e:/x:1", "mine:/x:1:2:3", ":/x:1"] {
        assert!(wrong.parse::<Case>().is_err(), "{wrong:?}");
    }
}

#[test]
fn every_known_case_has_a_plan_that_can_be_carried_out() {
    for (name, ..) in KNOWN {
        let case: Case = name.parse().expect("it is known");
        let url = format!("http://127.0.0.1:8080{}", case.path("/"));
        let plan = case.plan(&url, Duration::ZERO, Duration::from_secs(1), 0).expect("the URL is sound");
        assert!(plan.expect("it is a load").check().is_ok(), "{name}");
        let file = case.path("/").trim_start_matches('/');
        assert!(
            case.path.is_none() || FILES.iter().any(|known| known.0 == file) || file == SCRIPT.0,
            "{file} is made for the servers"
        );
    }
}
