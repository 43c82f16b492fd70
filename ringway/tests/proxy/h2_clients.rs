//! Clients that speak HTTP/2, before an upstream that speaks HTTP/1.1.

use crate::stand::{Running, Setup};
use crate::upstream::Upstream;
use std::process::Command;

/// What curl got over HTTP/2, with `arguments`: the status and the body.
fn curl(ringway: &Running, target: &str, arguments: &[&str]) -> (String, Vec<u8>) {
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--http2-prior-knowledge",
        "--max-time",
        "30",
        "--write-out",
        "%{stderr}%{http_code}",
    ]);
    command.args(arguments).arg(format!("http://{}{target}", ringway.address()));
    let output = command.output().expect("curl is installed");
    (String::from_utf8_lossy(&output.stderr).into_owned(), output.stdout)
}

#[test]
fn requests_over_http_2_reach_it_as_requests_of_http_1() {
    let upstream = Upstream::start(|talk| {
        while let Some(asked) = talk.request() {
            match asked.target() {
                "/echo" => talk.answer(&asked.body),
                "/chunks" => {
                    talk.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                    for _ in 0..100 {
                        talk.say(&[b"2710\r\n", &[b'x'; 10_000][..], b"\r\n"].concat());
                    }
                    talk.say(b"0\r\n\r\n");
                }
                _ => talk.say(b"HTTP/1.1 204 No Content\r\n\r\n"),
            }
        }
    });
    let setup = Setup { proxy: "body_size = \"10 MiB\"".to_owned(), ..Setup::before(&[upstream.address()]) };
    let ringway = setup.start("proxy-h2");
    let body: Vec<u8> =
        (0..3_000_000_u32).map(|place| place.wrapping_mul(2_654_435_761).to_be_bytes()[1]).collect();
    let scratch = ringway_testkit::Scratch::new("proxy-h2-body");
    let file = format!("@{}", scratch.file("body", &body).display());
    let (status, echoed) = curl(&ringway, "/echo", &["--data-binary", &file]);
    assert!(status == "200" && echoed == body, "{status}, {} bytes", echoed.len());
    assert!(upstream.last_head().contains("\r\nContent-Length: 3000000"));
    // Without a length it is chunks.
    let (status, echoed) =
        curl(&ringway, "/echo", &["-X", "POST", "-T", &file[1..], "-H", "Content-Length:"]);
    assert!(status == "200" && echoed == body, "{status}, {} bytes", echoed.len());
    let (status, answer) = curl(&ringway, "/chunks", &[]);
    assert_eq!((status.as_str(), answer.len()), ("200", 1_000_000));
    assert_eq!(curl(&ringway, "/none", &[]).0, "204");
    let (status, head) = curl(&ringway, "/echo", &["--head"]);
    assert!(
        status == "200" && String::from_utf8_lossy(&head).to_ascii_lowercase().contains("content-length: 0")
    );
    let head = upstream.last_head();
    assert!(head.contains("X-Forwarded-For: 127.0.0.1") && head.contains("Host: 127.0.0.1:"), "{head}");
}

#[test]
fn an_upstream_that_breaks_off_breaks_the_stream() {
    let upstream = Upstream::start(|talk| {
        while let Some(asked) = talk.request() {
            if asked.target() == "/cut" {
                talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
                return;
            }
            talk.answer(b"whole");
        }
    });
    let mut ringway = Setup::before(&[upstream.address()]).start("proxy-h2-cut");
    let mut command = Command::new("curl");
    command.args(["--silent", "--http2-prior-knowledge", "--max-time", "30"]);
    let status =
        command.arg(format!("http://{}/cut", ringway.address())).status().expect("curl is installed");
    // CURLE_HTTP2_STREAM: the stream was reset.
    assert_eq!(status.code(), Some(92));
    ringway.wait_to_say("within its answer");
    assert_eq!(curl(&ringway, "/whole", &[]), ("200".to_owned(), b"whole".to_vec()));
}
