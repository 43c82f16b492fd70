//! What clients of endpoints hear, over TCP, Unix sockets, TLS and datagrams.

use crate::site::{Place, connect_to, datagrams_to, echoed, rest};
use crate::stand::{Stand, eventually, on_both_drivers};
use ringway::tls::self_signed;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::SystemTime;

#[test]
fn an_echo_answers_over_tcp_and_unix_sockets() {
    on_both_drivers(|driver| {
        let place = Place::start(
            &format!("endpoints-echo-{driver}"),
            driver,
            "[[endpoint]]\nname = \"echo\"\nlisten = [\"127.0.0.1:0\", \"unix:@/echo.sock\"]\nhandler = \"builtin:echo\"\n",
        );
        let mut tcp = TcpEcho::new(&place);
        assert_eq!(tcp.say(b"hello"), b"hello");
        let long: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        assert_eq!(tcp.say(&long), long);
        let mut unix = connect_to(&place.stand.at("echo.sock"));
        assert_eq!(echoed(&mut unix, b"here too"), b"here too");
        assert_eq!(place.running.get("/").body, b"one", "the site is there as well");
        assert_eq!(place.figure("echo", "open"), 2);
        assert_eq!(place.figure("echo", "bytes_in"), (5 + long.len() + 8) as u64);
        assert_eq!(place.figure("echo", "bytes_in"), place.figure("echo", "bytes_out"));
        drop((tcp, unix));
        eventually("they are gone", || (place.figure("echo", "open") == 0).then_some(()));
        place.running.stop();
    });
}

/// A connection to the endpoint `echo`.
struct TcpEcho(std::net::TcpStream);

impl TcpEcho {
    fn new(place: &Place) -> Self {
        Self(place.connect("echo"))
    }

    /// Sends on another thread: neither side keeps more than a window.
    fn say(&mut self, said: &[u8]) -> Vec<u8> {
        let mut writer = self.0.try_clone().unwrap();
        let owned = said.to_vec();
        let writing = std::thread::spawn(move || writer.write_all(&owned).unwrap());
        let mut heard = vec![0; said.len()];
        self.0.read_exact(&mut heard).unwrap();
        writing.join().unwrap();
        heard
    }
}

#[test]
fn datagrams_are_answered_one_by_one() {
    on_both_drivers(|driver| {
        let place = Place::start(
            &format!("endpoints-udp-{driver}"),
            driver,
            "[[endpoint]]\nname = \"datagrams\"\nlisten = [\"127.0.0.1:0\"]\nhandler = \"builtin:udp-echo\"\n",
        );
        let socket = datagrams_to(place.address("datagrams"));
        for size in [1, 100, 1400, 9000] {
            let said = vec![b'x'; size];
            socket.send(&said).unwrap();
            let mut heard = vec![0; 65_536];
            let count = socket.recv(&mut heard).unwrap();
            assert_eq!(heard[..count], said, "{size} bytes");
        }
        assert_eq!(place.figure("datagrams", "messages_in"), 4);
        assert_eq!(place.figure("datagrams", "messages_out"), 4);
        place.running.stop();
    });
}

#[test]
fn tls_stands_before_a_handler() {
    let mut stand = Stand::new("endpoints-tls", "auto");
    let made = self_signed(&["one.example".to_owned()], SystemTime::now()).unwrap();
    stand.file("key.pem", &made.key.bytes);
    stand.file("cert.pem", &made.chain.bytes);
    stand.console = "socket = \"console.sock\"".to_owned();
    stand.more = "[[certificate]]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n\
        [[endpoint]]\nname = \"secret\"\nlisten = [\"127.0.0.1:0\"]\ntls = true\nhandler = \"builtin:echo\"\nframing = \"lines\"\n"
        .to_owned();
    stand.write();
    let running = stand.start();
    let place = Place { stand, running };
    assert!(place.running.said().contains("tls://127.0.0.1:"), "{}", place.running.said());
    let mut command = Command::new("openssl");
    command.args(["s_client", "-quiet", "-connect", &place.address("secret").to_string()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut client = command.spawn().expect("openssl is needed for this test");
    let mut to = client.stdin.take().unwrap();
    let mut from = client.stdout.take().unwrap();
    to.write_all(b"a line over TLS\n").unwrap();
    let mut heard = vec![0; 16];
    from.read_exact(&mut heard).unwrap();
    assert_eq!(heard, b"a line over TLS\n");
    client.kill().unwrap();
    client.wait().unwrap();
    place.running.stop();
}

#[test]
fn whoever_says_nothing_for_too_long_is_sent_away() {
    let place = Place::start(
        "endpoints-idle",
        "auto",
        "[[endpoint]]\nname = \"echo\"\nlisten = [\"127.0.0.1:0\"]\nhandler = \"builtin:echo\"\n\
         limits = { idle_timeout = \"200ms\" }\n\
         [[endpoint]]\nname = \"frames\"\nlisten = [\"127.0.0.1:0\"]\nhandler = \"builtin:echo\"\n\
         framing = \"length\"\nlimits = { read_timeout = \"200ms\", message_size = \"100 B\" }\n",
    );
    let mut idle = place.connect("echo");
    assert_eq!(echoed(&mut idle, b"x"), b"x");
    assert_eq!(rest(&mut idle), b"", "it is closed");
    assert_eq!(place.figure("echo", "timeouts"), 1);
    let mut slow = place.connect("frames");
    slow.write_all(&[0, 0, 0, 9, b'a']).unwrap();
    assert_eq!(rest(&mut slow), b"", "the message never became whole");
    let mut long = place.connect("frames");
    long.write_all(&[0, 0, 1, 0]).unwrap();
    assert_eq!(rest(&mut long), b"", "256 bytes are too many");
    let mut good = place.connect("frames");
    assert_eq!(echoed(&mut good, &[0, 0, 0, 2, b'o', b'k']), [0, 0, 0, 2, b'o', b'k']);
    assert_eq!((place.figure("frames", "timeouts"), place.figure("frames", "faults")), (1, 1));
    place.running.stop();
}

#[test]
fn there_are_no_more_connections_than_may_be() {
    let place = Place::start(
        "endpoints-limits",
        "auto",
        "[[endpoint]]\nname = \"echo\"\nlisten = [\"unix:@/echo.sock\"]\nhandler = \"builtin:echo\"\n\
         limits = { connections = 1 }\nbalance = \"least-loaded\"\n",
    );
    // Two workers with one connection each.
    let at = place.stand.at("echo.sock");
    let mut held: Vec<_> = (0..2).map(|_| connect_to(&at)).collect();
    held.iter_mut().for_each(|stream| assert_eq!(echoed(stream, b"in"), b"in"));
    let mut refused = connect_to(&at);
    let _may_be_gone = refused.write_all(b"out");
    assert_eq!(rest(&mut refused), b"");
    drop(held);
    eventually("there is room again", || {
        let mut stream = connect_to(&at);
        let mut heard = [0; 2];
        (stream.write_all(b"in").is_ok() && stream.read_exact(&mut heard).is_ok()).then_some(())
    });
    place.running.stop();
}
