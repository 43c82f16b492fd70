//! The cases of `http_desync_guardian` sent to the real server: what smuggles is refused once and ends the connection, what is
//! accepted ends where the next request begins; and a server behind it gets the same requests, with one reading.

use crate::stand::{Running, Setup};
use ringway_testkit::{Answer, Client};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

#[path = "../../../pure/http/tests/desync_guardian/cases.rs"]
mod cases;

use cases::{Case, cases};

/// Stands behind every case: it is answered where the case ended, or never.
const NEXT: &[u8] = b"GET /next HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// Bodies hold it over and over: a server that loses its place in one answers what must not be seen.
const SMUGGLED: &[u8] = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Settings of `[limits]`: bodies are as long as the cases say.
const LIMITS: &str = "body_size = \"8 MiB\"\nconnections_per_address = 0\n";

/// What became of a case.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// Refused with this status, and nothing behind it was answered.
    Refused(u16),
    /// Answered, and so was what followed.
    Accepted,
}

/// The body that the head announces, as a parser reads it that takes the field at its word.
fn body_of(case: &Case) -> Vec<u8> {
    let text = String::from_utf8_lossy(&case.bytes).to_ascii_lowercase();
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    for (name, value) in fields {
        match (name, value.trim()) {
            ("content-length", length) => {
                let length = length.parse().unwrap_or(0);
                return SMUGGLED.iter().copied().cycle().take(length).collect();
            }
            ("transfer-encoding", _) => {
                let size = format!("{:x}\r\n", SMUGGLED.len());
                return [size.as_bytes(), SMUGGLED, b"\r\n0\r\n\r\n"].concat();
            }
            _ => {}
        }
    }
    Vec::new()
}

/// Sends a case, its body, and another request. A server that refuses may close before it has read all of that.
fn outcome(address: SocketAddr, case: &Case) -> Outcome {
    let mut client = Client::connect(address).unwrap();
    let all = [&case.bytes[..], &body_of(case), NEXT].concat();
    let sent = client.send(&all);
    let is_head = case.bytes.starts_with(b"HEAD ");
    let first = client.answer(is_head).unwrap_or_else(|error| panic!("{case:?}: {error}"));
    let rest = client.until_end();
    if is_refusal(&first) {
        let is_reset = rest.is_err();
        assert_eq!(first.field("connection"), Some("close"), "{case:?}: {first:?}");
        // A reset may take the end's place where more was sent than was read. What is no request is answered with a body
        // even where it begins as HEAD.
        let is_alone = rest.is_ok_and(|rest| !String::from_utf8_lossy(&rest).contains("HTTP/1."));
        assert!(is_alone || is_reset, "{case:?} is answered twice");
        return Outcome::Refused(first.status);
    }
    sent.unwrap_or_else(|error| panic!("{case:?}: {error}"));
    let rest = rest.unwrap_or_else(|error| panic!("{case:?}: {error}"));
    let rest = String::from_utf8_lossy(&rest).into_owned();
    assert!(rest.starts_with("HTTP/1.1 200 ") && rest.ends_with("\r\n\r\nnext"), "{case:?}: then {rest:?}");
    assert_eq!(rest.matches("HTTP/1.1 ").count(), 1, "{case:?}: then {rest:?}");
    // No path names anything with a control byte, which is no refusal.
    let is_named = !["%09", "%0A", "%0D"].iter().any(|escape| has(case, escape));
    let body: &[u8] = if is_head { b"" } else { b"taken" };
    assert!(if is_named { first.body == body } else { first.status == 404 }, "{case:?}: {first:?}");
    Outcome::Accepted
}

fn has(case: &Case, text: &str) -> bool {
    String::from_utf8_lossy(&case.bytes).contains(text)
}

fn is_refusal(answer: &Answer) -> bool {
    matches!(answer.status, 400 | 411 | 413 | 414 | 417 | 431 | 501 | 505)
}

/// Asserts what the tier asks for; whether the case was accepted.
fn judge(case: &Case, outcome: &Outcome) -> bool {
    match (case.tier.as_str(), outcome) {
        ("Severe", Outcome::Refused(_)) | ("Compliant", Outcome::Accepted) => {}
        // Codings besides plain chunked are not implemented; an empty target has no form of RFC 9112 section 3.2.
        ("Compliant", Outcome::Refused(501)) if has_other_codings(case) => {}
        ("Compliant", Outcome::Refused(400)) if case.bytes.starts_with(b"GET  HTTP/1.1\r\n") => {}
        ("Ambiguous" | "Acceptable", _) => {}
        _ => panic!("{case:?}: {outcome:?}"),
    }
    *outcome == Outcome::Accepted
}

fn has_other_codings(case: &Case) -> bool {
    let text = String::from_utf8_lossy(&case.bytes).to_ascii_lowercase();
    let mut codings = text.lines().filter_map(|line| line.strip_prefix("transfer-encoding:"));
    codings.any(|codings| codings.trim() != "chunked")
}

/// Asserts what the tiers ask for of a server where every path but `/next` answers `taken`; how many were accepted.
fn judge_all(address: SocketAddr) -> usize {
    let accepted = cases().iter().filter(|case| judge(case, &outcome(address, case))).count();
    // 20 of the compliant ones, and 10 with one reading of those in between.
    assert_eq!(accepted, 30);
    accepted
}

#[test]
fn what_smuggles_is_refused_and_what_is_sound_is_served() {
    for driver in ["auto", "epoll"] {
        let config = format!(
            "[server]\npid_file = \"pid\"\ndriver = \"{driver}\"\n[console]\nenabled = false\n\
             [log.access]\nformat = \"off\"\n[limits]\n{LIMITS}[[endpoint]]\nname = \"web\"\n\
             listen = [\"127.0.0.1:0\"]\n[[site]]\nnames = [\"*\"]\n[[site.route]]\npath = \"/**\"\n\
             respond = {{ body = \"taken\" }}\n[[site.route]]\npath = \"/next\"\nrespond = {{ body = \"next\" }}\n"
        );
        judge_all(Running::start("smuggling", &config).address());
    }
}

