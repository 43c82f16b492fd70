//! What CGI says of answers: redirects, statuses, heads without bodies, scripts that speak HTTP themselves, streaming both ways.

use crate::stand::{Scripts, on_both_drivers, text, variable, wait_until_dead};
use std::io::{Read, Write};
use std::process::{Command, Stdio};

#[test]
fn local_redirects_are_answered_here_and_others_by_the_client() {
    on_both_drivers(|driver| {
        let scripts = Scripts::new("redirects");
        scripts.file("site/page.html", "a page");
        scripts.shell("local", "printf 'Location: /page.html\\n\\n'");
        scripts.shell("script", "printf 'Location: /cgi/query?a=b\\n\\n'");
        scripts.shell("query", "printf \"Content-Type: a/b\\n\\n$QUERY_STRING\"");
        scripts.shell("away", "printf 'Location: https://elsewhere.example/x\\n\\n'");
        scripts.shell("cookie", "printf 'Location: /page.html\\nSet-Cookie: a=b\\n\\n'");
        scripts.shell("circle", "printf 'Location: /cgi/circle\\n\\n'");
        scripts.shell("outside", "printf 'Location: /../../etc/passwd\\n\\n'");
        let served = scripts.serve(driver);
        let got = |target: &str| {
            let answer = served.get(target);
            (answer.status, answer.field("location").map(str::to_owned), text(&answer))
        };
        assert_eq!(got("/cgi/local"), (200, None, "a page".to_owned()));
        assert_eq!(got("/cgi/script"), (200, None, "a=b".to_owned()));
        assert_eq!(got("/cgi/away").1.as_deref(), Some("https://elsewhere.example/x"));
        assert_eq!(got("/cgi/cookie").0, 302, "what it says besides would be lost");
        assert!(got("/cgi/circle").0 >= 500, "redirects are bounded");
        assert_eq!(got("/cgi/outside").0, 502);
        let posted = served.post("/cgi/local", "a/b", b"x");
        assert_eq!((posted.status, posted.field("location")), (303, Some("/page.html")));
        served.stop();
    });
}

