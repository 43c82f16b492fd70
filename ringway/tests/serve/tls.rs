//! HTTPS as other people's programs speak it: `openssl s_client`, `curl`, `sslscan`.

use crate::server::{Driver, PATIENCE, Server, Setup, age, eventually, pattern};
use ringway_testkit::Scratch;
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};

on_both_drivers!(
    files_come_as_they_are_in_every_version_and_cipher,
    a_connection_is_kept_and_its_end_is_announced,
    sessions_are_resumed,
    protocols_and_names_are_agreed_on,
    what_is_not_tls_is_told_so,
    hellos_that_are_cut_leave_nothing,
    handshakes_that_do_not_come_to_an_end_are_cut,
    only_strong_suites_are_offered,
    certificates_from_files_are_renewed,
);

const LARGE_BYTES: usize = 1 << 20;

fn site() -> Scratch {
    let scratch = Scratch::new("tls");
    age(&scratch.file("small.txt", b"over TLS"));
    age(&scratch.file("middle.bin", &pattern(200_000)));
    age(&scratch.file("large.bin", &pattern(LARGE_BYTES)));
    scratch
}

/// Runs `curl` without looking at the certificate; `targets` are asked for on one connection if that can be.
fn curl(server: &Server, arguments: &[&str], targets: &[&str]) -> Output {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--insecure", "--max-time", "20"]).args(arguments);
    for target in targets {
        command.arg(format!("https://{}{target}", server.address()));
    }
    command.output().expect("curl is needed for this test")
}

/// What `openssl s_client` says to the end of the connection, after it has sent `input`.
fn openssl(address: SocketAddr, arguments: &[&str], input: &str) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &address.to_string(), "-ign_eof"]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("openssl is needed for this test");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(input.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    drop(stdin);
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

const LAST_REQUEST: &str = "GET /small.txt HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";

fn files_come_as_they_are_in_every_version_and_cipher(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).with(&["--tls"]).start();
    for arguments in [
        &["--http2"][..],
        &["--http2", "--tls-max", "1.2"],
        &["--http1.1", "--tlsv1.3", "--tls13-ciphers", "TLS_AES_128_GCM_SHA256"],
        &["--http1.1", "--tlsv1.3", "--tls13-ciphers", "TLS_CHACHA20_POLY1305_SHA256"],
        &["--http1.1", "--tls-max", "1.2"],
        &["--http1.1", "--tls-max", "1.2", "--ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256"],
        &["--http1.1", "--tls-max", "1.2", "--ciphers", "ECDHE-ECDSA-CHACHA20-POLY1305"],
    ] {
        for (target, contents) in [
            ("/small.txt", b"over TLS".to_vec()),
            ("/middle.bin", pattern(200_000)),
            ("/large.bin", pattern(LARGE_BYTES)),
        ] {
            let found = curl(&server, arguments, &[target]);
            assert!(found.stdout == contents, "{arguments:?} {target}: {found:?}");
        }
        let part = curl(&server, &[arguments, &["--range", "12345-150000"]].concat(), &["/large.bin"]);
        assert!(part.stdout == pattern(LARGE_BYTES)[12_345..=150_000], "{arguments:?}");
    }
    let arguments = ["--http2", "--output", "/dev/null", "--write-out", "%{http_version}"];
    let spoken = if cfg!(feature = "h2") { "2" } else { "1.1" };
    assert_eq!(String::from_utf8_lossy(&curl(&server, &arguments, &["/small.txt"]).stdout), spoken);
    server.stop().cleanly();
}

fn a_connection_is_kept_and_its_end_is_announced(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).with(&["--tls"]).start();
    let targets = ["/small.txt", "/large.bin", "/small.txt", "/none"];
    let mut arguments = vec!["--http1.1", "--write-out", "%{http_code} %{num_connects};"];
    arguments.extend(["--output", "/dev/null"].repeat(targets.len()));
    let told = curl(&server, &arguments, &targets).stdout;
    assert_eq!(String::from_utf8_lossy(&told), "200 1;200 0;200 0;404 0;");
    // Pipelined, the last with the end of the connection: answers in order, and the notice of the end behind them.
    let first = "GET /small.txt HTTP/1.1\r\nHost: test\r\n\r\n";
    for version in ["-tls1_3", "-tls1_2"] {
        let input = first.repeat(3) + "GET /none HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
        let said = openssl(server.address(), &[version, "-quiet"], &input);
        assert_eq!(said.matches("over TLS").count(), 3, "{said}");
        assert!(said.find("404 Not Found") > said.rfind("over TLS"), "{said}");
        assert!(!said.contains("unexpected eof"), "{said}");
    }
    server.stop().cleanly();
}

