//! A confined server behind proxies: whose a connection is, said by the PROXY protocol.

use crate::stand::{Stand, eventually, on_both_drivers};
use ringway_testkit::Client;
use std::net::SocketAddr;

/// A request of a client with this address, as a proxy in front passes it on; `None` when it is not let in.
fn ask(address: SocketAddr, header: &[u8]) -> Option<u16> {
    let mut client = Client::connect(address).unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    client.send(&[header, request].concat()).ok()?;
    client.answer(false).ok().map(|answer| answer.status)
}

#[test]
fn rules_and_logs_go_by_whom_a_trusted_proxy_speaks_for() {
    on_both_drivers(|driver| {
        let mut stand = Stand::new(&format!("run-behind-{driver}"), driver);
        std::fs::create_dir(stand.at("log")).unwrap();
        stand.log = "path = \"log/access.log\"".to_owned();
        stand.server += "[log.error]\npath = \"log/error.log\"\nlevel = \"warn\"\n";
        stand.endpoint = "proxy_protocol = true\ntrusted = [\"127.0.0.0/8\"]".to_owned();
        stand.more = "[[site.rule]]\nfrom = [\"203.0.113.0/24\"]\naction = \"deny\"\n".to_owned();
        stand.write();
        let running = stand.start();
        let address = running.address();
        assert_eq!(ask(address, b"PROXY TCP4 198.51.100.7 127.0.0.1 4000 80\r\n"), Some(200));
        assert_eq!(ask(address, b"PROXY TCP4 203.0.113.9 127.0.0.1 4000 80\r\n"), Some(403));
        let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
        assert_eq!(ask(address, local), Some(200), "the proxy asks for itself whether we are well");
        assert_eq!(ask(address, b""), None, "nobody says whose it is");
        eventually("the log has all of them", || {
            let log = std::fs::read_to_string(stand.at("log/access.log")).unwrap_or_default();
            let has = |name: &str| log.lines().any(|line| line.starts_with(&format!("{name} ")));
            (has("198.51.100.7") && has("203.0.113.9") && has("127.0.0.1")).then_some(())
        });
        let error_log = stand.at("log/error.log");
        let errors = |what: &str| {
            let log = std::fs::read_to_string(&error_log).unwrap_or_default();
            log.contains(what).then_some(())
        };
        eventually("the refusal is told", || errors("there is no PROXY protocol header"));
        // Whom to trust changes with a reload.
        stand.endpoint = "proxy_protocol = true\ntrusted = [\"192.0.2.1\"]".to_owned();
        stand.write();
        stand.reload();
        assert_eq!(ask(address, b"PROXY TCP4 198.51.100.7 127.0.0.1 4000 80\r\n"), None);
        eventually("the stranger is told of", || errors("is no trusted proxy"));
        stand.endpoint = String::new();
        stand.write();
        stand.reload();
        assert_eq!(ask(address, b""), Some(200));
        running.stop();
    });
}
