//! Real PHP: on a Unix socket and on TCP, with both drivers.

use crate::scripts::{fnv, scripts};
use crate::stand::{Setup, Stand, drivers, text, upstream};
use ringway_testkit::{Client, Fpm, Scratch};
use std::time::Instant;

/// A folder with the scripts, PHP in it, and a server in front, on each driver and each kind of socket.
fn everywhere(name: &str, test: impl Fn(&Stand, &Scratch)) {
    let place = Scratch::new(name);
    scripts(&place);
    let fpms = [Fpm::on_unix(&place, "unix"), Fpm::on_tcp(&place, "tcp")];
    for (fpm, driver) in fpms.iter().flat_map(|fpm| drivers().into_iter().map(move |driver| (fpm, driver))) {
        eprintln!("{driver:?}, {}", fpm.address);
        let stand = Stand::blog(Setup { place: &place, driver, upstream: upstream(&[&fpm.address]) });
        test(&stand, &place);
        stand.stop();
    }
}

#[test]
fn phpinfo_tells_where_it_runs() {
    everywhere("php-info", |stand, place| {
        let answer = stand.get("/info.php?a=b");
        assert_eq!((answer.status, answer.field("content-type")), (200, Some("text/html; charset=UTF-8")));
        let page = text(&answer);
        let file = place.path().join("www/info.php").display().to_string();
        for part in ["PHP Version 8.2", &file, "FPM/FastCGI", "a=b", "CGI/1.1"] {
            assert!(page.contains(part), "no {part:?} in phpinfo");
        }
    });
}

#[test]
fn paths_and_variables_are_as_programs_expect_them() {
    everywhere("php-where", |stand, place| {
        let root = place.path().join("www").display().to_string();
        let answer = stand.ask(
            b"GET /where.php/more%20info/x?q=%31 HTTP/1.1\r\nHost: example.org\r\nProxy: http://evil\r\n\
              Authorization: Basic YW5uYTpwdw==\r\n\r\n",
        );
        let page = text(&answer);
        for line in [
            "SCRIPT_NAME=/where.php",
            &format!("SCRIPT_FILENAME={root}/where.php"),
            "PATH_INFO=/more info/x",
            &format!("PATH_TRANSLATED={root}/more info/x"),
            &format!("DOCUMENT_ROOT={root}"),
            "QUERY_STRING=q=%31",
            "REQUEST_URI=/where.php/more%20info/x?q=%31",
            "HTTP_PROXY=-",
            "HTTP_HOST=example.org",
            "REMOTE_ADDR=127.0.0.1",
            "SERVER_PROTOCOL=HTTP/1.1",
            "PHP_AUTH_USER=anna",
        ] {
            assert!(page.lines().any(|found| found == line), "no {line:?} in\n{page}");
        }
        assert!(stand.get("/where.php").body.windows(11).any(|part| part == b"PATH_INFO=-"));
    });
}

#[test]
fn a_blog_routes_as_blogs_do() {
    everywhere("php-blog", |stand, _| {
        for (target, status, body) in [
            ("/", 200, "front GET / "),
            ("/2024/hello-world/?p=1", 200, "front GET /2024/hello-world/?p=1 p=1"),
            ("/blog/", 200, "blog index"),
            ("/style.css", 200, "body {}"),
            ("/none.php", 200, "front GET /none.php "),
            ("/upload/evil.jpg/x.php", 200, "front GET /upload/evil.jpg/x.php "),
            ("/upload/evil.jpg", 200, "<?php echo 'evil';"),
        ] {
            let answer = stand.get(target);
            assert_eq!((answer.status, text(&answer).as_str()), (status, body), "{target}");
        }
        assert_eq!(stand.get("/blog").field("location"), Some("/blog/"));
        assert_eq!(stand.post("/any/where", "", b"x=1").body, b"front POST /any/where ");
        assert_eq!(stand.post("/style.css", "", b"").status, 405);
    });
}

