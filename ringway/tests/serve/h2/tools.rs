//! Other people's clients: curl, nghttp and h2load, where they are installed.

use crate::server::{Driver, Server, Setup, age, pattern};
use ringway_testkit::Scratch;
use std::process::{Command, Output};

on_both_drivers!(curl, nghttp, h2load, over_tls);

const LARGE_BYTES: usize = 5_000_000;

fn site() -> Scratch {
    let scratch = Scratch::new("h2-tools");
    age(&scratch.file("a.txt", &pattern(100)));
    age(&scratch.file("large.bin", &pattern(LARGE_BYTES)));
    age(&scratch.file("b/index.html", b"<p>index</p>"));
    scratch
}

fn url(server: &Server, path: &str) -> String {
    format!("http://{}{path}", server.address())
}

/// Runs a tool; `None`, said loudly, where there is none.
fn run(tool: &str, arguments: &[&str]) -> Option<Output> {
    match Command::new(tool).args(arguments).output() {
        Ok(output) => Some(output),
        Err(error) => {
            eprintln!("SKIPPED: {tool}: {error}");
            None
        }
    }
}

fn curl(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).start();
    let ask = |arguments: &[&str], path: &str| {
        let url = url(&server, path);
        let all = [&["-sS", "--max-time", "20", "--http2-prior-knowledge"], arguments, &[&*url]].concat();
        run("curl", &all)
    };
    let Some(large) = ask(&[], "/large.bin") else { return };
    assert!(large.stdout == pattern(LARGE_BYTES), "{}", String::from_utf8_lossy(&large.stderr));
    let text = |output: Option<Output>| {
        let output = output.expect("it ran before");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let head = text(ask(&["-I"], "/a.txt"));
    assert!(head.starts_with("HTTP/2 200") && head.contains("content-length: 100\r\n"), "{head}");
    // Some versions cannot use a connection twice without TLS: one request each.
    assert_eq!(text(ask(&[], "/b/")), "<p>index</p>");
    let code = ["-o", "/dev/null", "-w", "%{http_code} %{http_version} %{size_download}"];
    assert_eq!(text(ask(&[&code[..], &["-r", "10-19"]].concat(), "/a.txt")), "206 2 10");
    assert_eq!(text(ask(&[&code[..], &["-d", "x=y"]].concat(), "/a.txt")).split(' ').next(), Some("405"));
    let upload = format!("@{}", site.path().join("large.bin").display());
    let refused = text(ask(&[&code[..], &["--data-binary", &upload]].concat(), "/a.txt"));
    assert!(refused.starts_with("413 2 "), "{refused}");
    server.stop().cleanly();
}

fn nghttp(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).start();
    let (a, large) = (url(&server, "/a.txt"), url(&server, "/large.bin"));
    let Some(output) = run("nghttp", &["-t", "20", "--no-dep", "-w", "17", &large, &a]) else { return };
    assert!(output.status.success());
    assert_eq!(output.stdout.len(), LARGE_BYTES + 100);
    server.stop().cleanly();
}

fn h2load(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).start();
    for (path, requests, streams) in
        [("/a.txt", "4000", "16"), ("/a.txt", "500", "1"), ("/large.bin", "60", "8")]
    {
        let url = url(&server, path);
        let Some(output) = run("h2load", &["-n", requests, "-c", "5", "-m", streams, "-T", "30", &url])
        else {
            return;
        };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let expected = format!("{requests} succeeded, 0 failed, 0 errored, 0 timeout");
        assert!(text.contains(&expected), "{text}");
    }
    server.stop().cleanly();
}

/// Where TLS is, ALPN says what is spoken.
#[cfg(feature = "tls")]
fn over_tls(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).with(&["--tls"]).start();
    let https = |path: &str| format!("https://{}{path}", server.address());
    let curl = |arguments: &[&str]| {
        run("curl", &[&["-sSk", "--max-time", "20"], arguments].concat()).map(|output| {
            assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
            output.stdout
        })
    };
    let (small, large, index) = (https("/a.txt"), https("/large.bin"), https("/b"));
    let Some(whole) = curl(&[&large]) else { return };
    assert!(whole == pattern(LARGE_BYTES));
    let version = ["-o", "/dev/null", "-w", "%{http_version} %{http_code}"];
    for (flag, expected) in [("--http2", "2 200"), ("--http1.1", "1.1 200"), ("--no-alpn", "1.1 200")] {
        let said = curl(&[&version[..], &[flag, &small]].concat()).expect("it ran before");
        assert_eq!(String::from_utf8_lossy(&said), expected, "{flag}");
    }
    // A redirect is followed on the same connection, and many are asked for at once.
    let followed = curl(&["-L", "-w", "%{num_connects}", &index]).expect("it ran before");
    assert_eq!(String::from_utf8_lossy(&followed), "<p>index</p>1", "one connection for both");
    let many = format!("{small}?[1-200]");
    assert_eq!(curl(&["-Z", "--parallel-max", "50", &many]).expect("it ran before").len(), 200 * 100);
    for (url, requests, streams) in [(&small, "3000", "16"), (&large, "30", "8")] {
        let Some(output) = run("h2load", &["-n", requests, "-c", "5", "-m", streams, "-T", "30", url]) else {
            return;
        };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("Application protocol: h2"), "{text}");
        assert!(text.contains(&format!("{requests} succeeded, 0 failed, 0 errored, 0 timeout")), "{text}");
    }
    server.stop().cleanly();
}

#[cfg(not(feature = "tls"))]
fn over_tls(_driver: Driver) {}
