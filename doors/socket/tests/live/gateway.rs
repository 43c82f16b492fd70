//! The gateway: both ways, ends of one way, targets in turn, slow and silent and broken sides.

use crate::stand::{PATIENCE, Setup, Stand, connect, on_each_driver, pattern};
use crate::tls;
use ringway_engine::ring::DriverChoice;
use ringway_socket::outbound::{Origin, Target};
use ringway_socket::{GatewayOptions, Settings, builtin, gateway};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::Duration;

fn listener() -> (TcpListener, Target) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let target = Target::new(Origin::Tcp(listener.local_addr().expect("bound")));
    (listener, target)
}

fn nobody() -> Target {
    listener().1
}

fn start(driver: DriverChoice, options: GatewayOptions) -> Stand {
    Setup::new(driver, gateway(options).expect("good options")).start()
}

fn accepted(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().expect("the gateway connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("an option");
    stream.set_write_timeout(Some(PATIENCE)).expect("an option");
    stream
}

/// The client sends all and its end; the target answers as much of another sequence as comes, and ends. The client gets that.
fn exchange(client: &TcpStream, mut target: impl Read + Write + Send, bytes: usize) {
    let (question, answer) = (pattern(0, bytes), pattern(7, bytes));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = client;
            client.write_all(&question).expect("it is taken");
            client.shutdown(Shutdown::Write).expect("open");
        });
        let target = scope.spawn(|| {
            let (mut got, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
            loop {
                let count = target.read(&mut buffer).expect("it comes");
                if count == 0 {
                    break;
                }
                target.write_all(&answer[got.len()..got.len() + count]).expect("it is taken");
                got.extend_from_slice(&buffer[..count]);
            }
            drop(target);
            got
        });
        let mut got = Vec::new();
        let mut client = client;
        client.read_to_end(&mut got).expect("it comes to its end");
        assert!(got == answer, "{} of {bytes} bytes", got.len());
        assert!(target.join().expect("no panic") == question);
    });
}

#[test]
fn bytes_go_both_ways_and_so_do_their_ends() {
    on_each_driver(|driver| {
        let (listener, target) = listener();
        let path = std::env::temp_dir().join(format!("ringway-gateway-{}-{driver:?}", std::process::id()));
        let unix = UnixListener::bind(&path).expect("a place for a socket");
        let targets = vec![target, Target::new(Origin::Unix(path.clone()))];
        let stand = start(driver, GatewayOptions::new(targets));
        for bytes in [1, 1_000_000] {
            let client = stand.connect();
            exchange(&client, accepted(&listener), bytes);
            let client = stand.connect();
            exchange(&client, unix.accept().expect("the gateway connects").0, bytes);
        }
        stand.until_resting();
        let counted = stand.counted();
        assert_eq!((counted.opened, counted.errors, counted.timeouts), (4, 0, 0));
        assert_eq!((counted.bytes_in, counted.bytes_out), (2_000_002, 2_000_002));
        assert_eq!(stand.stop().connected, 4);
        std::fs::remove_file(path).expect("it was there");
    });
}

#[test]
fn targets_have_their_turns_and_stand_in_for_each_other() {
    on_each_driver(|driver| {
        let ((one, first), (other, second)) = (listener(), listener());
        let stand = start(driver, GatewayOptions::new(vec![first, nobody(), second]));
        let mut clients = Vec::new();
        // The second turn is nobody's: the third target takes it, and its own.
        for listener in [&one, &other, &other, &one] {
            let mut client = stand.connect();
            let mut target = accepted(listener);
            client.write_all(b"ping").expect("it is taken");
            let mut got = [0; 4];
            target.read_exact(&mut got).expect("it comes");
            assert_eq!(&got, b"ping");
            clients.push((client, target));
        }
        assert_eq!(stand.counted().faults, 1);
        drop(clients);
        stand.until_resting();
        stand.stop();
    });
}

#[test]
fn a_client_of_targets_that_nobody_reaches_is_reset() {
    on_each_driver(|driver| {
        let stand = start(driver, GatewayOptions::new(vec![nobody(), nobody()]));
        let mut client = stand.connect();
        let error = client.read(&mut [0; 8]).expect_err("a reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        stand.until_resting();
        assert_eq!((stand.counted().errors, stand.counted().faults), (1, 2));
        stand.stop();
    });
}

#[test]
fn who_breaks_breaks_the_other_side_too() {
    on_each_driver(|driver| {
        let (listener, target) = listener();
        let stand = start(driver, GatewayOptions::new(vec![target]));
        for client_breaks in [true, false] {
            let client = stand.connect();
            let target = accepted(&listener);
            let (mut lives, breaks) = if client_breaks { (target, client) } else { (client, target) };
            // What is unread when a socket is closed makes that a reset.
            lives.write_all(b"unread").expect("it is taken");
            breaks.peek(&mut [0; 6]).expect("it comes");
            drop(breaks);
            let error = lives.read(&mut [0; 8]).expect_err("a reset");
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{client_breaks}");
        }
        stand.until_resting();
        assert_eq!(stand.counted().errors, 2);
        stand.stop();
    });
}

/// Writes until nothing more is taken; how much was.
fn fill(stream: &TcpStream) -> usize {
    stream.set_write_timeout(Some(Duration::from_millis(300))).expect("an option");
    let (mut stream, piece, mut taken) = (stream, pattern(0, 64 * 1024), 0);
    loop {
        match stream.write(&piece[taken % piece.len()..]) {
            Ok(count) => taken += count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return taken;
            }
            Err(error) => panic!("{error}"),
        }
        assert!(taken < 64 << 20, "the gateway takes without end");
    }
}