#[test]
fn sessions_and_databases_keep_what_they_are_told() {
    everywhere("php-session", |stand, place| {
        let first = stand.get("/session.php");
        let cookie =
            first.field("set-cookie").and_then(|cookie| cookie.split(';').next()).unwrap().to_owned();
        assert_eq!(first.body, b"1");
        for wanted in ["2", "3"] {
            let request = format!("GET /session.php HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n");
            assert_eq!(text(&stand.ask(request.as_bytes())), wanted);
        }
        let _fresh = std::fs::remove_file(place.path().join("tmp/test.db"));
        assert_eq!(text(&stand.get("/db.php?name=anna")), r#"["anna"]"#);
        assert_eq!(text(&stand.get("/db.php?name=b%C3%B6")), r#"["anna","b\u00f6"]"#);
    });
}

fn megabyte() -> Vec<u8> {
    (0..1_000_000_u32).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
}

#[test]
fn a_megabyte_arrives_as_it_was_sent() {
    everywhere("php-upload", |stand, _| {
        let bytes = megabyte();
        let body = [
            &b"--cut\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhello\r\n"[..],
            b"--cut\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\n\
              Content-Type: application/octet-stream\r\n\r\n",
            &bytes,
            b"\r\n--cut--\r\n",
        ]
        .concat();
        let answer = stand.post("/upload.php", "Content-Type: multipart/form-data; boundary=cut\r\n", &body);
        assert_eq!(text(&answer), format!("a.bin 1000000 {} hello", fnv(&bytes)));
        for len in [0, 1, 4095, 4096, 65_535, 65_536, 200_000] {
            let answer = stand.post("/raw.php", "Content-Type: x/y\r\n", &bytes[..len]);
            assert_eq!(text(&answer), format!("POST {len} {len} {}", fnv(&bytes[..len])));
        }
    });
}

#[test]
fn a_body_of_unknown_length_arrives_too() {
    everywhere("php-chunked", |stand, _| {
        let bytes = &megabyte()[..300_000];
        let mut request = b"PUT /raw.php HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for chunk in bytes.chunks(7_001) {
            request.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            request.extend_from_slice(chunk);
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"0\r\n\r\n");
        let answer = stand.ask(&request);
        assert_eq!(text(&answer), format!("PUT 300000 300000 {}", fnv(bytes)));
    });
}

#[test]
fn large_answers_arrive_whole_with_and_without_a_length() {
    everywhere("php-large", |stand, _| {
        let wanted: Vec<u8> = b"0123456789abcdef".iter().copied().cycle().take(3 * 1024 * 1024).collect();
        let mut client = stand.client();
        for (target, length) in [("/large.php", None), ("/large.php?length", Some("3145728"))] {
            for _ in 0..2 {
                client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
                let answer = client.answer(false).unwrap();
                assert_eq!((answer.status, answer.field("content-length")), (200, length));
                assert!(answer.body == wanted, "{} bytes of {}", answer.body.len(), wanted.len());
            }
        }
        let small = stand.get("/large.php?n=10");
        assert_eq!((small.field("content-length"), &*small.body), (Some("10"), &b"0123456789"[..]));
        let head = stand.ask(b"HEAD /large.php?length HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!((head.status, head.field("content-length")), (200, Some("3145728")));
        // HTTP/1.0 knows no chunks.
        let mut client = stand.client();
        client.send(b"GET /large.php HTTP/1.0\r\n\r\n").unwrap();
        let old = client.answer(false).unwrap();
        assert!(old.field("transfer-encoding").is_none() && old.body == wanted);
    });
}

#[test]
fn statuses_and_fields_are_those_of_the_program() {
    everywhere("php-status", |stand, _| {
        for status in [200, 201, 400, 404, 410, 418, 500, 503] {
            let answer = stand.get(&format!("/status.php?s={status}"));
            assert_eq!((answer.status, text(&answer)), (status, format!("status {status}")));
        }
        for status in [204, 304] {
            let answer = stand.get(&format!("/status.php?s={status}"));
            assert_eq!((answer.status, answer.field("content-length")), (status, None));
        }
        for (status, to) in [(301, "/x"), (302, "https://example.com/"), (307, "/y?z")] {
            let answer = stand.get(&format!("/status.php?s={status}&to={to}"));
            assert_eq!((answer.status, answer.field("location")), (status, Some(to)));
        }
        let answer = stand.get("/fields.php");
        assert_eq!(answer.field("content-type"), Some("text/plain;charset=UTF-8"));
        let count = |line: &str| answer.head.lines().filter(|found| *found == line).count();
        for line in ["X-One: 1", "X-Two: a", "X-Two: b", "Set-Cookie: a=1", "Set-Cookie: b=2"] {
            assert_eq!(count(line), 1, "{line} in {}", answer.head);
        }
        assert!(answer.field("connection").is_none() && answer.field("status").is_none(), "{}", answer.head);
        // Heads that are longer than the memory that is tried first.
        for len in [1000, 1300, 6000, 25_000] {
            let long = stand.get(&format!("/fields.php?l={len}"));
            assert_eq!((long.status, long.field("x-long").map(str::len)), (200, Some(len)));
        }
    });
}

#[test]
fn complaints_are_logged_with_the_name_of_the_backend() {
    everywhere("php-complain", |stand, _| {
        assert_eq!(stand.get("/complain.php").body, b"done");
        let line = stand.logged(&["this went wrong", "of php says: "]);
        assert!(line.contains("backend "), "{line}");
    });
}

#[test]
fn what_is_there_is_sent_before_the_program_has_ended() {
    everywhere("php-slow", |stand, _| {
        let mut client = stand.client();
        let started = Instant::now();
        client.send(b"GET /slow.php?us=1500000 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut first = [0; 4096];
        std::io::Read::read_exact(&mut client.stream(), &mut first).unwrap();
        let first_ms = started.elapsed().as_millis();
        let rest = client.answer(false);
        assert!(rest.is_err(), "its head was read already");
        let whole_ms = started.elapsed().as_millis();
        assert!(first_ms + 1000 <= whole_ms, "{first_ms} ms, {whole_ms} ms");
    });
}

#[test]
fn pipelined_and_parallel_requests_get_their_own_answers() {
    everywhere("php-many", |stand, _| {
        let mut client = stand.client();
        let requests: String =
            (0..20).map(|n| format!("GET /p{n}?n={n} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
        client.send(requests.as_bytes()).unwrap();
        for (n, answer) in client.answers(20).unwrap().iter().enumerate() {
            assert_eq!(text(answer), format!("front GET /p{n}?n={n} n={n}"));
        }
        let address = stand.address();
        std::thread::scope(|scope| {
            for thread in 0..12 {
                scope.spawn(move || {
                    let mut client = Client::connect(address).unwrap();
                    for n in 0..25 {
                        let request = format!("GET /t{thread}-{n} HTTP/1.1\r\nHost: a\r\n\r\n");
                        client.send(request.as_bytes()).unwrap();
                        let answer = client.answer(false).unwrap();
                        assert_eq!(text(&answer), format!("front GET /t{thread}-{n} "));
                    }
                });
            }
        });
    });
}
