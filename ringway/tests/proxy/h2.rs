//! Upstreams that speak HTTP/2: this crate's own machine as a backend that errs on purpose, nginx, and Ringway itself.

use crate::h2_peer::{Act, Peer};
use crate::stand::{Running, Setup, eventually, send};
use ringway::engine::ring;
use ringway_h2::code::Code;
use ringway_h2::limits::Limits;
use ringway_testkit::{Answer, Client, Rng, Scratch};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that no window holds at once.
const LARGE_BYTES: usize = 700_000;

/// Most connections of a worker to a backend; there is one worker.
const CONNECTIONS_MAX: usize = 8;

fn pattern(bytes: usize) -> Vec<u8> {
    let mut rng = Rng::new(bytes as u64);
    (0..bytes.div_ceil(8)).flat_map(|_| rng.bits().to_le_bytes()).take(bytes).collect()
}

/// Runs a test on each driver that this kernel lets work.
fn on_both_drivers(test: fn(&str)) {
    if let Err(error) = ring::probe() {
        eprintln!("SKIPPED: io_uring is refused here: {error}");
    } else {
        test("uring");
    }
    test("epoll");
}

/// A server whose every path goes to an upstream of these addresses.
fn proxy(name: &str, driver: &str, settings: &str, addresses: &[SocketAddr]) -> Running {
    let setup = Setup {
        upstream: format!("protocol = \"h2\"\n{settings}"),
        proxy: "body_size = \"8 MiB\"".to_owned(),
        server: format!("driver = \"{driver}\"\n"),
        limits: "connections_per_address = 0\n".to_owned(),
        ..Setup::before(addresses)
    };
    setup.start(&format!("{name}-{driver}"))
}

/// Asks on a connection of its own.
fn ask(running: &Running, line: &str, lines: &str, body: &[u8]) -> Answer {
    running.ask(line, lines, body)
}