#[test]
fn a_side_that_does_not_read_stops_the_other_and_nothing_is_lost() {
    on_each_driver(|driver| {
        let (listener, target) = listener();
        let stand = start(driver, GatewayOptions::new(vec![target]));
        let (client, target) = (stand.connect(), accepted(&listener));
        for (from, to) in [(&client, &target), (&target, &client)] {
            let taken = fill(from);
            from.shutdown(Shutdown::Write).expect("open");
            let mut got = Vec::new();
            let mut to = to;
            to.read_to_end(&mut got).expect("it comes to its end");
            assert_eq!(got.len(), taken);
            assert!(got.chunks(64 * 1024).all(|piece| piece == &pattern(0, piece.len())[..]));
        }
        stand.until_resting();
        assert_eq!(stand.counted().errors, 0);
        stand.stop();
    });
}

#[test]
fn silence_ends_in_good_order_and_a_side_that_takes_nothing_in_a_reset() {
    on_each_driver(|driver| {
        let (listener, target) = listener();
        let options = GatewayOptions { idle_ms_max: 150, ..GatewayOptions::new(vec![target.clone()]) };
        let stand = start(driver, options);
        let (mut client, mut peer) = (stand.connect(), accepted(&listener));
        assert_eq!(client.read(&mut [0; 8]).expect("an end"), 0);
        assert_eq!(peer.read(&mut [0; 8]).expect("an end"), 0);
        drop((client, peer));
        stand.until_resting();
        assert_eq!((stand.counted().timeouts, stand.counted().errors), (1, 0));
        stand.stop();
        let options = GatewayOptions { stall_ms_max: 200, ..GatewayOptions::new(vec![target]) };
        let stand = start(driver, options);
        let (client, peer) = (stand.connect(), accepted(&listener));
        let sends_on = eventually_refused(&client);
        assert!(matches!(sends_on, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{sends_on}");
        drop(peer);
        stand.until_resting();
        assert_eq!((stand.counted().timeouts, stand.counted().errors), (1, 1));
        stand.stop();
    });
}

/// Writes until that fails.
fn eventually_refused(mut stream: &TcpStream) -> ErrorKind {
    let piece = pattern(0, 64 * 1024);
    loop {
        if let Err(error) = stream.write_all(&piece) {
            return error.kind();
        }
    }
}

#[test]
fn targets_are_spoken_to_with_tls_and_by_their_names_only() {
    on_each_driver(|driver| {
        for expected in [tls::NAME, "another.example"] {
            let (filter, client_tls) = tls::pair(expected);
            let mut behind = Setup::builtin(driver, "echo");
            behind.endpoint.filter = Some(filter);
            let behind = behind.start();
            let settings: Settings = [("targets", behind.address().to_string()), ("tls", "true".to_owned())]
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect();
            let setup = Setup::new(driver, builtin("gateway", &settings).expect("good settings"));
            let stand = setup.on(|terms| terms.client_tls = Some(client_tls)).start();
            let mut client = connect(stand.address());
            let question = pattern(0, 300_000);
            if expected == tls::NAME {
                let answer = echoed(&client, &question).expect("it comes");
                assert!(answer == question);
            } else {
                let error = client.read(&mut [0; 8]).expect_err("nobody is there whom it believes");
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            }
            drop(client);
            stand.until_resting();
            stand.stop();
            behind.stop();
        }
    });
}

/// What comes back of `question`.
fn echoed(client: &TcpStream, question: &[u8]) -> io::Result<Vec<u8>> {
    thread::scope(|scope| {
        let mut writer = client;
        scope.spawn(move || {
            writer.write_all(question).expect("it is taken");
            writer.shutdown(Shutdown::Write).expect("open");
        });
        let (mut got, mut client) = (Vec::new(), client);
        client.read_to_end(&mut got).map(|_| got)
    })
}

#[test]
fn settings_that_make_no_gateway_are_explained() {
    let told = |settings: &[(&str, &str)]| {
        let settings = settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        builtin("gateway", &settings).err().expect("it is wrong").to_string()
    };
    assert!(told(&[]).contains("1 to 64 targets, not 0"));
    assert!(told(&[("targets", "[\"localhost\"]")]).contains("\"localhost\" is no place to connect to"));
    assert!(told(&[("target", "x:1")]).contains("no setting target; it has targets, tls"));
    assert!(told(&[("targets", "x:1"), ("idle_ms", "0")]).contains("idle_ms must be a number from 1"));
}
