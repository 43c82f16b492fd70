//! Every handler that is built in, configured and spoken to; the framings and limits that configurations have for them.

use crate::site::{Place, datagrams_to, echoed, rest};
use crate::stand::on_both_drivers;
use ringway_testkit::Scratch;
use rustix::net::{SendFlags, send};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

/// Reads a line.
fn line(reader: &mut impl BufRead) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

#[test]
fn guests_of_a_chat_hear_each_other() {
    on_both_drivers(|driver| {
        let place = Place::start(
            &format!("endpoints-chat-{driver}"),
            driver,
            "[[endpoint]]\nname = \"chat\"\nlisten = [\"127.0.0.1:0\"]\nhandler = \"builtin:chat\"\n\
             config = { greeting = \"good morning\" }\n",
        );
        let mut guests: Vec<_> = (1..=3)
            .map(|number| {
                let mut guest = BufReader::new(place.connect("chat"));
                assert!(line(&mut guest).starts_with(&format!("good morning; you are guest {number}")));
                guest
            })
            .collect();
        guests[0].get_mut().write_all(b"/name Ada\nhello all\n").unwrap();
        for guest in &mut guests[1..] {
            while line(guest) != "Ada: hello all" {}
        }
        guests[0].get_mut().write_all(b"/quit\n").unwrap();
        while !line(&mut guests[1]).contains("Ada has left") {}
        assert_eq!((place.figure("chat", "messages_in"), place.figure("chat", "open")), (3, 2));
        place.running.stop();
    });
}

#[test]
fn mail_is_read_from_files() {
    let scratch = Scratch::new("endpoints-mail-drop");
    std::fs::write(scratch.path().join("1.eml"), "Subject: one\r\n\r\n.dot\r\n").unwrap();
    let tables = format!(
        "[[endpoint]]\nname = \"mail\"\nlisten = [\"127.0.0.1:0\"]\nhandler = \"builtin:mail\"\n\
         config = {{ user = \"ada\", password = \"secret\", directory = {:?} }}\n",
        scratch.path()
    );
    let place = Place::start("endpoints-mail", "auto", &tables);
    let mut mail = BufReader::new(place.connect("mail"));
    assert!(line(&mut mail).starts_with("+OK"));
    mail.get_mut()
        .write_all(b"STAT\r\nUSER ada\r\nPASS wrong\r\nUSER ada\r\nPASS secret\r\nRETR 1\r\nQUIT\r\n")
        .unwrap();
    let heard = String::from_utf8(rest(&mut mail)).unwrap();
    let words: Vec<&str> = heard.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(words[..6], ["-ERR", "+OK", "-ERR", "+OK", "+OK", "+OK"], "{heard}");
    assert!(heard.contains("Subject: one\r\n\r\n..dot\r\n.\r\n"), "{heard}");
    place.running.stop();
}

#[test]
fn the_small_ones_do_what_their_names_say() {
    on_both_drivers(|driver| {
        let place = Place::start(
            &format!("endpoints-small-{driver}"),
            driver,
            "[[endpoint]]\nname = \"policy\"\nlisten = [\"127.0.0.1:0\"]\nhandler = \"builtin:policy\"\n\
             config = { policy = \"<policy/>\" }\n\
             [[endpoint]]\nname = \"generator\"\nlisten = [\"127.0.0.1:0\"]\nhandler = \"builtin:generator\"\n\
             config = { bytes_max = 1000000 }\n\
             [[endpoint]]\nname = \"lengths\"\nlisten = [\"127.0.0.1:0\"]\nhandler = \"builtin:length-echo\"\n\
             [[endpoint]]\nname = \"discard\"\nlisten = [\"127.0.0.1:0\"]\nhandler = \"builtin:discard\"\n",
        );
        let mut policy = place.connect("policy");
        policy.write_all(b"<policy-file-request/>\0").unwrap();
        assert_eq!(rest(&mut policy), b"<policy/>\0");
        let text = rest(&mut place.connect("generator"));
        assert_eq!(text.len(), 1_000_000);
        assert!(text.starts_with(b" !\"#$%&'()*+"));
        let mut lengths = place.connect("lengths");
        let message = [&5_u32.to_be_bytes()[..], b"hello"].concat();
        assert_eq!(echoed(&mut lengths, &message), message);
        let mut discard = place.connect("discard");
        discard.write_all(&vec![1; 200_000]).unwrap();
        discard.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(rest(&mut discard), b"");
        assert_eq!(place.figure("discard", "bytes_in"), 200_000);
        place.running.stop();
    });
}

/// A server behind the gateway that echoes one connection.
fn echo_behind() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            std::thread::spawn(move || std::io::copy(&mut stream.try_clone().unwrap(), &mut stream));
        }
    });
    address
}