fn sessions_are_resumed(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).with(&["--tls", "--workers", "2"]).start();
    let kept = Scratch::new("tls-session");
    let file = kept.path().join("session");
    let file = file.to_str().expect("plain");
    for version in ["-tls1_3", "-tls1_2"] {
        let new = openssl(server.address(), &[version, "-sess_out", file], LAST_REQUEST);
        assert!(new.contains("New, TLS") && new.contains("over TLS"), "{new}");
        for _ in 0..3 {
            let again = openssl(server.address(), &[version, "-sess_in", file], LAST_REQUEST);
            assert!(again.contains("Reused, TLS") && again.contains("over TLS"), "{again}");
        }
    }
    // What was agreed on with another process is not good here.
    let other = Setup::new(driver, site.path()).with(&["--tls"]).start();
    let refused = openssl(other.address(), &["-tls1_2", "-sess_in", file], LAST_REQUEST);
    assert!(refused.contains("New, TLS") && refused.contains("over TLS"), "{refused}");
    server.stop().cleanly();
}

fn protocols_and_names_are_agreed_on(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).with(&["--tls", "--tls-name", "dev.example"]).start();
    let with = |arguments: &[&str]| openssl(server.address(), arguments, LAST_REQUEST);
    let agreed = with(&["-alpn", "spdy/3,http/1.1", "-servername", "dev.example"]);
    assert!(agreed.contains("ALPN protocol: http/1.1") && agreed.contains("over TLS"), "{agreed}");
    let none = with(&["-noservername"]);
    assert!(none.contains("No ALPN negotiated") && none.contains("over TLS"), "{none}");
    let foreign = with(&["-alpn", "spdy/3"]);
    assert!(foreign.contains("no application protocol") && !foreign.contains("over TLS"), "{foreign}");
    for old in ["-tls1", "-tls1_1"] {
        // The client's own policy must let it try.
        let said = with(&[old, "-cipher", "ALL:@SECLEVEL=0"]);
        assert!(
            (said.contains("alert protocol version") || said.contains("alert handshake failure"))
                && !said.contains("over TLS"),
            "{said}"
        );
    }
    for name in ["dev.example", "localhost", "127.0.0.1"] {
        let option = if name == "127.0.0.1" { "-verify_ip" } else { "-verify_hostname" };
        let said = with(&[option, name]);
        assert!(!said.contains("mismatch"), "{said}");
    }
    let said = with(&["-verify_hostname", "other.example"]);
    assert!(said.contains("ostname mismatch"), "{said}");
    server.stop().cleanly();
}

/// What a connection gets that begins with these bytes, to its end, which must be a good one.
fn answer_to(server: &Server, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(server.address()).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream.write_all(bytes).expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("a good end");
    answer
}

fn what_is_not_tls_is_told_so(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).with(&["--tls"]).start();
    let resting = server.sockets();
    let plain = answer_to(&server, b"GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    assert!(plain.starts_with(b"HTTP/1.1 400 Bad Request\r\n"), "{plain:?}");
    for garbage in [
        &[0; 3_000][..],
        &[0xff; 5],
        b"\x16\x03\x01\x00\x05hello",
        b"\x17\x03\x03\x00\x01x",
        b"\x16\x03\x01\xff\xff",
    ] {
        let alert = answer_to(&server, garbage);
        assert_eq!((alert.len(), &alert[..5]), (7, &b"\x15\x03\x03\x00\x02"[..]), "{alert:?}");
    }
    assert_eq!(curl(&server, &[], &["/small.txt"]).stdout, b"over TLS");
    eventually("every connection is closed", || (server.sockets() == resting).then_some(()));
    server.stop().cleanly();
}

