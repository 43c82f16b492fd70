//! Trusted proxies before us: who the client is, for logs, rules and limits.

use crate::stand::Setup;
use crate::upstream::Upstream;

const FINE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn with_rule(upstream: &Upstream, endpoint: &str) -> Setup {
    let rule = "[[site.rule]]\nname = \"nobody-from-there\"\naction = \"deny\"\nfrom = [\"192.0.2.0/24\"]";
    Setup { endpoint: endpoint.to_owned(), more: rule.to_owned(), ..Setup::before(&[upstream.address()]) }
}

#[test]
fn a_trusted_proxy_says_who_the_client_is() {
    let upstream = Upstream::always(FINE);
    let setup =
        with_rule(&upstream, "trusted = [\"127.0.0.0/8\", \"10.0.0.0/8\"]\nforwarded = \"x-forwarded-for\"");
    let ringway = setup.start("proxy-trusted");
    let lines = "X-Forwarded-For: 6.6.6.6, 203.0.113.9, 10.1.1.1\r\nX-Forwarded-Proto: https\r\nForwarded: for=6.6.6.6\r\n";
    assert_eq!(ringway.ask("GET /a", lines, b"").status, 200);
    let head = upstream.last_head();
    for line in [
        "X-Forwarded-For: 6.6.6.6, 203.0.113.9, 10.1.1.1, 127.0.0.1",
        "X-Forwarded-Proto: https",
        "Forwarded: for=203.0.113.9;host=test.example;proto=http",
    ] {
        assert!(head.contains(line), "{line} in {head}");
    }
    assert_eq!(ringway.ask("GET /b", "X-Forwarded-For: 192.0.2.77\r\n", b"").status, 403);
    assert_eq!(ringway.ask("GET /c", "X-Forwarded-For: 192.0.2.77, 203.0.113.9\r\n", b"").status, 200);
    let log = ringway.access_log(3);
    let clients: Vec<&str> = log.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(clients, ["203.0.113.9", "192.0.2.77", "203.0.113.9"]);
}

#[test]
fn whoever_is_not_trusted_is_the_client() {
    let upstream = Upstream::always(FINE);
    for (number, endpoint) in
        ["", "trusted = [\"10.0.0.0/8\"]\nforwarded = \"x-forwarded-for\""].into_iter().enumerate()
    {
        let ringway = with_rule(&upstream, endpoint).start(&format!("proxy-untrusted-{number}"));
        assert_eq!(ringway.ask("GET /", "X-Forwarded-For: 192.0.2.77\r\n", b"").status, 200);
        assert!(upstream.last_head().contains("X-Forwarded-For: 127.0.0.1\r\n"));
        assert!(ringway.access_log(1).starts_with("127.0.0.1 "));
    }
}

#[test]
fn forwarded_is_believed_instead_where_that_is_what_the_proxy_writes() {
    let upstream = Upstream::always(FINE);
    let setup = with_rule(&upstream, "trusted = [\"127.0.0.1\"]\nforwarded = \"forwarded\"");
    let ringway = setup.start("proxy-forwarded");
    assert_eq!(ringway.ask("GET /", "X-Forwarded-For: 192.0.2.77\r\n", b"").status, 200);
    assert_eq!(ringway.ask("GET /", "Forwarded: for=192.0.2.77\r\n", b"").status, 403);
    assert_eq!(ringway.ask("GET /", "Forwarded: for=\"192.0.2.77\r\n", b"").status, 400);
}
