//! Ringway behind Ringway.

use crate::stand::{Running, Setup, ask};

/// One that serves its own folder.
fn of_files(name: &str) -> Running {
    let scratch = ringway_testkit::Scratch::new(&format!("{name}-files"));
    scratch.file("small", &[b's'; 100]);
    scratch.file("large", &vec![b'l'; 200 * 1024]);
    let config = format!(
        "[server]\nworkers = 1\npid_file = \"pid\"\n[console]\nenabled = false\n[log.access]\npath = \"access.log\"\n\
         [[endpoint]]\nname = \"web\"\nlisten = [\"127.0.0.1:0\"]\ntrusted = [\"127.0.0.1\"]\nforwarded = \"x-forwarded-for\"\n\
         [[site]]\nnames = [\"*\"]\nroot = \"{}\"\n",
        scratch.path().display()
    );
    let running = Running::start(name, &config);
    running.keep(scratch)
}

#[test]
fn ringway_serves_through_ringway() {
    let back = of_files("proxy-back");
    let front = Setup::before(&[back.address()]).start("proxy-front");
    let mut client = front.client();
    for _ in 0..20 {
        assert_eq!(ask(&mut client, "GET /small", "", b"").body, [b's'; 100]);
        assert_eq!(ask(&mut client, "GET /large", "", b"").body, vec![b'l'; 200 * 1024]);
    }
    let several = ask(&mut client, "GET /large", "Range: bytes=0-1,100000-100009\r\n", b"");
    assert!(
        several.status == 206 && several.field("content-type").unwrap().starts_with("multipart/byteranges")
    );
    assert_eq!(ask(&mut client, "GET /nothing", "", b"").status, 404);
    assert_eq!(ask(&mut client, "OPTIONS /small", "", b"").field("allow"), Some("GET, HEAD, OPTIONS"));
    assert_eq!(ask(&mut client, "POST /small", "", b"x").status, 405);
    // The access log of both tells of the client.
    for log in [front.access_log(44), back.access_log(44)] {
        assert!(log.lines().all(|line| line.starts_with("127.0.0.1 ")), "{log}");
    }
    drop(back);
    assert_eq!(ask(&mut client, "GET /small", "", b"").status, 502);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let back = of_files("proxy-pipeline-back");
    let front = Setup::before(&[back.address()]).start("proxy-pipeline");
    let mut client = front.client();
    let request = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    client
        .send(
            [request("/small"), request("/nothing"), request("/large"), request("/small")]
                .concat()
                .as_bytes(),
        )
        .unwrap();
    let answers = client.answers(4).unwrap();
    let seen: Vec<_> = answers.iter().map(|answer| (answer.status, answer.body.len())).collect();
    assert_eq!((seen[0], seen[1].0, seen[2], seen[3]), ((200, 100), 404, (200, 204_800), (200, 100)));
}
