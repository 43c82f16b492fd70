//! Right answers are found right, whatever is said, framed, sealed, paused, cut off or half-closed.

use crate::servers::{framed, honest, tcp, tls, unix, websocket};
use crate::stand::{Run, Server, engine_kinds, total};
use crate::stress;
use ringway_testkit::Scratch;

#[test]
fn messages_of_every_frame_come_back() {
    for driver in engine_kinds() {
        let server = Server::start(&["echo", "serve", driver]);
        let address = server.address.to_string();
        for (frame, size) in [
            ("none", "1-9000"),
            ("lines", "range:1-300"),
            ("len8", "1-255"),
            ("len16:little", "sawtooth:10-20000:999"),
            ("len32:inclusive", "64"),
            ("len64:little:inclusive", "1-5000"),
        ] {
            let run = stress(
                &address,
                &[
                    "--connections",
                    "30",
                    "--messages",
                    "905",
                    "--frame",
                    frame,
                    "--size",
                    size,
                    "--window",
                    "5",
                    "--driver",
                    driver,
                ],
            )
            .succeeded();
            assert_eq!((run.count("answers"), run.count("opened")), (905, 30), "{frame} on {driver}");
        }
    }
}

/// Connections that end in all three ways, again and again.
fn stormy(address: &str, more: &[&str]) -> Run {
    let arguments = [
        "--connections",
        "20",
        "--messages",
        "2000",
        "--size",
        "1-3000",
        "--disconnects",
        "12.5",
        "--seed",
        "3",
    ];
    let run = stress(address, &[&arguments, more].concat()).succeeded();
    assert!(run.count("answers") >= 2000, "a message before a half-close counts too");
    let ended = ["closed", "half-closed", "reset"].map(|way| run.count(way));
    assert!(ended.iter().all(|count| *count > 20), "every way is taken: {ended:?}");
    run
}

#[test]
fn disconnects_are_survived_and_counted_and_repeat_with_their_seed() {
    for driver in engine_kinds() {
        let server = Server::start(&["echo", "serve", driver, "--framing", "length"]);
        let address = server.address.to_string();
        let counts =
            |run: &Run| ["answers", "opened", "closed", "half-closed", "reset"].map(|name| run.count(name));
        let first = stormy(&address, &["--frame", "len32", "--driver", driver]);
        let second = stormy(&address, &["--frame", "len32", "--driver", driver]);
        assert_eq!(counts(&first), counts(&second), "a seed repeats itself");
        let totals = server.stop();
        assert_eq!(total(&totals, "accepted"), 2 * first.count("opened"), "{driver}");
        assert_eq!((total(&totals, "open"), total(&totals, "panics")), (0, 0), "{driver}");
    }
}

#[test]
fn unix_sockets_are_stressed_too() {
    let place = Scratch::new("stress-unix");
    let address = unix(&place.path().join("echo"), |stream| honest(stream));
    stormy(&address, &["--frame", "lines", "--window", "3"]);
}

#[test]
fn tls_is_stressed_too_and_believes_whom_it_should() {
    let place = Scratch::new("stress-tls");
    let (address, authority) = tls(&place, |stream, _| honest(stream));
    for driver in engine_kinds() {
        let run = stormy(&address, &["--tls", "--window", "3", "--ca", &authority, "--driver", driver]);
        assert!(run.json["settings"]["TLS"].as_str().is_some_and(|text| text.contains("authority.pem")));
    }
    let large = ["--connections", "8", "--messages", "400", "--size", "1-70000", "--disconnects", "5"];
    stress(&address, &[&large[..], &["--tls", "--frame", "len32", "--resume"]].concat()).succeeded();
    let other = Scratch::new("stress-tls-other");
    let (_, stranger) = tls(&other, |stream, _| honest(stream));
    let few = ["--tls", "--connections", "2", "--messages", "2"];
    let unbelieved = stress(&address, &[&few[..], &["--ca", &stranger]].concat());
    assert!(crate::failure(&unbelieved).contains("TLS: invalid peer certificate"), "{}", unbelieved.stderr);
    let wrong = stress(&address, &[&few[..], &["--ca", &authority, "--server-name", "example.org"]].concat());
    let words = crate::failure(&wrong);
    assert!(words.starts_with("no handshake: connection ") && words.contains("TLS: "), "{words}");
}

#[test]
fn websockets_are_stressed_with_fragments_and_pings() {
    let place = Scratch::new("stress-wss");
    let answer = |number: usize, first: u8, payload: Vec<u8>| {
        let half = payload.len() / 2;
        match number % 3 {
            0 => framed(first, &payload),
            1 => [framed(first & 0x0f, &payload[..half]), framed(0x80, &payload[half..])].concat(),
            _ => [framed(0x89, b"still there?"), framed(first, &payload)].concat(),
        }
    };
    let plain = tcp(move |stream, _| websocket(stream, answer));
    let (sealed, _) = tls(&place, move |stream, _| websocket(stream, answer));
    stormy(&plain, &["--frame", "websocket", "--path", "/echo", "--window", "3"]);
    stormy(&plain, &["--frame", "websocket-text"]);
    stormy(&sealed, &["--frame", "websocket", "--tls"]);
}

