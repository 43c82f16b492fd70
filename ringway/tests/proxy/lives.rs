//! Backends that come and go under load.

use crate::stand::{Setup, ask, eventually};
use crate::upstream::Upstream;
use ringway_testkit::{Answer, Client};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A backend that is a process, so that it can be killed: `ringway serve` on a port.
struct Backend {
    child: Child,
}

impl Backend {
    fn start(folder: &std::path::Path, address: SocketAddr) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
        command.arg("serve").arg(folder).arg("--listen").arg(address.to_string()).arg("--workers").arg("1");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        eventually("the backend to listen", || std::net::TcpStream::connect(address).ok());
        Self { child }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn is_fine(answer: &std::io::Result<Answer>) -> bool {
    answer.as_ref().is_ok_and(|answer| answer.status == 200 && answer.body == b"hello")
}

#[test]
fn one_of_three_is_killed_and_comes_back_and_no_client_sees_it() {
    let scratch = ringway_testkit::Scratch::new("proxy-killed-files");
    scratch.file("a", b"hello");
    let addresses: Vec<SocketAddr> =
        (0..3).map(|_| SocketAddr::from(([127, 0, 0, 1], ringway_testkit::free_port()))).collect();
    let mut backends: Vec<Backend> =
        addresses.iter().map(|address| Backend::start(scratch.path(), *address)).collect();
    let ringway = Setup::before(&addresses).start("proxy-killed");
    let (is_over, asked, wrong) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (is_over, asked, wrong) = (Arc::clone(&is_over), Arc::clone(&asked), Arc::clone(&wrong));
            let address = ringway.address();
            std::thread::spawn(move || {
                let mut client = Client::connect(address).unwrap();
                while !is_over.load(Ordering::SeqCst) {
                    client.send(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
                    let answer = client.answer(false);
                    asked.fetch_add(1, Ordering::SeqCst);
                    if !is_fine(&answer) {
                        eprintln!("{answer:?}");
                        wrong.fetch_add(1, Ordering::SeqCst);
                        client = Client::connect(address).unwrap();
                    }
                }
            })
        })
        .collect();
    let more = |count: usize| {
        let before = asked.load(Ordering::SeqCst);
        eventually("more answers", || (asked.load(Ordering::SeqCst) >= before + count).then_some(()));
    };
    more(500);
    for _ in 0..3 {
        backends[1].kill();
        more(500);
        backends[1] = Backend::start(scratch.path(), addresses[1]);
        more(500);
    }
    is_over.store(true, Ordering::SeqCst);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(wrong.load(Ordering::SeqCst), 0, "of {}", asked.load(Ordering::SeqCst));
    assert!(ringway.said().contains(&addresses[1].to_string()), "failed tries are told of");
}

#[test]
fn a_backend_that_comes_back_is_used_within_a_second() {
    let answer = |name: &'static [u8]| {
        move |talk: &mut crate::upstream::Talk| {
            while talk.request().is_some() {
                talk.answer(name);
            }
        }
    };
    let stays = Upstream::start(answer(b"stays"));
    let address = SocketAddr::from(([127, 0, 0, 1], ringway_testkit::free_port()));
    let ringway = Setup::before(&[stays.address(), address]).start("proxy-comes-back");
    let mut client = ringway.client();
    // Failures enough to take it out.
    (0..40).for_each(|_| assert_eq!(ask(&mut client, "GET /", "", b"").body, b"stays"));
    let _came = Upstream::at(address, answer(b"came"));
    let began = Instant::now();
    eventually("it to be used", || (ask(&mut client, "GET /", "", b"").body == b"came").then_some(()));
    assert!(began.elapsed() <= Duration::from_secs(1), "{:?}", began.elapsed());
}

#[test]
fn connections_that_were_closed_while_nobody_used_them_cost_no_client_anything() {
    let upstream = Upstream::start(|talk| {
        if talk.request().is_some() {
            talk.answer(b"ok");
            talk.finish();
        }
    });
    let ringway = Setup { upstream: "attempts = 1".to_owned(), ..Setup::before(&[upstream.address()]) };
    let ringway = ringway.start("proxy-stale");
    let mut client = ringway.client();
    for _ in 0..100 {
        let answer = ask(&mut client, "GET /", "", b"");
        assert_eq!((answer.status, &answer.body[..]), (200, &b"ok"[..]));
    }
    assert!(!ringway.said().contains("error"), "{}", ringway.said());
}
