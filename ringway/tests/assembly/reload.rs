//! Reload: another configuration takes over, and connections live on.

use crate::served::{ENDPOINT, Served, drivers, files};
use ringway_testkit::Client;
use std::net::TcpListener;

fn text(root: &str, more: &str) -> String {
    format!("{ENDPOINT}\n{more}\n[[site]]\nnames = [\"*\"]\nroot = \"{root}\"\n")
}

#[test]
fn an_open_connection_sees_the_new_configuration() {
    let folder = files("run-reload", &[("a/index.html", "a"), ("b/index.html", "b")]);
    for driver in drivers() {
        let mut served = Served::new(&text("a", ""), folder.path(), driver);
        let mut client = served.client();
        let mut ask = || {
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("the connection is open");
            client.answer(false).expect("an answer").body
        };
        assert_eq!(ask(), b"a");
        for _ in 0..20 {
            served.reload(&text("b", ""), folder.path()).expect("it is taken");
            assert_eq!(ask(), b"b");
            served.reload(&text("a", ""), folder.path()).expect("it is taken");
            assert_eq!(ask(), b"a");
        }
        assert_eq!(served.get("x", "/"), (200, "a".to_owned()));
    }
}

fn ask(client: &mut Client) -> u16 {
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("it is taken");
    client.answer(false).expect("an answer").status
}

#[test]
fn addresses_come_and_go() {
    let folder = files("run-addresses", &[("index.html", "i")]);
    let free = || TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr()).expect("a port");
    let (one, two) = (free(), free());
    let endpoint =
        |name: &str, address| format!("[[endpoint]]\nname = \"{name}\"\nlisten = [\"{address}\"]\n");
    let rest = "[log.access]\nformat = \"off\"\n[[site]]\nnames = [\"*\"]\nroot = \".\"\n";
    for driver in drivers() {
        let mut served = Served::new(&format!("{}{rest}", endpoint("one", one)), folder.path(), driver);
        let mut kept = Client::connect(one).expect("the first listens");
        assert_eq!(ask(&mut kept), 200);
        served
            .reload(&format!("{}{}{rest}", endpoint("one", one), endpoint("two", two)), folder.path())
            .expect("it is taken");
        assert_eq!(ask(&mut Client::connect(two).expect("the second listens")), 200);
        served.reload(&format!("{}{rest}", endpoint("two", two)), folder.path()).expect("it is taken");
        assert_eq!(ask(&mut Client::connect(two).expect("the second listens still")), 200);
        assert_eq!(
            kept.until_end().expect("an end"),
            b"",
            "an idle connection of an address that is gone ends"
        );
        assert!(Client::connect(one).is_err(), "the first is gone");
    }
}

#[test]
fn what_cannot_be_had_changes_nothing() {
    let folder = files("run-broken", &[("a/index.html", "a"), ("b/index.html", "b")]);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let more = format!("[[endpoint]]\nname = \"other\"\nlisten = [\"127.0.0.1:0\", \"{address}\"]\n");
    let mut served = Served::new(&text("a", ""), folder.path(), drivers()[0]);
    let error = served.reload(&text("b", &more), folder.path()).expect_err("the port is taken");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    assert_eq!(served.get("x", "/"), (200, "a".to_owned()));
    drop(taken);
    served.reload(&text("b", &more), folder.path()).expect("the port is free");
    assert_eq!(served.get("x", "/"), (200, "b".to_owned()));
}
