//! Connections reached from outside of their turns: by any thread, many at once, those that are busy and those that are gone.

use crate::stand::{PATIENCE, Setup, on_each_driver};
use ringway_engine::{Conn, ConnKey, Delivery, Events, Post, Protocol, Turn, WorkerHandle};
use std::cell::RefCell;
use std::io::{Read, Write};
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};

thread_local! {
    static KEYS: RefCell<Vec<ConnKey>> = const { RefCell::new(Vec::new()) };
}

/// Notes who is there, and says so; says "nudged" when it is.
struct Members;

impl Protocol for Members {
    fn turn(&self, conn: &mut Conn<'_>, events: Events) -> Turn {
        if conn.is_ended() {
            return Turn::Close;
        }
        if events.has(Events::OPENED) {
            KEYS.with_borrow_mut(|keys| keys.push(conn.key()));
        }
        let word: &[u8] = if events.has(Events::NUDGED) { b"nudged" } else { b"" };
        if conn.take_joined().is_some() {
            conn.send(conn.pool().copy_of(b"here").expect("memory"));
        }
        conn.send(conn.pool().copy_of(word).expect("memory"));
        Turn::Idle
    }
}

/// Has the worker do something and waits for what comes of it.
fn ask<T: Send + 'static>(post: &Post, work: impl FnOnce(&WorkerHandle) -> T + Send + 'static) -> T {
    let (sender, answer) = channel();
    assert!(post.leave(move |worker| sender.send(work(worker)).expect("somebody waits")));
    answer.recv_timeout(PATIENCE).expect("the worker does it")
}

/// Sends bytes to all that were ever there; what became of it where it was not sent.
fn to_all(post: &Post, bytes: usize) -> Vec<Delivery> {
    ask(post, move |worker| {
        let slice = worker.slices().copy_of(&vec![b'm'; bytes]).expect("memory");
        let keys = KEYS.with_borrow(Clone::clone);
        let mut told = Vec::new();
        worker.multicast(&[slice], keys, |_, delivery| told.push(delivery));
        told
    })
}

#[test]
fn any_thread_reaches_the_connections_of_a_worker() {
    on_each_driver(|driver| {
        let (sender, posts) = channel();
        let sender: Mutex<Sender<Post>> = Mutex::new(sender);
        let setup = Setup::new(driver, move |worker| {
            sender.lock().expect("no panic").send(worker.post()).expect("the test waits");
            Members
        });
        let stand = setup.with_small_sockets().start();
        let post = posts.recv_timeout(PATIENCE).expect("a worker");
        let mut clients: Vec<_> = (0..3).map(|_| stand.connect()).collect();
        let mut word = [0; 4];
        for client in &mut clients {
            client.write_all(b"?").expect("it reads");
            client.read_exact(&mut word).expect("an answer");
        }
        assert_eq!(to_all(&post, 4), []);
        for client in &mut clients {
            client.read_exact(&mut word).expect("what all are sent");
            assert_eq!(word, *b"mmmm");
        }
        ask(&post, |worker| KEYS.with_borrow(|keys| keys.iter().for_each(|key| worker.nudge(*key))));
        let mut nudged = [0; 6];
        for client in &mut clients {
            client.read_exact(&mut nudged).expect("each has a turn");
            assert_eq!(nudged, *b"nudged");
        }
        // One that does not read is busy before long, and nothing more is taken for it.
        let mut quick = clients.split_off(1);
        let mut rounds = 0;
        while to_all(&post, 4_000) != [Delivery::Busy] {
            rounds += 1;
            assert!(rounds < 10_000, "it is never busy");
            let mut piece = vec![0; 4_000];
            quick.iter_mut().for_each(|client| client.read_exact(&mut piece).expect("they read"));
        }
        drop((clients, quick));
        stand.until_resting();
        assert_eq!(to_all(&post, 4), [Delivery::Gone; 3]);
        assert_eq!(stand.stop().panics, 0);
        assert!(!post.leave(|_| {}), "nobody is there to do it");
    });
}
