//! Exhausted descriptors and a full accept queue slow the server down; it recovers, and never dies.

use crate::abuse::may_have_descriptors;
use crate::server::{Driver, PATIENCE, Setup, age, eventually, pattern};
use ringway_testkit::{Client, Scratch};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::Signal;
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::time::{Duration, Instant};

on_both_drivers!(
    more_connections_than_descriptors,
    more_files_than_descriptors,
    a_full_accept_queue_is_worked_off,
);

const ASK: &[u8] = b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n";

fn more_connections_than_descriptors(driver: Driver) {
    let site = Scratch::new("descriptors");
    age(&site.file("a.txt", b"a"));
    age(&site.file("b.bin", &pattern(100_000)));
    let server = Setup::new(driver, site.path()).descriptors_max(64).start();
    let before = server.sockets();
    assert_eq!(server.get("/a.txt").body, b"a");
    // All ask at once and stay; who has an answer goes and makes room for another.
    let mut waiting: Vec<Client> = (0..300).map(|_| server.client()).collect();
    for client in &mut waiting {
        client.send(ASK).expect("the kernel takes it");
    }
    eventually("it is full", || (server.descriptors().len() >= 60).then_some(()));
    while !waiting.is_empty() {
        let ready = eventually("somebody is answered", || {
            waiting.iter().position(|client| {
                client.stream().set_nonblocking(true).expect("a socket");
                let is_ready = client.stream().peek(&mut [0]).is_ok();
                client.stream().set_nonblocking(false).expect("a socket");
                is_ready
            })
        });
        let answer = waiting.swap_remove(ready).answer(false).expect("an answer");
        assert!(answer.status == 200 && answer.body == b"a" || answer.status == 503, "{answer:?}");
    }
    eventually("all are forgotten", || (server.sockets() == before).then_some(()));
    assert!(server.get("/b.bin").body == pattern(100_000), "files can be opened again");
    server.stop().cleanly();
}

fn more_files_than_descriptors(driver: Driver) {
    let site = Scratch::new("many-files");
    for number in 0..150 {
        age(&site.file(&format!("{number}.bin"), &pattern(20_000 + number)));
    }
    let server = Setup::new(driver, site.path()).descriptors_max(64).start();
    let mut client = server.client();
    for number in (0..150).chain(0..150) {
        client.send(format!("GET /{number}.bin HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).expect("it reads");
        let answer = client.answer(false).expect("an answer");
        assert!(
            answer.status == 200 && answer.body == pattern(20_000 + number),
            "{number}: {}",
            answer.status
        );
    }
    // Files that are kept open must not keep connections out.
    let mut others: Vec<Client> = (0..10).map(|_| server.client()).collect();
    for other in &mut others {
        other.send(b"GET /7.bin HTTP/1.1\r\nHost: a\r\n\r\n").expect("it reads");
    }
    for other in &mut others {
        assert!(other.answer(false).expect("an answer").body == pattern(20_007));
    }
    drop((client, others));
    server.stop().cleanly();
}

/// Begins a connection without waiting for it.
fn begin(address: std::net::SocketAddr) -> TcpStream {
    // Not inherited by servers that other tests start meanwhile.
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket =
        rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).expect("a socket");
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => TcpStream::from(socket),
        Err(error) => panic!("{error}"),
    }
}

fn a_full_accept_queue_is_worked_off(driver: Driver) {
    let room = std::fs::read_to_string("/proc/sys/net/core/somaxconn").expect("Linux has it");
    let room: usize = room.trim().parse().expect("a number");
    let crowd = room.min(4096) + 300;
    if room > 4096 || !may_have_descriptors(crowd as u64 + 500) {
        eprintln!("SKIPPED: an accept queue of {room} is too long to be filled here");
        return;
    }
    let site = Scratch::new("queue");
    age(&site.file("a.txt", b"a"));
    let server = Setup::new(driver, site.path()).start();
    let before = server.sockets();
    assert_eq!(server.get("/a.txt").body, b"a");
    server.signal(Signal::STOP);
    let mut crowd: Vec<TcpStream> = (0..crowd).map(|_| begin(server.address())).collect();
    let mut asked = vec![false; crowd.len()];
    let mut ask = |crowd: &mut [TcpStream]| {
        use std::io::Write;
        for (stream, asked) in crowd.iter_mut().zip(&mut asked) {
            // Who is not connected yet asks later.
            *asked |= !*asked && stream.write(ASK).is_ok_and(|count| count == ASK.len());
        }
        asked.iter().filter(|asked| **asked).count()
    };
    eventually("the queue is full", || (ask(&mut crowd) >= room).then_some(()));
    server.signal(Signal::CONT);
    let deadline = Instant::now() + PATIENCE;
    let mut answered = 0;
    let mut is_answered = vec![false; crowd.len()];
    while answered < crowd.len() {
        assert!(Instant::now() < deadline, "{answered} of {} are answered", crowd.len());
        ask(&mut crowd);
        for (stream, is_answered) in
            crowd.iter_mut().zip(&mut is_answered).filter(|(_, is_answered)| !**is_answered)
        {
            let mut answer = [0; 1024];
            match stream.read(&mut answer) {
                Ok(count) => {
                    assert!(
                        answer[..count].starts_with(b"HTTP/1.1 200 ") && answer[..count].ends_with(b"\na")
                    );
                    *is_answered = true;
                    answered += 1;
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {}
                Err(error) => panic!("{error}"),
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(crowd);
    eventually("all are forgotten", || (server.sockets() == before).then_some(()));
    assert_eq!(server.get("/a.txt").body, b"a");
    server.stop().cleanly();
}
