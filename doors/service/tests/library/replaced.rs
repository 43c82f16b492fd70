//! A library is replaced under load: no connection is lost, and old versions are unmapped.

use crate::stand::{As, PATIENCE, Stand, build, drivers, example, get, is_mapped, text};
use ringway_service::library::{Library, census};
use ringway_testkit::{Client, Scratch};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const REPLACEMENTS: u64 = 100;

#[test]
fn a_hundred_replacements_under_load_lose_nothing_and_leave_nothing() {
    let scratch = Scratch::new("replaced");
    let library = scratch.path().join("replaced.so");
    std::fs::rename(example(&scratch), &library).expect("the same directory");
    for driver in drivers() {
        let stand =
            Stand::with(driver, &library, "greeting = \"0\"", As::Service(""), 2, 20_000).expect("good");
        let (is_over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let clients: Vec<_> = (0..8)
            .map(|number| {
                let (address, is_over, answered) =
                    (stand.address(), Arc::clone(&is_over), Arc::clone(&answered));
                std::thread::spawn(move || load(address, number, &is_over, &answered))
            })
            .collect();
        for number in 1..=REPLACEMENTS {
            // Every version answers something before the next one comes.
            let before = answered.load(Ordering::Relaxed);
            stand.library.replace(&library, &format!("greeting = \"{number}\"")).expect("it is a good one");
            crate::eventually("requests that are answered", || {
                answered.load(Ordering::Relaxed) > before + 16
            });
        }
        is_over.store(true, Ordering::Relaxed);
        let asked: u64 = clients.into_iter().map(|client| client.join().expect("nothing is lost")).sum();
        assert_eq!(asked, answered.load(Ordering::Relaxed));
        assert_eq!(text(&stand.get("/hello/x")), format!("{REPLACEMENTS}, x!\n"));
        let is_one_left = || own(&census::libraries(), &library) == 1;
        crate::eventually("the end of old versions", is_one_left);
        let stats = stand.library.stats();
        assert_eq!((stats.faults, stats.late), (0, 0), "{:?}", stand.heard);
        assert!(stats.requests >= asked);
        assert!(is_mapped("ringway-replaced-"));
        stand.stop();
        crate::eventually("the end of the last", || own(&census::libraries(), &library) == 0);
        assert!(!is_mapped("ringway-replaced-"));
    }
}

fn own(libraries: &[census::Status], path: &std::path::Path) -> usize {
    libraries.iter().filter(|status| status.path == path).count()
}

/// Asks on one connection, at once and later, until it is over; how often.
fn load(address: std::net::SocketAddr, number: usize, is_over: &AtomicBool, answered: &AtomicU64) -> u64 {
    let mut client = Client::connect(address).expect("it listens");
    client.set_patience(PATIENCE);
    let mut asked = 0;
    let mut version = 0;
    while !is_over.load(Ordering::Relaxed) {
        let path = ["/hello/x", "/later", "/count-down?from=100"]
            [(number + usize::try_from(asked).unwrap_or(0)) % 3];
        client.send(get(path).as_bytes()).expect("the connection is there");
        let answer = client.answer(false).expect("the connection is there");
        assert_eq!(answer.status, 200, "{path}");
        if let Some(greeting) = text(&answer).strip_suffix(", x!\n") {
            let now: u64 = greeting.parse().expect("a number");
            assert!(now >= version, "{now} after {version}: an older version has answered");
            version = now;
        }
        asked += 1;
        answered.fetch_add(1, Ordering::Relaxed);
    }
    asked
}

#[test]
fn what_cannot_take_over_leaves_everything_as_it_is() {
    let scratch = Scratch::new("kept");
    let library = example(&scratch);
    let stand = Stand::start(drivers()[0], &library, "", As::Handler(""), 1);
    let bad = scratch.file("bad.so", b"no library");
    assert!(stand.library.replace(&bad, "").expect_err("it is none").to_string().contains("bad.so"));
    stand.library.replace(&library, "colour = 1").expect_err("it does not know that");
    assert_eq!(text(&stand.get("/counter")), "1\n");
    assert_eq!(text(&stand.get("/counter")), "2\n", "it is the same instance still");
    stand.stop();
}

#[test]
fn an_idle_worker_lets_go_of_an_old_version() {
    let scratch = Scratch::new("idle");
    let old = build(&scratch, "faults.c", "idle-old", &[]);
    let new = build(&scratch, "faults.c", "idle-new", &[]);
    let stand = Stand::start(drivers()[0], &old, "", As::Handler(""), 2);
    assert!(is_mapped("ringway-idle-old-"));
    stand.library.replace(&new, "").expect("good");
    // Nobody asks for anything.
    crate::eventually("the end of the old one", || !is_mapped("ringway-idle-old-"));
    assert!(is_mapped("ringway-idle-new-"));
    assert_eq!(stand.library.path(), new);
    let unused: Library = stand.library.clone();
    stand.stop();
    assert_eq!(unused.health(), Ok(()));
    drop(unused);
    crate::eventually("the end of the new one", || !is_mapped("ringway-idle-new-"));
}