#[test]
fn a_gateway_passes_both_directions_on() {
    on_both_drivers(|driver| {
        let behind = echo_behind();
        let place = Place::start(
            &format!("endpoints-gateway-{driver}"),
            driver,
            &format!(
                "[[endpoint]]\nname = \"gateway\"\nlisten = [\"127.0.0.1:0\"]\nhandler = \"builtin:gateway\"\n\
                 connect = [\"{behind}\"]\nconfig = {{ targets = \"{behind}\" }}\n"
            ),
        );
        let mut through = place.connect("gateway");
        assert_eq!(echoed(&mut through, &vec![7; 30_000]), vec![7; 30_000]);
        through.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(rest(&mut through), b"", "the end passes through, both ways");
        place.running.stop();
    });
}

#[test]
fn a_relay_sends_on_what_comes() {
    on_both_drivers(|driver| {
        let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        receiver.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let place = Place::start(
            &format!("endpoints-relay-{driver}"),
            driver,
            &format!(
                "[[endpoint]]\nname = \"relay\"\nlisten = [\"127.0.0.1:0\"]\nhandler = \"builtin:multicast-relay\"\n\
                 config = {{ to = \"{}\" }}\n",
                receiver.local_addr().unwrap()
            ),
        );
        let sender = datagrams_to(place.address("relay"));
        sender.send(b"to all").unwrap();
        let mut heard = [0; 100];
        let count = receiver.recv(&mut heard).unwrap();
        assert_eq!(&heard[..count], b"to all");
        place.running.stop();
    });
}

/// A WebSocket that is open.
fn upgraded(place: &Place, name: &str) -> (TcpStream, String) {
    let mut stream = place.connect(name);
    stream
        .write_all(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nOrigin: http://a.example\r\n\
              Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        )
        .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    (stream, String::from_utf8(head).unwrap())
}

#[test]
fn websockets_and_what_is_none_meet_one_handler() {
    on_both_drivers(|driver| {
        let place = Place::start(
            &format!("endpoints-websocket-{driver}"),
            driver,
            "[[endpoint]]\nname = \"both\"\nlisten = [\"127.0.0.1:0\"]\nhandler = \"builtin:echo\"\nframing = \"auto\"\n\
             [[endpoint]]\nname = \"strict\"\nlisten = [\"127.0.0.1:0\"]\nhandler = \"builtin:echo\"\nframing = \"websocket\"\n\
             origins = [\"https://b.example\"]\n",
        );
        let mut raw = place.connect("both");
        assert_eq!(echoed(&mut raw, b"raw"), b"raw");
        let (mut socket, head) = upgraded(&place, "both");
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        socket.write_all(&[0x81, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2]).unwrap();
        let mut heard = [0; 4];
        socket.read_exact(&mut heard).unwrap();
        assert_eq!(heard, [0x81, 2, b'h', b'i']);
        let (_, head) = upgraded(&place, "strict");
        assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
        place.running.stop();
    });
}

#[test]
fn urgent_data_does_what_is_configured() {
    on_both_drivers(|driver| {
        let endpoint = |mode: &str| {
            format!(
                "[[endpoint]]\nname = \"{mode}\"\nlisten = [\"127.0.0.1:0\"]\nhandler = \"builtin:echo\"\nurgent = \"{mode}\"\n"
            )
        };
        let tables: String = ["abort", "inline", "separate"].map(endpoint).concat();
        let place = Place::start(&format!("endpoints-urgent-{driver}"), driver, &tables);
        let urgent = |name: &str| {
            let mut stream = place.connect(name);
            assert_eq!(echoed(&mut stream, b"before"), b"before");
            send(&stream, b"!", SendFlags::OOB).unwrap();
            let _may_be_gone = stream.write_all(b"behind");
            stream
        };
        assert_eq!(rest(&mut urgent("abort")), b"");
        let mut heard = [0; 7];
        urgent("inline").read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"!behind");
        let mut heard = [0; 6];
        urgent("separate").read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"behind");
        place.running.stop();
    });
}

#[test]
fn one_address_has_so_many_connections() {
    let place = Place::start(
        "endpoints-per-address",
        "auto",
        "[[endpoint]]\nname = \"echo\"\nlisten = [\"127.0.0.1:0\"]\nhandler = \"builtin:echo\"\nbalance = \"least-loaded\"\n\
         limits = { connections_per_address = 1 }\n",
    );
    let mut held: Vec<TcpStream> = Vec::new();
    let refused = (0..8).filter(|_| {
        let mut stream = place.connect("echo");
        let mut heard = [0; 2];
        let is_in = stream.write_all(b"in").is_ok() && stream.read_exact(&mut heard).is_ok();
        held.extend(is_in.then_some(stream));
        !is_in
    });
    assert!(refused.count() >= 6, "two workers have one each");
    assert!((1..=2).contains(&held.len()));
    place.running.stop();
}