#[test]
fn many_requests_share_few_connections() {
    on_both_drivers(|driver| {
        let peer = Peer::new(|_, _, head| Act::Answer(head.as_bytes().to_vec()));
        let running = proxy("h2-many", driver, "", &[peer.address]);
        let clients: Vec<_> = (0..40)
            .map(|number| {
                let address = running.address();
                std::thread::spawn(move || {
                    let mut client = Client::connect(address).unwrap();
                    for round in 0..10 {
                        let request = format!("GET /{number}/{round}?x=y HTTP/1.1\r\nHost: a.org\r\n\r\n");
                        client.send(request.as_bytes()).unwrap();
                        let answer = client.answer(false).unwrap();
                        let body = String::from_utf8(answer.body).unwrap();
                        assert_eq!(answer.status, 200, "{body}");
                        let first = format!("GET /{number}/{round}?x=y HTTP/1.1\r\nhost: a.org\r\n");
                        assert!(body.starts_with(&first), "{body}");
                        assert!(body.contains("x-forwarded-for: 127.0.0.1\r\n"), "{body}");
                    }
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
        assert_eq!(peer.served(), 400);
        assert!(peer.accepted() <= CONNECTIONS_MAX, "{}", peer.accepted());
    });
}

#[test]
fn bodies_go_both_ways_within_the_windows() {
    on_both_drivers(|driver| {
        let peer = Peer::new(|_, _, _| Act::Echo);
        let running = proxy("h2-bodies", driver, "", &[peer.address]);
        for bytes in [0, 1, 5_000, 70_000, LARGE_BYTES] {
            let body = pattern(bytes);
            let answer = ask(&running, "POST /echo", "", &body);
            assert!(answer.status == 200 && answer.body == body, "{bytes}: {}", answer.head);
        }
        // Of a length that nobody knows.
        let body = pattern(LARGE_BYTES);
        let chunks: Vec<u8> = body
            .chunks(9_999)
            .flat_map(|chunk| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat())
            .collect();
        let mut client = running.client();
        send(&mut client, "POST /echo", "Transfer-Encoding: chunked\r\n", b"");
        client.send(&[&chunks[..], b"0\r\n\r\n"].concat()).unwrap();
        let answer = client.answer(false).unwrap();
        assert!(answer.status == 200 && answer.body == body, "{}", answer.head);
        let head = ask(&running, "HEAD /", "", b"");
        assert_eq!((head.status, head.body.len()), (200, 0));
    });
}

#[test]
fn a_slow_reader_stops_neither_the_others_nor_its_backend_for_ever() {
    on_both_drivers(|driver| {
        let peer = Peer::new(|_, _, head| match head.starts_with("GET /large ") {
            true => Act::Answer(pattern(4 * LARGE_BYTES)),
            false => Act::Answer(b"quick".to_vec()),
        });
        let running = proxy("h2-slow", driver, "", &[peer.address]);
        let slow: Vec<TcpStream> = (0..24)
            .map(|_| {
                let mut slow = TcpStream::connect(running.address()).unwrap();
                slow.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
                slow
            })
            .collect();
        eventually("all are asked", || (peer.served() == 24).then_some(()));
        for _ in 0..50 {
            assert_eq!(ask(&running, "GET /", "", b"").body, b"quick");
        }
        let mut all = Vec::new();
        slow.into_iter().next().unwrap().read_to_end(&mut all).unwrap();
        assert!(all.ends_with(&pattern(4 * LARGE_BYTES)));
    });
}

#[test]
fn what_was_not_processed_is_asked_again_whatever_it_is() {
    on_both_drivers(|driver| {
        let refusals = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&refusals);
        // Every connection refuses its first request one way or the other.
        let peer = Peer::new(move |connection, request, head| {
            if request > 0 {
                return Act::Answer(head.as_bytes().to_vec());
            }
            counted.fetch_add(1, Ordering::SeqCst);
            if connection % 2 == 0 { Act::Leave } else { Act::Refuse }
        });
        let running = proxy("h2-refused", driver, "", &[peer.address]);
        for method in ["GET", "DELETE", "POST"] {
            for _ in 0..4 {
                let answer = ask(&running, &format!("{method} /"), "Content-Length: 0\r\n", b"");
                assert_eq!(answer.status, 200, "{method}: {}", running.said());
            }
        }
        assert!(refusals.load(Ordering::SeqCst) >= 2);
    });
}

#[test]
fn what_may_have_been_processed_is_asked_again_only_where_that_is_safe() {
    on_both_drivers(|driver| {
        let bad = Peer::new(|_, _, _| Act::Reset(Code::INTERNAL_ERROR));
        let good = Peer::new(|_, _, _| Act::Answer(b"good".to_vec()));
        let settings = "balance = \"first-alive\"\nfail_max = 0\n";
        let running = proxy("h2-reset", driver, settings, &[bad.address, good.address]);
        let status =
            |method: &str| ask(&running, &format!("{method} /"), "Content-Length: 0\r\n", b"").status;
        assert_eq!((status("GET"), status("PUT"), status("POST")), (200, 200, 502));
        assert_eq!(good.served(), 2);
        // Part of an answer is never taken for all of it.
        let torn = Peer::new(|_, _, _| Act::Tear(100_000));
        let torn_running = proxy("h2-torn", driver, "", &[torn.address]);
        let mut client = Client::connect(torn_running.address()).unwrap();
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let error = client.answer(false).expect_err("it does not end");
        assert!(
            matches!(error.kind(), std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset),
            "{error}"
        );
    });
}

#[test]
fn what_is_no_answer_is_said_in_the_log() {
    on_both_drivers(|driver| {
        // One that speaks HTTP/1.1, and one that says nothing.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let old = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            socket.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").unwrap();
            let _ends = socket.read_to_end(&mut Vec::new());
        });
        let running = proxy("h2-old", driver, "fail_max = 0\nattempts = 1\n", &[address]);
        assert_eq!(ask(&running, "GET /", "", b"").status, 502);
        old.join().unwrap();
        eventually("it is logged", || {
            running.said().contains("the connection does not begin as HTTP/2 does").then_some(())
        });
        let silent = Peer::new(|_, _, _| Act::Hang);
        let settings = "fail_max = 0\nattempts = 1\ntry_timeout = \"200ms\"\n";
        let running = proxy("h2-silent", driver, settings, &[silent.address]);
        assert_eq!(ask(&running, "GET /", "", b"").status, 504);
    });
}

#[test]
fn a_backend_that_allows_few_streams_gets_no_more() {
    on_both_drivers(|driver| {
        let limits = Limits { streams_max: 2, ..Limits::default() };
        let peer = Peer::with(limits, |_, _, _| Act::Answer(pattern(100_000)));
        let running = proxy("h2-few", driver, "", &[peer.address]);
        let clients: Vec<_> = (0..30)
            .map(|_| {
                let address = running.address();
                std::thread::spawn(move || {
                    let mut client = Client::connect(address).unwrap();
                    for _ in 0..5 {
                        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
                        let answer = client.answer(false).unwrap();
                        assert!(answer.status == 200 && answer.body == pattern(100_000), "{}", answer.head);
                    }
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
        assert!(peer.accepted() <= CONNECTIONS_MAX, "{}", peer.accepted());
    });
}

/// nginx with a site over HTTP/2, in clear and over TLS. Dropped, it is killed.
struct Nginx {
    child: Child,
    clear: SocketAddr,
    secure: SocketAddr,
    certificate: PathBuf,
    scratch: Scratch,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Where nobody listens now.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn certificate(folder: &Path) -> (PathBuf, PathBuf) {
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .args([&key, Path::new("-out"), &cert])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (cert, key)
}

/// `None`, said loudly, where there is no nginx.
fn nginx() -> Option<Nginx> {
    let scratch = Scratch::new("h2-nginx");
    let (cert, key) = certificate(scratch.path());
    scratch.file("a.txt", b"hello");
    scratch.file("large.bin", &pattern(LARGE_BYTES));
    let (clear, secure, place) = (free(), free(), scratch.path().display().to_string());
    scratch.file(
        "nginx.conf",
        format!(
            "worker_processes 1; daemon off; master_process off; pid {place}/pid; error_log stderr crit;\n\
             events {{ worker_connections 1000; }}\n\
             http {{ access_log off; ssl_certificate {cert}; ssl_certificate_key {key};\n\
             client_body_temp_path {place}/cb; proxy_temp_path {place}/pt; fastcgi_temp_path {place}/ft;\n\
             uwsgi_temp_path {place}/ut; scgi_temp_path {place}/st; keepalive_requests 20;\n\
             server {{ listen {clear} http2; listen {secure} ssl http2; root {place};\n\
             location = /upload {{ client_max_body_size 2m; return 200 $request_length; }} }} }}\n",
            cert = cert.display(),
            key = key.display()
        )
        .as_bytes(),
    );
    let mut command = Command::new("nginx");
    command.args(["-p", &place, "-e", "stderr", "-c", &format!("{place}/nginx.conf")]);
    let child = match command.stdin(Stdio::null()).stdout(Stdio::null()).spawn() {
        Ok(child) => child,
        Err(error) => {
            eprintln!("SKIPPED: nginx: {error}");
            return None;
        }
    };
    let mut nginx = Nginx { child, clear, secure, certificate: cert, scratch };
    eventually("nginx listens", || {
        assert_eq!(nginx.child.try_wait().unwrap(), None, "nginx ended: {}", nginx.scratch.path().display());
        TcpStream::connect(nginx.secure).ok()
    });
    Some(nginx)
}

/// What any server of files over HTTP/2 must do, often enough that connections are given up and made anew.
fn serves_files(running: &Running, small: &[u8], large: &[u8]) {
    for _ in 0..50 {
        let answer = running.get("/a.txt");
        assert!(answer.status == 200 && answer.body == small, "{}: {}", answer.head, running.said());
    }
    for _ in 0..3 {
        let answer = running.get("/large.bin");
        assert!(answer.status == 200 && answer.body == large, "{}", answer.head);
    }
    assert_eq!(running.get("/missing").status, 404);
    let ranged = ask(running, "GET /a.txt", "Range: bytes=1-2\r\n", b"");
    assert_eq!((ranged.status, &ranged.body[..]), (206, &small[1..3]));
}

#[test]
fn nginx_is_asked_in_clear_and_over_tls() {
    on_both_drivers(|driver| {
        let Some(nginx) = nginx() else { return };
        let running = proxy("h2-clear", driver, "", &[nginx.clear]);
        serves_files(&running, b"hello", &pattern(LARGE_BYTES));
        let body = pattern(300_000);
        let uploaded = ask(&running, "POST /upload", "", &body);
        assert_eq!(uploaded.status, 200, "{}", uploaded.head);
        let settings = format!("tls = {{ ca = \"{}\" }}\n", nginx.certificate.display());
        let running = proxy("h2-tls", driver, &settings, &[nginx.secure]);
        serves_files(&running, b"hello", &pattern(LARGE_BYTES));
    });
}

#[test]
fn ringway_is_asked_by_ringway() {
    on_both_drivers(|driver| {
        let files = Scratch::new("h2-files");
        files.file("a.txt", b"hello");
        files.file("large.bin", &pattern(LARGE_BYTES));
        let config = format!(
            "[server]\npid_file = \"pid\"\nsandbox = \"off\"\ndriver = \"{driver}\"\n[console]\nenabled = false\n\
             [log.access]\nformat = \"off\"\n[[endpoint]]\nname = \"web\"\nlisten = [\"127.0.0.1:0\"]\n\
             [[site]]\nnames = [\"*\"]\nroot = \"{}\"\n",
            files.path().display()
        );
        let backend = Running::start(&format!("h2-behind-{driver}"), &config).keep(files);
        let running = proxy("h2-ringway", driver, "", &[backend.address()]);
        serves_files(&running, b"hello", &pattern(LARGE_BYTES));
    });
}