#[test]
fn heads_without_bodies_and_scripts_that_speak_http() {
    on_both_drivers(|driver| {
        let scripts = Scripts::new("heads");
        scripts.shell("long", "printf 'Content-Type: a/b\\nContent-Length: 100000\\n\\n'; head -c 100000 /dev/zero; echo $? > ../ended");
        scripts.shell("none", "printf 'Status: 204 Nothing\\n\\nnobody reads this'");
        scripts.shell("empty", "printf 'Content-Length: 0\\n\\n'");
        scripts.shell(
            "nph-own",
            "printf 'HTTP/1.1 299 Mine\\r\\nX-P: '; printf $SERVER_PROTOCOL; printf '\\r\\n\\r\\nown'",
        );
        scripts.shell("more", "printf 'Content-Length: 4\\n\\nfourand more'");
        scripts.shell(
            "hop",
            "printf 'Connection: close\\nTransfer-Encoding: x\\nDate: never\\nX-A: b\\n\\nhop'",
        );
        let served = scripts.serve(driver);
        let mut client = served.client();
        client.send(b"HEAD /cgi/long HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let answer = client.answer(true).unwrap();
        assert_eq!(
            (answer.status, answer.field("content-length"), answer.body.len()),
            (200, Some("100000"), 0)
        );
        // The same connection goes on behind each of them.
        for (target, status, body) in [
            ("none", 204, ""),
            ("empty", 200, ""),
            ("nph-own", 299, "own"),
            ("more", 200, "four"),
            ("hop", 200, "hop"),
        ] {
            client.send(format!("GET /cgi/{target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
            let answer =
                client.answer(false).unwrap_or_else(|error| panic!("{target}: {error} {}", served.said()));
            assert_eq!(
                (answer.status, text(&answer).as_str()),
                (status, body),
                "{target}: {}",
                served.said()
            );
            match target {
                "nph-own" => assert_eq!(answer.field("x-p"), Some("HTTP/1.0"), "it shall make no chunks"),
                "hop" => {
                    assert_eq!(
                        (answer.field("x-a"), answer.field("transfer-encoding")),
                        (Some("b"), Some("chunked"))
                    );
                    assert_ne!(answer.field("date"), Some("never"));
                }
                _ => {}
            }
        }
        served.stop();
    });
}

#[test]
fn an_echo_goes_both_ways_at_once() {
    on_both_drivers(|driver| {
        let mut scripts = Scripts::new("echo");
        scripts.settings = ", body_size = \"64MiB\"".to_owned();
        scripts.shell("echo", "printf 'Content-Type: a/b\\n\\n'; exec cat");
        let served = scripts.serve(driver);
        let mut client = served.client();
        client.send(b"POST /cgi/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst").unwrap();
        // The first half comes back before the second was sent.
        let mut got = Vec::new();
        while !got.windows(5).any(|window| window == b"first") {
            let mut bytes = [0; 4096];
            let count = client.stream().read(&mut bytes).unwrap();
            assert!(count > 0);
            got.extend_from_slice(&bytes[..count]);
        }
        client.send(b"again").unwrap();
        while !got.ends_with(b"0\r\n\r\n") {
            let mut bytes = [0; 4096];
            let count = client.stream().read(&mut bytes).unwrap();
            assert!(count > 0);
            got.extend_from_slice(&bytes[..count]);
        }
        assert!(got.windows(5).any(|window| window == b"again"));
        // Much of it: more than all buffers on the way hold.
        let sent: Vec<u8> = (0..30_000_000_u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let mut client = served.client();
        let mut upward = client.stream().try_clone().unwrap();
        let body = sent.clone();
        let sender = std::thread::spawn(move || {
            let head =
                format!("POST /cgi/echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
            upward.write_all(head.as_bytes()).unwrap();
            upward.write_all(&body).unwrap();
        });
        let answer = client.answer(false).unwrap();
        sender.join().unwrap();
        assert!(answer.body == sent, "{} of {}", answer.body.len(), sent.len());
        served.stop();
    });
}

#[test]
fn a_long_body_of_unknown_length_waits_on_the_disk() {
    on_both_drivers(|driver| {
        let mut scripts = Scripts::new("spooled");
        std::fs::create_dir(scripts.at("spool")).unwrap();
        scripts
            .shell("sum", "printf 'Content-Type: a/b\\n\\n'; echo \"LENGTH=$CONTENT_LENGTH\"; cat | cksum");
        scripts.settings = ", body_size = \"16 MiB\"".into();
        let tables =
            "[spool]\ndirectory = \"spool\"\nmemory = \"16 KiB\"\nbody = \"4 MiB\"\ntotal = \"8 MiB\"\n";
        scripts.more = tables.into();
        let served = scripts.serve(driver);
        let send = |bytes: usize| {
            let mut client = served.client();
            client.send(b"POST /cgi/sum HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
            for chunk in vec![b'b'; bytes].chunks(50_000) {
                client.send(format!("{:x}\r\n", chunk.len()).as_bytes()).unwrap();
                client.send(chunk).unwrap();
                client.send(b"\r\n").unwrap();
            }
            client.send(b"0\r\n\r\n").unwrap();
            client.answer(false).unwrap()
        };
        let answer = send(3_000_000);
        assert_eq!(variable(&text(&answer), "LENGTH").as_deref(), Some("3000000"), "{}", served.said());
        // What cksum(1) says of three million times the letter b.
        let mut cksum = Command::new("cksum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        cksum.stdin.take().unwrap().write_all(&vec![b'b'; 3_000_000]).unwrap();
        let wanted = cksum.wait_with_output().unwrap().stdout;
        assert!(answer.body.ends_with(&wanted), "{}", text(&answer));
        assert_eq!(send(5_000_000).status, 413);
        assert_eq!(std::fs::read_dir(scripts.at("spool")).unwrap().count(), 0, "the files have no names");
        served.stop();
    });
}

#[test]
fn a_chunked_body_arrives_and_so_does_one_over_http_2() {
    on_both_drivers(|driver| {
        let scripts = Scripts::new("chunked");
        scripts.shell("echo", "printf 'Content-Type: a/b\\n\\n'; echo \"LENGTH=$CONTENT_LENGTH\"; echo \"PROTOCOL=$SERVER_PROTOCOL\"; cat");
        let served = scripts.serve(driver);
        let answer = served.ask(
            "POST /cgi/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n",
        );
        assert!(text(&answer).ends_with("abcdefg"), "{}{}", text(&answer), served.said());
        assert_eq!(variable(&text(&answer), "LENGTH").as_deref(), Some("7"));
        let body = vec![b'b'; 200_000];
        scripts.scratch.file("body", &body);
        let curl = Command::new("curl")
            .args(["--http2-prior-knowledge", "-s", "--max-time", "60", "--data-binary"])
            .arg(format!("@{}", scripts.at("body").display()))
            .arg(format!("http://{}/cgi/echo", served.address))
            .output()
            .unwrap();
        let got = String::from_utf8_lossy(&curl.stdout).into_owned();
        assert_eq!(variable(&got, "LENGTH").as_deref(), Some("200000"), "{got}");
        assert!(curl.stdout.ends_with(&body), "{} bytes", curl.stdout.len());
        served.stop();
    });
}

#[test]
fn a_client_that_does_not_read_stops_the_script_and_not_the_server() {
    on_both_drivers(|driver| {
        let scripts = Scripts::new("slow-reader");
        scripts.shell("endless", "printf 'Content-Type: a/b\\n\\n'; echo $$ > ../pid; exec cat /dev/zero");
        let served = scripts.serve(driver);
        let mut client = served.client();
        client.send(b"GET /cgi/endless HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut first = [0; 1024];
        assert!(client.stream().read(&mut first).unwrap() > 0);
        let process = crate::stand::eventually("it runs", || {
            std::fs::read_to_string(scripts.at("pid")).ok().filter(|pid| pid.ends_with('\n'))
        });
        // It stands when nothing is read: what it has written does not grow any more.
        let written = || {
            let io = std::fs::read_to_string(format!("/proc/{}/io", process.trim())).unwrap_or_default();
            io.lines().find_map(|line| line.strip_prefix("wchar: ")?.parse::<u64>().ok()).unwrap()
        };
        let mut last = written();
        crate::stand::eventually("it stands", || {
            std::thread::sleep(std::time::Duration::from_millis(100));
            let now = written();
            let stands = now == last;
            last = now;
            stands.then_some(())
        });
        assert!(last < 16 << 20, "{last} bytes are on their way");
        assert_eq!(served.get("/cgi/none").status, 404, "others are served");
        client.abort().unwrap();
        wait_until_dead(&process);
        served.stop();
    });
}