fn hellos_that_are_cut_leave_nothing(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).with(&["--tls"]).start();
    // A listening socket, and what the worker has of its own.
    let resting = server.sockets();
    let hello = b"\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03";
    for length in 1..hello.len() {
        let mut stream = TcpStream::connect(server.address()).expect("it listens");
        stream.write_all(&hello[..length]).expect("it reads");
    }
    eventually("every connection is closed", || (server.sockets() == resting).then_some(()));
    // An answer of which the client has enough.
    let mut child = Command::new("openssl")
        .args(["s_client", "-quiet", "-connect", &server.address().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl is needed for this test");
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(b"GET /large.bin HTTP/1.1\r\nHost: test\r\n\r\n")
        .expect("it reads");
    child.stdout.take().expect("piped").read_exact(&mut [0; 100]).expect("it comes");
    child.kill().expect("it runs");
    child.wait().expect("a child of ours");
    eventually("every connection is closed", || (server.sockets() == resting).then_some(()));
    assert_eq!(curl(&server, &[], &["/small.txt"]).stdout, b"over TLS");
    server.stop().cleanly();
}

fn handshakes_that_do_not_come_to_an_end_are_cut(driver: Driver) {
    if !crate::server::is_slow_run() {
        return;
    }
    let site = site();
    let server = Setup::new(driver, site.path()).with(&["--tls"]).start();
    let mut streams: Vec<TcpStream> =
        (0..3).map(|_| TcpStream::connect(server.address()).expect("it listens")).collect();
    let begin = std::time::Instant::now();
    // Nothing; a part; a byte now and then, which buys no time.
    streams[1].write_all(b"\x16\x03\x01").expect("it reads");
    let hello = b"\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03".iter().chain(std::iter::repeat(&7));
    for byte in hello {
        if streams[2].write_all(&[*byte]).is_err() {
            break;
        }
        assert!(begin.elapsed() < 2 * PATIENCE, "a dripped handshake is never cut");
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    assert!(begin.elapsed() > PATIENCE / 2, "{:?}", begin.elapsed());
    for stream in &mut streams[..2] {
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        assert!(matches!(stream.read(&mut [0; 1]), Ok(0)), "cut by now");
    }
    server.stop().cleanly();
}

fn only_strong_suites_are_offered(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).with(&["--tls"]).start();
    let output = Command::new("sslscan")
        .args(["--no-colour", "--no-check-certificate", &server.address().to_string()])
        .output()
        .expect("sslscan is needed for this test");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    for (version, state) in [
        ("SSLv2", "disabled"),
        ("SSLv3", "disabled"),
        ("TLSv1.0", "disabled"),
        ("TLSv1.1", "disabled"),
        ("TLSv1.2", "enabled"),
        ("TLSv1.3", "enabled"),
    ] {
        let is_said = |line: &str| line.split_whitespace().eq([version, state]);
        assert!(said.lines().any(is_said), "{version} is not {state}: {said}");
    }
    assert!(said.contains("Session renegotiation not supported"), "{said}");
    let mut suites: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("Preferred") || line.starts_with("Accepted"))
        .filter_map(|line| line.split_whitespace().nth(4))
        .collect();
    suites.sort_unstable();
    let strong = [
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
    ];
    assert_eq!(suites, strong, "{said}");
    server.stop().cleanly();
}

/// Makes a certificate of RSA for `name` in `folder`: `cert.pem` and `key.pem`.
fn make_certificate(folder: &Path, name: &str) {
    let subject = format!("/CN={name}");
    let output = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", &subject])
        .args(["-addext", &format!("subjectAltName=DNS:{name}"), "-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(folder)
        .output()
        .expect("openssl is needed for this test");
    assert!(output.status.success(), "{output:?}");
}

fn certificates_from_files_are_renewed(driver: Driver) {
    let (site, files) = (site(), Scratch::new("tls-files"));
    make_certificate(files.path(), "one.example");
    let (certificate, key) = (files.path().join("cert.pem"), files.path().join("key.pem"));
    let (certificate, key) = (certificate.to_str().expect("plain"), key.to_str().expect("plain"));
    let server = Setup::new(driver, site.path()).with(&["--cert", certificate, "--key", key]).start();
    let shown = || openssl(server.address(), &["-servername", "any.example"], LAST_REQUEST);
    let first = shown();
    assert!(first.contains("CN = one.example") && first.contains("over TLS"), "{first}");
    // A file that is no certificate changes nothing.
    std::fs::write(certificate, "nonsense").expect("ours");
    server.signal(Signal::HUP);
    let kept = shown();
    assert!(kept.contains("CN = one.example") && kept.contains("over TLS"), "{kept}");
    make_certificate(files.path(), "two.example");
    server.signal(Signal::HUP);
    eventually("the new certificate is shown", || shown().contains("CN = two.example").then_some(()));
    let ended = server.stop().cleanly();
    let said = "there is no certificate in the file. The certificate stays as it was.";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
    assert!(ended.stderr.contains("The certificate was read anew."), "{}", ended.stderr);
}

#[test]
fn certificates_that_cannot_be_used_are_refused_at_the_start() {
    let (site, one, two) = (site(), Scratch::new("tls-one"), Scratch::new("tls-two"));
    make_certificate(one.path(), "one.example");
    make_certificate(two.path(), "two.example");
    let path = |scratch: &Scratch, name: &str| scratch.path().join(name).to_str().expect("plain").to_owned();
    let refused = |arguments: &[&str]| {
        let output =
            Setup::new(Driver::Epoll, site.path()).with(arguments).command().output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let (certificate, key) = (path(&one, "cert.pem"), path(&one, "key.pem"));
    let mismatch = refused(&["--cert", &certificate, "--key", &path(&two, "key.pem")]);
    let sentence =
        format!("the key in {} is not that of the certificate in {certificate}.", path(&two, "key.pem"));
    assert!(mismatch.contains(&sentence), "{mismatch}");
    assert!(refused(&["--cert", "/none.pem", "--key", &key]).contains("cannot read /none.pem: "));
    assert!(refused(&["--cert", &certificate]).contains("--cert needs --key"));
    assert!(refused(&["--key", &key]).contains("--key needs --cert"));
    assert!(refused(&["--tls-name", "a.example"]).contains("--tls-name needs --tls"));
    assert!(refused(&["--tls", "--tls-name", "no name"]).contains("is no name a certificate can be for"));
}
