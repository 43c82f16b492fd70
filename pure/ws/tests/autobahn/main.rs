//! The machines against the Autobahn test suite, as server and as client, over plain sockets that wait.

mod peer;

use std::net::{TcpListener, TcpStream};

use ringway_testkit::autobahn::{FuzzingServer, PATIENCE_OF_ALL, chosen, play_client};
use ringway_ws::deflate::Options;
use ringway_ws::handshake::Ask;

use peer::{Heard, Peer};

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
    play_client(&url, &chosen(), PATIENCE_OF_ALL).judge("the machines as a server");
}

#[test]
fn a_client_passes_what_the_suites_server_plays() {
    let server = FuzzingServer::start(&chosen());
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
    verdicts.judge("the machines as a client");
}
