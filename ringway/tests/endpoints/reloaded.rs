//! Other configurations and other server processes, while connections are open.

use crate::site::{Place, datagrams_to, echoed, rest};
use crate::stand::{on_both_drivers, text};
use std::io::Write;
use std::net::UdpSocket;

fn endpoint(name: &str, listen: &str, handler: &str) -> String {
    format!("[[endpoint]]\nname = \"{name}\"\nlisten = [\"{listen}\"]\nhandler = \"{handler}\"\n")
}

#[test]
fn connections_end_with_the_handler_they_began_with() {
    on_both_drivers(|driver| {
        let echo = endpoint("talk", "127.0.0.1:0", "builtin:echo");
        let mut place = Place::start(&format!("endpoints-reload-{driver}"), driver, &echo);
        let servers = place.running.servers();
        let mut old = place.connect("talk");
        assert_eq!(echoed(&mut old, b"before"), b"before");
        let said = place.reload(&endpoint("talk", "127.0.0.1:0", "builtin:discard"));
        assert!(said.contains("by the same server process"), "{said}");
        assert_eq!(echoed(&mut old, b"after"), b"after", "it began with an echo");
        let mut new = place.connect("talk");
        new.write_all(b"into nothing").unwrap();
        new.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(rest(&mut new), b"", "new connections are discarded");
        assert_eq!(place.figure("talk", "replaced"), 1);
        assert_eq!(place.figure("talk", "opened"), 2, "counters go on");
        place.reload("");
        assert_eq!(rest(&mut old), b"", "an endpoint that is gone lets go of its connections");
        assert_eq!(place.running.servers(), servers);
        place.running.stop();
    });
}

#[test]
fn what_is_wrong_leaves_what_is_there() {
    let echo = endpoint("talk", "127.0.0.1:0", "builtin:echo");
    let mut place = Place::start("endpoints-wrong", "auto", &echo);
    let mut old = place.connect("talk");
    for (wrong, complaint) in [
        (endpoint("talk", "127.0.0.1:0", "builtin:nothing"), "no handler `nothing`"),
        (format!("{echo}config = {{ size = 3 }}\n"), "size"),
        (endpoint("talk", "127.0.0.1:0", "lib:/nowhere.so"), "/nowhere.so"),
        (format!("{echo}framing = {{ kind = \"fixed\" }}\n"), "needs `size`"),
    ] {
        place.stand.more = wrong;
        place.stand.write();
        let refused = place.stand.ask("reload");
        let told = text(&refused.stderr);
        assert!(!refused.status.success() && told.contains(complaint), "{complaint:?} is not in {told}");
        assert_eq!(echoed(&mut old, b"still here"), b"still here");
    }
    let mut new = place.connect("talk");
    assert_eq!(echoed(&mut new, b"new ones too"), b"new ones too");
    place.running.stop();
}

#[test]
fn no_datagram_is_lost_when_another_process_takes_over() {
    on_both_drivers(|driver| {
        let echo = endpoint("talk", "127.0.0.1:0", "builtin:udp-echo");
        let mut place = Place::start(&format!("endpoints-udp-handover-{driver}"), driver, &echo);
        let socket = datagrams_to(place.address("talk"));
        let exchange = |socket: &UdpSocket, number: u32| {
            socket.send(&number.to_le_bytes()).unwrap();
            let mut heard = [0; 8];
            assert_eq!(socket.recv(&mut heard).unwrap(), 4, "{number}");
            assert_eq!(heard[..4], number.to_le_bytes());
        };
        (0..10).for_each(|number| exchange(&socket, number));
        // Another root is beyond the sandbox of the process that serves.
        place.stand.root = "other".to_owned();
        let going = std::sync::atomic::AtomicBool::new(true);
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| {
                let mut number = 100;
                while going.load(std::sync::atomic::Ordering::Relaxed) {
                    exchange(&socket, number);
                    number += 1;
                }
                number
            });
            let said = place.reload(&echo);
            assert!(said.contains("server process 2"), "{said}");
            (0..100).for_each(|_| assert_eq!(place.running.get("/").body, b"two"));
            going.store(false, std::sync::atomic::Ordering::Relaxed);
            assert!(asked.join().unwrap() > 100);
        });
        place.running.stop();
    });
}

#[test]
fn other_addresses_of_datagrams_are_another_processes_matter() {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut place = Place::start("endpoints-udp-added", "auto", "");
    let said = place.reload(&endpoint("talk", &port.to_string(), "builtin:udp-echo"));
    assert!(said.contains("receives datagrams elsewhere"), "{said}");
    let socket = datagrams_to(port);
    socket.send(b"hello").unwrap();
    let mut heard = [0; 16];
    assert_eq!(socket.recv(&mut heard).unwrap(), 5);
    place.running.stop();
}