#[test]
fn what_is_accepted_has_one_reading_for_the_server_behind() {
    let recorder = Recorder::start();
    let setup = Setup { limits: LIMITS.to_owned(), ..Setup::before(&[recorder.address]) };
    let setup = Setup { proxy: "body_size = \"8 MiB\"".to_owned(), ..setup };
    let running = setup.start("smuggling-behind");
    let accepted = judge_all(running.address());
    let connections = recorder.connections.lock().unwrap();
    let requests: Vec<Recorded> = connections.iter().flat_map(|bytes| all_in(bytes)).collect();
    let is_next = |recorded: &&Recorded| recorded.head.starts_with("GET /next HTTP/1.1\r\n");
    // Three of them name what no path can name, and go no further.
    assert_eq!(requests.iter().filter(is_next).count(), accepted);
    assert_eq!(requests.len(), 2 * accepted - 3);
    assert!(!requests.iter().any(|recorded| recorded.head.contains(" /smuggled ")), "it was taken for one");
    for recorded in &requests {
        let is_whole = recorded.body.iter().zip(SMUGGLED.iter().cycle()).all(|(got, sent)| got == sent);
        assert!(is_whole, "another body: {}", recorded.head);
    }
}

/// A server behind, which keeps what it gets and answers each request.
struct Recorder {
    address: SocketAddr,
    connections: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Recorder {
    /// Its threads end with the connections, the last with the process.
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&connections);
        std::thread::spawn(move || {
            while let Ok((socket, _)) = listener.accept() {
                let place = {
                    let mut kept = kept.lock().unwrap();
                    kept.push(Vec::new());
                    kept.len() - 1
                };
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || record(socket, place, &kept));
            }
        });
        Self { address, connections }
    }
}

fn record(mut socket: TcpStream, place: usize, kept: &Mutex<Vec<Vec<u8>>>) {
    let (mut at, mut buffer) = (0, vec![0; 64 * 1024]);
    loop {
        let count = match socket.read(&mut buffer) {
            Ok(count) if count > 0 => count,
            _ => return,
        };
        let mut kept = kept.lock().unwrap();
        let bytes = &mut kept[place];
        bytes.extend_from_slice(&buffer[..count]);
        while let Some((recorded, end)) = next_in(&bytes[at..]) {
            at += end;
            let body = if recorded.head.starts_with("GET /next ") { "next" } else { "taken" };
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            let body = if recorded.head.starts_with("HEAD ") { "" } else { body };
            let _gone = socket.write_all([head.as_bytes(), body.as_bytes()].concat().as_slice());
        }
    }
}

/// A request as the server behind got it.
struct Recorded {
    head: String,
    body: Vec<u8>,
}

/// All requests of a connection, with nothing between or behind them.
fn all_in(mut bytes: &[u8]) -> Vec<Recorded> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let (recorded, end) = next_in(bytes).expect("the last request is whole");
        all.push(recorded);
        bytes = &bytes[end..];
    }
    all
}

/// The request at the front and where it ends; `None` while it is not whole. Whatever two servers could read differently
/// fails the test.
fn next_in(bytes: &[u8]) -> Option<(Recorded, usize)> {
    let head_end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let mut framing = Vec::new();
    let mut hosts = 0;
    let mut lines = head[..head.len() - 4].split("\r\n");
    let first: Vec<&str> = lines.next().unwrap().split(' ').collect();
    assert!(first.len() == 3 && first[1].starts_with('/') && first[2] == "HTTP/1.1", "{head:?}");
    for line in lines {
        assert!(!line.contains(|letter: char| letter.is_control() && letter != '\t'), "{line:?} of {head:?}");
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?} of {head:?}"));
        let is_token = |letter: char| letter.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(letter);
        assert!(!name.is_empty() && name.chars().all(is_token), "{line:?} of {head:?}");
        let plain = name.to_ascii_lowercase().replace('_', "-");
        hosts += usize::from(plain == "host");
        if plain == "content-length" || plain == "transfer-encoding" {
            framing.push((name.to_ascii_lowercase(), value.to_owned()));
        }
    }
    assert_eq!(hosts, 1, "{head:?}");
    let rest = &bytes[head_end..];
    let framing: Vec<(&str, &str)> = framing.iter().map(|(name, value)| (&**name, &**value)).collect();
    let (body, end) = match framing[..] {
        [] => (Vec::new(), 0),
        [("content-length", digits)] => {
            assert!(digits.bytes().all(|byte| byte.is_ascii_digit()), "{head:?}");
            let length: usize = digits.parse().unwrap();
            (rest.get(..length)?.to_vec(), length)
        }
        [("transfer-encoding", "chunked")] => chunks_in(rest)?,
        _ => panic!("not one framing: {head:?}"),
    };
    Some((Recorded { head, body }, head_end + end))
}

/// A chunked body without extensions and trailers, and where it ends.
fn chunks_in(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let digits = bytes[at..].windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&bytes[at..at + digits]).unwrap();
        assert!(!size.is_empty() && size.bytes().all(|byte| byte.is_ascii_hexdigit()), "{size:?}");
        let size = usize::from_str_radix(size, 16).unwrap();
        at += digits + 2;
        let chunk = bytes.get(at..at + size + 2)?;
        assert!(chunk.ends_with(b"\r\n"), "a chunk of another length");
        body.extend_from_slice(&chunk[..size]);
        at += size + 2;
        if size == 0 {
            return Some((body, at));
        }
    }
}