#[test]
fn thousands_of_connections_at_once() {
    for driver in engine_kinds() {
        let server = Server::start(&["echo", "serve", driver]);
        let address = server.address.to_string();
        let run = stress(&address, &["--connections", "4000", "--messages", "12001", "--frame", "len32"])
            .succeeded();
        assert_eq!((run.count("opened"), run.count("answers")), (4_000, 12_001), "{driver}");
        assert_eq!(total(&server.stop(), "closed"), 4_000, "{driver}");
    }
}

#[test]
fn rates_ramps_and_pauses_take_their_time() {
    let server = Server::start(&["echo", "serve", "epoll"]);
    let address = server.address.to_string();
    let seconds = |arguments: &[&str]| {
        let run = stress(&address, arguments).succeeded();
        run.rows("load")[0]["time"].as_f64().expect("a time")
    };
    let slow = seconds(&["--connections", "4", "--messages", "40", "--rate-per-s", "100", "--window", "8"]);
    assert!(slow >= 0.39, "40 messages at 100 a second: {slow} s");
    let slow = seconds(&["--connections", "10", "--messages", "20", "--ramp-per-s", "50"]);
    assert!(slow >= 0.18, "the tenth connection after 180 ms: {slow} s");
    let slow = seconds(&["--connections", "2", "--messages", "20", "--pause-ms", "20-30", "--window", "2"]);
    assert!(slow >= 0.08, "four pauses of 20 ms: {slow} s");
}

#[test]
fn what_happened_when_and_what_the_server_used_are_told() {
    let server = Server::start(&["echo", "serve", "epoll"]);
    let address = server.address.to_string();
    let folder = Scratch::new("stress-figures");
    let pid = server.child.id().to_string();
    let run = stress(
        &address,
        &[
            "--connections",
            "5",
            "--seconds",
            "1",
            "--interval-ms",
            "100",
            "--pid",
            &pid,
            "--svg",
            &folder.path().display().to_string(),
        ],
    )
    .succeeded();
    let rows = run.rows("over-time");
    assert!((5..=20).contains(&rows.len()), "{rows:?}");
    assert!(
        rows.iter()
            .any(|row| row["connections"] == 5.0 && row["rate"].as_f64().is_some_and(|rate| rate > 0.0))
    );
    assert!(rows.iter().any(|row| row["server memory"].as_f64().is_some_and(|mib| mib > 0.1)));
    let used = &run.rows("server")[0];
    assert!(used["CPU"].as_f64().is_some_and(|us| us > 0.0), "{used}");
    for figure in ["connections", "rate", "latency", "tail", "memory"] {
        let svg =
            std::fs::read_to_string(folder.path().join(format!("stress-{figure}.svg"))).expect("it is drawn");
        assert!(svg.starts_with("<svg"), "{figure}");
    }
    let [p50, p99, longest] =
        ["p50", "p99", "longest"].map(|name| run.rows("latency")[0][name].as_f64().expect("a latency"));
    assert!(0.0 < p50 && p50 <= p99 && p99 <= longest);
}

#[test]
fn a_run_that_is_interrupted_tells_what_it_found() {
    let address = tcp(|stream, _| honest(stream));
    let mut lab = std::process::Command::new(env!("CARGO_BIN_EXE_ringway-lab"))
        .args(["stress", &address, "--connections", "2", "--seconds", "600", "--json", "-"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the lab runs");
    // It says on standard error that it begins, and only then can it be interrupted in the midst of it.
    let mut line = String::new();
    let mut stderr = std::io::BufReader::new(lab.stderr.take().expect("piped"));
    std::io::BufRead::read_line(&mut stderr, &mut line).expect("it says something");
    assert!(line.starts_with("stress on "), "{line}");
    let pid = i32::try_from(lab.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a number");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    let output = lab.wait_with_output().expect("it ends");
    assert!(output.status.success());
    let outcome: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(outcome["tables"][0]["name"], "load");
}

#[test]
fn what_cannot_be_done_is_refused() {
    for (arguments, part) in [
        (&["localhost:7"][..], "an address is IP:PORT or unix:PATH"),
        (
            &["127.0.0.1:9", "--frame", "len8", "--size", "1-256"],
            "len8 tells the length of 255 bytes at most",
        ),
        (&["127.0.0.1:9", "--frame", "len24"], "a frame is none, lines"),
        (&["127.0.0.1:9", "--size", "0"], "sizes are SIZE"),
        (&["127.0.0.1:9", "--disconnects", "101"], "a share is 0 to 100 percent"),
        (&["127.0.0.1:9", "--udp", "--size", "7"], "a datagram has 8 to 65507 bytes"),
        (&["unix:/x", "--udp"], "datagrams go to IP:PORT"),
        (&["127.0.0.1:9", "--udp", "--tls"], "cannot be used with"),
        (&["127.0.0.1:9", "--tls", "--ca", "/nowhere"], "cannot read /nowhere"),
        (&["127.0.0.1:9", "--path", "x"], "a path begins with a slash"),
        (&["127.0.0.1:9", "--pid", "0"], "process"),
    ] {
        let output = crate::run(&[&["stress"], arguments].concat());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(part) && stderr.lines().count() == 1, "{arguments:?}: {stderr}");
    }
}
