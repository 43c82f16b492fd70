//! The machines against the Autobahn test suite, as server and as client, over plain sockets that wait.

mod peer;

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use ringway_testkit::autobahn::{FuzzingServer, Verdicts, play_client};
use ringway_ws::deflate::Options;
use ringway_ws::handshake::Ask;

use peer::{Heard, Peer};

/// The sections that take seconds. 6 is UTF-8, 7 closing; 10 is about fragments of the client's own making.
const QUICK: [&str; 8] = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"];

/// Messages of up to 16 MiB, and compression of thousands of them at a time: minutes each.
const LONG: [&str; 3] = ["9.*", "12.*", "13.*"];

/// How long all of the long sections may take.
const PATIENCE: Duration = Duration::from_secs(3600);

/// The suite has names of its own for sections, so another subset can be asked for: `RINGWAY_AUTOBAHN="12.1.* 13.3.*"`.
fn cases() -> Vec<String> {
    if let Ok(asked) = std::env::var("RINGWAY_AUTOBAHN") {
        return asked.split_whitespace().map(str::to_owned).collect();
    }
    let slow = std::env::var_os("RINGWAY_SLOW").is_some_and(|value| value == "1");
    let long: &[&str] = if slow { &LONG } else { &[] };
    QUICK.iter().chain(long).map(|section| (*section).to_owned()).collect()
}

fn judge(verdicts: &Verdicts) {
    let wanting = verdicts.wanting();
    eprintln!("{} cases, {} of them wanting", verdicts.count(), wanting.len());
    assert!(verdicts.count() > 0, "no case was run");
    assert!(wanting.is_empty(), "{}", wanting.join("\n"));
}

/// What is agreed on in these tests: all there is, so that contexts that are kept are tested too.
fn options() -> Options {
    Options { server_takeover: true, client_takeover: true, message_bytes_min: 0, ..Options::default() }
}

#[test]
fn a_server_passes_what_the_suites_client_plays() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("ws://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.expect("a connection");
            std::thread::spawn(move || {
                if let Some(mut peer) = Peer::accept(stream, &options()) {
                    peer.echo();
                }
            });
        }
    });
    let cases = cases();
    let cases: Vec<&str> = cases.iter().map(String::as_str).collect();
    judge(&play_client(&url, &cases, PATIENCE));
}

#[test]
fn a_client_passes_what_the_suites_server_plays() {
    let cases = cases();
    let cases: Vec<&str> = cases.iter().map(String::as_str).collect();
    let server = FuzzingServer::start(&cases);
    let host = format!("127.0.0.1:{}", server.port());
    let connect = |target: &str| {
        let stream = TcpStream::connect(&host).expect("the suite listens");
        let options = options();
        let ask =
            Ask { host: &host, target, origin: None, protocols: &[], deflate: Some(&options), fields: &[] };
        Peer::connect(stream, &ask)
    };
    let mut counting = connect("/getCaseCount");
    let mut count = 0;
    while let Some(heard) = counting.hear() {
        if let Heard::Text(text) = heard {
            count = text.parse().expect("a number of cases");
        }
    }
    for case in 1..=count {
        connect(&format!("/runCase?case={case}&agent=ringway")).echo();
    }
    connect("/updateReports?agent=ringway").echo();
    let verdicts = server.verdicts();
    assert_eq!(verdicts.count(), count);
    judge(&verdicts);
}
